"""Quotes both sides of one pair, one order a side, and leans against its inventory.

    engine run --strategy quoter.py --venue local --symbols BTC/USD --view

A demonstration of the order API, not of how to earn money: at the fees of a small account
the spread of a busy pair does not pay for both sides of it.
"""

from decimal import Decimal

from engine import BookTop, Fill, Order, OrderState, Strategy, TradingStatus

PAUSE_NS = 500_000_000  # after an order that the engine refused


class Quoter(Strategy):
    """Keeps a bid and an offer some ticks away from the best prices, and amends them when
    the market moves."""

    symbol: str = "BTC/USD"
    qty: Decimal = Decimal("0.001")
    edge_ticks: int = 0
    """How far behind the best price a quote stands."""
    move_ticks: int = 20
    """A quote follows the market when it is so far from where it should be."""
    position_qty_max: Decimal = Decimal("0.01")
    """A side that would make the inventory larger than this is not quoted."""
    timer_s: float = 10.0

    def on_start(self) -> None:
        self.quotes: dict[str, Order | None] = {"buy": None, "sell": None}
        self.fills = 0
        self.quiet_until = 0

    def on_book(self, book: BookTop) -> None:
        if book.symbol == self.symbol and self.context.trading.is_open and self.context.now() >= self.quiet_until:
            bid, ask, pair = book.best_bid, book.best_ask, self.context.pair(self.symbol)
            if bid is not None and ask is not None and pair is not None:
                edge, move = self.edge_ticks * pair.tick, self.move_ticks * pair.tick
                self._quote("buy", bid.price - edge, move)
                self._quote("sell", ask.price + edge, move)

    def _quote(self, side: str, price: Decimal, move: Decimal) -> None:
        quote = self.quotes[side]
        if quote is None:
            if self._has_room(side):
                send = self.buy if side == "buy" else self.sell
                self.quotes[side] = send(self.symbol, self.qty, limit=price, post_only=True)
        elif quote.is_working and quote.limit_price is not None and abs(quote.limit_price - price) >= move:
            self.amend(quote, limit=price, post_only=True)

    def _has_room(self, side: str) -> bool:
        held = self.context.position(self.symbol).qty
        return held + self.qty <= self.position_qty_max if side == "buy" else held - self.qty >= -self.position_qty_max

    def on_order(self, order: Order) -> None:
        if self.quotes.get(order.side) is not order:
            return
        if not order.is_open:
            self.quotes[order.side] = None
        if order.reason and order.state is not OrderState.CANCELED:
            # A limit of the engine's, or a no of Kraken's: asking again at once would not
            # help.
            self.quiet_until = self.context.now() + PAUSE_NS
            self.context.log.info("not so", state=order.state.name, reason=order.reason)

    def on_fill(self, fill: Fill) -> None:
        self.fills += 1
        held = self.context.position(self.symbol)
        self.context.log.info(
            "fill",
            side=fill.side,
            qty=f"{fill.qty:f}",
            price=f"{fill.price:f}",
            liquidity=fill.liquidity,
            held=f"{held.qty:f}",
        )

    def on_trading(self, status: TradingStatus) -> None:
        self.context.log.info("trading", mode=status.mode, open=status.is_open, reason=status.reason)

    def on_timer(self) -> None:
        held = self.context.position(self.symbol)
        self.context.log.info(
            "inventory",
            fills=self.fills,
            qty=f"{held.qty:f}",
            avg_price="unknown" if held.avg_price is None else f"{held.avg_price:f}",
            realized=f"{held.realized:f}",
            fees=f"{held.fees:f}",
        )
