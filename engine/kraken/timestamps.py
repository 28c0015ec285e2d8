"""Kraken's RFC 3339 timestamps as nanoseconds since 1970.

The book prints six decimals, level3 and the candles nine, an ohlc envelope sometimes
six, always in UTC with a `Z`.
"""

from calendar import timegm
from time import strptime

from engine.units import WallNs

_SECOND_CHARS = 19  # "2026-08-02T03:35:51"

_NS_OF_DIGITS = tuple(10 ** (9 - digits) for digits in range(10))


class Timestamps:
    """Text to nanoseconds, remembering the last second: most of a feed's texts share it.

    >>> Timestamps().wall_ns("1970-01-01T00:00:01.000002Z")
    1000002000
    """

    __slots__ = ("_second", "_second_ns")

    def __init__(self) -> None:
        # The last text up to its seconds, and what it means.
        self._second = ""
        self._second_ns = 0

    def wall_ns(self, text: str) -> WallNs:
        """0 for an empty or unreadable text: a timestamp informs, it decides nothing."""
        if text[:_SECOND_CHARS] != self._second:
            try:
                self._second_ns = timegm(strptime(text[:_SECOND_CHARS], "%Y-%m-%dT%H:%M:%S")) * 1_000_000_000
            except ValueError:
                return WallNs(0)
            self._second = text[:_SECOND_CHARS]
        try:
            fraction = text[20:-1]
            return WallNs(self._second_ns + int(fraction) * _NS_OF_DIGITS[len(fraction)])
        except (ValueError, IndexError):
            return WallNs(self._second_ns)


def wall_ns(text: str) -> WallNs:
    """One text, for callers off the hot path."""
    return Timestamps().wall_ns(text)
