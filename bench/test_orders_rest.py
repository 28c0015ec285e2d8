"""An order by REST beside one by WebSocket, to the same venue: from the call to the venue's
answer.

REST is the engine's own signed client on a kept connection, which is the router's fallback;
the WebSocket is the baseline client's. One order after the other, none of which trades.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from bare_client import BareClient, run
from rig import Venue, percentiles
from test_orders_live import AT_ONCE

from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.replies import RestRefusal
from engine.kraken_rest.client import KrakenRest
from engine.orders.intent import OrderIntent
from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs

SYMBOL = "BTC/USD"
ORDERS = 600
PAUSE_S = 0.005
INTENT = OrderIntent(
    symbol=SYMBOL,
    side="buy",
    order_type="limit",
    price_decimals=1,
    qty_decimals=8,
    qty=QtyLots(100_000),
    limit_price=PriceTicks(300_000),
    time_in_force="ioc",
)


def round_trips_us(ready: dict[str, str], folder: Path) -> tuple[list[float], list[float]]:
    """Microseconds of each order by REST and by WebSocket, taken in turn."""
    by_rest: list[float] = []
    by_websocket: list[float] = []

    async def main(client: BareClient, rest: KrakenRest) -> None:
        pairs = await rest.call(rest_requests.asset_pairs())
        found = rest_replies.read_asset_pairs(pairs.status, pairs.body)
        pair = None if isinstance(found, RestRefusal) else found.find(SYMBOL)
        assert pair is not None
        answered = asyncio.Event()
        client.on_answer = lambda _: answered.set()
        await client.connect(ready["public"], ready["private"], SYMBOL)
        for number in range(ORDERS):
            await asyncio.sleep(PAUSE_S)
            key, deadline = f"rest00000000{number:06d}", WallNs(time.time_ns() + 10 * NS_PER_S)
            began = time.perf_counter_ns()
            request = rest_requests.add_order(INTENT, pair=pair, cl_ord_id=key, deadline=deadline)
            answer = await rest.call(request)
            by_rest.append((time.perf_counter_ns() - began) / 1e3)
            assert b'"error":[]' in answer.body, answer.body
            await asyncio.sleep(PAUSE_S)
            answered.clear()
            began = time.perf_counter_ns()
            client.send("buy", SYMBOL, "30000.0")
            await answered.wait()
            by_websocket.append((time.perf_counter_ns() - began) / 1e3)

    run(ready, folder, main)
    return by_rest, by_websocket


def test_rest_beside_websocket(benchmark: Any, tmp_path: Path) -> None:
    """p50, p99, p99.9 in µs; the ratio is that of the medians."""
    with Venue(*AT_ONCE, "--symbols", SYMBOL, "--rate", 20) as venue:
        took_us = benchmark.pedantic(round_trips_us, args=(venue.ready, tmp_path), rounds=1)
    by_rest, by_websocket = (percentiles(took) for took in took_us)
    benchmark.extra_info.update(
        rest_us=[by_rest[q] for q in ("p50", "p99", "p999")],
        websocket_us=[by_websocket[q] for q in ("p50", "p99", "p999")],
        ratio=round(by_rest["p50"] / by_websocket["p50"], 1),
        orders=ORDERS,
    )
