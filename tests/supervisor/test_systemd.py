"""What systemd is told, over a real datagram socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.supervisor.systemd import Systemd
from tests.waiting import until


class Listener:
    """The other end: a bound socket, and the lines that came."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address)
        self.lines: list[str] = []

    def read(self) -> list[str]:
        """All lines so far."""
        try:
            while True:
                self.lines += self._socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return self.lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Listener]]:
    """Its address as systemd writes it, and who listens there."""
    path = str(tmp_path / "notify")
    abstract = f"kraken-engine-test-{os.getpid()}"
    listener = Listener(path if request.param == "path" else f"\0{abstract}")
    yield path if request.param == "path" else f"@{abstract}", listener
    listener.close()


def test_a_run_is_ready_lives_and_stops(heard: tuple[str, Listener]) -> None:
    """Each in its place: signs of life from the start, ready once, a status when it changes, the end once."""
    address, listener = heard
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "40000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"}

    async def run() -> None:
        systemd, has_begun, status, stopping = Systemd(environment), asyncio.Event(), ["starting"], []
        following = asyncio.ensure_future(systemd.follow(has_begun, lambda: bool(stopping), lambda: status[0]))
        await until(lambda: listener.read().count("WATCHDOG=1") >= 3)
        assert listener.lines[:2] == ["WATCHDOG=1", "STATUS=starting"]
        assert "READY=1" not in listener.lines
        has_begun.set()
        await until(lambda: "READY=1" in listener.read())
        status[0] = "two\nlines"
        await until(lambda: "STATUS=two lines" in listener.read())
        stopping.append(True)
        await until(lambda: "STOPPING=1" in listener.read())
        seen = listener.read().count("WATCHDOG=1")
        await until(lambda: listener.read().count("WATCHDOG=1") > seen + 2)  # the end has its own time
        systemd.tell_stopping()
        following.cancel()

    asyncio.run(run())
    assert {line: listener.read().count(line) for line in ("READY=1", "STATUS=starting", "STOPPING=1")} == {
        "READY=1": 1, "STATUS=starting": 1, "STOPPING=1": 1,
    }  # fmt: skip
    assert environment == {"HOME": "/"}  # no child and no strategy speaks for the engine


@pytest.mark.parametrize(
    ("environment", "deadline_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_served_when_it_is_ours(environment: dict[str, str], deadline_s: float | None) -> None:
    """By sd_watchdog_enabled(3)."""
    assert Systemd(dict(environment)).deadline_s == deadline_s


@pytest.mark.parametrize("address", ["", "vsock:2:1234", "relative/path", "/nowhere/at/all"])
def test_nobody_who_listens_is_no_trouble(address: str) -> None:
    """Without a socket, or with one that is none or is gone, a run goes on."""

    async def run() -> None:
        systemd = Systemd({"NOTIFY_SOCKET": address})
        following = asyncio.ensure_future(systemd.follow(asyncio.Event(), lambda: True, lambda: "x"))
        await asyncio.wait((following,), timeout=0)
        systemd.tell_stopping()
        following.cancel()

    asyncio.run(run())
