"""What a slot of the market ring holds, and what a strategy sees of it.

Every record opens with the same 56 bytes, little-endian:

byte  0      1      2        3        4       6      8      10       12           40           48       56
      ┌──────┬──────┬────────┬────────┬───────┬──────┬──────┬────────┬────────────┬────────────┬────────┐
      │ kind │ code │ price  │ qty    │ pair  │ bids │ asks │ levels │ kraken     │ received   │ number │
      │      │      │ decim. │ decim. │ index │      │      │        │ _time, text│ _at (Mono) │        │
      └──────┴──────┴────────┴────────┴───────┴──────┴──────┴────────┴────────────┴────────────┴────────┘

followed by its body of levels (BOOK_TOP), of numbers of 128 bits (TRADE, TICKER, CANDLE) or
of UTF-8 text (FEED_STATE, VENUE_STATUS, PAIR):

    BOOK_TOP      two blocks, bids and asks, each with room for `levels` levels of 16 bytes,
                  best first: price and quantity as 64-bit words, or one wide level, see
                  `engine.wide`; `bids` and `asks` count them; `code` is the feed state,
                  and on a board 4 more while the book is unproved; `number` counts the
                  pair's updates
    REST_BOOK     the same as Kraken's REST told it, without a checksum; never on the slot
                  of a pair's BOOK_TOP; `code` is the state of the pair's verified book
    TRADE         price, quantity; `code` has side, order type and history, `number` is
                  Kraken's trade id
    TICKER        bid, bid_qty, ask, ask_qty, last, volume, vwap, low, high, change,
                  change in percent; `number` is the decimals of the percentage
    CANDLE        open, high, low, close, vwap, volume, trades, interval_begin; `number`
                  is the interval in minutes, `code` the sum of 1 for closed, 2 for
                  history and 4 for one of which trades are missing
    FEED_STATE    the reason, as text; `code` is the state, and 4 more while the book is unproved
    PAIR          the pair's rules as JSON
    VENUE_STATUS  online, cancel_only, post_only or maintenance, as text

(`number` of a text is its bytes: a record comes back from its slot with zeros behind it.)

A record of numbers that REST told has FROM_REST in its `code`; it is from `received_at`,
when the answer arrived, which may be seconds before it was published.

Prices are ticks and quantities lots of the record's own decimals, so a record is
read without anything beside it. A strategy's views decode only what is asked of them.
"""

from abc import ABCMeta
from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from functools import cache
from struct import Struct as Packing

import msgspec
from msgspec import Struct

from engine.timestamps import wall_ns
from engine.units import NS_PER_S, MonoNs, PriceTicks, QtyLots, WallNs, units_decimal, units_text
from engine.wide import LEVEL_BYTES, NUMBER_BYTES, pack_numbers, pack_signed, unpack_numbers, wide_level

HEADER_FORMAT = "<BBBBHHHH28sqq"  # Kraken prints 27 characters of time; parsed only on request
HEADER = Packing(HEADER_FORMAT)
HEADER_BYTES = HEADER.size
TEXT_BYTES_MAX = 160  # of a reason or a pair: fits a slot of ten levels, and of one
TRADE_NUMBERS, TICKER_NUMBERS, CANDLE_NUMBERS = 2, 11, 8
TICKER_CHANGES = 2  # of a ticker's numbers, the last ones
BODY_NUMBERS_MAX = TICKER_NUMBERS

unpack_header = HEADER.unpack_from


class Kind(IntEnum):
    """The kind of a record; its first byte."""

    BOOK_TOP = 1
    TRADE = 2
    TICKER = 3
    CANDLE = 4
    FEED_STATE = 5
    PAIR = 6
    VENUE_STATUS = 7
    REST_BOOK = 8


class FeedState(IntEnum):
    """Whether a pair's book may be trusted.

    live: its last checksum verified. stale: in doubt, being resynchronised, or Kraken is in
    maintenance. untrusted: resynchronised again and again without success, or refused by
    Kraken; retried slowly. unsubscribed: nobody follows the book any more, so nothing is
    known of it.

    A live book may be unproved: it has long had no message, on a connection that lives, and
    a fresh snapshot has been asked for.
    """

    STALE = 0
    LIVE = 1
    UNTRUSTED = 2
    UNSUBSCRIBED = 3

    def __str__(self) -> str:
        return self.name.lower()


