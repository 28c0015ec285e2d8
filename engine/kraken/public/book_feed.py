"""One pair's book subscription: snapshot, updates, checksum verification and
resynchronization.

            snapshot verifies               checksum differs, crossed, connection lost, Kraken's maintenance
    STALE ─────────────────────► LIVE ─────────────────────────────────────────────► STALE
      ▲                                                                                │ third failure in 60 s
      └──────────────────────── snapshot verifies ◄── retried slowly ◄── UNTRUSTED ◄───┘

Between a failure and the next snapshot every update is ignored: sixty bad updates in
flight cost one resynchronization. Silence alone is no failure: the book stays live and is
marked unproved, and a fresh snapshot is requested when no request of higher priority waits.
During maintenance a book keeps receiving updates but is stale; the first update that
verifies afterwards, or a fresh snapshot, makes it live again.

A pair whose book nobody follows is UNSUBSCRIBED: nothing is requested, and what still comes
is ignored. Followed again, it is stale until its first snapshot.
"""

from collections import deque

from msgspec import Struct

from engine.kraken.connection.requests import BOOK_DEPTHS
from engine.kraken.public.book_status import BookStatus
from engine.kraken.public.messages import BookData, ExactBookData, ExactLevel
from engine.kraken.public.subscriptions import Phase, Subscription
from engine.market.books import Book
from engine.records import FeedState
from engine.topology import NO_CHANNELS
from engine.units import NS_PER_S, MonoNs, decimal_units, decimals_of

FAILURES_MAX = 3  # of one pair within the window: the pair is then untrusted
FAILURE_WINDOW_NS = 60 * NS_PER_S
# At least, between two resynchronizations of a pair: each costs two requests and a
# snapshot.
RESYNC_INTERVAL_NS = 5 * NS_PER_S
UNTRUSTED_RETRY_NS = 60 * NS_PER_S
REASON_CHARS_MAX = 400  # of a change of state: one sentence, with Kraken's numbers in it
DECIMALS_MAX = 18  # more than any pair has; a number with more is invalid


class BookChanged(Struct, frozen=True, gc=False):
    """A book message was applied and its checksum verified: `feed.book` is the pair's live
    book.
    """

    feed: "BookFeed"


class StateChanged(Struct, frozen=True, gc=False):
    """A pair's book became live, stale or untrusted, or is not followed any more."""

    symbol: str
    state: FeedState
    reason: str


class UnitsLevel(Struct, gc=False):
    """A level in ticks and lots, for Book.apply_units."""

    price: int
    qty: int


