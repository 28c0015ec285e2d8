"""What goes wrong, and when: drawn from the seed before the day begins, struck at its moment.

network   cut, swallow (half-open), one direction only, route down, venue stands still, bytes in pieces
processes killed between two events, between two stores, stopped for a while
venue     maintenance, another precision of a living pair, frames that are spoiled (the venue's own faults)
strategies hang, raise, flood
clock     the wall clock is stepped
leg       one or both private connections cannot be had for seconds, while REST answers
"""

import errno
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from engine.errors import ConfigError
from engine.units import NS_PER_MS, NS_PER_S
from tests.simulate.disk import STEPS
from tests.simulate.kernel import Process

if TYPE_CHECKING:
    from tests.simulate.simulation import Simulation

FAULT_KINDS: Final = frozenset({
    "clock", "cut", "disk", "down", "engine", "frames", "half-open", "kill", "leg", "maintenance", "precision",
    "requests", "rest", "split", "stall", "stop", "strategy", "token",
})  # fmt: skip
MEAN_GAP_S: Final = 1.2  # between two faults, about
FAILING_STEP_SHARE: Final = 0.5  # of the segments that a fault begins
LEG_SHARE: Final = 0.5  # of the days that may have it
LEG_S: Final = (2.5, 9.0)  # how long a private connection is out
LEGS: Final = (("private", "trading"), ("private", "trading"), ("private",), ("trading",))


