"""The secret of a key file is in the order router's memory, and nowhere else."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.integration.rig import Engines, eventually, forms, places_of
from tests.integration.trading_rig import TradingEngine, TradingVenue

CHUNK = 1 << 20
COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("orders",),
    ("orders", "--json"),
    ("orders", "--since", "1h", "--json"),
    ("balances",),
    ("cancel", "--all"),
    ("cancel", "nobody"),
    ("halt",),
    ("resume",),
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[TradingEngine]:
    """An engine that says as much as it can, and whose venue troubles it."""
    engines = Engines(tmp_path)
    venue = TradingVenue(engines, "--no-rate-counter")
    engine = TradingEngine(venue, tmp_path / "engine", level="debug", key_file=True, is_new=True).start()
    yield engine
    engine.close()
    engines.close()


def memory_of(pid: int) -> Iterator[tuple[str, bytes]]:
    """All that a process has in its memory, piece by piece, with some overlap."""
    maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            addresses, rights, _, _, _, *name = line.split(maxsplit=5)
            if "r" not in rights or "w" not in rights:
                continue
            first, last = (int(text, 16) for text in addresses.split("-"))
            for start in range(first, last, CHUNK):
                with suppress(OSError, ValueError, OverflowError):
                    memory.seek(start)
                    yield f"{pid} {' '.join(name) or 'memory'}", memory.read(min(CHUNK + 256, last - start))


def test_after_deaths_faults_and_every_command_the_secret_is_nowhere_else(engine: TradingEngine) -> None:
    """Output, logs, journal, history, summary, rings, command lines, environments, and other processes' memory."""
    venue, relay = engine.venue, engine.relay
    assert relay is not None
    needles = forms(engine.key["api_secret"])
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    os.kill(engine.pid("order_router"), signal.SIGKILL)
    eventually(lambda: engine.status()["restarts"]["order_router"] == 1 and engine.is_open(), "the router is back")
    venue.kill_tokens()
    venue.fault("html-520", count=3)
    venue.fault("drop-answer", "add_order")
    relay.cut()
    eventually(engine.is_open, "orders are taken again")
    engine.wish("order", name="b", order_type="market", qty="0.002")
    engine.wait_for_state("b", "FILLED", "REFUSED", "REJECTED")
    said = "".join(done.stdout + done.stderr for done in (engine.engines.call(*command) for command in COMMANDS))
    router = engine.pid("order_router")
    family = [psutil.Process(engine.process.pid), *psutil.Process(engine.process.pid).children(recursive=True)]
    leaks = [
        place for process in family for place, text in places_of(process) if any(needle in text for needle in needles)
    ]
    in_memory = {
        (process.pid, place)
        for process in family
        for place, text in memory_of(process.pid)
        if any(needle in text for needle in needles)
    }
    engine.stop()
    leaks += [
        str(path.relative_to(engine.folder))
        for path in engine.folder.rglob("*")
        if path.is_file() and path != engine.key_path and any(needle in path.read_bytes() for needle in needles)
    ]

    assert engine.key["api_secret"] not in said
    assert leaks == []
    assert {pid for pid, _ in in_memory} == {router}, in_memory  # so the needles are found where they are
    assert (engine.state_dir / "history.sqlite").exists()
