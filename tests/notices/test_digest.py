"""What waits for a target: bounded, told by importance, nothing dropped untold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.notices.digest import LINES_PER_EVENT_MAX, Digest
from engine.notices.notice import Notice, notice
from engine.telemetry.notice_events import NOTICE_EVENTS, NoticeEvent
from engine.units import NS_PER_S, WallNs

START = 1_764_424_800 * NS_PER_S  # 2025-11-29T14:00:00Z


def at(event: NoticeEvent, second: int, text: str = "it happened") -> Notice:
    return notice(event, WallNs(START + second * NS_PER_S), text)


def digest_of(*notices: Notice) -> Digest:
    digest = Digest()
    for each in notices:
        digest.add(each)
    return digest


def test_what_is_too_much_is_told_as_a_number_with_its_time() -> None:
    """The newest ten of an event are lines, the others a number."""
    digest = digest_of(*(at("fill", second, f"bought {second}") for second in range(22)))
    composed = digest.compose(10_000)

    assert [each.text for each in composed.lines] == [f"bought {second}" for second in range(12, 22)]
    assert composed.text.splitlines()[0] == "14:00:12Z fill: bought 12"
    assert composed.text.splitlines()[-1] == "12 more fills in the last 21 s"


def test_where_room_is_short_what_matters_most_is_told() -> None:
    """A halt stays a line when fills have become numbers; lines are in the order of time."""
    notices = [at("fill", second, "x" * 100) for second in range(5)]
    digest = digest_of(*notices, at("halt", 3, "trading is halted"))
    composed = digest.compose(360)

    assert [each.event for each in composed.lines] == ["halt", "fill"]
    assert composed.more == {"fill": 4}
    assert len(composed.text) <= 360


def test_one_of_many_is_told_in_the_singular() -> None:
    """Of eleven fills one is left."""
    assert "1 more fill in" in digest_of(*(at("fill", second) for second in range(11))).compose(10_000).text


def test_a_message_that_was_not_taken_is_joined_with_what_came_meanwhile() -> None:
    """In the order of time, with the numbers of both."""
    older = digest_of(*(at("fill", second) for second in range(15)))
    newer = digest_of(*(at("fill", second) for second in range(60, 73)), at("halt", 61))
    both = older.joined(newer)
    composed = both.compose(10_000)

    assert both.count == 29
    assert composed.text.splitlines()[-1] == "18 more fills in the last 72 s"
    assert [each.event for each in composed.lines] == ["halt", *["fill"] * 10]


events = st.sampled_from(list(NOTICE_EVENTS))
digests = st.lists(st.tuples(events, st.integers(0, 100), st.text(max_size=500)), max_size=80).map(
    lambda rows: digest_of(*(at(*row) for row in rows))
)


@given(digests, digests, st.integers(1_000, 5_000))
def test_every_notice_is_a_line_or_counted_and_the_message_has_room(
    older: Digest, newer: Digest, size_max: int
) -> None:
    """Whatever comes: lines + numbers = notices, the bounds hold, and so does the size."""
    both = older.joined(newer)
    composed = both.compose(size_max)

    assert both.count == older.count + newer.count
    assert len(composed.lines) + sum(composed.more.values()) == both.count
    assert all(sum(each.event == event for each in composed.lines) <= LINES_PER_EVENT_MAX for event in NOTICE_EVENTS)
    assert len(composed.text) <= size_max


@pytest.mark.parametrize(
    ("text", "told"), [("a\nb\t c", "a b c"), ("\x1b[31mred", "?[31mred"), ("x" * 500, "x" * 399 + "…")]
)
def test_a_notice_is_one_printable_line_of_bounded_length(text: str, told: str) -> None:
    """Whatever a log line or Kraken's reason holds."""
    assert at("error", 0, text).text == told
