"""A multi-process trading engine for Kraken's spot exchange.

These are the names that a strategy's file needs, see `engine.strategy.api`; and `Engine`,
for a program of one's own, see `engine.client.engine`.
"""

from typing import TYPE_CHECKING, Any

from engine.errors import CallError, EngineStopped, NotAvailable, OrderRefused
from engine.market import Pair
from engine.records import BookTop, Candle, FeedState, Level, Ticker, Trade, VenueStatus
from engine.strategy.api import Context, Strategy
from engine.strategy.events import Connection, ErrorReport
from engine.strategy.orders import (
    Balance,
    Conditional,
    ErrorKind,
    Fill,
    Order,
    OrderError,
    OrderState,
    Position,
    TradingStatus,
)

if TYPE_CHECKING:
    from engine.client import Engine, Statistics

__all__ = [
    "Balance",
    "BookTop",
    "CallError",
    "Candle",
    "Conditional",
    "Connection",
    "Context",
    "Engine",
    "EngineStopped",
    "ErrorKind",
    "ErrorReport",
    "FeedState",
    "Fill",
    "Level",
    "NotAvailable",
    "Order",
    "OrderError",
    "OrderRefused",
    "OrderState",
    "Pair",
    "Position",
    "Statistics",
    "Strategy",
    "Ticker",
    "Trade",
    "TradingStatus",
    "VenueStatus",
]


def __getattr__(name: str) -> Any:
    # Not with the others: every process of an engine imports this module, and none of them
    # the whole.
    if name in ("Engine", "Statistics"):
        from engine import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
