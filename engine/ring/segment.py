"""Shared memory without a name: nothing is left of it, even after `kill -9` of everything.

A segment is a memfd. A process with its descriptor can map it, the kernel frees it with the
last descriptor and mapping, and it never appears in /dev/shm. The engine creates it and
gives the descriptor to its children (`pass_fds`).

Its pages are allocated when it is created, so a machine short of memory says so at the
start and not with SIGBUS in the middle of a trade. It is sealed against resizing, so no
process can take mapped pages from another.
"""

import fcntl
import os
from mmap import MAP_POPULATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap

from engine.errors import MisuseError, UserError

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class NoSharedMemory(UserError):
    """The machine cannot give the shared memory that the configuration asks for."""

    def __init__(self, name: str, byte_count: int, reason: str) -> None:
        super().__init__(
            f"segment {name!r} needs {byte_count} bytes of shared memory and cannot have them ({reason}): "
            "free some memory or configure fewer slots"
        )


class Segment:
    """One mapped memfd. Owns its descriptor: `close` closes it."""

    def __init__(self, fd: int, byte_count: int, *, writable: bool, populate: bool = True) -> None:
        # The memfd, for child processes to inherit; -1 once closed.
        self._fd = fd
        # Populated at once: a later page fault would be a latency spike in the hot path.
        protection = PROT_READ | PROT_WRITE if writable else PROT_READ
        flags = MAP_SHARED | MAP_POPULATE if populate else MAP_SHARED
        self._map = mmap(fd, byte_count, flags=flags, prot=protection)
        # The memory that structures (ring, board, counters) are laid on.
        self._memory = memoryview(self._map)

    @classmethod
    def create(cls, name: str, byte_count: int) -> "Segment":
        """Create a zeroed segment; `name` is shown in /proc/<pid>/maps, and need not be
        unique.
        """
        if byte_count < 1:
            raise MisuseError(f"segment {name!r} has at least 1 byte, not {byte_count}")
        # The kernel would try more than the machine has page by page, until it starts
        # killing.
        if byte_count > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
            raise NoSharedMemory(name, byte_count, "more than the machine has")
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(fd, 0, byte_count)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            return cls(fd, byte_count, writable=True)
        except OSError as error:
            os.close(fd)
            raise NoSharedMemory(name, byte_count, error.strerror or str(error)) from error

    @classmethod
    def attach(cls, fd: int, writable: bool = True, *, populate: bool = True) -> "Segment":
        """Map the segment of an inherited descriptor and take the descriptor over;
        read-only unless `writable`. Without `populate` each page is mapped when it is first
        looked at: for who looks at few of them, once.
        """
        try:
            is_sealed = fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS == SEALS
        except OSError:
            is_sealed = False  # not a memfd, or not open at all
        if not is_sealed:
            raise MisuseError(f"descriptor {fd} is not a sealed segment: its memory could vanish while it is read")
        return cls(fd, os.fstat(fd).st_size, writable=writable, populate=populate)

    @property
    def fd(self) -> int:
        if self._fd < 0:
            raise MisuseError("the segment is closed")
        return self._fd

    @property
    def memory(self) -> memoryview:
        return self._memory

    def close(self) -> None:
        """Close the descriptor and the mapping; may be called again.

        A ring or board that is still laid on the memory keeps the mapping alive,
        harmlessly, until it is dropped itself.
        """
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        try:
            self._memory.release()
            self._map.close()
        except BufferError:
            del self._map

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:  # a program may open one engine after another
            os.close(self._fd)
