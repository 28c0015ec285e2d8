"""The page in a real browser shows what `engine status --json` says, and loads nothing from elsewhere."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.external.browser import HOW_TO_GET_IT, Browser, program
from tests.integration.rig import CALM, Engines, RunningEngine
from tests.waiting import eventually

pytestmark = [pytest.mark.external, pytest.mark.skipif(program() is None, reason=HOW_TO_GET_IT)]
QUOTER = Path(__file__).parents[2] / "engine" / "strategy" / "examples" / "quoter.py"
SERVED = re.compile(r"page of the engine named default at (http://\S+)")
DRAWN = "document.querySelectorAll('.main-svg').length > 4 && document.querySelector('#fills').textContent !== '–'"
SCREENS = {"desk": (1280, 900, False), "phone": (390, 844, True)}


def started(engines: Engines) -> tuple[RunningEngine, str]:
    """An engine that quotes two pairs, and the address of its page."""
    engine = engines.start(*CALM, "--page", "--symbols", "BTC/USD,ETH/USD", "--strategy", QUOTER)
    engine.wait_for(lambda s: s["fills"], "it is filled")
    return engine, eventually(lambda: SERVED.search(engines.logs()), "the page is served")[1]


def look(tmp_path: Path, check: Callable[[Browser], Coroutine[Any, Any, None]]) -> None:
    """Run a check with a browser."""

    async def main() -> None:
        async with Browser(tmp_path) as browser:
            await check(browser)

    asyncio.run(main())


# What the page shows, and where the status has it.
FIGURES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "#fills": lambda s: s["fills"],
    "#submitted": lambda s: s["orders"]["submitted"],
    "[data-key='updates BTC/USD']": lambda s: s["symbols"]["BTC/USD"]["updates"],
    "[data-key='updates ETH/USD']": lambda s: s["symbols"]["ETH/USD"]["updates"],
    "[data-key='callbacks Quoter']": lambda s: s["strategies"]["Quoter"]["callbacks"],
    "[data-key='count wire_to_on_book']": lambda s: s["latency_us"]["wire_to_on_book"]["count"],
    "[data-key='count ack']": lambda s: s["latency_us"]["ack"]["count"],
    "[data-key='published market-0']": lambda s: s["rings"]["market-0"]["published"],
    "[data-key='restarts public_feed-0']": lambda s: s["restarts"]["public_feed-0"],
}
EXACT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "#name": lambda s: "default",
    "#state": lambda s: "running",
    "#mode": lambda s: "ACTIVE",
    "#books": lambda s: "2 / 2",
    "[data-key='pid engine']": lambda s: str(s["pid"]),
    "[data-key='pid order_router']": lambda s: str(s["processes"]["order_router"]),
    "[data-key='state BTC/USD']": lambda s: s["symbols"]["BTC/USD"]["state"],
}
PLACES = json.dumps([*FIGURES, *EXACT])
READ = f"Object.fromEntries({PLACES}.map(each => [each, document.querySelector(each)?.textContent]))"


def test_it_shows_what_status_says(engines: Engines, tmp_path: Path):
    """Each figure lies between the status before and the status after; nothing is loaded from elsewhere, and the
    browser has no complaint.
    """
    engine, url = started(engines)

    async def check(browser: Browser) -> None:
        await browser.open(url)
        await browser.until(DRAWN, "it is drawn")
        before = json.loads(engines.call("status", "--json").stdout)
        updates = before["symbols"]["BTC/USD"]["updates"]
        await browser.until(
            f"Number(document.querySelector(\"[data-key='updates BTC/USD']\").textContent) > {updates} + 100 && "
            f"Number(document.querySelector(\"[data-key='callbacks Quoter']\").textContent) > "
            f"{before['strategies']['Quoter']['callbacks']}",
            "a later moment is shown",
        )
        seen = await browser.evaluate(READ)
        after = json.loads(engines.call("status", "--json").stdout)

        wrong = {place: (of(before), seen[place], of(after)) for place, of in FIGURES.items()
                 if not of(before) <= int(seen[place]) <= of(after)}  # fmt: skip
        assert wrong == {}
        assert {place: seen[place] for place in EXACT} == {place: of(after) for place, of in EXACT.items()}
        assert browser.errors == []
        assert [asked for asked in browser.requested if not asked.startswith((url, "data:"))] == []

    look(tmp_path, check)
    assert engine.stop() == 0, engines.logs()


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_a_screen(engines: Engines, tmp_path: Path, screen: str, dark: bool):
    """A desk's and a phone's, light and dark: nothing is wider than the screen, every chart is drawn."""
    width, height, mobile = SCREENS[screen]
    _, url = started(engines)

    async def check(browser: Browser) -> None:
        await browser.look(width, height, dark=dark, mobile=mobile)
        await browser.open(url)
        await browser.until(DRAWN, "it is drawn")
        assert await browser.evaluate("document.documentElement.scrollWidth") == width
        widths = await browser.evaluate(
            "[...document.querySelectorAll('.chart')].map(each => each.getBoundingClientRect().right)"
        )
        assert len(widths) == 5
        assert all(0 < right <= width for right in widths)
        back = await browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", back))) < 300) is dark
        assert browser.errors == []

    look(tmp_path, check)


def test_another_pair_and_latency_are_drawn_and_the_end_is_told(engines: Engines, tmp_path: Path):
    """What is chosen is asked for anew; an engine that has ended is not shown as one that runs."""
    engine, url = started(engines)

    async def check(browser: Browser) -> None:
        await browser.open(url)
        await browser.until(DRAWN, "it is drawn")
        choose = "(() => {{ const one = document.querySelector('#{}'); one.value = '{}'; "
        choose += "one.dispatchEvent(new Event('change')); return true }})()"
        await browser.evaluate(choose.format("symbol", "ETH/USD"))
        await browser.evaluate(choose.format("hop", "ack"))
        await browser.until("document.querySelector('#book-symbol').textContent === 'ETH/USD'", "the other pair")
        await browser.until(
            "document.querySelector('#price').data[0].y.some(each => each > 0 && each < 20000)", "its prices"
        )
        assert await asyncio.to_thread(engine.stop) == 0
        await browser.until("document.querySelector('#state').textContent !== 'running'", "the end is told")

    look(tmp_path, check)
