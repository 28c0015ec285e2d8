"""Keeps several pairs at fixed shares of a capital, and trades when one has drifted.

A place to begin, not a way to earn money. What it holds is what its own fills credited:
other money of the account is left alone.
"""

from collections.abc import Mapping
from decimal import Decimal

from engine import Fill, Order, Strategy


def trades(
    held: Mapping[str, Decimal],
    prices: Mapping[str, Decimal],
    shares: Mapping[str, Decimal],
    *,
    capital: Decimal,
    band: Decimal,
) -> dict[str, Decimal]:
    """What to buy (positive) or to sell of each pair, in its base currency; only pairs that
    are more than `band`, a part of the capital, away from their share, and whose price is
    known.
    """
    wanted = {}
    for symbol, share in shares.items():
        if price := prices.get(symbol):
            missing = capital * share - held.get(symbol, Decimal(0)) * price
            if abs(missing) > capital * band:
                wanted[symbol] = missing / price
    return wanted


class Portfolio(Strategy):
    """Looks every `timer_s` seconds, and trades one order a pair at the market."""

    shares: dict[str, Decimal] = {"BTC/USD": Decimal("0.6"), "ETH/USD": Decimal("0.3")}  # noqa: RUF012 - a parameter
    """Of the capital, by pair; what is left stays in quote currency."""
    capital: Decimal = Decimal(500)
    band: Decimal = Decimal("0.05")
    timer_s: float = 5.0

    def on_start(self) -> None:
        self.orders: dict[str, Order] = {}

    def on_timer(self) -> None:  # every `timer_s` seconds
        if not self.context.trading.is_open:
            return
        held = {symbol: self.context.position(symbol).qty for symbol in self.shares}
        prices = {}
        for symbol in self.shares:
            book = self.context.book(symbol)
            if book is not None and book.mid is not None:
                prices[symbol] = book.mid
        for symbol, qty in trades(held, prices, self.shares, capital=self.capital, band=self.band).items():
            self.trade(symbol, qty)

    def trade(self, symbol: str, qty: Decimal) -> None:
        """Buy or sell so much, unless an order of the pair is still open."""
        pair, order = self.context.pair(symbol), self.orders.get(symbol)
        if pair is None or (order is not None and order.is_open):
            return
        rounded = pair.round_qty(abs(qty), "down")
        if pair.qty_lots(rounded) >= pair.qty_min_lots:  # Kraken takes no smaller order
            self.orders[symbol] = self.buy(symbol, rounded) if qty > 0 else self.sell(symbol, rounded)

    def on_order(self, order: Order) -> None:  # every change of an order, with the reason of a no
        if order.reason:
            self.context.log.info("order", symbol=order.symbol, state=order.state.name, reason=order.reason)

    def on_fill(self, fill: Fill) -> None:  # each fill once
        held = self.context.position(fill.symbol)
        self.context.log.info(
            "fill",
            symbol=fill.symbol,
            side=fill.side,
            qty=f"{fill.qty:f}",
            price=f"{fill.price:f}",
            held=f"{held.qty:f}",
        )
