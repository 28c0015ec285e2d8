"""`engine keys`: where the API key lies, whether it may do what the engine needs, and no
more.

    typed without echo, or two lines of standard input ─► tested at Kraken ─► keyring, or a file of mode 0600

No command prints a secret, and none takes one as an option: every user of the machine can
read those.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click
import uvloop

from engine.cli.help import command
from engine.cli.options import read_config
from engine.cli.setup.report import EXIT_NOT_WELL, report
from engine.cli.tables import json_option, tell
from engine.clock import SystemClock
from engine.config import Config
from engine.credentials import (
    KEY_VARIABLE,
    Credentials,
    checked,
    find_credentials,
    has_keyring,
    no_core_dumps,
    remove_file,
    remove_from_keyring,
    store_in_file,
    store_in_keyring,
)
from engine.doctor import is_well
from engine.doctor.account import configured_account, examine_account, find_key
from engine.errors import ConfigError
from engine.kraken_rest.preflight import Finding, Level
from engine.secret.private_text import FILE_BYTES_MAX
from engine.telemetry.log import configure_log

DEFAULT_FILE: Final = "kraken-key.toml"
WELL: Final = "the key is as it should be"
NOT_STORED: Final = "not stored (--no-test would store it as it is)"
ENTERED: Final = "the key that was entered"

F = TypeVar("F", bound=Callable[..., Any])


class _Place(NamedTuple):
    """Where a key is kept."""

    file: Path | None
    """None: in the keyring."""
    is_configured: bool
    """Whether the configuration names it, so that `engine run` finds it."""

    @property
    def name(self) -> str:
        """For people."""
        return "the keyring" if self.file is None else str(self.file)


def _place_options(of_command: F) -> F:
    """Add the configuration, and the places that can be named in its stead."""
    for option in (
        click.option("--keyring", "in_keyring", is_flag=True, help="In the desktop's keyring."),
        click.option("--file", type=click.Path(path_type=Path), help="In this file, of mode 0600."),
        click.argument("config_path", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.toml]"),
    ):
        of_command = option(of_command)
    return of_command


@click.group()
def keys() -> None:
    """Store, test and remove the API key of a configuration.

    It lies where the configuration says: in trading.credentials_file, or in the desktop's
    keyring. Where that says nothing, `add` takes the keyring when there is one, else
    kraken-key.toml, and tells what to write into the configuration.
    """


@command(
    "add",
    examples=(
        "engine keys add my-bot",
        "engine keys add --file kraken-key.toml  # then type or paste both texts",
        "cat two-lines.txt | engine keys add my-bot --json",
    ),
    exits={EXIT_NOT_WELL: "the key was not stored: something has to be changed first"},
)
@_place_options
@click.option("--allow-withdraw", is_flag=True, help="Store a key that can withdraw money, too; trading refuses it.")
@click.option("--no-test", is_flag=True, help="Store it without asking Kraken.")
@json_option
def add(
    config_path: Path | None, file: Path | None, in_keyring: bool, allow_withdraw: bool, no_test: bool, as_json: bool
) -> int:
    """Ask for an API key and its private key, test them, and store them.

    On a terminal both are typed or pasted without echo; else they are two lines of standard
    input. A key that Kraken does not know, that lacks a permission or can withdraw is not
    stored.
    """
    config = _read(config_path)
    place = _place_to_store(config, config_path, file, in_keyring)
    if place.file is not None and place.file.exists():
        raise ConfigError(f"{place.file} is there already; remove it with `engine keys remove`, or name another")
    credentials = _enter()
    findings = [] if no_test else _test(config, credentials, may_withdraw=allow_withdraw)
    if not is_well(findings):
        return report(findings, WELL, NOT_STORED, as_json=as_json, stored=False)
    if findings and not as_json:
        report(findings, WELL, NOT_STORED, as_json=False)
    if place.file is None:
        store_in_keyring(credentials)
    else:
        store_in_file(credentials, place.file)
    setting = "keyring = true" if place.file is None else f'credentials_file = "{place.file.resolve()}"'
    if as_json:
        return report(
            findings, WELL, NOT_STORED, as_json=True, stored=True, fingerprint=credentials.fingerprint,
            place=place.name, setting=None if place.is_configured else setting,
        )  # fmt: skip
    click.echo(f"stored the key {credentials.fingerprint} in {place.name}")
    if not place.is_configured:
        click.echo(f"now write into [trading] of the configuration: {setting}")
    return 0


@command(
    "test",
    examples=("engine keys test my-bot", "engine keys test my.toml --json"),
    exits={0: "the key may do what the engine needs, and no more", EXIT_NOT_WELL: "it may not, or a mistake"},
)
@_place_options
@json_option
def test(config_path: Path | None, file: Path | None, in_keyring: bool, as_json: bool) -> int:
    """Test the stored key: each permission by its box on Kraken's page, the private
    WebSocket, and the account's tier.
    """
    config = _read(config_path)
    if file is None and not in_keyring:
        credentials, finding = find_key(config, is_needed=True)
        findings = [finding]
    else:
        credentials, findings = find_credentials(file=file, keyring=in_keyring), []
        if credentials is None:
            raise ConfigError("the keyring has no API key of the engine's; store one with `engine keys add --keyring`")
    if credentials is not None:
        findings += _test(config, credentials, may_withdraw=False)
    return report(findings, WELL, "not as it should be", as_json=as_json)


@command("remove", examples=("engine keys remove my-bot", "engine keys remove --keyring --yes --json"))
@_place_options
@click.option("--yes", is_flag=True, help="Do not ask back.")
@json_option
def remove(config_path: Path | None, file: Path | None, in_keyring: bool, yes: bool, as_json: bool) -> None:
    """Remove the stored key from this computer.

    At Kraken it stays valid: delete it there too when somebody else may have seen it.
    """
    place = _place_to_remove(_read(config_path), file, in_keyring)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("standard input is no terminal to ask back on; say --yes")
        click.confirm(f"Remove the key in {place.name}?", abort=True, err=True)
    credentials = remove_from_keyring() if place.file is None else remove_file(place.file)
    is_in_environment = KEY_VARIABLE in os.environ
    tell(
        {"fingerprint": credentials.fingerprint, "place": place.name, "in_environment": is_in_environment},
        f"removed the key {credentials.fingerprint} from {place.name}; at Kraken it is still valid",
        as_json,
    )
    if is_in_environment:
        click.echo(f"{KEY_VARIABLE} is still in the environment", err=True)


for _part in (add, test, remove):
    keys.add_command(_part)


def _read(config_path: Path | None) -> Config:
    config = read_config(config_path, {})
    configure_log("error", config.log.format, "keys")
    no_core_dumps(allow=config.trading.core_dumps)
    return config


def _named(file: Path | None, in_keyring: bool) -> _Place | None:
    """The place that the command line names."""
    if file is not None and in_keyring:
        raise ConfigError("--file and --keyring name two places; give one")
    if file is not None:
        return _Place(file, is_configured=False)
    return _Place(None, is_configured=False) if in_keyring else None


def _configured(config: Config) -> _Place | None:
    """The place that the configuration names; of two, the one that is read first."""
    trading = config.trading
    if trading.keyring:
        return _Place(None, is_configured=True)
    return _Place(Path(trading.credentials_file), is_configured=True) if trading.credentials_file else None


def _place_to_store(config: Config, config_path: Path | None, file: Path | None, in_keyring: bool) -> _Place:
    named, configured = _named(file, in_keyring), _configured(config)
    if named is not None or configured is not None:
        place = named or configured
        assert place is not None
        is_same = configured is not None and named is not None and named.file == configured.file
        return place._replace(is_configured=True) if is_same else place
    if has_keyring():
        return _Place(None, is_configured=False)
    folder = Path() if config_path is None else config_path if config_path.is_dir() else config_path.parent
    return _Place(folder / DEFAULT_FILE, is_configured=False)


def _place_to_remove(config: Config, file: Path | None, in_keyring: bool) -> _Place:
    place = _named(file, in_keyring) or _configured(config)
    if place is None:
        raise ConfigError("the configuration names no place of a key; give its file with --file, or --keyring")
    return place


def _enter() -> Credentials:
    """The key as it is typed, or as two lines of standard input."""
    if sys.stdin.isatty():
        api_key = click.prompt("API key", hide_input=True, err=True)
        secret = click.prompt("Private key", hide_input=True, err=True)
    else:
        api_key, secret = (sys.stdin.readline(FILE_BYTES_MAX).strip() for _ in range(2))
        if not api_key or not secret:
            raise ConfigError("standard input must have two lines: the API key, and the private key")
    return checked(api_key, secret, ENTERED)


def _test(config: Config, credentials: Credentials, *, may_withdraw: bool) -> list[Finding]:
    async def examine() -> list[Finding]:
        account = configured_account(config, credentials)
        examined = await examine_account(
            account, (), SystemClock(), with_balances=False, each_permission=True, may_withdraw=may_withdraw
        )
        return examined.findings

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        findings = runner.run(examine())
    # Kraken's state and notices are no property of the key.
    return [finding for finding in findings if finding.name != "system" or finding.level is Level.FAILURE]
