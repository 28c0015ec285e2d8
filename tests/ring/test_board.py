"""The board holds the last record of every pair, whole, whoever dies; and it makes a lapped
reader whole again.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.native import CORE
from engine.ring import (
    BoardReader,
    BoardWriter,
    LayoutMismatch,
    Publisher,
    Segment,
    Subscriber,
    board_bytes,
    format_board,
    format_ring,
    ring_bytes,
)
from engine.ring.board import COMPLETE_UPTO, FIRST_COPY, READ_TRIES_MAX
from engine.ring.layout import WORD_BYTES, as_words, slot_bytes_for
from tests.examples import times
from tests.ring.implementations import PORTABLE_WRITER

GIVE_UP_S = 120  # a child that has not answered by then hangs


def make_board(record_bytes=8, slot_count=4):
    memory = bytearray(board_bytes(record_bytes, slot_count))
    format_board(memory, record_bytes=record_bytes, slot_count=slot_count)
    return memory


@pytest.mark.parametrize("pairing", PORTABLE_WRITER[:1], indirect=True)
def test_store_writes_the_older_copy_in_the_order_readers_rely_on(children):
    """Copy cleared, record, copy stamped; copies in turn; complete_upto after all of it."""
    writer = BoardWriter(make_board())
    log = []
    children.watch_words(writer, lambda *store: log.append(store))
    children.watch_pack(writer, lambda *store: log.append(store))
    copy_words = slot_bytes_for(writer.record_bytes) // WORD_BYTES
    even = FIRST_COPY + 2 * 2 * copy_words
    odd = even + copy_words
    for number in range(1, 4):
        writer.store(2, bytes([number]))
    writer.complete(3)

    halves = [(-1, 0), (-1, 1)]
    assert log == [
        *[(odd, 0), *halves, (odd, 1)],
        *[(even, 0), *halves, (even, 2)],
        *[(odd, 0), *halves, (odd, 3)],
        (COMPLETE_UPTO, 3),
    ]


@pytest.mark.skipif(CORE is None, reason="there is no native writer to end")
def test_the_native_writer_stores_in_the_order_readers_rely_on():
    """The older copy cleared, the record in two halves, the copy stamped, then
    complete_upto.
    """
    found = []
    for stores in range(6):
        memory = make_board()
        words, copy_words = as_words(memory), slot_bytes_for(8) // WORD_BYTES
        writer = CORE.BoardWriter(memory)
        writer.store(2, b"before")
        older, newer = FIRST_COPY + 4 * copy_words, FIRST_COPY + 5 * copy_words
        words[older] = 99
        CORE.end_stores(stores)
        try:
            writer.store(2, b"abcd")
            writer.complete(7)
        finally:
            CORE.end_stores(None)
        found.append((words[older], bytes(memory[older * 8 + 8 : older * 8 + 12]), words[COMPLETE_UPTO]))
        assert (words[newer], bytes(memory[newer * 8 + 8 : newer * 8 + 14])) == (1, b"before")

    nothing, half, whole = bytes(4), b"ab\0\0", b"abcd"
    assert found == [
        (99, nothing, 0), (0, nothing, 0), (0, half, 0), (0, whole, 0), (2, whole, 0), (2, whole, 7)
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=8)), max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_read_is_the_last_store(stores):
    """Slot by slot, filled up with zeros, None where nothing was stored; a successor
    changes nothing.
    """
    memory = make_board()
    reader, last = BoardReader(memory), {}
    for index, record in stores:
        BoardWriter(memory).store(index, record)
        last[index] = record.ljust(8, b"\0")
        assert [reader.read(each) for each in range(4)] == [last.get(each) for each in range(4)]
    assert reader.torn_count == 0


def test_a_read_that_never_settles_is_given_up_and_counted(when_copied):
    """Overwritten at every try: None, never a torn record, and visible in torn_count."""
    memory = make_board()
    writer, reader = BoardWriter(memory), BoardReader(memory)
    writer.store(0, b"before")
    copies, is_busy = [], True

    def store_twice():
        copies.append(0)
        for record in (b"after", b"again") if is_busy else ():
            writer.store(0, record)

    when_copied(reader, store_twice)

    assert reader.read(0) is None
    assert (reader.torn_count, len(copies)) == (1, READ_TRIES_MAX)
    is_busy = False
    assert reader.read(0) == b"again\0\0\0"


def test_one_store_during_a_read_does_not_disturb_it(when_copied):
    """The copy that is being read is not the one that is being written."""
    memory = make_board()
    writer, reader = BoardWriter(memory), BoardReader(memory)
    writer.store(0, b"before")
    when_copied(reader, lambda: writer.store(0, b"after"))

    assert reader.read(0) == b"before\0\0"


def test_misuse_and_other_memories_are_refused():
    """An index or a record beyond the board, or something that is no board."""
    writer, reader = BoardWriter(make_board()), BoardReader(make_board())
    for index in (-1, 4):
        with pytest.raises(MisuseError, match=f"no slot {index} on a board of 4"):
            writer.store(index, b"")
        with pytest.raises(MisuseError, match=f"no slot {index}"):
            reader.read(index)
    with pytest.raises(MisuseError, match="a record of 9 bytes on a board of 8"):
        writer.store(0, bytes(9))
    with pytest.raises(MisuseError, match="from 1 to"):
        board_bytes(8, 0)
    ring = bytearray(ring_bytes(8, 4))
    format_ring(ring, record_bytes=8, slot_count=4)
    with pytest.raises(LayoutMismatch, match="EngBoard magic"):
        BoardReader(ring)


def test_a_successor_completes_nothing_it_has_not_stored():
    """Its predecessor may have published what never got to the board, for any pair the
    board held.
    """
    memory = make_board()
    first, reader = BoardWriter(memory), BoardReader(memory)
    for index in (0, 2):
        first.store(index, b"x")
    first.complete(2)

    second = BoardWriter(memory)
    second.store(0, b"y")
    second.complete(9)
    assert (reader.complete_upto, second.inherited_count) == (2, 1)
    second.store(2, b"y")
    second.complete(10)
    assert (reader.complete_upto, second.inherited_count) == (10, 0)


# One change of a pair, how much the reader reads after it, and whether it ends a burst;
# mostly the reader is away, so that it is lapped within bursts as well as between them.
changes = st.tuples(st.integers(0, 5), st.sampled_from([0] * 12 + [1, 2, 20]), st.sampled_from([True] + [False] * 5))


@given(st.lists(changes, min_size=1, max_size=120))
@times(5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_lapped_reader_ends_with_every_pair_up_to_date(history):
    """Bursts of any shape, a reader of any appetite, quiet pairs included: no update is
    lost, none is set back for good. When the last burst has ended its view of every pair is
    the publisher's.
    """
    memory = bytearray(ring_bytes(16, 8))
    format_ring(memory, record_bytes=16, slot_count=8)
    board_memory = make_board(16, 6)
    publisher, writer = Publisher(memory), BoardWriter(board_memory)
    subscriber, reader = Subscriber(memory), BoardReader(board_memory)
    truth: dict[int, bytes] = {}
    view: dict[int, bytes] = {}
    dirty: set[int] = set()
    seen_gaps = 0

    def read(limit):
        nonlocal seen_gaps
        while True:
            if subscriber.gap_count != seen_gaps:
                if not reader.catch_up(subscriber):
                    return
                seen_gaps = subscriber.gap_count
                view.update({index: record for index in range(6) if (record := reader.read(index)) is not None})
            if limit == 0 or (record := subscriber.poll()) is None:
                if subscriber.gap_count == seen_gaps:
                    return
                continue
            view[record[0]] = record
            limit -= 1

    def end_burst():
        for pair in dirty:
            writer.store(pair, truth[pair])
        dirty.clear()
        writer.complete(publisher.cursor)

    for pair, appetite, ends_burst in history:
        truth[pair] = bytes([pair]) + (publisher.cursor + 1).to_bytes(15, "little")
        publisher.publish(truth[pair])
        dirty.add(pair)
        if ends_burst:
            end_burst()
        read(appetite)
    end_burst()
    read(-1)

    assert view == truth
    assert subscriber.received_count + subscriber.gap_count == publisher.cursor


def test_a_board_is_whole_and_never_behind_its_promise_between_processes(spawn, children):
    """Read at full speed while another process stores: no torn record, no step back, none
    older than complete_upto.
    """
    segment = Segment.create("board", board_bytes(children.RECORD_BYTES, 1))
    format_board(segment.memory, record_bytes=children.RECORD_BYTES, slot_count=1)
    writer = spawn("store_for_ever", segment.fd, fds=[segment.fd])
    reader = spawn("read_board", segment.fd, 150_000, fds=[segment.fd])
    answer = reader.communicate(timeout=GIVE_UP_S)[0]
    writer.kill()

    assert answer.split() == ["0", "0", "0"]
    segment.close()
