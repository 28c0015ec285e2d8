"""What a page that is open costs: memory of the browser, processor time of the engine.

    .venv/bin/python -m bench.page_open --minutes 10

Three phases of one run at 5,000 book messages a second: nobody looks on, a page is served,
a Chromium shows it. Of each the processor time of the engine's processes; in the last one
the memory that the page's process has to itself, and its script's heap, each half minute.
"""

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine.attach.process_usage import usage_of
from engine.cli.ask import summary_at
from engine.net.control_socket import NobodyListens
from tests.external.browser import Browser

ENGINE = (sys.executable, "-P", "-m", "engine")
QUOTER = Path(__file__).parents[1] / "engine" / "strategy" / "examples" / "quoter.py"
SAMPLE_S = 10.0
SERVED = re.compile(r"http://127\.0\.0\.1:\d+/\S+/")


def status(folder: Path) -> dict:
    """The engine's status; empty while it does not answer."""
    try:
        return summary_at(folder / "kraken-engine" / "default" / "control")
    except NobodyListens:
        return {}


class Usage:
    """Processor time of the engine's processes since some moment."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._began = time.monotonic()
        self._before = self._cpu_s()

    def _cpu_s(self) -> dict[str, float]:
        return {name: used.cpu_s for name, pid in self._pids.items() if (used := usage_of(pid)) is not None}

    def percent(self) -> dict[str, float]:
        """Of one core, by process."""
        took_s = time.monotonic() - self._began
        return {name: round(100 * (used - self._before[name]) / took_s, 2) for name, used in self._cpu_s().items()}


async def measure(rate: int, minutes: float, quiet_s: float) -> None:
    """Run the phases and print what they took."""
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        environment = os.environ | {"XDG_RUNTIME_DIR": name}
        run = subprocess.Popen(
            (*ENGINE, "run", "--venue", "local", "--venue-options", f"--rate {rate}", "--symbols", "BTC/USD,ETH/USD",
             "--strategy", QUOTER, "--log-level", "error"),
            env=environment,
        )  # fmt: skip
        page: subprocess.Popen[str] | None = None
        try:
            while not (told := status(folder)).get("fills"):
                await asyncio.sleep(0.5)
            pids = {"engine": told["pid"], **told["processes"]}
            updates, began = sum(p["updates"] for p in told["symbols"].values()), time.monotonic()
            usage = Usage(pids)
            await asyncio.sleep(quiet_s)
            print(json.dumps({"phase": "nobody looks on", "core_percent": usage.percent()}), flush=True)
            page = subprocess.Popen((*ENGINE, "page"), env=environment, stdout=subprocess.PIPE, text=True)
            assert page.stdout is not None
            found = SERVED.search(page.stdout.readline())
            assert found is not None
            pids["page"] = page.pid
            usage = Usage(pids)
            await asyncio.sleep(quiet_s)
            print(json.dumps({"phase": "a page is served", "core_percent": usage.percent()}), flush=True)
            async with Browser(folder) as browser:
                await browser.look(1280, 900)
                await browser.open(found[0])
                await browser.until("document.querySelectorAll('.main-svg').length > 4", "the charts are drawn")
                usage = Usage(pids)
                opened = time.monotonic()
                while (since := time.monotonic() - opened) < 60 * minutes:
                    await asyncio.sleep(SAMPLE_S)
                    own_mb, heap_mb = await browser.memory_mb()
                    print(
                        json.dumps({"open_s": round(since + SAMPLE_S), "own_mb": round(own_mb, 1),
                                    "heap_mb": round(heap_mb, 1), "core_percent": usage.percent()}), flush=True,
                    )  # fmt: skip
            now = sum(p["updates"] for p in status(folder)["symbols"].values())
            print(json.dumps({"messages_a_second": round((now - updates) / (time.monotonic() - began))}))
        finally:
            for process in (page, run):
                if process is not None:
                    process.terminate()
                    process.wait(60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="for which the page is open")
    parser.add_argument("--rate", type=int, default=5000, help="book messages a second")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds of the first two phases, each")
    chosen = parser.parse_args()
    asyncio.run(measure(chosen.rate, chosen.minutes, chosen.quiet))
