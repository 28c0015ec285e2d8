"""The end of `engine run`, whatever causes it.

    SIGTERM, SIGINT, SIGHUP ─► StopSignals ─► Supervisor.request_stop ─► orders, summary, ledger ─► leave(code)
    `engine stop`, --seconds, a failure, a strategy's mistake ───┘

A signal asks for a clean end at any time of a run: one that arrives before there is a
supervisor is kept for it, and further signals change nothing. `leave` ends the process even
when a strategy's threads or atexit handlers do not return. The deadlines of all steps are
in engine/ARCHITECTURE.md, "Every end, and its deadlines".
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

START_STOP_S = 5.0  # for a run that is asked to stop before it has begun: a strategy's import may never end
LEAVE_S = 5.0  # for what strategies left behind: threads that are no daemons, atexit handlers
LEAVE_MARGIN_S = 2.0  # more, for a thread that keeps the interpreter's lock
TOO_LATE = f"it was to stop while it started, and had not begun {START_STOP_S:g} s later"
EXIT_FAILED = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StartInterrupted(KeyboardInterrupt):
    """A signal arrived before there was a supervisor, and none was made in time."""


class StopSignals:
    """The signals that ask for a clean end, and whom to tell of one."""

    def __init__(self) -> None:
        # What a signal calls; None before there is a supervisor, and after it has ended.
        self._stop: Callable[[], object] | None = None
        self._requested = False
        self._has_ended = False
        # Whether the start was interrupted because it took too long.
        self._was_late = False
        self._numbers = [n for n in SIGNALS if n is not signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]

    def install(self) -> None:
        """Install the handlers. Call it again after a strategy was imported, which may have
        replaced them.
        """
        for number in self._numbers:
            signal.signal(number, self._signalled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)

    def begin(self, stop: Callable[[], object]) -> None:
        """Have signals call `stop` from now on; call it at once if a signal has arrived
        already.
        """
        self._stop = stop
        if self._requested:
            signal.setitimer(signal.ITIMER_REAL, 0)
            stop()

    def end(self) -> None:
        """Ignore signals from now on: what is left has a deadline, and must not be
        interrupted.
        """
        self._stop, self._has_ended = None, True

    def _signalled(self, _: int, __: FrameType | None) -> None:
        first, self._requested = not self._requested, True
        if self._stop is not None:
            self._stop()
        elif first and not self._has_ended:
            signal.signal(signal.SIGALRM, self._too_late)  # not earlier: strategies may use SIGALRM themselves
            signal.setitimer(signal.ITIMER_REAL, START_STOP_S)

    def _too_late(self, _: int, __: FrameType | None) -> None:
        if self._stop is not None or self._has_ended:
            return
        if self._was_late:
            write_line(f"engine: {TOO_LATE}, nor {LEAVE_S:g} s after it had been interrupted; it is ended\n")
            drain_log()
            os._exit(EXIT_FAILED)
        self._was_late = True
        signal.setitimer(
            signal.ITIMER_REAL, LEAVE_S
        )  # once more, in case a strategy's bare `except:` catches this exception
        raise StartInterrupted


class _Left:
    """Whether strategy code ran in this process, which may have left something behind."""

    behind = False


def expect_leftovers() -> None:
    """Give `leave` a deadline from now on."""
    _Left.behind = True


def leave(code: int) -> NoReturn:
    """End the process with this exit code, within LEAVE_S of whatever strategies left
    behind.
    """
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
