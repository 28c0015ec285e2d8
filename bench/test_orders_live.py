"""Orders through the real processes: engine, public feed, order router, private feed,
against `engine venue`.

A relay between the venue and its client notes when each frame passes, so everything is seen
from outside too:

    to_wire   the strategy's call → the order's frame at the relay           (summary: strategy_to_wire)
    tick      a book update sent on → the order that it caused at the relay  (summary: tick_to_order)
    ack       the first word of an order sent on → on_order with its id
    fill      the row of a fill sent on → on_fill

The baseline, in the same run and through the same relay, is one process on picows that
decodes the same frames and sends the same orders: no book, risk, rate counter or journal.
Relay, venue and client share the machine's cores.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from bare_client import BareClient, Told, run, trade
from rig import Relay, Venue, percentiles, run_engine, trading_settings

from engine.kraken_rest.client import KrakenRest
from engine.timestamps import wall_ns

SYMBOL = "BTC/USD"
SECONDS = 10.0
BASELINE_SECONDS = 5.0
FREE = ("--tier", "pro", "--no-rate-counter", "--requests-per-s", 1e6, "--requests-burst", 10**6)
AT_ONCE = (*FREE, "--engine-latency-ms", "0-0")
WARM_UP_SHARE = 0.2
BASELINE_VOLLEYS = 3
PAUSE_S = 2.0
VOLLEYS_SECONDS = 14.0
VOLLEY = 1000  # the budget of orders a second is as large as can be set
VOLLEY_SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "DOGE/USD", "ETH/BTC", "EUR/USD", "VET/USDT")

Notes = Mapping[str, Mapping[str, int]]


def stretches_us(
    calls: Sequence[Sequence[Any]], working: Mapping[str, int], filled: Mapping[str, int], notes: Notes,
    books: Mapping[int, int],
) -> dict[str, list[float]]:  # fmt: skip
    """Microseconds of each stretch, in the order of the orders, the first ones left out."""
    settled = calls[int(len(calls) * WARM_UP_SHARE) :]
    keys = {key for key, _, _ in settled}
    orders, words = notes["orders"], notes["words"]
    found = {
        "to_wire": [orders[key] - began for key, began, _ in settled if key in orders],
        "tick": [orders[key] - books[tick] for key, _, tick in settled if key in orders and tick in books],
        "ack": [at - words[key] for key, at in working.items() if key in keys and key in words],
        "fill": [at - notes["fills"][exec_id] for exec_id, at in filled.items() if exec_id in notes["fills"]],
    }
    return {name: [ns / 1e3 for ns in took] for name, took in found.items()}


def books_of(notes: Notes) -> dict[int, int]:
    """Kraken's timestamp in nanoseconds → when that book was sent on."""
    return {wall_ns(text): at for text, at in notes["books"].items()}


@pytest.mark.parametrize(("per_s", "waiting"), [(50, "asleep"), (200, "asleep"), (200, "spinning")])
def test_order_latency(benchmark: Any, tmp_path: Path, per_s: int, waiting: str) -> None:
    """p50, p99, p99.9 in µs of every stretch, beside the baseline's; `ratio` is that of
    tick's medians.
    """
    every_ms = 1000 / per_s
    with Venue(*AT_ONCE, "--symbols", SYMBOL, "--rate", 2 * per_s) as venue:
        with Relay(venue, tmp_path) as relay:
            bare = trade(relay.ready, tmp_path, BASELINE_SECONDS, every_ms, SYMBOL)
        baseline = stretches_us(bare.calls, bare.working, bare.filled, relay.notes, books_of(relay.notes))
        with Relay(venue, tmp_path) as relay:
            spin = "[engine]\nspin = true\n" if waiting == "spinning" else ""
            settings, key = trading_settings(relay.ready, spin)
            summary, told = benchmark.pedantic(
                run_engine,
                args=(tmp_path, relay.ready["public"], "Trader", SECONDS, settings, [SYMBOL]),
                kwargs={"params": f"every_ms = {every_ms}", "environment": key},
                rounds=1,
            )
    ours = stretches_us(told["calls"], told["working"], told["filled"], relay.notes, books_of(relay.notes))

    assert summary["orders"]["refused"] == summary["orders"]["unknown_open"] == 0, told["reasons"]
    assert summary["orders"]["by_websocket"] == len(told["calls"]) == len(relay.notes["orders"])
    figures: dict[str, Any] = {"orders": len(told["calls"])}
    for name, took in ours.items():
        mine, base = percentiles(took), percentiles(baseline[name])
        figures |= {
            f"{name}_us": [mine[q] for q in ("p50", "p99", "p999")],
            f"{name}_bare_us": [base[q] for q in ("p50", "p99", "p999")],
            f"{name}_ratio": round(mine["p50"] / base["p50"], 1),
        }
    send = percentiles(bare.send_us)
    figures["send_bare_us"] = [send[q] for q in ("p50", "p99", "p999")]
    for name in ("strategy_to_wire", "tick_to_order", "ack"):
        figures[f"summary_{name}_us"] = [summary["latency_us"][name][q] for q in ("p50", "p99", "p999")]
    benchmark.extra_info.update(figures, ratio=figures["tick_ratio"])


