"""Child processes: started with the descriptors that they need, watched by pidfd, stopped
in time.
"""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from engine.units import NS_PER_S, MonoNs

STEADY_NS = 10 * NS_PER_S  # a process that lived so long does not keep dying
TOLD_S = 1.0  # for a fork server to tell how a process has ended: it does within a millisecond
KILLED_S = 5.0  # for the kernel to end a process after SIGKILL

log = structlog.get_logger("supervisor")


class Child:
    """One child process, from its start to its end."""

    def __init__(self, pid: int, pidfd: int, on_exit: Callable[[int | None], None]) -> None:
        """The child owns `pidfd` and closes it at the process's end. `on_exit` is then
        called on the running loop with the exit code: negative for a signal, None if it is
        unknown.
        """
        self.pid = pid
        self._pidfd = pidfd  # not affected by reuse of the pid
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        # Set when the process has ended and been reaped.
        self.exited = asyncio.Event()
        # Set from the process's end until `has_ended` is called, or TOLD_S have passed.
        self._late: asyncio.TimerHandle | None = None

    @property
    def alive(self) -> bool:
        return not self.exited.is_set()

    def signal(self, number: int) -> None:
        """Send a signal, if the process still runs."""
        if self.alive:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def stop(self, deadline_s: float) -> None:
        """Send SIGTERM, and SIGKILL after the deadline. A process that the kernel cannot
        end, for example because of a disk that does not answer, is abandoned.
        """
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await self.exited.wait()
        if self.alive:
            self.signal(signal.SIGKILL)
            with suppress(TimeoutError):
                async with asyncio.timeout(KILLED_S):
                    await self.exited.wait()
        if self.alive:
            log.error("a process was killed and does not end", pid=self.pid)

    def watch(self, exit_code: Callable[[], int | None]) -> None:
        """Watch for the end of the process, and call `exit_code` then to learn its exit
        code.
        """
        self._loop.add_reader(self._pidfd, lambda: self.has_ended(exit_code()))

    def watch_beside(self) -> None:
        """Call `has_ended` without an exit code if nobody else has, TOLD_S after the end of
        the process.
        """

        def end() -> None:
            self._loop.remove_reader(self._pidfd)
            self._late = self._loop.call_later(TOLD_S, self.has_ended, None)

        self._loop.add_reader(self._pidfd, end)

    def has_ended(self, code: int | None) -> None:
        """Report the end of the process, by whoever learned of it first; later calls have
        no effect.
        """
        if not self.alive:
            return
        if self._late is not None:
            self._late.cancel()  # it would keep the whole engine in memory meanwhile
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.exited.set()
        self._on_exit(code)


def start_program(
    command: Sequence[str],
    descriptors: Sequence[int],
    on_exit: Callable[[int | None], None],
    *,
    stdout: int = subprocess.DEVNULL,
) -> Child:
    """Start a program as a child process that inherits the descriptors, and watch it.
    Raises OSError if it cannot be started.
    """
    # A process group of its own: the terminal's Ctrl-C is for the engine, which stops its
    # children in order.
    process = subprocess.Popen(command, pass_fds=descriptors, stdin=subprocess.DEVNULL, stdout=stdout, process_group=0)
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:  # nothing can watch it
        process.kill()
        process.wait()
        raise
    child = Child(process.pid, pidfd, on_exit)
    child.watch(process.wait)
    return child


class RestartDelay:
    """The wait before a restart. It doubles each time, until a process has lived for long
    enough.
    """

    def __init__(self, min_s: float, max_s: float) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._next_s = min_s

    def after_life(self, started_at: MonoNs, ended_at: MonoNs) -> float:
        """Seconds to wait after a process that lived this long."""
        if ended_at - started_at >= STEADY_NS:
            self._next_s = self._min_s
        delay_s = self._next_s
        self._next_s = min(2 * self._next_s, self._max_s)
        return delay_s


def exit_text(code: int | None) -> str:
    """Describe an exit code: `killed by SIGKILL`, `exit code 1`."""
    if code is None:
        return "its fork server did not tell how"
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
