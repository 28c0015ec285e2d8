"""The circuit breaker: opens after failures in a row, lets one probe through, and does as that says."""

from hypothesis import given
from hypothesis import strategies as st

from engine.kraken.connection.breaker import Breaker, BreakerState
from engine.units import MonoNs

OPEN_NS = 60


def failed(times, at=0):
    """A breaker after so many failures in a row."""
    breaker = Breaker(failures_max=5, open_ns=OPEN_NS)
    opened = [breaker.failed(MonoNs(at)) for _ in range(times)]
    return breaker, opened


def test_failures_in_a_row_open_it_and_a_success_between_does_not():
    """Five, not four; five with a success between are not in a row."""
    breaker, opened = failed(5)
    assert opened == [False] * 4 + [True]
    assert not breaker.allows(MonoNs(OPEN_NS - 1))
    breaker, _ = failed(4)
    breaker.succeeded()
    breaker.failed(MonoNs(1))

    assert breaker.state(MonoNs(1)) is BreakerState.CLOSED
    assert breaker.allows(MonoNs(1))


def test_after_its_time_one_probe_decides():
    """One: the others wait for its result."""
    breaker, _ = failed(5)
    now = MonoNs(OPEN_NS)
    assert breaker.state(now) is BreakerState.HALF_OPEN
    assert [breaker.allows(now) for _ in range(3)] == [True, False, False]
    assert breaker.failed(now)
    assert (breaker.state(now), breaker.wait_ns(now), breaker.openings) == (BreakerState.OPEN, OPEN_NS, 2)
    later = MonoNs(2 * OPEN_NS)
    assert breaker.allows(later)
    breaker.succeeded()

    assert breaker.state(later) is BreakerState.CLOSED
    assert breaker.wait_ns(later) == 0


def test_a_probe_of_which_nothing_is_heard_is_followed_by_another():
    """Otherwise it would stay shut for ever."""
    breaker, _ = failed(5)
    assert breaker.allows(MonoNs(OPEN_NS))
    assert not breaker.allows(MonoNs(2 * OPEN_NS - 1))

    assert breaker.allows(MonoNs(2 * OPEN_NS))


def test_late_failures_do_not_keep_it_open_for_longer():
    """They are of attempts from before."""
    breaker, _ = failed(5)
    breaker.failed(MonoNs(OPEN_NS // 2))

    assert breaker.state(MonoNs(OPEN_NS)) is BreakerState.HALF_OPEN


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans())))
def test_nothing_passes_while_it_is_open(steps):
    """Whatever happened before."""
    breaker, now, closed_until = Breaker(3, OPEN_NS), 0, -1
    for pause, works in steps:
        now += pause
        if breaker.allows(MonoNs(now)):
            assert now >= closed_until
            if works:
                breaker.succeeded()
            elif breaker.failed(MonoNs(now)):
                closed_until = now + OPEN_NS
        else:
            assert now < closed_until
