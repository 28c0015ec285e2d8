"""What a process asks of the Linux kernel about itself: prctl(2)."""

import ctypes
import os
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
PR_SET_DUMPABLE: Final = 4


def end_with_parent(parent_pid: int, signal_number: int) -> bool:
    """Have the kernel send this process a signal when its parent ends, be it by SIGKILL.

    False when the parent has ended already: then no signal comes, and the caller ends.
    """
    _prctl(PR_SET_PDEATHSIG, signal_number)
    return os.getppid() == parent_pid


def die_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent ends, and end now if it already has."""
    if not end_with_parent(os.getppid(), signal.SIGTERM):
        raise SystemExit(0)


def forbid_dumps() -> None:
    """Keep this process's memory out of core files, and from debuggers and tracers of the
    same user.
    """
    _prctl(PR_SET_DUMPABLE, 0)


def _prctl(option: int, argument: int) -> None:
    """OSError when the kernel refuses."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), f"prctl {option}")
