"""Kraken's RFC 3339 timestamps as nanoseconds since 1970.

The book prints six decimals, level3 and the candles nine, an ohlc envelope sometimes
six, always in UTC with a `Z`.
"""

from datetime import datetime
from functools import lru_cache

from engine.units import INT64_MAX, NS_PER_S, WallNs

_SECOND_CHARS = 19  # "2026-08-02T03:35:51"
_NS_DIGITS = 9


@lru_cache(maxsize=16)  # timestamps of one moment share their second
def _unix_second(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp())


def wall_ns(text: str) -> WallNs:
    """Nanoseconds since 1970; 0 for an empty or unreadable text, or outside 1970 to 2262.

    These times inform and decide nothing, so an unreadable one is no error.

    >>> wall_ns("1970-01-01T00:00:01.000002Z")
    1000002000
    """
    if not text:
        return WallNs(0)
    try:
        second = _unix_second(text[:_SECOND_CHARS])
    except ValueError:
        return WallNs(0)
    fraction = text[_SECOND_CHARS + 1 :].rstrip("Z")[:_NS_DIGITS]
    try:
        ns = second * NS_PER_S + int(fraction.ljust(_NS_DIGITS, "0"))
    except ValueError:
        ns = second * NS_PER_S
    return WallNs(ns if 0 <= ns <= INT64_MAX else 0)
