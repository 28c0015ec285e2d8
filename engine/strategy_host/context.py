"""The engine as one strategy sees it: what it was told last, its orders, and the clock."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from engine.clock import Clock
from engine.market import Pair
from engine.records import BookTop, FeedState
from engine.strategy.api import Logger
from engine.strategy.order_options import AmendOptions, Amount, OrderOptions
from engine.strategy.orders import Balance, Order, Position, TradingStatus
from engine.strategy_host.order_client import OrderClient
from engine.units import MonoNs, WallNs

T = TypeVar("T")


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
    ) -> None:
        self.symbols = tuple(symbols)
        self.log = strategy_log
        self.venue_status = ""
        self.now: Callable[[], MonoNs] = clock.mono_ns
        self.wall_now: Callable[[], WallNs] = clock.wall_ns
        # What the strategy was told last of each pair.
        self.books: dict[str, BookTop | None] = dict.fromkeys(self.symbols)
        self.states: dict[str, FeedState] = dict.fromkeys(self.symbols, FeedState.STALE)
        self.pairs = pairs
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
        return self._of(self.books, symbol)

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

    def _of(self, table: dict[str, T], symbol: str) -> T:
        try:
            return table[symbol]
        except KeyError:
            raise KeyError(f"{symbol} is not followed; this strategy follows {', '.join(self.symbols)}") from None
