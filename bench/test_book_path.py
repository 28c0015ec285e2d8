"""Frame bytes → verified book → published record: what one core of a feed can do.

The baseline is msgspec decoding the same bytes into a typed Struct with every field, in
the same run and in turn, and so is the portable implementation, in a process of its own.
Targets: at most 1.6 times the baseline compiled, at most 14 times in plain Python, and there
too at least 100,000 messages a second; a frame that comes after 0.4 ms of rest, compiled, at most
a fourth of the same in plain Python. The older targets (10,000 updates a second; under
1 ms a message; 100 messages in under 1 ms) stand as multiples.
"""

import asyncio
import logging
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pytest
import structlog
from feed_path import FeedPath
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from portable_path import PortablePath, cold_s
from rig import CAPTURE_DEPTH_10, CAPTURE_DEPTH_25, Venue, book_frames, decode_baseline, interleave, symbols_of

from engine import native

ROUNDS = 30
VENUE_SYMBOLS = ("BTC/USD", "ETH/USD", "XRP/USD")
VENUE_FRAMES = 6_000

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


def venue_frames(depth: int) -> list[bytes]:
    """Book frames of the built-in venue, as a client receives them."""
    frames: list[bytes] = []

    class Listener(WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.enough = asyncio.Event()

        def on_ws_connected(self, transport: WSTransport) -> None:
            params = {"channel": "book", "symbol": VENUE_SYMBOLS, "depth": depth}
            transport.send(WSMsgType.TEXT, msgspec.json.encode({"method": "subscribe", "params": params}))

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            payload = frame.get_payload_as_bytes()
            if payload.startswith(b'{"channel":"book"'):
                frames.append(payload)
            if len(frames) >= VENUE_FRAMES:
                self.enough.set()

    async def collect(url: str) -> None:
        transport, listener = await ws_connect(Listener, url)
        await listener.enough.wait()
        transport.disconnect()

    with Venue("--rate", 5000, "--seed", 7, "--symbols", ",".join(VENUE_SYMBOLS)) as venue:
        asyncio.run(collect(venue.url))
    return frames[:VENUE_FRAMES]


@pytest.mark.parametrize("source", ["genuine depth 10", "genuine depth 25", "venue depth 10", "venue depth 25"])
def test_book_path(benchmark: Any, source: str, tmp_path: Path) -> None:
    """One core, no socket: decode, apply, verify, pack, publish, and the board once a
    burst.
    """
    frames = {
        "genuine depth 10": lambda: book_frames(CAPTURE_DEPTH_10),
        "genuine depth 25": lambda: book_frames(CAPTURE_DEPTH_25),
        "venue depth 10": lambda: venue_frames(10),
        "venue depth 25": lambda: venue_frames(25),
    }[source]()
    symbols = symbols_of(frames)
    memory = FeedPath.new_memory(symbols)
    paths = [FeedPath(symbols, memory) for _ in range(1)]

    def path() -> None:
        paths[0].take(frames)

    def baseline() -> None:
        for frame in frames:
            decode_baseline(frame)

    def fresh() -> None:
        paths[0] = FeedPath(symbols, memory)

    path()
    assert paths[0].verified == len(frames)
    portable = PortablePath(tmp_path, frames)
    portable.take_s()
    decode_s: list[float] = []
    path_s: list[float] = []
    portable_s: list[float] = []
    cold: list[float] = []
    portable_cold: list[float] = []
    for number in range(ROUNDS):
        fresh()
        (took, decoded) = interleave(1, path, baseline)
        path_s += took
        decode_s += decoded
        portable_s.append(portable.take_s())
        if number % 10 == 0:
            fresh()
            cold.append(cold_s(paths[0], frames))
            portable_cold.append(portable.take_s("cold"))
    portable.close()
    benchmark.pedantic(path, setup=fresh, rounds=3)
    path_us, decode_us, portable_us = (median(s) / len(frames) * 1e6 for s in (path_s, decode_s, portable_s))
    benchmark.extra_info.update(
        path_us=round(path_us, 2),
        decode_us=round(decode_us, 3),
        ratio=round(median(p / d for p, d in zip(path_s, decode_s, strict=True)), 2),
        ratio_target=1.6 if native.IS_NATIVE else 14,
        portable_us=round(portable_us, 2),
        portable_ratio=round(median(p / d for p, d in zip(portable_s, decode_s, strict=True)), 1),
        portable_ratio_target=14,
        least_us=[round(min(s) / len(frames) * 1e6, 2) for s in (path_s, decode_s, portable_s)],
        portable_messages_per_s=round(1e6 / portable_us),
        cold_us=round(median(cold) * 1e6, 2),
        portable_cold_us=round(median(portable_cold) * 1e6, 2),
        cold_ratio=round(median(c / p for c, p in zip(cold, portable_cold, strict=True)), 3),
        cold_ratio_target=0.25,
        messages_per_s=round(1e6 / path_us),
        messages_per_s_target=100_000,
        times_10_000_per_s=round(1e6 / path_us / 10_000, 1),
        times_faster_than_1_ms=round(1000 / path_us),
        us_for_100_messages=round(100 * path_us),
    )
