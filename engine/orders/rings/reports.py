"""What the order router tells a strategy, through the report ring of that strategy.

A report carries state, not steps: an OrderReport says all there is to say of an order, so a
reader that missed some is right again with the next. After a time in which a strategy took
nothing and the ring was full, the router sends everything anew between ResyncBegan and
ResyncEnded.

Fill, Position, Balance and TradingStatus are handed to the strategy as they are; an Order
holds the newest report of one order, and says it in Decimals.
"""

from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from engine.orders.intent import OrderIntent
from engine.orders.life import OrderState
from engine.orders.refusal import ErrorKind, Refusal
from engine.orders.rings.framing import Framing
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs, units_decimal

REPORT_RECORD_BYTES: Final = 1016
REPORT_SLOTS: Final = 4096
REASON_CHARS_MAX: Final = 240  # in a report; the log has all of it
ZERO: Final = Decimal(0)


class OrderReport(Struct, frozen=True, array_like=True, kw_only=True, tag="o"):
    """The current state of one order."""

    key: str
    """The engine's name of the order."""
    order_id: str = ""
    """Kraken's; empty until it is known."""
    symbol: str
    """Empty where the router knows the key alone: the order was refused, and is for the
    rest what was asked for."""
    side: str
    order_type: str = ""
    state: OrderState = OrderState.NEW
    reason: str = ""
    """Why it is in this state, or why a request about it was refused; empty without one."""
    qty_lots: QtyLots = QtyLots(0)
    filled_lots: QtyLots = QtyLots(0)
    limit_price_ticks: PriceTicks | None = None
    avg_price: Decimal | None = None
    cost: Decimal = ZERO
    fees: tuple[tuple[str, Decimal], ...] = ()
    """(asset, amount), of all fills."""
    price_decimals: int = 0
    qty_decimals: int = 0
    is_busy: bool = False
    """True while an amend is under way, or waits to be sent."""
    changed_at: WallNs
    trigger_type: str = ""
    """static, pct or quote, of an order that has a trigger: what an amend of it means."""
    limit_offset_type: str = ""
    """pct or quote, of an order whose limit follows its trigger."""
    is_ending: bool = False
    """True while a cancel is under way, or waits to be sent."""
    error: ErrorKind | None = None
    """The kind of the error that `reason` tells of; None where it tells of none."""
    parent: str = ""
    """The key of the order whose fills this one closes; empty for others."""
    cash_qty: Decimal | None = None
    """The quote currency to spend, of an order that names that instead of a quantity."""
    trigger: Decimal | None = None
    """What triggers it, as `trigger_type` means it; None of orders without a trigger."""

    @classmethod
    def of_intent(
        cls,
        key: str,
        intent: OrderIntent,
        at: WallNs,
        *,
        state: OrderState = OrderState.NEW,
        why: Refusal | None = None,
    ) -> "OrderReport":
        """The report of an order of which nothing but its intent is known."""
        return cls(
            key=key,
            symbol=intent.symbol,
            side=intent.side,
            order_type=intent.order_type,
            state=state,
            reason="" if why is None else why.text[:REASON_CHARS_MAX],
            error=None if why is None else why.kind,
            qty_lots=intent.qty,
            limit_price_ticks=intent.limit_price,
            price_decimals=intent.price_decimals,
            qty_decimals=intent.qty_decimals,
            changed_at=at,
            trigger_type=intent.trigger.price_type if intent.trigger is not None else "",
            limit_offset_type=intent.limit_price_type or "",
            cash_qty=intent.cash_qty,
            trigger=intent.trigger.price if intent.trigger is not None else None,
        )


class OrderError(Struct, frozen=True):
    """What was wrong with an order, or with a change of one."""

    kind: ErrorKind
    text: str
    """The sentence, as in `Order.reason`."""

    @property
    def is_final(self) -> bool:
        """True if the same order cannot be taken later either: the order, the account or
        the settings must change first. Insufficient funds are final, a full rate counter
        is not.
        """
        return self.kind.is_final

    def __str__(self) -> str:
        return self.text


