"""The strategy host: all strategies of one engine, as one actor in a thread of the engine
process.

They share the thread. Each turn of the host begins with another strategy, and none has more
than its quota of time while others wait; one callback is the least, for a callback cannot
be interrupted. When all together need more time than there is, those that need the most
pause between their turns, so that the others find the thread free. Only their own records
are late then, and what they miss is counted as their gaps. When all need too much, none
pauses.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from operator import attrgetter

import structlog

from engine.clock import Clock
from engine.errors import StrategyError
from engine.strategy.raised import raised_text
from engine.strategy_host.hosted_strategy import NEVER, HostedStrategy
from engine.telemetry import CounterGroup, Counters, Heartbeat
from engine.topology import STRATEGY_COUNTERS, STRATEGY_RING_COUNTERS, strategy_ring_counter
from engine.units import NS_PER_S, MonoNs

COUNTED_MAX = 8  # strategies whose counters are written at once: 0.1 ms; sixty-four have their turn in 0.4 s
MEASURE_NS = NS_PER_S  # over which seconds of callbacks a second are told
CONTENDED = 0.75  # of the thread's time: beyond it the others' median delay would be more than twice their own
RELAXED = 0.5  # while a strategy pauses: until there is enough time again for certain

_due_at = attrgetter("due_at")

log = structlog.get_logger("strategy_host")


class StrategyHost:
    """All strategies of one engine: one actor."""

    def __init__(self, strategies: Sequence[HostedStrategy], counters: Counters, clock: Clock) -> None:
        self.strategies = strategies
        self.counters = counters
        # The next strategy whose counters are written, by its index.
        self._next_counted = 0
        self._heartbeat = Heartbeat(counters)
        self._strategy_counters = [
            CounterGroup(counters, names, levels=names)  # they end with their host: there is nothing to go on from
            for names in ([f"{strategy.name} {name}" for name in STRATEGY_COUNTERS] for strategy in strategies)
        ]
        self._ring_counters = [_RingCounters(counters, strategy.name) for strategy in strategies]
        self._clock = clock
        # Records found by looking again although no doorbell rang; see ring/doorbell.py.
        self.rescues = 0
        # The index of the strategy whose turn is first.
        self._first = 0
        self._measured_at = clock.mono_ns()
        if len(strategies) > 1:
            for strategy in strategies:
                strategy.share_the_thread()

    async def on_start(self) -> None:
        """Start each strategy, in order; the first that raises stops the engine."""
        for strategy in self.strategies:
            try:
                await strategy.start()
            except BaseException as error:
                task = asyncio.current_task()
                if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                    raise
                raise StrategyError(f"a strategy's on_start failed: {strategy.name}: {raised_text(error)}") from error

    def do_work(self) -> int:
        """Give a turn to every strategy that has work; returns the number of records taken."""
        work, strategies, first, now = 0, self.strategies, self._first, self._clock.mono_ns()
        for strategy in strategies[first:]:
            if strategy.ready(now):
                work += strategy.do_work()
        for strategy in strategies[:first]:
            if strategy.ready(now):
                work += strategy.do_work()
        self._first = first + 1 if first + 1 < len(strategies) else 0
        return work

    def ready(self) -> bool:
        """True if any strategy has work."""
        now = self._clock.mono_ns()
        for strategy in self.strategies:  # noqa: SIM110, hot: a generator costs as much as the question
            if strategy.ready(now):
                return True
        return False

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Have `wake` called whenever a strategy has work that no ring announces."""
        for strategy in self.strategies:
            strategy.on_ready = wake

    def next_timer(self) -> MonoNs:
        """The time of the next work that no record triggers; 0 for never."""
        due = min(map(_due_at, self.strategies), default=NEVER)
        return due if due < NEVER else MonoNs(0)

    async def on_close(self) -> None:
        """Stop each strategy. One that fails to stop, or does not return, does not prevent
        the others from stopping.
        """
        self._heartbeat.end()  # the loop is ending: this is not a hang
        for strategy in self.strategies:
            if not strategy.may_wait:
                await strategy.stop()
        stops = [asyncio.ensure_future(strategy.stop()) for strategy in self.strategies if strategy.may_wait]
        try:
            for stop in stops:
                await asyncio.wait({stop})
        finally:
            for stop in stops:
                stop.cancel()
        self.count_all()
        for stop in stops:
            stop.result()

    def count(self) -> None:
        """Write the shared counters of up to COUNTED_MAX strategies; once a second also
        measure the share of the thread that each strategy needs.
        """
        now = self._clock.mono_ns()
        if now - self._measured_at >= MEASURE_NS:
            self._share(now - self._measured_at)
            self._measured_at = now
        for _ in range(min(COUNTED_MAX, len(self.strategies))):
            self._next_counted = (self._next_counted + 1) % len(self.strategies)
            self._count_one(self._next_counted)
        self.counters.set("rescues", self.rescues)
        self._heartbeat.beat(now)

    def count_all(self) -> None:
        """Write all shared counters."""
        for index in range(len(self.strategies)):
            self._count_one(index)
        self.counters.set("rescues", self.rescues)

    def _count_one(self, index: int) -> None:
        strategy = self.strategies[index]
        self._strategy_counters[index].write(strategy.counts())
        self._ring_counters[index].write(strategy)

    def _share(self, elapsed_ns: int) -> None:
        """If the strategies together need more time than the thread has, set `must_rest` of
        those that need more than a fair share.
        """
        wanted = {strategy: strategy.measure(elapsed_ns) for strategy in self.strategies}
        is_contended = any(strategy.must_rest for strategy in self.strategies)
        most = fair_share(list(wanted.values()), RELAXED if is_contended else CONTENDED)
        has_others = any(share <= most for share in wanted.values())
        for strategy, share in wanted.items():
            strategy.must_rest = share > most and has_others
            if strategy.must_rest:
                log.warning(
                    "strategy asks for more time than there is, the others go first; give it an engine of its own",
                    strategy=strategy.name,
                    busy_s_per_s=round(strategy.busy_share, 3),
                    wanted_s_per_s=round(share, 3),
                    rests=strategy.rests,
                )


class _RingCounters:
    """The counters of one strategy's position and losses in each market ring."""

    def __init__(self, counters: Counters, strategy: str) -> None:
        self._counters = counters
        self._strategy = strategy
        # By name of a ring: the indices of its counters. A ring is added when the strategy
        # first reads it.
        self._indices: dict[str, tuple[int, ...]] = {}

    def write(self, strategy: HostedStrategy) -> None:
        values = self._counters.values
        for ring, next_sequence, gaps in strategy.at_rings():
            indices = self._indices.get(ring)
            if indices is None:
                names = (strategy_ring_counter(self._strategy, ring, name) for name in STRATEGY_RING_COUNTERS)
                indices = self._indices[ring] = tuple(map(self._counters.index, names))
            values[indices[0]], values[indices[1]] = next_sequence, gaps


def fair_share(wanted: Sequence[float], of: float) -> float:
    """The largest share per strategy with which all fit into `of`; infinite if they fit
    without a limit.
    """
    left, waiting = of, len(wanted)
    for share in sorted(wanted):
        if share > left / waiting:
            return left / waiting
        left, waiting = left - share, waiting - 1
    return inf
