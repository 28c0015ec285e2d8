"""`engine check`: prove that a configuration can trade, without trading."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import uvloop

from engine.cli.help import command
from engine.cli.options import read_config
from engine.cli.setup.report import EXIT_NOT_WELL, report
from engine.cli.setup.strategies import strategy_findings
from engine.cli.tables import json_option
from engine.clock import SystemClock
from engine.config import Config
from engine.credentials import checked
from engine.doctor.account import Account, configured_account, find_key
from engine.doctor.advice import Machine, advise
from engine.doctor.examination import examine_configuration
from engine.errors import ConfigError
from engine.native import IS_NATIVE
from engine.supervisor.local_venue import LOCAL, PAPER, LocalVenue, VenuePlan, venue_plan
from engine.supervisor.run import LIVE
from engine.telemetry.log import configure_log


@command(
    examples=("engine check my.toml --venue live", "engine check --venue local --json"),
    exits={0: "the engine may trade with this configuration", EXIT_NOT_WELL: "it may not, or a mistake"},
)
@click.argument("config_path", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]")
@click.option(
    "--venue",
    "venues",
    multiple=True,
    metavar="URL",
    help="local for the built-in exchange, paper for it on Kraken's market; live for Kraken as configured; or the URL "
    "of a REST service (https) or of a private WebSocket (wss), once each.  [default: as configured]",
)
@click.option("--venue-options", default="", metavar="TEXT", help='Options for the local or paper venue: "--seed 7".')
@json_option
def check(config_path: Path | None, venues: Sequence[str], venue_options: str, as_json: bool) -> int:
    """Prove strategies, keys, permissions, clock and limits, without trading.

    It tells what stands between this configuration and live trading, and, from what was
    measured, how many shards, how much memory and which publish_levels it needs; `engine
    doctor` tells whether this computer and its network can run the engine at all.
    """
    config = _read(config_path, venues)
    configure_log("error", config.log.format, "check")
    plan = venue_plan(venues[0], venue_options, config) if len(venues) == 1 else None
    findings = strategy_findings(config) + advise(config, _machine())
    with ExitStack() as stack:
        if plan is not None:
            account = _play_account(config, plan, stack)
        else:
            credentials, finding = find_key(config, is_needed=True)
            findings.append(finding)
            account = configured_account(config, credentials)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            findings += runner.run(examine_configuration(config, account, SystemClock(), is_local=plan is not None))
    services = {"rest": account.rest_url, "private": account.private_url}
    return report(findings, "ready to trade", "not ready", as_json=as_json, **services)


def _machine() -> Machine:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(cores=len(os.sched_getaffinity(0)), memory_bytes=memory_bytes, is_native=IS_NATIVE)


def _read(config_path: Path | None, venues: Sequence[str]) -> Config:
    if LIVE in venues and len(venues) > 1:
        raise ConfigError("--venue live stands for the configured services; name it alone")
    venues = tuple(url for url in venues if url != LIVE)  # without the option, the configured services are asked
    rest = [url for url in venues if url.startswith(("http://", "https://"))]
    private = [url for url in venues if url.startswith(("ws://", "wss://"))]
    if venues not in ((LOCAL,), (PAPER,)) and len(rest) + len(private) < len(venues):
        raise ConfigError("--venue must be local, paper, live, or a URL that begins with https:// or wss://")
    if len(rest) > 1 or len(private) > 1:
        raise ConfigError("--venue names two services of one kind; give one REST and one WebSocket URL at most")
    return read_config(
        config_path,
        {
            "venue.rest_url": ("--venue", rest[0] if rest else None),
            "venue.private_url": ("--venue", private[0] if private else None),
        },
    )


def _play_account(config: Config, plan: VenuePlan, stack: ExitStack) -> Account:
    """Start the built-in exchange for the time of the check; its key and nonces are thrown
    away.
    """
    venue = LocalVenue(config.symbols, plan)
    stack.callback(venue.end)
    ready = venue.ready()
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kraken-engine-check-")))
    return Account(
        rest_url=ready.rest,
        private_url=ready.private,
        credentials=checked(ready.api_key, ready.api_secret, f"the {plan.kind} venue"),
        keys_directory=directory / "keys",
    )
