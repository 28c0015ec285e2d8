"""A multi-process trading engine for Kraken's spot exchange.

These are the names that a strategy's file needs; see `engine.strategy.api`.
"""

from engine.market import Pair
from engine.records import BookTop, Candle, FeedState, Level, Ticker, Trade
from engine.strategy.api import Context, Strategy
from engine.strategy.orders import Balance, Conditional, Fill, Order, OrderState, Position, TradingStatus

__all__ = [
    "Balance",
    "BookTop",
    "Candle",
    "Conditional",
    "Context",
    "FeedState",
    "Fill",
    "Level",
    "Order",
    "OrderState",
    "Pair",
    "Position",
    "Strategy",
    "Ticker",
    "Trade",
    "TradingStatus",
]
