"""`engine top` against real engines on the local venue: what it shows is what `engine status` tells."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from engine.cli.onlookers.top import top as command
from engine.errors import ConfigError
from engine.top.app import TopApp
from engine.top.keyed_table import KeyedTable
from engine.top.link import Link
from tests.integration.rig import CALM, ENGINE, Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue
from tests.waiting import PATIENCE_S, until

NARROW, WIDE = (80, 24), (200, 50)
PROGRAM = """
import asyncio
from engine import Engine

async def main():
    async with Engine.open(venue="local", symbols=["BTC/USD"], name="mine") as engine:
        await engine.until_trading()
        book = await engine.book("BTC/USD")
        pair = await engine.pair("BTC/USD")
        await engine.buy("BTC/USD", "0.002", limit=pair.round_price(book.best_bid.price * 9 / 10, "down"))
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def trading(tmp_path: Path) -> Iterator[TradingEngine]:
    """An engine with a puppet for a strategy, which takes orders."""
    venues = Engines(tmp_path / "venue")
    venues.folder.mkdir()
    venue = TradingVenue(venues, "--no-rate-counter", symbols="BTC/USD,ETH/USD")
    engine = TradingEngine(venue, tmp_path / "engine", relay=False, symbols="BTC/USD,ETH/USD")
    try:
        engine.start()
        eventually(engine.is_open, "orders are taken")
        yield engine
    finally:
        engine.close()
        venues.close()


def link_to(engines: Engines, name: str = "default") -> Link:
    directory = engines.runtime / "kraken-engine" / name
    return Link(name, directory / "control", directory / "router")


@asynccontextmanager
async def top(engines: Engines, *, control: bool = False, size: tuple[int, int] = WIDE, name: str = "default") -> Any:
    """The screen of an engine, with its keys."""
    link = link_to(engines, name)
    link.open()
    app = TopApp(link, control=control)
    async with app.run_test(size=size) as pilot:
        await shows(pilot, lambda: app.shown is not None)
        yield pilot
    link.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


async def shows(pilot: Pilot[None], condition: Callable[[], Any]) -> None:
    """Wait until the screen does."""

    def holds() -> Any:
        assert pilot.app.is_running
        return condition()

    await until(holds, "the screen shows it", PATIENCE_S)


def text_of(pilot: Pilot[None]) -> str:
    """What is on the screen, as text."""
    seen = [widget for widget in pilot.app.screen.walk_children(Static) if widget.size.width and widget.size.height]
    return "\n".join(f"{widget.border_title or ''}\n{widget.render()}" for widget in seen)


def row_of(pilot: Pilot[None], table: str, key: str) -> list[str]:
    found = pilot.app.query_one(table, KeyedTable)
    return [str(cell) for cell in found.get_row(key)] if key in found.keys else []


def test_it_shows_what_status_tells(trading: TradingEngine) -> None:
    """Every key of the summary but those that move is the same; what moves has grown."""
    trading.wish("order", name="a", side="buy", order_type="market", qty="0.003")
    trading.wait_for_state("a", "FILLED")
    trading.wish("order", name="b", away=3.0)
    trading.wait_for_state("b", "WORKING")
    key = trading.id_of("b")

    async def test() -> None:
        async with top(trading.engines) as pilot:
            app = pilot.app
            await shows(pilot, lambda: row_of(pilot, "#orders", key))
            before = await asyncio.to_thread(trading.status)
            await app.refresh_now()
            picture = app.shown.picture
            shown = picture.summary
            after = await asyncio.to_thread(trading.status)

            assert shown.keys() == before.keys()
            for name in ("orders", "fills", "positions", "restarts", "processes", "pid", "venue", "native"):
                assert shown[name] == before[name] == after[name], name
            assert {name: pair["state"] for name, pair in shown["symbols"].items()} == dict.fromkeys(
                ("BTC/USD", "ETH/USD"), "live"
            )
            assert before["seconds"] <= shown["seconds"] <= after["seconds"]
            for name in before["rings"]:
                counts = [each["rings"][name]["published"] for each in (before, shown, after)]
                assert counts == sorted(counts)
            counts = [each["latency_us"]["wire_to_strategy"]["count"] for each in (before, shown, after)]
            assert counts == sorted(counts)
            for pair in ("BTC/USD", "ETH/USD"):
                counts = [each["symbols"][pair]["updates"] for each in (before, shown, after)]
                assert counts == sorted(counts)

            (order,) = await asyncio.to_thread(lambda: trading.router("orders")["orders"])
            side, left, limit, state, *_ = row_of(pilot, "#orders", key)
            assert (side, state) == (order["side"], "working")
            assert (Decimal(left), Decimal(limit)) == (Decimal(order["qty"]), Decimal(order["limit_price"]))
            told = [each["exec_id"] for each in trading.diary().entries("fill")]
            assert [each.fill.exec_id for each in reversed(picture.fills)] == told
            money = shown["pnl"]["by_currency"]["USD"]
            assert picture.money[0].net == (
                Decimal(money["realized"]) + Decimal(money["unrealized"]) - Decimal(money["fees"])
            )
            text = text_of(pilot)
            for part in (
                "read-only",
                "ACTIVE open",
                "0.003 BTC",
                "wire → strategy",
                "order_router",
                "market-0",
                "all is well",
            ):
                assert part in text

    run(test)


