"""Paper trading from the command line and in a program: a venue in a process of its own stands in for Kraken."""

import asyncio
import json
from pathlib import Path

import pytest

from engine import Engine, OrderRefused
from tests.integration.public_relay import PublicRelay
from tests.integration.rig import Diary, Engines, summary_of
from tests.reference import summary_keys_told
from tests.waiting import PATIENCE_S, eventually

PUPPET = Path(__file__).parent / "strategies" / "puppet.py"


def config_of(folder: Path, url: str) -> Path:
    """A file that says nothing of paper."""
    path = folder / "bot.toml"
    path.write_text(
        f'symbols = ["BTC/USD"]\n[venue]\nurl = "{url}"\n[[strategy]]\ntarget = "{PUPPET}"\nname = "puppet"\n'
        f'params = {{ path = "{folder / "puppet"}" }}\n'
    )
    return path


def test_the_same_file_trades_on_paper_and_its_ledger_agrees(engines: Engines, tmp_path: Path) -> None:
    """A taker and a maker on another venue's market, through a loss of the connection to it; the summary says what the
    profit assumes.
    """
    _, url = engines.venue("--symbols", "BTC/USD", "--rate", 500)
    relay = PublicRelay(url)
    try:
        config, summary = config_of(tmp_path, relay.url), tmp_path / "summary.json"
        engine = engines.start(config, "--venue", "paper", "--summary", summary)
        assert engine.wait_until_live()["venue"] == f"paper on {relay.url}"  # nobody takes it for real money
        diary = Diary(tmp_path / "puppet")
        wishes = (tmp_path / "puppet.wishes").open("a", buffering=1)

        def wish(name: str, **order: object) -> None:
            wishes.write(json.dumps({"do": "order", "name": name, "side": "buy", "qty": "0.001", **order}) + "\n")

        def filled(count: int) -> bool:
            return len(diary.entries("fill")) >= count

        wish("taker", away=-0.5)
        eventually(lambda: filled(1), "the taker is filled")
        wish("maker", away=0)
        eventually(lambda: filled(2), "the maker is filled when its queue has traded")
        relay.fail("cut")
        engine.wait_for(lambda status: status["symbols"]["BTC/USD"]["snapshots"] >= 2, "the feed is back")
        engine.wait_until_live()
        seen = len(diary.entries("fill"))

        def filled_again() -> bool:
            if len(diary.entries("fill")) > seen:
                return True
            wish("again", away=-0.5)  # refused while the market there is not back
            return False

        eventually(filled_again, "trading goes on")
        assert engine.stop() == 0
        wishes.close()
    finally:
        relay.close()
    told = summary_of(summary)
    assert told["ledger"]["agree"], told["ledger"]
    assert told["ledger"]["fills"] >= 3
    assert {f"paper.{key}" for key in told["paper"]} == {key for key in summary_keys_told() if key.startswith("paper.")}
    assert told["paper"]["taker_fee_percent"] > told["paper"]["maker_fee_percent"] > 0
    assert told["paper"]["round_trip_ms"] > 0
    assert told["paper"]["assumptions"]
    assert "paper profit" in engines.logs()


def test_a_program_trades_on_paper(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same word, with funds as asked for and nothing else; a pair that it adds has no orders there."""
    _, url = engines.venue("--symbols", "BTC/USD,ETH/USD", "--rate", 500)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(engines.runtime))

    async def program() -> None:
        opening = Engine.open(
            venue="paper", symbols=["BTC/USD"], name="paper-program", settings={"venue.url": url},
            venue_options="--funds USD=500",
        )  # fmt: skip
        async with opening as engine:
            book = await engine.book("BTC/USD", age_s_max=5)
            assert book.best_ask is not None
            await engine.until_trading()
            assert (await engine.balance("USD")).free == 500
            assert (await engine.balance("BTC")).total == 0
            taken = await engine.buy("BTC/USD", "0.001", limit=book.best_ask.price + 10)
            await taken.until_over(PATIENCE_S)
            await engine.subscribe("ETH/USD")
            untraded = await engine.buy("ETH/USD", "0.01")
            with pytest.raises(OrderRefused, match="on paper, one of `symbols`"):
                await untraded.until_acknowledged(PATIENCE_S)
        summary = engine.status()
        assert summary["ledger"]["agree"], summary["ledger"]
        assert summary["paper"]["assumptions"]

    asyncio.run(program())


def test_a_configuration_is_checked_on_paper(engines: Engines, tmp_path: Path) -> None:
    """With the paper account's own key."""
    _, url = engines.venue("--symbols", "BTC/USD")
    done = engines.call("check", config_of(tmp_path, url), "--venue", "paper")

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("ready to trade")
