"""ccxt Pro: `watch_order_book_for_symbols` in a loop, as its users write it."""

import asyncio
import time
from typing import Any

import ccxt.pro
from tally import DEPTH, SYMBOLS, Tally, called_with, unix_ns

call, tally = called_with(), Tally()


class Kraken(ccxt.pro.kraken):
    """Notes the venue's stamp of each message: ccxt keeps milliseconds of it."""

    stamp = ""
    is_warm = False

    def handle_order_book(self, client: Any, message: Any) -> Any:
        """As ever, and counted."""
        result = super().handle_order_book(client, message)
        self.is_warm = tally.message()
        self.stamp = message["data"][0].get("timestamp", "")
        return result


async def main() -> None:
    """Watch until the time is over."""
    exchange = Kraken()
    exchange.urls["api"]["public"] = exchange.urls["api"]["private"] = call.rest
    sockets = exchange.urls["api"]["ws"]
    sockets.update({name: call.ws if "V2" in name else call.ws.removesuffix("/v2") for name in sockets})
    await exchange.load_markets()
    until = time.monotonic() + call.seconds
    while time.monotonic() < until:
        await asyncio.wait_for(exchange.watch_order_book_for_symbols(list(SYMBOLS), DEPTH), call.seconds + 10)
        if exchange.is_warm and exchange.stamp:
            tally.age(unix_ns(exchange.stamp))
    tally.tell(ccxt.__version__)
    await exchange.close()


asyncio.run(main())
