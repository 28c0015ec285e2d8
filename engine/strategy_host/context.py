"""The engine as one strategy sees it: what it was told last, its orders, and the clock."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from msgspec.structs import replace

from engine.clock import Clock
from engine.errors import CallError
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
from engine.strategy.option_rules import shown
from engine.strategy.order_options import AmendOptions, Amount, OrderOptions
from engine.strategy.orders import Balance, Order, Position, TradingStatus
from engine.strategy_host.candle_memory import CANDLES_KEPT, CandleMemory
from engine.strategy_host.order_client import ELSEWHERE, OrderClient
from engine.topology import NO_CHANNELS, Channel
from engine.units import MonoNs, WallNs

T = TypeVar("T")

TRADES_KEPT: Final = 100  # of each pair, for `Context.trades`


class Following(Protocol):
    """Changes the pairs that a strategy follows. Its calls raise CallError for invalid
    arguments.
    """

    def subscribe(self, symbol: object, channels: object) -> str: ...

    def unsubscribe(self, symbol: object, channels: object) -> None: ...

    def tell_mistake(self, symbol: object, why: str) -> None: ...


class StrategyContext:
    """The engine as one strategy sees it; implements engine.strategy.Context."""

    def __init__(
        self,
        clock: Clock,
        strategy_log: Logger,
        pairs: dict[str, Pair | None],
        orders: OrderClient,
        call_soon: Callable[..., bool],
        following: Following,
        candle_intervals_min: Collection[int],
    ) -> None:
        # The pairs that the strategy follows, in the order in which it began to.
        self.symbols: Sequence[str] = ()
        self.log = strategy_log
        self.venue_status = ""
        self.now: Callable[[], MonoNs] = clock.mono_ns
        self.wall_now: Callable[[], WallNs] = clock.wall_ns
        # The channels of each pair that the strategy follows, and the last data that it
        # received.
        self.channels: dict[str, Channel] = {}
        self.books: dict[str, BookTop | None] = {}
        self.states: dict[str, FeedState] = {}
        self.pairs = pairs
        # Of each pair, as records: they are unpacked when they are asked for.
        self.ticker_records: dict[str, bytes | None] = {}
        self.trade_records: dict[str, deque[bytes]] = {}
        self.candle_memory = CandleMemory()
        self._candle_intervals_min = candle_intervals_min
        # None in a replay, where it is unknown.
        self._freshness: dict[str, Freshness | None] = {}
        measure_ages_by(clock.mono_ns)
        self._orders = orders
        self.call_soon: Callable[..., Any] = call_soon
        self.following = following
        self.submit: Callable[[str, str, Amount, OrderOptions], Order] = orders.submit
        self.submit_batch: Callable[[Sequence[tuple[str, str, Amount, OrderOptions]]], list[Order]] = (
            orders.submit_batch
        )
        self.amend: Callable[[Order, AmendOptions], bool] = orders.amend
        self.cancel: Callable[[Sequence[Order]], None] = orders.cancel
        self.cancel_all: Callable[[str], None] = orders.cancel_all
        self.order: Callable[[str], Order | None] = orders.order

    def follow(self, symbol: str, channels: Channel, freshness: Freshness | None) -> None:
        """Take these channels of a pair, and no others, from now on."""
        if symbol not in self.channels:
            self.symbols = (*self.symbols, symbol)
            self.books[symbol], self.states[symbol] = None, FeedState.UNSUBSCRIBED
            self.ticker_records[symbol] = None
            self.trade_records[symbol] = deque(maxlen=TRADES_KEPT)
            self.candle_memory.follow(symbol)
            self.pairs.setdefault(symbol, None)
            self._freshness[symbol] = freshness
        changed = channels ^ self.channels.get(symbol, NO_CHANNELS)
        # Data of a channel are discarded with it: their age would be unknown.
        if Channel.BOOK in changed:
            self.books[symbol] = None
            self.states[symbol] = FeedState.STALE if Channel.BOOK in channels else FeedState.UNSUBSCRIBED
        if Channel.TICKER in changed:
            self.ticker_records[symbol] = None
        if Channel.TRADE in changed:
            self.trade_records[symbol].clear()
        if Channel.CANDLE in changed:
            self.candle_memory.follow(symbol)
        self.channels[symbol] = channels

    def drop(self, symbol: str) -> None:
        """Discard the data of a pair that is no longer followed, except its orders and
        position.
        """
        self.symbols = tuple(each for each in self.symbols if each != symbol)
        self._orders.forget_pair(symbol)
        for table in (self.channels, self.books, self.states, self.ticker_records, self.trade_records,
                      self._freshness):  # fmt: skip
            table.pop(symbol, None)
        self.candle_memory.drop(symbol)

    def confirmed(self, symbol: str) -> Channel:
        """The channels of a pair that Kraken has confirmed on the present connection; none
        for a pair that is not followed.
        """
        freshness = self._freshness.get(symbol)
        return NO_CHANNELS if freshness is None else freshness.confirmed

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
        if interval_min is not None:
            self._check_interval(interval_min)
        return self.candle_memory.newest(symbol, interval_min)

    def candles(self, symbol: str, interval_min: int = 1, count: int = CANDLES_KEPT) -> Sequence[Candle]:
        self._check_interval(interval_min)
        return self.candles_told(symbol, interval_min, count)

    def candles_told(self, symbol: str, interval_min: int, count: int = CANDLES_KEPT) -> Sequence[Candle]:
        """As `candles`, but without an error in the log for an interval that the engine
        does not make.
        """
        self._of(self.pairs, symbol)
        return tuple(self.candle_memory.last(symbol, interval_min, count))

    def _check_interval(self, interval_min: int) -> None:
        """Log an error if the engine makes no candles of this interval."""
        if interval_min not in self._candle_intervals_min:
            made = ", ".join(map(str, self._candle_intervals_min)) or "none"
            self._orders.tell_mistake(
                f"there are no candles of {shown(interval_min)} min: feed.candle_intervals_min has {made}; add it there"
            )

    def state(self, symbol: str) -> FeedState:
        return self._of(self.states, symbol)

    def pair(self, symbol: str) -> Pair | None:
        return self._of(self.pairs, symbol)

    def subscribe(self, symbol: str, channels: Iterable[str] | None = None) -> bool:
        return self._ask(self.following.subscribe, symbol, channels)

    def unsubscribe(self, symbol: str, channels: Iterable[str] | None = None) -> bool:
        return self._ask(self.following.unsubscribe, symbol, channels)

    def _ask(self, call: Callable[[object, object], object], symbol: object, channels: object) -> bool:
        if why_not := self._orders.why_not_here():
            return why_not is ELSEWHERE and bool(self.call_soon(self._ask, call, symbol, channels))
        try:
            call(symbol, channels)
        except CallError as error:
            self.following.tell_mistake(symbol, str(error))
            return False
        return True

    @property
    def orders(self) -> Sequence[Order]:
        return self._orders.open_orders

    @property
    def trading(self) -> TradingStatus:
        return self._orders.status

    def position(self, symbol: str) -> Position:
        if not self.knows(symbol):
            self._of(self.pairs, symbol)
        return self._orders.position(symbol)

    def knows(self, symbol: str) -> bool:
        """Whether the strategy follows a pair or has followed it, in this run or an earlier
        one.
        """
        return self._orders.knows(symbol)

    def balance(self, asset: str) -> Balance | None:
        return self._orders.balance(asset)

    def _known_at(self, kind: DataKind, symbol: str, received_at: MonoNs, source: str) -> MonoNs:
        """The last time at which a record is known to have been true."""
        freshness = self._freshness[symbol]
        if freshness is None or source != WEBSOCKET:
            return received_at
        return freshness.known_at(kind, received_at)

    def _of(self, table: dict[str, T], symbol: str) -> T:
        try:
            return table[symbol]
        except KeyError:
            told = ", ".join(self.symbols) or "none"
            raise KeyError(f"{symbol} is not followed; this strategy follows {told}") from None
