"""One order as the router knows it, and the bracket around what an order has filled. Only
the blotter changes them, and only by journal records.
"""

from decimal import Decimal

from msgspec import Struct, field
from msgspec.structs import replace

from engine.orders.intent import Amendment, OrderIntent, Side
from engine.orders.life import OrderState
from engine.orders.money import add, average, subtract
from engine.orders.refusal import ErrorKind
from engine.units import UNITS_MAX, PriceTicks, QtyLots, WallNs, rescaled, units_decimal

ZERO = Decimal(0)


class TrackedOrder(Struct, kw_only=True, omit_defaults=True):
    """One order."""

    key: str
    """Its client order id; for an order that is not ours, Kraken's id."""
    strategy: str
    """Empty for an order that is not ours."""
    intent: OrderIntent
    price_decimals: int
    """Decimals of `limit_price`. The order's own: its pair's may have changed since, and an
    intent or amendment has its own.
    """
    qty_decimals: int
    """Decimals of all quantities here, likewise the order's own."""
    qty: QtyLots
    """As last amended."""
    limit_price: PriceTicks | None
    state: OrderState = OrderState.NEW
    reason: str = ""
    error: ErrorKind | None = None
    """The kind of the error that `reason` tells of, where it tells of one."""
    cl_ord_id: str | None = None
    """The client order id at Kraken; None if Kraken knows it by userref or by its own id
    only.
    """
    userref: int | None = None
    order_id: str = ""
    route: str = ""
    deadline: WallNs = WallNs(0)
    filled: QtyLots = QtyLots(0)
    """The sum of the fills that we received."""
    filled_before: QtyLots = QtyLots(0)
    """Of an adopted order: filled before we adopted it."""
    filled_at_venue: QtyLots = QtyLots(0)
    """As Kraken last told; if more than ours, fills are missing."""
    cost: Decimal = ZERO
    fees: dict[str, Decimal] = field(default_factory=dict)
    pending: str = ""
    """amend or cancel while a request is under way or in doubt. An amend in doubt stays it
    when a cancel is sent, as `cancel_wanted` tells then.
    """
    amendment: Amendment | None = None
    """The amend under way."""
    amend_deadline: WallNs = WallNs(0)
    """Kraken does not accept the last amend after this."""
    amend_sent_at: WallNs = WallNs(0)
    """By Kraken's clock, or a little before; 0 if not noted."""
    cancel_wanted: bool = False
    """True once its end was requested, until it has ended; of one that was rejected, or
    held to be absent, also afterwards: it may turn out to be open.
    """
    submitted_at: WallNs = WallNs(0)
    aged_from: WallNs = WallNs(0)
    """Creation or last amend, from which the rate counter's age costs count."""
    amended_at_venue: WallNs = WallNs(0)
    """By Kraken's clock, the latest amend known; late reports of older ones change nothing."""
    changed_at: WallNs = WallNs(0)
    """Later with each change, also while the wall clock steps back or stands still: the
    history, and whoever compares two states of an order, takes the later one."""
    sent_in_run: int = 0
    """Number of the engine's run in which it was sent, or found. Runs are told apart by
    this:
    the wall clock may be set back within one."""
    ended_in_run: int = 0
    """The same of its end; 0 while it is open."""
    closing_qty: Decimal = ZERO
    """The sum of the closing orders that are known, of an order with a conditional close."""
    base_decimals: int | None = None
    """Decimals of the base currency's balance when the order was sent; None if unknown."""
    parent: str = ""
    """The key of the order whose fills this one closes: by a conditional close, or as an
    exit of its bracket."""

    @property
    def symbol(self) -> str:
        return self.intent.symbol

    @property
    def is_buy(self) -> bool:
        return self.intent.side == "buy"

    @property
    def is_open(self) -> bool:
        """True if it may still trade."""
        return not self.state.is_terminal

    @property
    def is_external(self) -> bool:
        """True if it was found at Kraken and belongs to no strategy of ours."""
        return not self.strategy

    @property
    def remaining(self) -> QtyLots:
        return QtyLots(max(0, self.qty - self.filled - self.filled_before))

    @property
    def filled_known(self) -> QtyLots:
        """The larger of Kraken's total and the sum of the fills that we received."""
        return QtyLots(max(self.filled_at_venue, self.filled + self.filled_before))

    @property
    def fills_missing(self) -> QtyLots:
        """The quantity that Kraken counts as filled without a fill that we received."""
        return QtyLots(max(0, self.filled_at_venue - self.filled - self.filled_before))

    @property
    def order_qty(self) -> Decimal:
        """The quantity as last amended."""
        return units_decimal(self.qty, self.qty_decimals)

    @property
    def limit(self) -> Decimal | None:
        """The limit price as last amended."""
        return None if self.limit_price is None else units_decimal(self.limit_price, self.price_decimals)

    @property
    def filled_qty(self) -> Decimal:
        """The sum of the fills that we received."""
        return units_decimal(self.filled, self.qty_decimals)

    @property
    def filled_in_all(self) -> Decimal:
        """`filled_qty`, plus what was filled before we adopted the order."""
        return units_decimal(self.filled + self.filled_before, self.qty_decimals)

    def note_change(self, at: WallNs) -> None:
        """Count a change at `at` by the wall clock."""
        self.changed_at = at if at > self.changed_at else WallNs(self.changed_at + 1)

    def can_refine(self, price_decimals: int, qty_decimals: int) -> bool:
        """True if all amounts can be expressed in the finer of the order's scale and this
        one.
        """
        ticks = rescaled(self.limit_price or 0, self.price_decimals, max(price_decimals, self.price_decimals))
        lots = rescaled(max(self.qty, self.filled_known), self.qty_decimals, max(qty_decimals, self.qty_decimals))
        return max(ticks, lots) <= UNITS_MAX

    def refine(self, price_decimals: int, qty_decimals: int) -> None:
        """Express all amounts in the finer of the order's scale and this one; no amount
        changes.
        """
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
        """Set the trigger price, as an amend changed it."""
        if self.intent.trigger is not None:
            self.intent = replace(self.intent, trigger=replace(self.intent.trigger, price=price))

    @property
    def avg_price(self) -> Decimal | None:
        """The average price of the fills that we received; None without fills."""
        return average(self.cost, self.filled_qty) if self.filled else None


