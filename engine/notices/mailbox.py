"""When messages to one target are sent, and what becomes of those that it does not take.

    put ─► digest ─ next_message: one under way at most ─► told            taken: forget it
                       ▲                                └► not_taken       it waits, with what came meanwhile
                       └──────────────── pause ◄───────┴► refused          sending it again cannot help: lost

A message so often as `every_s` says, and in between one if something is urgent. What is not
taken is tried again after pauses of 1 s to 5 min, or as the target asks; after KEPT_NS_MAX
it is given up, and counted. Pure: time is passed in.
"""

from collections.abc import Collection
from typing import Final

from engine.notices.digest import Digest
from engine.notices.notice import Notice
from engine.telemetry.notice_events import URGENT, NoticeEvent
from engine.units import NS_PER_S, MonoNs

PAUSE_NS_MIN: Final = NS_PER_S
PAUSE_NS_MAX: Final = 300 * NS_PER_S
KEPT_NS_MAX: Final = 6 * 3600 * NS_PER_S  # then a notice helps nobody


class Mailbox:
    """The notices for one target."""

    def __init__(self, events: Collection[NoticeEvent], every_ns: int) -> None:
        self._events = frozenset(events)
        self._every_ns = every_ns
        self._waiting = Digest()
        # The message that is being sent; None while there is none.
        self._under_way: Digest | None = None
        # When the next message may be sent: any, and one with something urgent.
        self._next_at = MonoNs(0)
        self._next_urgent_at = MonoNs(0)
        # Pauses after failures; nothing is sent before `_paused_until`.
        self._pause_ns = PAUSE_NS_MIN
        self._paused_until = MonoNs(0)
        # When the oldest notice was put here; None where none waits.
        self._kept_since: MonoNs | None = None
        # The counts of measures.NOTICE_TARGET.
        self.notices = 0
        self.told = 0
        self.summed = 0
        self.lost = 0
        self.messages = 0
        self.failures = 0

    @property
    def waiting(self) -> int:
        """Notices that wait, those under way included."""
        return self._waiting.count + (0 if self._under_way is None else self._under_way.count)

    def put(self, notice: Notice, now: MonoNs) -> None:
        """Add a notice, if the target wants its event."""
        if notice.event not in self._events:
            return
        self.notices += 1
        self._waiting.add(notice)
        if self._kept_since is None:
            self._kept_since = now

    def next_message(self, now: MonoNs) -> Digest | None:
        """The message to send now; None if nothing is due, or one is in progress.

        Its outcome must be reported by `was_told`, `was_not_taken` or `was_refused`.
        """
        if self._under_way is not None or not self._waiting.count or now < self._paused_until:
            return None
        is_urgent = bool(self._waiting.events & URGENT)
        if now < self._next_at and not (is_urgent and now >= self._next_urgent_at):
            return None
        self._next_at = MonoNs(now + self._every_ns)
        if is_urgent:
            self._next_urgent_at = self._next_at
        return self._begin()

    def last_message(self) -> Digest | None:
        """What is left to be sent at the end, whatever was to be waited for; None where
        there is nothing. A message under way must have been ended before."""
        return self._begin() if self._waiting.count else None

    def was_told(self, summed: int) -> None:
        """Record that the target has accepted the message, which reported `summed` notices
        only as a number.
        """
        told = self._end()
        self.messages += 1
        self.told += told.count
        self.summed += summed
        self._pause_ns = PAUSE_NS_MIN
        if not self._waiting.count:
            self._kept_since = None

    def was_not_taken(self, now: MonoNs, wait_ns: int = 0) -> int:
        """The target did not answer, or not now; it asks for `wait_ns`. Returns how many
        notices were given up, because they have waited too long."""
        self.failures += 1
        self._waiting = self._end().joined(self._waiting)
        self._pause(now, wait_ns)
        if self._kept_since is not None and now - self._kept_since > KEPT_NS_MAX:
            return self.give_up()
        return 0

    def was_refused(self, now: MonoNs) -> int:
        """The target refused the message; returns how many notices are lost with it."""
        self.failures += 1
        lost = self._end().count
        self.lost += lost
        self._pause(now, 0)
        if not self._waiting.count:
            self._kept_since = None
        return lost

    def give_up(self) -> int:
        """Forget what waits; returns how many notices are lost."""
        lost = self._waiting.count
        self.lost += lost
        self._waiting = Digest()
        self._kept_since = None
        return lost

    def _begin(self) -> Digest:
        self._under_way, self._waiting = self._waiting, Digest()
        return self._under_way

    def _end(self) -> Digest:
        ended, self._under_way = self._under_way, None
        assert ended is not None, "the end of a message that was not begun"
        return ended

    def _pause(self, now: MonoNs, wait_ns: int) -> None:
        self._paused_until = MonoNs(now + max(self._pause_ns, wait_ns))
        self._pause_ns = min(2 * self._pause_ns, PAUSE_NS_MAX)
