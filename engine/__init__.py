"""A multi-process trading engine for Kraken's spot exchange.

What a strategy's file needs is here; see `engine.strategy.api`.
"""

from engine.records import BookTop, Candle, FeedState, Level, Ticker, Trade
from engine.strategy.api import Context, Strategy

__all__ = ["BookTop", "Candle", "Context", "FeedState", "Level", "Strategy", "Ticker", "Trade"]
