"""An engine on a venue of many pairs, seen from outside: processor time and memory of each
process, when its books are live, and what its strategies saw.

    engine venue --pairs N ──► engine run ──► strategies of bench/strategies.py
                                   └───────── /proc, `engine status`
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from rig import ENGINE, STRATEGIES, Venue, percentiles

from engine.cli.ask import summary_at
from engine.net.control_socket import NobodyListens
from engine.venue.market.listing import listing

SEED = 7
SNAPSHOTS_APART = "0-30"  # ms: as from Kraken's edge
FREE = ("--requests-per-s", 1e6, "--requests-burst", 10**6)
NAME = "scale"
FORK_SERVER = "fork_server"
PATIENCE_S = 90.0
LOOK_S = 0.02
FEED_SETTINGS = "[feed]\ntrades = false\ntickers = false\ncandle_intervals_min = []\n"
# Full: every combination of the matrix; without it, those that have a target.
IS_FULL = os.environ.get("ENGINE_BENCH_SCALE", "") == "full"


def symbols_of(pairs: int) -> tuple[str, ...]:
    """The pairs of a venue of so many."""
    return tuple(pair.symbol for pair in listing(pairs, SEED))


def venue_of(pairs: int, per_s: float, *options: object) -> Venue:
    """A venue of so many pairs that sends so many book updates a second."""
    return Venue("--pairs", pairs, "--seed", SEED, "--rate", per_s, "--snapshot-delay-ms", SNAPSHOTS_APART, *FREE,
                 *options)  # fmt: skip


class RunningEngine:
    """An `engine run` process, and what it writes into a folder."""

    def __init__(self, folder: Path, process: "subprocess.Popen[bytes]") -> None:
        self._folder = folder
        self.process = process
        self._control = folder / "kraken-engine" / NAME / "control"
        self.summary: dict[str, Any] = {}  # once it has ended

    def status(self) -> dict[str, Any]:
        """What `engine status --json` prints."""
        return summary_at(self._control)

    def open_orders(self) -> int:
        """How many orders its router knows of; 0 while it starts."""
        try:
            return int(self.status()["trading"].get("open_orders", 0))
        except NobodyListens:
            return 0

    def status_ms(self, times: int, pause_s: float = 0.2) -> list[float]:
        """How long the engine takes for each of several answers."""
        took = []
        for _ in range(times):
            began = time.perf_counter()
            self.status()
            took.append((time.perf_counter() - began) * 1e3)
            time.sleep(pause_s)
        return took

    def processes(self) -> dict[str, psutil.Process]:
        """The engine's own process and its children, by name."""
        children = {name: pid for name, pid in self.status()["processes"].items() if pid}
        (fork_server,) = {psutil.Process(pid).ppid() for pid in children.values()}
        own = {"engine": self.process.pid, FORK_SERVER: fork_server}
        return {name: psutil.Process(pid) for name, pid in (own | children).items()}

    def told(self, name: str) -> dict[str, Any]:
        """What a strategy has written; empty before it has."""
        path = self._folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Wait for a condition; returns what it was."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := condition():
                return found
            assert self.process.poll() is None, "the engine ended"
            time.sleep(LOOK_S)
        raise AssertionError(f"not within {PATIENCE_S:g} s: {what}")


@contextmanager
def engine_on(
    folder: Path,
    url: str,
    symbols: Sequence[str],
    strategies: Mapping[str, str],
    settings: str = FEED_SETTINGS,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningEngine]:
    """An engine with these strategies, by name; ended with SIGTERM, its summary read."""
    folder.mkdir(exist_ok=True)
    config, out = folder / "engine.toml", folder / "summary.json"
    tables = [
        f'[[strategy]]\ntarget = "{STRATEGIES}:{kind}"\nname = "{name}"\nparams = {{ out = "{folder / name}.json" }}\n'
        for name, kind in strategies.items()
    ]
    config.write_text(
        f'name = {json.dumps(NAME)}\nsymbols = {json.dumps(symbols)}\n{settings}\n[log]\nlevel = "error"\n'
        + "".join(tables)
    )
    command = [str(part) for part in (*ENGINE, "run", config, "--venue", url, "--summary", out)]
    own = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}
    process = subprocess.Popen(command, env=os.environ | own | dict(environment or {}))
    engine = RunningEngine(folder, process)
    try:
        yield engine
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        if out.exists():
            engine.summary = json.loads(out.read_text())


def cpu_percent(processes: Mapping[str, psutil.Process], seconds: float) -> dict[str, float]:
    """Per cent of a core of each process over the next seconds."""
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    began = time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began
    return {
        name: round((sum(process.cpu_times()[:2]) - before[name]) / took_s * 100, 1)
        for name, process in processes.items()
    }


def memory_mb(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    """Memory of each process alone, without what it shares with the others: unique pages. What
    all that were forked share is the fork server's.
    """
    found = {name: process.memory_full_info() for name, process in processes.items()}
    return {name: round((each.rss if name == FORK_SERVER else each.uss) / 1e6, 1) for name, each in found.items()}


def by_room(figures: Mapping[str, float]) -> dict[str, float]:
    """The sums of all feeds, and the others by name."""
    sums: dict[str, float] = {}
    for name, figure in figures.items():
        room = "feed" if name.startswith("public_feed") else name
        sums[room] = round(sums.get(room, 0.0) + figure, 1)
    return sums


def measured(
    folder: Path, pairs: int, per_s: float, *, shards: int = 1, seconds: float = 6.0, rest_s: float = 3.0,
    settings: str = "", status_times: int = 5,
) -> dict[str, Any]:  # fmt: skip
    """One engine that follows all of `pairs`: its figures while nothing but books happens."""
    feed = FEED_SETTINGS + f"shards = {shards}\n" + settings
    symbols = symbols_of(pairs)
    with venue_of(pairs, per_s) as venue, engine_on(folder, venue.url, symbols, {"lively": "ScaleLatency"}, feed) as it:
        live = it.until("all books live", lambda: it.told("lively").get("all_live_ms"))
        time.sleep(rest_s)
        processes = it.processes()
        (folder / "lively.begin").touch()
        cpu = cpu_percent({**processes, "venue": psutil.Process(venue.process.pid)}, seconds)
        (folder / "lively.end").touch()
        memory = memory_mb(processes)
        status = it.status_ms(status_times)
    told = it.told("lively")
    wire = percentiles(told["took_us"]) if told["took_us"] else {}
    assert all(pair["mismatches"] == 0 for pair in it.summary["symbols"].values())
    assert it.summary["exit"] == "clean", it.summary["exit"]
    return {
        "wire": wire,
        "cpu": by_room(cpu),
        "memory": by_room(memory),
        "all_live_ms": round(live),
        "status_ms": round(sorted(status)[len(status) // 2], 1),
        "start_wait_ms_max": round(told["start_wait_ms_max"], 1),
        "gaps": sum(ring["gaps"] for name, ring in it.summary["rings"].items() if name.startswith("market")),
        "per_s": round(wire.get("count", 0) / seconds),
    }
