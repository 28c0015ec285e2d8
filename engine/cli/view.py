"""The live view: a screen that redraws, or a line a second.

    engine: supervisor ─ facts ─► ViewProcess.update ─ socket ─► run_view: looks at the run's memory, draws, writes

Looking and drawing happen in a process of their own, so that they take no time of the
interpreter that the strategies share; the engine sends it the few facts that no memory
says, and never waits for it. Output that is closed, full, stopped or cannot print a
character ends the view, with one line in the log, and never the engine.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from decimal import Decimal
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import structlog
from msgspec import Struct

from engine.cli.output import give_up_output, prepare_streams
from engine.clock import SystemClock
from engine.config import LogConfig
from engine.processes.launch import program_command, read_launch, write_launch
from engine.processes.run_view import RunFacts, RunMap, RunView, attach
from engine.processes.scheduling import give_way
from engine.screen.rows import price_text, rounded, spread_text
from engine.summary import build_summary
from engine.telemetry.log import configure_log

# rich is imported by what draws: `engine run` imports this module for no view, too.
if TYPE_CHECKING:
    from rich.console import Group

    from engine.screen.watcher import Watcher

REDRAW_S = 0.5
LINE_S = 1.0
QUIET_S = 3600.0  # with no view nothing is to be drawn
LINE_CHARS = 160  # of a table that goes to a file or a pipe: wide enough for every quantity
FACTS_BYTES_MAX: Final = 256 * 1024

LAST_PICTURE_S: Final = 1.0  # for the output to take the last picture

log = structlog.get_logger("view")


class View(Protocol):
    """Something that is given the facts of the run every `interval_s` seconds."""

    interval_s: float

    def update(self, facts: RunFacts) -> None: ...


class Picture(AbstractContextManager["Picture"], Protocol):
    """Writes summaries to standard output: it may block, and raise an error of output."""

    def update(self, summary: dict[str, Any]) -> None: ...


class ViewLaunch(Struct, frozen=True):
    """The launch of the view's process."""

    map: RunMap
    facts_fd: int
    """A socket that brings RunFacts, and ends with the engine."""
    log: LogConfig


def open_view(wanted: bool, mapped: RunMap, log_config: LogConfig) -> "AbstractContextManager[View]":
    """A screen on a terminal, lines elsewhere, nothing when not wanted. Never blocks, never
    raises.
    """
    return ViewProcess(mapped, log_config) if wanted else _NoView()


class _NoView(AbstractContextManager[View]):
    interval_s = QUIET_S

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, facts: RunFacts) -> None:
        pass