class BookFeed(BookStatus):
    """The book of one pair, the state of its subscription and its counters."""

    __slots__ = ("changed", "channels", "confirmed", "crossings", "decimals_known", "depth", "failures",
                 "given_back_at", "ignored", "is_guess", "is_renewed", "is_unproved", "mismatches", "pair_index",
                 "publish_levels", "renewals", "resync_at", "resynced_at", "resyncs", "silence_ns_max", "snapshots",
                 "subscription", "symbol", "updates_at_silence")  # fmt: skip

    def __init__(
        self, symbol: str, pair_index: int, depth: int | None, publish_levels: int, silence_ns_max: int
    ) -> None:
        self.symbol = symbol
        self.pair_index = pair_index
        # The pair's channels that are wanted; and those that Kraken has confirmed on the
        # present connection.
        self.channels = NO_CHANNELS
        self.confirmed = NO_CHANNELS
        # Subscribed levels a side; None until an acknowledgement or a snapshot says.
        self.depth = depth
        self.publish_levels = publish_levels
        # (price decimals, quantity decimals) from the instrument channel; None before its
        # first message.
        self.decimals_known: tuple[int, int] | None = None
        # The request for this book; None while nobody follows it. Set by the session.
        self.subscription: Subscription | None = None
        self.book = Book(depth or BOOK_DEPTHS[0], 0, 0, publish_levels)
        # True while the book's decimals are not known: its snapshot had no level to take
        # them from.
        self.is_guess = False
        self.state = FeedState.UNSUBSCRIBED
        self.streaming = False
        self.is_direct = False
        self.timestamp = ""
        self.heard_at = MonoNs(0)
        # After so long without a message a fresh snapshot is requested. Doubles from one
        # silence to the next until an update arrives, which `updates`, as it was at the
        # last silence, shows.
        self.silence_ns_max = silence_ns_max
        self.updates_at_silence = -1
        # Silent for longer than that; and: a fresh snapshot has been requested because of
        # it.
        self.is_unproved = False
        self.is_renewed = False
        # When Kraken confirmed the unsubscription of a live book that is being renewed; 0
        # otherwise.
        self.given_back_at = MonoNs(0)
        # When the next resynchronization may start, 0 when none is needed; when the last
        # one started.
        self.resync_at = MonoNs(0)
        self.resynced_at = MonoNs(-RESYNC_INTERVAL_NS)
        # Times of the last failures: FAILURES_MAX of them within the window make the pair
        # untrusted.
        self.failures: deque[MonoNs] = deque(maxlen=FAILURES_MAX)
        # Counted since the process started: snapshots, updates applied, updates ignored
        # while the book was in doubt, wrong checksums, crossed books with a right checksum,
        # resynchronizations, renewals of silent books.
        self.snapshots = 0
        self.updates = 0
        self.ignored = 0
        self.mismatches = 0
        self.crossings = 0
        self.resyncs = 0
        self.renewals = 0
        # The event of a verified message: always the same object, so the hot path creates
        # none.
        self.changed = (BookChanged(self),)

    def follow(self, subscription: Subscription, now: MonoNs) -> None:
        """Begin to follow the book: it is stale, and what was wrong with it before does not
        count.
        """
        self.end()
        self.subscription = subscription
        self.state = FeedState.STALE
        self.heard_at = now
        self.resync_at = MonoNs(0)
        self.failures.clear()

    @property
    def verified(self) -> int:
        """Number of messages, snapshots included, whose checksum was right."""
        return self.snapshots + self.updates - self.mismatches

    @property
    def is_forgotten(self) -> bool:
        """Whether the book is in doubt without any request, awaited answer or refusal that
        could end that.
        """
        asked = self.subscription
        return (
            not (self.streaming or self.resync_at)
            and asked is not None
            and asked.deadline == 0
            and asked.phase in (Phase.REQUESTED, Phase.CONFIRMED)
        )

    @property
    def is_at_rest(self) -> bool:
        """Whether the book is live, proved and not being renewed: only a long silence can
        change its state.
        """
        is_asked = self.is_unproved or self.is_renewed or self.given_back_at
        return self.streaming and self.state is FeedState.LIVE and not is_asked

    def load_known(self, data: BookData) -> bool:
        """Replace the whole book by a snapshot, where its checksum verifies in the
        precision of the instrument channel; returns whether it did, and if not, has changed
        nothing.

        A snapshot that verifies so is the same as one read by `load`, in a tenth of the
        time.
        """
        levels = max(len(data.bids), len(data.asks))
        if self.decimals_known is None or self.depth is None or levels > self.depth:
            return False
        book = Book(self.depth, *self.decimals_known, self.publish_levels)
        try:
            if book.apply(data.bids, data.asks) != data.checksum:
                return False
        except (ValueError, OverflowError):  # numbers that no float tells, or no record holds
            return False
        self.book = book
        self.snapshots += 1
        self.timestamp = data.timestamp
        self.is_guess = False
        return True

    def load(self, data: ExactBookData) -> bool:
        """Replace the whole book by a snapshot; returns whether its checksum verified.

        The decimals of the snapshot's own text are tried first: on the wire they are the
        precision that the checksum is computed with. Some recorders drop trailing zeros;
        then the precision of the instrument channel is right.
        """
        self.snapshots += 1
        self.timestamp = data.timestamp
        self.is_guess = not (data.bids or data.asks or self.decimals_known)
        if self._fill(data):
            return True
        self.mismatches += 1
        return False

    def reread(self, data: ExactBookData | None) -> bool:
        """Rebuild a book that was empty from its first update, whose text shows the
        decimals.

        Returns whether the checksum verified; False for an update that cannot be read
        (None).
        """
        self.is_guess = False
        return data is not None and self._fill(data)

    def apply_exact(self, data: ExactBookData) -> bool:
        """Apply an update with every digit of its text; False when a number is invalid."""
        try:
            bids = [units_of(level, self.book.price_decimals, self.book.qty_decimals) for level in data.bids]
            asks = [units_of(level, self.book.price_decimals, self.book.qty_decimals) for level in data.asks]
            self.book.apply_units(bids, asks)
        except (ValueError, OverflowError):
            return False
        return True

    def failed(self, now: MonoNs) -> FeedState:
        """End the stream after a failure and schedule a resynchronization; returns the
        state to enter.
        """
        self.end()
        self.failures.append(now)
        is_third = len(self.failures) == FAILURES_MAX and now - self.failures[0] <= FAILURE_WINDOW_NS
        if is_third or self.state is FeedState.UNTRUSTED:
            self.resync_at = MonoNs(now + UNTRUSTED_RETRY_NS)
            return FeedState.UNTRUSTED
        self.resync_at = MonoNs(max(now, self.resynced_at + RESYNC_INTERVAL_NS))
        return FeedState.STALE

    def end(self) -> None:
        """Ignore every update from now on, until a snapshot is loaded."""
        self.streaming = False
        self.is_unproved = self.is_renewed = False
        self.given_back_at = MonoNs(0)

    def describe_mismatch(self, data: BookData | ExactBookData) -> str:
        """The reason text of a wrong checksum."""
        return f"checksum {self.book.checksum():#010x}, Kraken says {data.checksum:#010x}"

    def _fill(self, data: ExactBookData) -> bool:
        levels = max(len(data.bids), len(data.asks))
        if self.depth is None or levels > self.depth:
            self.depth = next((depth for depth in BOOK_DEPTHS if depth >= levels), levels)
        for price_decimals, qty_decimals in self._candidate_decimals(data):
            self.book = Book(self.depth, price_decimals, qty_decimals, self.publish_levels)
            if self.apply_exact(data) and self.book.checksum() == data.checksum:
                return True
        return False

    def _candidate_decimals(self, data: ExactBookData) -> list[tuple[int, int]]:
        levels = (*data.bids, *data.asks)
        if not levels:
            return [self.decimals_known or (0, 0)]
        candidates = [
            (max(decimals_of(level.price) for level in levels), max(decimals_of(level.qty) for level in levels))
        ]
        if self.decimals_known and self.decimals_known not in candidates:
            candidates.append(self.decimals_known)
        return [decimals for decimals in candidates if max(decimals) <= DECIMALS_MAX]


def units_of(level: ExactLevel, price_decimals: int, qty_decimals: int) -> UnitsLevel:
    """A level in ticks and lots; ValueError for one that is finer, or negative."""
    ticks, lots = decimal_units(level.price, price_decimals), decimal_units(level.qty, qty_decimals)
    if ticks < 0 or lots < 0:
        raise ValueError(f"{level.qty} @ {level.price} is not a level")
    return UnitsLevel(ticks, lots)


def state_changed(feed: BookFeed, state: FeedState, reason: str) -> tuple[StateChanged, ...]:
    """Set a feed's state; returns the event, or nothing when the feed is in that state
    already.
    """
    if feed.state is state:
        return ()
    feed.state = state
    return (StateChanged(feed.symbol, state, reason[:REASON_CHARS_MAX]),)
