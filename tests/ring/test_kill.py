"""A writer killed with SIGKILL between any two of its stores: nobody reads a torn record,
its successor goes on.

The child dies before the n-th store of its life, for every n until the ring has gone round
and a store in every state of it was hit; a record goes into its slot in two halves, so that
a kill comes in the middle as well.
"""

import os
import signal

import pytest

from engine.ring import (
    OLDEST,
    BoardReader,
    BoardWriter,
    GatedSubscriber,
    Publisher,
    Segment,
    Subscriber,
    board_bytes,
    format_board,
    format_ring,
    ring_bytes,
)
from engine.ring.layout import CURSOR, WORD_BYTES, RingLayout

GIVE_UP_S = 120  # a child that has not answered by then hangs
SLOT_COUNT = 4
STORES_PER_RECORD = 5  # stamp 0, two halves, stamp, cursor
RING_STORES = 1 + STORES_PER_RECORD * (SLOT_COUNT + 2)  # epoch, and a ring that has begun its second round
BOARD_STORES = STORES_PER_RECORD * 4  # stamp 0, two halves, stamp, complete_upto: both copies twice


@pytest.fixture
def segment(children):
    """A segment large enough for the ring and for the board."""
    segments = []

    def make(byte_count):
        segments.append(Segment.create("killed", byte_count))
        return segments[-1]

    yield make
    for each in segments:
        each.close()


def kill_all(spawn, function, segments, *numbers):
    """A life at each segment, dead before store 0, 1, 2…: forks of one child."""
    fds = [segment.fd for segment in segments]
    child = spawn(function, *numbers, *fds, fds=fds)
    ends = child.communicate(timeout=GIVE_UP_S)[0].split()
    assert ends == [str(-signal.SIGKILL)] * len(segments)


def stamped_upto(memory):
    """The newest sequence that a slot carries."""
    words = memory.cast("Q")
    layout = RingLayout.read(memory)
    slot_words = layout.slot_bytes // WORD_BYTES
    return max(words[layout.first_slot_word + slot * slot_words] for slot in range(SLOT_COUNT))


@pytest.mark.parametrize("is_gated", [False, True])
def test_a_ring_survives_a_kill_at_every_store(spawn, segment, children, is_gated):
    """What was stamped is read, what was not is never seen, and the successor continues
    with the next sequence.
    """
    record_bytes, gate_count = children.RECORD_BYTES, int(is_gated)
    plan = {"record_bytes": record_bytes, "slot_count": SLOT_COUNT, "gate_count": gate_count}
    # A gated ring is full after SLOT_COUNT records: the child would spin, so it dies before
    # that.
    store_count = 1 + STORES_PER_RECORD * SLOT_COUNT if is_gated else RING_STORES
    rings = [segment(ring_bytes(**plan)) for _ in range(store_count)]
    for ring in rings:
        format_ring(ring.memory, **plan)
    early = [GatedSubscriber(ring.memory) if is_gated else Subscriber(ring.memory) for ring in rings]
    kill_all(spawn, "publish_until_killed", rings, gate_count)

    for store, (ring, subscriber) in enumerate(zip(rings, early, strict=True)):
        memory = ring.memory
        stamped = stamped_upto(memory)
        assert stamped == store // STORES_PER_RECORD
        oldest = Subscriber(memory, OLDEST)
        seen = [children.number_of(record) for record in iter(subscriber.poll, None)]
        seen_late = [children.number_of(record) for record in iter(oldest.poll, None)]

        successor = Publisher(memory)
        assert successor.epoch == (2 if store else 1)
        assert successor.cursor == stamped
        publish = successor.try_publish if is_gated else successor.publish
        for _ in range(2):
            publish(children.record_of(successor.cursor + 1 + 2000))
        seen += [children.number_of(record) for record in iter(subscriber.poll, None)]
        seen_late += [children.number_of(record) for record in iter(oldest.poll, None)]

        # Each sequence has one record for everybody: life one up to the last stamp, life
        # two after it.
        expected = [1000 + sequence for sequence in range(1, stamped + 1)] + [2001 + stamped, 2002 + stamped]
        assert seen == expected[len(expected) - len(seen) :]
        assert seen_late == expected[len(expected) - len(seen_late) :]
        if is_gated:
            assert seen == expected
        else:
            assert subscriber.gap_count + len(seen) == len(expected)
            assert oldest.gap_count + len(seen_late) == oldest.next_sequence - oldest.first_sequence
            if stamped < SLOT_COUNT:
                assert seen == seen_late == expected


