"""The REST route of requests, used when the WebSocket cannot carry them.

    AddOrder, AddOrderBatch, AmendOrder ─► sent once; in doubt like any other when no answer comes
    CancelOrder ─► the order's state is asked for afterwards
    CancelAllOrdersAfter ─► the dead man's switch

Private calls of a key go one after the other, so each has its own deadline, and the number
that may wait is bounded.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct

from engine.instant import Instant
from engine.kraken.connection.breaker import Breaker
from engine.kraken.connection.error_catalog import Meaning
from engine.kraken.private.events import Answer, Purpose
from engine.kraken.rest import order_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import RestPair
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.requests import RestRequest
from engine.kraken.trading.order_requests import UNWRITABLE, BatchRow
from engine.kraken_rest.call_counter import Urgency
from engine.kraken_rest.call_queue import NOT_SENT, CallQueue, RestCall
from engine.kraken_rest.pair_names import PairNames
from engine.orders.rate_counter import RateCost, RateCounters
from engine.orders.refusal import TROUBLE
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import Outcome
from engine.units import MonoNs

ADD_DEADLINE_S: Final = 2.5
CANCEL_DEADLINE_S: Final = 1.5  # short, so one that hangs does not delay the next for long
DEAD_MAN_DEADLINE_S: Final = 2.0
ANSWERED: Final = 200  # the status of all answers of Kraken's own, refusals too
IN_FLIGHT_MAX: Final = 64
CANCELS_WAITING_MAX: Final = 1000


class _Charge(Struct, frozen=True):
    """What a request costs of its pair's rate counter, and when that was charged."""

    symbol: str
    cost: RateCost
    at: MonoNs


