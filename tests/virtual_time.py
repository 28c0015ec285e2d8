"""Time that passes only when nothing else happens: timers of minutes, real sockets, no waiting.

A test that takes the fixture `virtual_time` (tests/venue) runs on a loop whose clock stands still
while sockets have something to say or callbacks are ready, and jumps to the next timer when not.
Both ends of every socket must be in this process: what another process or thread does takes real
time, in which virtual hours pass.
"""

import asyncio
import selectors
import time

from engine.clock import ManualClock
from engine.units import NS_PER_S, NS_PER_US

LOOKS_BETWEEN_WAITS = 16  # jumps in a row after which a moment of real time is spent on the sockets
WAIT_S = 0.001  # that moment: the kernel may be late with what was written to a socket of this machine
LONG_JUMP_S = 0.1  # one that is so long is worth such a moment


class VirtualTime(ManualClock):
    """The clock of one test, and of everything in it that asks for the time."""

    def __init__(self) -> None:
        super().__init__(mono_ns=NS_PER_S, wall_ns=time.time_ns())

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """An event loop that moves this clock and goes by it."""
        loop = asyncio.SelectorEventLoop(_JumpingSelector(self))
        loop.time = lambda: self.mono_ns() / NS_PER_S  # type: ignore[method-assign]
        return loop

    async def passes(self, seconds: float) -> None:
        """Let everything happen that is due within so many seconds."""
        await asyncio.sleep(seconds)


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the clock to the next timer instead of waiting for it."""

    def __init__(self, clock: VirtualTime) -> None:
        super().__init__()
        self._clock = clock
        self._jumps = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        self._jumps += 1
        waits = timeout >= LONG_JUMP_S or self._jumps % LOOKS_BETWEEN_WAITS == 0
        events = super().select(WAIT_S if waits else 0)
        if not events:
            # A microsecond more, so that no rounding of the loop's floats leaves the timer
            # in the future.
            self._clock.advance(int(timeout * NS_PER_S) + NS_PER_US)
        return events
