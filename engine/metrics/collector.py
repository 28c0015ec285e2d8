"""The metrics of the engine that runs now, read anew at each scrape.

    Attachment ─► AttachedEngine ─► families.py ─► prometheus-client, which writes the text

Counters live in the engine's memory for the whole run and outlive its processes, so a
process that is started again resets nothing; a new run begins at 0, as Prometheus expects.
"""

from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from typing import Any, Protocol

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from engine.attach.attachment import Attachment
from engine.attach.engine import AttachedEngine
from engine.attach.process_usage import usage_of
from engine.clock import Clock, SystemClock
from engine.errors import ConfigError
from engine.metrics import families
from engine.metrics.families import Family, MeasuredFamily
from engine.telemetry import Counters, Histogram
from engine.telemetry.histogram import edges_ns
from engine.telemetry.version import engine_version
from engine.topology import pair_counter
from engine.units import NS_PER_S

ENGINE = "engine"  # the label of the engine's own process

log = structlog.get_logger("metrics")


class _Samples(Protocol):
    def add_metric(self, labels: list[str], value: float) -> None: ...


class EngineCollector(Collector):
    """Collects the metrics of the engine that runs."""

    def __init__(self, attachment: Attachment, clock: Clock | None = None) -> None:
        self._attachment = attachment
        self._clock: Clock = clock or SystemClock()
        self._version = engine_version()
        # Two scrapes at once would let go of an engine that ends under each other.
        self._lock = Lock()

    def collect(self) -> Iterable[Metric]:
        """All families of the engine that runs; UP alone, at 0, while there is none."""
        with self._lock:
            try:
                engine = self._attachment.engine()
            except ConfigError as error:
                log.error("the engine cannot be read", reason=str(error))
                engine = None
            yield _single(families.UP, engine is not None)
            if engine is not None:
                yield from list(self._of(engine))

    def _of(self, engine: AttachedEngine) -> Iterator[Metric]:
        now = self._clock.mono_ns()
        # What CLOCK_MONOTONIC shows, as seconds since 1970.
        epoch_s = (self._clock.wall_ns() - now) / NS_PER_S
        summary = engine.summary()
        yield _labelled(families.BUILD, [((self._version, engine.identity.native, engine.identity.venue), 1)])
        yield _single(families.STARTED, epoch_s + engine.identity.began_ns / NS_PER_S)
        yield from _processes(engine)
        yield _latencies(engine.latency)
        yield from _rings(summary["rings"])
        feeds = {shard.shard.actor_name: shard.counters for shard in engine.view.shards}
        yield from _measured(families.PUBLIC_FEED, {(name,): feed for name, feed in feeds.items()}, epoch_s)
        yield from _pairs(engine, summary["symbols"])
        yield from _measured(families.HOST, {(): engine.view.host}, epoch_s)
        yield from _strategies(engine)
        yield from _measured(families.SUPERVISOR, {(): engine.supervisor}, epoch_s)
        if (notices := engine.view.notices) is not None:
            yield from _measured(families.NOTICES, {(): notices.counters}, epoch_s)
            counts = {target: notices.counts(target) for target in notices.targets}
            for family, measure, divisor in families.NOTICE_TARGET:
                yield _labelled(family, [((target,), of[measure.name] / divisor) for target, of in counts.items()])
        if (trading := engine.view.trading) is not None:
            yield from _measured(families.PRIVATE_FEED, {(): trading.private_feed}, epoch_s)
            yield from _measured(families.ROUTER, {(): trading.counters}, epoch_s)
            # The router's word: it sees a strategy that keeps the interpreter's lock, which
            # the engine's own process cannot count.
            hanging = trading.status().get("hanging", {})
            yield _labelled(families.HANGING, [((each.name,), each.name in hanging) for each in engine.view.strategies])
            yield from _trading(summary)