class Bracket(Struct, kw_only=True, omit_defaults=True):
    """What an order with stop and target has filled, and what its exits have closed of it.

    It outlasts the order, of which the blotter forgets the oldest that have ended.
    """

    key: str
    """That of the order that opened it."""
    strategy: str
    symbol: str
    side: Side
    """Of the exits: the other side."""
    stop: Decimal
    """The price that triggers the stop; an amend of a stop moves it."""
    target: PriceTicks
    price_decimals: int
    """Of `target`."""
    filled: Decimal = ZERO
    """By the order that opened it."""
    closing_qty: Decimal = ZERO
    """The sum of the closing orders that Kraken made for it, as far as they are known."""
    closed: Decimal = ZERO
    """By the fills of all exits."""
    held: Decimal = ZERO
    """What all these fills credited, positive while there is something to close: less than
    filled - closed where the ledger rounds."""
    exits: list[str] = field(default_factory=list)
    """The keys of exits that are open, or of which fills are missing."""

    @classmethod
    def of(cls, order: TrackedOrder) -> "Bracket | None":
        """The bracket that an order opens; None if it has none."""
        intent = order.intent
        if intent.take_profit is None or intent.conditional is None or intent.conditional.trigger_price is None:
            return None
        return cls(
            key=order.key,
            strategy=order.strategy,
            symbol=order.symbol,
            side="sell" if order.is_buy else "buy",
            stop=intent.conditional.trigger_price,
            target=intent.take_profit,
            price_decimals=intent.price_decimals,
        )

    @property
    def target_price(self) -> Decimal:
        """The target as a price."""
        return units_decimal(self.target, self.price_decimals)

    @property
    def left(self) -> Decimal:
        """What may still be closed; never more than was filled and is not closed."""
        return min(self.held, subtract(self.filled, self.closed))

    @property
    def unseen(self) -> Decimal:
        """The filled quantity without a known closing order of Kraken's."""
        return max(subtract(self.filled, self.closing_qty), ZERO)

    def fill(self, *, is_exit: bool, qty: Decimal, credited: Decimal) -> None:
        """Count a fill of the order, or of an exit; `credited` is what it added to the
        account's base currency."""
        if is_exit:
            self.closed = add(self.closed, qty)
        else:
            self.filled = add(self.filled, qty)
        self.held = add(self.held, credited if self.side == "sell" else -credited)
