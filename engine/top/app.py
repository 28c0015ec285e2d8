"""The screen of `engine top`.

    every half second, in a thread:  Link.look ─► Shown ─► panels and tables draw what changed
    keys                             ─► a question ─► the order router's socket, as `engine halt` and others

It takes at most a tenth of a core: with many pairs the screen is drawn less often.
"""

import asyncio
import signal
from collections.abc import Callable
from time import process_time
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static

from engine.net.control_socket import NobodyListens, Request, ask
from engine.screen import panels, rows
from engine.screen.panels import Drawing
from engine.screen.watcher import Picture
from engine.top.confirm import Confirm
from engine.top.keyed_table import Cell, KeyedTable
from engine.top.link import Link, Shown
from engine.top.style import CSS, TALL_LINES, WIDE_COLUMNS

REFRESH_S: Final = 0.5
ENGINE_EVERY: Final = 4  # looks between two drawings of latency, processes, rings and the like
WORK_SHARE_MAX: Final = 0.1  # of a core, for reading and drawing
ORDERS_SHOWN_MAX: Final = 200
RATES_SHOWN_MAX: Final = 6
WARNINGS_SHOWN: Final = 8
PAIR_COLUMNS: Final = ("pair", "book", "source", "bid", "ask", "spread", "msg/s", "mismatches")
ORDER_COLUMNS: Final = ("side", "left", "limit", "state", "ahead", "pair", "strategy")
SPACE: Final = 2  # lines of a ladder beside its levels: names of columns, spread

Draw = Callable[[Shown, Picture, int, int], Drawing]