class RestRoute:
    """Sends requests by REST, and charges the pairs' rate counters for those that leave."""

    def __init__(
        self,
        calls: CallQueue,
        names: PairNames,
        breaker: Breaker,
        rates: RateCounters,
        now: Instant,
        *,
        answered: Callable[[Answer], None],
        cancel_sent: Callable[[str], None],
        settle: Callable[[str], None],
    ) -> None:
        """`answered` is called with the reply to each request, `cancel_sent` with an order
        whose cancel may have reached Kraken, and `settle` with one whose end the executions
        may not report.
        """
        self._calls = calls
        self._names = names
        self._breaker = breaker
        self._rates = rates
        self._now = now
        self._answered = answered
        self._cancel_sent = cancel_sent
        self._settle = settle
        # Requests, without cancels, that have no reply yet.
        self._in_flight = 0
        # Orders with a cancel under way (the first) or waiting, each with what that costs.
        # Calls are made one by one, so that each deadline begins with its call.
        self._canceling: dict[str, tuple[TrackedOrder, RateCost]] = {}
        # Orders with an amend that has no reply yet.
        self.amending: set[str] = set()

    @property
    def is_reachable(self) -> bool:
        """True if an order may be sent this way now."""
        return self._names.pairs is not None and self._has_room and self._breaker.allows(self._now.mono)

    @property
    def _has_room(self) -> bool:
        return not self._calls.locked_out_s and self._in_flight < IN_FLIGHT_MAX

    def add(self, orders: Sequence[TrackedOrder], cost: RateCost) -> None:
        """Send new orders: one, or a batch of one pair."""
        purpose = Purpose("add" if len(orders) == 1 else "batch_add", tuple(order.key for order in orders))
        pair = self._names.pairs.find(orders[0].symbol) if self._names.pairs is not None else None
        if pair is None:
            self._refuse(purpose, "REST does not know the pair", NOT_SENT)
            return
        try:
            request = _add_request(orders, pair)
        except UNWRITABLE as error:
            self._refuse(purpose, f"no request can carry it: {error}", NOT_SENT)
            return
        read = order_replies.read_add_order if len(orders) == 1 else order_replies.read_add_order_batch
        charge = self._charge(orders[0].symbol, cost)
        self._send(RestCall(
            request, read, partial(self._added, purpose, charge), deadline_s=ADD_DEADLINE_S, urgency=Urgency.ORDER
        ))  # fmt: skip

    def amend(self, order: TrackedOrder, cost: RateCost) -> None:
        """Send the pending amend of an order."""
        if order.amendment is None:
            return
        purpose = Purpose("amend", (order.key,), order.amend_deadline)
        trigger = order.intent.trigger
        try:
            request = rest_requests.amend_order(
                order.amendment, order_id=order.order_id, limit_price_type=order.intent.limit_price_type,
                trigger_price_type=trigger.price_type if trigger is not None else None,
                deadline=order.amend_deadline,
            )  # fmt: skip
        except UNWRITABLE as error:
            self._refuse(purpose, f"no request can carry it: {error}", NOT_SENT)
            return
        self.amending.add(order.key)
        charge = self._charge(order.symbol, cost)
        self._send(RestCall(
            request, order_replies.read_amend_order, partial(self._amended, purpose, charge),
            deadline_s=ADD_DEADLINE_S, urgency=Urgency.ORDER,
        ))  # fmt: skip

    def cancel(self, orders: Sequence[tuple[TrackedOrder, RateCost]]) -> None:
        """Send cancels, each with its cost; orders whose cancel is under way or waiting are
        skipped.
        """
        if not self._has_room:
            return
        is_idle = not self._canceling
        for order, cost in orders:
            if len(self._canceling) < CANCELS_WAITING_MAX:
                self._canceling.setdefault(order.key, (order, cost))
        if is_idle:
            self._cancel_next()

    def arm_dead_man(self, timeout_s: int) -> None:
        """Set the dead man's switch to `timeout_s` seconds; a result always follows, even
        with too many calls waiting.
        """
        purpose = Purpose("dead_man" if timeout_s else "dead_man_off")
        self._send(RestCall(
            rest_requests.cancel_all_orders_after(timeout_s), order_replies.read_cancel_all_orders_after,
            partial(self._armed, purpose), deadline_s=DEAD_MAN_DEADLINE_S, urgency=Urgency.DEAD_MAN,
        ))  # fmt: skip

    def _send(self, call: RestCall) -> None:
        self._in_flight += 1
        self._calls.put(call)

    # --- what came of them

    def _added(self, purpose: Purpose, charge: _Charge, answer: Any) -> None:
        self._in_flight -= 1
        self._settle_charge(charge, answer)
        if isinstance(answer, RestRefusal):
            self._failed(purpose, answer)
            return
        self._breaker.succeeded()
        if purpose.kind == "batch_add":
            self._answered(_answer(purpose, rows=tuple(answer)))
        else:
            self._answered(_answer(purpose, order_id=answer.order_ids[0] if answer.order_ids else None))

    def _amended(self, purpose: Purpose, charge: _Charge, answer: Any) -> None:
        self._in_flight -= 1
        self._settle_charge(charge, answer)
        self.amending.discard(purpose.keys[0])
        if isinstance(answer, RestRefusal):
            self._failed(purpose, answer)
        else:
            self._breaker.succeeded()
            self._answered(_answer(purpose))

    def _armed(self, purpose: Purpose, answer: Any) -> None:
        self._in_flight -= 1
        if isinstance(answer, RestRefusal):
            self._refuse(purpose, answer.error, answer.meaning)
        else:
            self._answered(_answer(purpose))

    def _cancel_next(self) -> None:
        if not self._canceling:
            return
        order, cost = next(iter(self._canceling.values()))
        request = (
            rest_requests.cancel_order(order_id=order.order_id)
            if order.order_id
            else rest_requests.cancel_order(userref=order.userref)
            if order.userref is not None
            else rest_requests.cancel_order(cl_ord_id=order.key)
        )
        self._calls.put(RestCall(
            request, order_replies.read_cancel, partial(self._canceled, order.key, self._charge(order.symbol, cost)),
            deadline_s=CANCEL_DEADLINE_S, urgency=Urgency.CANCEL,
        ))  # fmt: skip

    def _canceled(self, key: str, charge: _Charge, answer: Any) -> None:
        self._canceling.pop(key, None)
        if self._settle_charge(charge, answer):
            self._cancel_sent(key)
        else:
            self._canceling.clear()  # nor would these be sent; they are due again soon
        if isinstance(answer, RestRefusal):
            self._failed(Purpose("cancel", (key,)), answer)
        else:
            self._breaker.succeeded()
            self._settle(key)  # no execution tells of the end while the private feed is down
        self._cancel_next()

    def _charge(self, symbol: str, cost: RateCost) -> _Charge:
        """Charge a request that is to be sent, so that those behind it count with it."""
        self._rates.charge(symbol, cost, self._now.mono)
        return _Charge(symbol, cost, self._now.mono)

    def _settle_charge(self, charge: _Charge, answer: Any) -> bool:
        """True if the request may have reached Kraken; else its charge is taken back."""
        is_unsent = isinstance(answer, RestRefusal) and not answer.status
        if not is_unsent or answer.meaning.outcome is not Outcome.NOT_PLACED:
            return True
        self._rates.take_back(charge.symbol, charge.cost, charge.at, self._now.mono)
        return False

    def _failed(self, purpose: Purpose, refusal: RestRefusal) -> None:
        if refusal.status == 0 or refusal.status >= 500:
            self._breaker.failed(self._now.mono)
        elif refusal.status == ANSWERED and refusal.meaning.kind not in TROUBLE:
            self._breaker.succeeded()  # it refuses the request, and could be asked
        self._refuse(purpose, refusal.error, refusal.meaning)

    def _refuse(self, purpose: Purpose, error: str, meaning: Meaning) -> None:
        self._answered(Answer(req_id=None, purpose=purpose, method="", success=False, error=error, meaning=meaning))


def _answer(purpose: Purpose, *, order_id: str | None = None, rows: tuple[Any, ...] = ()) -> Answer:
    """The reply to a request that Kraken accepted."""
    return Answer(req_id=None, purpose=purpose, method="", success=True, order_id=order_id, rows=rows)


def _add_request(orders: Sequence[TrackedOrder], pair: RestPair) -> RestRequest:
    first = orders[0]
    if len(orders) == 1:
        return rest_requests.add_order(
            first.intent, pair=pair, cl_ord_id=first.cl_ord_id, userref=first.userref, deadline=first.deadline
        )
    rows = [BatchRow(order.intent, order.cl_ord_id, order.userref) for order in orders]
    return rest_requests.add_order_batch(rows, pair=pair, deadline=first.deadline)
