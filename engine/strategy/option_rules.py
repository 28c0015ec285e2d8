"""What an option of an order may be: by itself, for the type of the order, and beside the
others.

What is wrong is a ValueError in one sentence that names the option and what it must be.
What Kraken would refuse is refused here, in words that name the option; what it may take is
left to it.

    readers    one option at a time: is it of the right kind, and what does it mean exactly?
    KINDS      which options each type of order needs and takes
    check_…    do the options agree with the type, and with one another?

Source: https://docs.kraken.com/api/docs/websocket-v2/add_order
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Final

from msgspec import Struct

from engine.market import Pair
from engine.orders.amounts import off_step, off_tick
from engine.orders.client_order_id import ID_CHARS, is_client_order_id
from engine.orders.intent import Conditional
from engine.orders.refusal import Refusal, RefusedError
from engine.units import DIGITS_MAX, NS_PER_S, NS_PER_US, UNITS_MAX, PriceTicks, QtyLots, WallNs, decimal_units

Reader = Callable[[Pair, str, Any], Any]
"""(pair, name of the option, what was given) → what it means; None is the same as not
given."""
Given = Mapping[str, Any]
"""The options that were given, each as its reader returned it; what asks for nothing is
left out."""

SHOWN_CHARS_MAX: Final = 40  # of what was given, in a sentence about it
NEAR: Final = 0.75  # how alike a word must be to be suggested: stoploss is stop-loss, gtx is not gtc
EXPIRY_NS_MAX: Final = 31 * 86_400 * NS_PER_S  # Kraken: at most one month
ICEBERG_SHARE_MAX: Final = 15  # Kraken: an iceberg shows at least a fifteenth

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# --- amounts


def limit_ticks(pair: Pair, name: str, given: Any) -> PriceTicks:
    """A price above 0, on the pair's tick."""
    # Hot, as is `order_lots`: a Decimal passes with one comparison of types and one of
    # numbers.
    number = given if type(given) is Decimal else as_decimal(name, given)
    try:
        ticks = decimal_units(number, pair.price_decimals)
    except ValueError:
        ticks = -1
    if 0 < ticks <= UNITS_MAX and not ticks % pair.price_increment_ticks:
        return PriceTicks(ticks)
    raise _no_units(name, number, ticks, off_tick(name, shown(number), pair))


def order_lots(pair: Pair, name: str, given: Any) -> QtyLots:
    """A quantity of 0 or more, on the pair's step; 0 is for orders that name the money."""
    number = given if type(given) is Decimal else as_decimal(name, given)
    try:
        lots = decimal_units(number, pair.qty_decimals)
    except ValueError:
        lots = -1
    if 0 <= lots <= UNITS_MAX and not lots % pair.qty_increment_lots:
        return QtyLots(lots)
    raise _no_units(name, number, lots, off_step(name, shown(number), pair))


def some_lots(pair: Pair, name: str, given: Any) -> QtyLots:
    """A quantity above 0, on the pair's step."""
    lots = order_lots(pair, name, given)
    if not lots:
        raise ValueError(f"{name} must be a number above 0: 0 is nothing")
    return lots


def _no_units(name: str, number: Decimal, units: int, refusal: Refusal) -> ValueError:
    if not number.is_finite() or number <= 0:
        return ValueError(f"{name} must be a number above 0, not {shown(number)}")
    if units > UNITS_MAX or number.adjusted() > DIGITS_MAX:
        return ValueError(f"{name} {shown(number)} is more than any order can have")
    return RefusedError(refusal)


def decimal(_: Pair, name: str, given: Any) -> Decimal:
    """A number of either sign, exact, with digits that can be sent."""
    number = as_decimal(name, given)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"{name} must be a number, not {shown(number)}")
    if exponent < -DIGITS_MAX or number.adjusted() > DIGITS_MAX:
        raise ValueError(f"{name} {shown(number)} has more than {DIGITS_MAX} digits before or behind the point")
    return number


def positive(pair: Pair, name: str, given: Any) -> Decimal:
    """A number above 0, exact, with digits that can be sent."""
    number = decimal(pair, name, given)
    if number <= 0:
        raise ValueError(f"{name} must be a number above 0, not {shown(number)}")
    return number


