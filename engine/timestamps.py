"""Kraken's RFC 3339 timestamps as nanoseconds since 1970, and moments as such texts.

The book prints six decimals, level3 and the candles nine, an ohlc envelope sometimes
six, always in UTC with a `Z`.
"""

from datetime import UTC, datetime
from functools import lru_cache

from engine.units import INT64_MAX, NS_PER_S, NS_PER_US, WallNs

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


@lru_cache(maxsize=16)  # hot: moments of one second share its text
def second_text(second: int) -> str:
    """RFC 3339 of a second since 1970, without the zone."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def time_us_text(at: WallNs) -> str:
    """RFC 3339 with microseconds, rounded down.

    >>> time_us_text(WallNs(1721555639050999999))
    '2024-07-21T09:53:59.050999Z'
    """
    second, rest = divmod(at, NS_PER_S)
    return f"{second_text(second)}.{rest // NS_PER_US:06d}Z"