class Panel(Static):
    """One drawing, made anew when the picture or its room changes."""

    def __init__(self, title: str, draw: Draw, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self.border_title = title
        self._draw = draw
        self._shown: Shown | None = None

    def show(self, shown: Shown) -> None:
        """Draw this."""
        self._shown = shown
        if shown.picture is not None and self.size.width:  # not one of the other page
            self.update(panels.text_of(self._draw(shown, shown.picture, self.size.width, self.size.height)))

    def on_resize(self) -> None:
        """Draw the same in its new room."""
        if self._shown is not None:
            self.show(self._shown)


class TopApp(App[None]):
    """Shows one engine until it is quit."""

    CSS = CSS
    TITLE = "engine top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("tab", "app.focus_next", "pairs/orders", show=False),
        Binding("left_square_bracket", "choose(-1)", "pair", key_display="[ ]"),
        Binding("right_square_bracket", "choose(1)", "next pair", show=False),
        Binding("e", "page", "engine"),
        Binding("t", "theme", "light"),
        Binding("h", "halt", "halt"),
        Binding("r", "resume", "resume"),
        Binding("c", "cancel", "cancel"),
        Binding("a", "cancel_all", "cancel all"),
    ]
    CONTROLS: ClassVar[frozenset[str]] = frozenset(("halt", "resume", "cancel", "cancel_all"))

    def __init__(self, link: Link, *, control: bool) -> None:
        super().__init__()
        self.link = link
        self.control = control
        self.symbol = ""
        """The chosen pair; empty: the first."""
        self.shown: Shown | None = None
        """What is on the screen."""
        self.HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE_COLUMNS, "-wide")]
        self.VERTICAL_BREAKPOINTS = [(0, "-short"), (TALL_LINES, "-tall")]
        self._reading = asyncio.Lock()

    def compose(self) -> ComposeResult:
        yield Static(id="head", markup=False)
        yield Static(id="condition", classes="-well", markup=False)
        with Horizontal(id="body"):
            with Vertical(id="market"):
                yield KeyedTable(PAIR_COLUMNS, id="pairs", stays=True)
                with Horizontal(id="trading"):
                    with Vertical(id="prices"):
                        yield Panel("book", _ladder, id="ladder")
                        yield Panel("profit and loss", _money, id="money")
                    with Vertical(id="flow"):
                        yield KeyedTable(ORDER_COLUMNS, id="orders")
                        yield Panel("fills", _fills, id="fills")
            with VerticalScroll(id="engine"):
                yield Panel("alarms", _alarms, id="alarms")
                yield Panel("latency", _latency, id="latency")
                yield Panel("processes", _processes, id="processes")
                yield Panel("rings", _rings, id="rings")
                yield Panel("strategies", _strategies, id="strategies")
                yield Panel("rate budget", _rate, id="rate")
                yield Panel("sources", _sources, id="sources")
                yield Panel("last warnings", _warnings, id="warnings")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to draw."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit)
        self._table("pairs").focus()
        self.run_worker(self._keep_drawing(), exit_on_error=True)

    async def _keep_drawing(self) -> None:
        looks, used_s = 0, process_time()
        while True:
            await self.refresh_now(everything=looks % ENGINE_EVERY == 0)
            looks += 1
            await asyncio.sleep(REFRESH_S)
            took_s = process_time() - used_s
            await asyncio.sleep(max(0.0, took_s / WORK_SHARE_MAX - REFRESH_S))
            used_s = process_time()

    async def refresh_now(self, *, everything: bool = True) -> None:
        """Look at the engine, and draw it: the market, and with `everything` what is about
        the engine, too."""
        async with self._reading:
            self.show(await asyncio.to_thread(self.link.look, self.symbol), everything=everything)

    def show(self, shown: Shown, *, everything: bool = True) -> None:
        """Draw this."""
        self.shown = shown
        if not self._main.query("#head"):  # the screen is being taken down
            return
        condition = self._main.query_one("#condition", Static)
        condition.update(shown.condition)
        condition.set_class(bool(shown.condition), "-wrong").set_class(not shown.condition, "-well")
        self._main.query_one("#head", Static).update(_head(shown, self.control))
        if shown.picture is None:
            return
        self.symbol = shown.picture.symbol
        self._table("pairs").show_rows(_pair_cells(shown.picture))
        orders = self._table("orders")
        orders.show_rows(_order_cells(shown.picture))
        orders.border_title = f"orders: {_order_counts(shown.picture)}"
        self._main.query_one("#ladder", Panel).border_title = panels.ladder_title(shown.picture)
        for panel in self._main.query("Panel" if everything else "#market Panel").results(Panel):
            panel.show(shown)

    @property
    def _main(self) -> Screen[object]:
        """The screen below any question."""
        return self.screen_stack[0]

    def _table(self, name: str) -> KeyedTable:
        return self._main.query_one(f"#{name}", KeyedTable)

    # --- keys

    async def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the ladder of the pair under the cursor."""
        chosen = event.row_key.value if event.row_key is not None else None
        if event.data_table.id == "pairs" and event.data_table.has_focus and chosen and chosen != self.symbol:
            self.symbol = chosen
            await self.refresh_now()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that change trading are there with --control only."""
        return self.control if action in self.CONTROLS else True

    async def action_choose(self, step: int) -> None:
        """Choose the next or the previous pair."""
        if self.shown is None or self.shown.picture is None:
            return
        symbols = list(self.shown.picture.summary["symbols"])
        if not symbols:
            return
        at = (symbols.index(self.symbol) + step) % len(symbols)
        self.symbol = symbols[at]
        self._table("pairs").move_cursor(row=at)
        await self.refresh_now()

    def action_page(self) -> None:
        """On a narrow terminal: market or engine."""
        self._main.toggle_class("-engine-page")  # its panels draw when they get their room

    def action_theme(self) -> None:
        """Light or dark."""
        self.theme = "textual-light" if self.current_theme.dark else "textual-dark"

    def action_halt(self) -> None:
        """Halt trading, when asked back."""
        self._ask_back(
            f"Halt trading of {self.link.name}, and cancel its open orders?",
            {"command": "halt"},
            lambda answer: f"{answer['mode']}: canceling {answer['canceling']} orders",
        )

    def action_resume(self) -> None:
        """Take orders again, when asked back."""
        self._ask_back(
            f"Take orders of {self.link.name} again?",
            {"command": "resume"},
            lambda answer: f"trading: {answer['mode']}",
        )

    def action_cancel(self) -> None:
        """Cancel the order under the cursor, when asked back."""
        key = self._table("orders").chosen
        orders = self.shown.picture.orders if self.shown is not None and self.shown.picture is not None else ()
        order = next((order for order in orders if order.key == key and order.state.is_open), None)
        if order is None:
            self.notify("choose an open order first: tab, then up and down", severity="warning")
            return
        self._ask_back(
            f"Cancel {order.side} {order.remaining:f} {order.symbol} at {panels.limit_text(order)} ({key})?",
            {"command": "cancel", "ids": [key]},
            lambda answer: f"canceling {answer['canceling']} orders",
        )

    def action_cancel_all(self) -> None:
        """Cancel every open order of this engine, when asked back."""
        self._ask_back(
            f"Cancel every open order of {self.link.name}?",
            {"command": "cancel", "ids": [], "all": True},
            lambda answer: f"canceling {answer['canceling']} orders",
        )

    def _ask_back(self, question: str, request: Request, told: Callable[[dict[str, Any]], str]) -> None:
        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._ask_router(request, told), exit_on_error=True)

        self.push_screen(Confirm(question), answered)

    async def _ask_router(self, request: Request, told: Callable[[dict[str, Any]], str]) -> None:
        try:
            answer = await asyncio.to_thread(ask, self.link.router_path, request)
        except NobodyListens:
            self.notify("the order router does not answer: the engine does not trade, or stops", severity="error")
            return
        if "error" in answer:
            self.notify(str(answer["error"]), severity="error")
        else:
            self.notify(told(answer))


