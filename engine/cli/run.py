"""`engine run`: runs the engine until Ctrl-C, `engine stop`, or a number of seconds."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import click
import structlog
import uvloop
from setproctitle import setproctitle

from engine.cli.ending import TOO_LATE, StartInterrupted, StopSignals, last_words
from engine.cli.help import Finite, command
from engine.cli.leaving import EXIT_FAILED, expect_leftovers
from engine.cli.options import (
    check_writable,
    engine_options,
    read_config,
    read_strategies,
    read_symbols,
    with_params,
    write_summary,
)
from engine.cli.view import View, open_view
from engine.config import override
from engine.errors import ConfigError, UserError
from engine.processes.runner import change_threads_sooner
from engine.strategy_host.loading import make_strategies
from engine.supervisor.local_venue import venue_plan
from engine.supervisor.run import Run, venue_settings
from engine.supervisor.supervisor import CLEAN, RUNNING, Supervisor
from engine.supervisor.systemd import Systemd
from engine.telemetry.log import configure_log

log = structlog.get_logger("engine")


@command(
    examples=(
        "engine run --venue local --symbols BTC/USD --strategy my_bot.py  # play money",
        "engine run my-bot --venue local  # the folder that `engine new my-bot` made",
        "engine run my.toml --venue live  # real money",
    ),
    exits={0: "a clean end that was asked for", 1: "any other end; `exit` of the summary names the reason"},
)
@click.argument("config_path", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]")
@engine_options
@click.option(
    "--venue",
    help="local: the built-in exchange, where orders are play money. paper: Kraken's market, with simulated fills. "
    "live: Kraken, with real money. Or the URL of a public WebSocket.  [default: Kraken's, without orders]",
)
@click.option(
    "--venue-options", default="", metavar="TEXT", help='Options for the local or paper venue: "--rate 5000 --seed 7".'
)
@click.option("--name", help="The engine's name, for `engine status` and the like.")
@click.option("--seconds", type=Finite(min=0, min_open=True), help="Stop after so many seconds.")
@click.option("--depth", type=int, help="Book levels a side.")
@click.option("--shards", type=int, help="Public feed processes.")
@click.option("--metrics", "metrics_port", type=int, metavar="PORT", help="Serve metrics to Prometheus at this port.")
@click.option("--page", "has_page", is_flag=True, help="Show the engine in the browser, at an address that is printed.")
@click.option("--view", is_flag=True, help="Show books and latency live on standard output.")
def run(
    config_path: Path | None,
    symbols: str | None,
    targets: Sequence[str],
    params: Sequence[str],
    publish_levels: int | None,
    summary_path: Path | None,
    log_level: str | None,
    log_format: str | None,
    venue: str | None,
    venue_options: str,
    name: str | None,
    seconds: float | None,
    depth: int | None,
    shards: int | None,
    metrics_port: int | None,
    has_page: bool,
    view: bool,
) -> int:
    """Run strategies on a venue's live market data."""
    config = read_config(
        config_path,
        {
            "name": ("--name", name),
            "symbols": ("--symbols", read_symbols(symbols)),
            "strategy": ("--strategy", read_strategies(targets)),
            **{key: (f"--venue {venue}", value) for key, value in venue_settings(venue).items()},
            "feed.depth": ("--depth", depth),
            "feed.publish_levels": ("--publish-levels", publish_levels),
            "feed.shards": ("--shards", shards),
            "metrics.port": ("--metrics", metrics_port),
            "log.level": ("--log-level", log_level or ("warning" if view else None)),
            "log.format": ("--log-format", log_format),
        },
    )
    config = with_params(config, params)
    if has_page and config.page.port is None:
        config = override(config, **{"page.port": 0})
    engine_run = Run(config, venue_plan(venue, venue_options, config))
    check_writable(summary_path, config, config_path)
    configure_log(config.log.level, config.log.format, "engine", levels=config.log.levels)
    systemd = Systemd()
    stops = StopSignals()
    stops.install()
    try:
        engine_run.begin(len(config.strategies))
        expect_leftovers(last_words)
        strategies = make_strategies(config, config.symbols, log.info)
        stops.install()
        setproctitle(f"kraken-engine {config.name}: supervisor and strategies")
        engine_run.wait_for_venue()
        supervisor = engine_run.supervisor(strategies)
        summary, mistake = run_to_its_end(
            engine_run, supervisor, seconds, open_view(view, supervisor.map, config.log), stops, systemd
        )
    except StartInterrupted:
        click.echo(f"engine: {TOO_LATE}", err=True)
        return EXIT_FAILED
    finally:
        engine_run.end()
    try:
        write_summary(summary_path, summary)
    except ConfigError as error:
        if summary["exit"] == CLEAN:
            raise
        click.echo(f"engine: {error}", err=True)  # what ended the run decides the exit code
    if mistake is not None:
        raise mistake
    return 0 if summary["exit"] == "clean" else EXIT_FAILED


def run_to_its_end(
    engine_run: Run,
    supervisor: Supervisor,
    seconds: float | None,
    view: AbstractContextManager[View],
    stops: StopSignals,
    systemd: Systemd,
) -> tuple[dict[str, Any], UserError | None]:
    """Run until a signal, `engine stop`, or `seconds` are over; the summary, and a user's
    mistake that ended it. `view` is given the facts of the run again
    and again; `systemd` is told of it.
    """

    async def main() -> UserError | None:
        loop = asyncio.get_running_loop()
        stops.begin(lambda: loop.call_soon_threadsafe(supervisor.request_stop, CLEAN))
        beside = (
            asyncio.ensure_future(engine_run.watch_venue(supervisor)),
            asyncio.ensure_future(systemd.follow(
                supervisor.has_begun, lambda: supervisor.exit_reason != RUNNING, lambda: supervisor.state_text
            )),
        )  # fmt: skip
        try:
            with view as live:
                return await supervisor.run(seconds, live.update, live.interval_s)
        finally:
            stops.end()
            systemd.tell_stopping()
            for task in beside:
                task.cancel()

    change_threads_sooner()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        mistake = runner.run(main())
    summary = supervisor.summary()
    summary |= engine_run.venue_facts(supervisor)
    return summary, mistake
