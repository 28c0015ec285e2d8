"""Strategies that measure: each writes one JSON object to `out` when it stops."""

import json
import time
from pathlib import Path

from engine import BookTop, FeedState, Strategy

MARK_EVERY = 20_000


class Measuring(Strategy):
    """Writes its findings."""

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
    """Takes 50 µs a book: slower than any feed at full rate, so it is lapped again and again."""

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


class WireLatency(Measuring):
    """From the sender's stamp, which is the message's timestamp, to the callback; microseconds."""

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
