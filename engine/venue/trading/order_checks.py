"""The checks of an order that depend neither on funds nor on other orders, in Kraken's
words.

A request that passes becomes `Terms`: whole ticks and lots. Prices, and distances in quote
currency, must be on the tick; quantities finer than a lot are cut off, as Kraken's own
examples show nine decimals where a pair has eight. Every check raises VenueReject.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from engine.errors import VenueReject
from engine.units import NS_PER_MS, NS_PER_S, PriceTicks, QtyLots, WallNs, decimal_units
from engine.venue.market.exchange import unsupported
from engine.venue.market.matching import BUY, SELL, Side
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PairSpec
from engine.venue.trading.client_order import (
    ICEBERG_SHARE_MAX,
    KINDS,
    LIMIT_KINDS,
    TRAILING_KINDS,
    TRIGGER_KINDS,
    Conditional,
    OrderKind,
    OrderSpec,
    PriceType,
    Triggers,
)
from engine.venue.trading.fees import cost_units
from engine.venue.trading.triggers import trigger_ticks

INVALID: Final = "EGeneral:Invalid arguments"
BAD_PRICE: Final = "EOrder:Invalid price"
OFF_TICK: Final = "EOrder:Tick size check failed"
TOO_SMALL: Final = f"{INVALID}:volume minimum not met"
TOO_CHEAP: Final = "EOrder:Cost minimum not met"
ELAPSED: Final = "EService:Deadline elapsed"

EXPIRY_NS_MAX: Final = 31 * 86_400 * NS_PER_S  # "at most one month"
DEADLINE_NS_DEFAULT: Final = 5 * NS_PER_S
DEADLINE_NS_MAX: Final = 60 * NS_PER_S
DEADLINE_NS_MIN_WS: Final = 500 * NS_PER_MS
DEADLINE_NS_MIN_REST: Final = 2 * NS_PER_S
TRANSIT_NS: Final = 100 * NS_PER_MS  # allowed for the transit of a request: its deadline was set before it was sent
# Before the point of any number: more than an account can hold, and few enough that costs
# stay exact.
DIGITS_MAX: Final = 20

# Client order ids: a UUID with dashes, its 32 digits alone, or up to 18 printable
# characters.
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
_FREE_ID: Final = re.compile(r"[!-~][ -~]{0,17}")


class Terms(msgspec.Struct, frozen=True):
    """An order in whole ticks and lots."""

    side: Side
    qty_lots: QtyLots
    limit_ticks: PriceTicks | None  # None: market, and trailing limits until they are triggered
    display_lots: QtyLots
    trigger_ticks: PriceTicks | None


def invalid(detail: str) -> VenueReject:
    """A request that contradicts itself; `detail` names the parameter."""
    return VenueReject(f"{INVALID}:{detail}")


def check_deadline(deadline: WallNs | None, received_at: WallNs, least_ns: int = DEADLINE_NS_MIN_WS) -> None:
    """Check that a deadline is not over, too near or too far; None means five seconds."""
    if deadline is None:
        return
    if deadline <= received_at:
        raise VenueReject(ELAPSED)
    if not least_ns - TRANSIT_NS <= deadline - received_at <= DEADLINE_NS_MAX + TRANSIT_NS:
        raise invalid("deadline")


def check_client_id(cl_ord_id: str | None) -> None:
    """Check that a client order id has one of the three legal forms."""
    if cl_ord_id is not None and not _UUID.fullmatch(cl_ord_id) and not _FREE_ID.fullmatch(cl_ord_id):
        raise invalid("cl_ord_id")


def price_ticks(price: Decimal, pair: PairSpec) -> PriceTicks:
    """Convert a client's price to ticks."""
    if not price > 0 or price.adjusted() > DIGITS_MAX:
        raise VenueReject(BAD_PRICE)
    try:
        return PriceTicks(decimal_units(price, pair.price_decimals))
    except ValueError:
        raise VenueReject(OFF_TICK) from None


