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
from itertools import chain
from math import inf
from operator import attrgetter

import structlog

from engine.clock import Clock
from engine.errors import StrategyError
from engine.strategy_host.hosted_strategy import HostedStrategy, shown
from engine.telemetry import CounterGroup, Counters, Heartbeat
from engine.topology import FOLLOWED_RING_COUNTERS, NOT_FOLLOWED, STRATEGY_COUNTERS
from engine.units import NS_PER_S, MonoNs

MEASURE_NS = NS_PER_S  # over which seconds of callbacks a second are told
CONTENDED = 0.75  # of the thread's time: beyond it the others' median delay would be more than twice their own
RELAXED = 0.5  # while a strategy pauses: until there is enough time again for certain

_strategy_counts = attrgetter(*STRATEGY_COUNTERS)

log = structlog.get_logger("strategy_host")


class StrategyHost:
    """All strategies of one engine: one actor."""

    def __init__(
        self, strategies: Sequence[HostedStrategy], counters: Counters, clock: Clock, rings: Sequence[str] = ()
    ) -> None:
        """`rings`: the market rings of which each strategy's gaps and lag are counted; see
        topology.strategy_counter_names."""
        self.strategies = strategies
        self._rings = rings
        self._counters = counters
        self._heartbeat = Heartbeat(counters)
        self._strategy_counters = [
            CounterGroup(counters, names, levels=names)  # they end with their host: there is nothing to go on from
            for names in ([f"{strategy.name} {name}" for name in STRATEGY_COUNTERS] for strategy in strategies)
        ]
        self._ring_counters = [
            CounterGroup(counters, names, levels=names)
            for names in (
                [f"{strategy.name} {ring} {name}" for ring in rings for name in FOLLOWED_RING_COUNTERS]
                for strategy in strategies
            )
        ]
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
                raise StrategyError(f"a strategy's on_start failed: {strategy.name}: {shown(error)}") from error

    def do_work(self) -> int:
        """A turn for every strategy; the number of records taken."""
        work, strategies, first = 0, self.strategies, self._first
        for strategy in strategies[first:]:
            work += strategy.do_work()
        for strategy in strategies[:first]:
            work += strategy.do_work()
        self._first = first + 1 if first + 1 < len(strategies) else 0
        return work

    def ready(self) -> bool:
        """True if there is a record for any strategy that can take one."""
        return any(strategy.ready() for strategy in self.strategies)

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever an async callback has ended."""
        for strategy in self.strategies:
            strategy.on_ready = wake

    def next_timer(self) -> MonoNs:
        """When the next on_timer is due; 0 for never."""
        return min((due for strategy in self.strategies if (due := strategy.timer_due())), default=MonoNs(0))

    async def on_close(self) -> None:
        """Stop each strategy; one that fails does not keep the others from stopping."""
        self._heartbeat.end()  # the loop is ending: this is not a hang
        for strategy in self.strategies:
            await strategy.stop()
        self.count()

    def vitals(self) -> dict[str, float]:
        """`rescues`: missed wake-ups that were made good; `silent_s`: how long the host has
        been in one callback."""
        heard_at = self._heartbeat.last_at
        busy_ns = self._clock.mono_ns() - heard_at if heard_at else 0
        return {"rescues": self.rescues, "silent_s": round(busy_ns / NS_PER_S, 1)}

    def count(self) -> None:
        """Write the shared counters; once a second measure how much of the thread each
        strategy needs."""
        now = self._clock.mono_ns()
        if now - self._measured_at >= MEASURE_NS:
            self._share(now - self._measured_at)
            self._measured_at = now
        for strategy, counters in zip(self.strategies, self._strategy_counters, strict=True):
            counters.write(_strategy_counts(strategy))
        for strategy, counters in zip(self.strategies, self._ring_counters, strict=True):
            of_rings = ((strategy.gaps_of(ring), lag_word(strategy, ring)) for ring in self._rings)
            counters.write(chain.from_iterable(of_rings))
        self._counters.set("rescues", self.rescues)
        self._heartbeat.beat(now)

    def _share(self, elapsed_ns: int) -> None:
        """When there is not enough time for all, set `must_rest` of those that need more
        than the others leave."""
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


def lag_word(strategy: HostedStrategy, ring: str) -> int:
    """A strategy's lag in a ring, for the shared counters; NOT_FOLLOWED without one."""
    lag = strategy.lag_of(ring)
    return NOT_FOLLOWED if lag is None else lag


def fair_share(wanted: Sequence[float], of: float) -> float:
    """The largest share of the thread for each, so that all fit into `of`; infinite when
    they fit anyway."""
    left, waiting = of, len(wanted)
    for share in sorted(wanted):
        if share > left / waiting:
            return left / waiting
        left, waiting = left - share, waiting - 1
    return inf
