"""Quotes both sides of one pair, and leans against what it holds.

A place to begin, not a way to earn money: at the fees of a small account the spread of a
busy pair does not pay for both sides of it.
"""

from decimal import Decimal

from engine import BookTop, Fill, Order, OrderState, Strategy

PAUSE_NS = 1_000_000_000  # after a no: asking again at once would not help


def quotes(
    bid: Decimal, ask: Decimal, tick: Decimal, held: Decimal, *, edge_ticks: int, lean_ticks: int, held_max: Decimal
) -> tuple[Decimal, Decimal]:
    """The prices to buy and to sell at: `edge_ticks` behind the best ones, and up to
    `lean_ticks` further behind on the side that would add to what is held.
    """
    full = max(Decimal(-1), min(Decimal(1), held / held_max))  # -1: as short as allowed, 1: as long
    lean = round(full * lean_ticks)
    return bid - tick * (edge_ticks + max(0, lean)), ask + tick * (edge_ticks + max(0, -lean))


class MarketMaker(Strategy):
    """Keeps one order a side, and amends it when the market has moved."""

    symbol: str = "BTC/USD"
    qty: Decimal = Decimal("0.001")
    edge_ticks: int = 0
    lean_ticks: int = 50
    move_ticks: int = 10
    """A quote is amended when it is so far from where it should be."""
    held_max: Decimal = Decimal("0.01")
    """A side that would hold more than this, long or short, is not quoted."""

    def on_start(self) -> None:
        self.orders: dict[str, Order | None] = {"buy": None, "sell": None}
        self.quiet_until = 0

    def on_book(self, book: BookTop) -> None:  # every verified change of every pair
        bid, ask, pair = book.best_bid, book.best_ask, self.context.pair(book.symbol)
        if book.symbol != self.symbol or bid is None or ask is None or pair is None:
            return
        if not self.context.trading.is_open or self.context.now() < self.quiet_until:
            return
        buy, sell = quotes(
            bid.price,
            ask.price,
            pair.tick,
            self.context.position(self.symbol).qty,
            edge_ticks=self.edge_ticks,
            lean_ticks=self.lean_ticks,
            held_max=self.held_max,
        )
        self.quote("buy", buy, pair.tick)
        self.quote("sell", sell, pair.tick)

    def quote(self, side: str, price: Decimal, tick: Decimal) -> None:
        """Have one order on this side, at about this price."""
        order = self.orders[side]
        if order is None:
            if self.has_room(side):
                send = self.buy if side == "buy" else self.sell
                self.orders[side] = send(self.symbol, self.qty, limit=price, post_only=True)
        elif order.is_working and abs((order.limit_price or price) - price) >= self.move_ticks * tick:
            self.amend(order, limit=price, post_only=True)

    def has_room(self, side: str) -> bool:
        """Whether a fill of this side stays within `held_max`."""
        held = self.context.position(self.symbol).qty
        return abs(held + self.qty if side == "buy" else held - self.qty) <= self.held_max

    def on_order(self, order: Order) -> None:  # every change of an order, with the reason of a no
        if self.orders.get(order.side) is not order:
            return
        if not order.is_open:
            self.orders[order.side] = None  # filled, canceled, rejected or refused: quote again
        if order.reason and order.state is not OrderState.CANCELED:
            self.quiet_until = self.context.now() + PAUSE_NS
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
