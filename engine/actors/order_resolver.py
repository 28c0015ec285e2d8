"""Asks Kraken's REST what became of orders.

    in doubt    the executions tell ─► found; else, once its deadline has passed:
                heard everything since it left        one look at open orders ─► absent
                a gap, and a snapshot after it        one look at open and closed orders, after REST's lag ─► absent
                no executions                         open orders; after a longer lag open and closed ones ─► absent
    absent      if there had been a gap: one more look when REST can lag no more; found ─► it lives again
    unlisted    QueryOrders, fifty at a time ─► found

An order is absent only when Kraken cannot begin with it any more: its deadline has passed. If every execution since it
left was heard, without a gap in their numbers, and it is not open, it never was. After a gap the snapshot tells what is
open, and its trades what was filled; only what ended meanwhile without a fill must be looked for at REST, which lags
behind the matching engine. Orders that fall due together are looked for together, and history, whose calls cost a key
four times as much, is asked only with the look that can prove something.

Source: https://docs.kraken.com/api/docs/guides/spot-clordid
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import structlog
from msgspec import Struct

from engine.actors.account_facts import AccountFacts
from engine.actors.rest_desk import RestDesk
from engine.clock import Clock
from engine.kraken import rest_order_answers, rest_requests
from engine.kraken.rest_answers import RestRefusal
from engine.kraken.rest_pairs import RestPairs
from engine.orders.blotter import Blotter
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import ExecutionFact, OrderLookup
from engine.units import NS_PER_MS, NS_PER_S, WallNs

DEADLINE_MARGIN_NS: Final = 200 * NS_PER_MS  # Kraken's clock and ours, and the matching that had begun in time
LAG_NS: Final = 500 * NS_PER_MS  # of REST, as a rule
LAG_ALONE_NS: Final = 3 * NS_PER_S  # where REST is the only witness
RETRY_NS: Final = 300 * NS_PER_MS  # after a look that failed
SETTLE_DELAY_NS: Final = 300 * NS_PER_MS  # the executions channel usually tells first
HEARTBEAT_PATIENCE_NS: Final = 1500 * NS_PER_MS  # Kraken's heartbeat comes once a second
BEAT_NS: Final = 100 * NS_PER_MS  # looks are made on a beat: orders that left together are looked for together
POLL_S: Final = 0.1  # while orders are in doubt: what is heard meanwhile may spare a look
CLOSED_PAGE: Final = 50
LOOK_DEADLINE_S: Final = 2.0
CLOCK_MARGIN_S: Final = 5  # between our clock and Kraken's, when an order of ours is looked for among older ones
ABSENT_MAX: Final = 200  # orders that are looked for once more
ABSENT_AT_ONCE_MAX: Final = 3  # a look at each by itself costs the key five calls
ABSENT_RETRY_NS: Final = 10 * NS_PER_S
ABSENT_TRIES_MAX: Final = 10

log = structlog.get_logger("order_resolver")


class _Doubt:
    """One order in doubt."""

    __slots__ = ("key", "looks", "not_before", "over_at")

    def __init__(self, key: str, over_at: WallNs) -> None:
        self.key = key
        # Kraken does not begin with it after this.
        self.over_at = over_at
        # So often it was looked for and not found.
        self.looks = 0
        # After a look that failed.
        self.not_before = WallNs(0)


class _Absence:
    """One order that is held to be absent, and is looked for once more."""

    __slots__ = ("at", "tries_left")

    def __init__(self, at: WallNs) -> None:
        self.at = at
        self.tries_left = ABSENT_TRIES_MAX


class _Look(Struct, frozen=True):
    """What is to be done next about an order in doubt."""

    at: WallNs
    asks_closed: bool
    is_proof: bool
    """Is an order that this look does not find absent?"""


class OrderResolver:
    """The router's eyes at REST. All of it runs in the router's event loop."""

    def __init__(self, blotter: Blotter, rest: RestDesk, clock: Clock, *, lag_ns_max: int) -> None:
        """`lag_ns_max` is how far REST may ever lag; at Kraken, fills were seen a minute ahead of it."""
        self._blotter = blotter
        self._rest = rest
        # Whom to tell; made after this one, which it asks.
        self.facts: AccountFacts
        self._clock = clock
        self._lag_ns_max = lag_ns_max
        self._doubts: dict[str, _Doubt] = {}
        self._settles: dict[str, WallNs] = {}
        self._unlisted: dict[str, None] = {}
        # Orders held to be absent.
        self._absent: dict[str, _Absence] = {}
        self._changed = asyncio.Event()

    # --- what the router asks for

    def look_up(self, key: str, deadline: WallNs) -> None:
        """Find out what became of an order in doubt, which Kraken does not begin with after `deadline`."""
        if key not in self._doubts:
            self._doubts[key] = _Doubt(key, WallNs(deadline + DEADLINE_MARGIN_NS))
            self._changed.set()

    def settle(self, key: str) -> None:
        """Find out how an order stands of which a change, a cancel or a fill is in doubt."""
        self._settles.setdefault(key, WallNs(self._clock.wall_ns() + SETTLE_DELAY_NS))
        self._changed.set()

    def reconcile(self, keys: Sequence[str]) -> None:
        """Find out what became of orders that a snapshot did not list."""
        self._unlisted.update(dict.fromkeys(keys))
        self._changed.set()

    # --- the work

    async def run(self) -> None:
        """Until it is canceled: pairs first, then whatever is due."""
        pairs = await self._rest.learn_pairs()
        while True:
            wait_s = await self._work(pairs)
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _work(self, pairs: RestPairs) -> float | None:
        """Do what is due; how long until something is, or None."""
        now = self._clock.wall_ns()
        if self._unlisted:
            await self._reconcile(pairs)
        due = [key for key, at in self._settles.items() if at <= now]
        if due:
            await self._settle(due, pairs)
        await self._look(pairs)
        times = list(self._settles.values())
        if self._unlisted:
            times.append(WallNs(now + RETRY_NS))
        if not (self._doubts or times):  # nothing that is in doubt waits for what is all but certain
            await self._look_again(pairs)
            times = [absence.at for absence in self._absent.values()]
        wait_s = max(0.0, (min(times) - self._clock.wall_ns()) / NS_PER_S) if times else None
        return min(POLL_S, POLL_S if wait_s is None else wait_s) if self._doubts else wait_s

    # --- orders in doubt

    async def _look(self, pairs: RestPairs) -> None:
        """One look for all orders in doubt that are due."""
        in_doubt = {order.key: order for order in self._blotter.in_doubt()}
        for key in [key for key in self._doubts if key not in in_doubt]:
            del self._doubts[key]
        now = self._clock.wall_ns()
        due: list[tuple[_Doubt, _Look]] = []
        for doubt in self._doubts.values():
            look = self._next_look(doubt, in_doubt[doubt.key], now)
            if _on_the_beat(max(look.at, doubt.not_before)) <= now:
                due.append((doubt, look))
        if not due:
            return
        orders = [in_doubt[doubt.key] for doubt, _ in due]
        found = await self._find(orders, pairs, asks_closed=any(look.asks_closed for _, look in due))
        for doubt, look in due:
            if found is None:
                doubt.not_before = WallNs(self._clock.wall_ns() + RETRY_NS)
            elif doubt.key in found:
                await self._tell(found[doubt.key], pairs)
                doubt.not_before = WallNs(self._clock.wall_ns() + RETRY_NS)  # should it be in doubt still
            elif look.is_proof:
                self._give_up(doubt.key, is_certain=not look.asks_closed)
            else:
                doubt.looks += 1

    def _next_look(self, doubt: _Doubt, order: TrackedOrder, now: WallNs) -> _Look:
        since, over_at = self.facts.unbroken_since, doubt.over_at
        if since is None:
            if doubt.looks == 0:
                return _Look(over_at, asks_closed=False, is_proof=False)
            return _Look(WallNs(over_at + LAG_ALONE_NS), asks_closed=True, is_proof=True)
        if since >= order.submitted_at:
            return _Look(WallNs(max(over_at, since) + LAG_NS), asks_closed=True, is_proof=True)
        if self.facts.has_heard_until(over_at):
            return _Look(over_at, asks_closed=False, is_proof=True)
        if now < over_at + HEARTBEAT_PATIENCE_NS:
            return _Look(WallNs(over_at + HEARTBEAT_PATIENCE_NS), asks_closed=False, is_proof=False)
        return _Look(WallNs(over_at + LAG_ALONE_NS), asks_closed=True, is_proof=True)

    def _give_up(self, key: str, *, is_certain: bool) -> None:
        """It is absent; if REST alone says so, it is looked for once more when REST can lag no more."""
        self.facts.absent(key)
        if not is_certain and len(self._absent) < ABSENT_MAX:
            self._absent[key] = _Absence(WallNs(self._clock.wall_ns() + self._lag_ns_max))

    async def _look_again(self, pairs: RestPairs) -> None:
        now = self._clock.wall_ns()
        due = [key for key, absence in self._absent.items() if absence.at <= now][:ABSENT_AT_ONCE_MAX]
        orders = [order for key in due if (order := self._blotter.get(key)) is not None]
        found = await self._find(orders, pairs, asks_closed=True) if orders else {}
        for key in due:
            absence = self._absent[key]
            absence.tries_left -= 1
            if found is not None and key in found:
                log.warning("an order that seemed absent was found", id=key)
                is_done = await self._tell(found[key], pairs)
            else:
                is_done = found is not None
            if is_done or not absence.tries_left:
                del self._absent[key]
            else:
                absence.at = WallNs(self._clock.wall_ns() + ABSENT_RETRY_NS)

    # --- what Kraken knows

    async def _find(
        self, orders: Sequence[TrackedOrder], pairs: RestPairs, *, asks_closed: bool
    ) -> dict[str, OrderLookup] | None:
        """What Kraken knows of these orders, by key; None when it could not be asked for all of them."""
        found: dict[str, OrderLookup] = {}
        rows = await self._rest.ask(
            rest_requests.open_orders(**(_filter(orders[0]) if len(orders) == 1 else {})),
            lambda status, body: rest_order_answers.read_open_orders(status, body, pairs),
            LOOK_DEADLINE_S,
        )
        if isinstance(rows, RestRefusal):
            return None
        self._match(orders, rows, found)
        missing = [order for order in orders if order.key not in found]
        if not asks_closed or not missing:
            return found
        if len(missing) > 1:
            closed = await self._closed_orders(missing, {}, pairs)
            if closed is None:
                return None
            self._match(missing, closed, found)
            if len(closed) < CLOSED_PAGE:
                return found
            missing = [order for order in missing if order.key not in found]
        for order in missing:  # so many have closed since: each by its own name
            closed = await self._closed_orders([order], _filter(order), pairs)
            if closed is None:
                return None
            self._match([order], closed, found)
        return found

    async def _closed_orders(
        self, orders: Sequence[TrackedOrder], which: dict[str, Any], pairs: RestPairs
    ) -> Sequence[OrderLookup] | None:
        """A page of the orders that closed since the first of these was sent; None when it could not be asked for."""
        since_s = min(order.submitted_at for order in orders) // NS_PER_S - CLOCK_MARGIN_S
        rows = await self._rest.ask(
            rest_requests.closed_orders(**which, start_s=since_s, offset=0),
            lambda status, body: rest_order_answers.read_closed_orders(status, body, pairs),
            LOOK_DEADLINE_S,
        )
        return None if isinstance(rows, RestRefusal) else rows

    def _match(
        self, orders: Sequence[TrackedOrder], rows: Sequence[OrderLookup], found: dict[str, OrderLookup]
    ) -> None:
        for order in orders:
            for row in rows:
                is_it = row.cl_ord_id == order.key if order.userref is None else row.own_userref == order.userref
                is_it = is_it and row.side in (None, order.intent.side)
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
            await asyncio.sleep(RETRY_NS / NS_PER_S)

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
                self._settles[key] = WallNs(self._clock.wall_ns() + RETRY_NS)
            return
        waiting = keys if len(asked) < rest_requests.QUERY_IDS_MAX else asked  # the others, at once
        for key in waiting:
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


def _filter(order: TrackedOrder) -> dict[str, Any]:
    """What finds an order at REST by its own name."""
    return {"cl_ord_id": order.key} if order.userref is None else {"userref": order.userref}


def _on_the_beat(at: int) -> int:
    return -(-at // BEAT_NS) * BEAT_NS
