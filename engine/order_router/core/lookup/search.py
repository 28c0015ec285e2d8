"""Searches for orders at REST, call by call, as pure state: no socket, no clock.

    OrderSearch   orders that may be there: open ones first, then closed ones, page by page
    FoundOrders   how orders stand, with the missing fills, twenty a call

`request` is the next call, None if there is none; `take` takes its answer. A failed call
changes nothing: what was learned stays, and `request` is the same call again.

Why a search may continue after a pause: closed orders are listed newest first, so an order
that closes meanwhile moves the others to later places. Then pages overlap, but miss no
order that was closed when the search began; an order that was open then is on the list of
open orders, which is asked for first. But REST may also answer from an earlier state than
before, which moves the others to earlier places. So each page begins with places that were
listed already, and a page that repeats none of them may have left some out and is asked for
again, from further ahead.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.requests import RestRequest
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import ExecutionFact, OrderLookup
from engine.units import NS_PER_S

PAGE: Final = 50
OVERLAP: Final = 10  # places of a page that the one before should have told
PAGES_MAX: Final = 20  # afterwards each missing order is asked for by name
BY_NAME_MAX: Final = 2  # up to this many are asked for by name instead of by page
CLOCK_MARGIN_S: Final = 5  # between our clock and Kraken's, for selecting by time


class OrderSearch:
    """One search for several orders."""

    def __init__(
        self, orders: Sequence[TrackedOrder], *, life_ns: int, asks_closed: bool, is_late: bool = False
    ) -> None:
        """`life_ns`: how long before its deadline an order is opened at the earliest; the
        times that are asked for are by Kraken's clock. With `is_late`, long
        after the orders were sent, closed orders are selected by their opening time.
        """
        self._life_ns = life_ns
        # Orders not found yet, by client order id.
        self.missing = {order.key: order for order in orders}
        # Calls answered so far.
        self.calls = 0
        self._asks_closed = asks_closed
        self._is_alone = len(orders) == 1
        self._start_s = (min(order.deadline for order in orders) - life_ns) // NS_PER_S - CLOCK_MARGIN_S
        self._end_s = max(order.deadline for order in orders) // NS_PER_S + CLOCK_MARGIN_S if is_late else None
        self._has_open = False
        self._pages = 0
        self._has_last_page = False
        # The first place of the next page, and the closed orders listed so far.
        self._offset = 0
        self._seen: set[str] = set()

    @property
    def asks_history(self) -> bool:
        """True if the next call costs a key's counter several points."""
        return self._has_open

    @property
    def begins_history(self) -> bool:
        """True if the next call is the first for closed orders."""
        return self._has_open and self._asks_closed and not self._pages and bool(self.missing)

    def join(self, other: "OrderSearch") -> None:
        """Look among closed orders for those of another search too, when both begin with
        them.
        """
        self.missing |= other.missing
        self._life_ns = max(self._life_ns, other._life_ns)
        self._start_s = min(self._start_s, other._start_s)
        self._is_alone = len(self.missing) == 1

    @property
    def request(self) -> RestRequest | None:
        """The next call; None if the search is complete."""
        if not self.missing:
            return None
        if not self._has_open:
            return rest_requests.open_orders(**(name_of(next(iter(self.missing.values()))) if self._is_alone else {}))
        if not self._asks_closed or self._has_last_page:
            return None
        which = name_of(self.missing[self.named]) if self.named else {}
        offset = 0 if self.named else self._offset
        if self._end_s is None:
            return rest_requests.closed_orders(**which, start_s=self._start_s, offset=offset)
        return rest_requests.closed_orders(
            **which, start_s=self._start_s, end_s=self._end_s, offset=offset, closetime="open"
        )

    @property
    def named(self) -> str:
        """The order that `request` asks for by name among closed orders; empty if it asks
        for a page.
        """
        return next(iter(self.missing), "") if self._has_open and self._goes_by_name else ""

    def take(self, rows: Sequence[OrderLookup], named: str) -> dict[str, OrderLookup]:
        """Take the answer to `request`, with the value that `named` had then; returns the
        orders found, by client order id.
        """
        self.calls += 1
        found = {
            key: row for key, order in self.missing.items() if (row := _own_row(order, rows, self._life_ns)) is not None
        }
        if not self._has_open:
            self._has_open = True
        elif named:
            self.missing.pop(named, None)
        else:
            self._turn_page({row.order_id for row in rows})
        for key in found:
            self.missing.pop(key, None)
        return found

    def _turn_page(self, told: set[str]) -> None:
        self._pages += 1
        joins = self._offset == 0 or not told.isdisjoint(self._seen)
        if not joins:
            self._offset = max(0, self._offset - PAGE // 2)
            return  # valid, but orders may be missing between the pages
        if len(told) >= PAGE and told <= self._seen:
            self._pages = PAGES_MAX  # the same page again: paging makes no progress
        self._seen |= told
        self._has_last_page = len(told) < PAGE
        self._offset += PAGE - OVERLAP

    def forget(self, key: str) -> None:
        """Stop looking for this order."""
        self.missing.pop(key, None)

    @property
    def _goes_by_name(self) -> bool:
        return self._is_alone or self._pages >= PAGES_MAX or (self._pages > 0 and len(self.missing) <= BY_NAME_MAX)


class FoundOrders:
    """Orders that REST has reported, until each of their fills is known or has been asked
    for.
    """

    def __init__(self, knows_fill: Callable[[str], bool]) -> None:
        self._knows_fill = knows_fill
        self._waiting: list[OrderLookup] = []
        self._fills: dict[str, ExecutionFact] = {}
        # Fills that were asked for. One that REST does not have yet is noticed as missing
        # later.
        self._asked: set[str] = set()

    @property
    def is_waiting(self) -> bool:
        """True while there are orders that `ready` has not returned."""
        return bool(self._waiting)

    def add(self, row: OrderLookup) -> None:
        """Take an order's state."""
        self._waiting.append(row)

    @property
    def fills_to_ask(self) -> list[str]:
        """The ids for the next call; empty if there are none. Evaluated when the call is
        sent, since it may wait for room in the key's counter while the executions report
        fills.
        """
        ids = dict.fromkeys(trade_id for row in self._waiting for trade_id in self._unseen(row))
        return list(ids)[: rest_requests.QUERY_TRADES_MAX]

    def take(self, asked: Sequence[str], fills: Sequence[ExecutionFact]) -> None:
        """Take the answer to a call for these ids."""
        self._asked.update(asked)
        self._fills.update({fill.exec_id: fill for fill in fills if fill.exec_id is not None})

    def ready(self) -> list[tuple[OrderLookup, list[ExecutionFact]]]:
        """The orders with no fill left to ask for, with the fills that REST reported. Each
        is returned once.
        """
        ready = [row for row in self._waiting if not self._unseen(row)]
        self._waiting = [row for row in self._waiting if self._unseen(row)]
        told = [(row, [self._fills[it] for it in row.trade_ids if it in self._fills]) for row in ready]
        if not self._waiting:
            self._fills.clear()
            self._asked.clear()
        return told

    def _unseen(self, row: OrderLookup) -> list[str]:
        return [it for it in row.trade_ids if it not in self._asked and not self._knows_fill(it)]


def name_of(order: TrackedOrder) -> dict[str, Any]:
    """The parameters that find this order by name at REST."""
    return {"cl_ord_id": order.key} if order.userref is None else {"userref": order.userref}


def _own_row(order: TrackedOrder, rows: Sequence[OrderLookup], life_ns: int) -> OrderLookup | None:
    """The row of this order, or None. A userref, or an id that the user chose, may have
    been an older order's, and a closing order has its parent's userref.
    """
    began_at = order.deadline - life_ns - CLOCK_MARGIN_S * NS_PER_S
    for row in rows:
        if order.userref is None:
            is_it = row.cl_ord_id == order.key and (not row.opened_at or row.opened_at >= began_at)
        else:
            is_it = row.own_userref == order.userref and row.opened_at >= began_at
        if is_it and row.side in (None, order.intent.side):
            return row
    return None
