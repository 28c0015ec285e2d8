"""When messages are sent, by a manual clock."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from engine.notices.mailbox import KEPT_NS_MAX, Mailbox
from engine.notices.notice import notice
from engine.telemetry.notice_events import NOTICE_EVENTS, USUAL, NoticeEvent
from engine.units import NS_PER_S, MonoNs, WallNs


def seconds(count: float) -> MonoNs:
    return MonoNs(int(count * NS_PER_S))


def mailbox(*events: NoticeEvent, every_s: float = 10) -> Mailbox:
    return Mailbox(events or USUAL, seconds(every_s))


def put(box: Mailbox, event: NoticeEvent, at_s: float = 0) -> None:
    box.put(notice(event, WallNs(seconds(at_s)), "it happened"), seconds(at_s))


def test_the_first_is_sent_at_once_and_the_next_when_the_time_has_come() -> None:
    """Fills of ten seconds are one message."""
    box = mailbox()
    put(box, "fill")
    assert box.next_message(seconds(0)) is not None
    box.was_told(0)
    for second in range(1, 10):
        put(box, "fill", second)
        assert box.next_message(seconds(second)) is None
    message = box.next_message(seconds(10))

    assert message is not None
    assert message.count == 9


def test_what_is_urgent_does_not_wait_for_the_time_but_once() -> None:
    """A halt follows a fill at once; a second one, of a storm, waits."""
    box = mailbox()
    put(box, "fill")
    assert box.next_message(seconds(0)) is not None
    box.was_told(0)
    put(box, "halt", 1)
    assert box.next_message(seconds(1)) is not None
    box.was_told(0)
    put(box, "resume", 2)
    assert box.next_message(seconds(2)) is None
    assert box.next_message(seconds(11)) is not None


def test_one_message_is_under_way_at_most() -> None:
    """However long the target does not answer."""
    box = mailbox()
    put(box, "halt")
    assert box.next_message(seconds(0)) is not None
    put(box, "halt", 100)
    assert box.next_message(seconds(100)) is None
    assert box.waiting == 2


def pause_after_failure(box: Mailbox, now: MonoNs) -> int:
    """Seconds until the next message, after one that is not taken."""
    assert box.next_message(now) is not None
    box.was_not_taken(now)
    second = 0
    while box.next_message(seconds(now / NS_PER_S + second)) is None:
        second += 1
    box.was_told(0)
    return second


def test_what_is_not_taken_is_tried_again_ever_more_rarely_with_what_came_meanwhile() -> None:
    """Pauses of one second, then twice as long each, up to five minutes."""
    box = mailbox(every_s=1)
    put(box, "fill")
    now, tried_at = 0, []
    while len(tried_at) < 12:
        if (message := box.next_message(seconds(now))) is not None:
            assert message.count == len(tried_at) + 1
            box.was_not_taken(seconds(now))
            put(box, "fill", now)
            tried_at.append(now)
        now += 1

    assert [later - before for before, later in pairwise(tried_at)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_target_that_asks_to_be_left_alone_is_left_alone() -> None:
    """Urgent or not, for as long as it says."""
    box = mailbox(every_s=1)
    put(box, "halt")
    assert box.next_message(seconds(0)) is not None
    box.was_not_taken(seconds(0), seconds(60))
    put(box, "halt", 30)

    assert box.next_message(seconds(59)) is None
    message = box.next_message(seconds(60))
    assert message is not None
    assert message.count == 2


def test_the_pause_is_short_again_after_a_message_that_was_taken() -> None:
    """One failure after that costs a second."""
    box = mailbox(every_s=1)
    pauses = []
    for minute in range(3):
        put(box, "fill", 60 * minute)
        pauses.append(pause_after_failure(box, seconds(60 * minute)))

    assert pauses == [1, 1, 1]


def test_a_refused_message_is_lost_and_counted_and_the_next_one_waits() -> None:
    """Sending it again could not help."""
    box = mailbox(every_s=1)
    put(box, "fill")
    assert box.next_message(seconds(0)) is not None
    assert box.was_refused(seconds(0)) == 1
    put(box, "fill", 0.5)
    assert box.next_message(seconds(0.9)) is None
    assert box.next_message(seconds(1)) is not None
    assert (box.lost, box.failures) == (1, 1)


def test_what_nobody_has_taken_for_hours_is_given_up_and_counted() -> None:
    """A halt of yesterday helps nobody."""
    box = mailbox(every_s=1)
    put(box, "halt")
    assert box.next_message(seconds(0)) is not None
    box.was_not_taken(seconds(0))
    late = MonoNs(KEPT_NS_MAX + NS_PER_S)
    assert box.next_message(late) is not None

    assert box.was_not_taken(late) == 1
    assert (box.lost, box.waiting) == (1, 0)


def test_an_event_that_the_target_does_not_want_is_no_notice() -> None:
    """It is not counted either."""
    box = mailbox("halt")
    put(box, "fill")

    assert (box.notices, box.next_message(seconds(0))) == (0, None)


def test_the_last_message_waits_for_nothing() -> None:
    """Neither for the time nor for a pause."""
    box = mailbox()
    put(box, "fill")
    assert box.next_message(seconds(0)) is not None
    box.was_not_taken(seconds(0), seconds(600))
    put(box, "stop", 1)
    last = box.last_message()

    assert last is not None
    assert last.count == 2


steps = st.lists(
    st.tuples(st.sampled_from(["put", "next", "told", "not taken", "refused", "give up"]), st.integers(0, 3_000)),
    max_size=100,
)


@given(steps, st.sampled_from(list(NOTICE_EVENTS)))
def test_every_notice_is_told_or_lost_or_waits(taken: list[tuple[str, int]], event: NoticeEvent) -> None:
    """notices = told + lost + waiting, after each step, whatever happens."""
    box, now, under_way = mailbox(*NOTICE_EVENTS, every_s=1), 0.0, False
    for step, pause in taken:
        now += pause
        match step:
            case "put":
                put(box, event, now)
            case "next" if not under_way:
                under_way = box.next_message(seconds(now)) is not None
            case "told" if under_way:
                under_way = False
                box.was_told(0)
            case "not taken" if under_way:
                under_way = False
                box.was_not_taken(seconds(now))
            case "refused" if under_way:
                under_way = False
                box.was_refused(seconds(now))
            case "give up":
                box.give_up()
        assert box.notices == box.told + box.lost + box.waiting
