"""The matching engine of one pair: a book of orders in price-time priority.

Pure and deterministic: orders in, events out; integers only (ticks and lots); no clock, no
socket, no random number. The order flow and the clients' orders use the same calls. Each
returns an `Outcome`: the fills, and every change of an aggregated level, in order.
`book_feed` writes the public book from these changes, as Kraken shows one entry per maker
fill of a sweep.

An iceberg shows `display_qty` at a time and keeps the rest hidden; the next part goes to
the end of its level's queue. Orders of one client never trade with each other (`Stp`); the
order flow's own may.

Both sides keep their levels best first under one ascending *key*: the price of an ask, the
negated price of a bid.
"""

from bisect import bisect_left
from collections.abc import Iterable
from enum import Enum
from itertools import islice
from typing import Literal

import msgspec

from engine.errors import MisuseError, VenueReject
from engine.units import PriceTicks, QtyLots
from engine.venue.market.precision import Change


class Side(Enum):
    """The side of an order. The value is Kraken's word."""

    BUY = "buy"
    SELL = "sell"


BUY = Side.BUY  # hot: a module global is one load, an attribute of an enum class two
SELL = Side.SELL


OrderType = Literal["limit", "market"]
"""The type of the order that acted, in Kraken's words, as a public trade names its taker."""

Stp = Literal["cancel_newest", "cancel_oldest", "cancel_both"]
"""Self-trade prevention: which order is canceled when two of one client meet."""

FLOW_OWNER = 0  # the venue's own order flow, which may trade with itself
NO_LOTS = QtyLots(0)


class Order(msgspec.Struct, gc=False):
    """A resting order, or an incoming one. Only this module changes it."""

    order_id: int
    owner: int  # the client; 0 is the venue's own order flow
    side: Side
    price: PriceTicks
    open_qty: QtyLots  # shown and still to be filled; 0 once it has left the book
    filled_qty: QtyLots = QtyLots(0)
    display_qty: QtyLots = QtyLots(0)  # of an iceberg: shown at a time; 0: all of it
    hidden_qty: QtyLots = QtyLots(0)  # of an iceberg: still to be shown


class Fill(msgspec.Struct, frozen=True, gc=False):
    """One maker filled by one taker, at the maker's price."""

    maker_order_id: int
    maker_owner: int
    taker_order_id: int
    taker_owner: int
    taker_side: Side
    price: PriceTicks
    qty: QtyLots


class LevelChange(msgspec.Struct, frozen=True, gc=False):
    """The aggregated quantity of one level after one change; 0 means that the level is
    gone.
    """

    side: Side
    price: PriceTicks
    qty: QtyLots


class Refill(msgspec.Struct, frozen=True, gc=False):
    """An iceberg showed its next part, at the end of its level's queue."""

    order_id: int
    shown_qty: QtyLots


class Outcome(msgspec.Struct, gc=False):
    """Everything that one action did to the book, in order."""

    order_id: int
    order_type: OrderType
    fills: list[Fill]
    changes: list[LevelChange]
    resting_qty: QtyLots = QtyLots(0)  # of this order when the action is over, hidden part included
    self_met: bool = False  # it met an order of the same client, and that ended it
    expelled: list[Order] = []  # orders of the same client that were canceled, as they were before
    refilled: list[Refill] = []  # icebergs that showed their next part


class OrderNotFound(VenueReject):
    """No open order has this id: it was filled or canceled, or never existed."""

    def __init__(self, order_id: int) -> None:
        super().__init__(f"there is no open order {order_id}")


class _BookSide:
    """The orders of one side."""

    __slots__ = ("keys", "levels", "sign", "totals")

    def __init__(self, sign: int) -> None:
        self.sign = sign  # key = price × sign: +1 for asks, -1 for bids
        self.keys: list[int] = []  # of the levels that hold orders, best first
        self.levels: dict[int, dict[int, Order]] = {}  # key → orders by id, first in time first
        self.totals: dict[int, int] = {}  # key → sum of the orders' open quantities

    def add(self, order: Order) -> int:
        """Queue an order behind its level's others; returns the level's new quantity."""
        key = order.price * self.sign
        level = self.levels.get(key)
        if level is None:
            self.keys.insert(bisect_left(self.keys, key), key)
            self.levels[key] = {order.order_id: order}
            self.totals[key] = order.open_qty
            return order.open_qty
        level[order.order_id] = order
        self.totals[key] = total = self.totals[key] + order.open_qty
        return total

    def shrink(self, order: Order, qty: int) -> int:
        """Take `qty` from an order in its place; a whole order loses the place. Returns the
        level's new quantity.
        """
        key = order.price * self.sign
        order.open_qty = QtyLots(order.open_qty - qty)
        total = self.totals[key] - qty
        if order.open_qty:
            self.totals[key] = total
            return total
        level = self.levels[key]
        del level[order.order_id]
        if level:
            self.totals[key] = total
            return total
        del self.levels[key], self.totals[key]
        del self.keys[bisect_left(self.keys, key)]
        return 0


