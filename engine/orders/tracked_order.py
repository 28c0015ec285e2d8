"""One order as the router knows it. Only the blotter changes it, and only by records of the journal."""

from decimal import Decimal

from msgspec import Struct, field
from msgspec.structs import replace

from engine.orders.intent import Amendment, OrderIntent
from engine.orders.life import OrderState
from engine.orders.money import average
from engine.units import UNITS_MAX, PriceTicks, QtyLots, WallNs, rescaled, units_decimal

ZERO = Decimal(0)


class TrackedOrder(Struct, kw_only=True, omit_defaults=True):
    """One order."""

    key: str
    """The engine's name for it: its client order id; of an order that is not ours, Kraken's id."""
    strategy: str
    """Empty for an order that is not ours."""
    intent: OrderIntent
    price_decimals: int
    """Of `limit_price`. The order's own: its pair may have others by now, its intent and an amendment say theirs."""
    qty_decimals: int
    """Likewise, of all quantities here."""
    qty: QtyLots
    """As last amended."""
    limit_price: PriceTicks | None
    state: OrderState = OrderState.NEW
    reason: str = ""
    cl_ord_id: str | None = None
    """What Kraken knows it by; None when that is a userref, or its own id alone."""
    userref: int | None = None
    order_id: str = ""
    route: str = ""
    deadline: WallNs = WallNs(0)
    filled: QtyLots = QtyLots(0)
    """By the fills that we have seen."""
    filled_before: QtyLots = QtyLots(0)
    """Of an adopted order: what had been filled before we saw it."""
    filled_at_venue: QtyLots = QtyLots(0)
    """As Kraken last counted; more than ours means that fills are missing."""
    cost: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    pending: str = ""
    """amend or cancel while a request is under way; at most one at a time."""
    amendment: Amendment | None = None
    """The one under way."""
    amend_deadline: WallNs = WallNs(0)
    """Kraken does not begin with the last one later than this."""
    cancel_wanted: bool = False
    """Somebody asked for its end, and it has not come yet."""
    submitted_at: WallNs = WallNs(0)
    aged_from: WallNs = WallNs(0)
    """Creation or last amend: what the rate counter's age costs count from."""
    amended_at_venue: WallNs = WallNs(0)
    """By Kraken's clock, the youngest amend that we know of: reports of older ones come late and change nothing."""
    changed_at: WallNs = WallNs(0)
    base_decimals: int | None = None
    """Of the base currency in the account, when the order was sent; None when that was not known."""

    @property
    def symbol(self) -> str:
        return self.intent.symbol

    @property
    def is_buy(self) -> bool:
        return self.intent.side == "buy"

    @property
    def is_open(self) -> bool:
        """May it still trade?"""
        return not self.state.is_terminal

    @property
    def is_external(self) -> bool:
        """Was it found at Kraken, and no strategy of ours knows it?"""
        return not self.strategy

    @property
    def remaining(self) -> QtyLots:
        return QtyLots(max(0, self.qty - self.filled - self.filled_before))

    @property
    def filled_known(self) -> QtyLots:
        """As Kraken counts it, or as the fills that we have seen sum up: the more."""
        return QtyLots(max(self.filled_at_venue, self.filled + self.filled_before))

    @property
    def fills_missing(self) -> QtyLots:
        """What Kraken has counted as filled and we have seen no fill of."""
        return QtyLots(max(0, self.filled_at_venue - self.filled - self.filled_before))

    @property
    def order_qty(self) -> Decimal:
        """As last amended."""
        return units_decimal(self.qty, self.qty_decimals)

    @property
    def limit(self) -> Decimal | None:
        """The limit price as last amended."""
        return None if self.limit_price is None else units_decimal(self.limit_price, self.price_decimals)

    @property
    def filled_qty(self) -> Decimal:
        """By the fills that we have seen."""
        return units_decimal(self.filled, self.qty_decimals)

    @property
    def filled_in_all(self) -> Decimal:
        """By those fills, and before we saw it."""
        return units_decimal(self.filled + self.filled_before, self.qty_decimals)

    def can_refine(self, price_decimals: int, qty_decimals: int) -> bool:
        """Can all amounts be told in the finer of the order's scale and this one?"""
        ticks = rescaled(self.limit_price or 0, self.price_decimals, max(price_decimals, self.price_decimals))
        lots = rescaled(max(self.qty, self.filled_known), self.qty_decimals, max(qty_decimals, self.qty_decimals))
        return max(ticks, lots) <= UNITS_MAX

    def refine(self, price_decimals: int, qty_decimals: int) -> None:
        """Tell all amounts in the finer of the order's scale and this one: none of them changes."""
        if price_decimals > self.price_decimals:
            if self.limit_price is not None:
                self.limit_price = PriceTicks(rescaled(self.limit_price, self.price_decimals, price_decimals))
            self.price_decimals = price_decimals
        if qty_decimals > self.qty_decimals:
            before = self.qty_decimals
            self.qty = QtyLots(rescaled(self.qty, before, qty_decimals))
            self.filled = QtyLots(rescaled(self.filled, before, qty_decimals))
            self.filled_before = QtyLots(rescaled(self.filled_before, before, qty_decimals))
            self.filled_at_venue = QtyLots(rescaled(self.filled_at_venue, before, qty_decimals))
            self.qty_decimals = qty_decimals

    def move_trigger(self, price: Decimal) -> None:
        """An amend has moved what sets the order off."""
        if self.intent.trigger is not None:
            self.intent = replace(self.intent, trigger=replace(self.intent.trigger, price=price))

    @property
    def avg_price(self) -> Decimal | None:
        """Of the fills that we have seen."""
        return average(self.cost, self.filled_qty) if self.filled else None
