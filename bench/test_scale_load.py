"""Many strategies, many open orders, deep books, and what goes wrong with every pair of
Kraken: each beside less of the same, in the same run.

The default is a row of each; ENGINE_BENCH_SCALE=full measures them all.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rig import percentiles, trading_settings
from scale_rig import (
    FEED_SETTINGS,
    FORK_SERVER,
    IS_FULL,
    cpu_percent,
    engine_on,
    measured,
    memory_mb,
    symbols_of,
    venue_of,
)

from engine.config import STRATEGIES_MAX

KRAKENS = 1450
PER_S = 2_000
SECONDS = 6.0
TRADE_FREELY = ("--engine-latency-ms", "0-0", "--no-rate-counter", "--tier", "pro")
SHARED_MEMORY = ("market-", "board-")


def strategies_at(folder: Path, count: int, *, with_slow: bool) -> dict[str, Any]:
    """Percentiles of each of so many strategies on ten pairs, and the engine's processor
    time."""
    # One of the engine's sixty-four is the slow one.
    names = [f"quick{number:02}" for number in range(min(count, STRATEGIES_MAX - with_slow))]
    kinds = dict.fromkeys(names, "ScaleLatency") | ({"slow": "Busy"} if with_slow else {})
    symbols = symbols_of(10)
    with venue_of(10, 1_000) as venue, engine_on(folder, venue.url, symbols, kinds) as it:
        it.until("all books live", lambda: all(it.told(name) for name in names))
        time.sleep(2.0)
        for name in names:
            (folder / f"{name}.begin").touch()
        cpu = cpu_percent(it.processes(), SECONDS)
        for name in names:
            (folder / f"{name}.end").touch()
        time.sleep(0.5)
    each = {name: percentiles(it.told(name)["took_us"]) for name in names}
    gaps = sum(it.summary["strategies"][name]["gaps"] for name in names)
    return {"each": list(each.values()), "cpu": cpu["engine"], "gaps": gaps}


@pytest.mark.parametrize("with_slow", [False, True], ids=["alone", "slow"])
@pytest.mark.parametrize("count", [1, 8, 32, 64] if IS_FULL else [64])
def test_many_strategies(benchmark: Any, tmp_path: Path, count: int, with_slow: bool) -> None:
    """The last of them beside the second, and all beside one (without a slow one) or beside
    themselves alone (with one)."""
    few = strategies_at(tmp_path / "few", count if with_slow else 1, with_slow=False)
    many = benchmark.pedantic(strategies_at, args=(tmp_path / "many", count), kwargs={"with_slow": with_slow}, rounds=1)

    p50s, p99s = ([each[name] for each in many["each"]] for name in ("p50", "p99"))
    few_p99 = max(each["p99"] for each in few["each"])
    benchmark.extra_info.update(
        first_p50_us=p50s[0],
        last_p50_us=p50s[-1],
        worst_p99_us=max(p99s),
        few_worst_p99_us=few_p99,
        ratio=round(max(p99s) / few_p99, 2),
        last_of_second=round(p50s[-1] / p50s[min(1, len(p50s) - 1)], 2),
        engine_cpu_percent=many["cpu"],
        few_engine_cpu_percent=few["cpu"],
        gaps=many["gaps"],
    )


def orders_at(folder: Path, orders: int, pairs: int) -> dict[str, Any]:
    """So many open orders over so many pairs, of which one of each pair is amended a
    second."""
    folder.mkdir(exist_ok=True)
    symbols = symbols_of(20)[:pairs]
    with venue_of(20, 500, *TRADE_FREELY, "--symbols", ",".join(symbols)) as venue:
        settings, key = trading_settings(venue.ready)
        kind = "OpenOrders" if orders > 10 else "FewOpenOrders"
        with engine_on(folder, venue.url, symbols, {"maker": kind}, settings, key) as it:
            it.until("all orders open", lambda: it.open_orders() >= orders)
            time.sleep(1.0)
            processes = it.processes()
            cpu = cpu_percent(processes, 2 * SECONDS)
            memory = memory_mb(processes)
    told = it.told("maker")
    took = percentiles(told["took_us"])
    return {"took": took, "cpu": cpu, "memory": memory, "open": told["open"]}


@pytest.mark.parametrize("pairs", [20, 1])
def test_many_open_orders(benchmark: Any, tmp_path: Path, pairs: int) -> None:
    """An amend, from the call to the word of its end, and the router's processor time,
    with 200 orders open and with ten."""
    few = orders_at(tmp_path / "few", 10, pairs)
    many = benchmark.pedantic(orders_at, args=(tmp_path / "many", 200, pairs), rounds=1)

    benchmark.extra_info.update(
        amend_p50_us=many["took"]["p50"],
        amend_p99_us=many["took"]["p99"],
        few_amend_p50_us=few["took"]["p50"],
        ratio=round(many["took"]["p50"] / few["took"]["p50"], 2),
        router_cpu_percent=many["cpu"]["order_router"],
        few_router_cpu_percent=few["cpu"]["order_router"],
        router_mb=many["memory"]["order_router"],
        trading_mb=round(sum(many["memory"][name] for name in ("order_router", "private_feed", FORK_SERVER)), 1),
    )


@pytest.mark.parametrize("levels", [100, 1000] if IS_FULL else [1000])
def test_publish_levels(benchmark: Any, tmp_path: Path, levels: int) -> None:
    """Books of a thousand levels, of which strategies see so many, beside ten of them."""
    deep = "depth = 1000\nring_slots = 8192\npublish_levels = "
    few = measured(tmp_path / "few", 10, PER_S, settings=f"{deep}10\n")
    many = benchmark.pedantic(
        measured, args=(tmp_path / "many", 10, PER_S), kwargs={"settings": f"{deep}{levels}\n"}, rounds=1
    )

    benchmark.extra_info.update(
        feed_cpu_percent=many["cpu"]["feed"],
        few_feed_cpu_percent=few["cpu"]["feed"],
        ratio=round(many["cpu"]["feed"] / max(few["cpu"]["feed"], 0.1), 2),
        p50_us=many["wire"]["p50"],
        few_p50_us=few["wire"]["p50"],
        all_live_ms=many["all_live_ms"],
    )


def test_recovery(benchmark: Any, tmp_path: Path) -> None:
    """Every pair of Kraken at 2,000 messages/s: its feed is killed, then its connection
    cut; until all books are live again, beside the start."""
    symbols = symbols_of(KRAKENS)

    def run() -> dict[str, float]:
        with (
            venue_of(KRAKENS, PER_S, "--fault", "cut@45") as venue,
            engine_on(tmp_path, venue.url, symbols, {"lively": "ScaleLatency"}, FEED_SETTINGS) as it,
        ):
            start_ms = it.until("all books live", lambda: it.told("lively").get("all_live_ms"))
            killed = time.monotonic_ns()
            os.kill(it.processes()["public_feed-0"].pid, signal.SIGKILL)
            it.until("live after a kill", lambda: it.told("lively")["recovered"])
            it.until("live after a cut", lambda: len(it.told("lively")["recovered"]) > 1)
            feed = psutil.Process(it.status()["processes"]["public_feed-0"])
            assert feed.is_running()
        told = it.told("lively")
        (after_kill, after_cut), (_, doubted) = told["recovered"][:2], told["doubts"][:2]
        return {
            "start_ms": round(start_ms),
            "kill_to_live_ms": round((after_kill - killed) / 1e6),
            "cut_to_live_ms": round((after_cut - doubted) / 1e6),
        }

    found = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info.update(found, ratio=round(found["kill_to_live_ms"] / found["start_ms"], 2))
