"""Drawings of a picture, for rich: each takes what it shows and the room that it has, and
fits into it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from rich.cells import cell_len
from rich.text import Text

from engine.orders.life import OrderState
from engine.screen.bars import bar, duration_text, latency_cells, line_chart
from engine.screen.ladder import LadderRow
from engine.screen.order_tape import ShownFill, ShownOrder
from engine.screen.rows import (
    LatencyRow,
    MoneyRow,
    PairRow,
    ProcessRow,
    RateRow,
    RingRow,
    holdings,
    rounded,
)
from engine.screen.watcher import Picture
from engine.telemetry.warning_ring import Warned
from engine.units import NS_PER_S, WallNs

STATE_STYLES: Final = {
    "live": "green", "unproved": "yellow", "stale": "yellow", "unverified": "yellow", "untrusted": "red",
    "unsubscribed": "dim",
}  # fmt: skip
SIDE_STYLES: Final = {"buy": "green", "sell": "red", "bid": "green", "ask": "red"}
ORDER_STYLES: Final = {
    OrderState.WORKING: "green", OrderState.PARTIAL: "green", OrderState.UNKNOWN: "bold red",
    OrderState.REJECTED: "red", OrderState.REFUSED: "red",
}  # fmt: skip
QTY_CHARS: Final = 10  # of a quantity: what is longer loses its last decimals
BAR_CHARS_MAX: Final = 30
LADDER_CHARS_MIN: Final = 33  # of the columns beside the bars, so that these keep their place
NARROW: Final = 48  # columns; a panel with fewer leaves out what matters least


class Grid:
    """Columns without lines around them.

    Not rich's Table: that measures and wraps every cell again and again, which takes a
    screen of these ten milliseconds.
    """

    def __init__(self, *justify: str) -> None:
        """A column for each "left" or "right"."""
        self._justify = justify
        self._rows: list[Sequence[str | Text]] = []

    def add_row(self, *cells: str | Text) -> None:
        """Add a cell for each column."""
        self._rows.append(cells)

    def lines(self) -> list[Text]:
        """A line for each row."""
        widths = [max(map(_width, column)) for column in zip(*self._rows, strict=True)]
        return [self._line(cells, widths) for cells in self._rows]

    def _line(self, cells: Sequence[str | Text], widths: Sequence[int]) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        for number, (cell, width, justify) in enumerate(zip(cells, widths, self._justify, strict=True)):
            spaces = " " * (width - _width(cell))
            line.append(" " if number else "")
            line.append(spaces if justify == "right" else "")
            line.append(cell) if isinstance(cell, str) else line.append_text(cell)
            line.append(spaces if justify != "right" else "")
        return line

    def __rich__(self) -> Text:
        return below(self.lines())


Drawing = Text | Grid


def text_of(drawing: Drawing) -> Text:
    """A drawing as one text."""
    return drawing if isinstance(drawing, Text) else below(drawing.lines())


def _width(cell: str | Text) -> int:
    return cell_len(cell) if isinstance(cell, str) else cell.cell_len


def below(lines: Iterable[Text]) -> Text:
    """Lines as one drawing."""
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def line(*parts: str | tuple[str, str], style: str = "") -> Text:
    """A line of texts, or of (text, style), that is cut off where there is no room for it."""
    return Text.assemble(*parts, style=style, no_wrap=True, overflow="ellipsis")


def short(number: Decimal, chars: int = QTY_CHARS) -> str:
    """A number with as many of its decimals as fit into `chars`, cut off, not rounded; its
    last zeros are left out."""
    text = f"{number.normalize():f}"
    if "." in text and len(text) > chars:
        text = text[: max(chars, text.index("."))].rstrip(".")
    return text


def clock_text(at: WallNs) -> str:
    """The time of day, UTC, as in the log."""
    return datetime.fromtimestamp(at / NS_PER_S, UTC).strftime("%H:%M:%S") if at else "--:--:--"


def bound_text(ahead_max: Decimal | None) -> str:
    """What others have ahead of an order at most; a question mark while nothing is known."""
    return "≤ ?" if ahead_max is None else f"≤ {short(ahead_max, 8)}"


def ladder_panel(picture: Picture, levels: int, width: int) -> Drawing:
    """Prices with what stands there, our own part of it, and what is ahead of that."""
    if picture.book is None:
        return Text(f"no book of {picture.symbol} yet" if picture.symbol else "no pairs", style="dim")
    asks = [row for row in picture.ladder if row.side == "ask"][-levels:]
    bids = [row for row in picture.ladder if row.side == "bid"][:levels]
    chars = QTY_CHARS if width >= NARROW else QTY_CHARS - 2
    cells = [_ladder_cells(row, chars) for row in (*asks, *bids)]
    # What the other columns leave, so that a long price costs bars and not digits.
    taken = sum(max((len(row[column]) for row in cells), default=0) + 1 for column in range(4))
    bar_width = max(0, min(BAR_CHARS_MAX, width - max(taken, LADDER_CHARS_MIN)))
    table = Grid("right", "right", "right", "right", "left")
    table.add_row(*(Text(name, style="dim") for name in ("own", "ahead", "price", "qty", "")))
    spread = picture.book.spread
    middle = (
        "", "", Text("spread" if spread is not None else "one side", style="dim"),
        Text("-" if spread is None else f"{spread:f}", style="dim"), "",
    )  # fmt: skip
    for number, (row, texts) in enumerate(zip((*asks, *bids), cells, strict=True)):
        if number == len(asks):
            table.add_row(*middle)
        table.add_row(*texts, Text(bar(row.share, bar_width), style=SIDE_STYLES[row.side]))
    return table


def _ladder_cells(row: LadderRow, chars: int) -> Sequence[Text]:
    style = SIDE_STYLES[row.side]
    is_ours = bool(row.own)
    return (
        Text(short(row.own, 8) if is_ours else "", style=f"bold {style}"),
        Text(bound_text(row.ahead_max) if is_ours else "", style="dim"),
        Text(f"{row.price:f}", style=f"bold {style}" if is_ours else style),
        Text("-" if row.qty is None else short(row.qty, chars)),
    )


def ladder_title(picture: Picture) -> str:
    """The pair, and how its book stands: `BTC/USD live, 0.2 s old`."""
    if picture.book is None:
        return picture.symbol or "no pair"
    age = "" if picture.age_s is None else f", {picture.age_s:.1f} s old"
    state = picture.summary["symbols"][picture.symbol]["state"]
    return f"{picture.symbol} {state if picture.book.is_verified else 'unverified'}{age}"


def fills_panel(fills: Sequence[ShownFill], count: int, width: int) -> Drawing:
    """The newest fills, newest first."""
    if not fills:
        return Text("no fills yet", style="dim")
    is_narrow = width < NARROW
    table = Grid("left", "left", "right", "right", "left", "left")
    for shown in fills[:count]:
        fill = shown.fill
        table.add_row(
            Text(clock_text(fill.kraken_time), style="dim"),
            Text(fill.side, style=SIDE_STYLES.get(fill.side, "")),
            short(fill.qty, 8 if is_narrow else QTY_CHARS),
            f"{fill.price:f}",
            Text(fill.liquidity, style="dim"),
            "" if is_narrow else f"{fill.symbol} {shown.strategy}",
        )
    return table


def orders_panel(picture: Picture, count: int) -> Drawing:
    """The newest orders: the open ones first."""
    if not picture.orders:
        return Text("no orders yet", style="dim")
    table = Grid("left", "right", "right", "left")
    for order in picture.orders[:count]:
        table.add_row(
            Text(order.side, style=SIDE_STYLES.get(order.side, "")),
            short(order.remaining, 8),
            limit_text(order),
            Text(order.state.value, style=order_style(order)),
        )
    return table


def limit_text(order: ShownOrder) -> str:
    """The limit of an order, or its type where it has none."""
    return order.order_type or "-" if order.limit is None else f"{order.limit:f}"


def order_style(order: ShownOrder) -> str:
    """The style of its state."""
    return ORDER_STYLES.get(order.state, "dim" if order.state.is_terminal else "")


def money_panel(money: Sequence[MoneyRow], pnl: Sequence[float], width: int, height: int) -> Drawing:
    """Profit and loss after fees, and below it its line."""
    if not money:
        return Text("nothing was traded yet", style="dim")
    lines = [
        line(
            (f"{rounded(row.net)} {row.currency}", "bold green" if row.net >= 0 else "bold red"),
            (
                f" after fees {rounded(row.fees)}: realized {rounded(row.realized)}, "
                f"unrealized {rounded(row.unrealized)}",
                "dim",
            ),
        )
        for row in money
    ]
    style = "green" if money[0].net >= 0 else "red"
    chart = line_chart(pnl, width, max(1, height - len(lines)))
    return below([*lines, *(line(row, style=style) for row in chart)])


def holdings_line(summary: Mapping[str, Any]) -> str:
    """What is held: `holds -0.01 BTC at 63528.34`."""
    held = [
        f"{'an unknown quantity of' if qty is None else f'{qty:f}'} {symbol.partition('/')[0]} at "
        f"{'an unknown price' if price is None else rounded(price)}"
        for symbol, qty, price in holdings(summary)
    ]
    return f"holds {', '.join(held) or 'nothing'}"


def pairs_panel(rows: Sequence[PairRow], rates: Mapping[str, float], count: int) -> Drawing:
    """Pairs with the state of their books; of too many, the first ones."""
    table = Grid("left", "left", "left", "right", "right", "right", "right")
    table.add_row(*(Text(name, style="dim") for name in ("pair", "book", "source", "bid", "ask", "spread", "msg/s")))
    for row in rows[:count]:
        table.add_row(
            row.symbol,
            Text(row.state, style=STATE_STYLES.get(row.state, "")),
            row.source,
            row.bid,
            row.ask,
            row.spread,
            f"{rates[row.symbol]:,.0f}" if row.symbol in rates else "-",
        )
    if len(rows) > count:
        table.add_row(Text(f"+ {len(rows) - count} more", style="dim"), "", "", "", "", "", "")
    return table


def latency_panel(rows: Sequence[LatencyRow], width: int) -> Drawing:
    """A bar for each hop: to p50 full, to p99 lighter, to p99.9 lightest; 1 µs to 10 s,
    logarithmic."""
    if not rows:
        return Text("nothing measured yet", style="dim")
    table = Grid("left", "left", "right", "right", "right")
    table.add_row(*(Text(name, style="dim") for name in ("hop", "1 µs … 10 s", "p50", "p99", "p99.9")))
    for row in rows:
        to_p50, to_p99, to_p999 = (latency_cells(us, width) for us in (row.p50_us, row.p99_us, row.p999_us))
        drawn = Text("█" * to_p50, style="green")
        drawn.append("▒" * (to_p99 - to_p50), style="yellow")
        drawn.append("░" * (to_p999 - to_p99), style="red")
        drawn.append(" " * (width - to_p999))
        table.add_row(row.name, drawn, *(duration_text(us) for us in (row.p50_us, row.p99_us, row.p999_us)))
    return table


def rings_panel(rows: Sequence[RingRow], width: int) -> Drawing:
    """How full each ring is for its slowest reader, and what was lost or waited."""
    table = Grid("left", "left", "right", "right", "right")
    table.add_row(*(Text(name, style="dim") for name in ("ring", "waiting", "lag", "of", "lost/full")))
    for row in rows:
        style = "red" if row.gaps or row.full or row.share > 0.5 else "green"
        table.add_row(
            row.name, Text(bar(row.share, width), style=style), f"{row.lag:,}", f"{row.slots:,}",
            f"{row.gaps:,}/{row.full:,}",
        )  # fmt: skip
    return table


def rate_panel(rows: Sequence[RateRow], tier: str, width: int, count: int) -> Drawing:
    """Kraken's rate counters, and the room in them."""
    if not rows:
        return Text(f"rate counters empty ({tier} tier)" if tier else "does not trade", style="dim")
    table = Grid("left", "left", "right", "right")
    for row in rows[:count]:
        share = float(row.count / row.limit)
        style = "red" if share > 0.8 else "yellow" if share > 0.5 else "green"
        table.add_row(
            row.symbol, Text(bar(share, width), style=style), f"{row.count:.0f} of {row.limit:f}", Text(tier, "dim")
        )
    return table


