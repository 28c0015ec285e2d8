"""Reads a process's usage of processor time, memory and descriptors from the kernel
(proc(5)).
"""

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# Places in /proc/PID/stat behind the name of the command, which may hold anything.
UTIME, STIME, THREADS, RSS_PAGES = 11, 12, 17, 21


class ProcessUsage(Struct, frozen=True):
    """The resources that a process uses."""

    cpu_s: float
    """Processor time since its start, of the process and the kernel for it."""
    resident_bytes: int
    """Memory, shared segments that it has touched included."""
    threads: int


def usage_of(pid: int) -> ProcessUsage | None:
    """The present usage of a process; None if it does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    cpu_s = (int(fields[UTIME]) + int(fields[STIME])) / TICKS_PER_S
    return ProcessUsage(cpu_s, int(fields[RSS_PAGES]) * PAGE_BYTES, int(fields[THREADS]))
