"""Kraken's messages as typed Structs: their names, and the fields that we use.

Unknown fields are ignored: Kraken adds and removes them without a version. A field of an
unexpected type that no decision depends on is left at its default; see
`engine.kraken.connection.salvage`, also for ESSENTIAL. Numbers of the most frequent
message, the book update, are floats, which is exact enough to recover the ticks; all others
are Decimals, which keep the precision of the text.

Source: https://docs.kraken.com/api/docs/category/websocket-api-v2, corrected by what
the wire shows where the two disagree.
"""

from decimal import Decimal
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from engine.kraken.connection.salvage import Reader, Word, entries_reader, read_list

# --- book

Crc32 = Annotated[int, Meta(ge=0, lt=2**32)]


class Level(Struct, gc=False):
    """{"price":63388.7,"qty":0.25761908}"""

    price: float
    qty: float


class BookData(Struct, gc=False):
    """{"symbol":"BTC/USD","bids":[],"asks":[{"price":63395.2,"qty":0.05500000}],
    "checksum":261162761,"timestamp":"2026-08-02T03:35:51.661460Z"}

    https://docs.kraken.com/api/docs/websocket-v2/book
    """

    symbol: str
    bids: list[Level]
    asks: list[Level]
    checksum: Crc32
    timestamp: str = ""


class BookMessage(Struct, gc=False):
    """{"channel":"book","type":"update","data":[…]}"""

    data: list[BookData]


class ExactLevel(Struct, gc=False):
    """A level whose numbers keep every digit of the text."""

    price: Decimal
    qty: Decimal


class ExactBookData(Struct, gc=False):
    """BookData of a snapshot, or of an update whose numbers are too large for floats."""

    symbol: str
    bids: list[ExactLevel]
    asks: list[ExactLevel]
    checksum: Crc32
    timestamp: str = ""


class ExactBookMessage(Struct, gc=False):
    """{"channel":"book","type":"snapshot","data":[…]}"""

    data: list[ExactBookData]


# --- trade, ticker, ohlc


class TradeData(Struct, gc=False):
    """{"symbol":"BTC/USD","side":"buy","price":83744.3,"qty":0.00044780,
    "ord_type":"limit","trade_id":109116693,"timestamp":"2026-09-25T17:48:26.844359Z"}

    https://docs.kraken.com/api/docs/websocket-v2/trade
    """

    symbol: str
    side: Literal["buy", "sell"]
    price: Decimal
    qty: Decimal
    trade_id: Word
    ord_type: str = "limit"
    timestamp: str = ""

    def __post_init__(self) -> None:
        """ValueError for a price or quantity that is not positive: the entry cannot be
        used.
        """
        for number in (self.price, self.qty):
            if number.is_signed() or not number:
                raise ValueError(f"{number} is neither the price nor the quantity of a trade")


class TradeMessage(Struct, gc=False):
    """{"channel":"trade","type":"update","data":[…]}: usually all fills of one taker order."""

    data: list[TradeData]


class TickerData(Struct, gc=False):
    """{"symbol":"BTC/USD","bid":83744.2,"bid_qty":0.56251979,"ask":83744.3,
    "ask_qty":0.00044780,"last":83744.3,"volume":3156.84782110,"vwap":84174.6,
    "low":83163.6,"high":85247.4,"change":-429.3,"change_pct":-0.51,…}

    Only pairs traded within 24 hours have all of them.
    https://docs.kraken.com/api/docs/websocket-v2/ticker
    """

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(
        ("bid", "bid_qty", "ask", "ask_qty", "last", "volume", "vwap", "low", "high", "change", "change_pct")
    )

    symbol: str
    bid: Decimal = Decimal(0)
    bid_qty: Decimal = Decimal(0)
    ask: Decimal = Decimal(0)
    ask_qty: Decimal = Decimal(0)
    last: Decimal = Decimal(0)
    volume: Decimal = Decimal(0)
    vwap: Decimal = Decimal(0)
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    change: Decimal = Decimal(0)
    change_pct: Decimal = Decimal(0)
    timestamp: str = ""


class TickerMessage(Struct, gc=False):
    """{"channel":"ticker","type":"update","data":[…]}"""

    data: list[TickerData]


class CandleData(Struct, gc=False):
    """{"symbol":"BTC/USD","open":85754.8,"high":85754.8,"low":85754.7,"close":85754.8,
    "trades":5,"volume":0.00126522,"vwap":85754.7,
    "interval_begin":"2026-10-06T18:06:00.000000000Z","interval":1,…}

    Its `timestamp` is deprecated and, against the documentation, the interval's end: not
    read. https://docs.kraken.com/api/docs/websocket-v2/ohlc
    """

    symbol: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    trades: Word
    volume: Decimal
    vwap: Decimal
    interval_begin: str
    interval: Word


