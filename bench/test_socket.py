"""CPU a frame at full rate, socket included: connection, book, checksum, ring and board, in one process.

The baseline, in turn with it, is a bare picows listener that decodes each frame with msgspec and does nothing else.
Both read the same frames from the same server, which runs on the other core. Target: at most the baseline's.
"""

import asyncio
import json
import logging
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import structlog
import uvloop
from feed_path import FeedPath
from picows import WSFrame, WSListener, WSTransport, ws_connect
from rig import CAPTURE_DEPTH_10, book_frames, decode_baseline, symbols_of

from engine.clock import SystemClock
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection

ROUNDS_SENT = 20
ROUNDS = 9
LOOK_S = 0.002
SENDER = Path(__file__).with_name("socket_sender.py")

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


async def decode_only(url: str, count: int) -> None:
    """A lone client that only decodes."""

    class Listener(WSListener):  # type: ignore[misc]
        def __init__(self) -> None:
            self.frames = 0

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            decode_baseline(frame.get_payload_as_bytes())
            self.frames += 1

    transport, listener = await ws_connect(Listener, url)
    while listener.frames < count:
        await asyncio.sleep(LOOK_S)
    transport.disconnect(graceful=False)


async def whole_feed(url: str, count: int, path: FeedPath) -> None:
    """The public feed behind its connection."""
    feed = path.feed
    connection: WebSocketConnection[Any] = WebSocketConnection(
        url,
        path.session,
        on_events=feed.on_events,
        on_burst_end=feed.on_burst_end,
        receive=feed.receive,
        lane=feed.lane,
        clock=SystemClock(),
        backoff=Backoff(random.Random(1)),
        budget=ConnectionBudget(attempts_max=100),
        resolver=Resolver(),
    )
    running = asyncio.ensure_future(connection.run())
    while connection.frames_received < count:
        await asyncio.sleep(LOOK_S)
    await connection.stop()
    await running


def test_cpu_a_frame(benchmark: Any) -> None:
    """Seconds of CPU of this process, per frame."""
    frames = book_frames(CAPTURE_DEPTH_10)
    symbols, count = symbols_of(frames), len(frames) * ROUNDS_SENT
    memory = FeedPath.new_memory(symbols)
    cpu: dict[str, list[float]] = {"ours": [], "baseline": []}
    with subprocess.Popen([sys.executable, str(SENDER), str(ROUNDS_SENT)], stdout=subprocess.PIPE) as sender:
        assert sender.stdout is not None
        url = json.loads(sender.stdout.readline())["url"]

        def run(name: str, work: Callable[[], Awaitable[None]]) -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                began = time.process_time()
                runner.run(work())  # type: ignore[arg-type]
                cpu[name].append((time.process_time() - began) / count)

        verified = 0
        for _ in range(ROUNDS):
            path = FeedPath(symbols, memory)
            run("ours", lambda path=path: whole_feed(url, count, path))  # type: ignore[misc]
            run("baseline", lambda: decode_only(url, count))
            verified += path.verified
        benchmark.pedantic(lambda: None, rounds=1)
        sender.kill()
    assert verified == ROUNDS * count
    benchmark.extra_info.update(
        cpu_us=round(median(cpu["ours"]) * 1e6, 2),
        baseline_cpu_us=round(median(cpu["baseline"]) * 1e6, 2),
        least_us=[round(min(seconds) * 1e6, 2) for seconds in cpu.values()],
        ratio=round(median(o / b for o, b in zip(cpu["ours"], cpu["baseline"], strict=True)), 2),
        ratio_target=1.0,
    )
