"""What can be asked of an order beside pair, side and quantity; and how that becomes exact integers.

Names are short here for people to write; Kraken's own are in `engine.orders.intent`. Amounts may be Decimal, str, int
or float; a float counts as the shortest decimal that means it (0.1 is 0.1).
"""

from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypedDict, cast

from engine.market import Pair
from engine.orders.intent import Amendment, Conditional, OrderIntent, Trigger
from engine.units import PriceTicks, QtyLots, WallNs

Amount = Decimal | str | int | float
OrderType = Literal[
    "market", "limit", "iceberg", "stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit", "trailing-stop",
    "trailing-stop-limit", "settle-position",
]  # fmt: skip


class OrderOptions(TypedDict, total=False):
    """Options of a new order; https://docs.kraken.com/api/docs/websocket-v2/add_order"""

    limit: Amount
    """The limit price, on the pair's tick."""
    order_type: OrderType
    """When left out: limit with a `limit`, market without."""
    post_only: bool
    """Never take: Kraken cancels the order if it would on arrival."""
    time_in_force: Literal["gtc", "gtd", "ioc", "fok"]
    expire_at: WallNs
    """With gtd."""
    effective_at: WallNs
    """Scheduled start."""
    trigger: Amount
    """Of stops and take-profits: a price; of trailing stops: a distance. See `trigger_type`."""
    trigger_type: Literal["static", "pct", "quote"]
    """What `trigger` is: a price, per cent, or an amount in quote currency; static unless given, quote for trailing."""
    trigger_reference: Literal["last", "index"]
    limit_offset: Amount
    """Of a trailing-stop-limit: how far its limit lies from the trigger; see `limit_offset_type`."""
    limit_offset_type: Literal["pct", "quote"]
    display_qty: Amount
    """Of an iceberg: what the book shows, at least 1/15 of the order."""
    reduce_only: bool
    margin: bool
    fee_preference: Literal["base", "quote"]
    stp_type: Literal["cancel_newest", "cancel_oldest", "cancel_both"]
    """What Kraken does when the order would meet another of the same account."""
    cash_qty: Amount
    """Of a market buy: spend this much quote currency; `qty` is then 0."""
    conditional: Conditional
    """Closing order that each fill spawns."""
    tag: object
    """Anything; kept as `order.tag`, never sent."""


class AmendOptions(TypedDict, total=False):
    """What of an open order can be changed; https://docs.kraken.com/api/docs/websocket-v2/amend_order"""

    qty: Amount
    """The whole order, what has been filled included."""
    limit: Amount
    trigger: Amount
    limit_offset: Amount
    display_qty: Amount
    post_only: bool
    """Refuse the amend if its new price would take; without it, it takes."""


def exact(amount: Amount, what: str, *, may_be_negative: bool = False) -> Decimal:
    """The amount as a Decimal; ValueError when it is no number, or a negative one where that means nothing."""
    try:
        number = Decimal(repr(amount)) if isinstance(amount, float) else Decimal(amount)
    except (InvalidOperation, TypeError, ValueError):
        raise ValueError(f"{what} must be a number, not {amount!r}") from None
    if not number.is_finite() or (number < 0 and not may_be_negative):
        raise ValueError(f"{what} must be a number from 0, not {amount}")
    return number


def make_intent(pair: Pair, side: str, qty: Amount, options: OrderOptions) -> OrderIntent:
    """The order in the pair's ticks and lots; ValueError, in one sentence, when it cannot be said in them."""
    limit = _price(pair, options, "limit")
    order_type = options.get("order_type") or ("market" if limit is None else "limit")
    trigger = None
    if (trigger_price := options.get("trigger")) is not None:
        usual = "quote" if order_type.startswith("trailing") else "static"
        trigger = Trigger(
            exact(trigger_price, "trigger"),
            options.get("trigger_type", usual),
            options.get("trigger_reference", "last"),
        )
    offset = options.get("limit_offset")
    return OrderIntent(
        symbol=pair.symbol,
        side=cast(Any, side),
        order_type=order_type,
        qty=pair.qty_lots(exact(qty, "qty")),
        limit_price=limit,
        limit_offset=None if offset is None else exact(offset, "limit_offset", may_be_negative=True),
        limit_price_type=options.get("limit_offset_type"),
        trigger=trigger,
        time_in_force=options.get("time_in_force", "gtc"),
        expire_at=options.get("expire_at"),
        effective_at=options.get("effective_at"),
        post_only=bool(options.get("post_only", False)),
        reduce_only=bool(options.get("reduce_only", False)),
        margin=bool(options.get("margin", False)),
        display_qty=_qty(pair, options, "display_qty"),
        fee_preference=options.get("fee_preference"),
        stp_type=options.get("stp_type"),
        cash_qty=None if (cash := options.get("cash_qty")) is None else exact(cash, "cash_qty"),
        conditional=options.get("conditional"),
    )


def make_amendment(pair: Pair, options: AmendOptions) -> Amendment:
    """The change in the pair's ticks and lots; ValueError as from `make_intent`, and when nothing is to change."""
    if not options.keys() - {"post_only"}:
        raise ValueError("an amend must change something: give qty, limit, trigger or display_qty")
    trigger, offset = options.get("trigger"), options.get("limit_offset")
    return Amendment(
        qty=_qty(pair, options, "qty"),
        limit_price=_price(pair, options, "limit"),
        limit_offset=None if offset is None else exact(offset, "limit_offset", may_be_negative=True),
        trigger_price=None if trigger is None else exact(trigger, "trigger", may_be_negative=True),
        display_qty=_qty(pair, options, "display_qty"),
        post_only=bool(options.get("post_only", False)),
    )


def _price(pair: Pair, options: Any, key: str) -> PriceTicks | None:
    return None if (amount := options.get(key)) is None else pair.price_ticks(exact(amount, key))


def _qty(pair: Pair, options: Any, key: str) -> QtyLots | None:
    return None if (amount := options.get(key)) is None else pair.qty_lots(exact(amount, key))
