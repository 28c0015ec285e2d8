"""The last record of every pair: where the ring carries each change, the board holds the
state.

byte      0        8        16       24       32       40       48       56
          ┌────────┬────────┬────────┬────────┬────────┬────────┬────────┬────────┐
        0 │ magic  │ order  │ version│ bytes  │ slot_  │ slot_  │ record_│ unused │  written once, magic last
          │        │ mark   │        │ total  │ bytes  │ count  │ bytes  │        │
          ├────────┼────────┴────────┴────────┴────────┴────────┴────────┴────────┤
      128 │ upto   │ complete_upto: a cache line the writer alone writes          │
          ├────────┼─────────────────────────────────────────────────┬────────────┤
      192 │ stamp  │ record: even copy of slot 0                     │ padding    │
          ├────────┼─────────────────────────────────────────────────┼────────────┤
          │ stamp  │ record: odd copy of slot 0                      │ padding    │  × slot_count
          └────────┴─────────────────────────────────────────────────┴────────────┘

A slot has two copies. Store n of a slot (1, 2, 3…) goes to copy n % 2, in the order of a
ring slot and for the same reason (see layout.py): stamp 0, record, stamp n. A reader takes
the copy with the higher stamp and loads that stamp again after copying. So the writer
always works on the older copy, while the newer one stays readable:

* a reader never waits for a store in flight; it tries again only if the slot was stored
  twice while it copied once;
* a writer killed between any two stores leaves stamp 0 on the older copy, and readers still
  have the newer one. The next store continues from the higher stamp, into that same older
  copy, and so repairs it.

It costs twice the memory (a board of 500 pairs and ten levels: 0.4 MB) and one more word
load per read. With one copy a killed feed would leave the router's price collar without a
price until the feed is back.

`complete_upto` = u says: for every pair, the board holds its last record up to ring
sequence u, or a later one. The writer moves it at the end of a burst, after it has
published the burst and stored every pair the burst touched.

A lapped reader (`catch_up`) loads u first, then goes on at ring sequence u + 1, then reads
the pairs from the board. For any pair, its last change up to u is on the board, whether
that was in the last burst or an hour ago; every change after u comes through the ring.
Nothing is lost. What it may see twice are changes after u that were on the board already
when it read: it then gets them again, in order, and ends in the same state.

A successor of a killed writer inherits a promise it cannot keep: its predecessor may have
published records that never got to the board. `complete` therefore stands still until the
successor has stored every pair that the board held, which is what a feed does when it
starts: all books are stale, and it says so for each pair.
"""

from struct import Struct

from engine.errors import MisuseError
from engine.ring.layout import (
    CURSOR,
    FIRST_GATE,
    SLOT_COUNT_MAX,
    WORD_BYTES,
    Memory,
    as_words,
    check_machine,
    read_header,
    slot_bytes_for,
    write_header,
)
from engine.ring.ring import Subscriber

BOARD_MAGIC = b"EngBoard"
COMPLETE_UPTO = CURSOR  # the writer's line lies where the publisher's does in a ring
FIRST_COPY = FIRST_GATE

# A read fails when its slot was stored twice meanwhile. Stores of one pair are tens of
# microseconds apart and a read takes one, so two failures in a row are rare; the bound is
# for a reader that the scheduler stops again and again.
READ_TRIES_MAX = 8


def board_bytes(record_bytes: int, slot_count: int) -> int:
    """Size of the memory that `format_board` needs for the same arguments."""
    if not 1 <= slot_count <= SLOT_COUNT_MAX:
        raise MisuseError(f"a board has from 1 to {SLOT_COUNT_MAX} slots, not {slot_count}")
    return FIRST_COPY * WORD_BYTES + 2 * slot_count * slot_bytes_for(record_bytes)


def format_board(memory: Memory, *, record_bytes: int, slot_count: int, is_zeroed: bool = False) -> None:
    """Write the header of an empty board into this memory, with one slot per pair index.
    `is_zeroed`: of memory that is fresh, and need not be cleared.
    """
    fields = (slot_bytes_for(record_bytes), slot_count, record_bytes)
    write_header(memory, BOARD_MAGIC, board_bytes(record_bytes, slot_count), fields, is_zeroed=is_zeroed)


