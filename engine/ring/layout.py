"""Where every word of a ring lies, and why it may be read while it is written.

byte      0        8        16       24       32       40       48       56
          ┌────────┬────────┬────────┬────────┬────────┬────────┬────────┬────────┐
        0 │ magic  │ order  │ version│ bytes  │ slot_  │ slot_  │ record_│ mode   │  written once, magic last
          │        │ mark   │        │ total  │ bytes  │ count  │ bytes  │        │
          ├────────┼────────┼────────┴────────┴────────┴────────┴────────┴────────┤
       64 │ gate_  │ door-  │ unused                                              │  written once
          │ count  │ bells  │                                                     │
          ├────────┼────────┼─────────────────────────────────────────────────────┤
      128 │ cursor │ epoch  │ unused: a cache line the publisher alone writes     │
          ├────────┼────────┴─────────────────────────────────────────────────────┤
      192 │ gate 0 │ … one cache line per gate, written by its subscriber alone   │  gated mode only
          ├────────┼──────────────────────────────────────────────────────────────┤
    bells │ sleep  │ … one cache line per doorbell, written by its subscriber     │  see doorbell.py
          ├────────┼─────────────────────────────────────────────────┬────────────┤
    slots │ stamp  │ record (record_bytes)                           │ padding    │  × slot_count
          └────────┴─────────────────────────────────────────────────┴────────────┘

Sequences start at 1; sequence s lives in slot s % slot_count, and only while the stamp of
that slot is s.

    the publisher stores          a subscriber that wants sequence s
    1  stamp   ← 0                a  load the stamp: s, or there is nothing to copy
    2  record                     b  copy the record
    3  stamp   ← s                c  load the stamp again: still s, or the copy is thrown away
    4  cursor  ← s

No torn record is accepted. x86-64 makes stores visible in program order and keeps loads in
program order. Load a saw s, so every byte of record s was visible to b. Had b seen one byte
of a later record (s + slot_count, or beyond), the 0 stored before that byte would have been
visible too, and c would not have seen s. Inside one `memcpy` the order of bytes is free,
but it is bounded by the stores before and after it, and that is all the argument uses.

No sequence is missed or read twice. A subscriber moves from s to s + 1 and by nothing else,
except by a jump that adds what it jumped over to its gap count. A slot stamped s never
holds other bytes under that stamp: a publisher gives each sequence to one record, its
successors included, as follows.

No kill breaks it. A publisher killed after store…
    before 1    nothing happened;
    1 or 2      leaves stamp 0: nobody reads the slot, and the successor gives sequence s = cursor + 1 to its own
                first record, in the very same slot;
    3           leaves record s whole and stamped, and subscribers may have read it, but cursor = s - 1: the
                successor sees stamp s in the slot of cursor + 1 and adopts it (cursor ← s)
                instead of writing it anew;
    4           leaves nothing undone.
A slot stamped 0 by a kill held sequence s - slot_count before: that record is overwritten
(the ring was full of newer ones) and counts as lapped. The successor's own two stores
(epoch, adopted cursor) can be repeated any number of times, so it may be killed between
them as well.

Words go through `memory.cast("Q")[i]`, one 8-byte store, never through `struct.pack_into`:
that zeroes its target first, and another process sees the zero (measured: 4 to 28 % of
reads). Records may go through it: they are under stamp 0 while it works. Other machines
than x86-64 order stores otherwise: there the portable implementation is refused, and the
compiled one (`engine/native`), which says with fences what x86-64 does by itself, is
needed.
"""

import ctypes
import platform
from collections.abc import Sequence
from mmap import mmap
from typing import NamedTuple

from engine.errors import MisuseError, UserError

Memory = memoryview | bytearray | mmap
"""Any writable buffer: a mapped segment in production, a plain bytearray in tests and
replay.
"""

CACHE_LINE_BYTES = 64
WORD_BYTES = 8
LINE_WORDS = CACHE_LINE_BYTES // WORD_BYTES

