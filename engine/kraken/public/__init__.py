"""The public session: instruments, books, trades, tickers and candles. For the public feed
and the replay.
"""
