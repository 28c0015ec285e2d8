"""A multi-process trading engine for Kraken's spot exchange.

These are the names that a strategy's file needs, see `engine.strategy.api`; and `Engine`,
for a program of one's own, see `engine.client.engine`.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from engine.client import Engine, Statistics
    from engine.errors import CallError, ConfigError, EngineStopped, NotAvailable, OrderRefused, StrategyError
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

__all__ = [
    "Balance",
    "BookTop",
    "CallError",
    "Candle",
    "Conditional",
    "ConfigError",
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
    "StrategyError",
    "Ticker",
    "Trade",
    "TradingStatus",
    "VenueStatus",
]


# Where the names above are looked for, in this order. Nothing is imported before it is
# asked for: every process imports this module, and `engine --help` needs none of it.
_HOMES: Final = (
    "engine.errors",
    "engine.market",
    "engine.records",
    "engine.strategy.orders",
    "engine.strategy.events",
    "engine.strategy.api",
    "engine.client",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(home)
            if name in module.__dict__:
                globals()[name] = value = module.__dict__[name]
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
