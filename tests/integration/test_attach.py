"""Another process that attaches to a running engine sees what `engine status` shows, and can change nothing."""

import asyncio
import mmap
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import convert

from engine.attach.attachment import Attachment
from engine.attach.engine import AttachedEngine
from engine.errors import ConfigError, EngineError
from engine.net.control_socket import ask_shared, serve_control
from engine.processes.run_view import RunMap
from engine.supervisor.run_directory import RunDirectory
from tests.integration.rig import CALM, Engines
from tests.waiting import eventually

QUOTER = Path(__file__).parents[2] / "engine" / "strategy" / "examples" / "quoter.py"
# What goes up and down, and what is measured anew at each look.
LEVELS = {
    "best_bid", "best_ask", "lag", "busy_s_per_s", "rate", "silent_s", "unrealized", "open_orders", "open", "own_open",
    "parked", "unknown_open", "ping_rtt_us", "p50", "p99", "p999", "mean", "age_s", "qty", "avg_price", "realized",
    "heartbeat_ns", "rest_failed_percent", "quality", "share_percent", "divergence_percent", "trades_missed",
}  # fmt: skip


@pytest.fixture
def control(engines: Engines, monkeypatch: pytest.MonkeyPatch):
    """The control socket of the engine that a test starts."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(engines.runtime))
    return RunDirectory("default").control_path


def leaves(summary: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value of a summary, and the keys that lead to it."""
    if isinstance(summary, dict):
        for key, inner in summary.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, summary


def test_an_engine_that_cannot_answer_says_why(tmp_path: Path):
    """For want of a descriptor, say: it is of this version all the same."""

    def status(_: object) -> dict[str, Any]:
        raise EngineError("no descriptor is free")

    async def scenario() -> None:
        server = await serve_control(tmp_path / "control", {"status": status})
        try:
            await asyncio.to_thread(AttachedEngine.open, tmp_path / "control")
        finally:
            server.close()

    with pytest.raises(ConfigError, match="no descriptor is free"):
        asyncio.run(scenario())


def test_it_sees_what_status_shows(engines: Engines, control):
    """Every key, and every count between what status says before and after."""
    engine = engines.start(*CALM, "--symbols", "BTC/USD,ETH/USD", "--strategy", QUOTER)
    engine.wait_for(lambda s: s["fills"] and s["strategies"]["Quoter"]["callbacks"] > 50, "it quotes and is filled")
    attached = AttachedEngine.open(control)
    # The counters of the strategies are written twenty times a second.
    before = engine.status()
    seen = eventually(
        lambda: (
            (s := attached.summary())["strategies"]["Quoter"]["callbacks"]
            >= before["strategies"]["Quoter"]["callbacks"]
            and s["strategy_host"]["rescues"] >= before["strategy_host"]["rescues"]
            and s
        ),
        "its counters have been written since",
    )
    after = engine.status()

    old, now, new = dict(leaves(before)), dict(leaves(seen)), dict(leaves(after))
    assert now.keys() == new.keys()
    differing = {
        path: (old[path], now[path], new[path])
        for path in now
        if path in old
        and not set(path) & LEVELS
        and not (
            old[path] <= now[path] <= new[path]
            if isinstance(now[path], int | float) and not isinstance(now[path], bool)
            else now[path] in (old[path], new[path])
        )
    }
    assert differing == {}
    attached.close()
    assert engine.stop() == 0, engines.logs()


def test_what_is_handed_over_cannot_be_written(engines: Engines, control):
    """Not one of the descriptors gives more than reading."""
    engine = engines.start(*CALM)
    engine.wait_until_live()
    answer, descriptors = ask_shared(control, {"command": "status"})

    assert len(descriptors) == len(convert(answer["map"], RunMap).descriptors) > 20
    for fd in descriptors:
        with pytest.raises(PermissionError):
            mmap.mmap(fd, 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(fd, b"x", 0)
        os.close(fd)


def test_it_sees_deaths_and_the_end(engines: Engines, control):
    """A killed feed's successor is counted on; after the engine's end there is nothing, then the next engine."""
    attachment = Attachment(control)
    assert attachment.engine() is None

    engine = engines.start(*CALM)
    status = engine.wait_until_live()
    attached = attachment.engine()
    assert attached is not None
    updates = status["symbols"]["BTC/USD"]["updates"]
    os.kill(status["processes"]["public_feed-0"], signal.SIGKILL)
    seen = eventually(
        lambda: (
            (s := attached.summary())["restarts"]["public_feed-0"]
            and s["processes"]["public_feed-0"] not in (None, status["processes"]["public_feed-0"])
            and s["symbols"]["BTC/USD"]["state"] == "live"
            and s["symbols"]["BTC/USD"]["updates"] > updates
            and s
        ),
        "its successor is seen",
    )
    assert seen["exit"] == "running"
    assert engine.stop() == 0, engines.logs()
    assert not attached.is_alive
    assert attached.summary()["exit"] == "ended"
    assert attachment.engine() is None

    engines.start(*CALM).wait_until_live()
    again = attachment.engine()
    assert again is not None
    assert again.identity.pid != attached.identity.pid
    attachment.close()
