"""Kraken's counter of an account's transactions on one pair: each adds to it, and it decays
with time.

Changing an order costs less the older it is. Above the tier's threshold Kraken refuses.
Counted in integers: costs in hundredths of Kraken's count (a batch of three costs 1.5),
levels in hundredths times nanoseconds, because a decay of 2.34 a second is 234 of these
each nanosecond.

Source: https://docs.kraken.com/api/docs/guides/spot-ratelimits
"""

from decimal import ROUND_CEILING, Decimal
from typing import Final, NewType

from msgspec import Struct

from engine.units import NS_PER_S, MonoNs, WallNs

RateCost = NewType("RateCost", int)
"""Hundredths of Kraken's count."""

COSTS_PER_COUNT: Final = 100

Ages = tuple[tuple[int, int], ...]
"""(age in seconds, exclusive; hundredths): the first row that is older than the order
counts; no row, no cost.
"""

_AMEND: Final[Ages] = ((5, 300), (10, 200), (15, 100))
_CANCEL: Final[Ages] = ((5, 800), (10, 600), (15, 500), (45, 400), (90, 200), (300, 100))

ADD: Final = RateCost(100)
DEAD_MAN: Final = RateCost(100)


class Tier(Struct, frozen=True):
    """The limits of an account on each pair."""

    name: str
    threshold: int
    decay_hundredths_per_s: int
    open_orders_max: int

    def level_max(self, cost: RateCost, reserve_percent: int) -> int:
        """The highest level at which a transaction fits below the threshold, less the
        reserve; 0 for one that never does.
        """
        return max((self.threshold * (100 - reserve_percent) - cost) * NS_PER_S, 0)


STARTER: Final = Tier("starter", 60, 100, 60)
INTERMEDIATE: Final = Tier("intermediate", 125, 234, 80)
PRO: Final = Tier("pro", 180, 375, 225)
TIERS: Final = {tier.name: tier for tier in (STARTER, INTERMEDIATE, PRO)}


def tier_of(max_rate_count: int | None) -> Tier:
    """The tier with the threshold that the executions channel's acknowledgement tells; the
    smallest if it is unknown.
    """
    return next((tier for tier in (PRO, INTERMEDIATE) if tier.threshold == max_rate_count), STARTER)


def amend_cost(age_ns: int) -> RateCost:
    """The cost of amending an order whose creation or last amend was `age_ns` ago."""
    return RateCost(100 + _by_age(_AMEND, age_ns))


def cancel_cost(age_ns: int) -> RateCost:
    """The cost of one cancel, in a batch or alone."""
    return RateCost(_by_age(_CANCEL, age_ns))


def batch_add_cost(orders: int) -> RateCost:
    """The cost of a batch: half of its orders. Some clients charge one more; Kraken's page
    does not.
    """
    return RateCost(orders * 50)


def _by_age(ages: Ages, age_ns: int) -> int:
    for bound_s, cost in ages:
        if age_ns < bound_s * NS_PER_S:
            return cost
    return 0


