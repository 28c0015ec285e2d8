"""One slow strategy beside eight that do next to nothing: what it costs them that they
share a thread.

The same stream at 1,000 updates a second, twice: with eight strategies that note when each
book came, and with a ninth beside them that takes 1 ms a book, as much as there is. Target:
p50 and p99 of the eight within twice of what they are without it, and no gap of theirs.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from rig import ENGINE, STRATEGIES, percentiles
from test_latency import SETTINGS, PacedSender

PER_S = 1_000
SECONDS = 20.0
WARM_UP_SHARE = 0.5  # the sender tells no pair, so the first books are held back for five seconds and come at once
EIGHT = range(8)


def settled(took_us: list[float]) -> list[float]:
    """Without the first ones."""
    return took_us[int(len(took_us) * WARM_UP_SHARE) :]


def run(folder: Path, *, with_slow: bool) -> tuple[dict[str, float], dict[str, Any]]:
    """Percentiles of the eight, all their books together, and the summary's strategies."""
    folder.mkdir()
    config, out = folder / "engine.toml", folder / "summary.json"
    tables = [
        f'[[strategy]]\ntarget = "{STRATEGIES}:WireLatency"\nname = "quick{number}"\n'
        f'params = {{ out = "{folder / str(number)}" }}\n'
        for number in EIGHT
    ]
    if with_slow:
        # In the middle: somebody's turn comes before it, and somebody's behind it.
        tables.insert(4, f'[[strategy]]\ntarget = "{STRATEGIES}:Busy"\nname = "slow"\nparams = {{ out = "" }}\n')
    config.write_text(f'symbols = ["BTC/USD", "ETH/USD"]\n{SETTINGS}[log]\nlevel = "error"\n{"".join(tables)}')
    with PacedSender(PER_S) as sender:
        command = (*ENGINE, "run", config, "--venue", sender.url, "--seconds", SECONDS, "--summary", out)
        own = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}
        subprocess.run([str(part) for part in command], check=True, env=os.environ | own)
    took_us = [us for number in EIGHT for us in settled(json.loads((folder / str(number)).read_text())["took_us"])]
    return percentiles(took_us), json.loads(out.read_text())["strategies"]


def test_a_slow_strategy_beside_eight(benchmark: Any, tmp_path: Path) -> None:
    """p50 and p99 in µs with and without it, and who lost what."""
    alone, _ = run(tmp_path / "without", with_slow=False)
    beside, strategies = benchmark.pedantic(run, args=(tmp_path / "with",), kwargs={"with_slow": True}, rounds=1)
    slow = strategies.pop("slow")

    benchmark.extra_info.update(
        without_p50_us=alone["p50"],
        without_p99_us=alone["p99"],
        with_p50_us=beside["p50"],
        with_p99_us=beside["p99"],
        ratio=round(beside["p50"] / alone["p50"], 2),
        ratio_p99=round(beside["p99"] / alone["p99"], 2),
        gaps_of_the_eight=sum(each["gaps"] for each in strategies.values()),
        gaps_of_the_slow=slow["gaps"],
        slow_busy_s_per_s=slow["busy_s_per_s"],
        slow_callbacks=slow["callbacks"],
    )
