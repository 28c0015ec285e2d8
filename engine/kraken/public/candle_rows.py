"""Kraken's own candles, of the ohlc channel: checked, and in the order of their begin.

Kraken sends the whole candle again at each trade, never says that it is closed, and sends
none for an interval without trades. The engine's candles are made of trades
(`engine.market.candles`); these are compared with them.

Source: https://docs.kraken.com/api/docs/websocket-v2/ohlc
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from engine.kraken.public.messages import CandleData
from engine.market.candles import INTERVALS_MIN
from engine.timestamps import wall_ns
from engine.units import NS_PER_S, WallNs

AHEAD_NS_MAX: Final = 60 * NS_PER_S  # after its message's own time
_BEGIN_CHARS_MAX: Final = 40  # genuine ones have 30; a longer text is not kept
_known_begin_ns = lru_cache(maxsize=256)(wall_ns)


def begin_ns(interval_begin: str) -> WallNs:
    """The same as `wall_ns`; hot: an interval's beginning is read for each of its candles."""
    return _known_begin_ns(interval_begin) if len(interval_begin) <= _BEGIN_CHARS_MAX else wall_ns(interval_begin)


def checked(candles: Sequence[CandleData], told_at: str) -> list[CandleData]:
    """The candles of one message, oldest first; `told_at` is Kraken's time of the message,
    possibly empty.

    ValueError for an interval that Kraken does not offer, or a begin that is missing or in
    the future.
    """
    stamp = wall_ns(told_at)
    for candle in candles:
        if candle.interval not in INTERVALS_MIN:
            raise ValueError(f"a candle of {candle.interval} minutes is not one of Kraken's")
        begin = begin_ns(candle.interval_begin)
        if not begin:
            raise ValueError(f"interval_begin {candle.interval_begin!r} is no time")
        if 0 < stamp < begin - AHEAD_NS_MAX:
            raise ValueError(f"interval_begin {candle.interval_begin!r} is yet to come")
    return sorted(candles, key=lambda candle: begin_ns(candle.interval_begin)) if len(candles) > 1 else list(candles)
