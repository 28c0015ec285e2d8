"""Trading from scratch, by WebSocket first: bid, wait, then take what is offered.

The engine sends by WebSocket and, while that is out, by REST; the program is told, and need
not do anything. A wrong order raises OrderRefused with the sentence that says what to
change.

python -m engine.client.examples.from_scratch
"""

import asyncio
from decimal import Decimal

from engine import Engine, Order, TradingStatus


async def buy(engine: Engine, symbol: str, qty: Decimal, patience_s: float) -> list[Order]:
    """Buy so much: at the best bid as long as patience lasts, the rest at the market.

    Returns the orders, which are over.
    """
    book = await engine.book(symbol)
    orders = []
    if book.best_bid is not None:
        bid = await engine.buy(symbol, qty, limit=book.best_bid.price, post_only=True)
        try:
            await bid.until_over(timeout_s=patience_s)
        except TimeoutError:
            await engine.cancel(bid)
            await bid.until_over(timeout_s=10)
        orders.append(bid)
        qty -= bid.filled_qty
    pair = await engine.pair(symbol)
    if pair.qty_lots(qty) >= pair.qty_min_lots:  # Kraken takes no smaller order
        taken = await engine.buy(symbol, qty)
        orders.append(await taken.until_over(timeout_s=10))
    return orders


async def main() -> None:
    """Buy a little, and tell what it cost."""
    async with Engine.open(venue="local", symbols=["BTC/USD"]) as engine:

        @engine.on("trading")
        def on_trading(status: TradingStatus) -> None:
            print("trading", status.mode, status.reason)

        await engine.until_trading()
        for order in await buy(engine, "BTC/USD", Decimal("0.002"), patience_s=1):
            for fill in order.fills:
                print(f"{fill.qty} at {fill.price}, {fill.liquidity}")
        figures = engine.statistics()
        print("by WebSocket", figures.orders_by_websocket, "by REST", figures.orders_by_rest, figures.filled_ms)


if __name__ == "__main__":
    asyncio.run(main())
