"""A process, or a thread, on some CPUs alone."""

import os
import threading

import pytest

from engine.errors import ConfigError
from engine.processes.pinning import check_cpus, pin


def test_a_thread_is_pinned_alone():
    """Those beside it stay where they may be."""
    before, found = os.sched_getaffinity(0), []

    def run():
        pin([max(before)])
        found.append(os.sched_getaffinity(0))
        pin([])
        found.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()

    assert found == [{max(before)}] * 2
    assert os.sched_getaffinity(0) == before


def test_a_cpu_that_is_not_there_is_named():
    """With those that are."""
    there = max(os.sched_getaffinity(0))
    check_cpus([("feed.cpus", [there]), ("engine.cpus", [])])
    with pytest.raises(ConfigError, match=rf"trading.cpus has 100000, which is no CPU .*{there}"):
        check_cpus([("feed.cpus", [there]), ("trading.cpus", [there, 100000])])
