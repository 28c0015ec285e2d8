"""The last warnings and errors of a process's log, in shared memory, for who watches the
engine.

    log.py ─ a line of level warning or worse, as it is written ─► WarningRing ─► last_warnings

A broadcast ring of WARNINGS_KEPT records, which outlives the process:

byte  0                 8        9
      ┌─────────────────┬────────┬──────────────────────────────┐
      │ when, WallNs    │ level  │ UTF-8 text, zeros behind it  │   little-endian
      └─────────────────┴────────┴──────────────────────────────┘
"""

from collections.abc import Mapping
from struct import Struct as Packing
from typing import Any, Final, Literal

from msgspec import Struct

from engine.ring import OLDEST, Memory, Publisher, Segment, Subscriber, format_ring, ring_bytes
from engine.secret import redact
from engine.units import WallNs

WARNINGS_KEPT: Final = 64
WARNING_RECORD_BYTES: Final = 504  # with its stamp eight cache lines; a line that is longer is cut
LEVELS: Final = ("warning", "error")
_HEAD: Final = Packing("<qB")
_TEXT_BYTES_MAX: Final = WARNING_RECORD_BYTES - _HEAD.size
_LEFT_OUT: Final = frozenset(("event", "level", "timestamp", "actor", "exc_info", "exception", "stack_info"))


class Warned(Struct, frozen=True, order=True):
    """One such line."""

    at: WallNs
    level: Literal["warning", "error"]
    text: str
    """The event and its fields; cut where it is long."""


def warning_segment(process: str) -> Segment:
    """An empty ring for the warnings of a process."""
    segment = Segment.create(f"warnings-{process}", ring_bytes(WARNING_RECORD_BYTES, WARNINGS_KEPT))
    format_ring(segment.memory, record_bytes=WARNING_RECORD_BYTES, slot_count=WARNINGS_KEPT)
    return segment


class WarningRing:
    """The one writer of a process's warnings; not for several threads at once."""

    def __init__(self, memory: Memory) -> None:
        self._publisher = Publisher(memory)

    def publish(self, level: str, fields: Mapping[str, Any], at: WallNs) -> None:
        """Add a line, as a log processor has it."""
        rest = (f"{name}={value}" for name, value in fields.items() if name not in _LEFT_OUT)
        text = redact(" ".join((str(fields.get("event", "")), *rest))).encode(errors="replace")
        is_error = level not in LEVELS or level == "error"
        self._publisher.publish(_HEAD.pack(at, is_error) + text[:_TEXT_BYTES_MAX])


def last_warnings(memory: Memory) -> list[Warned]:
    """What the ring of a process holds, oldest first."""
    return [read_warning(record) for record in Subscriber(memory, OLDEST).poll_many(WARNINGS_KEPT)]


def read_warning(record: bytes) -> Warned:
    """What a record of a warning ring says."""
    at, is_error = _HEAD.unpack_from(record)
    text = record[_HEAD.size :].rstrip(b"\0").decode(errors="ignore")
    # Part of it may be from elsewhere, and it is shown on terminals: no character moves a
    # cursor.
    text = "".join(char if char.isprintable() else " " for char in text)
    return Warned(WallNs(at), "error" if is_error else "warning", text)
