"""An hour of quoting at 90 % of what Kraken's rate counter allows, against the venue's own counter: never refused, and
cancels never starved.

Two counters of two authors, written from the same page: the engine's decides what leaves, the venue's what is refused.
Between them lies a network whose delays vary, so the venue counts each request a little later than the engine did.
"""

from random import Random

import pytest

from engine.orders.rate_counter import ADD, TIERS, RateCounters, amend_cost, cancel_cost
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs
from engine.venue.setup import rate_counter as venue

SYMBOL = "BTC/USD"
HOUR_NS = 3600 * NS_PER_S
STEP_NS = 50 * NS_PER_MS
RESERVE_PERCENT = 20
CANCEL_WAIT_NS_MAX = NS_PER_S


class _Account:
    """The venue's side: counts what reaches it, in the order in which it does."""

    def __init__(self, tier: venue.Tier) -> None:
        self._limits = venue.TIERS[tier]
        self._counter = venue.RateCounter(self._limits)
        self.refusals = 0
        self.highest = 0.0

    def receive(self, points: float, at: int) -> None:
        if not self._counter.admits(points, WallNs(at)):
            self.refusals += 1
        self._counter.charge(points, WallNs(at))
        self.highest = max(self.highest, self._counter.value(WallNs(at)) / self._limits.threshold)


@pytest.mark.parametrize("tier", ["starter", "intermediate", "pro"])
@pytest.mark.parametrize("seed", range(3))
def test_an_hour_at_ninety_percent_of_the_budget_is_never_refused(tier: venue.Tier, seed: int) -> None:
    """Quotes are amended, cancelled and sent anew, as often as nine tenths of the decay pay for."""
    rng = Random(f"{tier} {seed}")
    rates, account = RateCounters(TIERS[tier], RESERVE_PERCENT), _Account(tier)
    budget_per_s = TIERS[tier].decay_hundredths_per_s * 0.9
    spent, waited_longest_ns, sent = 0, 0, {"add": 0, "amend": 0, "cancel": 0}
    arrives_at = 0
    quotes: list[int] = []  # when each was made or last amended
    wanted: list[tuple[int, int]] = []  # cancels: since when, and of an order of which age

    for now in range(STEP_NS, HOUR_NS, STEP_NS):
        mono = MonoNs(now)
        # One connection keeps the order in which requests were sent.
        arrives_at = max(arrives_at, now + int(rng.uniform(1, 40) * NS_PER_MS))
        while wanted:
            since, made_at = wanted[0]
            cost = cancel_cost(now - made_at)
            if rates.cancel_wait_ns(SYMBOL, cost, mono):
                break
            waited_longest_ns = max(waited_longest_ns, now - since)
            wanted.pop(0)
            rates.charge(SYMBOL, cost, mono)
            # It is younger for us than it will be there: what it costs there is at most this.
            account.receive(venue.cost("cancel", arrives_at - made_at), arrives_at)
            spent += cost
            sent["cancel"] += 1
        if spent / (now / NS_PER_S) > budget_per_s:
            continue
        match rng.random():
            case chance if not quotes or chance < 0.3:
                what, cost, made_at = "add", ADD, now
            case chance if chance < 0.85:
                what, made_at = "amend", quotes.pop(rng.randrange(len(quotes)))
                cost = amend_cost(now - made_at)
            case _:
                wanted.append((now, quotes.pop(rng.randrange(len(quotes)))))
                continue
        if rates.wait_ns(SYMBOL, cost, mono):
            if what == "amend":
                quotes.append(made_at)
            continue
        rates.charge(SYMBOL, cost, mono)
        age_ns = -1 if what == "add" else arrives_at - made_at
        account.receive(venue.cost("add" if what == "add" else "amend", age_ns), arrives_at)
        spent += cost
        sent[what] += 1
        quotes.append(now)
        if len(quotes) > 20:
            wanted.append((now, quotes.pop(0)))

    assert account.refusals == 0
    assert min(sent.values()) > 50, sent
    assert spent / 3600 > 0.8 * budget_per_s, "the budget was used"
    assert waited_longest_ns <= CANCEL_WAIT_NS_MAX, "cancels are not starved"