UNPROVED = 4  # added to the state in a record's `code`
STATE_BITS = 3
FROM_REST = 64  # added to the `code` of a record that REST told
WEBSOCKET, REST = "websocket", "rest"


class Source(IntEnum):
    """Where the newest data of a kind come from, as a feed's counters tell it of each pair.

    none: the WebSocket is not healthy, and REST has told nothing within the kind's
    freshness limit.
    """

    NONE = 0
    WEBSOCKET = 1
    REST = 2

    def __str__(self) -> str:
        return self.name.lower()


def source_of(record: bytes) -> str:
    """ "websocket" or "rest": what told this record."""
    return REST if record[0] == Kind.REST_BOOK or (record[1] & FROM_REST) else WEBSOCKET


def state_of(record: bytes) -> FeedState:
    """The state of a BOOK_TOP or FEED_STATE record."""
    return FeedState(record[1] & STATE_BITS)


def pair_index_of(record: bytes) -> int:
    """The pair index of a record."""
    return record[4] | record[5] << 8


def received_at_of(record: bytes) -> MonoNs:
    """When the frame of a record reached this host."""
    received_at: MonoNs = unpack_header(record)[9]
    return received_at


def number_of(record: bytes) -> int:
    """The last field of a record's header; what it means depends on its kind."""
    number: int = unpack_header(record)[10]
    return number


def best_prices(record: bytes) -> tuple[PriceTicks | None, PriceTicks | None]:
    """Best bid and best ask of a BOOK_TOP record; None for a side that is empty."""
    # Hot: asked for each order.
    bids, asks, levels, bid, bid_lots = _BEST.unpack_from(record)
    ask, ask_lots = _TWO_WORDS.unpack_from(record, HEADER_BYTES + LEVEL_BYTES * levels)
    if bids and bid_lots < 0:
        bid, _ = wide_level(bid, bid_lots)
    if asks and ask_lots < 0:
        ask, _ = wide_level(ask, ask_lots)
    return bid if bids else None, ask if asks else None


class _Ages:
    """The clock that records' ages are measured by; this module asks no clock itself."""

    now: Callable[[], MonoNs] | None = None


def measure_ages_by(now: Callable[[], MonoNs]) -> None:
    """Have `age_s` of records measured by this clock: CLOCK_MONOTONIC, or a replay's."""
    _Ages.now = staticmethod(now)


def age_s(known_at: MonoNs) -> float:
    """Seconds from a moment to now; 0 in a process where nobody is told of records."""
    return max(0, _Ages.now() - known_at) / NS_PER_S if _Ages.now is not None else 0.0


def spread_percent(spread: Decimal | None, mid: Decimal | None) -> Decimal | None:
    """A spread in per cent of a price; None without prices."""
    return 100 * spread / mid if spread is not None and mid else None


def price_reached(record: bytes, side: str, qty: Decimal) -> Decimal | None:
    """The price down to which an order of `side` (buy, sell) and this quantity would trade.

    None when the published levels do not hold so much. Amounts, not units: the record has
    its own scale.
    """
    book, lots = BookTop("", record), 0
    for level in book.asks if side == "buy" else book.bids:
        lots += level.qty_lots
        if units_decimal(lots, book.qty_decimals) >= qty:
            return level.price
    return None


def book_top_packer(publish_levels: int) -> Callable[..., bytes]:
    """Returns a function that packs a BOOK_TOP: the header's eleven fields, then bids, then
    asks.

    One call, no joining: the blocks are as the book's sides keep them, and shorter ones are
    filled with zeros.
    """
    block = f"{publish_levels * LEVEL_BYTES}s"
    return Packing(HEADER_FORMAT + block + block).pack