class Order(Struct, eq=False):
    """One order: what was asked for, and how it stands.

    The engine keeps it up to date; strategies only read it. Two orders are never equal.
    """

    report: OrderReport
    """The newest; for the engine alone."""
    tag: object = None
    """Whatever the strategy attached to it; None of an order of an earlier run, and of an
    exit."""

    @property
    def id(self) -> str:
        """The engine's own name of it, unique for ever; Kraken knows it as cl_ord_id."""
        return self.report.key

    @property
    def order_id(self) -> str:
        """Kraken's id; empty until Kraken has acknowledged."""
        return self.report.order_id

    @property
    def parent_id(self) -> str:
        """The `id` of the order whose fills this one closes, as its stop, its target or by
        its conditional close; empty for other orders."""
        return self.report.parent

    @property
    def symbol(self) -> str:
        return self.report.symbol

    @property
    def side(self) -> str:
        """buy or sell."""
        return self.report.side

    @property
    def order_type(self) -> str:
        """limit, market, …: Kraken's word."""
        return self.report.order_type

    @property
    def state(self) -> OrderState:
        return self.report.state

    @property
    def reason(self) -> str:
        """Why it is in this state, or why the last amend or cancel was refused; empty
        without one."""
        return self.report.reason

    @property
    def error(self) -> OrderError | None:
        """What was wrong, by kind: of an order that was refused or rejected, or of the last
        amend or cancel that was; None where nothing was.
        """
        kind = self.report.error
        return None if kind is None else OrderError(kind, self.report.reason)

    @property
    def qty(self) -> Decimal:
        """The whole order, filled part included; of one for an amount of money, what is
        filled so far: see `cash_qty`."""
        report = self.report
        return self._qty(report.qty_lots if report.cash_qty is None else report.filled_lots)

    @property
    def cash_qty(self) -> Decimal | None:
        """The quote currency to spend, of an order that names that instead of a quantity;
        None of others. `cost` is what it has spent."""
        return self.report.cash_qty

    @property
    def filled_qty(self) -> Decimal:
        """As Kraken counts it.

        The fills that make it up may be told later, each once, by `on_fill`.
        """
        return self._qty(self.report.filled_lots)

    @property
    def remaining_qty(self) -> Decimal:
        """Still to be filled; of an order that is over, what was not filled. 0 of one for
        an amount of money."""
        return self._qty(QtyLots(max(0, self.report.qty_lots - self.report.filled_lots)))

    @property
    def limit_price(self) -> Decimal | None:
        """None for orders without one, such as market."""
        ticks = self.report.limit_price_ticks
        return None if ticks is None else units_decimal(ticks, self.report.price_decimals)

    @property
    def trigger(self) -> Decimal | None:
        """Of a stop, a take-profit or a trailing stop: what triggers it, as it was asked
        for or amended last; see `OrderOptions`. None for orders without one."""
        return self.report.trigger

    @property
    def avg_price(self) -> Decimal | None:
        """Of its fills; None before the first."""
        return self.report.avg_price

    @property
    def cost(self) -> Decimal:
        """Price × quantity of its fills in the quote currency, fees not included."""
        return self.report.cost

    @property
    def fees(self) -> dict[str, Decimal]:
        """Of its fills, by asset."""
        return dict(self.report.fees)

    @property
    def changed_at(self) -> WallNs:
        """When it came into this state."""
        return self.report.changed_at

    @property
    def is_open(self) -> bool:
        """True while it may trade, also for an order in doubt."""
        return not self.report.state.is_terminal

    @property
    def is_working(self) -> bool:
        """True if it can be amended: it is open at Kraken, and no cancel is under way. An
        amend behind another waits for that one; see `is_amending`."""
        report = self.report
        return report.state in (OrderState.WORKING, OrderState.PARTIAL) and not report.is_ending

    @property
    def is_amending(self) -> bool:
        """True while an amend is under way, or waits for the limits to have room for it."""
        return self.report.is_busy and self.is_open

    @property
    def is_filled(self) -> bool:
        return self.report.state is OrderState.FILLED

    @property
    def is_unknown(self) -> bool:
        """True if it is in doubt: sent, and Kraken has not told its outcome."""
        return self.report.state is OrderState.UNKNOWN

    def _qty(self, lots: QtyLots) -> Decimal:
        return units_decimal(lots, self.report.qty_decimals)

    def __repr__(self) -> str:
        price, trigger = self.limit_price, self.trigger
        at = ("" if trigger is None else f" when {trigger:f}") + ("" if price is None else f" at {price:f}")
        cash = self.cash_qty
        qty = f"{self.qty:f} {self.symbol}" if cash is None else f"{self.symbol} for {cash:f}"
        what = f"{self.side} {qty}{at}"
        return f"Order({self.id} {what}: {self.state.name}, {self.filled_qty:f} filled)"