class OrderBook:
    """All open orders of one pair."""

    def __init__(self) -> None:
        self._bids = _BookSide(-1)
        self._asks = _BookSide(+1)
        self._orders: dict[int, Order] = {}  # every resting order by id
        self._last_order_id = 0

    # --- actions

    def limit(
        self,
        owner: int,
        side: Side,
        price: PriceTicks,
        qty: QtyLots,
        *,
        display_qty: QtyLots = NO_LOTS,
        rest: bool = True,
        stp: Stp = "cancel_newest",
    ) -> Outcome:
        """Trade as far as the price allows, then rest the remainder, unless told not to."""
        if price <= 0 or qty <= 0:
            raise MisuseError(f"a limit order of {qty} lots at {price} ticks")
        order = self._new_order(owner, side, price, qty)
        order.display_qty = display_qty
        outcome = Outcome(order.order_id, "limit", [], [])
        self._take(order, outcome, price, stp)
        if rest and not outcome.self_met:
            self._rest(order, outcome)
        return outcome

    def market(
        self, owner: int, side: Side, qty: QtyLots, *, worst: PriceTicks | None = None, stp: Stp = "cancel_newest"
    ) -> Outcome:
        """Trade at the best prices, not beyond `worst`; what finds no maker is canceled."""
        if qty <= 0:
            raise MisuseError(f"a market order of {qty} lots")
        order = self._new_order(owner, side, PriceTicks(0), qty)
        outcome = Outcome(order.order_id, "market", [], [])
        self._take(order, outcome, worst, stp)
        return outcome

    def cancel(self, order_id: int) -> Outcome:
        """Remove an order from the book; raises OrderNotFound."""
        order = self._orders.pop(order_id, None)
        if order is None:
            raise OrderNotFound(order_id)
        side = self._bids if order.side is BUY else self._asks
        total = side.shrink(order, order.open_qty)
        return Outcome(order_id, "limit", [], [LevelChange(order.side, order.price, QtyLots(total))])

    def amend(
        self,
        order_id: int,
        *,
        price: PriceTicks | None = None,
        qty: QtyLots | None = None,
        display_qty: QtyLots | None = None,
        stp: Stp = "cancel_newest",
    ) -> Outcome:
        """Change an order and keep its id; `qty` is the whole order, fills included.

        Raises OrderNotFound. Amend guide: less quantity keeps the place in the queue;
        another price or more quantity loses it; another displayed quantity keeps it, and
        counts from the next part on. A new price that crosses the book trades like a new
        order.
        """
        order = self._orders.get(order_id)
        if order is None:
            raise OrderNotFound(order_id)
        live_qty = order.open_qty + order.hidden_qty
        new_qty = live_qty if qty is None else qty - order.filled_qty
        new_price = order.price if price is None else price
        if new_qty <= 0 or new_price <= 0:
            raise MisuseError(f"an amend to {qty} lots at {price} ticks, {order.filled_qty} lots are filled")
        if display_qty is not None:
            order.display_qty = display_qty
        outcome = Outcome(order_id, "limit", [], [], QtyLots(new_qty))
        side = self._bids if order.side is BUY else self._asks
        if new_price == order.price:
            self._amend_qty(side, order, new_qty - live_qty, outcome)
            return outcome
        del self._orders[order_id]
        total = side.shrink(order, order.open_qty)
        outcome.changes.append(LevelChange(order.side, order.price, QtyLots(total)))
        order.price, order.open_qty, order.hidden_qty = new_price, QtyLots(new_qty), QtyLots(0)
        self._take(order, outcome, new_price, stp)
        if outcome.self_met:
            outcome.resting_qty = QtyLots(0)
        else:
            self._rest(order, outcome)
        return outcome

    def put_first(self, order_id: int) -> None:
        """Move an open order to the head of its level's queue."""
        order = self._orders[order_id]
        side = self._bids if order.side is BUY else self._asks
        key = order.price * side.sign
        others = {each: it for each, it in side.levels[key].items() if each != order_id}
        side.levels[key] = {order_id: order, **others}

    def relist(self, change: Change) -> None:
        """Convert every order to another precision, keeping numbers and queues.

        Clients' orders must be exact in it.
        """
        resting = [
            order for side in (self._bids, self._asks) for key in side.keys for order in side.levels[key].values()
        ]
        self._bids, self._asks = _BookSide(-1), _BookSide(+1)
        for order in resting:
            order.price = change.outward(order.price, order.side is BUY)
            order.open_qty, order.filled_qty = change.qty(order.open_qty), change.qty(order.filled_qty)
            order.display_qty, order.hidden_qty = change.qty(order.display_qty), change.qty(order.hidden_qty)
            (self._bids if order.side is BUY else self._asks).add(order)

    # --- reading

    def best(self, side: Side) -> PriceTicks | None:
        """The best price of a side, None when it is empty."""
        book_side = self._bids if side is BUY else self._asks
        return PriceTicks(book_side.keys[0] * book_side.sign) if book_side.keys else None

    def level_count(self, side: Side) -> int:
        return len((self._bids if side is BUY else self._asks).keys)

    def price_at(self, side: Side, rank: int) -> PriceTicks:
        """The price of the level with `rank` better ones; raises IndexError when there are
        fewer.
        """
        book_side = self._bids if side is BUY else self._asks
        return PriceTicks(book_side.keys[rank] * book_side.sign)

    def level_qty(self, side: Side, price: PriceTicks) -> QtyLots:
        """The quantity at a price; 0 without a level."""
        book_side = self._bids if side is BUY else self._asks
        return QtyLots(book_side.totals.get(price * book_side.sign, 0))

    def orders_at(self, side: Side, price: PriceTicks) -> Iterable[Order]:
        """The orders at a price, first in time first."""
        book_side = self._bids if side is BUY else self._asks
        return book_side.levels.get(price * book_side.sign, {}).values()

    def order(self, order_id: int) -> Order | None:
        """An open order; None when it has left the book."""
        return self._orders.get(order_id)

    def reachable(self, owner: int, side: Side, limit: PriceTicks | None, stp: Stp) -> Iterable[tuple[PriceTicks, int]]:
        """Price and quantity of the makers that an order would meet, hidden parts included,
        best first.

        An order of the same client is skipped, or ends the list, as self-trade prevention
        would decide.
        """
        makers = self._asks if side is BUY else self._bids
        worst_key = None if limit is None else limit * makers.sign
        for key in makers.keys:
            if worst_key is not None and key > worst_key:
                return
            for maker in makers.levels[key].values():
                if maker.owner == owner != FLOW_OWNER:
                    if stp == "cancel_oldest":
                        continue
                    return
                yield maker.price, maker.open_qty + maker.hidden_qty

    def levels(self, side: Side, depth: int | None = None) -> list[tuple[PriceTicks, QtyLots]]:
        """Price and quantity of the best `depth` levels (all of them by default), best
        first.
        """
        book_side = self._bids if side is BUY else self._asks
        return [
            (PriceTicks(key * book_side.sign), QtyLots(book_side.totals[key])) for key in islice(book_side.keys, depth)
        ]

    def check(self) -> None:
        """Raise AssertionError unless every invariant of the book holds."""
        resting = 0
        for side in (self._bids, self._asks):
            assert side.keys == sorted(side.levels), "keys are those of the levels, best first"
            assert side.totals.keys() == side.levels.keys()
            for key, level in side.levels.items():
                assert level, "no empty level stays"
                assert side.totals[key] == sum(order.open_qty for order in level.values())
                for order_id, order in level.items():
                    assert order.open_qty > 0
                    assert order.hidden_qty >= 0
                    assert order.display_qty or not order.hidden_qty, "only icebergs hide"
                    assert order.price * side.sign == key
                    assert self._orders[order_id] is order
                resting += len(level)
        assert resting == len(self._orders)
        best_bid, best_ask = self.best(BUY), self.best(SELL)
        assert best_bid is None or best_ask is None or best_bid < best_ask, "never crossed, never locked"

    # --- steps

    def _new_order(self, owner: int, side: Side, price: PriceTicks, qty: QtyLots) -> Order:
        self._last_order_id += 1
        return Order(self._last_order_id, owner, side, price, qty)

    def _take(self, taker: Order, outcome: Outcome, limit: PriceTicks | None, stp: Stp) -> None:
        """Fill `taker` against the other side, best price first and first in time first, up
        to `limit`.
        """
        makers = self._asks if taker.side is BUY else self._bids
        maker_side = SELL if taker.side is BUY else BUY
        worst_key = None if limit is None else limit * makers.sign
        while taker.open_qty and makers.keys and (worst_key is None or makers.keys[0] <= worst_key):
            maker = next(iter(makers.levels[makers.keys[0]].values()))
            if maker.owner == taker.owner != FLOW_OWNER:
                if stp != "cancel_newest":
                    self._expel(makers, maker, outcome)
                if stp != "cancel_oldest":
                    outcome.self_met = True
                    return
                continue
            qty = min(taker.open_qty, maker.open_qty)
            total = makers.shrink(maker, qty)
            unchanged = False
            if not maker.open_qty:
                if maker.hidden_qty:
                    total = self._show_next(makers, maker, outcome)
                    unchanged = maker.open_qty == qty  # the next part is as large as what was taken
                else:
                    del self._orders[maker.order_id]
            maker.filled_qty = QtyLots(maker.filled_qty + qty)
            taker.filled_qty = QtyLots(taker.filled_qty + qty)
            taker.open_qty = QtyLots(taker.open_qty - qty)
            outcome.fills.append(
                Fill(maker.order_id, maker.owner, taker.order_id, taker.owner, taker.side, maker.price, qty)
            )
            if not unchanged:
                outcome.changes.append(LevelChange(maker_side, maker.price, QtyLots(total)))

    def _expel(self, side: _BookSide, order: Order, outcome: Outcome) -> None:
        """Cancel an order that must not be met."""
        del self._orders[order.order_id]
        total = side.shrink(order, order.open_qty)
        outcome.expelled.append(order)
        outcome.changes.append(LevelChange(order.side, order.price, QtyLots(total)))

    def _show_next(self, side: _BookSide, order: Order, outcome: Outcome) -> int:
        """Show the next part of an iceberg, behind the others of its level; returns the
        level's quantity.
        """
        order.open_qty = QtyLots(min(order.display_qty, order.hidden_qty))
        order.hidden_qty = QtyLots(order.hidden_qty - order.open_qty)
        outcome.refilled.append(Refill(order.order_id, order.open_qty))
        return side.add(order)

    def _rest(self, order: Order, outcome: Outcome) -> None:
        """Queue the remainder of an order at its price; of an iceberg, the part that it
        shows.
        """
        outcome.resting_qty = order.open_qty
        if order.open_qty:
            if 0 < order.display_qty < order.open_qty:
                order.hidden_qty = QtyLots(order.open_qty - order.display_qty)
                order.open_qty = order.display_qty
            self._orders[order.order_id] = order
            total = (self._bids if order.side is BUY else self._asks).add(order)
            outcome.changes.append(LevelChange(order.side, order.price, QtyLots(total)))

    def _amend_qty(self, side: _BookSide, order: Order, more: int, outcome: Outcome) -> None:
        """Change a quantity: less keeps the place, more goes to the end of the queue.

        An iceberg gives from its hidden part first, and adds to it.
        """
        if not more:
            return
        if more < 0:
            hidden_less = min(-more, order.hidden_qty)
            order.hidden_qty = QtyLots(order.hidden_qty - hidden_less)
            shown_less = -more - hidden_less
            if not shown_less:
                return
            total = side.shrink(order, shown_less)
        else:
            key = order.price * side.sign
            level = side.levels[key]
            level[order.order_id] = level.pop(order.order_id)
            if order.display_qty:
                order.hidden_qty = QtyLots(order.hidden_qty + more)
                return
            total = side.totals[key] = side.totals[key] + more
            order.open_qty = QtyLots(order.open_qty + more)
        outcome.changes.append(LevelChange(order.side, order.price, QtyLots(total)))
