"""What the page is told of one engine: what is true now, and the samples of its history."""

from typing import Any, Final

from msgspec.structs import replace

from engine.attach.engine import AttachedEngine
from engine.attach.process_usage import usage_of
from engine.page.account import AccountReader, equity
from engine.page.history import PAIRS_MAX, History, Sampler
from engine.telemetry.histogram import edges_ns
from engine.units import NS_PER_US

ENGINE: Final = "engine"
OF_SUMMARY: Final = (
    "seconds", "exit", "native", "pid", "venue", "orders", "fills", "positions", "pnl", "rings", "latency_us",
    "strategies", "strategy_host", "restarts", "feeds",
)  # fmt: skip
BYTES_PER_MB: Final = 1e6


class Content:
    """One engine, as the page shows it."""

    def __init__(self, engine: AttachedEngine, account: AccountReader) -> None:
        self.engine = engine
        self.account = account
        self.is_running = True
        self._history = History()
        self._sampler = Sampler(engine, edges_ns())
        self._number = 0
        self._told: dict[str, Any] = {}

    def look(self, at_s: float) -> None:
        """Take a sample, and read the current values."""
        summary = self.engine.summary()
        pids = {ENGINE: self.engine.identity.pid, **self.engine.children()}
        usage = {name: usage_of(pid) if pid is not None else None for name, pid in pids.items()}
        self._number += 1
        cpu_s = {name: used.cpu_s for name, used in usage.items() if used is not None}
        books = self._sampler.books()
        sample = self._sampler.sample(self._number, at_s, summary, cpu_s, books)
        symbols = list(sample.quotes)
        mids = {pair: (bid + ask) / 2 for pair, (bid, ask) in sample.quotes.items() if bid and ask}
        trading = summary["trading"]
        states = [pair["state"] for pair in summary["symbols"].values()]
        currency = summary["pnl"].get("currency") or (symbols[0].partition("/")[2] if symbols else "")
        worth = equity(self.account.account, currency, mids)
        self._history.add(replace(sample, equity=None if worth is None else worth[0]), books)
        self._told = {key: summary[key] for key in OF_SUMMARY if key in summary} | {
            "name": self.engine.identity.name,
            "at_s": round(at_s, 1),
            "symbols": {symbol: summary["symbols"][symbol] for symbol in symbols if symbol in summary["symbols"]},
            "pairs": len(states),
            "pairs_shown_max": PAIRS_MAX,
            "live": states.count("live"),
            "trading": {key: trading[key] for key in ("mode", "is_open", "reason", "open_orders", "rate")
                        if key in trading},
            "equity": None if worth is None else {"currency": currency, "worth": round(worth[0], 8),
                                                  "unpriced": worth[1]},
            "sources": {name: summary["sources"][name] for name in ("websocket", "rest")},
            "processes": {
                name: {
                    "pid": pids[name],
                    "cpu": sample.cpu_percent.get(name),
                    "mb": None if used is None else round(used.resident_bytes / BYTES_PER_MB, 1),
                    "restarts": summary["restarts"].get(name, 0),
                }
                for name, used in usage.items()
            },
            "hops": list(self.engine.latency),
            "edges_us": [round(edge / NS_PER_US, 1) for edge in edges_ns()],
        }  # fmt: skip

    def ended(self) -> None:
        """The engine has ended: what was last true stays, and says so."""
        self.is_running = False

    def told(self, since: int, symbol: str, hop: str) -> dict[str, Any]:
        """The page's data: the current values, and the samples after number `since`, of one
        pair and latency.
        """
        symbols, hops = self._told.get("symbols", {}), self._told.get("hops", [])
        symbol = symbol if symbol in symbols else next(iter(symbols), "")
        hop = hop if hop in hops else next(iter(hops), "")
        account = self.account.account
        return {
            "is_running": self.is_running,
            "run": f"{self.engine.identity.pid} {self.engine.identity.began_ns}",
            "now": self._told,
            "symbol": symbol,
            "hop": hop,
            "rows": self._history.rows_since(since, symbol, hop),
            "orders": account.orders,
            "fills": account.fills,
            "note": account.note,
        }
