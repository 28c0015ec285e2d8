"""pytest: the decision alone, and all of it on the built-in exchange, with play money."""

import asyncio
import os
from decimal import Decimal
from pathlib import Path

import pytest

from engine import Engine
from engine.strategy.templates.portfolio.strategy import Portfolio, trades

FOLDER = Path(__file__).parent
SHARES = {"BTC/USD": Decimal("0.5"), "ETH/USD": Decimal("0.5")}
PRICES = {"BTC/USD": Decimal(100), "ETH/USD": Decimal(10)}


@pytest.mark.parametrize(
    ("btc", "eth", "expected"),
    [
        (0, 0, {"BTC/USD": 5, "ETH/USD": 50}),  # everything is still to be bought
        (5, 50, {}),
        ("5.4", "46", {}),  # within the band
        ("6", "40", {"BTC/USD": -1, "ETH/USD": 10}),
    ],
)
def test_only_what_has_drifted_is_traded(btc: str, eth: str, expected: dict[str, int]) -> None:
    """A decision needs no exchange."""
    held = {"BTC/USD": Decimal(btc), "ETH/USD": Decimal(eth)}

    assert trades(held, PRICES, SHARES, capital=Decimal(1000), band=Decimal("0.05")) == expected


def test_a_pair_without_a_price_is_left_alone() -> None:
    """Its book may not have come yet."""
    assert trades({}, {"ETH/USD": Decimal(10)}, SHARES, capital=Decimal(10), band=Decimal(0)).keys() == {"ETH/USD"}


def test_it_buys_its_shares_on_the_built_in_exchange() -> None:
    """Real matching, real fees, and the exchange's ledger compared at the end."""

    async def run() -> None:
        bot = Portfolio()
        bot.timer_s = 0.2
        engine = await Engine.open(
            FOLDER / "engine.toml",
            venue="local",
            name=f"test-{os.getpid()}",
            strategies=[bot],
            settings={"strategy": []},  # the one of this test, with a faster timer, in place of the configured
        )
        try:
            async with asyncio.timeout(30):
                while not all(bot.context.position(symbol).qty > 0 for symbol in bot.shares):
                    await asyncio.sleep(0.05)
        finally:
            await engine.close()
        summary = engine.status()

        assert summary["exit"] == "clean"
        assert summary["strategies"]["Portfolio"]["errors"] == 0
        assert summary["ledger"]["agree"], summary["ledger"]["differences"]

    asyncio.run(run())