LAYOUT_VERSION = 1  # raise it with any change of the drawings in layout.py, board.py and telemetry
BYTE_ORDER_MARK = 0x0102030405060708  # read back as another number where the byte order is another
HEADER_BYTES = 2 * CACHE_LINE_BYTES
HEADER_FIELDS_MAX = HEADER_BYTES // WORD_BYTES - 4  # the first four words are the same for every structure

# Words of the header that every structure shares; its own fields follow.
MAGIC, ORDER_MARK, VERSION, TOTAL_BYTES, FIRST_FIELD = range(5)

# Words of the publisher's cache line.
CURSOR = HEADER_BYTES // WORD_BYTES
EPOCH = CURSOR + 1
FIRST_GATE = CURSOR + LINE_WORDS

RING_MAGIC = b"EngRing\0"
BROADCAST, GATED = 0, 1
GATE_CLOSED = 2**64 - 1  # no sequence reaches it, so a closed gate holds nobody up

SLOT_COUNT_MAX = 1 << 24
GATE_COUNT_MAX = 64
DOORBELL_COUNT_MAX = 64

assert len(RING_MAGIC) == WORD_BYTES
assert FIRST_GATE * WORD_BYTES == 3 * CACHE_LINE_BYTES


class LayoutMismatch(MisuseError):
    """A memory that holds something else than its reader expects: another build wrote it,
    or another structure.
    """

    def __init__(self, what: str, expected: object, found: object) -> None:
        super().__init__(f"{what}: expected {expected}, found {found}")


class UnsupportedMachine(UserError):
    """Shared memory is ordered otherwise on this machine than the rings rely on."""


def check_machine(machine: str = platform.machine()) -> None:
    """Refuse any machine that does not keep stores in program order, for whoever stores or
    loads without fences.
    """
    if machine not in ("x86_64", "AMD64"):
        raise UnsupportedMachine(
            f"the portable rings need an x86-64 machine and this one is {machine or 'unknown'}: "
            "run tools/setup where there is a C compiler, which builds rings for any machine"
        )


def as_words(memory: Memory) -> memoryview:
    """The same memory as 64-bit words; assigning to one is a single store that never tears."""
    return memoryview(memory).cast("B").cast("Q")


