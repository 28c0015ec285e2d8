"""Kraken's edge allows 150 attempts per 10 minutes; we never make one more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.net.budget import ATTEMPTS_MAX, WINDOW_NS, ConnectionBudget
from engine.units import NS_PER_S, MonoNs


def test_a_storm_takes_the_whole_budget_then_waits_for_the_window():
    """150 attempts may start at once; the next when the first is ten minutes old."""
    budget = ConnectionBudget()
    for i in range(ATTEMPTS_MAX):
        now = MonoNs(i)
        assert budget.earliest(now) == now
        budget.spend(now)

    assert budget.earliest(MonoNs(ATTEMPTS_MAX)) == WINDOW_NS
    assert budget.earliest(MonoNs(WINDOW_NS)) == WINDOW_NS
    budget.spend(MonoNs(WINDOW_NS))
    assert budget.earliest(MonoNs(WINDOW_NS)) == WINDOW_NS + 1


def test_an_attempt_over_the_budget_is_a_broken_rule():
    """Whoever spends without asking is stopped, not served."""
    budget = ConnectionBudget(attempts_max=1, window_ns=100)
    budget.spend(MonoNs(0))

    with pytest.raises(MisuseError, match="connection attempt at 99 ns, allowed from 100 ns"):
        budget.spend(MonoNs(99))


@pytest.mark.parametrize(("attempts_max", "window_ns"), [(0, 1), (1, 0)])
def test_a_budget_of_nothing_is_refused(attempts_max: int, window_ns: int) -> None:
    """It would wait for ever, silently."""
    with pytest.raises(MisuseError, match="no connection at all"):
        ConnectionBudget(attempts_max, window_ns)


@given(
    attempts_max=st.integers(1, 12),
    window_s=st.integers(1, 100),
    pauses=st.lists(st.integers(0, 30 * NS_PER_S), max_size=200),
)
def test_no_window_ever_holds_more(attempts_max: int, window_s: int, pauses: list[int]) -> None:
    """However eagerly somebody tries: in every window at most attempts_max, and not one attempt later than needed."""
    budget = ConnectionBudget(attempts_max, window_s * NS_PER_S)
    now = MonoNs(0)
    spent: list[int] = []
    for pause in pauses:
        now = budget.earliest(MonoNs(now + pause))
        budget.spend(now)
        spent.append(now)

    for i, at in enumerate(spent):
        assert sum(1 for other in spent[i:] if other < at + window_s * NS_PER_S) <= attempts_max
