"""One publisher, many subscribers, fixed-size records; the memory and the order of stores
are in layout.py.

Two modes of one structure:

    broadcast   the publisher never waits; a subscriber that falls a whole ring behind is *lapped*, jumps forward
                and counts exactly what it jumped over (market data)
    gated       the publisher may not pass the slowest gate; full is a return value (everything that changes money)

A record comes back with `record_bytes` bytes, filled up with zeros if it was published
shorter; or, where all records begin with their size, as it was published.
"""

from collections.abc import Iterable
from itertools import chain
from struct import Struct

from engine.errors import MisuseError
from engine.ring.doorbell import Bells, full_fence
from engine.ring.layout import (
    CURSOR,
    EPOCH,
    GATE_CLOSED,
    GATED,
    WORD_BYTES,
    Memory,
    RingLayout,
    as_words,
    check_machine,
)

OLDEST = 0
"""As `first_sequence`: begin with the oldest record still in the ring."""

# A lapped subscriber goes on a quarter of the ring behind the cursor. Further back it would
# soon be lapped again, having read what is about to be overwritten; further ahead it would
# skip records that it has time to read. A quarter leaves the publisher three quarters of
# the ring to run before it is lapped again, so a subscriber that is slower only in bursts
# recovers in one jump, and it keeps the newest records, which are the ones worth having.
LAP_BACKLOG_DIVISOR = 4

# Of a record that begins with its size; its highest bit says something else.
SIZE_BYTES = 4
SIZE_BITS = 0x7FFF_FFFF


def ring_bytes(record_bytes: int, slot_count: int, *, gate_count: int = 0, doorbell_count: int = 8) -> int:
    """Size of the memory that `format_ring` needs for the same arguments."""
    return RingLayout.plan(record_bytes, slot_count, gate_count, doorbell_count).total_bytes


def format_ring(
    memory: Memory,
    *,
    record_bytes: int,
    slot_count: int,
    gate_count: int = 0,
    doorbell_count: int = 8,
    is_zeroed: bool = False,
) -> None:
    """Make an empty ring of this memory: gated if it has gates, otherwise broadcast.
    `is_zeroed`: of memory that is fresh, and need not be cleared.

    Every gate starts open at 0: what is published before its subscriber first attaches is
    kept for it.
    """
    RingLayout.plan(record_bytes, slot_count, gate_count, doorbell_count).write(memory, is_zeroed=is_zeroed)


def publish_misuse(layout: RingLayout, byte_count: int) -> MisuseError:
    """Why a record of so many bytes was refused by `publish` or `try_publish`."""
    if byte_count > layout.record_bytes:
        return MisuseError(f"a record of {byte_count} bytes in a ring of {layout.record_bytes}")
    if layout.mode == GATED:
        return MisuseError("a gated ring is published to with try_publish, which can be full")
    return MisuseError("a broadcast ring is never full: publish to it with publish")


