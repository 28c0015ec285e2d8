"""Candles from trades: exact, closed by the clock, amended by late trades, never closed while a trade is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.market.candles import INTERVALS_MIN, MINUTE_NS, ROWS_MAX, Bar, Candles, CandleState, begin_of

MIDNIGHT = 1_795_910_400 * 1_000_000_000  # a Sunday, 2026-11-29
SETTLE, RENEW = 3_000_000_000, 30_000_000_000
S = 1_000_000_000


def naive(trades, interval_min):
    """The candles of trades (id, time, ticks, lots), by their begin."""
    groups = {}
    for _trade_id, at, price, lots in sorted(trades, key=lambda trade: (trade[1], trade[0])):
        groups.setdefault(begin_of(at, interval_min), []).append((price, lots))
    return {begin: summed(rows) for begin, rows in groups.items()}


def summed(rows):
    prices, lots = [price for price, _ in rows], sum(lots for _, lots in rows)
    vwap = (2 * sum(price * lots for price, lots in rows) + lots) // (2 * lots)
    return prices[0], max(prices), min(prices), prices[-1], vwap, lots, len(rows)


def figures(state: CandleState):
    return state.open, state.high, state.low, state.close, state.vwap, state.lots, state.trades


class Told:
    """What a pair's candles have told, each as it was told last."""

    def __init__(self, *intervals, **settings):
        self.candles = Candles(intervals, **settings)
        self.states: list[CandleState] = []

    def add(self, *trades):
        for trade in trades:
            self.candles.add(*trade)
        return self.take()

    def know(self, until):
        self.candles.know(until)
        return self.take()

    def take(self):
        self.candles.check()
        told = self.candles.take()
        self.candles.check()
        self.states += told
        return told

    def closed(self, interval):
        return {state.begin: state for state in self.states if state.is_closed and state.interval_min == interval}

    def rest(self, trades, now, *, count=ROWS_MAX):
        """Ask what is wanted, and answer as Kraken's REST does from all trades; the intervals that were asked for."""
        asked = []
        while (wanted := self.candles.wanted(now, SETTLE, RENEW)) is not None:
            asked.append(wanted.interval_min)
            span = wanted.interval_min * MINUTE_NS
            forming_at = begin_of(now, wanted.interval_min)
            first = max(wanted.since, forming_at - (count - 1) * span)
            bars = [
                Bar.of_rest(begin, wanted.interval_min, told[:4], vwap=told[4], lots=told[5], trades=told[6])
                for begin, told in sorted(naive(trades, wanted.interval_min).items())
                if first <= begin <= forming_at
            ]
            forming = bars.pop() if bars and bars[-1].begin == forming_at else None
            self.candles.fill(wanted.interval_min, bars, first, forming_at, forming)
            self.candles.check()
        self.take()
        return asked


def at(minute, second=0.0):
    return MIDNIGHT + minute * MINUTE_NS + int(second * S)


# --- from trades


@pytest.mark.parametrize("interval", INTERVALS_MIN)
def test_intervals_begin_at_multiples_of_their_length_since_1970(interval):
    """A week begins on a Thursday, as the first of January 1970 was one."""
    begin = begin_of(MIDNIGHT + 5, interval)
    assert begin <= MIDNIGHT + 5 < begin + interval * MINUTE_NS
    assert begin % (interval * MINUTE_NS) == 0


def test_a_candle_is_formed_and_closed_by_the_clock():
    """No trade comes after its end; it is closed all the same, once."""
    told = Told(1)
    told.add((1, at(0, 5), 100, 1))
    (first,) = told.add((2, at(1, 5), 110, 2))
    (second,) = told.add((3, at(1, 30), 90, 1), (4, at(1, 40), 95, 1))

    assert figures(second) == (110, 110, 90, 95, 101, 4, 3)  # (220 + 90 + 95) / 4 = 101.25
    assert not first.is_closed
    assert not second.is_closed
    assert told.know(at(1, 59.9)) == []
    (closed,) = told.know(at(2))
    assert closed == second._replace(is_closed=True)
    assert told.know(at(9)) == []


def test_a_later_trade_closes_what_was_before():
    """All intervals that it is beyond; what is between without a trade has no candle."""
    told = Told(1, 5)
    told.add((1, at(0, 5), 100, 1), (2, at(5, 5), 110, 2))
    states = told.add((3, at(11, 5), 90, 1))

    assert [(state.interval_min, state.begin, state.is_closed) for state in states] == [
        (1, at(5), True), (1, at(11), False), (5, at(5), True), (5, at(10), False),
    ]  # fmt: skip


