"""A market ring and its board, as one strategy follows them."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from engine.processes.freshness import Freshness
from engine.processes.pair_table import PairTable
from engine.records import received_at_of
from engine.ring import BoardReader, Subscriber
from engine.strategy_host.book_calls import KIND_AND_PAIR, PAIR_SHIFT, BookCalls
from engine.telemetry import Counters
from engine.topology import NO_CHANNELS, Channel, PairRow, Shard
from engine.units import MonoNs

# Records that are passed over between two steps of reading a board, if only their pairs are
# to be read again.
PASSED_MAX: Final = 1024


class MarketPort(Struct, frozen=True):
    """One shard, as a subscriber needs it."""

    shard: Shard
    ring: memoryview | bytearray
    board: memoryview | bytearray
    counters: Counters | None = None
    """The feed's, evidence of how old its data are; None where there is none, in a
    replay."""
    table: PairTable | None = None
    """Its pairs; None where they are those from the start, for ever."""

    @property
    def rows(self) -> Sequence[PairRow]:
        """The pairs that the feed follows now, by their index."""
        return self.shard.first_rows if self.table is None else self.table.rows

    def freshness(self, pair_index: int) -> Freshness | None:
        """How old a pair's data are, by evidence."""
        return None if self.counters is None else Freshness(self.counters, pair_index)


class Beginning:
    """A pair whose current state is still to be read from the board."""

    __slots__ = ("channels", "symbol", "told_slots")

    def __init__(self, symbol: str, channels: Channel) -> None:
        self.symbol = symbol
        self.channels = channels
        # Slots of the board that have been delivered: newer records come by the ring.
        self.told_slots: set[int] = set()


class FollowedRing:
    """One market ring and its board, followed by one strategy."""

    __slots__ = (
        "beginning",
        "behind",
        "board",
        "board_read_at",
        "board_tickers",
        "books_wanted",
        "calls",
        "channels",
        "gaps_seen",
        "is_half_read",
        "polled_at",
        "port",
        "shard",
        "subscriber",
        "symbols",
        "unread",
    )

    def __init__(self, port: MarketPort, first_sequence: int | None) -> None:
        self.port = port
        self.shard = port.shard
        self.subscriber = Subscriber(port.ring, first_sequence)
        self.board = BoardReader(port.board)
        # By pair index: the pair's name, the channels that the strategy follows, and
        # whether books are among them.
        self.symbols = [""] * port.shard.pairs_max
        self.channels = [NO_CHANNELS] * port.shard.pairs_max
        self.books_wanted = [False] * port.shard.pairs_max
        # Newly followed pairs, by index. Their state is read from the board first.
        self.beginning: dict[int, Beginning] = {}
        # The subscriber's gap when it was last looked at.
        self.gaps_seen = 0
        # When the ring was last looked at.
        self.polled_at = MonoNs(0)
        # Up to this sequence the ring repeats what was read from the board.
        self.board_read_at = 0
        # True while records were missed for which the board has not been read yet.
        self.behind = False
        # Did the last turn end in the middle of reading it; and the pairs that are left, by
        # index, in their order: True for one whose book comes before its ticker.
        self.is_half_read = False
        self.unread: dict[int, bool] = {}
        # By pair index: the ticker read from the board, until the ring has a newer one.
        self.board_tickers: dict[int, bytes] = {}
        # From the ring to the callbacks.
        self.calls: BookCalls

    def follow(self, pair_index: int, symbol: str, channels: Channel) -> None:
        """Take these channels of a pair, and no others, from the next record on."""
        self.symbols[pair_index] = symbol
        self.channels[pair_index] = channels
        self.books_wanted[pair_index] = Channel.BOOK in channels
        if Channel.TICKER not in channels:
            self.board_tickers.pop(pair_index, None)
        self.calls.follow(pair_index, symbol, channels)

    def has_told_ticker(self, pair_index: int, record: bytes) -> bool:
        """True if this ticker of the ring, or a newer one, has already been read from the
        board.
        """
        told = self.board_tickers.get(pair_index)
        if told is None:
            return False
        if record == told or received_at_of(record) < received_at_of(told):
            return True
        del self.board_tickers[pair_index]
        return False

    def catch_up(self, *, is_begun: bool) -> bool:
        """After a gap, move the subscriber to the sequence up to which the board is
        complete, and mark the pairs to read from the board. False while the board is behind
        what was polled.

        `is_begun`: a reading of the board is under way, and nothing was overwritten since
        its last step: then only pairs with records in between are read again. Otherwise all
        pairs are, those still unread first.
        """
        subscriber = self.subscriber
        heads, first = subscriber.heads(PASSED_MAX) if is_begun else [], subscriber.next_sequence
        if not is_begun:
            self._note_unread(range(len(self.channels)))
        if not self.board.catch_up(subscriber):
            return False
        passed = subscriber.next_sequence - first
        if is_begun and passed > len(heads):
            self._note_unread(range(len(self.channels)))
        elif is_begun:
            self._note_unread((head & KIND_AND_PAIR) >> PAIR_SHIFT for head in heads[:passed])
        return True

    def _note_unread(self, pair_indices: Iterable[int]) -> None:
        """Mark these pairs, if followed, to be read from the board after those already
        marked.
        """
        for pair_index in pair_indices:
            if self.channels[pair_index]:
                self.unread.setdefault(pair_index, False)

    def forget(self, symbol: str) -> None:
        """Take nothing more of a pair that was refused: its index may be given to another
        pair.
        """
        self.beginning = {index: begun for index, begun in self.beginning.items() if begun.symbol != symbol}
        if symbol in self.symbols:
            self.follow(self.symbols.index(symbol), "", NO_CHANNELS)
