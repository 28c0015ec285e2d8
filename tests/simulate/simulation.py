"""One seed: a world that is drawn from it, a day in that world, and the rest after it.

plan (from the seed) ─► venue, network, engine ─► a day with faults ─► quiet: faults off, time runs on ─► at rest
                                                    every step: what always holds                        what then holds
"""

import gc
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Final, TextIO

import structlog

from engine.config import DegradedConfig, RiskConfig, TradingConfig
from engine.orders.journal import SEGMENT_BYTES_MAX
from engine.topology import pair_counter
from engine.units import NS_PER_MS, NS_PER_S
from engine.venue.setup.settings import FaultSpec, VenueSettings
from tests.simulate.disk import SimDisk
from tests.simulate.engine_run import EngineRun
from tests.simulate.faults import FAULT_KINDS, FaultPlan
from tests.simulate.judge import Judge
from tests.simulate.kernel import BEGAN_MONO_NS, Kernel, Process, SimClock, Violation
from tests.simulate.market_day import MarketDay
from tests.simulate.network import Weather
from tests.simulate.orders import World
from tests.simulate.rest import RestWeather
from tests.simulate.venue import SimVenue

# Pairs of few levels, so that a venue opens in milliseconds; one of them thinner than a checksum.
SYMBOLS: Final = ("EUR/USD", "MINA/GBP", "PENGU/USD", "SOL/USD")
DAY_S: Final = 12.0  # of a seed, unless it is told otherwise
QUIET_S: Final = 6.0  # after the day, before the market stops
REST_S: Final = 90.0  # until everything must have come to rest
LONG_REST_S: Final = 600.0  # after a long day: a starter's REST counter lets one search 50 orders in half a minute
FAULT_SHARE: Final = 0.6  # of the kinds that are wanted, those that strike in one day
CHANGING_SHARE: Final = 0.5  # of the days: strategies change what they follow
REST_STEP_S: Final = 3.0
REST_BEAT_NS: Final = 250 * NS_PER_MS
SHORT_DEAD_MAN_S: Final = 10
SHORT_DAY_S: Final = 30.0
# Events of the market a second. Four times as many make a short day take half as long again, and every planted bug is
# found with these (README.md). Only a quick market passes a bracket's stop and its target at once; a long day comes to
# that without haste.
MARKET_PACES: Final = (2.0, 5.0, 15.0)
LONG_DAY_PACES: Final = (1.0, 2.0, 5.0)
SEGMENT_BYTES_SHORT: Final = 120 * 1024  # of the journal on a short day: a busy one has two
COLLECT_EVERY: Final = 50_000  # new objects, of the garbage collector; 700 by default
RUN_PAUSE_NS: Final = 300 * NS_PER_MS  # between two looks whether the next run may begin
ORDERS_PER_TIMER: Final = 0.85  # that a strategy asks for when its timer rings
SPOILING: Final = ("corrupt", "badcrc", "drop", "duplicate", "mute")
REQUEST_FAULTS: Final = (
    "drop-answer",
    "late",
    "unavailable",
    "unavailable-done",
    "token-death",
    "sequence-gap",
    "snapshot-again",
    "reorder",
    "batch-refusal",
    "lost",
    "private-cut",
    "html-520",
    "rest-lag",
)


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
        gap_s: float | None = None,
        story: TextIO | None = None,
    ) -> None:
        self.kernel = kernel = Kernel(seed, story)
        self.clock = SimClock(kernel)
        self.day_s = day_s
        rng = kernel.rng("plan")
        # Not all at once: what one kind heals, another cannot show.
        legs = faults & {"leg"}  # these have dice of their own
        faults = frozenset(kind for kind in sorted(faults - legs) if rng.random() < FAULT_SHARE) | legs
        self._symbols = tuple(sorted(rng.sample(SYMBOLS, rng.randint(2, len(SYMBOLS)))))
        base_us, jitter_us = rng.choice((200, 2_000, 10_000, 40_000)), rng.choice((50, 500, 8_000))
        self.weather = Weather(kernel, kernel.rng("weather"), base_us=base_us, jitter_us=jitter_us)
        self.rest_weather = RestWeather(kernel.rng("rest"))
        self.venue = SimVenue(kernel, self._venue_settings(seed, rng, faults))
        self.disk = SimDisk(kernel, kernel.rng("disk"))
        dead_man_s = rng.choice((SHORT_DEAD_MAN_S, 60, 60))
        trading = TradingConfig(
            dead_man_s=dead_man_s,
            dead_man_refresh_s=dead_man_s / 3,
            on_strategy_halt=rng.choice(("cancel", "cancel", "keep")),
            on_engine_loss=rng.choice(("cancel", "cancel", "keep")),
            over_rate=rng.choice(("queue", "refuse")),
            trade_while_unknown=rng.random() < 0.3,
            rest_fallback=rng.random() < 0.8,
            degraded=_degraded(kernel.rng("degraded")),
            positions=kernel.rng("holdings").choice(("own", "account")),
        )
        risk = RiskConfig(orders_per_s_max=rng.choice((20.0, 200.0)), price_collar_percent=20.0)
        self.judge = Judge(kernel, self.venue, self.disk, self.weather, is_faultless=not faults)
        self.world = World(
            kernel,
            self.clock,
            self.weather,
            self.rest_weather,
            self.venue,
            self.disk,
            trading,
            risk,
            2 * NS_PER_S,
            self.judge.nonce,
            rng.choice((16, 128)),
            SEGMENT_BYTES_SHORT if day_s <= SHORT_DAY_S else SEGMENT_BYTES_MAX,
        )
        self._shard_count, self._strategy_count = rng.randint(1, 2), rng.randint(1, 3)
        rate = orders_per_s or rng.choice((3.0, 10.0, 20.0))
        self._timer_s = self._strategy_count / rate / ORDERS_PER_TIMER
        self._feed_settings = {
            "depth": rng.choice((10, 10, 25)),
            "book_silence_ns": 5 * NS_PER_S,
            "subscribe_deadline_ns": 3 * NS_PER_S,
        }
        self._ring_slots, self._conflate = rng.choice((1024, 4096)), rng.random() < 0.3
        # On half of the days strategies subscribe and unsubscribe while they run, by dice of their own.
        pairs_rng = kernel.rng("pairs")
        self._changes_pairs = pairs_rng.random() < CHANGING_SHARE
        self._configured = self._symbols
        if self._changes_pairs and len(self._symbols) > 2:
            left_out = pairs_rng.choice(self._symbols)
            self._configured = tuple(symbol for symbol in self._symbols if symbol != left_out)
        self.run_count = 0
        self.run = self._new_run()
        self.faults = FaultPlan(self, faults, kernel.rng("faults"), gap_s)

    def _new_run(self) -> EngineRun:
        self.run_count += 1
        return EngineRun(
            self.world,
            number=self.run_count,
            symbols=self._configured,
            shard_count=self._shard_count,
            strategy_count=self._strategy_count,
            timer_s=self._timer_s,
            settings=self._feed_settings,
            ring_slots=self._ring_slots,
            conflate=self._conflate,
            changes_pairs=self._changes_pairs,
            told=self.judge.told,
            after_router=self.judge.after_turn,
        )

    def _venue_settings(self, seed: int, rng: Random, faults: frozenset[str]) -> VenueSettings:
        """The venue, and the faults that are its own."""
        rates: list[tuple[str, float]] = []
        if "frames" in faults:
            for kind in ("corrupt", "badcrc", "drop", "duplicate", "noise", "unknown", "mute"):
                share = rng.choice((0.0005, 0.005, 0.02)) * (0.1 if kind == "mute" else 1)
                rates += [(kind, share)] * (rng.random() < 0.4)
        if "cut" in faults:
            for kind in ("cut", "silent"):
                rates += [(kind, rng.choice((0.0002, 0.002)))] * (rng.random() < 0.3)
        if "requests" in faults:
            for kind in REQUEST_FAULTS:
                # Frames of the executions are fewer than requests, and a gap among them is soon made good.
                shares = (0.02, 0.1) if kind == "sequence-gap" else (0.003, 0.03)
                rates += [(kind, rng.choice(shares))] * (rng.random() < 0.4)
        specs = [FaultSpec(kind, rate=rate) for kind, rate in rates]
        if "cut" in faults and rng.random() < 0.3:
            specs.append(FaultSpec("close", rate=0.001, close_code=rng.choice((1001, 1012, 1013))))
        return VenueSettings(
            port=0,
            seed=seed,
            symbols=self._symbols,
            rate=rng.choice(MARKET_PACES if self.day_s <= SHORT_DAY_S else LONG_DAY_PACES),
            faults=tuple(specs),
            tier=rng.choice(("starter", "intermediate", "pro")),
            engine_latency_ms=rng.choice(((0.2, 1.0), (1.0, 30.0))),
            crossing_post_only=rng.choice(("cancel", "refuse")),
            batch_cancel_shape=rng.choice(("orders_cancelled", "count")),
            maintenance_phase_s=rng.choice((0.5, 2.0)),
            maintenance_loss=rng.choice(("none", "private", "all")),
        )

    @property
    def mortals(self) -> list[Process]:
        """Processes that may be killed alone."""
        run = self.run
        return [*(feed.process for feed in run.feeds), run.router.process, run.router.process, run.private_feed.process]

    # --- the engine's own death

    def kill_engine(self) -> None:
        """The user's process is gone; the next run begins when the router has come to its end."""
        if self.run.process.is_alive:
            self.run.die()
            self.kernel.after(RUN_PAUSE_NS, self._begin_again)

    def _begin_again(self) -> None:
        if not self.run.router.is_over:
            self.kernel.after(RUN_PAUSE_NS, self._begin_again)
            return
        self.run = self._new_run()
        self.run.start()
        for strategy in self.run.strategies:
            strategy.is_trading = self.judge.quiet_since is None

    # --- the day

    def go(self) -> None:
        """The day, and the rest after it; Violation for the first promise that does not hold."""
        kernel = self.kernel
        with kernel.running(), self.disk.mounted():
            try:
                self.venue.start()
                self.run.start()
                self.faults.begin()
                kernel.run_until(BEGAN_MONO_NS + int(self.day_s * NS_PER_S))
                self._come_to_rest()
            finally:
                self.disk.close()

    def _come_to_rest(self) -> None:
        """Faults end, time runs on, the market stops: then everybody must agree."""
        kernel = self.kernel
        kernel.note("quiet")
        self.faults.end()
        self.venue.quiet()
        self.weather.heal()
        self.rest_weather.heal()
        self.disk.heal()
        self.judge.quiet_since = kernel.now
        for strategy in self.run.strategies:
            strategy.is_trading = False
            strategy.mood.clear()
        kernel.after(NS_PER_S, self.resume)
        # So long that a dead man's switch which nobody refreshes strikes, if it is one of the short ones.
        quiet_s = SHORT_DEAD_MAN_S + QUIET_S if self.world.trading.dead_man_s == SHORT_DEAD_MAN_S else QUIET_S
        kernel.run_until(kernel.now + int(quiet_s * NS_PER_S))
        self.venue.hold_still()
        kernel.beat_ns = REST_BEAT_NS
        deadline = kernel.now + int((REST_S if self.day_s <= SHORT_DAY_S else LONG_REST_S) * NS_PER_S)
        while True:
            kernel.run_until(kernel.now + int(REST_STEP_S * NS_PER_S))
            why_not = self._why_not_at_rest()
            if why_not is None:
                break
            if kernel.now >= deadline:
                raise why_not
        self.judge.check_router(self.run.router)
        kernel.run_until(kernel.now + 1)

    def resume(self) -> None:
        """A person looks after an engine that a broken disk, say, keeps from trading."""
        router = self.run.router
        if self.disk.has_failed:
            # After such an error the journal takes nothing more: "check the disk, then start the engine again".
            self.disk.has_failed = False
            router.process.die()
            self.kernel.after(3 * NS_PER_S, self.resume)
        elif router.core is not None:
            router.core.resume()

    def _why_not_at_rest(self) -> Violation | None:
        run = self.run
        try:
            run.check_at_rest(self.venue)
            self._check_mismatches()
            for route in sorted(self.weather.wires):
                if any(wire.swallows_there and wire.conversation for wire in self.weather.open_wires(route)):
                    raise Violation("a connection that carries no requests is replaced", route)
        except Violation as violation:
            return violation
        why = self.judge.at_rest(run.router, run.host.hosted, is_one_run=self.run_count == 1)
        return Violation("at rest ledger = journal = strategies", why) if why else None

    def _check_mismatches(self) -> None:
        """A checksum fails where a frame was spoiled or a pair got another precision, and nowhere else."""
        spoiled = sum(self.venue.fault_counts.get(kind, 0) for kind in SPOILING) + self.venue.relist_count
        if spoiled:
            return
        for feed in self.run.feeds:
            for index, row in enumerate(feed.table.rows):
                if count := feed.counters.get(pair_counter(index, "mismatches")):
                    raise Violation("only a spoiled book fails its checksum", f"{row.symbol}: {count} times")


