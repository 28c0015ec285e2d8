"""The summary of a run: the object of `--summary`, of `engine status`, and of the live
view.

Everything in it is read from counters, rings and boards of the processes. Its keys are a
contract; engine/docs/summary-and-status.md says what each means.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from engine.native import DESCRIPTION
from engine.orders.positions import PositionState, by_pair, position_texts, profit_texts
from engine.processes.run_view import (
    GatedRing,
    RunFacts,
    RunView,
    ShardView,
    StrategyView,
    TradingView,
    published,
)
from engine.records import BookTop, FeedState, Level, Source
from engine.ring import gate_lag, ring_slots
from engine.telemetry import Counters, Histogram, merged_snapshot
from engine.topology import (
    ACCOUNT_RING,
    COMMAND_RING,
    FEED_COUNTERS,
    PRIVATE_FEED,
    SOURCE_COUNTERS,
    Channel,
    pair_counter,
)
from engine.units import NS_PER_MS, NS_PER_S, NS_PER_US, MonoNs

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
SOURCE_TEXTS = {int(source): str(source) for source in Source}
OF_FEEDS = (
    "frames", "bytes", "binary_frames", "connects", "connect_failures", "disconnects", "session_errors", "refused",
)  # fmt: skip
OF_PRIVATE_FEED = (
    "subscriptions", "executions", "balances", "heartbeats", "unknown", "malformed", "duplicates", "reordered", "gaps",
    "held_back", "tokens",
)  # fmt: skip
OF_ROUTER_STATUS = ("token", "breaker", "rate", "open_orders", "positions_left_out")
NO_HANG = {"hung": 0, "hangs": None}
PAIR_TOTALS = ("snapshots", "updates", "mismatches", "resyncs", "renewals", "ignored", "crossings")


def build_summary(view: RunView, facts: RunFacts, now: MonoNs) -> dict[str, Any]:
    """The summary at this moment, ready to be encoded as JSON."""
    symbols: dict[str, Any] = {}
    totals = dict.fromkeys(TOTALS, 0)
    feeds: dict[str, Any] = {}
    for shard in view.shards:
        counts = shard.counters.snapshot()
        for name in TOTALS:
            totals[name] += counts[name]
        symbols |= _symbols(shard, counts)
        feeds[shard.shard.actor_name] = _feed(counts, ("unpublishable",))
    trading = view.trading
    strategies = {strategy.name: strategy.counts() for strategy in view.strategies}
    if trading is not None:
        feeds[PRIVATE_FEED] = _feed(trading.private_feed.snapshot(), OF_PRIVATE_FEED)
    return {
        "seconds": round(facts.seconds, 3),
        "symbols": symbols,
        **totals,
        "rings": {shard.shard.ring_name: _market_ring(shard, view.strategies) for shard in view.shards}
        | _gated_rings(view),
        "latency_us": {"wire_to_strategy": latency_us(*view.latency.values())}
        | {f"wire_to_{name}": latency_us(histogram) for name, histogram in view.latency.items()}
        | ({name: latency_us(histogram) for name, histogram in trading.histograms.items()} if trading else {}),
        **trading_summary(
            trading, sum(counts["orders_refused"] for counts in strategies.values()), _marks(view.shards)
        ),
        "restarts": facts.restarts,
        "feeds": feeds,
        "sources": sources_summary(view.shards),
        "strategies": {name: _conduct(counts) | facts.hangs.get(name, NO_HANG) for name, counts in strategies.items()},
        "notices": {} if view.notices is None else {name: view.notices.counts(name) for name in view.notices.targets},
        "native": DESCRIPTION,
        "exit": facts.exit_reason,
        **(_process_facts(view.host, facts, now) if facts.pid else {}),
    }


def _process_facts(host: Counters, facts: RunFacts, now: MonoNs) -> dict[str, Any]:
    """About a run as processes. `rescues`: missed wake-ups that were made good; `silent_s`:
    how long the strategies' host has been in one callback.
    """
    heard_at = host.get("heartbeat_ns")
    return {
        "strategy_host": {
            "rescues": host.get("rescues"),
            "silent_s": round(max(0, now - heard_at) / NS_PER_S, 1) if heard_at else 0.0,
        },
        "pid": facts.pid,
        "venue": facts.venue,
        "processes": facts.processes,
    }


def sources_summary(shards: Sequence[ShardView]) -> dict[str, Any]:
    """Where the market data come from, and how good the two sources are."""
    counts: dict[str, int] = {}
    pairs: dict[str, dict[str, str]] = {}
    for view in shards:
        of_view = view.counters.snapshot()
        for name in FEED_COUNTERS:
            count = of_view[name]
            counts[name] = max(counts.get(name, 0), count) if name in WORST else counts.get(name, 0) + count
        for index, row in enumerate(view.rows):
            if row.channels:
                wanted = _kinds_of(row.channels)
                pairs[row.symbol] = {
                    kind: SOURCE_TEXTS[of_view[pair_counter(index, f"{kind}_source")]]
                    if kind in wanted
                    else "unsubscribed"
                    for kind in SOURCE_CHANNELS
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


def trading_summary(
    trading: TradingView | None, refused_by_clients: int, mark_of: Callable[[str], Decimal | None]
) -> dict[str, Any]:
    """Orders, fills, positions and money; all zero for an engine that does not trade.
    `mark_of` is the price that a pair's positions are valued at.
    """
    counts = trading.counters.snapshot() if trading is not None else {}
    status = trading.status() if trading is not None else {}
    rows = list(trading.positions.rows()) if trading is not None else []
    orders: dict[str, Any] = {name: counts.get(name, 0) for name in ORDER_TOTALS}
    orders["refused"] += refused_by_clients
    orders["success_percent"] = (
        round(100 - 100 * orders["rejected"] / orders["submitted"], 2) if orders["submitted"] else None
    )
    held = by_pair((row.symbol, row.state) for row in rows)
    # Amounts in different quote currencies are not added up: the first is shown here, all
    # of them in `by_currency`.
    by_currency = profit_texts(held, mark_of)
    main = next(iter(by_currency), "")
    detail = {name: status[name] for name in OF_ROUTER_STATUS if name in status}
    if status:
        detail["by_strategy"] = {
            f"{row.strategy} {row.symbol}": position_texts(row.state, mark_of(row.symbol)) for row in rows
        }
    return {
        "orders": orders,
        "fills": counts.get("fills", 0),
        "positions": {symbol: _held_texts(state) for symbol, state in held.items()}
        | {symbol: _held_texts(None) for symbol in status.get("unheld", ())},
        "pnl": by_currency.get(main, {"realized": "0", "unrealized": "0", "fees": "0"})
        | ({"currency": main, "by_currency": by_currency} if status else {}),
        "trading": {
            "mode": status.get("mode", "off" if trading is None else "starting"),
            "is_open": status.get("is_open", False),
            "reason": status.get("reason", ""),
        }
        | detail
        | ({"counts": counts} if counts else {}),
    }


def _held_texts(state: PositionState | None) -> dict[str, str | None]:
    texts = position_texts(state, None)
    return {name: texts[name] for name in ("qty", "avg_price", "unknown_cost_qty")}


def _marks(shards: Sequence[ShardView]) -> Callable[[str], Decimal | None]:
    """Returns the mid price of a pair's book; None without one."""
    places = {row.symbol: (shard, index) for shard in shards for index, row in enumerate(shard.rows)}

    def mark_of(symbol: str) -> Decimal | None:
        shard, index = places.get(symbol, (None, 0))
        record = None if shard is None else shard.board.read(index)
        return None if record is None else BookTop(symbol, record).mid

    return cache(mark_of)


