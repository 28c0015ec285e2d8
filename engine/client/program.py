"""A program as a strategy of the engine: receives all events, calls the handlers, and wakes
waiting calls.
"""

import asyncio
from collections import deque
from typing import ClassVar, Final

from engine.client.handlers import Registrations
from engine.market import Pair
from engine.records import BookTop, Candle, FeedState, FeedStateChange, Ticker, Trade, VenueStatus
from engine.strategy.api import Strategy
from engine.strategy.events import Connection, ErrorReport
from engine.strategy.orders import Balance, Fill, Order, TradingStatus
from engine.strategy_host.context import StrategyContext
from engine.strategy_host.hosted_strategy import UNSUBSCRIBED

FILLS_KEPT: Final = 1_000  # for `Engine.fills`; the history has them all


class Program(Strategy):
    """Everything that a program has received, and the calls that wait for more of it."""

    rest_books: ClassVar[bool] = True  # for those who ask: as an event and a call of their own
    context: StrategyContext

    def __init__(self, handlers: Registrations) -> None:
        self.handlers = handlers
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self.recent_fills: deque[Fill] = deque(maxlen=FILLS_KEPT)
        # Why a pair that was subscribed to was refused, by Kraken.
        self.refusals: dict[str, str] = {}

    async def news(self, event: str) -> None:
        """Wait for the next event of a kind."""
        arrived = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(event, []).append(arrived)
        try:
            await arrived
        finally:
            # A wait looks at its condition often, and an event may never come.
            if arrived.cancelled() and arrived in self._waiting.get(event, ()):
                self._waiting[event].remove(arrived)

    def wake_all(self) -> None:
        """Wake all waiting calls, because the engine has ended."""
        for order in self.context.orders if hasattr(self, "context") else ():
            order.tell_last()
        for event in tuple(self._waiting):
            self._wake(event)

    def _wake(self, event: str) -> None:
        for arrived in self._waiting.pop(event, ()):
            if not arrived.done():
                arrived.set_result(None)

    def _tell(self, event: str, what: object, symbol: str | None = None) -> None:
        if event in self._waiting:
            self._wake(event)
        self.handlers.tell(event, what, symbol)

    # --- callbacks

    def on_book(self, book: BookTop) -> None:
        self._tell("book" if book.is_verified else "rest_book", book, book.symbol)

    def on_trade(self, trade: Trade) -> None:
        self._tell("trade", trade, trade.symbol)

    def on_ticker(self, ticker: Ticker) -> None:
        self._tell("ticker", ticker, ticker.symbol)

    def on_candle(self, candle: Candle) -> None:
        self._tell("candle", candle, candle.symbol)

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        book = self.context.books.get(symbol)
        is_proved = book is None or book.is_proved
        if state is FeedState.UNSUBSCRIBED and reason != UNSUBSCRIBED:
            self.refusals[symbol] = reason
        self._tell("feed_state", FeedStateChange(symbol, state, reason, self.context.now(), is_proved), symbol)

    def on_pair(self, pair: Pair) -> None:
        self._tell("pair", pair, pair.symbol)

    def on_order(self, order: Order) -> None:
        self._tell("order", order, order.symbol)

    def on_fill(self, fill: Fill) -> None:
        self.recent_fills.append(fill)
        self._tell("fill", fill, fill.symbol)

    def on_balance(self, balance: Balance) -> None:
        self._tell("balance", balance)

    def on_trading(self, status: TradingStatus) -> None:
        self._tell("trading", status)

    def on_notice(self, status: VenueStatus) -> None:
        self._tell("notice", status)

    def on_connection(self, connection: Connection) -> None:
        self._tell("connection", connection)

    def on_error(self, error: ErrorReport) -> None:
        self._tell("error", error)
