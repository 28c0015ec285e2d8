"""The ladder of one pair: the levels of its book with our own orders in them."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from engine.records import BookTop
from engine.screen.order_tape import ShownOrder

ZERO = Decimal(0)


class LadderRow(Struct, frozen=True):
    """One price."""

    side: Literal["ask", "bid"]
    price: Decimal
    qty: Decimal | None
    """What all have there; None at a price of our own that the book does not show."""
    share: float
    """Of the largest quantity in the ladder: from 0 to 1."""
    own: Decimal
    """What of it is left of our orders; 0 without any."""
    ahead_max: Decimal | None
    """The most that others have ahead of the first of them; None while unknown."""


def ladder_rows(
    book: BookTop, orders: Iterable[ShownOrder], levels: int, ahead_max: Callable[[str], Decimal | None]
) -> list[LadderRow]:
    """`levels` prices a side at most, from the highest ask to the lowest bid; `orders` are
    the open ones of the pair.

    An order at a price within these that the book does not have (yet) gets a row of its
    own; one beyond them has none.
    """
    own: dict[tuple[str, Decimal], list[ShownOrder]] = {}
    for order in orders:
        if order.rests and order.limit is not None:
            own.setdefault((order.side, order.limit), []).append(order)
    asks = {level.price: level.qty for level in book.asks[:levels]}
    bids = {level.price: level.qty for level in book.bids[:levels]}
    largest = max([*asks.values(), *bids.values()], default=ZERO)

    def row(side: Literal["ask", "bid"], price: Decimal, qty: Decimal | None) -> LadderRow:
        ours = own.get(("sell" if side == "ask" else "buy", price), [])
        bounds = [bound for order in ours if (bound := ahead_max(order.key)) is not None]
        return LadderRow(
            side,
            price,
            qty,
            float(qty / largest) if qty is not None and largest else 0.0,
            sum((order.remaining for order in ours), ZERO),
            min(bounds, default=None),
        )

    def prices(side: Literal["buy", "sell"], shown: dict[Decimal, Decimal]) -> list[Decimal]:
        """The best `levels` prices of a side, best first."""
        best_first = sorted({*shown, *_within(own, side, shown)}, reverse=side == "buy")
        return best_first[:levels]

    return [
        *(row("ask", price, asks.get(price)) for price in reversed(prices("sell", asks))),
        *(row("bid", price, bids.get(price)) for price in prices("buy", bids)),
    ]


def _within(
    own: Iterable[tuple[str, Decimal]], side: Literal["buy", "sell"], shown: dict[Decimal, Decimal]
) -> list[Decimal]:
    """Prices of our own on a side that are no worse than the worst level shown."""
    ours = [price for name, price in own if name == side]
    if not shown:
        return ours
    if side == "buy":
        return [price for price in ours if price >= min(shown)]
    return [price for price in ours if price <= max(shown)]
