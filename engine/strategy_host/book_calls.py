"""From a market ring to `on_book`: the strategy host's hot loop.

    ring ─► skip() ─► records of nothing that is followed: passed over where they are
        └─► take() ─► a book of a followed pair ─► BookTop, the context's books, Strategy.on_book
                 └──► any other record ──────────► take_rare

The compiled twin (`engine.native.core.BookCalls`) does the same without a Python call of
its own a record; `BOOK_CALLS` is the one that runs, and `BOOK_VIEW` makes its books.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine.native import CORE
from engine.processes.callback_words import CallbackWords
from engine.records import BookTop, FeedState, Kind, pair_index_of, received_at_of
from engine.ring import Subscriber
from engine.telemetry import Histogram
from engine.topology import Channel
from engine.units import MonoNs

BOOK_TOP = int(Kind.BOOK_TOP)
KIND_OF_HEAD: Final = 0xFF
KIND_AND_PAIR: Final = 0xFFFF_0000_00FF  # of the first eight bytes of a record, see engine.records
PAIR_SHIFT: Final = 32
LOOKS_MAX: Final = 64  # at a batch of records that are not taken, until the others have their turn


class Caller(Protocol):
    """The hosted strategy, as its book loop calls it back."""

    batch_ends: bool
    """Must the rest of a batch stay in the ring?"""
    turn_until: MonoNs
    """When the present turn is over."""
    waiting: Any
    """The async callback that has not ended; None when there is none."""
    callbacks: int
    busy_ns: int

    def go_on(self, callback: Callable[..., Any], answer: Any) -> None:
        """Run what an async callback returned; sets `waiting` and `batch_ends`."""
        ...

    def callback_failed(self, callback: Callable[..., Any], error: BaseException) -> None:
        """Count and log what a callback raised; may set `batch_ends`."""
        ...

    def was_slow(self, callback: Callable[..., Any], took_ns: int) -> None:
        """Count and log a callback that took too long; sets `batch_ends`."""
        ...


class BookCalls:
    """Takes records of one market ring for one strategy. Its host drives it."""

    def __init__(
        self,
        host: Caller,
        *,
        pairs_max: int,
        channels_of: Mapping[int, Channel],
        books: dict[str, BookTop | None],
        states: dict[str, FeedState],
        on_book: Callable[..., Any] | None,
        call: Callable[[Callable[..., Any], int, object, int], None],
        take_rare: Callable[[bytes], None],
        tick_of: Any,
        words: CallbackWords,
        number: int,
        latency: Histogram,
        latency_ns: Callable[[int], int] | None,
        mono_ns: Callable[[], int],
        slow_ns: int,
        records_max: int,
    ) -> None:
        """`pairs_max`: pair indices are below it; none is followed yet. `channels_of`: by
        kind of record, the channels of which one must be followed for it; a kind that is
        not there is always taken. `books` and `states` are the context's; `call` calls back
        with all that is to be measured and counted.

        The other arguments are for the compiled twin, which measures and counts by itself:
        `tick_of` is told when the frame arrived that a callback reacts to, `number` is that
        of `on_book`. `records_max`: records copied at once.
        """
        self._host = host
        # By pair index: its name. And kind and pair of what is taken, as the first bytes of
        # a record say them.
        self._symbols = [""] * pairs_max
        self._channels_of = channels_of
        self._taken: set[int] = set()
        self._books = books
        self._states = states
        self._on_book = on_book
        self._call = call
        self._take_rare = take_rare
        self._number = number
        self._records_max = records_max
        # Copied at once: no more than twice what the last turn had the time for.
        self._batch_records_max = records_max
        # Of the last `take`: was the oldest record older than asked for; did the ring
        # overwrite what was next? Then the record is still to be taken.
        self.is_old = False
        self.is_lapped = False

    def follow(self, pair_index: int, symbol: str, channels: Channel) -> None:
        """Take records of these channels of a pair, and no others, from the next record
        on.
        """
        self._symbols[pair_index] = symbol
        for kind, needed in self._channels_of.items():
            head = kind | pair_index << PAIR_SHIFT
            if channels & needed:
                self._taken.add(head)
            else:
                self._taken.discard(head)

    def forked(self, words: CallbackWords) -> None:
        """Write to `words` from now on when a callback begins or returns, which ends the
        process. Called in a process that a callback has forked.
        """
        # `call` does it.

    def skip(self, subscriber: Subscriber) -> bool:
        """Pass over records that this strategy does not take, where they are; True if one
        that it takes, or a gap, comes next.
        """
        return subscriber.ready() and self._pass_over(subscriber, self._records_max) != 0

    def _pass_over(self, subscriber: Subscriber, limit: int) -> int:
        """Pass over records that this strategy does not take. Returns how many of the next
        `limit` records are taken, up to the first that is not; 0 if there are no more; -1
        if only a poll of the ring can tell.
        """
        taken, always = self._taken, self._channels_of
        for _ in range(LOOKS_MAX):
            heads = subscriber.heads(limit)
            passed = in_a_row = 0
            for head in heads:
                if head & KIND_AND_PAIR in taken or head & KIND_OF_HEAD not in always:
                    in_a_row += 1
                elif in_a_row:
                    break
                else:
                    passed += 1
            subscriber.next_sequence += passed
            if in_a_row or 0 < passed < limit:
                return in_a_row
            if not heads:
                break
        return -1

    def take(self, subscriber: Subscriber, limit: int, not_before: int, repeats_upto: int) -> int:
        """Take up to `limit` records and call back with each; the number taken.

        Ends early when the host's batch ends, and before the first record when that was
        received earlier than `not_before` (`is_old`) or has been overwritten (`is_lapped`).
        Up to the sequence `repeats_upto` a book is told only if it is newer than the one
        that the strategy has, and the pair is live: what was told of its state may be newer
        than the book.
        """
        taken = 0
        self.is_old = self.is_lapped = False
        while taken < limit:
            gap_count = subscriber.gap_count
            in_a_row = self._pass_over(subscriber, min(limit - taken, self._batch_records_max))
            records = subscriber.poll_many(abs(in_a_row))
            self.is_lapped = subscriber.gap_count != gap_count
            self.is_old = not taken and bool(records) and received_at_of(records[0]) < not_before
            if self.is_lapped or self.is_old:
                subscriber.next_sequence -= len(records)
                break
            if not records:
                break
            told = self._tell_all(records, subscriber.next_sequence - len(records), repeats_upto)
            taken += told
            if told < len(records) or self._host.batch_ends:
                # Left in the ring: taken up when the callback has ended, or counted as a
                # gap if it took too long.
                subscriber.next_sequence -= len(records) - told
                self._batch_records_max = told
                break
            self._batch_records_max = min(2 * self._batch_records_max, self._records_max)
        return taken

    def _tell_all(self, records: Sequence[bytes], first: int, repeats_upto: int) -> int:
        """Call back with records, the first of which has the sequence `first`, until the
        batch ends; returns how many.
        """
        host = self._host
        for index, record in enumerate(records):
            if record[0] == BOOK_TOP:  # hot: nine records of ten
                self._tell(record, may_repeat=first + index <= repeats_upto)
            else:
                self._take_rare(record)
            if host.batch_ends:
                return index + 1
        return len(records)

    def _tell(self, record: bytes, *, may_repeat: bool) -> None:
        pair_index = pair_index_of(record)
        if BOOK_TOP | pair_index << PAIR_SHIFT not in self._taken:
            return
        symbol = self._symbols[pair_index]
        book = BookTop(symbol, record)
        if may_repeat and not (self._states[symbol] is FeedState.LIVE and is_newer(book, self._books[symbol])):
            return
        self._books[symbol] = book
        if self._on_book is not None:
            self._call(self._on_book, self._number, book, book.received_at)


def is_newer(book: BookTop, seen: BookTop | None) -> bool:
    """True if this book is newer than the one that the strategy has."""
    return seen is None or (book.received_at, book.update_number) > (seen.received_at, seen.update_number)


if TYPE_CHECKING or CORE is None:
    BOOK_CALLS, BOOK_VIEW = BookCalls, BookTop
else:
    BOOK_CALLS, BOOK_VIEW = CORE.BookCalls, CORE.BookTop
    BookTop.register(BOOK_VIEW)
