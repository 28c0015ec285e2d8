"""The one door out of `engine run`, whatever it is that ends it.

    SIGTERM, SIGINT, SIGHUP ─► StopSignals ─► Supervisor.request_stop ─► orders, summary, ledger ─► leave(code)
    `engine stop`, --seconds, a failure, a strategy's mistake ───┘

A signal is a wish for a clean end from the first line of a run to its last: one that comes before there is a
supervisor is kept for it, and more of them change nothing. `leave` ends the process though a plugin's threads or
atexit handlers do not. The deadlines of all steps stand in engine/ARCHITECTURE.md, "Every end, and its deadlines".
"""

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from engine.telemetry.log import drain_log, write_line

START_STOP_S = 5.0  # for a run that is asked to stop before it has begun: a plugin's import may never end
LEAVE_S = 5.0  # for what plugins left behind: threads that are no daemons, atexit handlers
LEAVE_MARGIN_S = 2.0  # more, for one that keeps the interpreter's lock for itself
TOO_LATE = f"it was to stop while it started, and had not begun {START_STOP_S:g} s later"
EXIT_FAILED = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StartInterrupted(KeyboardInterrupt):
    """Asked to stop before there was a supervisor, and something did not let it come to one."""


class StopSignals:
    """Signals that ask for a clean end."""

    def __init__(self) -> None:
        # What a signal calls; None before there is a supervisor, and when it has ended.
        self._stop: Callable[[], object] | None = None
        self._requested = False
        self._has_ended = False
        # Was it interrupted because it had not begun in time?
        self._was_late = False
        self._numbers = [n for n in SIGNALS if n is not signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]

    def install(self) -> None:
        """Take the signals. Once more after strangers' code has been imported, which may have taken them too."""
        for number in self._numbers:
            signal.signal(number, self._signalled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)

    def begin(self, stop: Callable[[], object]) -> None:
        """There is somebody to tell; at once, if there was a signal already."""
        self._stop = stop
        if self._requested:
            signal.setitimer(signal.ITIMER_REAL, 0)
            stop()

    def end(self) -> None:
        """It has ended: what is left is bounded, and not to be interrupted."""
        self._stop, self._has_ended = None, True

    def _signalled(self, _: int, __: FrameType | None) -> None:
        first, self._requested = not self._requested, True
        if self._stop is not None:
            self._stop()
        elif first and not self._has_ended:
            signal.signal(signal.SIGALRM, self._too_late)  # not before: strategies may have a use for it
            signal.setitimer(signal.ITIMER_REAL, START_STOP_S)

    def _too_late(self, _: int, __: FrameType | None) -> None:
        if self._stop is not None or self._has_ended:
            return
        if self._was_late:
            write_line(f"engine: {TOO_LATE}, nor {LEAVE_S:g} s after it had been interrupted; it is ended\n")
            drain_log()
            os._exit(EXIT_FAILED)
        self._was_late = True
        signal.setitimer(signal.ITIMER_REAL, LEAVE_S)  # a plugin's bare `except:` catches this too
        raise StartInterrupted


class _Left:
    """Did strangers' code run in this process, which may have left something behind?"""

    behind = False


def expect_leftovers() -> None:
    """From now on `leave` has a deadline."""
    _Left.behind = True


def leave(code: int) -> NoReturn:
    """End the process with this exit code, within LEAVE_S of whatever strategies left behind."""
    if _Left.behind:
        threading.Thread(target=_end_late, args=(code,), name="leave", daemon=True).start()
        with suppress(OSError, ValueError, RuntimeError):
            faulthandler.dump_traceback_later(LEAVE_S + LEAVE_MARGIN_S, exit=True)
    sys.exit(code)


def _end_late(code: int) -> None:
    time.sleep(LEAVE_S)
    ours = (threading.main_thread(), threading.current_thread())
    threads = [thread.name for thread in threading.enumerate() if not thread.daemon and thread not in ours]
    what = f"thread {', '.join(threads)}" if threads else "atexit handler"
    write_line(f"engine: a strategy's {what} kept the process for {LEAVE_S:g} s after its end; it is ended\n")
    drain_log()
    os._exit(code)
