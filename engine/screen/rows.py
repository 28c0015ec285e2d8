"""Rows of text and numbers, made of the summary of a run (see
engine/docs/summary-and-status.md), and of nothing else.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

Summary = Mapping[str, Any]

HUNDREDTH: Final = Decimal("0.01")

# The state of a book that REST tells: it has no checksum.
UNVERIFIED: Final = "unverified"
UNPROVED: Final = "unproved"
# Latencies in the order of an order's way, and what people call them.
LATENCIES: Final = {
    "wire_to_strategy": "wire → strategy",
    "strategy_to_wire": "strategy → wire",
    "tick_to_order": "tick → order",
    "ack": "wire → ack",
    "rest": "REST call",
}


class PairRow(Struct, frozen=True):
    """One pair's feed."""

    symbol: str
    state: str
    """live, stale, untrusted, unsubscribed; unproved for a live book that waits for its
    proof, unverified while REST serves it."""
    source: str
    """websocket, rest, none or unsubscribed."""
    bid: str
    ask: str
    spread: str
    updates: int
    mismatches: int


class LatencyRow(Struct, frozen=True):
    """One hop."""

    name: str
    count: int
    p50_us: float
    p99_us: float
    p999_us: float


class RingRow(Struct, frozen=True):
    """One ring, by its slowest reader."""

    name: str
    published: int
    lag: int
    slots: int
    gaps: int
    full: int

    @property
    def share(self) -> float:
        """Of its slots, those that wait for the slowest reader."""
        return self.lag / self.slots


class ProcessRow(Struct, frozen=True):
    """One process."""

    name: str
    pid: int | None
    """None while it does not run."""
    connected: bool | None
    """None for one without a connection."""
    restarts: int


class RateRow(Struct, frozen=True):
    """Kraken's rate counter of one pair."""

    symbol: str
    count: Decimal
    limit: Decimal


class MoneyRow(Struct, frozen=True):
    """Profit and loss in one currency."""

    currency: str
    net: Decimal
    """After fees: realized + unrealized - fees."""
    realized: Decimal
    unrealized: Decimal
    fees: Decimal


def pair_rows(summary: Summary) -> list[PairRow]:
    """One row a pair, in the order of the summary."""
    sources = summary["sources"]["pairs"]
    return [_pair_row(symbol, pair, sources.get(symbol, {})) for symbol, pair in summary["symbols"].items()]


def _pair_row(symbol: str, pair: Mapping[str, Any], sources: Mapping[str, str]) -> PairRow:
    state, source = pair["state"], sources.get("book", "none")
    if source == "rest":
        state = UNVERIFIED
    elif state == "live" and not pair["proved"]:
        state = UNPROVED
    return PairRow(
        symbol,
        state,
        source,
        price_text(pair["best_bid"]),
        price_text(pair["best_ask"]),
        spread_text(pair),
        pair["updates"],
        pair["mismatches"],
    )


def price_text(level: Mapping[str, str] | None) -> str:
    """The price of a best level; a dash without one."""
    return level["price"] if level else "-"


def spread_text(pair: Mapping[str, Any]) -> str:
    """Best ask - best bid; a dash while a side is empty."""
    bid, ask = pair["best_bid"], pair["best_ask"]
    if bid is None or ask is None:
        return "-"
    return str(Decimal(ask["price"]) - Decimal(bid["price"]))


def latency_rows(summary: Summary) -> list[LatencyRow]:
    """The hops that were measured."""
    rows = []
    for key, name in LATENCIES.items():
        figures = summary["latency_us"].get(key)
        if figures and figures["count"]:
            rows.append(LatencyRow(name, figures["count"], figures["p50"], figures["p99"], figures["p999"]))
    return rows


def ring_rows(summary: Summary) -> list[RingRow]:
    """One row a ring."""
    return [
        RingRow(
            name,
            ring["published"],
            max(ring["lag"].values(), default=0),
            ring["slots"],
            ring["gaps"],
            ring.get("full", 0),
        )
        for name, ring in summary["rings"].items()
    ]


