"""A strategy that quotes every 40 ms, whatever happens to its pair, and writes down what it asks before it asks it.

Each line of PATH says an amount that must be on the wire exactly so, or be refused with a reason. It rests when there
is a file PATH.rest.
"""

import json
from decimal import Decimal
from pathlib import Path

from engine import BookTop, Order, OrderState, Strategy
from engine.market import Pair


class Restless(Strategy):
    """Orders, amends, batches and stops, each at another price."""

    path: str
    timer_s: float = 0.04

    def on_start(self) -> None:
        self._file = open(self.path, "a", buffering=1)  # noqa: SIM115 - closed in on_stop
        self._symbol = self.context.symbols[0]
        self._book: BookTop | None = None
        self._turn = 0

    def write(self, what: str, **facts: object) -> None:
        self._file.write(json.dumps({"what": what, **facts}) + "\n")

    def on_book(self, book: BookTop) -> None:
        self._book = book

    def on_pair(self, pair: Pair) -> None:
        self.write("pair", price_decimals=pair.price_decimals, qty_decimals=pair.qty_decimals)

    def on_timer(self) -> None:
        pair, book = self.context.pair(self._symbol), self._book
        if pair is None or book is None or book.best_bid is None or Path(f"{self.path}.rest").exists():
            return
        self._turn += 1
        # Another price and another quantity each time, with every digit that the pair has, 3 % below the market.
        limit = pair.round_price(book.best_bid.price * Decimal("0.97"), "down") - self._turn * pair.tick
        qty = Decimal("0.01") + self._turn * pair.lot
        resting = [order for order in self.context.orders if order.is_working]
        working = [order for order in resting if order.order_type == "limit"]
        kind = ("buy", "amend", "amend", "stop", "batch")[self._turn % 5]
        if kind == "amend" and working:
            order = working[self._turn % len(working)]
            if self.amend(order, limit=limit, qty=qty):
                self.write("amend", id=order.id, limit=str(limit), qty=str(qty))
        elif kind == "stop":
            order = self.sell(self._symbol, qty, order_type="stop-loss", trigger=limit)
            self.write("ask", id=order.id, trigger=str(limit), qty=str(qty))
        elif kind == "batch":
            two = [limit, limit - pair.tick]
            rows = [("buy", self._symbol, qty, {"limit": price}) for price in two]
            for order, price in zip(self.submit_batch(rows), two, strict=True):  # type: ignore[arg-type]
                self.write("ask", id=order.id, limit=str(price), qty=str(qty))
        else:
            order = self.buy(self._symbol, qty, limit=limit)
            self.write("ask", id=order.id, limit=str(limit), qty=str(qty))
        self.cancel(resting[:-12])

    def on_order(self, order: Order) -> None:
        self.write(
            "order", id=order.id, order_id=order.order_id, state=order.state.name, reason=order.reason,
            limit=None if order.limit_price is None else str(order.limit_price), qty=str(order.qty),
            is_over=order.state in (OrderState.REFUSED, OrderState.REJECTED),
        )  # fmt: skip

    def on_stop(self) -> None:
        self._file.close()
