"""Which options go with which order type, and with one another: a table, and the sentences when they do not.

What Kraken would refuse is refused here, in words that name the option; what it may take is left to it.

Source: https://docs.kraken.com/api/docs/websocket-v2/add_order
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from msgspec import Struct

from engine.strategy.option_values import did_you_mean, one_of, shown, whole_second
from engine.units import NS_PER_S, QtyLots, WallNs

Given = Mapping[str, Any]
"""The options that were given, each as `option_values` reads it; what asks for nothing is not among them."""

EXPIRY_NS_MAX: Final = 31 * 86_400 * NS_PER_S  # Kraken: at most one month
ICEBERG_SHARE_MAX: Final = 15  # Kraken: an iceberg shows at least a fifteenth


class OrderKind(Struct, frozen=True):
    """What an order type cannot be without, and all that it takes beside quantity and pair."""

    needs: frozenset[str]
    takes: frozenset[str]


_ANY: Final = frozenset(
    ("order_type", "time_in_force", "expire_at", "effective_at", "reduce_only", "margin", "fee_preference", "stp_type",
     "conditional")
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

# What others call it, Kraken first.
_OTHER_NAMES: Final = {
    "price": "limit", "limit_price": "limit", "stop_price": "trigger", "trigger_price": "trigger",
    "triggers": "trigger", "price_type": "trigger_type", "reference": "trigger_reference",
    "limit_price_type": "limit_offset_type", "order_qty": "qty", "quantity": "qty", "volume": "qty", "size": "qty",
    "amount": "qty", "cash_order_qty": "cash_qty", "expire_time": "expire_at", "effective_time": "effective_at",
    "tif": "time_in_force", "type": "order_type", "displayvol": "display_qty", "close": "conditional",
}  # fmt: skip


def no_such_option(name: object, known: Collection[str], *, is_amend: bool = False) -> ValueError:
    """What is said of an option that does not exist; a misspelt one must not be taken for none."""
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
    """Does the type take all that was given, and was all given that it needs?"""
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
    """Options that contradict or lack one another, whatever the type takes."""
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
    """A hint for who counts in seconds, or in milliseconds."""
    return "; whole numbers are nanoseconds since 1970" if at < 10**17 else ""


def check_amend(order_type: str, changes: Given) -> None:
    """Has an order of this type what is to be changed? One of a type that we do not know is Kraken's to judge."""
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
