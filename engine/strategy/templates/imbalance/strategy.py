"""Buys when much more waits to buy than to sell, and sells again a little later.

A place to begin, not a way to earn money: it takes, so it pays the spread and the taker's
fee twice.
"""

from collections.abc import Sequence
from decimal import Decimal

from engine import BookTop, FeedState, Fill, Level, Order, Strategy

NS_PER_S = 1_000_000_000


def imbalance(bids: Sequence[Level], asks: Sequence[Level], levels: int) -> Decimal:
    """How much more is bid than offered in the first levels: 1 only bids, -1 only offers, 0
    as much of both.
    """
    bid = sum((level.qty for level in bids[:levels]), Decimal(0))
    ask = sum((level.qty for level in asks[:levels]), Decimal(0))
    return (bid - ask) / (bid + ask) if bid + ask else Decimal(0)


class Imbalance(Strategy):
    """One position at a time: it begins by a signal, and ends after `hold_s` seconds."""

    symbol: str = "BTC/USD"
    qty: Decimal = Decimal("0.001")
    levels: int = 5
    threshold: Decimal = Decimal("0.6")
    hold_s: float = 3.0
    pause_s: float = 1.0
    """Between two orders: Kraken counts them, and so does [risk]."""

    def on_start(self) -> None:
        self.order: Order | None = None
        self.ends_at = 0
        self.next_at = 0

    def on_book(self, book: BookTop) -> None:  # every verified change of every pair
        pair, now = self.context.pair(book.symbol), self.context.now()
        if book.symbol != self.symbol or pair is None or book.best_bid is None or book.best_ask is None:
            return
        if not self.context.trading.is_open or now < self.next_at or (self.order is not None and self.order.is_open):
            return
        held = pair.round_qty(self.context.position(self.symbol).qty, "down")
        if held > 0:
            if now >= self.ends_at:
                self.take("sell", held, book.best_bid.price)
        elif imbalance(book.bids, book.asks, self.levels) >= self.threshold:
            self.take("buy", self.qty, book.best_ask.price)
            self.ends_at = now + int(self.hold_s * NS_PER_S)

    def take(self, side: str, qty: Decimal, price: Decimal) -> None:
        """Take what is there at this price or a better one, at once; nothing is left open."""
        send = self.buy if side == "buy" else self.sell
        self.order = send(self.symbol, qty, limit=price, time_in_force="ioc")
        self.next_at = self.context.now() + int(self.pause_s * NS_PER_S)

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        if state is not FeedState.LIVE:  # no book comes until it is live again
            self.context.log.warning("hands off", symbol=symbol, reason=reason)

    def on_order(self, order: Order) -> None:  # every change of an order, with the reason of a no
        if order.reason and not order.filled_qty:
            self.context.log.info("order", state=order.state.name, reason=order.reason)

    def on_fill(self, fill: Fill) -> None:  # each fill once
        held = self.context.position(fill.symbol)
        self.context.log.info(
            "fill",
            side=fill.side,
            qty=f"{fill.qty:f}",
            price=f"{fill.price:f}",
            held=f"{held.qty:f}",
            realized=f"{held.realized:f}",
            fees=f"{held.fees:f}",
        )
