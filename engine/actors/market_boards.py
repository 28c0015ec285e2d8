"""The books and rules of all pairs, as the order router sees them: read from the boards, without following a ring."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import Struct

from engine.clock import Clock
from engine.market import Pair
from engine.orders.risk import TopOfBook
from engine.records import BookTop, FeedState, best_prices, state_of, unpack_pair
from engine.ring import BoardReader
from engine.telemetry import Counters
from engine.topology import Shard
from engine.units import NS_PER_S, MonoNs

RULES_AGE_NS_MAX: Final = NS_PER_S  # a pair's rules change when Kraken changes them: looked at once a second


class BoardPort(Struct, frozen=True):
    """One shard's board, and the counters in which its feed shows when it last heard Kraken."""

    shard: Shard
    board: memoryview | bytearray
    counters: Counters


class _Place(NamedTuple):
    """Where a pair is found."""

    board: BoardReader
    slot: int
    pair_slot: int
    counters: memoryview
    heard: int
    """Index in the counters of when the feed last heard Kraken."""


class MarketBoards:
    """Books and pairs by symbol."""

    def __init__(self, ports: Sequence[BoardPort], clock: Clock) -> None:
        self._mono_ns = clock.mono_ns
        self._places: dict[str, _Place] = {}
        for port in ports:
            board, heard = BoardReader(port.board), port.counters.index("heard_ns")
            for index, symbol in enumerate(port.shard.symbols):
                self._places[symbol] = _Place(board, index, port.shard.pair_slot(index), port.counters.values, heard)
        # What the boards said of the pairs' rules, and when they were looked at.
        self.pairs: dict[str, Pair] = {}
        self._pairs_read_at: dict[str, MonoNs] = {}

    @property
    def symbols(self) -> Sequence[str]:
        return tuple(self._places)

    def book(self, symbol: str) -> BookTop | None:
        """The last book of a pair; its `state` says whether it is live. None before the first."""
        place = self._places.get(symbol)
        if place is None:
            return None
        record = place.board.read(place.slot)
        return None if record is None else BookTop(symbol, record)

    def top(self, symbol: str) -> TopOfBook | None:
        """The best prices of a pair, and whether they may be relied on; None before the first book.

        A quiet pair's last update may be old and still be the truth: its age is that of the last frame of any kind,
        heartbeats included, that Kraken sent on the pair's connection.
        """
        place = self._places.get(symbol)
        record = None if place is None else place.board.read(place.slot)
        if place is None or record is None:
            return None
        age_ns = self._mono_ns() - place.counters[place.heard]
        return TopOfBook(*best_prices(record), state_of(record) is FeedState.LIVE, age_ns, record)

    def mark(self, symbol: str) -> Decimal | None:
        """The middle of the book, to value positions with; None without one."""
        book = self.book(symbol)
        return None if book is None else book.mid

    def read_pairs(self) -> Mapping[str, Pair]:
        """All pairs whose rules are known."""
        for symbol in self._places:
            if symbol not in self.pairs:
                self.pair(symbol)
        return self.pairs

    def pair(self, symbol: str) -> Pair | None:
        """Precisions and rules of a pair; None until the venue has told them."""
        now = self._mono_ns()
        if now - self._pairs_read_at.get(symbol, MonoNs(-RULES_AGE_NS_MAX)) < RULES_AGE_NS_MAX and symbol in self.pairs:
            return self.pairs[symbol]
        place = self._places.get(symbol)
        record = None if place is None else place.board.read(place.pair_slot)
        if record is None:
            return self.pairs.get(symbol)
        price_decimals, qty_decimals, rules = unpack_pair(record)
        self._pairs_read_at[symbol] = now
        pair = self.pairs[symbol] = Pair(
            symbol,
            price_decimals,
            qty_decimals,
            rules.price_increment_ticks,
            rules.qty_increment_lots,
            rules.qty_min_lots,
            rules.cost_min,
            rules.status,
            rules.base_decimals,
            rules.quote_decimals,
        )
        return pair
