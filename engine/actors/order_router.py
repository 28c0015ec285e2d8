"""The order router: the only owner of orders.

    command ring ─► risk ─► rate counter ─► journal ─► WebSocket, or REST behind it ─► Kraken
    answers, account ring ─► Blotter decides ─► journal ─► Blotter applies ─► report rings

Nothing in here waits: what needs REST (orders in doubt, snapshots to be reconciled) is the `Resolver`'s, who comes back
with facts. Cancels pass every gate; each is tried again until its order is over.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final, Protocol

import msgspec
import structlog
from msgspec import Struct

from engine.actors.market_boards import MarketBoards
from engine.actors.order_wire import OrderWire, Purpose
from engine.actors.report_line import ReportLine, order_report
from engine.clock import Clock
from engine.history import HistoryWriter
from engine.kraken import order_requests
from engine.kraken.error_catalog import ErrorKind, Meaning
from engine.kraken.events import FrameNotUnderstood, SystemChanged
from engine.kraken.order_requests import BatchRow
from engine.kraken.private_events import (
    Answer,
    AnswerRow,
    ChannelRefused,
    LinkLost,
    Timing,
    TokenRefused,
    TradingEvent,
    Unanswered,
)
from engine.market import Pair
from engine.orders.account_ring import ACCOUNT_FACTS
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter, Change
from engine.orders.breaker import Breaker, BreakerState
from engine.orders.commands import COMMANDS, Amend, Cancel, CancelAll, Command, StrategyEnded, Submit, SubmitBatch
from engine.orders.intent import OrderIntent
from engine.orders.journal import Journal, JournalError
from engine.orders.journal_records import AmendSent, CancelSent, DayBegan, ModeChanged, Record, Submitted
from engine.orders.life import OrderState
from engine.orders.pending_queue import PendingQueue
from engine.orders.rate_counter import ADD, RateCounters, amend_cost, batch_add_cost, cancel_cost, tier_of
from engine.orders.reports import BalanceReport, FillReport, OrderReport, PositionReport, Report, TradingReport
from engine.orders.risk import DailyLoss, Risk, TopOfBook, TradingMode
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import (
    BalanceFact,
    ExecutionFact,
    FeedLost,
    OrderLookup,
    Outcome,
    SnapshotBegan,
    SnapshotEnded,
)
from engine.ring import GatedSubscriber
from engine.telemetry import Histogram
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, QtyLots, WallNs

RECORDS_PER_CYCLE_MAX: Final = 64
TIMER_NS: Final = 20 * NS_PER_MS  # the finest that anything in here waits for
CANCEL_RETRY_NS: Final = NS_PER_S  # a cancel that did not end its order is sent again
CANCEL_SOON_NS: Final = 20 * NS_PER_MS  # behind an amend under way, or an order that is not acknowledged yet
BALANCE_REPORT_NS: Final = 100 * NS_PER_MS
LOSS_CHECK_NS: Final = NS_PER_S
FILLS_CHECK_NS: Final = 2 * NS_PER_S
FILLS_CHECKED_MAX: Final = 200  # orders that are over: fills come late by seconds, not by hundreds of orders
UNWRITTEN_MAX: Final = 10_000  # records of facts that the journal could not take; Kraken knows them too

log = structlog.get_logger("order_router")

WALL_NS_ZERO = WallNs(0)
S = OrderState


class RouterSettings(Struct, frozen=True, kw_only=True):
    """How orders live and die; see config.TradingConfig."""

    deadline_ns: int
    command_ttl_ns: int
    rest_fallback: bool
    queues_over_rate: bool
    queue_wait_ns_max: int
    cancels_on_halt: bool
    dead_man_s: int
    dead_man_refresh_ns: int


class ResolverPort(Protocol):
    """Who asks REST, and comes back with facts."""

    @property
    def is_reachable(self) -> bool:
        """Would an order by REST have a chance?"""
        ...

    def look_up(self, key: str, not_before: WallNs) -> None:
        """Find out what became of an order in doubt; it is certainly absent only after `not_before`."""
        ...

    def reconcile(self, keys: Sequence[str]) -> None:
        """Find out what became of open orders that a snapshot did not list; `snapshot_reconciled` follows."""
        ...

    def settle(self, key: str) -> None:
        """Find out how an order stands of which a change or a cancel is in doubt."""
        ...

    def add_by_rest(self, orders: Sequence[TrackedOrder], deadline: WallNs) -> None:
        """Send new orders; `answered_by_rest` follows."""
        ...

    def amend_by_rest(self, order: TrackedOrder) -> None: ...

    def cancel_by_rest(self, orders: Sequence[TrackedOrder]) -> None: ...

    def arm_dead_man(self, timeout_s: int) -> None: ...


class Waiting(Struct, frozen=True):
    """A command that waits for the rate counter."""

    strategy: str
    orders: tuple[tuple[str, OrderIntent], ...]


class OrderRouter:
    """Orders from the command ring to Kraken and back."""

    def __init__(
        self,
        settings: RouterSettings,
        *,
        blotter: Blotter,
        journal: Journal,
        boards: MarketBoards,
        commands: GatedSubscriber,
        account: GatedSubscriber,
        lines: Mapping[str, ReportLine],
        wire: OrderWire,
        risk: Risk,
        daily_loss: DailyLoss,
        rates: RateCounters,
        balances: Balances,
        queue: PendingQueue[Waiting],
        breaker: Breaker,
        clock: Clock,
        histograms: Mapping[str, Histogram],
        is_tier_fixed: bool,
        wants_token: Callable[[str], None],
        history: HistoryWriter | None = None,
    ) -> None:
        """`wants_token` is called when the trading session needs another token, with the one that was refused or ""."""
        self._settings = settings
        self.blotter = blotter
        self._journal = journal
        self._boards = boards
        self._commands = commands
        self._account = account
        self.lines = lines
        self.wire = wire
        self.risk = risk
        self.daily_loss = daily_loss
        self.rates = rates
        self.balances = balances
        self._queue = queue
        self.breaker = breaker
        self._mono_ns = clock.mono_ns
        self._wall_ns = clock.wall_ns
        self._histograms = histograms
        self._is_tier_fixed = is_tier_fixed
        self._wants_token = wants_token
        self._history = history
        self.resolver: ResolverPort
        self.rescues = 0
        self._wake: Callable[[], None] = _nothing
        self._timer_at = MonoNs(0)
        # What the account's snapshots said; trading waits for both.
        self._feed_reason = "waiting for the account's snapshot"
        self._has_balances = False
        self._snapshot_ids: list[str] | None = None
        self._snapshot_assets: list[str] | None = None
        self._reconciling = False
        self._snapshot_began_wall = WALL_NS_ZERO
        # Kraken's own state.
        self.venue_status = ""
        # Why no order is taken for reasons of our own; empty while there is none.
        self.shut_reason = ""
        self._gate: tuple[str, bool, str] = ("", False, "")
        # Strategies that send nothing any more, and why.
        self._ended: dict[str, str] = {}
        self._behind: set[str] = set()
        # Orders whose end is wanted: when the next attempt is due.
        self._cancels: dict[str, MonoNs] = {}
        self._unwritten: list[Record] = []
        self._dead_man_at = MonoNs(0)
        self._dead_man_ok_at = MonoNs(0)
        self._dead_man_armed = False
        self._balances_changed: set[str] = set()
        self._balances_at = MonoNs(0)
        self._reported_balances: dict[str, BalanceReport] = {}
        self._loss_at = MonoNs(0)
        self._fills_at = MonoNs(0)
        # Counted since the process started, and by it; see topology.ROUTER_COUNTERS.
        self.counts: dict[str, int] = dict.fromkeys(
            ("commands", "commands_stale", "commands_repeated", "submitted", "acknowledged", "filled", "canceled",
             "expired", "rejected", "refused", "by_websocket", "by_rest", "fills", "amends", "cancels", "adopted",
             "in_doubt", "resolved", "queued", "queue_full", "rate_limited", "journal_records", "journal_errors",
             "dead_man_refreshes", "dead_man_late", "snapshots_reconciled"), 0
        )  # fmt: skip

    # --- the duty cycle

    def do_work(self) -> int:
        """Take what the rings hold, then what time has brought; the number of records taken."""
        now = self._mono_ns()
        facts = self._account.poll_many(RECORDS_PER_CYCLE_MAX)
        for record in facts:
            self._take_fact(record)
        commands = self._commands.poll_many(RECORDS_PER_CYCLE_MAX)
        for record in commands:
            self._take_command(COMMANDS.unpack(record))
        if now >= self._timer_at:
            self._timer_at = MonoNs(now + TIMER_NS)
            self._on_time(now)
        for line in self.lines.values():
            line.flush()
        return len(facts) + len(commands)

    def ready(self) -> bool:
        """Is there a record to take?"""
        return self._commands.ready() or self._account.ready()

    def next_timer(self) -> MonoNs:
        """When time is to be looked at again."""
        return self._timer_at

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Be given what calls for another turn."""
        self._wake = wake

    def count(self) -> None:
        """The process brings the shared counters up to date; nothing to do here."""

    def begin(self) -> None:
        """After the journal was read: what was under way when the last router ended is in doubt."""
        at = self._wall_ns()
        # A halt outlives the router that was told of it; only a person resumes.
        if self.blotter.mode == TradingMode.HALTED.name:
            self.risk.halt(self.blotter.mode_reason)
        elif self.blotter.mode == TradingMode.REDUCING.name:
            self.risk.reduce(self.blotter.mode_reason)
        for order in list(self.blotter.open.values()):
            if order.state in (S.SENT, S.UNKNOWN):
                self._commit(self.blotter.on_doubt(order.key, "the order router was started anew", at))
                self.resolver.look_up(order.key, order.deadline)
            elif order.pending == "amend":
                self.resolver.settle(order.key)
            if order.cancel_wanted:
                self._cancels[order.key] = self._mono_ns()
        for line in self.lines.values():
            for report in self.everything(line.strategy):
                line.send(report)
        self._tell_gate()

    # --- commands

    def _take_command(self, command: Command) -> None:
        self.counts["commands"] += 1
        match command:
            case Submit(strategy, key, intent, issued_at, tick_at):
                self._submit(strategy, ((key, intent),), issued_at, tick_at)
            case SubmitBatch():
                self._submit(command.strategy, tuple(command.orders), command.issued_at, command.tick_at)
            case Amend():
                self._amend(command)
            case Cancel():
                for key in command.cl_ord_ids:
                    self._want_cancel(key)
                self._send_cancels(self._mono_ns())
            case CancelAll():
                self.cancel_all_of(command.strategy, command.symbol)
            case StrategyEnded():
                self._end_strategy(command.strategy, command.reason)

    def _submit(
        self, strategy: str, orders: tuple[tuple[str, OrderIntent], ...], issued_at: MonoNs, tick_at: MonoNs
    ) -> None:
        """New orders, one or a batch: all of them leave, or none."""
        now = self._mono_ns()
        if any(self.blotter.get(key) is not None or key in self._queue for key, _ in orders):
            self.counts["commands_repeated"] += 1  # a killed predecessor had taken it
            return
        if now - issued_at > self._settings.command_ttl_ns:
            self.counts["commands_stale"] += 1
            waited_s, most_s = (now - issued_at) / NS_PER_S, self._settings.command_ttl_ns / NS_PER_S
            self._refuse(strategy, orders, f"it waited {waited_s:.1f} s for the router, more than {most_s:g} s")
            return
        if why := self._refusal(strategy, orders, now):
            self._refuse(strategy, orders, why)
            return
        symbol = orders[0][1].symbol
        wait_ns = self.rates.wait_ns(symbol, _add_cost(len(orders)), now)
        if wait_ns == 0 and not self._queue.waiting(symbol):
            self._send_orders(strategy, orders, issued_at, tick_at)
        elif not self._settings.queues_over_rate or wait_ns > self._settings.queue_wait_ns_max:
            wait_s = wait_ns / NS_PER_S
            self._refuse(strategy, orders, f"Kraken's rate counter of {symbol} has no room for another {wait_s:.1f} s")
        elif self._queue.put(symbol, orders[0][0], Waiting(strategy, orders), now):
            self.counts["queued"] += 1
        else:
            self.counts["queue_full"] += 1
            self._refuse(strategy, orders, f"{len(self._queue)} orders wait for Kraken's rate counter already")

    def _refusal(self, strategy: str, orders: Sequence[tuple[str, OrderIntent]], now: MonoNs) -> str | None:
        """Why these orders must not leave; None when they may."""
        if why := self._closed_reason() or self._ended.get(strategy):
            return why
        if strategy in self._behind:
            return "the strategy does not take its reports; orders are refused until it has"
        before: list[OrderIntent] = []
        for _, intent in orders:
            pair = self._boards.pair(intent.symbol)
            if pair is None:
                return f"the venue has not told what {intent.symbol} is like yet"
            why = self.risk.refusal(
                intent,
                strategy=strategy,
                pair=pair,
                top=self._top(intent.symbol),
                open_orders=self.blotter.open_on(intent.symbol),
                position=self.blotter.positions.total_qty(intent.symbol),
                now=now,
                batch=before,
            )
            if why is not None:
                return why
            before.append(intent)
        return None

    def _top(self, symbol: str) -> TopOfBook | None:
        book = self._boards.book(symbol)
        if book is None:
            return None
        bid, ask = book.best_bid, book.best_ask
        is_live = self._boards.is_live(symbol, self.risk.limits.book_age_ns_max)
        return TopOfBook(
            bid.price_ticks if bid is not None else None, ask.price_ticks if ask is not None else None, is_live, 0
        )

    def _send_orders(
        self, strategy: str, orders: tuple[tuple[str, OrderIntent], ...], issued_at: MonoNs, tick_at: MonoNs
    ) -> None:
        now, at = self._mono_ns(), self._wall_ns()
        route = self._route(now)
        if route not in ("websocket", "rest"):
            self._refuse(strategy, orders, route)
            return
        deadline = WallNs(at + self._settings.deadline_ns)
        symbol = orders[0][1].symbol
        pair = self._boards.pair(symbol)
        if pair is None:
            self._refuse(strategy, orders, f"the venue has not told what {symbol} is like yet")
            return
        price_decimals, qty_decimals = pair.price_decimals, pair.qty_decimals
        records = [
            Submitted(key, strategy, intent, price_decimals, qty_decimals, deadline, route, self._userref(intent), at)
            for key, intent in orders
        ]
        if not self._write(records):
            self._refuse(strategy, orders, f"the journal cannot be written: {self.shut_reason}")
            return
        self.rates.charge(symbol, _add_cost(len(orders)), now)
        for _, intent in orders:
            self.risk.approved(strategy, intent, now)
        sent = route == "websocket" and self._send_by_websocket(records, pair, deadline)
        left_at = self._mono_ns()
        tracked = [change.order for record in records if (change := self._apply(record)) is not None]
        if sent:
            self.counts["by_websocket"] += len(orders)
            if issued_at:
                self._histograms["strategy_to_wire"].record(left_at - issued_at)
            if tick_at:
                self._histograms["tick_to_order"].record(left_at - tick_at)
        elif self._settings.rest_fallback and self.resolver.is_reachable:
            self.counts["by_rest"] += len(orders)
            self.resolver.add_by_rest(tracked, deadline)
        else:
            for key, _ in orders:
                self._commit(self.blotter.on_rejected(key, "not sent: there was no connection to Kraken", at))

    def _send_by_websocket(self, records: Sequence[Submitted], pair: Pair, deadline: WallNs) -> bool:
        keys = tuple(record.key for record in records)
        price_decimals, qty_decimals = pair.price_decimals, pair.qty_decimals
        if len(records) == 1:
            record = records[0]
            cl_ord_id = record.key if record.userref is None else None

            def build(token: str, req_id: int) -> bytes:
                return order_requests.add_order(
                    record.intent, price_decimals, qty_decimals, cl_ord_id=cl_ord_id, order_userref=record.userref,
                    deadline=deadline, token=token, req_id=req_id,
                )  # fmt: skip

            return self.wire.send("add_order", build, "add", keys)
        rows = [
            BatchRow(record.intent, record.key if record.userref is None else None, record.userref)
            for record in records
        ]

        def build_batch(token: str, req_id: int) -> bytes:
            return order_requests.batch_add(
                rows, price_decimals, qty_decimals, deadline=deadline, token=token, req_id=req_id
            )

        return self.wire.send("batch_add", build_batch, "batch_add", keys)

    def _route(self, now: MonoNs) -> str:
        """websocket or rest; otherwise why there is none."""
        if self.wire.is_ready and self.breaker.allows(now):
            return "websocket"
        if self._settings.rest_fallback and self.resolver.is_reachable:
            return "rest"
        if self.breaker.state(now) is BreakerState.OPEN:
            return f"the circuit breaker is open for another {self.breaker.wait_ns(now) / NS_PER_S:.0f} s"
        return "there is no connection to Kraken for orders"

    def _userref(self, intent: OrderIntent) -> int | None:
        """What an order is known by that cannot carry a client order id: one that no open order of ours has."""
        if intent.conditional is None:
            return None
        taken = {order.userref for order in self.blotter.open.values()}
        userref = 1 + self._wall_ns() // NS_PER_MS % 2_000_000_000
        while userref in taken:
            userref += 1
        return userref

    def _refuse(self, strategy: str, orders: Iterable[tuple[str, OrderIntent]], why: str) -> None:
        """Our own word: not in the journal, for nothing happened."""
        line = self.lines.get(strategy)
        for key, intent in orders:
            self.counts["refused"] += 1
            log.debug("order refused", strategy=strategy, id=key, symbol=intent.symbol, reason=why)
            if line is not None:
                pair = self._boards.pair(intent.symbol)
                line.send(
                    OrderReport(
                        key, "", intent.symbol, intent.side, intent.order_type, S.REFUSED, why[:240], intent.qty,
                        QtyLots(0), intent.limit_price, None, Decimal(0), (),
                        pair.price_decimals if pair else 0, pair.qty_decimals if pair else 0, False, self._wall_ns(),
                    )
                )  # fmt: skip

    def _amend(self, command: Amend) -> None:
        now, at = self._mono_ns(), self._wall_ns()
        order = self.blotter.open.get(command.cl_ord_id)
        if order is None:
            self._report_order(self.blotter.get(command.cl_ord_id))
            return
        if why := self._amend_refusal(order, command, now):
            self._report_order(order, f"amend refused: {why}")
            return
        if not self._commit([AmendSent(order.key, command.amendment, at)]):
            self._report_order(order, f"amend refused: the journal cannot be written: {self.shut_reason}")
            return
        self.counts["amends"] += 1
        self.rates.charge(order.symbol, amend_cost(at - order.aged_from), now)
        self.risk.amend_approved(now)
        if self._send_amend(order, WallNs(at + self._settings.deadline_ns)):
            left_at = self._mono_ns()
            self._histograms["strategy_to_wire"].record(left_at - command.issued_at)
            if command.tick_at:
                self._histograms["tick_to_order"].record(left_at - command.tick_at)
        elif self._settings.rest_fallback and self.resolver.is_reachable:
            self.resolver.amend_by_rest(order)
        else:
            self._commit(self.blotter.on_request_refused(order.key, "amend", "there is no connection to Kraken", at))

    def _amend_refusal(self, order: TrackedOrder, command: Amend, now: MonoNs) -> str | None:
        if now - command.issued_at > self._settings.command_ttl_ns:
            self.counts["commands_stale"] += 1
            return "it waited too long for the router"
        if order.pending or order.cancel_wanted:
            return f"{'a cancel' if order.cancel_wanted else 'an ' + order.pending} of the order is under way"
        if order.state not in (S.WORKING, S.PARTIAL):
            return f"the order is {order.state}"
        if order.intent.conditional is not None:
            return "Kraken does not amend orders with a conditional close"
        if why := self._closed_reason() or self._ended.get(order.strategy):
            return why
        pair = self._boards.pair(order.symbol)
        if pair is None:
            return f"the venue has not told what {order.symbol} is like"
        why = self.risk.amend_refusal(
            order,
            command.amendment,
            pair=pair,
            top=self._top(order.symbol),
            open_orders=self.blotter.open_on(order.symbol),
            position=self.blotter.positions.total_qty(order.symbol),
            now=now,
        )
        if why is not None:
            return why
        if wait_ns := self.rates.wait_ns(order.symbol, amend_cost(self._wall_ns() - order.aged_from), now):
            return f"Kraken's rate counter of {order.symbol} has no room for another {wait_ns / NS_PER_S:.1f} s"
        return None

    def _send_amend(self, order: TrackedOrder, deadline: WallNs) -> bool:
        amendment = order.amendment
        if amendment is None:
            return False
        trigger = order.intent.trigger

        def build(token: str, req_id: int) -> bytes:
            return order_requests.amend_order(
                amendment, order.price_decimals, order.qty_decimals, order_id=order.order_id,
                limit_price_type=order.intent.limit_price_type,
                trigger_price_type=trigger.price_type if trigger is not None else None,
                deadline=deadline, token=token, req_id=req_id,
            )  # fmt: skip

        return self.wire.send("amend_order", build, "amend", (order.key,))

    # --- cancels

    @property
    def own_open(self) -> list[TrackedOrder]:
        """Open orders of our strategies."""
        return [order for order in self.blotter.open.values() if not order.is_external]

    def cancel_all_of(self, strategy: str | None, symbol: str = "") -> int:
        """Want the end of a strategy's open orders, or (None) of all that are ours; how many there are."""
        keys = [
            order.key
            for order in self.blotter.open.values()
            if not order.is_external
            and (strategy is None or order.strategy == strategy)
            and (not symbol or order.symbol == symbol)
        ]
        for waiting_symbol in self._queue.symbols():
            while (waiting := self._first_of(waiting_symbol, strategy, symbol)) is not None:
                self._drop_waiting(waiting_symbol, waiting)
        for key in keys:
            self._want_cancel(key)
        self._send_cancels(self._mono_ns())
        return len(keys)

    def cancel_by_id(self, name: str) -> bool:
        """Want the end of one order, by the engine's id or Kraken's; False when there is none open."""
        order = self.blotter.open.get(name) or self.blotter.find(order_id=name)
        if order is None or not order.is_open:
            return self._drop_queued(name)
        self._want_cancel(order.key)
        self._send_cancels(self._mono_ns())
        return True

    def _first_of(self, queued_symbol: str, strategy: str | None, symbol: str) -> str | None:
        if symbol and queued_symbol != symbol:
            return None
        waiting = self._queue.first(queued_symbol)
        if waiting is None or (strategy is not None and waiting.entry.strategy != strategy):
            return None
        return waiting.key

    def _drop_waiting(self, symbol: str, key: str) -> bool:
        waiting = self._queue.remove(symbol, key)
        if waiting is None:
            return False
        self._refuse(waiting.entry.strategy, waiting.entry.orders, "canceled before it was sent")
        return True

    def _drop_queued(self, key: str) -> bool:
        return any(self._drop_waiting(symbol, key) for symbol in self._queue.symbols())

    def _want_cancel(self, key: str) -> None:
        if key in self.blotter.open:
            self._cancels.setdefault(key, MonoNs(0))
        elif not self._drop_queued(key):
            self._report_order(self.blotter.get(key))

    def _send_cancels(self, now: MonoNs) -> None:
        """Send the cancels that are due: alone by one, together by fifty."""
        due: list[TrackedOrder] = []
        for key, due_at in list(self._cancels.items()):
            order = self.blotter.open.get(key)
            if order is None:
                del self._cancels[key]
            elif now >= due_at:
                if order.pending == "amend" or order.state is S.SENT or self.venue_status == "maintenance":
                    self._cancels[key] = MonoNs(now + CANCEL_SOON_NS)
                elif wait_ns := self._cancel_wait_ns(order, now):
                    self._cancels[key] = MonoNs(now + min(wait_ns, CANCEL_RETRY_NS))
                else:
                    due.append(order)
                    self.rates.charge(order.symbol, cancel_cost(self._wall_ns() - order.aged_from), now)
        if not due:
            return
        # Behind a journal that cannot be written, cancels go on: what they change Kraken knows.
        at = self._wall_ns()
        self._commit([CancelSent(order.key, at) for order in due], is_fact=True)
        self.counts["cancels"] += len(due)
        for order in due:
            self._cancels[order.key] = MonoNs(now + CANCEL_RETRY_NS)
        for first in range(0, len(due), order_requests.BATCH_CANCEL_MAX):
            self._send_cancel_chunk(due[first : first + order_requests.BATCH_CANCEL_MAX])

    def _cancel_wait_ns(self, order: TrackedOrder, now: MonoNs) -> int:
        return self.rates.cancel_wait_ns(order.symbol, cancel_cost(self._wall_ns() - order.aged_from), now)

    def _send_cancel_chunk(self, orders: Sequence[TrackedOrder]) -> None:
        if len(orders) == 1 or any(order.userref is not None and not order.order_id for order in orders):
            for order in orders:
                if not self._send_cancel(order):
                    self.resolver.cancel_by_rest([order])
            return
        order_ids = [order.order_id for order in orders if order.order_id]
        cl_ord_ids = [order.key for order in orders if not order.order_id]

        def build(token: str, req_id: int) -> bytes:
            return order_requests.batch_cancel(order_ids=order_ids, cl_ord_ids=cl_ord_ids, token=token, req_id=req_id)

        if not self.wire.send("batch_cancel", build, "batch_cancel", tuple(order.key for order in orders)):
            self.resolver.cancel_by_rest(orders)

    def _send_cancel(self, order: TrackedOrder) -> bool:
        def build(token: str, req_id: int) -> bytes:
            if order.order_id:
                return order_requests.cancel_order(order_id=order.order_id, token=token, req_id=req_id)
            if order.userref is not None:
                return order_requests.cancel_order(order_userref=order.userref, token=token, req_id=req_id)
            return order_requests.cancel_order(cl_ord_id=order.key, token=token, req_id=req_id)

        return self.wire.send("cancel_order", build, "cancel", (order.key,))

    def _end_strategy(self, strategy: str, reason: str) -> None:
        self._ended[strategy] = f"the strategy was halted: {reason}"
        log.error("strategy ended", strategy=strategy, reason=reason)
        if self._settings.cancels_on_halt:
            self.cancel_all_of(strategy)

    # --- what Kraken answers

    def on_trading_events(self, events: Sequence[TradingEvent]) -> None:
        """Events of the trading session."""
        for event in events:
            match event:
                case Answer():
                    self._on_answer(event)
                case Unanswered(request, _):
                    self._in_doubt(self.wire.purpose(request.req_id), "no answer came in time")
                    self._failed()
                case LinkLost(reason, pending):
                    for request in pending:
                        self._in_doubt(self.wire.purpose(request.req_id), f"the connection was lost: {reason}")
                    if pending:
                        self._failed()
                    self._dead_man_at = MonoNs(0)
                case TokenRefused(reason):
                    log.warning("token refused", reason=reason)
                    self._wants_token(reason)
                case ChannelRefused(channel, advice):
                    log.warning("subscription refused", channel=channel, advice=advice)
                case SystemChanged(system):
                    self._enter(system)
                case FrameNotUnderstood(kind, detail, frame):
                    log.warning("frame not understood", kind=kind, detail=detail, frame=frame)
        self._tell_gate()

    def on_burst_end(self) -> None:
        """End of a burst of frames: the strategies may look."""
        for line in self.lines.values():
            line.flush()

    def _enter(self, system: str) -> None:
        if system != self.venue_status:
            log.info("venue status", system=system)
        self.venue_status = system

    def _on_answer(self, answer: Answer) -> None:
        purpose = self.wire.purpose(answer.req_id)
        if purpose is None or answer.timing in (Timing.AGAIN, Timing.STRANGE):
            return
        if answer.timing is Timing.EXPECTED and answer.took_ns:
            self._histograms["ack"].record(answer.took_ns)
        what = answer.meaning
        if what is not None and what.kind in (ErrorKind.SERVICE, ErrorKind.TRANSPORT):
            self._failed()
        elif answer.timing is Timing.EXPECTED:
            self.breaker.succeeded()
        self.answered(purpose, answer.success, answer.order_id, answer.error or "", what, answer.rows)

    def answered(
        self,
        purpose: Purpose,
        success: bool,
        order_id: str | None,
        error: str,
        what: Meaning | None,
        rows: Sequence[AnswerRow] = (),
    ) -> None:
        """An answer to one of our requests, by whatever route."""
        if what is not None and what.kind is ErrorKind.RATE_LIMIT:
            self.counts["rate_limited"] += 1
            for key in purpose.keys:
                if (order := self.blotter.get(key)) is not None:
                    self.rates.of(order.symbol).exceeded(self._mono_ns())
        match purpose.what:
            case "add":
                self._add_answered(purpose.keys[0], order_id, error, what)
            case "batch_add":
                self._batch_answered(purpose.keys, error, what, rows)
            case "amend":
                self._amend_answered(purpose.keys[0], success, error, what)
            case "cancel" | "batch_cancel":
                self._cancel_answered(purpose.keys, success, error, what)
            case "dead_man":
                self.dead_man_answered(success, error)
        self._wake()

    def _add_answered(self, key: str, order_id: str | None, error: str, what: Meaning | None) -> None:
        at = self._wall_ns()
        if what is None:
            if order_id:
                self._commit(self.blotter.on_acknowledged(key, order_id, at))
            else:
                self._commit(self.blotter.on_rejected(key, "only checked, as was asked for", at))
            return
        if what.outcome is Outcome.NOT_PLACED:
            self._commit(self.blotter.on_rejected(key, what.sentence(error), at))
        else:
            self._doubt(key, what.sentence(error))

    def _batch_answered(self, keys: Sequence[str], error: str, what: Meaning | None, rows: Sequence[AnswerRow]) -> None:
        if not rows:
            if what is not None:
                for key in keys:
                    self._add_answered(key, None, error, what)
            else:
                for key in keys:
                    self._doubt(key, "the answer to the batch names no orders")
            return
        for index, key in enumerate(keys):
            row = rows[index] if index < len(rows) else None
            if row is None:
                self._doubt(key, "the answer to the batch says nothing of this order")
            else:
                self._add_answered(key, row.order_id, row.error or "", row.meaning)

    def _amend_answered(self, key: str, success: bool, error: str, what: Meaning | None) -> None:
        at = self._wall_ns()
        if success:
            self._commit(self.blotter.on_amended(key, at))
        elif what is None or what.outcome is Outcome.UNKNOWN:
            self.resolver.settle(key)
        else:
            self._commit(self.blotter.on_request_refused(key, "amend", what.sentence(error), at))
            if what.outcome is Outcome.NOT_OPEN:
                self.resolver.settle(key)

    def _cancel_answered(self, keys: Sequence[str], success: bool, error: str, what: Meaning | None) -> None:
        if success:
            return  # its end is told by the executions; if it is not, the cancel is tried again
        for key in keys:
            if key not in self.blotter.open:
                continue
            if what is not None and what.outcome is Outcome.NOT_OPEN:
                self.resolver.settle(key)  # over already, or not begun yet: only its own state tells
            elif what is not None and what.kind is ErrorKind.RATE_LIMIT:
                self._cancels[key] = MonoNs(self._mono_ns() + CANCEL_RETRY_NS)
            else:
                log.warning("cancel refused", id=key, error=error)

    def _in_doubt(self, purpose: Purpose | None, why: str) -> None:
        """A request without an answer."""
        if purpose is None:
            return
        match purpose.what:
            case "add" | "batch_add":
                for key in purpose.keys:
                    self._doubt(key, why)
            case "amend":
                self.resolver.settle(purpose.keys[0])
            case "cancel" | "batch_cancel":
                now = self._mono_ns()
                for key in purpose.keys:
                    if key in self.blotter.open:
                        self._cancels[key] = now
            case "dead_man":
                self._dead_man_at = MonoNs(0)

    def _doubt(self, key: str, why: str) -> None:
        order = self.blotter.get(key)
        if order is None or not order.is_open:
            return
        records = self.blotter.on_doubt(key, why, self._wall_ns())
        if records:
            self.counts["in_doubt"] += 1
            log.warning("order in doubt", id=key, reason=why)
            self._commit(records)
        if order.state is S.UNKNOWN:
            self.resolver.look_up(key, order.deadline)

    def _failed(self) -> None:
        if self.breaker.failed(self._mono_ns()):
            log.error("circuit breaker open", openings=self.breaker.openings)

    # --- what the private feed hears

    def _take_fact(self, record: bytes) -> None:
        fact = ACCOUNT_FACTS.unpack(record)
        match fact:
            case ExecutionFact():
                self._on_execution(fact)
            case BalanceFact():
                if self._snapshot_assets is not None:
                    self._snapshot_assets.append(fact.asset)
                if self.balances.apply(fact):
                    self._balances_changed.add(fact.asset)
            case FeedLost(reason):
                self._feed_reason = f"the private feed is being reconciled: {reason}"
                self._snapshot_ids = None
            case SnapshotBegan(channel):
                if channel == "executions":
                    self._snapshot_ids = []
                    self._snapshot_began_wall = self._wall_ns()
                else:
                    self._snapshot_assets = []
            case SnapshotEnded():
                self._snapshot_ended(fact)
        self._tell_gate()

    def _on_execution(self, fact: ExecutionFact) -> None:
        if self._snapshot_ids is not None and fact.is_snapshot and fact.exec_type != "trade":
            self._snapshot_ids.append(fact.order_id)
        records = self.blotter.on_execution(fact, self._boards_pairs(), self._wall_ns())
        if fact.rate_count is not None and fact.symbol is not None:
            is_idle = not self.wire.session.pending
            self.rates.of(fact.symbol).correct(fact.rate_count, self._mono_ns(), is_idle=is_idle)
        self._commit(records, is_fact=True, received_at=fact.received_at)

    def _boards_pairs(self) -> Mapping[str, Pair]:
        for symbol in self._boards.symbols:
            if symbol not in self._boards.pairs:
                self._boards.pair(symbol)
        return self._boards.pairs

    def _snapshot_ended(self, fact: SnapshotEnded) -> None:
        if fact.channel != "executions":
            self._has_balances = True
            if self._snapshot_assets is not None:
                self._balances_changed.update(self.balances.forget_others(self._snapshot_assets))
            self._snapshot_assets = None
            return
        if fact.max_rate_count is not None and not self._is_tier_fixed:
            tier = tier_of(fact.max_rate_count)
            if tier != self.rates.tier:
                log.info("tier", name=tier.name, open_orders_max=tier.open_orders_max)
            self.rates.set_tier(tier, self._mono_ns())
            self.risk.open_orders_cap = tier.open_orders_max
        listed = set(self._snapshot_ids or ())
        self._snapshot_ids = None
        # What was acknowledged after the snapshot was asked for may be missing in it, and is news of its own.
        asked_ago_ns = self._mono_ns() - fact.asked_at if fact.asked_at else 0
        asked_at = self._wall_ns() - asked_ago_ns
        gone = [
            order.key
            for order in self.blotter.open.values()
            if order.order_id and order.order_id not in listed and order.submitted_at < asked_at
            and order.state is not S.UNKNOWN
        ]  # fmt: skip
        self._feed_reason = "open orders that Kraken does not list are looked up" if gone else ""
        if gone:
            self._reconciling = True
            self.resolver.reconcile(gone)
        else:
            self.snapshot_reconciled()

    def snapshot_reconciled(self) -> None:
        """Every open order is accounted for."""
        self._reconciling = False
        self._feed_reason = ""
        self.counts["snapshots_reconciled"] += 1
        now = self._mono_ns()
        for order in self.blotter.open.values():
            if order.pending == "amend" and order.state in (S.WORKING, S.PARTIAL):
                self.resolver.settle(order.key)
            if order.key in self._cancels:
                self._cancels[order.key] = now
        self._fills_at = now
        self._tell_gate()
        self._wake()

    # --- what REST found out

    def found(self, lookup: OrderLookup, fills: Sequence[ExecutionFact]) -> None:
        """How an order stands, and its fills that were fetched with it."""
        at = self._wall_ns()
        order = self.blotter.find(lookup.order_id, lookup.cl_ord_id, lookup.order_userref)
        if order is None:
            return
        was_unknown = order.state is S.UNKNOWN
        if not order.order_id:
            self._commit(self.blotter.on_acknowledged(order.key, lookup.order_id, at), is_fact=True)
        for fill in fills:
            self._commit(self.blotter.on_execution(fill, self._boards_pairs(), at), is_fact=True)
        pending = order.pending
        self._commit(self.blotter.on_lookup(lookup, at), is_fact=True)
        if was_unknown and order.state is not S.UNKNOWN:
            self._resolved(order)
        if order.is_open and pending and order.pending == pending:
            # An amend that shows in the order is done by now; this one did not happen. A cancel is tried again.
            self._commit(self.blotter.on_request_refused(order.key, pending, "Kraken did not get it", at), is_fact=True)
        if order.key in self._cancels:
            self._cancels[order.key] = self._mono_ns()
        self._wake()

    def not_sent(self, key: str, why: str) -> None:
        """An order that was to go by REST and certainly did not."""
        self._commit(self.blotter.on_rejected(key, f"not sent: {why}", self._wall_ns()))

    def absent(self, key: str) -> None:
        """Looked for twice after its deadline, among open orders and closed: Kraken never had it."""
        order = self.blotter.open.get(key)
        if order is None or order.state is not S.UNKNOWN:
            return
        reason = "it never reached Kraken: after its deadline it is neither among the open nor the closed orders"
        self._commit(self.blotter.on_absent(key, reason, self._wall_ns()), is_fact=True)
        self._resolved(order)

    def _resolved(self, order: TrackedOrder) -> None:
        self.counts["resolved"] += 1
        log.info("order resolved", id=order.key, state=str(order.state), filled=order.filled)

    # --- records

    def _write(self, records: Sequence[Record], *, is_fact: bool = False) -> bool:
        """Into the journal; False when it could not be. Facts are kept for a better moment, and are so all the same."""
        try:
            if self._unwritten:
                self._journal.append_all(self._unwritten)
                self._unwritten.clear()
                log.info("journal writes again")
            if len(records) == 1:
                self._journal.append(records[0])
            else:
                self._journal.append_all(records)
        except JournalError as error:
            self.counts["journal_errors"] += 1
            if not self.shut_reason:
                log.critical("the journal cannot be written, no order is taken", error=str(error))
            self.shut_reason = str(error)
            self.risk.halt(f"the journal cannot be written: {error}")
            if is_fact and len(self._unwritten) < UNWRITTEN_MAX:
                self._unwritten.extend(records)
            self._tell_gate()
            return is_fact
        self.counts["journal_records"] += len(records)
        return True

    def _commit(self, records: Sequence[Record], *, is_fact: bool = True, received_at: int = 0) -> bool:
        """Write and apply."""
        if not records:
            return True
        if not self._write(records, is_fact=is_fact):
            return False
        for record in records:
            self._apply(record, received_at)
        return True

    def _apply(self, record: Record, received_at: int = 0) -> Change | None:
        change = self.blotter.apply(record)
        if change is None:
            return None
        order = change.order
        self._count_change(change, record)
        if order.key in self._cancels and not order.is_open:
            del self._cancels[order.key]
        base, _, quote = order.symbol.partition("/")
        self._balances_changed.update((base, quote))
        if self._history is not None:
            self._history.put(order, change.fill)
        line = self.lines.get(order.strategy)
        if line is not None:
            if change.fill is not None:
                line.send(self._position_report(order.strategy, order.symbol))
            line.send(order_report(order))
            if change.fill is not None:
                fill = change.fill
                line.send(
                    FillReport(
                        order.key, order.order_id, fill.exec_id, fill.trade_id, order.symbol, order.intent.side,
                        fill.qty, fill.price, fill.cost, tuple((fee.asset, fee.qty) for fee in fill.fees),
                        fill.liquidity, order.qty_decimals, fill.kraken_time, MonoNs(received_at),
                    )
                )  # fmt: skip
        return change

    def _count_change(self, change: Change, record: Record) -> None:
        order, counts = change.order, self.counts
        match type(record).__name__:
            case "Submitted":
                counts["submitted"] += 1
            case "Acknowledged":
                counts["acknowledged"] += 1
            case "Rejected" | "Absent":
                counts["rejected"] += 1
            case "Filled":
                counts["fills"] += 1
            case "Ended" if not order.is_external:
                counts[str(order.state)] += 1
            case "Adopted":
                counts["adopted"] += 1
                owner = order.strategy or "external"
                log.warning("order adopted", id=order.order_id, symbol=order.symbol, strategy=owner)

    # --- reports

    def _report_order(self, order: TrackedOrder | None, reason: str = "") -> None:
        """Tell the strategy how an order stands, with a word that is not in the journal."""
        if order is None or (line := self.lines.get(order.strategy)) is None:
            return
        report = order_report(order)
        if reason:
            report = msgspec.structs.replace(report, reason=reason[:240])
        line.send(report)

    def _position_report(self, strategy: str, symbol: str) -> PositionReport:
        state = self.blotter.positions.of(strategy, symbol)
        return PositionReport(symbol, state.qty, state.avg_price, state.realized, state.fees)

    def everything(self, strategy: str) -> Iterable[Report]:
        """All there is to say to a strategy."""
        yield TradingReport(*self._gate_now())
        for held, symbol, _ in list(self.blotter.positions.items()):
            if held == strategy:
                yield self._position_report(strategy, symbol)
        held_now = self.balances.held(self.blotter.open.values())
        for asset in self.balances.assets():
            yield self._balance_report(asset, held_now)
        for order in list(self.blotter.ended.values()):
            if order.strategy == strategy and order.changed_at > self._wall_ns() - 60 * NS_PER_S:
                yield order_report(order)
        for order in self.blotter.open_of(strategy):
            yield order_report(order)

    def _balance_report(self, asset: str, held: Mapping[str, Decimal]) -> BalanceReport:
        wallet = self.balances.wallet(asset, held)
        return BalanceReport(asset, wallet.total, wallet.held, wallet.free, wallet.earning)

    def _closed_reason(self) -> str:
        """Why no order is taken from anybody; empty while they are."""
        if self.shut_reason:
            return self.shut_reason
        if self._feed_reason:
            return self._feed_reason
        if not self._has_balances:
            return "waiting for the account's balances"
        if self.venue_status in ("maintenance", "cancel_only"):
            return f"Kraken is in {self.venue_status}"
        return ""

    def _gate_now(self) -> tuple[str, bool, str]:
        closed = self._closed_reason()
        mode = self.risk.mode
        is_open = not closed and mode is not TradingMode.HALTED
        return mode.value, is_open, closed or self.risk.mode_reason

    @property
    def gate(self) -> tuple[str, bool, str]:
        """Mode, whether orders are taken, and why not."""
        return self._gate_now()

    def _tell_gate(self) -> None:
        gate = self._gate_now()
        if gate == self._gate:
            return
        self._gate = gate
        log.info("trading", mode=gate[0], open=gate[1], reason=gate[2])
        for line in self.lines.values():
            line.send(TradingReport(gate[0], gate[1], gate[2][:240]))

    # --- time

    def _on_time(self, now: MonoNs) -> None:
        self._send_cancels(now)
        self._send_queued(now)
        self._refresh_dead_man(now)
        self._watch_strategies()
        self._watch_fills(now)
        self._report_balances(now)
        self._watch_loss(now)
        if self._unwritten or self.shut_reason.startswith("the journal"):
            self._try_journal()
        if self._journal.wants_compaction:
            self._compact()
        self._tell_gate()

    def _send_queued(self, now: MonoNs) -> None:
        for _, waiting in list(self._queue.expired(now, self._settings.queue_wait_ns_max)):
            self._refuse(waiting.entry.strategy, waiting.entry.orders, "it waited too long for Kraken's rate counter")
        for symbol in self._queue.symbols():
            while (first := self._queue.first(symbol)) is not None:
                entry = first.entry
                if self.rates.wait_ns(symbol, _add_cost(len(entry.orders)), now):
                    break
                self._queue.pop(symbol)
                if why := self._refusal(entry.strategy, entry.orders, now):
                    self._refuse(entry.strategy, entry.orders, why)
                else:
                    # How long it waited for its turn is no latency of ours.
                    self._send_orders(entry.strategy, entry.orders, MonoNs(0), MonoNs(0))

    def _refresh_dead_man(self, now: MonoNs) -> None:
        """Tell Kraken that we live; the last one that was heard counts."""
        if not self._settings.dead_man_s or now < self._dead_man_at or self.shut_reason.startswith("the engine is"):
            return
        if not self.wire.is_ready and not self.resolver.is_reachable:
            return
        self._dead_man_at = MonoNs(now + self._settings.dead_man_refresh_ns)
        self.set_dead_man(self._settings.dead_man_s)

    def set_dead_man(self, timeout_s: int) -> None:
        """Arm the switch, or (0) disarm it."""

        def build(token: str, req_id: int) -> bytes:
            return order_requests.cancel_all_orders_after(timeout_s, token=token, req_id=req_id)

        if not self.wire.send("cancel_all_orders_after", build, "dead_man", ()):
            self.resolver.arm_dead_man(timeout_s)

    def dead_man_answered(self, success: bool, error: str) -> None:
        """Kraken has heard of us, or not."""
        now = self._mono_ns()
        if not success:
            log.warning("dead man's switch not set", error=error)
            self._dead_man_at = MonoNs(now + min(self._settings.dead_man_refresh_ns, NS_PER_S))
            return
        self.counts["dead_man_refreshes"] += 1
        late_ns = self._settings.dead_man_s * NS_PER_S // 2
        if self._dead_man_ok_at and now - self._dead_man_ok_at > late_ns:
            self.counts["dead_man_late"] += 1
        self._dead_man_ok_at = now

    def _watch_strategies(self) -> None:
        """A strategy that leaves its reports lying sends nothing new, and its orders end as configured."""
        for strategy, line in self.lines.items():
            if line.is_behind:
                line.catch_up(lambda strategy=strategy: self.everything(strategy))  # type: ignore[misc]
            if line.is_behind and strategy not in self._behind:
                self._behind.add(strategy)
                log.error("strategy does not take its reports", strategy=strategy)
                if self._settings.cancels_on_halt:
                    self.cancel_all_of(strategy)
            elif not line.is_behind and strategy in self._behind:
                self._behind.discard(strategy)
                log.info("strategy takes its reports again", strategy=strategy)

    def _watch_fills(self, now: MonoNs) -> None:
        """Ask for fills that Kraken has counted and that did not come."""
        if now < self._fills_at:
            return
        self._fills_at = MonoNs(now + FILLS_CHECK_NS)
        newest = islice(reversed(self.blotter.ended.values()), FILLS_CHECKED_MAX)
        for order in (*self.blotter.open.values(), *newest):
            if order.fills_missing and order.order_id and not order.is_external:
                self.resolver.settle(order.key)

    def _report_balances(self, now: MonoNs) -> None:
        if not self._balances_changed or now < self._balances_at:
            return
        self._balances_at = MonoNs(now + BALANCE_REPORT_NS)
        held = self.balances.held(self.blotter.open.values())
        for asset in sorted(self._balances_changed):
            report = self._balance_report(asset, held)
            if self._reported_balances.get(asset) != report:
                self._reported_balances[asset] = report
                for line in self.lines.values():
                    line.send(report)
        self._balances_changed.clear()

    def _watch_loss(self, now: MonoNs) -> None:
        if now < self._loss_at:
            return
        self._loss_at = MonoNs(now + LOSS_CHECK_NS)
        totals = self.totals()
        at = self._wall_ns()
        if self.daily_loss.begins(at):
            self.daily_loss.begin(totals, at)
            self._commit([DayBegan(self.daily_loss.day, totals, at)])
        why = self.daily_loss.refusal(totals)
        if why is not None and self.risk.mode is not TradingMode.HALTED:
            log.critical("trading halted", reason=why)
            self.halt(why)

    def totals(self) -> dict[str, Decimal]:
        """What all strategies have made, realised or not, after fees, by quote currency."""
        marks = {symbol: mark for symbol in self._boards.symbols if (mark := self.mark(symbol)) is not None}
        return self.blotter.positions.totals(marks)

    def mark(self, symbol: str) -> Decimal | None:
        """The middle of the book, to value positions with; None without one."""
        book = self._boards.book(symbol)
        if book is None:
            return None
        return book.mid

    def halt(self, reason: str) -> int:
        """Take no more orders, and end those that are open; how many there are."""
        self.risk.halt(reason)
        self._keep_mode()
        canceling = self.cancel_all_of(None)
        self._tell_gate()
        return canceling

    def reduce(self, reason: str) -> None:
        """Take only what makes positions smaller."""
        self.risk.reduce(reason)
        self._keep_mode()
        self._tell_gate()

    def resume(self) -> None:
        """A person wants it to go on."""
        self.risk.resume()
        self._keep_mode()
        self._tell_gate()

    def _keep_mode(self) -> None:
        self._commit([ModeChanged(self.risk.mode.name, self.risk.mode_reason, self._wall_ns())])

    def shut(self, reason: str) -> None:
        """Take no more orders for the rest of this life."""
        self.shut_reason = reason
        self._tell_gate()

    def _try_journal(self) -> None:
        """Has the disk room again? The halt stays: a person resumes."""
        if self._unwritten and self._write((), is_fact=True) and not self._unwritten:
            self.shut_reason = ""

    def _compact(self) -> None:
        try:
            self._journal.compact(self.blotter.snapshot(self._wall_ns()))
        except JournalError as error:
            log.error("journal not compacted", error=str(error))


def _add_cost(orders: int) -> Any:
    return ADD if orders == 1 else batch_add_cost(orders)


def _nothing() -> None:
    pass