def test_orders_and_fills_are_seen_as_they_happen_and_the_router_is_asked_nothing(trading: TradingEngine) -> None:
    """The rings tell it all: without the router's socket it is the same."""
    (trading.engines.runtime / "kraken-engine" / "default" / "router").unlink()

    def states(pilot: Pilot[None]) -> list[str]:
        table = pilot.app.query_one("#orders", KeyedTable)
        return [row_of(pilot, "#orders", key)[3] for key in table.keys]

    async def test() -> None:
        async with top(trading.engines) as pilot:
            trading.wish("order", name="a", away=3.0)
            await shows(pilot, lambda: states(pilot) == ["working"])
            trading.wish("cancel", names=["a"])
            await shows(pilot, lambda: states(pilot) == ["canceled"])
            trading.wish("order", name="b", side="buy", order_type="market", qty="0.002")
            await shows(pilot, lambda: pilot.app.shown.picture.fills)

    run(test)


def test_keys_choose_a_pair_and_a_page_and_the_room_may_change(engines: Engines) -> None:
    """80 columns have two pages, 200 have one."""
    engines.start(*CALM, "--symbols", "BTC/USD,ETH/USD").wait_until_live()

    async def test() -> None:
        async with top(engines, size=NARROW) as pilot:
            app = pilot.app
            await shows(pilot, lambda: "BTC/USD live" in text_of(pilot))
            assert "public_feed-0" not in text_of(pilot)
            await pilot.press("right_square_bracket")
            await shows(pilot, lambda: "ETH/USD live" in text_of(pilot))
            await pilot.press("up")
            await shows(pilot, lambda: app.symbol == "BTC/USD" and "BTC/USD live" in text_of(pilot))
            await pilot.press("e")
            await shows(pilot, lambda: "public_feed-0" in text_of(pilot))
            assert "BTC/USD live" not in text_of(pilot)
            await pilot.resize_terminal(*WIDE)
            await shows(pilot, lambda: "public_feed-0" in text_of(pilot) and "BTC/USD live" in text_of(pilot))
            dark = app.current_theme.dark
            await pilot.press("t")
            assert app.current_theme.dark is not dark
            await pilot.resize_terminal(20, 5)
            await app.refresh_now()
            await pilot.press("h", "c", "a", "r")
            assert len(app.screen_stack) == 1  # nothing is asked: read-only
            await pilot.press("q")

    run(test)


def test_with_control_it_cancels_halts_and_resumes_when_asked_back(trading: TradingEngine) -> None:
    """n changes nothing, y what the question says."""
    for name in ("a", "b"):
        trading.wish("order", name=name, away=3.0)
        trading.wait_for_state(name, "WORKING")

    async def test() -> None:
        async with top(trading.engines, control=True) as pilot:
            await shows(pilot, lambda: row_of(pilot, "#orders", trading.id_of("a")))
            chosen = pilot.app.query_one("#orders", KeyedTable).chosen
            await pilot.press("c", "n")
            await pilot.press("h", "escape")
            assert [row["state"] for row in trading.router("orders")["orders"]] == ["working", "working"]
            assert trading.is_open()
            await pilot.press("c")
            await pilot.app.refresh_now()  # behind the question
            assert chosen in text_of(pilot)
            await pilot.press("y")
            await shows(pilot, lambda: row_of(pilot, "#orders", chosen)[3] == "canceled")
            assert len(trading.router("orders")["orders"]) == 1
            await pilot.press("h", "y")
            await shows(pilot, lambda: "HALTED CLOSED" in text_of(pilot) and "trading is closed" in text_of(pilot))
            await asyncio.to_thread(eventually, lambda: not trading.router("orders")["orders"], "all are canceled")
            await pilot.press("r", "y")
            await shows(pilot, lambda: "ACTIVE open" in text_of(pilot))

    run(test)


