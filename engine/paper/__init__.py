"""Paper trading: the built-in venue on Kraken's books and trades, fills simulated."""
