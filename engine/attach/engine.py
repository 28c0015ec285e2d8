"""A running engine, seen from another process.

    control socket ─ descriptors, once ─► AttachedEngine ─► summary(), counters, histograms, boards

Everything is read from memory that the engine's processes write anyway, mapped read-only.
What only the engine's own objects know is not here: of a hang, its line.
"""

import os
import select
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.attach.counted_strategy import CountedStrategy
from engine.attach.memory import (
    ATTACH,
    ENGINE,
    HOST_COUNTERS,
    STATUS,
    SUPERVISOR_COUNTERS,
    EngineMemory,
    board_of,
    counters_of,
    histogram_of,
    pairs_of,
    ring_of,
    warnings_of,
)
from engine.clock import Clock, SystemClock
from engine.errors import ConfigError, MisuseError
from engine.net.control_socket import ask_for_descriptors
from engine.processes.callback_words import SEEN_NS
from engine.processes.pair_table import PairTable
from engine.processes.status_board import read_status
from engine.ring import BoardReader, LayoutMismatch, Segment
from engine.strategy_host.followed_ring import MarketPort
from engine.summary import GatedRing, ShardView, TradingView, build_summary
from engine.telemetry import Counters, Heartbeat, Histogram
from engine.telemetry.measures import WIRE_LATENCIES
from engine.telemetry.warning_ring import Warned, last_warnings
from engine.topology import (
    ACCOUNT_RING,
    COMMAND_RING,
    ORDER_ROUTER,
    PRIVATE_FEED,
    PRIVATE_FEED_COUNTERS,
    ROUTER_COUNTERS,
    ROUTER_HISTOGRAMS,
    report_ring,
    strategy_counter_names,
    supervisor_counter_names,
)
from engine.units import NS_PER_S

OTHER_BUILD: Final = "the running engine is of another version; stop it and start it with this one, or use its own"