class CandleMessage(Struct, gc=False):
    """{"channel":"ohlc","type":"update","timestamp":"2026-10-06T18:06:02.264627814Z",
    "data":[…]}
    """

    data: list[CandleData]
    timestamp: str = ""


# --- instrument, status


class AssetData(Struct, gc=False):
    """{"id":"USD","status":"enabled","precision":4,"precision_display":2,
    "borrowable":true,…}
    """

    id: str
    precision: int | None = None
    """Decimals of balances in the ledger; may be fewer than those of a pair's quantities.
    """


class PairData(Struct, gc=False):
    """{"symbol":"EUR/USD","base":"EUR","quote":"USD","status":"online","qty_precision":8,
    "qty_increment":0.00000001,"price_precision":5,"cost_precision":5,"cost_min":0.50,
    "price_increment":0.00001,"qty_min":0.50000000,…}

    `cost_min` is documented as text, and is a number on the wire.
    """

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(
        ("status", "qty_increment", "price_increment", "qty_min", "cost_min")
    )

    symbol: str
    qty_precision: int
    price_precision: int
    base: str = ""
    quote: str = ""
    status: str = "online"
    qty_increment: Decimal | None = None
    price_increment: Decimal | None = None
    qty_min: Decimal = Decimal(0)
    cost_min: Decimal = Decimal(0)
    cost_precision: int = 8
    marginable: bool = False


class InstrumentData(Struct, gc=False):
    """{"assets":[…],"pairs":[…]}: an object, where the other channels have a list."""

    assets: list[AssetData] = []
    pairs: list[PairData] = []


class InstrumentMessage(Struct, gc=False):
    """{"channel":"instrument","type":"snapshot","data":{…}}

    https://docs.kraken.com/api/docs/websocket-v2/instrument
    """

    data: InstrumentData


# --- level3


class NewOrders(Struct, gc=False):
    """{"event":"add","order_id":"O2BN53-5RSB2-V3J57T","limit_price":0.564,
    "order_qty":3500.77668626,
    "timestamp":"2023-10-06T18:20:27.383408052Z"}; a snapshot has no `event`.
    """

    order_id: str
    limit_price: Decimal
    order_qty: Decimal
    timestamp: str
    event: Literal["add", "modify", "delete"] = "add"


class Level3Data(Struct, gc=False):
    """One pair's orders; keys come in either of two orders.
    https://docs.kraken.com/api/docs/websocket-v2/level3
    """

    symbol: str
    bids: list[NewOrders]
    asks: list[NewOrders]
    checksum: int
    timestamp: str = ""


class Level3Message(Struct, gc=False):
    """{"channel":"level3","type":"update","data":[…]}"""

    data: list[Level3Data]


class _Stamp(Struct, gc=False):
    """The envelope's own time, whatever else the message holds."""

    timestamp: Raw = Raw(b'""')


# One decoder per message type, created once per process.
decode_book = msgspec.json.Decoder(BookMessage).decode
decode_exact_book = msgspec.json.Decoder(ExactBookMessage).decode
decode_trade = msgspec.json.Decoder(TradeMessage).decode
decode_ticker = msgspec.json.Decoder(TickerMessage).decode
decode_candle = msgspec.json.Decoder(CandleMessage).decode
decode_instrument = msgspec.json.Decoder(InstrumentMessage).decode
decode_level3 = msgspec.json.Decoder(Level3Message).decode
# Decoders for messages whose entries or fields may have unexpected types.
read_book = Reader(BookMessage).decode
read_exact_book = Reader(ExactBookMessage).decode
read_trades = entries_reader(TradeData)
read_tickers = entries_reader(TickerData)
read_candles = entries_reader(CandleData)
_decode_stamp = msgspec.json.Decoder(_Stamp).decode


class _RawInstrumentData(Struct):
    assets: Raw = Raw(b"[]")
    pairs: Raw = Raw(b"[]")


class _RawInstrumentMessage(Struct):
    data: _RawInstrumentData


_decode_raw_instrument = msgspec.json.Decoder(_RawInstrumentMessage).decode


def read_instrument(frame: bytes) -> tuple[InstrumentData, list[Exception]]:
    """The assets and pairs that can be read, and the errors of the others; raises one of
    DECODE_ERRORS without any.
    """
    try:
        return decode_instrument(frame).data, []
    except msgspec.ValidationError:
        raw = _decode_raw_instrument(frame).data
        assets, strange_assets = read_list(AssetData, raw.assets)
        pairs, strange_pairs = read_list(PairData, raw.pairs)
        return InstrumentData(assets, pairs), strange_assets + strange_pairs


def stamp_of(frame: bytes) -> str:
    """Kraken's timestamp of a message (the ohlc channel has one); empty without one that
    can be read.
    """
    return bytes(_decode_stamp(frame).timestamp).decode(errors="replace").strip('"')
