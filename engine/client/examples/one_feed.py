"""One engine in place of several managers: it chooses the source, the caller says how old
an answer may be.

python -m engine.client.examples.one_feed
"""

import asyncio
from decimal import Decimal
from typing import Any

from engine import Engine, NotAvailable


async def look(engine: Engine, symbol: str) -> dict[str, Any]:
    """A pair and its money at this moment, each with its source. Raises NotAvailable when
    neither source has anything that is young enough."""
    base, _, quote = symbol.partition("/")
    ticker = await engine.ticker(symbol, age_s_max=10)
    book = await engine.book(symbol, rest=True, age_s_max=5)  # of REST too, while the WebSocket is away
    return {
        "last": ticker.last,
        "ticker_source": ticker.source,
        "spread": book.spread,
        "book_source": book.source,
        "is_verified": book.is_verified,  # only a book of the WebSocket has a checksum
        "held": (await engine.balance(base)).total,
        "free": (await engine.balance(quote)).free,
    }


def health(engine: Engine) -> list[str]:
    """What a person should look at; empty while all is well."""
    figures, sources = engine.statistics(), engine.sources()
    alarms = [f"{process} is not connected" for process, is_connected in figures.connected.items() if not is_connected]
    alarms += [f"websocket: {reason}" for reason in sources["websocket"]["reasons"]]
    if figures.skipped:
        alarms.append(f"handlers were too slow for {figures.skipped} records")
    if Decimal(sources["divergence_percent"]) > 1:
        alarms.append(f"the sources are {sources['divergence_percent']} % apart")
    return alarms


async def alarms(engine: Engine, *, again_after_s: float = 2.0) -> list[str]:
    """What is wrong, and still is when looked at again: figures are a moment old, so those
    of right after the start, or of a reconnect, are no alarm."""
    first = health(engine)
    if first:
        await asyncio.sleep(again_after_s)
    return [alarm for alarm in health(engine) if alarm in first]


async def main() -> None:
    """Look once at every pair."""
    async with Engine.open(venue="local", symbols=["BTC/USD", "ETH/USD"]) as engine:
        for symbol in engine.symbols:
            try:
                print(symbol, await look(engine, symbol))
            except NotAvailable as why:
                print(symbol, why)
        print("alarms:", await alarms(engine) or "none")


if __name__ == "__main__":
    asyncio.run(main())
