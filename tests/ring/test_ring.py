"""The order of stores, and what publisher and subscribers promise each other."""

import pytest

from engine.errors import MisuseError
from engine.native import CORE
from engine.ring import OLDEST, GatedSubscriber, Publisher, Subscriber, gate_lag, ring_slots
from engine.ring.layout import CURSOR, EPOCH, WORD_BYTES, RingLayout, as_words
from tests.ring.implementations import PORTABLE_WRITER


def stamp_word(memory, slot):
    """Where the stamp of a slot is."""
    layout = RingLayout.read(memory)
    return layout.first_slot_word + slot * (layout.slot_bytes // WORD_BYTES)


def fill(publisher, count):
    """Publish `count` records that hold their own sequence."""
    for _ in range(count):
        publisher.publish((publisher.cursor + 1).to_bytes(16, "little"))


def drain(subscriber):
    """The sequences that can be polled now, as their records say."""
    records = iter(subscriber.poll, None)
    return [int.from_bytes(record, "little") for record in records]


@pytest.mark.parametrize("pairing", PORTABLE_WRITER[:1], indirect=True)
@pytest.mark.parametrize("is_gated", [False, True])
def test_publish_stores_in_the_order_readers_rely_on(make_ring, children, is_gated):
    """Slot cleared, record, slot stamped, cursor moved: in that order, in either mode."""
    memory = make_ring(gate_count=int(is_gated))
    publisher = Publisher(memory)
    log = []
    children.watch_words(publisher, lambda *store: log.append(store))
    children.watch_pack(publisher, lambda *store: log.append(store))
    slot = stamp_word(memory, 1)

    if is_gated:
        publisher.try_publish(b"x")
    else:
        publisher.publish(b"x")
    publisher.flush()

    assert [(slot, 0), (-1, 0), (-1, 1), (slot, 1), (CURSOR, 1)] == log


def test_subscribers_check_the_stamp_after_copying(make_ring, when_copied):
    """A slot that is overwritten under the copy is thrown away: lapped, never a record."""
    memory = make_ring()
    Publisher(memory).publish(b"x")
    subscriber, words = Subscriber(memory, 1), as_words(memory)

    def overwrite():
        words[stamp_word(memory, 1)] = 0
        words[CURSOR] = 4

    when_copied(subscriber, overwrite)

    assert subscriber.poll() is None
    assert subscriber.gap_count == 3


@pytest.mark.parametrize("poll", [lambda subscriber: subscriber.poll(), lambda subscriber: subscriber.poll_many(9)])
def test_gated_subscribers_check_the_stamp_after_copying(make_ring, when_copied, poll):
    """A publisher that passes a gate is a broken rule, and is told as one."""
    memory = make_ring(gate_count=1)
    publisher = Publisher(memory)
    for _ in range(2):
        publisher.try_publish(b"x")
    subscriber, words = GatedSubscriber(memory), as_words(memory)

    def overwrite():
        words[stamp_word(memory, 1)] = 0

    when_copied(subscriber, overwrite)

    with pytest.raises(MisuseError, match="passed a gate at 0"):
        poll(subscriber)


@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.skipif(CORE is None, reason="there is no native publisher to end")
def test_the_native_publisher_stores_in_the_order_readers_rely_on(make_ring, is_gated):
    """Slot cleared, record in two halves, slot stamped, cursor moved: what a store leaves
    when it is the last.
    """
    found = []
    for stores in range(6):
        memory = make_ring(gate_count=int(is_gated))
        publisher, words = CORE.Publisher(memory), as_words(memory)
        slot = stamp_word(memory, 1)
        words[slot] = 99
        CORE.end_stores(stores)
        try:
            publisher.try_publish(b"abcd") if is_gated else publisher.publish(b"abcd")
        finally:
            CORE.end_stores(None)
        found.append((words[slot], bytes(memory[slot * 8 + 8 : slot * 8 + 12]), words[CURSOR]))

    nothing, half, whole = bytes(4), b"ab\0\0", b"abcd"
    assert found == [
        (99, nothing, 0), (0, nothing, 0), (0, half, 0), (0, whole, 0), (1, whole, 0), (1, whole, 1)
    ]  # fmt: skip


def test_every_subscriber_sees_every_record(make_ring):
    """Broadcast: each reads for itself, in order, and None means nothing yet."""
    memory = make_ring()
    publisher, first, second = Publisher(memory), Subscriber(memory), Subscriber(memory)
    fill(publisher, 3)

    assert drain(first) == [1, 2, 3]
    assert drain(second) == [1, 2, 3]
    assert first.poll() is None
    fill(publisher, 1)
    assert drain(first) == [4]
    assert (first.received_count, first.gap_count, first.next_sequence, first.lag) == (4, 0, 5, 0)


def test_a_shorter_record_is_filled_up_with_zeros(make_ring):
    """Nothing of the record that lay in the slot before comes through."""
    memory = make_ring(slot_count=2)
    publisher, subscriber = Publisher(memory), Subscriber(memory)
    for record in (b"\xff" * 16, b"\xff" * 16, b"ab", b""):
        publisher.publish(record)

    assert subscriber.next_sequence == 1
    subscriber.jump_to(3)
    assert subscriber.poll() == b"ab" + bytes(14)
    assert subscriber.poll() == bytes(16)


def test_misuse_is_refused_and_changes_nothing(make_ring):
    """Too long a record, or the publish of the other mode, never reaches the ring."""
    broadcast, gated = Publisher(make_ring()), Publisher(make_ring(gate_count=1))

    with pytest.raises(MisuseError, match="a record of 17 bytes in a ring of 16"):
        broadcast.publish(bytes(17))
    with pytest.raises(MisuseError, match="a record of 17 bytes in a ring of 16"):
        gated.try_publish(bytes(17))
    with pytest.raises(MisuseError, match="with try_publish"):
        gated.publish(b"x")
    with pytest.raises(MisuseError, match="with publish"):
        broadcast.try_publish(b"x")
    assert (broadcast.cursor, gated.cursor) == (0, 0)


def test_a_record_that_cannot_be_packed_takes_no_sequence(make_ring):
    """A wrong type is the caller's error; the ring goes on without a hole."""
    memory = make_ring()
    publisher, subscriber = Publisher(memory), Subscriber(memory)

    with pytest.raises(Exception, match="bytes"):
        publisher.publish("text")
    fill(publisher, 2)
    assert drain(subscriber) == [1, 2]


@pytest.mark.parametrize(("slot_count", "resumes_at"), [(2, 11), (4, 10), (16, 27)])
def test_a_lapped_subscriber_jumps_and_counts_exactly(make_ring, slot_count, resumes_at):
    """It goes on a quarter of the ring behind the cursor, and everything before that is in its gap count."""
    memory = make_ring(slot_count=slot_count)
    publisher, subscriber = Publisher(memory), Subscriber(memory)
    fill(publisher, 10 if slot_count < 16 else 30)

    assert drain(subscriber) == list(range(resumes_at, publisher.cursor + 1))
    assert subscriber.gap_count == resumes_at - 1
    assert subscriber.received_count == publisher.cursor - subscriber.gap_count


def test_a_subscriber_just_a_ring_behind_is_not_lapped(make_ring):
    """The last slot before the lap is still whole."""
    memory = make_ring()
    publisher, one, many = Publisher(memory), Subscriber(memory), Subscriber(memory)
    fill(publisher, 4)

    assert drain(one) == [1, 2, 3, 4]
    assert len(many.poll_many(100)) == 4
    assert one.gap_count == many.gap_count == 0


def test_poll_many_reads_round_the_end_of_the_ring(make_ring):
    """A batch is bounded by its limit and by the cursor, not by where the ring ends."""
    memory = make_ring(slot_count=8)
    publisher, subscriber = Publisher(memory), Subscriber(memory)
    fill(publisher, 5)
    batches = [subscriber.poll_many(2), subscriber.poll_many(0), subscriber.poll_many(5)]
    fill(publisher, 8)
    batches += [subscriber.poll_many(100), subscriber.poll_many(100)]

    numbers = [[int.from_bytes(record, "little") for record in batch] for batch in batches]
    assert numbers == [[1, 2], [], [3, 4, 5], [6, 7, 8, 9, 10, 11, 12, 13], []]
    assert subscriber.received_count == 13


def test_poll_many_discards_a_batch_that_was_overtaken(make_ring, when_copied):
    """If the oldest slot was overwritten while the batch was copied, nothing of the batch is trusted."""
    memory = make_ring()
    publisher, subscriber = Publisher(memory), Subscriber(memory)
    fill(publisher, 3)
    laps = iter([3])
    when_copied(subscriber, lambda: fill(publisher, next(laps, 0)))

    assert [int.from_bytes(record, "little") for record in subscriber.poll_many(3)] == [6]
    assert (subscriber.received_count, subscriber.gap_count) == (1, 5)


def test_where_a_subscriber_begins(make_ring):
    """After the cursor by default, or with the oldest record left, or at a sequence, but not in the future."""
    memory = make_ring()
    fill(Publisher(memory), 6)

    assert drain(Subscriber(memory)) == []
    assert drain(Subscriber(memory, OLDEST)) == [3, 4, 5, 6]
    assert drain(Subscriber(memory, 5)) == [5, 6]
    late = Subscriber(memory, 1)
    assert (drain(late), late.gap_count) == ([6], 5)
    with pytest.raises(MisuseError, match="no subscriber can begin at sequence 9"):
        Subscriber(memory, 9)


def test_jumps_go_forward_and_are_counted(make_ring):
    """Skipped is not lost silently; back, or past the cursor, is misuse."""
    memory = make_ring()
    publisher, subscriber = Publisher(memory), Subscriber(memory)
    fill(publisher, 3)
    subscriber.jump_to(1)
    subscriber.jump_to(3)

    assert (drain(subscriber), subscriber.gap_count) == ([3], 2)
    subscriber.jump_to(4)
    for sequence in (3, 5):
        with pytest.raises(MisuseError, match=f"no jump from sequence 4 to {sequence}"):
            subscriber.jump_to(sequence)


def test_ready_and_lag_tell_what_poll_will_find(make_ring):
    """Ready also when the only news is a lap."""
    memory = make_ring()
    publisher, subscriber = Publisher(memory), Subscriber(memory)
    assert (subscriber.ready(), subscriber.lag) == (False, 0)
    fill(publisher, 1)
    assert (subscriber.ready(), subscriber.lag) == (True, 1)
    fill(publisher, 9)
    assert (subscriber.ready(), subscriber.lag) == (True, 10)

    drain(subscriber)
    assert (subscriber.ready(), subscriber.lag) == (False, 0)


def test_a_successor_begins_a_new_epoch(make_ring):
    """Subscribers can tell that the publisher was restarted; the sequence goes on."""
    memory = make_ring()
    first, subscriber = Publisher(memory), Subscriber(memory)
    fill(first, 3)
    second = Publisher(memory)
    fill(second, 1)

    assert (second.epoch, subscriber.epoch, as_words(memory)[EPOCH]) == (2, 2, 2)
    assert drain(subscriber) == [1, 2, 3, 4]


def test_a_full_ring_says_so_and_loses_nothing(make_ring):
    """Full is an answer: the record is not published, everything already there stays, and it is counted."""
    memory = make_ring(gate_count=2)
    publisher, quick, slow = Publisher(memory), GatedSubscriber(memory, 0), GatedSubscriber(memory, 1)
    published = [publisher.try_publish(bytes([number]) * 16) for number in range(6)]

    assert published == [True] * 4 + [False] * 2
    assert publisher.full_count == 2
    assert [record[0] for record in iter(quick.poll, None)] == [0, 1, 2, 3]
    assert not publisher.try_publish(b"x")  # the slow one still holds it
    assert [record[0] for record in slow.poll_many(2)] == [0, 1]
    slow.release()
    assert [publisher.try_publish(b"x" * 16) for _ in range(3)] == [True, True, False]
    assert [record[0] for record in iter(slow.poll, None)] == [2, 3, ord("x"), ord("x")]


def test_a_record_is_consumed_when_the_next_is_asked_for(make_ring):
    """A subscriber killed at work finds the record again; one that came back for more does not."""
    memory = make_ring(gate_count=1)
    publisher, subscriber = Publisher(memory), GatedSubscriber(memory)
    for number in range(3):
        publisher.try_publish(bytes([number]))
    subscriber.poll()
    subscriber.poll()

    assert GatedSubscriber(memory).poll()[0] == 1
    subscriber.release()
    assert GatedSubscriber(memory).poll()[0] == 2


def test_records_wait_for_a_subscriber_that_is_not_there_yet(make_ring):
    """Gates begin open: a command published before the router is up is kept for it."""
    memory = make_ring(gate_count=1)
    publisher = Publisher(memory)

    assert [publisher.try_publish(b"x") for _ in range(5)] == [True] * 4 + [False]
    assert len(GatedSubscriber(memory).poll_many(10)) == 4


def test_a_closed_gate_holds_nobody_up_and_reopens_at_the_cursor(make_ring):
    """After close the publisher goes on alone; the gate's next life gets what is published after it began."""
    memory = make_ring(gate_count=1)
    publisher, subscriber = Publisher(memory), GatedSubscriber(memory)
    subscriber.close_gate()
    assert all(publisher.try_publish(b"x") for _ in range(9))

    reopened = GatedSubscriber(memory)
    assert reopened.poll() is None
    assert [publisher.try_publish(bytes([number])) for number in range(5)] == [True] * 4 + [False]
    assert [record[0] for record in reopened.poll_many(9)] == [0, 1, 2, 3]


def test_a_gate_whose_reopening_was_killed_is_reopened(make_ring):
    """Killed before its second look at the cursor it may have been passed; it was promised nothing until then."""
    memory = make_ring(gate_count=1)
    publisher = Publisher(memory)
    GatedSubscriber(memory).close_gate()
    for _ in range(9):
        publisher.try_publish(b"x")
    as_words(memory)[RingLayout.read(memory).gate_word(0)] = 2

    assert GatedSubscriber(memory).next_sequence == 10


def test_a_watcher_reads_a_gated_ring_without_a_gate(make_ring):
    """A recorder sees every record and holds nobody up."""
    memory = make_ring(gate_count=1)
    publisher, router, recorder = Publisher(memory), GatedSubscriber(memory), Subscriber(memory)
    for number in range(20):
        assert publisher.try_publish(bytes([number]))
        assert router.poll()[0] == number

    assert [record[0] for record in iter(recorder.poll, None)] == [19]
    assert recorder.gap_count == 19
    assert (recorder.record_bytes, publisher.record_bytes) == (16, 16)


def test_a_gated_subscriber_needs_a_gate(make_ring):
    """There is none in a broadcast ring."""
    with pytest.raises(MisuseError, match="no gate 0 in a ring of 0"):
        GatedSubscriber(make_ring())


def test_a_third_party_sees_what_waits_for_a_gate(make_ring):
    """Published and not consumed; nothing waits for a gate that was closed."""
    ring = make_ring(slot_count=8, gate_count=1)
    publisher, subscriber = Publisher(ring), GatedSubscriber(ring)
    before = gate_lag(ring)
    for number in range(5):
        publisher.try_publish(bytes([number]))
    waiting = gate_lag(ring)
    subscriber.poll_many(3)
    subscriber.release()
    left = gate_lag(ring)
    subscriber.close_gate()

    assert (before, waiting, left, gate_lag(ring), ring_slots(ring)) == (0, 5, 2, 0, 8)


@pytest.mark.parametrize("poll", ["poll", "poll_many"])
@pytest.mark.parametrize("high_bit", [0, 1 << 31])
def test_records_with_their_size_come_without_the_rest_of_the_slot(make_ring, poll, high_bit):
    """Also when the slot held a longer one before; a size beyond the slot is none."""
    memory = make_ring(record_bytes=16, slot_count=4, gate_count=1)
    publisher, subscriber = Publisher(memory), GatedSubscriber(memory, is_sized=True)
    whole, short = [(size | high_bit).to_bytes(4, "little") + b"x" * size for size in (12, 3)]
    beyond = (13 | high_bit).to_bytes(4, "little") + b"x" * 4
    records = [whole, short, whole[:4], beyond, b"", short, short]
    received = []
    for pair in (records[:4], records[4:]):
        for record in pair:
            assert publisher.try_publish(record)
        received += subscriber.poll_many(9) if poll == "poll_many" else [subscriber.poll() for _ in pair]
        subscriber.release()

    empty = [whole[:4] + bytes(12), beyond.ljust(16, b"\0"), bytes(4)]
    assert received == [whole, short, empty[0], empty[1], empty[2], short, short]


def test_a_slot_is_cleared_of_what_was_longer_before(make_ring):
    """By this publisher or the one before it."""
    memory = make_ring(record_bytes=16, slot_count=2, gate_count=1)
    records, received = (b"a" * 16, b"b" * 9, b"c" * 2, b"d" * 12, b"", b"f"), []
    for record in records:
        publisher, subscriber = Publisher(memory), GatedSubscriber(memory)
        assert publisher.try_publish(record)
        assert publisher.try_publish(record[:1])
        received += [subscriber.poll(), subscriber.poll()]
        subscriber.release()

    expected = [
        part for record in (b"a" * 16, b"b" * 9, b"c" * 2, b"d" * 12, b"", b"f") for part in (record, record[:1])
    ]
    assert received == [record.ljust(16, b"\0") for record in expected]
