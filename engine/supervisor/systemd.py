"""What systemd is told of a run that it has started: sd_notify(3), which is a datagram of
lines.

    READY=1        strategies run, and the market is followed; what waits for this unit may start
    STATUS=…       one line for `systemctl status`, when it has changed
    WATCHDOG=1     from the loop of the supervisor: a supervisor that hangs sends none, and is ended
    STOPPING=1     the end has begun

Whatever else speaks this protocol hears the same: podman with --sdnotify=container, say.
"""

import asyncio
import os
import socket
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Final

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE: Final = "WATCHDOG_USEC"
WATCHDOG_PID_VARIABLE: Final = "WATCHDOG_PID"
TELL_INTERVAL_S: Final = 1.0  # between two looks at the status, and two signs of life
US_PER_S: Final = 1_000_000
SIGNS_PER_DEADLINE: Final = 4  # of life; sd_watchdog_enabled(3) asks for two at least


class Systemd:
    """The notification socket of the service manager that started this process. Without
    one, every call has no effect.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Remove the socket's address from the environment: no child and no strategy may
        notify in the engine's name.
        """
        address = environment.pop(SOCKET_VARIABLE, "")
        deadline_us = environment.pop(WATCHDOG_VARIABLE, "")
        pid = environment.pop(WATCHDOG_PID_VARIABLE, "")
        is_ours = not pid or pid == str(os.getpid())
        # systemd.exec(5) knows paths and abstract sockets, which begin with @ there and
        # with a zero byte in the kernel.
        self._address = "\0" + address[1:] if address.startswith("@") else address if address.startswith("/") else ""
        # Seconds after which it takes the process for hung; None when it does not look.
        self.deadline_s: float | None = None
        if is_ours and deadline_us.isdecimal() and int(deadline_us):
            self.deadline_s = int(deadline_us) / US_PER_S
        self._status = ""
        self._is_stopping = False

    async def follow(
        self, has_begun: asyncio.Event, is_stopping: Callable[[], bool], status: Callable[[], str]
    ) -> None:
        """Report the state of a run until this is canceled, on the run's own event loop.
        `status` is called once a second for one line.
        """
        if not self._address:
            return
        interval_s = TELL_INTERVAL_S
        if self.deadline_s is not None:
            interval_s = min(interval_s, self.deadline_s / SIGNS_PER_DEADLINE)
        is_ready = False
        while True:
            lines = [] if self.deadline_s is None else ["WATCHDOG=1"]
            if not is_ready and has_begun.is_set():
                is_ready = True
                lines.append("READY=1")
            if is_stopping():
                self.tell_stopping()
            if (told := " ".join(status().split())) != self._status:
                self._status = told
                lines.append(f"STATUS={told}")
            self._send(lines)
            await asyncio.sleep(interval_s)

    def tell_stopping(self) -> None:
        """Report once that the engine is stopping."""
        if not self._is_stopping:
            self._is_stopping = True
            self._send(["STOPPING=1"])

    def _send(self, lines: list[str]) -> None:
        if not lines or not self._address:
            return
        # A socket that is full or gone takes nothing, and a run never waits for it.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), self._address)
