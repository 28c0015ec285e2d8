"""What Kraken's REST API is asked about orders, and what its answers prove. Pure, with a
given clock.

    truth   orders that a snapshot did not list: fifty a call; trading of their pairs waits
    look    in doubt    the executions tell ─► found; else, once its deadline has passed:
                        heard everything since it left        one look at open orders ─► absent
                        a gap, and a snapshot after it        open and closed orders, after REST's lag ─► absent
                        no executions                         open orders; later open and closed ones ─► absent
            in change   an amend, a cancel or a fill that is in doubt: QueryOrders, fifty a call
            absent      if there had been a gap: one more look when REST can lag no more; found ─► it lives again
            open        while REST stands in for the executions: QueryOrders, fifty a call

An order is absent only if Kraken can no longer accept it, because its deadline has passed.
If every execution since it was sent was received, without a gap in the sequence numbers,
and it is not open, then it never was. After a gap, the snapshot tells which orders are open
and its trades which were filled; only an order that ended meanwhile without a fill must be
looked for at REST, which lags behind the matching engine. Orders due together are looked
for together, each is reported as soon as it is found, and a failed call loses nothing that
was found. Cheap calls go before calls for history.

Source: https://docs.kraken.com/api/docs/guides/spot-clordid
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

import structlog
from msgspec import Struct

from engine.instant import Instant
from engine.kraken.connection.kraken_time import KrakenTime, longest_ns
from engine.kraken.rest import order_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import RestPairs
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.requests import RestRequest
from engine.kraken_rest.call_counter import Urgency
from engine.order_router.core.lookup.search import FoundOrders, OrderSearch
from engine.orders.blotter import OVER_AT_REST, Blotter
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import ExecutionFact, OrderLookup
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

DEADLINE_MARGIN_NS: Final = 200 * NS_PER_MS  # clock difference, and orders being matched at the deadline
LAG_NS: Final = 500 * NS_PER_MS  # usual lag of REST behind the executions
LAG_ALONE_NS: Final = 3 * NS_PER_S  # where REST is the only witness
AGAIN_NS: Final = 300 * NS_PER_MS  # before looking again at an order found but still in doubt; doubles
AGAIN_NS_MAX: Final = 30 * NS_PER_S
SETTLE_DELAY_NS: Final = 300 * NS_PER_MS  # the executions channel usually tells first; doubles while nothing is settled
PONG_PATIENCE_NS: Final = 1500 * NS_PER_MS  # the private feed pings once a second
STALE_NS: Final = 3 * NS_PER_S  # the most to wait for certainty of Kraken's time, before a look that brings a Date
BEAT_NS: Final = 100 * NS_PER_MS  # looks are aligned to this, so orders sent together share one
LOOK_GAP_NS: Final = 300 * NS_PER_MS  # between the beginnings of two looks; orders that fall due meanwhile share one
HISTORY_PATIENCE_NS: Final = 5 * NS_PER_S  # afterwards a call for history goes before cheaper ones
HISTORY_GAP_NS: Final = 700 * NS_PER_MS  # between two searches of closed orders, which cost more points
ABSENT_MAX: Final = 1000  # orders that may wait for their last look
SETTLED_MAX: Final = 1000  # orders whose count of fruitless questions is kept

log = structlog.get_logger("order_resolver")


class Told(Protocol):
    """Receives the answers, and knows which executions were received."""

    unbroken_since: MonoNs | None

    @property
    def listed_since(self) -> MonoNs | None: ...

    def is_complete_until(self, at: MonoNs) -> bool: ...

    def sent_at(self, key: str) -> MonoNs | None: ...

    def found(self, lookup: OrderLookup, fills: list[ExecutionFact]) -> None: ...

    def absent(self, key: str) -> None: ...

    def accounted_for(self, keys: Sequence[str]) -> None: ...


class Question(NamedTuple):
    """One call, and the function that takes its answer."""

    request: RestRequest
    read: Callable[[int, bytes, RestPairs], RestRefusal | Sequence[Any]]
    take: Callable[[Sequence[Any]], None]
    urgency: Urgency


class _Doubt:
    """One order in doubt."""

    __slots__ = ("again_ns", "deadline", "is_by_kraken", "key", "looks", "not_before", "over_at", "search")

    def __init__(self, key: str, deadline: WallNs, over_at: MonoNs) -> None:
        self.key = key
        self.deadline = deadline
        # Kraken does not accept the order after this; and is that by Kraken's clock?
        self.over_at = over_at
        self.is_by_kraken = False
        # How often it was looked for and not found.
        self.looks = 0
        # Earliest next look at an order that was found and is still in doubt, and the pause
        # after that.
        self.not_before = MonoNs(0)
        self.again_ns = AGAIN_NS
        # The search that is under way for it.
        self.search: OrderSearch | None = None


class _Look(Struct, frozen=True):
    """The next look at an order in doubt."""

    at: MonoNs
    asks_closed: bool
    is_proof: bool
    """True if an order that this look does not find is absent."""


class _Running(NamedTuple):
    """A search, and the orders that it is for."""

    search: OrderSearch
    looks: dict[str, _Look]


class OrderQuestions:
    """The questions that are due, and the orders that wait for their answers."""

    def __init__(
        self, blotter: Blotter, told: Told, now: Instant, kraken: KrakenTime, *, life_ns: int, lag_ns_max: int
    ) -> None:
        """`told` receives the answers. `lag_ns_max` is the longest time that REST may lag
        behind the executions.

        At Kraken, fills were seen a minute before they appeared in REST.
        """
        self._blotter = blotter
        self._now = now
        self._kraken = kraken
        # How long before its deadline an order is sent.
        self._life_ns = life_ns
        self._lag_ns_max = lag_ns_max
        self._told = told
        # Orders that a snapshot did not list, and when to ask for them next.
        self._unlisted: dict[str, MonoNs] = {}
        self._found_unlisted = FoundOrders(blotter.knows_fill)
        # Orders in doubt, and the searches that are under way.
        self._doubts: dict[str, _Doubt] = {}
        self._running: list[_Running] = []
        # When the last search began: under True one that includes closed orders, under
        # False one of open orders.
        self._begun_at: dict[bool, MonoNs] = {}
        # Orders with a change in doubt: when to ask for each next, and how often an answer
        # settled nothing.
        self._settles: dict[str, MonoNs] = {}
        self._in_vain: OrderedDict[str, int] = OrderedDict()
        # Since when each search may ask for (more) closed orders. If REST is the only
        # witness, that is later than its call for open ones by REST's lag: otherwise the
        # list of closed orders could be older, and an order that ended in between would be
        # on neither.
        self._history_at: dict[OrderSearch, MonoNs] = {}
        # Orders reported absent, and when to look for each once more; that search, while it
        # is under way.
        self._absent: dict[str, MonoNs] = {}
        self._last_look: OrderSearch | None = None
        self._found = FoundOrders(blotter.knows_fill)
        # Orders in doubt that were found, by Kraken's id, until their fills are known too.
        self._telling: dict[str, str] = {}
        # Open orders to be asked for in this round, the answers to that, and the last one's
        # time.
        self._polled: dict[str, None] = {}
        self.polls = 0
        self.polled_at = MonoNs(0)

    # --- what the router asks for

    def look_up(self, key: str, deadline: WallNs) -> None:
        """Find out what became of an order in doubt that Kraken does not accept after
        `deadline`.
        """
        if key in self._doubts:
            return
        # Until Kraken's time is known: counted from when it was sent, on the monotonic
        # clock. For an order sent by an earlier router only the wall clock tells, and it
        # may have been set back since: so never longer than the order had when it was sent.
        order = self._blotter.get(key)
        # The deadline is by Kraken's clock and the rest by ours: their difference is
        # bounded.
        life_ns_max = max(self._life_ns, rest_requests.LIFE_NS_MIN)
        life_ns = min(max(0, deadline - order.submitted_at), life_ns_max) if order is not None else 0
        sent_at = self._told.sent_at(key)
        if sent_at is None:
            over_at = self._now.mono + min(life_ns, max(0, deadline - self._now.wall))
        else:
            over_at = sent_at + life_ns
        doubt = self._doubts[key] = _Doubt(key, deadline, MonoNs(over_at + DEADLINE_MARGIN_NS))
        self._set_by_kraken(doubt)

    def _set_by_kraken(self, doubt: _Doubt) -> None:
        """Convert an order's time to Kraken's clock once that is known: our clock, which
        set the deadline, may be wrong. The more certain Kraken's time is, the shorter the
        wait.
        """
        if not self._kraken.is_told:
            return
        # A deadline further ahead is one that Kraken does not accept: a wrong clock of ours
        # gave it.
        deadline = min(doubt.deadline, self._kraken.least() + rest_requests.DEADLINE_MAX_NS)
        over_at = MonoNs(self._kraken.reached_at(WallNs(deadline)) + DEADLINE_MARGIN_NS)
        doubt.over_at = min(doubt.over_at, over_at) if doubt.is_by_kraken else over_at
        doubt.is_by_kraken = True

    def settle(self, key: str, not_before: MonoNs | None = None) -> None:
        """Find out the state of an order with an amend, cancel or fill in doubt, not before
        `not_before` if given.
        """
        delay_ns = min(SETTLE_DELAY_NS << min(self._in_vain.get(key, 0), 20), AGAIN_NS_MAX)
        if not_before is not None:
            delay_ns = min(max(not_before - self._now.mono, AGAIN_NS), AGAIN_NS_MAX)
        at = MonoNs(self._now.mono + delay_ns)
        self._settles[key] = min(self._settles.get(key, at), at)

    def reconcile(self, keys: Sequence[str]) -> None:
        """Find out what became of orders that a snapshot did not list."""
        self._unlisted.update(dict.fromkeys(keys, MonoNs(0)))

    def poll(self, keys: Sequence[str]) -> None:
        """Find out how these open orders stand, when nothing more urgent is to be asked."""
        self._polled.update(dict.fromkeys(keys))

    # --- what trading waits for

    def next_truth(self) -> Question | None:
        """The next call about orders that a snapshot did not list; None if none is due."""
        if (question := self._fills_question(self._found_unlisted, Urgency.TRUTH)) is not None:
            return question
        if not self._unlisted:
            return None
        self._account_for([key for key in self._unlisted if not self._ids_of([key])])  # forgotten since
        now = self._now.mono
        keys = [key for key, at in self._unlisted.items() if at <= now][: rest_requests.QUERY_IDS_MAX]
        ids = self._ids_of(keys)
        if not ids:
            return None
        return Question(
            rest_requests.query_orders(ids), order_replies.read_query_orders,
            partial(self._take_unlisted, keys), Urgency.TRUTH,
        )  # fmt: skip

    def _take_unlisted(self, keys: Sequence[str], rows: Sequence[OrderLookup]) -> None:
        """Take REST's answer. It may be older than the snapshot for an order that it shows
        open or not at all.
        """
        rows_told = {row.order_id: row for row in rows}
        since, now = self._told.listed_since, self._now.mono
        lag_ns = LAG_NS if since is None else min(since + LAG_NS - now, LAG_NS)
        untold: list[str] = []
        for key in keys:
            order = self._blotter.get(key)
            row = None if order is None else rows_told.get(order.order_id)
            if row is not None and row.status in OVER_AT_REST:
                self._found_unlisted.add(row)
            elif order is not None and lag_ns > 0:
                self._unlisted[key] = MonoNs(now + lag_ns)
            else:
                if row is not None:
                    self._found_unlisted.add(row)
                else:
                    untold.append(key)
                if order is not None and order.is_open:
                    # Ask once more after REST's longest lag: if the order has ended,
                    # nothing else will ever tell.
                    self._settles.setdefault(key, MonoNs(now + self._lag_ns_max))
        self._tell(self._found_unlisted)
        self._account_for(untold)

    def _account_for(self, keys: Sequence[str]) -> None:
        if not keys:
            return
        for key in keys:
            self._unlisted.pop(key, None)
        self._told.accounted_for(keys)

    # --- what only the orders themselves wait for

    def next_look(self) -> Question | None:
        """The next call about orders in doubt, in change or held to be absent; None if none
        is due.
        """
        if not self._is_anything_waited_for:
            return None
        now = self._now.mono
        self._begin_looks(now)
        self._end_looks()
        if (question := self._fills_question(self._found, Urgency.LOOK)) is not None:
            return question
        self._share_history(now)
        running = [run.search for run in self._running if self._history_at.get(run.search, now) <= now]
        if overdue := [search for search in running if self._is_overdue(search, now)]:
            return self._search_question(overdue[0], Urgency.LOOK)
        due = [key for key, at in self._settles.items() if at <= now]
        if due and (question := self._settle_question(due)) is not None:
            return question
        if unopened := [search for search in running if not search.asks_history]:
            return self._open_question(unopened)
        if running:
            return self._search_question(running[0], Urgency.LOOK)
        if self._last_look is None and not self._doubts and not self._settles:
            self._begin_last_look(now)
        if self._last_look is None or self._history_at.get(self._last_look, now) > now:
            return self._poll_question()
        return self._search_question(self._last_look, Urgency.LATER)

    def _is_overdue(self, search: OrderSearch, now: MonoNs) -> bool:
        """True if calls for open orders, which find room in the key's counter sooner, have
        gone before this search's call for closed ones for long enough.
        """
        return search.asks_history and now - self._history_at[search] > HISTORY_PATIENCE_NS

    @property
    def _is_anything_waited_for(self) -> bool:
        return bool(
            self._doubts or self._settles or self._running or self._absent or self._last_look or self._polled
            or self._found.is_waiting
        )  # fmt: skip

    def _open_question(self, searches: Sequence[OrderSearch]) -> Question:
        """The call for open orders, for all searches that begin with it."""
        if len(searches) == 1:
            return self._search_question(searches[0], Urgency.LOOK)

        def take(rows: Sequence[OrderLookup]) -> None:
            for search in searches:
                self._take_search(search, "", rows)

        return Question(rest_requests.open_orders(), order_replies.read_open_orders, take, Urgency.LOOK)

    def _search_question(self, search: OrderSearch, urgency: Urgency) -> Question:
        assert search.request is not None
        is_open = search.request.name == "OpenOrders"
        read: Any = order_replies.read_open_orders if is_open else order_replies.read_closed_orders
        return Question(search.request, read, partial(self._take_search, search, search.named), urgency)

    def _take_search(self, search: OrderSearch, named: str, rows: Sequence[OrderLookup]) -> None:
        lags = not search.asks_history and (self._told.unbroken_since is None or search is self._last_look)
        self._history_at[search] = MonoNs(self._now.mono + (LAG_NS if lags else 0))
        found = search.take(rows, named)
        for key, row in found.items():
            if (doubt := self._doubts.get(key)) is not None:
                doubt.search = None
                doubt.not_before = MonoNs(self._now.mono + doubt.again_ns)  # in case it is still in doubt
                doubt.again_ns = min(2 * doubt.again_ns, AGAIN_NS_MAX)
                self._telling[row.order_id] = key
            elif search is self._last_look:
                log.warning("an order that seemed absent was found", id=key)
            self._absent.pop(key, None)
            self._found.add(row)
        self._tell(self._found)
        self._end_looks()

    def _fills_question(self, found: FoundOrders, urgency: Urgency) -> Question | None:
        if not found.is_waiting:
            return None
        self._tell(found)  # those of which the executions have told all fills
        if not (asked := found.fills_to_ask):
            return None
        take = partial(self._take_fills, found, asked)
        return Question(rest_requests.query_trades(asked), order_replies.read_query_trades, take, urgency)

    def _take_fills(self, found: FoundOrders, asked: Sequence[str], fills: Sequence[ExecutionFact]) -> None:
        found.take(asked, fills)
        self._tell(found)

    def _tell(self, found: FoundOrders) -> None:
        """Report the orders with complete fills; those that a snapshot did not list are
        accounted for then.
        """
        for row, fills in found.ready():
            self._telling.pop(row.order_id, None)
            self._told.found(row, fills)
            order = self._blotter.order_of(row)
            if order is None:
                continue
            if order.pending or order.fills_missing:
                self._note_in_vain(order.key)
            else:
                self._in_vain.pop(order.key, None)
            if order.key in self._unlisted and found is self._found_unlisted:
                self._account_for([order.key])

    def _note_in_vain(self, key: str) -> None:
        """Record that an answer about this order settled nothing."""
        self._in_vain[key] = self._in_vain.pop(key, 0) + 1
        if len(self._in_vain) > SETTLED_MAX:
            self._in_vain.popitem(last=False)

    def _ids_of(self, keys: Sequence[str]) -> list[str]:
        return [order.order_id for key in keys if (order := self._blotter.get(key)) is not None and order.order_id]

    # --- orders in change

    def _settle_question(self, due: Sequence[str]) -> Question | None:
        asked = [key for key in due if self._is_unsettled(key)][: rest_requests.QUERY_IDS_MAX]
        if not asked:
            self._settled(due)
            return None
        waiting = due if len(asked) < rest_requests.QUERY_IDS_MAX else asked  # the rest comes next
        return Question(
            rest_requests.query_orders(self._ids_of(asked)), order_replies.read_query_orders,
            partial(self._take_settled, waiting, asked), Urgency.LOOK,
        )  # fmt: skip

    def _is_unsettled(self, key: str) -> bool:
        order = self._blotter.get(key)
        return bool(
            order is not None and order.order_id and (order.pending or order.fills_missing or key in self._blotter.open)
        )

    def _take_settled(self, keys: Sequence[str], asked: Sequence[str], rows: Sequence[OrderLookup]) -> None:
        self._settled(keys)
        told = {row.order_id for row in rows}
        for key in asked:
            order = self._blotter.get(key)
            if order is not None and order.order_id not in told and (order.pending or order.fills_missing):
                self._note_in_vain(key)  # REST, which lags, does not have it yet
                self.settle(key)
        for row in rows:
            self._found.add(row)
        self._tell(self._found)

    def _settled(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._settles.pop(key, None)

    # --- open orders, while REST stands in

    def _poll_question(self) -> Question | None:
        for key in [key for key in self._polled if key not in self._blotter.open]:
            del self._polled[key]
        asked = list(self._polled)[: rest_requests.QUERY_IDS_MAX]
        if not asked:
            return None
        return Question(
            rest_requests.query_orders(self._ids_of(asked)), order_replies.read_query_orders,
            partial(self._take_polled, asked), Urgency.LATER,
        )  # fmt: skip

    def _take_polled(self, keys: Sequence[str], rows: Sequence[OrderLookup]) -> None:
        self.polls += 1
        self.polled_at = self._now.mono
        for key in keys:
            self._polled.pop(key, None)
        for row in rows:
            order = self._blotter.order_of(row)
            # An answer may be older than a request that is under way: whether that was
            # carried out is asked when it should have been.
            if order is not None and (not order.pending or row.status in OVER_AT_REST):
                self._found.add(row)
        self._tell(self._found)

    # --- orders in doubt

    def _begin_looks(self, now: MonoNs) -> None:
        """Start one search for all orders in doubt that are due, including those of a
        search that has made no call yet.
        """
        if not self._doubts:
            return
        in_doubt = {order.key: order for order in self._blotter.in_doubt()}
        for key in [key for key in self._doubts if key not in in_doubt]:
            doubt = self._doubts.pop(key)
            if doubt.search is not None:
                doubt.search.forget(key)
        looks: dict[str, _Look] = {}
        for doubt in self._doubts.values():
            if doubt.search is None and doubt.key not in self._telling.values():
                look = self._look_of(doubt, now)
                if _on_the_beat(look.at) <= now and doubt.not_before <= now:
                    looks[doubt.key] = look
        for asks_closed in (False, True):
            chosen = {key: look for key, look in looks.items() if look.asks_closed is asks_closed}
            gap_ns = HISTORY_GAP_NS if asks_closed else LOOK_GAP_NS
            if chosen and now >= self._begun_at.get(asks_closed, now - gap_ns) + gap_ns:
                self._begun_at[asks_closed] = now
                for run in [run for run in self._running if run.search.calls == 0]:
                    if next(iter(run.looks.values())).asks_closed is asks_closed:
                        self._running.remove(run)
                        chosen |= {key: look for key, look in run.looks.items() if key in self._doubts}
                orders = [in_doubt[key] for key in chosen]
                search = OrderSearch(orders, life_ns=self._life_of(orders), asks_closed=asks_closed)
                self._running.append(_Running(search, chosen))
                for key in chosen:
                    self._doubts[key].search = search

    def _share_history(self, now: MonoNs) -> None:
        """Make one of the searches that wait for their first page of closed orders: a call
        for it may wait for room in the key's counter, and others become due meanwhile.
        """
        waiting = [
            run for run in self._running
            if run.search.begins_history and self._history_at.get(run.search, now) <= now
        ]  # fmt: skip
        for run in waiting[1:]:
            shared, looks = waiting[0]
            self._running.remove(run)
            self._history_at.pop(run.search, None)
            shared.join(run.search)
            looks |= run.looks
            for key in run.looks:
                if (doubt := self._doubts.get(key)) is not None and doubt.search is run.search:
                    doubt.search = shared

    def _look_of(self, doubt: _Doubt, now: MonoNs) -> _Look:
        self._set_by_kraken(doubt)
        since, over_at, sent_at = self._told.unbroken_since, doubt.over_at, self._told.sent_at(doubt.key)
        seems_over_at = MonoNs(now + doubt.deadline + DEADLINE_MARGIN_NS - self._kraken.now())
        if doubt.looks == 0 and doubt.is_by_kraken and seems_over_at < over_at - STALE_NS:
            return _Look(seems_over_at, asks_closed=False, is_proof=False)
        if since is None:
            if doubt.looks == 0:
                return _Look(over_at, asks_closed=False, is_proof=False)
            return _Look(MonoNs(over_at + LAG_ALONE_NS), asks_closed=True, is_proof=True)
        if sent_at is None or since >= sent_at:
            return _Look(MonoNs(max(over_at, since) + LAG_NS), asks_closed=True, is_proof=True)
        if self._told.is_complete_until(over_at):
            return _Look(over_at, asks_closed=False, is_proof=True)
        if now < over_at + PONG_PATIENCE_NS:
            return _Look(MonoNs(over_at + PONG_PATIENCE_NS), asks_closed=False, is_proof=False)
        return _Look(MonoNs(over_at + LAG_ALONE_NS), asks_closed=True, is_proof=True)

    def _end_looks(self) -> None:
        """End the searches that are complete: where that is a proof, orders not found are
        absent.
        """
        for run in [run for run in self._running if run.search.request is None]:
            self._running.remove(run)
            self._history_at.pop(run.search, None)
            for key, look in run.looks.items():
                doubt = self._doubts.get(key)
                if doubt is None or doubt.search is not run.search:
                    continue  # found, or told by the executions
                doubt.search = None
                self._set_by_kraken(doubt)
                if look.is_proof and look.at >= doubt.over_at and (look.asks_closed or self._is_whole_since_sent(key)):
                    self._give_up(key, is_certain=not look.asks_closed)
                else:
                    doubt.looks += 1
        if self._last_look is not None and self._last_look.request is None:
            self._history_at.pop(self._last_look, None)
            self._last_look = None

    def _is_whole_since_sent(self, key: str) -> bool:
        """True if the executions have had no gap since before the order was sent. A pong is
        answered by Kraken's front end alone, so a row of its engine may come later; if they
        broke while REST was asked, that row would be lost.
        """
        since, sent_at = self._told.unbroken_since, self._told.sent_at(key)
        return since is not None and sent_at is not None and since < sent_at

    def _give_up(self, key: str, *, is_certain: bool) -> None:
        """Report an order absent. If only REST says so, look for it once more after REST's
        longest lag.
        """
        self._told.absent(key)
        if not is_certain and len(self._absent) < ABSENT_MAX:
            self._absent[key] = MonoNs(self._now.mono + self._lag_ns_max)

    def _begin_last_look(self, now: MonoNs) -> None:
        due = [key for key, at in self._absent.items() if at <= now]
        orders = [order for key in due if (order := self._blotter.get(key)) is not None]
        for key in due:
            del self._absent[key]
        if orders:
            self._last_look = OrderSearch(orders, life_ns=self._life_of(orders), asks_closed=True, is_late=True)

    def _life_of(self, orders: Sequence[TrackedOrder]) -> int:
        """How long before its deadline the earliest of these orders may have been opened:
        not before it was sent, by what is certain of Kraken's time.

        If our own clock gave the deadline, before Kraken's time was known, the deadline may
        be wrong by as much as Kraken accepts.
        """
        life_ns, least, now = self._life_ns, self._kraken.least(), self._now.mono
        for order in orders:
            sent_at = self._told.sent_at(order.key)
            if sent_at is None or not self._kraken.is_told:
                return rest_requests.DEADLINE_MAX_NS
            life_ns = max(life_ns, order.deadline - least + longest_ns(now - sent_at))
        return min(life_ns, rest_requests.DEADLINE_MAX_NS)


def _on_the_beat(at: int) -> int:
    return -(-at // BEAT_NS) * BEAT_NS
