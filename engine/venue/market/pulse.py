"""Times the order flow's events: the venue's rate in irregular steps, precise to a tenth of
a millisecond.

An alarm rings when the next event is due. After a stall the venue continues from now:
events missed for longer than CATCH_UP_NS are dropped, so no backlog builds up.
"""

from collections.abc import Callable
from math import ceil
from random import Random
from typing import Final, Protocol

from engine.clock import Clock
from engine.units import NS_PER_MS, NS_PER_S, NS_PER_US, MonoNs

CATCH_UP_NS: Final = 50 * NS_PER_MS  # events missed longer ago than this are not made up for
TICK_NS_MAX: Final = 4 * NS_PER_MS  # of work before the loop may look at its sockets again
EVENTS_BETWEEN_LOOKS: Final = 16  # at the clock
SLEEP_NS_MIN: Final = 100 * NS_PER_US  # shorter sleeps cost more than they are worth: due events share a wake-up

# Three events in ten follow the one before almost at once, as on the wire, where one order
# causes others.
BURST_SHARE: Final = 0.3
BURST_GAP: Final = 0.02  # of the mean gap
_CALM_GAP: Final = (1 - BURST_SHARE * BURST_GAP) / (1 - BURST_SHARE)  # which keeps the mean at one


class AlarmPort(Protocol):
    """An alarm, which rings once after each `set`."""

    def set(self, delay_ns: int) -> None: ...

    def close(self) -> None: ...


NewAlarm = Callable[[Callable[[], None]], AlarmPort]
"""Makes an alarm that calls this function when it rings."""


class Pulse:
    """Calls `event` at `rate` a second, and `after` once the events of a wake-up are done."""

    def __init__(
        self,
        rate: float,
        seed: int,
        clock: Clock,
        new_alarm: NewAlarm,
        event: Callable[[], None],
        after: Callable[[], None],
    ) -> None:
        self._gap_ns = NS_PER_S / rate
        self._rng = Random(f"{seed} pulse")
        self._clock = clock
        self._event = event
        self._after = after
        self._due = 0.0  # monotonic time of the next event, in ns
        self._new_alarm = new_alarm
        self._alarm: AlarmPort | None = None  # None while stopped

    def start(self) -> None:
        """Start calling `event`."""
        self._due = self._clock.mono_ns() + self._next_gap_ns()
        self._alarm = self._new_alarm(self._wake)
        self._alarm.set(SLEEP_NS_MIN)

    def stop(self) -> None:
        """Stop calling `event`, until the next `start`."""
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def _next_gap_ns(self) -> float:
        if self._rng.random() < BURST_SHARE:
            return self._gap_ns * BURST_GAP
        return self._rng.expovariate(1.0) * self._gap_ns * _CALM_GAP

    def _wake(self) -> None:
        now = began_at = self._clock.mono_ns()
        self._due = max(self._due, now - CATCH_UP_NS)
        done = 0
        while self._due <= now:
            self._event()
            self._due += self._next_gap_ns()
            done += 1
            if done % EVENTS_BETWEEN_LOOKS == 0:
                now = self._clock.mono_ns()
                if now - began_at > TICK_NS_MAX:
                    break
        self._after()
        if self._alarm is not None:  # an event may have stopped us
            # Rounded up: an alarm that rings a nanosecond early costs a second one.
            self._alarm.set(MonoNs(max(ceil(self._due - self._clock.mono_ns()), SLEEP_NS_MIN)))
