"""Strategies that measure: each writes one JSON object to `out` when it stops."""

import json
import time
from collections import Counter
from decimal import Decimal
from itertools import cycle
from pathlib import Path

from engine import BookTop, FeedState, Fill, Order, Strategy

MARK_EVERY = 20_000
QTY = Decimal("0.001")


class Measuring(Strategy):
    """Writes what it measured when it stops."""

    out: str

    def write(self, **findings: object) -> None:
        Path(self.out).write_text(json.dumps(findings))


class Throughput(Measuring):
    """Books a second, in stretches of MARK_EVERY."""

    def on_start(self) -> None:
        self._books = 0
        self._mark_ns = 0
        self._rates: list[float] = []

    def on_book(self, book: BookTop) -> None:
        self._books += 1
        if self._books % MARK_EVERY == 0:
            now = time.perf_counter_ns()
            if self._mark_ns:
                self._rates.append(MARK_EVERY * 1e9 / (now - self._mark_ns))
            self._mark_ns = now

    def on_stop(self) -> None:
        self.write(books=self._books, rates=self._rates)


class Slow(Measuring):
    """Takes 50 µs a book: slower than any feed at full rate, so it is lapped again and
    again.
    """

    def on_book(self, book: BookTop) -> None:
        until = time.perf_counter_ns() + 50_000
        while time.perf_counter_ns() < until:
            pass

    def on_stop(self) -> None:
        books = {}
        for symbol in self.context.symbols:
            book = self.context.book(symbol)
            if book is not None and book.best_bid is not None and book.best_ask is not None:
                books[symbol] = [book.best_bid.price_text, book.best_ask.price_text]
        self.write(books=books)


class Busy(Measuring):
    """Takes 1 ms a book."""

    busy_us: int = 1000

    def on_book(self, book: BookTop) -> None:
        until = time.perf_counter_ns() + self.busy_us * 1000
        while time.perf_counter_ns() < until:
            pass


class WireLatency(Measuring):
    """From the sender's stamp, which is the message's timestamp, to the callback;
    microseconds.
    """

    def on_start(self) -> None:
        self._took_us: list[float] = []

    def on_book(self, book: BookTop) -> None:
        self._took_us.append((time.time_ns() - book.kraken_time) / 1000)

    def on_stop(self) -> None:
        self.write(took_us=self._took_us)


class Recovery(Measuring):
    """When each pair's state changed, and when the first book came; CLOCK_MONOTONIC."""

    def on_start(self) -> None:
        self._changes: list[tuple[int, str, str]] = []
        self._first_book_ns = 0
        self._path = Path(self.out)

    def on_book(self, book: BookTop) -> None:
        if not self._first_book_ns:
            self._first_book_ns = time.monotonic_ns()
            self._save()

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        self._changes.append((time.monotonic_ns(), symbol, str(state)))
        self._save()

    def _save(self) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps({"changes": self._changes, "first_book_ns": self._first_book_ns}))
        fresh.rename(self._path)


class Trader(Measuring):
    """Takes 0.001 of the best price with an IOC order, each side in turn, once in
    `every_ms`, on a book update.
    """

    every_ms: float = 10.0

    def on_start(self) -> None:
        self._next_at = 0
        self._sides = cycle((self.buy, self.sell))
        self._calls: list[tuple[str, int, int]] = []  # order id, CLOCK_MONOTONIC of the call, timestamp of the book
        self._working: dict[str, int] = {}
        self._filled: dict[str, int] = {}
        self._reasons: Counter[str] = Counter()

    def on_book(self, book: BookTop) -> None:
        now = self.context.now()
        bid, ask = book.best_bid, book.best_ask
        if now < self._next_at or not self.context.trading.is_open or bid is None or ask is None:
            return
        self._next_at = now + int(self.every_ms * 1e6)
        send = next(self._sides)
        price = ask.price if send == self.buy else bid.price
        began = time.monotonic_ns()
        order = send(book.symbol, QTY, limit=price, time_in_force="ioc")
        self._calls.append((order.id, began, book.kraken_time))

    def on_order(self, order: Order) -> None:
        if order.order_id:
            self._working.setdefault(order.id, time.monotonic_ns())
        if order.reason:
            self._reasons[order.reason] += 1

    def on_fill(self, fill: Fill) -> None:
        self._filled[fill.exec_id] = time.monotonic_ns()

    def on_stop(self) -> None:
        self.write(calls=self._calls, working=self._working, filled=self._filled, reasons=self._reasons)


