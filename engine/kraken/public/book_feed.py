"""One pair's book as Kraken streams it: snapshot, updates, proof, and doubt.

            snapshot verifies               checksum differs, crossed, connection lost, Kraken's maintenance
    STALE ─────────────────────► LIVE ─────────────────────────────────────────────► STALE
      ▲                                                                                │ third failure in 60 s
      └──────────────────────── snapshot verifies ◄── retried slowly ◄── UNTRUSTED ◄───┘

Between a failure and the next snapshot every update is ignored: sixty bad updates in
flight cost one resynchronisation. Silence alone is no failure: the book stays live, is marked
unproved, and a fresh snapshot is asked for when nothing more urgent is to be asked. During
maintenance a book goes on streaming, but is stale; the first update that verifies
afterwards, or a fresh snapshot, makes it live again.
"""

from collections import deque
from decimal import Decimal

from msgspec import Struct

from engine.kraken.public.book_status import BookStatus
from engine.kraken.public.messages import BookData, ExactBookData, ExactLevel
from engine.kraken.public.rejects import BOOK_DEPTHS
from engine.kraken.public.subscriptions import Phase, Subscription
from engine.market import Book
from engine.records import FeedState
from engine.units import NS_PER_S, MonoNs, decimal_units

FAILURES_MAX = 3  # of one pair within the window: then it is untrusted
FAILURE_WINDOW_NS = 60 * NS_PER_S
RESYNC_INTERVAL_NS = 5 * NS_PER_S  # at least, between two of a pair: each is two requests and a snapshot
UNTRUSTED_RETRY_NS = 60 * NS_PER_S
REASON_CHARS_MAX = 400  # of a change of state: a sentence, with numbers of Kraken's in it
DECIMALS_MAX = 18  # more than any pair has; beyond it a number is junk


class BookChanged(Struct, frozen=True, gc=False):
    """A book message was applied and its checksum verified: `feed.book` is the pair's live book."""

    feed: "BookFeed"


class StateChanged(Struct, frozen=True, gc=False):
    """A pair's book became live, stale or untrusted."""

    symbol: str
    state: FeedState
    reason: str


class UnitsLevel(Struct, gc=False):
    """A level in ticks and lots, for Book.apply_units."""

    price: int
    qty: int


