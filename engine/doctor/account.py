"""Whether the account can be traded with: key, permissions, clock, token, private
WebSocket, tier. No order is sent.

config ─► find_key ─► REST: system, clock, symbols, key, balances ─► token ─► private WebSocket
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from engine.clock import Clock
from engine.config import Config
from engine.credentials import NO_KEY, Credentials, find_credentials, no_core_dumps, take_environment
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
from engine.net.https import HttpsClient
from engine.net.key_lock import KeyLock
from engine.secret import Secret


class Account(Struct, frozen=True, kw_only=True):
    """Which services to ask, with which key, and where the key's nonces are kept."""

    rest_url: str
    private_url: str
    credentials: Credentials | None
    keys_directory: Path | None = None
    """None: where the engine keeps them."""
    ca_file: Path | None = None


class Examined(NamedTuple):
    """What was found, and what other checks want to know."""

    findings: list[Finding]
    pairs: RestPairs
    probe: Probe | None
    """None where the private WebSocket was not tried."""


def configured_account(config: Config, credentials: Credentials | None) -> Account:
    """The account of a configuration."""
    venue = config.venue
    ca_file = Path(venue.ca_file) if venue.ca_file else None
    return Account(rest_url=venue.rest_url, private_url=venue.private_url, credentials=credentials, ca_file=ca_file)


def find_key(config: Config, *, is_needed: bool) -> tuple[Credentials | None, Finding]:
    """The key where the configuration has it, and what is to be said of it. Of one that
    `is_needed`, a failure when there is none.

    From now on this process leaves no core dump, unless the configuration allows it.
    """
    trading = config.trading
    no_core_dumps(allow=trading.core_dumps)
    file = Path(trading.credentials_file) if trading.credentials_file else None
    try:
        found = find_credentials(file=file, keyring=trading.keyring) or take_environment(os.environ)
    except ConfigError as error:
        return None, Finding("credentials", Level.FAILURE, str(error))
    if found is None:
        if is_needed:
            return None, Finding("credentials", Level.FAILURE, NO_KEY)
        text = (
            "there is no API key, which only trading needs; key and tier were not asked for. `engine keys add` adds one"
        )
        return None, Finding("credentials", Level.ADVICE, text)
    text = found.warning or f"the API key {found.fingerprint} comes from {found.source}"
    return found, Finding("credentials", Level.WARNING if found.warning else Level.OK, text)


async def examine_account(
    account: Account,
    symbols: Sequence[str],
    clock: Clock,
    *,
    with_balances: bool = True,
    each_permission: bool = False,
    may_withdraw: bool = False,
) -> Examined:
    """Ask REST, and with a key the private WebSocket. The options are those of
    `preflight.examine`.
    """
    signer = key = None
    findings: list[Finding] = []
    if account.credentials is not None:
        try:
            key = KeyLock(account.credentials.api_key, account.keys_directory)
            signer = Signer(account.credentials.api_key, account.credentials.secret)
        except ConfigError as error:
            findings.append(Finding("key", Level.FAILURE, str(error)))
    https = HttpsClient(account.rest_url, clock=clock, ca_file=account.ca_file)
    rest = RestCalls(KrakenRest(https, clock, signer=signer, key=key), clock)
    try:
        told = await examine(
            rest,
            symbols,
            clock,
            with_key=key is not None,
            with_balances=with_balances,
            each_permission=each_permission,
            may_withdraw=may_withdraw,
        )
        findings += told.findings
        probe = None
        if key is not None and _may_go_on(told.findings):
            probe = await _probe(rest, account, clock)
            names = {finding.name for finding in probe.findings}
            # REST gives the time in seconds, the WebSocket in microseconds: what both found
            # well is shown once, as the WebSocket saw it.
            findings = [row for row in findings if row.name not in names or row.level is not Level.OK]
            findings += probe.findings
    finally:
        await https.close()
        if key is not None:
            key.release()
    return Examined(findings, told.pairs, probe)


def _may_go_on(findings: Sequence[Finding]) -> bool:
    """Whether to ask for a token: after a refused key that would be one more failed call."""
    return all(finding.level is not Level.FAILURE for finding in findings if finding.name in ("rest", "key"))


async def _probe(rest: RestCalls, account: Account, clock: Clock) -> Probe:
    token = await rest.ask(rest_requests.get_websockets_token(), rest_replies.read_websockets_token)
    if isinstance(token, RestRefusal):
        return Probe([Finding("token", Level.FAILURE, token.sentence)])
    secret = Secret(token.token)
    try:
        return await probe_private(account.private_url, secret.reveal(), clock, ca_file=account.ca_file)
    except EngineError as error:
        return Probe([Finding("private", Level.FAILURE, str(error))])