class Publisher:
    """The one writer of a ring, successor of any publisher that wrote it before.

    `doorbells` are the (index, eventfd) of those who may sleep behind this ring.
    """

    __slots__ = (
        "_bells",
        "_broadcast_bytes_max",
        "_flushed",
        "_free_upto",
        "_gate_words",
        "_gated_bytes_max",
        "_layout",
        "_mask",
        "_memory",
        "_pack",
        "_slot_words",
        "_slots",
        "_words",
        "cursor",
        "full_count",
    )

    def __init__(self, memory: Memory, doorbells: Iterable[tuple[int, int]] = ()) -> None:
        check_machine()
        layout = self._layout = RingLayout.read(memory)
        self._memory = memoryview(memory).cast("B")
        self._words = as_words(memory)
        self._slots = layout.first_slot_word
        self._slot_words = layout.slot_bytes // WORD_BYTES
        self._mask = layout.slot_count - 1
        # Fills a shorter record up with zeros, in one call and without a slice object.
        self._pack = Struct(f"{layout.record_bytes}s").pack_into
        # Longest record of each mode; -1 for the mode this ring has not, so that one
        # comparison refuses both misuses.
        is_gated = layout.mode == GATED
        self._broadcast_bytes_max = -1 if is_gated else layout.record_bytes
        self._gated_bytes_max = layout.record_bytes if is_gated else -1
        self._gate_words = [layout.gate_word(gate) for gate in range(layout.gate_count)]
        # Highest sequence that certainly fits, from when the gates were last read. Gates
        # only move up.
        self._free_upto = 0
        # How often try_publish found the ring full. Never goes down.
        self.full_count = 0
        # Sequence of the last record published.
        self.cursor = self._take_over()
        # Cursor at the last flush: a burst without records rings nobody.
        self._flushed = self.cursor
        self._bells = Bells(memory, doorbells)
        self._bells.ring_all()

    def _take_over(self) -> int:
        """Begin a publisher's life where the one before was killed; see "No kill breaks it"
        in layout.py.
        """
        words = self._words
        words[EPOCH] = words[EPOCH] + 1
        sequence = words[CURSOR] + 1
        if words[self._slots + (sequence & self._mask) * self._slot_words] != sequence:
            return sequence - 1
        words[CURSOR] = sequence
        return sequence

    @property
    def epoch(self) -> int:
        """Which publisher's life this is, the first being 1."""
        return self._words[EPOCH]

    @property
    def record_bytes(self) -> int:
        return self._layout.record_bytes

    def publish(self, record: bytes) -> None:
        """Broadcast one record. Sleepers hear of it at the next `flush`."""
        if len(record) > self._broadcast_bytes_max:
            raise publish_misuse(self._layout, len(record))
        # Hot, as are the polls below: every word and name here was measured in
        # bench/test_ring.py.
        sequence = self.cursor + 1
        words = self._words
        stamp = self._slots + (sequence & self._mask) * self._slot_words
        words[stamp] = 0
        self._pack(self._memory, (stamp << 3) + 8, record)
        words[stamp] = sequence
        words[CURSOR] = sequence
        self.cursor = sequence  # last: a record that cannot be packed takes no sequence

    def try_publish(self, record: bytes) -> bool:
        """Publish one record unless the slowest gate stands in the way: then False, and
        nothing has changed.
        """
        if len(record) > self._gated_bytes_max:
            raise publish_misuse(self._layout, len(record))
        sequence = self.cursor + 1
        if sequence > self._free_upto and not self._has_room(sequence):
            self.full_count += 1
            return False
        words = self._words
        stamp = self._slots + (sequence & self._mask) * self._slot_words
        words[stamp] = 0
        self._pack(self._memory, (stamp << 3) + 8, record)
        words[stamp] = sequence
        words[CURSOR] = sequence
        self.cursor = sequence
        return True

    def flush(self) -> None:
        """End of a burst: ring those who sleep. Costs a fence and a load per doorbell when
        nobody does.
        """
        if self._flushed != self.cursor:
            self._flushed = self.cursor
            self._bells.ring_sleepers()

    def _has_room(self, sequence: int) -> bool:
        """Read the gates again; True if every subscriber has consumed the record that
        `sequence` would overwrite.

        A gate that is reopened begins at the cursor (see GatedSubscriber). The fence makes
        sure that we either see it open or that it sees our cursor, and counting room from
        the cursor at most keeps us off its records.
        """
        full_fence()
        words = self._words
        slowest = min(words[gate] for gate in self._gate_words)
        self._free_upto = min(slowest, self.cursor) + self._layout.slot_count
        return sequence <= self._free_upto


def ring_slots(memory: Memory) -> int:
    """How many records a ring holds."""
    return RingLayout.read(memory).slot_count


def gate_lag(memory: Memory, gate: int = 0) -> int:
    """Records of a gated ring that the subscriber of this gate has not consumed; 0 of a
    gate that is closed.

    For a third party that watches: both words move while it reads them.
    """
    words, layout = as_words(memory), RingLayout.read(memory)
    consumed = words[layout.gate_word(gate)]
    return 0 if consumed == GATE_CLOSED else max(0, words[CURSOR] - consumed)


