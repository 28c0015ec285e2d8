"""Kraken's rate counter: its tables, its worked examples, and that we never think it lower than it is."""

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.orders.rate_counter import (
    ADD,
    INTERMEDIATE,
    PRO,
    STARTER,
    TIERS,
    RateCost,
    RateCounter,
    RateCounters,
    amend_cost,
    batch_add_cost,
    cancel_cost,
    tier_of,
)
from engine.units import NS_PER_S, MonoNs

LIMITS = json.loads((Path(__file__).parents[1] / "data/kraken/private/rate_limits.json").read_text())["trading_engine"]
T0 = MonoNs(5 * NS_PER_S)
COSTS = {"amend_order": amend_cost, "cancel_order": cancel_cost}


def at(seconds):
    """So long after the beginning."""
    return MonoNs(T0 + round(seconds * NS_PER_S))


@pytest.mark.parametrize("name", TIERS)
def test_tiers_are_krakens(name):
    """Threshold, decay and open orders."""
    tier, told = TIERS[name], LIMITS["tiers"][name]

    assert tier.threshold == told["threshold"]
    assert tier.decay_hundredths_per_s == Decimal(str(told["decay_per_s"])) * 100
    assert tier.open_orders_max == told["max_open_orders_per_pair"]


@pytest.mark.parametrize("method", COSTS)
def test_age_costs_are_krakens(method):
    """Just below every bound and on it: on it, the next row counts."""
    told = LIMITS["costs"][method]
    rows = [*told["by_age"], [10**6, 0]]
    for (bound_s, cost), (_, beyond) in pairwise(rows):
        assert COSTS[method](bound_s * NS_PER_S - 1) == 100 * (told["fixed"] + cost)
        assert COSTS[method](bound_s * NS_PER_S) == 100 * (told["fixed"] + beyond)


def test_the_worked_example_of_an_amended_and_canceled_order():
    """Add, amend after 7 s, cancel 36 s later: 8 in all. The age of the cancel counts from the amend."""
    steps = LIMITS["worked_examples"][0]

    assert ADD + amend_cost(7 * NS_PER_S) + cancel_cost(36 * NS_PER_S) == 100 * steps["total"]


def test_the_worked_example_of_fifty_adds():
    """Intermediate: 50 adds, then 10 s of decay: 26.6."""
    counter = RateCounter(INTERMEDIATE)
    for _ in range(50):
        counter.charge(ADD, T0)

    assert counter.count(at(10)) == Decimal(str(LIMITS["worked_examples"][1]["total"]))


def test_the_tier_is_what_the_subscription_tells():
    """One that we do not know is taken for the smallest."""
    assert [tier_of(count) for count in (60, 125, 180, 999, None)] == [STARTER, INTERMEDIATE, PRO, STARTER, STARTER]


def test_a_batch_costs_half_of_its_orders():
    """As Kraken's page says."""
    assert batch_add_cost(15) == 750


@given(
    st.sampled_from(list(TIERS.values())),
    st.lists(st.tuples(st.integers(0, 3 * NS_PER_S), st.sampled_from([100, 150, 400, 800]))),
    st.integers(0, 90),
)
def test_who_waits_as_told_never_exceeds_and_waits_no_nanosecond_too_long(tier, steps, reserve):
    """To the nanosecond: at the time told it fits, before it did not."""
    counter, now = RateCounter(tier), T0
    for pause, cost in steps:
        cost = RateCost(min(cost, tier.threshold * (100 - reserve)))
        now = MonoNs(now + pause)
        wait = counter.wait_ns(cost, now, reserve)
        if wait:
            assert counter.wait_ns(cost, MonoNs(now + wait - 1), reserve) == 1
        now = MonoNs(now + wait)
        assert counter.wait_ns(cost, now, reserve) == 0
        counter.charge(cost, now)
        assert counter.count(now) * 100 <= tier.threshold * (100 - reserve)


