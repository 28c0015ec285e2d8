"""A client's order: the request, its state, and its fills.

The request (`OrderSpec`, `AmendSpec`, `EditSpec`) has WebSocket v2 names and numbers as
`Decimal`; WebSocket and REST both translate into it. `ClientOrder` is the order's state:
integers inside (ticks, lots, units of cost), `Decimal` views for output. Only `trading` and
its parts change it.
"""

from decimal import Decimal
from typing import Final, Literal

import msgspec

from engine.units import PriceTicks, QtyLots, WallNs, units_decimal
from engine.venue.market.matching import Side
from engine.venue.market.pairs import PairSpec
from engine.venue.market.precision import Change, is_told

OrderKind = Literal[
    "market", "limit", "iceberg", "stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit",
    "trailing-stop", "trailing-stop-limit", "settle-position",
]  # fmt: skip
PriceType = Literal["static", "pct", "quote"]
TimeInForce = Literal["gtc", "gtd", "ioc", "fok"]
Stp = Literal["cancel_newest", "cancel_oldest", "cancel_both"]
Status = Literal["pending_new", "new", "partially_filled", "filled", "canceled", "expired"]
Place = Literal["scheduled", "untriggered", "book", "gone"]
"""The order's place: waiting for its effective time or its trigger, in the book (or on its
way), or ended.
"""

KINDS: Final = frozenset(OrderKind.__args__)  # type: ignore[attr-defined]
LIMIT_KINDS: Final = frozenset({"limit", "iceberg", "stop-loss-limit", "take-profit-limit", "trailing-stop-limit"})
TRIGGER_KINDS: Final = frozenset(
    {"stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit", "trailing-stop", "trailing-stop-limit"}
)
TRAILING_KINDS: Final = frozenset({"trailing-stop", "trailing-stop-limit"})
ICEBERG_SHARE_MAX: Final = 15  # the displayed part is at least a fifteenth of the order


class Triggers(msgspec.Struct, frozen=True):
    """When a stop or take order acts. `price_type` gives the price's meaning; trailing: the
    distance from the peak.
    """

    price: Decimal
    price_type: PriceType = "static"
    reference: Literal["last", "index"] = "last"  # the venue has no index price: it uses last


class Conditional(msgspec.Struct, frozen=True):
    """The order that each fill causes, of the opposite side and the filled quantity."""

    order_type: OrderKind
    limit_price: Decimal | None = None
    limit_price_type: PriceType = "static"
    trigger_price: Decimal | None = None
    trigger_price_type: PriceType = "static"


class OrderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A new order after the front end's type checks, in WebSocket v2 names."""

    order_type: OrderKind
    side: Literal["buy", "sell"]
    symbol: str
    order_qty: Decimal | None = None  # None only with cash_order_qty
    limit_price: Decimal | None = None
    limit_price_type: PriceType | None = None
    triggers: Triggers | None = None
    time_in_force: TimeInForce = "gtc"
    expire_time: WallNs | None = None
    effective_time: WallNs | None = None
    deadline: WallNs | None = None  # None: the venue's default
    post_only: bool = False
    reduce_only: bool = False
    margin: bool = False
    display_qty: Decimal | None = None
    fee_preference: Literal["base", "quote"] | None = None
    stp_type: Stp = "cancel_newest"
    cl_ord_id: str | None = None
    order_userref: int | None = None
    cash_order_qty: Decimal | None = None
    conditional: Conditional | None = None
    sender_sub_id: str | None = None
    validate: bool = False


class AmendSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of an `amend_order`; exactly one of the two ids is given."""

    order_id: str | None = None
    cl_ord_id: str | None = None
    order_qty: Decimal | None = None  # of the whole order, fills included
    limit_price: Decimal | None = None
    limit_price_type: PriceType | None = None
    trigger_price: Decimal | None = None
    trigger_price_type: PriceType | None = None
    display_qty: Decimal | None = None
    post_only: bool = False
    deadline: WallNs | None = None


class EditSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of an `edit_order`: the old order is canceled, a new one takes its place."""

    order_id: str  # or, on REST, a userref that only one open order has
    symbol: str
    order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    display_qty: Decimal | None = None
    triggers: Triggers | None = None
    fee_preference: Literal["base", "quote"] | None = None
    order_userref: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    deadline: WallNs | None = None
    validate: bool = False


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """One fill of one client order."""

    exec_id: str
    trade_id: int
    order_id: str
    pair: PairSpec
    side: Side
    order_type: OrderKind
    cl_ord_id: str | None
    order_userref: int | None
    sender_sub_id: str | None
    price_ticks: PriceTicks
    qty_lots: QtyLots
    cost_units: int  # × 10**-cost_decimals of the pair
    fee_units: int  # in the same units
    fee_usd_units: int  # × 10**-fee_usd_decimals
    base_fee: Decimal | None = None  # the fee where it was taken in the base currency; None where it was not
    base_change: Decimal  # of the base currency's balance, a fee in it included
    is_maker: bool
    at: WallNs
    ledger_ids: tuple[str, str] = ("", "")  # of the two legs, base first

    @property
    def price(self) -> Decimal:
        return units_decimal(self.price_ticks, self.pair.price_decimals)

    @property
    def qty(self) -> Decimal:
        return units_decimal(self.qty_lots, self.pair.qty_decimals)

    @property
    def cost(self) -> Decimal:
        return units_decimal(self.cost_units, self.pair.cost_decimals)

    @property
    def fee(self) -> Decimal:
        """The fee in quote currency, as REST gives it; its worth, where it was taken in the
        base currency.
        """
        return units_decimal(self.fee_units, self.pair.cost_decimals)

    @property
    def fee_asset(self) -> str:
        """The asset that the fee was taken in."""
        return self.pair.quote if self.base_fee is None else self.pair.base

    @property
    def fee_taken(self) -> Decimal:
        """The fee in that asset."""
        return self.fee if self.base_fee is None else self.base_fee


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an order's terms, as REST's OrderAmends lists them; the first is the
    original.
    """

    amend_id: str
    amend_type: Literal["original", "user", "restated"]
    order_qty: Decimal
    remaining_qty: Decimal
    limit_price: Decimal | None
    trigger_price: Decimal | None
    display_qty: Decimal | None
    reason: str | None
    post_only: bool
    at: WallNs


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of a change of a balance: Δbalance = amount − fee."""

    ledger_id: str
    ref_id: str
    kind: str  # "trade" or "deposit"
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal  # afterwards
    at: WallNs


