"""An alarm on the running event loop, precise to a tenth of a millisecond.

The loop's own timers count in milliseconds, so at 10,000 messages a second ten would be
sent together; a timerfd wakes the loop when the next one is due.
"""

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable
from typing import Final

from engine.errors import MisuseError
from engine.units import NS_PER_S


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


_CLOCK_MONOTONIC: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """A timerfd on the running loop. Python has its own from 3.13 on."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._descriptor = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise MisuseError(f"timerfd_create: {os.strerror(ctypes.get_errno())}")
        self._ring = ring
        self._spec = _TimerSpec()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def set(self, delay_ns: int) -> None:
        """Ring once, `delay_ns` from now."""
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(delay_ns, NS_PER_S)
        _libc.timerfd_settime(self._descriptor, 0, ctypes.byref(self._spec), None)

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 8)
        self._ring()
