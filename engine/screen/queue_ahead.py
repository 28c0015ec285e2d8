"""How much others have ahead of our orders in Kraken's queue: a bound that holds, not a
guess.

Kraken's book says how much stands at a price, not in which order. What stood there at any
moment since an order took its place, less our own orders that were part of it, is the most
that can be ahead of it: what comes later stands behind. So the least of these is shown, as
"at most"; what trades or is canceled at that price lowers it.

    look at t       the level holds L, our orders that had settled by then are noted
    look at t + 1 s ahead ≤ L - what is left of these now        (the reports of fills have come)

An order has settled a second after it was first seen at its price: then it is in the
published book. A new price or a larger quantity is a new place, at the end of the queue.
Pure: time is passed in.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from msgspec import Struct

from engine.records import BookTop, FeedState
from engine.screen.order_tape import ShownOrder
from engine.units import NS_PER_S, MonoNs

SETTLE_NS: Final = NS_PER_S
ORDERS_MAX: Final = 1_000  # that are followed; of others nothing is said
ZERO: Final = Decimal(0)


class _Place(Struct):
    """An order's place in a queue."""

    order: ShownOrder
    since: MonoNs
    """When it was first seen there."""
    ahead_max: Decimal | None = None


class _Look(Struct, frozen=True):
    """What a book held at a moment."""

    at: MonoNs
    levels: Mapping[tuple[str, Decimal], tuple[Decimal, tuple[str, ...]]]
    """By side and price: the quantity, and our orders that were part of it."""


class QueueAhead:
    """Bounds for the orders that rest in one book."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        # Waits for the reports that belong to it.
        self._look: _Look | None = None

    def look(self, now: MonoNs, book: BookTop | None, orders: Iterable[ShownOrder]) -> None:
        """Take in a book and the open orders of its pair. A book that is not live and
        verified tells nothing."""
        self._note_places(now, orders)
        if self._look is not None and now - self._look.at >= SETTLE_NS:
            self._lower(self._look)
            self._look = None
        if self._look is None and book is not None and book.state == FeedState.LIVE and book.is_verified:
            self._look = self._look_at(now, book)

    def ahead_max(self, key: str) -> Decimal | None:
        """The most that others can have ahead of an order; None while nothing is known."""
        place = self._places.get(key)
        return None if place is None else place.ahead_max

    def _note_places(self, now: MonoNs, orders: Iterable[ShownOrder]) -> None:
        places: dict[str, _Place] = {}
        for order in orders:
            if not order.rests or len(places) == ORDERS_MAX:
                continue
            place = self._places.get(order.key)
            if place is None or place.order.limit != order.limit or order.qty > place.order.qty:
                place = _Place(order, now)
            place.order = order
            places[order.key] = place
        self._places = places

    def _look_at(self, now: MonoNs, book: BookTop) -> _Look:
        settled: dict[tuple[str, Decimal], list[str]] = {}
        for key, place in self._places.items():
            if place.order.limit is not None and now - place.since >= SETTLE_NS:
                settled.setdefault((place.order.side, place.order.limit), []).append(key)
        quantities = {("buy", level.price): level.qty for level in book.bids}
        quantities |= {("sell", level.price): level.qty for level in book.asks}
        return _Look(
            now,
            {at: (quantities[at], tuple(keys)) for at, keys in settled.items() if at in quantities},
        )

    def _lower(self, look: _Look) -> None:
        for (_, price), (qty, keys) in look.levels.items():
            # One that has taken a new place since is counted with the others: the bound
            # may be too high, never too low.
            places = [
                place
                for key in keys
                if (place := self._places.get(key)) is not None
                and place.order.limit == price
                and place.since <= look.at - SETTLE_NS
            ]
            others = max(ZERO, qty - sum((place.order.remaining for place in places), ZERO))
            for place in places:
                place.ahead_max = others if place.ahead_max is None else min(place.ahead_max, others)
