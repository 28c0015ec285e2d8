"""Waiting for one descriptor: of any number, with and without something to read."""

import fcntl
import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine.readable import is_readable
from tests.waiting import PATIENCE_S

BEYOND_SELECT = 1024


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """This process may open more than select(2) could wait for."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] != resource.RLIM_INFINITY and before[1] < BEYOND_SELECT + 64:
        pytest.skip(f"this machine allows {before[1]} descriptors at most")
    resource.setrlimit(resource.RLIMIT_NOFILE, (BEYOND_SELECT + 64, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_descriptors")
def test_a_high_number_is_waited_for_too() -> None:
    """A program with a thousand connections may still ask whether its engine lives."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pidfd = os.pidfd_open(process.pid)
    high = fcntl.fcntl(pidfd, fcntl.F_DUPFD_CLOEXEC, BEYOND_SELECT)
    try:
        assert not is_readable(high)
        process.kill()
        assert is_readable(high, PATIENCE_S)
        process.communicate()
    finally:
        os.close(high)
        os.close(pidfd)


def test_what_is_there_to_read_or_closed_is_readable() -> None:
    """Bytes, and an end that was closed; neither before."""
    reader, writer = os.pipe()
    try:
        assert not is_readable(reader)
        os.write(writer, b"1")
        assert is_readable(reader)
        assert is_readable(reader, None)
        os.read(reader, 1)
        assert not is_readable(reader, 0.001)
    finally:
        os.close(writer)
    assert is_readable(reader)
    os.close(reader)
