"""The journal's format on disk, and how to read what a crash left of it.

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

If the file ends in the middle of its last record, that record was never completed, so its
order was never sent: it is a torn tail and is cut off. Any other contradiction is damage;
the head's own checksum distinguishes a changed length from a torn record. Records behind
damage are never replayed, because the state would be wrong.
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
    """The header of a segment."""

    version: int
    segment: int
    first_sequence: int


class Damage(NamedTuple):
    """Where a segment is damaged, and why."""

    offset: int
    record: int
    """Counted from 1 in this segment; 0 is the header."""
    what: str


class Scan(NamedTuple):
    """The content of a segment, up to its end or first damage."""

    header: SegmentHeader | None
    """None if the file is too short to have one: the crash came before the first record."""
    payloads: list[tuple[int, memoryview]]
    """(sequence, MessagePack) of each record, in order."""
    end: int
    """Offset of the end of the last complete record."""
    torn_bytes: int
    """Bytes of an incomplete last record."""
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
    """Read a segment. Never raises for its content; reading ends at a header of another
    version.
    """
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
