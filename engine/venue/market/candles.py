"""Candles of one pair, all nine intervals of Kraken's ohlc channel, from before the venue was opened until now.

An interval without a trade has no candle; the current one is told anew, whole, at every trade; nothing is told when
an interval ends without one.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec

from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.market.history import BARS_TOLD, MINUTES_TOLD, History
from engine.venue.market.precision import Change

INTERVALS: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)  # minutes
CANDLES_KEPT: Final = BARS_TOLD  # of each interval: what REST's OHLC tells
CANDLES_TOLD: Final = 12  # of a snapshot: genuine ones of 1-minute candles cover about 12 minutes


class Candle(msgspec.Struct, gc=False):
    """One interval's trades."""

    begin_s: int  # since 1970 UTC
    open: PriceTicks
    high: PriceTicks
    low: PriceTicks
    close: PriceTicks
    trades: int
    qty: int  # lots
    cost: int  # sum of ticks × lots, from which the volume-weighted price is made

    def vwap(self) -> PriceTicks:
        """Volume-weighted mean price, rounded half up."""
        return PriceTicks((2 * self.cost + self.qty) // (2 * self.qty))

    def append(self, other: "Candle") -> None:
        """Take in what was traded later in the same interval."""
        self.high, self.low = max(self.high, other.high), min(self.low, other.low)
        self.close = other.close
        self.trades += other.trades
        self.qty += other.qty
        self.cost += other.cost

    def relist(self, change: Change) -> None:
        """Tell it in other units, rounded where these are coarser."""
        self.open, self.high = change.price(self.open), change.price(self.high)
        self.low, self.close = change.price(self.low), change.price(self.close)
        self.qty, self.cost = change.qty(QtyLots(self.qty)), change.cost(self.cost)


class Candles:
    """The last candles of every interval. The past is joined to an interval as far as that is read."""

    def __init__(self, past: History | None = None) -> None:
        self._past = past  # None: nothing was traded before
        self._series: dict[int, deque[Candle]] = {
            interval: deque(maxlen=MINUTES_TOLD if interval == 1 else CANDLES_KEPT) for interval in INTERVALS
        }
        self._joined = dict.fromkeys(INTERVALS, 0)  # how many candles back the past has been joined to each

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
        """Tell them in other units."""
        for series in self._series.values():
            for candle in series:
                candle.relist(change)

    def current(self, interval: int) -> Candle:
        """The candle of the last trade; IndexError before the first."""
        return (self._join(interval, 1) or self.kept(interval))[-1]

    def last(self, interval: int) -> Iterable[Candle]:
        """What a snapshot tells, oldest first."""
        series = self.kept(interval)
        return islice(series, max(0, len(series) - CANDLES_TOLD), None)

    def kept(self, interval: int) -> deque[Candle]:
        """All that are known, oldest first: CANDLES_KEPT of them, of minutes as many as a day has."""
        return self._join(interval, self._series[interval].maxlen or CANDLES_KEPT)

    def _join(self, interval: int, count: int) -> deque[Candle]:
        """Put so many candles of the past before those that are there; an interval of both becomes one candle."""
        series, joined = self._series[interval], self._joined[interval]
        if self._past is None or joined >= count:
            return series
        self._joined[interval] = count
        older = folded(self._past, interval, count)
        if joined and series:  # the interval of the opening is whole already
            older = [candle for candle in older if candle.begin_s < series[0].begin_s]
        elif older and series and older[-1].begin_s == series[0].begin_s:
            older[-1].append(series[0])
            series[0] = older.pop()
        room = (series.maxlen or CANDLES_KEPT) - len(series)
        series.extendleft(reversed(older[-room:] if room else []))
        return series


def folded(past: History, interval: int, count: int) -> list[Candle]:
    """The candles of the past, oldest first: those of the last `count` intervals."""
    span_s = interval * 60
    candles: list[Candle] = []
    for bar in past.bars((past.until_s // span_s + 1 - count) * span_s):
        begin_s = bar.begin_s - bar.begin_s % span_s
        candle = Candle(begin_s, bar.open, bar.high, bar.low, bar.close, bar.trades, bar.qty, bar.cost)
        if candles and candles[-1].begin_s == begin_s:
            candles[-1].append(candle)
        else:
            candles.append(candle)
    return candles