class AttachedEngine:
    """A running engine's counters, latencies, rings and boards."""

    def __init__(self, told: EngineMemory, segments: Sequence[Segment], clock: Clock | None = None) -> None:
        """`segments` are those that `told` names, in that order; raises LayoutMismatch for
        those of another build."""
        self.told = told
        self._clock: Clock = clock or SystemClock()
        self._segments = dict(zip(told.segments, segments, strict=True))
        self.supervisor = Counters(
            self._memory(SUPERVISOR_COUNTERS), supervisor_counter_names(told.children, told.strategies)
        )
        rings = [shard.ring_name for shard in told.shards]
        self.host = Counters(self._memory(HOST_COUNTERS), strategy_counter_names(told.strategies, rings))
        self.shards = [
            ShardView(
                MarketPort(
                    shard,
                    self._memory(ring_of(shard.ring_name)),
                    self._memory(board_of(shard)),
                    counters,
                    PairTable(self._memory(pairs_of(shard))),
                ),
                counters,
            )
            for shard in told.shards
            for counters in [Counters(self._memory(counters_of(shard.actor_name)), shard.counter_names)]
        ]
        self.strategies = [CountedStrategy(name, self.host) for name in told.strategies]
        self.wire_latency = {name: Histogram(self._memory(histogram_of(name))) for name in WIRE_LATENCIES}
        self.router_latency: dict[str, Histogram] = {}
        if told.trades:
            self.router = Counters(self._memory(counters_of(ORDER_ROUTER)), ROUTER_COUNTERS)
            self.private_feed = Counters(self._memory(counters_of(PRIVATE_FEED)), PRIVATE_FEED_COUNTERS)
            self.router_latency = {name: Histogram(self._memory(histogram_of(name))) for name in ROUTER_HISTOGRAMS}
            self._status = BoardReader(self._memory(STATUS))
        # Readable when the engine's process has ended; not affected by reuse of the pid.
        self._pidfd = os.pidfd_open(told.pid)

    @classmethod
    def open(cls, control_path: Path) -> "AttachedEngine":
        """Attach to the engine behind a control socket.

        Raises NobodyListens when there is none, ConfigError for one of another version.
        """
        answer, descriptors = ask_for_descriptors(control_path, {"command": ATTACH})
        segments: list[Segment] = []
        try:
            told = msgspec.convert(answer, EngineMemory)
            segments = [Segment.attach(fd, writable=False) for fd in descriptors]
            return cls(told, segments)
        except (msgspec.ValidationError, LayoutMismatch, MisuseError, ValueError, KeyError):
            for fd in descriptors[len(segments) :]:
                os.close(fd)
            raise ConfigError(OTHER_BUILD) from None

    @property
    def is_alive(self) -> bool:
        """Whether the engine's process runs."""
        return not select.select([self._pidfd], [], [], 0)[0]

    def close(self) -> None:
        """Give the memory back; nothing may be read afterwards."""
        os.close(self._pidfd)
        for segment in self._segments.values():
            segment.close()

    def summary(self) -> dict[str, Any]:
        """The summary, as `engine status --json` shows it; `exit` is `ended` for an engine
        that has ended.
        """
        now = self._clock.mono_ns()
        summary = build_summary(
            seconds=self.seconds,
            shards=self.shards,
            strategies=self.strategies,
            latency=self.wire_latency,
            restarts={child: self.supervisor.get(f"{child} restarts") for child in self.told.children},
            exit_reason="running" if self.is_alive else "ended",
            trading=self.trading(),
        )
        for strategy in self.strategies:
            began, callback = strategy.callback()
            hangs = began and now - began > SEEN_NS
            summary["strategies"][strategy.name] |= {
                "hung": self.supervisor.get(f"{strategy.name} hung"),
                "hangs": {"callback": callback, "for_s": round((now - began) / NS_PER_S, 1), "line": ""}
                if hangs
                else None,
            }
        heard_at = Heartbeat(self.host).last_at
        summary["strategy_host"] = {
            "rescues": self.host.get("rescues"),
            "silent_s": round((now - heard_at) / NS_PER_S, 1) if heard_at else 0.0,
        }
        summary |= {"native": self.told.native, "pid": self.told.pid, "venue": self.told.url}
        summary["processes"] = self.children()
        return summary

    @property
    def latency(self) -> dict[str, Histogram]:
        """The latencies by the names that the summary gives them."""
        return {f"wire_to_{name}": histogram for name, histogram in self.wire_latency.items()} | self.router_latency

    @property
    def seconds(self) -> float:
        """How long the run has lasted."""
        return (self._clock.mono_ns() - self.told.began_ns) / NS_PER_S

    def children(self) -> dict[str, int | None]:
        """Process id of each child; None of one that does not run."""
        return {child: self.supervisor.get(f"{child} pid") or None for child in self.told.children}

    def status(self) -> dict[str, Any]:
        """What the order router last said of itself; empty before it has, or without one."""
        return read_status(self._status) if self.told.trades else {}

    def trading(self) -> TradingView | None:
        """The order router and the private feed; None for an engine that does not trade."""
        if not self.told.trades:
            return None
        held_up, held_back = self.supervisor.get("commands_held_up"), self.private_feed.get("held_back")
        rings = [
            GatedRing(COMMAND_RING, self._memory(ring_of(COMMAND_RING)), ORDER_ROUTER, held_up),
            GatedRing(ACCOUNT_RING, self._memory(ring_of(ACCOUNT_RING)), ORDER_ROUTER, held_back),
            *(
                GatedRing(report_ring(name), self._memory(ring_of(report_ring(name))), name, None)
                for name in self.told.strategies
            ),
        ]
        return TradingView(self.router, self.router_latency, self.status(), rings, self.private_feed.snapshot())

    def warnings(self) -> list[tuple[str, Warned]]:
        """The last warnings of all its processes, each with the process's name, oldest
        first."""
        found = [
            (process, warned)
            for process in (ENGINE, *self.told.children)
            for warned in last_warnings(self._memory(warnings_of(process)))
        ]
        return sorted(found, key=lambda each: each[1])

    def memory_of_ring(self, name: str) -> memoryview:
        """The memory of a ring, for a reader that nobody waits for."""
        return self._memory(ring_of(name))

    def _memory(self, segment: str) -> memoryview:
        return self._segments[segment].memory
