"""The engine as one strategy sees it: what it was told last, and the clock."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from engine.clock import Clock
from engine.market import Pair
from engine.records import BookTop, FeedState
from engine.strategy.api import Logger
from engine.units import MonoNs, WallNs

T = TypeVar("T")


class StrategyContext:
    """The engine as one strategy sees it: engine.strategy.Context."""

    def __init__(self, symbols: Sequence[str], clock: Clock, strategy_log: Logger) -> None:
        self.symbols = tuple(symbols)
        self.log = strategy_log
        self.venue_status = ""
        self.now: Callable[[], MonoNs] = clock.mono_ns
        self.wall_now: Callable[[], WallNs] = clock.wall_ns
        # What the strategy was told last of each pair.
        self.books: dict[str, BookTop | None] = dict.fromkeys(self.symbols)
        self.states: dict[str, FeedState] = dict.fromkeys(self.symbols, FeedState.STALE)
        self.pairs: dict[str, Pair | None] = dict.fromkeys(self.symbols)

    def book(self, symbol: str) -> BookTop | None:
        return self._of(self.books, symbol)

    def state(self, symbol: str) -> FeedState:
        return self._of(self.states, symbol)

    def pair(self, symbol: str) -> Pair | None:
        return self._of(self.pairs, symbol)

    def _of(self, table: dict[str, T], symbol: str) -> T:
        try:
            return table[symbol]
        except KeyError:
            raise KeyError(f"{symbol} is not followed; this strategy follows {', '.join(self.symbols)}") from None
