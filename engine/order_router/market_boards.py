"""The books and rules of all pairs, as the order router sees them: read from the boards, without following a ring."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import Struct

from engine.clock import Clock
from engine.market import Pair
from engine.orders.risk import TopOfBook
from engine.processes.pair_record import pair_in
from engine.records import STATE_BITS, BookTop, FeedState, best_prices, state_of
from engine.ring import BoardReader
from engine.telemetry import Counters
from engine.topology import Shard
from engine.units import PriceTicks

LIVE: Final = FeedState.LIVE.value


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
        # What the boards said last of each pair, and what that means: read anew each time, for Kraken changes the
        # precision of living pairs, but decoded only when it is another record.
        self._pairs: dict[str, tuple[bytes, Pair]] = {}

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
        return TopOfBook(*best_prices(record), record[2], state_of(record) is FeedState.LIVE, age_ns, record)

    def best(self, symbol: str) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        """The same as plain numbers: best bid and ask, their decimals, is the book live, its age in ns."""
        place = self._places.get(symbol)
        record = None if place is None else place.board.read(place.slot)
        if place is None or record is None:
            return None
        bid, ask = best_prices(record)
        return bid, ask, record[2], record[1] & STATE_BITS == LIVE, self._mono_ns() - place.counters[place.heard]

    def mark(self, symbol: str) -> Decimal | None:
        """The middle of the book, to value positions with; None without one."""
        book = self.book(symbol)
        return None if book is None else book.mid

    def pair(self, symbol: str) -> Pair | None:
        """Precisions and rules of a pair as its board has them now; None until the venue has told them."""
        known = self._pairs.get(symbol)
        place = self._places.get(symbol)
        record = None if place is None else place.board.read(place.pair_slot)
        if record is None:
            return None if known is None else known[1]
        if known is not None and known[0] == record:
            return known[1]
        pair = pair_in(symbol, record)
        self._pairs[symbol] = record, pair
        return pair
