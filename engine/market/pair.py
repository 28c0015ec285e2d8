"""A tradable pair: its precisions, its increments, and exact text ⇄ ticks and lots.

Source: Kraken's instrument channel,
https://docs.kraken.com/api/docs/websocket-v2/instrument
"""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, InvalidOperation
from math import lcm
from typing import Literal

from msgspec import Struct

from engine.units import DIGITS_MAX, PriceTicks, QtyLots, decimal_units, units_decimal, units_text

# REST and WebSocket v1 name these assets differently; v2 refuses the old names.
V1_ASSETS = {"XBT": "BTC", "XDG": "DOGE"}

Rounding = Literal["down", "up"]
Number = Decimal | str | int | float
"""A float stands for the shortest decimal that it prints as: 0.1 is 0.1."""

_DIGITS = 2 * DIGITS_MAX + 4  # enough for any number of an order, divided by any step
# Beyond that many digits the intermediate result is rounded in the same direction.
_WIDE = {"down": Context(prec=_DIGITS, rounding=ROUND_FLOOR), "up": Context(prec=_DIGITS, rounding=ROUND_CEILING)}


# Kraken's names are in capitals, except for the x of a tokenized stock (AAPLx, Vx). A name
# with at most its first letter in capitals is a mistake; if it also ends in x, AVAX or AVAx
# may be meant.
_CASE_SLIP = re.compile(r"(?![A-Z]x$)(?=.*[a-z])[A-Z]?[^A-Z]*")


def v2_symbol(symbol: str) -> str:
    """The v2 name of a pair that may be named as in v1: XBT/USD is BTC/USD."""
    return "/".join(V1_ASSETS.get(asset, asset) for asset in symbol.split("/"))


def capitals(symbol: str) -> str:
    """The name with mistyped parts in capitals: eth/Usd gives ETH/USD, AAPLx/usd gives
    AAPLx/USD.
    """
    return "/".join(asset.upper() if _CASE_SLIP.fullmatch(asset) else asset for asset in symbol.split("/"))


def may_be_tokenized(symbol: str) -> bool:
    """Whether a name in lower case may mean a tokenized stock: avax/usd may be AVAX or
    AVAx.
    """
    return any(asset.endswith("x") and _CASE_SLIP.fullmatch(asset) is not None for asset in symbol.split("/"))


class Pair(Struct, frozen=True):
    """The venue's data of one pair.

    Units: one tick is 10**-price_decimals of the quote currency, one lot is
    10**-qty_decimals of the base currency.
    """

    symbol: str
    price_decimals: int
    qty_decimals: int
    price_increment_ticks: int = 1
    """Prices are multiples of this."""
    qty_increment_lots: int = 1
    """Quantities are multiples of this."""
    qty_min_lots: int = 0
    """The minimum quantity of an order."""
    cost_min: Decimal = Decimal(0)
    """The minimum price × quantity of an order, in quote currency."""
    status: str = "online"
    """online, cancel_only, post_only, limit_only, reduce_only, maintenance, delisted or
    work_in_progress.
    """
    base_decimals: int | None = None
    """Precision of the base currency in the account: purchases are credited in units of
    10**-base_decimals, which may be coarser than a lot. None until the venue has sent it.
    """
    quote_decimals: int | None = None
    """The same for the quote currency."""
    cost_decimals: int = 8
    """An amount of quote currency to spend is a multiple of 10**-cost_decimals."""

    def price_ticks(self, price: Number) -> PriceTicks:
        """The price in ticks; ValueError, naming the increment, when it is no multiple of
        that.
        """
        ticks = self._units(price, self.price_decimals, self.price_increment_ticks, "price")
        return PriceTicks(ticks)

    def qty_lots(self, qty: Number) -> QtyLots:
        """The quantity in lots; ValueError, naming the increment, when it is no multiple of
        that.
        """
        return QtyLots(self._units(qty, self.qty_decimals, self.qty_increment_lots, "quantity"))

    def price(self, ticks: PriceTicks) -> Decimal:
        """The price of `ticks`, at the pair's full precision."""
        return units_decimal(ticks, self.price_decimals)

    def qty(self, lots: QtyLots) -> Decimal:
        """The quantity of `lots`, at the pair's full precision."""
        return units_decimal(lots, self.qty_decimals)

    def price_text(self, ticks: PriceTicks) -> str:
        """As Kraken writes it: every decimal of the pair, no exponent."""
        return units_text(ticks, self.price_decimals)

    def qty_text(self, lots: QtyLots) -> str:
        """As Kraken writes it: every decimal of the pair, no exponent."""
        return units_text(lots, self.qty_decimals)

    @property
    def tick(self) -> Decimal:
        """The smallest step of a price."""
        return units_decimal(self.price_increment_ticks, self.price_decimals)

    @property
    def lot(self) -> Decimal:
        """The smallest step of a quantity."""
        return units_decimal(self.qty_increment_lots, self.qty_decimals)

    def round_price(self, price: Number, direction: Rounding) -> Decimal:
        """The nearest price on the tick that is not above ("down") or not below ("up")."""
        return _stepped(_decimal(price), self.tick, direction)

    def round_qty(self, qty: Number, direction: Rounding) -> Decimal:
        """The nearest quantity on the step that is not above ("down") or not below ("up").

        The step is a multiple of both the lot and the account's precision, so that the
        quantity can be ordered and is credited without rounding.
        """
        step_lots = self.qty_increment_lots
        if self.base_decimals is not None and self.base_decimals < self.qty_decimals:
            step_lots = lcm(step_lots, 10 ** (self.qty_decimals - self.base_decimals))
        return _stepped(_decimal(qty), units_decimal(step_lots, self.qty_decimals), direction)

    def _units(self, value: Number, decimals: int, increment: int, what: str) -> int:
        try:
            units = decimal_units(_decimal(value), decimals)
        except (ValueError, InvalidOperation):
            units = -1
        if units < 0 or units % increment:
            step = units_text(increment, decimals)
            raise ValueError(f"{self.symbol}: {what} {value} is not a multiple of {step}")
        return units


def _decimal(value: Number) -> Decimal:
    return Decimal(float.__repr__(value)) if isinstance(value, float) else Decimal(value)


def _stepped(value: Decimal, step: Decimal, direction: Rounding) -> Decimal:
    # A context of its own: a strategy may have changed the decimal precision of its thread.
    context = _WIDE.get(direction)
    if context is None:
        raise ValueError(f'the direction of rounding is "down" or "up", not {direction!r}')
    return context.multiply(context.divide(value, step).to_integral_value(None, context), step)
