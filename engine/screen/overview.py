"""The picture of `engine run --view`: everything in one drawing that fits its terminal."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from engine.screen import panels, rows
from engine.screen.bars import duration_text
from engine.screen.panels import Drawing
from engine.screen.watcher import Picture

PAIRS_SHOWN_MAX: Final = 5
ORDERS_SHOWN: Final = 4
# Lines beside pairs and levels: title, names of columns, ladder's title, spread, profit and
# loss, latency, alarms; one is left for the prompt.
LINES_BESIDE: Final = 11
LEVELS_MIN, LEVELS_MAX = 2, 10
LADDER_SHARE: Final = 0.5  # of the width


def overview(picture: Picture, width: int, height: int) -> RenderableType:
    """A drawing of at most `width` columns and, from 17 on, fewer than `height` lines."""
    summary = picture.summary
    pairs = rows.pair_rows(summary)
    pairs_max = max(1, min(PAIRS_SHOWN_MAX, (height - LINES_BESIDE - 2 * LEVELS_MIN) // 2))
    shown = min(len(pairs), pairs_max) + (len(pairs) > pairs_max)
    levels = min(LEVELS_MAX, max(LEVELS_MIN, (height - LINES_BESIDE - shown) // 2))
    left_width = int(width * LADDER_SHARE)
    ladder = [
        Text(panels.ladder_title(picture), style="bold"),
        *_lines(panels.ladder_panel(picture, levels, left_width)),
    ]
    flow = _flow(picture, 2 * levels + 3, width - left_width - 2)
    parts = [_title(picture), panels.pairs_panel(pairs, picture.rates, pairs_max), _beside(ladder, flow, left_width)]
    if picture.money:  # of several currencies the first, as in the line below it
        parts.append(panels.money_panel(picture.money[:1], picture.pnl, width, 2))
    parts.append(_line(picture))
    if summary["exit"] == "running":  # what has ended is no alarm
        parts += [panels.line(alarm, style="red") for alarm in rows.alarm_lines(summary)[:2]]
    return Group(*parts)


def _flow(picture: Picture, count: int, width: int) -> list[Text]:
    """Beside the ladder: orders and fills; of an engine that does not trade, its latency."""
    if picture.summary["trading"]["mode"] == "off":
        return _lines(panels.latency_panel(rows.latency_rows(picture.summary), 0))
    orders = picture.summary["orders"]
    return [
        Text(f"orders: {len(picture.ahead)} in the book, {orders['filled']:,} filled", style="bold"),
        *_lines(panels.orders_panel(picture, ORDERS_SHOWN)),
        Text(f"fills: {picture.summary['fills']:,}", style="bold"),
        *_lines(panels.fills_panel(picture.fills, max(1, count - ORDERS_SHOWN - 2), width)),
    ]


def _lines(panel: Drawing) -> list[Text]:
    """The lines of a panel; a sentence is one."""
    return [panel] if isinstance(panel, Text) else panel.lines()


def _beside(left: Sequence[Text], right: Sequence[Text], left_width: int) -> Text:
    """Two columns."""
    lines = []
    for one, other in zip_longest(left, right, fillvalue=Text()):
        cell = one.copy()
        cell.truncate(left_width, overflow="ellipsis", pad=True)
        lines.append(cell.append("  ").append_text(other))
    return panels.below(lines)


def _title(picture: Picture) -> Text:
    summary, trading = picture.summary, picture.summary["trading"]
    parts = [f"{summary['seconds']:.0f} s", summary["exit"]]
    if trading["mode"] != "off":
        parts += [f"{trading['mode']} {'open' if trading['is_open'] else 'CLOSED'}", panels.holdings_line(summary)]
    return panels.line(" · ".join([*parts, summary.get("venue", "")]), style="bold")


def _line(picture: Picture) -> Text:
    """Latency and counts in one line."""
    summary = picture.summary
    hops = [
        f"{row.name} {duration_text(row.p50_us)}, p99 {duration_text(row.p99_us)}"
        for row in rows.latency_rows(summary)
        if row.name in ("wire → strategy", "tick → order")
    ]
    gaps = sum(ring["gaps"] for ring in summary["rings"].values())
    counts = f"gaps {gaps:,}, restarts {sum(summary['restarts'].values())}"
    return panels.line("   ".join([*hops, counts]), style="dim")