def as_decimal(name: str, given: Any) -> Decimal:
    """Convert a Decimal, str, int or float to a Decimal.

    A float counts as the shortest decimal that it prints as: 0.1 is 0.1.
    """
    if isinstance(given, bool) or not isinstance(given, (Decimal, str, int, float)):
        raise ValueError(f"{name} must be a number, not {shown(given)}")
    try:
        return Decimal(float.__repr__(given)) if isinstance(given, float) else Decimal(given)
    except (InvalidOperation, ValueError):
        raise ValueError(f"{name} must be a number, not {shown(given)}") from None


# --- words, flags, moments


def word_of(*allowed: str) -> Reader:
    """A reader for one of these words, in capitals or not."""
    words = frozenset(allowed)

    def read(_: Pair, name: str, given: Any) -> str:
        if type(given) is str and given in words:
            return given
        if isinstance(given, str) and (lowered := str.lower(given)) in words:
            return lowered
        raise ValueError(f"{name} must be {one_of(allowed)}, not {shown(given)}{did_you_mean(given, allowed)}")

    return read


def flag(_: Pair, name: str, given: Any) -> bool | None:
    """True, or None for False: an option that asks for nothing."""
    if given is True:
        return True
    if given is False:
        return None
    raise ValueError(f"{name} must be True or False, not {shown(given)}")


