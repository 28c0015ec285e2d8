"""Pairs that come and go while an engine runs: real processes, the built-in venue."""

import asyncio
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import CallError, Engine, EngineStopped, FeedState, NotAvailable, Order, OrderRefused, OrderState
from engine.cli.view import status_text
from engine.records import FeedStateChange
from tests.integration.rig import STRATEGIES, Diary, Engines, summary_of
from tests.waiting import PATIENCE_S, eventually, turns, until

CALM = "--rate 200"


@pytest.fixture
def run_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of this test alone, and short enough for sockets; nothing is left behind in it, nor as a process."""
    with tempfile.TemporaryDirectory(prefix="tm") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield
        assert not list(Path(folder).rglob("control"))
    assert not [child for child in psutil.Process().children(recursive=True) if "engine" in child.cmdline()]


def run(program: Callable[[], Awaitable[None]]) -> None:
    """A program, from its start to its end."""
    asyncio.run(program())  # type: ignore[arg-type]


async def kill(engine: Engine, name: str) -> None:
    """kill -9 of a process; returns when its successor has been started."""
    restarts = engine.status()["restarts"][name]
    os.kill(engine.status()["processes"][name], signal.SIGKILL)
    await until(lambda: engine.status()["restarts"][name] > restarts, f"{name} starts again")


async def bought(engine: Engine) -> Order | None:
    """An order that was taken; None when it was refused."""
    try:
        return await engine.buy("SOL/USD", "0.5")
    except OrderRefused:
        return None


@pytest.mark.usefixtures("run_directory")
def test_a_program_subscribes_trades_and_gives_back_over_the_deaths_of_processes() -> None:
    """A pair that was added is a pair as any: verified, traded, back after each death; until it is given back."""
    told: list[FeedStateChange] = []

    async def program() -> None:
        async with Engine.open(
            venue="local", symbols=["BTC/USD", "ETH/USD"], venue_options=CALM, settings={"feed.shards": 2}
        ) as engine:
            engine.on("feed_state", told.append)
            await asyncio.gather(engine.subscribe("SOL/USD", channels=["book", "trade"]), engine.subscribe("XRP/USD"))
            assert engine.symbols == ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD")
            book = await engine.book("SOL/USD")
            assert book.is_verified
            await engine.ticker("XRP/USD")
            await engine.until_trading()
            pair = await engine.pair("SOL/USD")
            assert book.best_bid is not None
            limit = pair.round_price(book.best_bid.price / 2, "down")
            resting = await engine.buy("SOL/USD", "0.5", limit=limit, post_only=True)
            await resting.until_acknowledged()
            taken = await engine.buy("SOL/USD", "0.5")
            assert (await taken.until_over(10)).is_filled
            shown = engine.status()["symbols"]["SOL/USD"]
            assert (shown["channels"], shown["added"], shown["state"]) == (["book", "trade"], True, "live")
            assert "subscribed at run time: SOL/USD (book, trade), XRP/USD (book, trade, " in status_text(
                engine.status()
            )
            with pytest.raises(CallError, match="the ticker channel of SOL/USD is not followed"):
                await engine.ticker("SOL/USD")

            for process in ("public_feed-0", "public_feed-1"):
                await kill(engine, process)
            for symbol in engine.symbols:
                await engine.book(symbol, age_s_max=1)
            await kill(engine, "order_router")
            async with asyncio.timeout(PATIENCE_S):
                while (again := await bought(engine)) is None:  # until the successor knows the account
                    await turns()
            assert (await again.until_over(10)).is_filled

            await engine.unsubscribe("SOL/USD")
            await engine.unsubscribe("SOL/USD")
            with pytest.raises(CallError, match="'SOL/USD' is not followed"):
                await engine.book("SOL/USD")
            await until(lambda: ("SOL/USD", FeedState.UNSUBSCRIBED) in [(one.symbol, one.state) for one in told])
            assert resting.is_open
            assert engine.position("SOL/USD").qty == 1
            assert engine.status()["symbols"]["SOL/USD"]["state"] == "unsubscribed"
            assert engine.status()["symbols"]["SOL/USD"]["channels"] == []
            assert "SOL/USD" not in engine.sources()["pairs"]
            await engine.cancel(resting)
            assert (await resting.until_over(10)).state is OrderState.CANCELED

            with pytest.raises(OrderRefused, match="SOL/USD cannot be traded: it was unsubscribed"):
                await engine.buy("SOL/USD", "0.5")
            await engine.subscribe("SOL/USD")
            await engine.ticker("SOL/USD")
            last = await engine.sell("SOL/USD", "0.5")
            assert (await last.until_over(10)).is_filled
        status = engine.status()
        assert (status["exit"], status["ledger"]["agree"]) == ("clean", True)
        with pytest.raises(EngineStopped, match=r"ended \(clean\)"):
            await engine.subscribe("SOL/USD")
        with pytest.raises(EngineStopped, match=r"ended \(clean\)"):
            await engine.unsubscribe("SOL/USD")

    run(program)


@pytest.mark.usefixtures("run_directory")
def test_mistakes_are_one_sentence_and_harm_nothing() -> None:
    """Names that there are not, no room, an answer that does not come."""

    async def program() -> None:
        async with Engine.open(
            venue="local", symbols=["BTC/USD"], venue_options=CALM, settings={"feed.pairs_added_max": 2}
        ) as engine:
            await engine.pair("BTC/USD")  # Kraken's list of pairs is there
            for number in range(4):  # a refused name takes no place
                with pytest.raises(CallError, match=rf"Kraken refuses \w+ of SO{number}/USD .*did you mean"):
                    await engine.subscribe(f"SO{number}/USD")
            with pytest.raises(CallError, match=r"no symbol of Kraken's v2; use SOL/USD"):
                await engine.subscribe("sol-usd")
            with pytest.raises(CallError, match=r"'boks' is no channel; did you mean book\?"):
                await engine.subscribe("SOL/USD", channels=["boks"])
            with pytest.raises(CallError, match=r"'SOL/USD' is not followed"):
                engine.on("book", told.append, symbol="SOL/USD")
            with pytest.raises(CallError, match=r"SOL/USD is not followed; program follows BTC/USD"):
                await engine.unsubscribe("SOL/USD")
            waiting = asyncio.ensure_future(engine.subscribe("SOL/USD"))
            await turns()
            await engine.unsubscribe("SOL/USD")
            with pytest.raises(CallError, match="SOL/USD was unsubscribed meanwhile"):
                await waiting
            await engine.subscribe("SOL/USD")
            await engine.subscribe("XRP/USD", channels="ticker")
            with pytest.raises(CallError, match=r"2 pairs were added .*feed\.pairs_added_max"):
                await engine.subscribe("DOGE/USD")
            engine.on("book", told.append, symbol="SOL/USD")
            await until(lambda: bool(told), "a handler of the pair is called")
            assert (await engine.book("BTC/USD")).is_verified

            feed = psutil.Process(engine.status()["processes"]["public_feed-0"])
            feed.suspend()
            try:
                with pytest.raises(NotAvailable, match=r"XRP/USD stays wanted, but .*within 0.2 s"):
                    await engine.subscribe("XRP/USD", timeout_s=0.2)
            finally:
                feed.resume()
            assert (await engine.book("XRP/USD")).is_verified  # it was wanted all the time
        assert engine.status()["exit"] == "clean"

    told: list[Any] = []
    run(program)


def test_strategies_subscribe_for_themselves(engines: Engines, tmp_path: Path) -> None:
    """In their own thread; one that is refused is told why; a kill of the feed does not end it."""
    diary, other = Diary(tmp_path / "diary"), Diary(tmp_path / "other")
    config = tmp_path / "engine.toml"
    config.write_text(
        f"""
        symbols = ["BTC/USD"]
        [[strategy]]
        target = "{STRATEGIES}:Caller"
        params = {{ path = "{diary.path}", wanted = ["SOL/USD", "SOX/USD", "sol/usd"], given_back = ["BTC/USD"] }}
        [[strategy]]
        target = "{STRATEGIES}:Diary"
        params = {{ path = "{other.path}" }}
        """
    )
    engine = engines.start(config, "--venue", "local", "--venue-options", CALM, "--summary", tmp_path / "out.json")

    def books(of: Diary, symbol: str) -> int:
        return sum(entry["symbol"] == symbol for entry in of.entries("book"))

    eventually(lambda: books(diary, "SOL/USD") > 3, "books of the pair that it asked for")
    eventually(lambda: "unsubscribed" in diary.states("SOX/USD"), "it is told of the refusal")
    eventually(lambda: "unsubscribed" in diary.states("BTC/USD"), "and that it gave a pair back")
    reasons = {entry["symbol"]: entry["reason"] for entry in diary.entries("state") if entry["state"] == "unsubscribed"}
    assert "did you mean SOL/USD?" in reasons["SOX/USD"]
    assert "use SOL/USD" in reasons["sol/usd"]
    (pid,) = engine.feed_pids()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: diary.states("SOL/USD") == ["live", "stale", "live"], "it comes back")
    seen = books(other, "BTC/USD")
    eventually(lambda: books(other, "BTC/USD") > seen, "the other strategy's pair goes on")
    engine.stop()
    summary = summary_of(tmp_path / "out.json")

    assert summary["exit"] == "clean"
    assert summary["symbols"]["SOL/USD"]["added"]
    assert "SOX/USD" not in summary["symbols"]
    assert books(other, "SOL/USD") == 0
    story = [entry for entry in diary.entries("state", "book") if entry["symbol"] == "BTC/USD"]
    gone = next(index for index, entry in enumerate(story) if entry.get("state") == "unsubscribed")
    assert [entry for entry in story[gone + 1 :] if entry["what"] == "book"] == []
