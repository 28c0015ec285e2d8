"""A day of quiet and bursts over a whole market: the public feeds alone, with nothing that goes wrong.

    made-up pairs (engine/venue/market/listing.py) ─► bursts of thousands of events, minutes without any ─► the feeds

What must hold: no pair that was live is told in doubt, no connection ends, no live book differs from the venue's, and
no table of feed and session grows with the day.
"""

import gc
from collections import deque
from collections.abc import Iterable
from functools import cache
from sys import getsizeof
from typing import Any, Final, TextIO

import psutil

from engine.kraken.public.session import PublicSettings
from engine.market.candles import KEPT_MAX
from engine.records import FeedState
from engine.topology import ALL_CHANNELS, plan_shards
from engine.units import NS_PER_MS, NS_PER_S
from engine.venue.setup.settings import VenueSettings
from tests.simulate.feeds import RingObserver, SimFeed
from tests.simulate.kernel import BEGAN_MONO_NS, Kernel, SimClock, Violation
from tests.simulate.network import Weather
from tests.simulate.venue import SimVenue

CANDLES_MIN: Final = (1, 5)
RING_SLOTS: Final = 1 << 14  # between two looks of the observer, which come with every burst of frames
# Moments of one pair, and all of the last minute, so that the judge does not grow with the day. Of the last ones most
# may be changes behind the ten levels that are told: what a silent pair was told is still among them.
TRUTHS_KEPT, TRUTHS_KEPT_S = 64, 60.0
SHARD_COUNTS: Final = (1, 1, 2, 3)

MARKET_DAY_S: Final = 3_600.0
OPENING_S: Final = 20.0  # until every pair is live
SLICES: Final = 24  # of the day: after each the connections are looked at
# That fill what is filled once: after each of them, and at the end of the day, the tables are counted, and the memory
# is measured.
CALM_SLICES: Final = 10
STEP_NS: Final = 5 * NS_PER_MS  # between two moves of a burst
MEAN_QUIET_S: Final = 45.0
BURST_EVENTS_MAX: Final = 3_000
TRICKLE_PER_S: Final = 4.0  # in the quiet that is not dead
CLOSING_S: Final = 5.0

GROWTH_MAX: Final = 1.1  # of a table, from the calm slices to the end of the day; one entry a pair more is none
# Bars of candles fill up for as many intervals as can still be amended.
BARS: Final = "_Series.bars"
BARS_A_PAIR: Final = len(CANDLES_MIN) * (KEPT_MAX + 1)


class MarketObserver(RingObserver):
    """Reads what a feed publishes, and wants every pair to stay live once it is."""

    def state_told(self, index: int, state: FeedState) -> None:
        if self.states[index] is FeedState.LIVE and state is not FeedState.LIVE:
            raise Violation("no pair is doubted without a reason", f"{self.symbol_of(index)} is {state}")
        super().state_told(index, state)


