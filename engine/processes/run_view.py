"""One run of the engine as any process sees it: by the memory that its processes write.

    RunMap    which memories there are, by descriptor   ─► passed on with the descriptors
    RunView   the rings, boards, counters behind them   ◄─ attached, read-only, by who looks
    RunFacts  the little that no memory says            ─► passed on with each look

Who looks reads at its own cost: none of the engine's processes does anything for it, beside
telling the facts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from engine.processes.pair_table import PairTable
from engine.processes.position_board import PositionBoardReader
from engine.processes.status_board import read_status
from engine.ring import BoardReader, Memory, Segment, Subscriber
from engine.telemetry import Counters, Histogram
from engine.telemetry.warning_ring import Warned, last_warnings
from engine.topology import (
    ACCOUNT_RING,
    COMMAND_RING,
    NOTICE_TARGET_COUNTERS,
    ORDER_ROUTER,
    PRIVATE_FEED_COUNTERS,
    ROUTER_COUNTERS,
    ROUTER_HISTOGRAMS,
    STRATEGY_COUNTERS,
    WIRE_HISTOGRAMS,
    PairRow,
    Shard,
    notices_counter_names,
    report_ring,
    strategy_counter_names,
    strategy_ring_counter,
    supervisor_counter_names,
)

ENGINE: Final = "engine"  # the engine's own process, among the names of its children


class ShardMap(Struct, frozen=True):
    """The memories of one public feed."""

    shard: Shard
    ring: int
    board: int
    counters: int
    pair_table: int | None = None
    """None where its pairs are those from the start, for ever."""


class TradingMap(Struct, frozen=True):
    """The memories of orders."""

    router_counters: int
    private_feed_counters: int
    status: int
    positions: int
    command_ring: int
    account_ring: int
    report_rings: list[int]
    """In the order of the strategies."""
    histograms: list[int]
    """In the order of topology.ROUTER_HISTOGRAMS."""


class SupervisorMap(Struct, frozen=True):
    """The memories of the supervisor, and what stays true of its run."""

    pid: int
    """Of the engine's own process."""
    name: str
    venue: str
    """The URL of the public WebSocket."""
    native: str
    began_ns: int
    """When it began, by CLOCK_MONOTONIC."""
    children: list[str]
    """Names of its child processes."""
    state_dir: str
    """Where its journal and history are; empty when it does not trade."""
    counters: int
    warnings: list[int]
    """The last warnings of the engine's own process, then of each child."""


class NoticesMap(Struct, frozen=True):
    """The memory of the process that sends notices."""

    targets: list[str]
    """Their names."""
    counters: int


class RunMap(Struct, frozen=True):
    """Every memory of a run, by its descriptor in the engine's process."""

    shards: list[ShardMap]
    strategies: list[str]
    host_counters: int
    latency: list[int]
    """In the order of topology.WIRE_HISTOGRAMS."""
    trading: TradingMap | None = None
    supervisor: SupervisorMap | None = None
    """None of a replay, which has none."""
    notices: NoticesMap | None = None
    """None where nobody is told."""

    @property
    def descriptors(self) -> list[int]:
        """All of them, in an order that only depends on the map."""
        trading, supervisor = self.trading, self.supervisor
        return [
            self.host_counters,
            *(() if supervisor is None else (supervisor.counters, *supervisor.warnings)),
            *(() if self.notices is None else (self.notices.counters,)),
            *self.latency,
            *(fd for shard in self.shards for fd in (shard.ring, shard.board, shard.counters)),
            *(shard.pair_table for shard in self.shards if shard.pair_table is not None),
            *(
                ()
                if trading is None
                else (
                    trading.router_counters, trading.private_feed_counters, trading.status, trading.positions,
                    trading.command_ring, trading.account_ring, *trading.report_rings, *trading.histograms,
                )
            ),
        ]  # fmt: skip


class RunFacts(Struct, frozen=True):
    """What the supervisor alone knows of its run at a moment."""

    seconds: float
    """How long the run has lasted."""
    restarts: dict[str, int]
    """By name of process."""
    exit_reason: str = "running"
    """`running`, `clean`, or the reason of the end."""
    pid: int = 0
    venue: str = ""
    processes: dict[str, int | None] = {}
    """Pids, by name; None of a process that does not run now."""
    hangs: dict[str, dict[str, Any]] = {}
    """By strategy: how often a callback did not return in time, and the present one."""


class ShardView:
    """The memory that one public feed writes."""

    def __init__(
        self,
        shard: Shard,
        ring: Memory,
        board: Memory,
        counters: Counters,
        table: PairTable | None = None,
    ) -> None:
        self.shard = shard
        self.ring = ring
        self.board = BoardReader(board)
        self.counters = counters
        self._table = table

    @property
    def rows(self) -> Sequence[PairRow]:
        """The pairs that the feed follows now, by their index."""
        return self.shard.first_rows if self._table is None else self._table.rows


class GatedRing(Struct, frozen=True):
    """A ring with one gated subscriber."""

    name: str
    memory: Memory
    reader: str


