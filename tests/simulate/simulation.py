"""One seed: a world that is drawn from it, a day in that world, and the rest after it.

plan (from the seed) ─► venue, network, engine ─► a day with faults ─► quiet: faults off, time runs on ─► at rest
                                                    every step: what always holds                        what then holds
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final, TextIO

import structlog

from engine.units import NS_PER_S
from engine.venue.setup.settings import FaultSpec, VenueSettings
from tests.simulate.engine_run import EngineRun
from tests.simulate.faults import FAULT_KINDS, FaultPlan
from tests.simulate.kernel import BEGAN_MONO_NS, Kernel, Process, SimClock, Violation
from tests.simulate.network import Weather
from tests.simulate.venue import SimVenue

# Pairs of few levels, so that a venue opens in milliseconds; one of them thinner than a checksum.
SYMBOLS: Final = ("EUR/USD", "MINA/GBP", "PENGU/USD", "SOL/USD")
DAY_S: Final = 12.0  # of a seed, unless it is told otherwise
REST_S: Final = 45.0  # until everything must have come to rest
REST_STEP_S: Final = 5.0


@dataclass
class Outcome:
    """How one seed ended."""

    seed: int
    digest: str = ""
    steps: int = 0
    violation: str = ""
    invariant: str = ""
    at_s: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)


class Simulation:
    """The world of one seed."""

    def __init__(
        self,
        seed: int,
        faults: frozenset[str] = FAULT_KINDS,
        *,
        day_s: float = DAY_S,
        orders_per_s: float | None = None,
        story: TextIO | None = None,
    ) -> None:
        self.kernel = kernel = Kernel(seed, story)
        self.clock = SimClock(kernel)
        rng = kernel.rng("plan")
        self.day_s = day_s
        symbols = tuple(sorted(rng.sample(SYMBOLS, rng.randint(2, len(SYMBOLS)))))
        self.weather = Weather(
            kernel,
            kernel.rng("weather"),
            base_us=rng.choice((200, 2_000, 10_000, 40_000)),
            jitter_us=rng.choice((50, 500, 8_000)),
        )
        self.venue = SimVenue(kernel, self._venue_settings(seed, symbols, rng, faults))
        self.run = EngineRun(
            kernel,
            self.clock,
            self.weather,
            self.venue,
            number=1,
            symbols=symbols,
            shard_count=rng.randint(1, 2),
            strategy_count=rng.randint(1, 3),
            timer_s=0.1,
            settings={
                "depth": rng.choice((10, 10, 25)),
                "book_silence_ns": 5 * NS_PER_S,
                "subscribe_deadline_ns": 3 * NS_PER_S,
            },
            ring_slots=rng.choice((1024, 4096)),
            conflate=rng.random() < 0.3,
        )
        self.faults = FaultPlan(self, faults, kernel.rng("faults"))
        kernel.after_step = self._after_step

    def _venue_settings(
        self, seed: int, symbols: tuple[str, ...], rng: Random, faults: frozenset[str]
    ) -> VenueSettings:
        specs = []
        if "frames" in faults:
            for kind in ("corrupt", "badcrc", "drop", "duplicate", "noise", "unknown", "mute"):
                if rng.random() < 0.4:
                    specs.append(
                        FaultSpec(kind, rate=rng.choice((0.0005, 0.005, 0.02)) * (0.1 if kind == "mute" else 1))
                    )
        if "cut" in faults:
            for kind in ("cut", "silent"):
                if rng.random() < 0.3:
                    specs.append(FaultSpec(kind, rate=rng.choice((0.0002, 0.002))))
            if rng.random() < 0.3:
                specs.append(FaultSpec("close", rate=0.001, close_code=rng.choice((1001, 1012, 1013))))
        return VenueSettings(
            port=0,
            seed=seed,
            symbols=symbols,
            rate=rng.choice((5.0, 40.0, 150.0)),
            faults=tuple(specs),
            maintenance_phase_s=rng.choice((0.5, 2.0)),
            maintenance_loss=rng.choice(("none", "private", "all")),
        )

    @property
    def mortals(self) -> list[Process]:
        """Processes that may be killed."""
        return [feed.process for feed in self.run.feeds]

    def _after_step(self) -> None:
        self.run.check()

    def go(self) -> None:
        """The day, and the rest after it; Violation for the first promise that does not hold."""
        kernel = self.kernel
        with kernel.running():
            self.venue.start()
            self.run.start()
            self.faults.begin()
            kernel.run_until(BEGAN_MONO_NS + int(self.day_s * NS_PER_S))
            self._come_to_rest()

    def _come_to_rest(self) -> None:
        """Faults end, time runs on, the market stops: then everybody must agree."""
        kernel = self.kernel
        kernel.note("quiet")
        self.faults.end()
        self.venue.quiet()
        self.weather.heal()
        for strategy in self.run.strategies:
            strategy.is_trading = False
            strategy.mood.clear()
        kernel.run_until(kernel.now + int(REST_S / 2 * NS_PER_S))
        self.venue.hold_still()
        deadline = kernel.now + int(REST_S * NS_PER_S)
        while True:
            kernel.run_until(kernel.now + int(REST_STEP_S * NS_PER_S))
            try:
                self.run.check_at_rest(self.venue)
            except Violation:
                if kernel.now >= deadline:
                    raise
            else:
                return


def simulate(
    seed: int,
    faults: frozenset[str] = FAULT_KINDS,
    *,
    day_s: float = DAY_S,
    orders_per_s: float | None = None,
    story: TextIO | None = None,
) -> Outcome:
    """One seed, from its beginning to its rest."""
    outcome = Outcome(seed)
    try:
        with silent_logs():
            simulation = Simulation(seed, faults, day_s=day_s, orders_per_s=orders_per_s, story=story)
            simulation.go()
    except Violation as violation:
        outcome.violation, outcome.invariant = str(violation), violation.invariant
        simulation.kernel.note("VIOLATION", str(violation))
    kernel = simulation.kernel
    outcome.digest, outcome.steps, outcome.at_s = kernel.digest, kernel.steps, kernel.elapsed_s
    outcome.counts = simulation.faults.counts | {
        "books": sum(feed.observer.books for feed in simulation.run.feeds),
        "published": sum(feed.observer.published for feed in simulation.run.feeds),
    }
    return outcome


@contextmanager
def silent_logs() -> Iterator[None]:
    """The engine's log lines cost time, and say nothing that the story does not."""
    before = structlog.get_config()
    structlog.configure(
        processors=[],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
