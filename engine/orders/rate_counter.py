"""Kraken's counter of an account's transactions on one pair: every one adds to it, time takes away.

Older orders are cheaper to change: nothing but time makes a cancel free. Above the tier's threshold Kraken refuses.
Counted in whole numbers: a cost in hundredths of Kraken's count (a batch of three costs 1.5), a level in hundredths
times nanoseconds, for the decay of 2.34 a second is 234 of these each nanosecond.

Source: https://docs.kraken.com/api/docs/guides/spot-ratelimits
"""

from decimal import ROUND_CEILING, Decimal
from typing import Final, NewType

from msgspec import Struct

from engine.units import NS_PER_S, MonoNs

RateCost = NewType("RateCost", int)
"""Hundredths of Kraken's count."""

COSTS_PER_COUNT: Final = 100

Ages = tuple[tuple[int, int], ...]
"""(age in seconds, exclusive; hundredths): the first row that is older than the order counts; no row, no cost."""

_AMEND: Final[Ages] = ((5, 300), (10, 200), (15, 100))
_EDIT: Final[Ages] = ((5, 600), (10, 500), (15, 400), (45, 200), (90, 100))
_CANCEL: Final[Ages] = ((5, 800), (10, 600), (15, 500), (45, 400), (90, 200), (300, 100))

ADD: Final = RateCost(100)
CANCEL_ALL_PER_PAIR: Final = RateCost(100)
DEAD_MAN: Final = RateCost(100)


class Tier(Struct, frozen=True):
    """What Kraken allows an account on each pair."""

    name: str
    threshold: int
    decay_hundredths_per_s: int
    open_orders_max: int


STARTER: Final = Tier("starter", 60, 100, 60)
INTERMEDIATE: Final = Tier("intermediate", 125, 234, 80)
PRO: Final = Tier("pro", 180, 375, 225)
TIERS: Final = {tier.name: tier for tier in (STARTER, INTERMEDIATE, PRO)}


def tier_of(max_rate_count: int | None) -> Tier:
    """The tier that the executions channel's acknowledgement tells; the smallest when it tells nothing we know."""
    return next((tier for tier in (PRO, INTERMEDIATE) if tier.threshold == max_rate_count), STARTER)


def amend_cost(age_ns: int) -> RateCost:
    """Of an amend of an order that was made, or last amended, so long ago."""
    return RateCost(100 + _by_age(_AMEND, age_ns))


def edit_cost(age_ns: int) -> RateCost:
    """Of a cancel and a new order in one request."""
    return RateCost(100 + _by_age(_EDIT, age_ns))


def cancel_cost(age_ns: int) -> RateCost:
    """Of one cancel, in a batch or alone."""
    return RateCost(_by_age(_CANCEL, age_ns))


def batch_add_cost(orders: int) -> RateCost:
    """Of a batch: half of its orders. Some clients charge one more; Kraken's page does not."""
    return RateCost(orders * 50)


def _by_age(ages: Ages, age_ns: int) -> int:
    for bound_s, cost in ages:
        if age_ns < bound_s * NS_PER_S:
            return cost
    return 0


class RateCounter:
    """The counter of one pair, as we believe it to stand at Kraken."""

    __slots__ = ("_as_of", "_level", "_tier")

    def __init__(self, tier: Tier = STARTER) -> None:
        self._tier = tier
        # In hundredths × nanoseconds, as it was at `_as_of`.
        self._level = 0
        self._as_of = MonoNs(0)

    @property
    def tier(self) -> Tier:
        return self._tier

    def set_tier(self, tier: Tier, now: MonoNs) -> None:
        """Another tier decays at another pace from now on."""
        self._decay(now)
        self._tier = tier

    def count(self, now: MonoNs) -> Decimal:
        """Where it stands, in Kraken's own count, rounded up to hundredths."""
        return Decimal(-(-self._level_at(now) // NS_PER_S)).scaleb(-2)

    def wait_ns(self, cost: RateCost, now: MonoNs, reserve_percent: int = 0) -> int:
        """How long until a transaction fits under the threshold, less what is reserved; 0 when it does now.

        One that costs more than there ever is room for waits for an empty counter.
        """
        room = self._tier.threshold * (100 - reserve_percent) * NS_PER_S - cost * NS_PER_S
        excess = self._level_at(now) - max(room, 0)
        return max(-(-excess // self._tier.decay_hundredths_per_s), 0)

    def charge(self, cost: RateCost, now: MonoNs) -> None:
        """A transaction leaves now. Kraken charges for refused ones, too."""
        self._decay(now)
        self._level += cost * NS_PER_S

    def correct(self, count: Decimal, now: MonoNs, *, is_idle: bool) -> None:
        """Kraken tells its own count. A lower one than ours counts only when no request is under way (`is_idle`)."""
        if not count.is_finite() or not 0 <= count < 10_000:
            return
        self._decay(now)
        told = int((count * 100).to_integral_value(ROUND_CEILING)) * NS_PER_S
        self._level = told if is_idle else max(self._level, told)

    def exceeded(self, now: MonoNs) -> None:
        """Kraken refused for its rate: the counter stands at the threshold at least."""
        self._decay(now)
        self._level = max(self._level, self._tier.threshold * COSTS_PER_COUNT * NS_PER_S)

    def _level_at(self, now: MonoNs) -> int:
        return max(self._level - max(now - self._as_of, 0) * self._tier.decay_hundredths_per_s, 0)

    def _decay(self, now: MonoNs) -> None:
        self._level = self._level_at(now)
        self._as_of = MonoNs(max(now, self._as_of))


class RateCounters:
    """The counters of all pairs of one account; one a pair, and pairs are few."""

    def __init__(self, tier: Tier = STARTER, reserve_percent: int = 20) -> None:
        self.tier = tier
        self._reserve_percent = reserve_percent
        self._counters: dict[str, RateCounter] = {}

    def of(self, symbol: str) -> RateCounter:
        """The counter of a pair."""
        counter = self._counters.get(symbol)
        if counter is None:
            counter = self._counters[symbol] = RateCounter(self.tier)
        return counter

    def set_tier(self, tier: Tier, now: MonoNs) -> None:
        """Kraken has told the tier."""
        self.tier = tier
        for counter in self._counters.values():
            counter.set_tier(tier, now)

    def wait_ns(self, symbol: str, cost: RateCost, now: MonoNs) -> int:
        """How long an order or an amend must wait: it leaves the reserve to cancels."""
        return self.of(symbol).wait_ns(cost, now, self._reserve_percent)

    def cancel_wait_ns(self, symbol: str, cost: RateCost, now: MonoNs) -> int:
        """How long a cancel must wait: the whole counter is its own."""
        return self.of(symbol).wait_ns(cost, now)

    def charge(self, symbol: str, cost: RateCost, now: MonoNs) -> None:
        """A transaction leaves now."""
        self.of(symbol).charge(cost, now)

    def counts(self, now: MonoNs) -> dict[str, Decimal]:
        """Where every pair stands, for people."""
        return {symbol: counter.count(now) for symbol, counter in self._counters.items()}