def _degraded(rng: Random) -> DegradedConfig:
    """As configured by default, or sooner and with hardly a limit."""
    if rng.random() < 0.5:
        return DegradedConfig()
    return DegradedConfig(after_s=0.5, poll_s=0.5, orders_per_s_max=50.0, open_orders_max=100, order_percent=100.0)


def simulate(
    seed: int,
    faults: frozenset[str] = FAULT_KINDS,
    *,
    day_s: float = DAY_S,
    orders_per_s: float | None = None,
    gap_s: float | None = None,
    story: TextIO | None = None,
) -> Outcome:
    """One seed, from its beginning to its rest."""
    with silent_logs(), little_collected():
        simulation = Simulation(seed, faults, day_s=day_s, orders_per_s=orders_per_s, gap_s=gap_s, story=story)
        outcome = _lived(Outcome(seed), simulation.kernel, simulation.go)
    outcome.counts = simulation.faults.counts | {
        "books": sum(feed.observer.books for feed in simulation.run.feeds),
        "published": sum(feed.observer.published for feed in simulation.run.feeds),
        "runs": simulation.run_count,
        "orders": simulation.judge.accepted_count,
        "fills": simulation.judge.fill_count,
        # Of the last router.
        "degraded": 0 if (core := simulation.run.router.core) is None else core.degraded.counts["degraded"],
        "polls": 0 if core is None else core.degraded.counts["polls_orders"],
    }
    return outcome


