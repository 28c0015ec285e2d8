"""Which candles of the feeds a program is given as they are, and for which REST is asked."""

from decimal import Decimal

import pytest

from engine.client.candle_history import MINUTE_NS, suffices
from engine.records import Candle
from engine.units import MonoNs, WallNs

ONE = Decimal(1)
NOW = WallNs(100 * MINUTE_NS + 1)


def candle(minute: int, *, is_whole: bool = True) -> Candle:
    return Candle(
        "BTC/USD", 1, WallNs(minute * MINUTE_NS), open=ONE, high=ONE, low=ONE, close=ONE, vwap=ONE, volume=ONE,
        trades=1, closed=False, received_at=MonoNs(1), is_whole=is_whole,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("told", "is_live", "enough"),
    [
        ([candle(99), candle(100)], True, True),
        ([candle(97), candle(98)], True, True),
        ([candle(100)], True, False),
        ([candle(99, is_whole=False), candle(100)], True, False),
        ([candle(99), candle(100, is_whole=False)], True, True),
        ([candle(99), candle(100)], False, True),
        ([candle(98), candle(99)], False, False),
        ([candle(99), candle(100, is_whole=False)], False, False),
    ],
    ids=["the present", "a quiet pair", "too few", "a part", "a part of the newest", "just lost", "old", "old part"],
)
def test_what_the_feeds_told_suffices_while_it_is_what_there_is(
    told: list[Candle], is_live: bool, enough: bool
) -> None:
    """A quiet pair has no candle of the present interval, and nor has one that is not served: REST tells which."""
    assert suffices(told, 2, is_live=is_live, now=NOW) is enough
