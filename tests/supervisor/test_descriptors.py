"""The descriptors that others read a run's memory by."""

import os

import pytest

from engine.errors import EngineError
from engine.supervisor.descriptors import close_all, open_to_read
from tests.descriptors import none_free, open_fds


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