def pack_head(
    kind: Kind,
    pair_index: int = 0,
    *,
    code: int = 0,
    price_decimals: int = 0,
    qty_decimals: int = 0,
    time_text: bytes = b"",
    received_at: int = 0,
    number: int = 0,
) -> bytes:
    """Pack the header of a record without levels.

    Raises struct.error when a number does not fit its field.
    """
    return HEADER.pack(kind, code, price_decimals, qty_decimals, pair_index, 0, 0, 0, time_text, received_at, number)


def record_bytes_needed(publish_levels: int) -> int:
    """Bytes of the longest record when a book's record has `publish_levels` levels a side."""
    return HEADER_BYTES + max(2 * publish_levels * LEVEL_BYTES, BODY_NUMBERS_MAX * NUMBER_BYTES, TEXT_BYTES_MAX)


class Level(Struct, frozen=True, gc=False):
    """One price of a book and the quantity at it."""

    price_ticks: PriceTicks
    qty_lots: QtyLots
    price_decimals: int
    qty_decimals: int

    @property
    def price(self) -> Decimal:
        """Exact, with every decimal of the pair."""
        return units_decimal(self.price_ticks, self.price_decimals)

    @property
    def qty(self) -> Decimal:
        """Exact, with every decimal of the pair."""
        return units_decimal(self.qty_lots, self.qty_decimals)

    @property
    def price_text(self) -> str:
        """As Kraken writes it."""
        return units_text(self.price_ticks, self.price_decimals)

    @property
    def qty_text(self) -> str:
        """As Kraken writes it."""
        return units_text(self.qty_lots, self.qty_decimals)

    def __repr__(self) -> str:
        return f"{self.qty_text} @ {self.price_text}"


@cache
def _words(count: int) -> Packing:
    return Packing(f"<{count}q")


_TWO_WORDS = _words(2)
# Of a BOOK_TOP: how many bids, asks and places for levels; its first bid.
_BEST = Packing("<6xHHH44xqq")


def _level_at(record: bytes, offset: int) -> tuple[PriceTicks, QtyLots]:
    ticks, lots = _TWO_WORDS.unpack_from(record, offset)
    return (ticks, lots) if lots >= 0 else wide_level(ticks, lots)


