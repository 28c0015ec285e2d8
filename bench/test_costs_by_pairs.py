"""What a frame and a second cost at 10, 100 and 1,000 pairs: neither may grow with the pairs that are followed.

Ten pairs are busy whatever the number of pairs, so that the work is the same: what grows is code that walks all pairs.
A cost is a function of the number of pairs that returns microseconds; another one is another entry of `COSTS`.
"""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import structlog
from feed_path import FeedPath
from order_path import OrderPath
from rig import CAPTURE_DEPTH_10, book_frames

from engine.units import NS_PER_MS, NS_PER_S, MonoNs

PAIRS = (10, 100, 1000)
BUSY_PAIRS = 10
STRETCH = 200  # frames of the genuine BTC/USD stream that each busy pair has
ROUNDS = 15
ORDERS = 100  # whose fills are measured together
CAPTURED_PAIRS = 2
SETTLED_S = 10
CAPTURED = b'"BTC/USD"'
POLL_NS, WORK_NS = 20 * NS_PER_MS, 100 * NS_PER_MS  # of the connection's ticks and of the duty cycle

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


class SettledFeed:
    """A feed that follows so many pairs: all subscribed and confirmed, all books live, ten of them busy."""

    def __init__(self, pairs: int) -> None:
        symbols = tuple(f"P{number:04}/USD" for number in range(pairs))
        self.path = FeedPath(symbols)
        self.now = time.monotonic_ns()
        stretch = [frame for frame in book_frames(CAPTURE_DEPTH_10) if CAPTURED in frame][: STRETCH + 1]
        self._subscribe()
        self.path.take([stretch[0].replace(CAPTURED, f'"{symbol}"'.encode()) for symbol in symbols])
        self.frames = [
            frame.replace(CAPTURED, f'"{symbol}"'.encode()) for frame in stretch[1:] for symbol in symbols[:BUSY_PAIRS]
        ]
        assert self.path.verified == pairs
        # The first look at books that have just come, and what the end of a minute brings: once, for all pairs.
        for _ in range(SETTLED_S * (NS_PER_S // WORK_NS)):
            self.pass_time()

    def _subscribe(self) -> None:
        """Let all requests leave at their pace, each confirmed at once."""
        session = self.path.session
        while requests := session.to_send():
            for request in map(json.loads, requests):
                for symbol in request["params"].get("symbol", [None]):
                    result = {"channel": request["params"]["channel"]} | ({"symbol": symbol} if symbol else {})
                    answer = {"method": request["method"], "req_id": request["req_id"], "success": True}
                    session.receive(json.dumps(answer | {"result": result}).encode(), MonoNs(self.now))
            self.now += NS_PER_S  # less than a ping's interval, and more than a request's
            session.poll(MonoNs(self.now))

    def pass_time(self) -> None:
        """A tenth of a second: the connection's ticks, one duty cycle."""
        for _ in range(WORK_NS // POLL_NS):
            self.now += POLL_NS
            self.path.session.poll(MonoNs(self.now))
            self.path.session.to_send()
        self.path.feed.do_work()

    def second(self) -> float:
        """Seconds of work in a second: ticks, duty cycles and counting, after each of the busy pairs has changed."""
        took = 0.0
        frames = iter(self.frames)
        for _ in range(NS_PER_S // WORK_NS):
            self.path.take([next(frames) for _ in range(BUSY_PAIRS)])
            began = time.perf_counter()
            self.pass_time()
            took += time.perf_counter() - began
        return took


def frame_us(pairs: int) -> float:
    """A book update: received, applied, verified, packed, published, the board stored once a burst."""
    settled = SettledFeed(pairs)
    began = time.perf_counter()
    settled.path.take(settled.frames)
    took_s = time.perf_counter() - began
    assert settled.path.verified == pairs + len(settled.frames)
    return took_s / len(settled.frames) * 1e6


def feed_second_us(pairs: int) -> float:
    """A second of a feed beside its frames: timers of all subscriptions, counters in shared memory."""
    return SettledFeed(pairs).second() * 1e6


def fill_us(pairs: int) -> float:
    """The two rows of a fill: from the private feed's socket to the strategy's callback, through the order router."""
    with TemporaryDirectory() as folder:
        path = OrderPath(Path(folder), more_pairs=pairs - CAPTURED_PAIRS)
        took_s = 0.0
        for number in range(ORDERS):
            order = path.submit()
            path.route()
            path.frames.take()
            path.answer(path.ack_frame(order, number))
            path.news()
            frames = path.fill_frames(order, number)
            began = time.perf_counter()
            for frame in frames:
                path.execute(frame)
                path.route()
                path.news()
            took_s += time.perf_counter() - began
        path.close()
    return took_s / ORDERS * 1e6


def router_second_us(pairs: int) -> float:
    """A second of the order router in which nothing happens: all that time brings, the day's loss included."""
    with TemporaryDirectory() as folder:
        path = OrderPath(Path(folder), more_pairs=pairs - CAPTURED_PAIRS)
        order = path.submit()
        path.route()
        path.answer(path.ack_frame(order, 0))
        for frame in path.fill_frames(order, 0):
            path.execute(frame)
        path.route()
        began = time.perf_counter()
        for _ in range(NS_PER_S // POLL_NS):
            path.now.advance(POLL_NS)
            path.core.on_time()
        took_s = time.perf_counter() - began
        path.close()
    return took_s * 1e6


COSTS: dict[str, Callable[[int], float]] = {
    "frame": frame_us,
    "feed_second": feed_second_us,
    "fill": fill_us,
    "router_second": router_second_us,
}


@pytest.mark.parametrize("cost", COSTS)
def test_cost_by_pairs(benchmark: Any, cost: str) -> None:
    """The same work beside ten, a hundred and a thousand pairs, taken in turn."""
    measured: dict[int, list[float]] = {pairs: [] for pairs in PAIRS}
    for _ in range(ROUNDS):
        for pairs in PAIRS:
            measured[pairs].append(COSTS[cost](pairs))
    benchmark.pedantic(lambda: COSTS[cost](PAIRS[0]), rounds=1)
    benchmark.extra_info.update(
        {f"us_at_{pairs}": round(median(found), 2) for pairs, found in measured.items()},
        ratio=round(median(measured[PAIRS[-1]]) / median(measured[PAIRS[0]]), 2),
    )
