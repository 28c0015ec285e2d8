"""Cancels: once the end of an order is wanted, cancels are repeated until it has ended.

A cancel passes every check of our own; only Kraken's rate counter, of which a share is
reserved for cancels, and maintenance hold it back. A single cancel is a request of its own,
so a failure names its order; several due at once go as a batch. A cancel waits a moment
while an amend or an acknowledgement of its order is outstanding, because Kraken does not
promise to process the two in order. An amend is outstanding while its request waits for a
reply, at most until its deadline has passed at Kraken. Of one that is in doubt afterwards
the fate is found out by others, and the cancel does not wait for that.

An order with a conditional close is known by its userref until Kraken's id of it is told,
and its closing orders have the same. A cancel by that would end what protects, so it waits
for the id, at most NAME_PATIENCE_NS behind the deadline.

The pause after a cancel that ended nothing grows with each that was sent, because each
costs points of the pair's rate counter. One that no connection took costs nothing, and is
tried again every second. New knowledge (a connection or the feed is back, REST has found an
order in doubt) ends the pause; that REST shows the order open does not, for it lags.
"""

from collections.abc import Collection, Sequence
from typing import Final

from engine.instant import Instant
from engine.kraken.connection.kraken_time import KrakenTime
from engine.kraken.private.events import Purpose
from engine.kraken.trading import order_requests
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.lookup.questions import DEADLINE_MARGIN_NS
from engine.order_router.core.rest_route import RestRoute
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.orders.journal_records import CancelSent, CancelWanted
from engine.orders.life import OrderState
from engine.orders.rate_counter import RateCost, RateCounters, cancel_cost
from engine.orders.tracked_order import TrackedOrder
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

RETRY_NS: Final = NS_PER_S  # for a cancel that did not end its order; doubles with each that was sent
RETRY_NS_MAX: Final = 30 * NS_PER_S
SOON_NS: Final = 20 * NS_PER_MS  # behind an amend under way, or an order that is not acknowledged yet
NAME_PATIENCE_NS: Final = 10 * NS_PER_S  # behind its deadline, for Kraken's id of an order that has a userref alone


