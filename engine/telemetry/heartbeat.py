"""The heartbeat of a process: a counter that holds when the process last worked."""

from typing import Final

from engine.telemetry.counters import Counters
from engine.units import MonoNs

HEARTBEAT_COUNTER: Final = "heartbeat_ns"


class Heartbeat:
    """The heartbeat among some counters. One process beats, others read it."""

    __slots__ = ("_index", "_values")

    def __init__(self, counters: Counters) -> None:
        self._values = counters.values
        self._index = counters.index(HEARTBEAT_COUNTER)

    def beat(self, now: MonoNs) -> None:
        """Note that the process works at `now`."""
        self._values[self._index] = now

    def end(self) -> None:
        """Note that no further beat will follow."""
        self._values[self._index] = 0

    @property
    def last_at(self) -> MonoNs:
        """When the process last worked; 0 before the first beat and after `end`."""
        return MonoNs(self._values[self._index])
