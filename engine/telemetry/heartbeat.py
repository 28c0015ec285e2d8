"""The sign of life of a process: a counter that it moves, and that whoever watches it compares with the clock."""

from typing import Final

from engine.telemetry.counters import Counters
from engine.units import MonoNs

HEARTBEAT_COUNTER: Final = "heartbeat_ns"


class Heartbeat:
    """The heartbeat among some counters. One process beats, the others look."""

    __slots__ = ("_index", "_values")

    def __init__(self, counters: Counters) -> None:
        self._values = counters.values
        self._index = counters.index(HEARTBEAT_COUNTER)

    def beat(self, now: MonoNs) -> None:
        """Show that the process is alive at `now`."""
        self._values[self._index] = now

    def end(self) -> None:
        """Show that no further beat is to be expected."""
        self._values[self._index] = 0

    @property
    def last_at(self) -> MonoNs:
        """When it last beat; 0 before the first time and after `end`."""
        return MonoNs(self._values[self._index])
