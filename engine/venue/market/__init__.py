"""The venue's public market: matching, the seeded order flow, books, candles, the ticker's
day, and announcements.
"""
