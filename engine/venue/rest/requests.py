"""REST's order requests, translated into the venue's own (WebSocket v2 names, exact
numbers).

Peculiar to REST: `price` means the limit of a limit order and the trigger of a stop,
`price2` the limit of a stop; prices may be relative, with `+`, `-` or `#` in front and `%`
behind; flags are a list of words. The venue's checks of an order are the same for both
interfaces, and are not done here. Every function raises VenueReject.
"""

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Literal, cast

import msgspec

from engine.errors import VenueReject
from engine.units import NS_PER_S, PriceTicks, WallNs, units_decimal
from engine.venue.market.matching import BUY, SELL, Side
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PairSpec
from engine.venue.rest.params import Params, to_decimal
from engine.venue.trading.client_order import (
    KINDS,
    LIMIT_KINDS,
    TRAILING_KINDS,
    TRIGGER_KINDS,
    AmendSpec,
    ClientOrder,
    Conditional,
    EditSpec,
    OrderKind,
    OrderSpec,
    PriceType,
    Stp,
    TimeInForce,
    Triggers,
)
from engine.venue.trading.order_checks import BAD_PRICE, DEADLINE_NS_MIN_REST, INVALID, check_deadline, invalid
from engine.venue.trading.triggers import offset_ticks, trigger_ticks

_TIMES_IN_FORCE: Final = ("GTC", "IOC", "GTD", "FOK")
_STP_TYPES: Final = ("cancel-newest", "cancel-oldest", "cancel-both")
_FLAGS: Final = frozenset({"post", "fcib", "fciq", "nompp", "viqc"})
_PRICE: Final = re.compile(r"([+\-#]?)([0-9.]+)(%?)")

EXPIRY_NS_MIN: Final = 5 * NS_PER_S  # of an expiry given as a distance

# v2's names in the venue's checks → the names in the calls that place an order.
_ORDER_WORDS: Final = {
    "cash_order_qty": "viqc",
    "conditional": "close",
    "display_qty": "displayvol",
    "effective_time": "starttm",
    "expire_time": "expiretm",
    "limit_price": "price",
    "limit_price_type": "price2",  # of a trailing stop's limit, the only one with a type
    "post_only": "post",
    "price_type": "price",
    "time_in_force": "timeinforce",
    "trigger_price": "price",
    "trigger_price_type": "price",
    "triggers": "price",
}
# AmendOrder has v2's names, but no types: a price shows its type by its sign and %.
_AMEND_WORDS: Final = {
    "limit_price_type": "limit_price",
    "trigger_price_type": "trigger_price",
    "volume": "order_qty",
}
_WORDS_OF_CALL: Final[dict[str, dict[str, str]]] = {
    "AddOrder": _ORDER_WORDS,
    "AddOrderBatch": _ORDER_WORDS,
    "EditOrder": _ORDER_WORDS,
    "AmendOrder": _AMEND_WORDS,
}

BATCH_MIN: Final = 2
BATCH_MAX: Final = 15


class RestPrice(msgspec.Struct, frozen=True):
    """A price as REST writes it: absolute, or a distance with its sign and unit."""

    sign: str  # "", "+", "-" or "#"
    value: Decimal
    is_pct: bool

    @property
    def price_type(self) -> PriceType:
        """The kind of distance, in v2's words."""
        return "pct" if self.is_pct else "quote" if self.sign else "static"


def in_rest_words(call: str, refusal: VenueReject) -> VenueReject:
    """The same refusal, with the parameter named as this call of REST names it."""
    start, _, name = str(refusal).rpartition(":")
    word = _WORDS_OF_CALL.get(call, {}).get(name) if start == INVALID else None
    return refusal if word is None else invalid(word)


def rest_price(params: Params, name: str) -> RestPrice | None:
    """Read `37500`, `+1%` or `#25.5`; None when not given."""
    text = params.text(name)
    if text is None:
        return None
    match = _PRICE.fullmatch(text.strip())
    number = to_decimal(match[2]) if match is not None else None
    if match is None or number is None:
        raise invalid(name)
    return RestPrice(match[1], number, bool(match[3]))


def signed(price: RestPrice, side: Side, kind: str) -> Decimal:
    """The distance with its sign; `#` means the usual direction, below the market for a
    buyer.
    """
    is_up = price.sign == "+" or (
        price.sign == "#" and (side is SELL) != (kind.startswith("stop-loss") or kind in TRAILING_KINDS)
    )
    return price.value if is_up else -price.value


def _absolute(price: RestPrice, reference: PriceTicks, side: Side, kind: str, pair: PairSpec) -> Decimal:
    """The absolute price of a limit, half up to the tick where it is relative to
    `reference`.
    """
    if price.price_type == "static":
        return price.value
    if not price.sign:
        raise VenueReject(BAD_PRICE)  # a percentage without a sign
    ticks = reference + offset_ticks(signed(price, side, kind), price.price_type, reference, pair)
    return units_decimal(ticks, pair.price_decimals)


