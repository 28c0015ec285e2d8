"""When the venue's next event is due: at its rate, and after a stall from now on."""

import asyncio
from collections.abc import Callable

import pytest

from engine.clock import ManualClock
from engine.units import NS_PER_MS, NS_PER_S
from engine.venue.alarm import Alarm
from engine.venue.market.pulse import CATCH_UP_NS, Pulse
from tests.waiting import until

RATE = 1500.0


class Beats:
    """A pulse under a clock by hand: its wake-ups come in real time, what is due goes by
    the clock.
    """

    def __init__(self) -> None:
        self.clock = ManualClock(1)
        self.events = self.wakes = 0
        self.pulse = Pulse(RATE, 1, self.clock, Alarm, self._event, self._after)

    def _event(self) -> None:
        self.events += 1

    def _after(self) -> None:
        self.wakes += 1

    async def pass_ns(self, ns: int) -> int:
        """Move the clock, and wait until it has been looked at; the events of that."""
        before, seen = self.events, self.wakes
        self.clock.advance(ns)
        # The second look since then began after the clock was moved.
        await until(lambda: self.wakes >= seen + 2)
        return self.events - before


@pytest.fixture
def beats() -> Beats:
    return Beats()


async def test_the_rate_is_kept(beats: Beats) -> None:
    """Within a tenth, over two seconds in steps of ten milliseconds."""
    beats.pulse.start()
    in_two_seconds = 0
    for _ in range(200):
        in_two_seconds += await beats.pass_ns(10 * NS_PER_MS)
    beats.pulse.stop()

    assert in_two_seconds == pytest.approx(2 * RATE, rel=0.1)


async def test_a_stall_is_not_made_up_for(beats: Beats) -> None:
    """After a minute of standing still come the events of CATCH_UP_NS, not those of the
    minute.
    """
    beats.pulse.start()
    await beats.pass_ns(10 * NS_PER_MS)
    after_stall = await beats.pass_ns(60 * NS_PER_S)
    beats.pulse.stop()

    assert 0 < after_stall < 2 * RATE * CATCH_UP_NS / NS_PER_S


async def test_a_pulse_that_was_stopped_beats_no_more(beats: Beats) -> None:
    """Whatever time passes."""
    beats.pulse.start()
    await beats.pass_ns(10 * NS_PER_MS)
    beats.pulse.stop()
    before = beats.events
    beats.clock.advance(NS_PER_S)
    for _ in range(20):
        await asyncio.sleep(0)

    assert beats.events == before


class ExactAlarm:
    """Rings when it is asked to, to the nanosecond of a clock by hand."""

    def __init__(self, clock: ManualClock, ring: Callable[[], None]) -> None:
        self._clock, self._ring = clock, ring
        self.delay_ns = 0

    def set(self, delay_ns: int) -> None:
        self.delay_ns = delay_ns

    def close(self) -> None: ...

    def wait(self) -> None:
        """Let the time pass."""
        self._clock.advance(self.delay_ns)
        self._ring()


def test_no_wake_up_is_too_early() -> None:
    """An alarm that rings when it was set for finds an event due: none is a nanosecond early,
    which would cost a second one.
    """
    clock, events, empty, alarms = ManualClock(1), [0], 0, []

    def new_alarm(ring: Callable[[], None]) -> ExactAlarm:
        alarms.append(ExactAlarm(clock, ring))
        return alarms[0]

    def event() -> None:
        events[0] += 1

    pulse = Pulse(RATE, 1, clock, new_alarm, event, lambda: None)
    pulse.start()
    alarms[0].wait()  # the first is only a beginning
    for _ in range(1000):
        before = events[0]
        alarms[0].wait()
        empty += events[0] == before

    assert empty == 0
