"""Fees: Kraken's maker and taker rates by the volume of the last 30 days, and its rounding.

Genuine fills agree with half up at the pair's cost precision: 12.70744 × 0.4 % = 0.05083.
"""

from collections import deque
from typing import Final

import msgspec

from engine.units import NS_PER_S, PriceTicks, QtyLots, WallNs
from engine.venue.market.pairs import PairSpec

DAY_NS: Final = 86_400 * NS_PER_S
WINDOW_DAYS: Final = 30


class FeeTier(msgspec.Struct, frozen=True):
    """The rates from a volume upwards, in millionths: 2500 is 0.25 %."""

    volume_usd: int
    maker_ppm: int
    taker_ppm: int


FEE_TIERS: Final = (
    FeeTier(0, 2500, 4000),
    FeeTier(10_000, 2000, 3500),
    FeeTier(50_000, 1400, 2400),
    FeeTier(100_000, 1200, 2200),
    FeeTier(250_000, 1000, 2000),
    FeeTier(500_000, 800, 1800),
    FeeTier(1_000_000, 600, 1600),
    FeeTier(2_500_000, 400, 1400),
    FeeTier(5_000_000, 200, 1200),
    FeeTier(10_000_000, 0, 1000),
    FeeTier(100_000_000, 0, 800),
    FeeTier(500_000_000, 0, 500),
)


def fee_tier(volume_usd: float) -> FeeTier:
    """The tier of a 30-day volume."""
    return next(tier for tier in reversed(FEE_TIERS) if volume_usd >= tier.volume_usd or not tier.volume_usd)


def cost_units(pair: PairSpec, price: PriceTicks, qty: QtyLots) -> int:
    """Price × quantity in units of the pair's cost precision, half up."""
    product = price * qty
    shift = pair.price_decimals + pair.qty_decimals - pair.cost_decimals
    if shift <= 0:
        scale: int = 10**-shift
        return product * scale
    scale = 10**shift
    return (2 * product + scale) // (2 * scale)


def fee_units(cost: int, rate_ppm: int) -> int:
    """The fee of a cost, in the same units, half up."""
    return (cost * rate_ppm + 500_000) // 1_000_000


class FeeVolume:
    """One account's volume of the last 30 days, in US dollars, day by day (at most 31 of
    them are kept).
    """

    def __init__(self, start_usd: float = 0.0) -> None:
        self._start_usd = start_usd  # the volume that the account is given before the venue opened
        self._days: deque[list[float]] = deque(maxlen=WINDOW_DAYS + 1)  # [day number, dollars]

    def add(self, usd: float, at: WallNs) -> None:
        """Count one fill."""
        day = at // DAY_NS
        if self._days and self._days[-1][0] == day:
            self._days[-1][1] += usd
        else:
            self._days.append([day, usd])

    def usd(self, at: WallNs) -> float:
        """The volume that decides the tier."""
        oldest = at // DAY_NS - WINDOW_DAYS
        return self._start_usd + sum(usd for day, usd in self._days if day > oldest)
