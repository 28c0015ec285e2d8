"""The figures of a run that a program looks at, taken from its summary.

Nothing is counted here: `Statistics.of` picks what the processes count anyway, and
`Engine.status()` has all of it, by process, pair and strategy.
"""

from collections.abc import Mapping
from typing import Any, Self

from msgspec import Struct


class Statistics(Struct, frozen=True, kw_only=True):
    """The figures of a run so far. Counts are since its start, across restarts of its
    processes.
    """

    uptime_s: float
    """How long the run has lasted, in seconds."""
    orders_submitted: int
    """Orders of strategies and programs that passed every check."""
    orders_acknowledged: int
    """Of them, those that Kraken acknowledged."""
    orders_filled: int
    """Orders that were filled whole."""
    orders_canceled: int
    orders_expired: int
    """Orders that ended because their time was over."""
    orders_rejected: int
    """Orders that Kraken rejected, or proved never to have had."""
    orders_refused: int
    """Orders that the engine's own checks refused; they were never sent."""
    orders_in_doubt: int
    """Orders that were sent, and of which Kraken has not told the outcome, now."""
    orders_active: int
    """Orders of the account that are open now."""
    orders_by_websocket: int
    """Orders that were sent by WebSocket."""
    orders_by_rest: int
    """Orders that were sent by REST."""
    success_percent: float | None
    """Of the orders submitted, the percentage that Kraken did not reject; None before the
    first."""
    acknowledged_ms: dict[str, float | None]
    """From sending an order to its acknowledgement, on average in ms, by `websocket` and by
    `rest`; None before the first."""
    filled_ms: dict[str, float | None]
    """From sending an order to its last fill, likewise."""
    fills: int
    """Fills of orders, each counted once."""
    executions: int
    """Entries of Kraken's executions channel that were processed."""
    messages: dict[str, int]
    """What Kraken told, by its channel: entries, of which a message may hold several."""
    errors: int
    """Callbacks and handlers that raised, messages that could not be read, and connections
    that ended by an error of our own."""
    duplicates: int
    """What Kraken told again, and was not told twice: trades, candles, executions, fills."""
    gaps: int
    """What Kraken did not tell and nothing made good: trades, candles; and gaps in the
    account's messages, after which everything was asked for anew."""
    skipped: int
    """Records of the market that strategies did not get, for they were too slow."""
    reconnects: int
    """Connections that were made after the first of each process."""
    connected: dict[str, bool]
    """By process, whether its WebSocket is connected now."""
    is_authenticated: bool
    """Whether both private WebSockets are served with a token of Kraken's now."""
    subscriptions: int
    """Kinds of data of pairs and of the account that a WebSocket serves now."""
    cache_hits: int
    """Public data of REST that were known already, and needed no call."""
    cache_misses: int
    """Public data of REST that needed a call."""
    source_switches: int
    """Changes of a kind of data of a pair between WebSocket and REST."""
    websocket_percent: float
    """Of the time in which market data were served, the WebSocket's share."""
    rest_percent: float
    """Of the time in which market data were served, REST's share."""

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Self:
        """The figures of a summary, as `Engine.status()` returns it."""
        orders, trading, sources = summary["orders"], summary["trading"], summary["sources"]
        router: Mapping[str, int] = trading.get("counts", {})
        feeds: Mapping[str, Mapping[str, Any]] = summary["feeds"]
        private: Mapping[str, Any] = feeds.get("private_feed", {})
        connections = {**feeds, **({"order_router": router} if router else {})}
        callers = (*summary["strategies"].values(), *summary.get("handlers", {}).values())
        return cls(
            uptime_s=summary["seconds"],
            orders_submitted=orders["submitted"],
            orders_acknowledged=orders["acknowledged"],
            orders_filled=orders["filled"],
            orders_canceled=orders["canceled"],
            orders_expired=orders["expired"],
            orders_rejected=orders["rejected"],
            orders_refused=orders["refused"],
            orders_in_doubt=orders["unknown_open"],
            orders_active=trading.get("open_orders", 0),
            orders_by_websocket=orders["by_websocket"],
            orders_by_rest=orders["by_rest"],
            success_percent=orders["success_percent"],
            acknowledged_ms=_by_route(summary, "acknowledged"),
            filled_ms=_by_route(summary, "filled"),
            fills=summary["fills"],
            executions=private.get("executions", 0),
            messages={
                "book": sum(
                    pair["snapshots"] + pair["updates"] + pair["ignored"] for pair in summary["symbols"].values()
                ),
                "trade": summary["trades"] - summary["trades_filled"] + summary["trades_repeated"],
                "ticker": summary["tickers"],
                "ohlc": summary["candles_received"],
                "executions": private.get("executions", 0),
                "balances": private.get("balances", 0),
                "heartbeat": summary["heartbeats"] + private.get("heartbeats", 0),
            },
            errors=summary["malformed"] + private.get("malformed", 0)
            + sum(each.get("session_errors", 0) for each in connections.values())
            + sum(each["errors"] for each in callers),
            duplicates=summary["trades_repeated"] + private.get("duplicates", 0)
            + router.get("fills_repeated", 0),
            gaps=summary["trades_missed"] + summary["candles_missed"] + private.get("gaps", 0),
            skipped=sum(ring["gaps"] for ring in summary["rings"].values()),
            reconnects=sum(max(0, each["connects"] - 1) for each in connections.values()),
            connected={name: bool(each["connected"]) for name, each in connections.items()},
            is_authenticated=bool(private.get("subscriptions")) and bool(router.get("authenticated")),
            subscriptions=private.get("subscriptions", 0)
            + sum(list(kinds.values()).count("websocket") for kinds in sources["pairs"].values()),
            cache_hits=sources["rest"]["cache_hits"],
            cache_misses=sources["rest"]["cache_misses"],
            source_switches=sources["switches"],
            websocket_percent=sources["websocket"]["share_percent"],
            rest_percent=sources["rest"]["share_percent"],
        )  # fmt: skip


def _by_route(summary: Mapping[str, Any], step: str) -> dict[str, float | None]:
    """The mean time to a step of an order's life in ms, by route."""
    found = {}
    for route in ("websocket", "rest"):
        times = summary["latency_us"].get(f"{step}_by_{route}", {"count": 0})
        found[route] = round(times["mean"] / 1000, 3) if times["count"] else None
    return found
