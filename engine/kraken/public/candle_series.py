"""The candles of each pair and interval: which is forming, which is closed, which were
missed.

Kraken sends the whole candle again at each trade and never says that it is closed. A candle
is closed when a later one begins and every message in between was received. After an outage
the snapshot shows the final values of the candle that was forming, if it reaches back far
enough; otherwise that candle is never reported as closed. Candles are compared with other
candles only, never with the local clock.

    forming ── a later one begins ──► closed, reported once
       │
       └── interrupted ── sent again by Kraken ───────► forming
                     └── a later one begins ─────────► missed, with the intervals up to that one

Source: https://docs.kraken.com/api/docs/websocket-v2/ohlc
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from engine.kraken.public.events import CandleChanged
from engine.kraken.public.messages import CandleData
from engine.timestamps import wall_ns
from engine.units import NS_PER_S, WallNs

# After its message's own time; a later candle would make all real ones look old.
AHEAD_NS_MAX: Final = 60 * NS_PER_S
# That Kraken offers; bounds the number of series of a pair.
INTERVALS_MIN: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)

_BEGIN_CHARS_MAX: Final = 40  # genuine ones have 30; a longer text is not kept
_known_begin_ns = lru_cache(maxsize=256)(wall_ns)

_Key = tuple[str, int]


def begin_ns(interval_begin: str) -> WallNs:
    """The same as `wall_ns`; hot: an interval's beginning is read for each of its candles."""
    return _known_begin_ns(interval_begin) if len(interval_begin) <= _BEGIN_CHARS_MAX else wall_ns(interval_begin)


class _Series:
    """The newest candle of one pair and interval."""

    __slots__ = ("begin", "candle", "is_whole")

    def __init__(self, begin: WallNs, candle: CandleData | None, *, is_whole: bool) -> None:
        self.begin = begin
        # As reported last; None when another process reported it.
        self.candle = candle
        # True while every message since the last report was received, so that no trade can
        # be missing.
        self.is_whole = is_whole


class CandleSeries:
    """The series of all pairs, with counters."""

    def __init__(self) -> None:
        # Counted: intervals of which the final values are unknown; candles that were
        # reported before or are older.
        self.missed = 0
        self.repeated = 0
        self._series: dict[_Key, _Series] = {}

    def forget(self, symbol: str) -> None:
        """Forget the series of a pair: the next candle starts a new one."""
        for interval_min in INTERVALS_MIN:
            self._series.pop((symbol, interval_min), None)

    def interrupt(self, symbol: str | None = None) -> None:
        """Note that messages of this pair, or of all, may have been lost: the forming
        candle may be incomplete.
        """
        if symbol is None:
            concerned = list(self._series.values())
        else:
            concerned = [one for minutes in INTERVALS_MIN if (one := self._series.get((symbol, minutes))) is not None]
        for series in concerned:
            series.is_whole = False

    def resume(self, symbol: str, interval_min: int, begin: WallNs) -> None:
        """Continue after this candle, the last that another process reported."""
        self._series[symbol, interval_min] = _Series(begin, None, is_whole=False)

    def take(self, candles: Sequence[CandleData], told_at: str, *, is_snapshot: bool) -> list[CandleChanged]:
        """The events of one message, oldest first; `told_at` is Kraken's time of the
        message, possibly empty.

        ValueError, and nothing is taken, for an interval that Kraken does not offer, or a
        begin that is missing or in the future.
        """
        stamp = wall_ns(told_at)
        for candle in candles:
            _check(candle, stamp)
        groups: dict[_Key, dict[WallNs, CandleData]] = {}
        for candle in candles:
            rows = groups.setdefault((candle.symbol, candle.interval), {})
            begin = begin_ns(candle.interval_begin)
            other = rows.get(begin)
            self.repeated += other is not None
            rows[begin] = candle if other is None else _later(other, candle)
        events: list[CandleChanged] = []
        for key, rows in groups.items():
            ordered = dict(sorted(rows.items())) if len(rows) > 1 else rows
            events += self._take_snapshot(key, ordered) if is_snapshot else self._take_update(key, ordered)
        return events

    def _take_update(self, key: _Key, rows: dict[WallNs, CandleData]) -> list[CandleChanged]:
        events: list[CandleChanged] = []
        for begin, candle in rows.items():
            series = self._series.get(key)
            if series is None:
                events.append(self._begin(key, begin, candle))
            elif begin < series.begin:
                self.repeated += 1
            elif begin == series.begin:
                events += self._go_on(series, candle)
            elif series.is_whole and series.candle is not None:
                events += (CandleChanged(series.candle, closed=True), self._begin(key, begin, candle))
            else:
                events.append(self._begin(key, begin, candle, self._miss(key, series.begin, begin)))
        return events

    def _take_snapshot(self, key: _Key, rows: dict[WallNs, CandleData]) -> list[CandleChanged]:
        series = self._series.get(key)
        *_, newest = rows
        events: list[CandleChanged] = []
        missed = 0
        if series is not None:
            known = rows.get(series.begin)
            later = {begin: candle for begin, candle in rows.items() if begin > series.begin}
            self.repeated += len(rows) - len(later) - (known is not None)
            # No later candle has begun, or the snapshot is older than the last report.
            if not later:
                return self._go_on(series, known) if known is not None else []
            if known is not None:
                ended = known if series.candle is None else _later(series.candle, known)
                events.append(CandleChanged(ended, closed=True, history=True))
            elif min(rows) < series.begin:  # it reaches further back than our candle, which alone is missing in it
                missed = self._miss(key, series.begin, series.begin)
            else:
                missed = self._miss(key, series.begin, min(later))
            rows = later
        for begin, candle in rows.items():
            if begin == newest:
                events.append(self._begin(key, begin, candle, missed))
            else:
                events.append(CandleChanged(candle, closed=True, history=True, missed=missed))
            missed = 0
        return events

    def _begin(self, key: _Key, begin: WallNs, candle: CandleData, missed: int = 0) -> CandleChanged:
        self._series[key] = _Series(begin, candle, is_whole=True)
        return CandleChanged(candle, closed=False, missed=missed)

    def _go_on(self, series: _Series, candle: CandleData) -> list[CandleChanged]:
        """Take the newest candle again; returns no event when it changes nothing and none
        was missed.
        """
        known = series.candle
        # Hot: most candles have more trades than before, so the comparison of all fields
        # comes last.
        if (
            known is not None
            and candle.trades <= known.trades
            and (candle.trades < known.trades or (series.is_whole and candle == known))
        ):
            self.repeated += 1
            return []
        series.candle, series.is_whole = candle, True
        return [CandleChanged(candle, closed=False)]

    def _miss(self, key: _Key, begin: WallNs, next_begin: WallNs) -> int:
        """Count the intervals from `begin` up to `next_begin` as missed; returns how many."""
        missed = max(1, (next_begin - begin) // (key[1] * 60 * NS_PER_S))
        self.missed += missed
        return missed


def _later(first: CandleData, second: CandleData) -> CandleData:
    """Of two states of one candle the one with more trades, else the second."""
    return first if first.trades > second.trades else second


def _check(candle: CandleData, stamp: WallNs) -> None:
    if candle.interval not in INTERVALS_MIN:
        raise ValueError(f"a candle of {candle.interval} minutes is not one of Kraken's")
    begin = begin_ns(candle.interval_begin)
    if not begin:
        raise ValueError(f"interval_begin {candle.interval_begin!r} is no time")
    if 0 < stamp < begin - AHEAD_NS_MAX:
        raise ValueError(f"interval_begin {candle.interval_begin!r} is yet to come")
