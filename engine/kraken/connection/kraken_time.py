"""Kraken's clock, by the times that its own messages tell: ours may be wrong by minutes, or
be set while orders are under way.

A message takes its time, so what it tells is a little behind. Between messages our
monotonic clock goes on. Nobody sets that, but it is slewed as the other is: to make up for
an error it may gain or lose nearly a tenth. So there are two answers:

now      for deadlines: by the best message of the last seconds in which any came
least    for doubts: by all messages, less a tenth of the time since each came; also by
         dates, which are cut to the second

Before a message, or for doubts a date, our own clock stands in; for deadlines only while it
is near the last date, if there is one. What lies far ahead of everything else is not
believed until the next to come lies there, too.
"""

from collections import deque
from typing import Final

from engine.instant import Instant
from engine.units import NS_PER_S, MonoNs, WallNs

# The part of its own time by which our monotonic clock may gain: chrony slews at up to
# 100,000 ppm, a crystal alone drifts by 200.
SLEW: Final = 9
WINDOW_NS: Final = 10 * NS_PER_S  # the best message counts in this and the next one: a quick one comes meanwhile
DATE_BEHIND_NS: Final = 2 * NS_PER_S  # the most that a date is behind: it is cut, and one is taken off for clocks ahead
ALONE_NS: Final = 5 * NS_PER_S  # what is further ahead needs a second witness


class KrakenTime:
    """What time it is at Kraken."""

    def __init__(self, now: Instant) -> None:
        self._now = now
        # Kraken's time minus our monotonic time, for deadlines; None before the first
        # message. The best of two windows, each of which began with a message.
        self.ahead_ns: int | None = None
        self._bests_ns: deque[int] = deque(maxlen=2)
        self._window_at = MonoNs(0)
        # The same by the last date, which is cut to the second; None before one.
        self._dated_ahead_ns: int | None = None
        # Kraken's time for certain at the zero of our monotonic clock, if that has gained
        # as much as it can since; None before anything was told. Holds from `_least_at` on.
        self._least_ns: int | None = None
        self._least_at = MonoNs(0)
        # What lay far ahead of everything else, if that was the last to come: Kraken's time
        # less ours, and when it came.
        self._alone: tuple[int, MonoNs] | None = None

    @property
    def is_told(self) -> bool:
        """True once a message or a date has told it."""
        return self._least_ns is not None

    def best(self) -> WallNs:
        """The best estimate: as `now` once a message has told it, else as `least`."""
        return self.least() if self.ahead_ns is None else self.now()

    def told(self, at: WallNs, received_at: MonoNs = MonoNs(0)) -> None:  # noqa: B008
        """Record the timestamp of a message of Kraken's; 0 if it has none.

        `received_at` is when the message came, 0 for just now: it may have waited for the
        router to start.
        """
        received_at = received_at or self._now.mono
        ahead_ns = at - received_at
        if not at or self._is_alone(ahead_ns, received_at):
            return
        bests_ns = self._bests_ns
        if not bests_ns or received_at - self._window_at > WINDOW_NS:
            bests_ns.append(ahead_ns)
            self._window_at = received_at
        else:
            bests_ns[-1] = max(bests_ns[-1], ahead_ns)
        self.ahead_ns = max(bests_ns)
        self._note_least(ahead_ns, received_at)

    def dated(self, at: WallNs) -> None:
        """Record the date of an answer that has just come: Kraken sent it then, or later in
        the same second; 0 if it has none.
        """
        mono = self._now.mono
        if at and not self._is_alone(at - mono, mono):
            self._dated_ahead_ns = at - mono
            self._note_least(at - mono, mono)

    def now(self) -> WallNs:
        """Kraken's time, or a little before it. Before any message: our clock's or, if that
        is far from the last date, the latest time that the date allows.
        """
        mono, own = self._now.mono, self._now.wall
        if self.ahead_ns is not None:
            return WallNs(mono + self.ahead_ns)
        if self._dated_ahead_ns is None or abs(mono + self._dated_ahead_ns - own) <= ALONE_NS:
            return own
        return WallNs(mono + self._dated_ahead_ns + DATE_BEHIND_NS)

    def least(self) -> WallNs:
        """The latest time that Kraken's clock has certainly reached; our clock's before any
        message or date.
        """
        if self._least_ns is None:
            return self._now.wall
        return WallNs(self._least_ns + _elapsed_ns(self._now.mono))

    def reached_at(self, at: WallNs) -> MonoNs:
        """When, by our monotonic clock, Kraken's clock will certainly reach `at`; by our
        wall clock before any message or date. Later messages may make it earlier.
        """
        if self._least_ns is None:
            return MonoNs(self._now.mono + at - self._now.wall)
        return MonoNs(max(longest_ns(at - self._least_ns), self._least_at))

    def _is_alone(self, ahead_ns: int, received_at: MonoNs) -> bool:
        """True if this lies far ahead of our wall clock and of everything told, and what
        came before it did not.
        """
        is_usual = self.ahead_ns is not None and ahead_ns <= self.ahead_ns + ALONE_NS  # hot: nearly all are
        if is_usual or ahead_ns <= max(self._now.wall, self.least()) - self._now.mono + ALONE_NS:
            self._alone = None
            return False
        before, self._alone = self._alone, (ahead_ns, received_at)
        return before is None or received_at <= before[1] or ahead_ns > before[0] + ALONE_NS

    def _note_least(self, ahead_ns: int, at: MonoNs) -> None:
        least_ns = at + ahead_ns - _elapsed_ns(at)
        if self._least_ns is None or least_ns > self._least_ns:
            self._least_ns, self._least_at = least_ns, at
        if self.ahead_ns is None:
            return
        # Nothing is certain that messages do not tell any more: a date may be of a clock
        # that is ahead.
        mono = self._now.mono
        most_ns = self.ahead_ns + mono - _elapsed_ns(mono)
        if most_ns < self._least_ns:
            self._least_ns, self._least_at = most_ns, mono


def longest_ns(elapsed_ns: int) -> int:
    """The most that our monotonic clock may advance while Kraken's does by `elapsed_ns`, or
    the other way round.
    """
    return elapsed_ns + -(-elapsed_ns // SLEW)


def _elapsed_ns(mono_ns: int) -> int:
    """The least that Kraken's clock advances while ours does so."""
    return mono_ns - -(-mono_ns // (SLEW + 1))
