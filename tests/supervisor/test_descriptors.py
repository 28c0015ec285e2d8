"""The descriptors that others read a run's memory by."""

import os
import resource

import pytest

from engine.errors import ConfigError, EngineError
from engine.supervisor.descriptors import close_all, descriptors_needed, ensure_descriptors, open_to_read
from tests.descriptors import none_free, open_fds


def test_what_is_open_already_is_added_to_what_a_run_needs() -> None:
    """A second engine in a program finds the first one's open."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = descriptors_needed(shards=1, strategies=1)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, limits[1]))
        ensure_descriptors(shards=1, strategies=1)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == needed
        ensure_descriptors(shards=1, strategies=1, beside=70)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == needed + 70
        if limits[1] != resource.RLIM_INFINITY:
            with pytest.raises(ConfigError, match=rf"and {limits[1]} that are open\); raise the limit"):
                ensure_descriptors(shards=1, strategies=1, beside=limits[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_all_are_opened_or_none_and_the_next_try_is_not_spoilt() -> None:
    """Half of them would not fit the map that goes with them."""
    memories = [os.memfd_create(f"memory-{number}") for number in range(3)]
    before = open_fds()
    with none_free() as taken:
        os.close(taken.pop())
        with pytest.raises(EngineError, match="Too many open files"):
            open_to_read(memories)
        taken.append(os.dup(0))  # what it had opened is free again
    assert open_fds() == before
    opened = open_to_read(memories)

    assert [os.fstat(fd).st_ino for fd in opened] == [os.fstat(fd).st_ino for fd in memories]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(opened[0], b"!")
    close_all([*opened, *memories])
