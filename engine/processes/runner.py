"""How an actor that reads rings waits: asleep behind doorbells, or spinning, in its
thread's event loop.

do_work ─► something? ─► do_work …
    └────► nothing ───► spin: look again     sleep: arm the doorbells, look once more,
                                                    wait: eventfd, timer, or RECHECK_NS
"""

import asyncio
import gc
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from engine.clock import Clock
from engine.ring import RECHECK_NS, Doorbell, try_sleep
from engine.units import NS_PER_S, MonoNs

GC_THRESHOLDS = (20_000, 50, 1_000)
SWITCH_INTERVAL_S = 0.0001  # Python's own is 0.005: a wake beside the history's thread came twice as late
SPIN_CYCLES = 200  # looks at the rings between two turns of the event loop, which costs 2 µs, a look 0.3


class Duty(Protocol):
    """An actor's duty cycle, as the runner sees it: the strategy host, or the order router."""

    rescues: int
    """Records found by looking again although no doorbell rang."""

    def do_work(self) -> int:
        """Process what is available; returns the number of records taken."""
        ...

    def ready(self) -> bool:
        """Whether `do_work` has something to process."""
        ...

    def next_timer(self) -> MonoNs:
        """The time at which `do_work` must be called even if no record arrives; 0 for
        never.
        """
        ...

    def count(self) -> None:
        """Bring the shared counters up to date."""
        ...

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Store `wake`, to be called when work arises within the event loop."""
        ...


class LoopRunner:
    """Drives one actor on the running event loop until it is stopped."""

    def __init__(self, duty: Duty, doorbells: Sequence[Doorbell], clock: Clock, *, spin: bool) -> None:
        self._duty = duty
        self._doorbells = doorbells
        self._clock = clock
        self._spin = spin
        self._loop = asyncio.get_running_loop()
        # Fulfilled only with what a turn raised. Its starter waits for it.
        self.failed: asyncio.Future[None] = self._loop.create_future()
        # The eventfd that all doorbells share.
        self._eventfd = doorbells[0].eventfd
        # True while the actor sleeps and its doorbells are armed.
        self._asleep = False
        # True while a cycle is scheduled.
        self._scheduled = False
        self._stopping = False
        # When the actor's next timer is due, and the loop's handle for it.
        self._timer_at = MonoNs(0)
        self._timer: asyncio.TimerHandle | None = None
        # The loop's handle of the next look at the rings.
        self._recheck: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the duty cycle."""
        self._loop.add_reader(self._eventfd, self._rung)
        self._duty.wake_with(self._schedule)
        self._look_again()
        self._schedule()

    def stop(self) -> None:
        """End the duty cycle; the actor is closed by its owner."""
        self._stopping = True
        self._loop.remove_reader(self._eventfd)
        self._wake_up()
        for timer in (self._timer, self._recheck):  # a program's loop outlives the engine, which they would keep
            if timer is not None:
                timer.cancel()

    def _rung(self) -> None:
        # The work comes first, and the doorbells are disarmed right after it: a ring that
        # is not answered yet costs its publisher nothing, since it rings once a sleep.
        if not self._scheduled:
            self._cycle()

    def _schedule(self) -> None:
        """Look at the rings in the next turn of the loop, asleep or not."""
        if not self._scheduled and not self._stopping:
            self._scheduled = True
            self._loop.call_soon(self._cycle)

    def _look_again(self) -> None:
        """Every RECHECK_NS: update the counters, and check for a missed wake-up."""
        if self._stopping:
            return
        self._recheck = self._loop.call_later(RECHECK_NS / NS_PER_S, self._look_again)
        self._duty.count()
        if self._asleep and self._duty.ready():
            # What a timer is about to wake us for was not missed.
            self._duty.rescues += not (self._timer_at and self._clock.mono_ns() >= self._timer_at)
            self._schedule()

    def _wake_up(self) -> None:
        if self._asleep:
            self._asleep = False
            for doorbell in self._doorbells:
                doorbell.disarm()

    def _cycle(self) -> None:
        """Run one duty cycle. An exception ends the actor, which would otherwise only
        appear to be alive.
        """
        self._scheduled = False
        if self._stopping:
            return
        try:
            self._turn()
        except Exception as error:
            self._stopping = True
            if not self.failed.done():
                self.failed.set_exception(error)

    def _turn(self) -> None:
        work = self._duty.do_work()
        self._wake_up()
        if self._spin:
            for _ in range(SPIN_CYCLES):
                if work:
                    break
                work = self._duty.do_work()
            self._schedule()
            return
        if not try_sleep(self._doorbells, (self._duty,)):
            self._schedule()
            return
        self._asleep = True
        self._set_timer()

    def _set_timer(self) -> None:
        """Schedule the actor's next timer."""
        due = self._duty.next_timer()
        if due == self._timer_at:
            return
        self._timer_at = due
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due:
            delay_s = max(0, due - self._clock.mono_ns()) / NS_PER_S
            self._timer = self._loop.call_later(delay_s, self._timer_due)

    def _timer_due(self) -> None:
        self._timer_at = MonoNs(0)
        self._schedule()


def change_threads_sooner() -> None:
    """Reduce the time after which a computing thread must release the interpreter to
    SWITCH_INTERVAL_S, so that a waking thread does not wait for, say, the history's writer
    or a strategy's own thread.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)


def settle_memory() -> None:
    """Exempt all present objects from garbage collection; called once, after start-up.

    A full collection would otherwise traverse ten thousand kept orders while one is to be
    sent: without this call the p99.9 of an order's path is a third longer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
