"""`engine run`: runs the engine until Ctrl-C, `engine stop`, or a number of seconds."""

import asyncio
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import click
import msgspec
import structlog
import uvloop
from setproctitle import setproctitle

from engine.cli.ending import EXIT_FAILED, TOO_LATE, StartInterrupted, StopSignals, expect_leftovers
from engine.cli.options import (
    check_writable,
    engine_options,
    make_strategies,
    read_config,
    read_strategies,
    read_symbols,
    write_summary,
)
from engine.config import Config, VenueConfig
from engine.credentials import checked, hand_over, no_core_dumps, take_environment
from engine.errors import ConfigError, UserError
from engine.ledger_check import Told, compare_with_ledger
from engine.state_directory import default_state_dir, next_run
from engine.supervisor.descriptors import ensure_descriptors
from engine.supervisor.run_directory import RunDirectory
from engine.supervisor.supervisor import CLEAN, NamedStrategy, Supervisor
from engine.supervisor.trading import Account
from engine.telemetry.log import configure_log, write_line

LOCAL = "local"
LIVE = "live"
VENUE_READY_S = 20.0  # a loaded machine imports slowly; the venue itself is ready in a fraction of a second
LOCAL_RATE = "1000"  # book messages a second of the local venue: a busy day on three pairs

log = structlog.get_logger("engine")


@click.command()
@click.argument("config_path", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]")
@engine_options
@click.option(
    "--venue",
    help="local: the built-in exchange, where orders are play money. live: Kraken, with real money. Or the URL of a "
    "public WebSocket.  [default: Kraken's, without orders]",
)
@click.option(
    "--venue-options", default="", metavar="TEXT", help='Options for the local venue: "--rate 5000 --seed 7".'
)
@click.option("--name", help="The engine's name, for `engine status` and the like.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so many seconds.")
@click.option("--depth", type=int, help="Book levels a side.")
@click.option("--shards", type=int, help="Public feed processes.")
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
    view: bool,
) -> int:
    """Run strategies on a venue's live market data."""
    config = read_config(
        config_path,
        {
            "name": ("--name", name),
            "symbols": ("--symbols", read_symbols(symbols)),
            "strategy": ("--strategy", read_strategies(targets, params)),
            "venue.url": ("--venue", venue if venue not in (LOCAL, LIVE) else None),
            "trading.enabled": ("--venue live", True if venue == LIVE else None),
            "feed.depth": ("--depth", depth),
            "feed.publish_levels": ("--publish-levels", publish_levels),
            "feed.shards": ("--shards", shards),
            "log.level": ("--log-level", log_level or ("warning" if view else None)),
            "log.format": ("--log-format", log_format),
        },
    )
    if venue != LOCAL:
        _check_one_venue(config)
    check_writable(summary_path)
    ensure_descriptors(shards=config.feed.shards, strategies=len(config.strategies))
    configure_log(config.log.level, config.log.format, "engine")
    directory = RunDirectory(config.name)
    directory.acquire()
    stops = StopSignals()
    stops.install()
    try:
        with LocalVenue(config, shlex.split(venue_options)) if venue == LOCAL else nullcontext() as local:
            # Before any strategy code runs: a key in the environment is then out of its
            # reach.
            credentials_fd = _hand_over_environment() if local is None and config.trading.enabled else None
            expect_leftovers()
            strategies = make_strategies(config, config.symbols, log.info)
            stops.install()
            setproctitle(f"kraken-engine {config.name}: supervisor and strategies")
            ready = local.ready() if local is not None else None
            url = ready.public if ready is not None else config.venue.url
            account = _account(config, directory, ready, credentials_fd)
            summary, mistake, told = _run(config, url, strategies, directory, account, seconds, view, local, stops)
            if ready is not None and account is not None:
                summary["ledger"] = _compared(ready, account, told)
    except StartInterrupted:
        click.echo(f"engine: {TOO_LATE}", err=True)
        return EXIT_FAILED
    finally:
        directory.release()
    try:
        write_summary(summary_path, summary)
    except ConfigError as error:
        if summary["exit"] == CLEAN:
            raise
        click.echo(f"engine: {error}", err=True)  # what ended the run decides the exit code
    if mistake is not None:
        raise mistake
    return 0 if summary["exit"] == "clean" else EXIT_FAILED


def _compared(ready: "VenueReady", account: Account, told: list[Told]) -> dict[str, Any]:
    """The summary's `ledger`; an error in journal or ledger is told there, and raises
    nothing.
    """
    try:
        return compare_with_ledger(ready.rest, account.state_dir, told)
    except Exception as error:
        log.error("the ledger cannot be compared", error=repr(error), exc_info=error)
        return {"orders": 0, "fills": 0, "agree": False, "differences": [f"it cannot be compared: {error!r}"]}