class Fill(Struct, frozen=True, array_like=True, kw_only=True, tag="f"):
    """One fill of one of the strategy's orders."""

    key: str
    """The engine's name of the order, as `order.id`."""
    exec_id: str
    """Kraken's; never the same twice."""
    trade_id: int
    """On the public tape; 0 when Kraken did not say."""
    symbol: str
    side: str
    """buy or sell."""
    qty: Decimal
    """In the base currency."""
    price: Decimal
    cost: Decimal
    """Price × quantity in the quote currency, fees not included."""
    fees: dict[str, Decimal]
    """By asset."""
    liquidity: str
    """maker or taker; empty when Kraken did not say."""
    kraken_time: WallNs
    received_at: MonoNs
    """When the news reached this host; 0 if the router that received the fill has died
    since."""
    _order: Any = None
    """See `order`; None in the ring."""

    @property
    def order(self) -> Order:
        """The order that was filled, by this fill or a part of it."""
        return self._order  # type: ignore[no-any-return]


class Position(Struct, frozen=True, array_like=True, tag="p"):
    """What a strategy holds of a pair at average cost: by its own fills, and with
    `positions = "account"` what the account held when the run began."""

    symbol: str
    qty: Decimal = ZERO
    """Negative when more was sold than bought.

    This is what fills credited: Kraken's ledger rounds each of them to the precision of the
    asset, which may be coarser than the pair's lots, and takes off fees in the base
    currency.
    """
    avg_price: Decimal | None = ZERO
    """In the quote currency; 0 without a position. None while the cost of a part is
    unknown, because the account held it before; see `unknown_cost_qty`."""
    realized: Decimal = ZERO
    """Profit of what was closed, before fees, in the quote currency; only of what was
    bought (or sold) by fills, which is closed first."""
    fees: Decimal = ZERO
    """Of all fills, in the quote currency: what was taken in it, and in the base currency
    at the fill's price. A fee in any other has no price here and is not in it; `Fill.fees`
    has it."""
    unknown_cost_qty: Decimal = ZERO
    """The part of `qty` that the account held before, with `positions = "account"`."""
    is_known: bool = True
    """False until the order router has told it, and then of a position that begins with
    what the account holds until Kraken has told that; the amounts mean nothing until
    then."""


class Balance(Struct, frozen=True, array_like=True, tag="w"):
    """One asset of the account, which all strategies share."""

    asset: str
    total: Decimal = ZERO
    held: Decimal = ZERO
    """Reserved by open orders."""
    free: Decimal = ZERO
    earning: Decimal = ZERO
    """In wallets that cannot be traded from; not in `total`."""


class TradingStatus(Struct, frozen=True, array_like=True, tag="t"):
    """Whether orders are taken now, and if not, why."""

    mode: str = "HALTED"
    """ACTIVE; DEGRADED: a private WebSocket is out, as `reason` says, REST stands in for
    it, and limits are tighter; REDUCING: only what makes positions smaller; HALTED: cancels
    only, until `engine resume`."""
    is_open: bool = False
    """True if new orders of this strategy are taken now."""
    reason: str = "the engine does not trade"


class ResyncBegan(Struct, frozen=True, array_like=True, tag="["):
    """Reports were lost, or may be lost with the router that had them; what follows is
    everything."""


class ResyncEnded(Struct, frozen=True, array_like=True, tag="]"):
    """The repetition is over: the following reports are new."""


Report = OrderReport | Fill | Position | Balance | TradingStatus | ResyncBegan | ResyncEnded

REPORTS: Framing[Report] = Framing(Report, REPORT_RECORD_BYTES)
