"""The trades of one pair before the venue was opened: one seeded history that everything is
derived from.

Candles of every interval, the ticker's day and the trades of REST all come from the same
bars, so they agree wherever they overlap. The nearer the past, the finer the bars:

    LISTED_S ── days ──┬─ 4 h ─┬─ 1 h ─┬─ 30 min ─┬─ 15 min ─┬─ 5 min ─┬─ 1 min ──► until

Every stage reaches back far enough for as many candles of its interval as are ever
published, and begins where a bar of the next coarser one ends. A bar's trades follow from
its own numbers, so their sums are known without making them.

Pure and lazy: a function of the pair, the seed and the moment of opening alone. Nothing is
computed before it is asked for, and then only as far back as asked: some 8,000 bars a pair
(2 MB) for all of it.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import chain, pairwise
from operator import attrgetter
from random import Random
from typing import Final, NamedTuple

import msgspec

from engine.units import NS_PER_S, NS_PER_US, PriceTicks, QtyLots, WallNs
from engine.venue.market.matching import BUY, SELL, OrderType, Side
from engine.venue.market.pairs import PairSpec
from engine.venue.market.precision import Change

LISTED_S: Final = 1_420_070_400  # 2015-01-01: the first trade
# Minutes of a stage's bars, each of which divides the next → trades a minute of the
# liveliest pair: the further back, the fewer, so that all of them together stay below
# today's ids.
STAGES: Final = {1: 20.0, 5: 16.0, 15: 12.0, 30: 8.0, 60: 6.0, 240: 4.0, 1440: 1.0}
LIVELIEST_WEIGHT: Final = 10  # of the liveliest pair, see `PairSpec`
DAY_MINUTES: Final = 1440
BARS_TOLD: Final = 720  # of every interval: as many as REST's OHLC returns
MINUTES_TOLD: Final = DAY_MINUTES + 1  # of the finest bars, because the ticker's 24 hours move by the minute
QUIET_SHARE: Final = 0.25  # of the minutes pass without a trade; longer bars have some
LAST_MINUTES: Final = 600  # within which every pair was traded
LIVELY_WEIGHT: Final = 0.5  # of a pair below which more minutes are quiet, by its weight
BAR_TRADES_MIN: Final = 4  # open, both extremes, close
SWING: Final = 0.0004  # of the price, in one minute; it grows with the square root of the time

assert all(coarse % fine == 0 for fine, coarse in pairwise(STAGES))

_BEGIN_S: Final = attrgetter("begin_s")


class Trade(NamedTuple):
    """One public trade; `side` and `order_type` are the taker's."""

    at: WallNs  # fills of one taker are a nanosecond apart, so that no two trades share their time
    price: PriceTicks
    qty: QtyLots
    side: Side
    order_type: OrderType
    trade_id: int


