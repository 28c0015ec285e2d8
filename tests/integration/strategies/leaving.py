"""A strategy that keeps, or tries to end, the process that it runs in."""

import asyncio
import atexit
import signal
import sys
import threading
import time
from typing import Any

from engine import BookTop, Order, Strategy


class Leaving(Strategy):
    """Does `how`; has an order that rests, as soon as it can."""

    how: str = "nothing"

    def on_start(self) -> Any:
        self.order: Order | None = None
        if self.how == "on_start":
            while True:
                time.sleep(0.01)
        elif self.how == "async on_start":
            return asyncio.Event().wait()
        elif self.how == "thread":
            threading.Thread(target=time.sleep, args=(3600,), name="mine", daemon=False).start()
        elif self.how == "executor":
            self.future = asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
        elif self.how == "atexit":
            atexit.register(time.sleep, 3600)
        elif self.how == "task":
            self.task = asyncio.get_running_loop().create_task(self._exit())
        return None

    async def _exit(self) -> None:
        await asyncio.sleep(0.5)
        sys.exit(0)

    def on_book(self, book: BookTop) -> None:
        if self.order is None and self.context.trading.is_open and book.best_bid is not None:
            price = round(book.best_bid.price * 95 / 100, 1)
            self.order = self.buy(book.symbol, "0.001", limit=price)
        if self.how == "exit":
            sys.exit(0)

    def on_stop(self) -> None:
        while self.how == "on_stop":
            pass


class Grabbing(Leaving):
    """Its module's author wants the signals for himself."""


signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGINT, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
sys.stdout.close()
