"""The order of a private channel's messages: nothing lost unnoticed, nothing told twice, nothing waits for ever."""

from hypothesis import given
from hypothesis import strategies as st

from engine.kraken.private.sequencing import HELD_MAX, Gap, Sequencer
from engine.units import NS_PER_MS

WINDOW = 200 * NS_PER_MS


def frame(number):
    return b"frame %d" % number


def live(at=1):
    """A sequencer whose snapshot had the number `at`."""
    sequencer = Sequencer(WINDOW)
    sequencer.snapshot(at, b"snapshot")
    return sequencer


def take(sequencer, number, now=0):
    return sequencer.take(number, number, frame(number), now)


def test_messages_in_order_pass_at_once():
    sequencer = live()

    assert [take(sequencer, number) for number in (2, 3, 4)] == [([2], None), ([3], None), ([4], None)]


def test_a_message_ahead_waits_for_the_missing_one():
    sequencer = live()

    assert take(sequencer, 3) == ([], None)
    assert take(sequencer, 2) == ([2, 3], None)
    assert sequencer.overdue(10 * WINDOW) is None


def test_a_missing_message_is_a_gap_when_the_window_has_passed():
    sequencer = live()
    take(sequencer, 3, now=5)

    assert sequencer.overdue(WINDOW) is None
    assert sequencer.overdue(5 + WINDOW) == Gap(2, 3)
    assert sequencer.overdue(5 + 2 * WINDOW) is None
    assert sequencer.reset() == [3]


def test_too_many_messages_ahead_are_a_gap_at_once():
    sequencer = live()
    answers = [take(sequencer, 3 + number) for number in range(HELD_MAX + 1)]

    assert answers[:-1] == [([], None)] * HELD_MAX
    assert answers[-1] == ([], Gap(2, 3 + HELD_MAX))
    assert sequencer.reset() == list(range(3, 4 + HELD_MAX))


def test_a_duplicate_is_dropped_and_counted():
    sequencer = live()
    take(sequencer, 2)

    assert take(sequencer, 2) == ([], None)
    assert sequencer.duplicates == 1


def test_a_duplicate_of_a_held_message_is_dropped():
    sequencer = live()
    take(sequencer, 3)

    assert take(sequencer, 3) == ([], None)
    assert take(sequencer, 2) == ([2, 3], None)


def test_an_old_number_with_other_content_is_told_and_is_a_gap():
    """The numbering began anew without a snapshot: to drop it as a duplicate would lose a fill."""
    sequencer = live()
    take(sequencer, 2)

    assert sequencer.take(2, "news", b"another frame", 0) == (["news"], Gap(3, 2))


def test_while_a_snapshot_is_awaited_everything_passes():
    sequencer = live()
    sequencer.reset()

    assert take(sequencer, 77) == ([77], None)


def test_an_update_that_outran_its_snapshot_is_no_gap():
    sequencer = Sequencer(WINDOW)
    take(sequencer, 2)
    sequencer.snapshot(1, b"snapshot")

    assert take(sequencer, 3) == ([3], None)


def test_messages_without_a_number_pass():
    """The reprinted captures have none."""
    assert live().take(None, "x", b"x", 0) == (["x"], None)


@given(st.permutations(range(2, 14)), st.data())
def test_whatever_the_order_each_message_is_told_once_and_in_order(numbers, data):
    """Duplicates and permutations within the bounds are mended without a gap."""
    sequencer = live()
    told = []
    for number in numbers:
        for _ in range(data.draw(st.integers(1, 2))):
            due, gap = take(sequencer, number)
            told += due
            assert gap is None

    assert told == list(range(2, 14))
    assert sequencer.overdue(10**18) is None


@given(st.sets(st.integers(2, 40), min_size=1))
def test_a_message_that_never_comes_is_always_a_gap(lost):
    """Unless nothing comes behind it."""
    sequencer = live()
    told, gaps = [], []
    for number in range(2, 42):
        if number not in lost:
            due, gap = take(sequencer, number)
            told += due
            gaps += [gap] if gap else []
            if gap:
                break
    gap = sequencer.overdue(10**18)
    gaps += [gap] if gap else []

    assert gaps == [gaps[0]]
    assert gaps[0].expected == min(lost)
    assert told == list(range(2, min(lost)))
