"""Events that every session of Kraken's WebSocket reports, whatever its channels are."""

from typing import Literal

from msgspec import Struct

from engine.kraken.connection.messages import Notice

FRAME_BYTES_SHOWN_MAX = 200


class SystemChanged(Struct, frozen=True, gc=False):
    """The venue's status, on connecting and whenever it changes, with its new notices."""

    system: str
    version: str
    notices: tuple[Notice, ...]


Misunderstanding = Literal["malformed", "unknown", "refused"]
"""`refused` is an error that belongs to no subscription."""


class FrameNotUnderstood(Struct, frozen=True, gc=False):
    """A frame was counted and skipped.

    Every such frame is counted, but only some are reported.
    """

    kind: Misunderstanding
    detail: str
    frame: bytes
    """Its first bytes."""


def silence_text(silent_ns: int) -> str:
    """A silence for a reason's text: 3.2 s."""
    return f"{silent_ns / 1e9:.1f} s"
