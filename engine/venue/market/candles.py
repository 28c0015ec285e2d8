"""Candles of one pair, for all nine intervals of Kraken's ohlc channel, with those before
the opening.

An interval without a trade has no candle. The current candle is published again, as a
whole, at every trade; nothing is published when an interval ends without one.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec

from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.market.history import BARS_TOLD, MINUTES_TOLD, Bar, History
from engine.venue.market.precision import Change

INTERVALS: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)  # minutes
CANDLES_KEPT: Final = BARS_TOLD  # of each interval: as many as REST's OHLC returns
CANDLES_TOLD: Final = 12  # in a snapshot: genuine ones of 1-minute candles cover about 12 minutes


class Candle(msgspec.Struct, gc=False):
    """One interval's trades."""

    begin_s: int  # since 1970 UTC
    open: PriceTicks
    high: PriceTicks
    low: PriceTicks
    close: PriceTicks
    trades: int
    qty: int  # lots
    cost: int  # sum of ticks × lots, from which the volume-weighted price is computed

    def vwap(self) -> PriceTicks:
        """Volume-weighted mean price, rounded half up."""
        return PriceTicks((2 * self.cost + self.qty) // (2 * self.qty))

    def append(self, other: "Candle | Bar") -> None:
        """Add later trades of the same interval."""
        if other.high > self.high:
            self.high = other.high
        if other.low < self.low:
            self.low = other.low
        self.close = other.close
        self.trades += other.trades
        self.qty += other.qty
        self.cost += other.cost

    def relist(self, change: Change) -> None:
        """Convert to another precision, rounding where that is coarser."""
        price = change.price
        self.open, self.high = price(self.open), price(self.high)
        self.low, self.close = price(self.low), price(self.close)
        self.qty, self.cost = change.qty(QtyLots(self.qty)), change.cost(self.cost)


class Candles:
    """The last candles of every interval, joined to the seeded past as far back as they are
    read.
    """

    def __init__(self, past: History | None = None) -> None:
        self._past = past  # None: nothing was traded before
        self._series: dict[int, deque[Candle]] = {
            interval: deque(maxlen=MINUTES_TOLD if interval == 1 else CANDLES_KEPT) for interval in INTERVALS
        }
        self._joined = dict.fromkeys(INTERVALS, 0)  # how many candles back each interval has been joined to the past

    def add(self, price: PriceTicks, qty: QtyLots, traded_at: WallNs) -> None:
        """Count one fill in the current candle of every interval."""
        traded_at_s = traded_at // NS_PER_S
        for interval, series in self._series.items():
            span_s = interval * 60
            begin_s = traded_at_s - traded_at_s % span_s
            if not series or series[-1].begin_s != begin_s:
                series.append(Candle(begin_s, price, price, price, price, 1, qty, price * qty))
                continue
            candle = series[-1]
            if price > candle.high:
                candle.high = price
            elif price < candle.low:
                candle.low = price
            candle.close = price
            candle.trades += 1
            candle.qty += qty
            candle.cost += price * qty

    def relist(self, change: Change) -> None:
        """Convert to another precision."""
        for series in self._series.values():
            for candle in series:
                candle.relist(change)

    def current(self, interval: int) -> Candle:
        """The candle of the last trade; IndexError before the first."""
        return (self._join(interval, 1) or self.kept(interval))[-1]

    def last(self, interval: int) -> Iterable[Candle]:
        """The candles of a snapshot, oldest first."""
        series = self.kept(interval)
        return islice(series, max(0, len(series) - CANDLES_TOLD), None)

    def kept(self, interval: int) -> deque[Candle]:
        """All known candles, oldest first: CANDLES_KEPT of them, of minutes as many as a
        day has.
        """
        return self._join(interval, self._series[interval].maxlen or CANDLES_KEPT)

    def _join(self, interval: int, count: int) -> deque[Candle]:
        """Put `count` candles of the past before the present ones; an interval in both
        becomes one candle.
        """
        series, joined = self._series[interval], self._joined[interval]
        if self._past is None or joined >= count:
            return series
        self._joined[interval] = count
        older = folded(self._past, interval, count)
        if joined and series:  # the interval of the opening is complete already
            older = [candle for candle in older if candle.begin_s < series[0].begin_s]
        elif older and series and older[-1].begin_s == series[0].begin_s:
            older[-1].append(series[0])
            series[0] = older.pop()
        room = (series.maxlen or CANDLES_KEPT) - len(series)
        series.extendleft(reversed(older[-room:] if room else []))
        return series


def folded(past: History, interval: int, count: int) -> list[Candle]:
    """The candles of the last `count` intervals of the past, oldest first."""
    span_s = interval * 60
    candles: list[Candle] = []
    last_begin_s = None
    for bar in past.bars((past.until_s // span_s + 1 - count) * span_s):
        begin_s = bar.begin_s - bar.begin_s % span_s
        if begin_s == last_begin_s:
            candles[-1].append(bar)
        else:
            last_begin_s = begin_s
            candles.append(Candle(begin_s, bar.open, bar.high, bar.low, bar.close, bar.trades, bar.qty, bar.cost))
    return candles
