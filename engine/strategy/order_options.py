"""The options of an order beside pair, side and quantity, and their conversion into exact
integers.

Names are short for people to write; Kraken's own are in `engine.orders.intent`. Amounts may
be Decimal, str, int or float; a float counts as the shortest decimal that means it (0.1 is
0.1). Words may be in capitals. None is the same as left out, with one exception:
`limit=None` is refused, so that no market order is made of one that should have a price.

    option ─► order_options: does it exist? ─► option_rules: is it valid, and do all agree?

A TypedDict is not checked at run time, and a plugin may pass anything: every option has a
reader in a table here, and one without a reader is refused. The result can be sent as it
is.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypedDict, cast

from engine.market import Pair
from engine.orders.amounts import amend_refusal, order_refusal, usual_trigger_type
from engine.orders.intent import (
    IS_IOC,
    IS_POST_ONLY,
    IS_SELL,
    PLAIN_FLAGS,
    Amendment,
    Conditional,
    OrderIntent,
    Side,
    Trigger,
)
from engine.orders.refusal import RefusedError
from engine.strategy.option_rules import (
    CLOSING,
    KINDS,
    LIMITED,
    TRIGGERED,
    Reader,
    anything,
    as_decimal,
    check_amend,
    check_bracket,
    check_kind,
    check_together,
    client_order_id,
    conditional_of,
    decimal,
    flag,
    limit_ticks,
    moment,
    no_such_option,
    order_lots,
    positive,
    some_lots,
    word_of,
)
from engine.units import DIGITS_MAX, UNITS_MAX, PriceTicks, QtyLots, WallNs, units_decimal

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
    """Never take: Kraken cancels the order if it would trade on arrival."""
    time_in_force: Literal["gtc", "gtd", "ioc", "fok"]
    expire_at: WallNs | datetime
    """With gtd: at most a month ahead, in whole seconds. Nanoseconds since 1970, or a
    datetime with a timezone."""
    effective_at: WallNs | datetime
    """Scheduled start, as `expire_at`."""
    trigger: Amount
    """Of stops and take-profits: a price, or how far from the last one (-2 with pct); of
    trailing stops: a distance. See `trigger_type`."""
    trigger_type: Literal["static", "pct", "quote"]
    """What `trigger` is: a price, per cent, or an amount in quote currency; static unless
    given, quote for trailing."""
    trigger_reference: Literal["last", "index"]
    limit_offset: Amount
    """Of a trailing-stop-limit: how far its limit lies from the trigger; see
    `limit_offset_type`."""
    limit_offset_type: Literal["pct", "quote"]
    display_qty: Amount
    """Of an iceberg: what the book shows, at least 1/15 of the order."""
    reduce_only: bool
    margin: bool
    fee_preference: Literal["base", "quote"]
    stp_type: Literal["cancel_newest", "cancel_oldest", "cancel_both"]
    """What Kraken does when the order would trade with another of the same account."""
    cash_qty: Amount
    """Of a market buy: spend this much quote currency; give `qty` as 0. `Order.qty` is
    then what is filled so far."""
    conditional: Conditional
    """Closing order that each fill spawns."""
    stop_loss: Amount
    """With `take_profit`, a bracket: for each fill Kraken places a stop at this price,
    which protects what was bought (or sold) though every process dies. Kraken amends no
    such entry; its stops can be amended, by `trigger`. Who cancels an exit ends the
    bracket; exits have the entry's `id` as `parent_id`."""
    take_profit: Amount
    """With `stop_loss`: when the book reaches this price, the engine cancels the stops and
    closes what was filled at this price or better; what the book does not take gets a stop
    again. Not with `conditional`, `cl_ord_id`, `margin` or fees in the base currency."""
    cl_ord_id: str
    """A client order id of your own, used once: a UUID, 32 hexadecimal digits, or up to 18
    letters, digits, dashes, dots and underlines. It is the order's `id` then. Not with
    `conditional`, which Kraken knows by another name."""
    tag: object
    """Anything; kept as `order.tag` until the run ends, never sent."""


class AmendOptions(TypedDict, total=False):
    """The fields of an open order that can be changed;
    https://docs.kraken.com/api/docs/websocket-v2/amend_order
    """

    qty: Amount
    """The whole order, filled part included."""
    limit: Amount
    trigger: Amount
    limit_offset: Amount
    display_qty: Amount
    post_only: bool
    """Refuse the amend if the new price would trade at once; without it, it trades."""


