"""Checks durations that a caller gives in seconds."""

import math
from typing import Final

from engine.errors import CallError

SECONDS_MAX: Final = 1e9  # thirty years


def check_seconds(name: str, given: object) -> None:
    """Raise CallError unless `value` is a number of seconds, or None, which means no limit."""
    if given is None:
        return
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not is_number or not (given <= SECONDS_MAX or given == math.inf):  # type: ignore[operator]
        raise CallError(f"{name} is a number of seconds, not {given!r}")
