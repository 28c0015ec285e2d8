"""The end of `engine run`, whatever causes it.

    SIGTERM, SIGINT, SIGHUP ─► StopSignals ─► Supervisor.request_stop ─► orders, summary, ledger ─► leave(code)
    `engine stop`, --seconds, a failure, a strategy's mistake ───┘

A signal asks for a clean end at any time of a run: one that arrives before there is a
supervisor is kept for it, and further signals change nothing. `leave` is in
`engine.cli.leaving`. The deadlines of all steps are in engine/ARCHITECTURE.md, "Every end,
and its deadlines".
"""

import os
import signal
from collections.abc import Callable
from types import FrameType

from engine.cli.leaving import EXIT_FAILED, LEAVE_S
from engine.telemetry.log import drain_log, write_line

START_STOP_S = 5.0  # for a run that is asked to stop before it has begun: a strategy's import may never end
TOO_LATE = f"it was to stop while it started, and had not begun {START_STOP_S:g} s later"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def end_signals() -> list[signal.Signals]:
    """The signals that ask for an end. A hangup is not among them if the process was
    started with it ignored, as by nohup.
    """
    return [each for each in SIGNALS if each is not signal.SIGHUP or signal.getsignal(each) is not signal.SIG_IGN]


class StartInterrupted(KeyboardInterrupt):
    """A signal arrived before there was a supervisor, and none was made in time."""


class StopSignals:
    """Handles the signals that ask for a clean end."""

    def __init__(self) -> None:
        # What a signal calls; None before there is a supervisor, and after it has ended.
        self._stop: Callable[[], object] | None = None
        self._requested = False
        self._has_ended = False
        # Whether the start was interrupted because it took too long.
        self._was_late = False
        self._numbers = end_signals()

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
            last_words(f"engine: {TOO_LATE}, nor {LEAVE_S:g} s after it had been interrupted; it is ended\n")
            os._exit(EXIT_FAILED)
        self._was_late = True
        signal.setitimer(
            signal.ITIMER_REAL, LEAVE_S
        )  # once more, in case a strategy's bare `except:` catches this exception
        raise StartInterrupted


def last_words(text: str) -> None:
    """Write a line to the log, and wait a moment until it is written: the process ends
    next.
    """
    write_line(text)
    drain_log()