def volleys_per_s(volleys: Sequence[tuple[int, Sequence[str]]], reached: Mapping[str, int]) -> float:
    """Orders a second, from the call for a volley's first order to when the last has
    `reached` something: the median.

    The first volley is left out (imports, page faults), and one that the end of the run cut
    short.
    """
    whole = [(began, keys) for began, keys in volleys[1:] if all(key in reached for key in keys)]
    return median(len(keys) * 1e9 / (max(reached[key] for key in keys) - began) for began, keys in whole)


def bare_volleys(relay: Relay, folder: Path) -> tuple[list[tuple[int, list[str]]], Told]:
    """Volleys of the baseline, as fast as it can write them: when each began, and its
    orders; and what it was told.
    """
    volleys: list[tuple[int, list[str]]] = []

    async def main(client: BareClient, _rest: KrakenRest) -> None:
        await client.connect(relay.ready["public"], relay.ready["private"], SYMBOL)
        for _ in range(1 + BASELINE_VOLLEYS):
            await asyncio.sleep(PAUSE_S)
            began = time.monotonic_ns()
            volleys.append((began, [client.send("buy", SYMBOL, "30000.0") for _ in range(VOLLEY)]))
        await asyncio.sleep(PAUSE_S)

    told = run(relay.ready, folder, main)
    return volleys, told


def test_orders_per_second(benchmark: Any, tmp_path: Path) -> None:
    """Orders asked for in one callback, none of which trades: until the last is at the
    relay, until the last is over.

    A router that is busy with orders is busy with their answers and rows, too. The ratio is
    that of the latter.
    """
    with Venue(*AT_ONCE, "--symbols", ",".join(VOLLEY_SYMBOLS), "--rate", 40) as venue:
        with Relay(venue, tmp_path) as relay:
            bare, bare_told = bare_volleys(relay, tmp_path)
        baseline_sent, baseline_over = volleys_per_s(bare, relay.notes["orders"]), volleys_per_s(bare, bare_told.ended)
        with Relay(venue, tmp_path) as relay:
            settings, key = trading_settings(relay.ready)
            summary, told = benchmark.pedantic(
                run_engine,
                args=(tmp_path, relay.ready["public"], "Volleys", VOLLEYS_SECONDS, settings, VOLLEY_SYMBOLS),
                kwargs={"params": f"orders = {VOLLEY}", "environment": key},
                rounds=1,
            )

    assert summary["orders"]["refused"] == summary["orders"]["unknown_open"] == 0, told["reasons"]
    over_per_s = volleys_per_s(told["volleys"], told["over"])
    benchmark.extra_info.update(
        sent_per_s=round(volleys_per_s(told["volleys"], relay.notes["orders"])),
        bare_sent_per_s=round(baseline_sent),
        over_per_s=round(over_per_s),
        bare_over_per_s=round(baseline_over),
        ratio=round(over_per_s / baseline_over, 2),
        volleys=len(told["volleys"]),
        orders=summary["orders"]["submitted"],
    )
