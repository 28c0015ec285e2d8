"""One strategy's orders on the host's side: publishes its commands, reads its reports,
keeps its Order objects.

    Strategy.buy … ─► OrderClient ─► command ring ─► order router
    Strategy.on_order … ◄─ OrderClient ◄─ report ring ◄───┘

The state of an order is what the router's last report of it says; before the first report
it is NEW, asked for. Without rings, in an engine that does not trade, every order is
refused with a reason.

Only the strategy's own thread publishes into the command ring. Orders and amends that are
asked for on another thread, or in a forked process, are refused with a reason; cancels are
handed over to the strategy's thread, since a cancel is never refused. Any thread may read.

A plugin may pass anything as an argument. An impossible order is REFUSED, an impossible
amend leaves its reason on the order, and a call that names no order at all (a cancel of
None) is logged: none of them raises.
"""

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import force_setattr

from engine.clock import Clock
from engine.errors import MisuseError
from engine.market import Pair, v2_symbol
from engine.native import ORDERS
from engine.orders.client_order_id import client_order_ids, id_prefix
from engine.orders.intent import OrderIntent
from engine.orders.life import TERMINAL, OrderState
from engine.orders.refusal import ErrorKind, Refusal, refusal_of
from engine.orders.rings.commands import (
    BATCH_ORDERS_MAX,
    COMMANDS,
    TEXT_CHARS_MAX,
    Amend,
    Cancel,
    CancelAll,
    Command,
    StatusRequest,
    StrategyEnded,
    Submit,
    SubmitBatch,
    pack_plain,
    pack_shape,
)
from engine.orders.rings.framing import RingRecords
from engine.orders.rings.reports import (
    REPORTS,
    Balance,
    Fill,
    OrderReport,
    Position,
    Report,
    ResyncEnded,
    TradingStatus,
)
from engine.orders.tally import Tally
from engine.processes.balance_board import BalanceBoardReader
from engine.ring import GatedSubscriber, Publisher
from engine.strategy.option_rules import did_you_mean, shown
from engine.strategy.order_options import AmendOptions, Amount, OrderOptions, make_amendment, make_intent, plain_limit
from engine.strategy.orders import Order
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs

ENDED_ORDERS_KEPT: Final = 10_000  # for `Context.order` and late news; the history has them all. And as many refused
FILLS_REMEMBERED: Final = 20_000  # ids of fills told; a new router repeats no more than these
TALLIED_ENDS: Final = TERMINAL - {OrderState.REFUSED}  # a refusal is in no record of the venue's
KEYS_PER_COMMAND_MAX: Final = 50
NEWS_KEPT_MAX: Final = 100_000  # orders refused here whose callback is still to be called; beyond it they are counted
MISTAKES_TOLD_MAX: Final = 100  # different ones, of calls that leave no order to tell of
SAME: Final = 1.0  # a symbol is suggested for its own letters in another form: ETC/USD is not BTC/USD

ELSEWHERE = Refusal(
    ErrorKind.ARGUMENT,
    "it was asked for on another thread than the strategy's own; hand it over: "
    "self.context.call_soon(self.buy, ...), or amend, or whatever it is",
)
FORKED = Refusal(
    ErrorKind.NOT_TRADING,
    "it was asked for in another process than the engine's; a process that was forked off cannot trade",
)
ROUTER_BUSY = Refusal(
    ErrorKind.BUSY, "the order router takes no orders at present: its queue is full; try again when on_trading says so"
)
ENGINE_STOPS = Refusal(ErrorKind.NOT_TRADING, "the engine is stopping")
AMEND_REFUSED = "amend refused: "


log = structlog.get_logger("strategy")


class OrderPorts(Struct, frozen=True):
    """The shared memory of one strategy's orders, and the parts of its client order ids."""

    commands: Publisher
    """Shared by all strategies of the host, which run on one thread."""
    reports: GatedSubscriber
    balances: BalanceBoardReader
    """Shared likewise."""
    tag: str
    run: int


