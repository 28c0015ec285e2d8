"""`engine …` as a process of its own that does not have to import the engine: forked off one that has.

Importing is half of what a short command costs, and a tenth of a second of every other. The program
of `fork_server` imports once and forks for each request; the child is a process like any other, with
the arguments, directory, environment and streams of the request, and runs the same `main` as the
command line does. What the kernel tells of its first environment is that of the program.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import psutil

from engine.readable import is_readable
from tests.waiting import PATIENCE_S

DESCRIPTORS = 4  # of a request: standard input, output and errors, and where its end is told
MESSAGE_BYTES_MAX = 200_000


class ForkedProcess:
    """A process that runs a command: what tests use of subprocess.Popen."""

    def __init__(self, pid: int, end: int, stdout: TextIO | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._end = end  # readable when it has ended
        # Its children when it was killed; they may outlive it.
        self.left_behind: list[psutil.Process] = []

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit code. Raises subprocess.TimeoutExpired."""
        code = self._look(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("engine", timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if number == signal.SIGKILL:
                    self.left_behind = psutil.Process(self.pid).children(recursive=True)
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _look(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and is_readable(self._end, timeout_s):
            self.returncode = os.waitstatus_to_exitcode(self._status())
            os.close(self._end)
        return self.returncode

    def _status(self) -> int:
        """How it ended, as waitpid(2) tells it."""
        status = os.read(self._end, 16)
        assert status, "the fork server has ended"
        return int(status)


class ForkedCommands:
    """Starts its program with the first command; `close` ends it."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._asking: socket.socket | None = None

    def start(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | TextIO = subprocess.DEVNULL,
        stdout: int | TextIO,
        stderr: int | TextIO = subprocess.DEVNULL,
        start_new_session: bool = False,
        has_terminal: bool = False,
        is_new: bool = False,
        wrapper: Sequence[str] = (),
        seconds_max: int = 0,
    ) -> ForkedProcess:
        """Start `engine …`, as subprocess.Popen would; SIGALRM ends it after `seconds_max`, when
        that is not 0. `is_new`: as a program of its own after all, and so with a `wrapper`,
        the command line of a program that becomes the rest of its own.
        """
        request: dict[str, Any] = {
            "arguments": list(arguments), "folder": str(cwd), "environment": dict(env), "is_new": is_new,
            "has_session": start_new_session, "has_terminal": has_terminal, "wrapper": list(wrapper),
            "seconds_max": seconds_max,
        }  # fmt: skip
        nothing = os.open(os.devnull, os.O_RDWR)
        end, end_of_child = os.pipe()
        ours = [nothing, end_of_child]
        reader = None
        if stdout == subprocess.PIPE:
            output, stdout = os.pipe()
            ours.append(stdout)
            reader = os.fdopen(output)
        try:
            streams = [_descriptor(stream, nothing) for stream in (stdin, stdout, stderr)]
            pid = self._ask(json.dumps(request).encode(), [*streams, end_of_child])
        finally:
            for descriptor in ours:
                os.close(descriptor)
        return ForkedProcess(pid, end, reader)

    def call(
        self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str], lines: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run `engine …` with these lines as its input to its end, which SIGALRM brings about
        after PATIENCE_S.
        """
        given, output, errors = folder / "command.in", folder / "command.out", folder / "command.err"
        given.write_text(lines)
        with given.open() as into, output.open("w") as out, errors.open("w") as err:
            process = self.start(
                arguments, cwd=folder, env=environment,
                stdin=into, stdout=out, stderr=err, seconds_max=int(PATIENCE_S),
            )  # fmt: skip
        code = process.wait()
        assert code != -signal.SIGALRM, f"engine {' '.join(arguments)} did not end: {errors.read_text()[-3000:]}"
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())

    def close(self) -> None:
        """End the program."""
        if self._server is not None and self._asking is not None:
            self._asking.close()
            self._server.wait()
            self._server = self._asking = None

    def _ask(self, message: bytes, descriptors: list[int]) -> int:
        """The pid of the child that the program forks for this message."""
        if self._asking is None:
            self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._server = subprocess.Popen(
                    (sys.executable, "-m", "tests.integration.fork_server", str(theirs.fileno())),
                    pass_fds=(theirs.fileno(),), cwd=Path(__file__).parents[2],
                )  # fmt: skip
        socket.send_fds(self._asking, [message], descriptors)
        return int(self._asking.recv(16))


def _descriptor(stream: int | TextIO, nothing: int) -> int:
    if not isinstance(stream, int):
        return stream.fileno()
    return nothing if stream == subprocess.DEVNULL else stream
