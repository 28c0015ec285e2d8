"""A short day of quiet and bursts over many pairs: nothing is doubted, cut or heaped up without a reason.

`python -m tests.simulate --pairs 1450 --day 86400` is the long one.
"""

import pytest

from tests.simulate.market_day import table_sizes
from tests.simulate.plants import OF_MARKET, plant
from tests.simulate.simulation import simulate_market

PAIRS = 60
DAY_S = 300.0


@pytest.mark.parametrize("seed", [1, 2])
def test_a_day_of_quiet_and_bursts_raises_no_doubt(seed):
    """No pair stale, no connection lost, no table grown; every book the venue's."""
    outcome = simulate_market(seed, PAIRS, day_s=DAY_S)

    assert outcome.violation == ""
    assert outcome.counts["bursts"] > 2
    assert outcome.counts["published"] > PAIRS


def test_the_same_seed_tells_the_same_day():
    """Byte for byte."""
    once, again = (simulate_market(7, 20, day_s=15.0) for _ in range(2))

    assert (once.digest, once.steps) == (again.digest, again.steps)


@pytest.mark.parametrize("name", sorted(OF_MARKET))
def test_a_planted_bug_of_the_market_is_found(name):
    """By the first seed."""
    with plant(name):
        assert simulate_market(1, PAIRS, day_s=DAY_S).violation


def test_tables_are_counted_wherever_they_are():
    """Containers in containers, of the engine's own objects; what cannot change does not count."""
    sizes = table_sizes([{"a": [1, 2], "b": {3: (4, 5)}}])

    assert {name: entries for name, (entries, _) in sizes.items()} == {"": 2 + 2 + 1}
