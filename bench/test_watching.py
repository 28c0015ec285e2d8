"""What `engine top` costs the engine that it watches: the same run with and without it.

Both kinds of run take turns, three of each. `top` draws on a terminal of 200 columns, twice
a second. It reads memory that the engine writes anyway, so what is left is that it wants a
part of a core: where the engine's processes have both of two cores busy, that shows in
their p99.
"""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import pytest
from rig import ENGINE, Relay, Venue, percentiles, run_engine, trading_settings
from test_latency import SETTINGS, SYMBOLS, PacedSender, settled
from test_orders_live import AT_ONCE, SYMBOL, books_of, stretches_us

SECONDS = 10.0
ROUNDS = 3
PER_S = 2_000
ORDERS_PER_S = 50
SIZE = struct.pack("HHHH", 50, 200, 0, 0)  # lines, columns
LOOK_S = 0.05


class Top:
    """`engine top` on a terminal of its own, from when the engine answers."""

    def __init__(self, runtime: Path) -> None:
        self._control = runtime / "kraken-engine" / "default" / "control"
        self._environment = os.environ | {"XDG_RUNTIME_DIR": str(runtime), "TERM": "xterm-256color"}
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = False
        self._thread = Thread(target=self._run)
        # Bytes that it drew.
        self.drawn = 0

    def __enter__(self) -> "Top":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        if self._process is not None:
            self._process.terminate()
        self._thread.join()

    def _run(self) -> None:
        while not self._control.exists():
            if self._is_over:
                return
            time.sleep(LOOK_S)
        outer, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, SIZE)
        self._process = subprocess.Popen(
            [*ENGINE, "top"], stdin=inner, stdout=inner, stderr=inner, env=self._environment, start_new_session=True
        )
        os.close(inner)
        while True:
            try:
                self.drawn += len(os.read(outer, 65536))
            except OSError:
                break
        self._process.wait()
        os.close(outer)


@contextmanager
def watched(folder: Path, is_watched: bool) -> Iterator[None]:
    """With or without `engine top`."""
    if not is_watched:
        yield
        return
    with Top(folder) as top:
        yield
    assert top.drawn > 10_000, "it has drawn nothing"


def wire_to_strategy_us(folder: Path, is_watched: bool) -> list[float]:
    """From the sender's write to the callback."""
    with PacedSender(PER_S) as sender, watched(folder, is_watched):
        _, told = run_engine(folder, sender.url, "WireLatency", SECONDS, SETTINGS, SYMBOLS)
    return settled(told["took_us"])


def tick_to_order_us(folder: Path, is_watched: bool) -> list[float]:
    """From a book update sent on to the order that it caused, at a relay before the venue."""
    with Venue(*AT_ONCE, "--symbols", SYMBOL, "--rate", 2 * ORDERS_PER_S) as venue, Relay(venue, folder) as relay:
        settings, key = trading_settings(relay.ready)
        with watched(folder, is_watched):
            _, told = run_engine(
                folder, relay.ready["public"], "Trader", SECONDS, settings, [SYMBOL],
                params=f"every_ms = {1000 / ORDERS_PER_S}", environment=key,
            )  # fmt: skip
    stretches = stretches_us(told["calls"], told["working"], told["filled"], relay.notes, books_of(relay.notes))
    return stretches["tick"]


MEASURED = {"wire to strategy": wire_to_strategy_us, "tick to order": tick_to_order_us}


@pytest.mark.parametrize("what", MEASURED)
def test_watching(benchmark: Any, tmp_path: Path, what: str) -> None:
    """p50 and p99 in µs of both; `ratio` is that of the p99s, the median of the rounds."""
    measure, found = MEASURED[what], {True: [], False: []}

    def rounds() -> None:
        for number in range(ROUNDS):
            for is_watched in (False, True) if number % 2 else (True, False):
                folder = tmp_path / f"{number}{is_watched}"
                folder.mkdir()
                found[is_watched].append(percentiles(measure(folder, is_watched)))

    benchmark.pedantic(rounds, rounds=1)
    for is_watched, name in ((True, "watched"), (False, "alone")):
        for quantile in ("p50", "p99"):
            figure = median(each[quantile] for each in found[is_watched])
            benchmark.extra_info[f"{name}_{quantile}_us"] = round(figure, 1)
    for quantile in ("p50", "p99"):
        ratios = [a[quantile] / b[quantile] for a, b in zip(found[True], found[False], strict=True)]
        benchmark.extra_info[f"{quantile}_ratio"] = round(median(ratios), 2)
    benchmark.extra_info["ratio"] = benchmark.extra_info["p99_ratio"]
