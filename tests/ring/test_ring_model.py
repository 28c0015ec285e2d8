"""The ring against a plain list: whatever is done to it, it answers as the list says it
must.
"""

from contextlib import suppress

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from engine.native import CORE
from engine.ring import format_ring, ring_bytes
from tests.examples import times
from tests.ring.children import watch_words
from tests.ring.implementations import IMPLEMENTATIONS

RECORD_BYTES = 12
# Before stamp 0, before stamp s, before the cursor: the record goes in two halves.
NATIVE_STORES = (0, 3, 4)
slot_counts = st.sampled_from([2, 4, 8, 16])


def make_ring(slot_count, gate_count=0):
    memory = bytearray(ring_bytes(RECORD_BYTES, slot_count, gate_count=gate_count))
    format_ring(memory, record_bytes=RECORD_BYTES, slot_count=slot_count, gate_count=gate_count)
    return memory


class Killed(BaseException):
    """The publisher is dead at this store."""


def dies_at(store):
    """Told of each store before it is made, it dies before the one of this number."""
    left = [store]

    def before_store(_index, _value):
        if left[0] == 0:
            raise Killed
        left[0] -= 1

    return before_store


class BroadcastMachine(RuleBasedStateMachine):
    """`published` is the model: record s is published[s - 1].

    One subscriber reads `received` of it.
    """

    writers = readers = IMPLEMENTATIONS["portable"]

    @initialize(slot_count=slot_counts)
    def start(self, slot_count):
        self.slot_count = slot_count
        self.memory = make_ring(slot_count)
        self.publisher = self.writers.Publisher(self.memory)
        self.subscriber = self.readers.Subscriber(self.memory)
        self.published = []
        self.received_count = 0

    def next_record(self):
        """Self-checking and different for every try, so that a record of a dead publisher
        is known as such.
        """
        return len(self.published).to_bytes(8, "little") + self.publisher.epoch.to_bytes(4, "little")

    @rule(count=st.integers(1, 20))
    def publish(self, count):
        for _ in range(count):
            record = self.next_record()
            self.publisher.publish(record)
            self.published.append(record)

    @rule(store=st.integers(0, 2))
    def die_publishing(self, store):
        """Killed before stamp 0, before stamp s, or before the cursor; only the last leaves
        a record.
        """
        record = self.next_record()
        if self.writers is CORE:
            CORE.end_stores(NATIVE_STORES[store])
            self.publisher.publish(record)
            CORE.end_stores(None)
        else:
            watch_words(self.publisher, dies_at(store))
            with suppress(Killed):
                self.publisher.publish(record)
        if store == 2:
            self.published.append(record)
        self.publisher = self.writers.Publisher(self.memory)

    def expect_lap(self):
        """Where the subscriber must go on: at its next sequence, or after a jump if that
        was overwritten.
        """
        cursor, sequence = len(self.published), self.subscriber.next_sequence
        if cursor - sequence < self.slot_count:
            return sequence, False
        return cursor + 1 - self.slot_count // 4, True

    @rule()
    def poll(self):
        expected, _ = self.expect_lap()
        record = self.subscriber.poll()
        if expected > len(self.published):
            assert record is None
            assert self.subscriber.next_sequence == expected
        elif record is None:
            # A kill cleared this slot for a record that never came: lapped one record
            # early, never misread.
            assert self.subscriber.next_sequence > expected
        else:
            assert record == self.published[self.subscriber.next_sequence - 2]
            self.received_count += 1

    @rule(limit=st.integers(0, 20))
    def poll_many(self, limit):
        waiting = self.subscriber.lag
        records = self.subscriber.poll_many(limit)
        if waiting < self.slot_count:  # certainly not lapped, not even by a publisher killed in its next record
            assert len(records) == min(limit, waiting)
        end = self.subscriber.next_sequence - 1
        assert records == self.published[end - len(records) : end]
        assert len(records) <= limit
        self.received_count += len(records)

    @rule(ahead=st.integers(0, 5))
    def jump(self, ahead):
        self.subscriber.jump_to(
            max(self.subscriber.next_sequence, min(self.subscriber.next_sequence + ahead, len(self.published) + 1))
        )

    @rule(from_oldest=st.booleans())
    def subscribe_anew(self, from_oldest):
        self.subscriber = self.readers.Subscriber(self.memory, 0 if from_oldest else None)
        self.received_count = 0

    @rule()
    def read_to_the_end(self):
        """Polling until nothing comes leaves nothing unread and nothing uncounted."""
        while self.subscriber.ready():
            if self.subscriber.poll() is not None:
                self.received_count += 1
        assert self.subscriber.next_sequence == len(self.published) + 1

    @invariant()
    def every_record_is_received_or_counted(self):
        subscriber = self.subscriber
        assert subscriber.received_count == self.received_count
        assert subscriber.received_count + subscriber.gap_count == subscriber.next_sequence - subscriber.first_sequence
        assert subscriber.lag == len(self.published) + 1 - subscriber.next_sequence


