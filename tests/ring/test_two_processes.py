"""Conservation and whole records between two processes that run as fast as they can."""

import os

import pytest

from engine.ring import Segment, Subscriber, format_ring, ring_bytes

# Small rings, for the publisher is in the reader's slot all the time there: without its second
# look at the stamp a reader accepts a torn record in 20 to 90,000 of a ring of four slots,
# in some hundred to none in a million of one of 256. The second finds what the first is too
# small for: a pass over several slots.
SLOT_COUNTS = (4, 16)
RECORD_COUNT = 100_000
PUBLISHED_MAX = 3_000_000  # a slow reader of a fast publisher gets hardly any of four slots
GIVE_UP_S = 120  # a child that has not answered by then hangs


@pytest.mark.parametrize("slot_count", SLOT_COUNTS)
def test_no_torn_record_is_accepted(spawn, children, slot_count):
    """A reader that is lapped all the time never accepts a torn record, and received + gaps
    == published.
    """
    segment = Segment.create("torn", ring_bytes(children.RECORD_BYTES, slot_count))
    format_ring(segment.memory, record_bytes=children.RECORD_BYTES, slot_count=slot_count)
    subscriber = Subscriber(segment.memory, 1)
    publisher = spawn("publish_for_ever", segment.fd, fds=[segment.fd])
    poll, number_of = subscriber.poll, children.number_of
    received_count = wrong_count = 0

    while received_count < RECORD_COUNT and subscriber.next_sequence < PUBLISHED_MAX:
        records = subscriber.poll_many(16) if received_count % 3 else [poll()]
        if not records or records[0] is None:
            assert publisher.poll() is None
            os.sched_yield()  # it may be waiting for this core
            continue
        for record in records:
            received_count += 1
            wrong_count += number_of(record) < 0
    publisher.kill()
    publisher.wait()
    expected = subscriber.next_sequence
    while (record := poll()) is not None:
        # Lapped or not, the record is the one of its sequence, not a whole one of another.
        expected = subscriber.next_sequence - 1
        received_count += 1
        wrong_count += number_of(record) != expected

    assert wrong_count == 0
    assert subscriber.received_count == received_count
    assert received_count + subscriber.gap_count == subscriber.next_sequence - 1
    assert subscriber.lag == 0
    segment.close()


def test_a_gated_ring_carries_every_record_between_processes(spawn, children):
    """Full again and again, and still every record arrives once and in order."""
    count = 50_000  # of 64 at a time, for who finds it full or empty gives up the core
    segment = Segment.create("gated", ring_bytes(children.RECORD_BYTES, 64, gate_count=1))
    format_ring(segment.memory, record_bytes=children.RECORD_BYTES, slot_count=64, gate_count=1)
    reader = spawn("read_gated", segment.fd, count, fds=[segment.fd])
    publisher = spawn("publish_gated", segment.fd, count, fds=[segment.fd])
    received, wrong = reader.communicate(timeout=GIVE_UP_S)[0].split()
    publisher.communicate(timeout=GIVE_UP_S)

    assert (int(received), int(wrong)) == (count, 0)
    assert publisher.returncode == reader.returncode == 0
    segment.close()
