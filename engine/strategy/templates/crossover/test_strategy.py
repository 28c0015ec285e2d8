"""pytest: the decision alone, and all of it on the built-in exchange, with play money."""

import asyncio
import os
from decimal import Decimal
from pathlib import Path

import pytest

from engine import Engine
from engine.strategy.templates.crossover.strategy import Crossover, is_up

FOLDER = Path(__file__).parent


@pytest.mark.parametrize(
    ("closes", "expected"),
    [
        ([1, 2, 3], None),  # too few
        ([1, 2, 3, 4], True),
        ([4, 3, 2, 1], False),
        ([2, 2, 2, 2], False),
        ([9, 9, 1, 1, 2, 2], True),  # only the last four count
    ],
)
def test_the_averages_of_the_last_closes_decide(closes: list[int], expected: bool | None) -> None:
    """A decision needs no exchange."""
    assert is_up([Decimal(close) for close in closes], fast=2, slow=4) is expected


def test_it_holds_what_its_averages_say_on_the_built_in_exchange() -> None:
    """Candles from before the start come by REST, so it decides within seconds."""

    async def run() -> None:
        bot = Crossover()
        bot.timer_s = 0.2
        engine = await Engine.open(
            FOLDER / "engine.toml",
            venue="local",
            name=f"test-{os.getpid()}",
            strategies=[bot],
            settings={"strategy": []},  # the one of this test, with a faster timer, in place of the configured
        )
        try:
            up = None
            async with asyncio.timeout(30):
                while up is None or (up and not engine.status()["fills"]):
                    candles = bot.context.candles(bot.symbol, bot.interval_min, bot.slow + 1)
                    up = is_up([candle.close for candle in candles if candle.closed], bot.fast, bot.slow)
                    await asyncio.sleep(0.05)
        finally:
            await engine.close()
        summary = engine.status()

        assert summary["exit"] == "clean"
        assert summary["strategies"]["Crossover"]["errors"] == 0
        assert summary["ledger"]["agree"], summary["ledger"]["differences"]

    asyncio.run(run())
