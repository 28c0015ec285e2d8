"""The venue's encoder: every message that it sends, as Kraken writes it.

Compact JSON, keys in the order of genuine frames, numbers at the full precision of their
pair with trailing zeros (`0.05990000`, `64525.0`, `0.00000000`), no exponent, times in UTC
with a `Z`. Keys of replies are in alphabetical order.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from time import gmtime, strftime
from typing import Any

import msgspec

from engine.units import NS_PER_S, NS_PER_US, WallNs

NumberText = Callable[[int], str]

VERSION = "2.0.10"  # of the service, as seen on the wire through 2026

HEARTBEAT = '{"channel":"heartbeat"}'


# --- numbers and times


def number_text(decimals: int) -> NumberText:
    """A writer of whole units × 10**-decimals: `number_text(1)(633887) == "63388.7"`.

    Not for negative units.
    """
    if decimals == 0:
        return str  # pairs with a price precision of 0 print bare integers
    scale = 10**decimals

    def text(units: int) -> str:
        whole, part = divmod(units, scale)
        return f"{whole}.{part:0{decimals}d}"

    return text


def signed_text(units: int, decimals: int) -> str:
    """Write a number that may be negative: `signed_text(-360, 2) == "-3.60"`."""
    return f"-{number_text(decimals)(-units)}" if units < 0 else number_text(decimals)(units)


@lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))


def utc_us(ns: int) -> str:
    """Write `2026-08-02T03:35:51.302928Z`: book, trade, ticker, replies."""
    second, rest = divmod(ns, NS_PER_S)
    return f"{_second_text(second)}.{rest // NS_PER_US:06d}Z"


def utc_ns(ns: int) -> str:
    """Write `2026-09-10T17:44:43.105760475Z`: the ohlc channel."""
    second, rest = divmod(ns, NS_PER_S)
    return f"{_second_text(second)}.{rest:09d}Z"


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


# --- replies


def ack_text(
    method: str, req_id: int | None, result: dict[str, Any], time_in: WallNs, time_out: WallNs, success: bool = True
) -> str:
    """Write `{"method":"subscribe","req_id":42,"result":{…},"success":true,"time_in":…,…}`."""
    ack: dict[str, Any] = {"method": method}
    if req_id is not None:
        ack["req_id"] = req_id
    ack["result"] = dict(sorted(result.items()))
    ack["success"] = success
    ack["time_in"], ack["time_out"] = utc_us(time_in), utc_us(time_out)
    return _json(ack)


def error_text(
    error: str, method: str, req_id: int | None, symbol: str | None, time_in: WallNs, time_out: WallNs
) -> str:
    """Write
    `{"error":…,"method":"subscribe","req_id":0,"success":false,"symbol":"WWW/USD",…}`.
    """
    reply: dict[str, Any] = {"error": error, "method": method}
    if req_id is not None:
        reply["req_id"] = req_id
    reply["success"] = False
    if symbol is not None:
        reply["symbol"] = symbol
    reply["time_in"], reply["time_out"] = utc_us(time_in), utc_us(time_out)
    return _json(reply)


def pong_text(req_id: int | None, time_in: WallNs, time_out: WallNs) -> str:
    """Write `{"method":"pong","req_id":1,"time_in":…,"time_out":…}`, without success or
    result.
    """
    number = "" if req_id is None else f'"req_id":{req_id},'
    return f'{{"method":"pong",{number}"time_in":"{utc_us(time_in)}","time_out":"{utc_us(time_out)}"}}'


# --- channels


def status_text(system: str, connection_id: int, notices: dict[str, Any]) -> str:
    """The first frame of every connection, sent again when the state or its notices change."""
    status = {"version": VERSION, "system": system, "api_version": "v2", "connection_id": connection_id, **notices}
    return f'{{"channel":"status","type":"update","data":[{_json(status)}]}}'


def book_text(symbol: str, kind: str, bids: str, asks: str, checksum: int, changed_at: WallNs) -> str:
    """A snapshot or an update; both arrays are present, empty when the side did not change."""
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{bids}],"asks":[{asks}],'
        f'"checksum":{checksum},"timestamp":"{utc_us(changed_at)}"}}]}}'
    )


def trade_row(symbol: str, side: str, price: str, qty: str, order_type: str, trade_id: int, traded_at: WallNs) -> str:
    """One trade; `side` and `order_type` are the taker's."""
    return (
        f'{{"symbol":"{symbol}","side":"{side}","price":{price},"qty":{qty},"ord_type":"{order_type}",'
        f'"trade_id":{trade_id},"timestamp":"{utc_us(traded_at)}"}}'
    )


