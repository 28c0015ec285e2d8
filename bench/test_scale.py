"""As many pairs as Kraken lists, at uneven rates: what it costs beside ten pairs at the same
rate, in the same run.

Targets: at 1,450 pairs and 2,000 messages/s one feed takes 8 % of a core at most and the
p99 from venue to strategy is at most thrice that of ten pairs; at 10,000/s in two shards
twice; idle, a feed takes 2 %.

The default is what has a target. ENGINE_BENCH_SCALE=full measures pairs × rates × shards,
some 40 s each. Venue and engine share the machine's cores.
"""

from pathlib import Path
from typing import Any

import pytest
from scale_rig import IS_FULL, measured

FEW = 10
KRAKENS = 1450
PAIRS = (FEW, 100, 1000, KRAKENS)
RATES = (500, 2_000, 10_000)
SHARDS = (1, 2, 4)
WITH_TARGET = ((KRAKENS, 2_000, 1), (KRAKENS, 10_000, 2))
ROWS = [(pairs, per_s, shards) for pairs in PAIRS for per_s in RATES for shards in SHARDS] if IS_FULL else WITH_TARGET


@pytest.mark.parametrize(("pairs", "per_s", "shards"), ROWS)
def test_many_pairs(benchmark: Any, tmp_path: Path, pairs: int, per_s: int, shards: int) -> None:
    """Latency, processor time, memory, start and status, beside ten pairs at that rate."""
    few = measured(tmp_path / "few", FEW, per_s, shards=shards)
    many = benchmark.pedantic(measured, args=(tmp_path / "many", pairs, per_s), kwargs={"shards": shards}, rounds=1)

    feed_mb = many["memory"]["feed"] - few["memory"]["feed"]
    benchmark.extra_info.update(
        {f"{name}_us": many["wire"][name] for name in ("p50", "p99", "p999")}
        | {f"few_{name}_us": few["wire"][name] for name in ("p50", "p99", "p999")},
        ratio=round(many["wire"]["p99"] / few["wire"]["p99"], 2),
        ratio_p50=round(many["wire"]["p50"] / few["wire"]["p50"], 2),
        feed_cpu_percent=many["cpu"]["feed"],
        ratio_feed_cpu=round(many["cpu"]["feed"] / few["cpu"]["feed"], 2),
        cpu=many["cpu"],
        few_cpu=few["cpu"],
        memory_mb=many["memory"],
        few_memory_mb=few["memory"],
        feed_kb_a_pair=round(feed_mb * 1e3 / max(1, pairs - FEW), 1),
        engine_kb_a_pair=round((many["memory"]["engine"] - few["memory"]["engine"]) * 1e3 / max(1, pairs - FEW), 1),
        all_live_ms=many["all_live_ms"],
        start_wait_ms_max=many["start_wait_ms_max"],
        status_ms=many["status_ms"],
        few_status_ms=few["status_ms"],
        gaps=many["gaps"],
        per_s=many["per_s"],
        few_per_s=few["per_s"],
    )


def test_idle(benchmark: Any, tmp_path: Path) -> None:
    """Every pair of Kraken followed while nothing happens but heartbeats."""
    few = measured(tmp_path / "few", FEW, 0)
    many = benchmark.pedantic(measured, args=(tmp_path / "many", KRAKENS, 0), rounds=1)

    benchmark.extra_info.update(
        feed_cpu_percent=many["cpu"]["feed"],
        few_feed_cpu_percent=few["cpu"]["feed"],
        engine_cpu_percent=many["cpu"]["engine"],
        few_engine_cpu_percent=few["cpu"]["engine"],
        ratio=round(many["cpu"]["feed"] / max(few["cpu"]["feed"], 0.1), 2),
        status_ms=many["status_ms"],
    )
