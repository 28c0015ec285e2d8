"""`engine …` as a process of its own that does not have to import the engine: forked off one that has.

Importing is half of what a short command costs. The program at the end of this file imports once
and forks for each request; the child is a process like any other, with the arguments, directory,
environment and output files of the request, and runs the same `main` as the command line does.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.waiting import PATIENCE_S

_PROGRAM = (sys.executable, "-P", str(Path(__file__).with_name("fork_server.py")))


class ForkedCommands:
    """Starts its program with the first command; `close` ends it."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def call(
        self, arguments: Sequence[str], *, folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `engine …` to its end, which SIGALRM brings about after PATIENCE_S."""
        if self._server is None:
            self._server = subprocess.Popen(_PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        output, errors = folder / "command.out", folder / "command.err"
        request = {
            "arguments": list(arguments), "folder": str(folder), "environment": dict(environment),
            "output": str(output), "errors": str(errors), "seconds_max": int(PATIENCE_S),
        }  # fmt: skip
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        code = os.waitstatus_to_exitcode(int(self._server.stdout.readline()))
        assert code != -signal.SIGALRM, f"engine {' '.join(arguments)} did not end: {errors.read_text()[-3000:]}"
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())

    def close(self) -> None:
        """End the program."""
        if self._server is not None:
            self._server.communicate("")
            self._server = None
