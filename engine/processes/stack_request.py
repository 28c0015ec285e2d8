"""Where the strategies' thread stands, told by itself on the order router's request.

    strategies' thread   allow_stack_requests: a signal has it write its own stack to standard error
    supervisor           watched_at_ns: when it last looked for callbacks that hang
    order router         StackRequests.look: sends the signal

For a callback that keeps the interpreter's lock, so that no other thread of its process can
say where it is. *Instead of* faulthandler's timer, whose thread reads the stacks of threads
that run: an engine that had only been stopped for a while has crashed by it.
"""

import ctypes
import faulthandler
import platform
import select
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from engine.processes.callback_words import StrategyWords
from engine.telemetry import Counters
from engine.units import MonoNs

SIGNAL: Final = signal.SIGRTMIN + 11  # one that programs and libraries leave alone
_TGKILL: Final = {"x86_64": 234, "aarch64": 131}  # tgkill(2), which Python does not have

_libc = ctypes.CDLL(None, use_errno=True)


def allow_stack_requests(counters: Counters) -> None:
    """Install a signal handler that writes the stack of the calling thread, the
    strategies', and announce in the host's counters that it is installed.
    """
    # Without a standard error that is a file nothing can be written: no request then.
    with suppress(OSError, ValueError, RuntimeError, AttributeError):
        faulthandler.register(SIGNAL, all_threads=False)
        counters.set("thread_id", threading.get_native_id())


class StackRequests:
    """Requests the stack of a callback that hangs while the supervisor cannot look."""

    def __init__(
        self, counters: Counters, strategies: Sequence[str], engine_pid: int, engine_fd: int, after_ns: int
    ) -> None:
        """`counters` are the host's; `engine_fd` is a pidfd of the engine, which gets the
        signal `after_ns` after the later of the callback's beginning and the supervisor's
        last look.
        """
        self._counters = counters
        self._strategies = strategies
        self._words = StrategyWords(counters, strategies)
        self._pid = engine_pid
        self._ended = select.poll()
        self._ended.register(engine_fd, select.POLLIN)
        self._after_ns = after_ns
        self._asked_for = MonoNs(0)  # when the callback began whose stack was asked for

    def look(self, now: MonoNs) -> bool:
        """Request the stack once for each such callback; True if it was requested now."""
        thread_id, watched_at = self._counters.get("thread_id"), self._counters.get("watched_at_ns")
        number = _TGKILL.get(platform.machine())
        if not thread_id or number is None or now - watched_at < self._after_ns:
            return False
        # A strategy that waits in an async callback does not block the thread, which is in
        # the newest callback.
        began = max((self._words.callback(strategy)[0] for strategy in self._strategies), default=MonoNs(0))
        if not began or began == self._asked_for or now - began < self._after_ns or self._ended.poll(0):
            return False
        self._asked_for = began
        return bool(_libc.syscall(number, self._pid, thread_id, SIGNAL) == 0)
