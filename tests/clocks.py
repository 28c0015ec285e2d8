"""A clock for both kinds of code: what reads one, and what works at the instant that its shell has set."""

from engine.clock import ManualClock
from engine.instant import Instant


class ShellClock(ManualClock):
    """A manual clock whose instant moves with it."""

    def __init__(self, mono_ns: int = 0, wall_ns: int = 0) -> None:
        super().__init__(mono_ns, wall_ns)
        self.now = Instant(mono_ns, wall_ns)

    def advance(self, ns: int) -> None:
        """Move everything forward by `ns`."""
        super().advance(ns)
        self.now.set(self.mono_ns(), self.wall_ns())

    def step_wall(self, ns: int) -> None:
        """Set the wall clock forward, or back: durations are not concerned."""
        self._wall_ns += ns
        self.now.set(self.mono_ns(), self.wall_ns())
