"""The orders of another venue in a book of ours, known by its levels and its trades alone.

    its levels ──► update() ─┐
    its trades ──► trade()  ─┴──► OrderBook, where they meet the clients' orders ──► publish

At every price that is in view the book holds, as orders without an owner, what the other
venue shows there, less what clients of ours have taken from it. What is not known is
decided against the client:

* An order of a client is behind what stood at its price when it came, and before what came
  later. A level that shrinks without a trade shrinks from behind: only a trade brings a
  client nearer to the head of the queue.
* A level that comes into view from beyond the depth that is told is wholly before a client
  who is there already.
* An order of a client is filled, at its own price, by a trade that reaches it in price-time
  priority, or by an order that newly rests where it would have met the client's first. Each
  fills no more than its own quantity.
* What a client has taken from a level does not come back before the level has gone: nothing
  is sold twice. Only what the level grows by is new.

The other venue knows nothing of our clients, so their orders move nothing there.

Pure: no clock, no socket. The levels given are those of an uncrossed book.
"""

from collections.abc import Callable

from engine.units import PriceTicks, QtyLots
from engine.venue.market.matching import BUY, FLOW_OWNER, SELL, Order, OrderBook, Outcome, Side

Levels = dict[PriceTicks, QtyLots]
"""Prices with their quantities, best first."""


class Mirror:
    """The levels of one pair at the other venue."""

    def __init__(self, book: OrderBook, depth: int, publish: Callable[[Outcome], None]) -> None:
        """`depth` levels of a side are told; fewer are all that there are. `publish` is
        given whatever happens to the book, at once; it may let clients act.
        """
        self._book = book
        self._depth = depth
        self._publish = publish
        # What the other venue shows, as far as told; and levels beyond the depth at which
        # clients wait, as they were last.
        self._told: dict[Side, dict[PriceTicks, QtyLots]] = {BUY: {}, SELL: {}}
        # The worst price that was in view; 0 where nothing was yet, None where everything
        # was.
        self._view: dict[Side, PriceTicks | None] = {BUY: PriceTicks(0), SELL: PriceTicks(0)}

    def told(self, side: Side) -> Levels:
        """The levels that are mirrored, in no order."""
        return self._told[side]

    def update(self, bids: Levels, asks: Levels) -> None:
        """Take the present levels of both sides, in place of all that were told before."""
        sides = ((BUY, bids), (SELL, asks))
        # First what goes: what comes then meets clients alone.
        for side, levels in sides:
            told = self._told[side]
            view = self._worst(levels)
            for price, lots in list(told.items()):
                left = levels.get(price, QtyLots(0))
                if left < lots and (_is_seen(side, price, view) or not self._has_clients(side, price)):
                    self._shrink(side, price, left)
        for side, levels in sides:
            told, seen = self._told[side], self._view[side]
            for price, lots in levels.items():
                if lots > told.get(price, 0):
                    self._grow(side, price, lots, is_new=price in told or _is_seen(side, price, seen))
            self._view[side] = self._worst(levels)

    def trade(self, taker: Side, price: PriceTicks, lots: QtyLots) -> None:
        """Take a trade at the other venue. The levels that it changed are told next."""
        outcome = self._book.limit(FLOW_OWNER, taker, price, lots, rest=False)
        told = self._told[SELL if taker is BUY else BUY]
        for fill in outcome.fills:
            if fill.maker_owner == FLOW_OWNER:
                told[fill.price] = QtyLots(told[fill.price] - fill.qty)
                if not told[fill.price]:
                    del told[fill.price]
        if outcome.fills:
            self._publish(outcome)

    def clear(self) -> None:
        """Forget everything that was told: no place in a queue is known any more."""
        for side in (BUY, SELL):
            for price in list(self._told[side]):
                self._shrink(side, price, QtyLots(0))
            self._view[side] = PriceTicks(0)

    # --- one level

    def _shrink(self, side: Side, price: PriceTicks, left: QtyLots) -> None:
        """Show `left` at a price, which is less than was told."""
        told, book = self._told[side], self._book
        orders = self._orders(side, price)
        there = sum(order.open_qty for order in orders)
        taken = told[price] - there
        surplus = there - max(0, left - taken)
        if left:
            told[price] = left
        else:
            del told[price]
        for order in reversed(orders):
            if surplus <= 0:
                return
            if order.open_qty <= surplus:
                surplus -= order.open_qty
                self._publish(book.cancel(order.order_id))
            else:
                qty = QtyLots(order.filled_qty + order.open_qty - surplus)
                surplus = 0
                self._publish(book.amend(order.order_id, qty=qty))

    def _grow(self, side: Side, price: PriceTicks, lots: QtyLots, *, is_new: bool) -> None:
        """Show `lots` at a price, which is more than was told: behind all that is there,
        unless it is not known to be new.
        """
        told, book = self._told[side], self._book
        more = lots - told.get(price, 0)
        told[price] = lots
        last = next(reversed(list(book.orders_at(side, price))), None)
        if last is not None and last.owner == FLOW_OWNER:  # one order behind each client, not one a change
            self._publish(book.amend(last.order_id, qty=QtyLots(last.filled_qty + last.open_qty + more)))
            return
        outcome = book.limit(FLOW_OWNER, side, price, QtyLots(more))
        if outcome.resting_qty and not is_new and last is not None:
            book.put_first(outcome.order_id)
        self._publish(outcome)

    def _orders(self, side: Side, price: PriceTicks) -> list[Order]:
        """The orders without an owner at a price, first in time first."""
        return [order for order in self._book.orders_at(side, price) if order.owner == FLOW_OWNER]

    def _has_clients(self, side: Side, price: PriceTicks) -> bool:
        return any(order.owner != FLOW_OWNER for order in self._book.orders_at(side, price))

    def _worst(self, levels: Levels) -> PriceTicks | None:
        """The worst price in view; None where all that there is has been told."""
        return next(reversed(levels)) if len(levels) >= self._depth else None


def _is_seen(side: Side, price: PriceTicks, view: PriceTicks | None) -> bool:
    """Whether a price was in view, of which `view` is the worst."""
    if view is None:
        return True
    return price >= view > 0 if side is BUY else price <= view