@pytest.mark.parametrize("store", range(3))
def test_a_successor_killed_while_taking_over_changes_nothing(spawn, segment, children, store):
    """Epoch and adopted cursor can be stored again: the second successor ends where the
    first would have.
    """
    ring = segment(ring_bytes(children.RECORD_BYTES, SLOT_COUNT))
    format_ring(ring.memory, record_bytes=children.RECORD_BYTES, slot_count=SLOT_COUNT)
    Publisher(ring.memory).publish(children.record_of(1001))
    ring.memory.cast("Q")[CURSOR] = 0  # killed between stamp and cursor
    kill_all(spawn, "publish_until_killed", [ring] * (store + 1), 0)

    assert Publisher(ring.memory).cursor == 1
    assert [children.number_of(record) for record in iter(Subscriber(ring.memory, 1).poll, None)] == [1001]


def test_a_board_survives_a_kill_at_every_store(spawn, segment, children):
    """The last whole record stays readable, complete_upto never runs ahead of it, and the
    next store repairs all.
    """
    boards = [segment(board_bytes(children.RECORD_BYTES, 2)) for _ in range(BOARD_STORES)]
    for board in boards:
        format_board(board.memory, record_bytes=children.RECORD_BYTES, slot_count=2)
    kill_all(spawn, "store_until_killed", boards)

    for store, board in enumerate(boards):
        reader = BoardReader(board.memory)
        stored_count = (store + 1) // STORES_PER_RECORD
        before = reader.read(0)
        assert (before and children.number_of(before)) == (1000 + stored_count if stored_count else None)
        assert reader.complete_upto == (1000 + store // STORES_PER_RECORD if store >= STORES_PER_RECORD else 0)
        assert reader.read(1) is None

        writer = BoardWriter(board.memory)
        assert writer.inherited_count == bool(stored_count)
        for number in (2001, 2002, 2003):
            writer.store(0, children.record_of(number))
            assert children.number_of(reader.read(0)) == number
        assert reader.torn_count == 0


def test_a_publisher_killed_at_full_speed_is_continued(spawn, segment, children):
    """Killed anywhere, by nobody's plan: the successor goes on and every record is received
    or counted.
    """
    ring = segment(ring_bytes(children.RECORD_BYTES, 64))
    format_ring(ring.memory, record_bytes=children.RECORD_BYTES, slot_count=64)
    subscriber = Subscriber(ring.memory, 1)
    received_count = wrong_count = 0

    for life in range(3):
        child = spawn("publish_for_ever", ring.fd, fds=[ring.fd])
        enough = received_count + 2_000
        while received_count < enough:
            if (record := subscriber.poll()) is not None:
                received_count += 1
                wrong_count += children.number_of(record) != subscriber.next_sequence - 1
            else:
                assert child.poll() is None
                os.sched_yield()  # it may be waiting for this core
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert subscriber.epoch == life + 1
    last = Publisher(ring.memory)
    last.publish(children.record_of(last.cursor + 1))
    while subscriber.ready():
        received_count += subscriber.poll() is not None

    assert wrong_count == 0
    assert subscriber.next_sequence == last.cursor + 1
    assert received_count == subscriber.received_count
    assert received_count + subscriber.gap_count == last.cursor