def _new(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
    return kind(family.name, family.text, labels=family.labels)


def _single(family: Family, value: float) -> Metric:
    return _labelled(family, [((), value)])


def _labelled(family: Family, values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    metric = _new(family)
    for labels, value in values:
        metric.add_metric(list(labels), float(value))
    return metric


def _measured(
    of: Iterable[MeasuredFamily], counters: Mapping[tuple[str, ...], Counters], epoch_s: float
) -> Iterator[Metric]:
    """The counters of some processes of one kind, by their labels."""
    snapshots = {labels: each.snapshot() for labels, each in counters.items()}
    for family, measure, divisor in of:
        metric = _new(family)
        for labels, snapshot in snapshots.items():
            value = snapshot[measure.name]
            if measure.kind != "moment":
                metric.add_metric(list(labels), value / divisor)
            elif value:  # nothing has been heard before
                metric.add_metric(list(labels), epoch_s + value / divisor)
        yield metric


def _processes(engine: AttachedEngine) -> Iterator[Metric]:
    pids = {ENGINE: engine.identity.pid, **engine.children()}
    usage = {name: usage_of(pid) if pid is not None else None for name, pid in pids.items()}
    yield _labelled(families.PROCESS_UP, [((name,), used is not None) for name, used in usage.items()])
    yield _labelled(families.CPU, [((name,), used.cpu_s) for name, used in usage.items() if used is not None])
    yield _labelled(
        families.RESIDENT, [((name,), used.resident_bytes) for name, used in usage.items() if used is not None]
    )
    restarts = [((child,), engine.supervisor.get(f"{child} restarts")) for child in engine.identity.children]
    yield _labelled(families.RESTARTS, restarts)


def _latencies(histograms: Mapping[str, Histogram]) -> Metric:
    metric = HistogramMetricFamily(families.LATENCY.name, families.LATENCY.text, labels=families.LATENCY.labels)
    edges = [repr(edge / NS_PER_S) for edge in edges_ns()]
    for name, histogram in histograms.items():
        cumulative = histogram.cumulative()
        buckets = [*zip(edges, cumulative.counts, strict=True), ("+Inf", cumulative.total)]
        metric.add_metric([name], buckets, cumulative.sum_ns / NS_PER_S)
    return metric


def _rings(rings: Mapping[str, Any]) -> Iterator[Metric]:
    for family, key in (
        (families.RING_PUBLISHED, "published"), (families.RING_GAPS, "gaps"), (families.RING_FULL, "full"),
        (families.RING_SLOTS, "slots"),
    ):  # fmt: skip
        yield _labelled(family, [((name,), ring[key]) for name, ring in rings.items() if key in ring])
    lags = [((name, reader), lag) for name, ring in rings.items() for reader, lag in ring["lag"].items()]
    yield _labelled(families.RING_LAG, lags)


def _pairs(engine: AttachedEngine, symbols: Mapping[str, Any]) -> Iterator[Metric]:
    places = [
        (row.symbol, index, view.counters.snapshot())
        for view in engine.view.shards
        for index, row in enumerate(view.rows)
        if row.symbol
    ]
    for family, measure, divisor in families.PAIR:
        yield _labelled(
            family,
            [
                ((symbol,), counts[pair_counter(index, measure.name)] / divisor)
                for symbol, index, counts in places
            ],
        )  # fmt: skip
    for family, side in ((families.BEST_BID, "best_bid"), (families.BEST_ASK, "best_ask")):
        prices = [((symbol,), float(pair[side]["price"])) for symbol, pair in symbols.items() if pair[side]]
        yield _labelled(family, prices)


def _strategies(engine: AttachedEngine) -> Iterator[Metric]:
    names = [each.name for each in engine.view.strategies]
    counts = engine.view.host.snapshot() | engine.supervisor.snapshot()
    for family, measure, divisor in families.STRATEGY:
        yield _labelled(family, [((name,), counts[f"{name} {measure.name}"] / divisor) for name in names])


def _trading(summary: Mapping[str, Any]) -> Iterator[Metric]:
    trading = summary["trading"]
    yield _single(families.IS_OPEN, trading["is_open"])
    yield _labelled(families.MODE, [((mode,), mode == trading["mode"]) for mode in families.MODES])
    by_currency = summary["pnl"].get("by_currency", {})
    for family, key in (
        (families.REALIZED, "realized"), (families.UNREALIZED, "unrealized"), (families.FEES, "fees"),
    ):  # fmt: skip
        yield _labelled(family, [((currency,), float(pnl[key])) for currency, pnl in by_currency.items()])
    positions = summary["positions"].items()
    held = [((symbol,), float(position["qty"])) for symbol, position in positions if position["qty"] is not None]
    yield _labelled(families.POSITION, held)
    if (rate := trading.get("rate")) is not None:
        yield _labelled(families.RATE, [((symbol,), float(count)) for symbol, count in rate["counts"].items()])
        yield _single(families.RATE_LIMIT, rate["limit"])
