"""The settings as a list, read from the Structs: for the reference page, `engine settings`,
and the errors that name a setting.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec import inspect as schema

from engine.config.schema import Config


class Setting(NamedTuple):
    """One setting: its place, type, meaning and default."""

    path: str
    """feed.depth; strategy[].target"""
    kind: str
    """The values that it takes, in words: a whole number from 1 to 16."""
    meaning: str
    default: object
    """msgspec.NODEFAULT when it must be given."""


def settings() -> Iterator[Setting]:
    """Every setting, with its type, meaning and default, in the order of the file."""
    yield from _settings_of(Config, "")


@cache
def fields_of(cls: type[Struct]) -> dict[str, schema.Field]:
    """The fields of a Struct by their keys in TOML."""
    kind = schema.type_info(cls)
    assert isinstance(kind, schema.StructType)
    return {field.encode_name: field for field in kind.fields}


def _settings_of(cls: type[Struct], prefix: str) -> Iterator[Setting]:
    for key, field in fields_of(cls).items():
        match field.type:
            case schema.StructType(cls=inner):
                yield from _settings_of(inner, f"{prefix}{key}.")
            case schema.VarTupleType(item_type=schema.StructType(cls=inner)):
                yield from _settings_of(inner, f"{prefix}{key}[].")
            case _:
                default = field.default
                if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
                    default = field.default_factory()
                yield Setting(f"{prefix}{key}", _kind_words(field.type), meaning_of(field), default)


def meaning_of(field: schema.Field) -> str:
    """The description of a setting; empty for a field without one."""
    kind = field.type
    described = (kind.extra_json_schema or {}) if isinstance(kind, schema.Metadata) else {}
    return str(described.get("description", ""))


def _kind_words(kind: schema.Type) -> str:
    """The values that this type takes, in words."""
    match kind:
        case schema.Metadata() | schema.UnionType():
            return _kind_words(kind.type if isinstance(kind, schema.Metadata) else kind.types[0])
        case schema.VarTupleType():
            return f"a list of {_kind_words(kind.item_type)}"
        case schema.LiteralType():
            return " or ".join(", ".join(map(str, kind.values)).rsplit(", ", 1))
        case schema.BoolType():
            return "true or false"
        case schema.DictType():
            return "a table"
        case schema.IntType():
            return f"a whole number from {kind.ge:,} to {kind.le:,}"
        case schema.FloatType():
            return f"a number from {kind.ge:,g} to {kind.le:,g}"
        case _:
            return "text"
