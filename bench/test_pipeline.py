"""Venue → feed process → ring → strategy callback, through all three processes, as fast as
they go.

The venue replays a genuine capture as fast as the socket takes it. The baseline, in the
same run, is one process that receives the same stream with picows and decodes it with
msgspec: no book, no checksum, no second process. Target: 100,000 messages a second.
"""

import asyncio
import time
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from rig import CAPTURE_DEPTH_10, Venue, decode_baseline, run_engine

SYMBOLS = ("BTC/USD", "ETH/USD")
SECONDS = 6.0
BASELINE_SECONDS = 2.0
BOOKS_ONLY = "[feed]\ntrades = false\ntickers = false\ncandle_intervals_min = []\n"


def full_rate() -> Venue:
    """A venue that serves the capture without end, as fast as it is read."""
    return Venue("--capture", CAPTURE_DEPTH_10, "--pace", "max", "--repeat", 0)


def decode_only_per_s(url: str) -> float:
    """Messages a second of a lone client that only decodes."""

    class Listener(WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.frames = 0

        def on_ws_connected(self, transport: WSTransport) -> None:
            params = {"channel": "book", "symbol": SYMBOLS, "depth": 10}
            transport.send(WSMsgType.TEXT, msgspec.json.encode({"method": "subscribe", "params": params}))

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            payload = frame.get_payload_as_bytes()
            if payload.startswith(b'{"channel":"book"'):
                decode_baseline(payload)
                self.frames += 1

    async def receive() -> float:
        transport, listener = await ws_connect(Listener, url)
        await asyncio.sleep(0.5)
        began, frames = time.perf_counter(), listener.frames
        await asyncio.sleep(BASELINE_SECONDS)
        rate: float = (listener.frames - frames) / (time.perf_counter() - began)
        transport.disconnect(graceful=False)
        return rate

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(receive())


def test_full_rate(benchmark: Any, tmp_path: Path) -> None:
    """The strategy keeps pace: not one gap, every checksum right."""
    with full_rate() as venue:
        baseline_per_s = decode_only_per_s(venue.url)
        summary, told = benchmark.pedantic(
            run_engine, args=(tmp_path, venue.url, "Throughput", SECONDS, BOOKS_ONLY, SYMBOLS), rounds=1
        )
    per_s = median(told["rates"])

    assert all(pair["mismatches"] == 0 and pair["state"] == "live" for pair in summary["symbols"].values())
    benchmark.extra_info.update(
        messages_per_s=round(per_s),
        messages_per_s_target=100_000,
        decode_only_per_s=round(baseline_per_s),
        ratio=round(per_s / baseline_per_s, 2),
        gaps=summary["rings"]["market-0"]["gaps"],
        books=told["books"],
    )


def test_full_rate_with_a_slow_strategy(benchmark: Any, tmp_path: Path) -> None:
    """A strategy of 50 µs a book is lapped: the gap is counted exactly, and its last book
    is the right one.
    """
    with full_rate() as venue:
        summary, told = benchmark.pedantic(
            run_engine, args=(tmp_path, venue.url, "Slow", SECONDS, BOOKS_ONLY, SYMBOLS), rounds=1
        )
    ring, conduct = summary["rings"]["market-0"], summary["strategies"]["Slow"]

    assert ring["gaps"] > 0
    assert conduct["received"] + conduct["gaps"] == ring["published"]
    for symbol, pair in summary["symbols"].items():
        assert told["books"][symbol] == [pair["best_bid"]["price"], pair["best_ask"]["price"]]
    benchmark.extra_info.update(
        published_per_s=round(ring["published"] / summary["seconds"]), gaps=ring["gaps"], laps=conduct["laps"]
    )
