"""Strategies for the integration tests: they write what they are told to a file, one JSON object a line."""

import asyncio
import json
import os
import time

from engine import BookTop, Candle, FeedState, Strategy, Ticker, Trade


class Diary(Strategy):
    """Writes every callback to `path`, with the time; books as symbol and update number."""

    path: str
    books: bool = True

    def on_start(self) -> None:
        self._file = open(self.path, "a", buffering=1)  # noqa: SIM115 - closed in on_stop
        self.write("start", symbols=list(self.context.symbols))

    def write(self, what: str, **facts: object) -> None:
        self._file.write(json.dumps({"what": what, "at_ns": time.monotonic_ns(), **facts}) + "\n")

    def on_book(self, book: BookTop) -> None:
        if self.books:
            self.write("book", symbol=book.symbol, number=book.update_number, crossed=is_crossed(book))

    def on_trade(self, trade: Trade) -> None:
        self.write(
            "trade",
            symbol=trade.symbol,
            id=trade.trade_id,
            price=f"{trade.price:f}",
            qty=f"{trade.qty:f}",
            history=trade.history,
            source=trade.source,
        )

    def on_ticker(self, ticker: Ticker) -> None:
        self.write("ticker", symbol=ticker.symbol, bid=str(ticker.bid), ask=str(ticker.ask), volume=str(ticker.volume))

    def on_candle(self, candle: Candle) -> None:
        self.write(
            "candle",
            symbol=candle.symbol,
            begin=candle.interval_begin,
            close=str(candle.close),
            volume=str(candle.volume),
            closed=candle.closed,
            history=candle.history,
            interval_min=candle.interval_min,
            source=candle.source,
            is_whole=candle.is_whole,
        )

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        self.write("state", symbol=symbol, state=str(state), reason=reason)

    def on_stop(self) -> None:
        pairs = {symbol: self.context.pair(symbol) for symbol in self.context.symbols}
        decimals = {s: [p.price_decimals, p.qty_decimals] for s, p in pairs.items() if p is not None}
        self.write("stop", pairs=decimals, venue_status=self.context.venue_status)
        self._file.close()


class Caller(Diary):
    """Subscribes to `wanted` in its first book, and gives `given_back` back."""

    wanted: tuple[str, ...]
    given_back: tuple[str, ...]

    def on_start(self) -> None:
        super().on_start()
        self._has_called = False

    def on_book(self, book: BookTop) -> None:
        super().on_book(book)
        if not self._has_called:
            self._has_called = True
            for symbol in self.wanted:
                self.write("asked", symbol=symbol, taken=self.context.subscribe(symbol))
            for symbol in self.given_back:
                self.context.unsubscribe(symbol)


class Sleeper(Diary):
    """Blocks in its hundredth book until there is the file `until`, then writes on."""

    until: str

    def on_start(self) -> None:
        super().on_start()
        self._books = 0

    def on_book(self, book: BookTop) -> None:
        self._books += 1
        if self._books == 100:
            self.write("sleep")
            while not os.access(self.until, os.F_OK):
                time.sleep(0.01)
            self.write("awake")
        super().on_book(book)


class AsyncDiary(Diary):
    """Waits in every book, as a strategy that asks somebody else would."""

    async def on_book(self, book: BookTop) -> None:  # type: ignore[override]
        await asyncio.sleep(0.001)
        self.write("book", symbol=book.symbol, number=book.update_number, crossed=is_crossed(book))


class Raiser(Strategy):
    """Raises in every book."""

    def on_book(self, book: BookTop) -> None:
        raise RuntimeError(f"no good: {book.symbol}")


class Timed(Diary):
    """Counts its timer."""

    timer_s: float = 0.1
    books: bool = False

    def on_timer(self) -> None:
        self.write("timer")


def is_crossed(book: BookTop) -> bool:
    """Best bid at or above best ask?"""
    bid, ask = book.best_bid, book.best_ask
    return bid is not None and ask is not None and bid.price >= ask.price
