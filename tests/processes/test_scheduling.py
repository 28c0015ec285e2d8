"""Short time slices, in threads that may do without one afterwards."""

import os
import threading

import pytest

from engine.processes.scheduling import shorten_time_slice


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
        return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert in_a_thread(after) == (os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0))


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
