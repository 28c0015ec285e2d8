"""Watch the spread of every pair, and say when it becomes wide.

engine run --venue local --symbols BTC/USD,ETH/USD --strategy
engine/strategy/examples/spread_watch.py
"""

from decimal import Decimal

from engine import BookTop, FeedState, Strategy


class SpreadWatch(Strategy):
    """Keeps each pair's widest spread in basis points, and logs each new record beyond
    `alert_bps`."""

    alert_bps: Decimal = Decimal(20)
    timer_s: float = 5.0

    def on_start(self) -> None:
        self.widest_bps = dict.fromkeys(self.context.symbols, Decimal(0))

    def on_book(self, book: BookTop) -> None:
        bid, ask = book.best_bid, book.best_ask
        if bid is None or ask is None:
            return
        # In ticks: a Decimal is made only for what is worth telling.
        spread_bps = Decimal(20_000 * (ask.price_ticks - bid.price_ticks)) / (ask.price_ticks + bid.price_ticks)
        if spread_bps > self.widest_bps[book.symbol]:
            self.widest_bps[book.symbol] = spread_bps
            if spread_bps > self.alert_bps:
                self.context.log.info("wide spread", symbol=book.symbol, spread=str(book.spread))

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        self.context.log.info("feed", symbol=symbol, state=str(state), reason=reason)

    def on_stop(self) -> None:
        for symbol, bps in self.widest_bps.items():
            self.context.log.info("widest spread", symbol=symbol, bps=f"{bps:.2f}")
