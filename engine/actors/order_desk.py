"""One strategy's orders on the host's side: commands out, reports in, and the objects that the strategy holds.

    Strategy.buy … ─► OrderDesk ─► command ring ─► order router
    Strategy.on_order … ◄─ OrderDesk ◄─ report ring ◄───┘

The router's reports are the one truth; what is known here before the first of them is only that an order was asked
for. A desk without rings belongs to an engine that does not trade: it refuses every order and says so.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec
from msgspec import Struct

from engine.clock import Clock
from engine.market import Pair
from engine.orders.client_order_id import client_order_id
from engine.orders.commands import (
    BATCH_ORDERS_MAX,
    COMMANDS,
    Amend,
    Cancel,
    CancelAll,
    Command,
    StrategyEnded,
    Submit,
    SubmitBatch,
)
from engine.orders.intent import OrderIntent
from engine.orders.life import TERMINAL, OrderState
from engine.orders.reports import (
    REPORTS,
    BalanceReport,
    FillReport,
    OrderReport,
    PositionReport,
    Report,
    ResyncBegan,
    TradingReport,
)
from engine.orders.tally import Tally
from engine.ring import GatedSubscriber, Publisher
from engine.strategy.order_options import AmendOptions, Amount, OrderOptions, make_amendment, make_intent
from engine.strategy.orders import (
    Balance,
    Fill,
    Order,
    Position,
    TradingStatus,
    bring_up_to_date,
    latest_report,
    make_fill,
)
from engine.units import MonoNs, QtyLots

ENDED_ORDERS_KEPT = 10_000  # for `Context.order` and late news; the history has them all
TALLIED_ENDS = TERMINAL - {OrderState.REFUSED}  # a refusal is our own word, in nobody else's record
CANCELS_PER_COMMAND_MAX = 50
NEWS_KEPT_MAX = 4096  # orders refused here, whose callbacks wait for the strategy's turn

ROUTER_BUSY = "the order router takes no orders at present: its queue is full; try again when on_trading says so"


class DeskPorts(Struct, frozen=True):
    """The rings of one strategy's orders, and what its ids are made of."""

    commands: Publisher
    """Shared by all strategies of the host, who are one thread."""
    reports: GatedSubscriber
    tag: str
    run: int


News = Order | Fill | Balance | TradingStatus


