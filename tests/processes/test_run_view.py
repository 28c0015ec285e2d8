"""Another process sees a run by its descriptors alone, and tells the same of it."""

import asyncio
import os
from pathlib import Path

import pytest
from msgspec import convert, to_builtins

from engine import BookTop, Strategy
from engine.net.control_socket import Shared, ask, ask_shared, serve_control
from engine.processes.run_view import RunFacts, RunMap, RunView, ShardMap, attach
from engine.ring import Segment
from engine.ring.layout import LayoutMismatch
from engine.strategy_host.host import StrategyHost
from engine.summary import build_summary
from engine.telemetry import Counters, Histogram, counters_bytes, format_counters
from engine.topology import WIRE_HISTOGRAMS, strategy_counter_names
from engine.units import MonoNs
from tests.public_feed.rig import Market, frames


class Counting(Strategy):
    def on_book(self, book: BookTop) -> None:
        pass


class Run:
    """A feed and two strategies, whose memory is in segments as in a real run."""

    def __init__(self) -> None:
        self.market = market = Market(slot_count=8192)
        names = ["one", "two"]
        host_names = strategy_counter_names(names, [market.shard.ring_name])
        self.host_counters = Segment.create("host", counters_bytes(host_names))
        format_counters(self.host_counters.memory, host_names)
        latency = [Segment.create(name, Histogram.bytes_needed) for name in WIRE_HISTOGRAMS]
        for segment in latency:
            Histogram.format(segment.memory)
        hosted = [market.host(Counting(), symbols=market.shard.symbols[: 1 + number]) for number in range(2)]
        for each, name in zip(hosted, names, strict=True):
            each.name = name
        self.host = StrategyHost(hosted, Counters(self.host_counters.memory, host_names), market.clock)
        market.take(*frames()[:400])
        while self.host.do_work():
            pass
        self.host.count_all()
        copies = [_copied(memory) for memory in (market.ring, market.board, market.counters.values.obj)]
        ring, board, counters = copies
        self.segments = {each.fd: each for each in (*copies, self.host_counters, *latency)}
        self.map = RunMap(
            [ShardMap(market.shard, ring.fd, board.fd, counters.fd)], names, self.host_counters.fd,
            [segment.fd for segment in latency],
        )  # fmt: skip

    def facts(self) -> RunFacts:
        return RunFacts(1.5, {"public_feed-0": 2}, pid=7, venue="wss://x", hangs={"two": {"hung": 1, "hangs": None}})


def _copied(memory: bytearray | memoryview) -> Segment:
    data = bytes(memory)
    segment = Segment.create("copy", len(data))
    segment.memory[:] = data
    return segment


def test_who_attaches_tells_the_same_as_the_engine_itself(tmp_path: Path) -> None:
    """Through the control socket, with the descriptors beside the answer; nothing is copied but the facts."""
    run = Run()
    told = Shared({"map": to_builtins(run.map), "facts": to_builtins(run.facts())}, run.map.descriptors)

    async def look() -> Shared:
        async with await serve_control(tmp_path / "control", {"status": lambda _: told}):
            return await asyncio.to_thread(ask_shared, tmp_path / "control", {"command": "status"})

    answer, descriptors = asyncio.run(look())
    mapped, facts = convert(answer["map"], RunMap), convert(answer["facts"], RunFacts)
    view = attach(mapped, dict(zip(mapped.descriptors, descriptors, strict=True)))
    theirs = build_summary(view, facts, MonoNs(9))
    ours = build_summary(RunView(run.map, lambda fd: run.segments[fd].memory), run.facts(), MonoNs(9))

    assert theirs == ours
    assert theirs["symbols"]["BTC/USD"]["state"] == "live"
    assert theirs["strategies"]["one"]["callbacks"] == run.host.strategies[0].callbacks > 0
    assert theirs["rings"]["market-0"]["lag"] == {"one": 0, "two": 0}
    assert theirs["strategies"]["two"]["hung"] == 1
    assert not set(descriptors) & set(run.map.descriptors)


def test_who_does_not_want_the_descriptors_keeps_none(tmp_path: Path) -> None:
    """Asked a hundred times, no descriptor is left over; more of them come than one message takes."""
    run = Run()
    told = Shared({"pid": 1}, [run.host_counters.fd] * 450)

    async def asked() -> set[int]:
        async with await serve_control(tmp_path / "control", {"status": lambda _: told}):
            counts = set()
            for _ in range(20):
                answer = await asyncio.to_thread(ask, tmp_path / "control", {"command": "status"})
                assert answer == {"pid": 1}
                counts.add(len(os.listdir("/proc/self/fd")))
            return counts

    counts = asyncio.run(asked())
    assert max(counts) - min(counts) < 10


def test_an_engine_of_another_build_is_not_read_as_this_one() -> None:
    """Its counters have other names."""
    run = Run()
    other = RunMap(run.map.shards, ["one", "three"], run.map.host_counters, run.map.latency)

    with pytest.raises(LayoutMismatch):
        RunView(other, lambda fd: run.segments[fd].memory)


def test_strategies_are_counted_a_few_at_a_time() -> None:
    """Sixty-four strategies' counters are no stall: each call writes eight, and all have their turn."""
    market = Market(slot_count=8192)
    names = [f"s{number}" for number in range(20)]
    counter_names = strategy_counter_names(names, [market.shard.ring_name])
    memory = bytearray(counters_bytes(counter_names))
    format_counters(memory, counter_names)
    hosted = [market.host(Counting()) for _ in names]
    for each, name in zip(hosted, names, strict=True):
        each.name = name
    counters = Counters(memory, counter_names)
    host = StrategyHost(hosted, counters, market.clock)
    market.take(*frames()[:50])
    while host.do_work():
        pass
    told = []
    for _ in range(3):
        host.count()
        told.append(sum(counters.get(f"{name} callbacks") > 0 for name in names))

    assert told == [8, 16, 20]