def test_what_began_before_the_first_trade_is_never_closed():
    """It is told while it forms, as not whole; and missed when it ends."""
    told = Told(1)
    (state,) = told.add((7, at(0, 30), 100, 1))
    assert (state.is_whole, state.is_closed) == (False, False)
    assert told.know(at(1)) == []
    told.candles.give_up(has_rest=False)
    assert told.candles.counts.missed == 1
    assert told.closed(1) == {}
    told.add((8, at(1, 1), 100, 1))
    told.know(at(2))
    assert list(told.closed(1)) == [at(1)]


def test_what_was_given_up_stays_so():
    """Late trades of an interval that is missed do not make a candle of their own."""
    told = Told(1)
    told.add((7, at(0, 30), 100, 1))
    told.know(at(1))
    told.candles.give_up(has_rest=False)
    told.add((8, at(0, 50), 100, 1), (9, at(1, 1), 100, 1))
    told.know(at(2))
    assert list(told.closed(1)) == [at(1)]


def test_nothing_is_given_up_before_it_is_over():
    """More trades of it may come, and its end is not known."""
    told = Told(1)
    told.add((7, at(0, 30), 100, 1))
    told.candles.give_up(has_rest=False)
    (state,) = told.add((8, at(0, 50), 100, 1))
    assert (state.trades, state.is_whole, told.candles.counts.missed) == (2, False, 0)


def test_a_late_trade_amends_the_interval_that_it_belongs_to():
    """Told again, as closed and as history: its open, its close, its sums."""
    told = Told(1)
    told.add((1, at(0, 5), 100, 1), (2, at(1, 5), 110, 1), (4, at(1, 50), 120, 1))
    assert told.know(at(2)) == []  # a trade is missing
    (state,) = told.add((3, at(1, 55), 130, 1))
    assert (state.is_closed, state.is_history, state.is_whole) == (True, True, True)
    assert figures(state) == (110, 130, 110, 130, 120, 3, 3)
    assert told.candles.counts.amended == 0

    (again,) = told.add((0, at(1, 52), 140, 1))  # an id that was not known to be missing
    assert (again.high, again.close, again.is_history, told.candles.counts.amended) == (140, 130, True, 1)


def test_a_gap_in_the_ids_leaves_both_intervals_open():
    """The missing trades may be of either, or of one between; until all have come."""
    told = Told(1)
    told.add((1, at(0, 5), 100, 1), (2, at(1, 5), 110, 1), (5, at(3, 5), 120, 1), (6, at(4, 1), 120, 1))
    assert told.closed(1) == {}
    told.add((3, at(2, 5), 50, 1))
    assert told.closed(1) == {}
    told.add((4, at(3, 1), 60, 1))
    assert [figures(state)[:4] for state in told.closed(1).values()] == [
        (110, 110, 110, 110), (50, 50, 50, 50), (60, 120, 60, 120),
    ]  # fmt: skip


def test_a_new_numbering_is_a_gap():
    """Ids that begin anew say nothing of what was between."""
    told = Told(1)
    told.add((900, at(0, 5), 100, 1), (901, at(1, 5), 110, 1), (3, at(2, 5), 110, 1), (4, at(3, 5), 110, 1))
    assert told.closed(1) == {}
    told.know(at(4))
    assert list(told.closed(1)) == [at(3)]


trade_times = st.lists(st.integers(0, 400 * 60), min_size=1, max_size=60).map(sorted)


@given(trade_times, st.data(), st.sampled_from([5, 15, 30, 60, 240, 1440, 10080]))
def test_an_interval_is_the_sum_of_its_minutes(seconds, data, interval):
    """Whatever comes late, in any order: candles of n minutes are those of one minute, merged; both are the trades."""
    trades = [
        (number, at(0, second), data.draw(st.integers(1, 50)), data.draw(st.integers(1, 9)))
        for number, second in enumerate(seconds, 1)
    ]
    late = data.draw(st.permutations([trade for trade in trades[1:-1] if data.draw(st.booleans())]))
    in_order = [trade for trade in trades if trade not in late]
    told = Told(1, interval)
    told.add((0, begin_of(at(0), interval) - 1, 7, 7))  # what is before the first trade is not known
    for trade in (*in_order, *late):
        told.add(trade)
    told.know(at(20 * 1440))
    last = {(state.interval_min, state.begin): state for state in told.states}
    reach = set(naive(trades, 1))

    assert {begin: figures(last[1, begin]) for begin in reach} == naive(trades, 1)
    assert {begin: figures(last[interval, begin]) for begin in naive(trades, interval)} == naive(trades, interval)
    merged = {}
    for begin in sorted(reach):
        state = last[1, begin]
        rows = merged.setdefault(begin_of(begin, interval), [])
        rows.append(state)
    for begin, rows in merged.items():
        whole = last[interval, begin]
        assert (whole.open, whole.close) == (rows[0].open, rows[-1].close)
        assert (whole.high, whole.low) == (max(row.high for row in rows), min(row.low for row in rows))
        assert (whole.lots, whole.trades) == (sum(row.lots for row in rows), sum(row.trades for row in rows))


