"""Genuine messages with one value replaced by something that Kraken never sent: raw JSON, so any number can be told."""

import json

from hypothesis import strategies as st

LONG_TEXT_CHARS = 10_000

TOKENS = (
    *(
        str(2**63),
        str(2**70),
        str(-(2**70)),
        "9" * 400,
        "9" * 5000,
        "0." + "0" * 400 + "1",
        "1e999",
        "1e-999",
        "-1e400",
    ),
    *("1.8e19", "0", "-1", "-0.0", "1.5", "null", "true", "[]", "{}", "[[]]", '{"a":{"b":[1]}}', "[" * 200 + "]" * 200),
    *('""', '"NaN"', '"sNaN"', '"Infinity"', '"-Infinity"', '"1e999999"', '"7"', '"x"', '"1e999999999999999999999"'),
    *(f'"{"x" * LONG_TEXT_CHARS}"', f'"{"é" * 90}"', '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59.999999999Z"'),
)


class Text(str):
    """A value as it stands in the message, or is put there."""


def parse(frame):
    """A message whose numbers keep their texts."""
    return json.loads(frame, parse_float=Text, parse_int=Text)


def write(value):
    """The message again, without whitespace."""
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{write(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return json.dumps(value)


def places(value):
    """Every (container, key) of a message, from the outside to the inside."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = []
    for key in keys:
        found += [(value, key), *places(value[key])]
    return found


@st.composite
def wounded(draw, frames):
    """One of these frames, with one to three of its values replaced."""
    message = parse(draw(st.sampled_from(frames)))
    for _ in range(draw(st.integers(1, 3))):
        every = places(message)
        container, key = every[draw(st.integers(0, len(every) - 1))]
        container[key] = Text(draw(st.sampled_from(TOKENS)))
    return write(message).encode()


def with_value(frame, path, token):
    """A frame in which the value at this path is another."""
    message = parse(frame)
    *way, last = path
    node = message
    for step in way:
        node = node[step]
    node[last] = Text(token)
    return write(message).encode()
