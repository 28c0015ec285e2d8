"""Nobody sleeps through a record, and nobody is rung who is awake."""

import os

import pytest

from engine.errors import MisuseError
from engine.readable import is_readable
from engine.ring import (
    Doorbell,
    Publisher,
    Segment,
    Subscriber,
    format_ring,
    open_eventfd,
    ring_bytes,
    try_sleep,
)

FENCE_ROUND_COUNT = 100_000
SLEEP_ROUND_COUNT = 10_000
SPINS = 1_000  # for the other process, before this core is given up: there may be no other one
YIELDS_MAX = 20_000  # while they wait for a core the two do not race: more rounds prove no more
GIVE_UP_S = 120  # a child that has not answered by then hangs


@pytest.fixture
def eventfd():
    fd = open_eventfd()
    yield fd
    os.close(fd)


def is_rung(eventfd):
    return is_readable(eventfd)


def test_the_fence_is_one(spawn):
    """Two processes each store and then load what the other stores: one of them always sees
    the other's store.

    With nothing between store and load both see the past hundreds of times, so pure Python
    is not too slow to be reordered. (Two calls that are no fence hid it there too: this test
    can prove the fence broken, the argument that it is right is in doorbell.py.)
    """
    segment = Segment.create("fence", 4 * 64)
    sides = [spawn("store_then_load", segment.fd, me, FENCE_ROUND_COUNT, fds=[segment.fd]) for me in (0, 1)]
    mine, its = ([int(word) for word in side.communicate(timeout=GIVE_UP_S)[0].split()] for side in sides)

    assert [side.returncode for side in sides] == [0, 0]
    # My store `number` was not seen by the other's store `seen + 1`, nor that one by mine.
    both_saw_old = [
        (number, seen + 1) for number, seen in enumerate(mine, 1) if seen < FENCE_ROUND_COUNT and its[seen] < number
    ]
    assert both_saw_old == []
    segment.close()


def test_no_wake_up_is_missed_under_load(spawn, children, eventfd):
    """Single records, published around the moment at which the other process falls asleep
    at two rings: every one wakes it or is found by its last look. A missed ring would be
    found by the slow re-check, and counted.
    """
    plan = {"record_bytes": children.RECORD_BYTES, "slot_count": 16}
    left, right, answer = (Segment.create(name, ring_bytes(**plan)) for name in ("left", "right", "answer"))
    for segment in (left, right, answer):
        format_ring(segment.memory, **plan)
    publishers = [Publisher(segment.memory, [(3, eventfd)]) for segment in (left, right)]
    answers = Subscriber(answer.memory, 1)
    fds = [left.fd, right.fd, answer.fd, eventfd]
    sleeper = spawn("sleep_and_answer", *fds, fds=fds)
    number, yield_count = 1, 0
    record = children.record_of(number)

    while number != 0:  # which ends the sleeper, too
        publisher = publishers[number & 1]
        publisher.publish(record)
        publisher.flush()
        # The next one is ready before the answer comes, or it would come after the moment.
        expected, number = record, number + 1 if number < SLEEP_ROUND_COUNT and yield_count < YIELDS_MAX else 0
        record = children.record_of(number)
        delays = range(4 * (number % 64))  # from at once to when it surely sleeps
        spin_count = 0
        while (answered := answers.poll()) is None:
            spin_count += 1
            if spin_count % SPINS == 0:
                assert sleeper.poll() is None
                os.sched_yield()
                yield_count += 1
        assert answered == expected
        for _ in delays:
            pass
    publishers[0].publish(record)
    publishers[0].flush()
    sleep_count, missed_count = map(int, sleeper.communicate(timeout=GIVE_UP_S)[0].split())

    assert missed_count == 0
    assert sleep_count > 0
    for segment in (left, right, answer):
        segment.close()


def test_only_sleepers_are_rung_and_once_for_each_sleep(make_ring, eventfd):
    """Awake: no ring.

    Asleep: one ring, however many bursts pass until it wakes. Asleep again: one more.
    """
    memory = make_ring()
    doorbell = Doorbell(memory, 0, eventfd)
    publisher = Publisher(memory, [(0, eventfd)])
    doorbell.disarm()

    def burst():
        publisher.publish(b"x")
        publisher.flush()
        return is_rung(eventfd)

    assert not burst()
    for _ in range(2):
        doorbell.arm()
        publisher.flush()
        assert not is_rung(eventfd)  # nothing was published
        assert burst()
        assert burst()
        assert os.eventfd_read(eventfd) == 1
        doorbell.disarm()
        assert not burst()


def test_try_sleep_refuses_while_there_is_something_to_read(make_ring, eventfd):
    """A record that came before the doorbell was armed is found by the last look, and
    everything is disarmed.
    """
    first, second = make_ring(), make_ring()
    doorbells = [Doorbell(first, 0, eventfd), Doorbell(second, 1, eventfd)]
    subscribers = [Subscriber(first), Subscriber(second)]
    publisher = Publisher(second, [(1, eventfd)])
    publisher.publish(b"x")
    assert not try_sleep(doorbells, subscribers)
    publisher.flush()
    assert not is_rung(eventfd)

    subscribers[1].poll()
    assert try_sleep(doorbells, subscribers)
    publisher.publish(b"x")
    publisher.flush()
    assert is_rung(eventfd)


def test_a_successor_rings_everybody_once(make_ring, eventfd):
    """Its predecessor may have died between the record and the ring."""
    memory = make_ring()
    Doorbell(memory, 0, eventfd)
    Publisher(memory, [(0, eventfd)])

    assert is_rung(eventfd)


def test_a_subscriber_killed_asleep_wakes_awake(make_ring, eventfd):
    """Its next life begins awake, and its sleeps have numbers that no sleep had before."""
    memory = make_ring()
    publisher = Publisher(memory, [(0, eventfd)])
    Doorbell(memory, 0, eventfd).arm()
    publisher.publish(b"x")
    publisher.flush()

    doorbell = Doorbell(memory, 0, eventfd)
    publisher.publish(b"x")
    publisher.flush()
    assert not is_rung(eventfd)
    doorbell.arm()
    publisher.publish(b"x")
    publisher.flush()
    assert is_rung(eventfd)


def test_there_are_only_the_doorbells_of_the_layout(make_ring, eventfd):
    """An index beyond them is misuse on either side."""
    memory = make_ring()
    with pytest.raises(MisuseError, match="no doorbell 8 in a ring of 8"):
        Doorbell(memory, 8, eventfd)
    with pytest.raises(MisuseError, match="no doorbell 8"):
        Publisher(memory, [(8, eventfd)])
