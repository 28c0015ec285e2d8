"""The supervisor's side of the fork server, which starts the actors."""

import asyncio
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from msgspec import Struct

from engine.processes.fork_server import (
    STDERR,
    Ended,
    Fork,
    Forked,
    Refused,
    fork_server_command,
    receive_told,
    send_fork,
)
from engine.supervisor.children import Child

log = structlog.get_logger("supervisor")

OnExit = Callable[[int | None], None]


class _Asked(Struct, frozen=True):
    """A request that has not been answered."""

    on_start: Callable[[Child], None]
    on_exit: OnExit


class ForkServer:
    """Starts actors through a server process. The process is started by `start` or by the
    first request, and again after its death.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        """`kinds` are the actors that the server imports ahead, in the order of their
        start.
        """
        self._kinds: Final = kinds
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._asked: dict[int, _Asked] = {}
        # By pid: those that run, and those that are ended because nothing can watch them.
        self._children: dict[int, Child] = {}
        self._unwatched: dict[int, OnExit] = {}

    @property
    def pid(self) -> int | None:
        """Pid of the process; None before `start`."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the server, which begins to import. Raises OSError if it cannot be started."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = subprocess.Popen(
                    fork_server_command(theirs.fileno(), self._kinds), pass_fds=(theirs.fileno(),), process_group=0,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                )  # fmt: skip
            except OSError:
                ours.close()
                raise
        ours.setblocking(False)
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours, self._read)

    def fork(self, kind: str, descriptors: Sequence[int], on_start: Callable[[Child], None], on_exit: OnExit) -> None:
        """Start an actor, which inherits the descriptors; the first is its launch.

        `on_start` is called when it runs, and `on_exit` when it has ended. If it is not
        started, only `on_exit` is called.
        """
        number = next(self._numbers)
        self._asked[number] = _Asked(on_start, on_exit)
        try:
            if self._socket is None:
                self.start()
            assert self._socket is not None
            send_fork(self._socket, Fork(number, kind, tuple(descriptors)), STDERR)
        except OSError as error:
            self._refuse(Refused(number, str(error)))

    def kill(self) -> None:
        """Kill the server because it does not answer; the actors that it started end, too."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._socket is not None:
            self._forget(self._process)

    def _read(self) -> None:
        assert self._socket is not None
        with suppress(BlockingIOError):
            while True:
                told = receive_told(self._socket)
                if told is None:
                    self._lost()
                    return
                match told:
                    case Forked(number, pid), -1:
                        log.error("a process cannot be watched, for no descriptor is free; it is ended", pid=pid)
                        self._unwatched[pid] = self._asked.pop(number).on_exit
                    case Forked(number, pid), pidfd:
                        asked = self._asked.pop(number)
                        child = self._children[pid] = Child(pid, pidfd, asked.on_exit)
                        # A fork server that has been stopped does not report the child's
                        # end.
                        child.watch_beside()
                        asked.on_start(child)
                    case Ended(pid, code), _ if pid in self._unwatched:
                        self._unwatched.pop(pid)(code)
                    case Ended(pid, code), _:
                        self._children.pop(pid).has_ended(code)
                    case Refused() as refused, _:
                        self._refuse(refused)
        self._end_unwatched()

    def _end_unwatched(self) -> None:
        """Kill actors by their pids. The pids are still valid, because the server reaps the
        actors and has not reported their end.
        """
        for pid in self._unwatched:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _refuse(self, refused: Refused) -> None:
        log.error("a process cannot be forked", reason=refused.reason)
        asyncio.get_running_loop().call_soon(self._asked.pop(refused.number).on_exit, None)

    def _lost(self) -> None:
        """Handle the unexpected end of the server: the actors that it started end with it,
        or are orphans.
        """
        assert self._process is not None
        self._forget(self._process)
        log.error("the fork server ended", code=self._process.returncode)
        self._end_unwatched()
        children = [child for child in self._children.values() if child.alive]
        unstarted = [*self._unwatched.values(), *(asked.on_exit for asked in self._asked.values())]
        self._children.clear()
        self._unwatched.clear()
        self._asked.clear()
        for child in children:
            child.watch(lambda: None)
        for on_exit in unstarted:
            on_exit(None)

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        process.kill()
        process.wait()