def _triggers(price: RestPrice, kind: OrderKind, side: Side, reference: str) -> Triggers:
    """The trigger of a stop or take order; a trailing one is a distance with or without a
    sign.
    """
    chosen = cast(Literal["last", "index"], reference)
    if kind in TRAILING_KINDS:
        if price.sign not in ("", "+"):
            raise VenueReject(BAD_PRICE)
        return Triggers(price.value, "pct" if price.is_pct else "quote", chosen)
    if price.price_type == "static":
        return Triggers(price.value, "static", chosen)
    if not price.sign:
        raise VenueReject(BAD_PRICE)
    return Triggers(signed(price, side, kind), price.price_type, chosen)


class _Prices(msgspec.Struct, frozen=True):
    limit_price: Decimal | None = None
    limit_price_type: PriceType | None = None
    triggers: Triggers | None = None


def _prices(params: Params, kind: OrderKind, side: Side, market: PairMarket) -> _Prices:
    """`price` and `price2` by their meaning for the kind of order."""
    price, price2 = rest_price(params, "price"), rest_price(params, "price2")
    pair = market.pair
    if kind not in TRIGGER_KINDS:
        if kind not in LIMIT_KINDS:
            return _Prices()
        if price is None or not price.value:
            raise VenueReject(BAD_PRICE)
        return _Prices(_absolute(price, market.last, side, "limit", pair))
    if price is None or not price.value:
        raise VenueReject(BAD_PRICE)
    triggers = _triggers(price, kind, side, params.choice("trigger", ("last", "index")) or "last")
    if kind not in LIMIT_KINDS:
        return _Prices(triggers=triggers)
    if price2 is None:
        raise VenueReject(BAD_PRICE)
    if kind == "trailing-stop-limit":
        return _Prices(*_limit_offset(price2), triggers)
    return _Prices(_absolute(price2, _trigger_ticks(triggers, kind, side, market), side, kind, pair), None, triggers)


def _limit_offset(price2: RestPrice) -> tuple[Decimal, PriceType]:
    """The distance from a trailing stop's trigger to its limit, and its unit."""
    return (-price2.value if price2.sign == "-" else price2.value), ("pct" if price2.is_pct else "quote")


def _trigger_ticks(triggers: Triggers, kind: OrderKind, side: Side, market: PairMarket) -> PriceTicks:
    """The trigger's price, half up to the tick, which a relative limit refers to."""
    if triggers.price_type == "static":
        return PriceTicks(int(triggers.price.scaleb(market.pair.price_decimals).to_integral_value(ROUND_HALF_UP)))
    return PriceTicks(trigger_ticks(triggers, kind, side, market.last, market.pair))


def _conditional(params: Params, side: Side, market: PairMarket) -> Conditional | None:
    """`close[ordertype]`, `close[price]`, `close[price2]`."""
    close = params.inner("close")
    if close is None or not close.has("ordertype"):
        return None
    kind = _kind(close, "close")
    prices = _prices(close, kind, SELL if side is BUY else BUY, market)
    triggers = prices.triggers
    return Conditional(
        order_type=kind,
        limit_price=prices.limit_price,
        limit_price_type=prices.limit_price_type or "static",
        trigger_price=None if triggers is None else triggers.price,
        trigger_price_type="static" if triggers is None else triggers.price_type,
    )


def _kind(params: Params, name: str = "ordertype") -> OrderKind:
    kind = params.text("ordertype")
    if kind not in KINDS:
        raise invalid(name)
    return cast(OrderKind, kind)


def _side(params: Params) -> Side:
    side = params.choice("type", ("buy", "sell"))
    if side is None:
        raise invalid("type")
    return BUY if side == "buy" else SELL


def _flags(params: Params) -> set[str]:
    flags = set(params.texts("oflags"))
    if not flags <= _FLAGS or flags >= {"fcib", "fciq"}:
        raise invalid("oflags")
    return flags


def _fee_preference(flags: set[str]) -> Literal["base", "quote"] | None:
    return "base" if "fcib" in flags else "quote" if "fciq" in flags else None


def _leveraged(params: Params) -> bool:
    """Whether margin is asked for: `none`, or a factor such as `2:1` or `2`."""
    leverage = params.text("leverage")
    if leverage in (None, "none", "0"):
        return False
    if not re.fullmatch(r"\d{1,2}(:1)?", leverage or ""):
        raise invalid("leverage")
    return True


def read_deadline(params: Params, at: WallNs) -> WallNs | None:
    """The deadline of a request, two to sixty seconds ahead; None for the default."""
    deadline = params.deadline()
    check_deadline(deadline, at, DEADLINE_NS_MIN_REST)
    return deadline