class ViewProcess(AbstractContextManager[View]):
    """The engine's end of the view: its process draws until the output fails or the view is
    closed.
    """

    def __init__(self, mapped: RunMap, log_config: LogConfig) -> None:
        self._map = mapped
        self._log_config = log_config
        self._facts, self._facts_of_view = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._facts.setblocking(False)
        self._process: subprocess.Popen[bytes] | None = None
        is_terminal = False
        with suppress(Exception):
            is_terminal = sys.stdout.isatty()
        self.interval_s = REDRAW_S if is_terminal else LINE_S

    def __enter__(self) -> "ViewProcess":
        launch_fd = write_launch(ViewLaunch(self._map, self._facts_of_view.fileno(), self._log_config))
        try:
            # A process group of its own: the terminal's Ctrl-C is for the engine, whose end
            # is to be seen.
            self._process = subprocess.Popen(
                program_command(sys.executable, "view", launch_fd),
                pass_fds=(launch_fd, self._facts_of_view.fileno(), *self._map.descriptors),
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
        except OSError as error:
            log.error("the view cannot be started, the engine goes on without it", reason=str(error))
        finally:
            os.close(launch_fd)
            self._facts_of_view.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._facts.close()
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(LAST_PICTURE_S)
        self._process.kill()  # it is blocked in a write, or has ended
        self._process.wait()

    def update(self, facts: RunFacts) -> None:
        """Have the run drawn as it is now, unless the view is still busy with its last
        picture, or has ended.
        """
        with suppress(OSError):
            self._facts.send(msgspec.json.encode(facts), socket.MSG_NOSIGNAL)


def run_view(launch_fd: int) -> int:
    """The view's process: draw whenever facts come, until the engine closes the socket.

    An output that fails ends it with a line in the log.
    """
    prepare_streams()
    give_way()
    launch = read_launch(launch_fd, ViewLaunch)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # a group in the background may write to its terminal
    configure_log(launch.log.level, launch.log.format, "view", levels=launch.log.levels)
    view = attach(launch.map, {fd: fd for fd in launch.map.descriptors})
    newest = _newest_facts(socket.socket(fileno=launch.facts_fd))
    mono_ns = SystemClock().mono_ns
    try:
        with _picture(view) as picture:
            while (facts := newest()) is not None:
                picture.update(build_summary(view, facts, mono_ns()))
    except Exception as error:
        with suppress(Exception):
            give_up_output()
        log.error("the view ended, the engine goes on without it", reason=str(error) or type(error).__name__)
    return 0


def _picture(view: RunView) -> Picture:
    if not sys.stdout.isatty():
        return _LineView()
    from engine.screen.watcher import Watcher

    return _ScreenView(Watcher(view.shards, view.reports))


def _newest_facts(sock: socket.socket) -> Callable[[], RunFacts | None]:
    """Returns what waits for facts, and returns the newest; None when the engine has closed
    the socket, or is gone.
    """
    decode = msgspec.json.Decoder(RunFacts).decode

    def newest() -> RunFacts | None:
        told = sock.recv(FACTS_BYTES_MAX)
        with suppress(BlockingIOError):
            while told and (newer := sock.recv(FACTS_BYTES_MAX, socket.MSG_DONTWAIT)):
                told = newer
        return decode(told) if told else None

    return newest


class Rates:
    """Book messages a second of each pair, between two calls of `update`."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._seen_at = monotonic()

    def update(self, symbols: dict[str, Any]) -> dict[str, float]:
        now = monotonic()
        took_s = max(now - self._seen_at, 1e-6)
        rates = {symbol: (pair["updates"] - self._seen.get(symbol, 0)) / took_s for symbol, pair in symbols.items()}
        self._seen = {symbol: pair["updates"] for symbol, pair in symbols.items()}
        self._seen_at = now
        return rates


class _LineView:
    """A line a second, for logs and pipes, and the whole table at the end."""

    def __init__(self) -> None:
        self._rates = Rates()
        self._last: dict[str, Any] | None = None

    def __enter__(self) -> "_LineView":
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is not None:
            print(status_text(self._last), flush=True)

    def update(self, summary: dict[str, Any]) -> None:
        self._last = summary
        rates = self._rates.update(summary["symbols"])
        latency = summary["latency_us"]["wire_to_strategy"]
        pairs = [
            f"{symbol} {price_text(pair['best_bid'])}/{price_text(pair['best_ask'])} spread {spread_text(pair)} "
            f"{pair['state']} {rates[symbol]:.0f}/s verified {pair['verified']}"
            for symbol, pair in summary["symbols"].items()
        ]
        wire = f"wire to strategy p50 {latency['p50']} µs p99 {latency['p99']} µs"
        trades = [] if summary["trading"]["mode"] == "off" else [_trade_line(summary)]
        print(f"{summary['seconds']:7.1f} s  " + "  |  ".join([*pairs, wire, *trades]), flush=True)


def _trade_line(summary: dict[str, Any]) -> str:
    orders, pnl = summary["orders"], summary["pnl"]
    positions = summary["positions"].items()
    held = ", ".join(f"{held['qty'] or 'unknown'} {symbol}" for symbol, held in positions) or "nothing"
    net = Decimal(pnl["realized"]) + Decimal(pnl["unrealized"]) - Decimal(pnl["fees"])
    return f"{orders['submitted']} orders, {summary['fills']} fills, holds {held}, p&l {rounded(net)} after fees"


class _ScreenView:
    """One drawing of everything, which redraws in place."""

    def __init__(self, watcher: "Watcher") -> None:
        from rich.console import Console
        from rich.live import Live

        self._watcher = watcher
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> "_ScreenView":
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, summary: dict[str, Any]) -> None:
        from engine.screen.overview import overview

        picture = self._watcher.look(summary, "", SystemClock().mono_ns())
        width, height = self._console.size
        self._live.update(overview(picture, width, height), refresh=True)


def status_text(summary: dict[str, Any]) -> str:
    """The summary for people, as text."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else LINE_CHARS)
    with console.capture() as captured:
        console.print(_drawn(summary))
    return captured.get().rstrip()


def _drawn(summary: dict[str, Any]) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from engine.screen.panels import STATE_STYLES

    table = Table(title=f"{summary.get('venue', 'replay')} · {summary['seconds']:.1f} s · {summary['exit']}")
    table.add_column("pair")
    table.add_column("book")
    for name in ("bid qty", "best bid", "best ask", "ask qty", "spread", "updates",
                 "verified", "mismatches", "resyncs"):  # fmt: skip
        table.add_column(name, justify="right")
    for symbol, pair in summary["symbols"].items():
        bid, ask = pair["best_bid"], pair["best_ask"]
        table.add_row(
            symbol,
            Text(pair["state"], style=STATE_STYLES[pair["state"]]),
            bid["qty"] if bid else "-",
            price_text(bid),
            price_text(ask),
            ask["qty"] if ask else "-",
            spread_text(pair),
            f"{pair['updates']:,}",
            f"{pair['verified']:,}",
            f"{pair['mismatches']:,}",
            f"{pair['resyncs']:,}",
        )
    return Group(
        table,
        *(Text(line) for line in _added(summary)),
        Text(_counts(summary)),
        Text(f"native: {summary['native']}"),
        *(Text(line) for line in _connections(summary)),
        *(Text(line) for line in _trading(summary)),
        *(Text(line) for line in _strategies(summary)),
    )


def _added(summary: dict[str, Any]) -> list[str]:
    """A line about the pairs that were subscribed at run time; none without such pairs."""
    added = [
        f"{symbol} ({', '.join(pair['channels']) or 'unsubscribed'})"
        for symbol, pair in summary["symbols"].items()
        if pair["added"]
    ]
    return [f"subscribed at run time: {', '.join(added)}"] if added else []


def sources_text(sources: dict[str, Any]) -> str:
    """Where the market data come from, for people, as text."""
    lines = []
    for name in ("websocket", "rest"):
        of = sources[name]
        is_known = of["available"] is not None
        state = ("available" if of["available"] else "NOT AVAILABLE") if is_known else "not asked yet"
        why = f" ({'; '.join(of['reasons'])})" if of["reasons"] else ""
        quality = f", quality {of['quality']}" if is_known else ""
        lines.append(f"{name}: {state}{quality}{why}, {of['share_percent']} % of the time served")
    rest = sources["rest"]
    lines.append(f"calls {rest['calls']:,}, failures {rest['failures']:,}, cache hits {rest['cache_hits']:,}")
    lines.append(f"switches {sources['switches']:,}, the longest took {sources['failover_ms_max']} ms")
    lines.append(
        f"comparisons {sources['comparisons']:,}, apart by {sources['divergence_percent']} %, at most "
        f"{sources['divergence_percent_max']} %"
    )
    compared, differing = sources["candles_compared"], sources["candles_differing"]
    lines.append(f"candles compared with Kraken's {compared:,}, {differing:,} of them differ")
    for symbol, kinds in sources["pairs"].items():
        lines.append(f"{symbol}: " + ", ".join(f"{kind} {source}" for kind, source in kinds.items()))
    return "\n".join(lines)


def _counts(summary: dict[str, Any]) -> str:
    latency = summary["latency_us"]["wire_to_strategy"]
    rings = summary["rings"].values()
    return (
        f"wire to strategy p50 {latency['p50']} µs  p99 {latency['p99']} µs  p99.9 {latency['p999']} µs  "
        f"({latency['count']:,} callbacks)\n"
        f"trades {summary['trades']:,} (missed {summary['trades_missed']:,}, repeated {summary['trades_repeated']:,}, "
        f"by REST {summary['trades_filled']:,})  "
        f"tickers {summary['tickers']:,}  "
        f"candles {summary['candles']:,} (missed {summary['candles_missed']:,}, "
        f"by REST {summary['candles_filled']:,}, unlike Kraken's {summary['candles_differing']:,})  "
        f"heartbeats {summary['heartbeats']:,}  unknown {summary['unknown']}  "
        f"malformed {summary['malformed']}\n"
        f"published {sum(ring['published'] for ring in rings):,}  gaps {sum(ring['gaps'] for ring in rings):,}  "
        f"restarts {sum(summary['restarts'].values())}"
    )


def _trading(summary: dict[str, Any]) -> list[str]:
    """Lines about orders, fills, positions and profit; none for an engine that does not
    trade.
    """
    trading = summary["trading"]
    if trading["mode"] == "off":
        return []
    orders = summary["orders"]
    counts = "  ".join(
        f"{name} {orders[name]:,}" for name in ("submitted", "filled", "canceled", "rejected", "refused")
    )
    doubt = f"  IN DOUBT {orders['unknown_open']}" if orders["unknown_open"] else ""
    why = f": {trading['reason']}" if trading["reason"] else ""
    lines = [
        f"trading {trading['mode']}, {'open' if trading['is_open'] else 'CLOSED'}{why}",
        f"orders  open {trading.get('open_orders', 0)}  {counts}{doubt}   fills {summary['fills']:,}",
    ]
    for symbol, held in summary["positions"].items():
        price = "an unknown price" if held["avg_price"] is None else rounded(Decimal(held["avg_price"]))
        qty = "an unknown quantity of" if held["qty"] is None else held["qty"]
        lines.append(f"holds   {qty} {symbol.partition('/')[0]} at {price}")
    for currency, pnl in summary["pnl"].get("by_currency", {}).items():
        net = sum((Decimal(pnl[name]) for name in ("realized", "unrealized")), -Decimal(pnl["fees"]))
        lines.append(
            f"p&l     {rounded(net)} {currency} after fees: realized {rounded(Decimal(pnl['realized']))}, "
            f"unrealized {rounded(Decimal(pnl['unrealized']))}, fees {rounded(Decimal(pnl['fees']))}"
        )
    if token := trading.get("token"):
        age = "none yet" if token["age_s"] is None else f"{token['age_s']:.0f} s old"
        breaker = trading["breaker"]
        lines.append(
            f"token {age}, refreshed {token['refreshes']} times, {token['failures']} failures   breaker "
            f"{breaker['websocket']}, of REST {breaker['rest']}"
        )
        counts = "  ".join(f"{symbol} {rounded(Decimal(count))}" for symbol, count in trading["rate"]["counts"].items())
        lines.append(f"rate counter ({trading['rate']['tier']} tier)  {counts or 'empty'}")
    lines += _routes(summary)
    latency = summary["latency_us"]
    if latency.get("ack", {}).get("count"):
        lines.append(
            f"strategy to wire p50 {latency['strategy_to_wire']['p50']} µs   tick to order p50 "
            f"{latency['tick_to_order']['p50']} µs   requests answered after p50 {latency['ack']['p50']} µs"
        )
    return lines


def _routes(summary: dict[str, Any]) -> list[str]:
    """How orders went out, and how long Kraken took; nothing before the first."""
    orders, latency = summary["orders"], summary["latency_us"]
    lines = []
    for route, name in (("websocket", "by WebSocket"), ("rest", "by REST")):
        if not orders[f"by_{route}"]:
            continue
        steps = [
            f"{step} after {latency[f'{step}_by_{route}']['mean'] / 1000:.1f} ms"
            for step in ("acknowledged", "filled")
            if latency.get(f"{step}_by_{route}", {}).get("count")
        ]
        on_average = f": {', '.join(steps)} on average" if steps else ""
        lines.append(f"{name} {orders[f'by_{route}']:,} orders{on_average}")
    if orders["success_percent"] is not None:
        lines.append(f"Kraken took {orders['success_percent']:g} % of them")
    return lines


def _connections(summary: dict[str, Any]) -> list[str]:
    """Every WebSocket, and the fullest ring; nothing of a replay, which has none."""
    feeds = dict(summary["feeds"])
    if counts := summary["trading"].get("counts"):
        feeds["order_router"] = counts
    if not any(feed["connects"] or feed["connect_failures"] for feed in feeds.values()):
        return []
    lines = []
    for name, feed in feeds.items():
        state = "connected" if feed["connected"] else "NOT CONNECTED" if summary["exit"] == "running" else "ended"
        pid = summary["processes"].get(name)
        line = f"{name}{f' (pid {pid})' if pid else ''} {state}, connects {feed['connects']:,}, "
        line += f"failures {feed['connect_failures']:,}"
        if "executions" in feed:
            line += (
                f", subscriptions {feed['subscriptions']}, executions {feed['executions']:,}, "
                f"balances {feed['balances']:,}, duplicates {feed['duplicates']:,}, gaps {feed['gaps']:,}"
            )
        lines.append(line)
    waiting = [
        (lag / ring["slots"], f"{lag:,} of {ring['slots']:,} records of {name} wait for {reader}")
        for name, ring in summary["rings"].items()
        for reader, lag in ring["lag"].items()
    ]
    return [*lines, f"the fullest ring: {max(waiting)[1]}"] if waiting else lines


def _strategies(summary: dict[str, Any]) -> list[str]:
    return [
        f"strategy {name}: {conduct['callbacks']:,} callbacks, {conduct['errors']} errors, {conduct['slow']} slow"
        f"{_hold_ups(conduct)}{', HALTED' if conduct['halted'] else ''}"
        for name, conduct in summary["strategies"].items()
    ]


def _hold_ups(conduct: dict[str, Any]) -> str:
    hangs = conduct["hangs"]
    now = f", HANGS in {hangs['callback']} for {hangs['for_s']} s ({hangs['line'] or 'line unknown'})" if hangs else ""
    return f", {conduct['hung']} hung, busy {conduct['busy_s_per_s']:.3f} s/s{now}"
