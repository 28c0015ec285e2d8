"""Public market data by REST: the requests, and their replies in the words of the
WebSocket's messages, so that one publisher takes both.

Pairs are asked for by their v2 symbol, which Kraken takes and answers under, and answers
under any other of a pair's names are understood. Numbers keep every digit of their text;
trailing zeros say nothing here, for REST pads prices beyond the precision of the pair.

    Ticker   many pairs in one call; totals of the day and of 24 hours, no time
    Depth    one pair; quantities rounded to three decimals; no checksum
    Trades   one pair; up to a thousand after `since`, with the ids of the trade channel
    OHLC     one pair and interval; up to 720 candles, the last one forming

Source: https://docs.kraken.com/api/docs/rest-api/get-ticker-information and its neighbours
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Final, TypeVar

import msgspec
from msgspec import Raw, Struct

from engine.kraken.connection.error_catalog import UNREADABLE
from engine.kraken.connection.salvage import DECODE_ERRORS, Reader, Word
from engine.kraken.public.messages import CandleData, ExactLevel, TickerData, TradeData
from engine.kraken.rest.pairs import TOKENIZED, rest_names
from engine.kraken.rest.replies import RestRefusal, read_result
from engine.kraken.rest.requests import PUBLIC, RestRequest
from engine.units import NS_PER_S, WallNs

TICKER_PAIRS_MAX: Final = 50  # of one call: its address stays short
TRADES_MAX: Final = 1000  # that Kraken tells in one reply
PERCENT: Final = Decimal("0.01")
_EXACT: Final = Context(prec=100)
LAST: Final = "last"
_SIDES: Final = {"b": "buy", "s": "sell"}
_TYPES: Final = {"l": "limit", "m": "market"}

R = TypeVar("R")
T = TypeVar("T")


class RestDepth(Struct, frozen=True):
    """The best levels of one pair, best first."""

    bids: list[ExactLevel]
    asks: list[ExactLevel]


def is_tokenized(symbol: str) -> bool:
    """Whether a pair is one of tokenized stocks, which REST tells in calls of their own."""
    return symbol.partition("/")[0].endswith("x")


# --- requests


def ticker(symbols: Sequence[str]) -> RestRequest:
    """Ask for the tickers of up to TICKER_PAIRS_MAX pairs, all of one class."""
    return _request("Ticker", symbols)


def depth(symbol: str, levels: int) -> RestRequest:
    """Ask for the best levels of a pair."""
    return _request("Depth", [symbol], count=levels)


def trades(symbol: str, since: WallNs) -> RestRequest:
    """Ask for the first trades of a pair after `since`; for its last ones when that is 0."""
    return _request("Trades", [symbol], **({"since": since} if since else {}))


def ohlc(symbol: str, interval_min: int, since_s: int) -> RestRequest:
    """Ask for the candles of a pair that begin after `since_s`, and the forming one."""
    return _request("OHLC", [symbol], interval=interval_min, since=since_s)


def _request(name: str, symbols: Sequence[str], **fields: int) -> RestRequest:
    asset_class = {"asset_class": TOKENIZED} if is_tokenized(symbols[0]) else {}
    return RestRequest("GET", f"{PUBLIC}{name}", {"pair": ",".join(symbols), **fields, **asset_class})


# --- replies

_Text = Decimal  # REST writes numbers as texts


class _Ticker(Struct):
    """{"a":["2243.89000","1","1.000"],"b":[…],"c":["2243.89000","0.01000000"],
    "v":[today, 24 hours],"p":[…],"t":[…],"l":[…],"h":[…],"o":"2240.92000"}
    """

    a: list[_Text]
    b: list[_Text]
    c: list[_Text]
    v: list[_Text]
    p: list[_Text]
    l: list[_Text]  # noqa: E741  # Kraken's name
    h: list[_Text]
    o: _Text


class _Depth(Struct):
    """{"asks":[["37221.10000","19.596",1701023454]],"bids":[…]}"""

    asks: list[tuple[Decimal, Decimal, Decimal]]
    bids: list[tuple[Decimal, Decimal, Decimal]]


_TradeRow = tuple[Decimal, Decimal, Decimal, str, str, str, Word]
_CandleRow = tuple[Word, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, Word]

_by_name = Reader(dict[str, Raw])
_read_ticker = Reader(_Ticker, strict=False, is_bounded=True).decode
_read_depth = Reader(_Depth, strict=False, is_bounded=True).decode
_read_trades = Reader(list[_TradeRow], strict=False, is_bounded=True).decode
_read_candles = Reader(list[_CandleRow], strict=False, is_bounded=True).decode


def read_tickers(status: int, body: bytes, symbols: Sequence[str]) -> RestRefusal | list[TickerData]:
    """The reply to `ticker`: each pair that can be read."""
    reply = read_result(status, body, _by_name)
    if isinstance(reply, RestRefusal):
        return reply
    tickers = []
    for symbol in symbols:
        raw = next((reply[name] for name in rest_names(symbol) if name in reply), None)
        if raw is None:
            continue
        try:
            tickers.append(_ticker_data(symbol, _read_ticker(raw)))
        except (*DECODE_ERRORS, IndexError, ArithmeticError):
            continue
    return tickers or RestRefusal("a reply without a ticker that can be read", UNREADABLE, status)


def read_depth(status: int, body: bytes) -> RestRefusal | RestDepth:
    """The reply to `depth`."""
    return _read_one(status, body, _read_depth, lambda told: RestDepth(_levels(told.bids), _levels(told.asks)))


def read_trades(status: int, body: bytes, symbol: str) -> RestRefusal | list[TradeData]:
    """The reply to `trades`, oldest first."""
    return _read_one(status, body, _read_trades, lambda rows: [_trade_data(symbol, row) for row in rows])


def read_candles(status: int, body: bytes, symbol: str, interval_min: int) -> RestRefusal | list[CandleData]:
    """The reply to `ohlc`, oldest first; the last one is forming. Intervals without a trade
    have a candle too, with `trades` 0.
    """

    def of(rows: list[_CandleRow]) -> list[CandleData]:
        return [_candle_data(symbol, interval_min, row) for row in rows]

    return _read_one(status, body, _read_candles, of)


def _read_one(status: int, body: bytes, read: Callable[[Raw], R], of: Callable[[R], T]) -> RestRefusal | T:
    """The part of a reply that is about its one pair, whatever name it stands under."""
    reply = read_result(status, body, _by_name)
    if isinstance(reply, RestRefusal):
        return reply
    parts = [raw for name, raw in reply.items() if name != LAST]
    try:
        (part,) = parts
        return of(read(part))
    except (*DECODE_ERRORS, ValueError, KeyError, ArithmeticError) as error:
        return RestRefusal(f"an answer that cannot be read ({error})", UNREADABLE, status)


def _ticker_data(symbol: str, told: _Ticker) -> TickerData:
    """The totals are those of 24 hours; the change is since the day's opening, for REST has
    no other.
    """
    last, opened = told.c[0], told.o
    change = _EXACT.subtract(last, opened)
    return TickerData(
        symbol,
        bid=_plain(told.b[0]),
        bid_qty=_plain(told.b[2]),
        ask=_plain(told.a[0]),
        ask_qty=_plain(told.a[2]),
        last=_plain(last),
        volume=_plain(told.v[1]),
        vwap=_plain(told.p[1]),
        low=_plain(told.l[1]),
        high=_plain(told.h[1]),
        change=_plain(change),
        change_pct=(change * 100 / opened).quantize(PERCENT) if opened else Decimal(0),
    )


def _levels(rows: list[tuple[Decimal, Decimal, Decimal]]) -> list[ExactLevel]:
    return [ExactLevel(_plain(price), _plain(qty)) for price, qty, _ in rows]


def _trade_data(symbol: str, row: _TradeRow) -> TradeData:
    price, qty, at_s, side, order_type, _, trade_id = row
    return msgspec.convert(
        {
            "symbol": symbol,
            "side": _SIDES[side],
            "price": _plain(price),
            "qty": _plain(qty),
            "trade_id": trade_id,
            "ord_type": _TYPES.get(order_type, order_type),
            "timestamp": _time_text(at_s),
        },
        TradeData,
    )


def _candle_data(symbol: str, interval_min: int, row: _CandleRow) -> CandleData:
    begin_s, first, high, low, close, vwap, volume, count = row
    opened, highest, lowest, closed, mean, traded = map(_plain, (first, high, low, close, vwap, volume))
    return CandleData(
        symbol, opened, highest, lowest, closed, count, traded, mean, _time_text(Decimal(begin_s)), interval_min
    )


def _plain(number: Decimal) -> Decimal:
    """The number without trailing zeros behind its point, every other digit kept."""
    text = f"{number:f}"
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def _time_text(at_s: Decimal) -> str:
    """RFC 3339 with nanoseconds, as the WebSocket writes times."""
    ns = int(at_s * NS_PER_S)
    second, rest = divmod(ns, NS_PER_S)
    if not 0 <= second < 2**33:
        raise ValueError(f"{at_s} is no time")
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
