"""The candles of one pair, of several intervals, from its trades. Pure; time is passed in.

    trades, in any order ─► add() ──┐
    what REST tells ──────► fill() ─┼─► bars of each interval ─► take(): what changed, to be told
    all is known until t ─► know() ─┘

Prices and quantities are whole ticks and lots, so high, low, volume, count and the sum
behind the volume-weighted price are exact. Open and close are those of the first and the
last trade by Kraken's time, and by their ids within one time; a late trade amends the
interval that it belongs to. An interval begins at a multiple of its length since 1970 UTC,
so a week begins on a Thursday. One without trades has no candle.

An interval is over when all trades up to its end are known: a later trade has come in
order, or the caller says so (`know`), by its clock. It is closed then if it is whole. A
hole is a span of time of which trades are missing: before the first trade that was heard,
and between two whose ids are not neighbours. What a hole touches is not whole, and never
closed, until the missing ids come late, or REST tells it:

    a whole interval    by its own candle of REST
    a forming one       by the candles of the minutes, and beyond twelve hours the hours, that it
                        consists of; what followed the hole are the trades
    neither             `give_up`: the interval is missed
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from engine.units import NS_PER_S, WallNs

INTERVALS_MIN: Final = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
"""Kraken's intervals, in minutes."""
ROWS_MAX: Final = 720  # candles of one interval that Kraken's REST tells
MINUTE_NS: Final = 60 * NS_PER_S
HOUR_MIN: Final = 60
LONG_MIN: Final = 240  # beyond, 720 minutes may not reach back to an interval's begin
KEPT_MAX: Final = 64  # bars of an interval that can be amended
PIECES_MAX: Final = ROWS_MAX + 80  # minutes and hours kept while a longer interval waits for them
ATTEMPTS_MAX: Final = 5  # of asking REST for what is over, in vain
HOLES_MAX: Final = 32  # of an interval; then the oldest two become one
NUMBERING_MAX: Final = 10_000_000  # ids; a larger jump is a new numbering

_BEFORE_ALL, _AFTER_ALL = -1, 1 << 127  # ids, of the first and last trade in what REST tells


def begin_of(at: int, interval_min: int) -> WallNs:
    """When the interval began that a moment is in.

    >>> begin_of(59_999_999_999, 1), begin_of(60_000_000_000, 1)
    (0, 60000000000)
    """
    return WallNs(at - at % (interval_min * MINUTE_NS))


class Bar:
    """The known trades of one interval."""

    __slots__ = ("begin", "close", "cost", "end", "first", "high", "is_late", "last", "lots", "low", "open",
                 "rest_until", "trades", "was_closed")  # fmt: skip

    def __init__(
        self, begin: int, end: int, price: int, lots: int, key: tuple[int, int], *, trades: int = 1, rest_until: int = 0
    ) -> None:
        self.begin = begin
        self.end = end
        self.open = self.high = self.low = self.close = price
        self.trades = trades
        self.lots = lots
        # The sum of ticks × lots: what the volume-weighted price is made of.
        self.cost = price * lots
        # Time and id of the first and the last trade.
        self.first = self.last = key
        # Up to here REST has told it; 0 when it is made of trades alone.
        self.rest_until = rest_until
        # Changed after its end; and told as closed.
        self.is_late = False
        self.was_closed = False

    @classmethod
    def of_rest(
        cls, begin: int, interval_min: int, prices: tuple[int, int, int, int], *, vwap: int, lots: int, trades: int
    ) -> "Bar":
        """A bar from a candle of REST; `prices` are open, high, low and close."""
        end = begin + interval_min * MINUTE_NS
        bar = cls(begin, end, vwap, lots, (begin, _BEFORE_ALL), trades=trades, rest_until=end)
        bar.open, bar.high, bar.low, bar.close = prices
        bar.last = (end - 1, _AFTER_ALL)
        return bar

    def add(self, key: tuple[int, int], price: int, lots: int) -> None:
        """Count a trade."""
        if key > self.last:
            self.close, self.last = price, key
        elif key < self.first:
            self.open, self.first = price, key
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.trades += 1
        self.lots += lots
        self.cost += price * lots

    def merge(self, other: "Bar") -> None:
        """Count the trades of another bar."""
        if other.last > self.last:
            self.close, self.last = other.close, other.last
        if other.first < self.first:
            self.open, self.first = other.open, other.first
        self.high, self.low = max(self.high, other.high), min(self.low, other.low)
        self.trades += other.trades
        self.lots += other.lots
        self.cost += other.cost
        self.rest_until = max(self.rest_until, other.rest_until)

    def copy(self, begin: int, end: int) -> "Bar":
        """The same trades as those of a longer interval."""
        bar = Bar(begin, end, self.close, self.lots, self.last, trades=self.trades, rest_until=self.rest_until)
        bar.open, bar.high, bar.low, bar.first, bar.cost = self.open, self.high, self.low, self.first, self.cost
        return bar

    @property
    def vwap(self) -> int:
        """The volume-weighted mean price in ticks, rounded half up."""
        return (2 * self.cost + self.lots) // (2 * self.lots) if self.lots else self.close


