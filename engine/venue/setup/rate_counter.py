"""Kraken's trading rate counter: one per account and pair, decaying with time.

The cost of an action depends on the age of the order that it touches, counted from its
creation or its last amend.
https://docs.kraken.com/api/docs/guides/spot-ratelimits
"""

from typing import Final, Literal

import msgspec

from engine.units import NS_PER_S, WallNs

Tier = Literal["starter", "intermediate", "pro"]
Action = Literal["add", "amend", "edit", "cancel"]


class TierLimits(msgspec.Struct, frozen=True):
    """The limits of a tier's account on one pair."""

    threshold: int
    decay_per_s: float
    open_orders_max: int


TIERS: Final[dict[Tier, TierLimits]] = {
    "starter": TierLimits(60, 1.0, 60),
    "intermediate": TierLimits(125, 2.34, 80),
    "pro": TierLimits(180, 3.75, 225),
}

_FIXED: Final[dict[Action, int]] = {"add": 1, "amend": 1, "edit": 1, "cancel": 0}
# (age in seconds, exclusive; cost): the first bound above the age applies, none means free.
_BY_AGE: Final[dict[Action, tuple[tuple[int, int], ...]]] = {
    "add": (),
    "amend": ((5, 3), (10, 2), (15, 1)),
    "edit": ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1)),
    "cancel": ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)),
}


def cost(action: Action, age_ns: int = 0) -> int:
    """The points of one action on an order of this age; age -1, of an order that is not
    open, costs the fixed part.
    """
    if age_ns >= 0:
        for bound_s, by_age in _BY_AGE[action]:
            if age_ns < bound_s * NS_PER_S:
                return _FIXED[action] + by_age
    return _FIXED[action]


class RateCounter:
    """The counter of one pair and account."""

    __slots__ = ("_at", "_limits", "_value")

    def __init__(self, limits: TierLimits) -> None:
        self._limits = limits
        self._value = 0.0  # as of `_at`
        self._at = WallNs(0)

    def value(self, at: WallNs) -> float:
        """The points that have not decayed at `at`."""
        if at > self._at:
            decayed = (at - self._at) / NS_PER_S * self._limits.decay_per_s
            self._value = max(0.0, self._value - decayed)
            self._at = at
        return self._value

    def admits(self, points: float, at: WallNs) -> bool:
        """Whether there is room for these points."""
        return self.value(at) + points <= self._limits.threshold

    def charge(self, points: float, at: WallNs) -> None:
        """Add points, past the threshold too: what is accepted is charged."""
        self._value = self.value(at) + points