class _Board:
    """What writer and reader share: where the two copies of a slot are."""

    __slots__ = ("_copy_words", "_memory", "_words", "record_bytes", "slot_count")

    def __init__(self, memory: Memory) -> None:
        check_machine()
        slot_bytes, self.slot_count, self.record_bytes = read_header(memory, BOARD_MAGIC)[:3]
        self._copy_words = slot_bytes // WORD_BYTES
        self._memory = memoryview(memory).cast("B")
        self._words = as_words(memory)

    @property
    def complete_upto(self) -> int:
        """Ring sequence up to which every pair's last record is on the board."""
        return self._words[COMPLETE_UPTO]

    def _even_copy(self, index: int) -> int:
        """The word index of the even copy's stamp; the odd copy follows."""
        if not 0 <= index < self.slot_count:
            raise MisuseError(f"there is no slot {index} on a board of {self.slot_count}")
        return FIRST_COPY + 2 * index * self._copy_words


class BoardWriter(_Board):
    """The one writer of a board, or the successor of one that was killed."""

    __slots__ = ("_inherited", "_pack", "_store_counts")

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self._pack = Struct(f"{self.record_bytes}s").pack_into
        # How often each slot was stored, by predecessors too: the higher of its two stamps.
        self._store_counts = [self._newer_stamp(index) for index in range(self.slot_count)]
        # Slots with a predecessor's record that are not stored yet; while there are any,
        # the board is not complete.
        self._inherited = {index for index, count in enumerate(self._store_counts) if count}

    def _newer_stamp(self, index: int) -> int:
        even = self._even_copy(index)
        return max(self._words[even], self._words[even + self._copy_words])

    @property
    def inherited_count(self) -> int:
        """How many slots still hold a predecessor's record."""
        return len(self._inherited)

    def store(self, index: int, record: bytes) -> None:
        """Make this the last record of a pair."""
        if len(record) > self.record_bytes:
            raise MisuseError(f"a record of {len(record)} bytes on a board of {self.record_bytes}")
        stamp = self._even_copy(index)
        count = self._store_counts[index] + 1
        if count & 1:
            stamp += self._copy_words
        words = self._words
        words[stamp] = 0
        self._pack(self._memory, (stamp << 3) + 8, record)
        words[stamp] = count
        self._store_counts[index] = count
        if self._inherited:
            self._inherited.discard(index)

    def complete(self, sequence: int) -> None:
        """Declare that every pair that changed up to this ring sequence has been stored.

        Has no effect until every inherited slot has been stored again.
        """
        if not self._inherited:
            self._words[COMPLETE_UPTO] = sequence


class BoardReader(_Board):
    """Reads the last record of any pair, at any time, without following the ring."""

    __slots__ = ("_copy", "torn_count")

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self._copy = Struct(f"{self.record_bytes}s").unpack_from
        # Reads given up because the slot was overwritten at every try. Never goes down.
        self.torn_count = 0

    def read(self, index: int) -> bytes | None:
        """The last record of a pair; None before the first, and after too many torn reads
        (`torn_count`).
        """
        words = self._words
        even = self._even_copy(index)
        odd = even + self._copy_words
        was_stored = False
        for _ in range(READ_TRIES_MAX):
            even_stamp, odd_stamp = words[even], words[odd]
            newer, stamp = (even, even_stamp) if even_stamp > odd_stamp else (odd, odd_stamp)
            if stamp:
                record: bytes = self._copy(self._memory, (newer << 3) + 8)[0]
                if words[newer] == stamp:
                    return record
                was_stored = True
        if was_stored:
            self.torn_count += 1
        return None

    def catch_up(self, subscriber: Subscriber) -> bool:
        """Move a lapped subscriber to where this board is complete; True when every pair
        must be read now.

        Call it as soon as `gap_count` has grown, and do not poll again until it returns
        True. False means that the burst which lapped the subscriber has not ended, so the
        board lacks a part of what it missed. (Polling meanwhile would take it past the
        sequence for which the board is complete, and the board would set it back.)
        """
        upto = self.complete_upto
        if upto + 1 < subscriber.next_sequence:
            return False
        subscriber.jump_to(upto + 1)
        return True
