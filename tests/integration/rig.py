"""Real engines for the integration tests: processes, run directories and diaries of their own."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from engine.cli.ask import summary_at
from engine.net.control_socket import NobodyListens, ask
from tests.integration.forked_commands import ForkedCommands, ForkedProcess
from tests.waiting import PATIENCE_S, eventually

STRATEGIES = Path(__file__).parent / "strategies" / "diary.py"
# Of the local venue, where the market's pace does not matter: its own is a busy day's.
CALM = ("--venue", "local", "--venue-options", "--rate 100")
CAPTURES = Path(__file__).parents[1] / "data" / "kraken"
ANSWER_S_MAX = 5.0  # of a question to an engine, which may stand still

# A target of notices that nobody listens at: the figures about it are there all the same.
NOBODY_TOLD = '[[notices.target]]\nname = "nobody"\nkind = "webhook"\nurl = "http://127.0.0.1:9/hook"\n'

COMMANDS = ForkedCommands()
Process = ForkedProcess | subprocess.Popen[str]
ENGINE = (sys.executable, "-P", "-m", "engine")


def ask_engine(runtime: Path, socket_name: str, request: dict[str, Any], name: str = "default") -> dict[str, Any]:
    """What an engine, or its order router, answers to a request; empty while nobody
    listens.
    """
    try:
        return ask(runtime / "kraken-engine" / name / socket_name, request, ANSWER_S_MAX)
    except NobodyListens:
        return {}


class Diary:
    """What a strategy of tests/integration/strategies wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # What has been read of it, and up to which byte: always the end of a line.
        self._entries: list[dict[str, Any]] = []
        self._read_bytes = 0

    def entries(self, *kinds: str) -> list[dict[str, Any]]:
        """Entries of these kinds, in order; all of them when none is named."""
        self._read_on()
        return [entry for entry in self._entries if not kinds or entry["what"] in kinds]

    def _read_on(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read_bytes)
            whole_lines, newline, _ = file.read().rpartition(b"\n")
        self._entries += map(json.loads, whole_lines.splitlines())
        self._read_bytes += len(whole_lines) + len(newline)

    def states(self, symbol: str) -> list[str]:
        """The states of a pair, in order."""
        return [entry["state"] for entry in self.entries("state") if entry["symbol"] == symbol]


def json_lines(log: str) -> list[dict[str, Any]]:
    """The JSON lines of a log. Whoever reads while a line is written sees the part of it that fills up a page of the
    file, so what no newline ends is left out.
    """
    whole_lines, _, _ = log.rpartition("\n")
    return [json.loads(line) for line in whole_lines.splitlines() if line.startswith("{")]


def age_ns(entry: dict[str, Any]) -> int:
    """How long ago a puppet wrote this."""
    return time.monotonic_ns() - int(entry["at_ns"])


class Engines:
    """Starts engines in a folder of a test, and stops them at its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # A path of its own: one in the test's folder would be too long for the sockets in it.
        self.runtime = Path(tempfile.mkdtemp(prefix="engine-"))
        self._processes: list[Process] = []

    @property
    def environment(self) -> dict[str, str]:
        """The run directory is the test's own: engines of other tests are not seen."""
        return os.environ | {"XDG_RUNTIME_DIR": str(self.runtime), "XDG_STATE_HOME": str(self.folder / "state")}

    def call(self, *arguments: object, lines: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `engine …` to its end, with these lines as its input, and more in its environment."""
        return COMMANDS.call(
            [str(each) for each in arguments],
            folder=self.folder, environment=self.environment | environment, lines=lines,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        """The summary so far of the engine named default; empty while it does not answer."""
        try:
            return summary_at(self.runtime / "kraken-engine" / "default" / "control")
        except NobodyListens:
            return {}

    def start(self, *arguments: object, **options: Any) -> "RunningEngine":
        """Start `engine run …`."""
        return RunningEngine(self, self.spawn("run", *arguments, **options))

    def spawn(self, *arguments: object, **options: Any) -> ForkedProcess:
        """Start `engine …` (see `ForkedCommands.start`); it is killed at the end of the test if it
        still runs.
        """
        log = (self.folder / f"log-{len(self._processes)}.txt").open("w")
        with log:
            process = COMMANDS.start(
                [str(each) for each in arguments],
                **{"cwd": self.folder, "stdout": log, "stderr": log, "env": self.environment} | options,
            )
        self._processes.append(process)
        return process

    def adopt(self, process: subprocess.Popen[str]) -> None:
        """Have a process that a test has started itself killed at its end, too."""
        self._processes.append(process)

    def logs(self) -> str:
        """What every engine of this test has logged."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("log-*.txt")))

    def venue(self, *arguments: object) -> tuple[ForkedProcess, str]:
        """Start `engine venue …` on a free port; its process and URL."""
        process = self.spawn("venue", "--port", 0, *arguments, stdout=subprocess.PIPE)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())["public"]

    def close(self) -> None:
        """Kill what still runs, and what a killed engine has left behind: its order router
        outlives it, and would write its history into a folder that is gone.
        """
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        left = [child for each in self._processes if isinstance(each, ForkedProcess) for child in each.left_behind]
        for child in left:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        psutil.wait_procs(left)
        shutil.rmtree(self.runtime, ignore_errors=True)


class RunningEngine:
    """An engine that was started, and what can be asked of it."""

    def __init__(self, engines: Engines, process: Process) -> None:
        self.engines = engines
        self.process = process

    def status(self) -> dict[str, Any]:
        """The summary so far; empty while the engine does not answer yet."""
        return self.engines.status()

    def wait_for(self, condition: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """The first status for which `condition` holds."""
        found: dict[str, Any] = eventually(lambda: (s := self.status()) and condition(s) and s, what)
        return found

    def wait_until_live(self) -> dict[str, Any]:
        """Wait until every pair's book is live."""
        return self.wait_for(
            lambda status: all(pair["state"] == "live" for pair in status["symbols"].values()), "every book is live"
        )

    def children(self) -> list[psutil.Process]:
        """Its child processes."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def feed_pids(self) -> list[int]:
        """Pids of its public feeds."""
        return [pid for name, pid in self.status()["processes"].items() if pid and name.startswith("public_feed")]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def summary_of(path: Path) -> dict[str, Any]:
    """A file of --summary."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def segments_of(pid: int) -> list[str]:
    """The shared segments that a process has mapped."""
    return [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "memfd:" in line]


def forms(secret: str) -> list[bytes]:
    """A secret as it could be met: as text, in a URL, in JSON, decoded."""
    raw = base64.b64decode(secret + "=" * (-len(secret) % 4))
    texts = (secret, quote(secret, safe=""), secret.replace("/", "\\/"), raw.hex())
    return [raw, *(text.encode() for text in texts)]


def places_of(process: psutil.Process) -> Iterator[tuple[str, bytes]]:
    """What others can read of a process: its command line, its environment, and the memory
    that it shares.
    """
    proc = Path("/proc") / str(process.pid)
    for name in ("cmdline", "environ", "comm"):
        with suppress(OSError):
            yield f"{process.pid} {name}", (proc / name).read_bytes()
    with suppress(OSError):
        for link in (proc / "fd").iterdir():
            with suppress(OSError):
                target = os.readlink(link)
                # The engine's process keeps the key of its environment for the router's
                # next life, sealed.
                if "memfd:" in target and "credentials" not in target:
                    yield f"{process.pid} {target}", link.read_bytes()
