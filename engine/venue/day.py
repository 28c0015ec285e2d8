"""The last 24 hours of one pair, as its ticker tells them: volume, extremes, change.

Kept in hourly buckets, so the window moves by an hour at a time and memory is bounded for a venue that runs for days.
"""

from collections import deque
from random import Random
from typing import Final

import msgspec

from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.precision import Change

_HOUR_S: Final = 3600
_HOURS: Final = 24


class _Hour(msgspec.Struct, gc=False):
    begin_s: int
    open: PriceTicks
    high: PriceTicks
    low: PriceTicks
    trades: int
    qty: int  # lots
    cost: int  # sum of ticks × lots


class DayTotals(msgspec.Struct, frozen=True, gc=False):
    """What happened in the window."""

    open: PriceTicks  # of the first trade in it
    last: PriceTicks
    high: PriceTicks
    low: PriceTicks
    vwap: PriceTicks
    qty: int  # lots
    trades: int

    def change_pct_hundredths(self) -> int:
        """Change since `open` in hundredths of a per cent, rounded half away from zero: -360 is written `-3.60`."""
        change = self.last - self.open
        magnitude = (2 * abs(change) * 10_000 + self.open) // (2 * self.open)
        return -magnitude if change < 0 else magnitude


class Day:
    """Trades of the last 24 hours, summed by the hour."""

    def __init__(self) -> None:
        self._hours: deque[_Hour] = deque(maxlen=_HOURS)
        self._last = PriceTicks(0)  # price of the last trade; 0 before the first

    def invent_history(self, rng: Random, price: PriceTicks, lots: QtyLots, until: WallNs) -> None:
        """A day's trading from before the venue was started."""
        now_s = until // NS_PER_S // _HOUR_S * _HOUR_S
        swing = max(1, price // 200)
        for age in range(_HOURS - 1, 0, -1):
            opened = PriceTicks(max(1, price + rng.randint(-swing, swing)))
            low, high = PriceTicks(max(1, opened - rng.randint(0, swing))), PriceTicks(opened + rng.randint(0, swing))
            trades = rng.randint(20, 400)
            qty = lots * trades
            self._hours.append(_Hour(now_s - age * _HOUR_S, opened, high, low, trades, qty, (low + high) * qty // 2))
        self._last = price

    def add(self, price: PriceTicks, qty: QtyLots, traded_at: WallNs) -> None:
        """Count one fill."""
        begin_s = traded_at // NS_PER_S // _HOUR_S * _HOUR_S
        self._last = price
        if not self._hours or self._hours[-1].begin_s != begin_s:
            self._hours.append(_Hour(begin_s, price, price, price, 1, qty, price * qty))
            return
        hour = self._hours[-1]
        hour.high, hour.low = max(hour.high, price), min(hour.low, price)
        hour.trades += 1
        hour.qty += qty
        hour.cost += price * qty

    def relist(self, change: Change) -> None:
        """Tell it in other units, rounded where they are coarser."""
        self._last = change.price(self._last) if self._last else self._last
        for hour in self._hours:
            hour.open, hour.high, hour.low = map(change.price, (hour.open, hour.high, hour.low))
            hour.qty, hour.cost = change.qty(QtyLots(hour.qty)), change.cost(hour.cost)

    def totals(self, now: WallNs, since_s: int = 0) -> DayTotals:
        """The window that ends now, or what of it came since an hour began."""
        oldest_s = now // NS_PER_S - _HOURS * _HOUR_S
        while len(self._hours) > 1 and self._hours[0].begin_s < oldest_s:
            self._hours.popleft()
        hours = [hour for hour in self._hours if hour.begin_s >= since_s] or [self._hours[-1]]
        qty = sum(hour.qty for hour in hours)
        return DayTotals(
            open=hours[0].open,
            last=self._last,
            high=max(hour.high for hour in hours),
            low=min(hour.low for hour in hours),
            vwap=PriceTicks((2 * sum(hour.cost for hour in hours) + qty) // (2 * qty)),
            qty=qty,
            trades=sum(hour.trades for hour in hours),
        )