# --- what each part shows


def _head(shown: Shown, control: bool) -> Text:
    may = "may change" if control else "read-only"
    if shown.picture is None:
        return Text(f"{shown.name}   {may}")
    summary, trading = shown.picture.summary, shown.picture.summary["trading"]
    gate = "" if trading["mode"] == "off" else " open" if trading["is_open"] else " CLOSED"
    parts = [shown.name, f"{trading['mode']}{gate}", f"{summary['seconds']:.0f} s", panels.holdings_line(summary), may]
    return Text("   ".join([*parts, shown.url]), no_wrap=True, overflow="ellipsis")


def _pair_cells(picture: Picture) -> dict[str, tuple[Cell, ...]]:
    return {
        row.symbol: (
            row.symbol,
            Text(row.state, style=panels.STATE_STYLES.get(row.state, "")),
            row.source,
            Text(row.bid, justify="right"),
            Text(row.ask, justify="right"),
            Text(row.spread, justify="right"),
            Text(f"{picture.rates[row.symbol]:,.0f}" if row.symbol in picture.rates else "-", justify="right"),
            Text(str(row.mismatches), style="red" if row.mismatches else "", justify="right"),
        )
        for row in rows.pair_rows(picture.summary)
    }


def _order_cells(picture: Picture) -> dict[str, tuple[Cell, ...]]:
    return {
        order.key: (
            Text(order.side, style=panels.SIDE_STYLES.get(order.side, "")),
            Text(panels.short(order.remaining, 8), justify="right"),
            Text(panels.limit_text(order), justify="right"),
            Text(order.state.value, style=panels.order_style(order)),
            Text(panels.bound_text(picture.ahead[order.key]) if order.key in picture.ahead else "", style="dim"),
            order.symbol,
            order.strategy or "external",
        )
        for order in picture.orders[:ORDERS_SHOWN_MAX]
    }


def _order_counts(picture: Picture) -> str:
    orders = picture.summary["orders"]
    open_orders = picture.summary["trading"].get("open_orders", 0)
    doubt = f", {orders['unknown_open']} IN DOUBT" if orders["unknown_open"] else ""
    return f"{open_orders} open, {orders['filled']:,} filled{doubt}"


def _ladder(_: Shown, picture: Picture, width: int, height: int) -> Drawing:
    return panels.ladder_panel(picture, max(1, (height - SPACE) // 2), width)


def _fills(_: Shown, picture: Picture, width: int, height: int) -> Drawing:
    return panels.fills_panel(picture.fills, max(1, height), width)


def _money(_: Shown, picture: Picture, width: int, height: int) -> Drawing:
    return panels.money_panel(picture.money, picture.pnl, width, height)


def _alarms(shown: Shown, picture: Picture, _: int, __: int) -> Drawing:
    lines = rows.alarm_lines(picture.summary)
    if shown.unreadable:
        lines.append(f"{shown.unreadable} reports could not be read")
    return panels.lines_panel(lines, "red", "all is well")


def _latency(_: Shown, picture: Picture, width: int, __: int) -> Drawing:
    return panels.latency_panel(rows.latency_rows(picture.summary), max(5, width - 46))


def _processes(shown: Shown, picture: Picture, _: int, __: int) -> Drawing:
    return panels.processes_panel(rows.process_rows(picture.summary), shown.usage)


def _rings(_: Shown, picture: Picture, width: int, __: int) -> Drawing:
    return panels.rings_panel(rows.ring_rows(picture.summary), max(5, min(30, width - 52)))


def _strategies(_: Shown, picture: Picture, __: int, ___: int) -> Drawing:
    return panels.strategies_panel(picture.summary["strategies"])


def _rate(_: Shown, picture: Picture, width: int, __: int) -> Drawing:
    rate = picture.summary["trading"].get("rate")
    tier = rate["tier"] if rate else ""
    return panels.rate_panel(rows.rate_rows(picture.summary), tier, max(5, min(30, width - 44)), RATES_SHOWN_MAX)


def _sources(_: Shown, picture: Picture, __: int, ___: int) -> Drawing:
    return panels.lines_panel(rows.source_lines(picture.summary), "", "")


def _warnings(shown: Shown, _: Picture, __: int, ___: int) -> Drawing:
    return panels.warnings_panel(shown.warnings, WARNINGS_SHOWN)
