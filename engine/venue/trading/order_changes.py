"""The orders that result from an amend, an edit, or a conditional close.

Terms and requests as they would be; nothing here changes an account or a book.
"""

from decimal import Decimal

import msgspec

from engine.errors import VenueReject
from engine.units import PriceTicks, QtyLots, WallNs
from engine.venue.market.matching import BUY, SELL
from engine.venue.market.pair_market import PairMarket
from engine.venue.trading.client_order import (
    LIMIT_KINDS,
    TRAILING_KINDS,
    Amendment,
    AmendSpec,
    ClientOrder,
    EditSpec,
    OrderSpec,
    Triggers,
)
from engine.venue.trading.order_checks import (
    TOO_SMALL,
    Terms,
    check_cost,
    check_display,
    check_distance,
    check_minimum,
    first_trigger,
    invalid,
    price_ticks,
    qty_lots,
)
from engine.venue.trading.settlement import Ids, buying_reserve, quote_ppm, selling_reserve
from engine.venue.trading.triggers import trail, trigger_ticks


def amended_terms(order: ClientOrder, change: AmendSpec) -> tuple[QtyLots, PriceTicks | None, QtyLots]:
    """The lots, limit and displayed lots that would result."""
    pair = order.pair
    lots, limit, display = order.qty_lots, order.limit_ticks, order.display_lots
    if change.limit_price_type not in (None, "static") and order.order_type != "trailing-stop-limit":
        raise invalid("limit_price_type")
    if change.limit_price is not None:
        if order.order_type not in LIMIT_KINDS:
            raise VenueReject("EOrder:Invalid limit price")
        if order.order_type != "trailing-stop-limit" or order.triggered_at is not None:
            limit = price_ticks(change.limit_price, pair)
    if change.order_qty is not None:
        lots = qty_lots(change.order_qty, pair)
        if lots <= order.cum_lots:
            lots = order.cum_lots  # fills stay, the remainder is dropped
            if not lots:
                raise VenueReject(TOO_SMALL)
        else:
            check_minimum(lots, pair)
    if change.display_qty is not None:
        if order.order_type != "iceberg":
            raise invalid("display_qty")
        display = qty_lots(change.display_qty, pair)
        check_display(display, lots - order.cum_lots)
    if limit is not None and lots > order.cum_lots:
        check_cost(limit, lots, pair)
    return lots, limit, display


def amended_spec(order: ClientOrder, change: AmendSpec, market: PairMarket) -> OrderSpec:
    """The request that would have given these terms; the same object where only terms
    change.
    """
    spec = order.spec
    if change.trigger_price is not None or change.trigger_price_type is not None:
        if spec.triggers is None or order.triggered_at is not None:
            raise invalid("trigger_price")
        if change.trigger_price is not None:
            price_type = change.trigger_price_type
            if price_type is None:
                price_type = spec.triggers.price_type if order.order_type in TRAILING_KINDS else "static"
            if order.order_type in TRAILING_KINDS and price_type == "static":
                raise invalid("trigger_price_type")
            triggers = Triggers(change.trigger_price, price_type, spec.triggers.reference)
            first_trigger(triggers, order.order_type, order.side, market)  # raises before anything has changed
            if triggers != spec.triggers:
                spec = msgspec.structs.replace(spec, triggers=triggers)
    trailing_offset = order.order_type == "trailing-stop-limit" and order.triggered_at is None
    if change.limit_price is not None and trailing_offset:
        price_type = change.limit_price_type or "quote"
        check_distance(change.limit_price, price_type, order.pair)
        if (change.limit_price, price_type) != (spec.limit_price, spec.limit_price_type or "quote"):
            spec = msgspec.structs.replace(spec, limit_price=change.limit_price, limit_price_type=price_type)
    return spec


def amended_reserve(
    order: ClientOrder, spec: OrderSpec, limit: PriceTicks | None, lots: int, taker_ppm: int
) -> Decimal:
    """The amount that the remainder of an amended order must reserve."""
    left = lots - order.cum_lots
    if order.side is SELL:
        return selling_reserve(order.pair, left, spec, taker_ppm)
    trigger = order.trigger_ticks
    if spec.triggers is not None and spec.triggers.price_type == "static":
        trigger = price_ticks(spec.triggers.price, order.pair)
    price = limit or trigger
    if price is None:  # a scheduled market order: its share of the whole order's reserve
        return order.hold * left / order.remaining_lots
    return buying_reserve(order.pair, price, left, quote_ppm(spec, taker_ppm))


