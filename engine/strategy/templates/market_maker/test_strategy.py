"""pytest: the decision alone, and all of it on the built-in exchange, with play money."""

import asyncio
import os
from decimal import Decimal
from pathlib import Path

import pytest

from engine import Engine
from engine.strategy.templates.market_maker.strategy import quotes

FOLDER = Path(__file__).parent
BID, ASK, TICK, MOST = Decimal("100.0"), Decimal("100.5"), Decimal("0.1"), Decimal(1)


@pytest.mark.parametrize(
    ("held", "buy", "sell"),
    [
        ("0", "99.9", "100.6"),  # one tick behind both sides
        ("0.5", "99.4", "100.6"),  # half full: five ticks further behind where it would buy more
        ("-2", "99.9", "101.6"),  # overfull on the other side: as far as it leans
    ],
)
def test_quotes_lean_against_what_is_held(held: str, buy: str, sell: str) -> None:
    """A decision needs no exchange."""
    prices = quotes(BID, ASK, TICK, Decimal(held), edge_ticks=1, lean_ticks=10, held_max=MOST)

    assert prices == (Decimal(buy), Decimal(sell))


def test_it_quotes_both_sides_on_the_built_in_exchange() -> None:
    """The configuration and the file as `engine run . --venue local` takes them; real
    matching, and the exchange's ledger compared at the end.
    """

    async def run() -> None:
        engine = await Engine.open(FOLDER / "engine.toml", venue="local", name=f"test-{os.getpid()}")
        try:
            async with asyncio.timeout(30):
                while engine.status()["orders"]["acknowledged"] < 2:
                    await asyncio.sleep(0.05)
        finally:
            await engine.close()
        summary = engine.status()

        assert summary["exit"] == "clean"
        assert summary["strategies"]["MarketMaker"]["errors"] == 0
        assert summary["ledger"]["agree"], summary["ledger"]["differences"]

    asyncio.run(run())