class FaultPlan:
    """The faults of one day."""

    def __init__(
        self, simulation: "Simulation", kinds: frozenset[str], rng: Random, gap_s: float | None = None
    ) -> None:
        """`gap_s` is the mean time between two; drawn by default, 0.6 to 7.2 s."""
        self._simulation = simulation
        self._gap_s = gap_s
        self._kinds = kinds
        self._rng = rng
        self._step_rng = simulation.kernel.rng("steps")
        self._is_over = False
        self.counts: dict[str, int] = {}
        self._strike: dict[str, Callable[[], None]] = {
            "cut": self._cut,
            "half-open": self._half_open,
            "down": self._down,
            "stall": self._stall,
            "kill": self._kill,
            "stop": self._stop,
            "maintenance": self._maintenance,
            "precision": self._precision,
            "strategy": self._strategy,
            "clock": self._step_clock,
            "engine": self._engine,
            "disk": self._disk,
            "token": self._token,
        }

    def begin(self) -> None:
        """From now on."""
        kernel, rng = self._simulation.kernel, self._rng
        if "split" in self._kinds and rng.random() < 0.5:
            self._simulation.weather.split_share = rng.choice((0.02, 0.3))
        if "rest" in self._kinds:
            rest = self._simulation.rest_weather
            for name in ("lag_share", "refused_share", "lost_share", "reply_lost_share"):
                setattr(rest, name, rng.choice((0.0, 0.0, 0.05, 0.3)))
        if "leg" in self._kinds:
            self._plan_legs(kernel.rng("legs"))
        weights = {"cut": 4, "half-open": 2, "down": 1, "stall": 2, "kill": 4, "stop": 2, "maintenance": 0.5,
                   "precision": 1, "strategy": 3, "clock": 1, "engine": 0.5, "disk": 1, "token": 0.7}  # fmt: skip
        kinds = [kind for kind in sorted(self._strike) if kind in self._kinds]
        if not kinds:
            return
        gap_s = self._gap_s or MEAN_GAP_S * rng.choice((0.5, 1.0, 3.0, 6.0))
        at_s = rng.expovariate(1 / gap_s)
        while at_s < self._simulation.day_s:
            kind = rng.choices(kinds, [weights[each] for each in kinds])[0]
            kernel.after(int(at_s * NS_PER_S), self._do, kind)
            at_s += rng.expovariate(1 / gap_s)

    def _plan_legs(self, rng: Random) -> None:
        """By dice of their own: a day without them is what it was."""
        if rng.random() >= LEG_SHARE:
            return
        for _ in range(rng.randint(1, 2)):
            at_s = rng.choice((0.0, self._simulation.day_s * rng.random()))
            self._simulation.kernel.after(
                int(at_s * NS_PER_S), self._lose_legs, rng.choice(LEGS), int(rng.uniform(*LEG_S) * NS_PER_S)
            )

    def _lose_legs(self, routes: tuple[str, ...], out_ns: int) -> None:
        if self._is_over:
            return
        weather, kernel = self._simulation.weather, self._simulation.kernel
        kernel.note("fault", f"leg {' '.join(routes)}")
        self.counts["leg"] = self.counts.get("leg", 0) + 1
        for route in routes:
            weather.down_until[route] = max(weather.down_until.get(route, 0), kernel.now + out_ns)
            for wire in weather.open_wires(route):
                wire.cut()

    def end(self) -> None:
        """No fault any more."""
        self._is_over = True

    def _do(self, kind: str) -> None:
        if not self._is_over:
            self._simulation.kernel.note("fault", kind)
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self._strike[kind]()

    # --- network

    @property
    def _routes(self) -> list[str]:
        return sorted(self._simulation.weather.wires)

    def _cut(self) -> None:
        weather = self._simulation.weather
        if not self._routes:
            return
        for wire in weather.open_wires(self._rng.choice(self._routes)):
            wire.cut()

    def _half_open(self) -> None:
        weather, rng = self._simulation.weather, self._rng
        if not self._routes:
            return
        here, there = rng.choice(((True, True), (True, False), (False, True), (False, False)))
        for wire in weather.open_wires(rng.choice(self._routes)):
            if here or there:
                wire.swallow(here=here, there=there)
            else:
                wire.lose_requests()

    def _down(self) -> None:
        weather, rng, kernel = self._simulation.weather, self._rng, self._simulation.kernel
        for route in self._routes if rng.random() < 0.3 else self._routes[:1]:
            weather.down_until[route] = kernel.now + int(rng.uniform(0.2, 6) * NS_PER_S)
            for wire in weather.open_wires(route):
                wire.cut()

    def _stall(self) -> None:
        self._simulation.weather.stalled_until = self._simulation.kernel.now + int(
            self._rng.uniform(0.05, 6) * NS_PER_S
        )

    # --- processes

    @property
    def _victims(self) -> list[Process]:
        return self._simulation.mortals

    def _kill(self) -> None:
        victim = self._rng.choice(self._victims)
        if self._rng.random() < 0.3:
            victim.die()
        else:
            victim.doom(self._rng.randrange(60))

    def _stop(self) -> None:
        self._rng.choice(self._victims).stop_for(
            int(self._rng.choice((30, 300, 3_000)) * self._rng.random() * NS_PER_MS)
        )

    def _engine(self) -> None:
        self._simulation.kill_engine()

    def _disk(self) -> None:
        """Full for a while; or broken, until a person has looked after it; or the journal's segment is full, and the
        next one is begun, or cannot be.
        """
        disk, kernel, rng = self._simulation.disk, self._simulation.kernel, self._rng
        if rng.random() < 0.4:
            if (step_rng := self._step_rng).random() < FAILING_STEP_SHARE:
                disk.failing_step = step_rng.choice(STEPS), step_rng.choice((errno.EMFILE, errno.ENOSPC, errno.EIO))
            try:
                self._simulation.run.router.compact()
            finally:
                disk.failing_step = None
            if disk.has_failed:
                kernel.after(NS_PER_S, self._simulation.resume)
            return
        if rng.random() < 0.8:
            disk.is_full = True
        else:
            disk.fails = True
        until_ns = int(rng.uniform(0.1, 3) * NS_PER_S)
        kernel.after(until_ns, disk.heal)
        if disk.fails:
            kernel.after(until_ns + NS_PER_S, self._simulation.resume)

    def _token(self) -> None:
        """All tokens of the key are dead."""
        venue = self._simulation.venue
        assert venue.trading_side is not None
        venue.trading_side.tokens.revoke_all()

    # --- venue

    def _maintenance(self) -> None:
        self._simulation.venue.begin_maintenance()

    def _precision(self) -> None:
        venue, rng = self._simulation.venue, self._rng
        assert venue.trading_side is not None
        symbol = rng.choice(sorted(venue.truths))
        pair = venue.trading_side.exchange.markets[symbol].pair
        price = max(0, pair.price_decimals + rng.choice((-1, 0, 1)))
        qty = max(0, pair.qty_decimals + rng.choice((-1, 0, 1)))
        try:
            venue.trading_side.trading.relist(symbol, price, qty, venue.trading_side.exchange.event_time())
        except ConfigError:
            self._simulation.kernel.note("cannot be listed so", f"{symbol} {price}x{qty}")

    # --- strategies, clock

    def _strategy(self) -> None:
        rng = self._rng
        strategy = rng.choice(self._simulation.run.strategies)
        hang_ns = int(rng.choice((5, 100, 1500, 4000)) * NS_PER_MS * rng.random())
        strategy.mood.append(rng.choice((lambda: strategy.hang(hang_ns), strategy.fail, strategy.flood)))

    def _step_clock(self) -> None:
        step_s = self._rng.choice((-3600, -40, -2, -0.05, 0.05, 2, 40, 3600)) * self._rng.random()
        self._simulation.clock.wall_offset_ns += int(step_s * NS_PER_S)