def new_order(params: Params, market: PairMarket, at: WallNs, deadline: WallNs | None, validate: bool) -> OrderSpec:
    """AddOrder, or one row of AddOrderBatch."""
    kind = _kind(params)
    side = _side(params)
    volume = params.decimal("volume")
    if volume is None:
        raise invalid("volume")
    flags = _flags(params)
    in_quote = "viqc" in flags
    if in_quote and volume <= 0:
        raise invalid("volume")
    prices = _prices(params, kind, side, market)
    expire_time = _expiry(params, at)
    tif = params.choice("timeinforce", _TIMES_IN_FORCE) or ("GTC" if expire_time is None else "GTD")
    stp_type = params.choice("stptype", _STP_TYPES) or "cancel-newest"
    return OrderSpec(
        order_type=kind,
        side="buy" if side is BUY else "sell",
        symbol=market.pair.symbol,
        order_qty=None if in_quote else volume,
        cash_order_qty=volume if in_quote else None,
        limit_price=prices.limit_price,
        limit_price_type=prices.limit_price_type,
        triggers=prices.triggers,
        time_in_force=cast(TimeInForce, tif.lower()),
        expire_time=expire_time,
        effective_time=params.moment("starttm", at),
        deadline=deadline,
        post_only="post" in flags,
        reduce_only=params.flag("reduce_only"),
        margin=_leveraged(params),
        display_qty=params.decimal("displayvol"),
        fee_preference=_fee_preference(flags),
        stp_type=cast(Stp, stp_type.replace("-", "_")),
        cl_ord_id=_client_id(params),
        order_userref=params.integer("userref"),
        conditional=_conditional(params, side, market),
        sender_sub_id=params.text("sender_sub_id"),
        validate=validate,
    )


def _expiry(params: Params, at: WallNs) -> WallNs | None:
    """When the order expires; a distance, `+n`, must be five seconds or more."""
    expire_time = params.moment("expiretm", at)
    is_distance = (params.text("expiretm") or "").startswith("+")
    if expire_time is not None and is_distance and expire_time - at < EXPIRY_NS_MIN:
        raise invalid("expiretm")
    return expire_time


def _client_id(params: Params) -> str | None:
    cl_ord_id = params.raw("cl_ord_id")
    if cl_ord_id is None or cl_ord_id == "":
        return None
    if not isinstance(cl_ord_id, str):
        raise invalid("cl_ord_id")
    return cl_ord_id


def batch_rows(params: Params) -> list[Params]:
    """The orders of AddOrderBatch."""
    rows = params.elements("orders")
    if not BATCH_MIN <= len(rows) <= BATCH_MAX or not all(isinstance(row, dict) for row in rows):
        raise invalid("orders")
    return [Params(row) for row in rows]


def amend(params: Params, order: ClientOrder, market: PairMarket, at: WallNs) -> AmendSpec:
    """AmendOrder: v2's names with text as values, and relative prices."""
    kind, side, pair = order.order_type, order.side, market.pair
    limit, trigger = rest_price(params, "limit_price"), rest_price(params, "trigger_price")
    limit_price = limit_price_type = None
    if limit is not None:
        if kind == "trailing-stop-limit":
            limit_price, limit_price_type = (-limit.value if limit.sign == "-" else limit.value), limit.price_type
            limit_price_type = "quote" if limit_price_type == "static" else limit_price_type
        else:
            limit_price = _absolute(limit, market.last, side, "limit", pair)
    triggers = None
    if trigger is not None:
        triggers = _triggers(trigger, kind, side, "last")
    return AmendSpec(
        order_id=order.order_id,
        order_qty=params.decimal("order_qty"),
        limit_price=limit_price,
        limit_price_type=limit_price_type,
        trigger_price=None if triggers is None else triggers.price,
        trigger_price_type=None if triggers is None else triggers.price_type,
        display_qty=params.decimal("display_qty"),
        post_only=params.flag("post_only"),
        deadline=read_deadline(params, at),
    )


def edit(params: Params, old: ClientOrder, market: PairMarket, at: WallNs, validate: bool) -> EditSpec:
    """EditOrder: what is not given keeps its value."""
    flags = _flags(params)
    kind = old.order_type
    limit_price, triggers = None, None
    if params.has("price") or params.has("price2"):
        limit_price, triggers = _edited_prices(params, old, market, kind)
    return EditSpec(
        order_id=old.order_id,
        symbol=market.pair.symbol,
        order_qty=params.decimal("volume"),
        limit_price=limit_price,
        display_qty=params.decimal("displayvol"),
        triggers=triggers,
        fee_preference=_fee_preference(flags),
        order_userref=params.integer("userref"),
        post_only="post" in flags,
        reduce_only=params.flag("reduce_only"),
        deadline=read_deadline(params, at),
        validate=validate,
    )


def _edited_prices(
    params: Params, old: ClientOrder, market: PairMarket, kind: OrderKind
) -> tuple[Decimal | None, Triggers | None]:
    price, price2 = rest_price(params, "price"), rest_price(params, "price2")
    if kind not in TRIGGER_KINDS:
        return (None if price is None else _absolute(price, market.last, old.side, "limit", market.pair)), None
    triggers = None if price is None else _triggers(price, kind, old.side, "last")
    if price2 is None:
        return None, triggers
    if kind == "trailing-stop-limit":
        offset, price_type = _limit_offset(price2)
        if price_type != (old.spec.limit_price_type or "quote"):
            raise invalid("price2")  # an edit does not change the unit of a distance
        return offset, triggers
    trigger = old.trigger_ticks or market.last
    if triggers is not None and kind not in TRAILING_KINDS:
        trigger = _trigger_ticks(triggers, kind, old.side, market)
    return _absolute(price2, trigger, old.side, kind, market.pair), triggers
