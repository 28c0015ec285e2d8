"""Paper trading: the built-in venue on the books and trades of Kraken, with simulated fills."""
