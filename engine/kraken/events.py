"""What a public session reports: things that happened, in our units where the pair's precision is known.

`BookChanged` is the hot one: it is made once a pair and reported again and again;
its `feed` holds the news.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from engine.kraken.messages import CandleData, Notice, PairData, TickerData, TradeData
from engine.records import FeedState

if TYPE_CHECKING:
    from engine.kraken.book_feed import BookFeed


class BookChanged(Struct, frozen=True, gc=False):
    """A book message was applied and its checksum verified: `feed.book` is the pair's live book."""

    feed: BookFeed


class StateChanged(Struct, frozen=True, gc=False):
    """A pair's book became live, stale or untrusted."""

    symbol: str
    state: FeedState
    reason: str


class BookUnproved(Struct, frozen=True, gc=False):
    """A live book has long had no message, on a connection that lives: it stays live, and is asked to prove itself.

    The proof is its next BookChanged.
    """

    symbol: str
    reason: str


class TradePrinted(Struct, frozen=True, gc=False):
    """One fill on the tape, told once; `history` says that a snapshot told it, after an outage that it fell into."""

    trade: TradeData
    history: bool = False


class TickerChanged(Struct, frozen=True, gc=False):
    """A pair's ticker, from a snapshot or an update: each replaces the last."""

    ticker: TickerData


class CandleChanged(Struct, frozen=True, gc=False):
    """A candle as it stands; see `engine.records.Candle`."""

    candle: CandleData
    closed: bool
    history: bool = False
    missed: int = 0


class PairChanged(Struct, frozen=True, gc=False):
    """The instrument channel's word on a pair that we follow, or on one of its assets."""

    pair: PairData
    base_decimals: int | None = None
    """Of balances in the base currency; None until Kraken has told."""
    quote_decimals: int | None = None


class SystemChanged(Struct, frozen=True, gc=False):
    """The venue's status, on connecting and whenever it changes, with its notices that are new."""

    system: str
    version: str
    notices: tuple[Notice, ...]


class Refused(Struct, frozen=True, gc=False):
    """Kraken refused a subscription for good; `advice` is one sentence that names the pair and the mend."""

    channel: str
    symbol: str
    advice: str


class FrameNotUnderstood(Struct, frozen=True, gc=False):
    """A frame was counted and left: `kind` is "malformed", "unknown" or "refused" (an error without a subscription).

    Reported rarely, counted always.
    """

    kind: str
    detail: str
    frame: bytes
    """Its first bytes."""


Event = (
    BookChanged
    | StateChanged
    | BookUnproved
    | TradePrinted
    | TickerChanged
    | CandleChanged
    | PairChanged
    | SystemChanged
    | Refused
    | FrameNotUnderstood
)

FRAME_BYTES_SHOWN_MAX = 200
REASON_CHARS_MAX = 400  # of a change of state: a sentence, with numbers of Kraken's in it

NO_EVENTS: tuple[Event, ...] = ()


def state_changed(feed: BookFeed, state: FeedState, reason: str) -> tuple[Event, ...]:
    """Move a pair's feed to `state`; nothing is reported when it is there already."""
    if feed.state is state:
        return NO_EVENTS
    feed.state = state
    return (StateChanged(feed.symbol, state, reason[:REASON_CHARS_MAX]),)


def silence_text(silent_ns: int) -> str:
    """3.2 s, for the reasons."""
    return f"{silent_ns / 1e9:.1f} s"