class PortablePlainCommands:
    """Writes the plain orders of one strategy: from what `buy` was called with to the
    record of the command ring. A compiled twin does the same.
    """

    def __init__(self, strategy: str, keys: Iterator[str]) -> None:
        """`keys` names the orders; one is taken for each record."""
        self._strategy = strategy
        self._keys = keys
        # By pair and flags: the pair as it was, and the packed shape.
        self._shapes: dict[tuple[str, int], tuple[Pair, bytes]] = {}

    def pack(
        self, pair: Pair, side: Any, qty: Any, options: Any, issued_at: MonoNs, tick_at: MonoNs
    ) -> tuple[bytes, str, PriceTicks, QtyLots] | None:
        """Record, key, ticks and lots of a valid limit order; None, without side effects,
        if it is not a plain order.
        """
        if (read := plain_limit(pair, side, qty, options)) is None:
            return None
        flags, ticks, lots = read
        known = self._shapes.get((pair.symbol, flags))
        if known is None or known[0] is not pair:
            known = self._shapes[pair.symbol, flags] = pair, self.shape_of(pair, flags)
        if not known[1]:
            return None
        key = next(self._keys)
        return pack_plain(known[1], key, ticks, lots, issued_at, tick_at), key, ticks, lots

    def shape_of(self, pair: Pair, flags: int) -> bytes:
        """The constant tail of such an order's record; empty if the layout cannot express
        it.
        """
        return pack_shape(self._strategy, pair, flags)


if TYPE_CHECKING or ORDERS is None:
    PlainCommands = PortablePlainCommands
else:
    PlainCommands = ORDERS.PlainCommands


News = Order | Fill | Balance | TradingStatus


