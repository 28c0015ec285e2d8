"""`python -m engine …`, started by an engine that a test has forked, without its imports.

An engine starts its fork server and its venue as programs, and each would import what that
engine, like all that `fork_server` forks, has imported already: half of what a short test
costs. So it is given a child for each before it begins, which waits to be told what it is:
with which arguments, environment, streams and descriptors. Then it runs the same `main`.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TextIO

from setproctitle import setproctitle

from engine.cli.actor import main as run_actor
from engine.cli.main import main as run_command
from engine.telemetry.log import end_log
from tests.integration.forked_commands import MESSAGE_BYTES_MAX, ForkedProcess

OURS = (sys.executable, "-P", "-m", "engine")
DESCRIPTORS_MAX = 253

new_program = subprocess.Popen


class ForkedProgram(ForkedProcess):
    """A child that has become a program: what the engine uses of subprocess.Popen."""

    def __init__(self, pid: int, outputs: Mapping[str, TextIO]) -> None:
        """`outputs`: the other ends of its pipes, by the names that Popen has for them."""
        super().__init__(pid, os.pidfd_open(pid), outputs.get("stdout"))
        self.stderr = outputs.get("stderr")

    def _status(self) -> int:
        return os.waitpid(self.pid, 0)[1]


class WaitingChildren:
    """Children of an engine that wait to become programs."""

    def __init__(self) -> None:
        # By the first argument of the program: the pid, and where it is told.
        self._waiting: dict[str, tuple[int, socket.socket]] = {}

    def prepare(self, arguments: Sequence[str]) -> Callable[[], NoReturn] | None:
        """Before the engine begins with these arguments: fork what it will start. Returns in
        each child, once that is told to become a program, with its main; None in the engine.
        """
        wanted = ["actor"] if arguments[0] in ("run", "watch") else []
        if "local" in arguments:
            wanted.insert(0, "venue")
        for program in wanted:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            pid = os.fork()
            if pid == 0:
                for _, other in self._waiting.values():
                    other.close()
                ours.close()
                return _become_told(theirs)
            theirs.close()
            self._waiting[program] = pid, ours
        return None

    def start(self, command: Sequence[str], **options: Any) -> ForkedProgram | subprocess.Popen[Any]:
        """What stands in for subprocess.Popen in the engine."""
        program = command[len(OURS)] if tuple(command[: len(OURS)]) == OURS else ""
        if program not in self._waiting:
            return new_program(command, **options)
        pid, telling = self._waiting.pop(program)
        streams, outputs, ours = [], {}, []
        for name in ("stdin", "stdout", "stderr"):
            stream = options.get(name)
            if stream == subprocess.DEVNULL:
                stream = os.open(os.devnull, os.O_RDWR)
                ours.append(stream)
            elif stream == subprocess.PIPE:
                output, stream = os.pipe()
                outputs[name] = os.fdopen(output)
                ours.append(stream)
            streams.append(stream)
        passed = list(options.get("pass_fds", ()))
        told = {
            "arguments": command[len(OURS) :], "environment": dict(os.environ), "has_group": "process_group" in options,
            "numbers": [number for number, stream in enumerate(streams) if stream is not None] + passed,
        }  # fmt: skip
        descriptors = [stream for stream in streams if stream is not None] + passed
        with telling:
            socket.send_fds(telling, [json.dumps(told).encode()], descriptors)
        for descriptor in ours:
            os.close(descriptor)
        return ForkedProgram(pid, outputs)


def _become_told(told_by: socket.socket) -> Callable[[], NoReturn]:
    message, descriptors, _, _ = socket.recv_fds(told_by, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX)
    if not message:  # the engine needed none, and has ended
        os._exit(0)
    told = json.loads(message)
    if told["has_group"]:
        os.setpgid(0, 0)
    take_descriptors(descriptors, told["numbers"])
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
    """Run a main and end, but that nothing is freed and no plugin's atexit handler is called:
    to free what the program that forks has imported would copy all of it first, which most
    of a short command is.
    """
    code: object
    try:
        code = program()
    except SystemExit as error:
        code = error.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    end_log()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if isinstance(code, str):
        os.write(2, f"{code}\n".encode())
    os._exit(code if isinstance(code, int) else int(code is not None))