class TradingView:
    """The memory that the order router and the private feed write."""

    def __init__(self, mapped: TradingMap, strategies: Sequence[str], memory_of: Callable[[int], Memory]) -> None:
        self.counters = Counters(memory_of(mapped.router_counters), ROUTER_COUNTERS)
        self.private_feed = Counters(memory_of(mapped.private_feed_counters), PRIVATE_FEED_COUNTERS)
        self.histograms = {
            name: Histogram(memory_of(fd)) for name, fd in zip(ROUTER_HISTOGRAMS, mapped.histograms, strict=True)
        }
        self.rings = [
            GatedRing(COMMAND_RING, memory_of(mapped.command_ring), ORDER_ROUTER),
            GatedRing(ACCOUNT_RING, memory_of(mapped.account_ring), ORDER_ROUTER),
            *(
                GatedRing(report_ring(strategy), memory_of(fd), strategy)
                for strategy, fd in zip(strategies, mapped.report_rings, strict=True)
            ),
        ]
        self.positions = PositionBoardReader(memory_of(mapped.positions))
        self._status = BoardReader(memory_of(mapped.status))

    def status(self) -> dict[str, Any]:
        """The router's last status; empty before the first."""
        return read_status(self._status)


class SupervisorView:
    """The memory that the supervisor writes, and the warnings of its children."""

    def __init__(self, mapped: SupervisorMap, strategies: Sequence[str], memory_of: Callable[[int], Memory]) -> None:
        self.told = mapped
        self.counters = Counters(memory_of(mapped.counters), supervisor_counter_names(mapped.children, strategies))
        processes = (ENGINE, *mapped.children)
        self.warning_rings = {name: memory_of(fd) for name, fd in zip(processes, mapped.warnings, strict=True)}
        """The last warnings of each process, by its name."""

    def warned(self) -> list[tuple[str, Warned]]:
        """The last warnings of all processes, each with the process's name, oldest first."""
        found = [(name, warned) for name, memory in self.warning_rings.items() for warned in last_warnings(memory)]
        return sorted(found, key=lambda each: each[1])


class StrategyView:
    """The strategy host's counters of one strategy."""

    def __init__(self, name: str, counters: Counters) -> None:
        self.name = name
        self._counters = counters

    def counts(self) -> dict[str, int]:
        """By the names of STRATEGY_COUNTERS."""
        return {name: self._counters.get(f"{self.name} {name}") for name in STRATEGY_COUNTERS}

    def gaps_of(self, ring_name: str) -> int:
        """The number of records of a ring that were overwritten before the strategy read
        them.
        """
        return self._counters.get(strategy_ring_counter(self.name, ring_name, "gaps"))

    def lag_of(self, ring_name: str, published: int) -> int | None:
        """The number of records of a ring that were published and not yet taken; None for a
        ring that the strategy does not read.
        """
        next_sequence = self._counters.get(strategy_ring_counter(self.name, ring_name, "next"))
        return max(0, published + 1 - next_sequence) if next_sequence else None


class NoticesView:
    """The memory that the process for notices writes."""

    def __init__(self, mapped: NoticesMap, memory_of: Callable[[int], Memory]) -> None:
        self.targets = mapped.targets
        self.counters = Counters(memory_of(mapped.counters), notices_counter_names(mapped.targets))

    def counts(self, target: str) -> dict[str, int]:
        """The counts of one target, by the names of NOTICE_TARGET_COUNTERS."""
        return {name: self.counters.get(f"{target} {name}") for name in NOTICE_TARGET_COUNTERS}


class RunView:
    """A run, by its memories."""

    def __init__(self, mapped: RunMap, memory_of: Callable[[int], Memory]) -> None:
        """`memory_of` returns the memory behind a descriptor of the map. LayoutMismatch
        when another build of the engine has written it.
        """
        self.shards = [
            ShardView(
                each.shard,
                memory_of(each.ring),
                memory_of(each.board),
                Counters(memory_of(each.counters), each.shard.counter_names),
                None if each.pair_table is None else PairTable(memory_of(each.pair_table)),
            )
            for each in mapped.shards
        ]
        rings = [each.shard.ring_name for each in mapped.shards]
        self.host = Counters(memory_of(mapped.host_counters), strategy_counter_names(mapped.strategies, rings))
        self.strategies = [StrategyView(name, self.host) for name in mapped.strategies]
        self.latency = {
            name: Histogram(memory_of(fd)) for name, fd in zip(WIRE_HISTOGRAMS, mapped.latency, strict=True)
        }
        trading = mapped.trading
        self.trading = None if trading is None else TradingView(trading, mapped.strategies, memory_of)
        told = mapped.supervisor
        self.supervisor = None if told is None else SupervisorView(told, mapped.strategies, memory_of)
        self.notices = None if mapped.notices is None else NoticesView(mapped.notices, memory_of)

    @property
    def reports(self) -> dict[str, Memory]:
        """The report ring of each strategy; none of an engine that does not trade."""
        if self.trading is None:
            return {}
        names = {report_ring(each.name): each.name for each in self.strategies}
        return {names[ring.name]: ring.memory for ring in self.trading.rings if ring.name in names}


def attach(mapped: RunMap, own_descriptors: Mapping[int, int]) -> RunView:
    """View a run from another process, which has these descriptors in place of the map's."""
    memories = {fd: Segment.attach(own, writable=False, populate=False).memory for fd, own in own_descriptors.items()}
    return RunView(mapped, memories.__getitem__)


def published(ring: Memory) -> int:
    """The number of records published to the ring since the engine started."""
    return Subscriber(ring).next_sequence - 1