class OrderClient:
    """One strategy's orders, fills, positions and balances."""

    def __init__(
        self, strategy: str, ports: OrderPorts | None, pairs: dict[str, Pair | None], clock: Clock, why_off: str = ""
    ) -> None:
        self._strategy = strategy
        self._ports = ports
        self._pairs = pairs
        # Pairs that the strategy has unsubscribed: their orders may still be open.
        self._former_pairs: dict[str, Pair] = {}
        self._mono_ns = clock.mono_ns
        self._wall_ns = clock.wall_ns
        self._why_off = why_off or "the engine does not trade; see [trading] in the configuration"
        # The names of the orders that will be asked for; no two threads are given the same.
        self._keys = map("off{}".format, count(1)) if ports is None else client_order_ids(ports.tag, ports.run)
        # With this begin the names that are made here.
        self._id_prefix = "off" if ports is None else id_prefix(ports.tag, ports.run)
        # The strategy's own thread (0 before it has one), the engine's process, and what
        # wakes that thread.
        self._thread = 0
        self._pid = os.getpid()
        self._wake: Callable[[], None] = _nothing
        # Calls of other threads that are to run on the strategy's own.
        self._from_elsewhere: deque[Callable[[], None]] = deque()
        # When the frame arrived that the present callback is about; 0 for none.
        self.tick_at = MonoNs(0)
        self._open: dict[str, Order] = {}
        # Orders that were never sent are kept apart: a strategy may cause thousands of
        # them, while a new router reports the others that ended again.
        self._ended: OrderedDict[str, Order] = OrderedDict()
        self._refused: OrderedDict[str, Order] = OrderedDict()
        self._by_order_id: dict[str, Order] = {}
        self.positions: dict[str, Position] = {}
        # Whether the router has reported all positions that are not zero; an engine that
        # does not trade has none.
        self.are_positions_told = ports is None
        self.status = TradingStatus(reason=self._why_off) if ports is None else TradingStatus(reason="starting")
        # Refusals that `next_news` has not returned yet, and the closing of trading before
        # them: the report that opens it again comes later.
        self._news: deque[News] = deque()
        # True if `next_news` returned one of them last.
        self._is_turn_of_reports = False
        # Cancels that found the command ring full; they are sent as soon as there is room.
        self.unsent: list[Command] = []
        self._plain_commands = PlainCommands(strategy, self._keys)
        self._report_records = RingRecords(REPORTS, f"reports of {strategy}")
        # Sentences logged about calls that named no order.
        self._mistakes: set[str] = set()
        # All fills delivered to the strategy, for comparison with the journal and the
        # venue.
        self.fills_told = Tally()
        # Their Kraken ids, the last FILLS_REMEMBERED, each with its order.
        self._fills_known: OrderedDict[str, Order] = OrderedDict()
        self.fills_repeated = 0
        self.ends_told = Tally()
        self.refused = 0  # here: never sent to the router
        # Refusals beyond NEWS_KEPT_MAX, which the orders say and on_order does not; and
        # fills of unknown orders.
        self.untold = 0
        self._ended_because = ""
        # Does the engine stop, so that no order is sent any more? Set by any thread.
        self._is_stopping = False
        # Has the router ended, so that cancels come too late as well?
        self._has_router_ended = False
        self.mistakes = 0  # calls that left nothing to tell of

    def bind(self, wake: Callable[[], None]) -> None:
        """Take orders on the calling thread alone from now on. `wake` makes that thread run
        the calls of other threads.
        """
        self._thread, self._wake = get_ident(), wake

    @property
    def reports_unreadable(self) -> int:
        """The number of records of the report ring that could not be decoded."""
        return self._report_records.unreadable

    def why_not_here(self) -> Refusal | None:
        """Why the calling thread must not send commands; None on the strategy's own thread."""
        if not self._thread:
            return None
        if os.getpid() != self._pid:
            return FORKED
        return None if get_ident() == self._thread else ELSEWHERE

    def _hand_over(self, what: Callable[[], None]) -> bool:
        """Queue a call for the strategy's own thread; False if NEWS_KEPT_MAX calls are
        queued already.
        """
        if len(self._from_elsewhere) >= NEWS_KEPT_MAX:
            return False
        self._from_elsewhere.append(what)
        self._wake()
        return True

    def forget_pair(self, symbol: str) -> None:
        """Refuse new orders on a pair that the strategy has unsubscribed."""
        pair = self._pairs.pop(symbol, None)
        if pair is not None:
            self._former_pairs[symbol] = pair

    def knows(self, symbol: str) -> bool:
        """Whether the strategy follows a pair or has followed it, also in an earlier run
        that left a position or an open order.
        """
        is_named = symbol in self._pairs or symbol in self._former_pairs or symbol in self.positions
        return is_named or any(order.symbol == symbol for order in self.open_orders)

    # --- commands of the strategy

    @property
    def open_orders(self) -> Sequence[Order]:
        return tuple(self._open.values())

    def order(self, order_id: str) -> Order | None:
        return (
            self._open.get(order_id)
            or self._ended.get(order_id)
            or self._refused.get(order_id)
            or self._by_order_id.get(order_id)
        )

    def balance(self, asset: str) -> Balance | None:
        """One asset, as the order router last reported it. None before the first balances;
        all zero for an asset that the account does not hold.
        """
        return None if self._ports is None else self._ports.balances.balance(asset)

    def position(self, symbol: str) -> Position:
        """What the strategy holds of a pair."""
        return self.positions.get(symbol) or Position(symbol, is_known=self.are_positions_told)

    def submit(self, side: str, symbol: str, qty: Amount, options: OrderOptions) -> Order:
        """Send a new order. Returns it as NEW, on its way, or REFUSED with the reason."""
        if why_not := self.why_not_here():
            return self._refuse_elsewhere(symbol, side, options, why_not)
        issued_at, at = self._mono_ns(), self._wall_ns()
        if (sent := self._submit_plainly(side, symbol, qty, options, issued_at, at)) is not None:
            return sent
        intent, why_not = self._intent(side, symbol, qty, options, at)
        order = self._new_order(symbol, side, intent, options, at)
        if intent is not None:
            why_not = self._send_order(Submit(self._strategy, order.id, intent, issued_at, self.tick_at))
        if why_not is not None:
            self._refuse(order, why_not)
        else:
            self._open[order.id] = order
        return order

    def _submit_plainly(
        self, side: Any, symbol: Any, qty: Any, options: Any, issued_at: MonoNs, at: WallNs
    ) -> Order | None:
        """Send a valid limit order in the layout for plain orders. None, without side
        effects, if `submit` must decide.
        """
        if (
            self._ports is None
            or self._ended_because
            or self._is_stopping
            or type(symbol) is not str
            or (pair := self._pairs.get(symbol)) is None
            or (packed := self._plain_commands.pack(pair, side, qty, options, issued_at, self.tick_at)) is None
        ):
            return None
        record, key, ticks, lots = packed
        commands = self._ports.commands
        is_sent = commands.try_publish(record)
        commands.flush()
        # The router has it; what follows can wait.
        report = OrderReport(
            key=key, symbol=symbol, side=side, order_type="limit", qty_lots=lots, limit_price_ticks=ticks,
            price_decimals=pair.price_decimals, qty_decimals=pair.qty_decimals, changed_at=at,
        )  # fmt: skip
        order = Order(report, options.get("tag"))
        if is_sent:
            self._open[key] = order
        else:
            self._refuse(order, ROUTER_BUSY)
        return order

    def submit_batch(self, orders: Sequence[tuple[str, str, Amount, OrderOptions]]) -> list[Order]:
        """Send several orders of one pair in one command; if one is invalid, all are
        REFUSED, as at Kraken."""
        if why_not := self.why_not_here():
            rows: Any = orders if isinstance(orders, (list, tuple)) else ()
            return [self._refuse_elsewhere(*_said_of(row), why_not) for row in rows]
        issued_at, at = self._mono_ns(), self._wall_ns()
        if not isinstance(orders, (list, tuple)) or not orders:
            what = "none" if isinstance(orders, (list, tuple)) else shown(orders)
            self.tell_mistake(f"submit_batch takes a list of (side, symbol, qty, options), not {what}")
            return []
        made, intents, why_not = [], [], None
        for number, row in enumerate(orders, 1):
            order, intent, wrong = self._batch_order(row, at)
            made.append(order)
            if intent is not None:
                intents.append((order.id, intent))
            elif why_not is None and wrong is not None:
                why_not = wrong.within(f"order {number} of the batch: ")
        if not 2 <= len(made) <= BATCH_ORDERS_MAX:
            why_not = Refusal(ErrorKind.ARGUMENT, f"a batch has 2 to {BATCH_ORDERS_MAX} orders, not {len(made)}")
        elif why_not is None and len({key for key, _ in intents}) < len(intents):
            why_not = Refusal(ErrorKind.DUPLICATE, "two orders of the batch have the same cl_ord_id; use each once")
        elif why_not is None and len({intent.symbol for _, intent in intents}) > 1:
            why_not = Refusal(ErrorKind.ARGUMENT, "a batch has orders of one pair; send one batch for each")
        if why_not is None:
            why_not = self._send_order(SubmitBatch(self._strategy, intents, issued_at, self.tick_at))
        for order in made:
            if why_not is not None:
                self._refuse(order, why_not)
            else:
                self._open[order.id] = order
        return made

    def amend(self, order: Order, options: AmendOptions) -> bool:
        """Send an amend; returns whether it was sent.

        If it was not, although the order could be amended, `order.reason` says why.
        """
        if why_not := self.why_not_here():
            if isinstance(order, Order) and why_not is not FORKED:
                why = why_not.within(AMEND_REFUSED)
                self._hand_over(lambda: self._note(order, why))
            return False
        issued_at = self._mono_ns()
        if not isinstance(order, Order):
            self.tell_mistake(f"amend takes an order, as buy and sell return it, not {shown(order)}")
            return False
        pair = self._pairs.get(order.symbol) or self._former_pairs.get(order.symbol)
        if not order.is_working:
            return False
        if pair is None:  # an order of an earlier run, right after the start
            self._note(order, self._why_no_pair(order.symbol).within(AMEND_REFUSED))
            return False
        try:
            report = order.report
            amendment = make_amendment(
                pair, order.order_type, options,
                trigger_type=report.trigger_type, limit_offset_type=report.limit_offset_type,
            )  # fmt: skip
        except ValueError as error:
            why_not = refusal_of(error)
        else:
            why_not = self._send_order(Amend(order.id, amendment, issued_at, self.tick_at))
        if why_not is not None:
            self._note(order, why_not.within(AMEND_REFUSED))
            return False
        order.report = _changed(order.report, is_busy=True, reason="", error=None)
        return True

    def cancel(self, orders: Sequence[Order]) -> None:
        """Send cancels of the orders that are open.

        A list among the arguments counts as its orders.
        """
        if self._has_router_ended:
            self._tell_too_late(sum(order.is_open for given in _each(orders) for order in _orders_in(given)))
            return
        if why_not := self.why_not_here():
            self._cancel_elsewhere(lambda: self.cancel(orders), why_not)
            return
        wanted = []
        for given in _each(orders):
            for order in _each(given):
                if not isinstance(order, Order):
                    self.tell_mistake(f"cancel takes orders, as buy and sell return them, not {shown(order)}")
                elif order.is_open:
                    wanted.append(order)
        waiting = {key for command in self.unsent if isinstance(command, Cancel) for key in command.keys}
        ids = [order.id for order in wanted if order.id not in waiting]
        for first in range(0, len(ids), KEYS_PER_COMMAND_MAX):
            self._send_surely(Cancel(self._strategy, ids[first : first + KEYS_PER_COMMAND_MAX]))
        for order in wanted:
            order.report = _changed(order.report, is_ending=True)

    def cancel_all(self, symbol: str) -> None:
        """Send a cancel of all open orders, on one pair or (empty symbol) on all. An
        unknown symbol is logged.
        """
        if self._has_router_ended:
            on = symbol if isinstance(symbol, str) and symbol else ""
            self._tell_too_late(sum(on in ("", order.symbol) for order in self.open_orders))
            return
        if why_not := self.why_not_here():
            self._cancel_elsewhere(lambda: self.cancel_all(symbol), why_not)
            return
        if not isinstance(symbol, str) or (symbol and not self.knows(symbol)):
            near = did_you_mean(symbol, self._pairs, near=SAME) or "; without a symbol it cancels on all pairs"
            self.tell_mistake(f"cancel_all: {shown(symbol)} is none of the strategy's symbols{near}")
            return
        self._send_surely(CancelAll(self._strategy, str.__str__(symbol)))  # not a StrEnum

    def lose_router(self, why: str) -> None:
        """Refuse orders until a new order router reports its status: the last one died.
        From any thread.
        """
        self._hand_over(lambda: self._close_trading(why))

    def _close_trading(self, why: str) -> None:
        if self._ports is not None and self.status.is_open:
            self.status = TradingStatus(self.status.mode, is_open=False, reason=why)
            self._news.appendleft(self.status)

    def end(self, reason: str) -> None:
        """Report to the router that the strategy was halted; it cancels the orders or keeps
        them, as configured.
        """
        self._ended_because = reason
        said = reason[:TEXT_CHARS_MAX].encode(errors="replace").decode()  # an exception's text may be no Unicode
        self._send_surely(StrategyEnded(self._strategy, said))

    def send_no_orders(self) -> None:
        """Refuse orders and amends from now on, because the engine stops; cancels are still
        sent. From any thread.
        """
        self._is_stopping = True

    def router_has_ended(self) -> None:
        """Log further cancels of open orders as too late, and report no further refusals: a
        strategy that answers each refusal by another order would never end.
        """
        self._has_router_ended = True

    def close(self) -> None:
        """Send nothing any more, because the rings and doorbells are about to be unmapped.
        Tasks that wait for a change of an order, even of one that has ended, are woken with
        EngineStopped.
        """
        self._ports, self._why_off = None, "the engine has ended"
        self.unsent.clear()
        for orders in (self._open, self._ended, self._refused):
            for order in orders.values():
                order.tell_last()

    # --- reports of the router

    def ready(self) -> bool:
        """True if there is work for `next_news` or `serve`."""
        return bool(self._news or self._from_elsewhere) or (self._ports is not None and self._ports.reports.ready())

    def serve(self) -> None:
        """Send cancels that found the ring full, and run calls of other threads; also
        called while an async callback waits.
        """
        if self.unsent:
            self._send_unsent()
        while self._from_elsewhere:
            self._from_elsewhere.popleft()()

    def next_news(self) -> News | None:
        """The next event to deliver to the strategy; None if there is none.

        The state kept here already includes it.
        """
        self.serve()
        # In turns, so that a strategy that answers each refusal by another order still
        # receives its fills.
        if self._news and not (self._is_turn_of_reports and isinstance(self._news[0], Order)):
            self._is_turn_of_reports = True
            return self._news.popleft()
        self._is_turn_of_reports = False
        while self._ports is not None and (record := self._ports.reports.poll()) is not None:
            report = self._report_records.read(record)
            if report is not None and (news := self._apply(report)) is not None:
                return news
        return self._news.popleft() if self._news else None

    def _apply(self, report: Report) -> News | None:
        match report:
            case OrderReport():
                return self._apply_order(report)
            case Fill():
                return self._apply_fill(report)
            case Position():
                self.positions[report.symbol] = report
            case Balance():
                return report
            case TradingStatus():
                self.status, self.are_positions_told = report, True
                return report
            case ResyncEnded():
                self._ask_of_untold()
                if self._ended_because:
                    self.end(self._ended_because)  # another router: it does not know yet
        return None

    def _ask_of_untold(self) -> None:
        """Ask the router for the state of open orders that no report has mentioned: the
        router that died may have refused them, or never received them.
        """
        untold = [key for key, order in self._open.items() if order.state is OrderState.NEW]
        for first in range(0, len(untold), KEYS_PER_COMMAND_MAX):
            self._send_surely(StatusRequest(self._strategy, untold[first : first + KEYS_PER_COMMAND_MAX]))

    def _apply_order(self, report: OrderReport) -> Order | None:
        order = self.order(report.key)
        before = None if order is None else order.report
        if not report.symbol:
            # The state here is better if any report came before: the router forgets orders
            # that ended long ago.
            if before is None or before.state is not OrderState.NEW:
                return None
            report = _changed(before, state=report.state, reason=report.reason, error=report.error, is_ending=False,
                              changed_at=report.changed_at)  # fmt: skip
        if order is None:
            order = Order(report)  # of an earlier run, or adopted
        if before is not None and before.state is not report.state and before.state in TALLIED_ENDS:
            self.ends_told.remove(before.key, before.state.name)  # it was taken for over
        order.report = report
        if report.order_id:
            self._by_order_id[report.order_id] = order
        if not report.state.is_terminal:
            self._open[report.key] = order
        elif before is None or before.state is not report.state:
            if report.state in TALLIED_ENDS:
                self.ends_told.add(report.key, report.state.name)
            self._end(order)
        order.tell_change()
        return None if before == report else order

    def _apply_fill(self, fill: Fill) -> Fill | None:
        """The fill with its order; None for a repeated one. A new router repeats fills that
        its predecessor may not have reported.
        """
        if fill.exec_id in self._fills_known:
            self.fills_repeated += 1
            return None
        order = self.order(fill.key)
        if order is None:  # its order is forgotten, or never was told: see ENDED_ORDERS_KEPT
            self.untold += 1
            log.error("fill of an order that was never told", strategy=self._strategy, exec_id=fill.exec_id)
            return None
        self._fills_known[fill.exec_id] = order
        order.add_fill(fill)
        if len(self._fills_known) > FILLS_REMEMBERED:
            _, filled_first = self._fills_known.popitem(last=False)
            filled_first.forget_fill()
        self.fills_told.add(fill.exec_id, fill.key, fill.qty, fill.price)
        force_setattr(fill, "_order", order)
        return fill

    def _end(self, order: Order) -> None:
        report = order.report
        self._open.pop(report.key, None)
        kept = self._refused if report.state is OrderState.REFUSED else self._ended
        kept[report.key] = order
        while len(kept) > ENDED_ORDERS_KEPT:
            _, forgotten = kept.popitem(last=False)
            if not forgotten.is_open:  # it was taken for over, and is not
                self._by_order_id.pop(forgotten.order_id, None)

    # --- steps

    def _intent(
        self, side: str, symbol: str, qty: Amount, options: OrderOptions, at: WallNs
    ) -> tuple[OrderIntent | None, Refusal | None]:
        """The order in ticks and lots, or None and the reason why it is invalid."""
        if not isinstance(symbol, str):
            wrong = f"the symbol must be the name of a pair, such as BTC/USD, not {shown(symbol)}"
            return None, Refusal(ErrorKind.ARGUMENT, wrong)
        pair = self._pairs.get(symbol)
        if pair is None:
            return None, self._why_no_pair(symbol)
        try:
            intent = make_intent(pair, side, qty, options, at)
        except ValueError as error:
            return None, refusal_of(error)
        own = options.get("cl_ord_id")
        if own is not None and (self.order(own) is not None or own.startswith(self._id_prefix)):
            return None, Refusal(
                ErrorKind.DUPLICATE, f"an order had the client order id {own} already, or may get it; use each once"
            )
        return intent, None

    def _why_no_pair(self, symbol: str) -> Refusal:
        if symbol in self._pairs:
            untold = f"{symbol} cannot be traded: the venue has not told the pair's precision yet"
            return Refusal(ErrorKind.MARKET_DATA, untold)
        if symbol in self._former_pairs:
            given_back = f"{symbol} cannot be traded: it was unsubscribed; subscribe to it again first"
            return Refusal(ErrorKind.ARGUMENT, given_back)
        near = did_you_mean(v2_symbol(symbol.upper()), self._pairs, near=SAME)
        return Refusal(ErrorKind.ARGUMENT, f"{shown(symbol)} cannot be traded: add it to the strategy's symbols{near}")

    def _batch_order(self, row: Any, at: WallNs) -> tuple[Order, OrderIntent | None, Refusal | None]:
        """One order of a batch with its intent, or None in place of the intent and the
        reason why it is invalid.
        """
        if not isinstance(row, (list, tuple)) or len(row) != 4:
            what = f"{len(row)} of them" if isinstance(row, (list, tuple)) else shown(row)
            row_wrong = f"it must be (side, symbol, qty, options), not {what}"
            return self._new_order("", "", None, {}, at), None, Refusal(ErrorKind.ARGUMENT, row_wrong)
        side, symbol, qty, options = row
        intent, wrong = self._intent(side, symbol, qty, options, at)
        return self._new_order(symbol, side, intent, options, at), intent, wrong

    def _new_order(self, symbol: object, side: object, intent: OrderIntent | None, options: Any, at: WallNs) -> Order:
        tag = options.get("tag") if isinstance(options, dict) else None
        if intent is not None:
            key = options.get("cl_ord_id")
            return Order(OrderReport.of_intent(next(self._keys) if key is None else key, intent, at), tag)
        key = next(self._keys)
        # An invalid order shows as much as could be read of it.
        named, bought = symbol if isinstance(symbol, str) else "", side if isinstance(side, str) else ""
        return Order(OrderReport(key=key, symbol=named, side=bought, changed_at=at), tag)

    def _refuse(self, order: Order, why: Refusal) -> None:
        order.report = _changed(order.report, state=OrderState.REFUSED, reason=why.text, error=why.kind)
        self._tell_refused(order)

    def _tell_refused(self, order: Order) -> None:
        self.refused += 1
        self._end(order)
        order.tell_change()
        self._put_news(order)

    def _refuse_elsewhere(self, symbol: object, side: object, options: Any, why: Refusal) -> Order:
        """A REFUSED order; `on_order` is called for it later, on the strategy's own thread."""
        order = self._new_order(symbol, side, None, options, self._wall_ns())
        order.report = _changed(order.report, state=OrderState.REFUSED, reason=why.text, error=why.kind)
        if why is not FORKED and not self._hand_over(lambda: self._tell_refused(order)):
            self._count_untold()
        return order

    def _cancel_elsewhere(self, cancel: Callable[[], None], why_not: Refusal) -> None:
        if why_not is FORKED:
            self.tell_mistake(f"a cancel was not sent: {FORKED.text}")
        elif not self._hand_over(cancel):
            self.tell_mistake(f"a cancel was not sent: {NEWS_KEPT_MAX} calls of other threads wait already")

    def _tell_too_late(self, count: int) -> None:
        """Log that cancels of `count` open orders came too late; nothing for 0."""
        if count:
            self.tell_mistake(
                f"{count} open orders were not canceled: the engine has ended its orders, or kept them, as "
                "trading.on_stop says, before on_stop is called"
            )

    def _note(self, order: Order, why: Refusal) -> None:
        order.report = _changed(order.report, reason=why.text, error=why.kind)
        order.tell_change()
        self._put_news(order)

    def _put_news(self, order: Order) -> None:
        if self._has_router_ended:
            return  # who asked has the order, which says so
        if len(self._news) < NEWS_KEPT_MAX:
            self._news.append(order)
        else:
            self._count_untold()

    def _count_untold(self) -> None:
        self.untold += 1
        if self.untold & (self.untold - 1) == 0:  # the first, then ever more rarely
            log.error("refusals are not told by on_order", strategy=self._strategy, untold=self.untold,
                      reason=f"{NEWS_KEPT_MAX} wait for the strategy already")  # fmt: skip

    def tell_mistake(self, sentence: str) -> None:
        """Count a wrong call that has no other way to report an error, and log its sentence
        once, however often the call is repeated.
        """
        self.mistakes += 1
        if sentence not in self._mistakes and len(self._mistakes) < MISTAKES_TOLD_MAX:
            self._mistakes.add(sentence)
            log.error("mistake of the strategy", strategy=self._strategy, reason=sentence)

    def _send_order(self, command: Submit | SubmitBatch | Amend) -> Refusal | None:
        """Publish an order or an amend; returns why it was not published, or None."""
        if self._ports is None:
            return Refusal(ErrorKind.NOT_TRADING, self._why_off)
        if self._ended_because:
            return Refusal(ErrorKind.NOT_TRADING, f"the strategy was halted: {self._ended_because}")
        if self._is_stopping:
            return ENGINE_STOPS
        try:
            return None if self._send(command) else ROUTER_BUSY
        except MisuseError as error:
            if isinstance(command, SubmitBatch):
                return Refusal(ErrorKind.ARGUMENT, "the batch is too long for one command; send it in two")
            return Refusal(ErrorKind.ARGUMENT, f"the order router cannot be told of it: {error}")

    def _send(self, command: Command) -> bool:
        if self._ports is None:
            return False
        commands = self._ports.commands
        sent = commands.try_publish(COMMANDS.pack(command))
        commands.flush()
        return sent

    def _send_surely(self, command: Command) -> None:
        """Publish a cancel now, or as soon as the ring has room."""
        if self._ports is None or (not self.unsent and self._send(command)):
            return
        if command not in self.unsent:
            self.unsent.append(command)  # bounded: each open order once, and each pair

    def _send_unsent(self) -> None:
        while self.unsent and self._send(self.unsent[0]):
            del self.unsent[0]


def _nothing() -> None:
    pass


def _each(given: Any) -> Collection[Any]:
    """The elements of a list, a set or the like; any other value as the only element."""
    return given if isinstance(given, Collection) and not isinstance(given, (str, bytes)) else (given,)


def _orders_in(given: Any) -> list[Order]:
    return [order for order in _each(given) if isinstance(order, Order)]


def _said_of(row: Any) -> tuple[object, object, Any]:
    """Symbol, side and options of one row of a batch; empty ones if the row has another
    shape.
    """
    if isinstance(row, (list, tuple)) and len(row) == 4:
        return row[1], row[0], row[3]
    return "", "", {}


def _changed(report: OrderReport, **changes: object) -> OrderReport:
    return msgspec.structs.replace(report, **changes)