_READERS: Final[Mapping[str, Reader]] = {
    "limit": limit_ticks,
    "order_type": word_of(*KINDS),
    "post_only": flag,
    "time_in_force": word_of("gtc", "gtd", "ioc", "fok"),
    "expire_at": moment,
    "effective_at": moment,
    "trigger": decimal,
    "trigger_type": word_of("static", "pct", "quote"),
    "trigger_reference": word_of("last", "index"),
    "limit_offset": decimal,
    "limit_offset_type": word_of("pct", "quote"),
    "display_qty": some_lots,
    "reduce_only": flag,
    "margin": flag,
    "fee_preference": word_of("base", "quote"),
    "stp_type": word_of("cancel_newest", "cancel_oldest", "cancel_both"),
    "cash_qty": positive,
    "conditional": conditional_of(CLOSING, LIMITED, TRIGGERED),
    "stop_loss": limit_ticks,
    "take_profit": limit_ticks,
    "cl_ord_id": client_order_id,
    "tag": anything,
}
_AMEND_READERS: Final[Mapping[str, Reader]] = {
    "qty": some_lots,
    "limit": limit_ticks,
    "trigger": decimal,
    "limit_offset": decimal,
    "display_qty": some_lots,
    "post_only": flag,
}
_side = word_of("buy", "sell")

# Options that cannot contradict one another once the order's type takes them (except gtd):
# most orders have no others.
_RESTING: Final = frozenset(("limit", "post_only", "order_type"))
_TAKING: Final = frozenset(("limit", "time_in_force", "order_type"))


def make_intent(pair: Pair, side: str, qty: Amount, options: OrderOptions, now: WallNs) -> OrderIntent:
    """Convert an order to the pair's ticks and lots. Raises ValueError, in one sentence, if
    it is invalid.

    `expire_at` and `effective_at` must lie after `now`.
    """
    given = _read(pair, options, _READERS)
    if "stop_loss" in given or "take_profit" in given:
        check_bracket(_side(pair, "side", side), given)
        stop = units_decimal(given["stop_loss"], pair.price_decimals)
        given["conditional"] = Conditional("stop-loss", trigger_price=stop)
    if "conditional" in given and options.get("cl_ord_id") is not None:
        raise ValueError("an order with a conditional close takes no cl_ord_id: Kraken knows it by its userref")
    order_type = given.get("order_type")
    if order_type is None:
        order_type = "limit" if "limit" in given else _type_without_limit(options)
    side = _side(pair, "side", side)
    lots = order_lots(pair, "qty", qty)
    check_kind(order_type, given)
    if not lots and "cash_qty" not in given and order_type != "settle-position":
        raise ValueError("qty must be a number above 0: an order of 0 is nothing")
    limit = given.get("limit")
    time_in_force = given.get("time_in_force", "gtc")
    if given.keys() <= _RESTING or (given.keys() <= _TAKING and time_in_force in ("gtc", "ioc")):  # hot
        return OrderIntent(
            symbol=pair.symbol,
            side=cast(Side, side),
            order_type=order_type,
            price_decimals=pair.price_decimals,
            qty_decimals=pair.qty_decimals,
            qty=lots,
            limit_price=limit,
            time_in_force=time_in_force,
            post_only="post_only" in given,
        )
    check_together(order_type, side, lots, given, now)
    intent = _full_intent(pair, cast(Side, side), order_type, lots, given)
    if why := order_refusal(intent, pair):
        raise RefusedError(why)
    return intent


def _full_intent(pair: Pair, side: Side, order_type: str, lots: QtyLots, given: dict[str, Any]) -> OrderIntent:
    trigger = None
    if "trigger" in given:
        trigger_type = given.get("trigger_type") or usual_trigger_type(order_type)
        trigger = Trigger(given["trigger"], trigger_type, given.get("trigger_reference", "last"))
    return OrderIntent(
        symbol=pair.symbol,
        side=side,
        order_type=order_type,
        price_decimals=pair.price_decimals,
        qty_decimals=pair.qty_decimals,
        qty=lots,
        limit_price=given.get("limit"),
        limit_offset=given.get("limit_offset"),
        limit_price_type=given.get("limit_offset_type"),
        trigger=trigger,
        time_in_force=given.get("time_in_force", "gtc"),
        expire_at=given.get("expire_at"),
        effective_at=given.get("effective_at"),
        post_only="post_only" in given,
        reduce_only="reduce_only" in given,
        margin="margin" in given,
        display_qty=given.get("display_qty"),
        fee_preference=given.get("fee_preference"),
        stp_type=given.get("stp_type"),
        cash_qty=given.get("cash_qty"),
        conditional=given.get("conditional"),
        take_profit=given.get("take_profit"),
    )