class BookTop(metaclass=ABCMeta):  # noqa: B024, the compiled view is registered with it
    """The best levels of one pair's book, as of one message of Kraken's.

    Shapes: `bids` and `asks` are tuples of Level, best first; either may be shorter than
    the other, or empty, on a thin pair. Kraken's checksum proves the first ten levels a
    side; deeper ones have none. A book of REST has no checksum: `is_verified` is False, and
    `state` is that of the pair's verified book, never live.

    The compiled view of a record that strategies get, where there is one, is a BookTop too.
    """

    __slots__ = ("_ask_count", "_asks_at", "_bid_count", "_record", "_time_text", "is_proved", "known_at",
                 "price_decimals", "qty_decimals", "received_at", "state", "symbol", "update_number")  # fmt: skip

    def __init__(self, symbol: str, record: bytes) -> None:
        header = unpack_header(record)
        _, code, price_decimals, qty_decimals, _, bids, asks, levels, time_text, received_at, number = header
        self.symbol = symbol
        self.received_at: MonoNs = received_at
        """When the frame reached this host."""
        self.known_at: MonoNs = received_at
        """When it was last known to be true; later than `received_at` where a context has
        seen that the connection lives and has brought nothing newer."""
        self._time_text: bytes = time_text
        self.update_number: int = number
        """Updates of this pair since its feed's process started; a snapshot brings none."""
        self.state: int = code & STATE_BITS
        """LIVE in every record of a ring; the board also keeps the last book of a pair in
        doubt.
        """
        self.is_proved: bool = code < UNPROVED
        """False once the pair has been silent for `feed.book_silence_s`, until its next
        record.
        """
        self.price_decimals: int = price_decimals
        self.qty_decimals: int = qty_decimals
        self._bid_count: int = bids
        self._ask_count: int = asks
        # The offset of the block of the asks.
        self._asks_at: int = HEADER_BYTES + LEVEL_BYTES * levels
        self._record = record

    @property
    def source(self) -> str:
        """ "websocket" or "rest"."""
        return source_of(self._record)

    @property
    def is_verified(self) -> bool:
        """Whether Kraken's checksum has proved it; False for a book of REST."""
        return self._record[0] == Kind.BOOK_TOP

    @property
    def kraken_time(self) -> WallNs:
        """When Kraken's engine changed the book; 0 when the message did not say."""
        return kraken_wall_ns(self._time_text)

    @property
    def age_s(self) -> float:
        """Seconds since this was last known to be the pair's book; see `known_at`."""
        return age_s(self.known_at)

    @property
    def best_bid(self) -> Level | None:
        """The highest bid; None without bids."""
        return self._level(HEADER_BYTES, self._bid_count)

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask; None without asks."""
        return self._level(self._asks_at, self._ask_count)

    @property
    def bids(self) -> tuple[Level, ...]:
        """Highest first."""
        return self._side(HEADER_BYTES, self._bid_count)

    @property
    def asks(self) -> tuple[Level, ...]:
        """Lowest first."""
        return self._side(self._asks_at, self._ask_count)

    @property
    def spread(self) -> Decimal | None:
        """Best ask - best bid; None while a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None:
            return None
        return units_decimal(ask.price_ticks - bid.price_ticks, self.price_decimals)

    @property
    def spread_percent(self) -> Decimal | None:
        """The spread in per cent of the price half-way; None while a side is empty."""
        return spread_percent(self.spread, self.mid)

    @property
    def mid(self) -> Decimal | None:
        """Half-way between best bid and best ask; None while a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None:
            return None
        doubled = ask.price_ticks + bid.price_ticks  # exact, whatever precision a strategy's thread has set
        if doubled % 2:
            return units_decimal(5 * doubled, self.price_decimals + 1)
        return units_decimal(doubled // 2, self.price_decimals)

    def _level(self, offset: int, count: int) -> Level | None:
        if not count:
            return None
        ticks, lots = _level_at(self._record, offset)
        return Level(ticks, lots, self.price_decimals, self.qty_decimals)

    def _side(self, offset: int, count: int) -> tuple[Level, ...]:
        units = _words(2 * count).unpack_from(self._record, offset)
        price_decimals, qty_decimals = self.price_decimals, self.qty_decimals
        return tuple(
            Level(ticks, lots, price_decimals, qty_decimals)
            if lots >= 0
            else Level(*wide_level(ticks, lots), price_decimals, qty_decimals)
            for ticks, lots in zip(units[::2], units[1::2], strict=True)
        )

    def __repr__(self) -> str:
        return f"BookTop({self.symbol} {self.best_bid} | {self.best_ask})"


class Trade(Struct, frozen=True, gc=False):
    """A public trade: one fill on Kraken's tape. Each is told once.

    Source: https://docs.kraken.com/api/docs/websocket-v2/trade
    """

    symbol: str
    price_ticks: PriceTicks
    qty_lots: QtyLots
    price_decimals: int
    qty_decimals: int
    side: str
    """The taker's: buy or sell."""
    order_type: str
    """The taker's: limit or market."""
    trade_id: int
    """Grows by one a fill, per pair: a gap is a lost trade."""
    kraken_time: WallNs
    received_at: MonoNs
    history: bool = False
    """True if it is told late: it happened in an outage, or its message was lost, and came
    with Kraken's snapshot or by REST.
    """
    source: str = WEBSOCKET

    @property
    def price(self) -> Decimal:
        return units_decimal(self.price_ticks, self.price_decimals)

    @property
    def qty(self) -> Decimal:
        return units_decimal(self.qty_lots, self.qty_decimals)