class OrderDesk:
    """One strategy's orders, fills, positions and balances."""

    def __init__(
        self, strategy: str, ports: DeskPorts | None, pairs: Mapping[str, Pair | None], clock: Clock, why_off: str = ""
    ) -> None:
        self._strategy = strategy
        self._ports = ports
        self._pairs = pairs
        self._mono_ns = clock.mono_ns
        self._wall_ns = clock.wall_ns
        self._why_off = why_off or "the engine does not trade; see [trading] in the configuration"
        self._number = 0  # of the last order asked for
        # When the frame arrived that the strategy is acting on; 0 while it acts on none.
        self.tick_at = MonoNs(0)
        self._open: dict[str, Order] = {}
        self._ended: OrderedDict[str, Order] = OrderedDict()
        self._by_order_id: dict[str, Order] = {}
        self.positions: dict[str, Position] = {}
        self.balances: dict[str, Balance] = {}
        self.status = TradingStatus(reason=self._why_off) if ports is None else TradingStatus(reason="starting")
        # What was decided here and not told yet.
        self._news: deque[News] = deque(maxlen=NEWS_KEPT_MAX)
        # Cancels that found the command ring full: they are sent when there is room, whatever else happens.
        self._unsent: list[Command] = []
        # Everything that was told to the strategy, for the comparison with journal and venue.
        self.fills_told = Tally()
        self.ends_told = Tally()
        self.refused = 0  # by the desk itself: never reached the router

    # --- what the strategy asks for

    @property
    def open_orders(self) -> Sequence[Order]:
        return tuple(self._open.values())

    def order(self, order_id: str) -> Order | None:
        return self._open.get(order_id) or self._ended.get(order_id) or self._by_order_id.get(order_id)

    def submit(self, side: str, symbol: str, qty: Amount, options: OrderOptions) -> Order:
        """A new order, on its way or REFUSED."""
        issued_at = self._mono_ns()
        intent, why_not = self._intent(side, symbol, qty, options)
        order = self._new_order(symbol, side, intent, options)
        if intent is None:
            self._refuse(order, why_not)
        else:
            command = Submit(self._strategy, order.id, intent, issued_at, self.tick_at)
            if not self._send(command):
                self._refuse(order, self._why_off if self._ports is None else ROUTER_BUSY)
        return order

    def submit_batch(self, orders: Sequence[tuple[str, str, Amount, OrderOptions]]) -> list[Order]:
        """Several orders of one pair in one request; one that cannot be said is the end of all, as at Kraken."""
        issued_at = self._mono_ns()
        made, intents, why_not = [], [], ""
        for side, symbol, qty, options in orders:
            intent, wrong = self._intent(side, symbol, qty, options)
            order = self._new_order(symbol, side, intent, options)
            made.append(order)
            why_not = why_not or wrong
            if intent is not None:
                intents.append((order.id, intent))
        if not 2 <= len(orders) <= BATCH_ORDERS_MAX:
            why_not = f"a batch has 2 to {BATCH_ORDERS_MAX} orders, not {len(orders)}"
        elif len({symbol for _, symbol, _, _ in orders}) > 1:
            why_not = "a batch has orders of one pair; send one batch for each"
        command = SubmitBatch(self._strategy, intents, issued_at, self.tick_at)
        if not why_not and not COMMANDS.fits(command):
            why_not = "the batch is too long for one command; send it in two"
        if not why_not and not self._send(command):
            why_not = self._why_off if self._ports is None else ROUTER_BUSY
        if why_not:
            for order in made:
                self._refuse(order, why_not)
        return made

    def amend(self, order: Order, options: AmendOptions) -> bool:
        """Ask for a change; False, with the reason on the order, when it cannot be asked for now."""
        issued_at = self._mono_ns()
        pair = self._pairs.get(order.symbol)
        if not order.is_working or pair is None:
            return False
        try:
            amendment = make_amendment(pair, options)
        except ValueError as error:
            self._note(order, reason=f"amend refused: {error}")
            return False
        if not self._send(Amend(self._strategy, order.id, amendment, issued_at, self.tick_at)):
            self._note(order, reason=f"amend refused: {ROUTER_BUSY}")
            return False
        bring_up_to_date(order, _changed(latest_report(order), is_busy=True, reason=""))
        return True

    def cancel(self, orders: Sequence[Order]) -> None:
        """Ask for the end of orders; those that are over are left alone."""
        ids = [order.id for order in orders if order.is_open]
        for first in range(0, len(ids), CANCELS_PER_COMMAND_MAX):
            self._send_surely(Cancel(self._strategy, ids[first : first + CANCELS_PER_COMMAND_MAX], self._mono_ns()))
        for order in orders:
            if order.is_open:
                bring_up_to_date(order, _changed(latest_report(order), is_busy=True))

    def cancel_all(self, symbol: str) -> None:
        self._send_surely(CancelAll(self._strategy, symbol, self._mono_ns()))

    def end(self, reason: str) -> None:
        """The strategy was halted: tell the router, who cancels its orders or keeps them."""
        self._send_surely(StrategyEnded(self._strategy, reason[:200]))

    # --- what the router reports

    def ready(self) -> bool:
        """Is there news for the strategy?"""
        return bool(self._news) or (self._ports is not None and self._ports.reports.ready())

    def next_news(self) -> News | None:
        """The next thing to tell the strategy; None when there is nothing. State is up to date when it is returned."""
        if self._unsent:
            self._send_unsent()
        if self._news:
            return self._news.popleft()
        if self._ports is None:
            return None
        while (record := self._ports.reports.poll()) is not None:
            if (news := self._apply(REPORTS.unpack(record))) is not None:
                return news
        return None

    def _apply(self, report: Report) -> News | None:
        match report:
            case OrderReport():
                return self._apply_order(report)
            case FillReport():
                self.fills_told.add(report.exec_id, report.cl_ord_id, report.qty_lots, report.price)
                order = self.order(report.cl_ord_id)
                return None if order is None else make_fill(order, report)
            case PositionReport():
                self.positions[report.symbol] = Position(
                    report.symbol, report.qty, report.avg_price, report.realized, report.fees
                )
            case BalanceReport():
                balance = Balance(report.asset, report.total, report.held, report.free, report.earning)
                self.balances[report.asset] = balance
                return balance
            case TradingReport():
                self.status = TradingStatus(report.mode, report.is_open, report.reason)
                return self.status
            case ResyncBegan():
                return None
        return None

    def _apply_order(self, report: OrderReport) -> Order | None:
        order = self.order(report.cl_ord_id)
        before = None if order is None else latest_report(order)
        if order is None:
            order = Order(report)  # of an earlier run, or adopted
        if before is not None and before.state is not report.state and before.state in TALLIED_ENDS:
            self.ends_told.remove(before.cl_ord_id, before.state.name)  # it was taken for over
        bring_up_to_date(order, report)
        if report.order_id and not report.state.is_terminal:
            self._by_order_id[report.order_id] = order
        if not report.state.is_terminal:
            self._open[order.id] = order
        elif before is None or before.state is not report.state:
            if report.state in TALLIED_ENDS:
                self.ends_told.add(report.cl_ord_id, report.state.name)
            self._end(order)
        return None if before == report else order

    def _end(self, order: Order) -> None:
        self._open.pop(order.id, None)
        self._by_order_id.pop(order.order_id, None)
        self._ended[order.id] = order
        while len(self._ended) > ENDED_ORDERS_KEPT:
            self._ended.popitem(last=False)

    # --- steps

    def _intent(self, side: str, symbol: str, qty: Amount, options: OrderOptions) -> tuple[OrderIntent | None, str]:
        """The order in ticks and lots, or why it cannot be said."""
        pair = self._pairs.get(symbol)
        if pair is None:
            known = symbol in self._pairs
            why = "the venue has not told the pair's precision yet" if known else "add it to the strategy's symbols"
            return None, f"{symbol} cannot be traded: {why}"
        try:
            return make_intent(pair, side, qty, options), ""
        except ValueError as error:
            return None, str(error)

    def _new_order(self, symbol: str, side: str, intent: OrderIntent | None, options: OrderOptions) -> Order:
        self._number += 1
        ports, pair = self._ports, self._pairs.get(symbol)
        order_id = client_order_id(ports.tag, ports.run, self._number) if ports else f"off{self._number}"
        order = Order(
            OrderReport(
                order_id,
                "",
                symbol,
                side,
                intent.order_type if intent is not None else str(options.get("order_type", "")),
                OrderState.NEW,
                "",
                intent.qty if intent is not None else QtyLots(0),
                QtyLots(0),
                intent.limit_price if intent is not None else None,
                None,
                Decimal(0),
                (),
                pair.price_decimals if pair is not None else 0,
                pair.qty_decimals if pair is not None else 0,
                is_busy=False,
                changed_at=self._wall_ns(),
            ),
            options.get("tag"),
        )
        self._open[order.id] = order
        return order

    def _refuse(self, order: Order, why: str) -> None:
        self.refused += 1
        bring_up_to_date(order, _changed(latest_report(order), state=OrderState.REFUSED, reason=why))
        self._end(order)
        self._news.append(order)

    def _note(self, order: Order, reason: str) -> None:
        bring_up_to_date(order, _changed(latest_report(order), reason=reason))
        self._news.append(order)

    def _send(self, command: Command) -> bool:
        if self._ports is None:
            return False
        commands = self._ports.commands
        sent = commands.try_publish(COMMANDS.pack(command))
        commands.flush()
        return sent

    def _send_surely(self, command: Command) -> None:
        """Send it now, or as soon as there is room."""
        if self._ports is None or (not self._unsent and self._send(command)):
            return
        if command not in self._unsent:
            self._unsent.append(command)  # bounded by the strategy's open orders

    def _send_unsent(self) -> None:
        while self._unsent and self._send(self._unsent[0]):
            del self._unsent[0]


def _changed(report: OrderReport, **changes: object) -> OrderReport:
    return msgspec.structs.replace(report, **changes)
