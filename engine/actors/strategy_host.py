"""The strategy host: all strategies of one engine, as one actor in a thread of the engine process."""

from collections.abc import Callable, Sequence

from engine.actors.hosted_strategy import HostedStrategy
from engine.clock import Clock
from engine.telemetry import Counters
from engine.topology import STRATEGY_COUNTERS
from engine.units import NS_PER_S, MonoNs


class StrategyHost:
    """All strategies of one engine: one actor."""

    def __init__(self, strategies: Sequence[HostedStrategy], counters: Counters, clock: Clock) -> None:
        self.strategies = strategies
        self._counters = counters
        self._clock = clock
        # Records found by looking again although no doorbell rang; see ring/doorbell.py.
        self.rescues = 0

    async def on_start(self) -> None:
        """Start each strategy, in order; the first that raises stops the engine."""
        for strategy in self.strategies:
            await strategy.start()

    def do_work(self) -> int:
        """A turn for every strategy; the number of records taken."""
        work = 0
        for strategy in self.strategies:
            work += strategy.do_work()
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
        for strategy in self.strategies:
            await strategy.stop()
        self.count()

    def vitals(self) -> dict[str, float]:
        """Wake-ups that were missed and made good, and for how long the host has been busy in one callback."""
        heard_at = self._counters.get("heartbeat_ns")
        busy_ns = self._clock.mono_ns() - heard_at if heard_at else 0
        return {"rescues": self.rescues, "silent_s": round(busy_ns / NS_PER_S, 1)}

    def count(self) -> None:
        """Bring the shared counters up to date."""
        counters = self._counters
        for strategy in self.strategies:
            for name in STRATEGY_COUNTERS:
                counters.set(f"{strategy.name} {name}", int(getattr(strategy, name)))
        counters.set("rescues", self.rescues)
        counters.set("heartbeat_ns", self._clock.mono_ns())