def moment(_: Pair, name: str, given: Any) -> WallNs:
    """A datetime that knows its timezone, or whole nanoseconds since 1970, as
    `context.wall_now()` gives them."""
    if isinstance(given, datetime):
        if given.utcoffset() is None:
            raise ValueError(
                f"{name} must have a timezone: give datetime.now(timezone.utc) + timedelta(…), or the like"
            )
        return WallNs((given - _EPOCH) // timedelta(microseconds=1) * NS_PER_US)
    if type(given) is not int:
        raise ValueError(
            f"{name} must be a datetime with a timezone, or whole nanoseconds since 1970 such as "
            f"context.wall_now() + 60 * 10**9, not {shown(given)}"
        )
    if not 0 <= given <= UNITS_MAX:
        raise ValueError(f"{name} {shown(given)} is no moment in nanoseconds since 1970")
    return WallNs(given)


def client_order_id(_: Pair, name: str, given: Any) -> None:
    """A client order id in a form that Kraken accepts. It becomes the order's id and is not
    part of the intent.
    """
    if not isinstance(given, str) or not is_client_order_id(given):
        raise ValueError(
            f"{name} must be a UUID or 32 hexadecimal digits in small letters, or up to {ID_CHARS} letters, digits, "
            f"dashes, dots and underlines, not {shown(given)}"
        )


def anything(_: Pair, __: str, ___: Any) -> None:
    """Accept any value, for an option that is not sent to Kraken."""
    return


# --- a closing order


def conditional_of(allowed: Collection[str], limited: Collection[str], triggered: Collection[str]) -> Reader:
    """A reader for a `Conditional` of one of the `allowed` types; those `limited` and
    `triggered` need such prices."""
    kind_of, price_type_of = word_of(*allowed), word_of("static", "pct", "quote")

    def read(pair: Pair, name: str, given: Any) -> Conditional:
        if type(given) is not Conditional:
            raise ValueError(f"{name} must be a Conditional (from engine import Conditional), not {shown(given)}")
        kind = kind_of(pair, f"{name}.order_type", given.order_type)

        def price(field: str, needs: Collection[str]) -> tuple[Decimal | None, str | None]:
            value, price_type = getattr(given, f"{field}_price"), getattr(given, f"{field}_price_type")
            if (value is not None) != (kind in needs):
                takes = "takes no" if value is not None else "needs a"
                raise ValueError(f"{name}: a {kind} order {takes} {field}_price")
            if value is None:
                if price_type is not None:
                    raise ValueError(f"{name}.{field}_price_type says what {field}_price is: give that too")
                return None, None
            if price_type is not None:
                price_type = price_type_of(pair, f"{name}.{field}_price_type", price_type)
            is_trailing = kind.startswith("trailing")
            if is_trailing:
                price_type = price_type or "quote"
                if price_type == "static":
                    raise ValueError(f"{name}: the {field} of a {kind} is a distance: its type is pct or quote")
            # A relative price may lie on either side; a price, and the distance that a stop
            # trails at, may not.
            is_relative = price_type in ("pct", "quote")
            as_it_must = decimal if is_relative and not (is_trailing and field == "trigger") else positive
            return as_it_must(pair, f"{name}.{field}_price", value), price_type

        return Conditional(kind, *price("limit", limited), *price("trigger", triggered))

    return read


# --- what goes with which type of order


class OrderKind(Struct, frozen=True):
    """The options that an order type needs, and all that it takes beside quantity and
    pair."""

    needs: frozenset[str]
    takes: frozenset[str]


_ANY: Final = frozenset(
    ("order_type", "time_in_force", "expire_at", "effective_at", "reduce_only", "margin", "fee_preference", "stp_type",
     "conditional", "stop_loss", "take_profit")
)  # fmt: skip
_TRIGGERED: Final = frozenset(("trigger", "trigger_type", "trigger_reference"))


def _kind(*needs: str, takes: Collection[str] = ()) -> OrderKind:
    triggered = _TRIGGERED if "trigger" in needs else frozenset[str]()
    limited = {"post_only"} if {"limit", "limit_offset"} & set(needs) else set[str]()
    return OrderKind(frozenset(needs), _ANY | triggered | limited | set(needs) | set(takes))


KINDS: Final[Mapping[str, OrderKind]] = {
    "market": _kind(takes=("cash_qty",)),
    "limit": _kind("limit"),
    "iceberg": _kind("limit", "display_qty"),
    "stop-loss": _kind("trigger"),
    "stop-loss-limit": _kind("trigger", "limit"),
    "take-profit": _kind("trigger"),
    "take-profit-limit": _kind("trigger", "limit"),
    "trailing-stop": _kind("trigger"),
    "trailing-stop-limit": _kind("trigger", "limit_offset", takes=("limit_offset_type",)),
    "settle-position": _kind(),
}
TRAILING: Final = ("trailing-stop", "trailing-stop-limit")
CLOSING: Final = tuple(name for name, kind in KINDS.items() if name == "limit" or "trigger" in kind.needs)
"""Types of the order that each fill of another spawns."""
LIMITED: Final = frozenset(name for name, kind in KINDS.items() if {"limit", "limit_offset"} & kind.needs)
TRIGGERED: Final = frozenset(name for name, kind in KINDS.items() if "trigger" in kind.needs)

_WHAT: Final = {
    "limit": "limit=…, the worst price it may trade at",
    "trigger": "trigger=…, the price that sets it off (of a trailing stop, the distance)",
    "limit_offset": "limit_offset=…, how far its limit lies from the trigger",
    "display_qty": "display_qty=…, what the book shows of it",
}

# What Kraken and other libraries call them.
_OTHER_NAMES: Final = {
    "price": "limit", "limit_price": "limit", "stop_price": "trigger", "trigger_price": "trigger",
    "triggers": "trigger", "price_type": "trigger_type", "reference": "trigger_reference",
    "limit_price_type": "limit_offset_type", "order_qty": "qty", "quantity": "qty", "volume": "qty", "size": "qty",
    "amount": "qty", "cash_order_qty": "cash_qty", "expire_time": "expire_at", "effective_time": "effective_at",
    "stop": "stop_loss", "sl": "stop_loss", "target": "take_profit", "tp": "take_profit",
    "tif": "time_in_force", "type": "order_type", "displayvol": "display_qty", "close": "conditional",
}  # fmt: skip


# --- what goes together


def no_such_option(name: object, known: Collection[str], *, is_amend: bool = False) -> ValueError:
    """The error for an option that does not exist; it suggests the most similar name."""
    what = "amend" if is_amend else "an order"
    if not isinstance(name, str):
        return ValueError(f"{what} has no option {shown(name)}: options have names")
    text = shown(name)[1:-1]
    other = _OTHER_NAMES.get(str.lower(name))
    if other is not None and (other in known or other == "qty"):
        return ValueError(f"{what} has no option {text}; did you mean {other}?")
    if is_amend and name in KINDS["market"].takes:
        return ValueError(f"amend cannot change {text}: cancel the order and send another")
    near = did_you_mean(name, known) or f"; it has {', '.join(sorted(known))}"
    return ValueError(f"{what} has no option {text}{near}")


def check_kind(order_type: str, given: Given) -> None:
    """Raise ValueError if the order type does not take an option that was given, or lacks
    one that it needs.
    """
    kind = KINDS[order_type]
    if kind.takes.issuperset(given) and kind.needs <= given.keys():  # hot: all that a good order meets here
        return
    wrong = [name for name in given if name not in kind.takes]
    named = f"{_a(order_type)} order" + ("" if "order_type" in given else " (order_type was left out)")
    if "limit" in wrong and "limit_offset" in kind.takes:
        raise ValueError(f"{named} takes limit_offset in place of limit: its limit follows the trigger")
    lacking = [name for name in _WHAT if name in kind.needs and name not in given]
    if lacking and not wrong:
        raise ValueError(f"{named} needs {_WHAT[lacking[0]]}")
    name = wrong[0]
    takers = [other for other, it in KINDS.items() if name in it.takes]
    raise ValueError(f"{named} takes no {name}: leave it out, or let order_type be {one_of(takers)}")


def check_together(order_type: str, side: str, qty: QtyLots, given: Given, now: WallNs) -> None:
    """Raise ValueError if options contradict one another, or one needs another."""
    _check_trigger(order_type, given)
    if "limit_offset_type" in given and "limit_offset" not in given:
        raise ValueError("limit_offset_type says what limit_offset is: give that too")
    if given.get("time_in_force") == "fok" and order_type not in LIMITED:
        raise ValueError(f"time_in_force='fok' is for orders with a limit: a {order_type} order has none; leave it out")
    if "post_only" in given and given.get("time_in_force") in ("ioc", "fok"):
        raise ValueError(
            f"post_only and time_in_force={given['time_in_force']!r} contradict each other: such an order could "
            "neither rest nor trade; leave one out"
        )
    _check_times(given, now)
    if "cash_qty" in given:
        if side != "buy":
            raise ValueError("cash_qty is for buys; a sell says in qty what it sells")
        if qty:
            raise ValueError("cash_qty takes the place of qty: give qty as 0, or leave cash_qty out")
        if "margin" in given:
            raise ValueError("cash_qty cannot be had on margin: give qty, or leave margin out")
    display = given.get("display_qty")
    if display is not None and not display <= qty <= display * ICEBERG_SHARE_MAX:
        raise ValueError(f"display_qty must be between 1/{ICEBERG_SHARE_MAX} of qty and all of it")


def check_bracket(side: str, given: Given) -> None:
    """Raise ValueError unless stop and target of a bracket lie on opposite sides of the
    entry, and the other options are compatible with a bracket.
    """
    for name, other in (("stop_loss", "take_profit"), ("take_profit", "stop_loss")):
        if name not in given:
            alone = " (for a stop alone: conditional=…)" if name == "take_profit" else ""
            raise ValueError(f"{other} goes with {name}: give both{alone}, or leave {other} out")
    for name in ("conditional", "margin", "reduce_only"):
        if name in given:
            raise ValueError(f"stop_loss and take_profit do not go with {name}: leave it out, or these two")
    if given.get("fee_preference") == "base":
        raise ValueError(
            "stop_loss and take_profit do not go with fee_preference='base': the stop would be for more than the fee "
            "leaves; leave it out"
        )
    names = ["stop_loss", "take_profit"]
    if "limit" in given:
        names.insert(1, "limit")
    prices = [given[name] for name in names]
    if prices != sorted(set(prices), reverse=side == "sell"):
        relation = " below " if side == "buy" else " above "
        raise ValueError(f"of a {side}, prices must be {relation.join(names)}")


def _check_trigger(order_type: str, given: Given) -> None:
    trigger, price_type = given.get("trigger"), given.get("trigger_type")
    if trigger is None:
        return
    is_trailing = order_type in TRAILING
    if is_trailing and price_type == "static":
        raise ValueError(f"trigger_type of a {order_type} must be pct or quote: its trigger is a distance, not a price")
    # Per cent and amounts lie on either side of the last price: sell -2 % below it.
    if trigger <= 0 and (is_trailing or price_type in (None, "static")):
        hint = "" if is_trailing else "; one below the present price is trigger_type='pct' or 'quote'"
        raise ValueError(f"trigger must be a number above 0, not {shown(trigger)}{hint}")


def _check_times(given: Given, now: WallNs) -> None:
    expire_at, effective_at = given.get("expire_at"), given.get("effective_at")
    if given.get("time_in_force") == "gtd":
        if expire_at is None:
            raise ValueError("time_in_force='gtd' needs expire_at=…, a datetime with a timezone or nanoseconds")
    elif expire_at is not None:
        raise ValueError("expire_at goes with time_in_force='gtd': give both, or leave expire_at out")
    if expire_at is not None:
        if whole_second(expire_at) <= now:
            raise ValueError(f"expire_at must lie ahead, by a second or more{_in_ns(expire_at)}")
        if expire_at > now + EXPIRY_NS_MAX:
            raise ValueError("expire_at must lie at most one month ahead: Kraken keeps no order longer by gtd")
    if effective_at is not None:
        if whole_second(effective_at) <= now:
            raise ValueError(
                f"effective_at must lie ahead, by a second or more: leave it out to begin now{_in_ns(effective_at)}"
            )
        if expire_at is not None and whole_second(effective_at) >= whole_second(expire_at):
            raise ValueError("effective_at must lie before expire_at")


def _in_ns(at: WallNs) -> str:
    """A hint for a number that looks like seconds or milliseconds instead of nanoseconds."""
    return "; whole numbers are nanoseconds since 1970" if at < 10**17 else ""


def check_amend(order_type: str, changes: Given) -> None:
    """Raise ValueError if an order of this type does not have the fields to change. Unknown
    types are left to Kraken.
    """
    kind = KINDS.get(order_type)
    if kind is None:
        return
    for name in changes:
        if name != "qty" and name not in kind.takes:
            instead = "; it has limit_offset" if name == "limit" and "limit_offset" in kind.takes else ""
            raise ValueError(f"{_a(order_type)} order has no {name} to change{instead}")
    if order_type in TRAILING and "trigger" in changes and changes["trigger"] <= 0:
        raise ValueError(f"trigger must be a number above 0, not {shown(changes['trigger'])}")


def _a(order_type: str) -> str:
    return f"{'an' if order_type[:1] in 'aeiou' else 'a'} {order_type}"


def whole_second(at: WallNs) -> WallNs:
    """A time in whole seconds, rounded down, as Kraken takes it."""
    return WallNs(at // NS_PER_S * NS_PER_S)


# --- sentences


def shown(given: object) -> str:
    """A short text of the value that was given, on one line. It calls no method of a class
    that is not built in.
    """
    if given is None or isinstance(given, bool):
        text = repr(given)
    elif isinstance(given, str):
        text = repr(given[: SHOWN_CHARS_MAX + 1]) if type(given) is str else str.__repr__(given)
    elif isinstance(given, float):
        text = float.__repr__(given)
    elif isinstance(given, int):
        text = int.__repr__(given) if given.bit_length() < 256 else "an int of very many digits"
    elif isinstance(given, Decimal):
        text = Decimal.__str__(given)
    else:
        text = f"a {type(given).__name__}"
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


def one_of(words: Collection[str]) -> str:
    """a, b or c."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def did_you_mean(given: object, known: Iterable[str], *, near: float = NEAR) -> str:
    """`; did you mean …?` with the most similar word; empty if none is similar."""
    if not isinstance(given, str):
        return ""
    bare = {_bare(word): word for word in known}
    found = get_close_matches(_bare(given[:SHOWN_CHARS_MAX]), bare, n=1, cutoff=near)
    return f"; did you mean {bare[found[0]]}?" if found else ""


def _bare(word: str) -> str:
    return "".join(letter for letter in str.lower(word) if letter.isalnum())