class BookFeed(BookStatus):
    """The state of one pair's book subscription."""

    __slots__ = ("changed", "crossings", "decimals_known", "depth", "failures", "given_back_at",
                 "ignored", "is_guess", "is_renewed", "is_unproved", "mismatches", "pair_index",
                 "publish_levels", "renewals", "resync_at", "resynced_at", "resyncs", "silence_ns_max", "snapshots",
                 "subscription", "symbol", "updates_at_silence")  # fmt: skip

    def __init__(
        self, symbol: str, pair_index: int, depth: int | None, publish_levels: int, silence_ns_max: int
    ) -> None:
        self.symbol = symbol
        self.pair_index = pair_index
        # Subscribed levels a side; None until an acknowledgement or a snapshot tells.
        self.depth = depth
        self.publish_levels = publish_levels
        # (price decimals, quantity decimals) from the instrument channel; None until it spoke.
        self.decimals_known: tuple[int, int] | None = None
        # What we asked Kraken for; None in a replay, where nobody is asked.
        self.subscription: Subscription | None = None
        self.book = Book(depth or BOOK_DEPTHS[0], 0, 0, publish_levels)
        # Are the book's decimals a guess? So it is when its snapshot had no level to tell them by.
        self.is_guess = False
        self.state = FeedState.STALE
        self.streaming = False
        self.is_direct = False
        self.timestamp = ""
        self.heard_at = MonoNs(0)
        # After so much silence the pair is resynchronised; it doubles from one silence to the next, until an
        # update comes: `updates` as it was at the last silence tells.
        self.silence_ns_max = silence_ns_max
        self.updates_at_silence = -1
        # Has it been silent for so long, and said nothing since? Has it been asked to prove itself by a fresh snapshot?
        self.is_unproved = False
        self.is_renewed = False
        # When Kraken confirmed that a live book was given back to prove itself; 0 when it was not.
        self.given_back_at = MonoNs(0)
        # When the next resynchronisation may start; 0 when none is needed. When the last one started.
        self.resync_at = MonoNs(0)
        self.resynced_at = MonoNs(-RESYNC_INTERVAL_NS)
        # Times of the last failures, for the rule of three.
        self.failures: deque[MonoNs] = deque(maxlen=FAILURES_MAX)
        # Counted since the process started: messages applied, messages ignored while in doubt, wrong checksums,
        # crossed books with a right checksum, resynchronisations asked for, quiet books asked to prove themselves.
        self.snapshots = 0
        self.updates = 0
        self.ignored = 0
        self.mismatches = 0
        self.crossings = 0
        self.resyncs = 0
        self.renewals = 0
        # The event of a verified message: always the same one, so none is made on the hot path.
        self.changed = (BookChanged(self),)

    @property
    def verified(self) -> int:
        """Messages, snapshots included, whose checksum was right."""
        return self.snapshots + self.updates - self.mismatches

    @property
    def is_forgotten(self) -> bool:
        """In doubt, and nothing is under way that could end it: no request, no answer awaited, no refusal."""
        asked = self.subscription
        return (
            not (self.streaming or self.resync_at)
            and asked is not None
            and asked.deadline == 0
            and asked.phase in (Phase.REQUESTED, Phase.CONFIRMED)
        )

    def load(self, data: ExactBookData) -> bool:
        """Replace the book wholesale by a snapshot; did its checksum verify?

        The decimals of the snapshot's own text are tried first: on the wire they are
        the precision that the checksum is made of. Some recorders drop trailing zeros,
        and then the instrument channel's word is right.
        """
        self.snapshots += 1
        self.timestamp = data.timestamp
        self.is_guess = not (data.bids or data.asks or self.decimals_known)
        if self._fill(data):
            return True
        self.mismatches += 1
        return False

    def reread(self, data: ExactBookData | None) -> bool:
        """Begin again from the first update of a book that was empty: its text tells the decimals at last."""
        self.is_guess = False
        return data is not None and self._fill(data)

    def apply_exact(self, data: ExactBookData) -> bool:
        """Apply an update from its text; False when it makes no sense."""
        try:
            bids = [_units(level, self.book.price_decimals, self.book.qty_decimals) for level in data.bids]
            asks = [_units(level, self.book.price_decimals, self.book.qty_decimals) for level in data.asks]
            self.book.apply_units(bids, asks)
        except (ValueError, OverflowError):
            return False
        return True

    def failed(self, now: MonoNs) -> FeedState:
        """Note one failure; the state it leads to. Asks for a resynchronisation as soon as that state allows."""
        self.end()
        self.failures.append(now)
        is_third = len(self.failures) == FAILURES_MAX and now - self.failures[0] <= FAILURE_WINDOW_NS
        if is_third or self.state is FeedState.UNTRUSTED:
            self.resync_at = MonoNs(now + UNTRUSTED_RETRY_NS)
            return FeedState.UNTRUSTED
        self.resync_at = MonoNs(max(now, self.resynced_at + RESYNC_INTERVAL_NS))
        return FeedState.STALE

    def end(self) -> None:
        """The stream ends here: only a snapshot begins another."""
        self.streaming = False
        self.is_unproved = self.is_renewed = False
        self.given_back_at = MonoNs(0)

    def describe_mismatch(self, data: BookData | ExactBookData) -> str:
        """The reason given for a wrong checksum."""
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
        candidates = [(max(_decimals(level.price) for level in levels), max(_decimals(level.qty) for level in levels))]
        if self.decimals_known and self.decimals_known not in candidates:
            candidates.append(self.decimals_known)
        return [decimals for decimals in candidates if max(decimals) <= DECIMALS_MAX]


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _units(level: ExactLevel, price_decimals: int, qty_decimals: int) -> UnitsLevel:
    ticks, lots = decimal_units(level.price, price_decimals), decimal_units(level.qty, qty_decimals)
    if ticks < 0 or lots < 0:
        raise ValueError(f"{level.qty} @ {level.price} is not a level")
    return UnitsLevel(ticks, lots)


def state_changed(feed: BookFeed, state: FeedState, reason: str) -> tuple[StateChanged, ...]:
    """Move a pair's feed to `state`; nothing is reported when it is there already."""
    if feed.state is state:
        return ()
    feed.state = state
    return (StateChanged(feed.symbol, state, reason[:REASON_CHARS_MAX]),)
