"""The only module that asks the operating system for the time.

Pure code takes `now` as a parameter; actors hold a `Clock`; replay and tests hold a
`ManualClock` that moves only when they move it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from engine.units import MonoNs, WallNs


def boot_id() -> str:
    """The id of this boot, within which monotonic times can be compared; empty when
    unknown.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class Clock(Protocol):
    """Two readings of now, never mixed: one for durations, one for calendars."""

    def mono_ns(self) -> MonoNs: ...

    def wall_ns(self) -> WallNs: ...


class SystemClock:
    """The clocks of this host."""

    def __init__(self) -> None:
        # Hot: the functions themselves, without a call of ours around them.
        self.mono_ns = cast(Callable[[], MonoNs], time.monotonic_ns)
        self.wall_ns = cast(Callable[[], WallNs], time.time_ns)


class ManualClock:
    """A clock that stands still until it is set, by a replay or a test."""

    def __init__(self, mono_ns: int = 0, wall_ns: int = 0) -> None:
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns

    def mono_ns(self) -> MonoNs:
        return MonoNs(self._mono_ns)

    def wall_ns(self) -> WallNs:
        return WallNs(self._wall_ns)

    def advance(self, ns: int) -> None:
        """Move both readings forward by `ns`."""
        self._mono_ns += ns
        self._wall_ns += ns

    def set_wall(self, wall_ns: int) -> None:
        """Set the wall clock alone."""
        self._wall_ns = wall_ns
