"""Current books and rules of all pairs for the order router, read from boards without
following a ring.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from engine.clock import Clock
from engine.market import Pair
from engine.native import ORDERS
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


class PortablePlace:
    """The shard and the slots of a pair. A compiled twin reads the same data."""

    def __init__(
        self, symbol: str, board: BoardReader, slot: int, pair_slot: int, counters: memoryview, heard: int,
        mono_ns: Callable[[], int],
    ) -> None:  # fmt: skip
        """`heard` is the index of the counter that holds when the feed last received a
        frame of Kraken's.
        """
        self._symbol = symbol
        self.board = board
        self.slot = slot
        self._pair_slot = pair_slot
        self._counters = counters
        self._heard = heard
        self._mono_ns = mono_ns
        # The last record of the pair's rules, and what it decodes to. The board is read
        # each time, because Kraken changes the precision of existing pairs; a record is
        # decoded only if it differs.
        self._pair_record = b""
        self._pair: Pair | None = None

    def book_record(self) -> bytes | None:
        """The pair's last BOOK_TOP record."""
        return self.board.read(self.slot)

    def age_ns(self) -> int:
        """The time since the feed last received a frame of Kraken's."""
        return self._mono_ns() - int(self._counters[self._heard])

    def best(self) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        """See `MarketBoards.best`."""
        record = self.board.read(self.slot)
        if record is None:
            return None
        bid, ask = best_prices(record)
        return bid, ask, record[2], record[1] & STATE_BITS == LIVE, self.age_ns()

    def pair(self) -> Pair | None:
        """See `MarketBoards.pair`."""
        record = self.board.read(self._pair_slot)
        if record is not None and record != self._pair_record:
            self._pair_record, self._pair = record, self.pair_in(record)
        return self._pair

    def pair_in(self, record: bytes) -> Pair:
        """Decode a record of the pair's rules."""
        return pair_in(self._symbol, record)


if TYPE_CHECKING or ORDERS is None:
    Place = PortablePlace
else:
    Place = ORDERS.Place


class MarketBoards:
    """Books and pairs by symbol."""

    def __init__(self, ports: Sequence[BoardPort], clock: Clock) -> None:
        self._mono_ns = clock.mono_ns
        self._ports = [(port, BoardReader(port.board)) for port in ports]
        # By symbol; one that is not here is looked for in the tables, when these have
        # changed since they were read.
        self._places: dict[str, Place] = {}
        self._versions: list[int] = []
        self._read_tables()

    def follows_book(self, symbol: str) -> bool:
        """Whether a book of this pair is there or to be expected."""
        rows = (row for port, _ in self._ports for row in (port.table.rows if port.table else port.shard.first_rows))
        return any(row.symbol == symbol and Channel.BOOK in row.channels for row in rows)

    def _read_tables(self) -> None:
        self._versions = self._current_versions()
        known, self._places = self._places, {}
        for port, board in self._ports:
            values, heard = port.counters.values, port.counters.index("heard_ns")
            rows = port.table.rows if port.table is not None else port.shard.first_rows
            for index, row in enumerate(rows):
                place = known.get(row.symbol)
                if place is None or place.board is not board or place.slot != index:
                    place = Place(row.symbol, board, index, port.shard.pair_slot(index), values, heard, self._mono_ns)
                self._places[row.symbol] = place
        self._places.pop("", None)

    def _current_versions(self) -> list[int]:
        return [port.table.version for port, _ in self._ports if port.table is not None]

    def _look_for(self, symbol: str) -> Place | None:
        """The place of a pair that may have been added since the tables were read."""
        if self._current_versions() != self._versions:
            self._read_tables()
        return self._places.get(symbol)

    def place(self, symbol: str) -> Place | None:
        """Where the book and the rules of a pair lie, for the rest of the run; None for a
        pair that is not followed yet.
        """
        return self._places.get(symbol) or self._look_for(symbol)

    def book(self, symbol: str) -> BookTop | None:
        """The last book of a pair; its `state` says whether it is live. None before the
        first.
        """
        place = self._places.get(symbol) or self._look_for(symbol)
        if place is None:
            return None
        record = place.book_record()
        return None if record is None else BookTop(symbol, record)

    def top(self, symbol: str) -> TopOfBook | None:
        """The best prices of a pair, and whether they are reliable; None before the first
        book.

        The age is that of the last frame of any kind, heartbeats included, that Kraken sent
        on the pair's connection: the last update of a quiet pair may be old and still be
        true.
        """
        place = self._places.get(symbol) or self._look_for(symbol)
        record = None if place is None else place.book_record()
        if place is None or record is None:
            return None
        return TopOfBook(*best_prices(record), record[2], state_of(record) is FeedState.LIVE, place.age_ns(), record)

    def best(self, symbol: str) -> tuple[PriceTicks | None, PriceTicks | None, int, bool, int] | None:
        """`top` as plain numbers: best bid, best ask, their decimals, whether the book is
        live, its age in ns.
        """
        place = self._places.get(symbol) or self._look_for(symbol)
        return None if place is None else place.best()

    def mark(self, symbol: str) -> Decimal | None:
        """The mid price of the book, for the value of positions; None without one."""
        book = self.book(symbol)
        return None if book is None else book.mid

    def pair(self, symbol: str) -> Pair | None:
        """A pair's current precision and rules; None until the venue has told them."""
        place = self._places.get(symbol) or self._look_for(symbol)
        return None if place is None else place.pair()