class CandleState(NamedTuple):
    """A candle to be published; prices in ticks, volume in lots."""

    interval_min: int
    begin: WallNs
    open: int
    high: int
    low: int
    close: int
    vwap: int
    lots: int
    trades: int
    is_closed: bool
    is_history: bool
    """It was over before this was known: by REST, or by a late trade."""
    is_rest: bool
    """REST has told it, or a part of it."""
    is_whole: bool
    """False while trades of it are missing."""


class Wanted(NamedTuple):
    """Candles that REST is to be asked for."""

    interval_min: int
    since: WallNs
    """The begin of the first that is wanted."""


class _Gap:
    """Ids that are missing between two trades."""

    __slots__ = ("first_id", "missing", "next_id")

    def __init__(self, first_id: int, next_id: int) -> None:
        self.first_id = first_id
        self.next_id = next_id
        self.missing = next_id - first_id


class _Hole(NamedTuple):
    """A span of time with missing trades."""

    begin: int
    end: int
    gap: _Gap | None = None


class _Series:
    """The bars of one interval."""

    def __init__(self, interval_min: int, *, is_told: bool) -> None:
        self.interval_min = interval_min
        self.span = interval_min * MINUTE_NS
        # Whether it is configured; the others are the pieces of those.
        self.is_told = is_told
        self.bars: dict[int, Bar] = {}
        # The bar of the newest trade. Hot: nearly every trade is its.
        self.newest: Bar | None = None
        self.changed: dict[int, None] = {}
        self.holes: list[_Hole] = []
        # Everything before is over; nothing before is kept; the interval in which the
        # first trade was heard.
        self.over_until = 0
        self.floor = 0
        self.heard_from = 0
        # The forming candle as REST told it, while trades of it are missing.
        self.rough: Bar | None = None
        # How often REST was asked for what is over, without an answer that tells it.
        self.attempts = 0

    def begin_of(self, at: int) -> int:
        return at - at % self.span

    def is_whole(self, begin: int, end: int) -> bool:
        """Whether no trade of this span of time is missing."""
        return not any(hole.begin < end and hole.end > begin for hole in self.holes)

    def whole_from(self, until: int) -> int:
        """Since when no trade up to a moment is missing."""
        return max([self.floor, *(hole.end for hole in self.holes if hole.begin < until)])

    def ended_hole(self, until: int) -> _Hole | None:
        """The first hole in an interval that had ended by then; None if there is none."""
        return next((hole for hole in self.holes if self.begin_of(hole.begin) + self.span <= until), None)

    def completable(self) -> list[tuple[int, int]]:
        """The intervals whose later part is known: their beginning, and the end of the
        minute from which on nothing is missing.
        """
        found = {}
        for hole in self.holes:
            begin = self.begin_of(hole.end - 1)
            end = begin + self.span
            last = max(other.end for other in self.holes if other.begin < end and other.end > begin) - 1
            minute_end = last - last % MINUTE_NS + MINUTE_NS
            if minute_end < end:
                found[begin] = minute_end
        return list(found.items())

    def bar_at(self, at: int, key: tuple[int, int], price: int, lots: int) -> None:
        """Count a trade that is not the newest bar's."""
        begin = self.begin_of(at)
        if begin < self.floor:
            return
        bar = self.bars.get(begin)
        if bar is None:
            bar = self.bars[begin] = Bar(begin, begin + self.span, price, lots, key)
        elif at < bar.rest_until:
            return  # REST has counted it
        else:
            bar.add(key, price, lots)
        bar.is_late = bar.end <= self.over_until
        if self.newest is None or begin > self.newest.begin:
            self.newest = bar
        self.changed[begin] = None

    def put(self, bar: Bar) -> None:
        """Replace a bar."""
        before = self.bars.get(bar.begin)
        bar.was_closed = before is not None and before.was_closed
        bar.is_late = bar.end <= self.over_until
        self.bars[bar.begin] = bar
        self.changed[bar.begin] = None
        if self.newest is None or bar.begin >= self.newest.begin:
            self.newest = bar

    def know(self, until: int) -> None:
        """Mark the intervals that end by then as over."""
        over_until = self.begin_of(until)
        for begin in self.bars:
            if self.over_until <= begin < over_until:
                self.changed[begin] = None
        self.over_until = over_until

    def add_hole(self, hole: _Hole) -> None:
        self.holes.append(hole)
        if len(self.holes) > HOLES_MAX:
            first, second, *rest = self.holes
            self.holes = [_Hole(min(first.begin, second.begin), max(first.end, second.end)), *rest]
        self.attempts = 0

    def cut(self, begin: int, end: int) -> None:
        """Remove this span from the holes: nothing is missing in it any more."""
        holes: list[_Hole] = []
        for hole in self.holes:
            if hole.begin >= end or hole.end <= begin:
                holes.append(hole)
                continue
            if hole.begin < begin:
                holes.append(hole._replace(end=begin))
            if hole.end > end:
                holes.append(hole._replace(begin=end))
        self.holes = holes

    def prune(self, kept_max: int) -> None:
        """Drop the oldest bars beyond `kept_max`."""
        if len(self.bars) <= kept_max:
            return
        for begin in sorted(self.bars)[:-kept_max]:
            self.floor = max(self.floor, self.bars.pop(begin).end)

    def forget(self, begin: int) -> None:
        bar = self.bars.pop(begin)
        if self.newest is bar:
            self.newest = None

    def touch(self, begin: int, end: int) -> None:
        """Mark the bars in this span to be published again."""
        for at, bar in self.bars.items():
            if at < end and bar.end > begin:
                bar.is_late = bar.end <= self.over_until
                self.changed[at] = None

    def between(self, begin: int, end: int) -> list[Bar]:
        return [bar for at, bar in sorted(self.bars.items()) if begin <= at < end]


