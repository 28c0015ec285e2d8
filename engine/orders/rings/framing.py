"""How a message lies in a slot of a ring: its length, then MessagePack; a slot has a fixed
size, a Struct has not.

byte  0          4
      ┌──────────┬────────────────────────────┬─────────┐
      │ length   │ MessagePack                │ unused  │   little-endian
      └──────────┴────────────────────────────┴─────────┘

So its ring can be read with `is_sized`, which leaves the unused part where it is.

A record that cannot be read is counted, logged and skipped. It must not end the process
that reads it: the successor would find it again and end too, and nobody could cancel an
order.
"""

from collections.abc import Iterable, Iterator
from struct import Struct as Packing
from struct import error as Unpackable
from typing import Any, Final, Generic, TypeVar

import msgspec

from engine.errors import MisuseError, UnreadableRecord

LENGTH: Final = Packing("<I")
EXCERPT_BYTES_MAX: Final = 160  # of a record that cannot be read, for the log
TOLD_MAX: Final = 100  # lines in the log, of one ring; all are counted


# What the encoder raises for a whole number beyond 64 bits, an unknown type, a text that is
# not Unicode and endless nesting; and the decoder for bytes that are not MessagePack, or
# not of the union.
UNENCODABLE = (OverflowError, TypeError, ValueError, RecursionError, msgspec.MsgspecError)
UNDECODABLE = (*UNENCODABLE, Unpackable)
T = TypeVar("T")


def excerpt(record: bytes) -> str:
    """The length and the first bytes of a record, for the log."""
    body = record[LENGTH.size :].rstrip(b"\0")
    return f"{len(body)} bytes, beginning {body[:EXCERPT_BYTES_MAX]!r}"


class Framing(Generic[T]):
    """Packs and unpacks the members of one tagged union, for slots of `record_bytes`."""

    def __init__(self, union: Any, record_bytes: int) -> None:
        self._decode = msgspec.msgpack.Decoder(union).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._body_bytes_max = record_bytes - LENGTH.size

    def pack(self, message: T) -> bytes:
        """The bytes for a slot; MisuseError when they do not fit, or a value cannot be
        encoded.

        The types of its fields are not checked here; the maker of a message checks them.
        """
        try:
            body = self._encode(message)
        except UNENCODABLE as error:
            raise MisuseError(f"a {type(message).__name__} cannot be written: {error}") from error
        if len(body) > self._body_bytes_max:
            raise MisuseError(f"a {type(message).__name__} of {len(body)} bytes in a slot for {self._body_bytes_max}")
        return LENGTH.pack(len(body)) + body

    def unpack(self, record: bytes) -> T:
        """The message in a slot; UnreadableRecord, with an excerpt, when it is not one of
        the union."""
        try:
            (length,) = LENGTH.unpack_from(record)
            message: T = self._decode(memoryview(record)[4 : 4 + length])
        except UNDECODABLE as error:
            raise UnreadableRecord(f"{error}; it holds {excerpt(record)}") from None
        return message


class RingRecords(Generic[T]):
    """Reads the messages of one ring; records that cannot be read are counted and left
    out."""

    def __init__(self, framing: Framing[T], ring: str) -> None:
        self._unpack = framing.unpack
        self._ring = ring
        # Records left behind. Never goes down.
        self.unreadable = 0

    def read(self, record: bytes) -> T | None:
        """The message in a record; None, counted and logged, when it cannot be read."""
        try:
            return self._unpack(record)
        except UnreadableRecord as error:
            self.unreadable += 1
            if self.unreadable <= TOLD_MAX:
                # Not at the top: whoever imports a strategy's names must not wait for the
                # log.
                import structlog

                structlog.get_logger("ring").error(
                    "unreadable record", ring=self._ring, reason=str(error), unreadable=self.unreadable
                )
            return None

    def read_all(self, records: Iterable[bytes]) -> Iterator[T]:
        """The messages in a batch of records, each decoded when it is asked for."""
        for record in records:
            if (message := self.read(record)) is not None:
                yield message
