"""Conservation and whole records between two processes that run as fast as they can."""

from engine.ring import Segment, Subscriber, format_ring, ring_bytes

RECORD_COUNT = 2_000_000
GIVE_UP_S = 120  # a child that has not answered by then hangs


def test_no_torn_record_in_two_million(spawn, children):
    """A reader that is lapped all the time never accepts a torn record, and received + gaps
    == published.
    """
    segment = Segment.create("torn", ring_bytes(children.RECORD_BYTES, 256))
    format_ring(segment.memory, record_bytes=children.RECORD_BYTES, slot_count=256)
    subscriber = Subscriber(segment.memory, 1)
    publisher = spawn("publish_for_ever", segment.fd, fds=[segment.fd])
    poll, number_of = subscriber.poll, children.number_of
    received_count = wrong_count = 0

    while received_count < RECORD_COUNT:
        assert publisher.poll() is None
        for record in subscriber.poll_many(16) if received_count % 3 else [poll()]:
            if record is not None:
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
    count = 200_000
    segment = Segment.create("gated", ring_bytes(children.RECORD_BYTES, 64, gate_count=1))
    format_ring(segment.memory, record_bytes=children.RECORD_BYTES, slot_count=64, gate_count=1)
    reader = spawn("read_gated", segment.fd, count, fds=[segment.fd])
    publisher = spawn("publish_gated", segment.fd, count, fds=[segment.fd])
    received, wrong = reader.communicate(timeout=GIVE_UP_S)[0].split()
    publisher.communicate(timeout=GIVE_UP_S)

    assert (int(received), int(wrong)) == (count, 0)
    assert publisher.returncode == reader.returncode == 0
    segment.close()
