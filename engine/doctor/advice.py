"""How many shards, how much memory and which `publish_levels` a configuration needs, from
what was measured: the advice of `engine check`.

    configuration, implementation, machine ─► advise() ─► findings

Pure. Every figure that is not counted exactly stands in `MEASURED`, with the benchmark that
gave it; `tools/bench bench/test_scale.py bench/test_scale_load.py` gives them again.
"""

from math import ceil
from typing import Final, NamedTuple

from msgspec import Struct

from engine.config import Config
from engine.kraken_rest.preflight import Finding, Level
from engine.topology import market_bytes, plan_shards


class Figure(NamedTuple):
    """One measured number."""

    value: float
    unit: str
    bench: str
    """The benchmark, and the key of what it found."""


MEASURED: Final = {
    "feed_us": Figure(20, "µs of a core a message, compiled", "test_scale.py::test_many_pairs: feed_cpu_percent"),
    "feed_us_portable": Figure(42, "the same in plain Python", "test_scale.py with ENGINE_PORTABLE=1"),
    "feed_mb": Figure(10, "MB of a feed without pairs", "test_scale.py::test_many_pairs: few_memory_mb"),
    "feed_kb_a_pair": Figure(7.2, "kB of a feed a pair", "test_scale.py::test_many_pairs: feed_kb_a_pair"),
    "engine_mb": Figure(28, "MB of the engine's own process", "test_scale.py::test_many_pairs: few_memory_mb"),
    "engine_kb_a_pair": Figure(6.5, "kB of it a pair", "test_scale.py::test_many_pairs: engine_kb_a_pair"),
    "fork_server_mb": Figure(38, "MB that all actors share", "test_scale.py::test_many_pairs: few_memory_mb"),
    "trading_mb": Figure(79, "MB: the same with router and private feed", "test_scale_load.py::test_many_open_orders: "
                         "trading_mb"),
    "busiest_per_s": Figure(2_250, "messages/s of the busiest pair in a busy minute", "engine venue --pairs 1450 "
                            "--rate 10000, as bench/test_scale.py has it"),
    "zipf": Figure(1.2, "the pair of rank r has a share by 1 / r to this power", "engine venue --zipf"),
}  # fmt: skip

# A feed that is busy for so much of a core has room for a burst of ten times as many
# messages; beyond that they wait for one another.
FEED_SHARE_MAX: Final = 0.1
HISTORY_S_MIN: Final = 2.0  # of records in a ring: as long as a strategy may be held up and lose none
MEMORY_SHARE_MAX: Final = 0.5  # of the machine's
LEVELS_USUAL: Final = 10
MARKET_MB_LARGE: Final = 128  # of rings and boards: worth a word
MB: Final = 1e6


class Machine(Struct, frozen=True):
    """What the engine has to run on."""

    cores: int
    memory_bytes: int
    is_native: bool


class Needs(Struct, frozen=True):
    """What a configuration needs, by the figures."""

    messages_per_s: float
    """Of all pairs together, in a busy minute."""
    shards: int
    market_mb: float
    """Rings and boards, shared by the processes."""
    processes_mb: float
    history_s: float
    """How long a record stays in its ring, in that minute."""


def needs(config: Config, machine: Machine) -> Needs:
    """Estimate the load of the configured pairs, as Kraken's busiest, and what it takes."""
    value = {name: figure.value for name, figure in MEASURED.items()}
    pairs, feed = len(config.symbols), config.feed
    per_s = value["busiest_per_s"] * sum(1 / rank ** value["zipf"] for rank in range(1, pairs + 1))
    us = value["feed_us" if machine.is_native else "feed_us_portable"]
    shards = min(max(1, ceil(per_s * us / 1e6 / FEED_SHARE_MAX)), pairs, max(1, machine.cores - 1))
    planned = plan_shards(config.symbols, feed.shards, feed.candle_intervals_min, feed.pairs_added_max)
    processes_mb = (
        len(planned) * value["feed_mb"]
        + pairs * (value["feed_kb_a_pair"] + value["engine_kb_a_pair"]) / 1e3
        + value["engine_mb"]
        + value["trading_mb" if config.trading.enabled else "fork_server_mb"]
    )
    return Needs(
        messages_per_s=per_s,
        shards=shards,
        market_mb=market_bytes(planned, feed.publish_levels, feed.ring_slots) / MB,
        processes_mb=processes_mb,
        history_s=feed.ring_slots * len(planned) / per_s,
    )


def advise(config: Config, machine: Machine) -> list[Finding]:
    """What to change of shards, memory and published levels; one finding of each."""
    needed = needs(config, machine)
    return [_of_shards(config, needed, machine), _of_memory(needed, machine), _of_levels(config, needed)]


def _of_shards(config: Config, needed: Needs, machine: Machine) -> Finding:
    pairs, shards = len(config.symbols), min(config.feed.shards, len(config.symbols))
    load = f"{pairs} {'pair' if pairs == 1 else 'pairs'} may bring {needed.messages_per_s:,.0f} messages/s"
    if shards < needed.shards:
        text = f"{load}, more than {shards} of feed.shards take without waiting; set feed.shards = {needed.shards}"
        return Finding("shards", Level.ADVICE, text)
    if shards > needed.shards:
        spared = (shards - needed.shards) * MEASURED["feed_mb"].value
        enough = f"{load}, which feed.shards = {needed.shards} takes on {machine.cores} cores"
        text = f"{enough}; {shards} cost {spared:.0f} MB more"
        return Finding("shards", Level.ADVICE, text)
    return Finding("shards", Level.OK, f"{load}, which feed.shards = {shards} takes")


def _of_memory(needed: Needs, machine: Machine) -> Finding:
    total_mb = needed.market_mb + needed.processes_mb
    text = (
        f"the engine takes some {total_mb:,.0f} MB: {needed.market_mb:,.0f} of rings and boards, "
        f"{needed.processes_mb:,.0f} of its processes"
    )
    machine_mb = machine.memory_bytes / MB
    if total_mb > MEMORY_SHARE_MAX * machine_mb:
        mend = "lower feed.publish_levels, feed.ring_slots or feed.shards"
        return Finding("memory", Level.WARNING, f"{text}, of the machine's {machine_mb:,.0f}; {mend}")
    return Finding("memory", Level.OK, text)


def _of_levels(config: Config, needed: Needs) -> Finding:
    feed = config.feed
    if needed.history_s < HISTORY_S_MIN:
        slots = feed.ring_slots
        while slots / feed.ring_slots * needed.history_s < HISTORY_S_MIN:
            slots *= 2
        text = (
            f"feed.ring_slots = {feed.ring_slots} hold {needed.history_s:.1f} s of records in a busy minute, and a "
            f"strategy that is held up for longer loses some; set feed.ring_slots = {slots}"
        )
        return Finding("publish_levels", Level.ADVICE, text)
    if feed.publish_levels > LEVELS_USUAL and needed.market_mb > MARKET_MB_LARGE:
        planned = plan_shards(config.symbols, feed.shards, feed.candle_intervals_min, feed.pairs_added_max)
        usual_mb = market_bytes(planned, LEVELS_USUAL, feed.ring_slots) / MB
        text = (
            f"feed.publish_levels = {feed.publish_levels} takes {needed.market_mb:,.0f} MB of rings and boards, "
            f"{LEVELS_USUAL} would take {usual_mb:,.0f}; lower it to what strategies look at"
        )
        return Finding("publish_levels", Level.ADVICE, text)
    text = f"feed.publish_levels = {feed.publish_levels}: a ring holds {needed.history_s:.0f} s of a busy minute"
    return Finding("publish_levels", Level.OK, text)
