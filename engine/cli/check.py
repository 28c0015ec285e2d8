"""`engine check`: what stands between a configuration and trading, found without trading.

    config ─► credentials ─► REST: system, clock, symbols, key, balances ─► token ─► private WebSocket ─► limits
"""

import asyncio
import shlex
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.actors.kraken_rest import KrakenRest
from engine.actors.preflight import Finding, Level, examine
from engine.actors.private_probe import Probe, probe_private
from engine.actors.rest_desk import RestDesk
from engine.cli.options import read_config
from engine.cli.run import LOCAL, LocalVenue
from engine.clock import SystemClock
from engine.config import Config, check_live_limits
from engine.credentials import Credentials, checked, load_credentials, no_core_dumps
from engine.errors import ConfigError, EngineError
from engine.kraken import rest_answers, rest_requests
from engine.kraken.rest_answers import RestRefusal
from engine.kraken.rest_pairs import RestPairs
from engine.kraken.signing import Signer
from engine.net.https import HttpsClient
from engine.net.key_lock import KeyLock
from engine.telemetry.log import configure_log

EXIT_FAILED = 2
STYLES = {Level.OK: "green", Level.ADVICE: "cyan", Level.WARNING: "yellow", Level.FAILURE: "red"}
LINE_CHARS = 200  # of a table that goes to a file or a pipe


class _Place(Struct, frozen=True):
    """Whom to ask, and where the nonces of the key are kept."""

    rest_url: str
    private_url: str
    credentials: Credentials | None
    keys_directory: Path | None
    is_local: bool


@click.command()
@click.argument("config_path", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]")
@click.option("--venue", help="local for the built-in exchange, or REST_URL,PRIVATE_WEBSOCKET_URL.  [default: Kraken]")
@click.option("--venue-options", default="", metavar="TEXT", help='Of the local venue: "--seed 7".')
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(config_path: Path | None, venue: str | None, venue_options: str, as_json: bool) -> int:
    """Prove keys, permissions, clock and limits, without trading."""
    config = _read(config_path, venue)
    configure_log("error", config.log.format, "check")
    with ExitStack() as stack:
        findings: list[Finding] = []
        if venue == LOCAL:
            place = _local_place(config, venue_options, stack)
        else:
            no_core_dumps(allow=config.trading.core_dumps)
            place = _kraken_place(config, findings)
        findings += asyncio.run(_examine(config, place), loop_factory=uvloop.new_event_loop)
    ok = all(finding.level is not Level.FAILURE for finding in findings)
    if as_json:
        answer: dict[str, Any] = {"ok": ok, "rest": place.rest_url, "private": place.private_url, "checks": findings}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")
    else:
        _print(findings, ok)
    return 0 if ok else EXIT_FAILED
