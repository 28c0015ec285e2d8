"""How a Struct lies in a slot of a ring: its length, then MessagePack; a slot has a fixed size, a Struct has not.

byte  0          4
      ┌──────────┬────────────────────────────┬─────────┐
      │ length   │ MessagePack                │ unused  │   little-endian
      └──────────┴────────────────────────────┴─────────┘
"""

from struct import Struct as Packing
from typing import Any, Generic, TypeVar

import msgspec

from engine.errors import MisuseError

LENGTH = Packing("<I")
T = TypeVar("T")


class Framing(Generic[T]):
    """Packs and unpacks the members of one tagged union, for slots of `record_bytes`."""

    def __init__(self, union: Any, record_bytes: int) -> None:
        self._decode = msgspec.msgpack.Decoder(union).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._body_bytes_max = record_bytes - LENGTH.size

    def pack(self, message: T) -> bytes:
        """MisuseError when the message is longer than a slot: what it holds must be bounded where it is made."""
        body = self._encode(message)
        if len(body) > self._body_bytes_max:
            raise MisuseError(f"a {type(message).__name__} of {len(body)} bytes in a slot for {self._body_bytes_max}")
        return LENGTH.pack(len(body)) + body

    def fits(self, message: T) -> bool:
        """Would `pack` take it?"""
        return len(self._encode(message)) <= self._body_bytes_max

    def unpack(self, record: bytes) -> T:
        """The message in a slot."""
        (length,) = LENGTH.unpack_from(record)
        message: T = self._decode(memoryview(record)[4 : 4 + length])
        return message
