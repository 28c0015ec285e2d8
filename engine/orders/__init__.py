"""The life of orders, without sockets and clocks: intents, states, journal, risk, limits
and money.
"""
