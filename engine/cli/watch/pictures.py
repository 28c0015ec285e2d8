"""How `engine watch` shows what it has seen: a ladder that redraws, lines, or JSON."""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from engine.cli.view import Rates
from engine.cli.watch.watcher import Look, Watcher
from engine.records import Level, Trade
from engine.units import NS_PER_S

# rich is imported by what draws on a terminal.
if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.table import Table

REDRAW_S: Final = 0.25
LINE_S: Final = 1.0
LEVELS: Final = 10  # a side, where the terminal has room
LINES_BESIDE: Final = 4  # of a pair: title, heads, the spread, and what was counted


class JsonLines:
    """A line of JSON for each trade, and one a second for each pair's book."""

    interval_s = LINE_S

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._write = sys.stdout.write

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, summary: dict[str, Any]) -> None:
        """Write what came since the last call."""
        lines = [line for look in self._watcher.look(summary) for line in self._lines(look)]
        self._write("".join(msgspec.json.encode(line).decode() + "\n" for line in lines))
        sys.stdout.flush()

    def _lines(self, look: Look) -> Iterator[dict[str, Any]]:
        for trade in look.trades:
            yield {
                "type": "trade",
                "symbol": trade.symbol,
                "side": trade.side,
                "price": f"{trade.price:f}",
                "qty": f"{trade.qty:f}",
                "trade_id": trade.trade_id,
                "kraken_time": _time(trade),
                "history": trade.history,
            }
        book = look.book
        yield {
            "type": "book",
            "symbol": look.symbol,
            "state": str(look.state),
            "reason": look.reason,
            "bids": _pairs(book.bids if book else ()),
            "asks": _pairs(book.asks if book else ()),
            "age_s": round(book.age_s, 3) if book else None,
            "verified": look.verified,
            "mismatches": look.mismatches,
            "updates": look.updates,
            "trades_left_out": look.trades_left_out,
            "wire_to_strategy_us": look.wire_to_strategy_us,
        }


class PlainLines(JsonLines):
    """The same for people, for a pipe or a file; a pair of which nothing came has no line."""

    def __init__(self, watcher: Watcher) -> None:
        super().__init__(watcher)
        self._rates = Rates()
        # The last line of each pair.
        self._told: dict[str, str] = {}

    def update(self, summary: dict[str, Any]) -> None:
        """Write what came since the last call."""
        rates = self._rates.update(summary["symbols"])
        for look in self._watcher.look(summary):
            for trade in look.trades:
                self._write(f"{_time(trade)}  {trade.symbol} {trade.side} {trade.qty:f} at {trade.price:f}\n")
            counts = "" if look.book is None else f"  {counted(look, rates[look.symbol])}"
            line = f"{look.symbol} {_top(look)}{counts}\n"
            if line != self._told.get(look.symbol):
                self._told[look.symbol] = line
                self._write(line)
        sys.stdout.flush()


class Ladder:
    """Each pair's ladder with the last trades beside it, redrawn in place."""

    interval_s = REDRAW_S

    def __init__(self, watcher: Watcher) -> None:
        from rich.console import Console
        from rich.live import Live

        self._watcher = watcher
        self._rates = Rates()
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, summary: dict[str, Any]) -> None:
        """Draw the newest of everything."""
        looks, rates = self._watcher.look(summary), self._rates.update(summary["symbols"])
        self._live.update(drawn(looks, rates, self._console), refresh=True)


def drawn(looks: Sequence[Look], rates: dict[str, float], console: "Console") -> "Group":
    """The pairs below one another, with as many levels as the console has room for."""
    from rich.console import Group
    from rich.text import Text

    from engine.screen.panels import STATE_STYLES

    room = console.height // len(looks) - LINES_BESIDE
    levels = max(1, min(LEVELS, room // 2))
    parts: list[Any] = []
    for look in looks:
        parts.append(Text.assemble((look.symbol, "bold"), "  ", (str(look.state), STATE_STYLES[str(look.state)]),
                                   f"  {look.reason}"))  # fmt: skip
        parts.append(_ladder(look, levels))
        parts.append(Text(counted(look, rates[look.symbol]), style="dim", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def counted(look: Look, rate: float) -> str:
    """Checksums, pace and latency, in one line of less than 80 characters."""
    if not look.verified:
        return "no checksum verified yet"
    latency = look.wire_to_strategy_us
    wrong = f", WRONG {look.mismatches:,}" if look.mismatches else ""
    left_out = f", trades left out {look.trades_left_out:,}" if look.trades_left_out else ""
    return (
        f"checksums verified {look.verified:,}{wrong}, {rate:,.0f}/s, wire to here p50 {latency['p50']:g} "
        f"p99 {latency['p99']:g} µs{left_out}"
    )


def _ladder(look: Look, levels: int) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head, justify, style in (
        ("bid", "right", "green"), ("price", "right", ""), ("ask", "left", "red"), ("", "left", ""),
        ("trade", "left", ""), ("qty", "right", ""), ("at", "right", ""), ("time", "left", "dim"),
    ):  # fmt: skip
        table.add_column(head, justify=justify, style=style, no_wrap=True)  # type: ignore[arg-type]
    rows = _rows(look, levels)
    for number, row in enumerate(rows):
        trade = look.last_trades[number] if number < len(look.last_trades) else None
        told = ("", "", "", "") if trade is None else (
            f"[{'green' if trade.side == 'buy' else 'red'}]{trade.side}[/]", f"{trade.qty:f}", f"{trade.price:f}",
            _time(trade)[11:19],
        )  # fmt: skip
        table.add_row(*row, "", *told)
    return table


def _rows(look: Look, levels: int) -> list[tuple[str, str, str]]:
    """Asks from above, the spread, bids below: quantity, price, quantity."""
    if look.book is None:
        return [("", "-", "")]
    asks = [("", f"{level.price:f}", f"{level.qty:f}") for level in reversed(look.book.asks[:levels])]
    bids = [(f"{level.qty:f}", f"{level.price:f}", "") for level in look.book.bids[:levels]]
    spread = "-" if look.book.spread is None else f"{look.book.spread:f}"
    return [*asks, ("", f"spread {spread}", ""), *bids]


def _top(look: Look) -> str:
    book = look.book
    if book is None:
        return f"{look.state}: {look.reason}"
    bid, ask = (f"{level.price:f}" if level else "-" for level in (book.best_bid, book.best_ask))
    spread = "-" if book.spread is None else f"{book.spread:f}"
    return f"{bid}/{ask} spread {spread} {look.state}{': ' if look.reason else ''}{look.reason}"


def _pairs(levels: Sequence[Level]) -> list[tuple[str, str]]:
    return [(f"{level.price:f}", f"{level.qty:f}") for level in levels]


def _time(trade: Trade) -> str:
    """2026-11-29T12:00:00.123Z"""
    moment = datetime.fromtimestamp(trade.kraken_time / NS_PER_S, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