class CandleCounts:
    """Counters of the candles of a pair, or of several pairs that share them."""

    __slots__ = ("amended", "filled", "missed")

    def __init__(self) -> None:
        # Intervals that ended and are not known as a whole; candles that were told as
        # closed and amended; candles that REST has told, or a part of them.
        self.missed = 0
        self.amended = 0
        self.filled = 0


class Candles:
    """The candles of one pair.

    Of each interval 64 bars are kept, so that late trades find theirs, and 800 minutes and
    hours at most while a longer interval waits for REST.
    """

    def __init__(self, intervals_min: Sequence[int], *, history: int = 0, counts: CandleCounts | None = None) -> None:
        """`history`: the number of intervals before the first trade to request from REST.
        `counts`: counters shared with other pairs; private ones if left out.
        """
        self.counts = counts or CandleCounts()
        self._history = min(history, ROWS_MAX)
        longest = max(intervals_min)
        self._told = [_Series(minutes, is_told=True) for minutes in sorted(set(intervals_min))]
        self._minutes = _Series(1, is_told=False) if longest > 1 else None
        self._hours = _Series(HOUR_MIN, is_told=False) if longest > LONG_MIN else None
        pieces = [series for series in (self._minutes, self._hours) if series is not None]
        self._series = [*pieces, *self._told]
        self._by_interval = {series.interval_min: series for series in self._told}
        self._resumed: dict[int, int] = {}
        # Id and time of the newest trade; the gaps whose ids may still come.
        self._newest_id: int | None = None
        self._newest_at = 0
        self._gaps: list[_Gap] = []
        self._has_begun = False
        # When the shortest interval ends that is not over yet; when REST may be asked for
        # an interval again.
        self._next_end = 0
        self._ask_at: dict[int, int] = {}

    # --- what is known

    @property
    def has_begun(self) -> bool:
        """Whether anything is known of the pair."""
        return self._has_begun

    @property
    def newest_at(self) -> WallNs:
        """The time of the newest trade, or of the beginning; 0 before."""
        return WallNs(self._newest_at)

    def resume(self, interval_min: int, begin: int, *, is_closed: bool) -> None:
        """Continue after the last candle that was published; call it before `begin`."""
        if interval_min in self._by_interval:
            self._resumed[interval_min] = begin + interval_min * MINUTE_NS * is_closed

    def begin(self, at: int, newest_id: int | None = None) -> None:
        """Start at this moment: every later trade will be added, from the one after
        `newest_id` on. What came before is missing.
        """
        self._has_begun = True
        self._newest_id, self._newest_at = newest_id, at
        for series in self._series:
            series.over_until = series.heard_from = series.begin_of(at)
            first = series.begin_of(at)
            if not series.is_told:
                series.floor = first
                series.add_hole(_Hole(0, at + 1))
                continue
            series.floor = self._resumed.get(series.interval_min, first - self._history * series.span)
            if series.floor <= at:
                series.add_hole(_Hole(series.floor, at + 1))
        self._next_end = min(series.over_until + series.span for series in self._series)

    def seed(self, trades: Sequence[tuple[int, int, int, int]]) -> None:
        """Add trades from before the beginning: (id, time, ticks, lots), with consecutive
        ids, oldest first.
        """
        for trade_id, at, price, lots in trades:
            self.add(trade_id, at, price, lots)
        for series in self._series:
            series.touch(0, series.over_until)

    def add(self, trade_id: int, at: int, price: int, lots: int) -> None:
        """Count a trade; each is added once. `at` is Kraken's time."""
        newest_id = self._newest_id
        if newest_id is not None and trade_id == newest_id + 1:  # hot: nearly every one
            self._newest_id = trade_id
        else:
            self._add_out_of_turn(trade_id, at)
        if at > self._newest_at:
            self._newest_at = at
        key = (at, trade_id)
        for series in self._series:
            bar = series.newest
            if bar is not None and bar.begin <= at < bar.end and at >= bar.rest_until and bar.end > series.over_until:
                bar.add(key, price, lots)
                series.changed[bar.begin] = None
            else:
                series.bar_at(at, key, price, lots)
        if at >= self._next_end and trade_id == self._newest_id:
            self.know(at)

    def _add_out_of_turn(self, trade_id: int, at: int) -> None:
        newest_id = self._newest_id
        if not self._has_begun:
            self.begin(at, trade_id)
        elif newest_id is None:
            self._newest_id = trade_id
        elif newest_id < trade_id <= newest_id + NUMBERING_MAX:
            gap = _Gap(newest_id + 1, trade_id)
            self._gaps = [*self._gaps[1 - HOLES_MAX :], gap]
            self._miss(at, gap)
            self._newest_id = trade_id
        elif gaps := [gap for gap in self._gaps if gap.first_id <= trade_id < gap.next_id]:
            self._found(gaps[0])
        elif at > self._newest_at or trade_id > newest_id:  # a new numbering
            self._gaps.clear()
            self._miss(max(at, self._newest_at), None)
            self._newest_id = trade_id

    def _miss(self, at: int, gap: _Gap | None) -> None:
        """Record a hole between the newest trade and one at this time."""
        first, last = min(at, self._newest_at), max(at, self._newest_at)
        for series in self._series:
            series.add_hole(_Hole(first, last + 1, gap))

    def lack(self, begin: int, end: int) -> None:
        """Record a hole in this span: some source has counted more trades in it."""
        for series in self._series:
            if series.is_whole(begin, end):
                series.add_hole(_Hole(begin, end))

    def _found(self, gap: _Gap) -> None:
        """Close a gap of trade ids by a late trade."""
        gap.missing -= 1
        if gap.missing:
            return
        self._gaps.remove(gap)
        for series in self._series:
            for hole in series.holes:
                if hole.gap is gap:
                    series.touch(hole.begin, hole.end)
            series.holes = [hole for hole in series.holes if hole.gap is not gap]

    def know(self, until: int) -> None:
        """Record that all trades up to this moment are known: intervals that end by then
        are over.
        """
        if not self._has_begun or until < self._next_end:
            return
        for series in self._series:
            if until >= series.over_until + series.span:
                series.know(until)
        self._next_end = min(series.over_until + series.span for series in self._series)

    # --- what REST tells

    def wanted(self, now: int, settle_ns: int, renew_ns: int) -> Wanted | None:
        """The candles to request from REST now. An interval is requested `settle_ns` after
        its end, and again after `renew_ns` at the earliest.
        """
        until = now - settle_ns
        for series in self._told:
            if not series.holes:
                continue
            hole = series.ended_hole(until) if series.attempts < ATTEMPTS_MAX else None
            if hole is not None and self._may_ask(series.interval_min, now, renew_ns):
                series.attempts += 1
                return Wanted(series.interval_min, WallNs(series.begin_of(hole.begin)))
            for begin, minute_end in series.completable() if series.interval_min > 1 else ():
                if minute_end > until:
                    continue
                lacking = self._pieces(series, begin, minute_end)
                if isinstance(lacking, int) and self._may_ask(lacking, now, renew_ns):
                    reach = begin_of(until, lacking) - (ROWS_MAX - 1) * lacking * MINUTE_NS
                    return Wanted(lacking, WallNs(max(begin, reach)))
        return None

    def _may_ask(self, interval_min: int, now: int, renew_ns: int) -> bool:
        if now < self._ask_at.get(interval_min, 0):
            return False
        self._ask_at[interval_min] = now + renew_ns
        return True

    def _pieces(self, series: _Series, begin: int, minute_end: int) -> list[Bar] | int:
        """The hours and minutes that make up an interval up to `minute_end`, if all are
        whole; otherwise the interval that REST must deliver first.
        """
        minutes, hours = self._minutes, self._hours
        assert minutes is not None
        known_from, minutes_from = minutes.whole_from(minute_end), begin
        if known_from > begin:
            hour = HOUR_MIN * MINUTE_NS
            minutes_from = -(-known_from // hour) * hour
            if series.interval_min <= LONG_MIN or minutes_from > minute_end:
                return 1
            assert hours is not None
            if hours.whole_from(minutes_from) > begin:
                return HOUR_MIN
        older = hours.between(begin, minutes_from) if hours is not None else []
        return [*older, *minutes.between(minutes_from, begin + series.span)]

    def fill(self, interval_min: int, bars: Sequence[Bar], begin: int, end: int, forming: Bar | None) -> None:
        """Apply an answer of REST: the candles from `begin` to `end`, which are over, of
        every interval with trades, and the one that is forming.
        """
        for series in self._series:
            if series.interval_min == interval_min:
                self._fill(series, bars, begin, end)
        told = self._by_interval.get(interval_min)
        if told is not None and forming is not None and not told.is_whole(forming.begin, forming.end):
            told.rough = forming
            told.changed[forming.begin] = None
        for series in self._series:
            if series.interval_min > 1:
                self._complete_from_pieces(series)

    def _fill(self, series: _Series, bars: Sequence[Bar], begin: int, end: int) -> None:
        told = {bar.begin: bar for bar in bars}
        for at, bar in told.items():
            if not series.is_whole(at, bar.end):
                self.counts.filled += series.is_told
                series.put(bar.copy(at, bar.end))
            elif at < series.floor and not series.is_told:
                series.bars[at] = bar
        # Where REST knows of no trade, there was none.
        for at in [at for at in series.bars if begin <= at < end and at not in told]:
            if not series.is_whole(at, at + series.span):
                series.forget(at)
        series.cut(begin, end)
        if not series.is_told and begin < series.floor <= end:
            series.floor = begin
        if series.ended_hole(end) is None:
            series.attempts = 0

    def _complete_from_pieces(self, series: _Series) -> None:
        """Assemble forming intervals from the hours and minutes that they consist of."""
        for begin, minute_end in series.completable():
            pieces = self._pieces(series, begin, minute_end)
            if isinstance(pieces, int):
                continue
            end = begin + series.span
            series.cut(begin, end)
            if pieces:
                whole = pieces[0].copy(begin, end)
                for piece in pieces[1:]:
                    whole.merge(piece)
                series.put(whole)
                self.counts.filled += series.is_told and whole.rest_until > 0
            elif begin in series.bars:
                series.forget(begin)

    def give_up(self, *, has_rest: bool) -> None:
        """Count intervals that are over as missed after five failed requests to REST, or at
        once without REST. What arrives of them later is ignored.
        """
        attempts_max = ATTEMPTS_MAX if has_rest else 0
        for series in self._told:
            while series.attempts >= attempts_max and (hole := series.ended_hole(series.over_until)) is not None:
                begin = series.begin_of(hole.begin)
                end = min(series.over_until, -(-hole.end // series.span) * series.span)
                self.counts.missed += max(0, end - max(begin, series.heard_from)) // series.span
                for at in [at for at in series.bars if begin <= at < end and not series.is_whole(at, at + series.span)]:
                    series.forget(at)
                series.cut(begin, end)
                series.floor = max(series.floor, end)

    # --- what is to be told

    @property
    def has_changed(self) -> bool:
        """Whether `take` has candles to return."""
        return any(series.changed for series in self._told)

    def take(self) -> list[CandleState]:
        """The candles that changed since the last call, by interval, oldest first."""
        told: list[CandleState] = []
        for series in self._series:
            if not series.changed:
                continue
            if series.is_told:
                for begin in sorted(series.changed):
                    state = self._state(series, begin)
                    if state is not None:
                        told.append(state)
            series.changed.clear()
            self._prune(series)
        return told

    def _prune(self, series: _Series) -> None:
        is_waiting = not series.is_told and any(other.holes for other in self._told)
        series.prune(PIECES_MAX if is_waiting else KEPT_MAX)

    def state(self, interval_min: int, begin: int) -> CandleState | None:
        """The current candle of a configured interval; None without one."""
        return self._state_of(self._by_interval[interval_min], begin)

    def _state(self, series: _Series, begin: int) -> CandleState | None:
        """The candle to publish of a bar; None for one that is over and not whole."""
        state = self._state_of(series, begin)
        if state is None or (not state.is_whole and begin + series.span <= series.over_until):
            return None
        bar = series.bars.get(begin)
        if bar is not None and state.is_closed:
            self.counts.amended += bar.was_closed
            bar.was_closed = True
        return state

    def _state_of(self, series: _Series, begin: int) -> CandleState | None:
        bar = series.bars.get(begin)
        is_whole = series.is_whole(begin, begin + series.span)
        if not is_whole and series.rough is not None and series.rough.begin == begin:
            bar = _joined(series.rough, bar)
        if bar is None:
            return None
        is_closed = is_whole and bar.end <= series.over_until
        return CandleState(
            series.interval_min,
            WallNs(begin),
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            bar.vwap,
            bar.lots,
            bar.trades,
            is_closed=is_closed,
            is_history=is_closed and (bar.is_late or bar.was_closed),
            is_rest=bar.rest_until > 0,
            is_whole=is_whole,
        )

    # --- precision, and a check

    def refine(self, price_factor: int, lots_factor: int) -> None:
        """Convert to finer ticks and lots."""
        for bar in self._every_bar():
            for name in ("open", "high", "low", "close"):
                setattr(bar, name, getattr(bar, name) * price_factor)
            bar.lots *= lots_factor
            bar.cost *= price_factor * lots_factor

    def _every_bar(self) -> Iterable[Bar]:
        for series in self._series:
            yield from series.bars.values()
            if series.rough is not None and series.bars.get(series.rough.begin) is not series.rough:
                yield series.rough

    def check(self) -> None:
        """Assert what always holds."""
        for series in self._series:
            for begin, bar in series.bars.items():
                assert begin % series.span == 0
                assert bar.begin == begin
                assert bar.end == begin + series.span
                assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
                assert bar.trades > 0
            assert len(series.bars) <= PIECES_MAX + ROWS_MAX
            assert len(series.holes) <= HOLES_MAX + 1
            assert series.over_until % series.span == 0


def _joined(rough: Bar, bar: Bar | None) -> Bar:
    """A forming candle of REST combined with the trades that are known. How many of them
    REST has counted is unknown, so volume and count are lower bounds.
    """
    if bar is None:
        return rough
    joined = (rough if rough.trades >= bar.trades else bar).copy(rough.begin, rough.end)
    joined.open = rough.open
    joined.high, joined.low = max(rough.high, bar.high), min(rough.low, bar.low)
    joined.close = bar.close
    joined.rest_until = rough.end
    return joined
