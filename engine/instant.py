"""The time at which an input is processed, for code that must not read a clock.

A shell (a process, the simulator, a test) sets it before each input; until the next one it
does not change.
"""

from engine.units import MonoNs, WallNs


class Instant:
    """Both clocks' readings of one moment, shared by all parts that process the same
    inputs.
    """

    __slots__ = ("mono", "wall")

    def __init__(self, mono_ns: int = 0, wall_ns: int = 0) -> None:
        # `mono` is for durations, `wall` for calendars and Kraken's deadlines; they are
        # never mixed.
        self.mono = MonoNs(mono_ns)
        self.wall = WallNs(wall_ns)

    def set(self, mono_ns: MonoNs, wall_ns: WallNs) -> None:
        """Set the time of the next input."""
        self.mono = mono_ns
        self.wall = wall_ns

    def advance(self, ns: int) -> None:
        """Move both readings forward by `ns`."""
        self.set(MonoNs(self.mono + ns), WallNs(self.wall + ns))