class _Reader:
    """What reading takes in either mode: the place of the slots and the next sequence."""

    __slots__ = ("_copy", "_copy_slots", "_layout", "_mask", "_memory", "_slot_words", "_slots", "_words")

    next_sequence: int

    def __init__(self, memory: Memory) -> None:
        check_machine()
        layout = self._layout = RingLayout.read(memory)
        self._memory = memoryview(memory).cast("B")
        self._words = as_words(memory)
        self._slots = layout.first_slot_word
        self._slot_words = layout.slot_bytes // WORD_BYTES
        self._mask = layout.slot_count - 1
        # Copies the record out of one slot.
        self._copy = Struct(f"{layout.record_bytes}s").unpack_from
        # Copies the records out of slots that lie side by side, stamps and padding left
        # out.
        padding = layout.slot_bytes - WORD_BYTES - layout.record_bytes
        self._copy_slots = Struct(f"{WORD_BYTES}x{layout.record_bytes}s{padding}x").iter_unpack

    @property
    def record_bytes(self) -> int:
        return self._layout.record_bytes

    @property
    def epoch(self) -> int:
        """Lives of the publisher so far; a change means that it was restarted."""
        return self._words[EPOCH]

    @property
    def lag(self) -> int:
        """How many records were published that we have not reached."""
        return max(0, self._words[CURSOR] + 1 - self.next_sequence)

    def ready(self) -> bool:
        """True if `poll` has something to return, or to count as lapped."""
        sequence = self.next_sequence
        words = self._words
        stamp = words[self._slots + (sequence & self._mask) * self._slot_words]
        return stamp >= sequence or words[CURSOR] >= sequence

    def _copy_published(self, first: int, last: int) -> list[bytes]:
        """The records `first` to `last`, in at most two passes, the ring being a circle.

        The cursor has passed them, so they were whole once. The caller loads the stamp of
        `first` afterwards: the publisher overwrites in order, so if it has not begun with
        `first` it has begun with none of them.
        """
        mask, slot_words = self._mask, self._slot_words
        begin = self._slots + (first & mask) * slot_words
        end = self._slots + (last & mask) * slot_words + slot_words
        memory, copy = self._memory, self._copy_slots
        if begin < end:
            return [record for (record,) in copy(memory[begin << 3 : end << 3])]
        head = copy(memory[begin << 3 :])
        tail = copy(memory[self._slots << 3 : end << 3])
        return [record for (record,) in chain(head, tail)]