def process_rows(summary: Summary) -> list[ProcessRow]:
    """The engine's own process, and each child."""
    counts = summary["trading"].get("counts", {})
    connected = {name: feed["connected"] for name, feed in summary["feeds"].items()}
    if counts:
        connected["order_router"] = bool(counts["connected"])
    rows = [ProcessRow("engine", summary["pid"], None, 0)]
    rows += [
        ProcessRow(name, pid, connected.get(name), summary["restarts"].get(name, 0))
        for name, pid in summary["processes"].items()
    ]
    return rows


def rate_rows(summary: Summary) -> list[RateRow]:
    """The pairs with something in their rate counter, fullest first."""
    rate = summary["trading"].get("rate")
    if not rate:
        return []
    limit = Decimal(rate["limit"])
    rows = [RateRow(symbol, Decimal(count), limit) for symbol, count in rate["counts"].items()]
    return sorted(rows, key=lambda row: (-row.count, row.symbol))


def money_rows(summary: Summary) -> list[MoneyRow]:
    """One row a quote currency; amounts of several are never added up."""
    rows = []
    for currency, pnl in summary["pnl"].get("by_currency", {}).items():
        realized, unrealized, fees = (Decimal(pnl[name]) for name in ("realized", "unrealized", "fees"))
        rows.append(MoneyRow(currency, realized + unrealized - fees, realized, unrealized, fees))
    return rows


def source_lines(summary: Summary) -> list[str]:
    """What serves the market data, a line a source."""
    lines = []
    for key, name in (("websocket", "WebSocket"), ("rest", "REST")):
        source = summary["sources"][key]
        if source["available"] is None:
            lines.append(f"{name}: not asked yet")
            continue
        state = "serves" if source["available"] else "NOT AVAILABLE"
        why = f" ({'; '.join(source['reasons'])})" if source["reasons"] else ""
        lines.append(f"{name}: {state}, quality {source['quality']} %, {source['share_percent']:g} % of the time{why}")
    return lines


def alarm_lines(summary: Summary) -> list[str]:
    """What is not as it should be at this moment, most urgent first."""
    lines = []
    trading = summary["trading"]
    if trading["mode"] != "off" and not (trading["is_open"] and trading["mode"] == "ACTIVE"):
        why = f": {trading['reason']}" if trading["reason"] else ""
        lines.append(f"trading is {'open' if trading['is_open'] else 'closed'}, {trading['mode']}{why}")
    if summary["orders"]["unknown_open"]:
        lines.append(f"{summary['orders']['unknown_open']} orders are in doubt")
    for name, conduct in summary["strategies"].items():
        if conduct["halted"]:
            lines.append(f"strategy {name} is halted after {conduct['errors']} errors")
        if hang := conduct["hangs"]:
            lines.append(f"strategy {name} hangs in {hang['callback']} for {hang['for_s']} s")
    for row in process_rows(summary):
        if row.pid is None:
            lines.append(f"process {row.name} does not run")
        elif row.connected is False:
            lines.append(f"process {row.name} is not connected")
    doubtful = [row for row in pair_rows(summary) if row.state in ("stale", "untrusted", UNVERIFIED)]
    if doubtful:
        first = ", ".join(f"{row.symbol} {row.state}" for row in doubtful[:3])
        more = f" and {len(doubtful) - 3} more" if len(doubtful) > 3 else ""
        lines.append(f"books: {first}{more}")
    return lines


def rounded(amount: Decimal) -> str:
    """Four decimals at most, for people, and eight of what is less than a hundredth, as
    amounts in BTC are; the summary has every digit.
    """
    text = f"{amount:,.{4 if abs(amount) >= HUNDREDTH else 8}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def holdings(summary: Summary) -> Sequence[tuple[str, Decimal | None, Decimal | None]]:
    """(pair, quantity, average price) of what is held; None for what is unknown, as with
    positions = "account".
    """
    return [
        (symbol, _decimal(held["qty"]), _decimal(held["avg_price"]))
        for symbol, held in summary["positions"].items()
        if _decimal(held["qty"]) != 0
    ]


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
