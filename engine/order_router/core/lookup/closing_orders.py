"""Looks for closing orders of ours that nobody has told of. Pure, with a given clock.

    a parent has filled more than its closing orders are for
        ─► PATIENCE_NS: the executions usually tell first
        ─► those whose fills a snapshot told ─► open orders with the parent's userref ─► closed ones, page by page
        ─► taken as a snapshot tells them
        ─► still too few: again after AGAIN_NS, and once more after REST's longest lag
        ─► still too few QUIET_NS after the last fill: there are none

While fills go on, the last is always without: what is missing may be another one's each
time.

Kraken makes a closing order for each fill of an order with a conditional close, of the
filled quantity. Such an order has no name of ours: if it opens and ends while the
executions are out, no snapshot and no search for our own orders finds it. Only its parent's
userref does, which it shares; and its fills, which a snapshot may tell with its id.
What a position begins with, and what protects one, waits for it.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Final

import structlog

from engine.instant import Instant
from engine.kraken.rest import order_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken_rest.call_counter import Urgency
from engine.order_router.core.lookup.questions import Question
from engine.order_router.core.lookup.search import PAGE, PAGES_MAX
from engine.orders.blotter import Blotter
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import ExecutionFact
from engine.units import NS_PER_S, MonoNs

CHECK_NS: Final = NS_PER_S  # between two comparisons of fills and closing orders
PATIENCE_NS: Final = 2 * NS_PER_S
AGAIN_NS: Final = 10 * NS_PER_S
QUIET_NS: Final = 3 * NS_PER_S
ZERO: Final = Decimal(0)

log = structlog.get_logger("order_resolver")


class _Wanted:
    """One parent order with unknown closing orders."""

    __slots__ = ("at", "filled", "filled_at", "is_given_up", "looks", "missing", "named", "offset", "pages")

    def __init__(self, missing: Decimal, at: MonoNs) -> None:
        # The filled quantity without a closing order since the first look, and when to look
        # for it next.
        self.missing = missing
        self.at = at
        # Completed looks. In the current one: ids that were asked for, pages of closed
        # orders received, and the offset of the next page, which is -1 before the open
        # orders were received.
        self.looks = self.pages = 0
        self.named: frozenset[str] = frozenset()
        self.offset = -1
        # What the parent has filled, and since when that is so, at most; whether what is
        # missing after all looks was given up.
        self.filled = ZERO
        self.filled_at = at
        self.is_given_up = False


_Due = tuple[TrackedOrder, _Wanted]


class ClosingOrderSearch:
    """The questions about closing orders that are due."""

    def __init__(
        self, blotter: Blotter, take: Callable[[Sequence[ExecutionFact]], None], now: Instant, *, lag_ns_max: int
    ) -> None:
        """`take` receives the orders that Kraken reports, known or not. `lag_ns_max` is the
        longest time that REST may lag behind the executions.
        """
        self._blotter = blotter
        self._take = take
        self._now = now
        self._again_ns = (AGAIN_NS, lag_ns_max)
        # By the parent's client order id; also the parents whose search found nothing, each
        # with the quantity that has no closing order.
        self._wanted: dict[str, _Wanted] = {}
        self._given_up: dict[str, Decimal] = {}
        self._check_at = MonoNs(0)

    def next_question(self) -> Question | None:
        """The next call; None if none is due."""
        now = self._now.mono
        if now >= self._check_at:
            self._check_at = MonoNs(now + CHECK_NS)
            self._compare(now)
        due = [
            (order, wanted)
            for key, wanted in self._wanted.items()
            if wanted.at <= now and not self._is_over(wanted) and (order := self._blotter.get(key))
        ]
        if not due:
            return None
        if (question := self._named_question(due)) is not None:
            return question
        if unopened := [(order, wanted) for order, wanted in due if wanted.offset < 0]:
            return self._open_question(unopened)
        # A page of history must wait for room in the key's counter, so the longest overdue
        # search goes next.
        return self._closed_question(*min(due, key=lambda of_parent: of_parent[1].at))

    def given_up(self, key: str) -> Decimal:
        """The filled quantity of this order without a closing order at Kraken, according to
        REST after its longest lag.
        """
        if key not in self._given_up:
            return ZERO
        # A closing order that is reported after all belongs to these fills, not to later
        # ones.
        left = self._given_up[key] = min(self._given_up[key], self._blotter.unclosed().get(key, ZERO))
        return left

    def _is_over(self, wanted: _Wanted) -> bool:
        return wanted.looks > len(self._again_ns)

    def _compare(self, now: MonoNs) -> None:
        """Start to look for missing closing orders, or for more of them once the search for
        fewer is over: further fills do not postpone a search.
        """
        missing = self._blotter.unclosed()
        for key in [key for key in {*self._wanted, *self._given_up} if key not in missing]:
            self._wanted.pop(key, None)
            self._given_up.pop(key, None)
        for key, qty in missing.items():
            wanted, order = self._wanted.get(key), self._blotter.get(key)
            if wanted is None or (wanted.is_given_up and qty > wanted.missing):
                wanted = self._wanted[key] = _Wanted(qty, MonoNs(now + PATIENCE_NS))
            wanted.missing = min(wanted.missing, qty)
            if order is not None and order.filled_qty != wanted.filled:
                wanted.filled, wanted.filled_at = order.filled_qty, now
            if self._is_over(wanted) and not wanted.is_given_up and now - wanted.filled_at >= QUIET_NS:
                wanted.is_given_up = True
                self._given_up[key] = wanted.missing
                log.warning("a fill has no closing order at Kraken", id=key, qty=f"{wanted.missing:f}")

    def _named_question(self, due: Sequence[_Due]) -> Question | None:
        """The question about closing orders with known ids, for all parents together."""
        ids = [it for order, wanted in due for it in self._blotter.closing_ids(order) if it not in wanted.named]
        if not ids:
            return None
        asked = ids[: rest_requests.QUERY_IDS_MAX]

        def take(rows: Sequence[ExecutionFact]) -> None:
            for order, wanted in due:
                wanted.named |= frozenset(asked)
                self._take_own(order, rows)

        request = rest_requests.query_orders(asked, trades=False)
        return Question(request, order_replies.read_query_order_reports, take, Urgency.LOOK)

    def _open_question(self, due: Sequence[_Due]) -> Question:
        """The question about open closing orders: those of one parent, or all open orders."""
        userref = due[0][0].userref if len(due) == 1 else None

        def take(rows: Sequence[ExecutionFact]) -> None:
            for order, wanted in due:
                wanted.offset = 0
                self._take_own(order, rows)

        request = rest_requests.open_orders(userref=userref, trades=False)
        return Question(request, order_replies.read_open_order_reports, take, Urgency.LOOK)

    def _closed_question(self, order: TrackedOrder, wanted: _Wanted) -> Question:
        request = rest_requests.closed_orders(userref=order.userref, offset=wanted.offset, trades=False)
        take = partial(self._take_closed, order, wanted)
        return Question(request, order_replies.read_closed_order_reports, take, Urgency.LOOK)

    def _take_closed(self, order: TrackedOrder, wanted: _Wanted, rows: Sequence[ExecutionFact]) -> None:
        self._take_own(order, rows)
        wanted.pages += 1
        wanted.offset += PAGE
        if len(rows) < PAGE or wanted.pages >= PAGES_MAX:
            self._end_look(wanted)

    def _end_look(self, wanted: _Wanted) -> None:
        wanted.looks += 1
        wanted.pages, wanted.offset, wanted.named = 0, -1, frozenset()
        if wanted.looks <= len(self._again_ns):
            wanted.at = MonoNs(self._now.mono + self._again_ns[wanted.looks - 1])

    def _take_own(self, order: TrackedOrder, rows: Sequence[ExecutionFact]) -> None:
        self._take([row for row in rows if row.ord_ref_id == order.order_id])
        if order.key not in self._blotter.unclosed():
            self._wanted.pop(order.key, None)
