"""Candles: closed for certain or not at all, history told as history, nothing twice."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kraken.wire import T0, new_session

CASES = Path(__file__).parents[2] / "data" / "cases"


def row(minute, trades=1, *, interval=1, symbol="BTC/USD", volume=None):
    """A candle that begins at this minute of the day."""
    hour, rest = divmod(minute, 60)
    return (
        f'{{"symbol":"{symbol}","open":1,"high":1,"low":1,"close":1,"trades":{trades},'
        f'"volume":{trades if volume is None else volume},"vwap":1,'
        f'"interval_begin":"2026-09-10T{hour:02}:{rest:02}:00.000000000Z","interval":{interval},'
        f'"timestamp":"2026-09-10T17:33:00.000000Z"}}'
    )


def snapshot(*rows):
    return _frame("snapshot", rows)


def update(*rows):
    return _frame("update", rows)


def _frame(kind, rows):
    return f'{{"channel":"ohlc","type":"{kind}","timestamp":"2026-09-10T18:00:00Z","data":[{",".join(rows)}]}}'.encode()


class Story:
    """A session, and what it told: (minute, trades, forming | closed | history[, intervals missed before])."""

    def __init__(self, *symbols):
        self.session = new_session(*(symbols or ("BTC/USD",)))
        self.events = []

    def take(self, *frames):
        """What these frames tell."""
        events = [event for frame in frames for event in self.session.receive(frame, T0)]
        self.events += events
        return [describe(event) for event in events]

    def reconnect(self):
        self.session.closed(T0, "cut")
        self.session.opened(T0)


def describe(event):
    begin = event.candle.interval_begin
    minute = int(begin[11:13]) * 60 + int(begin[14:16])
    how = "forming" if not event.closed else "history" if event.history else "closed"
    return (minute, event.candle.trades, how, *([event.missed] if event.missed else []))


# --- at start


def test_the_first_snapshot_is_history_but_for_its_last():
    """Each once; then news, each interval closed when the next begins."""
    story = Story()

    assert story.take(snapshot(row(31), row(32), row(33))) == [
        (31, 1, "history"),
        (32, 1, "history"),
        (33, 1, "forming"),
    ]
    assert story.take(update(row(33, 2)), update(row(34))) == [
        (33, 2, "forming"),
        (33, 2, "closed"),
        (34, 1, "forming"),
    ]


def test_the_case_of_the_start():
    """Snapshot of three, an update of the third, a fourth: two are history, one is closed as news."""
    session = new_session("BTC/USD")
    frames = (CASES / "candles_at_start.jsonl").read_bytes().splitlines()
    events = [e for f in frames if b'"ohlc"' in f for e in session.receive(f, T0)]

    assert [describe(event) for event in events] == [
        (17 * 60 + 31, 1, "history"), (17 * 60 + 32, 1, "history"), (17 * 60 + 33, 1, "forming"),
        (17 * 60 + 33, 1, "forming"), (17 * 60 + 33, 1, "closed"), (17 * 60 + 34, 1, "forming"),
    ]  # fmt: skip
    assert [str(event.candle.volume) for event in events] == ["10", "20", "30", "31", "31", "1"]


def test_a_start_without_a_snapshot():
    """An update is Kraken's whole candle: it closes like any other. An empty snapshot says nothing."""
    story = Story()

    assert story.take(snapshot(), update(row(33, 5)), update(row(35))) == [
        (33, 5, "forming"), (33, 5, "closed"), (35, 1, "forming"),
    ]  # fmt: skip


# --- after an outage


def test_the_case_of_the_reconnect():
    """The snapshot begins after the candle that was forming: it is never closed, and two intervals are missed."""
    session = new_session("BTC/USD")
    frames = (CASES / "candles_reconnect.jsonl").read_bytes().splitlines()
    events = [describe(e) for f in frames for e in session.receive(f, T0) if b'"ohlc"' in f]
    half = [event for event in events if event[0] == 17 * 60 + 34]

    assert half == [(17 * 60 + 34, 1, "forming")]
    assert events[-3:] == [(17 * 60 + 36, 1, "history", 2), (17 * 60 + 37, 1, "forming"), (17 * 60 + 37, 1, "forming")]
    assert session.candles_missed == 2


FORMING_35 = (35, 1, "forming")


