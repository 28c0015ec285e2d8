"""New orders and amends: from a command to the socket, or to a refusal with its reason.

    command ─► too old? ─► gate ─► risk ─► rate counter ─► journal ─► WebSocket, or REST behind it
                                                └─► queue, until there is room

Nothing is sent before the journal holds it. An order that was certainly not sent is
reported as rejected, with the reason.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from engine.instant import Instant
from engine.kraken.connection.kraken_time import KrakenTime
from engine.kraken.private.events import Purpose
from engine.kraken.rest import requests as rest_requests
from engine.kraken.trading import order_requests
from engine.kraken.trading.order_requests import UNWRITABLE, BatchRow
from engine.market import Pair
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.gate import TradingGate
from engine.order_router.core.ports import BoardsPort
from engine.order_router.core.rest_route import RestRoute
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.orders.breaker import Breaker, BreakerState
from engine.orders.intent import OrderIntent
from engine.orders.journal_records import AmendSent, Queued, Submitted, Unqueued
from engine.orders.life import OrderState
from engine.orders.pending_queue import PendingQueue
from engine.orders.quick_check import QuickCheck
from engine.orders.rate_counter import ADD, RateCost, RateCounters, amend_cost, batch_add_cost
from engine.orders.rings.commands import Amend
from engine.orders.risk import Risk
from engine.orders.tracked_order import TrackedOrder
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

USERREF_RANGE: Final = 2_000_000_000
NO_USERREF: Final = [None]
WORKING: Final = (OrderState.WORKING, OrderState.PARTIAL)
NO_CONNECTION: Final = "there is no connection to Kraken"

Orders = tuple[tuple[str, OrderIntent], ...]
"""(client order id, intent) of one order, or of each order of a batch."""


class Waiting(Struct, frozen=True):
    """New orders that wait for room in the rate counter."""

    strategy: str
    orders: Orders


class NewOrderSettings(Struct, frozen=True, kw_only=True):
    """Settings of new orders; see config.TradingConfig. Times are in nanoseconds."""

    deadline_ns: int
    command_ttl_ns: int
    rest_fallback: bool
    queues_over_rate: bool
    queue_wait_ns_max: int


class NewOrders:
    """Checks, journals and sends new orders and amends."""

    def __init__(
        self,
        settings: NewOrderSettings,
        *,
        records: OrderRecords,
        gate: TradingGate,
        boards: BoardsPort,
        websocket: WebSocketRoute,
        rest: RestRoute,
        risk: Risk,
        quick_check: QuickCheck,
        rates: RateCounters,
        queue: PendingQueue[Waiting],
        breaker: Breaker,
        now: Instant,
        kraken: KrakenTime,
        on_sent: Callable[[MonoNs, MonoNs], None],
    ) -> None:
        """`on_sent` is called when an order has been sent, with the times of the strategy's
        command and of the market record that caused it.
        """
        self._settings = settings
        self._records = records
        self._blotter = records.blotter
        self._gate = gate
        self._boards = boards
        self._websocket = websocket
        self._rest = rest
        self._risk = risk
        self._quick_check = quick_check
        self._rates = rates
        self._queue = queue
        self._breaker = breaker
        self._now = now
        self._kraken = kraken
        self._on_sent = on_sent
        # Strategies whose orders are not taken, each with the reason.
        self.barred: dict[str, str] = {}
        self.counts = dict.fromkeys(("commands_stale", "commands_repeated", "amends", "queued", "queue_full"), 0)

    @property
    def is_busy(self) -> bool:
        """True while a reply is outstanding or an order is queued: then work that takes
        milliseconds should wait.
        """
        return self._websocket.session.is_waiting or self._queue.size > 0

    def resume(self) -> None:
        """After a restart, queue again the orders that were waiting for the rate counter."""
        for queued in list(self._blotter.queued.values()):
            orders = tuple(queued.orders)
            if not self._queue.put(orders[0][1].symbol, orders[0][0], Waiting(queued.strategy, orders), self._now.mono):
                self._refuse(
                    queued.strategy, orders, f"{self._queue.size} orders wait for Kraken's rate counter already"
                )

    # --- new orders

    def submit_one(self, strategy: str, key: str, intent: OrderIntent, issued_at: MonoNs, tick_at: MonoNs) -> None:
        """Take one new order: send, queue or refuse it. `tick_at` is the time of the market
        record that caused it; 0 if there is none.
        """
        if not self._send_plainly(strategy, key, intent, issued_at, tick_at):
            self.submit(strategy, ((key, intent),), issued_at, tick_at)

    def _send_plainly(self, strategy: str, key: str, intent: OrderIntent, issued_at: MonoNs, tick_at: MonoNs) -> bool:
        """Send an order that passes the cheapest form of every check; False if `submit`
        must decide.

        Hot. It checks what `submit` checks, and refuses nothing itself.
        """
        now, symbol, blotter = self._now.mono, intent.symbol, self._blotter
        if (
            key in blotter.open
            or key in blotter.ended
            or now - issued_at > self._settings.command_ttl_ns
            or self._queue.size
            or strategy in self.barred
            or intent.conditional is not None
            or self._breaker.opened_at is not None
            or not self._websocket.is_ready
            or not self._gate.is_plainly_open(symbol)
            or (pair := self._boards.pair(symbol)) is None
            or not self._quick_check.allows(strategy, intent, pair, now)
            or self._rates.wait_ns(symbol, ADD, now)
        ):
            return False
        at = self._now.wall
        deadline = WallNs(self._kraken.now() + self._settings.deadline_ns)
        record = Submitted(key, strategy, intent, deadline, "websocket", None, at, pair.base_decimals)
        if not self._records.write((record,)):
            return False
        is_sent = self._websocket.send_order(intent, key, deadline)
        if is_sent:
            self._on_sent(issued_at, tick_at)
        self._rates.charge(symbol, ADD, now)
        self._risk.approved(strategy, intent, now)
        self._records.apply(record)
        if not is_sent:
            self._records.commit(blotter.on_rejected(key, f"not sent: {NO_CONNECTION}", at))
        return True

    def submit(self, strategy: str, orders: Orders, issued_at: MonoNs, tick_at: MonoNs) -> None:
        """Take new orders, one or a batch: all are sent, or queued, or refused."""
        now = self._now.mono
        unknown = tuple(
            order for order in orders if self._blotter.get(order[0]) is None and order[0] not in self._queue
        )
        if len(unknown) < len(orders):
            self.counts["commands_repeated"] += 1  # the router before, which was killed, had taken it
            if unknown:  # in the middle of writing the batch to the journal: nothing of it left
                self._refuse(strategy, unknown, "the order router died while it took the batch")
            return
        if now - issued_at > self._settings.command_ttl_ns:
            self.counts["commands_stale"] += 1
            waited_s, most_s = (now - issued_at) / NS_PER_S, self._settings.command_ttl_ns / NS_PER_S
            self._refuse(strategy, orders, f"it waited {waited_s:.1f} s for the router, more than {most_s:g} s")
            return
        judged = self._judge(strategy, orders, now)
        if isinstance(judged, str):
            self._refuse(strategy, orders, judged)
            return
        symbol = orders[0][1].symbol
        wait_ns = self._rates.wait_ns(symbol, _cost(orders), now)
        if wait_ns == 0 and not self._queue.waiting(symbol):
            self._send(strategy, orders, judged, issued_at, tick_at)
        else:
            self._wait(strategy, orders, wait_ns, now)

    def send_queued(self, now: MonoNs) -> None:
        """Send the queued orders that the rate counter has room for; refuse those that
        waited too long.
        """
        for _, waiting in list(self._queue.expired(now, self._settings.queue_wait_ns_max)):
            self._refuse(waiting.entry.strategy, waiting.entry.orders, "it waited too long for Kraken's rate counter")
        for symbol in self._queue.symbols():
            while (first := self._queue.first(symbol)) is not None:
                strategy, orders = first.entry.strategy, first.entry.orders
                if self._rates.wait_ns(symbol, _cost(orders), now):
                    break
                self._queue.pop(symbol)
                judged = self._judge(strategy, orders, now)
                if isinstance(judged, str):
                    self._refuse(strategy, orders, judged)
                else:
                    # The wait in the queue is not our latency, so it is not measured.
                    self._send(strategy, orders, judged, MonoNs(0), MonoNs(0))

    def drop(self, key: str) -> bool:
        """Refuse a queued order instead of sending it; False if it is not queued. The
        others of its batch stay queued.
        """
        for symbol in self._queue.symbols():
            for waiting in self._queue.all_of(symbol):
                strategy, orders = waiting.entry.strategy, waiting.entry.orders
                dropped = tuple(order for order in orders if order[0] == key)
                if not dropped:
                    continue
                if rest := tuple(order for order in orders if order[0] != key):
                    self._queue.replace(symbol, waiting.key, rest[0][0], Waiting(strategy, rest))
                else:
                    self._queue.remove(symbol, waiting.key)
                self._refuse(strategy, dropped, "canceled before it was sent")
                return True
        return False

    def drop_all(self, strategy: str | None, symbol: str) -> None:
        """Refuse all queued orders of a strategy (None: of all), on one pair (empty: on all
        pairs).
        """
        for queued_symbol in self._queue.symbols():
            if not symbol or queued_symbol == symbol:
                for key in [
                    key
                    for waiting in self._queue.all_of(queued_symbol)
                    if strategy is None or waiting.entry.strategy == strategy
                    for key, _ in waiting.entry.orders
                ]:
                    self.drop(key)

    def _wait(self, strategy: str, orders: Orders, wait_ns: int, now: MonoNs) -> None:
        symbol = orders[0][1].symbol
        if not self._settings.queues_over_rate or wait_ns > self._settings.queue_wait_ns_max:
            wait_s = wait_ns / NS_PER_S
            self._refuse(strategy, orders, f"Kraken's rate counter of {symbol} has no room for another {wait_s:.1f} s")
        elif self._queue.is_full:
            self.counts["queue_full"] += 1
            self._refuse(strategy, orders, f"{self._queue.size} orders wait for Kraken's rate counter already")
        elif self._records.commit_before([Queued(strategy, list(orders), self._now.wall)]):
            self._queue.put(symbol, orders[0][0], Waiting(strategy, orders), now)
            self.counts["queued"] += 1
        else:
            self._refuse(strategy, orders, f"the journal cannot be written: {self._gate.journal_reason}")

    def _judge(self, strategy: str, orders: Orders, now: MonoNs) -> Pair | str:
        """The pair's current rules if these orders may be sent, else the reason why not."""
        first = orders[0][1]
        symbol = first.symbol
        if why := self._gate.closed_reason_of(symbol) or self.barred.get(strategy):
            return why
        pair = self._boards.pair(symbol)
        if pair is None:
            return f"the venue has not told what {symbol} is like yet"
        is_alone = len(orders) == 1 and not self._risk.is_tight and not self._gate.why_not(post_only=first.post_only)
        if is_alone and self._quick_check.allows(strategy, first, pair, now):
            return pair
        before: list[OrderIntent] = []
        for _, intent in orders:
            if why := self._gate.why_not(post_only=intent.post_only):
                return why
            why = self._risk.refusal(
                intent,
                strategy=strategy,
                pair=pair,
                top=self._boards.top(symbol),
                open_orders=self._blotter.open_on(symbol),
                position=self._blotter.positions.total_qty(symbol),
                now=now,
                batch=before,
            )
            if why is not None:
                return why
            before.append(intent)
        return pair

    def _send(self, strategy: str, orders: Orders, pair: Pair, issued_at: MonoNs, tick_at: MonoNs) -> None:
        """Journal the orders, then send them; what can be done later follows the write to
        the socket.
        """
        now, at, symbol = self._now.mono, self._now.wall, orders[0][1].symbol
        route = self._route(now)
        if route is None:
            self._refuse(strategy, orders, self._why_no_route(now))
            return
        deadline = WallNs(self._kraken.now() + self._settings.deadline_ns)
        if route == "rest":
            deadline = rest_requests.rest_deadline(deadline, self._kraken.now())
        records = [
            Submitted(key, strategy, intent, deadline, route, userref, at, pair.base_decimals)
            for (key, intent), userref in zip(orders, self._userrefs(orders), strict=True)
        ]
        if not self._records.write(records):
            self._refuse(strategy, orders, f"the journal cannot be written: {self._gate.journal_reason}")
            return
        why_not = NO_CONNECTION
        try:
            is_sent = route == "websocket" and self._send_by_websocket(records, deadline)
        except UNWRITABLE as error:
            is_sent, route, why_not = False, "", f"no request can carry it: {error}"
        if is_sent:
            self._on_sent(issued_at, tick_at)
        self._rates.charge(symbol, _cost(orders), now)
        for _, intent in orders:
            self._risk.approved(strategy, intent, now)
        tracked = [change.order for record in records if (change := self._records.apply(record)) is not None]
        if is_sent:
            return
        if route == "rest":
            self._rest.add(tracked)
        else:
            for order in tracked:
                self._records.commit(self._blotter.on_rejected(order.key, f"not sent: {why_not}", at))

    def _send_by_websocket(self, records: Sequence[Submitted], deadline: WallNs) -> bool:
        first = records[0]
        if len(records) == 1:
            cl_ord_id = first.key if first.userref is None else None

            def build(token: str, req_id: int) -> bytes:
                return order_requests.add_order(
                    first.intent, cl_ord_id=cl_ord_id, order_userref=first.userref, deadline=deadline, token=token,
                    req_id=req_id,
                )  # fmt: skip

            return self._websocket.send("add_order", Purpose("add", (first.key,)), build)
        rows = [
            BatchRow(record.intent, record.key if record.userref is None else None, record.userref)
            for record in records
        ]

        def build_batch(token: str, req_id: int) -> bytes:
            return order_requests.batch_add(rows, deadline=deadline, token=token, req_id=req_id)

        return self._websocket.send(
            "batch_add", Purpose("batch_add", tuple(record.key for record in records)), build_batch
        )

    def _route(self, now: MonoNs) -> str | None:
        if self._websocket.is_ready and self._breaker.allows(now):
            return "websocket"
        return "rest" if self._settings.rest_fallback and self._rest.is_reachable else None

    def _why_no_route(self, now: MonoNs) -> str:
        if self._breaker.state(now) is BreakerState.OPEN:
            return f"the circuit breaker is open for another {self._breaker.wait_ns(now) / NS_PER_S:.0f} s"
        return NO_CONNECTION

    def _userrefs(self, orders: Orders) -> Sequence[int | None]:
        """For each order None, or a free userref if it cannot carry a client order id."""
        if len(orders) == 1 and orders[0][1].conditional is None:  # hot
            return NO_USERREF
        if all(intent.conditional is None for _, intent in orders):
            return [None] * len(orders)
        taken = {order.userref for order in self._blotter.open.values()}
        userref = self._now.wall // NS_PER_MS % USERREF_RANGE
        userrefs: list[int | None] = []
        for _, intent in orders:
            if intent.conditional is None:
                userrefs.append(None)
                continue
            userref += 1
            while userref in taken:
                userref += 1
            userrefs.append(userref)
        return userrefs

    def _refuse(self, strategy: str, orders: Orders, why: str) -> None:
        """Refuse the orders, in the journal too if they were queued. Reported first: if the
        router dies in between, the strategy is told twice rather than never.
        """
        self._records.refuse(strategy, orders, why)
        if waited := [key for key, _ in orders if self._blotter.is_queued(key)]:
            self._records.commit([Unqueued(key, self._now.wall) for key in waited])

    # --- amends

    def amend(self, command: Amend) -> None:
        """Amend an open order in place, or report why not."""
        now, at = self._now.mono, self._now.wall
        order = self._blotter.open.get(command.key)
        if order is None:
            self._records.report(self._blotter.get(command.key))
            return
        if why := self._amend_refusal(order, command, now):
            self._records.report(order, f"amend refused: {why}")
            return
        cost = amend_cost(at - order.aged_from)
        goes_by_rest = not self._websocket.is_ready and self._settings.rest_fallback and self._rest.is_reachable
        deadline = WallNs(self._kraken.now() + self._settings.deadline_ns)
        if goes_by_rest:
            deadline = rest_requests.rest_deadline(deadline, self._kraken.now())
        if not self._records.commit_before([AmendSent(order.key, command.amendment, at, deadline)]):
            self._records.report(order, f"amend refused: the journal cannot be written: {self._gate.journal_reason}")
            return
        self.counts["amends"] += 1
        self._rates.charge(order.symbol, cost, now)
        self._risk.amend_approved(now)
        if goes_by_rest:
            self._rest.amend(order)
            return
        try:
            is_sent, why_not = self._send_amend(order), NO_CONNECTION
        except UNWRITABLE as error:
            is_sent, why_not = False, f"no request can carry it: {error}"
        if is_sent:
            self._on_sent(command.issued_at, command.tick_at)
        else:
            self._records.commit(self._blotter.on_request_refused(order.key, "amend", why_not, at))

    def _amend_refusal(self, order: TrackedOrder, command: Amend, now: MonoNs) -> str | None:
        if now - command.issued_at > self._settings.command_ttl_ns:
            self.counts["commands_stale"] += 1
            return "it waited too long for the router"
        if order.pending or order.cancel_wanted:
            return f"{'a cancel' if order.cancel_wanted else 'an ' + order.pending} of the order is under way"
        if order.state not in WORKING:
            return f"the order is {order.state}"
        if order.intent.conditional is not None:
            return "Kraken does not amend orders with a conditional close"
        if why := self._gate.closed_reason_of(order.symbol) or self.barred.get(order.strategy):
            return why
        symbol = order.symbol
        pair = self._boards.pair(symbol)
        if pair is None:
            return f"the venue has not told what {symbol} is like"
        why = self._risk.amend_refusal(
            order,
            command.amendment,
            pair=pair,
            top=self._boards.top(symbol),
            open_orders=self._blotter.open_on(symbol),
            position=self._blotter.positions.total_qty(symbol),
            now=now,
        )
        if why is not None:
            return why
        if wait_ns := self._rates.wait_ns(symbol, amend_cost(self._now.wall - order.aged_from), now):
            return f"Kraken's rate counter of {symbol} has no room for another {wait_ns / NS_PER_S:.1f} s"
        return None

    def _send_amend(self, order: TrackedOrder) -> bool:
        amendment, trigger = order.amendment, order.intent.trigger
        if amendment is None:
            return False

        def build(token: str, req_id: int) -> bytes:
            return order_requests.amend_order(
                amendment, order_id=order.order_id, limit_price_type=order.intent.limit_price_type,
                trigger_price_type=trigger.price_type if trigger is not None else None,
                deadline=order.amend_deadline, token=token, req_id=req_id,
            )  # fmt: skip

        return self._websocket.send("amend_order", Purpose("amend", (order.key,)), build)


def _cost(orders: Orders) -> RateCost:
    return ADD if len(orders) == 1 else batch_add_cost(len(orders))
