"""Asks Kraken's REST what became of orders, and carries orders by REST when the WebSocket cannot.

    in doubt      the executions tell ─► resolved; else wait for its deadline, then
                  heard everything since it left:  OpenOrders ─► absent
                  the feed had a gap:              OpenOrders, ClosedOrders ─► again after Kraken's lag ─► absent
                  found anywhere, at any time ─► its fills ─► found
    unlisted      QueryOrders, fifty at a time ─► found
    by REST       AddOrder, AmendOrder, CancelOrder: sent once, and in doubt like any other when no answer comes

An order is absent only when Kraken cannot begin with it any more: its deadline has passed. If every execution since it
left was heard, without a gap in their numbers, and it is not open, it never was. Otherwise two looks at open and closed
orders must not find it, some time apart, for REST lags behind the matching engine (one look, if a snapshot that came
after its deadline does not list it either). Should it turn up later all the same, the blotter lets it live again.
History calls cost a key four times as much, so they are made only then.

Source: https://docs.kraken.com/api/docs/guides/spot-clordid
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from engine.actors.account_facts import AccountFacts
from engine.actors.order_answers import OrderAnswers
from engine.actors.order_wire import Purpose
from engine.actors.rest_desk import RestDesk
from engine.clock import Clock
from engine.kraken import rest_answers, rest_order_answers, rest_requests
from engine.kraken.order_requests import BatchRow
from engine.kraken.rest_answers import RestRefusal
from engine.kraken.rest_pairs import RestPair, RestPairs
from engine.orders.blotter import Blotter
from engine.orders.breaker import Breaker
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import ExecutionFact, OrderLookup
from engine.units import NS_PER_MS, NS_PER_S, WallNs

DEADLINE_MARGIN_NS: Final = 200 * NS_PER_MS  # Kraken's clock and ours, and the matching that had begun in time
LAG_NS: Final = 500 * NS_PER_MS  # between the two looks
LOOK_INTERVAL_NS: Final = 300 * NS_PER_MS  # between looks that found nothing, or failed
SETTLE_DELAY_NS: Final = 300 * NS_PER_MS  # the executions channel usually tells first
FILTERED_MAX: Final = 2  # so many orders are looked up one by one; more, all together
HEARTBEAT_PATIENCE_NS: Final = 1500 * NS_PER_MS
HEARTBEAT_LOOK_NS: Final = 50 * NS_PER_MS
CLOSED_PAGE: Final = 50
CLOSED_PAGES_MAX: Final = 4
LOOK_DEADLINE_S: Final = 2.0
ADD_DEADLINE_S: Final = 2.5  # REST allows an order no less than two seconds to be begun with
CANCEL_DEADLINE_S: Final = (
    1.5  # private calls go one after the other: one that hangs must not hold up the next for long
)
CLOCK_MARGIN_S: Final = 5  # between our clock and Kraken's, when an order of ours is looked for among older ones
IN_FLIGHT_MAX: Final = 64  # orders by REST

log = structlog.get_logger("order_resolver")


class _Doubt:
    """One order in doubt."""

    __slots__ = ("absences", "key", "look_at", "not_before")

    def __init__(self, key: str, not_before: WallNs, look_at: WallNs) -> None:
        self.key = key
        # Absence proves nothing before this.
        self.not_before = not_before
        self.look_at = look_at
        self.absences = 0


class OrderResolver:
    """The router's eyes at REST. All of it runs in the router's event loop."""

    def __init__(self, blotter: Blotter, rest: RestDesk, breaker: Breaker, clock: Clock) -> None:
        self._blotter = blotter
        self._rest = rest
        # Whom to tell; they are made after this one, which they ask.
        self.facts: AccountFacts
        self.answers: OrderAnswers
        self._breaker = breaker
        self._clock = clock
        self._pairs: RestPairs | None = None
        self._doubts: dict[str, _Doubt] = {}
        self._settles: dict[str, WallNs] = {}
        self._unlisted: dict[str, None] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        # Of orders under way by REST: later than their own, for REST takes no deadline of less than two seconds.
        self._rest_deadlines: dict[str, WallNs] = {}
        # Orders whose cancel by REST is under way: their next attempt has nothing to add.
        self._canceling: set[str] = set()

    # --- what the router asks for

    @property
    def is_reachable(self) -> bool:
        """Would an order by REST have a chance?"""
        return (
            self._pairs is not None
            and not self._rest.locked_out_s
            and len(self._tasks) < IN_FLIGHT_MAX
            and self._breaker.allows(self._clock.mono_ns())
        )

    def look_up(self, key: str, deadline: WallNs) -> None:
        """Find out what became of an order in doubt, which Kraken does not begin with after `deadline`."""
        if key not in self._doubts:
            # Found early is found; but usually the executions tell, so the first look waits for the deadline.
            not_before = WallNs(max(deadline, self._rest_deadlines.pop(key, deadline)) + DEADLINE_MARGIN_NS)
            self._doubts[key] = _Doubt(key, not_before, WallNs(max(not_before, self._clock.wall_ns())))
            self._changed.set()

    def settle(self, key: str) -> None:
        """Find out how an order stands of which a change, a cancel or a fill is in doubt."""
        self._settles.setdefault(key, WallNs(self._clock.wall_ns() + SETTLE_DELAY_NS))
        self._changed.set()

    def reconcile(self, keys: Sequence[str]) -> None:
        """Find out what became of orders that a snapshot did not list."""
        self._unlisted.update(dict.fromkeys(keys))
        self._changed.set()

    def add_by_rest(self, orders: Sequence[TrackedOrder], deadline: WallNs) -> None:
        """Send new orders by REST, which allows no deadline of less than two seconds."""
        self._spawn(self._add(orders, deadline))

    def amend_by_rest(self, order: TrackedOrder) -> None:
        """Send the amend that is under way by REST."""
        self._spawn(self._amend(order))

    def cancel_by_rest(self, orders: Sequence[TrackedOrder]) -> None:
        """Send cancels by REST."""
        new = [order for order in orders if order.key not in self._canceling]
        if new and not self._rest.locked_out_s and len(self._tasks) < IN_FLIGHT_MAX:
            self._canceling.update(order.key for order in new)
            self._spawn(self._cancel(new))

    def arm_dead_man(self, timeout_s: int) -> None:
        """Set the dead man's switch by REST."""
        if not self._rest.locked_out_s and len(self._tasks) < IN_FLIGHT_MAX:
            self._spawn(self._arm(timeout_s))

    # --- the work

    async def run(self) -> None:
        """Until it is canceled: pairs first, then whatever is due."""
        while self._pairs is None:
            answer = await self._rest.ask(rest_requests.asset_pairs(), rest_answers.read_asset_pairs, LOOK_DEADLINE_S)
            if isinstance(answer, RestRefusal):
                await asyncio.sleep(LOOK_INTERVAL_NS / NS_PER_S)
            else:
                self._pairs = answer
        while True:
            wait_s = await self._work(self._pairs)
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def close(self) -> None:
        """Let what is under way end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LOOK_DEADLINE_S)

    async def _work(self, pairs: RestPairs) -> float | None:
        """Do what is due; how long until something is, or None."""
        now = self._clock.wall_ns()
        if self._unlisted:
            await self._reconcile(pairs)
        due = [key for key, at in self._settles.items() if at <= now]
        if due:
            await self._settle(due, pairs)
        self._drop_resolved()
        doubts = [doubt for doubt in self._doubts.values() if doubt.look_at <= now and not self._waits(doubt, now)]
        if doubts:
            await self._look(doubts, pairs)
        self._drop_resolved()
        times = [*self._settles.values(), *(doubt.look_at for doubt in self._doubts.values())]
        if self._unlisted:
            times.append(WallNs(now + LOOK_INTERVAL_NS))
        return max(0.0, (min(times) - self._clock.wall_ns()) / NS_PER_S) if times else None

    def _drop_resolved(self) -> None:
        in_doubt = {order.key for order in self._blotter.in_doubt()}
        for key in [key for key in self._doubts if key not in in_doubt]:
            del self._doubts[key]

    def _waits(self, doubt: _Doubt, now: WallNs) -> bool:
        """Is Kraken about to be heard, which spares the key two calls? Its heartbeat comes once a second."""
        order = self._blotter.get(doubt.key)
        if order is None or now > doubt.not_before + HEARTBEAT_PATIENCE_NS or self._was_heard(order):
            return False
        if not self.facts.is_unbroken_since(order.submitted_at):
            # A fresh snapshot lists what is open; then only REST's lag is waited for, and one look is enough.
            doubt.look_at = WallNs(doubt.not_before + LAG_NS)
            return now < doubt.look_at
        doubt.look_at = WallNs(now + HEARTBEAT_LOOK_NS)
        return True

    async def _look(self, doubts: Sequence[_Doubt], pairs: RestPairs) -> None:
        """One look at open and closed orders for all that are due."""
        looked_at = self._clock.wall_ns()
        orders = [order for doubt in doubts if (order := self._blotter.get(doubt.key)) is not None]
        found = await self._find(orders, pairs)
        for doubt in doubts:
            doubt.look_at = WallNs(self._clock.wall_ns() + LOOK_INTERVAL_NS)
            order = self._blotter.get(doubt.key)
            if found is None or order is None:
                continue
            lookup = found.get(doubt.key)
            if lookup is not None:
                await self._tell(lookup, pairs)
            elif looked_at >= doubt.not_before:
                doubt.absences += 1
                if doubt.absences >= self._looks_needed(order, looked_at):
                    self.facts.absent(doubt.key)
                else:
                    doubt.look_at = WallNs(self._clock.wall_ns() + LAG_NS)

    def _looks_needed(self, order: TrackedOrder, looked_at: WallNs) -> int:
        """How often an order must not be found to be absent: once where REST's lag cannot have hidden it."""
        over_at = self._over_at(order)
        is_snapshot_enough = self.facts.has_snapshot_after(over_at) and looked_at >= over_at + LAG_NS
        return 1 if self._was_heard(order) or is_snapshot_enough else 2

    def _was_heard(self, order: TrackedOrder) -> bool:
        """Would the executions have told of the order, had it come to Kraken?"""
        return self.facts.has_heard_all(order.submitted_at, self._over_at(order))

    def _over_at(self, order: TrackedOrder) -> WallNs:
        """After this Kraken does not begin with it."""
        doubt = self._doubts.get(order.key)
        return doubt.not_before if doubt is not None else WallNs(order.deadline + DEADLINE_MARGIN_NS)

    async def _find(self, orders: Sequence[TrackedOrder], pairs: RestPairs) -> dict[str, OrderLookup] | None:
        """What Kraken knows of these orders, by key; None when it could not be asked for all of them."""
        found: dict[str, OrderLookup] = {}
        filters: list[dict[str, Any]] = [{}]
        if len(orders) <= FILTERED_MAX:
            filters = [
                {"cl_ord_id": order.key} if order.userref is None else {"userref": order.userref} for order in orders
            ]
        for which in filters:
            rows = await self._rest.ask(
                rest_requests.open_orders(**which),
                lambda status, body: rest_order_answers.read_open_orders(status, body, pairs),
                LOOK_DEADLINE_S,
            )
            if isinstance(rows, RestRefusal):
                return None
            self._match(orders, rows, found)
        missing = [order for order in orders if order.key not in found and not self._was_heard(order)]
        since_s = min((order.submitted_at for order in missing), default=0) // NS_PER_S - CLOCK_MARGIN_S
        for which in filters if missing else ():
            if not await self._closed(which, since_s, missing, found, pairs):
                return None
        return found

    async def _closed(
        self,
        which: dict[str, Any],
        since_s: int,
        orders: Sequence[TrackedOrder],
        found: dict[str, OrderLookup],
        pairs: RestPairs,
    ) -> bool:
        for page in range(CLOSED_PAGES_MAX):
            rows = await self._rest.ask(
                rest_requests.closed_orders(**which, start_s=since_s, offset=page * CLOSED_PAGE),
                lambda status, body: rest_order_answers.read_closed_orders(status, body, pairs),
                LOOK_DEADLINE_S,
            )
            if isinstance(rows, RestRefusal):
                return False
            self._match(orders, rows, found)
            if len(rows) < CLOSED_PAGE or all(order.key in found for order in orders):
                return True
        # More pages than we read: what was not found may be on one of them.
        return False

    def _match(
        self, orders: Sequence[TrackedOrder], rows: Sequence[OrderLookup], found: dict[str, OrderLookup]
    ) -> None:
        for order in orders:
            for row in rows:
                is_it = row.cl_ord_id == order.key if order.userref is None else row.order_userref == order.userref
                if is_it and row.opened_at >= order.submitted_at - CLOCK_MARGIN_S * NS_PER_S:
                    found[order.key] = row

    async def _reconcile(self, pairs: RestPairs) -> None:
        """Ask for unlisted orders by Kraken's ids, until each is told of."""
        keys = list(self._unlisted)[: rest_requests.QUERY_IDS_MAX]
        if await self._query(keys, pairs):
            for key in keys:
                self._unlisted.pop(key, None)
            if not self._unlisted:
                self.facts.reconciled()
            else:
                self._changed.set()
        else:
            await asyncio.sleep(LOOK_INTERVAL_NS / NS_PER_S)

    async def _settle(self, keys: Sequence[str], pairs: RestPairs) -> None:
        asked = [
            key
            for key in keys
            if (order := self._blotter.get(key)) is not None
            and order.order_id
            and (order.pending or order.fills_missing or key in self._blotter.open)
        ][: rest_requests.QUERY_IDS_MAX]
        if asked and not await self._query(asked, pairs):
            for key in asked:
                self._settles[key] = WallNs(self._clock.wall_ns() + LOOK_INTERVAL_NS)
            return
        for key in keys:
            self._settles.pop(key, None)

    async def _query(self, keys: Sequence[str], pairs: RestPairs) -> bool:
        orders = [order for key in keys if (order := self._blotter.get(key)) is not None and order.order_id]
        if not orders:
            return True
        rows = await self._rest.ask(
            rest_requests.query_orders([order.order_id for order in orders]),
            lambda status, body: rest_order_answers.read_query_orders(status, body, pairs),
            LOOK_DEADLINE_S,
        )
        if isinstance(rows, RestRefusal):
            return False
        for row in rows:
            if not await self._tell(row, pairs):
                return False
        return True

    async def _tell(self, lookup: OrderLookup, pairs: RestPairs) -> bool:
        """Tell the router how an order stands, and its unseen fills; False when they are not to be had."""
        unseen = [trade_id for trade_id in lookup.trade_ids if not self._blotter.knows_fill(trade_id)]
        fills: list[ExecutionFact] = []
        for first in range(0, len(unseen), rest_requests.QUERY_TRADES_MAX):
            rows = await self._rest.ask(
                rest_requests.query_trades(unseen[first : first + rest_requests.QUERY_TRADES_MAX]),
                lambda status, body: rest_order_answers.read_query_trades(status, body, pairs),
                LOOK_DEADLINE_S,
            )
            if isinstance(rows, RestRefusal):
                return False
            fills += rows
        self.facts.found(lookup, fills)
        return True

    # --- orders by REST

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _add(self, orders: Sequence[TrackedOrder], deadline: WallNs) -> None:
        keys = tuple(order.key for order in orders)
        what = "add" if len(orders) == 1 else "batch_add"
        purpose = Purpose(what, keys, self._clock.mono_ns())
        pair = self._pairs.find(orders[0].symbol) if self._pairs is not None else None
        if pair is None:
            for key in keys:
                self.facts.not_sent(key, "REST does not know the pair")
            return
        until = rest_requests.rest_deadline(deadline, self._clock.wall_ns())
        self._rest_deadlines.update(dict.fromkeys(keys, until))
        try:
            await self._send_add(orders, pair, until, purpose)
        finally:
            for key in keys:
                self._rest_deadlines.pop(key, None)

    async def _send_add(self, orders: Sequence[TrackedOrder], pair: RestPair, until: WallNs, purpose: Purpose) -> None:
        if len(orders) == 1:
            order = orders[0]
            placed = await self._rest.ask(
                rest_requests.add_order(
                    order.intent, order.price_decimals, order.qty_decimals, pair=pair, cl_ord_id=order.cl_ord_id,
                    userref=order.userref, deadline=until,
                ),
                rest_order_answers.read_add_order, ADD_DEADLINE_S,
            )  # fmt: skip
            if isinstance(placed, RestRefusal):
                self._answered(purpose, placed)
            else:
                self._breaker.succeeded()
                order_id = placed.order_ids[0] if placed.order_ids else None
                self.answers.on_answer(purpose, True, order_id, "", None)
            return
        rows = [BatchRow(order.intent, order.cl_ord_id, order.userref) for order in orders]
        answer = await self._rest.ask(
            rest_requests.add_order_batch(
                rows, orders[0].price_decimals, orders[0].qty_decimals, pair=pair, deadline=until
            ),
            rest_order_answers.read_add_order_batch,
            ADD_DEADLINE_S,
        )
        if isinstance(answer, RestRefusal):
            self._answered(purpose, answer)
        else:
            self._breaker.succeeded()
            self.answers.on_answer(purpose, True, None, "", None, answer)

    async def _amend(self, order: TrackedOrder) -> None:
        amendment = order.amendment
        if amendment is None:
            return
        trigger = order.intent.trigger
        answer = await self._rest.ask(
            rest_requests.amend_order(
                amendment, order.price_decimals, order.qty_decimals, order_id=order.order_id,
                limit_price_type=order.intent.limit_price_type,
                trigger_price_type=trigger.price_type if trigger is not None else None,
                deadline=rest_requests.rest_deadline(WallNs(0), self._clock.wall_ns()),
            ),
            rest_order_answers.read_amend_order, ADD_DEADLINE_S,
        )  # fmt: skip
        purpose = Purpose("amend", (order.key,), self._clock.mono_ns())
        if isinstance(answer, RestRefusal):
            self._answered(purpose, answer)
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
                answer = await self._rest.ask(request, rest_order_answers.read_cancel, CANCEL_DEADLINE_S)
            finally:
                self._canceling.discard(order.key)
            purpose = Purpose("cancel", (order.key,), self._clock.mono_ns())
            if isinstance(answer, RestRefusal):
                self._answered(purpose, answer)
            else:
                # No executions tell of it while the private feed is down: ask.
                self.settle(order.key)

    async def _arm(self, timeout_s: int) -> None:
        answer = await self._rest.ask(
            rest_requests.cancel_all_orders_after(timeout_s),
            rest_order_answers.read_cancel_all_orders_after,
            LOOK_DEADLINE_S,
        )
        refused = isinstance(answer, RestRefusal)
        purpose = Purpose("dead_man", (), self._clock.mono_ns())
        self.answers.on_answer(
            purpose, not refused, None, answer.error if isinstance(answer, RestRefusal) else "", None
        )

    def _answered(self, purpose: Purpose, refusal: RestRefusal) -> None:
        if refusal.status == 0 or refusal.status >= 500:
            self._breaker.failed(self._clock.mono_ns())
        self.answers.on_answer(purpose, False, None, refusal.error, refusal.meaning)