class Volleys(Measuring):
    """Asks for `orders` orders at once, spread over its pairs, none of which can trade; and
    again when all are over.

    Between two volleys one order a pair goes alone: the venue's row of it tells that its
    rate counter is empty.
    """

    orders: int = 1000
    timer_s: float = 0.02

    def on_start(self) -> None:
        self._open = 0
        self._volleys: list[tuple[int, list[str]]] = []  # CLOCK_MONOTONIC of the first call, the orders' ids
        self._over: dict[str, int] = {}
        self._alone: list[str] = []
        self._quiet_until = 0
        self._reasons: Counter[str] = Counter()

    def on_timer(self) -> None:
        books = {symbol: self.context.book(symbol) for symbol in self.context.symbols}
        if not self.context.trading.is_open or None in books.values() or self._open:
            return
        if self._alone:
            self._ask(self._alone.pop())
            return
        now = self.context.now()
        if now < self._quiet_until:
            return
        self._quiet_until = now + 1_200_000_000  # the most that a budget of orders a second needs
        prices = {symbol: self._price(symbol) for symbol in self.context.symbols}
        began = time.monotonic_ns()
        ids = [
            self.buy(symbol, qty, limit=price, time_in_force="ioc").id
            for _ in range(self.orders // len(prices))
            for symbol, (qty, price) in prices.items()
        ]
        self._open = len(ids)
        self._volleys.append((began, ids))
        self._alone = list(self.context.symbols)

    def _ask(self, symbol: str) -> None:
        qty, price = self._price(symbol)
        self.buy(symbol, qty, limit=price, time_in_force="ioc")
        self._open += 1

    def _price(self, symbol: str) -> tuple[Decimal, Decimal]:
        """A quantity that is enough, and a limit at half the market."""
        book, pair = self.context.book(symbol), self.context.pair(symbol)
        assert book is not None
        assert book.best_bid is not None
        assert pair is not None
        ticks = book.best_bid.price_ticks // 2
        limit = Decimal(ticks).scaleb(-pair.price_decimals)
        return Decimal(4 * pair.qty_min_lots).scaleb(-pair.qty_decimals), limit

    def on_order(self, order: Order) -> None:
        if not order.is_open:
            self._open -= 1
            self._over[order.id] = time.monotonic_ns()
            self._reasons[f"{order.state} {order.reason}"] += 1

    def on_stop(self) -> None:
        self.write(volleys=self._volleys, over=self._over, reasons=self._reasons)


class ScaleLatency(Measuring):
    """Of many pairs: when all books were live, how long live pairs waited at the start, and
    from the venue's own time of an update to the callback while a window is open, which
    `OUT.begin` and `OUT.end` beside `out` say.
    """

    timer_s: float = 0.1

    def on_start(self) -> None:
        self._began_ns = time.monotonic_ns()
        self._out = Path(self.out)
        self._waiting = set(self.context.symbols)
        self._newest: dict[str, int] = {}
        self._all_live_ms = 0.0
        # CLOCK_MONOTONIC of when the first book was in doubt and of when all were live again.
        self._doubts: list[int] = []
        self._recovered: list[int] = []
        self._start_wait_us = 0.0
        self._took_us: list[float] = []
        self._is_open = False

    def on_book(self, book: BookTop) -> None:
        at = book.kraken_time
        # A snapshot tells of a change that may be long ago: only what is newer than a book
        # before has just come.
        is_update = self._newest.get(book.symbol, at) < at
        self._newest[book.symbol] = at
        if not is_update:
            return
        if self._is_open:
            self._took_us.append((time.time_ns() - at) / 1000)
        elif self._waiting and not self._doubts:
            self._start_wait_us = max(self._start_wait_us, (time.time_ns() - at) / 1000)

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        now = time.monotonic_ns()
        if state is not FeedState.LIVE:
            if not self._waiting:
                self._doubts.append(now)
            self._waiting.add(symbol)
        elif self._waiting:
            self._waiting.discard(symbol)
            if not self._waiting:
                self._all_live_ms = self._all_live_ms or (now - self._began_ns) / 1e6
                if self._doubts:
                    self._recovered.append(now)
                self._save()

    def on_timer(self) -> None:
        self._is_open = self._out.with_suffix(".begin").exists() and not self._out.with_suffix(".end").exists()

    def on_stop(self) -> None:
        self._save()

    def _save(self) -> None:
        fresh = self._out.with_suffix(".new")
        fresh.write_text(
            json.dumps(
                {
                    "all_live_ms": self._all_live_ms,
                    "start_wait_ms_max": self._start_wait_us / 1000,
                    "took_us": self._took_us,
                    "doubts": self._doubts,
                    "recovered": self._recovered,
                }
            )
        )
        fresh.rename(self._out)


class OpenOrders(Measuring):
    """Keeps `orders` open, spread over its pairs, at nine tenths of the market, and amends
    one of each pair a second, which Kraken's rate counter allows.
    """

    orders: int = 200
    timer_s: float = 0.01

    def on_start(self) -> None:
        self._mine: list[Order] = []
        self._limits: list[Decimal] = []
        self._sent: dict[str, int] = {}
        self._took_us: list[float] = []
        self._next = 0
        self._next_at = 0

    def on_timer(self) -> None:
        context = self.context
        if not context.trading.is_open:
            return
        if len(self._mine) < self.orders:
            symbol = context.symbols[len(self._mine) % len(context.symbols)]
            if (book := context.book(symbol)) is not None and book.best_bid is not None:
                pair = context.pair(symbol)
                assert pair is not None
                limit = Decimal(book.best_bid.price_ticks * 9 // 10).scaleb(-pair.price_decimals)
                qty = Decimal(4 * pair.qty_min_lots).scaleb(-pair.qty_decimals)
                self._mine.append(self.buy(symbol, qty, limit=limit, post_only=True))
                self._limits.append(limit)
            return
        if time.monotonic_ns() < self._next_at:
            return
        self._next_at = time.monotonic_ns() + 1_000_000_000 // len(context.symbols)
        turn = self._next % len(self._mine)
        order, pair = self._mine[turn], context.pair(self._mine[turn].symbol)
        is_even = self._next // len(self._mine) % 2
        self._next += 1
        if order.is_open and pair is not None and order.id not in self._sent:
            self._sent[order.id] = time.monotonic_ns()
            self.amend(order, limit=self._limits[turn] - is_even * pair.tick)

    def on_order(self, order: Order) -> None:
        if (sent := self._sent.pop(order.id, 0)) and order.is_open:
            self._took_us.append((time.monotonic_ns() - sent) / 1e3)

    def on_stop(self) -> None:
        still_open = sum(order.is_open for order in self._mine)
        self.write(took_us=self._took_us, open=still_open, amends=self._next)


class FewOpenOrders(OpenOrders):
    """The same with ten."""

    orders: int = 10
