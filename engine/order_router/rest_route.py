"""Orders by REST, when the WebSocket cannot carry them.

    AddOrder, AddOrderBatch, AmendOrder ─► sent once; in doubt like any other when no answer comes
    CancelOrder ─► how the order then stands is asked for
    CancelAllOrdersAfter ─► the dead man's switch

Private calls of a key go one after the other, so each has a deadline of its own, and how many may wait is bounded.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

from engine.clock import Clock
from engine.kraken.connection.error_catalog import Meaning
from engine.kraken.private.events import AnswerRow
from engine.kraken.rest import order_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import RestPair
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.requests import RestRequest
from engine.kraken.trading.order_requests import UNWRITABLE, BatchRow
from engine.kraken_rest.call_counter import Urgency
from engine.kraken_rest.calls import NOT_SENT, RestCalls
from engine.order_router.wire import Purpose
from engine.orders.breaker import Breaker
from engine.orders.tracked_order import TrackedOrder
from engine.units import WallNs

ADD_DEADLINE_S: Final = 2.5
CANCEL_DEADLINE_S: Final = 1.5  # one that hangs must not hold up the next for long
DEAD_MAN_DEADLINE_S: Final = 2.0
IN_FLIGHT_MAX: Final = 64


class Answers(Protocol):
    """Who is told what came of a request."""

    def on_answer(
        self,
        purpose: Purpose,
        success: bool,
        order_id: str | None,
        error: str,
        what: Meaning | None,
        rows: Sequence[AnswerRow] = (),
    ) -> None: ...


class OrderRest:
    """The second way out. All of it runs in the router's event loop."""

    def __init__(self, rest: RestCalls, breaker: Breaker, settle: Callable[[str], None], clock: Clock) -> None:
        """`settle` is called with an order whose end nobody may be there to tell."""
        self._rest = rest
        self._breaker = breaker
        self._settle = settle
        self._clock = clock
        # Made after this one, which it uses.
        self.answers: Answers
        self._tasks: set[asyncio.Task[None]] = set()
        # Orders whose cancel is under way: their next attempt has nothing to add.
        self._canceling: set[str] = set()

    @property
    def is_reachable(self) -> bool:
        """Would an order have a chance?"""
        return self._rest.pairs is not None and self._has_room and self._breaker.allows(self._clock.mono_ns())

    def add(self, orders: Sequence[TrackedOrder]) -> None:
        """Send new orders: one, or a batch of one pair."""
        self._spawn(self._add(orders))

    def amend(self, order: TrackedOrder) -> None:
        """Send the amend that is under way."""
        self._spawn(self._amend(order))

    def cancel(self, orders: Sequence[TrackedOrder]) -> None:
        """Send cancels."""
        new = [order for order in orders if order.key not in self._canceling]
        if new and self._has_room:
            self._canceling.update(order.key for order in new)
            self._spawn(self._cancel(new))

    def arm_dead_man(self, timeout_s: int) -> None:
        """Set the dead man's switch, however much is under way: it is answered in any case."""
        self._spawn(self._arm(timeout_s))

    async def close(self) -> None:
        """Let what is under way end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=DEAD_MAN_DEADLINE_S)

    @property
    def _has_room(self) -> bool:
        return not self._rest.locked_out_s and len(self._tasks) < IN_FLIGHT_MAX

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _add(self, orders: Sequence[TrackedOrder]) -> None:
        keys = tuple(order.key for order in orders)
        purpose = Purpose("add" if len(orders) == 1 else "batch_add", keys, self._clock.mono_ns())
        pair = self._rest.pairs.find(orders[0].symbol) if self._rest.pairs is not None else None
        if pair is None:
            self.answers.on_answer(purpose, False, None, "REST does not know the pair", NOT_SENT)
            return
        try:
            request = _add_request(orders, pair)
        except UNWRITABLE as error:
            self.answers.on_answer(purpose, False, None, f"no request can carry it: {error}", NOT_SENT)
            return
        if len(orders) == 1:
            placed = await self._rest.ask(request, order_replies.read_add_order, ADD_DEADLINE_S, Urgency.ORDER)
            if isinstance(placed, RestRefusal):
                self._refused(purpose, placed)
            else:
                self._breaker.succeeded()
                self.answers.on_answer(purpose, True, placed.order_ids[0] if placed.order_ids else None, "", None)
            return
        rows = await self._rest.ask(request, order_replies.read_add_order_batch, ADD_DEADLINE_S, Urgency.ORDER)
        if isinstance(rows, RestRefusal):
            self._refused(purpose, rows)
        else:
            self._breaker.succeeded()
            self.answers.on_answer(purpose, True, None, "", None, rows)

    async def _amend(self, order: TrackedOrder) -> None:
        amendment = order.amendment
        if amendment is None:
            return
        trigger = order.intent.trigger
        purpose = Purpose("amend", (order.key,), self._clock.mono_ns())
        try:
            request = rest_requests.amend_order(
                amendment, order_id=order.order_id, limit_price_type=order.intent.limit_price_type,
                trigger_price_type=trigger.price_type if trigger is not None else None,
                deadline=rest_requests.rest_deadline(WallNs(0), self._clock.wall_ns()),
            )  # fmt: skip
        except UNWRITABLE as error:
            self.answers.on_answer(purpose, False, None, f"no request can carry it: {error}", NOT_SENT)
            return
        answer = await self._rest.ask(request, order_replies.read_amend_order, ADD_DEADLINE_S, Urgency.ORDER)
        if isinstance(answer, RestRefusal):
            self._refused(purpose, answer)
        else:
            self.answers.on_answer(purpose, True, None, "", None)

    async def _cancel(self, orders: Sequence[TrackedOrder]) -> None:
        for order in orders:
            request = (
                rest_requests.cancel_order(order_id=order.order_id)
                if order.order_id
                else rest_requests.cancel_order(userref=order.userref)
                if order.userref is not None
                else rest_requests.cancel_order(cl_ord_id=order.key)
            )
            try:
                answer = await self._rest.ask(request, order_replies.read_cancel, CANCEL_DEADLINE_S, Urgency.CANCEL)
            finally:
                self._canceling.discard(order.key)
            purpose = Purpose("cancel", (order.key,), self._clock.mono_ns())
            if isinstance(answer, RestRefusal):
                self._refused(purpose, answer)
            else:
                # No executions tell of it while the private feed is down: ask.
                self._settle(order.key)

    async def _arm(self, timeout_s: int) -> None:
        answer = await self._rest.ask(
            rest_requests.cancel_all_orders_after(timeout_s),
            order_replies.read_cancel_all_orders_after,
            DEAD_MAN_DEADLINE_S,
            Urgency.DEAD_MAN,
        )
        purpose = Purpose("dead_man", (), self._clock.mono_ns())
        if isinstance(answer, RestRefusal):
            self.answers.on_answer(purpose, False, None, answer.error, answer.meaning)
        else:
            self.answers.on_answer(purpose, True, None, "", None)

    def _refused(self, purpose: Purpose, refusal: RestRefusal) -> None:
        if refusal.status == 0 or refusal.status >= 500:
            self._breaker.failed(self._clock.mono_ns())
        self.answers.on_answer(purpose, False, None, refusal.error, refusal.meaning)


def _add_request(orders: Sequence[TrackedOrder], pair: RestPair) -> RestRequest:
    first = orders[0]
    if len(orders) == 1:
        return rest_requests.add_order(
            first.intent, pair=pair, cl_ord_id=first.cl_ord_id, userref=first.userref, deadline=first.deadline
        )
    rows = [BatchRow(order.intent, order.cl_ord_id, order.userref) for order in orders]
    return rest_requests.add_order_batch(rows, pair=pair, deadline=first.deadline)