def processes_panel(rows: Sequence[ProcessRow], usage: Mapping[str, str]) -> Drawing:
    """Processes and their health; `usage` is text about each, by name."""
    table = Grid("left", "right", "left", "right", "right")
    table.add_row(*(Text(name, style="dim") for name in ("process", "pid", "socket", "restarts", "cpu, memory")))
    for row in rows:
        socket = "" if row.connected is None else "up" if row.connected else "DOWN"
        table.add_row(
            Text(row.name, style="" if row.pid else "red"),
            str(row.pid) if row.pid else Text("down", style="bold red"),
            Text(socket, style="red" if row.connected is False else "green"),
            Text(str(row.restarts), style="yellow" if row.restarts else ""),
            usage.get(row.name, ""),
        )
    return table


def strategies_panel(strategies: Mapping[str, Mapping[str, Any]]) -> Drawing:
    """What each strategy does with its time."""
    if not strategies:
        return Text("no strategies", style="dim")
    table = Grid("left", "right", "right", "right", "left")
    table.add_row(*(Text(name, style="dim") for name in ("strategy", "callbacks", "errors", "busy", "")))
    for name, conduct in strategies.items():
        state = (
            "HALTED" if conduct["halted"] else f"HANGS in {conduct['hangs']['callback']}" if conduct["hangs"] else ""
        )
        table.add_row(
            name,
            f"{conduct['callbacks']:,}",
            Text(f"{conduct['errors']:,}", style="red" if conduct["errors"] else ""),
            f"{100 * conduct['busy_s_per_s']:.1f} %",
            Text(state, style="bold red"),
        )
    return table


def warnings_panel(warnings: Sequence[tuple[str, Warned]], count: int) -> Drawing:
    """The newest warnings of the log, newest first, each with its process."""
    if not warnings:
        return Text("none", style="dim")
    return below(
        line(
            (f"{clock_text(warned.at)} ", "dim"),
            (f"{process} ", "bold red" if warned.level == "error" else "bold yellow"),
            warned.text,
        )
        for process, warned in reversed(warnings[-count:])
    )


def lines_panel(lines: Sequence[str], style: str, otherwise: str) -> Drawing:
    """Sentences, one below the other; `otherwise` where there is none."""
    if not lines:
        return Text(otherwise, style="dim")
    return below(line(text, style=style) for text in lines)