def retrigger(market: PairMarket, order: ClientOrder, change: AmendSpec) -> None:
    """Set an amended trigger."""
    triggers = order.spec.triggers
    if change.trigger_price is None or triggers is None:
        return
    if order.order_type in TRAILING_KINDS:
        trail(order)
    elif triggers.price_type == "static":
        order.trigger_ticks = price_ticks(triggers.price, order.pair)
    else:
        ticks = trigger_ticks(triggers, order.order_type, order.side, market.last, order.pair)
        order.trigger_ticks = PriceTicks(max(1, ticks))


def version_of(
    ids: Ids, order: ClientOrder, amend_type: str, reason: str | None, post_only: bool, at: WallNs
) -> Amendment:
    """These terms as OrderAmends lists them."""
    pair = order.pair
    return Amendment(
        amend_id=ids.next("T"),
        amend_type="original" if amend_type == "original" else "user",
        order_qty=order.order_qty,
        remaining_qty=Decimal(order.remaining_lots).scaleb(-pair.qty_decimals),
        limit_price=order.limit_price,
        trigger_price=order.trigger_price,
        display_qty=order.display_qty,
        reason=reason,
        post_only=post_only,
        at=at,
    )


def edited_spec(old: ClientOrder, change: EditSpec) -> OrderSpec:
    """The order that replaces an edited one; it inherits neither the client id nor the
    post-only flag.
    """
    total = old.order_qty if change.order_qty is None else change.order_qty
    if total <= old.cum_qty:
        raise VenueReject("EOrder:Not enough leaves qty")
    limit = change.limit_price
    if limit is None and old.limit_ticks is not None:
        limit = old.limit_price
    elif limit is None:
        limit = old.spec.limit_price
    triggers = change.triggers or old.spec.triggers
    if change.triggers is None and triggers is not None and triggers.price_type == "static":
        triggers = Triggers(old.trigger_price or triggers.price, "static", triggers.reference)
    return msgspec.structs.replace(
        old.spec,
        order_qty=total - old.cum_qty,
        cash_order_qty=None,
        limit_price=limit,
        triggers=triggers,
        display_qty=change.display_qty or old.display_qty,
        fee_preference=change.fee_preference or old.spec.fee_preference,
        order_userref=change.order_userref,
        cl_ord_id=None,
        post_only=change.post_only,
        reduce_only=change.reduce_only,
        effective_time=None,
        deadline=change.deadline,
    )


def closing_order(primary: ClientOrder, market: PairMarket, lots: QtyLots) -> tuple[OrderSpec, Terms]:
    """The order that a fill causes by its conditional close: the other side, the filled
    quantity.
    """
    conditional = primary.spec.conditional
    assert conditional is not None
    pair = market.pair
    triggers = None
    if conditional.trigger_price is not None:
        triggers = Triggers(conditional.trigger_price, conditional.trigger_price_type)
    spec = OrderSpec(
        order_type=conditional.order_type,
        side="sell" if primary.side is BUY else "buy",
        symbol=pair.symbol,
        order_qty=Decimal(lots).scaleb(-pair.qty_decimals),
        limit_price=conditional.limit_price,
        limit_price_type=conditional.limit_price_type if conditional.order_type in TRAILING_KINDS else None,
        triggers=triggers,
        order_userref=primary.order_userref,
    )
    side = SELL if primary.side is BUY else BUY
    limit = None
    if conditional.limit_price is not None and conditional.order_type != "trailing-stop-limit":
        limit = price_ticks(conditional.limit_price, pair)
    trigger = None
    if triggers is not None:
        if triggers.price_type == "static":
            trigger = price_ticks(triggers.price, pair)
        else:
            ticks = trigger_ticks(triggers, conditional.order_type, side, market.last, pair)
            trigger = PriceTicks(max(1, ticks))
    terms = Terms(side, lots, limit, QtyLots(0), trigger)
    return spec, terms