_POWERS: Final = tuple(10**decimals for decimals in range(DIGITS_MAX + 1))
_PLAIN_SIDES: Final = {"buy": 0, "sell": IS_SELL}


def plain_limit(pair: Pair, side: Any, qty: Any, options: Any) -> tuple[int, PriceTicks, QtyLots] | None:
    """Flags (as in `intent`), ticks and lots of a valid limit order; None if `make_intent`
    must read it.

    It may have no other options than limit, post_only, time_in_force, order_type and tag.
    """
    # Hot: most orders are read here.
    if type(options) is not dict or type(side) is not str or (flags := _PLAIN_SIDES.get(side)) is None:
        return None
    limit = None
    for name, value in options.items():
        if name == "limit":
            limit = value
        elif name == "post_only" and type(value) is bool:
            if value:
                flags |= IS_POST_ONLY
        elif name == "time_in_force" and type(value) is str and value in ("gtc", "ioc"):
            if value == "ioc":
                flags |= IS_IOC
        elif name != "tag" and not (name == "order_type" and type(value) is str and value == "limit"):
            return None
    if flags not in PLAIN_FLAGS:
        return None
    ticks, lots = _plain_units(limit, pair.price_decimals), _plain_units(qty, pair.qty_decimals)
    if not ticks or not lots or ticks % pair.price_increment_ticks or lots % pair.qty_increment_lots:
        return None
    return flags, PriceTicks(ticks), QtyLots(lots)


def _plain_units(number: Any, decimals: int) -> int:
    """An amount as a count of 10**-decimals, within what an order can hold; 0 if it is
    invalid.
    """
    if type(number) is not Decimal:
        if type(number) not in (str, float, int):
            return 0
        try:
            number = as_decimal("", number)
        except ValueError:
            return 0
    if not -DIGITS_MAX < number.adjusted() < DIGITS_MAX or not number.is_finite() or decimals > DIGITS_MAX:
        return 0
    numerator, denominator = number.as_integer_ratio()
    units, rest = divmod(numerator * _POWERS[decimals], denominator)
    return units if not rest and 0 < units <= UNITS_MAX else 0


def make_amendment(
    pair: Pair, order_type: str, options: AmendOptions, *, trigger_type: str = "", limit_offset_type: str = ""
) -> Amendment:
    """Convert a change of an order to the pair's ticks and lots. Raises ValueError as
    `make_intent` does, and if nothing would change.

    `trigger_type` and `limit_offset_type` are those of the order, as in `OrderOptions`;
    empty: the default type.
    """
    given = _read(pair, options, _AMEND_READERS, is_amend=True)
    if not given.keys() - {"post_only"}:
        raise ValueError("an amend must change something: give qty, limit, trigger, limit_offset or display_qty")
    check_amend(order_type, given)
    amendment = Amendment(
        price_decimals=pair.price_decimals,
        qty_decimals=pair.qty_decimals,
        qty=given.get("qty"),
        limit_price=given.get("limit"),
        limit_offset=given.get("limit_offset"),
        trigger_price=given.get("trigger"),
        display_qty=given.get("display_qty"),
        post_only="post_only" in given,
    )
    if why := amend_refusal(amendment, order_type, trigger_type, limit_offset_type, pair):
        raise RefusedError(why)
    return amendment


def _read(pair: Pair, options: Any, readers: Mapping[str, Reader], *, is_amend: bool = False) -> dict[str, Any]:
    """The options as their readers return them; options whose value means "not set" are
    left out.
    """
    if not isinstance(options, dict):
        raise ValueError("the options of an order must be a dict, such as {'limit': price}")
    given = {}
    for name, value in options.items():
        reader = readers.get(name)
        if reader is None:
            raise no_such_option(name, readers, is_amend=is_amend)
        if value is not None and (meant := reader(pair, name, value)) is not None:
            given[name] = meant
    return given


def _type_without_limit(options: OrderOptions) -> str:
    if "limit" in options:
        raise ValueError("limit is None: give a price, or leave limit out for a market order")
    return "market"
