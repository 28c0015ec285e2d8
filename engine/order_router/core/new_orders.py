"""New orders and amends: from a command to the socket, or to a refusal with its reason.

    command ─► too old? ─► gate ─► risk ─► rate counter ─► journal ─► WebSocket, or REST behind it
                                                └─► queue, until there is room

Nothing is sent before the journal holds it. An order that was certainly not sent is
reported as rejected, with the reason.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from engine.instant import Instant
from engine.kraken.connection.breaker import Breaker, BreakerState
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
from engine.order_router.core.waiting_amends import WaitingAmends
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.orders.client_order_id import is_made_here
from engine.orders.intent import Amendment, OrderIntent
from engine.orders.journal_records import AmendSent, Queued, Submitted, Unqueued
from engine.orders.life import OrderState
from engine.orders.pending_queue import PendingQueue
from engine.orders.quick_check import QuickCheck
from engine.orders.rate_counter import ADD, RateCost, RateCounters, amend_cost, batch_add_cost
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.rings.commands import Amend
from engine.orders.risk import Risk
from engine.orders.tracked_order import Bracket, TrackedOrder
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

USERREF_RANGE: Final = 2_000_000_000  # milliseconds: userrefs of the clock come again after 23 days
NO_USERREF: Final = [None]
WORKING: Final = (OrderState.WORKING, OrderState.PARTIAL)
NO_CONNECTION: Final = Refusal(ErrorKind.TRANSPORT, "there is no connection to Kraken")
PROBING: Final = Refusal(
    ErrorKind.NOT_TRADING, "the circuit breaker has let one request out, and waits for what becomes of it"
)
NOT_SENT: Final = NO_CONNECTION.within("not sent: ")
AMEND_REFUSED: Final = "amend refused: "
TAKEN_IN_PART: Final = Refusal(ErrorKind.TRANSPORT, "the order router died while it took the batch")
QUEUED_TOO_LONG: Final = Refusal(ErrorKind.RATE_LIMIT, "it waited too long for Kraken's rate counter")
EXPIRED_WAITING: Final = Refusal(ErrorKind.RATE_LIMIT, "it expired while it waited for Kraken's rate counter")
ID_TAKEN: Final = Refusal(
    ErrorKind.DUPLICATE, "another order of the account, or one of an earlier run, has this cl_ord_id; use each once"
)
DROPPED: Final = Refusal(ErrorKind.CANCELED, "canceled before it was sent")

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
        self.settings = settings
        self._records = records
        self._blotter = records.blotter
        self._gate = gate
        self._boards = boards
        self._websocket = websocket
        self._rest = rest
        self._risk = risk
        self._quick_check = quick_check
        self._rates = rates
        self.queue = queue
        self.waiting_amends = WaitingAmends(settings.queue_wait_ns_max)
        records.is_amend_waiting = self.waiting_amends.has
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
        return self._websocket.session.is_waiting or self.queue.size > 0

    def resume(self) -> None:
        """After a restart, queue again the orders that were waiting for the rate counter;
        the time without a router counts as well, by the wall clock.
        """
        now, at = self._now.mono, self._now.wall
        for queued in list(self._blotter.queued.values()):
            orders, since = tuple(queued.orders), MonoNs(now - max(0, at - queued.at))
            if not self.queue.put(orders[0][1].symbol, orders[0][0], Waiting(queued.strategy, orders), since):
                self._refuse(queued.strategy, orders, self._queue_full)

    # --- new orders

    def submit(self, strategy: str, orders: Orders, issued_at: MonoNs, tick_at: MonoNs) -> None:
        """Take new orders, one or a batch: all are sent, or queued, or refused."""
        now = self._now.mono
        blotter = self._blotter
        unknown = tuple(it for it in orders if blotter.get(it[0]) is None and not blotter.is_queued(it[0]))
        if len(unknown) < len(orders):
            if self._has_others_id(strategy, orders):
                self._refuse(strategy, orders, ID_TAKEN)
                return
            self.counts["commands_repeated"] += 1  # the router before, which was killed, had taken it
            if unknown:  # in the middle of writing the batch to the journal: nothing of it left
                self._refuse(strategy, unknown, TAKEN_IN_PART)
            return
        if now - issued_at > self.settings.command_ttl_ns:
            self.counts["commands_stale"] += 1
            waited_s, most_s = (now - issued_at) / NS_PER_S, self.settings.command_ttl_ns / NS_PER_S
            late = f"it waited {waited_s:.1f} s for the router, more than {most_s:g} s"
            self._refuse(strategy, orders, Refusal(ErrorKind.DEADLINE, late))
            return
        if self._is_id_open(orders):
            self._refuse(strategy, orders, ID_TAKEN)
            return
        judged = self._judge(strategy, orders, now)
        if isinstance(judged, Refusal):
            self._refuse(strategy, orders, judged)
            return
        symbol = orders[0][1].symbol
        wait_ns = self._rates.wait_ns(symbol, _cost(orders), now)
        if wait_ns == 0 and not self.queue.waiting(symbol):
            self._send(strategy, orders, judged, issued_at, tick_at)
        else:
            self._wait(strategy, orders, wait_ns, now)

    def _has_others_id(self, strategy: str, orders: Orders) -> bool:
        """True if an id of these is that of an order of another strategy, or of an earlier
        run: then it was the user's own choice.
        """
        for key, _ in orders:
            order, queued = self._blotter.get(key), self._blotter.queued_by(key)
            if order is not None and (order.strategy != strategy or order.sent_in_run != self._blotter.run):
                return True
            if queued not in (None, strategy):
                return True
        return False

    def _is_id_open(self, orders: Orders) -> bool:
        """True if an open order of the account has an id of these that the user chose."""
        chosen = {key for key, _ in orders if not is_made_here(key, self._blotter.run)}
        return bool(chosen) and any(order.cl_ord_id in chosen for order in self._blotter.open.values())

    def send_queued(self, now: MonoNs) -> None:
        """Send the queued orders that the rate counter has room for; refuse those that
        waited too long.
        """
        for _, waiting in list(self.queue.expired(now, self.settings.queue_wait_ns_max)):
            self._refuse(waiting.entry.strategy, waiting.entry.orders, QUEUED_TOO_LONG)
        for symbol in self.queue.symbols():
            while (first := self.queue.first(symbol)) is not None:
                strategy, orders = first.entry.strategy, first.entry.orders
                if self._rates.wait_ns(symbol, _cost(orders), now):
                    break
                self.queue.pop(symbol)
                judged = EXPIRED_WAITING if self._has_expired(orders) else self._judge(strategy, orders, now)
                if isinstance(judged, Refusal):
                    self._refuse(strategy, orders, judged)
                else:
                    # The wait in the queue is not our latency, so it is not measured.
                    self._send(strategy, orders, judged, MonoNs(0), MonoNs(0))

    def _has_expired(self, orders: Orders) -> bool:
        return any(intent.expire_at is not None and intent.expire_at <= self._now.wall for _, intent in orders)

    def drop(self, key: str) -> bool:
        """Refuse a queued order instead of sending it; False if it is not queued. The
        others of its batch stay queued.
        """
        for symbol in self.queue.symbols():
            for waiting in self.queue.all_of(symbol):
                strategy, orders = waiting.entry.strategy, waiting.entry.orders
                dropped = tuple(order for order in orders if order[0] == key)
                if not dropped:
                    continue
                if rest := tuple(order for order in orders if order[0] != key):
                    self.queue.replace(symbol, waiting.key, rest[0][0], Waiting(strategy, rest))
                else:
                    self.queue.remove(symbol, waiting.key)
                self._refuse(strategy, dropped, DROPPED)
                return True
        return False

    def drop_all(self, strategy: str | None, symbol: str) -> None:
        """Refuse all queued orders of a strategy (None: of all), on one pair (empty: on all
        pairs).
        """
        for queued_symbol in self.queue.symbols():
            if not symbol or queued_symbol == symbol:
                for key in [
                    key
                    for waiting in self.queue.all_of(queued_symbol)
                    if strategy is None or waiting.entry.strategy == strategy
                    for key, _ in waiting.entry.orders
                ]:
                    self.drop(key)

    def _wait(self, strategy: str, orders: Orders, wait_ns: int, now: MonoNs) -> None:
        symbol = orders[0][1].symbol
        if not self.settings.queues_over_rate or wait_ns > self.settings.queue_wait_ns_max:
            self._refuse(strategy, orders, _no_room(symbol, wait_ns))
        elif self.queue.is_full:
            self.counts["queue_full"] += 1
            self._refuse(strategy, orders, self._queue_full)
        elif self._records.commit_before([Queued(strategy, list(orders), self._now.wall)]):
            self.queue.put(symbol, orders[0][0], Waiting(strategy, orders), now)
            self.counts["queued"] += 1
        else:
            self._refuse(strategy, orders, self._unwritten)

    def _judge(self, strategy: str, orders: Orders, now: MonoNs) -> Pair | Refusal:
        """The pair's current rules if these orders may be sent, else the reason why not."""
        first = orders[0][1]
        symbol = first.symbol
        if closed := self._gate.closed_reason_of(symbol) or self.barred.get(strategy):
            return Refusal(ErrorKind.NOT_TRADING, closed)
        pair = self._boards.pair(symbol)
        if pair is None:
            return Refusal(ErrorKind.MARKET_DATA, f"the venue has not told what {symbol} is like yet")
        is_alone = len(orders) == 1 and not self._gate.why_not(post_only=first.post_only)
        if is_alone and self._quick_check.allows(strategy, first, pair, now):
            return pair
        before: list[OrderIntent] = []
        for _, intent in orders:
            if closed := self._gate.why_not(post_only=intent.post_only):
                return Refusal(ErrorKind.MARKET_MODE, closed)
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

    def send_exit(self, bracket: Bracket, key: str, intent: OrderIntent, pair: Pair) -> bool:
        """Send an exit of a bracket if the journal can be written, a route to Kraken is
        available, and Kraken's rate counter has room; returns whether it was sent. Trading
        mode, limits and our own pace do not apply: an exit only closes what its bracket has
        filled.
        """
        now = self._now.mono
        if self._gate.journal_reason or self._rates.cancel_wait_ns(intent.symbol, ADD, now):
            return False
        route = self._route(now)
        if route is None:
            return False
        self._send_by(route, bracket.strategy, ((key, intent),), pair, MonoNs(0), MonoNs(0), parent=bracket.key)
        return True

    def _send(self, strategy: str, orders: Orders, pair: Pair, issued_at: MonoNs, tick_at: MonoNs) -> None:
        """Send the orders, or refuse them where there is no way to Kraken."""
        route = self._route(self._now.mono)
        if route is None:
            self._refuse(strategy, orders, self._why_no_route(self._now.mono))
        else:
            self._send_by(route, strategy, orders, pair, issued_at, tick_at)

    def _send_by(
        self, route: str, strategy: str, orders: Orders, pair: Pair, issued_at: MonoNs, tick_at: MonoNs, *,
        parent: str = "",
    ) -> None:  # fmt: skip
        """Journal the orders, then send them; what can be done later follows the write to
        the socket.
        """
        now, at, symbol = self._now.mono, self._now.wall, orders[0][1].symbol
        deadline = WallNs(self._kraken.now() + self.settings.deadline_ns)
        if route == "rest":
            deadline = rest_requests.rest_deadline(deadline, self._kraken.now())
        records = [
            Submitted(key, strategy, intent, deadline, route, userref, at, pair.base_decimals, parent)
            for (key, intent), userref in zip(orders, self._userrefs(orders), strict=True)
        ]
        if not self._records.write_intent(records):
            self._refuse(strategy, orders, self._unwritten)
            return
        why_not = NO_CONNECTION
        try:
            is_sent = route == "websocket" and self._send_by_websocket(records, deadline)
        except UNWRITABLE as error:
            is_sent, route, why_not = False, "", _unwritable(error)
        if is_sent:
            self._on_sent(issued_at, tick_at)
            self._rates.charge(symbol, _cost(orders), now)
        for _, intent in orders if not parent else ():
            self._risk.approved(strategy, intent, now)
        tracked = [change.order for record in records if (change := self._records.apply(record)) is not None]
        if is_sent:
            return
        if route == "rest":
            self._rest.add(tracked, _cost(orders))
        else:
            for order in tracked:
                self._records.commit(self._blotter.on_rejected(order.key, why_not.within("not sent: "), at))

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
        """The way to Kraken, which must be used: a breaker that was open lets one request
        out, and no other until that has its result. None if there is none.
        """
        if self._websocket.is_ready and self._breaker.allows(now):
            return "websocket"
        return "rest" if self.settings.rest_fallback and self._rest.is_reachable else None

    def _why_no_route(self, now: MonoNs) -> Refusal:
        if self._breaker.state(now) is BreakerState.OPEN:
            left = f"the circuit breaker is open for another {self._breaker.wait_ns(now) / NS_PER_S:.0f} s"
            return Refusal(ErrorKind.NOT_TRADING, left)
        return PROBING if self._websocket.is_ready else NO_CONNECTION

    @property
    def _queue_full(self) -> Refusal:
        return Refusal(ErrorKind.RATE_LIMIT, f"{self.queue.size} orders wait for Kraken's rate counter already")

    @property
    def _unwritten(self) -> Refusal:
        return Refusal(ErrorKind.NOT_TRADING, self._gate.journal_reason)

    def _userrefs(self, orders: Orders) -> Sequence[int | None]:
        """For each order None, or a free userref if it cannot carry a client order id."""
        if len(orders) == 1 and orders[0][1].conditional is None:  # hot
            return NO_USERREF
        if all(intent.conditional is None for _, intent in orders):
            return [None] * len(orders)
        taken = {order.userref for order in self._blotter.open.values()}  # other programs' too
        userref = self._blotter.userref_sent
        userrefs: list[int | None] = []
        for _, intent in orders:
            if intent.conditional is None:
                userrefs.append(None)
                continue
            userref = next_userref(userref, self._now.wall)
            while userref in taken:
                userref = next_userref(userref, self._now.wall)
            userrefs.append(userref)
        return userrefs

    def _refuse(self, strategy: str, orders: Orders, why: Refusal) -> None:
        """Refuse the orders, in the journal, too, if they were queued. They are reported
        first: if the router dies in between, the strategy is informed twice rather than
        never.
        """
        self._records.refuse(strategy, orders, why)
        if waited := [key for key, _ in orders if self._blotter.is_queued(key)]:
            self._records.commit([Unqueued(key, self._now.wall) for key in waited])

    # --- amends

    def amend(self, command: Amend, since: MonoNs | None = None) -> None:
        """Amend an open order in place, have the amend wait, or report why not.

        `since`: when it began to wait, of one that waited already.
        """
        now, at = self._now.mono, self._now.wall
        order = self._blotter.open.get(command.key)
        if order is None:
            self._records.report(self._blotter.get(command.key))
            return
        is_told = since is not None or self.waiting_amends.has(order.key)
        if since is None:
            command = self.waiting_amends.on_top(command)
        if order.pending == "amend" and order.amendment == command.amendment:
            return  # it is under way already
        if why := self._amend_refusal(order, command, now):
            if not self._may_wait(order, why):
                self._records.report(order, why.within(AMEND_REFUSED))
                return
            self.waiting_amends.put(command, why, now if since is None else since)
            if not is_told:
                self._records.report(order)  # an amend of it is under way, for the strategy
            return
        cost = self._amend_cost(order)
        goes_by_rest = not self._websocket.is_ready and self.settings.rest_fallback and self._rest.is_reachable
        deadline = WallNs(self._kraken.now() + self.settings.deadline_ns)
        if goes_by_rest:
            deadline = rest_requests.rest_deadline(deadline, self._kraken.now())
        record = AmendSent(order.key, command.amendment, at, deadline, self._kraken.now())
        if not self._records.write_intent((record,)):
            self._records.report(order, self._unwritten.within(AMEND_REFUSED))
            return
        is_sent, why_not = False, NO_CONNECTION
        if not goes_by_rest:
            try:
                is_sent = self._send_amend(order, record)
            except UNWRITABLE as error:
                why_not = _unwritable(error)
        # The bytes have left; now what could wait.
        if is_sent:
            self._on_sent(command.issued_at, command.tick_at)
            self._rates.charge(order.symbol, cost, now)
        self.counts["amends"] += 1
        self._risk.amend_approved(now)
        self._records.apply(record)
        if goes_by_rest:
            self._rest.amend(order, cost)
        elif not is_sent:
            self._records.commit(self._blotter.on_request_refused(order.key, "amend", why_not, at))

    def send_amends(self, now: MonoNs) -> None:
        """Send the amends that wait no longer; refuse those that waited too long."""
        for key, waiting in self.waiting_amends:
            order = self._blotter.open.get(key)
            if order is None:
                self.waiting_amends.take(key)  # its end is told
            elif order.cancel_wanted:
                self.waiting_amends.take(key)
                self._records.report(order)  # no amend of it waits any more, and its end may take a while
            elif self.waiting_amends.is_late(waiting, now):
                self.waiting_amends.take(key)
                self._records.report(order, waiting.why.within(AMEND_REFUSED))
            elif not order.pending and not self._rates.wait_ns(order.symbol, self._amend_cost(order), now):
                self.waiting_amends.take(key)
                if _changes_nothing(waiting.command.amendment, order):
                    self._records.report(order)
                    continue
                # The wait is not our latency, so it is not measured.
                self.amend(replace(waiting.command, issued_at=now, tick_at=MonoNs(0)), since=waiting.since)

    def _may_wait(self, order: TrackedOrder, why: Refusal) -> bool:
        """True if an amend that is refused for this reason is sent later instead."""
        if why.kind is ErrorKind.BUSY:
            return order.pending == "amend" and not order.cancel_wanted
        return why.kind is ErrorKind.RATE_LIMIT and self.settings.queues_over_rate

    def _amend_cost(self, order: TrackedOrder) -> RateCost:
        return amend_cost(self._records.age_ns(order))

    def _amend_refusal(self, order: TrackedOrder, command: Amend, now: MonoNs) -> Refusal | None:
        if now - command.issued_at > self.settings.command_ttl_ns:
            self.counts["commands_stale"] += 1
            return Refusal(ErrorKind.DEADLINE, "it waited too long for the router")
        if order.pending or order.cancel_wanted:
            what = "a cancel" if order.cancel_wanted else f"an {order.pending}"
            return Refusal(ErrorKind.BUSY, f"{what} of the order is under way")
        if order.state not in WORKING:
            return Refusal(ErrorKind.NOT_OPEN, f"the order is {order.state}")
        if order.intent.conditional is not None:
            return Refusal(ErrorKind.ARGUMENT, "Kraken does not amend orders with a conditional close")
        if closed := self._gate.closed_reason_of(order.symbol) or self.barred.get(order.strategy):
            return Refusal(ErrorKind.NOT_TRADING, closed)
        symbol = order.symbol
        pair = self._boards.pair(symbol)
        if pair is None:
            return Refusal(ErrorKind.MARKET_DATA, f"the venue has not told what {symbol} is like")
        if not self._quick_check.allows_amend(order, command.amendment, pair, now):
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
        if wait_ns := self._rates.wait_ns(symbol, self._amend_cost(order), now):
            return _no_room(symbol, wait_ns)
        return None

    def _send_amend(self, order: TrackedOrder, record: AmendSent) -> bool:
        trigger = order.intent.trigger

        def build(token: str, req_id: int) -> bytes:
            return order_requests.amend_order(
                record.amendment, order_id=order.order_id, limit_price_type=order.intent.limit_price_type,
                trigger_price_type=trigger.price_type if trigger is not None else None,
                deadline=record.deadline, token=token, req_id=req_id,
            )  # fmt: skip

        return self._websocket.send("amend_order", Purpose("amend", (order.key,), record.deadline), build)


