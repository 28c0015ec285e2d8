"""The advice of `engine check`: a pure function of configuration and machine."""

from pathlib import Path

import msgspec
import pytest

from engine.config import Config, FeedConfig
from engine.doctor.advice import FEED_SHARE_MAX, MEASURED, Machine, Needs, advise, needs
from engine.kraken_rest.preflight import Level

BENCH = Path(__file__).parents[2] / "bench"
LARGE = Machine(cores=16, memory_bytes=64 << 30, is_native=True)


def config(pairs: int, **feed: object) -> Config:
    symbols = tuple(f"P{number}/USD" for number in range(pairs))
    return Config(symbols=symbols, feed=msgspec.convert(feed, FeedConfig))


def told(pairs: int, machine: Machine = LARGE, **feed: object) -> dict[str, tuple[Level, str]]:
    return {found.name: (found.level, found.text) for found in advise(config(pairs, **feed), machine)}


def test_the_usual_needs_no_advice():
    """Two pairs with the defaults: nothing to change, and what it takes is said."""
    found = told(2)

    assert {level for level, _ in found.values()} == {Level.OK}
    assert list(found) == ["shards", "memory", "publish_levels"]
    assert found["shards"][1] == "2 pairs may bring 3,229 messages/s, which feed.shards = 1 takes"
    assert found["memory"][1].startswith("the engine takes some ")


def test_every_pair_of_kraken_is_told_to_use_two_shards_and_plain_python_more():
    """From the load and the cost of a message; never more than cores or pairs."""
    plain = msgspec.structs.replace(LARGE, is_native=False)

    assert told(1450)["shards"] == (
        Level.ADVICE,
        "1450 pairs may bring 9,958 messages/s, more than 1 of feed.shards take without waiting; set feed.shards = 2",
    )
    assert told(1450, shards=2)["shards"][0] is Level.OK
    assert "set feed.shards = 5" in told(1450, plain)["shards"][1]
    assert told(1450, msgspec.structs.replace(LARGE, cores=2))["shards"][0] is Level.OK
    assert told(1, plain, shards=16)["shards"][0] is Level.OK  # one pair has one shard


def test_shards_that_are_not_needed_are_named_with_their_price():
    level, text = told(20, shards=8)["shards"]

    assert level is Level.ADVICE
    assert text.startswith("20 pairs may bring ")
    assert text.endswith("8 cost 60 MB more")


@pytest.mark.parametrize("pairs", [1, 20, 1450])
@pytest.mark.parametrize("shards", [1, 2, 16])
def test_the_advice_is_followed_by_none(pairs: int, shards: int):
    """Who sets what was advised is not advised again."""
    needed = needs(config(pairs, shards=shards), LARGE)

    assert told(pairs, shards=needed.shards)["shards"][0] is Level.OK
    assert needed.messages_per_s * MEASURED["feed_us"].value / 1e6 / needed.shards <= FEED_SHARE_MAX


def test_memory_is_what_is_allocated_and_what_was_measured():
    """Rings and boards exactly; and a machine that has too little is warned of."""
    needed: Needs = needs(config(1450), LARGE)
    level, text = told(1450, Machine(cores=2, memory_bytes=200_000_000, is_native=True))["memory"]

    assert needed.market_mb == pytest.approx(32, abs=4)
    assert level is Level.WARNING
    assert "of the machine's 200; lower feed.publish_levels, feed.ring_slots or feed.shards" in text


def test_levels_that_cost_much_are_named_with_what_ten_would():
    level, text = told(10, depth=1000, publish_levels=400)["publish_levels"]

    assert level is Level.ADVICE
    assert text.startswith("feed.publish_levels = 400 takes ")
    assert text.endswith("lower it to what strategies look at")


def test_a_ring_that_holds_too_little_is_told_how_much_it_needs():
    level, text = told(1450, shards=2, ring_slots=1024)["publish_levels"]

    assert level is Level.ADVICE
    assert text.endswith("set feed.ring_slots = 16384")
    assert told(1450, shards=2, ring_slots=16384)["publish_levels"][0] is Level.OK


def test_each_figure_names_a_bench_that_there_is():
    """So that it can be measured again."""
    for name, figure in MEASURED.items():
        file = figure.bench.partition("::")[0].partition(" ")[0]
        assert figure.value > 0, name
        assert (BENCH / file).exists() or file == "engine", name
