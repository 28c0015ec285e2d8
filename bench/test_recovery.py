"""How long: from start to the first verified book in a strategy, and from `kill -9` of a
feed to all books live.

Targets: a cold start within 2 s; all books verified within 2 s of a kill under 5,000
messages a second. The baseline is the bare start of a Python that imports nothing.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rig import ENGINE, STRATEGIES

SYMBOLS = ("BTC/USD", "ETH/USD")
LOOK_INTERVAL_S = 0.005
PATIENCE_S = 30.0


def wait_for(path: Path, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What the strategy wrote, once it meets the condition."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if path.exists() and condition(told := json.loads(path.read_text())):
            return told
        time.sleep(LOOK_INTERVAL_S)
    raise AssertionError("the engine did not get there")


def bare_python_ms() -> float:
    """What starting an interpreter costs."""
    began = time.perf_counter()
    subprocess.run((sys.executable, "-c", "pass"), check=True)
    return (time.perf_counter() - began) * 1000


def test_cold_start_and_recovery(benchmark: Any, tmp_path: Path) -> None:
    """One engine on the local venue: started, and its feed killed three times."""
    told_path = tmp_path / "told.json"
    command = (
        *ENGINE, "run", "--venue", "local", "--venue-options", "--rate 5000", "--symbols", ",".join(SYMBOLS),
        "--strategy", f"{STRATEGIES}:Recovery", "--param", f"out={told_path}", "--log-level", "error",
    )  # fmt: skip
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    baseline_ms = bare_python_ms()
    began_ns = time.monotonic_ns()
    engine = subprocess.Popen(command, env=environment)
    try:
        told = wait_for(told_path, lambda t: t["first_book_ns"] > 0)
        cold_start_ms = (told["first_book_ns"] - began_ns) / 1e6
        stale_ms, live_ms = [], []
        for _ in range(3):
            killed_ns, told = kill_a_feed(told_path, tmp_path)
            fresh = [(at_ns, state) for at_ns, _, state in told["changes"] if at_ns > killed_ns]
            stale_ms.append((min(at for at, state in fresh if state == "stale") - killed_ns) / 1e6)
            live_ms.append((max(at for at, state in fresh if state == "live") - killed_ns) / 1e6)
    finally:
        engine.send_signal(signal.SIGTERM)
        engine.wait()
    benchmark.pedantic(bare_python_ms, rounds=3)
    benchmark.extra_info.update(
        cold_start_ms=round(cold_start_ms),
        cold_start_ms_target=2000,
        kill_to_stale_ms=round(max(stale_ms), 1),
        kill_to_all_live_ms=round(max(live_ms)),
        kill_to_all_live_ms_target=2000,
        bare_python_ms=round(baseline_ms),
        ratio=round(cold_start_ms / baseline_ms, 1),
    )


def kill_a_feed(told_path: Path, folder: Path) -> tuple[int, dict[str, Any]]:
    """SIGKILL to the feed; when, and what the strategy wrote once every pair was live
    again.
    """
    status = subprocess.run(
        (*ENGINE, "status", "--json"),
        env=os.environ | {"XDG_RUNTIME_DIR": str(folder)},
        capture_output=True,
        check=True,
    )
    pid = json.loads(status.stdout)["processes"]["public_feed-0"]
    killed_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)

    def back(told: dict[str, Any]) -> bool:
        lively = {symbol for at_ns, symbol, state in told["changes"] if at_ns > killed_ns and state == "live"}
        return lively == set(SYMBOLS)

    return killed_ns, wait_for(told_path, back)
