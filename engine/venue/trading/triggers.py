"""Trigger prices: where a stop or take order triggers, and how a trailing one follows the
price.

All of it goes by the last trade. Distances are in per cent or in quote units, as Kraken's
`price_type` says; half up to the tick. A stop-loss acts when the price gets worse for its
owner, a take-profit when it gets better.
"""

from decimal import ROUND_HALF_UP, Decimal

from engine.units import PriceTicks
from engine.venue.market.matching import BUY, Side
from engine.venue.market.pairs import PairSpec
from engine.venue.trading.client_order import TRAILING_KINDS, ClientOrder, OrderKind, PriceType, Triggers

_HUNDRED = Decimal(100)


def offset_ticks(price: Decimal, price_type: PriceType, reference: int, pair: PairSpec) -> int:
    """A signed distance in ticks: per cent of `reference`, or quote units."""
    ticks = reference * price / _HUNDRED if price_type == "pct" else price.scaleb(pair.price_decimals)
    return int(ticks.to_integral_value(ROUND_HALF_UP))


def trigger_ticks(triggers: Triggers, order_type: OrderKind, side: Side, last: PriceTicks, pair: PairSpec) -> int:
    """The trigger price when its order is placed; not for static triggers."""
    distance = offset_ticks(triggers.price, triggers.price_type, last, pair)
    if order_type in TRAILING_KINDS:
        return last + distance if side is BUY else last - distance
    return last + distance


def pulled(order: ClientOrder, last: PriceTicks) -> bool:
    """Whether this price triggers the order. A trailing order first follows it."""
    if order.order_type in TRAILING_KINDS:
        follow(order, last)
    trigger = order.trigger_ticks
    if trigger is None:
        return False
    # A stop of a seller and a take of a buyer wait below the price, the other two above it.
    waits_below = (order.side is BUY) == order.order_type.startswith("take")
    return last <= trigger if waits_below else last >= trigger


def follow(order: ClientOrder, last: PriceTicks) -> None:
    """Move a trailing trigger behind a new best price; it never moves back."""
    peak = order.peak_ticks
    if peak is not None and (last >= peak if order.side is BUY else last <= peak):
        return
    order.peak_ticks = last
    trail(order)


def trail(order: ClientOrder) -> None:
    """Set a trailing trigger to its distance from the peak."""
    triggers, peak = order.spec.triggers, order.peak_ticks
    assert triggers is not None
    assert peak is not None
    distance = offset_ticks(triggers.price, triggers.price_type, peak, order.pair)
    order.trail_ticks = distance
    order.trigger_ticks = PriceTicks(max(1, peak + distance if order.side is BUY else peak - distance))


def trailing_limit(order: ClientOrder) -> PriceTicks:
    """The limit of a trailing-stop-limit when it is triggered: its trigger and the given
    offset.
    """
    trigger = order.trigger_ticks
    assert trigger is not None
    offset = order.spec.limit_price or Decimal(0)
    price_type = order.spec.limit_price_type or "quote"
    return PriceTicks(max(1, trigger + offset_ticks(offset, price_type, trigger, order.pair)))
