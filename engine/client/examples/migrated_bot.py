"""A bot of managers, migrated: what each of its lines was, and is now.

    was                                                     is
    ─────────────────────────────────────────────────────   ─────────────────────────────────────
    from … import ConnectionManager, OrderManager           from engine import Engine        imports
    manager = ConnectionManager(config)                     Engine.open("engine.toml")       initialisation
    await manager.start()                                   async with … as engine
    await manager.connect_private_channels()                await engine.until_trading()
    manager.register_handler("ticker", fn)                  engine.on("ticker", fn)          handlers
    manager.register_handler("order_update", fn)            engine.on("order", fn)
    processor.get_latest_ticker("BTC/USD")                  await engine.ticker("BTC/USD")   data access
    processor.get_latest_balance("USD")                     await engine.balance("USD")
    await orders.add_order({…})                             await engine.buy(…)
    await orders.cancel_order(order_id)                     await engine.cancel(order)
    orders.get_statistics()                                 engine.statistics()
    manager.get_status()["is_connected"]                    engine.statistics().connected

python -m engine.client.examples.migrated_bot
"""

import asyncio
from decimal import Decimal

from engine import Engine, Order, Ticker


class DipBuyer:
    """Buys once when the price has fallen by so many per cent from its highest."""

    def __init__(self, engine: Engine, symbol: str, qty: Decimal, dip_percent: Decimal) -> None:
        self.engine = engine
        self.symbol, self.qty, self.dip_percent = symbol, qty, dip_percent
        self.highest = Decimal(0)
        self.has_asked = False
        self.bought: Order | None = None
        self.is_done = asyncio.Event()

    async def start(self) -> None:
        """Register the handlers, and begin from what is known already."""
        self.engine.on("ticker", self.on_ticker, symbol=self.symbol)
        self.engine.on("order", self.on_order, symbol=self.symbol)
        await self.on_ticker(await self.engine.ticker(self.symbol))

    async def on_ticker(self, ticker: Ticker) -> None:
        self.highest = max(self.highest, ticker.last)
        if not self.has_asked and is_dip(self.highest, ticker.last, self.dip_percent):
            self.has_asked = True  # before the await, during which the next ticker may come
            await self.engine.buy(self.symbol, self.qty, tag=self)

    async def on_order(self, order: Order) -> None:
        if order.tag is self and not order.is_open:
            self.bought = order
            self.is_done.set()


def is_dip(highest: Decimal, last: Decimal, dip_percent: Decimal) -> bool:
    """Whether the price is so many per cent below its highest."""
    return last <= highest * (100 - dip_percent) / 100


async def main() -> None:
    """Wait for a dip of play money."""
    async with Engine.open(venue="local", symbols=["BTC/USD"]) as engine:
        await engine.until_trading()
        bot = DipBuyer(engine, "BTC/USD", Decimal("0.001"), dip_percent=Decimal("0.001"))
        await bot.start()
        async with asyncio.timeout(60):
            await bot.is_done.wait()
        print(bot.bought)


if __name__ == "__main__":
    asyncio.run(main())
