"""pytest: the decision alone, and all of it on the built-in exchange, with play money."""

import asyncio
import os
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import Engine
from engine.strategy.templates.imbalance.strategy import Imbalance, imbalance

FOLDER = Path(__file__).parent


def levels(*quantities: int) -> Any:
    """A side of a book with these quantities, best first."""
    return [SimpleNamespace(qty=Decimal(qty)) for qty in quantities]


@pytest.mark.parametrize(
    ("bids", "asks", "expected"),
    [
        (levels(3, 3), levels(1, 1), "0.5"),
        (levels(1), levels(1, 2, 99), "-0.5"),  # only the first two levels count
        (levels(5), levels(), "1"),
        (levels(), levels(), "0"),
    ],
)
def test_the_first_levels_of_both_sides_are_weighed(bids: Any, asks: Any, expected: str) -> None:
    """A decision needs no exchange."""
    assert imbalance(bids, asks, levels=2) == Decimal(expected)


def test_it_takes_and_gives_back_on_the_built_in_exchange() -> None:
    """With a threshold that any book reaches: it buys, waits, and sells what it holds."""

    async def run() -> None:
        bot = Imbalance()
        bot.threshold, bot.hold_s, bot.pause_s = Decimal(-1), 0.2, 0.3
        engine = await Engine.open(
            FOLDER / "engine.toml",
            venue="local",
            name=f"test-{os.getpid()}",
            strategies=[bot],
            settings={"strategy": []},  # the one of this test in place of the configured
        )
        try:
            async with asyncio.timeout(30):
                while engine.status()["fills"] < 2:
                    await asyncio.sleep(0.05)
        finally:
            await engine.close()
        summary = engine.status()

        assert summary["exit"] == "clean"
        assert summary["strategies"]["Imbalance"]["errors"] == 0
        assert summary["ledger"]["agree"], summary["ledger"]["differences"]

    asyncio.run(run())
