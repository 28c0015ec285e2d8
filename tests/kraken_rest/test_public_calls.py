"""When a public call may be made: the spacing, the budget, and what of the burst is left to others."""

import pytest

from engine.kraken.rest import market_data
from engine.kraken_rest.public_calls import CALLS_BURST, FOR_CANDLES, FOR_RENEWALS, SPACING_NS, PublicCalls
from engine.units import NS_PER_S

SECOND = NS_PER_S
START = 1_000 * NS_PER_S


def calls_in(calls: PublicCalls, begin: int, end: int, leaves: int) -> int:
    """How many calls go out when one is made as soon as it may be, from `begin` to `end`."""
    made = 0
    for now in range(begin, end, SPACING_NS):
        if calls.may_call(now, leaves=leaves):
            request = market_data.depth(f"A{made}/USD", 10)
            calls.begin(request, now)
            calls.answered(request, None, now)
            made += 1
    return made


@pytest.fixture
def calls() -> PublicCalls:
    """Of one call in two seconds."""
    return PublicCalls(calls_per_s=0.5, cache_ns=3 * NS_PER_S)


def test_a_burst_goes_out_spaced_and_then_the_budget_holds(calls: PublicCalls):
    assert calls_in(calls, START, START + SECOND, leaves=0) == CALLS_BURST
    assert calls_in(calls, START + SECOND, START + 41 * SECOND, leaves=0) == 20


@pytest.mark.parametrize("leaves", [FOR_RENEWALS, FOR_CANDLES])
def test_renewals_and_candles_never_take_the_last_of_the_burst(calls: PublicCalls, leaves: int):
    """However long they have gone on, as many calls of the burst as they leave can be made at once."""
    now = START
    for seconds in (1, 7, 60, 61.5):
        end = now + int(seconds * NS_PER_S)
        calls_in(calls, now, end, leaves)
        now = end

        assert calls.may_call(now, leaves=0)
    assert calls_in(calls, now, now + leaves * SPACING_NS, leaves=0) == leaves


def test_who_leaves_more_of_the_burst_gets_no_less_of_the_budget(calls: PublicCalls):
    assert calls_in(calls, START, START + 40 * SECOND, FOR_CANDLES) == 20