class Bar(msgspec.Struct, frozen=True, gc=False):
    """The trades of one span: from the open to both extremes, then evenly to the close, all
    of one quantity.
    """

    begin_s: int
    span_s: int
    open: PriceTicks
    high: PriceTicks
    low: PriceTicks
    close: PriceTicks
    trades: int  # BAR_TRADES_MIN or more
    lots: QtyLots  # of each trade
    first_trade_id: int

    @property
    def qty(self) -> int:
        """Lots of all trades."""
        return self.lots * self.trades

    @property
    def cost(self) -> int:
        """Sum of ticks × lots of all trades."""
        turn, step, steps = self._last_leg()
        way = steps * turn + step * (steps * (steps + 1) // 2)
        return self.lots * (self.open + self.high + self.low + way + self.close)

    def _last_leg(self) -> tuple[PriceTicks, int, int]:
        """The second extreme, and from there ticks a step and steps to the close."""
        is_up = self.close >= self.open  # then the low came first
        steps = self.trades - BAR_TRADES_MIN
        if is_up:
            return self.high, -((self.high - self.close) // (steps + 1)), steps
        return self.low, (self.close - self.low) // (steps + 1), steps

    def told(self) -> Iterator[Trade]:
        """The trades, oldest first; their sums are those of the bar."""
        turn, step, steps = self._last_leg()
        first = self.low if turn == self.high else self.high
        prices = [self.open, first, turn, *(PriceTicks(turn + step * n) for n in range(1, steps + 1)), self.close]
        before = self.open - self.first_trade_id % 2
        for rank, price in enumerate(prices):
            offset_us = self.span_s * 1_000_000 * (2 * rank + 1) // (2 * self.trades)
            trade_id = self.first_trade_id + rank
            yield Trade(
                WallNs(self.begin_s * NS_PER_S + offset_us * NS_PER_US),
                price,
                self.lots,
                BUY if price > before else SELL,
                "limit" if trade_id % 5 else "market",
                trade_id,
            )
            before = price


class History:
    """The past of one pair."""

    def __init__(self, pair: PairSpec, seed: int, until: WallNs, last_trade_id: int) -> None:
        self.until_s = until // NS_PER_S // 60 * 60  # later trades are real ones
        self._pair = pair
        self._seed = seed
        self._stages: list[list[Bar]] = []  # as many as were asked for, the finest first; their bars oldest first
        self._begin_s = self.until_s  # of the oldest stage so far
        self._open = PriceTicks(pair.mid_ticks)  # its first price: where the stage before it ends
        self._first_trade_id = last_trade_id + 1  # the id of its first trade

    def relist(self, change: Change) -> None:
        """Convert to another precision, rounding where that is coarser; later stages are
        made in it.
        """
        self._pair = change.after
        self._open = change.price(self._open)
        self._stages = [
            [
                msgspec.structs.replace(
                    bar,
                    open=change.price(bar.open),
                    high=change.price(bar.high),
                    low=change.price(bar.low),
                    close=change.price(bar.close),
                    lots=change.qty(bar.lots),
                )
                for bar in bars
            ]
            for bars in self._stages
        ]

    def bars(self, since_s: int) -> Iterator[Bar]:
        """The bars that began at `since_s` or later, oldest first."""
        self._reach(since_s)
        # Hot, with 1,440 bars for a pair's first ticker: the bars of a stage at once.
        return chain.from_iterable(
            stage[bisect_left(stage, since_s, key=_BEGIN_S) :] for stage in reversed(self._stages)
        )

    def trades(self, after: WallNs) -> Iterator[Trade]:
        """The trades after this moment, oldest first."""
        for bar in self.bars(after // NS_PER_S - DAY_MINUTES * 60):
            if (bar.begin_s + bar.span_s) * NS_PER_S > after:
                yield from (trade for trade in bar.told() if trade.at > after)

    def last_trades(self, count: int) -> list[Trade]:
        """The newest trades, oldest first."""
        since_s = self.until_s - DAY_MINUTES * 60
        self._reach(since_s)
        told: list[Trade] = []
        for bar in chain.from_iterable(map(reversed, self._stages)):
            if len(told) >= count or bar.begin_s < since_s:
                break
            told[:0] = bar.told()
        return told[-count:] if count else []

    def _reach(self, since_s: int) -> None:
        """Make the stages back to `since_s`."""
        while self._begin_s > max(since_s, LISTED_S) and len(self._stages) < len(STAGES):
            self._go_back()

    def _go_back(self) -> None:
        """Make one more stage, from its newest bar to its oldest."""
        intervals = list(STAGES)
        interval = intervals[len(self._stages)]
        span_s = interval * 60
        begin_s = LISTED_S
        if interval < intervals[-1]:
            coarser_s = intervals[len(self._stages) + 1] * 60
            told = MINUTES_TOLD if interval == 1 else BARS_TOLD
            begin_s = max(LISTED_S, (self.until_s - told * span_s) // coarser_s * coarser_s)
        random = Random(f"{self._seed} {interval}-minute bars of {self._pair.symbol}").random
        swing = SWING * interval**0.5
        typical = self._pair.typical_lots
        lively = 2 * interval * STAGES[interval] * self._pair.weight / LIVELIEST_WEIGHT
        lively_share = min(1.0, self._pair.weight / LIVELY_WEIGHT)
        quiet = 1 - (1 - QUIET_SHARE) * lively_share
        # A minute in which even the quietest pair was traded: it has a last price.
        traded_s = self._begin_s - span_s * (1 + int(random() * LAST_MINUTES)) if lively_share < 1 else 0
        close, next_trade_id, least = self._open, self._first_trade_id, PriceTicks(1)
        bars: list[Bar] = []
        for bar_s in range(self._begin_s - span_s, begin_s - 1, -span_s):
            if interval == 1 and random() < quiet and bar_s != traded_s:
                continue
            reach = close * swing
            # Hot, with 1,440 bars for a pair's first ticker: comparisons instead of calls.
            opened = PriceTicks(close + round(reach * (2 * random() - 1)))
            opened = opened if opened > 1 else least
            upper, lower = (opened, close) if opened > close else (close, opened)
            high = PriceTicks(upper + int(reach * random()))
            low = PriceTicks(lower - int(reach * random()))
            low = low if low > 1 else least
            trades = BAR_TRADES_MIN + int(random() * lively)
            next_trade_id -= trades
            lots = QtyLots(int(typical * (0.5 + random())) or 1)
            bars.append(Bar(bar_s, span_s, opened, high, low, close, trades, lots, next_trade_id))
            close = opened
        bars.reverse()
        self._stages.append(bars)
        self._begin_s, self._open, self._first_trade_id = begin_s, close, next_trade_id