@given(trade_times, st.sets(st.integers(2, 60)), st.sampled_from([1, 5, 60]))
def test_what_is_closed_has_all_its_trades(seconds, lost, interval):
    """Whatever is lost for good: a candle that is told as closed is that of all trades."""
    trades = [(number, at(0, second), number, number) for number, second in enumerate(seconds, 1)]
    told = Told(interval)
    told.add(*[trade for trade in trades if trade[0] not in lost or trade is trades[-1]])
    told.know(at(1440))
    expected = naive(trades, interval)
    assert {begin: figures(state) for begin, state in told.closed(interval).items()}.items() <= expected.items()


# --- from REST


def test_history_and_the_first_interval_come_from_rest():
    """What was before is told closed, marked; the forming one as REST knows it; and its end when it has ended."""
    trades = [(number, at(0, 20 * number), 100 + number % 7, 1 + number % 3) for number in range(60)]  # 20 minutes
    told = Told(1, history=5)
    told.add(*trades[31:33])  # from 10:20 on
    assert told.rest(trades[:33], at(10, 50)) == [1]

    history = told.closed(1)
    assert list(history) == [at(minute) for minute in range(5, 10)]
    assert all(state.is_history and state.is_rest and state.is_whole for state in history.values())
    assert {begin: figures(state) for begin, state in history.items()}.items() <= naive(trades, 1).items()
    forming = told.states[-1]
    assert figures(forming) == naive(trades[:33], 1)[at(10)]
    assert (forming.is_rest, forming.is_whole, forming.is_closed) == (True, False, False)
    assert told.rest(trades[:33], at(10, 50)) == []

    told.add(*trades[33:])
    assert told.rest(trades, at(11, 33)) == [1]
    assert {begin: figures(state) for begin, state in told.closed(1).items()} == {
        begin: told for begin, told in naive(trades, 1).items() if at(5) <= begin < at(19)
    }
    assert not told.closed(1)[at(12)].is_rest
    assert told.closed(1)[at(10)].is_rest
    assert told.candles.counts.missed == 0


