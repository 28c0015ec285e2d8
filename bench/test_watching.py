"""What looking at an engine costs it: the same run with and without an onlooker.

    top       `engine top`, which draws twice a second
    view      `engine run --view`, which draws ten times a second
    page      `engine run --page --metrics`: the page's data once a second, as its script
              asks for them, the metrics every other second
    history   orders and fills in SQLite, which a thread of the order router writes

Both kinds of run take turns, three of each; the first fifth of each run, in which an
onlooker starts, is left out. top and view draw on a terminal of 200 columns.
Onlookers read memory that the engine writes anyway, so what is left is that they want a
part of a core: where the engine's processes have both of two cores busy, that shows in
their p99.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Event, Thread
from types import MappingProxyType
from typing import Any, NamedTuple

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
PAGE_S = 1.0  # how often the page's script asks
SCRAPES = 2  # of its questions a scrape comes
ADDRESS = re.compile(rb"http://127\.0\.0\.1:\d+/[\w-]+/?")
BYTES_MIN = 10_000  # of who looks for ten seconds


class Terminal:
    """A terminal of its own; what is drawn on it is counted and thrown away."""

    def __init__(self) -> None:
        self._outer, self.inner = pty.openpty()
        fcntl.ioctl(self.inner, termios.TIOCSWINSZ, SIZE)
        self.drawn = 0
        self._thread = Thread(target=self._drain)

    def __enter__(self) -> "Terminal":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.inner)
        self._thread.join()
        os.close(self._outer)

    def _drain(self) -> None:
        try:
            while data := os.read(self._outer, 65536):
                self.drawn += len(data)
        except OSError:  # nobody has it open any more
            pass


class Looking(NamedTuple):
    """What a run is to be given for being looked at."""

    options: tuple[str, ...] = ()
    streams: Mapping[str, int] = MappingProxyType({})


@contextmanager
def nobody(folder: Path) -> Iterator[Looking]:
    """The baseline."""
    yield Looking()


@contextmanager
def top(folder: Path) -> Iterator[Looking]:
    """`engine top`, from when the engine answers."""
    control, over = folder / "kraken-engine" / "default" / "control", Event()
    processes: list[subprocess.Popen[bytes]] = []
    with Terminal() as terminal:

        def start() -> None:
            while not control.exists():
                if over.wait(LOOK_S):
                    return
            processes.append(subprocess.Popen(
                [*ENGINE, "top"], stdin=terminal.inner, stdout=terminal.inner, stderr=terminal.inner,
                env=os.environ | {"XDG_RUNTIME_DIR": str(folder), "TERM": "xterm-256color"}, start_new_session=True,
            ))  # fmt: skip

        starter = Thread(target=start)
        starter.start()
        yield Looking()
        over.set()
        starter.join()
        for process in processes:
            process.terminate()
            process.wait()
    assert terminal.drawn > BYTES_MIN, "it has drawn nothing"


@contextmanager
def view(folder: Path) -> Iterator[Looking]:
    """`engine run --view`."""
    with Terminal() as terminal:
        yield Looking(("--view",), {"stdout": terminal.inner})
    assert terminal.drawn > BYTES_MIN, "it has drawn nothing"


@contextmanager
def page(folder: Path) -> Iterator[Looking]:
    """`engine run --page --metrics`, and who asks both."""
    output, printed = os.pipe()
    over, found, received = Event(), b"", 0

    def ask() -> None:
        nonlocal found, received
        while found.count(b"http://") < 2 or not found.endswith(b"\n"):
            data = os.read(output, 4096)
            if not data:
                return
            found += data
        served, metrics = sorted((each.decode() for each in ADDRESS.findall(found)), key=lambda url: "metrics" in url)
        questions = 0
        while not over.wait(PAGE_S):
            urls = [f"{served}data?since=0&symbol=&hop="] + [metrics] * (questions % SCRAPES == 0)
            for url in urls:
                try:
                    with urllib.request.urlopen(url, timeout=5) as answer:
                        received += len(answer.read())
                except OSError:  # it begins, or has ended
                    time.sleep(LOOK_S)
            questions += 1

    asker = Thread(target=ask)
    asker.start()
    yield Looking(("--page", "--metrics", "0"), {"stderr": printed})  # which they print their addresses to
    over.set()
    os.close(printed)
    asker.join()
    os.close(output)
    assert received > BYTES_MIN, f"nothing was answered: {found!r}"


ONLOOKERS = {"top": top, "view": view, "page": page, "history": nobody}


def wire_to_strategy_us(folder: Path, looking: Looking, more: str) -> list[float]:
    """From the sender's write to the callback."""
    with PacedSender(PER_S) as sender:
        _, told = run_engine(
            folder, sender.url, "WireLatency", SECONDS, SETTINGS, SYMBOLS,
            options=looking.options, streams=looking.streams,
        )  # fmt: skip
    return settled(told["took_us"])


def tick_to_order_us(folder: Path, looking: Looking, more: str) -> list[float]:
    """From a book update sent on to the order that it caused, at a relay before the venue."""
    with Venue(*AT_ONCE, "--symbols", SYMBOL, "--rate", 2 * ORDERS_PER_S) as venue, Relay(venue, folder) as relay:
        settings, key = trading_settings(relay.ready)
        _, told = run_engine(
            folder, relay.ready["public"], "Trader", SECONDS, settings.replace("[trading]\n", f"[trading]\n{more}"),
            [SYMBOL], params=f"every_ms = {1000 / ORDERS_PER_S}", environment=key,
            options=looking.options, streams=looking.streams,
        )  # fmt: skip
    stretches = stretches_us(told["calls"], told["working"], told["filled"], relay.notes, books_of(relay.notes))
    return settled(stretches["tick"])


MEASURED: dict[str, Callable[[Path, Looking, str], list[float]]] = {
    "wire to strategy": wire_to_strategy_us,
    "tick to order": tick_to_order_us,
}
PAIRINGS = [
    (what, who) for who in ONLOOKERS for what in MEASURED if (what, who) != ("wire to strategy", "history")
]  # history has nothing to write without orders


@pytest.mark.parametrize(("what", "who"), PAIRINGS)
def test_watching(benchmark: Any, tmp_path: Path, what: str, who: str) -> None:
    """p50 and p99 in µs of both; `ratio` is that of the p99s, the median of the rounds."""
    found: dict[bool, list[dict[str, float]]] = {True: [], False: []}

    def rounds() -> None:
        for number in range(ROUNDS):
            for is_watched in (False, True) if number % 2 else (True, False):
                folder = tmp_path / f"{number}{is_watched}"
                folder.mkdir()
                more = "history = false\n" if who == "history" and not is_watched else ""
                with (ONLOOKERS[who] if is_watched else nobody)(folder) as looking:
                    found[is_watched].append(percentiles(MEASURED[what](folder, looking, more)))

    benchmark.pedantic(rounds, rounds=1)
    for is_watched, name in ((True, "watched"), (False, "alone")):
        for quantile in ("p50", "p99"):
            figure = median(each[quantile] for each in found[is_watched])
            benchmark.extra_info[f"{name}_{quantile}_us"] = round(figure, 1)
    for quantile in ("p50", "p99"):
        ratios = [a[quantile] / b[quantile] for a, b in zip(found[True], found[False], strict=True)]
        benchmark.extra_info[f"{quantile}_ratio"] = round(median(ratios), 2)
    benchmark.extra_info["ratio"] = benchmark.extra_info["p99_ratio"]
