"""Shared memory that leaves nothing behind and cannot be taken away."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import MisuseError, UserError
from engine.ring import NoSharedMemory, Publisher, Segment, Subscriber, format_ring, ring_bytes


def open_fds() -> set[str]:
    """What the descriptors of this process stand for; the one that lists them is gone by
    then.
    """
    links = (Path("/proc/self/fd") / fd for fd in os.listdir("/proc/self/fd"))
    return {os.readlink(link) for link in links if link.is_symlink()}


def test_nothing_is_left_after_close():
    """No name in /dev/shm at any time, no descriptor after close; closing twice is fine."""
    named_before = set(os.listdir("/dev/shm"))
    segment = Segment.create("left-behind", 8192)
    named_while_open = set(os.listdir("/dev/shm"))
    segment.close()
    segment.close()

    assert named_while_open == named_before
    assert not any("left-behind" in target for target in open_fds())
    with pytest.raises(MisuseError, match="closed"):
        _ = segment.fd


def test_a_ring_outlives_the_close_of_its_segment():
    """Closing under a live ring does no harm; the mapping goes with the ring."""
    segment = Segment.create("outlived", ring_bytes(16, 4))
    format_ring(segment.memory, record_bytes=16, slot_count=4)
    publisher, subscriber = Publisher(segment.memory), Subscriber(segment.memory)
    segment.close()
    publisher.publish(b"still here")

    assert subscriber.poll() == b"still here".ljust(16, b"\0")
    del publisher, subscriber
    assert not any("outlived" in target for target in open_fds())


def test_a_segment_cannot_be_resized():
    """Sealed: no process can take mapped pages from under another."""
    segment = Segment.create("sealed", 4096)

    for byte_count in (0, 8192):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.fd, byte_count)
    with pytest.raises(PermissionError):
        fcntl.fcntl(segment.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    segment.close()


def test_attaching_sees_the_same_memory():
    """What one mapping stores the other loads; a read-only one cannot store."""
    segment = Segment.create("twice", 4096)
    writable = Segment.attach(os.dup(segment.fd))
    watching = Segment.attach(os.dup(segment.fd), writable=False)
    writable.memory[100] = 7

    assert segment.memory[100] == watching.memory[100] == 7
    assert len(watching.memory) == 4096
    with pytest.raises(TypeError):
        watching.memory[100] = 8
    for each in (segment, writable, watching):
        each.close()


def test_attach_refuses_what_is_not_sealed():
    """An ordinary file could be cut short under the reader."""
    with open(__file__, "rb") as file, pytest.raises(MisuseError, match="not a sealed segment"):
        Segment.attach(file.fileno())
    fd = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    with pytest.raises(MisuseError, match="not a sealed segment"):
        Segment.attach(fd)
    os.close(fd)


def test_more_memory_than_the_machine_has_is_one_sentence():
    """A slot count with too many zeros is refused before the kernel tries."""
    with pytest.raises(NoSharedMemory) as refusal:
        Segment.create("market", 1 << 60)
    assert isinstance(refusal.value, UserError)
    assert str(refusal.value) == (
        f"segment 'market' needs {1 << 60} bytes of shared memory and cannot have them (more than the machine has): "
        "free some memory or configure fewer slots"
    )


def test_a_failed_allocation_is_an_error_at_creation():
    """Memory that cannot be had is an error now, not a SIGBUS later; the descriptor is not
    leaked.
    """
    code = (
        "import os, resource\n"
        "from engine.ring import NoSharedMemory, Segment\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "before = os.listdir('/proc/self/fd')\n"
        "try:\n"
        "    Segment.create('market', 1 << 21)\n"
        "except NoSharedMemory as error:\n"
        "    print(error)\n"
        "assert os.listdir('/proc/self/fd') == before\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert child.stderr == ""
    assert child.stdout.startswith("segment 'market' needs 2097152 bytes of shared memory and cannot have them (")


def test_an_empty_segment_is_refused():
    """Nothing can be laid on it."""
    with pytest.raises(MisuseError, match="at least 1 byte"):
        Segment.create("empty", 0)