@pytest.mark.parametrize(("interval", "asked"), [(5, [1]), (60, [1]), (240, [1]), (1440, [1, 60]), (21600, [1, 60])])
def test_a_long_interval_is_whole_soon_after_the_start(interval, asked):
    """Its first part is made up of REST's minutes, and hours; no call more is made until it ends, and after."""
    begin = begin_of(at(0), interval)
    start = begin + interval * MINUTE_NS - (2 * MINUTE_NS if interval < 60 else 19 * MINUTE_NS) + 7 * S
    times = [*range(begin, start, interval * MINUTE_NS // 400), *range(start, start + 25 * MINUTE_NS, 20 * S)]
    trades = [(number, moment, 100 + number % 11, 1 + number % 5) for number, moment in enumerate(times)]
    now = next(n for n, trade in enumerate(trades) if trade[1] >= start)
    told = Told(interval)
    told.add(*trades[now : now + 2])
    called = []
    for number in range(now + 2, len(trades)):
        told.add(trades[number])
        told.know(trades[number][1])
        called += told.rest(trades[: number + 1], trades[number][1])

    assert set(called) <= {1, 60}
    assert called[: len(asked)] == asked
    closed = told.closed(interval)[begin]
    expected = naive(trades, interval)[begin]
    assert figures(closed)[:4] == expected[:4]
    assert figures(closed)[5:] == expected[5:]
    assert abs(closed.vwap - expected[4]) <= 1
    assert closed.is_rest


def test_a_gap_that_cannot_be_filled_is_filled_by_rest():
    """Both intervals that it touches, and those between, come from REST's own candles."""
    trades = [(number, at(0, 20 * number), 100 + number % 7, 1 + number % 3) for number in range(60)]
    told = Told(1, 5)
    told.add(*trades[:20])
    told.add(*trades[30:])
    told.know(at(20))
    assert set(told.rest(trades, at(20, 1))) == {1, 5}
    assert {begin: figures(state) for begin, state in told.closed(1).items()} == {
        begin: figures_ for begin, figures_ in naive(trades, 1).items() if begin > at(0)
    } | {at(0): naive(trades, 1)[at(0)]}
    assert told.closed(1)[at(8)].is_rest
    assert not told.closed(1)[at(5)].is_rest
    for begin, expected in naive(trades, 5).items():
        assert figures(told.closed(5)[begin]) == expected


def test_what_rest_does_not_tell_is_missed():
    """Asked for some times; then given up, and counted; nothing incomplete is closed."""
    told = Told(1)
    told.add((7, at(0, 30), 100, 1), (8, at(1, 30), 100, 1))
    now, asked = at(1, 4), 0
    while told.candles.wanted(now, SETTLE, RENEW) is not None:
        asked += 1
        now += RENEW
        told.candles.give_up(has_rest=True)
    assert (asked, told.candles.counts.missed) == (5, 1)
    told.know(at(9))
    assert list(told.closed(1)) == [at(1)]


def test_a_trade_that_rest_has_counted_is_not_counted_again():
    """REST's candle of a minute came before its last trade did."""
    trades = [(1, at(0, 20), 100, 1), (2, at(0, 30), 100, 1), (3, at(0, 40), 100, 1), (4, at(0, 59), 120, 4)]
    told = Told(1)
    told.add(*trades[1:3])
    told.candles.know(at(1))
    told.rest(trades, at(1, 4))
    told.add(trades[3])
    assert figures(told.closed(1)[at(0)]) == naive(trades, 1)[at(0)]


def test_a_successor_continues_where_the_last_candle_was_told():
    """What was closed is not told again; what was forming is told by REST."""
    trades = [(number, at(0, 20 * number), 100 + number % 7, 1) for number in range(60)]
    told = Told(1, 5, history=100)
    told.candles.resume(1, at(9), is_closed=True)
    told.candles.resume(5, at(5), is_closed=False)
    told.candles.begin(trades[30][1], 30)
    told.add(*trades[31:50])
    told.rest(trades[:50], trades[49][1])
    told.add(*trades[50:])
    told.rest(trades, at(30))
    told.know(at(30))

    assert sorted(told.closed(1)) == [at(minute) for minute in range(10, 20)]
    assert sorted(told.closed(5)) == [at(5), at(10), at(15)]
    for interval in (1, 5):
        assert {b: figures(state) for b, state in told.closed(interval).items()}.items() <= naive(
            trades, interval
        ).items()


@given(trade_times, st.data())
def test_with_rest_behind_everything_is_closed_once_and_right(seconds, data):
    """Whatever is lost, and whenever REST is asked: at the end each interval was told as the trades make it."""
    trades = [(number, at(0, second), 1 + number % 9, 1 + number % 4) for number, second in enumerate(seconds, 1)]
    lost = data.draw(st.sets(st.integers(2, len(trades) - 1), max_size=20)) if len(trades) > 2 else set()
    told = Told(1, 5, 60)
    for number, trade in enumerate(trades, 1):
        if number not in lost:
            told.add(trade)
            if data.draw(st.booleans()):
                told.rest(trades[:number], trade[1])
    end = at(480)
    for later in range(6):
        told.know(end + later * 60 * S)
        told.rest(trades, end + later * 60 * S)
    for interval in (1, 5, 60):
        heard = {
            begin: row for begin, row in naive(trades, interval).items() if begin >= begin_of(trades[0][1], interval)
        }
        assert set(told.closed(interval)) == set(heard)
        for begin, state in told.closed(interval).items():
            expected = heard[begin]
            assert figures(state)[:4] == expected[:4]
            assert figures(state)[5:] == expected[5:]
            assert abs(state.vwap - expected[4]) <= 1


def test_a_finer_precision_keeps_every_candle():
    """Ticks and lots become finer in the middle of an interval."""
    told = Told(1, 5)
    told.add((1, at(0), 100, 1), (2, at(1, 5), 110, 3))
    told.candles.refine(10, 100)
    told.add((3, at(1, 6), 1205, 50))
    (closed, *_) = told.know(at(2))
    assert figures(closed) == (1100, 1205, 1100, 1205, (1100 * 300 + 1205 * 50 + 175) // 350, 350, 2)


def test_memory_is_bounded():
    """Two days in which every other trade is lost, and REST never answers: `check` knows the bounds."""
    told = Told(1, 5, 1440)
    for number in range(3_000):
        told.candles.add(2 * number, at(number), 100, 1)
        told.candles.take()
    told.candles.check()