class ClientOrder(msgspec.Struct, kw_only=True, eq=False):
    """One order from its acceptance on."""

    order_id: str
    account_id: int
    spec: OrderSpec
    pair: PairSpec
    side: Side
    order_type: OrderKind
    cl_ord_id: str | None
    order_userref: int | None
    ref_order_id: str | None = None  # the order whose fill caused this one (REST: refid)
    sequence: int = 0  # of all orders of the venue, in order of acceptance

    qty_lots: QtyLots
    limit_ticks: PriceTicks | None  # None: any price; of trailing limits, set when triggered
    display_lots: QtyLots = QtyLots(0)  # shown at a time; 0: all of it
    post_only: bool = False

    place: Place = "book"
    status: Status = "pending_new"
    book_order_id: int = 0  # in the matching engine; 0 while it is not there
    trigger_ticks: PriceTicks | None = None  # the present trigger price; trailing ones move
    trail_ticks: int = 0  # the distance that a trailing trigger keeps
    peak_ticks: PriceTicks | None = None  # the best price seen by a trailing order
    triggered_at: WallNs | None = None
    triggered_ticks: PriceTicks | None = None  # the last price that triggered it

    cum_lots: QtyLots = QtyLots(0)
    cum_cost_units: int = 0
    fee_units: int = 0
    fee_usd_units: int = 0
    opened_at: WallNs = WallNs(0)
    changed_at: WallNs = WallNs(0)  # placed or last amended; the rate counter's age counts from here
    closed_at: WallNs | None = None
    reason: str | None = None  # why it ended; None while it is open or when it was filled
    amended: bool = False
    hold_asset: str = ""
    hold: Decimal = Decimal(0)  # reserved of that asset while it is open
    exec_ids: list[str] = msgspec.field(default_factory=list)
    amendments: list[Amendment] = msgspec.field(default_factory=list)  # bounded by AMENDMENTS_MAX of `trading`

    @property
    def symbol(self) -> str:
        return self.pair.symbol

    @property
    def is_open(self) -> bool:
        return self.place != "gone"

    @property
    def is_triggered_kind(self) -> bool:
        return self.order_type in TRIGGER_KINDS

    @property
    def remaining_lots(self) -> QtyLots:
        return QtyLots(self.qty_lots - self.cum_lots)

    @property
    def avg_ticks(self) -> PriceTicks:
        """The mean price of its fills, half up to the tick; 0 without a fill."""
        if not self.cum_lots:
            return PriceTicks(0)
        pair = self.pair
        numerator = 2 * self.cum_cost_units * 10 ** (pair.price_decimals + pair.qty_decimals)
        denominator = self.cum_lots * 10**pair.cost_decimals
        return PriceTicks((numerator + denominator) // (2 * denominator))

    def can_relist(self, change: Change) -> bool:
        """Whether another precision can express the order exactly; only its static prices
        count.
        """
        triggers, close = self.spec.triggers, self.spec.conditional
        is_static = triggers is not None and triggers.price_type == "static"
        closing = (
            ()
            if close is None
            else ((close.limit_price, close.limit_price_type), (close.trigger_price, close.trigger_price_type))
        )
        return (
            all(map(change.holds_qty, (self.qty_lots, self.cum_lots, self.display_lots)))
            and change.holds_price(self.limit_ticks)
            and (not is_static or change.holds_price(self.trigger_ticks))
            and all(price is None or kind != "static" or is_told(price, change.after.price_decimals)
                    for price, kind in closing)
        )  # fmt: skip

    def relist(self, change: Change) -> None:
        """Convert to another precision."""
        self.pair = change.after
        self.qty_lots, self.cum_lots = change.qty(self.qty_lots), change.qty(self.cum_lots)
        self.display_lots = change.qty(self.display_lots)
        if self.limit_ticks is not None:
            self.limit_ticks = change.price(self.limit_ticks)
        if self.trigger_ticks is not None:
            self.trigger_ticks = change.price(self.trigger_ticks)
        if self.triggered_ticks is not None:
            self.triggered_ticks = change.price(self.triggered_ticks)
        if self.peak_ticks is not None:
            self.peak_ticks = change.price(self.peak_ticks)
            self.trail_ticks = change.price(PriceTicks(self.trail_ticks))

    # --- the same as Decimals, for REST

    @property
    def order_qty(self) -> Decimal:
        return units_decimal(self.qty_lots, self.pair.qty_decimals)

    @property
    def cum_qty(self) -> Decimal:
        return units_decimal(self.cum_lots, self.pair.qty_decimals)

    @property
    def cum_cost(self) -> Decimal:
        return units_decimal(self.cum_cost_units, self.pair.cost_decimals)

    @property
    def fee(self) -> Decimal:
        return units_decimal(self.fee_units, self.pair.cost_decimals)

    @property
    def limit_price(self) -> Decimal | None:
        """The present limit; None without one (trailing limits: before the trigger)."""
        return None if self.limit_ticks is None else units_decimal(self.limit_ticks, self.pair.price_decimals)

    @property
    def trigger_price(self) -> Decimal | None:
        return None if self.trigger_ticks is None else units_decimal(self.trigger_ticks, self.pair.price_decimals)

    @property
    def avg_price(self) -> Decimal:
        return units_decimal(self.avg_ticks, self.pair.price_decimals)

    @property
    def display_qty(self) -> Decimal | None:
        return units_decimal(self.display_lots, self.pair.qty_decimals) if self.display_lots else None
