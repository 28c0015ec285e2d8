"""The descriptors of this process: counted, and closed as the kernel closes those of a
process that is killed.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def open_fds() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def descriptor_of(path: Path) -> int:
    """The descriptor that this process has open on a file; KeyError when it has none."""
    return _targets()[path]


def close_as_a_death_would(directory: Path) -> None:
    """Close every descriptor of a file below `directory`: its locks are dropped, its owner
    has no chance to write.
    """
    for path, descriptor in _targets().items():
        if path.is_relative_to(directory):
            os.close(descriptor)


@contextmanager
def none_free() -> Iterator[list[int]]:
    """This process can open nothing, as after a leak; what has leaked, to give some back."""
    allowed, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, ceiling))
    taken: list[int] = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield taken
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, ceiling))


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Writes to this open file fail, as on a disk that is out of order; its lock stays."""
    number = descriptor_of(path)
    kept, reading = os.dup(number), os.open(path, os.O_RDONLY)
    os.dup2(reading, number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(reading)


def _targets() -> dict[Path, int]:
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found[Path(os.readlink(f"/proc/self/fd/{entry}"))] = int(entry)
    return found
