"""Holds one pair while its fast moving average is above the slow one, else nothing.

A place to begin, not a way to earn money. Candles are made of the pair's verified trades;
those from before the start come from Kraken's REST.
"""

from collections.abc import Sequence
from decimal import Decimal

from engine import Fill, Order, Strategy


def is_up(closes: Sequence[Decimal], fast: int, slow: int) -> bool | None:
    """Whether the mean of the last `fast` closes is above that of the last `slow`; None
    while there are fewer than that.
    """
    if len(closes) < slow:
        return None
    return sum(closes[-fast:]) * slow > sum(closes[-slow:]) * fast


class Crossover(Strategy):
    """Buys when the averages cross upwards, and sells what it holds when they cross back."""

    symbol: str = "BTC/USD"
    qty: Decimal = Decimal("0.001")
    interval_min: int = 1
    """One of `feed.candle_intervals_min` of the configuration."""
    fast: int = 5
    slow: int = 20
    timer_s: float = 5.0

    def on_start(self) -> None:
        self.order: Order | None = None

    def on_timer(self) -> None:  # every `timer_s` seconds
        if not self.context.trading.is_open or (self.order is not None and self.order.is_open):
            return
        candles = self.context.candles(self.symbol, self.interval_min, self.slow + 1)
        up = is_up([candle.close for candle in candles if candle.closed], self.fast, self.slow)
        held, pair = self.context.position(self.symbol).qty, self.context.pair(self.symbol)
        if up is None or pair is None:
            return
        if up and held <= 0:
            self.order = self.buy(self.symbol, self.qty)  # at the market
        elif not up and held > 0 and (qty := pair.round_qty(held, "down")):
            self.order = self.sell(self.symbol, qty)

    def on_order(self, order: Order) -> None:  # every change of an order, with the reason of a no
        if order.reason:
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
