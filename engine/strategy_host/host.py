"""The strategy host: all strategies of one engine, as one actor in a thread of the engine process.

They share the thread. Each turn of the host begins with another strategy, and none has more than its quota of time
while others wait; one callback is the least, for nobody can be interrupted. When all together ask for more time than
there is, those that ask for the most rest between their turns, so that the others find the thread free. What is late
for it is then the slow one's own records, and they are counted as its gaps. Where all ask for too much, nobody rests:
there is nobody to spare.
"""

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from operator import attrgetter

import structlog

from engine.clock import Clock
from engine.errors import StrategyError
from engine.strategy_host.hosted_strategy import HostedStrategy, shown
from engine.telemetry import CounterGroup, Counters, Heartbeat
from engine.topology import STRATEGY_COUNTERS
from engine.units import NS_PER_S, MonoNs

MEASURE_NS = NS_PER_S  # over which seconds of callbacks a second are told
CONTENDED = 0.75  # of the thread's time: beyond it the others' median delay would be more than twice their own
RELAXED = 0.5  # while somebody rests: it goes on until there certainly is enough again

_strategy_counts = attrgetter(*STRATEGY_COUNTERS)

log = structlog.get_logger("strategy_host")


class StrategyHost:
    """All strategies of one engine: one actor."""

    def __init__(self, strategies: Sequence[HostedStrategy], counters: Counters, clock: Clock) -> None:
        self.strategies = strategies
        self._counters = counters
        self._heartbeat = Heartbeat(counters)
        self._strategy_counters = [
            CounterGroup(counters, names, levels=names)  # they end with their host: there is nothing to go on from
            for names in ([f"{strategy.name} {name}" for name in STRATEGY_COUNTERS] for strategy in strategies)
        ]
        self._clock = clock
        # Records found by looking again although no doorbell rang; see ring/doorbell.py.
        self.rescues = 0
        # Whose turn is first.
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
        """Is there a record for any strategy that can take one?"""
        return any(strategy.ready() for strategy in self.strategies)

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when an async callback has ended."""
        for strategy in self.strategies:
            strategy.on_ready = wake

    def next_timer(self) -> MonoNs:
        """When the next on_timer is due; 0 for never."""
        return min((due for strategy in self.strategies if (due := strategy.timer_due())), default=MonoNs(0))

    async def on_close(self) -> None:
        """Stop each strategy; one that fails does not keep the others from stopping."""
        self._heartbeat.end()  # the host's loop stands still from now on, and hangs no more than that
        for strategy in self.strategies:
            await strategy.stop()
        self.count()

    def vitals(self) -> dict[str, float]:
        """Wake-ups that were missed and made good, and for how long the host has been busy in one callback."""
        heard_at = self._heartbeat.last_at
        busy_ns = self._clock.mono_ns() - heard_at if heard_at else 0
        return {"rescues": self.rescues, "silent_s": round(busy_ns / NS_PER_S, 1)}

    def count(self) -> None:
        """Bring the shared counters up to date, and once a second measure who asks for how much of the thread."""
        now = self._clock.mono_ns()
        if now - self._measured_at >= MEASURE_NS:
            self._share(now - self._measured_at)
            self._measured_at = now
        for strategy, counters in zip(self.strategies, self._strategy_counters, strict=True):
            counters.write(_strategy_counts(strategy))
        self._counters.set("rescues", self.rescues)
        self._heartbeat.beat(now)

    def _share(self, elapsed_ns: int) -> None:
        """Have those rest that ask for more than is left by the others, when there is not enough for all."""
        wanted = {strategy: strategy.measure(elapsed_ns) for strategy in self.strategies}
        is_contended = any(strategy.must_rest for strategy in self.strategies)
        most = fair_share(list(wanted.values()), RELAXED if is_contended else CONTENDED)
        somebody_to_spare = any(share <= most for share in wanted.values())
        for strategy, share in wanted.items():
            strategy.must_rest = share > most and somebody_to_spare
            if strategy.must_rest:
                log.warning(
                    "strategy asks for more time than there is, the others go first; give it an engine of its own",
                    strategy=strategy.name,
                    busy_s_per_s=round(strategy.busy_share, 3),
                    wanted_s_per_s=round(share, 3),
                    rests=strategy.rests,
                )


def fair_share(wanted: Sequence[float], of: float) -> float:
    """The most that each may have so that what all want fits into `of` the thread; infinite when it fits anyway."""
    left, waiting = of, len(wanted)
    for share in sorted(wanted):
        if share > left / waiting:
            return left / waiting
        left, waiting = left - share, waiting - 1
    return inf