class OrderCancels:
    """The orders to be canceled, and when the next cancel request of each is due."""

    def __init__(
        self,
        records: OrderRecords,
        websocket: WebSocketRoute,
        rates: RateCounters,
        rest: RestRoute,
        now: Instant,
        kraken: KrakenTime,
    ) -> None:
        self._records = records
        self._websocket = websocket
        self._rates = rates
        self._rest = rest
        self._now = now
        self._kraken = kraken
        # When the next cancel of each order is due, and the earliest of these times.
        self._due: dict[str, MonoNs] = {}
        self._next_at = MonoNs(0)
        # Cancels sent for each order; the pause between them doubles with each.
        self._attempts: dict[str, int] = {}
        # The trading connection on which they were sent last, by its number.
        self._opening = 0
        self.sent = 0

    def want(self, key: str) -> None:
        """Cancel an open order, from the next `send` on until it has ended."""
        if key not in self._due:
            self._due[key] = self._next_at = MonoNs(0)

    def retry(self, key: str, after_ns: int = 0) -> None:
        """Make the next cancel of an order due in `after_ns` nanoseconds. No effect unless
        the order is to be canceled.
        """
        if key in self._due:
            at = self._due[key] = MonoNs(self._now.mono + after_ns)
            self._next_at = min(self._next_at, at)

    def note_sent(self, key: str) -> None:
        """Record that a connection has taken the cancel request of an order. The order is
        still open.
        """
        self.sent += 1
        if key in self._due:
            attempts = self._attempts[key] = self._attempts.get(key, 0) + 1
            self._due[key] = MonoNs(self._now.mono + min(RETRY_NS << min(attempts - 1, 10), RETRY_NS_MAX))

    def resume(self) -> None:
        """Resume the cancels that the journal records as wanted: after a restart, or for
        orders that were presumed absent and are open.
        """
        for order in self._records.blotter.open.values():
            if order.cancel_wanted:
                self.want(order.key)

    def send(self, now: MonoNs, *, is_maintenance: bool) -> None:
        """Send the cancels that are due at `now`; in maintenance they stay due."""
        if not self._due:
            return
        if self._opening != self._websocket.session.openings and self._websocket.is_ready:
            self._opening = self._websocket.session.openings
            self._next_at = MonoNs(0)
            self._due = dict.fromkeys(self._due, MonoNs(0))
        if now < self._next_at:
            return
        self._send_due(now, is_maintenance=is_maintenance)
        self._next_at = min(self._due.values(), default=MonoNs(0))

    def _send_due(self, now: MonoNs, *, is_maintenance: bool) -> None:
        amending = {*self._websocket.amending, *self._rest.amending}
        due = [
            order for key, at in list(self._due.items()) if (order := self._ready(key, at, now, amending)) is not None
        ]
        if is_maintenance:
            due = []
        self._note_waiting(due)
        if not due:
            return
        at = self._now.wall
        # A failing journal is no reason to leave an order open: Kraken itself will tell of
        # the cancel. An amend in doubt stays the order's request under way until it is
        # decided: it may have made the order larger, which is counted until then.
        records = [
            CancelWanted(order.key, at) if order.pending == "amend" else CancelSent(order.key, at)
            for order in due
            if order.pending != "cancel" and not (order.pending and order.cancel_wanted)
        ]
        if records:
            self._records.write_facts(records)
        left: list[Sequence[TrackedOrder]] = []
        for first in range(0, len(due), order_requests.BATCH_CANCEL_MAX):
            left += self._send_together(due[first : first + order_requests.BATCH_CANCEL_MAX])
        # The bytes have left; now what could wait.
        not_sent = {order.key for orders in left for order in orders}
        for order in due:
            if order.key in not_sent:
                self._due[order.key] = MonoNs(now + RETRY_NS)
            else:
                self._rates.charge(order.symbol, self._cost(order), now)
                self.note_sent(order.key)
        for record in records:
            self._records.apply(record)
        self._rest.cancel([(order, self._cost(order)) for orders in left for order in orders])

    def _note_waiting(self, due: Sequence[TrackedOrder]) -> None:
        """Journal the wanted cancels that cannot be sent yet, so that a successor sends
        them.
        """
        leaving, at = {order.key for order in due}, self._now.wall
        orders = (self._records.blotter.open.get(key) for key in self._due if key not in leaving)
        waiting = [order for order in orders if order is not None and not order.cancel_wanted]
        if waiting:
            self._records.commit([CancelWanted(order.key, at) for order in waiting])

    def _ready(self, key: str, due_at: MonoNs, now: MonoNs, amending: Collection[str]) -> TrackedOrder | None:
        """The order if its cancel can be sent now, else None; sets when it is due next.

        `amending`: the orders with an amend that waits for its reply.
        """
        order = self._records.blotter.open.get(key)
        if order is None:
            del self._due[key]
            self._attempts.pop(key, None)
            return None
        if now < due_at:
            return None
        if (
            order.state is OrderState.SENT
            or (key in amending and self._may_be_amended(order))
            or (not order.order_id and order.userref is not None and self._is_id_awaited(order))
        ):
            self._due[key] = MonoNs(now + SOON_NS)
            return None
        if wait_ns := self._rates.cancel_wait_ns(order.symbol, self._cost(order), now):
            self._due[key] = MonoNs(now + min(wait_ns, RETRY_NS))
            return None
        return order

    def _cost(self, order: TrackedOrder) -> RateCost:
        return cancel_cost(self._records.age_ns(order))

    def _may_be_amended(self, order: TrackedOrder) -> bool:
        """True if Kraken may still carry out the amend that the order waits for."""
        return order.pending == "amend" and self._kraken.least() <= order.amend_deadline + DEADLINE_MARGIN_NS

    def _is_id_awaited(self, order: TrackedOrder) -> bool:
        """True for an order that has only a userref while Kraken's id of it may still
        arrive. If the order exists the executions report the id, unless they are broken or
        silent, which takes time to notice; then the snapshot, or REST, does.
        """
        return self._kraken.least() <= order.deadline + NAME_PATIENCE_NS

    def _send_together(self, orders: Sequence[TrackedOrder]) -> Sequence[Sequence[TrackedOrder]]:
        """Send the cancels of at most BATCH_CANCEL_MAX orders; returns those that the
        connection did not take, in the groups in which REST may cancel them.
        """
        if len(orders) == 1 or any(order.userref is not None and not order.order_id for order in orders):
            return [[order] for order in orders if not self._send_one(order)]
        order_ids = [order.order_id for order in orders if order.order_id]
        cl_ord_ids = [order.key for order in orders if not order.order_id]

        def build(token: str, req_id: int) -> bytes:
            return order_requests.batch_cancel(order_ids=order_ids, cl_ord_ids=cl_ord_ids, token=token, req_id=req_id)

        purpose = Purpose("batch_cancel", tuple(order.key for order in orders))
        return () if self._websocket.send("batch_cancel", purpose, build) else (orders,)

    def _send_one(self, order: TrackedOrder) -> bool:
        def build(token: str, req_id: int) -> bytes:
            if order.order_id:
                return order_requests.cancel_order(order_id=order.order_id, token=token, req_id=req_id)
            if order.userref is not None:
                return order_requests.cancel_order(order_userref=order.userref, token=token, req_id=req_id)
            return order_requests.cancel_order(cl_ord_id=order.key, token=token, req_id=req_id)

        return self._websocket.send("cancel_order", Purpose("cancel", (order.key,)), build)