def candle_row(
    symbol: str, ohlc: tuple[str, str, str, str], trades: int, volume: str, vwap: str, begin_s: int, interval: int
) -> str:
    """One candle. Its deprecated `timestamp` is the interval's end, contrary to Kraken's
    page.
    """
    opened, high, low, close = ohlc
    end_s = begin_s + interval * 60
    return (
        f'{{"symbol":"{symbol}","open":{opened},"high":{high},"low":{low},"close":{close},"trades":{trades},'
        f'"volume":{volume},"vwap":{vwap},"interval_begin":"{utc_ns(begin_s * NS_PER_S)}","interval":{interval},'
        f'"timestamp":"{utc_us(end_s * NS_PER_S)}"}}'
    )


def trade_text(kind: str, rows: Iterable[str]) -> str:
    """All trades of one taker order, or the last trades."""
    return f'{{"channel":"trade","type":"{kind}","data":[{",".join(rows)}]}}'


def candle_text(kind: str, told_at: WallNs, rows: Iterable[str]) -> str:
    """Candles; the one channel whose envelope has a time of its own, to the nanosecond."""
    return f'{{"channel":"ohlc","type":"{kind}","timestamp":"{utc_ns(told_at)}","data":[{",".join(rows)}]}}'


def ticker_text(kind: str, fields: Iterable[tuple[str, str]]) -> str:
    """A ticker; `fields` are its keys and their JSON text, in order."""
    entry = ",".join(f'"{key}":{value}' for key, value in fields)
    return f'{{"channel":"ticker","type":"{kind}","data":[{{{entry}}}]}}'


def instrument_text(kind: str, assets: Iterable[str], pairs: Iterable[str]) -> str:
    """Instruments; the one channel whose `data` is an object."""
    return (
        f'{{"channel":"instrument","type":"{kind}",'
        f'"data":{{"assets":[{",".join(assets)}],"pairs":[{",".join(pairs)}]}}}}'
    )


def asset_row(name: str, precision: int, precision_display: int, collateral_value: str) -> str:
    """One asset of the instrument channel. None can be borrowed: there is no margin
    trading.
    """
    return (
        f'{{"id":"{name}","status":"enabled","precision":{precision},"precision_display":{precision_display},'
        f'"borrowable":false,"collateral_value":{collateral_value},"class":"currency"}}'
    )


def pair_row(
    symbol: str,
    status: str,
    *,
    price_decimals: int,
    qty_decimals: int,
    cost_decimals: int,
    qty_min: str,
    cost_min: str,
) -> str:
    """One pair of the instrument channel; none is marginable, so none has the margin keys."""
    base, _, quote = symbol.partition("/")
    price_increment, qty_increment = number_text(price_decimals)(1), number_text(qty_decimals)(1)
    return (
        f'{{"symbol":"{symbol}","base":"{base}","quote":"{quote}","status":"{status}","qty_precision":{qty_decimals},'
        f'"qty_increment":{qty_increment},"price_precision":{price_decimals},"cost_precision":{cost_decimals},'
        f'"marginable":false,"has_index":true,"ws_display_price_precision":{price_decimals},'
        f'"cost_min":{cost_min},"tick_size":{price_increment},"price_increment":{price_increment},'
        f'"qty_min":{qty_min}}}'
    )