def test_cancels_keep_a_reserve():
    """Orders fill the counter up to it, never beyond: the dearest cancel still goes out at once."""
    counters = RateCounters(STARTER, reserve_percent=20)
    while counters.wait_ns("BTC/USD", ADD, T0) == 0:
        counters.charge("BTC/USD", ADD, T0)

    assert counters.counts(T0) == {"BTC/USD": 48}
    assert counters.cancel_wait_ns("BTC/USD", cancel_cost(0), T0) == 0
    assert counters.wait_ns("ETH/USD", ADD, T0) == 0
    assert counters.wait_ns("BTC/USD", ADD, at(1)) == 0


def test_what_costs_more_than_there_is_room_for_waits_for_an_empty_counter():
    """It does not wait for ever."""
    counter = RateCounter(STARTER)
    counter.charge(ADD, T0)

    assert counter.wait_ns(RateCost(10_000), T0) == NS_PER_S
    assert counter.wait_ns(RateCost(10_000), at(1)) == 0


def test_krakens_own_count_corrects_ours():
    """A higher one always (somebody else trades, too); a lower one only when nothing of ours is under way."""
    counter = RateCounter(PRO)
    counter.charge(RateCost(1000), T0)
    counter.correct(Decimal("4"), T0, has_all=False)
    assert counter.count(T0) == 10
    counter.correct(Decimal("17.255"), T0, has_all=False)
    assert counter.count(T0) == Decimal("17.26")
    counter.correct(Decimal("4"), T0, has_all=True)
    assert counter.count(T0) == 4
    for nonsense in ("NaN", "-1", "Infinity", "1e9"):
        counter.correct(Decimal(nonsense), T0, has_all=True)

    assert counter.count(T0) == 4


def test_a_refusal_for_rate_means_that_the_counter_is_full():
    """Whatever we thought."""
    counter = RateCounter(INTERMEDIATE)
    counter.exceeded(T0)

    assert counter.count(T0) == 125
    assert counter.wait_ns(ADD, T0) == -(-100 * NS_PER_S // 234)


def test_another_tier_decays_at_its_own_pace_from_then_on():
    """What had decayed before stays so."""
    counters = RateCounters(STARTER)
    counters.charge("BTC/USD", RateCost(5000), T0)
    counters.set_tier(PRO, at(10))

    assert counters.counts(at(10)) == {"BTC/USD": 40}
    assert counters.counts(at(12)) == {"BTC/USD": Decimal("32.5")}


def test_time_does_not_run_backwards():
    """A reading from before the last one gives nothing back."""
    counter = RateCounter(PRO)
    counter.charge(ADD, at(10))
    counter.charge(ADD, at(5))

    assert counter.count(at(10)) == 2


@given(st.lists(st.tuples(st.integers(0, 5000), st.sampled_from((50, 100, 400, 800)), st.booleans()), max_size=30))
def test_what_was_not_sent_is_taken_back_and_never_more(steps):
    """Whenever it turns out, and whatever else was sent meanwhile, the counter is at least what it would have been
    without it; and the same when that is known at once.
    """
    counter, without = RateCounter(STARTER), RateCounter(STARTER)
    now, charged = T0, []
    for pause_ms, cost, is_sent in steps:
        now = MonoNs(now + pause_ms * 1_000_000)
        counter.charge(RateCost(cost), now)
        if is_sent:
            without.charge(RateCost(cost), now)
        else:
            charged.append((RateCost(cost), now))
        if pause_ms % 2:
            for cost_back, charged_at in charged:
                counter.take_back(cost_back, charged_at, now)
            charged.clear()
        assert counter.count(now) >= without.count(now)


def test_what_was_not_sent_is_not_taken_back_from_a_count_of_krakens():
    """It never had it."""
    counter = RateCounter(STARTER)
    counter.charge(RateCost(800), T0)
    counter.correct(Decimal(30), at(0.1), has_all=False)
    counter.take_back(RateCost(800), T0, at(0.2))

    assert counter.count(at(0.2)) == Decimal("29.9")
