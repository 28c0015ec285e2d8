"""Options that several commands share, and their conversion to a configuration."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import click
import msgspec
from msgspec.structs import replace

from engine.config import FOLDER_FILE, Config, StrategyConfig, load_config, override, parse_symbols
from engine.errors import ConfigError

WRITE_DEADLINE_S = 5.0  # for a summary, which may go into a pipe

F = TypeVar("F", bound=Callable[..., Any])


def engine_options(command: F) -> F:
    """Add the options that `engine run` and `engine replay` share."""
    for option in reversed(
        (
            click.option("--symbols", help="Pairs, as BTC/USD,ETH/USD."),
            click.option("--strategy", "targets", multiple=True, help="A file, package.module:Class, or a name."),
            click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter of the strategy."),
            click.option("--publish-levels", type=int, help="Levels a side that strategies see."),
            click.option("--summary", "summary_path", type=click.Path(path_type=Path), help="Write the summary here."),
            click.option("--log-level", help="debug, info, warning or error."),
            click.option("--log-format", help="console or json."),
        )
    ):
        command = option(command)
    return command


def read_config(config_path: Path | None, changes: dict[str, tuple[str, object]]) -> Config:
    """The file's settings, or the defaults, with those of the command line in their place.

    `changes` maps a setting to the option that set it and its value; None leaves the
    setting as it is. Raises ConfigError.
    """
    config = load_config(config_path) if config_path is not None else Config()
    options = {path: option for path, (option, _) in changes.items()}
    return override(config, options, **{path: value for path, (_, value) in changes.items()})


def read_symbols(text: str | None) -> tuple[str, ...] | None:
    """Parse the value of --symbols; None stays None. Raises ConfigError."""
    return None if text is None else parse_symbols(text, "--symbols")


def read_strategies(targets: Sequence[str]) -> tuple[StrategyConfig, ...] | None:
    """The strategies of the command line; None when it names none, and the file's apply."""
    return tuple(StrategyConfig(target=target) for target in targets) or None


def with_params(config: Config, params: Sequence[str]) -> Config:
    """The configuration with the values of --param for its one strategy. Raises
    ConfigError.
    """
    if not params:
        return config
    values = dict(_param(text) for text in params)
    if len(values) < len(params):
        names = [text.partition("=")[0] for text in params]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"--param {twice} is given twice; leave one out")
    if len(config.strategies) != 1:
        count = len(config.strategies) or "none"
        mend = (
            "put the parameters of several into a configuration file" if config.strategies else "name one: --strategy"
        )
        raise ConfigError(f"--param belongs to one strategy, and there are {count}; {mend}")
    (only,) = config.strategies
    return override(config, {"strategy": "--param"}, strategy=(replace(only, params=only.params | values),))


def write_summary(path: Path | None, summary: dict[str, Any]) -> None:
    """Write the summary as one JSON object; raises ConfigError when it cannot be written."""
    if path is None:
        return
    text = msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
    outcome: SimpleQueue[OSError | None] = SimpleQueue()

    def write() -> None:
        try:
            path.write_bytes(text)
            outcome.put(None)
        except OSError as error:
            outcome.put(error)

    Thread(target=write, name="summary", daemon=True).start()  # a pipe may have no reader
    try:
        failure = outcome.get(timeout=WRITE_DEADLINE_S)
    except Empty:
        raise ConfigError(f"--summary {path} cannot be written: nobody took it for {WRITE_DEADLINE_S:g} s") from None
    if failure is not None:
        raise ConfigError(f"--summary {path} cannot be written: {(failure.strerror or str(failure)).lower()}")


def check_writable(path: Path | None, config: Config, *read: Path | None) -> None:
    """Raise ConfigError now, before the run, when the summary could not be written after
    it, or would be written over what the run reads: the files in `read`, or that `config`
    names.
    """
    if path is None:
        return
    if path.exists():
        named = (
            config.venue.ca_file,
            config.trading.credentials_file,
            *(it.secret_file for it in config.notices.targets),
        )
        files = [*read, *map(Path, filter(None, named)), *(Path(it.target.split(":")[0]) for it in config.strategies)]
        files += [it / FOLDER_FILE for it in read if it is not None]
        if any(it is not None and it.exists() and it.samefile(path) for it in files):
            raise ConfigError(f"--summary {path} is a file that the run itself reads; name another place")
    if not path.parent.is_dir():
        raise ConfigError(f"--summary {path}: there is no directory {path.parent}")
    if path.is_dir():
        raise ConfigError(f"--summary {path} is a directory; name a file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(f"--summary {path} may not be written; name another place")


def _param(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"--param {text} must be NAME=VALUE")
    try:
        return name, msgspec.json.decode(value)  # numbers, true, lists
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return name, value
