"""The moment at which an input is worked on, for code that must not read a clock.

A shell (a process, the simulator, a test) sets it before each input; until the next one, time stands still.
"""

from engine.units import MonoNs, WallNs


class Instant:
    """Both readings of one moment, shared by all parts that work on the same inputs."""

    __slots__ = ("mono", "wall")

    def __init__(self, mono_ns: int = 0, wall_ns: int = 0) -> None:
        # For durations, and for calendars and Kraken's deadlines; never mixed.
        self.mono = MonoNs(mono_ns)
        self.wall = WallNs(wall_ns)

    def set(self, mono_ns: MonoNs, wall_ns: WallNs) -> None:
        """The next input comes at this moment."""
        self.mono = mono_ns
        self.wall = wall_ns

    def advance(self, ns: int) -> None:
        """Move both readings forward."""
        self.set(MonoNs(self.mono + ns), WallNs(self.wall + ns))
