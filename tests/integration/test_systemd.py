"""An engine that is started as systemd does it: what it says on the socket that it is given."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.rig import CALM, Engines, RunningEngine
from tests.waiting import eventually

LOCK_HOLDER = Path(__file__).parent / "strategies" / "lockholder.py"


class Listener:
    """A socket as systemd gives it, and every line that came, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with self._socket:
            while told := self._socket.recv(4096):
                self.lines += told.decode().split("\n")

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()


@pytest.fixture
def systemd(engines: Engines) -> Iterator[Listener]:
    """Who listens."""
    listener = Listener(engines.runtime / "notify")  # a short path
    yield listener
    listener.close()


def start(engines: Engines, systemd: Listener, *options: object, watchdog_s: float = 0.4) -> RunningEngine:
    """`engine run` with the environment of a service of Type=notify."""
    told = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": str(int(watchdog_s * 1e6))}
    return RunningEngine(engines, engines.spawn("run", *CALM, *options, env=engines.environment | told))


def test_a_service_is_ready_when_it_trades_and_says_that_it_stops(engines: Engines, systemd: Listener) -> None:
    """READY when strategies run and the market is followed; a status for people; STOPPING before the end."""
    engine = start(engines, systemd)
    eventually(lambda: "READY=1" in systemd.lines, "it is ready")
    assert engine.status()["trading"]["is_open"]
    eventually(lambda: "STATUS=trading: ACTIVE" in systemd.lines, "it says what it does")
    engines.call("halt")
    eventually(lambda: any(line.startswith("STATUS=trading: HALTED, ") for line in systemd.lines), "that is told")

    assert engine.stop() == 0
    assert systemd.lines.count("READY=1") == systemd.lines.count("STOPPING=1") == 1
    assert systemd.lines[0] in ("WATCHDOG=1", "STATUS=starting")


@pytest.mark.parametrize("how", ["lock", "thread"])
def test_only_a_supervisor_that_can_act_says_that_it_lives(
    engines: Engines, systemd: Listener, tmp_path: Path, how: str
) -> None:
    """While a library keeps the interpreter's lock, no signal gets through, and no sign of life comes out, so systemd
    ends the process. A strategy that hangs in its own thread is the engine's own affair: the signs go on.
    """
    config, until = tmp_path / "engine.toml", tmp_path / "until"
    config.write_text(
        f'[[strategy]]\ntarget = "{LOCK_HOLDER}:LockHolder"\n'
        f'params = {{ address = "{systemd.path}", how = "{how}", until = "{until}" }}\n'
    )
    engine = start(engines, systemd, config)

    def signs() -> int:
        """Of life, between the strategy's two words."""
        after = systemd.lines[systemd.lines.index("begin") :] if "begin" in systemd.lines else []
        return (after[: after.index("end")] if "end" in after else after).count("WATCHDOG=1")

    if how == "thread":
        eventually(lambda: signs() >= 5, "signs of life, though its strategy hangs")
        until.touch()
    eventually(lambda: "end" in systemd.lines, "the strategy is back")
    assert signs() >= 5 if how == "thread" else signs() <= 1  # one may be under way when the lock is taken
    assert engine.stop() == 0