def check_distance(distance: Decimal | None, price_type: PriceType, pair: PairSpec) -> None:
    """Check a distance from a price: on the tick in quote currency, anything in per cent
    that is no absurd number.
    """
    if distance is not None and abs(distance.adjusted()) > DIGITS_MAX:
        raise VenueReject(BAD_PRICE)
    if distance is not None and price_type == "quote":
        try:
            decimal_units(distance, pair.price_decimals)
        except ValueError:
            raise VenueReject(OFF_TICK) from None


def check_cash(cash: Decimal, pair: PairSpec) -> None:
    """Check that an amount to spend is a multiple of the pair's smallest cost."""
    try:
        decimal_units(cash, pair.cost_decimals)
    except ValueError:
        raise invalid("volume") from None


def qty_lots(qty: Decimal, pair: PairSpec) -> QtyLots:
    """Convert a client's quantity to lots, cutting off what is finer."""
    if not qty > 0 or not qty.is_finite() or qty.adjusted() > DIGITS_MAX:
        raise invalid("volume")
    return QtyLots(int(qty.scaleb(pair.qty_decimals)))


def check_minimum(lots: int, pair: PairSpec) -> None:
    """Check the pair's smallest order."""
    if lots < decimal_units(Decimal(pair.qty_min), pair.qty_decimals):
        raise VenueReject(TOO_SMALL)


def check_cost(price: PriceTicks, lots: QtyLots, pair: PairSpec) -> None:
    """Check the pair's smallest cost."""
    if cost_units(pair, price, lots) < Decimal(pair.cost_min).scaleb(pair.cost_decimals):
        raise VenueReject(TOO_CHEAP)


def check_display(display: QtyLots, lots: int) -> None:
    """Check the displayed part of an iceberg: at least a fifteenth of the order, at most
    all.
    """
    if not 0 < display <= lots or display * ICEBERG_SHARE_MAX < lots:
        raise invalid("display_qty")


def market_of(spec: OrderSpec, markets: Mapping[str, PairMarket]) -> PairMarket:
    """The market of an order's symbol."""
    market = markets.get(spec.symbol)
    if market is None:
        raise VenueReject(unsupported(spec.symbol))
    return market


def check_spec(spec: OrderSpec, at: WallNs) -> None:
    """Check that the parameters agree with each other, whatever the market."""
    kind = spec.order_type
    if kind not in KINDS:
        raise invalid("ordertype")
    check_client_id(spec.cl_ord_id)
    if spec.cl_ord_id is not None and (spec.order_userref is not None or spec.conditional is not None):
        raise invalid("cl_ord_id")
    if spec.order_userref is not None and not -(1 << 31) <= spec.order_userref < 1 << 31:
        raise invalid("userref")
    if kind == "settle-position":
        raise VenueReject("EOrder:Unknown position")
    if spec.reduce_only:
        raise VenueReject("EOrder:Reduce only:No position exists")
    if spec.margin:
        raise VenueReject("EOrder:Cannot open position")
    if (spec.order_qty is None) == (spec.cash_order_qty is None):
        raise invalid("volume")
    if spec.cash_order_qty is not None and (kind != "market" or spec.side != "buy"):
        raise invalid("cash_order_qty")
    if (kind in LIMIT_KINDS) != (spec.limit_price is not None):
        raise invalid("limit_price")
    if spec.limit_price_type not in (None, "static") and kind != "trailing-stop-limit":
        raise invalid("limit_price_type")
    if (kind in TRIGGER_KINDS) != (spec.triggers is not None):
        raise invalid("triggers")
    if (kind == "iceberg") != (spec.display_qty is not None):
        raise invalid("display_qty")
    if spec.post_only and (kind not in LIMIT_KINDS or spec.time_in_force in ("ioc", "fok")):
        raise invalid("post_only")
    _check_times(spec, at)
    if spec.conditional is not None:
        _check_conditional(spec)