def _changes_nothing(amendment: Amendment, order: TrackedOrder) -> bool:
    """True if the order has these terms already."""
    if (amendment.price_decimals, amendment.qty_decimals) != (order.price_decimals, order.qty_decimals):
        return False
    if amendment.limit_offset is not None or amendment.trigger_price is not None or amendment.display_qty is not None:
        return False
    return amendment.qty in (None, order.qty) and amendment.limit_price in (None, order.limit_price)


def _no_room(symbol: str, wait_ns: int) -> Refusal:
    seconds = wait_ns / NS_PER_S
    return Refusal(ErrorKind.RATE_LIMIT, f"Kraken's rate counter of {symbol} has no room for another {seconds:.1f} s")


def _unwritable(error: Exception) -> Refusal:
    return Refusal(ErrorKind.ARGUMENT, f"no request can carry it: {error}")


def _cost(orders: Orders) -> RateCost:
    return ADD if len(orders) == 1 else batch_add_cost(len(orders))


def next_userref(last: int, now: WallNs) -> int:
    """A userref that no order of ours has had for days, from 1: the wall clock's
    milliseconds, or the one after `last` (0: none) where the clock is not ahead of that,
    because it was set back.
    """
    by_clock = now // NS_PER_MS % USERREF_RANGE
    is_ahead = not last or 0 < (by_clock - last) % USERREF_RANGE < USERREF_RANGE // 2
    return (by_clock if is_ahead else (last + 1) % USERREF_RANGE) or 1
