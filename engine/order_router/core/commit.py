"""The one path by which journal records take effect, in this order:

    records ─► write (journal) ─► apply (blotter) ─► report rings ─► history, counts

While the journal cannot be written, no order is sent: trading is shut and an alarm is
raised. Facts from Kraken still take effect. They are queued and written later; after a
restart Kraken would tell them again. What is too much to be queued is written as the state
that it led to.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
import structlog

from engine.instant import Instant
from engine.order_router.core.ports import BalancePort, HistoryPort, JournalPort
from engine.order_router.core.report_outbox import ReportOutbox, order_report
from engine.orders.balances import Balances
from engine.orders.blotter import ENDED_KEPT, Blotter, Change
from engine.orders.intent import OrderIntent
from engine.orders.journal_records import (
    Absent,
    Acknowledged,
    Adopted,
    Amended,
    DayBegan,
    Ended,
    Filled,
    FillsTold,
    JournalError,
    Record,
    Rejected,
    Snapshot,
    Submitted,
)
from engine.orders.life import OrderState
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.rings.reports import (
    REASON_CHARS_MAX,
    Balance,
    Fill,
    OrderReport,
    Position,
    Report,
)
from engine.orders.tracked_order import TrackedOrder
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs, units_decimal

UNWRITTEN_MAX: Final = 10_000  # records of facts that the journal could not take; of more there is only the state
ENDED_TOLD_MAX: Final = 1000  # ended orders that a strategy is told of again, beside those that it missed
BALANCES_TOLD_NS: Final = 100 * NS_PER_MS
SEGMENT_RETRY_NS: Final = 10 * NS_PER_S  # a try sums up all orders, and orders wait for it
FILLS_TOLD_NS: Final = NS_PER_S  # a restarted router repeats the fills of this time at most

NEVER_SENT: Final = Refusal(ErrorKind.TRANSPORT, "it was never sent: the order router that took it is gone")

# The counts that a restarted router restores from the journal.
RECOUNTED: Final = (
    "submitted", "by_websocket", "by_rest", "acknowledged", "filled", "canceled", "expired", "rejected", "fills",
    "adopted", "journal_records",
)  # fmt: skip

log = structlog.get_logger("order_router")


class OrderRecords:
    """Writes records to the journal, applies them, and reports their effects."""

    def __init__(
        self,
        blotter: Blotter,
        journal: JournalPort,
        outboxes: Mapping[str, ReportOutbox],
        balances: Balances,
        balance_board: BalancePort,
        now: Instant,
        history: HistoryPort | None = None,
        *,
        balance_callers: Collection[str] = (),
        on_journal: Callable[[str], None],
        on_change: Callable[[TrackedOrder, bool], None],
        on_took: Callable[[str, int], None] | None = None,
    ) -> None:
        """`balance_callers`: the strategies that get a report of each balance; all of them
        read it on the board.

        `on_journal` is called with the error when the journal begins to fail, and with
        "" when it can be written again.

        `on_change` is called with each order that a record has changed, and whether by a
        fill.

        `on_took` is called with `acknowledged_by_websocket`, `filled_by_rest` and the like,
        and the nanoseconds since the order was sent.
        """
        self.blotter = blotter
        self._journal = journal
        self.outboxes = outboxes
        self.balances = balances
        self._balance_board = balance_board
        self._balance_callers = balance_callers
        self._history = history
        self._now = now
        self._on_journal = on_journal
        self._on_change = on_change
        self._on_took = on_took
        self._unwritten: list[Record] = []
        # How many facts came while UNWRITTEN_MAX were held back: applied, and in no record.
        # Only a snapshot brings them into the journal.
        self._unrecorded = 0
        self._is_failing = False
        # When the journal may begin a segment, after one that could not be begun.
        self._segment_at = MonoNs(0)
        # What was reported in the burst of executions being taken, with its time.
        self._is_burst = False
        self._told: list[tuple[Record, Change, MonoNs]] = []
        # When open orders of this process's life left, on the monotonic clock.
        self._sent_at: dict[str, MonoNs] = {}
        # When the terms of open orders were learned last in this process (sent, found or
        # amended); when this process began, and how far the wall clock was ahead then, from
        # which the age of all other terms follows.
        self._terms_at: dict[str, MonoNs] = {}
        self._began_at = now.mono
        self._wall_ahead_ns = now.wall - now.mono
        # When orders ended, or were changed after their end, in this process's life; oldest
        # first.
        self._ended_at: dict[str, MonoNs] = {}
        # Assets that a predecessor reported are reported again, as zero if Kraken no longer
        # names them.
        self._balances_changed: set[str] = set(balance_board.assets)
        self._balances_at = MonoNs(0)
        self._told_balances: dict[str, Balance] = {}
        self._fills_told_at = MonoNs(0)
        # Whether an amend of this order waits to be sent.
        self.is_amend_waiting: Callable[[str], bool] = _never
        # Whether a strategy's position in a pair has begun.
        self.is_position_known: Callable[[str, str], bool] = _always
        # How many of the quarantined facts were logged; see `Blotter.quarantined`.
        self._quarantined_told = blotter.quarantined
        # Counts since this process started; the names are in topology.ROUTER_COUNTERS.
        self.counts: dict[str, int] = dict.fromkeys(
            (*RECOUNTED, "refused", "journal_errors", "records_unreadable"), 0
        )  # fmt: skip

    # --- in

    def write_intent(self, records: Sequence[Record]) -> bool:
        """Append to the journal what is about to be sent. False if the write failed: then
        it must not be sent.
        """
        try:
            if self._unwritten:
                self._write_unwritten()
            self._journal.append_all(records)
        except JournalError as error:
            self._failed((), str(error))
            return False
        self._wrote(len(records))
        return True

    def write_facts(self, records: Sequence[Record]) -> None:
        """Append to the journal what has happened anyway. If the write fails the records
        are queued and written later.
        """
        try:
            if self._unwritten:
                self._write_unwritten()
            self._journal.append_all(records)
        except JournalError as error:
            self._failed(records, str(error))
        else:
            self._wrote(len(records))

    def write_encoded(self, payload: bytes) -> bool:
        """`write_intent` of one record, as `encode_record` encodes it."""
        # Hot: an order that is not written yet waits for it.
        try:
            if self._unwritten:
                self._write_unwritten()
            self._journal.append_encoded(payload)
        except JournalError as error:
            self._failed((), str(error))
            return False
        self._wrote(1)
        return True

    def _write_unwritten(self) -> None:
        if self._unrecorded:
            raise JournalError("too many facts wait for it: only a new segment takes them all")
        self._journal.append_all(self._unwritten)
        self._unwritten.clear()

    def _wrote(self, records: int) -> None:
        if self._is_failing:
            self._is_failing = False
            log.info("journal writes again")
            self._on_journal("")
        self.counts["journal_records"] += records

    def commit(self, records: Sequence[Record], *, received_at: int = 0) -> None:
        """Journal and apply facts. If the journal cannot be written they are applied all
        the same and written later. `received_at` is when they arrived, MonoNs; 0 if
        unknown.
        """
        if records:
            self.write_facts(records)
            for record in records:
                self.apply(record, received_at)
        if self.blotter.quarantined > self._quarantined_told:
            odd = self.blotter.oddities[-1]
            log.warning("fact not acted upon", id=odd.key, what=odd.what, quarantined=self.blotter.quarantined)
            self._quarantined_told = self.blotter.quarantined

    def commit_before(self, records: Sequence[Record]) -> bool:
        """Journal and apply an intent. False if the journal cannot be written; then nothing
        is applied.
        """
        if not self.write_intent(records):
            return False
        for record in records:
            self.apply(record)
        return True

    def apply(self, record: Record, received_at: int = 0) -> Change | None:
        """Apply a record to the blotter, and report, count and store the change. Returns
        the change, or None if the record changed nothing.
        """
        change = self.blotter.apply(record)
        if change is None:
            return None
        order = change.order
        outbox = self.outboxes.get(order.strategy)
        if outbox is not None:
            self._tell(outbox, change, received_at)
        # The strategy has it; what follows can wait.
        if self._is_burst:
            self._told.append((record, change, self._now.mono))
        else:
            self._measure(record, change, self._now.mono)
            self._follow(record, change, self._now.mono)
        return change

    def begin_burst(self) -> None:
        """Put off, until `end_burst`, what follows a report: counts, history and the
        numbers for new orders. The strategies know all of the burst sooner; nothing may be
        decided but executions in between.
        """
        self._is_burst = True

    def end_burst(self) -> None:
        """Do what was put off."""
        self._is_burst = False
        for told in self._told:  # before the first that forgets when the order was sent
            self._measure(*told)
        for told in self._told:
            self._follow(*told)
        self._told.clear()

    def _follow(self, record: Record, change: Change, at: MonoNs) -> None:
        """What a record that was applied at `at` does beside the report."""
        order = change.order
        if isinstance(record, Submitted):
            self._sent_at[order.key] = self._terms_at[order.key] = at
        elif not order.is_open:
            self._sent_at.pop(order.key, None)
            self._terms_at.pop(order.key, None)
        elif isinstance(record, Amended | Adopted):
            self._terms_at[order.key] = at
        if not order.is_open:
            self._ended_at[order.key] = at
            if len(self._ended_at) > ENDED_KEPT:
                del self._ended_at[next(iter(self._ended_at))]
        self._on_change(order, change.fill is not None)
        self._count(record, is_external=order.is_external)
        if isinstance(record, Adopted):
            if order.strategy:
                log.info("order found", id=order.order_id, symbol=order.symbol, what=order.reason)
            else:
                log.warning("order adopted", id=order.order_id, symbol=order.symbol, strategy="external")
        base, _, quote = order.symbol.partition("/")
        self._balances_changed.update((base, quote))
        if self._history is not None:
            self._history.put(order, change.fill)

    def _tell(self, outbox: ReportOutbox, change: Change, received_at: int) -> None:
        order = change.order
        if change.fill is None:
            outbox.send(self._report_of(order))
        else:
            outbox.send(self._position_report(order.strategy, order.symbol))
            outbox.send(self._report_of(order))
            outbox.send(_fill_report(order, change.fill, MonoNs(received_at)))
        outbox.flush_first()

    def _measure(self, record: Record, change: Change, at: MonoNs) -> None:
        if self._on_took is None:
            return
        match record:
            case Acknowledged():
                step = "acknowledged"
            case Ended(state=OrderState.FILLED.value):
                step = "filled"
            case _:
                return
        order = change.order
        if (sent_at := self._sent_at.get(order.key)) is not None:
            self._on_took(f"{step}_by_{order.route}", at - sent_at)

    def sent_at(self, key: str) -> MonoNs | None:
        """When an open order was sent; None when that was in an earlier life of the router,
        or not by us.
        """
        return self._sent_at.get(key)

    def age_ns(self, order: TrackedOrder) -> int:
        """Nanoseconds since an open order was sent, found or last amended, however the wall
        clock was set in this process's life.
        """
        at = self._terms_at.get(order.key)
        return self._now.mono - at if at is not None else self._now.mono + self._wall_ahead_ns - order.aged_from

    def terms_known_since(self, key: str) -> MonoNs:
        """When the present terms of an open order were learned; the start of this process
        for terms that an earlier one learned.
        """
        return self._terms_at.get(key, self._began_at)

    def retry_journal(self) -> None:
        """If the journal could not be written, try again: append the queued records or, if
        there were too many to queue, begin a new segment, whose snapshot includes them.
        """
        if not self._is_failing:
            return
        if self._unrecorded:
            if self._now.mono >= self._segment_at:
                self.begin_segment()
        elif self._unwritten:
            self.write_facts(())
        else:
            # Orders alone found it so, and were refused. Only a write shows that it can be
            # written again: this one says what holds anyway.
            blotter = self.blotter
            self.commit([DayBegan(blotter.day, dict(blotter.day_totals), self._now.wall, dict(blotter.day_marks))])

    def compact_journal(self) -> None:
        """Start a new journal segment if the current one has reached its length; after an
        error not before SEGMENT_RETRY_NS have passed.
        """
        if self._journal.wants_compaction and self._now.mono >= self._segment_at:
            self.begin_segment()

    def begin_segment(self) -> None:
        """Start a new journal segment, also with the records that the current one did not
        take. An error is logged.
        """
        try:
            counts = {name: self.counts[name] for name in RECOUNTED}
            snapshot = msgspec.structs.replace(self.blotter.snapshot(self._now.wall), counts=counts)
            self._journal.compact(snapshot, self._unwritten)
        except JournalError as error:
            self._segment_at = MonoNs(self._now.mono + SEGMENT_RETRY_NS)
            log.error("journal not compacted", error=str(error))
        else:
            if self._unrecorded:
                log.warning("facts are in the journal's snapshot alone", facts=self._unrecorded)
            self._unwritten.clear()
            self._unrecorded = 0
            self._wrote(0)

    def _failed(self, facts: Sequence[Record], error: str) -> None:
        self.counts["journal_errors"] += 1
        if len(self._unwritten) < UNWRITTEN_MAX:
            self._unwritten.extend(facts)
        else:
            self._unrecorded += len(facts)
        if not self._is_failing:
            self._is_failing = True
            log.critical("the journal cannot be written, no order is taken", error=error)
            self._on_journal(error)

    def recount(self, records: Sequence[Record]) -> None:
        """Add to the counts what earlier routers of this run wrote. The blotter has
        forgotten the owners of orders that ended long ago; these count as ours.
        """
        for record in records:
            if isinstance(record, Snapshot):
                for name in RECOUNTED:
                    self.counts[name] += record.counts.get(name, 0)
                continue
            self.counts["journal_records"] += 1
            order = self.blotter.get(getattr(record, "key", ""))
            self._count(record, is_external=order is not None and order.is_external)

    def _count(self, record: Record, *, is_external: bool) -> None:
        counts = self.counts
        match record:
            case Submitted(route=route):
                counts["submitted"] += 1
                counts[f"by_{route}"] += 1
            case Acknowledged():
                counts["acknowledged"] += 1
            case Rejected() | Absent():
                counts["rejected"] += 1
            case Filled():
                counts["fills"] += 1
            case Ended(state=state) if not is_external:
                counts[state] += 1
            case Adopted():
                counts["adopted"] += 1

    # --- out

    def refuse(self, strategy: str, orders: Iterable[tuple[str, OrderIntent]], why: Refusal) -> None:
        """Report orders as refused by us. Nothing is journaled, because nothing was sent."""
        outbox = self.outboxes.get(strategy)
        for key, intent in orders:
            self.counts["refused"] += 1
            log.debug("order refused", strategy=strategy, id=key, symbol=intent.symbol, reason=why.text)
            if outbox is not None:
                outbox.send(_refusal(key, intent, why, self._now.wall))

    def report(self, order: TrackedOrder | None, why: Refusal | None = None) -> None:
        """Report an order's state to its strategy, with `why` instead of the journaled
        reason if given.
        """
        if order is None or (outbox := self.outboxes.get(order.strategy)) is None:
            return
        report = self._report_of(order)
        if why is not None:
            report = msgspec.structs.replace(report, reason=why.text[:REASON_CHARS_MAX], error=why.kind)
        outbox.send(report)

    def report_unknown(self, strategy: str, key: str) -> None:
        """Report that nothing was sent of an order which the journal does not know: an
        earlier router refused it, and died before the strategy had room for that.
        """
        if (outbox := self.outboxes.get(strategy)) is not None:
            outbox.send(OrderReport(
                key=key, symbol="", side="", state=OrderState.REFUSED, reason=NEVER_SENT.text, error=NEVER_SENT.kind,
                changed_at=self._now.wall,
            ))  # fmt: skip

    def _report_of(self, order: TrackedOrder) -> OrderReport:
        report = order_report(order)
        if order.state.is_open and self.is_amend_waiting(order.key):
            report = msgspec.structs.replace(report, is_busy=True)
        return report

    def everything(self, strategy: str, since: MonoNs | None = None) -> Iterable[Report]:
        """The reports that bring a strategy up to date: its positions, balances, open
        orders, and the last ENDED_TOLD_MAX that ended and all that ended since `since`.

        Orders that ended before this run began are left out: a strategy would take them for
        news.
        """
        for held, symbol, _ in list(self.blotter.positions.items()):
            if held == strategy:
                yield self._position_report(strategy, symbol)
        if strategy in self._balance_callers:
            held_now = self.balances.held(self.blotter.open.values())
            for asset in self.balances.assets():
                yield self._balance(asset, held_now)
        run = self.blotter.run
        ended = [it for it in self.blotter.ended.values() if it.strategy == strategy and it.ended_in_run == run]
        for order in ended[:-ENDED_TOLD_MAX]:
            if since is not None and self._ended_at.get(order.key, MonoNs(0)) >= since:
                yield self._report_of(order)
        for order in ended[-ENDED_TOLD_MAX:]:
            yield self._report_of(order)
        for order in self.blotter.open_of(strategy):
            yield self._report_of(order)

    def report_position(self, strategy: str, symbol: str) -> None:
        """Report a position to its strategy."""
        if (outbox := self.outboxes.get(strategy)) is not None:
            outbox.send(self._position_report(strategy, symbol))

    def tell_fills_again(self) -> None:
        """Report the fills of this run again that strategies may have missed: the last
        router may have died between journal and report ring, or with reports held back. A
        strategy drops the fills that it has.
        """
        for strategy, fills in self.blotter.untold.items():
            outbox = self.outboxes.get(strategy)
            for fill in fills if outbox is not None else ():
                order = self.blotter.get(fill.key)
                if outbox is None or order is None:
                    continue
                outbox.send(self._report_of(order))
                outbox.send(_fill_report(order, fill, MonoNs(0)))

    def note_fills_told(self, now: MonoNs) -> None:
        """Journal, at most once a second, the newest fill in each strategy's report ring."""
        if now < self._fills_told_at or self._is_failing:
            return
        self._fills_told_at = MonoNs(now + FILLS_TOLD_NS)
        for strategy, fills in list(self.blotter.untold.items()):
            outbox = self.outboxes.get(strategy)
            told = fills[-1].exec_id if outbox is None else outbox.fill_told
            if any(fill.exec_id == told for fill in fills):
                self.commit([FillsTold(strategy, told, self._now.wall)])

    def balance_changed(self, *assets: str) -> None:
        """Mark the balances of these assets to be reported."""
        self._balances_changed.update(assets)

    def tell_balances(self, now: MonoNs) -> None:
        """Report the marked balances if they changed, at most every BALANCES_TOLD_NS."""
        if self._balances_changed and now >= self._balances_at:
            self._tell_balances_now(now)

    def tell_all_balances(self, now: MonoNs) -> None:
        """Report the marked balances at once, and that all balances are now known."""
        self._tell_balances_now(now)
        self._balance_board.tell_all()

    def _tell_balances_now(self, now: MonoNs) -> None:
        self._balances_at = MonoNs(now + BALANCES_TOLD_NS)
        held = self.balances.held(self.blotter.open.values())
        known = {asset for asset in self._balances_changed if self.balances.is_known(asset)}
        for asset in sorted(known):
            balance = self._balance(asset, held)
            if self._told_balances.get(asset) != balance:
                self._told_balances[asset] = balance
                # First the board: who is called finds the same there.
                self._balance_board.store(balance)
                for strategy in self._balance_callers:
                    if (outbox := self.outboxes.get(strategy)) is not None:
                        outbox.send(balance)
        self._balances_changed -= known

    def _balance(self, asset: str, held: Mapping[str, Decimal]) -> Balance:
        wallet = self.balances.wallet(asset, held)
        return Balance(asset, wallet.total, wallet.held, wallet.free, wallet.earning)

    def _position_report(self, strategy: str, symbol: str) -> Position:
        state = self.blotter.positions.of(strategy, symbol)
        is_known = self.is_position_known(strategy, symbol)
        return Position(
            symbol, state.qty, state.avg_price, state.realized, state.fees, state.unknown_cost_qty, is_known
        )


def _never(_: str) -> bool:
    return False


def _always(_: str, __: str) -> bool:
    return True


def _fill_report(order: TrackedOrder, fill: Filled, received_at: MonoNs) -> Fill:
    return Fill(
        key=order.key,
        exec_id=fill.exec_id,
        trade_id=fill.trade_id,
        symbol=order.symbol,
        side=order.intent.side,
        qty=units_decimal(fill.qty, fill.qty_decimals),
        price=fill.price,
        cost=fill.cost,
        fees=fill.fees_by_asset(),
        liquidity=fill.liquidity,
        kraken_time=fill.kraken_time,
        received_at=received_at,
    )


def _refusal(key: str, intent: OrderIntent, why: Refusal, at: WallNs) -> OrderReport:
    return OrderReport.of_intent(key, intent, at, state=OrderState.REFUSED, why=why)
