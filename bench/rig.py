"""What several benchmarks share: genuine frames, a venue's frames, engines as processes,
percentiles.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct

CAPTURES = Path(__file__).parents[1] / "tests" / "data" / "kraken"
CAPTURE_DEPTH_25 = CAPTURES / "capture_crossbook_kraken_btcusd_sample.jsonl"
CAPTURE_DEPTH_10 = CAPTURES / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
STRATEGIES = Path(__file__).parent / "strategies.py"
RELAY = Path(__file__).parent / "relay.py"
ENGINE = (sys.executable, "-P", "-m", "engine")


class Level(Struct, gc=False):
    """The baseline's level."""

    price: float
    qty: float


class Data(Struct, gc=False):
    """The baseline's book message: every field of the wire."""

    symbol: str
    bids: list[Level]
    asks: list[Level]
    checksum: int
    timestamp: str = ""


class Message(Struct, gc=False):
    """What the baseline decodes a frame into: no book, no checksum, nothing but msgspec."""

    channel: str
    type: str
    data: list[Data]


decode_baseline = msgspec.json.Decoder(Message).decode


def book_frames(path: Path) -> list[bytes]:
    """The book frames of a capture, snapshots included, in order."""
    return [line for line in path.read_bytes().splitlines() if line.startswith(b'{"channel":"book"')]


def symbols_of(frames: Sequence[bytes]) -> tuple[str, ...]:
    """The pairs of some book frames."""
    return tuple(dict.fromkeys(decode_baseline(frame).data[0].symbol for frame in frames))


def interleave(rounds: int, *works: Callable[[], object]) -> list[list[float]]:
    """Seconds of CPU of each work in each round, taken in turn, so that a noisy minute falls
    on all of them.

    CPU, because none of the works waits for anything: of a round of 20 ms another process
    gets its slices, of one of 2 ms it does not, and the ratio of the two would be its.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for number, work in enumerate(works):
            began = time.thread_time()
            work()
            seconds[number].append(time.thread_time() - began)
    return seconds


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and the number of values."""
    ordered = sorted(values)
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    return {"count": len(ordered)} | {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) for name, share in at.items()
    }


class Venue:
    """`engine venue` as a process."""

    def __init__(self, *options: object) -> None:
        command = (*ENGINE, "venue", "--port", "0", *map(str, options))
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.ready: dict[str, str] = json.loads(self.process.stdout.readline())
        self.url = self.ready["public"]

    def __enter__(self) -> "Venue":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Relay:
    """bench/relay.py as a process between a venue and its client; `ready` has its
    addresses, and the venue's key.
    """

    def __init__(self, venue: Venue, folder: Path) -> None:
        self._out = folder / "relay.json"
        self._out.unlink(missing_ok=True)
        command = (sys.executable, RELAY, venue.ready["public"], venue.ready["private"], self._out)
        self._process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.ready = venue.ready | json.loads(self._process.stdout.readline())
        # When frames passed; see bench/relay.py. Known when the relay is left.
        self.notes: dict[str, dict[str, int]] = {}

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self.notes = json.loads(self._out.read_text())


def trading_settings(ready: Mapping[str, str], more: str = "") -> tuple[str, dict[str, str]]:
    """Settings of an engine that trades at a venue with every limit opened, and the
    environment with its key.
    """
    settings = f"""
{more}
[venue]
private_url = "{ready["private"]}"
rest_url = "{ready["rest"]}"
[feed]
trades = false
tickers = false
candle_intervals_min = []
[trading]
enabled = true
command_ttl_s = 60.0
answer_timeout_s = 30.0
deadline_s = 20.0
[risk]
order_notional_max = 1e12
position_notional_max = 1e12
daily_loss_max = 1e12
price_collar_percent = 100.0
open_orders_max = 225
orders_per_s_max = 1000.0
duplicate_window_ms = 0.0
self_trade_guard = false
"""
    return settings, {"KRAKEN_API_KEY": ready["api_key"], "KRAKEN_API_SECRET": ready["api_secret"]}


def run_engine(
    folder: Path,
    url: str,
    strategy: str,
    seconds: float,
    settings: str,
    symbols: Sequence[str],
    *,
    params: str = "",
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    streams: Mapping[str, int] = MappingProxyType({}),
) -> Any:
    """Run the engine for some seconds with one strategy of bench/strategies.py: (summary,
    what it wrote). `options` are further ones of `engine run`; `streams` are its stdout or
    stderr, where they are not the caller's.
    """
    config, out, told = folder / "engine.toml", folder / "summary.json", folder / "told.json"
    listed = ", ".join(f'"{symbol}"' for symbol in symbols)
    config.write_text(
        f'symbols = [{listed}]\n{settings}\n[[strategy]]\ntarget = "{STRATEGIES}:{strategy}"\n'
        f'params = {{ out = "{told}"{", " if params else ""}{params} }}\n[log]\nlevel = "error"\n'
    )
    command = (*ENGINE, "run", config, "--venue", url, "--seconds", seconds, "--summary", out, *options)
    own = {"XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}
    env = os.environ | own | dict(environment or {})
    subprocess.run([str(part) for part in command], check=True, env=env, **streams)
    return json.loads(out.read_text()), json.loads(told.read_text())