def test_an_engine_that_stops_is_waited_for_and_attached_to_again(engines: Engines) -> None:
    """It says so, keeps the last picture, and shows the next run."""
    first = engines.start(*CALM, "--symbols", "BTC/USD")
    first.wait_until_live()

    async def test() -> None:
        async with top(engines) as pilot:
            app = pilot.app
            await shows(pilot, lambda: "BTC/USD live" in text_of(pilot))
            assert await asyncio.to_thread(first.stop) == 0
            await shows(pilot, lambda: "has stopped; waiting for it to start again" in text_of(pilot))
            assert app.shown.picture.summary["pid"] == first.process.pid
            second = engines.start(*CALM, "--symbols", "ETH/USD")
            await shows(pilot, lambda: "ETH/USD live" in text_of(pilot))
            assert app.shown.condition == ""
            assert app.shown.picture.summary["pid"] == second.process.pid
            # Killed at once, with everything that it has started.
            second.process.kill()
            await shows(pilot, lambda: "has stopped" in app.shown.condition)

    run(test)


def test_an_engine_that_stands_still_gives_no_sign_of_life(engines: Engines) -> None:
    """And is shown again when it goes on: the same run."""
    running = engines.start(*CALM, "--symbols", "BTC/USD")
    running.wait_until_live()

    async def test() -> None:
        async with top(engines) as pilot:
            app = pilot.app
            before = app.shown.picture.summary
            running.process.send_signal(signal.SIGSTOP)
            await shows(pilot, lambda: "gives no sign of life" in app.shown.condition)
            running.process.send_signal(signal.SIGCONT)
            await shows(pilot, lambda: app.shown.condition == "")
            after = app.shown.picture.summary
            assert after["pid"] == before["pid"]
            assert after["seconds"] > before["seconds"]

    run(test)


def test_a_program_with_an_engine_is_attached_to_as_well(engines: Engines) -> None:
    """Its orders are those of a strategy named as the program's engine names it."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=engines.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        async def test() -> None:
            async with top(engines, name="mine") as pilot:
                await shows(pilot, lambda: pilot.app.query_one("#orders", KeyedTable).keys)
                (key,) = pilot.app.query_one("#orders", KeyedTable).keys
                assert row_of(pilot, "#orders", key)[:2] == ["buy", "0.002"]
                assert "ACTIVE open" in text_of(pilot)

        run(test)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        process.stdout.close()


def test_what_cannot_be_shown_is_one_sentence(engines: Engines) -> None:
    """No engine, no terminal."""
    no_terminal = engines.call("top")
    assert no_terminal.returncode == 2
    assert no_terminal.stderr == ("engine: `engine top` needs a terminal; `engine status` prints what it shows, once\n")
    with (engines.folder / "errors").open("w") as errors:
        ended, _ = in_terminal(engines, "top", errors=errors)
    assert ended == 2
    assert (engines.folder / "errors").read_text() == no_terminal.stderr
    ended, text = in_terminal(engines, "top", "--name", "nobody")
    assert ended == 2
    assert "no engine named nobody is running; start one with `engine run`" in text


def test_without_its_extra_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """textual is not part of the base."""
    monkeypatch.setitem(sys.modules, "textual", None)

    with pytest.raises(ConfigError, match=r"needs the package textual; install it with .*kraken-engine\[top\]"):
        command.callback(name="default", control=False)


def test_it_draws_on_a_real_terminal_and_leaves_it_as_it_was(engines: Engines) -> None:
    """q ends it; so does a signal."""
    engines.start(*CALM, "--symbols", "BTC/USD").wait_until_live()
    code, text = in_terminal(engines, "top", keys="q")

    assert code == 0
    assert "BTC/USD" in text
    assert text.rindex("\x1b[?1049l") > text.rindex("\x1b[?1049h")  # the other screen, and back
    code, text = in_terminal(engines, "top", number=signal.SIGTERM)
    assert code == 0
    assert text.rindex("\x1b[?1049l") > text.rindex("\x1b[?1049h")


def in_terminal(
    engines: Engines, *arguments: str, keys: str = "", number: int | None = None, errors: IO[str] | None = None
) -> tuple[int, str]:
    """Run `engine …` on a terminal of its own, with standard error elsewhere if that is
    given; press keys or send a signal once it shows a pair; its exit code, and what it wrote."""
    outer, inner = pty.openpty()
    process = subprocess.Popen(
        [*ENGINE, *arguments], stdin=inner, stdout=inner, stderr=errors or inner,
        env=engines.environment | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}, start_new_session=True,
    )  # fmt: skip
    os.close(inner)
    text = b""
    try:
        while True:
            try:
                text += os.read(outer, 65536)
            except OSError:
                break
            if b"BTC/USD" in text:
                if keys:
                    os.write(outer, keys.encode())
                    keys = ""
                elif number is not None:
                    process.send_signal(number)
                    number = None
        return process.wait(PATIENCE_S), text.decode(errors="replace")
    finally:
        process.kill()
        os.close(outer)
