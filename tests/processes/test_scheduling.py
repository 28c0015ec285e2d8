"""Short time slices, in threads that may do without one afterwards."""

import os
import subprocess
import sys
import threading

import pytest

from engine.processes.scheduling import SLICE_NS, shorten_time_slice, time_slice_ns


def in_a_thread(what):
    """What it returns, called in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(what()))
    thread.start()
    thread.join()
    return found[0]


def test_the_kernel_says_whether_it_has_them():
    """True from 6.12 on; and a second time as well."""
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])

    assert in_a_thread(lambda: (shorten_time_slice(), shorten_time_slice())) == ((kernel >= (6, 12),) * 2)


def test_niceness_and_policy_stay():
    def after():
        shorten_time_slice()
        policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        return policy, os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert in_a_thread(after) == (os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0))


def test_what_the_thread_starts_has_the_usual_slice():
    """A thread and a process that compute beside it: those it is to go before."""
    usual_ns = in_a_thread(time_slice_ns)

    def asked():
        has_slices = shorten_time_slice()
        program = (sys.executable, "-c", "from engine.processes.scheduling import *; print(time_slice_ns())")
        child = subprocess.run(program, capture_output=True, text=True, check=True)
        return has_slices, time_slice_ns(), in_a_thread(time_slice_ns), int(child.stdout)

    has_slices, *slices = in_a_thread(asked)

    assert slices == [SLICE_NS if has_slices else usual_ns, usual_ns, usual_ns]


def test_another_policy_is_left_alone():
    """SCHED_IDLE is one that everybody may take."""

    def asked():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        return shorten_time_slice(), os.sched_getscheduler(0)

    assert in_a_thread(asked) == (False, os.SCHED_IDLE)


@pytest.mark.parametrize("machine", ["riscv64", ""])
def test_a_machine_whose_calls_are_not_known_goes_without(machine, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: machine)

    assert not in_a_thread(shorten_time_slice)
