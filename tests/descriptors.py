"""The descriptors of this process: counted, and closed as the kernel closes those of a
process that is killed.
"""

import os
from contextlib import suppress
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


def _targets() -> dict[Path, int]:
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            found[Path(os.readlink(f"/proc/self/fd/{entry}"))] = int(entry)
    return found
