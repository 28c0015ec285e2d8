"""The order router: the only owner of orders, as one actor made of its parts.

    command ring ─► NewOrders, OrderCancels ─► OrderWire (WebSocket), or REST ─► Kraken
    answers ──────► OrderReplies ─┐
    account ring ─► AccountFacts ─┴─► OrderRecords: journal, blotter, report rings

Nothing in here waits: what needs REST (orders in doubt, snapshots to be reconciled) is the `OrderResolver`'s, who comes
back with facts. A strategy that hangs, or leaves its reports lying, is barred, and its orders end as configured. A
record that cannot be read is left behind: it must not take everybody's cancels with it.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Final

import structlog

from engine.clock import Clock
from engine.order_router.cancels import OrderCancels
from engine.order_router.commit import OrderRecords
from engine.order_router.dead_man import DeadMan
from engine.order_router.executions import AccountFacts
from engine.order_router.gate import TradingGate
from engine.order_router.hang_watch import HangWatch
from engine.order_router.market_boards import MarketBoards
from engine.order_router.new_orders import NewOrders
from engine.order_router.replies import OrderReplies
from engine.orders.journal_records import DayBegan, ModeChanged
from engine.orders.life import OrderState
from engine.orders.rings.account_ring import ACCOUNT_FACTS
from engine.orders.rings.commands import COMMANDS, Amend, Cancel, CancelAll, Command, StrategyEnded, Submit, SubmitBatch
from engine.orders.rings.framing import RingRecords
from engine.orders.rings.reports import REASON_CHARS_MAX, Report, TradingStatus
from engine.orders.risk import DailyLoss, Risk, TradingMode
from engine.orders.tracked_order import TrackedOrder
from engine.ring import GatedSubscriber
from engine.telemetry import Rarely
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

RECORDS_PER_CYCLE_MAX: Final = 64
TIMER_NS: Final = 20 * NS_PER_MS  # the finest that anything in here waits for
ENDED_TOLD_NS: Final = 600 * NS_PER_S  # how long ago an order may have ended that a new router tells of
BEHIND_MARGIN_NS: Final = 10 * NS_PER_S  # before it was noticed that a strategy leaves its reports lying
LOSS_CHECK_NS: Final = NS_PER_S
FILLS_CHECK_NS: Final = 2 * NS_PER_S
FILLS_CHECKED_MAX: Final = 200  # orders that are over: fills come late by seconds, not by hundreds of orders

BEHIND: Final = "the strategy does not take its reports; orders are refused until it has"

log = structlog.get_logger("order_router")


class OrderRouter:
    """Orders from the command ring to Kraken and back."""

    def __init__(
        self,
        *,
        records: OrderRecords,
        gate: TradingGate,
        boards: MarketBoards,
        entry: NewOrders,
        cancels: OrderCancels,
        answers: OrderReplies,
        facts: AccountFacts,
        dead_man: DeadMan,
        risk: Risk,
        daily_loss: DailyLoss,
        commands: GatedSubscriber,
        account: GatedSubscriber,
        clock: Clock,
        settle: Callable[[str], None],
        look_up: Callable[[TrackedOrder], None],
        cancels_on_halt: bool,
        hangs: HangWatch | None = None,
    ) -> None:
        """`hangs`: None for a router whose strategies are looked after by nobody.

        `settle` and `look_up` have Kraken asked how an order stands, or whether there is one."""
        self.records = records
        self.blotter = records.blotter
        self.gate = gate
        self._boards = boards
        self.entry = entry
        self.cancels = cancels
        self.answers = answers
        self.facts = facts
        self.dead_man = dead_man
        self.risk = risk
        self._daily_loss = daily_loss
        self._commands = commands
        self._account = account
        self._command_records = RingRecords(COMMANDS, "commands")
        self._account_records = RingRecords(ACCOUNT_FACTS, "account")
        self._mono_ns = clock.mono_ns
        self._wall_ns = clock.wall_ns
        self._settle = settle
        self._look_up = look_up
        self._cancels_on_halt = cancels_on_halt
        # Called when a person resumes.
        self.on_resume: Callable[[], None] = _nothing
        self.rescues = 0
        self.commands_taken = 0
        # Records of both rings that could not be read, and how many of the account's have been made good.
        self._unreadable_seen = 0
        self._facts_asked_for = 0
        self._timer_at = MonoNs(0)
        self._loss_at = MonoNs(0)
        # Held pairs that this run does not follow; and the line that a loss is not known.
        self._at_cost: list[str] = []
        self._loss_unknown = Rarely()
        self._fills_at = MonoNs(0)
        self._hangs = hangs
        # Strategies that hang, and how; those that leave their reports lying, and since when.
        self.hanging: dict[str, str] = {}
        self._behind: dict[str, WallNs] = {}

    # --- the duty cycle

    def do_work(self) -> int:
        """Take what the rings hold, then what time has brought; the number of records taken."""
        now = self._mono_ns()
        facts = self._account.poll_many(RECORDS_PER_CYCLE_MAX)
        for fact in self._account_records.read_all(facts):
            self.facts.take(fact)
        commands = self._commands.poll_many(RECORDS_PER_CYCLE_MAX)
        for command in self._command_records.read_all(commands):
            self._take(command)
        if self._account_records.unreadable + self._command_records.unreadable != self._unreadable_seen:
            self._note_unreadable()
        if facts:
            self.gate.tell()
        if now >= self._timer_at:
            self._timer_at = MonoNs(now + TIMER_NS)
            self._on_time(now)
        self.flush()
        return len(facts) + len(commands)

    def ready(self) -> bool:
        """Is there a record to take?"""
        return self._commands.ready() or self._account.ready()

    def next_timer(self) -> MonoNs:
        """When time is to be looked at again."""
        return self._timer_at

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Be given what calls for another turn; the timer is fine enough for what comes from REST."""

    def count(self) -> None:
        """The process brings the shared counters up to date; nothing to do here."""

    def flush(self) -> None:
        """The strategies may look."""
        for line in self.records.lines.values():
            line.flush()

    def begin(self) -> None:
        """After the journal was read: what was under way when the last router ended is in doubt."""
        # A halt outlives the router that was told of it; only a person resumes.
        if self.blotter.mode == TradingMode.HALTED.name:
            self.risk.halt(self.blotter.mode_reason)
        elif self.blotter.mode == TradingMode.REDUCING.name:
            self.risk.reduce(self.blotter.mode_reason)
        for order in list(self.blotter.open.values()):
            if order.state in (OrderState.SENT, OrderState.UNKNOWN):
                self._look_up(order)
                self.answers.doubt(order.key, "the order router was started anew")
            elif order.pending == "amend":
                self._settle(order.key)
        self.cancels.resume()
        for line in self.records.lines.values():
            for report in self.everything(line.strategy, WallNs(self._wall_ns() - ENDED_TOLD_NS)):
                line.send(report)
        self.records.tell_fills_again()
        self.gate.tell()

    def everything(self, strategy: str, since: WallNs) -> Iterable[Report]:
        """All there is to say to a strategy: what is open, and what ended since then."""
        yield self.gate.report
        yield from self.records.everything(strategy, since)

    def _take(self, command: Command) -> None:
        self.commands_taken += 1
        match command:
            case Submit(strategy, key, intent, issued_at, tick_at):
                self.entry.submit(strategy, ((key, intent),), issued_at, tick_at)
            case SubmitBatch(strategy, orders, issued_at, tick_at):
                self.entry.submit(strategy, tuple(orders), issued_at, tick_at)
            case Amend():
                self.entry.amend(command)
            case Cancel(_, keys):
                for key in keys:
                    self._want_cancel(key)
                self._send_cancels()
            case CancelAll(strategy, symbol):
                self.cancel_all_of(strategy, symbol)
            case StrategyEnded(strategy, reason):
                self._end_strategy(strategy, reason)

    def _note_unreadable(self) -> None:
        """What the account's ring did not tell is asked of Kraken: any open order may be the one that it was about."""
        self._unreadable_seen = self._account_records.unreadable + self._command_records.unreadable
        self.records.counts["records_unreadable"] = self._unreadable_seen
        if self._account_records.unreadable == self._facts_asked_for:
            return
        self._facts_asked_for = self._account_records.unreadable
        for order in self.own_open:
            if order.order_id:
                self._settle(order.key)

    # --- cancels

    @property
    def own_open(self) -> list[TrackedOrder]:
        """Open orders of our strategies."""
        return [order for order in self.blotter.open.values() if not order.is_external]

    def cancel_all_of(self, strategy: str | None, symbol: str = "") -> int:
        """Want the end of a strategy's open orders, or (None) of all that are ours; how many there are."""
        self.entry.drop_all(strategy, symbol)
        keys = [
            order.key
            for order in self.own_open
            if (strategy is None or order.strategy == strategy) and (not symbol or order.symbol == symbol)
        ]
        for key in keys:
            self.cancels.want(key)
        self._send_cancels()
        return len(keys)

    def cancel_by_id(self, name: str) -> bool:
        """Want the end of one order, by the engine's id or Kraken's; False when there is none open."""
        order = self.blotter.open.get(name) or self.blotter.find(order_id=name)
        if order is None or not order.is_open:
            return self.entry.drop(name)
        self.cancels.want(order.key)
        self._send_cancels()
        return True

    def _want_cancel(self, key: str) -> None:
        if key in self.blotter.open:
            self.cancels.want(key)
        elif not self.entry.drop(key):
            self.records.report(self.blotter.get(key))

    def _send_cancels(self) -> None:
        self.cancels.send(self._mono_ns(), is_maintenance=self.gate.venue_status == "maintenance")

    def _end_strategy(self, strategy: str, reason: str) -> None:
        self.entry.barred[strategy] = f"the strategy was halted: {reason}"
        log.error("strategy ended", strategy=strategy, reason=reason)
        if self._cancels_on_halt:
            self.cancel_all_of(strategy)

    # --- the mode

    def halt(self, reason: str) -> int:
        """Take no more orders, and end those that are open; how many there are."""
        self.risk.halt(reason)
        self._keep_mode()
        return self.cancel_all_of(None)

    def reduce(self, reason: str) -> None:
        """Take only what makes positions smaller."""
        self.risk.reduce(reason)
        self._keep_mode()

    def resume(self) -> None:
        """A person wants it to go on: what only a person could mend is asked for again."""
        self.on_resume()
        self.risk.resume()
        self._keep_mode()

    def shut(self, reason: str) -> None:
        """Take no orders for a reason of our own; empty ends it."""
        self.gate.shut_reason = reason
        self.gate.tell()

    def on_journal(self, error: str) -> None:
        """The journal cannot be written, or (empty) can be again: then a person resumes."""
        self.gate.journal_reason = f"the journal cannot be written: {error}" if error else ""
        if error:
            self.risk.halt(self.gate.journal_reason)
        self.gate.tell()

    def _keep_mode(self) -> None:
        self.records.commit([ModeChanged(self.risk.mode.name, self.risk.mode_reason, self._wall_ns())])
        self.gate.tell()

    # --- time

    def _on_time(self, now: MonoNs) -> None:
        self.facts.watch(now)
        self._send_cancels()
        self.entry.send_queued(now)
        self._watch_hangs(now)
        if not self.gate.shut_reason and not self._is_left_alone():
            self.dead_man.refresh(now)
        self._watch_strategies()
        self._watch_fills(now)
        self._watch_loss(now)
        self.records.report_balances(now)
        self.records.note_fills_told(now)
        self.records.retry_journal()
        if not self.entry.is_busy:
            self.records.compact_journal()
        self.gate.tell()

    def _watch_hangs(self, now: MonoNs) -> None:
        """A strategy that hangs sends nothing new and its orders end as configured, until its callback has returned."""
        if self._hangs is None:
            return
        found = self._hangs.look(now)
        for strategy, why in found.items():
            if strategy not in self.hanging:
                if not self._hangs.has_begun() and not self._has_traded(strategy):
                    continue  # a long on_start: what an earlier run left open stays as that run left it
                self._begin_hang(strategy, why)
            self.entry.barred.setdefault(strategy, self.hanging[strategy])
            # Orders may turn up while it hangs: closing orders of its fills, or what was in doubt.
            if self._cancels_on_halt and any(not order.cancel_wanted for order in self.blotter.open_of(strategy)):
                self.cancel_all_of(strategy)
        for strategy in [strategy for strategy in self.hanging if strategy not in found]:
            why = self.hanging.pop(strategy)
            if self.entry.barred.get(strategy) == why:
                del self.entry.barred[strategy]
            log.info("strategy is back", strategy=strategy)
            self.records.lines[strategy].send(self.gate.report)

    def _begin_hang(self, strategy: str, why: str) -> None:
        self.hanging[strategy] = f"{why}; no orders are taken from {strategy} until it has"
        ends = "canceled" if self._cancels_on_halt else "kept"
        log.error("strategy hangs", strategy=strategy, reason=why, its_orders=ends)
        # Found behind whatever it hangs in: first why, then what became of its orders, then that trading is open again.
        closed = TradingStatus(self.risk.mode.value, False, self.hanging[strategy][:REASON_CHARS_MAX])
        self.records.lines[strategy].send(closed)
        if self._cancels_on_halt:
            self.cancel_all_of(strategy)

    def _has_traded(self, strategy: str) -> bool:
        """Has it an order open that it sent in this run?"""
        began_at = self.blotter.run_began_at
        return any(order.submitted_at >= began_at for order in self.blotter.open_of(strategy))

    def _is_left_alone(self) -> bool:
        """Do all strategies hang, with orders that should have been canceled and still are open?

        Then nobody speaks for them to Kraken: its dead man's switch ends what our cancels did not.
        """
        return self._cancels_on_halt and len(self.hanging) == len(self.records.lines) and bool(self.own_open)

    def _watch_strategies(self) -> None:
        """A strategy that leaves its reports lying sends nothing new, and its orders end as configured."""
        now = self._wall_ns()
        for strategy, line in self.records.lines.items():
            if line.is_behind:
                since = WallNs(self._behind.get(strategy, now) - BEHIND_MARGIN_NS)
                line.catch_up(lambda strategy=strategy, since=since: self.everything(strategy, since))  # type: ignore[misc]
            if line.is_behind:
                self.entry.barred.setdefault(strategy, BEHIND)
            if line.is_behind and strategy not in self._behind:
                self._behind[strategy] = now
                log.error("strategy does not take its reports", strategy=strategy)
                if self._cancels_on_halt:
                    self.cancel_all_of(strategy)
            elif not line.is_behind and strategy in self._behind:
                del self._behind[strategy]
                if self.entry.barred.get(strategy) == BEHIND:
                    del self.entry.barred[strategy]
                log.info("strategy takes its reports again", strategy=strategy)

    def _watch_fills(self, now: MonoNs) -> None:
        """Ask for fills that Kraken has counted and that did not come."""
        if now < self._fills_at:
            return
        self._fills_at = MonoNs(now + FILLS_CHECK_NS)
        newest = islice(reversed(self.blotter.ended.values()), FILLS_CHECKED_MAX)
        for order in (*self.blotter.open.values(), *newest):
            if order.fills_missing and order.order_id and not order.is_external:
                self._settle(order.key)

    def _watch_loss(self, now: MonoNs) -> None:
        if now < self._loss_at:
            return
        self._loss_at = MonoNs(now + LOSS_CHECK_NS)
        marks = {symbol: mark for symbol in self._boards.symbols if (mark := self._boards.mark(symbol)) is not None}
        if not self._is_loss_known(marks, now):
            return
        totals, at = self.blotter.positions.totals(marks), self._wall_ns()
        if self._daily_loss.begins(at):
            self._daily_loss.begin(totals, at)
            self.records.commit([DayBegan(self._daily_loss.day, totals, at)])
        why = self._daily_loss.refusal(totals)
        if why is not None and self.risk.mode is not TradingMode.HALTED:
            log.critical("trading halted", reason=why)
            self.halt(why)

    def _is_loss_known(self, marks: Mapping[str, Decimal], now: MonoNs) -> bool:
        """Has all that is held a price? Without that of a pair that is followed, a loss would only seem one.

        One that is not followed in this run will have none, and cannot be traded: it counts at cost, and that is said.
        """
        unpriced = self.blotter.positions.unpriced(marks)
        if awaited := [symbol for symbol in unpriced if symbol in self._boards.symbols]:
            if self._daily_loss.is_limited and self._loss_unknown.is_time(now):
                log.warning("the day's loss is not known", reason=f"no price yet of {', '.join(awaited)}")
            return False
        if unpriced and not self._at_cost:
            log.warning("positions count at cost for the day's loss", symbols=unpriced,
                        reason="these pairs are not followed")  # fmt: skip
        self._at_cost = unpriced
        return True


def _nothing() -> None:
    pass
