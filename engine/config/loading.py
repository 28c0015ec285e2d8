"""Reads a TOML file into a `Config`, and changes single settings of one."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from engine.config.conversion import check_texts, convert_struct
from engine.config.rules import check_rules
from engine.config.schema import Config, NoticesConfig
from engine.config.wording import Place, config_error, unknown_setting

CONFIG_BYTES_MAX = 1_000_000  # a file for every pair of Kraken has about 30,000
FOLDER_FILE = "engine.toml"  # of a folder that stands for a configuration, as `engine new` writes it


def load_config(path: Path) -> Config:
    """Read and check a TOML file, or the engine.toml in a folder; its relative paths count
    from the file's folder.

    Raises ConfigError.
    """
    if path.is_dir():
        if not (path / FOLDER_FILE).is_file():
            raise config_error(f"{path} is a folder without {FOLDER_FILE}; name a configuration file, or such a folder")
        path /= FOLDER_FILE
    if path.suffix == ".py":
        raise config_error(f"{path} is Python, not a configuration; a strategy's file goes with --strategy {path}")
    table = _read(path)
    config = _convert(table, Place(f"{path}: "))
    return _with_absolute_paths(config, path.parent.absolute())


def override(config: Config, options: Mapping[str, str] | None = None, /, **changes: object) -> Config:
    """A copy of `config` with these settings, checked again; None leaves a setting as it
    is.

    override(config, {"feed.depth": "--depth"}, **{"feed.depth": 25, "symbols":
    ("BTC/USD",)})

    A table among them, as {"feed": {"depth": 25}}, changes what it has; the rest of the
    table stays.

    `options` gives the command line's name of a setting, which errors then use. Raises
    ConfigError.
    """
    table: dict[str, Any] = msgspec.to_builtins(config)
    place = Place("", dict(options or {}))
    for path, value in _single_settings(config, changes):
        if value is None:
            continue
        *parents, key = path.split(".")
        inner: object = table
        for parent in parents:
            inner = inner.get(parent) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            raise config_error(unknown_setting(path, place))
        inner[key] = msgspec.to_builtins(value, enc_hook=str)
    return _convert(_without_none(table), place)


def _single_settings(config: Config, changes: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The changes as (path, value) of single settings; a table gives one for each of its
    own.
    """
    for path, value in changes.items():
        present: object = config
        for name in path.split("."):
            present = getattr(present, name, None)
        if isinstance(present, Struct) and isinstance(value, Mapping):
            yield from _single_settings(config, {f"{path}.{name}": each for name, each in value.items()})
        else:
            yield path, value


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
    except FileNotFoundError:
        mend = f"name a configuration file, or a folder with {FOLDER_FILE}; `engine new` makes one"
        raise config_error(f"{path} cannot be read: no such file or directory; {mend}") from None
    except (OSError, ValueError) as error:
        raise config_error(f"{path} cannot be read: {str(getattr(error, 'strerror', None) or error).lower()}") from None
    if len(raw) > CONFIG_BYTES_MAX:
        raise config_error(f"{path} is longer than {CONFIG_BYTES_MAX:,} bytes, which no configuration of ours is")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise config_error(f"{path} is not TOML: line {line}, column {column}: not UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise config_error(f"{path} cannot be read: it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise config_error(f"{path} is not TOML: {_toml_failure(str(error), text)}") from None
    except ValueError:  # Python converts no decimal integer of more than 4300 digits
        raise config_error(f"{path} cannot be read: it holds a number of more than 4300 digits") from None


def _toml_failure(message: str, text: str) -> str:
    """Reword `Invalid value (at line 1, column 6)` as `line 1, column 6: invalid value`."""
    what, _, where = message.rpartition(" (at ")
    if where.startswith("end of document"):
        written = text.rstrip()
        where = f"line {written.count(chr(10)) + 1}, column {len(written) - written.rfind(chr(10))}"
    return f"{where.rstrip(')')}: {what[:1].lower()}{what[1:]}"


def _with_absolute_paths(config: Config, folder: Path) -> Config:
    """Make file paths absolute, relative to the configuration's folder. The current
    directory may change while the engine runs, and commands that ask it for a path have
    another one.
    """
    venue = config.venue
    if venue.ca_file is not None:
        venue = msgspec.structs.replace(venue, ca_file=str(folder / venue.ca_file))
    trading = config.trading
    for key in ("credentials_file", "state_dir"):
        if (path := getattr(trading, key)) is not None:
            trading = msgspec.structs.replace(trading, **{key: str(folder / path)})
    targets = tuple(
        target
        if target.secret_file is None
        else msgspec.structs.replace(target, secret_file=str(folder / target.secret_file))
        for target in config.notices.targets
    )
    strategies = tuple(
        msgspec.structs.replace(strategy, target=str(folder / strategy.target))
        if _is_file(strategy.target)
        else strategy
        for strategy in config.strategies
    )
    return msgspec.structs.replace(
        config, venue=venue, trading=trading, strategies=strategies, notices=NoticesConfig(targets=targets)
    )


def _is_file(target: str) -> bool:
    """Whether a strategy's target names a file: `bots/quoter.py:Quoter` does,
    `bots.quoter:Quoter` does not.
    """
    place = target.rpartition(":")[0] or target
    return place.endswith(".py") or "/" in place


def _convert(table: dict[str, Any], place: Place) -> Config:
    """Convert a table to a Config: check shapes and types first, then the rules that tie
    settings together.
    """
    check_texts(table, "", place)
    config: Config = convert_struct(Config, table, "", place)
    check_rules(config, place)
    return config


def _without_none(table: Any) -> Any:
    """Drop what is None: TOML has no null."""
    match table:
        case dict():
            return {key: _without_none(value) for key, value in table.items() if value is not None}
        case list() | tuple():
            return [_without_none(item) for item in table]
        case _:
            return table
