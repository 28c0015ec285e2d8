"""How the strategy host idles: asleep behind doorbells, or spinning, in an event loop of its own.

do_work ─► something? ─► do_work …
    └────► nothing ───► spin: look again            sleep: arm the doorbells, look once more, wait for
                                                           an eventfd, a timer, or RECHECK_NS
"""

import asyncio
from collections.abc import Sequence

from engine.actors.strategy_host import StrategyHost
from engine.clock import Clock
from engine.ring import RECHECK_NS, Doorbell, try_sleep
from engine.units import NS_PER_MS, NS_PER_S

COUNT_INTERVAL_NS = 100 * NS_PER_MS  # how often the shared counters are brought up to date
SPIN_CYCLES = 200  # looks at the rings between two turns of the event loop: it costs 2 µs, a look 0.3


class LoopRunner:
    """Drives the strategy host on the running event loop until it is stopped."""

    def __init__(self, host: StrategyHost, doorbells: Sequence[Doorbell], clock: Clock, *, spin: bool) -> None:
        self._host = host
        self._doorbells = doorbells
        self._clock = clock
        self._spin = spin
        self._loop = asyncio.get_running_loop()
        # The eventfd that all doorbells share.
        self._eventfd = doorbells[0].eventfd
        # Is the host asleep, its doorbells armed? And what wakes it if nothing rings.
        self._asleep = False
        self._recheck: asyncio.TimerHandle | None = None
        # Is a cycle scheduled?
        self._scheduled = False
        self._stopping = False
        self._counted_at = 0

    def start(self) -> None:
        """Begin the duty cycle."""
        self._loop.add_reader(self._eventfd, self._rung)
        for strategy in self._host.strategies:
            strategy.on_ready = self.wake
        self.wake()

    def stop(self) -> None:
        """End the duty cycle; the host is closed by its owner."""
        self._stopping = True
        self._loop.remove_reader(self._eventfd)
        self._wake_up()

    def wake(self) -> None:
        """Look at the rings soon, asleep or not."""
        self._wake_up()
        if not self._scheduled and not self._stopping:
            self._scheduled = True
            self._loop.call_soon(self._cycle)

    def _rung(self) -> None:
        self._wake_up()
        if not self._scheduled and not self._stopping:
            self._cycle()

    def _wake_up(self) -> None:
        if self._recheck is not None:
            self._recheck.cancel()
            self._recheck = None
        if self._asleep:
            self._asleep = False
            for doorbell in self._doorbells:
                doorbell.disarm()

    def _look_again(self) -> None:
        """Nothing rang: a timer is due, or a wake-up was missed."""
        if self._host.ready():
            self._host.rescues += 1
        self._rung()

    def _cycle(self) -> None:
        self._scheduled = False
        if self._stopping:
            return
        work = self._host.do_work()
        if self._spin:
            for _ in range(SPIN_CYCLES):
                if work:
                    break
                work = self._host.do_work()
        now = self._clock.mono_ns()
        if now - self._counted_at >= COUNT_INTERVAL_NS:
            self._counted_at = now
            self._host.count()
        if self._spin or not try_sleep(self._doorbells, (self._host,)):
            self._scheduled = True
            self._loop.call_soon(self._cycle)
            return
        self._asleep = True
        timer = self._host.next_timer()
        wait_ns = min(RECHECK_NS, max(0, timer - now)) if timer else RECHECK_NS
        self._recheck = self._loop.call_later(wait_ns / NS_PER_S, self._look_again)
