"""`engine check`: prove that a configuration can trade, without trading.

config ─► credentials ─► REST: system, clock, symbols, key, balances ─► token ─► private WebSocket ─► limits
"""

import asyncio
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec
import uvloop
from msgspec import Struct

from engine.cli.advice import Machine, advise
from engine.cli.options import read_config
from engine.clock import Clock, SystemClock
from engine.config import Config, check_live_limits
from engine.credentials import Credentials, checked, load_credentials, no_core_dumps
from engine.errors import ConfigError, EngineError
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import RestPairs
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.signing import Signer
from engine.kraken_rest.calls import RestCalls
from engine.kraken_rest.client import KrakenRest
from engine.kraken_rest.preflight import Finding, Level, examine
from engine.kraken_rest.private_probe import Probe, probe_private
from engine.native import DESCRIPTION, IS_NATIVE
from engine.net.https import HttpsClient
from engine.net.key_lock import KeyLock
from engine.secret import Secret
from engine.supervisor.local_venue import LocalVenue
from engine.supervisor.run import LIVE, LOCAL
from engine.telemetry.log import configure_log

EXIT_FAILED = 2
COLORS = {Level.OK: "green", Level.ADVICE: "cyan", Level.WARNING: "yellow", Level.FAILURE: "red"}


class _Place(Struct, frozen=True):
    """Which services to ask, with which key, and where the key's nonces are kept."""

    rest_url: str
    private_url: str
    credentials: Credentials | None
    keys_directory: Path | None
    is_local: bool


@click.command()
@click.argument("config_path", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]")
@click.option(
    "--venue",
    "venues",
    multiple=True,
    metavar="URL",
    help="local for the built-in exchange; live for Kraken as configured; or the URL of a REST service (https) or of "
    "a private WebSocket (wss), once each.  [default: as configured]",
)
@click.option("--venue-options", default="", metavar="TEXT", help='Options for the local venue: "--seed 7".')
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(config_path: Path | None, venues: Sequence[str], venue_options: str, as_json: bool) -> int:
    """Prove keys, permissions, clock and limits, without trading.

    Says too, from what was measured, how many shards, how much memory and which
    publish_levels the configuration needs.

    Exits with 0 when the engine may trade with this configuration, with 2 when it may not.
    """
    config = _read(config_path, venues)
    configure_log("error", config.log.format, "check")
    findings = [Finding("native", Level.OK if IS_NATIVE else Level.ADVICE, DESCRIPTION)]
    findings += advise(config, _machine())
    with ExitStack() as stack:
        place = (
            _local_place(config, venue_options, stack) if venues == (LOCAL,) else _configured_place(config, findings)
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            findings += runner.run(_examine(config, place))
    ok = all(finding.level is not Level.FAILURE for finding in findings)
    if as_json:
        rows = [{"name": row.name, "level": row.level, "text": row.text} for row in findings]
        answer = {"ok": ok, "rest": place.rest_url, "private": place.private_url, "checks": rows}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer), indent=2).decode() + "\n")
    else:
        _print(findings, ok)
    return 0 if ok else EXIT_FAILED


def _machine() -> Machine:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(cores=len(os.sched_getaffinity(0)), memory_bytes=memory_bytes, is_native=IS_NATIVE)


def _read(config_path: Path | None, venues: Sequence[str]) -> Config:
    venues = tuple(url for url in venues if url != LIVE)  # without the option, the configured services are asked
    rest = [url for url in venues if url.startswith(("http://", "https://"))]
    private = [url for url in venues if url.startswith(("ws://", "wss://"))]
    if venues != (LOCAL,) and len(rest) + len(private) < len(venues):
        raise ConfigError("--venue must be local, live, or a URL that begins with https:// or wss://")
    if len(rest) > 1 or len(private) > 1:
        raise ConfigError("--venue names two services of one kind; give one REST and one WebSocket URL at most")
    return read_config(
        config_path,
        {
            "venue.rest_url": ("--venue", rest[0] if rest else None),
            "venue.private_url": ("--venue", private[0] if private else None),
        },
    )


def _local_place(config: Config, options: str, stack: ExitStack) -> _Place:
    """Start the built-in exchange for the time of the check; its key and nonces are thrown
    away.
    """
    venue = LocalVenue(config.symbols, shlex.split(options))
    stack.callback(venue.end)
    ready = venue.ready()
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kraken-engine-check-")))
    credentials = checked(ready.api_key, ready.api_secret, "the local venue")
    return _Place(ready.rest, ready.private, credentials, directory / "keys", is_local=True)


def _configured_place(config: Config, findings: list[Finding]) -> _Place:
    trading = config.trading
    no_core_dumps(allow=trading.core_dumps)
    credentials = None
    try:
        credentials = load_credentials(
            file=Path(trading.credentials_file) if trading.credentials_file else None, keyring=trading.keyring
        )
    except ConfigError as error:
        findings.append(Finding("credentials", Level.FAILURE, str(error)))
    else:
        text = credentials.warning or f"the API key {credentials.fingerprint} comes from {credentials.source}"
        findings.append(Finding("credentials", Level.WARNING if credentials.warning else Level.OK, text))
    return _Place(config.venue.rest_url, config.venue.private_url, credentials, None, is_local=False)