@pytest.mark.parametrize(
    ("after", "told", "missed", "repeated"),
    [
        # within the interval: unchanged, with more trades, with fewer (an older state)
        ([snapshot(row(33), row(34, 3))], [(34, 3, "forming")], 0, 1),
        ([snapshot(row(33), row(34, 5))], [(34, 5, "forming")], 0, 1),
        ([snapshot(row(33), row(34, 2))], [], 0, 2),
        # at the boundary: the end comes with the snapshot, or with the first update after it
        ([snapshot(row(34, 4), row(35))], [(34, 4, "history"), FORMING_35], 0, 0),
        ([snapshot(row(34, 3), row(35))], [(34, 3, "history"), FORMING_35], 0, 0),
        ([snapshot(row(33), row(34, 4)), update(row(35))], [(34, 4, "forming"), (34, 4, "closed"), FORMING_35], 0, 1),
        ([snapshot(row(33), row(34, 3)), update(row(35))], [(34, 3, "forming"), (34, 3, "closed"), FORMING_35], 0, 1),
        # long, but the snapshot reaches back: quiet intervals are no loss
        ([snapshot(row(34, 9), row(37, 2), row(40))],
         [(34, 9, "history"), (37, 2, "history"), (40, 1, "forming")], 0, 0),
        # the snapshot begins with the next interval, or later; with one row or more
        ([snapshot(row(35))], [(*FORMING_35, 1)], 1, 0),
        ([snapshot(row(40), row(41))], [(40, 1, "history", 6), (41, 1, "forming")], 6, 0),
        ([snapshot(row(40)), update(row(40, 2))], [(40, 1, "forming", 6), (40, 2, "forming")], 6, 0),
        # it reaches back, but lacks our candle
        ([snapshot(row(33), row(36), row(37))], [(36, 1, "history", 1), (37, 1, "forming")], 1, 1),
        # no snapshot, or an older one: nobody tells how ours ended
        ([update(row(35))], [(*FORMING_35, 1)], 1, 0),
        ([snapshot(row(31), row(32)), update(row(36))], [(36, 1, "forming", 2)], 2, 2),
        # no snapshot, but Kraken tells our candle anew
        ([update(row(34, 4)), update(row(35))], [(34, 4, "forming"), (34, 4, "closed"), FORMING_35], 0, 0),
        ([snapshot(row(33), row(34, 2)), update(row(35))], [(*FORMING_35, 1)], 1, 2),
        # rows in another order, or twice
        ([snapshot(row(36), row(34, 9), row(35), row(35, 2))],
         [(34, 9, "history"), (35, 2, "history"), (36, 1, "forming")], 0, 1),
    ],
)  # fmt: skip
def test_after_a_reconnect(after, told, missed, repeated):
    """A candle of three trades was forming at minute 34 when the connection was lost."""
    story = Story()
    story.take(snapshot(row(33), row(34, 3)))
    story.reconnect()

    assert story.take(*after) == told
    assert (story.session.candles_missed, story.session.candles_repeated) == (missed, repeated)


def test_two_outages_in_one_interval():
    """Interrupted once more before Kraken told anything: still not closed; told in between: only the second counts."""
    story = Story()
    story.take(snapshot(row(34, 3)))
    story.reconnect()
    story.reconnect()
    story.take(snapshot(row(34, 3)))
    story.reconnect()

    assert story.take(snapshot(row(36))) == [(36, 1, "forming", 2)]


def test_another_connection_in_a_capture_is_a_reconnect():
    """A status with another connection id, without a word of the old one's end."""
    status = b'{"channel":"status","type":"update","data":[{"system":"online","version":"2.0.10","connection_id":%d}]}'
    story = Story()
    story.session.receive(status % 1, T0)
    story.take(update(row(34, 3)))
    story.session.receive(status % 2, T0)

    assert story.take(update(row(35))) == [(35, 1, "forming", 1)]


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        ('"interval":1,', '"interval":7,'),
        ("2026-09-10T00", "yesterday "),
        ('"trades":4', '"trades":"x"'),
        ('"timestamp":"2026-09-10T17:33:00.000000Z"}', ""),
    ],
)
def test_a_message_that_cannot_be_read_leaves_its_candle_open(sound, broken):
    """It was the last of its interval, for all that we know: that candle is missed; another pair's is not."""
    story = Story("BTC/USD", "ETH/USD")
    story.take(update(row(34, 3)), update(row(34, 3, symbol="ETH/USD")))
    story.session.receive(update(row(34, 4)).replace(sound.encode(), broken.encode()), T0)

    assert story.session.malformed == 1
    assert story.take(update(row(35))) == [(35, 1, "forming", 1)]
    assert story.take(update(row(35, symbol="ETH/USD"))) == [(34, 3, "closed"), (35, 1, "forming")]


