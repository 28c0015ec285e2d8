"""`engine watch`: an engine that has one strategy, which only looks."""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

import click

from engine.cli.ending import TOO_LATE, StartInterrupted, StopSignals
from engine.cli.help import Finite, command
from engine.cli.leaving import EXIT_FAILED
from engine.cli.options import read_config
from engine.cli.run import run_to_its_end
from engine.cli.watch.pictures import JsonLines, Ladder, PlainLines
from engine.cli.watch.view_thread import ViewThread
from engine.cli.watch.watcher import NAME, Watcher
from engine.clock import SystemClock
from engine.config import parse_symbols
from engine.processes.run_view import attach
from engine.strategy_host.loading import NamedStrategy
from engine.summary import build_summary
from engine.supervisor.local_venue import LOCAL, PAPER, venue_plan
from engine.supervisor.run import LIVE, Run, venue_settings
from engine.supervisor.supervisor import CLEAN
from engine.supervisor.systemd import Systemd
from engine.telemetry.log import configure_log

LOCAL_OPTIONS: Final = "--rate 100"  # a calm market, which the eye can follow


@command(
    examples=(
        "engine watch BTC/USD",
        "engine watch BTC/USD ETH/USD --venue local",
        "engine watch BTC/USD --seconds 60 --json > book.jsonl",
    ),
    exits={0: "a clean end that was asked for", 1: "any other end"},
)
@click.argument("symbols", nargs=-1, required=True, metavar="SYMBOL...")
@click.option(
    "--venue",
    help="local for the built-in exchange, or the URL of a public WebSocket.  [default: Kraken's]",
)
@click.option(
    "--venue-options", default=LOCAL_OPTIONS, show_default=True, metavar="TEXT", help="Options for the local venue."
)
@click.option("--seconds", type=Finite(min=0, min_open=True), help="Stop after so many seconds.")
@click.option("--depth", type=int, help="Book levels a side.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each trade, and one a second for each book.")
def watch(
    symbols: Sequence[str],
    venue: str | None,
    venue_options: str,
    seconds: float | None,
    depth: int | None,
    as_json: bool,
) -> int:
    """Show the books and trades of some pairs as they come, without a key.

    The books are those that strategies get: each has passed Kraken's checksum. On a
    terminal a ladder with the last trades beside it; elsewhere a line a second and one for
    each trade.
    """
    followed = parse_symbols(",".join(symbols), "SYMBOL")
    url = venue_settings(None if venue in (LIVE, PAPER) else venue)["venue.url"]  # looking at Kraken needs no key
    config = read_config(
        None,
        {
            "name": ("--name", f"{NAME}-{os.getpid()}"),
            "symbols": ("SYMBOL", followed),
            "venue.url": (f"--venue {venue}", url),
            "feed.depth": ("--depth", depth),
            "feed.publish_levels": ("--depth", min(depth, 10) if depth else None),
            "feed.tickers": ("watch", False),
            "feed.candle_intervals_min": ("watch", ()),
            "feed.compare_candles": ("watch", False),
            "log.level": ("watch", "warning"),
        },
    )
    plan = venue_plan(venue, venue_options, config) if venue == LOCAL else None
    engine_run = Run(config, plan, trades=False)
    configure_log(config.log.level, config.log.format, NAME)
    watcher = Watcher(followed)
    failures: list[Exception] = []

    def end_with_view(error: Exception) -> None:
        # A closed pipe or terminal is an ordinary end, like Ctrl-C. Any other error, such
        # as a full disk, is reported at the end.
        if not (isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.EIO)):
            failures.append(error)
        os.kill(os.getpid(), signal.SIGTERM)

    mono_ns = SystemClock().mono_ns
    stops = StopSignals()
    stops.install()
    try:
        engine_run.begin(1)
        engine_run.wait_for_venue()
        supervisor = engine_run.supervisor([NamedStrategy(NAME, watcher, followed, "own")])
        seen = attach(supervisor.map, {fd: os.dup(fd) for fd in supervisor.map.descriptors})
        view = ViewThread(
            _picture(watcher, as_json), lambda facts: build_summary(seen, facts, mono_ns()), end_with_view
        )
        summary, mistake = run_to_its_end(engine_run, supervisor, seconds, view, stops, Systemd())
    except StartInterrupted:
        click.echo(f"engine: {TOO_LATE}", err=True)
        return EXIT_FAILED
    finally:
        engine_run.end()
    if mistake is not None:
        raise mistake
    if failures:
        raise failures[0]
    return 0 if summary["exit"] == CLEAN else EXIT_FAILED


def _picture(watcher: Watcher, as_json: bool) -> JsonLines | Ladder:
    if as_json:
        return JsonLines(watcher)
    return Ladder(watcher) if sys.stdout.isatty() else PlainLines(watcher)
