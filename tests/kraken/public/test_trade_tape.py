"""Trades are told once each: what comes twice, late, out of order, across a reconnect, or never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kraken.public.events import TradePrinted
from engine.kraken.public.trade_tape import GAP_MAX, MISSED_IDS_KEPT
from tests.kraken.wire import T0, new_session


def frame(*trade_ids, kind="update", second=None, symbol="BTC/USD"):
    """A trade message with these ids; the trade of an id is of that second, or all are of `second`."""
    fills = ",".join(
        f'{{"symbol":"{symbol}","side":"buy","price":63500.1,"qty":0.00100000,"ord_type":"market","trade_id":{number},'
        f'"timestamp":"2026-07-07T{_clock(number % 80_000 if second is None else second)}.000677Z"}}'
        for number in trade_ids
    )
    return f'{{"channel":"trade","type":"{kind}","data":[{fills}]}}'.encode()


def _clock(second):
    return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"


class Story:
    """A session, and the ids that it told."""

    def __init__(self, *symbols):
        self.session = new_session(*(symbols or ("BTC/USD",)))
        self.told = []
        self.history = []

    def take(self, *frames):
        for text in frames:
            events = self.session.receive(text, T0)
            for event in (event for event in events if isinstance(event, TradePrinted)):
                self.told.append(event.trade.trade_id)
                if event.history:
                    self.history.append(event.trade.trade_id)

    def reconnect(self):
        self.session.closed(T0, "cut")
        self.session.opened(T0)

    @property
    def counts(self):
        """Told, missed, repeated."""
        return self.session.trades, self.session.trades_missed, self.session.trades_repeated


def test_missing_ids_are_counted_exactly():
    """What is left out is missed, over a reconnect too; a repetition is no gap, and not told."""
    story = Story()
    story.take(frame(10, 11, 12), frame(15), frame(15, 16))
    story.reconnect()
    story.take(frame(20))

    assert story.told == [10, 11, 12, 15, 16, 20]
    assert story.counts == (6, 2 + 3, 1)


def test_what_was_before_we_came_is_not_told():
    """The first snapshot says where the tape stands, in whatever order; the next trade is the first that is told."""
    story = Story()
    story.take(frame(9, 7, 8, kind="snapshot"), frame(10))

    assert story.told == [10]
    assert story.counts == (1, 0, 0)


def test_the_first_gap_is_counted_from_the_snapshot():
    """A trade lost between the first snapshot and the first update is as lost as any other."""
    story = Story()
    story.take(frame(7, 8, 9, kind="snapshot"), frame(11))

    assert story.counts == (1, 1, 0)


def test_a_snapshot_heals_the_gap_of_a_reconnect():
    """Trades of the outage are told late, in order and marked; what it repeats is counted; what it lacks is missed."""
    story = Story()
    story.take(frame(100, 101))
    story.reconnect()
    story.take(frame(*range(110, 100, -1), kind="snapshot"), frame(111))
    story.reconnect()
    story.take(frame(*range(131, 181), kind="snapshot"), frame(181))
    story.reconnect()
    story.take(frame(*range(133, 183), kind="snapshot"))

    assert story.told == [*range(100, 112), *range(131, 183)]
    assert story.history == [*range(102, 111), *range(131, 181), 182]
    assert story.counts == (12 + 52, 131 - 112, 1 + 49)


def test_an_update_that_overtakes_the_snapshot():
    """The gap is counted when the update comes, and taken back trade by trade as the snapshot fills it."""
    story = Story()
    story.take(frame(100))
    story.reconnect()
    story.take(frame(110))
    missed = story.session.trades_missed
    story.take(frame(*range(105, 111), kind="snapshot"))

    assert missed == 9
    assert story.told == [100, 110, 105, 106, 107, 108, 109]
    assert story.counts == (7, 4, 1)


def test_a_late_trade_is_told_once():
    """Out of order it is told when it comes; after that it is a repetition like any other."""
    story = Story()
    story.take(frame(10), frame(12), frame(11), frame(11), frame(12))

    assert story.told == [10, 12, 11]
    assert story.counts == (3, 0, 2)


@given(
    st.lists(st.integers(0, 30), max_size=60),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6),
)
def test_every_id_is_told_once_or_missed(ids, windows):
    """Whatever order, repetition and snapshots: told + missed = the range of ids seen, each told once."""
    story = Story()
    story.take(frame(100))
    for index, trade_id in enumerate(ids):
        story.take(frame(100 + trade_id))
        if index < len(windows):
            story.reconnect()
            first, last = sorted(windows[index])
            story.take(frame(*(100 + n for n in range(first, last + 1)), kind="snapshot"))

    assert len(set(story.told)) == len(story.told) == story.session.trades
    assert story.session.trades_missed == max(story.told) - 99 - len(story.told)


def test_the_memory_of_missed_ids_is_bounded():
    """The newest are remembered: one that is older cannot be told from a repetition, and counts as one."""
    story = Story()
    story.take(frame(1), frame(1000))
    story.take(frame(999 - MISSED_IDS_KEPT), frame(1000 - MISSED_IDS_KEPT))

    assert story.told == [1, 1000, 1000 - MISSED_IDS_KEPT]
    assert story.counts == (3, 998 - 1, 1)


@pytest.mark.parametrize("kind", ["update", "snapshot"])
def test_ids_that_begin_anew_are_no_repetition(kind):
    """An id below the newest, of a later time: another numbering, as of a venue that was set up again."""
    story = Story()
    story.take(frame(5000, second=100))
    story.reconnect()
    story.take(frame(7, kind=kind, second=101), frame(8, second=102), frame(8, second=102))

    assert story.told == [5000, 7, 8]
    assert story.counts == (3, 0, 1)


def test_an_absurd_id_is_no_gap():
    """A jump of more than any outage: nothing is missed, and the tape goes on where it was."""
    story = Story()
    story.take(frame(10, second=1), frame(10 + GAP_MAX + 1, second=2), frame(11, second=3), frame(12, second=4))

    assert story.told == [10, 10 + GAP_MAX + 1, 11, 12]
    assert story.session.trades_missed == 0


@pytest.mark.parametrize(("field", "number"), [(b"qty", b"-0.00100000"), (b"qty", b"0.0"), (b"price", b"0")])
def test_a_trade_of_nothing_or_less_is_not_told(field, number):
    """It is counted as malformed, and as missed; the other trades of its message are told."""
    story = Story()
    good, (head, tail) = frame(1, 2, 3), frame(1, 2, 3).split(b'"trade_id":2,')
    before, _, after = head.rpartition(b'"' + field + b'":')
    story.take(before + b'"' + field + b'":' + number + after[after.index(b",") :] + b'"trade_id":2,' + tail, good)

    assert story.told == [1, 3, 2]
    assert story.session.malformed == 1
    assert story.session.trades_missed == 0


def test_a_snapshot_of_another_numbering_is_a_beginning():
    """Months away from what was told, as of another recording: none of it is told, and what follows is."""
    story = Story()
    story.take(frame(GAP_MAX + 100), frame(7, 8, 9, kind="snapshot"), frame(10), frame(10))

    assert story.told == [GAP_MAX + 100, 10]
    assert story.counts == (2, 0, 1)


def test_each_pair_has_its_own_ids():
    """The same id on two pairs is two trades, in one snapshot too; the pair that is new tells none of it."""
    story = Story("BTC/USD", "ETH/USD")
    story.take(frame(5), frame(5, symbol="ETH/USD"), frame(6), frame(9, symbol="SOL/USD"))

    assert story.told == [5, 5, 6]
    assert story.counts == (3, 0, 0)


def test_a_new_recording_has_ids_of_its_own():
    """In a replay another day may follow: lower ids are news, and no gap lies between."""
    story = Story()
    story.take(frame(1000))
    story.session.begin_recording(["BTC/USD"], "yesterday")
    story.take(frame(10, second=1), frame(11, second=2))

    assert story.told == [1000, 10, 11]
    assert story.counts == (3, 0, 0)
