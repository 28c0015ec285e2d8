"""Events that every session of Kraken's WebSocket can report."""

from msgspec import Struct

from engine.kraken.connection.messages import Notice

FRAME_BYTES_SHOWN_MAX = 200


class SystemChanged(Struct, frozen=True, gc=False):
    """The venue's status, on connecting and at each change, with the notices that are new."""

    system: str
    version: str
    notices: tuple[Notice, ...]


class FrameNotUnderstood(Struct, frozen=True, gc=False):
    """A frame was counted and skipped; `kind` is "malformed", "unknown" or "refused" (an
    error of Kraken).

    Every one is counted; at most one a second and kind is reported.
    """

    kind: str
    detail: str
    frame: bytes
    """Its first bytes."""


def silence_text(silent_ns: int) -> str:
    """A duration for reason texts: `3.2 s`."""
    return f"{silent_ns / 1e9:.1f} s"