def round_up(byte_count: int, step: int) -> int:
    """The next multiple of `step` that `byte_count` fits into."""
    return -(-byte_count // step) * step


def slot_bytes_for(record_bytes: int) -> int:
    """A stamp and a record, rounded to whole cache lines: no two slots share a line, and no
    stamp is split.
    """
    if record_bytes < 1:
        raise MisuseError(f"a record has at least 1 byte, not {record_bytes}")
    return round_up(WORD_BYTES + record_bytes, CACHE_LINE_BYTES)


def write_header(
    memory: Memory, magic: bytes, total_bytes: int, fields: Sequence[int], *, is_zeroed: bool = False
) -> None:
    """Clear the memory, unless it is fresh and so `is_zeroed`, and write its header, the
    magic last: whoever finds the magic finds all of it.
    """
    view = memoryview(memory).cast("B")
    if len(view) != total_bytes:
        raise MisuseError(f"this structure takes {total_bytes} bytes and the memory has {len(view)}")
    # A word off its natural place may lie across two cache lines, and then it does tear.
    if ctypes.addressof(ctypes.c_char.from_buffer(view)) % WORD_BYTES:
        raise MisuseError(f"the memory does not begin on a multiple of {WORD_BYTES} bytes")
    if not is_zeroed:
        zeros = bytes(min(total_bytes, 1 << 20))
        for start in range(0, total_bytes, len(zeros)):
            view[start : start + len(zeros)] = zeros[: total_bytes - start]
    words = as_words(memory)
    words[ORDER_MARK] = BYTE_ORDER_MARK
    words[VERSION] = LAYOUT_VERSION
    words[TOTAL_BYTES] = total_bytes
    for index, value in enumerate(fields):
        words[FIRST_FIELD + index] = value
    words[MAGIC] = int.from_bytes(magic, "little")


def read_header(memory: Memory, magic: bytes) -> tuple[int, ...]:
    """The structure's own fields, once its header is proved to be of this layout;
    LayoutMismatch otherwise.
    """
    view = memoryview(memory).cast("B")
    name = magic.rstrip(b"\0").decode()
    if len(view) < HEADER_BYTES or len(view) % WORD_BYTES:
        raise LayoutMismatch(f"{name} memory", f"whole words and at least {HEADER_BYTES} bytes", f"{len(view)} bytes")
    if (found := bytes(view[:WORD_BYTES])) != magic:
        raise LayoutMismatch(f"{name} magic", magic, found)
    words = as_words(memory)
    if words[ORDER_MARK] != BYTE_ORDER_MARK:
        raise LayoutMismatch(f"{name} byte order mark", hex(BYTE_ORDER_MARK), hex(words[ORDER_MARK]))
    if words[VERSION] != LAYOUT_VERSION:
        raise LayoutMismatch(f"{name} layout version", LAYOUT_VERSION, words[VERSION])
    if words[TOTAL_BYTES] != len(view):
        raise LayoutMismatch(f"{name} size in bytes", words[TOTAL_BYTES], len(view))
    return tuple(words[FIRST_FIELD + index] for index in range(HEADER_FIELDS_MAX))


class RingLayout(NamedTuple):
    """The sizes of one ring, and from them the place of each word."""

    slot_bytes: int
    slot_count: int
    record_bytes: int
    mode: int
    gate_count: int
    doorbell_count: int

    @classmethod
    def plan(cls, record_bytes: int, slot_count: int, gate_count: int, doorbell_count: int) -> "RingLayout":
        """The ring for these records; with a gate it is gated, without one broadcast."""
        if not 2 <= slot_count <= SLOT_COUNT_MAX or slot_count & (slot_count - 1):
            raise MisuseError(f"slot_count is a power of two from 2 to {SLOT_COUNT_MAX}, not {slot_count}")
        if not 0 <= gate_count <= GATE_COUNT_MAX:
            raise MisuseError(f"gate_count is from 0 to {GATE_COUNT_MAX}, not {gate_count}")
        if not 0 <= doorbell_count <= DOORBELL_COUNT_MAX:
            raise MisuseError(f"doorbell_count is from 0 to {DOORBELL_COUNT_MAX}, not {doorbell_count}")
        mode = GATED if gate_count else BROADCAST
        return cls(slot_bytes_for(record_bytes), slot_count, record_bytes, mode, gate_count, doorbell_count)

    @classmethod
    def read(cls, memory: Memory) -> "RingLayout":
        """The ring that this memory holds."""
        fields = read_header(memory, RING_MAGIC)
        return cls(*fields[: len(cls._fields)])

    def write(self, memory: Memory, *, is_zeroed: bool = False) -> None:
        write_header(memory, RING_MAGIC, self.total_bytes, self, is_zeroed=is_zeroed)

    @property
    def total_bytes(self) -> int:
        return self.first_slot_word * WORD_BYTES + self.slot_count * self.slot_bytes

    @property
    def first_slot_word(self) -> int:
        return FIRST_GATE + (self.gate_count + self.doorbell_count) * LINE_WORDS

    def gate_word(self, gate: int) -> int:
        if not 0 <= gate < self.gate_count:
            raise MisuseError(f"there is no gate {gate} in a ring of {self.gate_count}")
        return FIRST_GATE + gate * LINE_WORDS

    def doorbell_word(self, doorbell: int) -> int:
        if not 0 <= doorbell < self.doorbell_count:
            raise MisuseError(f"there is no doorbell {doorbell} in a ring of {self.doorbell_count}")
        return FIRST_GATE + (self.gate_count + doorbell) * LINE_WORDS
