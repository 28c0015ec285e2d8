"""What a public session reports: things that happened, in our units where the pair's precision is known.

`BookChanged` is the hot one: it is made once a pair and reported again and again;
its `feed` holds the news.
"""

from msgspec import Struct

from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.public.book_feed import BookChanged, StateChanged
from engine.kraken.public.messages import CandleData, PairData, TickerData, TradeData


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


class Refused(Struct, frozen=True, gc=False):
    """Kraken refused a subscription for good; `advice` is one sentence that names the pair and the mend."""

    channel: str
    symbol: str
    advice: str


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


NO_EVENTS: tuple[Event, ...] = ()