def simulate_market(seed: int, pairs: int, *, day_s: float, story: TextIO | None = None) -> Outcome:
    """One seed of a day of quiet and bursts over so many pairs."""
    with silent_logs(), little_collected():
        day = MarketDay(seed, pairs, day_s, story)
        outcome = _lived(Outcome(seed), day.kernel, day.go)
    outcome.counts = day.counts
    return outcome


def _lived(outcome: Outcome, kernel: Kernel, live: Callable[[], None]) -> Outcome:
    """How a day ended, of this kernel."""
    try:
        live()
    except Violation as violation:
        outcome.violation, outcome.invariant = str(violation), violation.invariant
        kernel.note("VIOLATION", str(violation))
    except Exception as error:  # whatever it is: the engine, or this simulator, has broken a rule of its own
        where = "".join(traceback.format_exception(error)[-4:])
        outcome.violation, outcome.invariant = f"nothing raises: {error!r}\n{where}", "nothing raises"
    outcome.digest, outcome.steps, outcome.at_s = kernel.digest, kernel.steps, kernel.elapsed_s
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


@contextmanager
def little_collected() -> Iterator[None]:
    """Garbage in cycles is looked for seldom, and only among the day's own objects: a day makes little of it."""
    before = gc.get_threshold()
    _freeze()
    gc.set_threshold(COLLECT_EVERY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@cache
def _freeze() -> None:
    """Modules, and whatever else is there before a process's first day; to ask how much that is counts all of it."""
    gc.collect()
    gc.freeze()
