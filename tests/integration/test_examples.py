"""The examples of programs do what they say: on one engine, and their tests as anybody would run them."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from engine import Engine, OrderState
from engine.client import examples
from engine.client.examples import from_scratch, migrated_bot, one_feed, wallet_of_a_bot
from tests.waiting import PATIENCE_S, until

FOLDER = Path(next(iter(examples.__path__)))
SYMBOL = "BTC/USD"

Run = Callable[[Callable[[Engine], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs a coroutine with the engine that all tests of this module share."""
    with (
        tempfile.TemporaryDirectory(prefix="tm") as folder,
        pytest.MonkeyPatch.context() as patch,
        asyncio.Runner() as loop,
    ):
        patch.setenv("XDG_RUNTIME_DIR", folder)

        async def start() -> Engine:
            engine = await Engine.open(venue="local", symbols=[SYMBOL, "ETH/USD"], venue_options="--rate 200")
            await engine.until_trading()
            return engine

        async def call(scenario: Callable[[Engine], Awaitable[None]]) -> None:
            await scenario(engine)

        engine = loop.run(start())
        yield lambda scenario: loop.run(call(scenario))
        loop.run(engine.close())


def test_the_wallet_of_a_bot_is_told_of_its_money(run: Run) -> None:
    """What is free at the start, and after a fill; the fees of each."""

    async def scenario(engine: Engine) -> None:
        wallet = wallet_of_a_bot.Wallet()
        await wallet_of_a_bot.connect(engine, wallet, ["USD", "BTC"])
        before = dict(wallet.free)
        order = await engine.buy(SYMBOL, "0.001")
        await order.until_over(10)
        await until(lambda: wallet.free["BTC"] == before["BTC"] + Decimal("0.001"), "the purchase is told")
        paid = order.cost + order.fees["USD"]  # each booking is rounded to the account's precision
        await until(lambda: abs(before["USD"] - wallet.free["USD"] - paid) < Decimal("0.01"), "its price too")
        assert wallet.fees == order.fees
        assert wallet.can_spend("USD", Decimal(1))
        assert not wallet.can_spend("DOGE", Decimal(1))

    run(scenario)


def test_one_feed_answers_for_every_pair_and_names_its_sources(run: Run) -> None:
    """And is in good health."""

    async def scenario(engine: Engine) -> None:
        for symbol in engine.symbols:
            seen = await one_feed.look(engine, symbol)
            assert (seen["ticker_source"], seen["book_source"], seen["is_verified"]) == ("websocket", "websocket", True)
            assert seen["free"] > 0
        await until(lambda: not one_feed.health(engine), "there is no alarm")
        assert await one_feed.alarms(engine, again_after_s=0.0) == []

    run(scenario)


@pytest.mark.parametrize("patience_s", [0.0, 0.2])
def test_trading_from_scratch_buys_all_of_it(run: Run, patience_s: float) -> None:
    """Whoever waits too long for its bid takes; either way nothing is left open."""

    async def scenario(engine: Engine) -> None:
        orders = await from_scratch.buy(engine, SYMBOL, Decimal("0.002"), patience_s)
        bought = sum(order.filled_qty for order in orders)
        assert Decimal("0.002") - bought < Decimal("0.0001")
        assert not engine.orders
        assert all(order.state in (OrderState.FILLED, OrderState.CANCELED) for order in orders)

    run(scenario)


def test_the_migrated_bot_buys_its_dip_once(run: Run) -> None:
    """Tickers go on coming, and it has what it wanted."""

    async def scenario(engine: Engine) -> None:
        bot = migrated_bot.DipBuyer(engine, SYMBOL, Decimal("0.001"), dip_percent=Decimal(0))
        await bot.start()
        async with asyncio.timeout(PATIENCE_S):
            await bot.is_done.wait()
        assert bot.bought is not None
        assert bot.bought.filled_qty == Decimal("0.001")

    run(scenario)


@pytest.mark.parametrize(
    "command",
    [("pytest", "-q", FOLDER / "test_of_a_bot.py"), ("engine.client.examples.wallet_of_a_bot",)],
    ids=["tests", "program"],
)
def test_an_example_runs_as_it_stands(command: tuple[str, ...], tmp_path: Path) -> None:
    """Started from a shell: a program, and the tests of a bot."""
    with tempfile.TemporaryDirectory(prefix="tm") as folder:
        ended = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path,
            env=os.environ | {"XDG_RUNTIME_DIR": folder},
        )  # fmt: skip

    assert ended.returncode == 0, ended.stdout + ended.stderr