class Ticker(Struct, frozen=True, gc=False):
    """Best prices and the last 24 hours of a pair.

    0 is what Kraken writes, or leaves out, of a pair without trades. REST (`source`) tells
    quantities in whole units or rounded, and `change` since midnight UTC instead of 24
    hours.

    Source: https://docs.kraken.com/api/docs/websocket-v2/ticker
    """

    symbol: str
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal
    last: Decimal
    volume: Decimal
    """Of the last 24 hours, in base currency."""
    vwap: Decimal
    low: Decimal
    high: Decimal
    change: Decimal
    """Of the last 24 hours, in quote currency."""
    change_pct: Decimal
    kraken_time: WallNs
    """0 when the message did not say."""
    received_at: MonoNs
    source: str = WEBSOCKET
    known_at: MonoNs = MonoNs(0)
    """As `BookTop.known_at`; 0 for not later than `received_at`."""

    @property
    def spread(self) -> Decimal:
        """Ask - bid."""
        return self.ask - self.bid

    @property
    def mid(self) -> Decimal:
        """Half-way between bid and ask."""
        return (self.ask + self.bid) / 2

    @property
    def spread_percent(self) -> Decimal | None:
        """The spread in per cent of the price half-way; None of a pair without prices."""
        return spread_percent(self.spread, self.mid)

    @property
    def age_s(self) -> float:
        """Seconds since this was last known to be the pair's ticker."""
        return age_s(max(self.received_at, self.known_at))


class Candle(Struct, frozen=True, gc=False):
    """One interval of a pair's trades, as far as it has come.

    It is made of the trades of `on_trade`, so it is exact but for `vwap`, which is rounded
    to the last digit of a price. As with Kraken's own channel, an interval without trades
    has no candle. One that is forming is told at each change, once a burst of trades; when
    its interval is over by Kraken's clock it is told as `closed`, a second or two later,
    whether or not another trade has come. A trade that comes late amends its candle, which
    is told again.

    What began before the first trade that was heard, or lost a trade that could not be had,
    is not whole, and never closed until Kraken's REST has told it or the part that is
    missing; `source` says so.

    Source: https://docs.kraken.com/api/docs/rest-api/get-ohlc-data
    """

    symbol: str
    interval_min: int
    interval_begin: WallNs
    """A multiple of the interval since 1970 UTC, so weeks begin on a Thursday."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    vwap: Decimal
    """The mean price, weighted by volume."""
    volume: Decimal
    """In base currency."""
    trades: int
    closed: bool
    """True for the final numbers; see `history` for their correction."""
    received_at: MonoNs
    """When Kraken was last heard before it was told."""
    history: bool = False
    """True for a closed candle that was over before it was known: it is from before the
    start, or from an outage, or a trade of it came late.
    """
    source: str = WEBSOCKET
    """ "websocket" when it is made of trades, "rest" when REST's candles have told it, or a
    part of it.
    """
    is_whole: bool = True
    """False while some of its trades are missing: the numbers are those of the others, or
    what REST told some seconds or minutes ago with the prices since.
    """


class FeedStateChange(Struct, frozen=True, gc=False):
    """A pair's book became live, stale or untrusted, and why."""

    symbol: str
    state: FeedState
    reason: str
    received_at: MonoNs
    is_proved: bool = True


class VenueStatus(Struct, frozen=True, gc=False):
    """Kraken's matching engine as a whole: online, cancel_only, post_only or maintenance.

    Source: https://docs.kraken.com/api/docs/websocket-v2/status
    """

    system: str
    received_at: MonoNs


SIDES = ("buy", "sell")
ORDER_TYPES = ("limit", "market", "other")
_TRADE_CODES = {
    (side, order_type): s | t << 1 for s, side in enumerate(SIDES) for t, order_type in enumerate(ORDER_TYPES)
}
_TRADE_HISTORY = 8  # added to the code, as FROM_REST
_CANDLE_CLOSED, _CANDLE_HISTORY, _CANDLE_PARTIAL = 1, 2, 4  # added up, and FROM_REST


def pack_trade(
    pair_index: int,
    *,
    price_ticks: int,
    qty_lots: int,
    price_decimals: int,
    qty_decimals: int,
    side: str,
    order_type: str,
    trade_id: int,
    kraken_time: str,
    received_at: int,
    history: bool = False,
    is_rest: bool = False,
) -> bytes:
    """Pack a TRADE record.

    Raises OverflowError when a number needs more than 128 bits, struct.error when an id
    needs 64.
    """
    code = _TRADE_CODES[side, order_type if order_type in ORDER_TYPES else "other"]
    code |= _TRADE_HISTORY * history | FROM_REST * is_rest
    head = pack_head(
        Kind.TRADE,
        pair_index,
        code=code,
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        time_text=kraken_time.encode(),
        received_at=received_at,
        number=trade_id,
    )
    return head + pack_numbers((price_ticks, qty_lots))


