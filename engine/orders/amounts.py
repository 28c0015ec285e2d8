"""Whether the amounts of an order, or of an amend, are exact on its pair: one rule for
strategy host and router.
"""

from decimal import Decimal
from typing import Final

from engine.market import Pair
from engine.orders.intent import Amendment, Conditional, OrderIntent
from engine.orders.refusal import ErrorKind, Refusal
from engine.units import DIGITS_MAX, decimal_units, units_decimal

SHOWN_CHARS_MAX: Final = 40  # of an amount, in a sentence about it
TRAILING_LIMIT: Final = "trailing-stop-limit"


def order_refusal(intent: OrderIntent, pair: Pair) -> Refusal | None:
    """Why an amount of a new order is invalid, in one sentence that names it and its step;
    None if none is."""
    why = scale_refusal(intent, pair)
    if why is None and intent.cash_qty is not None:
        why = _cash_refusal(intent.cash_qty, pair)
    elif why is None and intent.order_type != "settle-position":
        why = _lots_refusal("qty", intent.qty, pair)
    return (
        why
        or (intent.limit_price is not None and _ticks_refusal("limit", intent.limit_price, pair))
        or (intent.display_qty is not None and _lots_refusal("display_qty", intent.display_qty, pair))
        or _price_refusal("limit_offset", intent.limit_offset, intent.limit_price_type or "quote", pair)
        or (
            intent.trigger is not None
            and _price_refusal("trigger", intent.trigger.price, intent.trigger.price_type, pair)
        )
        or (intent.conditional is not None and _closing_refusal(intent.conditional, pair))
        or None
    )


def amend_refusal(
    amendment: Amendment, order_type: str, trigger_type: str, limit_offset_type: str, pair: Pair
) -> Refusal | None:
    """The same for the amounts that an amendment changes.

    The types are those of the order's trigger and limit offset; empty where it has none.
    """
    return (
        scale_refusal(amendment, pair)
        or (amendment.qty is not None and _lots_refusal("qty", amendment.qty, pair))
        or (amendment.limit_price is not None and _ticks_refusal("limit", amendment.limit_price, pair))
        or (amendment.display_qty is not None and _lots_refusal("display_qty", amendment.display_qty, pair))
        or _price_refusal("limit_offset", amendment.limit_offset, limit_offset_type or "quote", pair)
        or _price_refusal("trigger", amendment.trigger_price, trigger_type or usual_trigger_type(order_type), pair)
        or None
    )


def scale_refusal(asked: OrderIntent | Amendment, pair: Pair) -> Refusal | None:
    """Why amounts in this scale are not sent, when the pair has another one by now; None
    otherwise."""
    if asked.price_decimals == pair.price_decimals and asked.qty_decimals == pair.qty_decimals:
        return None
    return Refusal(
        ErrorKind.PRECISION,
        f"{pair.symbol}'s precision changed while this was under way (prices from {asked.price_decimals} to "
        f"{pair.price_decimals} decimals, quantities from {asked.qty_decimals} to {pair.qty_decimals}): ask again",
    )


def usual_trigger_type(order_type: str) -> str:
    """The type of a trigger when none is given: an amount for trailing stops, a price for
    others."""
    return "quote" if order_type.startswith("trailing") else "static"


def usual_limit_type(order_type: str) -> str:
    """The type of a limit when none is given: an amount, from the trigger, for a
    trailing-stop-limit, a price for others."""
    return "quote" if order_type == TRAILING_LIMIT else "static"


def off_tick(name: str, shown: str, pair: Pair) -> Refusal:
    """The sentence about a price, or a distance, that is not on the tick."""
    return Refusal(
        ErrorKind.PRECISION,
        f"{name} {shown} is not a multiple of {pair.symbol}'s tick {pair.tick:f}; pair.round_price finds one that is",
    )


def off_step(name: str, shown: str, pair: Pair) -> Refusal:
    """The sentence about a quantity that is not on the step."""
    return Refusal(
        ErrorKind.PRECISION,
        f"{name} {shown} is not a multiple of {pair.symbol}'s step {pair.lot:f}; pair.round_qty finds one that is",
    )


def _lots_refusal(name: str, lots: int, pair: Pair) -> Refusal | None:
    if lots > 0 and not lots % pair.qty_increment_lots:  # hot
        return None
    qty = units_decimal(lots, pair.qty_decimals)
    return _nothing(name, qty) if lots <= 0 else off_step(name, _shown(qty), pair)


def _ticks_refusal(name: str, ticks: int, pair: Pair) -> Refusal | None:
    if ticks > 0 and not ticks % pair.price_increment_ticks:  # hot
        return None
    price = units_decimal(ticks, pair.price_decimals)
    return _nothing(name, price) if ticks <= 0 else off_tick(name, _shown(price), pair)


def _price_refusal(name: str, price: Decimal | None, price_type: str, pair: Pair) -> Refusal | None:
    """Why a price, or a distance from one, is invalid for its type; None when it is
    valid."""
    if price is None:
        return None
    if not price.is_finite():
        return Refusal(ErrorKind.ARGUMENT, f"{name} must be a number, not {_shown(price)}")
    if price_type == "pct":
        return None
    if price_type == "static" and price <= 0:
        return _nothing(name, price)
    try:
        is_off = decimal_units(price, pair.price_decimals) % pair.price_increment_ticks != 0
    except ValueError:
        is_off = True
    return off_tick(name, _shown(price), pair) if is_off else None


def _closing_refusal(close: Conditional, pair: Pair) -> Refusal | None:
    limit_type = close.limit_price_type or usual_limit_type(close.order_type)
    trigger_type = close.trigger_price_type or usual_trigger_type(close.order_type)
    return _price_refusal("conditional.limit_price", close.limit_price, limit_type, pair) or _price_refusal(
        "conditional.trigger_price", close.trigger_price, trigger_type, pair
    )


def _cash_refusal(cash: Decimal, pair: Pair) -> Refusal | None:
    if not cash.is_finite() or cash <= 0:
        return _nothing("cash_qty", cash)
    try:
        decimal_units(cash, pair.cost_decimals)
    except ValueError:
        quote, smallest = pair.symbol.partition("/")[2], units_decimal(1, pair.cost_decimals)
        return Refusal(
            ErrorKind.PRECISION,
            f"cash_qty {_shown(cash)} is not a multiple of {smallest:f} {quote}, the smallest cost of {pair.symbol}",
        )
    return None


def _nothing(name: str, amount: Decimal) -> Refusal:
    return Refusal(ErrorKind.ARGUMENT, f"{name} must be a number above 0, not {_shown(amount)}")


def _shown(amount: Decimal) -> str:
    """Its digits, cut when there are very many."""
    exponent = amount.as_tuple().exponent
    is_plain = isinstance(exponent, int) and exponent >= -DIGITS_MAX and amount.adjusted() <= DIGITS_MAX
    text = f"{amount:f}" if is_plain else f"{amount}"
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"
