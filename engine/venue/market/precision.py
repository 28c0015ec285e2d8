"""A pair whose listed precision changes while it trades: the conversion of its numbers.

Kraken changes the precisions of pairs now and then, in a maintenance that it announces; the
instrument channel publishes the new ones. To a finer precision every number keeps its
value. To a coarser one the flow's orders move outward to the next tick, so that no book
crosses, and past numbers are rounded. A client's order that would change its value is
canceled first, by `trading`.
"""

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from typing import Final

import msgspec

from engine.errors import ConfigError
from engine.units import PriceTicks, QtyLots, units_decimal
from engine.venue.market.pairs import PairSpec

DECIMALS_MAX: Final = 12
MID_TICKS_MIN: Final = 100  # a price of fewer ticks makes no market

_NUMBER: Final = re.compile(r'"(price|qty)":([0-9.]+)')


def relisted(pair: PairSpec, price_decimals: int, qty_decimals: int) -> PairSpec:
    """The pair in another precision; raises ConfigError when nothing could be traded in it."""
    if not (0 <= price_decimals <= DECIMALS_MAX and 0 <= qty_decimals <= DECIMALS_MAX):
        raise ConfigError(f"precision: decimals are from 0 to {DECIMALS_MAX}, not {price_decimals} and {qty_decimals}")
    change = Change(pair, msgspec.structs.replace(pair, price_decimals=price_decimals, qty_decimals=qty_decimals))
    least = Decimal(pair.qty_min).quantize(Decimal(1).scaleb(-qty_decimals), ROUND_CEILING)
    after = msgspec.structs.replace(
        change.after,
        mid_ticks=change.price(pair.mid_ticks),
        gap_ticks=max(1, change.price(PriceTicks(pair.gap_ticks))),
        typical_lots=change.qty(pair.typical_lots),
        qty_min=f"{least:f}",
    )
    if after.mid_ticks < MID_TICKS_MIN:
        price = units_decimal(pair.mid_ticks, pair.price_decimals)
        raise ConfigError(f"precision: {pair.symbol} stands at {price:f}, which {price_decimals} decimals cannot tell")
    return after


class Change:
    """The conversion from one precision to another."""

    def __init__(self, before: PairSpec, after: PairSpec) -> None:
        self.before = before
        self.after = after
        self._price_shift = after.price_decimals - before.price_decimals
        self._qty_shift = after.qty_decimals - before.qty_decimals
        # Hot: a pair has some thousand candles, each of six numbers.
        self._shift_price = _shifting(self._price_shift)
        self._shift_qty = _shifting(self._qty_shift)
        self.cost = _shifting(self._price_shift + self._qty_shift)
        """Convert a sum of ticks × lots."""

    def price(self, ticks: PriceTicks) -> PriceTicks:
        """The nearest price, at least one tick."""
        return self._shift_price(ticks) or 1  # type: ignore[return-value]

    def outward(self, ticks: PriceTicks, is_bid: bool) -> PriceTicks:
        """The nearest price that is no better for the other side."""
        if self._price_shift >= 0:
            return self.price(ticks)
        factor = 10**-self._price_shift
        return PriceTicks(max(1, ticks // factor if is_bid else -(-ticks // factor)))

    def qty(self, lots: QtyLots) -> QtyLots:
        """The nearest quantity; at least one lot for anything above 0."""
        return self._shift_qty(lots) or 1 if lots else lots  # type: ignore[return-value]

    def holds_price(self, ticks: PriceTicks | None) -> bool:
        """Whether a price keeps its exact value."""
        return ticks is None or self._price_shift >= 0 or ticks % 10**-self._price_shift == 0

    def holds_qty(self, lots: QtyLots) -> bool:
        """Whether a quantity keeps its exact value."""
        return self._qty_shift >= 0 or lots % 10**-self._qty_shift == 0

    def row(self, text: str) -> str:
        """Rewrite a row of the trade channel in the new precision."""

        def printed(match: re.Match[str]) -> str:
            decimals = self.after.price_decimals if match[1] == "price" else self.after.qty_decimals
            return f'"{match[1]}":{Decimal(match[2]):.{decimals}f}'

        return _NUMBER.sub(printed, text)


def _shifting(shift: int) -> Callable[[int], int]:
    """What multiplies by 10**shift, rounding half up."""
    factor: int = 10 ** abs(shift)
    if shift >= 0:
        return factor.__mul__
    return lambda units: (2 * units + factor) // (2 * factor)


def is_told(amount: Decimal, decimals: int) -> bool:
    """Whether `decimals` can express the amount exactly."""
    return amount == amount.quantize(Decimal(1).scaleb(-decimals))
