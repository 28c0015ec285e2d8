"""The events of a public session, in ticks and lots where the pair's precision is known.

`BookChanged` is the frequent one: one object per pair, reported for each update; `feed`
holds the book.
"""

from typing import Final

from msgspec import Struct

from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.public.book_feed import BookChanged, StateChanged
from engine.kraken.public.messages import CandleData, PairData, TickerData, TradeData
from engine.units import MonoNs

ALL_PAIRS: Final = "all pairs"  # instead of a symbol, for the instrument channel


class BookUnproved(Struct, frozen=True, gc=False):
    """A live book has had no message for long on a live connection: it stays live and is
    renewed.

    Its next BookChanged proves it again.
    """

    symbol: str
    reason: str


class TradePrinted(Struct, frozen=True, gc=False):
    """One public trade, reported once; `history`: it comes late, with the snapshot after an
    outage, or by REST.
    """

    trade: TradeData
    history: bool = False
    received_at: MonoNs = MonoNs(0)
    is_rest: bool = False


class TickerChanged(Struct, frozen=True, gc=False):
    """A pair's ticker, from a snapshot or an update: each replaces the last."""

    ticker: TickerData
    is_trade: bool = False
    """Whether it is there because of a trade, whose time it then has."""


class TradesBefore(Struct, frozen=True, gc=False):
    """The last trades of a pair before those that are reported, oldest first."""

    trades: list[TradeData]


class CandleTold(Struct, frozen=True, gc=False):
    """A candle as Kraken's own channel tells it, at each trade."""

    candle: CandleData


class PairChanged(Struct, frozen=True, gc=False):
    """What the instrument channel says of a followed pair, or of one of its assets."""

    pair: PairData
    base_decimals: int | None = None
    """Decimals of balances in the base currency; None until Kraken has sent them."""
    quote_decimals: int | None = None


class Refused(Struct, frozen=True, gc=False):
    """Kraken refused a subscription; `advice` is one sentence that names the pair and the
    remedy.
    """

    channel: str
    symbol: str
    """ALL_PAIRS for the instrument channel."""
    advice: str


Event = (
    BookChanged
    | StateChanged
    | BookUnproved
    | TradePrinted
    | TickerChanged
    | TradesBefore
    | CandleTold
    | PairChanged
    | SystemChanged
    | Refused
    | FrameNotUnderstood
)


NO_EVENTS: tuple[Event, ...] = ()
