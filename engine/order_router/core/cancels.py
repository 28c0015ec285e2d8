"""Cancels: once wanted, an order's end is asked for again and again until it has come.

They pass every gate but Kraken's own: its rate counter, of which a share is kept for them, and maintenance. One alone
is a request of its own, whose failure then names it; several go together. Behind an amend under way, or an answer that
is to come, a cancel waits for a moment: Kraken does not promise to take the two in order.

A cancel that ends nothing is followed by growing pauses, for each costs the pair's counter; whatever changes (the feed
is back, REST has told how the order stands) ends them.
"""

from collections.abc import Callable, Sequence
from typing import Final

from engine.instant import Instant
from engine.kraken.private.events import Purpose
from engine.kraken.trading import order_requests
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.orders.journal_records import CancelSent, CancelWanted
from engine.orders.life import OrderState
from engine.orders.rate_counter import RateCounters, cancel_cost
from engine.orders.tracked_order import TrackedOrder
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

RETRY_NS: Final = NS_PER_S  # for a cancel that did not end its order; doubles with each
RETRY_NS_MAX: Final = 30 * NS_PER_S
SOON_NS: Final = 20 * NS_PER_MS  # behind an amend under way, or an order that is not acknowledged yet


class OrderCancels:
    """Orders whose end is wanted."""

    def __init__(
        self,
        records: OrderRecords,
        websocket: WebSocketRoute,
        rates: RateCounters,
        by_rest: Callable[[Sequence[TrackedOrder]], None],
        now: Instant,
    ) -> None:
        self._records = records
        self._websocket = websocket
        self._rates = rates
        self._by_rest = by_rest
        self._now = now
        # When the next attempt for an order is due.
        self._due: dict[str, MonoNs] = {}
        # How often in a row each was sent; the pauses between them grow.
        self._attempts: dict[str, int] = {}
        self.sent = 0

    def want(self, key: str) -> None:
        """Have an open order end; `send` follows."""
        self._due.setdefault(key, MonoNs(0))

    def retry(self, key: str, after_ns: int = 0) -> None:
        """An attempt came to nothing; only for orders whose end is wanted."""
        if key in self._due:
            self._due[key] = MonoNs(self._now.mono + after_ns)

    def resume(self) -> None:
        """After a restart: what was wanted before is wanted still."""
        for order in self._records.blotter.open.values():
            if order.cancel_wanted:
                self.want(order.key)

    def send(self, now: MonoNs, *, is_maintenance: bool) -> None:
        """Send what is due."""
        if not self._due:
            return
        due = [order for key, at in list(self._due.items()) if (order := self._ready(key, at, now)) is not None]
        if is_maintenance:
            for order in due:
                self._due[order.key] = MonoNs(now + RETRY_NS)
            due = []
        self._note_waiting(due)
        if not due:
            return
        at = self._now.wall
        # The journal's trouble is no reason to leave an order open: what a cancel changes, Kraken knows.
        self._records.commit([CancelSent(order.key, at) for order in due])
        self.sent += len(due)
        for order in due:
            self._rates.charge(order.symbol, cancel_cost(at - order.aged_from), now)
            attempts = self._attempts[order.key] = self._attempts.get(order.key, 0) + 1
            self._due[order.key] = MonoNs(now + min(RETRY_NS << min(attempts - 1, 10), RETRY_NS_MAX))
        for first in range(0, len(due), order_requests.BATCH_CANCEL_MAX):
            self._send_together(due[first : first + order_requests.BATCH_CANCEL_MAX])

    def _note_waiting(self, due: Sequence[TrackedOrder]) -> None:
        """Write down which ends are wanted and cannot be asked for yet: the next router has to ask for them."""
        leaving, at = {order.key for order in due}, self._now.wall
        orders = (self._records.blotter.open.get(key) for key in self._due if key not in leaving)
        waiting = [order for order in orders if order is not None and not order.cancel_wanted]
        if waiting:
            self._records.commit([CancelWanted(order.key, at) for order in waiting])

    def _ready(self, key: str, due_at: MonoNs, now: MonoNs) -> TrackedOrder | None:
        """The order, when its cancel can go out now."""
        order = self._records.blotter.open.get(key)
        if order is None:
            del self._due[key]
            self._attempts.pop(key, None)
            return None
        if now < due_at:
            return None
        if order.pending == "amend" or order.state is OrderState.SENT:
            self._due[key] = MonoNs(now + SOON_NS)
            return None
        cost = cancel_cost(self._now.wall - order.aged_from)
        if wait_ns := self._rates.cancel_wait_ns(order.symbol, cost, now):
            self._due[key] = MonoNs(now + min(wait_ns, RETRY_NS))
            return None
        return order

    def _send_together(self, orders: Sequence[TrackedOrder]) -> None:
        if len(orders) == 1 or any(order.userref is not None and not order.order_id for order in orders):
            for order in orders:
                if not self._send_one(order):
                    self._by_rest([order])
            return
        order_ids = [order.order_id for order in orders if order.order_id]
        cl_ord_ids = [order.key for order in orders if not order.order_id]

        def build(token: str, req_id: int) -> bytes:
            return order_requests.batch_cancel(order_ids=order_ids, cl_ord_ids=cl_ord_ids, token=token, req_id=req_id)

        purpose = Purpose("batch_cancel", tuple(order.key for order in orders))
        if not self._websocket.send("batch_cancel", purpose, build):
            self._by_rest(orders)

    def _send_one(self, order: TrackedOrder) -> bool:
        def build(token: str, req_id: int) -> bytes:
            if order.order_id:
                return order_requests.cancel_order(order_id=order.order_id, token=token, req_id=req_id)
            if order.userref is not None:
                return order_requests.cancel_order(order_userref=order.userref, token=token, req_id=req_id)
            return order_requests.cancel_order(cl_ord_id=order.key, token=token, req_id=req_id)

        return self._websocket.send("cancel_order", Purpose("cancel", (order.key,)), build)
