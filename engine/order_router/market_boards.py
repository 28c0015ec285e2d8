"""Current books and rules of all pairs for the order router, read from boards without
following a ring.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from msgspec import Struct

from engine.clock import Clock
from engine.market import Pair
from engine.orders.risk import TopOfBook
from engine.processes.pair_record import pair_in
from engine.processes.pair_table import PairTable
from engine.records import STATE_BITS, BookTop, FeedState, best_prices, state_of
from engine.ring import BoardReader
from engine.telemetry import Counters
from engine.topology import Channel, Shard
from engine.units import PriceTicks

LIVE: Final = FeedState.LIVE.value


class BoardPort(Struct, frozen=True):
    """One shard's board, and the counters in which its feed writes when it last heard
    Kraken.
    """

    shard: Shard
    board: memoryview | bytearray
    counters: Counters
    table: PairTable | None = None
    """Its pairs; None where they are those from the start, for ever."""


class _Place(NamedTuple):
    """The shard and slots of a pair."""

    board: BoardReader
    slot: int
    pair_slot: int
    counters: memoryview
    heard: int
    """Index of the counter for when the feed last heard Kraken."""


class MarketBoards:
    """Books and pairs by symbol."""

    def __init__(self, ports: Sequence[BoardPort], clock: Clock) -> None:
        self._mono_ns = clock.mono_ns
        self._ports = [(port, BoardReader(port.board)) for port in ports]
        # By symbol; one that is not here is looked for in the tables, when these have
        # changed since they were read.
        self._places: dict[str, _Place] = {}
        self._versions: list[int] = []
        self._read_tables()
        # The last record of each pair, and what it decodes to. The board is read each time,
        # because Kraken changes the precision of existing pairs; a record is decoded only
        # if it differs.
        self._pairs: dict[str, tuple[bytes, Pair]] = {}

    def follows_book(self, symbol: str) -> bool:
        """Whether a book of this pair is there or to be expected."""
        rows = (row for port, _ in self._ports for row in (port.table.rows if port.table else port.shard.first_rows))
        return any(row.symbol == symbol and Channel.BOOK in row.channels for row in rows)

    def _read_tables(self) -> None:
        self._versions = self._current_versions()
        self._places.clear()
        for port, board in self._ports:
            values, heard = port.counters.values, port.counters.index("heard_ns")
            rows = port.table.rows if port.table is not None else port.shard.first_rows
            for index, row in enumerate(rows):
                self._places[row.symbol] = _Place(board, index, port.shard.pair_slot(index), values, heard)
        self._places.pop("", None)

    def _current_versions(self) -> list[int]:
        return [port.table.version for port, _ in self._ports if port.table is not None]

    def _look_for(self, symbol: str) -> _Place | None:
        """The place of a pair that may have been added since the tables were read."""
        if self._current_versions() != self._versions:
            self._read_tables()
        return self._places.get(symbol)

    def book(self, symbol: str) -> BookTop | None:
        """The last book of a pair; its `state` says whether it is live. None before the
        first.
        """
        place = self._places.get(symbol) or self._look_for(symbol)
        if place is None:
            return None
        record = place.board.read(place.slot)
        return None if record is None else BookTop(symbol, record)

    def top(self, symbol: str) -> TopOfBook | None:
        """The best prices of a pair, and whether they are reliable; None before the first
        book.

        The age is that of the last frame of any kind, heartbeats included, that Kraken sent
        on the pair's connection: the last update of a quiet pair may be old and still be
        true.
        """
        place = self._places.get(symbol) or self._look_for(symbol)
        record = None if place is None else place.board.read(place.slot)
        if place is None or record is None:
            return None
        age_ns = self._mono_ns() - place.counters[place.heard]
        return TopOfBook(*best_prices(record), record[2], state_of(record) is FeedState.LIVE, age_ns, record)

    def best(self, symbol: str) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        """`top` as plain numbers: best bid, best ask, their decimals, whether the book is
        live, its age in ns.
        """
        place = self._places.get(symbol) or self._look_for(symbol)
        record = None if place is None else place.board.read(place.slot)
        if place is None or record is None:
            return None
        bid, ask = best_prices(record)
        return bid, ask, record[2], record[1] & STATE_BITS == LIVE, self._mono_ns() - place.counters[place.heard]

    def mark(self, symbol: str) -> Decimal | None:
        """The mid price of the book, for the value of positions; None without one."""
        book = self.book(symbol)
        return None if book is None else book.mid

    def pair(self, symbol: str) -> Pair | None:
        """A pair's current precision and rules; None until the venue has told them."""
        known = self._pairs.get(symbol)
        place = self._places.get(symbol) or self._look_for(symbol)
        record = None if place is None else place.board.read(place.pair_slot)
        if record is None:
            return None if known is None else known[1]
        if known is not None and known[0] == record:
            return known[1]
        pair = pair_in(symbol, record)
        self._pairs[symbol] = record, pair
        return pair