def unpack_trade(symbol: str, record: bytes) -> Trade:
    """Unpack a TRADE record."""
    _, code, price_decimals, qty_decimals, _, _, _, _, time_text, received_at, trade_id = unpack_header(record)
    ticks, lots = unpack_numbers(record, HEADER_BYTES, TRADE_NUMBERS)
    return Trade(
        symbol,
        price_ticks=PriceTicks(ticks),
        qty_lots=QtyLots(lots),
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        side=SIDES[code & 1],
        order_type=ORDER_TYPES[code >> 1 & 3],
        trade_id=trade_id,
        kraken_time=kraken_wall_ns(time_text),
        received_at=received_at,
        history=bool(code & _TRADE_HISTORY),
        source=REST if code & FROM_REST else WEBSOCKET,
    )


def pack_ticker(
    pair_index: int,
    numbers: tuple[int, ...],
    *,
    price_decimals: int,
    qty_decimals: int,
    percent_decimals: int,
    kraken_time: str,
    received_at: int,
    is_rest: bool = False,
) -> bytes:
    """Pack a TICKER record of its eleven numbers (see the module).

    Raises OverflowError when one needs more than 128 bits.
    """
    head = pack_head(
        Kind.TICKER,
        pair_index,
        code=FROM_REST * is_rest,
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        time_text=kraken_time.encode(),
        received_at=received_at,
        number=percent_decimals,
    )
    # The changes come last, and are negative every other day.
    return head + pack_numbers(numbers[:-TICKER_CHANGES]) + pack_signed(numbers[-TICKER_CHANGES:])


def unpack_ticker(symbol: str, record: bytes) -> Ticker:
    """Unpack a TICKER record."""
    _, code, price_decimals, qty_decimals, _, _, _, _, time_text, received_at, percent_decimals = unpack_header(record)
    numbers = unpack_numbers(record, HEADER_BYTES, TICKER_NUMBERS)
    bid, bid_qty, ask, ask_qty, last, volume, vwap, low, high, change, change_pct = numbers
    return Ticker(
        symbol,
        bid=units_decimal(bid, price_decimals),
        bid_qty=units_decimal(bid_qty, qty_decimals),
        ask=units_decimal(ask, price_decimals),
        ask_qty=units_decimal(ask_qty, qty_decimals),
        last=units_decimal(last, price_decimals),
        volume=units_decimal(volume, qty_decimals),
        vwap=units_decimal(vwap, price_decimals),
        low=units_decimal(low, price_decimals),
        high=units_decimal(high, price_decimals),
        change=units_decimal(change, price_decimals),
        change_pct=units_decimal(change_pct, percent_decimals),
        kraken_time=kraken_wall_ns(time_text),
        received_at=received_at,
        source=REST if code & FROM_REST else WEBSOCKET,
    )


def pack_candle(
    pair_index: int,
    numbers: tuple[int, ...],
    *,
    price_decimals: int,
    qty_decimals: int,
    interval_min: int,
    closed: bool,
    received_at: int,
    history: bool = False,
    is_rest: bool = False,
    is_whole: bool = True,
) -> bytes:
    """Pack a CANDLE record of its eight numbers (see the module).

    Raises OverflowError when one needs more than 128 bits.
    """
    code = _CANDLE_CLOSED * closed | _CANDLE_HISTORY * history | _CANDLE_PARTIAL * (not is_whole) | FROM_REST * is_rest
    head = pack_head(
        Kind.CANDLE,
        pair_index,
        code=code,
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        received_at=received_at,
        number=interval_min,
    )
    return head + pack_numbers(numbers)


