"""An estimate of Kraken's counter of a key's REST calls, and who may use the room that is
left.

    wait_ns ─► charge ─► the call ─► accepted    the counter is at most full
                              └────► refused     it is more than full, by twice as much with each in a row

Kraken counts refused calls as well, up to twice the limit: a client that retries after one
point of decay is refused for ever. So a refusal raises the estimate above the limit, and
pauses grow until a call is accepted.

Calls that change orders have another counter. Urgent calls may use this one up; the others
leave some room.

Pure: time is passed in. https://docs.kraken.com/api/docs/guides/spot-rest-ratelimits
"""

from enum import IntEnum
from typing import Final, NamedTuple

from engine.units import NS_PER_S, MonoNs

HISTORY_CALLS: Final = frozenset({"ClosedOrders", "TradesHistory", "QueryTrades", "Ledgers", "QueryLedgers"})
COST_MIN: Final = 1  # points of a call that reads
HISTORY_COST: Final = 4  # our budget for them; Kraken's page of 2026 says 2, one of May 2026 said 4
COUNTER_MAX: Final = {"starter": 15.0, "intermediate": 20.0, "pro": 20.0}
COUNTER_DECAY_PER_S: Final = {"starter": 0.33, "intermediate": 0.5, "pro": 1.0}
INSISTENCE_FACTOR: Final = 2  # how far above its limit refused calls raise Kraken's counter
MARGIN: Final = 0.5  # points: a call reaches Kraken later than it left here, and the one before may have been faster
HOLD_NS_MAX: Final = 600 * NS_PER_S  # a longer Retry-After is more likely a mistake


class Urgency(IntEnum):
    """The order in which calls are made; a smaller number is more urgent."""

    DEAD_MAN = 0
    """The refresh that keeps the orders of the whole account from being canceled."""
    CANCEL = 1
    TRUTH = 2
    """Trading waits for these: tokens, the key's check, orders that a snapshot does not
    list.
    """
    ORDER = 3
    LOOK = 4
    """Orders and changes in doubt, missing fills: trading of their pairs waits. Closing
    orders that nobody told of: positions and their protection wait.
    """
    LATER = 5
    """Orders that seemed absent, polls, checks: nothing waits for these."""


# Points that a call leaves for more urgent ones: a reconciliation with its history, and the
# tokens of a restart.
LEFT_FREE: Final = {Urgency.LOOK: HISTORY_COST, Urgency.LATER: 2 * HISTORY_COST}
assert all(HISTORY_COST + left + MARGIN < min(COUNTER_MAX.values()) for left in LEFT_FREE.values())


class CallLevel(NamedTuple):
    """The counter at one moment, for the next process of this key."""

    tier: str
    points: float


def call_cost(name: str) -> int:
    """Points of one call that reads."""
    return HISTORY_COST if name in HISTORY_CALLS else COST_MIN


class CallCounter:
    """The estimated level of the counter, in points."""

    def __init__(self, tier: str = "starter", *, points: float = 0.0, now: MonoNs = MonoNs(0)) -> None:  # noqa: B008
        """`points` is the level at `now`, as estimated by an earlier process."""
        self.tier = tier if tier in COUNTER_MAX else "starter"
        self._points = min(max(points, 0.0), COUNTER_MAX[self.tier] * INSISTENCE_FACTOR)
        self._as_of = now
        # Refusals in a row since a call was accepted.
        self.refused_in_a_row = 0
        # Kraken asked for no call before this.
        self._held_until = MonoNs(0)

    def level(self, now: MonoNs) -> CallLevel:
        """The level at `now`."""
        return CallLevel(self.tier, self._points_at(now))

    def wait_ns(self, cost: int, now: MonoNs, urgency: Urgency = Urgency.TRUTH) -> int:
        """Nanoseconds until a call of this cost fits; 0 if it fits now."""
        excess = self._points_at(now) + cost + LEFT_FREE.get(urgency, 0) + MARGIN - COUNTER_MAX[self.tier]
        # Rounded up: a wait that ends a moment too early would only be followed by another.
        decay_ns = int(excess / COUNTER_DECAY_PER_S[self.tier] * NS_PER_S) + 1 if excess > 0 else 0
        return max(decay_ns, self._held_until - now, 0)

    def charge(self, cost: int, now: MonoNs) -> None:
        """Charge a call that is sent now."""
        self._points, self._as_of = self._points_at(now) + cost, now

    def accepted(self, now: MonoNs) -> None:
        """Note that a call was not refused for the counter, so the level is at most the
        limit.
        """
        self._points, self._as_of = min(self._points_at(now), COUNTER_MAX[self.tier]), now
        self.refused_in_a_row = 0

    def refused(self, cost: int, now: MonoNs) -> None:
        """Note that Kraken refused a call because the counter is full; `charge` came
        before.
        """
        limit = COUNTER_MAX[self.tier]
        above = max(cost, 1) * 2.0**self.refused_in_a_row
        self._points = min(max(self._points_at(now), limit + above), limit * INSISTENCE_FACTOR)
        self._as_of = now
        self.refused_in_a_row = min(self.refused_in_a_row + 1, 10)

    def hold(self, wait_ns: int, now: MonoNs) -> None:
        """Make no call for `wait_ns`, as Kraken asked."""
        self._held_until = max(self._held_until, MonoNs(now + min(wait_ns, HOLD_NS_MAX)))

    def _points_at(self, now: MonoNs) -> float:
        return max(0.0, self._points - COUNTER_DECAY_PER_S[self.tier] * (now - self._as_of) / NS_PER_S)
