"""The venue's public market: matching, the seeded order flow, books, candles, the day, and what is announced."""
