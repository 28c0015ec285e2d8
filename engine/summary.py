"""The summary of a run: the object of `--summary`, of `engine status`, and of the live
view.

Everything in it is read from counters, rings and boards of the processes. Its keys are a
contract; engine/docs/summary-and-status.md says what each means.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from engine.native import DESCRIPTION
from engine.records import BookTop, FeedState, Level, Source
from engine.ring import BoardReader, Memory, Subscriber, gate_lag, ring_slots
from engine.strategy_host.followed_ring import MarketPort
from engine.telemetry import Counters, Histogram, merged_snapshot
from engine.topology import PRIVATE_FEED, SOURCE_COUNTERS, Channel, pair_counter
from engine.units import NS_PER_MS, NS_PER_S, NS_PER_US, PPM

ORDER_TOTALS = (
    "submitted", "acknowledged", "filled", "canceled", "expired", "rejected", "refused", "unknown_open", "by_websocket",
    "by_rest",
)  # fmt: skip
TOTALS = (
    "trades", "trades_missed", "trades_repeated", "trades_filled", "tickers", "candles", "candles_missed",
    "candles_amended", "candles_filled", "candles_received", "candles_compared", "candles_differing", "heartbeats",
    "unknown", "malformed",
)  # fmt: skip
# Counters of feeds of which the worst is shown, not the sum.
WORST = ("rest_failed_percent", "failover_ns", "failover_ns_max", "divergence_ppm", "divergence_ppm_max")
SOURCE_CHANNELS = {
    name.removesuffix("_source"): channel
    for name, channel in zip(SOURCE_COUNTERS, (Channel.BOOK, Channel.TICKER, Channel.TRADE), strict=True)
}
OF_FEEDS = (
    "frames", "bytes", "binary_frames", "connects", "connect_failures", "disconnects", "session_errors", "refused",
)  # fmt: skip
OF_PRIVATE_FEED = (
    "subscriptions", "executions", "balances", "heartbeats", "unknown", "malformed", "duplicates", "reordered", "gaps",
    "held_back", "tokens",
)  # fmt: skip
PAIR_TOTALS = ("snapshots", "updates", "mismatches", "resyncs", "renewals", "ignored", "crossings")


class TradingView(Struct, frozen=True):
    """What another process can read of the order router."""

    counters: Counters
    histograms: Mapping[str, Histogram]
    status: Mapping[str, Any]
    """The status that the router last published; empty before the first."""
    rings: Sequence["GatedRing"] = ()
    private_feed: Mapping[str, int] = {}
    """The counters of the private feed."""


class GatedRing(Struct, frozen=True):
    """A ring with one reader, that its publisher waits for."""

    name: str
    memory: Memory
    reader: str
    full: int | None
    """Records that found no room and waited; None where that is counted elsewhere."""


class StrategyView(Protocol):
    """What is counted of a strategy: by itself, or in shared memory for other processes.

    The counts are those of measures.STRATEGY.
    """

    @property
    def name(self) -> str: ...
    @property
    def received(self) -> int: ...
    @property
    def gaps(self) -> int: ...
    @property
    def laps(self) -> int: ...
    @property
    def callbacks(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def slow(self) -> int: ...
    @property
    def slowest_ns(self) -> int: ...
    @property
    def busy_ns(self) -> int: ...
    @property
    def busy_share_ppm(self) -> int: ...
    @property
    def busy_share_ppm_max(self) -> int: ...
    @property
    def rests(self) -> int: ...
    @property
    def halted(self) -> bool: ...
    @property
    def refused(self) -> int: ...
    @property
    def untold(self) -> int: ...
    @property
    def mistakes(self) -> int: ...
    @property
    def calls_refused(self) -> int: ...
    @property
    def reports_unreadable(self) -> int: ...
    def gaps_of(self, ring_name: str) -> int: ...
    def lag_of(self, ring_name: str) -> int | None: ...


class ShardView(Struct, frozen=True):
    """What another process can read of one public feed."""

    port: MarketPort
    counters: Counters


def build_summary(
    *,
    seconds: float,
    shards: Sequence[ShardView],
    strategies: Sequence[StrategyView],
    latency: Mapping[str, Histogram],
    restarts: Mapping[str, int],
    exit_reason: str,
    trading: TradingView | None = None,
) -> dict[str, Any]:
    """The summary at this moment, ready to be encoded as JSON.

    `seconds` is how long the run has lasted, `restarts` counts by name of process, and
    `exit_reason` is `running`, `clean` or the reason of the end. `trading` is None for an
    engine that does not trade.
    """
    symbols: dict[str, Any] = {}
    totals = dict.fromkeys(TOTALS, 0)
    feeds: dict[str, Any] = {}
    for view in shards:
        counts = view.counters.snapshot()
        for name in TOTALS:
            totals[name] += counts[name]
        symbols |= _symbols(view, counts)
        feeds[view.port.shard.actor_name] = _feed(counts, ("unpublishable",))
    if trading is not None and trading.private_feed:
        feeds[PRIVATE_FEED] = _feed(trading.private_feed, OF_PRIVATE_FEED)
    return {
        "seconds": round(seconds, 3),
        "symbols": symbols,
        **totals,
        "rings": {view.port.shard.ring_name: _market_ring(view.port, strategies) for view in shards}
        | {ring.name: _gated_ring(ring) for ring in (trading.rings if trading is not None else ())},
        "latency_us": {"wire_to_strategy": latency_us(*latency.values())}
        | {f"wire_to_{name}": latency_us(histogram) for name, histogram in latency.items()}
        | ({name: latency_us(histogram) for name, histogram in trading.histograms.items()} if trading else {}),
        **trading_summary(trading, sum(strategy.refused for strategy in strategies)),
        "restarts": dict(restarts),
        "feeds": feeds,
        "sources": sources_summary(shards),
        "strategies": {strategy.name: _conduct(strategy) for strategy in strategies},
        "native": DESCRIPTION,
        "exit": exit_reason,
    }


def sources_summary(shards: Sequence[ShardView]) -> dict[str, Any]:
    """Where the market data come from, and how good the two sources are."""
    counts: dict[str, int] = {}
    pairs: dict[str, dict[str, str]] = {}
    for view in shards:
        for name, count in view.counters.snapshot().items():
            counts[name] = max(counts.get(name, 0), count) if name in WORST else counts.get(name, 0) + count
        for index, row in enumerate(view.port.rows):
            if row.channels:
                pairs[row.symbol] = {
                    kind: str(Source(view.counters.get(pair_counter(index, f"{kind}_source"))))
                    if channel in row.channels
                    else "unsubscribed"
                    for kind, channel in SOURCE_CHANNELS.items()
                }
    served = counts["served_by_websocket_ns"], counts["served_by_rest_ns"]
    now = [source for pair in pairs.values() for source in pair.values() if source != "unsubscribed"]
    share = now.count("websocket") / len(now) if now else 0.0
    lacks = {
        name: missing
        for name in SOURCE_CHANNELS
        if (missing := sum(pair[name] not in ("websocket", "unsubscribed") for pair in pairs.values()))
    }
    asked, failed_percent = counts["rest_calls"], counts["rest_failed_percent"]
    return {
        "websocket": {
            "available": share > 0,
            "quality": round(100 * share),
            "reasons": [f"does not serve {name} of {missing} of {len(pairs)} pairs" for name, missing in lacks.items()],
            "share_percent": round(100 * served[0] / sum(served), 3) if sum(served) else 0.0,
        },
        "rest": {
            "available": failed_percent < 100 if asked else None,
            "quality": 100 - failed_percent if asked else None,
            "reasons": [f"{failed_percent} % of the last calls failed"] if failed_percent else [],
            "share_percent": round(100 * served[1] / sum(served), 3) if sum(served) else 0.0,
            "calls": asked,
            "failures": counts["rest_failures"],
            "cache_hits": counts["cache_hits"],
            "cache_misses": asked,
        },
        "switches": counts["source_switches"],
        "failover_ms": round(counts["failover_ns"] / NS_PER_MS, 3),
        "failover_ms_max": round(counts["failover_ns_max"] / NS_PER_MS, 3),
        "unserved_s": round(counts["served_by_none_ns"] / NS_PER_S, 3),
        "comparisons": counts["comparisons"],
        "divergences": counts["divergences"],
        "divergence_percent": counts["divergence_ppm"] / 10_000,
        "divergence_percent_max": counts["divergence_ppm_max"] / 10_000,
        "candles_compared": counts["candles_compared"],
        "candles_differing": counts["candles_differing"],
        "pairs": pairs,
    }


def trading_summary(trading: TradingView | None, refused_by_clients: int) -> dict[str, Any]:
    """Orders, fills, positions and money; all zero for an engine that does not trade."""
    counts = trading.counters.snapshot() if trading is not None else {}
    status = trading.status if trading is not None else {}
    orders: dict[str, Any] = {name: counts.get(name, 0) for name in ORDER_TOTALS}
    orders["refused"] += refused_by_clients
    orders["success_percent"] = (
        round(100 - 100 * orders["rejected"] / orders["submitted"], 2) if orders["submitted"] else None
    )
    return {
        "orders": orders,
        "fills": counts.get("fills", 0),
        "positions": status.get("positions", {}),
        "pnl": status.get("pnl", {"realized": "0", "unrealized": "0", "fees": "0"}),
        "trading": {
            "mode": status.get("mode", "off" if trading is None else "starting"),
            "is_open": status.get("is_open", False),
            "reason": status.get("reason", ""),
        }
        | {key: status[key] for key in ("token", "breaker", "rate", "by_strategy", "open_orders") if key in status}
        | ({"counts": counts} if counts else {}),
    }


def published(ring: Memory) -> int:
    """How many records were published to the ring since the engine started."""
    return Subscriber(ring).next_sequence - 1


def _market_ring(port: MarketPort, strategies: Sequence[StrategyView]) -> dict[str, Any]:
    name = port.shard.ring_name
    lags = {strategy.name: strategy.lag_of(name) for strategy in strategies}
    return {
        "published": published(port.ring),
        "gaps": sum(strategy.gaps_of(name) for strategy in strategies),
        "full": 0,  # a broadcast ring is never full
        "slots": ring_slots(port.ring),
        "lag": {reader: lag for reader, lag in lags.items() if lag is not None},
    }


def _gated_ring(ring: GatedRing) -> dict[str, Any]:
    return {
        "published": published(ring.memory),
        "gaps": 0,  # nothing is overwritten before it was read
        **({} if ring.full is None else {"full": ring.full}),
        "slots": ring_slots(ring.memory),
        "lag": {ring.reader: gate_lag(ring.memory)},
    }


def _feed(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, Any]:
    return (
        {"connected": bool(counts["connected"])}
        | {name: counts[name] for name in (*OF_FEEDS, *names)}
        | {"ping_rtt_us": round(counts["ping_rtt_ns"] / NS_PER_US, 1)}
    )


def latency_us(*histograms: Histogram) -> dict[str, float | int]:
    """The count, mean, percentiles and maximum of histograms taken together, in
    microseconds to one decimal."""
    figures = merged_snapshot(histograms)
    return {
        "count": figures.count,
        "mean": round(figures.sum_ns / max(1, figures.count) / NS_PER_US, 1),
        "p50": round(figures.p50_ns / NS_PER_US, 1),
        "p99": round(figures.p99_ns / NS_PER_US, 1),
        "p999": round(figures.p999_ns / NS_PER_US, 1),
        "max": round(figures.max_ns / NS_PER_US, 1),
    }


def _symbols(view: ShardView, counts: Mapping[str, int]) -> dict[str, Any]:
    board = BoardReader(view.port.board)
    symbols = {}
    first = len(view.port.shard.symbols)
    for index, row in enumerate(view.port.rows):
        symbol, channels = row.symbol, row.channels
        if not symbol:
            continue
        record = board.read(index)
        top = BookTop(symbol, record) if record is not None else None
        pair = {name: counts[pair_counter(index, name)] for name in PAIR_TOTALS}
        symbols[symbol] = {
            **pair,
            "channels": [channel.name.lower() for channel in channels if channel.name],
            "added": index >= first,
            "verified": pair["snapshots"] + pair["updates"] - pair["mismatches"],
            "state": str(_state(top, channels)),
            "proved": top is not None and top.state == FeedState.LIVE and top.is_proved,
            "best_bid": _level(top.best_bid if top is not None else None),
            "best_ask": _level(top.best_ask if top is not None else None),
        }
    return symbols


def _state(top: BookTop | None, channels: Channel) -> FeedState:
    """The state of a book: what is wanted counts, until its feed knows of it."""
    if Channel.BOOK not in channels:
        return FeedState.UNSUBSCRIBED
    is_known = top is not None and top.state != FeedState.UNSUBSCRIBED
    return FeedState(top.state) if top is not None and is_known else FeedState.STALE


def _level(level: Level | None) -> dict[str, str] | None:
    return None if level is None else {"price": level.price_text, "qty": level.qty_text}


def _conduct(strategy: StrategyView) -> dict[str, Any]:
    return {
        "received": strategy.received,
        "gaps": strategy.gaps,
        "laps": strategy.laps,
        "callbacks": strategy.callbacks,
        "errors": strategy.errors,
        "slow": strategy.slow,
        "slowest_ms": round(strategy.slowest_ns / NS_PER_MS, 3),
        "busy_s": round(strategy.busy_ns / NS_PER_S, 3),
        "busy_s_per_s": round(strategy.busy_share_ppm / PPM, 3),
        "busy_s_per_s_max": round(strategy.busy_share_ppm_max / PPM, 3),
        "rests": strategy.rests,
        "hung": 0,
        "hangs": None,
        "halted": bool(strategy.halted),
        "untold": strategy.untold,
        "mistakes": strategy.mistakes,
        "calls_refused": strategy.calls_refused,
        "reports_unreadable": strategy.reports_unreadable,
    }