class GatedMachine(RuleBasedStateMachine):
    """Two gates; the model knows what each has consumed (None: closed)."""

    writers = readers = IMPLEMENTATIONS["portable"]

    @initialize(slot_count=slot_counts)
    def start(self, slot_count):
        self.slot_count = slot_count
        self.memory = make_ring(slot_count, gate_count=2)
        self.publisher = self.writers.Publisher(self.memory)
        self.subscribers = [self.readers.GatedSubscriber(self.memory, gate) for gate in (0, 1)]
        self.consumed = [0, 0]
        self.published = []

    @rule(count=st.integers(1, 20))
    def try_publish(self, count):
        for _ in range(count):
            record = len(self.published).to_bytes(8, "little") + self.publisher.epoch.to_bytes(4, "little")
            slowest = min([each for each in self.consumed if each is not None], default=len(self.published))
            has_room = len(self.published) + 1 - self.slot_count <= slowest
            assert self.publisher.try_publish(record) == has_room
            if has_room:
                self.published.append(record)

    @rule()
    def succeed_publisher(self):
        self.publisher = self.writers.Publisher(self.memory)

    @rule(gate=st.sampled_from([0, 1]))
    def poll(self, gate):
        subscriber = self.subscribers[gate]
        if self.consumed[gate] is None:
            return
        self.consumed[gate] = subscriber.next_sequence - 1
        expected = self.published[self.consumed[gate] : self.consumed[gate] + 1]
        assert [subscriber.poll()] == (expected or [None])

    @rule(gate=st.sampled_from([0, 1]), limit=st.integers(0, 20))
    def poll_many(self, gate, limit):
        subscriber = self.subscribers[gate]
        if self.consumed[gate] is None:
            return
        start = subscriber.next_sequence - 1
        if limit:
            self.consumed[gate] = start
        assert subscriber.poll_many(limit) == self.published[start : start + limit]

    @rule(gate=st.sampled_from([0, 1]))
    def release(self, gate):
        if self.consumed[gate] is not None:
            self.subscribers[gate].release()
            self.consumed[gate] = self.subscribers[gate].next_sequence - 1

    @rule(gate=st.sampled_from([0, 1]))
    def close(self, gate):
        self.subscribers[gate].close_gate()
        self.consumed[gate] = None

    @rule(gate=st.sampled_from([0, 1]))
    def begin_next_life(self, gate):
        """An open gate goes on after what it consumed; a closed one at the cursor."""
        self.subscribers[gate] = self.readers.GatedSubscriber(self.memory, gate)
        if self.consumed[gate] is None:
            self.consumed[gate] = len(self.published)
        assert self.subscribers[gate].next_sequence == self.consumed[gate] + 1


@pytest.mark.parametrize("machine", [BroadcastMachine, GatedMachine])
def test_the_ring_answers_as_its_model(pairing, machine):
    """Whatever is published, polled, killed and begun anew, in whatever order."""
    writer, reader = pairing
    roles = {"writers": IMPLEMENTATIONS[writer], "readers": IMPLEMENTATIONS[reader]}
    run_state_machine_as_test(
        type(machine.__name__, (machine,), roles),
        settings=times(1, stateful_step_count=40),
    )