# --- on a good connection


def test_repetitions_and_latecomers_are_counted_and_not_told():
    """The same once more, an older state of the same, a candle that is over."""
    story = Story()
    story.take(update(row(34, 1)), update(row(34, 2)))

    assert story.take(update(row(34, 2)), update(row(34, 1))) == []
    assert story.take(update(row(35))) == [(34, 2, "closed"), (35, 1, "forming")]
    assert story.take(update(row(34, 3)), update(row(35))) == []
    assert story.session.candles_repeated == 4


def test_candles_without_trades():
    """Zero trades are a state like another: told once, closed by the next, and no older than themselves."""
    story = Story()

    assert story.take(snapshot(row(33, 0), row(34, 0))) == [(33, 0, "history"), (34, 0, "forming")]
    assert story.take(update(row(34, 0)), update(row(35, 0))) == [(34, 0, "closed"), (35, 0, "forming")]


def test_pairs_and_intervals_do_not_meet():
    """In one frame or in two: a later candle closes those of its own pair and interval."""
    story = Story("BTC/USD", "ETH/USD")
    told = story.take(
        snapshot(row(30, interval=5), row(34), row(35, symbol="ETH/USD")),
        update(row(35)),
        update(row(35, 2, interval=5)),
    )

    assert told == [(30, 1, "forming"), (34, 1, "forming"), (35, 1, "forming"),
                    (34, 1, "closed"), (35, 1, "forming"), (30, 1, "closed"), (35, 2, "forming")]  # fmt: skip


def test_missed_intervals_are_counted_in_the_candles_own_length():
    """Of five-minute candles, 30 to 45 is three."""
    story = Story()
    story.take(update(row(30, interval=5)))
    story.reconnect()

    assert story.take(snapshot(row(45, interval=5))) == [(45, 1, "forming", 3)]


@pytest.mark.parametrize("day", ["2926-09-10", "2026-09-11"])
def test_a_candle_of_another_century_or_of_tomorrow_ends_nothing(day):
    """By its message's own time it is yet to come: counted as malformed, and the series goes on."""
    story = Story()
    story.take(update(row(34)))
    story.session.receive(update(row(35).replace("2026-09-10", day)), T0)

    assert story.session.malformed == 1
    assert story.take(update(row(34, 2)), update(row(35))) == [
        (34, 2, "forming"),
        (34, 2, "closed"),
        (35, 1, "forming"),
    ]


def test_a_new_recording_begins_anew():
    """In a replay an earlier day may follow: its snapshot is history again, and the old candle is never closed."""
    story = Story()
    story.take(snapshot(row(50), row(51)))
    story.session.begin_recording(["BTC/USD"], "yesterday")

    assert story.take(snapshot(row(10), row(11))) == [(10, 1, "history"), (11, 1, "forming")]
    assert story.session.candles_missed == 0


# --- whatever happens


@given(st.data())
def test_a_candle_is_closed_once_and_whole(data):
    """Whatever is lost, repeated and reordered: a candle that is told as closed has all its trades."""
    final = data.draw(st.dictionaries(st.integers(0, 30), st.integers(1, 4), min_size=1))
    story, closed = Story(), {}
    states = [(minute, trades) for minute in sorted(final) for trades in range(1, final[minute] + 1)]
    for number, (minute, trades) in enumerate(states):
        if data.draw(st.integers(0, 3)) == 0:  # an outage, over some of what happens
            story.reconnect()
            until = data.draw(st.integers(0, len(states)))
            if number < until:
                continue
            reach = data.draw(st.integers(0, 5))
            rows = [row(m, trades if m == minute else final[m]) for m in sorted(final) if minute - reach <= m <= minute]
            story.take(snapshot(*data.draw(st.permutations(rows))))
        else:
            story.take(*[update(row(minute, trades))] * data.draw(st.integers(1, 2)))
    for event in story.events:
        if event.closed:
            minute, trades, *_ = describe(event)
            assert minute not in closed
            closed[minute] = trades
    begins = [describe(event)[0] for event in story.events]

    assert closed == {minute: final[minute] for minute in closed}
    assert begins == sorted(begins)
