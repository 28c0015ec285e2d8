"""Whose position begins with what the account holds: of each asset one at most."""

import pytest

from engine import Strategy
from engine.errors import ConfigError
from engine.strategy_host.loading import NamedStrategy, holders


def named(name, *symbols, positions="account"):
    return NamedStrategy(name, Strategy(), symbols, positions)


def test_those_that_are_configured_so_hold():
    """Each with its pairs; the others begin with their own fills."""
    found = holders([named("a", "BTC/USD"), named("b", "ETH/USD", "SOL/USD"), named("c", "BTC/USD", positions="own")])

    assert found == {"a": ("BTC/USD",), "b": ("ETH/USD", "SOL/USD")}


@pytest.mark.parametrize(
    "strategies",
    [
        [named("a", "BTC/USD"), named("b", "ETH/USD", "BTC/USD")],
        [named("a", "BTC/USD"), named("b", "BTC/EUR")],
        [named("a", "BTC/USD", "BTC/EUR")],
    ],
)
def test_a_holding_of_two_is_refused(strategies):
    """One sentence names both, the asset, and what to change."""
    with pytest.raises(ConfigError) as told:
        holders(strategies)

    assert "would both begin with the account's BTC" in str(told.value)
    assert "a's in BTC/USD" in str(told.value)
    assert 'positions = "own"' in str(told.value)