async def _examine(config: Config, place: _Place) -> list[Finding]:
    clock = SystemClock()
    ca_file = Path(config.venue.ca_file) if config.venue.ca_file else None
    signer = key = None
    findings: list[Finding] = []
    if place.credentials is not None:
        try:
            key = KeyLock(place.credentials.api_key, place.keys_directory)
            signer = Signer(place.credentials.api_key, place.credentials.secret)
        except ConfigError as error:
            findings.append(Finding("key", Level.FAILURE, str(error)))
    https = HttpsClient(place.rest_url, clock=clock, ca_file=ca_file)
    rest = RestCalls(KrakenRest(https, clock, signer=signer, key=key), clock)
    try:
        told = await examine(rest, config.symbols, clock, with_key=key is not None)
        findings += told.findings
        probe = None
        if key is not None and _may_go_on(told.findings):
            probe = await _probe(rest, place, clock, ca_file)
            names = {finding.name for finding in probe.findings}
            # REST gives the time in seconds, the WebSocket in microseconds: what both found
            # well is shown once, as the WebSocket saw it.
            findings = [row for row in findings if row.name not in names or row.level is not Level.OK]
            findings += probe.findings
        findings += _limit_findings(config, told.pairs, probe, is_local=place.is_local)
    finally:
        await https.close()
        if key is not None:
            key.release()
    return findings


def _may_go_on(findings: Sequence[Finding]) -> bool:
    """Whether to ask for a token: after a refused key that would be one more failed call."""
    return all(finding.level is not Level.FAILURE for finding in findings if finding.name in ("rest", "key"))


async def _probe(rest: RestCalls, place: _Place, clock: Clock, ca_file: Path | None) -> Probe:
    token = await rest.ask(rest_requests.get_websockets_token(), rest_replies.read_websockets_token)
    if isinstance(token, RestRefusal):
        return Probe([Finding("token", Level.FAILURE, token.sentence)])
    secret = Secret(token.token)
    try:
        return await probe_private(place.private_url, secret.reveal(), clock, ca_file=ca_file)
    except EngineError as error:
        return Probe([Finding("private", Level.FAILURE, str(error))])


def _limit_findings(config: Config, pairs: RestPairs, probe: Probe | None, *, is_local: bool) -> list[Finding]:
    """Check that the limits are set, and that an order of each pair fits into them."""
    findings = []
    try:
        check_live_limits(config)
    except ConfigError as error:
        findings.append(Finding("limits", Level.ADVICE if is_local else Level.FAILURE, str(error)))
    notional_max = config.risk.order_notional_max
    for symbol in config.symbols:
        pair = pairs.find(symbol)
        if pair is not None and notional_max is not None and notional_max < pair.cost_min:
            findings.append(
                Finding(
                    "limits",
                    Level.FAILURE,
                    f"risk.order_notional_max is {notional_max:g}, but Kraken's smallest order of {symbol} costs "
                    f"{pair.cost_min:f} {pair.quote}; raise it",
                )
            )
    quotes = sorted({symbol.partition("/")[2] for symbol in config.symbols})
    limited = {pair.symbol for pair in config.risk.pairs if pair.order_qty_max and pair.position_qty_max}
    if len(quotes) > 1 and (unlimited := [symbol for symbol in config.symbols if symbol not in limited]):
        findings.append(
            Finding(
                "limits",
                Level.WARNING,
                f"the limits of [risk] count {' as much as '.join(f'1 {quote}' for quote in quotes)}; "
                f"give [[risk.pair]] order_qty_max and position_qty_max for {', '.join(unlimited)}",
            )
        )
    if probe is not None and probe.max_rate_count and config.risk.open_orders_max > probe.open_orders_max:
        findings.append(
            Finding(
                "limits",
                Level.WARNING,
                f"risk.open_orders_max is {config.risk.open_orders_max}, but the account's tier allows "
                f"{probe.open_orders_max} open orders a pair; lower it",
            )
        )
    if not is_local and not config.trading.enabled:
        findings.append(
            Finding("trading", Level.ADVICE, "trading.enabled is false, so `engine run` will not trade on Kraken")
        )
    return findings or [Finding("limits", Level.OK, "every limit that live trading needs is set")]


def _print(findings: Sequence[Finding], ok: bool) -> None:
    for finding in findings:
        level = click.style(f"{finding.level.value:<8}", fg=COLORS[finding.level])
        click.echo(f"{level} {finding.name:<12} {finding.text}")
    failures = sum(finding.level is Level.FAILURE for finding in findings)
    click.echo("ready to trade" if ok else f"not ready: {failures} {'failure' if failures == 1 else 'failures'}")
