"""The order core: the only owner of orders. Pure: inputs are calls, outputs go through
ports.

    commands ─► NewOrders, OrderCancels ─► WebSocketRoute, or RestRoute behind it ─► Kraken
    replies ──► OrderReplies ─┐
    executions ► AccountFacts ┴─► OrderRecords: journal, blotter, report outboxes
    time ─────► whatever is due: cancels, queued orders, tokens, questions to REST, the dead man's switch

Nothing here waits. No two parts hold each other: a part that needs one built later goes
through the core. A strategy that hangs, or does not read its reports, may send no new
orders, and its open orders are canceled if so configured.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import structlog

from engine.kraken.connection.breaker import Breaker
from engine.kraken.private.events import Answer, TradingEvent
from engine.kraken_rest.pair_names import PairNames
from engine.kraken_rest.tokens import NoToken, TokenSource
from engine.order_router.core.brackets import Brackets
from engine.order_router.core.cancels import OrderCancels
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.dead_man import DeadMan
from engine.order_router.core.degraded import Degraded
from engine.order_router.core.executions import AccountFacts
from engine.order_router.core.gate import JOURNAL_FAILS, TradingGate
from engine.order_router.core.hang_watch import HangWatch
from engine.order_router.core.holdings import Holdings
from engine.order_router.core.lookup.closing_orders import ClosingOrderSearch
from engine.order_router.core.lookup.open_orders_check import OpenOrdersCheck
from engine.order_router.core.lookup.questions import OrderQuestions
from engine.order_router.core.lookup.resolver import OrderResolver
from engine.order_router.core.new_orders import NewOrders, Waiting
from engine.order_router.core.plain_orders import PlainOrders, PortablePlainOrders, quickest
from engine.order_router.core.ports import Ports
from engine.order_router.core.replies import OrderReplies
from engine.order_router.core.report_outbox import ReportOutbox
from engine.order_router.core.rest_route import RestRoute
from engine.order_router.core.settings import CoreSettings
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter
from engine.orders.journal_records import CostTold, ModeChanged, Record
from engine.orders.life import OrderState
from engine.orders.loss.loss_watch import LossWatch
from engine.orders.money import multiply, subtract
from engine.orders.pending_queue import PendingQueue
from engine.orders.quick_check import QuickCheck
from engine.orders.rate_counter import STARTER, TIERS, RateCounters
from engine.orders.rings.commands import (
    Amend,
    Cancel,
    CancelAll,
    Command,
    StatusRequest,
    StrategyEnded,
    Submit,
    SubmitBatch,
)
from engine.orders.rings.reports import (
    REASON_CHARS_MAX,
    Position,
    Report,
    ResyncBegan,
    ResyncEnded,
    TradingStatus,
)
from engine.orders.risk import Risk, TradingMode
from engine.orders.tracked_order import TrackedOrder
from engine.orders.venue_facts import AccountFact, ExecutionFact, SnapshotEnded
from engine.secret import Secret
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

TIMER_NS: Final = 20 * NS_PER_MS  # the shortest time that anything waits for that an input has begun
BEHIND_MARGIN_NS: Final = 10 * NS_PER_S  # before a strategy was seen not to read its reports
STRAYS_CHECK_NS: Final = 200 * NS_PER_MS
FILLS_CHECK_NS: Final = 2 * NS_PER_S
TOKEN_RETRY_NS: Final = 250 * NS_PER_MS  # for the trading connection, after no token was to be had

BEHIND: Final = "the strategy does not take its reports; orders are refused until it has"

log = structlog.get_logger("order_router")


def build(
    settings: CoreSettings,
    ports: Ports,
    blotter: Blotter,
    *,
    written_in_run: Sequence[Record] = (),
    unwritten: Sequence[Record] = (),
) -> "OrderCore":
    """Build the core over the orders that its journal folded to. Call `begin` once the
    shell can carry its calls out.

    `written_in_run` are the records that earlier routers of this run wrote; `unwritten` are
    facts that the journal has not taken yet.
    """
    core = OrderCore(settings, ports, blotter)
    core.records.recount(written_in_run)
    if unwritten:
        core.records.write_facts(unwritten)
    return core


class OrderCore:
    """Takes orders from the strategies' commands to Kraken and back. The shell sets
    `ports.now` before each call.
    """

    def __init__(self, settings: CoreSettings, ports: Ports, blotter: Blotter) -> None:
        """Use `build` instead."""
        now = self._now = ports.now
        self._cancels_on_halt = settings.cancels_on_halt
        self._session = ports.session
        self._socket = ports.socket
        self._boards = ports.boards
        self.calls = ports.calls
        self.blotter = blotter
        self.risk = Risk(settings.limits)
        is_tier_fixed = settings.tier != "auto"
        if is_tier_fixed:
            ports.calls.set_tier(settings.tier)
        # Until Kraken tells the tier it is the one that it told last, noted with the key.
        tier = TIERS.get(ports.calls.counter.tier, STARTER)
        self.rates = RateCounters(tier, settings.cancel_reserve_percent)
        self.breakers = {
            name: Breaker(settings.breaker_failures, settings.breaker_open_ns) for name in ("websocket", "rest")
        }
        outboxes = {strategy: ReportOutbox(strategy, port) for strategy, port in ports.reports.items()}
        self.quick_check = QuickCheck(self.risk, blotter.positions, ports.boards.best)
        self.quick_check.begin(blotter.open.values())
        self.gate = TradingGate(self.risk, self._tell_all)
        self.records = OrderRecords(
            blotter, ports.journal, outboxes, Balances(), ports.balances, now, ports.history,
            balance_callers=settings.balance_callers, on_journal=self._on_journal,
            on_change=self.quick_check.changed, on_took=ports.on_took,
        )  # fmt: skip
        kraken = ports.calls.kraken_time
        self.loss = LossWatch(
            settings.limits.daily_loss_max, blotter, ports.boards, now, kraken, commit=self.records.commit,
            halt=self.halt,
        )  # fmt: skip
        names = PairNames(ports.calls, now, ports.chance)
        self.tokens = TokenSource(ports.calls, now, ports.chance, refresh_ns=settings.token_refresh_ns)
        websocket = WebSocketRoute(ports.session, ports.socket, now)
        rest = RestRoute(
            ports.calls, names, self.breakers["rest"], self.rates, now, answered=self._on_rest_answer,
            cancel_sent=self._on_cancel_by_rest, settle=self.settle,
        )  # fmt: skip
        self.cancels = OrderCancels(self.records, websocket, self.rates, rest, now, kraken)
        self.dead_man = DeadMan(
            settings.dead_man_s, settings.dead_man_refresh_ns, websocket, rest.arm_dead_man, now, ports.chance
        )
        self.replies = OrderReplies(
            self.records, self.gate, self.cancels, self.dead_man, self.rates, self.breakers["websocket"], self, now,
            kraken, on_acknowledged=ports.on_acknowledged, on_token_refused=self._on_token_refused,
        )  # fmt: skip
        self.account = AccountFacts(
            self.records, self.gate, ports.boards, websocket, self.cancels, self.rates, self.risk, self, now, kraken,
            lag_ns_max=settings.rest_lag_ns_max, is_tier_fixed=is_tier_fixed, on_tier=ports.calls.set_tier,
        )  # fmt: skip
        questions = OrderQuestions(
            blotter, self.account, now, kraken, life_ns=settings.new_orders.deadline_ns,
            lag_ns_max=settings.rest_lag_ns_max,
        )  # fmt: skip
        closing_orders = ClosingOrderSearch(blotter, self.account.adopt, now, lag_ns_max=settings.rest_lag_ns_max)
        self.holdings = Holdings(
            settings.holders, records=self.records, gate=self.gate, account=self.account, loss=self.loss, now=now,
            moved=self.quick_check.moved, given_up=closing_orders.given_up,
        )  # fmt: skip
        self.open_orders_check = OpenOrdersCheck(
            self.account.compare_open, lambda: self.account.unbroken_since is not None, now,
            interval_ns=settings.open_orders_check_ns,
        )  # fmt: skip
        checks = (closing_orders, self.open_orders_check)
        self._resolver = OrderResolver(questions, checks, ports.calls, names, now, ports.chance)
        self.degraded = Degraded(
            settings.degraded, gate=self.gate, account=self.account, records=self.records, risk=self.risk,
            questions=questions, names=names, calls=ports.calls, tokens=self.tokens, session=ports.session,
            socket=ports.socket, now=now, chance=ports.chance,
        )  # fmt: skip
        self.new_orders = NewOrders(
            settings.new_orders,
            records=self.records,
            gate=self.gate,
            boards=ports.boards,
            websocket=websocket,
            rest=rest,
            risk=self.risk,
            quick_check=self.quick_check,
            rates=self.rates,
            queue=PendingQueue[Waiting](settings.queue_orders_max),
            breaker=self.breakers["websocket"],
            now=now,
            kraken=kraken,
            on_sent=ports.on_sent,
        )
        self.plain_orders: PlainOrders = quickest(
            PortablePlainOrders(
                self.new_orders, ports=ports, records=self.records, gate=self.gate, quick_check=self.quick_check,
                risk=self.risk, rates=self.rates, breaker=self.breakers["websocket"], kraken=kraken,
            )
        )  # fmt: skip
        self.brackets = Brackets(
            records=self.records, gate=self.gate, boards=ports.boards, account=self.account, risk=self.risk,
            cancels=self.cancels, new_orders=self.new_orders, given_up=closing_orders.given_up,
            rest_lag_ns_max=settings.rest_lag_ns_max, now=now,
        )  # fmt: skip
        self._hangs = None if ports.words is None else HangWatch(ports.words, list(outboxes), settings.hang_ns_max)
        self.commands_taken = 0
        self._fills_at = MonoNs(0)
        # Strategies that hang, each with how; strategies that do not read their reports,
        # and since when.
        self.hanging: dict[str, str] = {}
        self._behind: dict[str, MonoNs] = {}
        # Strategies that have ended, and whether trading was halted in this run, which ends
        # all orders; one that begins halted leaves to a person what it finds open.
        self._ended: set[str] = set()
        self._ends_all = blotter.mode == TradingMode.HALTED.name and blotter.mode_run == blotter.run
        self._strays_at = MonoNs(0)
        # The trading session's connections so far, and when it may ask for a token again;
        # no time while it waits for one.
        self._openings = 0
        self._token_at = MonoNs(0)
        self._is_token_awaited = False

    # --- inputs

    def begin(self) -> None:
        """Start after the journal was read: requests that were under way when the last
        router ended are in doubt.
        """
        # A halt outlasts the router that took it; only a person resumes trading.
        if self.blotter.mode == TradingMode.HALTED.name:
            self.risk.halt(self.blotter.mode_reason)
        elif self.blotter.mode == TradingMode.REDUCING.name:
            self.risk.reduce(self.blotter.mode_reason)
        for order in list(self.blotter.open.values()):
            if order.state in (OrderState.SENT, OrderState.UNKNOWN):
                self.look_up(order.key, order.deadline)
                self.replies.doubt(order.key, "the order router was started anew")
            elif order.pending == "amend":
                self.settle(order.key)
        self.cancels.resume()
        self.new_orders.resume()
        outboxes = self.records.outboxes.values()
        for outbox in outboxes:
            outbox.send(ResyncBegan())
            for report in self.everything(outbox.strategy):
                outbox.send(report)
        self.records.tell_fills_again()
        self.gate.tell()
        for outbox in outboxes:
            outbox.send(ResyncEnded())

    def everything(self, strategy: str, since: MonoNs | None = None) -> Iterable[Report]:
        """The reports that bring a strategy up to date: open orders, and those that ended,
        all since `since` and some before.
        """
        yield from self.records.everything(strategy, since)
        yield from (Position(symbol, is_known=False) for who, symbol in self.holdings.waiting if who == strategy)
        # The last: with the first word on trading, all positions are known that can be.
        yield self.gate.report

    def take_command(self, command: Command) -> None:
        """Take one record of the command ring."""
        self.commands_taken += 1
        match command:
            case Submit(strategy, key, intent, issued_at, tick_at):
                self.new_orders.submit(strategy, ((key, intent),), issued_at, tick_at)
            case SubmitBatch(strategy, orders, issued_at, tick_at):
                self.new_orders.submit(strategy, tuple(orders), issued_at, tick_at)
            case Amend():
                self.new_orders.amend(command)
            case Cancel(strategy, keys):
                for key in keys:
                    self._want_cancel(strategy, key)
                self._send_cancels()
            case StatusRequest(strategy, keys):
                for key in keys:
                    self._report_status(strategy, key)
            case CancelAll(strategy, symbol):
                self.cancel_all_of(strategy, symbol)
            case StrategyEnded(strategy, reason):
                self._end_strategy(strategy, reason)

    def take_fact(self, fact: AccountFact) -> None:
        """Take one record of the account ring; call `end_facts` behind the last."""
        if isinstance(fact, ExecutionFact):
            self.records.begin_burst()
        else:
            self.records.end_burst()
        self.account.take(fact)
        self.holdings.saw(fact)
        if isinstance(fact, SnapshotEnded):
            self.holdings.look()

    def end_facts(self) -> None:
        """Do what could wait until all strategies know what these facts mean for them."""
        self.records.end_burst()

    def on_unreadable(self, records: int, *, of_account: bool) -> None:
        """Note that `records` records of a ring could not be decoded and were skipped.

        Those of the account ring may concern any open order, so Kraken is asked about all
        of them.
        """
        self.records.counts["records_unreadable"] += records
        if of_account:
            for order in self.own_open:
                if order.order_id:
                    self.settle(order.key)

    def on_trading_events(self, events: Sequence[TradingEvent]) -> None:
        """Take the trading session's events: of a frame, of time, or of the end of its
        connection.
        """
        self.replies.on_events(events)

    def end_burst(self) -> None:
        """End a burst of frames: send what waited for it, report whether orders are taken,
        and publish the reports.
        """
        if self.new_orders.waiting_amends:
            self.new_orders.send_amends(self._now.mono)
        self.brackets.look()
        self.gate.tell()
        self.flush()

    def flush(self) -> None:
        """Make the reports sent so far visible to the strategies."""
        for outbox in self.records.outboxes.values():
            outbox.flush()

    def on_time(self) -> None:
        """Do what is due. Call it every TIMER_NS after an input and while `looks_often`;
        else what waits for seconds, and strategies that hang, are looked after less often.
        """
        now = self._now.mono
        self._authorise(now)
        self.tokens.ask_due()
        self.account.watch(now)
        self.degraded.on_time(now)
        self.holdings.look()
        self.brackets.look()
        self._send_cancels()
        self.new_orders.send_queued(now)
        self.new_orders.send_amends(now)
        self._watch_hangs(now)
        if self.dead_man.is_over or (not self.gate.shut_reason and not self._is_left_alone()):
            self.dead_man.refresh(now, rests=self._is_guarded)
        self._watch_strategies()
        self._watch_strays(now)
        self._watch_fills(now)
        self.loss.watch(now)
        self._resolver.ask_due()
        self.records.tell_balances(now)
        self.records.note_fills_told(now)
        self.records.retry_journal()
        if not self.new_orders.is_busy:
            self.records.compact_journal()
        self.gate.tell()

    @property
    def looks_often(self) -> bool:
        """True while something here may be due at any moment without an input: targets of
        brackets follow the books, queued orders the rate counters, and the time in which
        orders are not taken, or with limits, is to be short.
        """
        return bool(
            self.blotter.brackets or self.new_orders.queue.size or self.new_orders.waiting_amends
            or not self.gate.is_plainly_open_everywhere
        )  # fmt: skip

    # --- what is in doubt, for the parts that find it so

    def look_up(self, key: str, deadline: WallNs) -> None:
        """Ask Kraken whether it has an order that it does not accept after `deadline`."""
        self._resolver.look_up(key, deadline)

    def settle(self, key: str, not_before: MonoNs | None = None) -> None:
        """Ask Kraken for an order's state, not before `not_before` if given."""
        self._resolver.settle(key, not_before)

    def acknowledged(self, key: str) -> None:
        """Note that Kraken acknowledged an order of which no execution report has come yet."""
        self.account.note_acknowledged(key)

    def reconcile(self, keys: Sequence[str]) -> None:
        """Ask Kraken what became of orders that a snapshot did not list."""
        self._resolver.reconcile(keys)

    # --- cancels

    @property
    def own_open(self) -> list[TrackedOrder]:
        """The open orders of our strategies."""
        return [order for order in self.blotter.open.values() if not order.is_external]

    @property
    def is_authenticated(self) -> bool:
        """Whether the trading connection is up and has a token."""
        return self._session.is_ready

    @property
    def own_to_end(self) -> list[TrackedOrder]:
        """The open orders of our strategies that are canceled when nothing supervises them:
        all but exits of brackets, which protect what is held.
        """
        return [order for order in self.own_open if not self.brackets.is_exit(order)]

    @property
    def _is_guarded(self) -> bool:
        """True while exits of brackets are the only open orders of ours."""
        has_exits = False
        for order in self.blotter.open.values():
            if not order.is_external:
                if not self.brackets.is_exit(order):
                    return False
                has_exits = True
        return has_exits

    def cancel_all_of(self, strategy: str | None, symbol: str = "") -> int:
        """Cancel the open orders of a strategy (None: all of ours), on one pair (empty: on
        all), and end their brackets, because a strategy or a person asked for it. Returns
        the number of orders.
        """
        self.new_orders.drop_all(strategy, symbol)
        orders = [
            order
            for order in self.own_open
            if (strategy is None or order.strategy == strategy) and (not symbol or order.symbol == symbol)
        ]
        self.brackets.end_all(strategy, symbol)
        for order in orders:
            self.cancels.want(order.key)
        self._send_cancels()
        return len(orders)

    def cancel_all_but_exits(self, strategy: str | None) -> int:
        """Cancel the open orders of a strategy (None: all of ours) because nothing
        supervises them, or trading ends; brackets go on. Returns the number of orders.
        """
        self.new_orders.drop_all(strategy, "")
        orders = [order for order in self.own_to_end if strategy is None or order.strategy == strategy]
        for order in orders:
            self.cancels.want(order.key)
        self._send_cancels()
        return len(orders)

    def cancel_by_id(self, name: str) -> bool:
        """Cancel one order, by client order id or Kraken's id; False if none is open under
        it.
        """
        order = self.blotter.open.get(name) or self.blotter.find(order_id=name)
        if order is None or not order.is_open:
            return self.new_orders.drop(name)
        self.brackets.end(order)
        self.cancels.want(order.key)
        self._send_cancels()
        return True

    def _want_cancel(self, strategy: str, key: str) -> None:
        if (order := self.blotter.open.get(key)) is not None:
            self.brackets.end(order)
            self.cancels.want(key)
        elif not self.new_orders.drop(key):
            self._report_status(strategy, key)

    def _report_status(self, strategy: str, key: str) -> None:
        if (order := self.blotter.get(key)) is not None:
            self.records.report(order)
        elif not self.blotter.is_queued(key):
            self.records.report_unknown(strategy, key)

    def _send_cancels(self) -> None:
        self.cancels.send(self._now.mono, is_maintenance=self._session.is_in_maintenance)

    def _end_strategy(self, strategy: str, reason: str) -> None:
        if strategy in self._ended:
            return  # its host tells it again to each router
        self._ended.add(strategy)
        self.new_orders.barred[strategy] = f"the strategy was halted: {reason}"
        log.error("strategy ended", strategy=strategy, reason=reason)
        if self._cancels_on_halt:
            self.cancel_all_but_exits(strategy)

    def _watch_strays(self, now: MonoNs) -> None:
        """Cancel orders that have become open although they are to be canceled, trading is
        halted, or nothing supervises them: conditional closes of the last fills, and orders
        that were in doubt or presumed absent.
        """
        if now < self._strays_at:
            return
        self._strays_at = MonoNs(now + STRAYS_CHECK_NS)
        self.cancels.resume()
        alone = {*self._ended, *self.hanging, *self._behind} if self._cancels_on_halt else ()
        if alone or self._ends_all:
            for order in self.own_to_end:
                if self._ends_all or order.strategy in alone:
                    self.cancels.want(order.key)
        self._send_cancels()

    # --- the mode

    def halt(self, reason: str) -> int:
        """Take no more orders and cancel the open ones but exits of brackets; returns how
        many."""
        self.risk.halt(reason)
        self._ends_all = True
        self._keep_mode()
        return self.cancel_all_but_exits(None)

    def reduce(self, reason: str) -> None:
        """Take only orders that make positions smaller; a halt stays a halt."""
        if self.risk.mode is TradingMode.HALTED:
            return
        self.risk.reduce(reason)
        self._keep_mode()

    def resume(self) -> None:
        """Take orders again, at a person's request. If the day's loss has reached its
        limit, it is counted from zero again. Requests that failed for a reason that only a
        person can mend are retried.
        """
        self.tokens.anew()
        self.dead_man.refresh_anew()
        self._resolver.ask_anew()
        self.degraded.ask_anew()
        self.loss.resume()
        self.risk.resume()
        self._ends_all = False
        self._keep_mode()

    def tell_cost(self, strategy: str, symbol: str, price: Decimal) -> str:
        """Set the cost of the part of a position whose cost is unknown, as a person states
        it. An empty strategy means the one that has such a position. Gains and losses of
        that part so far do not count for the day. Returns why it was not done; empty if it
        was.
        """
        found = [
            (who, state)
            for who, pair, state in self.blotter.positions.items()
            if pair == symbol and state.unknown_cost_qty and strategy in ("", who)
        ]
        if not found:
            return f"no position in {symbol} has a part of unknown cost; `engine positions` lists all"
        if len(found) > 1:
            return f"{' and '.join(who for who, _ in found)} have such a position in {symbol}; name one with --strategy"
        mark = self.loss.price(symbol)
        if mark is None:
            return f"there is no price of {symbol} yet to value it at; try again when its book is live"
        (who, state), at = found[0], self._now.wall
        gain = multiply(subtract(mark, price), state.unknown_cost_qty)
        self.records.commit([CostTold(who, symbol, price, at), self.loss.rebased(symbol, gain)])
        self.records.report_position(who, symbol)
        return ""

    def shut(self, reason: str) -> None:
        """Take no orders, for this reason of our own; an empty reason ends it."""
        self.gate.shut_reason = reason
        self.gate.tell()

    def end(self, reason: str) -> None:
        """Take no orders any more; those that wait to be sent are refused, for nobody will
        send them."""
        self.shut(reason)
        self.new_orders.drop_all(None, "")

    def _on_journal(self, error: str) -> None:
        """Close trading because the journal cannot be written; with an empty `error`, open
        it again. The mode that a person or the day's loss has set stays.
        """
        self.gate.journal_reason = f"{JOURNAL_FAILS}: {error}" if error else ""
        self.gate.tell()

    def _keep_mode(self) -> None:
        self.records.commit([ModeChanged(self.risk.mode.name, self.risk.mode_reason, self._now.wall)])
        self.gate.tell()

    # --- time

    def _authorise(self, now: MonoNs) -> None:
        """Give the trading session a fresh token for each connection, and another if Kraken
        refuses it.
        """
        if self._session.openings != self._openings:
            self._openings = self._session.openings
            self.tokens.reachable_again()
        if self._session.wants_token and not self._is_token_awaited and now >= self._token_at:
            self._is_token_awaited = True
            self.tokens.give(self._take_token)

    def _take_token(self, given: Secret | NoToken) -> None:
        self._is_token_awaited = False
        if isinstance(given, NoToken):
            self._token_at = MonoNs(self._now.mono + TOKEN_RETRY_NS)
            log.warning("no token", reason=str(given))
            return
        self._session.authorise(given.reveal(), self._now.mono)
        self._socket.send_due()

    def _on_token_refused(self, reason: str) -> None:
        if (refused := self.tokens.token) is not None:
            self.tokens.invalidate(refused, f"Kraken refuses the token ({reason})")
        self._authorise(self._now.mono)

    def _on_rest_answer(self, answer: Answer) -> None:
        self.replies.take(answer)

    def _on_cancel_by_rest(self, key: str) -> None:
        self.cancels.note_sent(key)

    def _tell_all(self, report: TradingStatus) -> None:
        for outbox in self.records.outboxes.values():
            outbox.send(report)

    def _watch_hangs(self, now: MonoNs) -> None:
        """Take no new orders of a strategy that hangs, and cancel its orders if so
        configured, until its callback returns.
        """
        if self._hangs is None:
            return
        found = self._hangs.look(now)
        for strategy, why in found.items():
            if strategy not in self.hanging:
                if not self._hangs.has_begun() and not self._has_traded(strategy):
                    continue  # a long on_start: what an earlier run left open stays as that run left it
                self._begin_hang(strategy, why)
            self.new_orders.barred.setdefault(strategy, self.hanging[strategy])
        for strategy in [strategy for strategy in self.hanging if strategy not in found]:
            why = self.hanging.pop(strategy)
            if self.new_orders.barred.get(strategy) == why:
                del self.new_orders.barred[strategy]
            log.info("strategy is back", strategy=strategy)
            self.records.outboxes[strategy].send(self.gate.report)

    def _begin_hang(self, strategy: str, why: str) -> None:
        self.hanging[strategy] = f"{why}; no orders are taken from {strategy} until it has"
        ends = "canceled" if self._cancels_on_halt else "kept"
        log.error("strategy hangs", strategy=strategy, reason=why, its_orders=ends)
        # The strategy reads these when it returns: first the reason, then its orders' ends,
        # then that it may trade.
        closed = TradingStatus(self.risk.mode.value, False, self.hanging[strategy][:REASON_CHARS_MAX])
        self.records.outboxes[strategy].send(closed)
        if self._cancels_on_halt:
            self.cancel_all_but_exits(strategy)

    def _has_traded(self, strategy: str) -> bool:
        """True if the strategy has an open order that it sent in this run."""
        return any(order.sent_in_run == self.blotter.run for order in self.blotter.open_of(strategy))

    def _is_left_alone(self) -> bool:
        """True if all strategies hang and orders that should be canceled are still open.

        Only Kraken's dead man's switch ends these orders then.
        """
        return self._cancels_on_halt and len(self.hanging) == len(self.records.outboxes) and bool(self.own_to_end)

    def _watch_strategies(self) -> None:
        """Take no new orders of a strategy that does not read its reports, and cancel its
        orders if so configured.
        """
        now = self._now.mono
        for strategy, outbox in self.records.outboxes.items():
            if not outbox.is_behind and strategy not in self._behind:
                continue
            if outbox.is_behind:
                since = MonoNs(self._behind.get(strategy, now) - BEHIND_MARGIN_NS)
                outbox.catch_up(lambda strategy=strategy, since=since: self.everything(strategy, since))  # type: ignore[misc]
            if outbox.is_behind:
                self.new_orders.barred.setdefault(strategy, BEHIND)
            if outbox.is_behind and strategy not in self._behind:
                self._behind[strategy] = now
                log.error("strategy does not take its reports", strategy=strategy)
                if self._cancels_on_halt:
                    self.cancel_all_but_exits(strategy)
            elif not outbox.is_behind and strategy in self._behind:
                del self._behind[strategy]
                if self.new_orders.barred.get(strategy) == BEHIND:
                    del self.new_orders.barred[strategy]
                log.info("strategy takes its reports again", strategy=strategy)

    def _watch_fills(self, now: MonoNs) -> None:
        """Ask Kraken for fills that its totals include and that were not received."""
        if now < self._fills_at:
            return
        self._fills_at = MonoNs(now + FILLS_CHECK_NS)
        for order in self.blotter.lacking_fills.values():
            if order.order_id and not order.is_external:
                self.settle(order.key)
