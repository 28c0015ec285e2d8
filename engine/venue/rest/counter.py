"""The counter that limits REST calls by API key: the cost of each call, and the decay.

Calls of the matching engine do not count here; they have their own (`rate_counter`).
https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits
"""

from typing import Final

from engine.errors import VenueReject
from engine.units import NS_PER_S, MonoNs
from engine.venue.setup.rate_counter import Tier

LIMIT_EXCEEDED: Final = "EAPI:Rate limit exceeded"

_TIERS: Final[dict[Tier, tuple[int, float]]] = {  # most points; decay in points a second
    "starter": (15, 0.33),
    "intermediate": (20, 0.5),
    "pro": (20, 1.0),
}

_FREE: Final = frozenset(
    {
        "AddOrder",
        "AddOrderBatch",
        "AmendOrder",
        "EditOrder",
        "CancelOrder",
        "CancelOrderBatch",
        "CancelAll",
        "CancelAllOrdersAfter",
    }
)
# 2 on Kraken's newest page and in its own SDK and command line, 4 on the page of May 2026:
# a client had better count 4.
_HISTORY: Final = frozenset({"ClosedOrders", "TradesHistory", "QueryTrades", "Ledgers", "QueryLedgers"})
HISTORY_COST: Final = 2
INSISTENCE_FACTOR: Final = 2  # how far above its limit refused calls can raise the counter


def cost(method: str) -> int:
    """The points of one call."""
    if method in _FREE:
        return 0
    return HISTORY_COST if method in _HISTORY else 1


class RestCounter:
    """One key's counter."""

    __slots__ = ("_at", "_decay_per_s", "_limit", "_value")

    def __init__(self, tier: Tier) -> None:
        self._limit, self._decay_per_s = _TIERS[tier]
        self._value = 0.0  # as of `_at`
        self._at = MonoNs(0)

    def charge(self, method: str, now: MonoNs) -> None:
        """Count a call; raises VenueReject without room for it. A refused call counts too."""
        points = cost(method)
        if not points:
            return
        elapsed_s = (now - self._at) / NS_PER_S
        self._value = max(0.0, self._value - elapsed_s * self._decay_per_s)
        self._at = now
        is_within = self._value + points <= self._limit
        self._value = min(self._value + points, float(self._limit * INSISTENCE_FACTOR))
        if not is_within:
            raise VenueReject(LIMIT_EXCEEDED)
