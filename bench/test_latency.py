"""Wire to strategy: from the sender's write on loopback to the strategy's callback, at a
given rate.

The sender stamps each genuine book update with its time of sending, in Kraken's own
`timestamp` (microseconds). Asleep: every process sleeps until it is woken. Spinning: the
strategy host never sleeps. The baseline, in the same run, is one process that receives
the same stream with picows on uvloop and decodes it: no ring, no second process.
"""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from rig import decode_baseline, percentiles, run_engine

from engine.timestamps import wall_ns

SECONDS = 5.0
SENDER = Path(__file__).parent / "paced_sender.py"
SETTINGS = "[feed]\ntrades = false\ntickers = false\ncandle_intervals_min = []\n"
SPINNING = SETTINGS + "[engine]\nspin = true\n"
SYMBOLS = ("BTC/USD", "ETH/USD")
WARM_UP_SHARE = 0.2  # of the measurements, the first ones: imports, page faults


class PacedSender:
    """bench/paced_sender.py as a process."""

    def __init__(self, per_s: int) -> None:
        self._process = subprocess.Popen((sys.executable, SENDER, str(per_s)), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url: str = json.loads(self._process.stdout.readline())["public"]

    def __enter__(self) -> "PacedSender":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def one_process_us(url: str) -> list[float]:
    """Microseconds from send to callback in a lone client that decodes."""
    took_us: list[float] = []

    class Listener(WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: WSTransport) -> None:
            params = {"channel": "book", "symbol": SYMBOLS, "depth": 10}
            transport.send(WSMsgType.TEXT, msgspec.json.encode({"method": "subscribe", "params": params}))

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            payload = frame.get_payload_as_bytes()
            if payload.startswith(b'{"channel":"book"'):
                stamp = decode_baseline(payload).data[0].timestamp
                took_us.append((time.time_ns() - wall_ns(stamp)) / 1000)

    async def receive() -> None:
        transport, _ = await ws_connect(Listener, url)
        await asyncio.sleep(SECONDS)
        transport.disconnect(graceful=False)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(receive())
    return took_us


def settled(took_us: list[float]) -> list[float]:
    """Without the first ones."""
    return took_us[int(len(took_us) * WARM_UP_SHARE) :]


@pytest.mark.parametrize("waiting", ["asleep", "spinning"])
@pytest.mark.parametrize("per_s", [2_000, 10_000])
def test_wire_to_strategy(benchmark: Any, tmp_path: Path, per_s: int, waiting: str) -> None:
    """p50, p99, p99.9 in µs, and the ratio of the medians."""
    with PacedSender(per_s) as sender:
        baseline = percentiles(settled(one_process_us(sender.url)))
    with PacedSender(per_s) as sender:
        settings = SPINNING if waiting == "spinning" else SETTINGS
        summary, told = benchmark.pedantic(
            run_engine, args=(tmp_path, sender.url, "WireLatency", SECONDS, settings, SYMBOLS), rounds=1
        )
    ours = percentiles(settled(told["took_us"]))

    assert all(pair["mismatches"] == 0 for pair in summary["symbols"].values())
    benchmark.extra_info.update(
        {f"{name}_us": ours[name] for name in ("p50", "p99", "p999")},
        count=ours["count"],
        baseline_p50_us=baseline["p50"],
        baseline_p99_us=baseline["p99"],
        ratio=round(ours["p50"] / baseline["p50"], 2),
        gaps=summary["rings"]["market-0"]["gaps"],
    )
