"""Waits between attempts: instant at first, then growing, drawn at random, forgotten after health."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.net.backoff import (
    CEILING_NS_MAX,
    FIRST_CEILING_NS,
    HEALTHY_NS,
    INSTANT_RETRIES_MAX,
    Backoff,
)
from engine.units import NS_PER_S, MonoNs

NOW = MonoNs(1_000_000 * NS_PER_S)


class Highest(Random):
    """Always draws the longest wait."""

    def random(self) -> float:
        return 1.0


def drop(backoff: Backoff, lived_ns: int = 1, floor_ns: int = 0) -> int:
    """The wait after a connection that lived so long."""
    backoff.opened(MonoNs(NOW - lived_ns))
    return backoff.retry_at(NOW, floor_ns) - NOW


def test_the_first_drops_do_not_wait():
    """Kraken: reconnect instantly a handful of times."""
    backoff = Backoff(Highest())

    assert [drop(backoff) for _ in range(INSTANT_RETRIES_MAX + 1)] == [0] * INSTANT_RETRIES_MAX + [FIRST_CEILING_NS]


def test_failed_attempts_wait_from_the_first_and_ever_longer():
    """A server that is not there is not hammered; the wait doubles up to its cap and stays there."""
    backoff = Backoff(Highest())
    waits = [backoff.retry_at(NOW) - NOW for _ in range(100)]

    assert waits[:7] == [FIRST_CEILING_NS << i for i in range(6)] + [CEILING_NS_MAX]
    assert set(waits[7:]) == {CEILING_NS_MAX}


@pytest.mark.parametrize(("factor", "expected"), [(1.0, [1, 1, 1, 1]), (3.0, [1, 3, 9, 10]), (10.0, [1, 10, 10, 10])])
def test_waits_grow_by_the_factor_up_to_the_longest(factor: float, expected: list[int]):
    """As configured; for ever, too."""
    backoff = Backoff(Highest(), first_ceiling_ns=NS_PER_S, ceiling_ns_max=10 * NS_PER_S, factor=factor)
    waits = [backoff.retry_at(NOW) - NOW for _ in range(1000)]

    assert [wait // NS_PER_S for wait in waits[:4]] == expected
    assert waits[-1] <= 10 * NS_PER_S


def test_failed_attempts_leave_the_instant_retries_alone():
    """Refused twice, then connected and dropped: that drop is the first one."""
    backoff = Backoff(Highest())
    backoff.retry_at(NOW)
    backoff.retry_at(NOW)

    assert drop(backoff) == 0


def test_a_healthy_connection_makes_all_forgotten():
    """After a connection that lived long enough, drops are instant again and waits short again."""
    backoff = Backoff(Highest())
    for _ in range(10):
        drop(backoff)

    assert drop(backoff, lived_ns=HEALTHY_NS - 1) > FIRST_CEILING_NS
    assert [drop(backoff, lived_ns=HEALTHY_NS), drop(backoff), drop(backoff)] == [0, 0, 0]
    assert drop(backoff) == FIRST_CEILING_NS


def test_a_failure_long_after_a_drop_is_not_a_healthy_connection():
    """Health is how long a connection lived, not how long ago it was."""
    backoff = Backoff(Highest())
    drop(backoff)
    backoff.retry_at(NOW)

    assert backoff.retry_at(MonoNs(NOW + 100 * HEALTHY_NS)) == NOW + 100 * HEALTHY_NS + 2 * FIRST_CEILING_NS


def test_the_floor_holds_even_for_the_first_drop():
    """After maintenance at least five seconds, and not all clients at the same moment."""
    floor_ns = 5 * NS_PER_S
    waits = {drop(Backoff(Random(seed)), floor_ns=floor_ns) for seed in range(50)}

    assert min(waits) >= floor_ns
    assert max(waits) <= floor_ns + FIRST_CEILING_NS
    assert len(waits) == 50


@given(
    seed=st.integers(),
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(0, 2 * HEALTHY_NS), st.integers(0, 10 * NS_PER_S)), max_size=60
    ),
)
def test_waits_are_never_negative_nor_above_floor_and_cap(seed: int, steps: list[tuple[bool, int, int]]) -> None:
    """Whatever happens, the next attempt is neither in the past nor later than the cap; the same seed repeats it."""

    def waits() -> list[int]:
        backoff = Backoff(Random(seed))
        return [
            drop(backoff, lived_ns, floor_ns) if dropped else backoff.retry_at(NOW, floor_ns) - NOW
            for dropped, lived_ns, floor_ns in steps
        ]

    first = waits()
    assert all(
        floor_ns <= wait <= floor_ns + CEILING_NS_MAX for wait, (_, _, floor_ns) in zip(first, steps, strict=True)
    )
    assert first == waits()
