"""The last 24 hours of one pair for its ticker: volume, extremes, change.

The window moves by the minute: it is the 1-minute candles that began in it, so it agrees
with the candles of every interval. Sums and extremes are kept up to date, so a ticker costs
the same however many trades the day had.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.market.candles import Candle, Candles

DAY_S: Final = 86_400


class DayTotals(msgspec.Struct, frozen=True, gc=False):
    """The totals of a window. Without a trade all prices are the last one before it, and
    `cost` is 0.
    """

    open: PriceTicks  # of the first trade in it
    last: PriceTicks
    high: PriceTicks
    low: PriceTicks
    qty: int  # lots
    cost: int  # sum of ticks × lots
    trades: int

    @property
    def vwap(self) -> PriceTicks:
        """Volume-weighted mean price, rounded half up."""
        return PriceTicks((2 * self.cost + self.qty) // (2 * self.qty)) if self.qty else self.last

    def change_pct_hundredths(self) -> int:
        """Change since `open` in hundredths of a per cent, rounded half away from zero:
        -360 is written `-3.60`.
        """
        change = self.last - self.open
        magnitude = (2 * abs(change) * 10_000 + self.open) // (2 * self.open)
        return -magnitude if change < 0 else magnitude


class Day:
    """Trades of the last 24 hours, and of today."""

    def __init__(self, candles: Candles, last: Callable[[], PriceTicks]) -> None:
        """`last` is the price of the last trade, also where no candle is known yet."""
        self._candles = candles
        self._last = last
        self._watched = False  # False until the first request: nothing is counted before that
        self._minutes: deque[Candle] = deque()  # in the window, oldest first: at most 1,441
        self._highs: deque[Candle] = deque()  # those of them that no later one exceeds, so highest first
        self._lows: deque[Candle] = deque()
        self._trades = 0
        self._qty = 0
        self._cost = 0

    def add(self, price: PriceTicks, qty: QtyLots) -> None:
        """Count one fill, which the candles have counted already."""
        if not self._watched:
            return
        minute = self._candles.current(1)
        if not self._minutes or self._minutes[-1] is not minute:
            self._minutes.append(minute)
        self._trades += 1
        self._qty += qty
        self._cost += price * qty
        self._rank(minute)

    def relist(self) -> None:
        """The candles changed their precision: count them again at the next request."""
        self._watched = False
        for minutes in (self._minutes, self._highs, self._lows):
            minutes.clear()
        self._trades = self._qty = self._cost = 0

    def totals(self, now: WallNs) -> DayTotals:
        """The 24 hours that end now."""
        self._watch()
        oldest_s = now // NS_PER_S - DAY_S
        minutes = self._minutes
        while minutes and minutes[0].begin_s < oldest_s:
            gone = minutes.popleft()
            self._trades -= gone.trades
            self._qty -= gone.qty
            self._cost -= gone.cost
            for extremes in (self._highs, self._lows):
                if extremes[0] is gone:
                    extremes.popleft()
        last = self._last()
        if not minutes:
            return DayTotals(last, last, last, last, 0, 0, 0)
        high, low = self._highs[0].high, self._lows[0].low
        return DayTotals(minutes[0].open, last, high, low, self._qty, self._cost, self._trades)

    def today(self, now: WallNs) -> DayTotals:
        """The totals since midnight UTC: the daily candle."""
        days = self._candles.kept(1440)
        candle = days[-1] if days else None
        if candle is None or candle.begin_s != now // NS_PER_S // DAY_S * DAY_S:
            last = self._last()
            return DayTotals(last, last, last, last, 0, 0, 0)
        return DayTotals(candle.open, candle.close, candle.high, candle.low, candle.qty, candle.cost, candle.trades)

    def _watch(self) -> None:
        """Start counting, with every candle that is known."""
        if self._watched:
            return
        self._watched = True
        highs, lows = self._highs, self._lows
        # From the newest: an extreme is what exceeds all later ones.
        for minute in reversed(self._candles.kept(1)):
            self._minutes.appendleft(minute)
            self._trades += minute.trades
            self._qty += minute.qty
            self._cost += minute.cost
            if not highs or minute.high > highs[0].high:
                highs.appendleft(minute)
            if not lows or minute.low < lows[0].low:
                lows.appendleft(minute)

    def _rank(self, minute: Candle) -> None:
        """Put the newest minute behind those that it does not exceed."""
        highs, lows = self._highs, self._lows
        while highs and highs[-1].high <= minute.high:
            highs.pop()
        highs.append(minute)
        while lows and lows[-1].low >= minute.low:
            lows.pop()
        lows.append(minute)
