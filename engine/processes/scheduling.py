"""Priorities on a CPU that several processes want: actors first, onlookers last.

Linux lets a running thread go on for its slice (1.4 to 3 ms) before one that wakes up gets
its CPU, unless that one has asked for a shorter slice (EEVDF's custom slices, since Linux
6.12; sched(7)). An actor works some ten µs at a time and sleeps, so a short slice costs it
nothing, and the share of the CPU that it may have stays as it is. No privilege is needed.
"""

import ctypes
import os
import platform
import struct
from contextlib import suppress
from typing import Final

SLICE_NS: Final = 100_000  # the kernel's least
NICENESS: Final = 10  # of who only looks
# sched_setattr(2) and sched_getattr(2), which Python does not have.
_SYSCALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275)}
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")  # struct sched_attr, as of its first version
_FLAGS, _RUNTIME = 2, 5  # of its fields: the flags; the slice, for an ordinary thread
_RESET_ON_FORK: Final = 0x01  # SCHED_FLAG_RESET_ON_FORK

_libc = ctypes.CDLL(None, use_errno=True)


def give_way() -> None:
    """Lower the priority of this process below the engine's: it only looks on, and building
    or drawing takes a core for some milliseconds at a time.
    """
    with suppress(OSError):
        os.nice(NICENESS)


def shorten_time_slice() -> bool:
    """Request a short slice for the calling thread alone; False if the kernel does not
    support it.

    Threads and processes that it starts keep the usual slice, so that it runs before
    whatever a strategy computes outside its callbacks. A thread of another policy
    (SCHED_FIFO, set by `chrt` for example) is left as it is.
    """
    policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
    wanted = _attributes() if policy in (os.SCHED_OTHER, os.SCHED_BATCH) else None
    if wanted is None:
        return False
    wanted[_RUNTIME] = SLICE_NS
    wanted[_FLAGS] |= _RESET_ON_FORK
    if _libc.syscall(_SYSCALLS[platform.machine()][0], 0, _ATTRIBUTES.pack(*wanted), 0) != 0:
        return False
    return time_slice_ns() == SLICE_NS  # a kernel without slices of one's own takes the call, and changes nothing


def time_slice_ns() -> int:
    """The slice of the calling thread; 0 if the kernel does not report it."""
    found = _attributes()
    return 0 if found is None else found[_RUNTIME]


def _attributes() -> list[int] | None:
    """The scheduling of the calling thread, in the order of struct sched_attr."""
    if platform.machine() not in _SYSCALLS:
        return None
    memory = ctypes.create_string_buffer(_ATTRIBUTES.size)
    failed = _libc.syscall(_SYSCALLS[platform.machine()][1], 0, memory, _ATTRIBUTES.size, 0)
    return None if failed else list(_ATTRIBUTES.unpack(memory.raw))
