"""How the journal lies on disk, and how what is left of it after a crash is read.

A segment is a file: a header, then records one after another.

byte  0          8         12         16               24         28         32
      ┌──────────┬─────────┬──────────┬────────────────┬──────────┬──────────┐
      │ magic    │ version │ segment  │ first sequence │ 0        │ CRC32    │   little-endian
      └──────────┴─────────┴──────────┴────────────────┴──────────┴──────────┘
byte  0          4                    12         16         20
      ┌──────────┬────────────────────┬──────────┬──────────┬───────────────────┐
      │ length   │ sequence           │ CRC32 of │ CRC32 of │ MessagePack       │
      │          │                    │ these 12 │ payload  │ (length bytes)    │
      └──────────┴────────────────────┴──────────┴──────────┴───────────────────┘

A record that the file ends in the middle of was never written to its end, so its order never left: it is a torn tail
and is cut. Anything else that does not add up is damage: the head's own checksum tells a flipped length from a torn
record. What follows damage is never replayed, for the state would be a wrong one.
"""

from struct import Struct as Packing
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = b"KENGJRNL"
VERSION: Final = 3
RECORD_BYTES_MAX: Final = 64 * 1024 * 1024  # a snapshot of everything; an order has some 200 bytes

_HEADER = Packing("<8sIIQI")
_CHECKSUM = Packing("<I")
_HEAD = Packing("<IQ")
_CHECKSUMS = Packing("<II")
HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size
HEAD_BYTES: Final = _HEAD.size + _CHECKSUMS.size


class SegmentHeader(NamedTuple):
    """What a segment says of itself."""

    version: int
    segment: int
    first_sequence: int


class Damage(NamedTuple):
    """Where a segment stops making sense, and why."""

    offset: int
    record: int
    """Counted from 1 in this segment; 0 is the header."""
    what: str


class Scan(NamedTuple):
    """What a segment holds, as far as it can be trusted."""

    header: SegmentHeader | None
    """None when the file is too short to have one: the crash came before the first record."""
    payloads: list[tuple[int, memoryview]]
    """(sequence, MessagePack) of each record, in order."""
    end: int
    """Where the last whole record ends."""
    torn_bytes: int
    """Of a record that was never written to its end."""
    damage: Damage | None


def pack_header(segment: int, first_sequence: int) -> bytes:
    """The first bytes of a segment."""
    body = _HEADER.pack(MAGIC, VERSION, segment, first_sequence, 0)
    return body + _CHECKSUM.pack(crc32(body))


def pack_record(sequence: int, payload: bytes) -> bytes:
    """One record, ready to be appended."""
    head = _HEAD.pack(len(payload), sequence)
    return head + _CHECKSUMS.pack(crc32(head), crc32(payload)) + payload


def scan(content: bytes) -> Scan:
    """Read a segment. Never raises for what it finds; a header of another version ends the reading at once."""
    if len(content) < HEADER_BYTES:
        return Scan(None, [], 0, len(content), None)
    body = content[: _HEADER.size]
    magic, version, segment, first_sequence, _ = _HEADER.unpack(body)
    if magic != MAGIC or crc32(body) != _CHECKSUM.unpack_from(content, _HEADER.size)[0]:
        return Scan(None, [], 0, 0, Damage(0, 0, "the header is not one of a journal, or not as it was written"))
    header = SegmentHeader(version, segment, first_sequence)
    if version != VERSION:
        return Scan(header, [], HEADER_BYTES, 0, None)
    return _scan_records(header, memoryview(content))


def _scan_records(header: SegmentHeader, content: memoryview) -> Scan:
    payloads: list[tuple[int, memoryview]] = []
    offset, sequence = HEADER_BYTES, header.first_sequence

    def stop(torn_bytes: int, what: str = "") -> Scan:
        damage = Damage(offset, len(payloads) + 1, what) if what else None
        return Scan(header, payloads, offset, torn_bytes, damage)

    while (left := len(content) - offset) > 0:
        if left < HEAD_BYTES or not any(content[offset:]):
            return stop(left)  # the size of a file may survive the loss of power when its content does not
        length, found = _HEAD.unpack_from(content, offset)
        head_sum, payload_sum = _CHECKSUMS.unpack_from(content, offset + _HEAD.size)
        if crc32(content[offset : offset + _HEAD.size]) != head_sum:
            return stop(0, "its length or its sequence number is not as it was written")
        if found != sequence:
            return stop(0, f"it is record {found} of the journal where {sequence} is due")
        if left < HEAD_BYTES + length:
            return stop(left)
        payload = content[offset + HEAD_BYTES : offset + HEAD_BYTES + length]
        if crc32(payload) != payload_sum:
            return stop(0, "its content is not as it was written")
        payloads.append((sequence, payload))
        offset += HEAD_BYTES + length
        sequence += 1
    return stop(0)
