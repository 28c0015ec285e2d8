"""A delay line: entries come out in order, each not before its time.

One timer serves any number of entries, and all that are due come out together. Without a
delay they come out at once.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from engine.clock import Clock
from engine.units import NS_PER_S, MonoNs
from engine.venue.wire.stream import Timer, Timers


class DelayLine:
    """First in, first out, later. Its users bound it: a client's requests and their rows
    are few.
    """

    def __init__(self, timers: Timers, clock: Clock, emit: Callable[[Any], None], after: Callable[[], None]) -> None:
        self._timers = timers
        self._clock = clock
        self._emit = emit  # called with each entry
        self._after = after  # called once when all that were due have come out
        self._entries: deque[tuple[MonoNs, Any]] = deque()
        self._last_due = MonoNs(0)  # an entry never overtakes an earlier one
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Any, delay_ns: int) -> None:
        """Emit `entry` after `delay_ns`, but not before earlier entries."""
        now = self._clock.mono_ns()
        due = MonoNs(max(now + delay_ns, self._last_due))
        self._last_due = due
        self._entries.append((due, entry))
        if self._timer is None:
            self._arm(due - now)

    def close(self) -> None:
        """Discard every entry."""
        self._entries.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, wait_ns: int) -> None:
        if wait_ns > 0:
            self._timer = self._timers.call_later(wait_ns / NS_PER_S, self._ring)
        else:
            self._timer = self._timers.call_soon(self._ring)

    def _ring(self) -> None:
        self._timer = None
        entries = self._entries
        emitted = False
        while entries and entries[0][0] <= self._clock.mono_ns():
            emitted = True
            self._emit(entries.popleft()[1])
        if entries:
            self._arm(entries[0][0] - self._clock.mono_ns())
        if emitted:
            self._after()