class MarketDay:
    """The world of one seed: a venue of many pairs, and the feeds that follow all of them."""

    def __init__(self, seed: int, pairs: int, day_s: float, story: TextIO | None = None) -> None:
        self.kernel = kernel = Kernel(seed, story)
        self.day_s = day_s
        rng = kernel.rng("plan")
        base_us, jitter_us = rng.choice((200, 2_000, 10_000, 40_000)), rng.choice((50, 500, 8_000))
        settings = VenueSettings(port=0, seed=seed, pairs=pairs, rate=0.0)
        self.venue = SimVenue(kernel, settings, TRUTHS_KEPT, TRUTHS_KEPT_S)
        symbols = tuple(self.venue.truths)
        shards = plan_shards(symbols, rng.choice(SHARD_COUNTS), CANDLES_MIN)
        conflate = rng.random() < 0.3
        self.feeds = [
            SimFeed(
                kernel,
                Weather(kernel, kernel.rng(f"weather {shard.number}"), base_us=base_us, jitter_us=jitter_us),
                self.venue,
                shard,
                SimClock(kernel),
                kernel.rng(f"feed {shard.number}"),
                settings=PublicSettings(symbols=shard.symbols),
                ring_slots=RING_SLOTS,
                conflate=conflate,
                wake=_nobody,
                refused=_accuse_refusal,
            )
            for shard in shards
        ]
        for feed in self.feeds:
            feed.observer = MarketObserver(feed, self.venue)
        self._bursts = kernel.rng("bursts")
        self.bursts = self.events = 0
        self._sizes: list[dict[str, int]] = []
        # After each calm slice and the last: what the feeds' own objects take, and the process
        # with venue and judge.
        self.feeds_mb: list[float] = []
        self.process_mb: list[float] = []

    def go(self) -> None:
        """The day, and its end; Violation for the first promise that does not hold."""
        kernel = self.kernel
        with kernel.running():
            self.venue.start()
            for feed in self.feeds:
                feed.start()
            kernel.run_until(BEGAN_MONO_NS + int(OPENING_S * NS_PER_S))
            self._check_all()
            began = kernel.now
            self._plan()
            for number in range(1, SLICES + 1):
                kernel.run_until(began + int(self.day_s * NS_PER_S * number / SLICES))
                self._check_connections()
                if number <= CALM_SLICES or number == SLICES:
                    self._measure()
            self.day_s = 0  # no further burst
            kernel.run_until(kernel.now + int(CLOSING_S * NS_PER_S))
            self._check_all()
            self._check_sizes()

    def _measure(self) -> None:
        found = table_sizes([each for feed in self.feeds for each in (feed.feed, feed.connection)])
        self._sizes.append({name: entries for name, (entries, _) in found.items()})
        # But for bars, of which a pair that is seldom traded gets all after days.
        sizes = (size for name, (_, size) in found.items() if not name.startswith((BARS, "Bar.")))
        self.feeds_mb.append(round(sum(sizes) / 1e6, 2))
        gc.collect()
        self.process_mb.append(round(psutil.Process().memory_info().rss / 1e6, 1))

    # --- what the market does

    def _plan(self) -> None:
        """A burst, and after it a quiet that is dead, or in which little happens."""
        rng = self._bursts
        if not self.day_s:
            return
        quiet_s = rng.expovariate(1 / MEAN_QUIET_S)
        lasts_ns = int(rng.choice((20, 300, 2_000)) * NS_PER_MS * (0.5 + rng.random()))
        self._move(int(BURST_EVENTS_MAX * rng.random() ** 3) + 1, lasts_ns)
        if rng.random() < 0.5:
            self._move(int(quiet_s * TRICKLE_PER_S), int(quiet_s * NS_PER_S))
        self.bursts += 1
        self.kernel.after(lasts_ns + int(quiet_s * NS_PER_S), self._plan)

    def _move(self, events: int, lasts_ns: int) -> None:
        """So many events, spread over this time."""
        self.events += events
        steps = max(1, min(events, lasts_ns // STEP_NS))
        for step in range(steps):
            share = events * (step + 1) // steps - events * step // steps
            self.kernel.after(lasts_ns * step // steps, self.venue.move, share)

    # --- what must hold

    def _check_connections(self) -> None:
        for feed in self.feeds:
            connection = feed.connection
            assert connection is not None
            if connection.disconnects or connection.connect_failures or not connection.connected:
                raise Violation("no connection ends without a reason", f"{feed.route}: {connection.last_error}")

    def _check_all(self) -> None:
        self._check_connections()
        for feed in self.feeds:
            for index, symbol in enumerate(feed.shard.symbols):
                self.venue.check_book_now(symbol, feed.observer.board_of(index))
        self.venue.check_subscribed(dict.fromkeys(self.venue.truths, ALL_CHANNELS))

    def _check_sizes(self) -> None:
        """What the tables have grown to in the calm slices is what they have."""
        pairs = len(self.venue.truths)
        for name, size in self._sizes[-1].items():
            calm = max(sizes.get(name, 0) for sizes in self._sizes[:CALM_SLICES])
            if size > (pairs * BARS_A_PAIR if name == BARS else GROWTH_MAX * calm + pairs):
                told = [sizes.get(name, 0) for sizes in self._sizes]
                raise Violation("no table grows with the day", f"{name}: {told}")
        if self.feeds_mb[-1] > GROWTH_MAX * max(self.feeds_mb[:CALM_SLICES]):
            raise Violation("memory is flat", f"MB of the feeds: {self.feeds_mb}; of the process: {self.process_mb}")

    @property
    def counts(self) -> dict[str, int]:
        """What the day was made of."""
        return {
            "pairs": len(self.venue.truths),
            "bursts": self.bursts,
            "events": self.events,
            "frames": sum(feed.connection.frames_received for feed in self.feeds if feed.connection),
            "published": sum(feed.observer.published for feed in self.feeds),
            "entries": sum(self._sizes[-1].values()) if self._sizes else 0,
            "feeds_kb": round(self.feeds_mb[-1] * 1e3) if self.feeds_mb else 0,
        }


def _nobody() -> None:
    """Nobody waits for a record."""


def _accuse_refusal(feed: SimFeed, symbol: str, advice: str) -> None:
    raise Violation("no pair is refused that the venue lists", f"{symbol}: {advice}")


# --- how large the tables are


def table_sizes(roots: Iterable[Any]) -> dict[str, tuple[int, int]]:
    """Entries of all containers that these objects hold, and those that they hold, and the bytes of all objects there:
    by class and attribute.
    """
    entries: dict[str, int] = {}
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", root) for root in roots]
    while waiting:  # hot: half a million objects of a day of a hundred pairs
        name, thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        sizes[name] = sizes.get(name, 0) + getsizeof(thing)
        if (kind := type(thing)) in PLAIN:
            continue
        is_table = isinstance(thing, dict | list | set | deque)  # what never changes has no entries
        if is_table:
            entries[name] = entries.get(name, 0) + len(thing)
        if is_table or isinstance(thing, tuple | frozenset):
            waiting += [(name, each) for each in thing if id(each) not in seen]
            if isinstance(thing, dict):
                waiting += [(name, each) for each in thing.values() if id(each) not in seen]
        elif not isinstance(thing, bytes | str) and _is_ours(kind):
            for attribute, value in getattr(thing, "__dict__", {}).items():
                waiting.append((f"{kind.__name__}.{attribute}", value))
            for attribute, place in _slots_of(kind):
                if (value := getattr(thing, attribute, UNSET)) is not UNSET:
                    waiting.append((place, value))
    return {name: (entries.get(name, 0), size) for name, size in sizes.items()}


PLAIN: Final = frozenset({int, float, bool, bytes, str, type(None)})
UNSET: Final = object()  # a slot in which nothing is


@cache
def _is_ours(kind: type) -> bool:
    """Whether what an object of this class holds is counted: the engine's own, and not the venue's."""
    return kind.__module__.startswith("engine.") and not kind.__module__.startswith("engine.venue")


@cache
def _slots_of(kind: type) -> list[tuple[str, str]]:
    """The slots and fields of a class, and how each is called among the tables."""
    names: list[str] = []
    for each in kind.__mro__:
        slots = each.__dict__.get("__slots__", ())
        names += (slots,) if isinstance(slots, str) else slots
    names += getattr(kind, "__struct_fields__", ())
    return [(name, f"{kind.__name__}.{name}") for name in names]
