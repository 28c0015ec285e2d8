"""One option of an order at a time: is what a strategy handed over of the right kind, and what does it mean exactly?

Everything that is wrong is a ValueError in one sentence that names the option and what it must be. Nothing here looks
at two options together; `engine.strategy.order_kinds` does.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Final

from engine.market import Pair
from engine.orders.amounts import off_step, off_tick
from engine.orders.intent import Conditional
from engine.units import DIGITS_MAX, NS_PER_S, NS_PER_US, UNITS_MAX, PriceTicks, QtyLots, WallNs, decimal_units

Reader = Callable[[Pair, str, Any], Any]
"""(pair, name of the option, what was given) → what it means; None is the same as not given."""

SHOWN_CHARS_MAX: Final = 40  # of what was given, in a sentence about it
NEAR: Final = 0.75  # how alike a word must be to be suggested: stoploss is stop-loss, gtx is not gtc

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


# --- amounts


def limit_ticks(pair: Pair, name: str, given: Any) -> PriceTicks:
    """A price above 0, on the pair's tick."""
    # Hot, as is `order_lots`: a Decimal passes with one comparison of types and one of numbers.
    number = given if type(given) is Decimal else as_decimal(name, given)
    try:
        ticks = decimal_units(number, pair.price_decimals)
    except ValueError:
        ticks = -1
    if 0 < ticks <= UNITS_MAX and not ticks % pair.price_increment_ticks:
        return PriceTicks(ticks)
    raise _no_units(name, number, ticks, off_tick(name, shown(number), pair))


def order_lots(pair: Pair, name: str, given: Any) -> QtyLots:
    """A quantity of 0 or more, on the pair's step. Whether 0 says anything is the order's business."""
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


def _no_units(name: str, number: Decimal, units: int, sentence: str) -> ValueError:
    if not number.is_finite() or number <= 0:
        return ValueError(f"{name} must be a number above 0, not {shown(number)}")
    if units > UNITS_MAX or number.adjusted() > DIGITS_MAX:
        return ValueError(f"{name} {shown(number)} is more than any order can have")
    return ValueError(sentence)


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
    """The same, above 0."""
    number = decimal(pair, name, given)
    if number <= 0:
        raise ValueError(f"{name} must be a number above 0, not {shown(number)}")
    return number


def as_decimal(name: str, given: Any) -> Decimal:
    """A Decimal, str, int or float as a Decimal. A float counts as the shortest decimal that means it: 0.1 is 0.1."""
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
    """A datetime that knows its timezone, or whole nanoseconds since 1970, as `context.wall_now()` gives them."""
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


def anything(_: Pair, __: str, ___: Any) -> None:
    """What is not for Kraken."""
    return


# --- a closing order


def conditional_of(allowed: Collection[str], limited: Collection[str], triggered: Collection[str]) -> Reader:
    """A reader for a `Conditional` of one of the `allowed` types; those `limited` and `triggered` need such prices."""
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
            if is_trailing and field == "trigger":
                price_type = price_type or "quote"
                if price_type == "static":
                    raise ValueError(f"{name}: the trigger of a {kind} is a distance: its type is pct or quote")
            # A relative price may lie on either side; a price, and the distance that a stop trails at, may not.
            is_relative = price_type in ("pct", "quote") or (is_trailing and field == "limit")
            as_it_must = decimal if is_relative and not (is_trailing and field == "trigger") else positive
            return as_it_must(pair, f"{name}.{field}_price", value), price_type

        return Conditional(kind, *price("limit", limited), *price("trigger", triggered))

    return read


# --- sentences


def shown(given: object) -> str:
    """What was given, for a sentence: on one line, short, and without calling anything of its own."""
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
    """`; did you mean …?` with the word that is nearest, if one is near."""
    if not isinstance(given, str):
        return ""
    bare = {_bare(word): word for word in known}
    found = get_close_matches(_bare(given[:SHOWN_CHARS_MAX]), bare, n=1, cutoff=near)
    return f"; did you mean {bare[found[0]]}?" if found else ""


def _bare(word: str) -> str:
    return "".join(letter for letter in str.lower(word) if letter.isalnum())


def whole_second(at: WallNs) -> WallNs:
    """What Kraken is told of a moment: it takes whole seconds."""
    return WallNs(at // NS_PER_S * NS_PER_S)
