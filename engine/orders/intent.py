"""What a strategy asks for: a new order or a change of one, in ticks and lots of the scale
that it names.

Quantities and limit prices are integers of 10**-qty_decimals and 10**-price_decimals, the
precision that the pair had when the strategy asked; rare amounts (offsets, percentages,
triggers) are exact Decimals. Words are Kraken's:
https://docs.kraken.com/api/docs/websocket-v2/add_order
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from engine.units import PriceTicks, QtyLots, WallNs

Side = Literal["buy", "sell"]

# What a plain limit order may be, one bit each; without any it is a buy, good till
# canceled. Post-only and ioc contradict each other.
IS_SELL, IS_POST_ONLY, IS_IOC = 1, 2, 4
PLAIN_FLAGS = frozenset((0, IS_SELL, IS_POST_ONLY, IS_SELL | IS_POST_ONLY, IS_IOC, IS_SELL | IS_IOC))


class Trigger(Struct, frozen=True, array_like=True):
    """What triggers a stop or take-profit order."""

    price: Decimal
    """A price, per cent or an amount, as `price_type` says; of a trailing stop, a
    distance."""
    price_type: str = "static"
    """static, pct or quote."""
    reference: str = "last"
    """last or index."""


class Conditional(Struct, frozen=True, array_like=True):
    """The closing order that Kraken places for each fill, of the filled quantity on the
    other side.

    After a buy it sells what was traded. Where less was credited (lots finer than the
    asset, fees in the base currency) Kraken may refuse it with insufficient funds: sell the
    position from `on_fill` there.
    """

    order_type: str
    limit_price: Decimal | None = None
    limit_price_type: str | None = None
    trigger_price: Decimal | None = None
    trigger_price_type: str | None = None


class OrderIntent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A new order."""

    symbol: str
    side: Side
    order_type: str
    price_decimals: int
    """Of every price here that is a count of ticks."""
    qty_decimals: int
    """Of every quantity here that is a count of lots."""
    qty: QtyLots
    limit_price: PriceTicks | None = None
    limit_offset: Decimal | None = None
    """Of a trailing-stop-limit, in place of a limit price."""
    limit_price_type: str | None = None
    trigger: Trigger | None = None
    time_in_force: str = "gtc"
    """gtc, gtd, ioc or fok."""
    expire_at: WallNs | None = None
    effective_at: WallNs | None = None
    post_only: bool = False
    reduce_only: bool = False
    margin: bool = False
    display_qty: QtyLots | None = None
    fee_preference: str | None = None
    stp_type: str | None = None
    conditional: Conditional | None = None
    take_profit: PriceTicks | None = None
    """Of a bracket, whose stop is the `conditional`: the price at which what was filled is
    closed in place of the stop. Kept by the router; Kraken is not told."""
    cash_qty: Decimal | None = None
    """Of a market buy: quote currency to spend, in place of a quantity."""
    validate: bool = False


class Amendment(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change of an open order; what is None stays as it is."""

    price_decimals: int
    """As in OrderIntent; they need not be those that the order was opened with."""
    qty_decimals: int
    qty: QtyLots | None = None
    """The whole order, filled part included."""
    limit_price: PriceTicks | None = None
    limit_offset: Decimal | None = None
    trigger_price: Decimal | None = None
    display_qty: QtyLots | None = None
    post_only: bool = False
