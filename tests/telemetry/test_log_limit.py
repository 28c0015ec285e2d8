"""Repeated lines are few, and nothing that was left out is lost: it is counted, and the
last word is said.
"""

import pytest

from engine.telemetry.log_limit import EVENTS_MAX, LINES_AT_ONCE_MAX, PAUSE_NS_MAX, SUBJECTS_MAX, LogLimit
from engine.units import NS_PER_MS, NS_PER_S

NIGHT_S = 8 * 3600


class Log:
    """A log whose clock the test moves, read once a second as processes do."""

    def __init__(self):
        self.limit = LogLimit()
        self.now = 0
        self.lines = []

    def say(self, event, **fields):
        line = self.limit.take(event, fields, self.now)
        if line is not None:
            self.lines.append(line)

    def wait(self, seconds):
        for _ in range(int(seconds)):
            self.now += NS_PER_S
            self.lines += self.limit.due(self.now)

    def end(self):
        self.lines += self.limit.due(self.now, all_of_them=True)

    @property
    def told(self):
        """Lines that were written or counted."""
        return sum(1 + line.left_out for line in self.lines)


@pytest.mark.parametrize("text", ["Kraken is away", "Kraken is away (asked again in {} s)"])
def test_a_line_seven_times_a_second_all_night_is_a_few_dozen_lines(text):
    """Of 200,000; numbers in its text make no other line of it, and each is written or
    counted.
    """
    log = Log()
    for second in range(NIGHT_S):
        for part in range(7):
            log.say("no token", reason=text.format(second + part / 7))
        log.wait(1)
    log.end()

    assert 40 < len(log.lines) < 80
    assert log.told == 7 * NIGHT_S


def test_a_night_of_lines_about_a_thousand_subjects_is_a_few_hundred():
    """Each pair's own line comes to one limit with the others of its event."""
    log = Log()
    for second in range(NIGHT_S):
        log.say("book in doubt", symbol="".join(chr(97 + int(digit)) for digit in str(second % 1112)))
        log.wait(1)
    log.end()

    assert len(log.lines) < 500
    assert log.told == NIGHT_S


def test_the_first_line_is_said_at_once_and_the_second_of_another_subject_too():
    """And an open gate is another thing than a closed one."""
    log = Log()
    log.say("trading", open=False, reason="maintenance")
    log.say("trading", open=True, reason="")
    log.say("trading", open=False, reason="halted")

    assert [line.left_out for line in log.lines] == [0, 0, 0]


def test_the_last_word_is_said_though_it_was_left_out_at_first():
    """A gate that opened, closed and stayed so within five seconds is not told as open for
    ever.
    """
    log = Log()
    for is_open in (True, False, True, False):
        log.say("trading", open=is_open)
    log.wait(6)

    assert [line.fields["open"] for line in log.lines] == [True, False, True, False]


def test_a_line_that_has_not_come_for_long_is_news_again():
    """Pauses begin anew."""
    log = Log()
    for _ in range(3):
        log.say("connection lost")
        log.wait(1)
    log.wait(PAUSE_NS_MAX / NS_PER_S + 1)
    before = len(log.lines)
    log.say("connection lost")
    log.wait(2)
    log.say("connection lost")
    log.wait(6)

    assert len(log.lines) == before + 2


def test_lines_of_one_event_have_a_bound_at_once():
    """A hundred, whatever they are about; the others are counted."""
    log = Log()
    for number in range(1000):
        log.say("order in doubt", id="".join(chr(97 + int(digit)) for digit in str(number)))
    said = len(log.lines)
    log.wait(121)

    assert said == LINES_AT_ONCE_MAX
    assert (len(log.lines), log.told) == (said + 1, 1000)


def test_what_is_remembered_has_a_bound():
    """However many subjects and events there are, and still nothing is uncounted."""
    log = Log()
    for number in range(3 * SUBJECTS_MAX):
        for _ in range(2):
            log.say(f"event {number % (2 * EVENTS_MAX)}", id="".join(chr(97 + int(digit)) for digit in str(number)))
        log.now += NS_PER_MS
    log.end()

    subjects, events = log.limit.remembered
    assert subjects <= SUBJECTS_MAX
    assert events <= EVENTS_MAX + 1
    assert log.told == 6 * SUBJECTS_MAX
