"""Converts a table to Structs, one setting at a time: types, choices and bounds.

Raises ConfigError for the first setting that does not fit.
"""

import math
from typing import Any

from msgspec import Struct
from msgspec import inspect as schema

from engine.config.reference import fields_of, meaning_of
from engine.config.wording import Place, config_error, key_text, unknown_setting, value_text


def check_texts(value: object, path: str, place: Place) -> None:
    """Raise ConfigError for a text with a zero byte, which ends strings of the operating
    system.
    """
    if isinstance(value, str) and "\0" in value:
        raise config_error(f"{place(path)} must not hold a zero byte (\\u0000)")
    if isinstance(value, dict):
        for key, inner in value.items():
            check_texts(inner, f"{path}.{key}" if path else key, place)
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            check_texts(inner, f"{path}[{number}]", place)


def convert_struct(cls: type[Struct], value: object, path: str, place: Place) -> Any:
    """Convert a table to a Struct of this class, field by field."""
    if not isinstance(value, dict):
        raise config_error(f"{place(path)} must be a table, written [{path}], not {value_text(value)}")
    fields = fields_of(cls)
    inner = f"{path}." if path else ""
    for key in value:
        if key not in fields:
            raise config_error(unknown_setting(f"{inner}{key_text(key)}", place, [f"{inner}{name}" for name in fields]))
    converted = {}
    for key, field in fields.items():
        if key in value:
            converted[field.name] = _convert_value(field.type, value[key], f"{inner}{key}", place)
        elif field.required:
            raise config_error(f"{place(f'{inner}{key}')} is missing; give {meaning_of(field)}")
    return cls(**converted)


def _convert_value(kind: schema.Type, value: object, path: str, place: Place) -> Any:
    match kind:
        case schema.Metadata():
            return _convert_value(kind.type, value, path, place)
        case schema.UnionType():  # X or None, which TOML expresses by leaving the key out
            return _convert_value(kind.types[0], value, path, place)
        case schema.StructType():
            return convert_struct(kind.cls, value, path, place)
        case schema.VarTupleType():
            return _convert_list(kind, value, path, place)
        case schema.LiteralType():
            return _convert_choice(kind.values, value, path, place)
        case schema.BoolType():
            return _of_type(bool, "true or false", value, path, place)
        case schema.StrType():
            return _of_type(str, "text", value, path, place)
        case schema.DictType():
            given = _of_type(dict, f"a table, written [{path}]", value, path, place)
            if isinstance(kind.value_type, schema.AnyType):
                return given
            return {key: _convert_value(kind.value_type, each, f"{path}.{key}", place) for key, each in given.items()}
        case schema.IntType():
            return _within(kind.ge, kind.le, _of_type(int, "a whole number", value, path, place), path, place)
        case _:
            assert isinstance(kind, schema.FloatType), f"{path} has a type that the configuration does not know: {kind}"
            number = _of_type(int | float, "a number", value, path, place)
            if isinstance(number, float) and not math.isfinite(number):
                raise config_error(f"{place(path)} must be a number, not {number}")
            return float(_within(kind.ge, kind.le, number, path, place))


def _convert_list(kind: schema.VarTupleType, value: object, path: str, place: Place) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        wanted = f"written [[{path}]], once for each" if isinstance(kind.item_type, schema.StructType) else "a list"
        raise config_error(f"{place(path)} must be {wanted}, not {value_text(value)}")
    return tuple(_convert_value(kind.item_type, item, f"{path}[{i}]", place) for i, item in enumerate(value))


def _convert_choice(choices: tuple[Any, ...], value: object, path: str, place: Place) -> Any:
    kind, name = (int, "a whole number") if isinstance(choices[0], int) else (str, "text")
    chosen = _of_type(kind, name, value, path, place)
    if chosen not in choices:
        raise config_error(f"{place(path)} must be one of {', '.join(map(str, choices))}, not {value_text(chosen)}")
    return chosen


def _of_type(kind: Any, name: str, value: object, path: str, place: Place) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise config_error(f"{place(path)} must be {name}, not {value_text(value)}")
    return value


def _within(least: float | None, most: float | None, number: Any, path: str, place: Place) -> Any:
    assert least is not None, f"{path} is a number without bounds"
    assert most is not None, f"{path} is a number without bounds"
    if not least <= number <= most:
        raise config_error(f"{place(path)} must be from {least:g} to {most:g}, not {value_text(number)}")
    return number