def _check_one_venue(config: Config) -> None:
    """Raise ConfigError for books of one venue and orders to another: that mistake costs
    money.
    """
    venue, kraken = config.venue, VenueConfig()
    orders_at_kraken = kraken.private_url == venue.private_url or kraken.rest_url == venue.rest_url
    if config.trading.enabled and venue.url != kraken.url and orders_at_kraken:
        raise ConfigError(
            f"the public feed is {venue.url}, but trading.enabled would send orders to Kraken; set venue.private_url "
            "and venue.rest_url too, or trading.enabled = false"
        )


def _run(
    config: Config,
    url: str,
    strategies: list[NamedStrategy],
    directory: RunDirectory,
    account: Account | None,
    seconds: float | None,
    view: bool,
    local: "LocalVenue | None",
    stops: StopSignals,
) -> tuple[dict[str, Any], UserError | None, list[Told]]:
    from engine.cli.view import open_view

    async def main() -> tuple[dict[str, Any], UserError | None, list[Told]]:
        supervisor = Supervisor(config, url, strategies, directory, account)
        loop = asyncio.get_running_loop()
        stops.begin(lambda: loop.call_soon_threadsafe(supervisor.request_stop, CLEAN))
        watching = asyncio.ensure_future(_watch_venue(local, supervisor)) if local is not None else None
        try:
            with open_view(view) as live:
                mistake = await supervisor.run(seconds, live.update, live.interval_s)
        finally:
            stops.end()
        if watching is not None:
            watching.cancel()
        return supervisor.summary(), mistake, supervisor.told()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def _hand_over_environment() -> int:
    """Take a key from the environment into a memfd for the router alone; returns its
    descriptor.

    This process can no longer be dumped then, because the key was in it.
    """
    credentials = take_environment()
    if credentials is not None:
        no_core_dumps()
    return hand_over(credentials)


def _account(
    config: Config, directory: RunDirectory, ready: "VenueReady | None", credentials_fd: int | None
) -> Account | None:
    """The account to trade with: the local venue's always, Kraken's when configured, else
    None.
    """
    if ready is not None:
        # The venue's account begins and ends with this run, and so does its journal.
        state_dir = directory.state_path
        return Account(
            private_url=ready.private,
            rest_url=ready.rest,
            credentials_fd=hand_over(checked(ready.api_key, ready.api_secret, "the local venue")),
            is_live=False,
            state_dir=state_dir,
            run=next_run(state_dir),
        )
    if credentials_fd is None:
        return None
    state_dir = Path(config.trading.state_dir) if config.trading.state_dir else default_state_dir(config.name)
    return Account(
        private_url=config.venue.private_url,
        rest_url=config.venue.rest_url,
        credentials_fd=credentials_fd,
        is_live=True,
        state_dir=state_dir,
        run=next_run(state_dir),
    )


class VenueReady(msgspec.Struct):
    """The line that the local venue prints when it takes connections."""

    public: str
    private: str
    rest: str
    api_key: str
    api_secret: str


async def _watch_venue(local: "LocalVenue", supervisor: Supervisor) -> None:
    while local.process.poll() is None:
        await asyncio.sleep(0.2)
    supervisor.request_stop(f"the local venue ended with exit code {local.process.returncode}")


class LocalVenue:
    """The built-in exchange as a child process, from its start to the end of the run."""

    def __init__(self, config: Config, options: Sequence[str]) -> None:
        command = (sys.executable, "-P", "-m", "engine", "venue", "--port", "0", "--die-with-parent")
        symbols = ("--symbols", ",".join(config.symbols))
        rate = ("--rate", LOCAL_RATE)
        # The user's options come last and win. Started before the strategies are loaded,
        # because both take a while.
        self.process = subprocess.Popen(
            (*command, *symbols, *rate, *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            text=True,
        )

    def ready(self) -> VenueReady:
        """Wait until it takes connections; raises ConfigError with the venue's own sentence
        if it could not start.
        """
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            told = self.process.stderr.read().strip().splitlines()
            sentence = told[-1].removeprefix("engine: ") if told else "it ended without a word"
            raise ConfigError(f"the local venue cannot run: {sentence}")
        threading.Thread(target=_relay, args=(self.process.stderr,), name="venue-log", daemon=True).start()
        return msgspec.json.decode(line, type=VenueReady)

    def __enter__(self) -> "LocalVenue":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(VENUE_READY_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def _relay(lines: IO[str]) -> None:
    """Copy the venue's log to ours: a full pipe would stop it."""
    with lines:
        for line in lines:
            write_line(line)
