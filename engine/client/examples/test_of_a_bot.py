"""Tests of a bot of one's own: its decisions alone, and all of it on the local exchange.

pytest engine/client/examples/test_of_a_bot.py

The local exchange matches orders as Kraken does, with play money and no network. All tests
share one engine, which takes a second or two to start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal

import pytest

from engine import Engine, OrderRefused
from engine.client.examples.migrated_bot import DipBuyer, is_dip

Run = Callable[[Callable[[Engine], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs a coroutine with an engine on the local exchange."""
    with asyncio.Runner() as loop:

        async def start() -> Engine:
            engine = await Engine.open(venue="local", symbols=["BTC/USD"], name="bot-tests")
            await engine.until_trading()
            return engine

        async def call(test: Callable[[Engine], Awaitable[None]]) -> None:
            await test(engine)

        engine = loop.run(start())
        yield lambda test: loop.run(call(test))
        loop.run(engine.close())


@pytest.mark.parametrize(("last", "expected"), [("101", False), ("99.01", False), ("99", True), ("1", True)])
def test_a_dip_is_so_many_per_cent_below_the_highest(last: str, expected: bool) -> None:
    """A decision needs no exchange."""
    assert is_dip(Decimal(100), Decimal(last), dip_percent=Decimal(1)) == expected


def test_the_bot_buys_once(run: Run) -> None:
    """Real matching, real reports, real fees."""

    async def test(engine: Engine) -> None:
        bot = DipBuyer(engine, "BTC/USD", Decimal("0.001"), dip_percent=Decimal(0))
        await bot.start()
        await asyncio.wait_for(bot.is_done.wait(), 10)

        assert bot.bought is not None
        assert bot.bought.filled_qty == Decimal("0.001")
        assert engine.position("BTC/USD").qty == Decimal("0.001")

    run(test)


def test_a_mistake_says_what_to_change(run: Run) -> None:
    """The engine's own checks answer before anything is sent."""

    async def test(engine: Engine) -> None:
        with pytest.raises(OrderRefused, match="tick"):
            await engine.buy("BTC/USD", "0.001", limit="50000.05")

    run(test)
