"""One notice: what happened, where, and what the engine did about it."""

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from engine.telemetry.notice_events import NoticeEvent
from engine.units import NS_PER_S, WallNs

TEXT_CHARS_MAX: Final = 400  # of one notice; what is longer is cut


class Notice(Struct, frozen=True):
    """One event, in words."""

    event: NoticeEvent
    at: WallNs
    """When it happened, or was noticed."""
    text: str
    """One sentence."""


def notice(event: NoticeEvent, at: WallNs, text: str) -> Notice:
    """A notice on one line, cut to TEXT_CHARS_MAX."""
    line = " ".join(text.split())
    line = "".join(char if char.isprintable() else "?" for char in line)
    return Notice(event, at, line if len(line) <= TEXT_CHARS_MAX else f"{line[: TEXT_CHARS_MAX - 1]}…")


def utc_text(at: WallNs) -> str:
    """2026-11-29T14:03:22Z."""
    return datetime.fromtimestamp(at // NS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock_text(at: WallNs) -> str:
    """14:03:22Z."""
    return utc_text(at).partition("T")[2]
