"""A strategy that does what a test tells it, and writes down all that it is told of its orders.

test ─► PATH.wishes ─► on_timer ─► buy, sell, amend, cancel …
on_order, on_fill, on_trading ─► PATH ─► test                        one JSON object a line, on both sides
"""

import ctypes
import json
import os
import random
import struct
import time
from decimal import Decimal
from typing import Any

from engine import BookTop, Strategy
from engine.strategy.orders import Balance, Conditional, Fill, Order, TradingStatus


class Puppet(Strategy):
    """Obeys `path`.wishes."""

    path: str
    symbol: str = ""
    timer_s: float = 0.01

    def on_start(self) -> None:
        self.symbol = self.symbol or self.context.symbols[0]
        self._file = open(self.path, "a", buffering=1)  # noqa: SIM115 - closed in on_stop
        self._wishes = open(self.path + ".wishes", "a+")  # noqa: SIM115 - closed in on_stop
        self._wishes.seek(0, os.SEEK_END)  # an earlier life has done what stands there
        self._line = ""
        # Orders by the name that the test gave them.
        self._named: dict[str, Order] = {}
        self.raises = False
        self._dice = random.Random(0)
        self._churn_per_s = 0.0
        self._press = 0
        self._tries_at_stop = False
        self.write("start")

    def write(self, what: str, **facts: object) -> None:
        self._file.write(json.dumps({"what": what, "at_ns": time.monotonic_ns(), **facts}) + "\n")

    # --- what the test wants

    def on_timer(self) -> None:
        if None in (self.context.book(symbol) for symbol in self.context.symbols):
            return  # a wish may need a price
        while piece := self._wishes.readline():
            self._line += piece
            if self._line.endswith("\n"):
                wish, self._line = json.loads(self._line), ""
                getattr(self, f"do_{wish.pop('do')}")(**wish)
        if self._press:
            self._press_on()
        if self._dice.random() < self._churn_per_s * self.timer_s:
            self._churn()

    def on_book(self, book: BookTop) -> None:
        if self.raises:
            raise RuntimeError("as the test wished")

    def do_order(self, **order: Any) -> None:
        """One order, `away` per cent from the best price of its own side, unless it has a limit."""
        name = order["name"]
        side, symbol, qty, options = self._order(**order)
        order = self.buy(symbol, qty, **options) if side == "buy" else self.sell(symbol, qty, **options)
        self._name(name, order)

    def do_sell_all(self, name: str, **options: Any) -> None:
        """Everything that its fills have brought; with `stop`, when the price falls so many per cent."""
        qty = self.context.pair(self.symbol).round_qty(self.context.position(self.symbol).qty, "down")
        if "stop" in options:
            options["trigger"] = self._price(self.symbol, "buy", options.pop("stop"))
        self._name(name, self.sell(self.symbol, qty, tag=name, **options))

    def do_batch(self, orders: list[dict[str, Any]]) -> None:
        """Several of them."""
        names = [order["name"] for order in orders]
        for name, order in zip(names, self.submit_batch([self._order(**order) for order in orders]), strict=True):
            self._name(name, order)

    def do_amend(self, name: str, away: float | None = None, **options: Any) -> None:
        """Another price or quantity."""
        order = self._named[name]
        if away is not None:
            options["limit"] = self._price(order.symbol, order.side, away)
        self.write("amending", id=order.id, name=name, taken=self.amend(order, **options))

    def do_cancel(self, names: list[str]) -> None:
        """The end of some."""
        self.cancel(*(self._named[name] for name in names))

    def do_cancel_all(self) -> None:
        """The end of all."""
        self.cancel_all()

    def do_sleep(self, until: str) -> None:
        """Hang until there is this file."""
        self.write("asleep")
        while not os.access(until, os.F_OK):
            time.sleep(0.01)
        self.write("awake")

    def do_spin(self, until: str) -> None:
        """Hang until there is this file, and compute all the while."""
        self.write("asleep")
        while not os.access(until, os.F_OK):
            pass
        self.write("awake")

    def do_hold_lock(self, seconds: int) -> None:
        """Hang as a library does that keeps the interpreter's lock: no thread of the process goes on.

        It waits for a mutex that it holds itself, which no signal interrupts.
        """
        self.write("asleep")
        libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
        libc.pthread_mutex_lock(mutex)
        libc.pthread_mutex_timedlock(mutex, struct.pack("ll", int(time.time()) + seconds, 0))
        self.write("awake")

    def do_flood(self, count: int, until: str) -> None:
        """Orders that are refused, as fast as the router takes them; then hang with all the answers lying there."""
        while count:
            order = self.buy(self.symbol, "0.01", limit="1", tag="flood")
            if order.is_open:
                count -= 1
            else:
                time.sleep(0.001)  # the command ring is full
        self.do_sleep(until)

    def do_churn(self, seed: int, per_s: float) -> None:
        """From now on, do something or other so often, until told with 0."""
        self._dice = random.Random(seed)
        self._churn_per_s = per_s

    def do_press(self, orders: int) -> None:
        """From now on, quote as fast as can be: amend whatever can be amended, add what is missing, cancel a few."""
        self._press = orders

    def _press_on(self) -> None:
        working = [order for order in self.context.orders if order.is_working]
        for order in working:
            self.amend(order, limit=self._price(order.symbol, order.side, self._dice.choice((1.0, 1.5, 2.0))))
        if len(self.context.orders) < self._press:
            _, symbol, qty, options = self._order("", "buy", self._dice.uniform(1.0, 2.0))
            self.buy(symbol, qty, **options)
        elif working and self._dice.random() < 0.02:
            self.cancel(self._dice.choice(working))

    def _churn(self) -> None:
        """One thing that a strategy may do."""
        dice, symbol = self._dice, self._dice.choice(self.context.symbols)
        book = self.context.book(symbol)
        if book is None or book.best_bid is None or book.best_ask is None or self.context.pair(symbol) is None:
            return
        working = [order for order in self.context.orders if order.symbol == symbol and order.is_working]
        side = dice.choice(("buy", "sell"))
        deed = dice.choice(
            ("near", "near", "far", "taker", "amend", "amend", "cancel", "cancel", "batch", "cancel_all")
        )
        if deed == "amend" and working:
            order = dice.choice(working)
            price = self._price(symbol, order.side, dice.choice((0.0, 0.1, 1.0, 2.0)))
            self.amend(order, limit=price) if dice.random() < 0.7 else self.amend(order, qty=order.qty * 2)
        elif deed == "cancel" and working:
            self.cancel(*dice.sample(working, dice.randint(1, len(working))))
        elif deed == "cancel_all" and dice.random() < 0.3:
            self.cancel_all(symbol)
        elif deed == "taker":
            self.buy(symbol, "0.002") if side == "buy" else self.sell(symbol, "0.002")
        elif deed == "batch":
            self.submit_batch([self._order("", side, 0.02 * n, symbol, qty="0.002") for n in range(dice.randint(2, 4))])
        elif deed in ("near", "far") and len(self.context.orders) < 20:
            side, symbol, qty, options = self._order("", side, 0.0 if deed == "near" else 2.0, symbol, qty="0.01")
            options["post_only"] = dice.random() < 0.3
            self.buy(symbol, qty, **options) if side == "buy" else self.sell(symbol, qty, **options)

    def do_raise(self) -> None:
        """Raise in every book from now on."""
        self.raises = True

    def do_try_at_stop(self) -> None:
        """Cancel and buy in `on_stop`."""
        self._tries_at_stop = True

    def do_look(self, note: str) -> None:
        """Write down what the context says."""
        context = self.context
        position = context.position(self.symbol)
        self.write(
            "look",
            note=note,
            open=[order.id for order in context.orders],
            qty=str(position.qty),
            realized=str(position.realized),
            fees=str(position.fees),
            mode=context.trading.mode,
            is_open=context.trading.is_open,
        )

    def _order(
        self, name: str, side: str = "buy", away: float = 5.0, symbol: str = "", **options: Any
    ) -> tuple[str, str, Any, Any]:
        symbol = symbol or self.symbol
        qty = options.pop("qty", "0.01")
        if "limit" not in options and options.get("order_type") != "market":
            options["limit"] = self._price(symbol, side, away)
        if "closes" in options:
            other_side = "sell" if side == "buy" else "buy"
            price = self._price(symbol, other_side, options.pop("closes"))
            options["conditional"] = Conditional("limit", limit_price=price)
        options["tag"] = name
        return side, symbol, qty, options

    def _price(self, symbol: str, side: str, away: float) -> Decimal:
        pair, book = self.context.pair(symbol), self.context.book(symbol)
        assert pair is not None
        assert book is not None
        best = book.best_bid if side == "buy" else book.best_ask
        assert best is not None
        share = Decimal(repr(away)) / 100
        price = best.price * (1 - share if side == "buy" else 1 + share)
        return price.quantize(Decimal(1).scaleb(-pair.price_decimals))

    def _name(self, name: str, order: Order) -> None:
        self._named[name] = order
        self.write("named", name=name, id=order.id, state=order.state.name)

    # --- what the engine says

    def on_order(self, order: Order) -> None:
        self.write(
            "order",
            id=order.id,
            name=order.tag,
            order_id=order.order_id,
            state=order.state.name,
            reason=order.reason,
            qty=str(order.qty),
            filled=str(order.filled_qty),
            limit=str(order.limit_price),
            busy=order.is_open and (order.is_amending or not order.is_working),
        )

    def on_fill(self, fill: Fill) -> None:
        self.write(
            "fill",
            exec_id=fill.exec_id,
            id=fill.order.id,
            side=fill.side,
            qty=str(fill.qty),
            price=str(fill.price),
            cost=str(fill.cost),
            fees={asset: str(fee) for asset, fee in fill.fees.items()},
        )

    def on_balance(self, balance: Balance) -> None:
        self.write("balance", asset=balance.asset, total=str(balance.total), held=str(balance.held))

    def on_trading(self, status: TradingStatus) -> None:
        usd = self.context.balance("USD")
        total = None if usd is None else str(usd.total)
        self.write("trading", mode=status.mode, open=status.is_open, reason=status.reason, usd=total)

    def on_stop(self) -> None:
        self.do_look("stop")
        if self._tries_at_stop:
            self.cancel_all()
            order = self.buy(self.symbol, "0.01")
            is_called = self.context.call_soon(self.write, "called")
            self.write("tried", state=order.state.name, reason=order.reason, is_called=is_called,
                       working=[order.tag for order in self.context.orders if order.is_working])  # fmt: skip
        self._file.close()
        self._wishes.close()