class RateCounter:
    """The estimated counter of one pair."""

    __slots__ = ("as_of", "level", "tier", "told_at")

    def __init__(self, tier: Tier = STARTER) -> None:
        self.tier = tier
        # In hundredths × nanoseconds, at `as_of`; read by the compiled path too.
        self.level = 0
        self.as_of = MonoNs(0)
        # When Kraken last told the count, or that it is too high; 0 before.
        self.told_at = MonoNs(0)

    def set_tier(self, tier: Tier, now: MonoNs) -> None:
        """Use this tier's threshold, and its decay from `now` on."""
        self._decay(now)
        self.tier = tier

    def settled(self, now: MonoNs) -> Decimal | None:
        """`count`; None of a counter that is at 0, which costs next to nothing from then
        on.
        """
        if not self.level:
            return None
        self._decay(now)
        return self.count(now) if self.level else None

    def count(self, now: MonoNs) -> Decimal:
        """The level in Kraken's own count, rounded up to hundredths."""
        return Decimal(-(-self._level_at(now) // NS_PER_S)).scaleb(-2)

    def wait_ns(self, cost: RateCost, now: MonoNs, reserve_percent: int = 0) -> int:
        """Nanoseconds until a transaction fits below the threshold, less the reserve; 0 if
        it fits now.

        One that costs more than there ever is room for waits until the counter is empty.
        """
        level_max = self.tier.level_max(cost, reserve_percent)
        if self.level <= level_max:  # hot: it only falls meanwhile
            return 0
        return max(-(-(self._level_at(now) - level_max) // self.tier.decay_hundredths_per_s), 0)

    def charge(self, cost: RateCost, now: MonoNs) -> None:
        """Charge a transaction sent now. Kraken charges for refused ones, too."""
        self._decay(now)
        self.level += cost * NS_PER_S

    def take_back(self, cost: RateCost, charged_at: MonoNs, now: MonoNs) -> None:
        """Subtract what must be left of a charge, for a transaction that was not sent after
        all. No effect if Kraken has reported the count since.
        """
        if self.told_at >= charged_at:
            return
        self._decay(now)
        left = cost * NS_PER_S - max(now - charged_at, 0) * self.tier.decay_hundredths_per_s
        self.level = max(self.level - max(left, 0), 0)

    def correct(self, count: Decimal, now: MonoNs, *, has_all: bool) -> None:
        """Apply Kraken's own count. One that is lower than ours is used only if it includes
        all requests sent (`has_all`).
        """
        if not count.is_finite() or not 0 <= count < 10_000:
            return
        self._decay(now)
        self.told_at = now
        told = int((count * 100).to_integral_value(ROUND_CEILING)) * NS_PER_S
        self.level = told if has_all else max(self.level, told)

    def exceeded(self, now: MonoNs) -> None:
        """Record that Kraken refused because of the rate: the counter is at least at the
        threshold.
        """
        self._decay(now)
        self.told_at = now
        self.level = max(self.level, self.tier.threshold * COSTS_PER_COUNT * NS_PER_S)

    def _level_at(self, now: MonoNs) -> int:
        return max(self.level - max(now - self.as_of, 0) * self.tier.decay_hundredths_per_s, 0)

    def _decay(self, now: MonoNs) -> None:
        self.level = self._level_at(now)
        self.as_of = MonoNs(max(now, self.as_of))


class RateCounters:
    """The counters of all pairs of one account.

    A process that begins anew counts from 0 until a row of the pair tells Kraken's own
    count, or a refusal that it is full. The journal does not tell it: the tier that it
    decays by is not known before the snapshot, and amends and cancels are kept one an
    order. So the first burst after a restart may be refused.
    """

    def __init__(self, tier: Tier = STARTER, reserve_percent: int = 20) -> None:
        self.tier = tier
        self._reserve_percent = reserve_percent
        # By pair, those that were asked for.
        self.counters: dict[str, RateCounter] = {}
        # By Kraken's clock: what it counts later includes every request that was answered.
        self.counts_all_from = WallNs(0)

    def answered(self, at: WallNs) -> None:
        """Record that Kraken answered a request that it received at `at` by its clock."""
        self.counts_all_from = max(self.counts_all_from, at)

    def of(self, symbol: str) -> RateCounter:
        """The counter of a pair."""
        counter = self.counters.get(symbol)
        if counter is None:
            counter = self.counters[symbol] = RateCounter(self.tier)
        return counter

    def set_tier(self, tier: Tier, now: MonoNs) -> None:
        """Use this tier for all pairs."""
        self.tier = tier
        for counter in self.counters.values():
            counter.set_tier(tier, now)

    def level_max(self, tier: Tier, cost: RateCost) -> int:
        """The highest level at which an order or amend need not wait."""
        return tier.level_max(cost, self._reserve_percent)

    def wait_ns(self, symbol: str, cost: RateCost, now: MonoNs) -> int:
        """Nanoseconds that an order or amend must wait; it leaves the reserve to cancels."""
        counter = self.counters.get(symbol) or self.of(symbol)
        return counter.wait_ns(cost, now, self._reserve_percent)

    def cancel_wait_ns(self, symbol: str, cost: RateCost, now: MonoNs) -> int:
        """Nanoseconds that a cancel must wait; it may use the whole counter."""
        return self.of(symbol).wait_ns(cost, now)

    def charge(self, symbol: str, cost: RateCost, now: MonoNs) -> None:
        """Charge a transaction sent now."""
        self.of(symbol).charge(cost, now)

    def take_back(self, symbol: str, cost: RateCost, charged_at: MonoNs, now: MonoNs) -> None:
        """Take back what is left of a charge; see `RateCounter.take_back`."""
        self.of(symbol).take_back(cost, charged_at, now)

    def counts(self, now: MonoNs) -> dict[str, Decimal]:
        """The level of every pair where it is above 0, for people."""
        return {symbol: count for symbol, counter in self.counters.items() if (count := counter.settled(now))}
