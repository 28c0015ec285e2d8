"""Quotes the first book it sees, and never again: as short as a first strategy may be."""

from decimal import Decimal

from engine import BookTop, Fill, Order, Strategy


class FirstBook(Strategy):
    """One bid at the best price, which follows the market up."""

    symbol: str = "BTC/USD"
    qty: Decimal = Decimal("0.001")

    async def on_start(self) -> None:
        """Nothing is quoted yet."""
        self.quote: Order | None = None

    def on_book(self, book: BookTop) -> None:
        """Quote, or follow."""
        if book.best_bid is None:
            return
        if self.quote is None:
            self.quote = self.buy(self.symbol, self.qty, limit=book.best_bid.price, post_only=True)
        elif self.quote.is_working and book.best_bid.price > (self.quote.limit_price or 0):
            self.amend(self.quote, limit=book.best_bid.price)

    def on_fill(self, fill: Fill) -> None:
        """As it likes."""

    def on_order(self, order: Order) -> None:
        """As it likes."""
