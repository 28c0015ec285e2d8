"""Every family of metrics: its name, type, labels, and what it means.

    measures: heartbeat_ns  bytes        ping_rtt_ns       divergence_ppm
    families: …_timestamp_seconds  …_bytes_total  …_ping_rtt_seconds  …_divergence_ratio

Names follow Prometheus' conventions: base units, `_total` for what only grows. Labels are
names of the configuration or of this code, so their number is bounded.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from engine.telemetry import measures
from engine.telemetry.measures import Measure
from engine.units import NS_PER_S, PPM

PREFIX: Final = "kraken_engine"
FamilyType = Literal["counter", "gauge", "histogram"]


class Family(NamedTuple):
    """One family."""

    name: str
    """As PromQL writes it; of a histogram without `_bucket`, `_sum`, `_count`."""
    type: FamilyType
    text: str
    labels: tuple[str, ...] = ()


class MeasuredFamily(NamedTuple):
    """A family that is a counter of some process."""

    family: Family
    measure: Measure
    divisor: int
    """The counter in base units: its value divided by this."""


def measured(room: str, of: Sequence[Measure], labels: tuple[str, ...]) -> tuple[MeasuredFamily, ...]:
    """The families of some counters, each named after its room and counter."""
    return tuple(_measured(room, measure, labels) for measure in of)


def _measured(room: str, measure: Measure, labels: tuple[str, ...]) -> MeasuredFamily:
    stem, tail = (measure.name[:-4], "_max") if measure.name.endswith("_max") else (measure.name, "")
    divisor = 1
    for suffix, unit, parts in (
        ("_ns_per_s", "_ratio", NS_PER_S),
        ("_ns", "_seconds", NS_PER_S), ("_ppm", "_ratio", PPM), ("_percent", "_ratio", 100),
    ):  # fmt: skip
        if stem.endswith(suffix):
            stem, divisor = stem.removesuffix(suffix), parts
            tail += "_timestamp" + unit if measure.kind == "moment" else unit
    is_count = measure.kind == "count"
    name = f"{PREFIX}_{room}_{stem}{tail}{'_total' if is_count else ''}"
    return MeasuredFamily(Family(name, "counter" if is_count else "gauge", measure.text, labels), measure, divisor)


# Not told: pids, and words that mean something to the processes alone.
_UNTOLD: Final = ("pid", "confirmed", "restarts")

PUBLIC_FEED: Final = measured("public_feed", measures.FEED, ("process",))
PAIR: Final = measured("pair", [m for m in (*measures.PAIR, *measures.SOURCE) if m.name not in _UNTOLD], ("symbol",))
PRIVATE_FEED: Final = measured("private_feed", measures.PRIVATE_FEED, ())
ROUTER: Final = measured("router", measures.ROUTER, ())
HOST: Final = measured("strategy_host", measures.HOST, ())
STRATEGY: Final = measured("strategy", (*measures.STRATEGY, *measures.WATCHED), ("strategy",))
SUPERVISOR: Final = measured("supervisor", measures.SUPERVISOR, ())
NOTICES: Final = measured("notices", measures.NOTICES, ())
NOTICE_TARGET: Final = measured("notices_target", measures.NOTICE_TARGET, ("target",))

UP: Final = Family(
    f"{PREFIX}_up", "gauge", "1 while the engine runs. 0 while none does; then no other metric is served."
)
BUILD: Final = Family(
    f"{PREFIX}_build_info", "gauge", "Always 1; the labels say what runs.", ("version", "native", "venue")
)
STARTED: Final = Family(f"{PREFIX}_start_time_seconds", "gauge", "When the engine was started, since 1970.")
PROCESS_UP: Final = Family(f"{PREFIX}_process_up", "gauge", "1 while the process runs.", ("process",))
RESTARTS: Final = Family(
    f"{PREFIX}_process_restarts_total",
    "counter",
    next(measure.text for measure in measures.CHILD if measure.name == "restarts"),
    ("process",),
)
CPU: Final = Family(
    f"{PREFIX}_process_cpu_seconds_total", "counter", "Processor time; from 0 when the process starts.", ("process",)
)
RESIDENT: Final = Family(
    f"{PREFIX}_process_resident_memory_bytes", "gauge", "Memory, shared segments that it has touched included.",
    ("process",),
)  # fmt: skip
LATENCY: Final = Family(
    f"{PREFIX}_latency_seconds",
    "histogram",
    "Durations between two points of the way from Kraken to a strategy and back; see Rings, feeds and latency.",
    ("hop",),
)
RING_PUBLISHED: Final = Family(f"{PREFIX}_ring_published_total", "counter", "Records that were published.", ("ring",))
RING_GAPS: Final = Family(
    f"{PREFIX}_ring_gaps_total", "counter", "Records that strategies did not get: the ring had overwritten them.",
    ("ring",),
)  # fmt: skip
RING_FULL: Final = Family(f"{PREFIX}_ring_full_total", "counter", "Records that found no room and waited.", ("ring",))
RING_SLOTS: Final = Family(f"{PREFIX}_ring_slots", "gauge", "Records that the ring holds.", ("ring",))
RING_LAG: Final = Family(
    f"{PREFIX}_ring_lag", "gauge", "Records that were published and that this reader has not taken yet.",
    ("ring", "reader"),
)  # fmt: skip
BEST_BID: Final = Family(f"{PREFIX}_pair_best_bid", "gauge", "The best bid; absent while nobody bids.", ("symbol",))
BEST_ASK: Final = Family(f"{PREFIX}_pair_best_ask", "gauge", "The best ask; absent while nobody offers.", ("symbol",))
HANGING: Final = Family(
    f"{PREFIX}_trading_hanging", "gauge", "1 while its orders are refused, for a callback of its does not return.",
    ("strategy",),
)  # fmt: skip
IS_OPEN: Final = Family(f"{PREFIX}_trading_open", "gauge", "1 while orders are taken.")
MODE: Final = Family(f"{PREFIX}_trading_mode", "gauge", "1 of the present mode, 0 of the others.", ("mode",))
REALIZED: Final = Family(
    f"{PREFIX}_pnl_realized", "gauge", "Profit of what was closed, before fees, in the currency.", ("currency",)
)
UNREALIZED: Final = Family(
    f"{PREFIX}_pnl_unrealized", "gauge", "Profit of what is held, at the last verified book.", ("currency",)
)
FEES: Final = Family(f"{PREFIX}_pnl_fees", "gauge", "Fees of all fills, in the currency.", ("currency",))
POSITION: Final = Family(
    f"{PREFIX}_position", "gauge", "What all strategies together hold of the pair, in its base currency.", ("symbol",)
)
RATE: Final = Family(f"{PREFIX}_rate_used", "gauge", "Our count of Kraken's rate counter of the pair.", ("symbol",))
RATE_LIMIT: Final = Family(f"{PREFIX}_rate_limit", "gauge", "The rate counter may not go beyond it.")

MODES: Final = ("starting", "ACTIVE", "DEGRADED", "REDUCING", "HALTED")


def families() -> Iterator[Family]:
    """Every family that there can be."""
    yield from (UP, BUILD, STARTED, PROCESS_UP, RESTARTS, CPU, RESIDENT, LATENCY)
    yield from (RING_PUBLISHED, RING_GAPS, RING_FULL, RING_SLOTS, RING_LAG)
    yield from (each.family for each in PUBLIC_FEED)
    yield from (each.family for each in PAIR)
    yield from (BEST_BID, BEST_ASK)
    for room in (PRIVATE_FEED, ROUTER, HOST, STRATEGY, SUPERVISOR, NOTICES, NOTICE_TARGET):
        yield from (each.family for each in room)
    yield from (HANGING, IS_OPEN, MODE, REALIZED, UNREALIZED, FEES, POSITION, RATE, RATE_LIMIT)