def unpack_candle(symbol: str, record: bytes) -> Candle:
    """Unpack a CANDLE record."""
    _, code, price_decimals, qty_decimals, _, _, _, _, _, received_at, interval_min = unpack_header(record)
    numbers = unpack_numbers(record, HEADER_BYTES, CANDLE_NUMBERS)
    first, high, low, close, vwap, volume, trades, interval_begin = numbers
    return Candle(
        symbol,
        interval_min,
        WallNs(interval_begin),
        open=units_decimal(first, price_decimals),
        high=units_decimal(high, price_decimals),
        low=units_decimal(low, price_decimals),
        close=units_decimal(close, price_decimals),
        vwap=units_decimal(vwap, price_decimals),
        volume=units_decimal(volume, qty_decimals),
        trades=trades,
        closed=bool(code & _CANDLE_CLOSED),
        received_at=received_at,
        history=bool(code & _CANDLE_HISTORY),
        source=REST if code & FROM_REST else WEBSOCKET,
        is_whole=not code & _CANDLE_PARTIAL,
    )


def interval_begin_of(record: bytes) -> WallNs:
    """When the interval of a CANDLE record began."""
    (begin,) = unpack_numbers(record, HEADER_BYTES + (CANDLE_NUMBERS - 1) * NUMBER_BYTES, 1)
    return WallNs(begin)


def pack_feed_state(
    pair_index: int, state: FeedState, reason: str, received_at: int, *, is_proved: bool = True
) -> bytes:
    """Pack a FEED_STATE record; a reason too long for a slot is cut."""
    text, code = _cut(reason), state | (0 if is_proved else UNPROVED)
    return pack_head(Kind.FEED_STATE, pair_index, code=code, received_at=received_at, number=len(text)) + text


def unpack_feed_state(symbol: str, record: bytes) -> FeedStateChange:
    """Unpack a FEED_STATE record."""
    return FeedStateChange(symbol, state_of(record), _text(record), received_at_of(record), record[1] < UNPROVED)


def pack_venue_status(system: str, received_at: int) -> bytes:
    """Pack a VENUE_STATUS record, which belongs to no pair."""
    text = _cut(system)
    return pack_head(Kind.VENUE_STATUS, received_at=received_at, number=len(text)) + text


def unpack_venue_status(record: bytes) -> VenueStatus:
    """Unpack a VENUE_STATUS record."""
    return VenueStatus(_text(record), received_at_of(record))


_encode = msgspec.json.Encoder(decimal_format="string").encode


class PairRules(Struct, array_like=True, frozen=True):
    """The body of a PAIR record: what the instrument channel says of a pair."""

    price_increment_ticks: int
    qty_increment_lots: int
    qty_min_lots: int
    cost_min: Decimal
    status: str
    cost_decimals: int
    base_decimals: int | None = None
    quote_decimals: int | None = None


_decode_pair_rules = msgspec.json.Decoder(PairRules).decode


def pack_pair(pair_index: int, price_decimals: int, qty_decimals: int, rules: PairRules, received_at: int) -> bytes:
    """Pack a PAIR record; raises ValueError when the rules need more text than a slot
    holds.
    """
    body = _encode(rules)
    if len(body) > TEXT_BYTES_MAX:
        raise ValueError(f"the rules of a pair need {len(body)} bytes, a slot holds {TEXT_BYTES_MAX}")
    head = pack_head(
        Kind.PAIR,
        pair_index,
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        received_at=received_at,
        number=len(body),
    )
    return head + body


def unpack_pair(record: bytes) -> tuple[int, int, PairRules]:
    """Unpack a PAIR record into price decimals, quantity decimals and rules."""
    header = unpack_header(record)
    return header[2], header[3], _decode_pair_rules(_text(record))


def kraken_wall_ns(time_text: bytes) -> WallNs:
    """A record's text of Kraken's time as a number; 0 for no time."""
    return wall_ns(time_text.rstrip(b"\0").decode(errors="replace"))


def _cut(text: str) -> bytes:
    raw = text.encode(errors="replace")
    return raw if len(raw) <= TEXT_BYTES_MAX else raw[: TEXT_BYTES_MAX - 3].decode(errors="ignore").encode() + b"..."


def _text(record: bytes) -> str:
    byte_count = unpack_header(record)[-1]
    return record[HEADER_BYTES : HEADER_BYTES + byte_count].decode()
