"""The strategy host, a thread of the engine's process: it owns a strategy's view of the
market and of its orders.

`thread` runs `host`, which gives each `hosted_strategy` its turns; `order_client` is the
strategy's side of its orders.
"""