def _check_times(spec: OrderSpec, at: WallNs) -> None:
    tif = spec.time_in_force
    if (tif == "gtd") != (spec.expire_time is not None):
        raise invalid("expire_time")
    if spec.expire_time is not None and not at < spec.expire_time <= at + EXPIRY_NS_MAX:
        raise invalid("expire_time")
    if spec.effective_time is not None and spec.effective_time > at + EXPIRY_NS_MAX:
        raise invalid("effective_time")
    if spec.expire_time is not None and spec.effective_time is not None and spec.effective_time >= spec.expire_time:
        raise invalid("effective_time")
    if spec.order_type == "market" and tif == "gtd":
        raise invalid("time_in_force")
    if tif == "fok" and spec.order_type not in LIMIT_KINDS:
        raise invalid("time_in_force")
    if spec.order_type == "iceberg" and tif in ("ioc", "fok"):
        raise invalid("time_in_force")


def _check_conditional(spec: OrderSpec) -> None:
    conditional = spec.conditional
    assert conditional is not None
    kind = conditional.order_type
    if kind not in TRIGGER_KINDS | {"limit"}:
        raise invalid("conditional")
    if (kind in LIMIT_KINDS) != (conditional.limit_price is not None):
        raise invalid("conditional")
    if (kind in TRIGGER_KINDS) != (conditional.trigger_price is not None):
        raise invalid("conditional")
    if kind in TRAILING_KINDS and conditional.trigger_price_type == "static":
        raise invalid("conditional")


def terms_of(spec: OrderSpec, market: PairMarket, lots: QtyLots) -> Terms:
    """Ticks and lots of an order that `check_spec` has passed; `lots` is its quantity, or
    what its cost buys.
    """
    pair = market.pair
    kind = spec.order_type
    side = BUY if spec.side == "buy" else SELL
    limit = None
    if kind == "trailing-stop-limit":
        check_distance(spec.limit_price, spec.limit_price_type or "quote", pair)
    elif spec.limit_price is not None:
        limit = price_ticks(spec.limit_price, pair)
    trigger = None if spec.triggers is None else first_trigger(spec.triggers, kind, side, market)
    if spec.conditional is not None:
        _check_closing_prices(spec.conditional, pair)
    check_minimum(lots, pair)
    check_cost(limit or trigger or market.last, lots, pair)
    display = QtyLots(0)
    if spec.display_qty is not None:
        display = qty_lots(spec.display_qty, pair)
        check_display(display, lots)
    return Terms(side, lots, limit, display, trigger)


def _check_closing_prices(conditional: Conditional, pair: PairSpec) -> None:
    """Check the prices of the closing order, so that it can be placed when a fill causes
    it.
    """
    trigger = conditional.trigger_price
    if conditional.order_type in TRAILING_KINDS and (trigger is None or not trigger > 0):
        raise VenueReject(BAD_PRICE)
    for price, price_type in (
        (conditional.limit_price, conditional.limit_price_type),
        (trigger, conditional.trigger_price_type),
    ):
        check_distance(price, price_type, pair)
        if price is not None and price_type == "static" and conditional.order_type not in TRAILING_KINDS:
            price_ticks(price, pair)


def first_trigger(triggers: Triggers, kind: OrderKind, side: Side, market: PairMarket) -> PriceTicks:
    """The first trigger price of such an order, new or amended."""
    trailing = kind in TRAILING_KINDS
    if triggers.price_type == "static":
        if trailing:
            raise invalid("price_type")
        return price_ticks(triggers.price, market.pair)
    if trailing and triggers.price <= 0:
        raise VenueReject(BAD_PRICE)
    check_distance(triggers.price, triggers.price_type, market.pair)
    ticks = trigger_ticks(triggers, kind, side, market.last, market.pair)
    if ticks <= 0:
        raise VenueReject(BAD_PRICE)
    return PriceTicks(ticks)
