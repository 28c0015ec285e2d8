"""File descriptors: checks that this process may open as many as a run needs, and opens
read-only ones for other processes.
"""

import os
import resource
from collections.abc import Iterable, Sequence
from typing import Final

from engine.errors import ConfigError, EngineError

# Measured: 60 in the order router of one shard and one strategy, 4 more for each shard; the
# rest is for the control sockets' clients, REST connections, and what strategies open.
DESCRIPTORS_MIN: Final = 128
DESCRIPTORS_OF_SHARD: Final = 8
DESCRIPTORS_OF_STRATEGY: Final = 4


def descriptors_needed(*, shards: int, strategies: int) -> int:
    """The largest number of files that one process of a run may have to open."""
    return DESCRIPTORS_MIN + DESCRIPTORS_OF_SHARD * shards + DESCRIPTORS_OF_STRATEGY * strategies


def ensure_descriptors(*, shards: int, strategies: int, beside: int = 0) -> None:
    """Raise the limit of open files of this process and its children if it is too low.
    `beside` counts those that it has open for other purposes, such as other engines.

    Raises ConfigError if the limit must not be raised that far.
    """
    needed = descriptors_needed(shards=shards, strategies=strategies) + beside
    allowed, ceiling = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return
    if ceiling != resource.RLIM_INFINITY and ceiling < needed:
        raise ConfigError(
            f"this process may open {ceiling} files and needs {needed} (shards, strategies and their rings"
            f"{f', and {beside} that are open' if beside else ''}); raise the limit, for example with "
            f"`ulimit -n {max(1024, 2 * needed)}` or LimitNOFILE= of the systemd unit"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, ceiling))


def open_descriptors() -> int:
    """The number of file descriptors that this process has open."""
    return len(os.listdir("/proc/self/fd"))


def open_to_read(memories: Sequence[int]) -> list[int]:
    """Open each memfd again, read-only, to be passed to another process: its own descriptor
    would allow writing. Opens all or none; EngineError if no descriptor is free.
    """
    opened: list[int] = []
    try:
        opened.extend(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC) for fd in memories)
    except OSError as error:
        close_all(opened)
        raise EngineError(
            f"the engine cannot open its memory for others: {error.strerror}; a strategy may have left files or "
            "connections open"
        ) from None
    return opened


def close_all(descriptors: Iterable[int]) -> None:
    """Close all of them."""
    for fd in descriptors:
        os.close(fd)
