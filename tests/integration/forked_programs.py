"""`python -m engine …`, started by an engine that a test has forked, without its imports.

An engine starts its fork server and its venue as programs, and each would import what that
engine, like all that `fork_server` forks, has imported already: half of what a short test
costs. So it is given a child for each before it begins, which waits to be told what it is:
with which arguments, environment, streams and descriptors. Then it runs the same `main`.
"""

import atexit
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from setproctitle import setproctitle

from engine.cli.actor import main as run_actor
from engine.cli.main import main as run_command

OURS = (sys.executable, "-P", "-m", "engine")
MESSAGE_BYTES_MAX = 200_000
DESCRIPTORS_MAX = 253
NO_STREAM = -1  # the one of who starts it

_given = inspect.signature(subprocess.Popen._execute_child).bind  # type: ignore[attr-defined]


class ForkedProgram(subprocess.Popen[Any]):
    """subprocess.Popen, but that a program of ours is a child that waits to become one."""

    # For each program, its child's pid and where it is told.
    _waiting: dict[str, tuple[int, socket.socket]] = {}  # noqa: RUF012

    @classmethod
    def prepare(cls, arguments: Sequence[str]) -> Callable[[], NoReturn] | None:
        """Before the engine begins with these arguments: fork what it will start. Returns in
        each child, once that is told to become a program, with its main; None in the engine.
        """
        wanted = [*(["venue"] if "local" in arguments else []), "actor"] if arguments[0] == "run" else []
        for program in wanted:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
            if pid == 0:
                for _, other in cls._waiting.values():
                    other.close()
                ours.close()
                return _become_told(theirs)
            theirs.close()
            cls._waiting[program] = pid, ours
        return None

    def _execute_child(self, *arguments: Any) -> None:
        given = _given(self, *arguments).arguments
        command = tuple(given["args"])
        program = command[len(OURS)] if command[: len(OURS)] == OURS else ""
        if program not in self._waiting:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        pid, telling = self._waiting.pop(program)
        streams = [given[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        told = {
            "arguments": command[len(OURS) :], "environment": dict(os.environ), "streams": streams,
            "passed": given["pass_fds"], "has_group": given["process_group"] == 0,
        }  # fmt: skip
        descriptors = [*(each for each in streams if each != NO_STREAM), *given["pass_fds"]]
        with telling:
            socket.send_fds(telling, [json.dumps(told).encode()], descriptors)
        self.pid = pid
        self._child_created = True
        ends = [given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]


def _become_told(told_by: socket.socket) -> Callable[[], NoReturn]:
    message, descriptors, _, _ = socket.recv_fds(told_by, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX)
    if not message:  # the engine needed none, and has ended
        os._exit(0)
    told = json.loads(message)
    if told["has_group"]:
        os.setpgid(0, 0)
    numbers = [number for number, stream in enumerate(told["streams"]) if stream != NO_STREAM] + told["passed"]
    take_descriptors(descriptors, numbers)
    os.environ.clear()
    os.environ.update(told["environment"])
    return as_started(told["arguments"])


def take_descriptors(received: Sequence[int], numbers: Sequence[int]) -> None:
    """Give the descriptors their numbers, and close all others but the three streams."""
    high = [os.dup(each) for each in received]
    while any(each in numbers for each in high):
        high = [os.dup(each) for each in high]
    for number, descriptor in zip(numbers, high, strict=True):
        os.dup2(descriptor, number)
    kept = {0, 1, 2, *numbers}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in kept:
            with suppress(OSError):  # that of the listing itself
                os.close(number)


def as_started(arguments: list[str]) -> Callable[[], NoReturn]:
    """The main of a program that is started with these arguments and these streams."""
    # Python's own are those of the program that forks: whether they can seek, for one.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = ["engine", *arguments]
    setproctitle(" ".join((*OURS, *arguments)))
    if arguments[0] == "actor":
        return lambda: _run(lambda: run_actor(arguments[1:]))
    return lambda: _run(lambda: run_command(arguments))


def _run(program: Callable[[], int | None]) -> NoReturn:
    """Run a main and end as Python does, but that nothing is freed: to free what the program
    that forks has imported would copy all of it first, half of what a short command costs.
    """
    try:
        code: object = program()
    except SystemExit as error:
        code = error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if isinstance(code, str):
        os.write(2, f"{code}\n".encode())
    os._exit(code if isinstance(code, int) else int(code is not None))