class Subscriber(_Reader):
    """Reads a ring without holding anybody up; may be lapped, and then says by how much.

    Also watches a gated ring (recorder, monitor) without a say in its gates.
    Always: received_count + gap_count == next_sequence - first_sequence.
    """

    __slots__ = ("_heads", "first_sequence", "gap_count", "next_sequence")

    def __init__(self, memory: Memory, first_sequence: int | None = None) -> None:
        """Begin after the present cursor, or at a given sequence, or with the OLDEST
        record.

        On a busy ring the oldest record may be gone at the first poll; that is then a gap
        like any other.
        """
        super().__init__(memory)
        # The first word of each slot's record.
        end = self._slots + self._layout.slot_count * self._slot_words
        self._heads = self._words[self._slots + 1 : end : self._slot_words]
        cursor = self._words[CURSOR]
        if first_sequence is None:
            first_sequence = cursor + 1
        elif first_sequence == OLDEST:
            first_sequence = max(1, cursor + 1 - self._layout.slot_count)
        elif not 1 <= first_sequence <= cursor + 2:  # + 2: a killed publisher may have stamped cursor + 1
            raise MisuseError(f"no subscriber can begin at sequence {first_sequence}: the cursor is at {cursor}")
        # Where this subscriber began.
        self.first_sequence = first_sequence
        # Next sequence to read. Everything from first_sequence up to it is received or
        # counted in gap_count.
        self.next_sequence = first_sequence
        # Records that were overwritten before we read them, or jumped over. Never goes
        # down.
        self.gap_count = 0

    @property
    def received_count(self) -> int:
        return self.next_sequence - self.first_sequence - self.gap_count

    def poll(self) -> bytes | None:
        """The next record, or None if there is none yet."""
        sequence = self.next_sequence
        words = self._words
        stamp = self._slots + (sequence & self._mask) * self._slot_words
        found = words[stamp]
        if found == sequence:
            (record,) = self._copy(self._memory, (stamp << 3) + 8)
            if words[stamp] == sequence:
                self.next_sequence = sequence + 1
                return record  # type: ignore[no-any-return]
        elif found < sequence and (found or words[CURSOR] < sequence):
            return None
        return self._poll_lapped()

    def poll_many(self, limit: int) -> list[bytes]:
        """Up to `limit` next records, at less cost for each than `poll`; empty if there is
        none yet.
        """
        sequence = self.next_sequence
        words = self._words
        last = min(words[CURSOR], sequence + limit - 1)
        if last - sequence <= self._mask:  # a whole ring behind is lapped for certain: copy nothing
            if last > sequence:
                records = self._copy_published(sequence, last)
                if words[self._slots + (sequence & self._mask) * self._slot_words] == sequence:
                    self.next_sequence = last + 1
                    return records
            elif limit < 1:
                return []
        # One record, none, one that a killed publisher stamped without moving the cursor,
        # or lapped.
        record = self.poll()
        return [] if record is None else [record]

    def heads(self, limit: int) -> list[int]:
        """The first eight bytes of up to `limit` next records, as numbers, none of which is
        taken: enough to see whom they are for. Empty if there is none yet, or if lapped.
        """
        sequence, words, mask = self.next_sequence, self._words, self._mask
        last = min(words[CURSOR], sequence + limit - 1)
        if not 0 <= last - sequence <= mask:
            return []
        begin, end = sequence & mask, last & mask
        heads = self._heads
        found = heads[begin : end + 1].tolist() if begin <= end else heads[begin:].tolist() + heads[: end + 1].tolist()
        # As in `_copy_published`: the publisher overwrites in order.
        return found if words[self._slots + begin * self._slot_words] == sequence else []

    def jump_to(self, sequence: int) -> None:
        """Go on at `sequence`, forward only, and count what lies between as gap.

        For a lapped reader that takes the state from elsewhere: see `BoardReader.catch_up`.
        """
        cursor = self._words[CURSOR]
        if not self.next_sequence <= sequence <= max(cursor + 1, self.next_sequence):
            raise MisuseError(
                f"no jump from sequence {self.next_sequence} to {sequence}: the cursor is at {cursor} "
                "and jumps go forward"
            )
        self.gap_count += sequence - self.next_sequence
        self.next_sequence = sequence

    def _poll_lapped(self) -> bytes | None:
        """`poll` when the record was overwritten, or published between two of our loads.

        The cursor has passed the next sequence, so it was stamped once: any other stamp now
        means lapped. One try after the jump is enough; a publisher that overtakes us once
        more is met at the next poll.
        """
        words, slots, mask, slot_words = self._words, self._slots, self._mask, self._slot_words
        if words[slots + (self.next_sequence & mask) * slot_words] != self.next_sequence:
            self.jump_to(words[CURSOR] + 1 - self._layout.slot_count // LAP_BACKLOG_DIVISOR)
        sequence = self.next_sequence
        stamp = slots + (sequence & mask) * slot_words
        if words[stamp] != sequence:
            return None
        record: bytes = self._copy(self._memory, (stamp << 3) + 8)[0]
        if words[stamp] != sequence:
            return None
        self.next_sequence = sequence + 1
        return record


def sized(record: bytes) -> bytes:
    """A record without the rest of its slot, see `GatedSubscriber`; all of it where it
    begins with no such size.
    """
    return record[: SIZE_BYTES + (int.from_bytes(record[:SIZE_BYTES], "little") & SIZE_BITS)]


class GatedSubscriber(_Reader):
    """Reads a gated ring through a gate of its own: the publisher cannot pass it, so
    nothing is lost.

    A record counts as consumed when the *next* poll asks for more (or at `release`): a
    subscriber killed while it works on a record finds it again in its next life. So a
    record comes at least once, and whoever acts on it remembers what it acted on (the
    journal does). The gate belongs to the subscriber, killed or not, until it is closed;
    after that the publisher does not wait for it, and what it then publishes is not for
    this subscriber.
    """

    __slots__ = ("_gate", "_is_sized", "_released", "next_sequence", "received_count")

    def __init__(self, memory: Memory, gate: int = 0, *, is_sized: bool = False) -> None:
        """`is_sized`: each record begins with four bytes, little-endian, that tell in 31
        bits how many follow them; `poll` returns those, and not the rest of the slot.
        """
        super().__init__(memory)
        self._is_sized = is_sized
        # Index of our gate word, which holds the last sequence we have consumed.
        self._gate = self._layout.gate_word(gate)
        consumed, cursor = self._words[self._gate], self._words[CURSOR]
        # More than a ring behind: a predecessor was killed in `_reopen`, and its gate never
        # held the publisher.
        if consumed == GATE_CLOSED or cursor - consumed > self._layout.slot_count:
            self._reopen()
        # Last sequence consumed: what the gate word holds.
        self._released = self._words[self._gate]
        # Next sequence to read.
        self.next_sequence = self._released + 1
        # Records this life has polled.
        self.received_count = 0

    def _reopen(self) -> None:
        """Begin again at the cursor: first hold the publisher near it, then look where it
        really is.

        Between these two it may go on as if the gate were closed, but not past what it had
        seen before our fence, and `Publisher._has_room` has the other half of the argument.
        """
        words = self._words
        words[self._gate] = words[CURSOR]
        full_fence()
        words[self._gate] = words[CURSOR]

    def poll(self) -> bytes | None:
        """The next record, or None if there is none yet. Either way the ones before are
        consumed.
        """
        sequence = self.next_sequence
        words = self._words
        if self._released != sequence - 1:
            self.release()
        stamp = self._slots + (sequence & self._mask) * self._slot_words
        if words[stamp] != sequence:
            if words[stamp] > sequence:
                raise self._overrun()
            return None
        (record,) = self._copy(self._memory, (stamp << 3) + 8)
        if words[stamp] != sequence:
            raise self._overrun()
        self.next_sequence = sequence + 1
        self.received_count += 1
        return sized(record) if self._is_sized else record

    def poll_many(self, limit: int) -> list[bytes]:
        """Up to `limit` next records; all of them are consumed at the next poll. Empty if
        there is none yet.
        """
        sequence = self.next_sequence
        last = min(self._words[CURSOR], sequence + limit - 1)
        if last <= sequence:  # one record, none, or one that a killed publisher stamped without moving the cursor
            record = self.poll() if limit > 0 else None
            return [] if record is None else [record]
        self.release()
        records = self._copy_published(sequence, last)
        if self._words[self._slots + (sequence & self._mask) * self._slot_words] != sequence:
            raise self._overrun()
        self.next_sequence = last + 1
        self.received_count += len(records)
        return list(map(sized, records)) if self._is_sized else records

    def release(self) -> None:
        """Consume what was polled so far: its room is the publisher's again."""
        self._released = self._words[self._gate] = self.next_sequence - 1

    def close_gate(self) -> None:
        """Let the publisher go on without us. The supervisor does it too, for a subscriber
        that is dead for good.
        """
        self._words[self._gate] = GATE_CLOSED

    def _overrun(self) -> MisuseError:
        return MisuseError(f"the publisher passed a gate at {self._released}: sequence {self.next_sequence} is gone")
