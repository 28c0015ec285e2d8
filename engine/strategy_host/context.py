"""The engine as one strategy sees it: what it was told last, its orders, and the clock."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from engine.clock import Clock
from engine.market import Pair
from engine.processes.freshness import DataKind, Freshness
from engine.records import (
    WEBSOCKET,
    BookTop,
    Candle,
    FeedState,
    Ticker,
    Trade,
    measure_ages_by,
    unpack_ticker,
    unpack_trade,
)
from engine.strategy.api import Logger
from engine.strategy.order_options import AmendOptions, Amount, OrderOptions
from engine.strategy.orders import Balance, Order, Position, TradingStatus
from engine.strategy_host.candle_memory import CANDLES_KEPT, CandleMemory
from engine.strategy_host.order_client import OrderClient
from engine.units import MonoNs, WallNs

T = TypeVar("T")

TRADES_KEPT: Final = 100  # of each pair, for `Context.trades`


class StrategyContext:
    """The engine as one strategy sees it: engine.strategy.Context."""

    def __init__(
        self,
        symbols: Sequence[str],
        clock: Clock,
        strategy_log: Logger,
        pairs: dict[str, Pair | None],
        orders: OrderClient,
        call_soon: Callable[..., bool],
        freshness: Mapping[str, Freshness | None],
    ) -> None:
        """`freshness`: of each pair, None where nobody knows."""
        self.symbols = tuple(symbols)
        self.log = strategy_log
        self.venue_status = ""
        self.now: Callable[[], MonoNs] = clock.mono_ns
        self.wall_now: Callable[[], WallNs] = clock.wall_ns
        # What the strategy was told last of each pair.
        self.books: dict[str, BookTop | None] = dict.fromkeys(self.symbols)
        self.states: dict[str, FeedState] = dict.fromkeys(self.symbols, FeedState.STALE)
        self.pairs = pairs
        # Of each pair, as records: they are unpacked when they are asked for.
        self.ticker_records: dict[str, bytes | None] = dict.fromkeys(self.symbols)
        self.trade_records: dict[str, deque[bytes]] = {symbol: deque(maxlen=TRADES_KEPT) for symbol in self.symbols}
        self.candle_memory = CandleMemory(self.symbols)
        self._freshness = freshness
        measure_ages_by(clock.mono_ns)
        self._orders = orders
        self.call_soon: Callable[..., Any] = call_soon
        self.submit: Callable[[str, str, Amount, OrderOptions], Order] = orders.submit
        self.submit_batch: Callable[[Sequence[tuple[str, str, Amount, OrderOptions]]], list[Order]] = (
            orders.submit_batch
        )
        self.amend: Callable[[Order, AmendOptions], bool] = orders.amend
        self.cancel: Callable[[Sequence[Order]], None] = orders.cancel
        self.cancel_all: Callable[[str], None] = orders.cancel_all
        self.order: Callable[[str], Order | None] = orders.order

    def book(self, symbol: str) -> BookTop | None:
        book = self._of(self.books, symbol)
        if book is not None:
            book.known_at = self._known_at("book", symbol, book.received_at, book.source)
        return book

    def ticker(self, symbol: str) -> Ticker | None:
        record = self._of(self.ticker_records, symbol)
        if record is None:
            return None
        ticker = unpack_ticker(symbol, record)
        return replace(ticker, known_at=self._known_at("ticker", symbol, ticker.received_at, ticker.source))

    def trades(self, symbol: str) -> Sequence[Trade]:
        return tuple(unpack_trade(symbol, record) for record in self._of(self.trade_records, symbol))

    def candle(self, symbol: str, interval_min: int | None = None) -> Candle | None:
        self._of(self.pairs, symbol)
        return self.candle_memory.newest(symbol, interval_min)

    def candles(self, symbol: str, interval_min: int = 1, count: int = CANDLES_KEPT) -> Sequence[Candle]:
        self._of(self.pairs, symbol)
        return tuple(self.candle_memory.last(symbol, interval_min, count))

    def state(self, symbol: str) -> FeedState:
        return self._of(self.states, symbol)

    def pair(self, symbol: str) -> Pair | None:
        return self._of(self.pairs, symbol)

    @property
    def orders(self) -> Sequence[Order]:
        return self._orders.open_orders

    @property
    def trading(self) -> TradingStatus:
        return self._orders.status

    def position(self, symbol: str) -> Position:
        self._of(self.pairs, symbol)
        return self._orders.positions.get(symbol) or Position(symbol)

    def balance(self, asset: str) -> Balance | None:
        return self._orders.balance(asset)

    def _known_at(self, kind: DataKind, symbol: str, received_at: MonoNs, source: str) -> MonoNs:
        """Until when a record is known to have been true."""
        freshness = self._freshness[symbol]
        if freshness is None or source != WEBSOCKET:
            return received_at
        return freshness.known_at(kind, symbol, received_at)

    def _of(self, table: dict[str, T], symbol: str) -> T:
        try:
            return table[symbol]
        except KeyError:
            raise KeyError(f"{symbol} is not followed; this strategy follows {', '.join(self.symbols)}") from None
