"""The kernel: a run is a function of its seed, and a process ends where it dies."""

import asyncio
import contextlib

import pytest

from tests.simulate.kernel import BEGAN_MONO_NS, Death, Kernel, Process, Violation


def test_events_come_by_time_and_then_by_order():
    """Two of one moment come in the order in which they were asked for, whatever was asked for in between."""
    kernel, told = Kernel(1), []
    kernel.after(20, told.append, "later")
    kernel.after(10, told.append, "first")
    kernel.after(10, told.append, "second")
    kernel.run_until(BEGAN_MONO_NS + 15)

    assert told == ["first", "second"]
    assert kernel.now == BEGAN_MONO_NS + 15


def test_a_dead_process_does_nothing_more():
    """What a process had scheduled is forgotten when it dies, also for its next life."""
    kernel, told = Kernel(1), []
    process = Process(kernel, "victim")
    process.begin()
    process.after(10, told.append, "of the first life")
    kernel.after(5, process.die)
    kernel.after(6, process.begin)
    kernel.run_until(BEGAN_MONO_NS + 100)

    assert told == []
    assert process.is_alive


def test_a_doomed_process_dies_at_its_point():
    """After so many points, in the middle of an event."""
    kernel, told = Kernel(1), []
    process = Process(kernel, "victim")
    process.begin()

    def work():
        for step in range(5):
            process.point()
            told.append(step)

    process.doom(2)
    process.after(1, work)
    kernel.run_until(BEGAN_MONO_NS + 10)

    assert told == [0, 1]
    assert not process.is_alive


def test_a_process_that_hangs_holds_up_itself_alone():
    """Others go on in the middle of its event, and what was due for it comes afterwards."""
    kernel, told = Kernel(1), []
    slow, other = Process(kernel, "slow"), Process(kernel, "other")
    slow.begin()
    other.begin()

    def hang():
        told.append("begins")
        slow.hold(100)
        told.append("ends")

    slow.after(10, hang)
    slow.after(20, told.append, "waited")
    other.after(50, told.append, "went on")
    kernel.run_until(BEGAN_MONO_NS + 200)

    assert told == ["begins", "went on", "ends", "waited"]


def test_what_waited_for_a_process_that_hangs_can_still_be_cancelled():
    """A call that is due meanwhile is the same call: who holds its handle ends it."""
    kernel, told = Kernel(1), []
    slow = Process(kernel, "slow")
    slow.begin()
    slow.stop_for(100)
    handle = slow.after(20, told.append, "called")
    kernel.after(50, handle.cancel)
    kernel.run_until(BEGAN_MONO_NS + 200)

    assert told == []


def test_awaiting_is_by_virtual_time():
    """Coroutines sleep on the kernel's heap."""
    kernel, told = Kernel(1), []

    async def sleep():
        await asyncio.sleep(3600)
        told.append(kernel.elapsed_s)

    with kernel.running():
        kernel.create_task(sleep())
        kernel.run_until(BEGAN_MONO_NS + 4000 * 10**9)

    assert told == [3600.0]


def test_a_death_is_no_exception():
    """Nothing that catches exceptions keeps a dead process alive."""
    assert not issubclass(Death, Exception)


def test_an_accusation_ends_the_step():
    """What is found where an exception would be swallowed is raised all the same."""
    kernel = Kernel(1)

    def swallow():
        with contextlib.suppress(BaseException):
            kernel.accuse("invariant", "what was found")

    kernel.after(1, swallow)

    with pytest.raises(Violation, match="invariant"):
        kernel.run_until(BEGAN_MONO_NS + 10)
