"""Who goes first on a CPU that several want: the actors, and last those who look at them.

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
_RUNTIME: Final = 5  # of its fields: the slice, for an ordinary thread


def give_way() -> None:
    """Let the engine's processes go first, for this one only looks at them: what it builds
    or draws wants a core for some ms at once.
    """
    with suppress(OSError):
        os.nice(NICENESS)


def shorten_time_slice() -> bool:
    """Ask for a short slice for the calling thread, and for threads that it starts from now
    on; False where the kernel has none.

    A thread of another policy (SCHED_FIFO, say, by `chrt`) is left as it is.
    """
    calls = _SYSCALLS.get(platform.machine())
    if calls is None or os.sched_getscheduler(0) not in (os.SCHED_OTHER, os.SCHED_BATCH):
        return False
    set_attributes, get_attributes = calls
    libc = ctypes.CDLL(None, use_errno=True)
    memory = ctypes.create_string_buffer(_ATTRIBUTES.size)

    def fields() -> list[int] | None:
        failed = libc.syscall(get_attributes, 0, memory, _ATTRIBUTES.size, 0)
        return None if failed else list(_ATTRIBUTES.unpack(memory.raw))

    wanted = fields()
    if wanted is None:
        return False
    wanted[_RUNTIME] = SLICE_NS
    if libc.syscall(set_attributes, 0, _ATTRIBUTES.pack(*wanted), 0) != 0:
        return False
    # A kernel without custom slices takes the call and changes nothing.
    now = fields()
    return now is not None and now[_RUNTIME] == SLICE_NS
