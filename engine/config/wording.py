"""Texts of errors about a setting: where it is set, and its value as the user wrote it."""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from engine.config.reference import fields_of, settings
from engine.config.schema import Config
from engine.errors import ConfigError

VALUE_CHARS_SHOWN_MAX = 60


class Place:
    """The user's name of a setting: its path in a file, or the option that set it."""

    def __init__(self, prefix: str, options: Mapping[str, str] | None = None) -> None:
        self._prefix = prefix
        self._options = options or {}

    def __call__(self, path: str) -> str:
        """The place at the beginning of a sentence."""
        return self._option(path) or f"{self._prefix}{path}"

    def short(self, path: str) -> str:
        """The place within a sentence that has named another one already."""
        return self._option(path) or path

    def _option(self, path: str) -> str | None:
        # symbols[2] was given by the option that gave symbols.
        return self._options.get(path) or self._options.get(path.partition("[")[0])


def unknown_setting(path: str, place: Place, siblings: Sequence[str] = ()) -> str:
    """The sentence for an unknown key: `feed.dept is not a setting; did you mean
    feed.depth?`
    """
    by_leaf = {setting.path.rpartition(".")[2]: setting.path for setting in settings() if "[]" not in setting.path}
    leaf = path.rpartition(".")[2]
    near = get_close_matches(path, siblings, n=1) or [by_leaf[near] for near in get_close_matches(leaf, by_leaf, n=1)]
    mend = f"did you mean {near[0]}?" if near else f"there are {', '.join(siblings or fields_of(Config))}"
    return f"{place(path)} is not a setting; {mend}"


def value_text(value: object) -> str:
    """`value` as the user would have written it, on one line and cut."""
    match value:
        case str():
            shown = json.dumps(value)
        case bool():
            return str(value).lower()
        case int() if value.bit_length() > 200:  # Python refuses to print very long ones
            return f"a number of {value.bit_length()} bits"
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            shown = str(value)
    return shown if len(shown) <= VALUE_CHARS_SHOWN_MAX else f"{shown[: VALUE_CHARS_SHOWN_MAX - 1]}…"


def key_text(key: object) -> str:
    """A key as TOML writes it: bare where it can be."""
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", text) else value_text(text)


def config_error(sentence: str) -> ConfigError:
    """A ConfigError on one line, whatever the file contains."""
    return ConfigError("".join(char if char.isprintable() else ascii(char)[1:-1] for char in sentence))
