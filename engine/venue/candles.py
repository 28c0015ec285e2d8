"""Candles of one pair, all nine intervals of Kraken's ohlc channel.

An interval without a trade has no candle; the current one is told anew, whole, at every trade; nothing is told when
an interval ends without one.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from random import Random
from typing import Final

import msgspec

from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.precision import Change

INTERVALS: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)  # minutes
CANDLES_KEPT: Final = 720  # of each interval: what REST's OHLC tells
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

    def relist(self, change: Change) -> None:
        """Tell it in other units, rounded where these are coarser."""
        self.open, self.high = change.price(self.open), change.price(self.high)
        self.low, self.close = change.price(self.low), change.price(self.close)
        self.qty, self.cost = change.qty(QtyLots(self.qty)), change.cost(self.cost)


class Candles:
    """The last candles of every interval."""

    def __init__(self) -> None:
        self._series: dict[int, deque[Candle]] = {interval: deque(maxlen=CANDLES_KEPT) for interval in INTERVALS}

    def invent_history(self, rng: Random, price: PriceTicks, lots: QtyLots, until: WallNs) -> None:
        """Candles from before the venue was started, so that the first snapshot has something to show."""
        for interval, series in self._series.items():
            span_s = interval * 60
            now_s = until // NS_PER_S // span_s * span_s
            close = price
            candles = []
            for age in range(1, CANDLES_TOLD):
                if interval == 1 and rng.random() < 0.25:
                    continue  # quiet minutes have no candle
                swing = max(1, int(price * 0.0004 * interval**0.5))
                opened = PriceTicks(max(1, close + rng.randint(-swing, swing)))
                trades = rng.randint(1, 3 + interval)
                qty = lots * trades
                low, high = min(opened, close), max(opened, close)
                candles.append(
                    Candle(now_s - age * span_s, opened, high, low, close, trades, qty, (low + high) * qty // 2)
                )
                close = opened
            series.extend(reversed(candles))

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
        return self._series[interval][-1]

    def last(self, interval: int) -> Iterable[Candle]:
        """What a snapshot tells, oldest first."""
        series = self._series[interval]
        return islice(series, max(0, len(series) - CANDLES_TOLD), None)

    def kept(self, interval: int) -> Iterable[Candle]:
        """All that are known, oldest first."""
        return self._series[interval]
