"""Candles of each pair and interval: which one is still forming, which is closed for certain, which were missed.

Kraken tells a candle anew, whole, at each trade, and never that it is closed: it is when a later one begins, if every
message in between was heard. After an outage the snapshot says how the candle that we knew ended, if it reaches back
so far; if it does not, nobody tells, and that candle is never closed. Candles are compared with candles alone, never
with our clock.

    forming ── a later one begins ──► closed, told once
       │
       └── interrupted ── told again by Kraken ──────► forming
                     └── a later one begins ─────────► missed, with the intervals up to that one

Source: https://docs.kraken.com/api/docs/websocket-v2/ohlc
"""

from collections.abc import Sequence
from typing import Final

from engine.kraken.public.events import CandleChanged
from engine.kraken.public.messages import CandleData
from engine.timestamps import wall_ns
from engine.units import NS_PER_S, WallNs

AHEAD_NS_MAX: Final = 60 * NS_PER_S  # of its message's own time: until a candle of tomorrow all others are old
INTERVALS_MIN: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)  # what Kraken offers; bounds the series of a pair

_Key = tuple[str, int]


class _Series:
    """The newest candle of one pair and interval."""

    __slots__ = ("begin", "candle", "is_whole")

    def __init__(self, begin: WallNs, candle: CandleData | None, *, is_whole: bool) -> None:
        self.begin = begin
        # As it was told last; None when that was by another process.
        self.candle = candle
        # Has every message since it was told been heard? Then nothing has happened in it that we do not know.
        self.is_whole = is_whole


class CandleSeries:
    """The series of all pairs, and what was counted of them."""

    def __init__(self) -> None:
        # Intervals of an outage whose end, or all, nobody told; candles that were told before, or are older.
        self.missed = 0
        self.repeated = 0
        self._series: dict[_Key, _Series] = {}

    def forget(self, symbol: str) -> None:
        """Begin anew: nothing that was told bears on what comes now."""
        for interval_min in INTERVALS_MIN:
            self._series.pop((symbol, interval_min), None)

    def interrupt(self, symbol: str | None = None) -> None:
        """Messages of this pair, or of all, may have been lost: what is forming may have gone on."""
        if symbol is None:
            concerned = list(self._series.values())
        else:
            concerned = [one for minutes in INTERVALS_MIN if (one := self._series.get((symbol, minutes))) is not None]
        for series in concerned:
            series.is_whole = False

    def resume(self, symbol: str, interval_min: int, begin: WallNs) -> None:
        """Go on after this candle, which another process told last."""
        self._series[symbol, interval_min] = _Series(begin, None, is_whole=False)

    def take(self, candles: Sequence[CandleData], told_at: str, *, is_snapshot: bool) -> list[CandleChanged]:
        """What one message tells anew, oldest first; `told_at` is its time by Kraken, as text, perhaps empty.

        ValueError, with nothing taken: an interval that Kraken does not offer, no time, or one that is yet to come.
        """
        stamp = wall_ns(told_at)
        for candle in candles:
            _check(candle, stamp)
        groups: dict[_Key, dict[WallNs, CandleData]] = {}
        for candle in candles:
            rows = groups.setdefault((candle.symbol, candle.interval), {})
            begin = wall_ns(candle.interval_begin)
            other = rows.get(begin)
            self.repeated += other is not None
            rows[begin] = candle if other is None else _later(other, candle)
        events: list[CandleChanged] = []
        for key, rows in groups.items():
            ordered = dict(sorted(rows.items()))
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
            if not later:  # nothing has begun since; or it is older than what we have been told
                return self._go_on(series, known) if known is not None else []
            if known is not None:
                ended = known if series.candle is None else _later(series.candle, known)
                events.append(CandleChanged(ended, closed=True, history=True))
            elif min(rows) < series.begin:  # it reaches back beyond our candle, which is the only one it does not tell
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
        """The newest candle, told once more: no news when we know as much, and know that it is so still."""
        known = series.candle
        if known is not None and (candle.trades < known.trades or (candle == known and series.is_whole)):
            self.repeated += 1
            return []
        series.candle, series.is_whole = candle, True
        return [CandleChanged(candle, closed=False)]

    def _miss(self, key: _Key, begin: WallNs, next_begin: WallNs) -> int:
        """Count the interval that began at `begin`, and those after it up to `next_begin`; how many."""
        missed = max(1, (next_begin - begin) // (key[1] * 60 * NS_PER_S))
        self.missed += missed
        return missed


def _later(first: CandleData, second: CandleData) -> CandleData:
    """Of two states of one candle the one of more trades, else the second."""
    return first if first.trades > second.trades else second


def _check(candle: CandleData, stamp: WallNs) -> None:
    if candle.interval not in INTERVALS_MIN:
        raise ValueError(f"a candle of {candle.interval} minutes is not one of Kraken's")
    begin = wall_ns(candle.interval_begin)
    if not begin:
        raise ValueError(f"interval_begin {candle.interval_begin!r} is no time")
    if 0 < stamp < begin - AHEAD_NS_MAX:
        raise ValueError(f"interval_begin {candle.interval_begin!r} is yet to come")
