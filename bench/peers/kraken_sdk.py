"""python-kraken-sdk: its order book client, which verifies every checksum."""

import asyncio
from importlib.metadata import version
from typing import Any

import kraken.spot.websocket
from kraken.spot import SpotClient, SpotOrderBookClient
from tally import DEPTH, SYMBOLS, Tally, called_with, unix_ns

call, tally = called_with(), Tally()

# The book client makes its own connections; their addresses are attributes of its classes.
SpotClient.URL = call.rest
kraken.spot.websocket.SpotWSClientBase.WS_URL = call.ws.removesuffix("/v2")


class Books(SpotOrderBookClient):  # type: ignore[misc]
    """Counts."""

    async def on_message(self, message: Any) -> None:
        """Its book keeps the levels from before a snapshot. The capture begins again with
        one, and the mismatch that follows would have the client wait for three seconds.
        """
        if isinstance(message, dict) and message.get("channel") == "book" and message.get("type") == "snapshot":
            book = self._SpotOrderBookClient__book.get(message["data"][0]["symbol"], {})
            for side in ("bid", "ask"):
                book.get(side, {}).clear()
        await super().on_message(message)

    async def on_book_update(self, pair: str, message: dict[str, Any]) -> None:
        """Called with each message when the book has it."""
        if "data" not in message:
            tally.wrong()
        elif tally.message():
            stamp = message["data"][0].get("timestamp")
            if stamp:
                tally.age(unix_ns(stamp))


async def main() -> None:
    """Read until the time is over."""
    books = Books(depth=DEPTH)
    await books.start()
    await books.add_book(pairs=list(SYMBOLS))
    await asyncio.sleep(call.seconds)
    tally.tell(version("python-kraken-sdk"))
    await books.close()


asyncio.run(main())
