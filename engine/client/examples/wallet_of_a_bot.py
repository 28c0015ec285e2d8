"""A bot that exists keeps its balance manager; the engine feeds it.

What asked REST every few seconds is told instead: two handlers, and the balances that are
known at the start. Nothing else of the bot changes.

python -m engine.client.examples.wallet_of_a_bot
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from engine import Balance, Engine, Fill


class Wallet:
    """The bot's own view of its money, as it was before."""

    def __init__(self) -> None:
        self.free: dict[str, Decimal] = {}
        self.fees: dict[str, Decimal] = {}

    def set_free(self, asset: str, amount: Decimal) -> None:
        self.free[asset] = amount

    def add_fee(self, asset: str, amount: Decimal) -> None:
        self.fees[asset] = self.fees.get(asset, Decimal(0)) + amount

    def can_spend(self, asset: str, amount: Decimal) -> bool:
        return self.free.get(asset, Decimal(0)) >= amount


async def connect(engine: Engine, wallet: Wallet, assets: Sequence[str]) -> None:
    """Have the wallet told of these assets now, and of every change from now on."""

    @engine.on("balance")
    def on_balance(balance: Balance) -> None:
        wallet.set_free(balance.asset, balance.free)

    @engine.on("fill")
    def on_fill(fill: Fill) -> None:
        for asset, amount in fill.fees.items():
            wallet.add_fee(asset, amount)

    for asset in assets:
        on_balance(await engine.balance(asset))


async def main() -> None:
    """Buy a little, and see the wallet follow."""
    wallet = Wallet()
    async with Engine.open(venue="local", symbols=["BTC/USD"]) as engine:
        await connect(engine, wallet, ["USD", "BTC"])
        await engine.until_trading()
        print("before", wallet.free)
        order = await engine.buy("BTC/USD", "0.001")
        await order.until_over(timeout_s=10)
    print("after", wallet.free, "fees", wallet.fees)


if __name__ == "__main__":
    asyncio.run(main())