def _market_ring(view: ShardView, strategies: Sequence[StrategyView]) -> dict[str, Any]:
    name, newest = view.shard.ring_name, published(view.ring)
    lags = {strategy.name: strategy.lag_of(name, newest) for strategy in strategies}
    return {
        "published": newest,
        "gaps": sum(strategy.gaps_of(name) for strategy in strategies),
        "full": 0,  # a broadcast ring is never full
        "slots": ring_slots(view.ring),
        "lag": {reader: lag for reader, lag in lags.items() if lag is not None},
    }


def _gated_rings(view: RunView) -> dict[str, Any]:
    """The rings of orders. `full`: how many records found no room and waited; the router
    counts those of the reports by itself.
    """
    if view.trading is None or view.supervisor is None:
        return {}
    full = {
        COMMAND_RING: view.supervisor.counters.get("commands_held_up"),
        ACCOUNT_RING: view.trading.private_feed.get("held_back"),
    }
    return {ring.name: _gated_ring(ring, full.get(ring.name)) for ring in view.trading.rings}


def _gated_ring(ring: GatedRing, full: int | None) -> dict[str, Any]:
    return {
        "published": published(ring.memory),
        "gaps": 0,  # nothing is overwritten before it was read
        **({} if full is None else {"full": full}),
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
    symbols = {}
    first = len(view.shard.symbols)
    for index, row in enumerate(view.rows):
        symbol, channels = row.symbol, row.channels
        if not symbol:
            continue
        record = view.board.read(index)
        top = BookTop(symbol, record) if record is not None else None
        pair = {name: counts[pair_counter(index, name)] for name in PAIR_TOTALS}
        symbols[symbol] = {
            **pair,
            "channels": list(_channel_names(channels)),
            "added": index >= first,
            "verified": pair["snapshots"] + pair["updates"] - pair["mismatches"],
            "state": str(_state(top, channels)),
            "proved": top is not None and top.state == FeedState.LIVE and top.is_proved,
            "best_bid": _level(top.best_bid if top is not None else None),
            "best_ask": _level(top.best_ask if top is not None else None),
        }
    return symbols


@cache
def _channel_names(channels: Channel) -> tuple[str, ...]:
    return tuple(channel.name.lower() for channel in channels if channel.name)


@cache
def _kinds_of(channels: Channel) -> frozenset[str]:
    """The kinds of data that have a source, of these channels."""
    return frozenset(kind for kind, channel in SOURCE_CHANNELS.items() if channel in channels)


def _state(top: BookTop | None, channels: Channel) -> FeedState:
    """The state of a book: what is wanted counts, until its feed knows of it."""
    if Channel.BOOK not in channels:
        return FeedState.UNSUBSCRIBED
    is_known = top is not None and top.state != FeedState.UNSUBSCRIBED
    return FeedState(top.state) if top is not None and is_known else FeedState.STALE


def _level(level: Level | None) -> dict[str, str] | None:
    return None if level is None else {"price": level.price_text, "qty": level.qty_text}


def _conduct(counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        **{name: counts[name] for name in ("received", "gaps", "laps", "callbacks", "errors", "slow")},
        "slowest_ms": round(counts["slowest_ns"] / NS_PER_MS, 3),
        "busy_s": round(counts["busy_ns"] / NS_PER_S, 3),
        "busy_s_per_s": round(counts["busy_ns_per_s"] / NS_PER_S, 3),
        "busy_s_per_s_max": round(counts["busy_ns_per_s_max"] / NS_PER_S, 3),
        "rests": counts["rests"],
        **NO_HANG,
        "halted": bool(counts["halted"]),
        **{name: counts[name] for name in ("untold", "mistakes", "calls_refused", "reports_unreadable")},
    }
