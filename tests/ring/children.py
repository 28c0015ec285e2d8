"""What the tests of this folder run in other processes: `python children.py <function> <integers>`.

The integers are descriptors and counts; an answer is printed as one line.
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any

from engine.native import CORE
from engine.ring import (
    BoardReader,
    BoardWriter,
    Doorbell,
    GatedSubscriber,
    Publisher,
    Segment,
    Subscriber,
    full_fence,
    try_sleep,
)
from engine.ring import board as board_module
from engine.ring import ring as ring_module

RECORD_BYTES = 352
RECORD_WORDS = RECORD_BYTES // 8
PR_SET_PDEATHSIG = 1  # prctl: the signal that this process gets when its parent dies
MISSED_MS = 5_000  # a ring that has not come by then was missed, not late


def record_of(number: int) -> bytes:
    """A record that proves itself: the same word everywhere, so a mix of two records shows."""
    return number.to_bytes(8, "little") * RECORD_WORDS


def number_of(record: bytes) -> int:
    """The number in a record, or -1 if it is torn."""
    word = record[:8]
    return int.from_bytes(word, "little") if record == word * RECORD_WORDS else -1


class WatchedWords:
    """Words that tell before each store."""

    def __init__(self, words: memoryview, before_store: Callable[[int, int], None]) -> None:
        self._words = words
        self._before_store = before_store

    def __getitem__(self, index: int) -> int:
        return self._words[index]

    def __setitem__(self, index: int, value: int) -> None:
        self._before_store(index, value)
        self._words[index] = value


def watch_words(writer: Publisher | BoardWriter, before_store: Callable[[int, int], None]) -> None:
    """Be told of every store of a word before it is made."""
    writer._words = WatchedWords(writer._words, before_store)


def act_after_copies(reader: Subscriber | GatedSubscriber | BoardReader, happen: Callable[[], None]) -> None:
    """Do something between a portable reader's copy of a record, or of several, and its second look at the stamp.

    What another process does in that moment cannot be had otherwise.
    """

    def around(copy: Callable[..., Any]) -> Callable[..., Any]:
        def copy_and_act(*place: Any) -> Any:
            records = tuple(copy(*place))
            happen()
            return records

        return copy_and_act

    reader._copy = around(reader._copy)
    if hasattr(reader, "_copy_slots"):
        reader._copy_slots = around(reader._copy_slots)


def watch_pack(writer: Publisher | BoardWriter, before_store: Callable[[int, int], None]) -> None:
    """Make the record go into its slot in two halves, each told of first: a kill may come in the middle."""
    pack = writer._pack

    def pack_in_halves(memory: memoryview, offset: int, record: bytes) -> None:
        before_store(-1, 0)
        half = len(record) // 2
        memory[offset : offset + half] = record[:half]
        before_store(-1, 1)
        pack(memory, offset, record)

    writer._pack = pack_in_halves


def kill_at(store: int) -> Callable[[int, int], None]:
    """Die just before the given store, counted from 0."""
    left = [store]

    def before_store(_index: int, _value: int) -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    return before_store


def live_and_die(live: Callable[[int, int], None], fds: tuple[int, ...]) -> None:
    """One life for each descriptor, in a fork that ends before store 0, 1, 2…; print how each ended."""
    for store, fd in enumerate(fds):
        if (pid := os.fork()) == 0:
            end_with_parent()
            live(fd, store)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def publish_until_killed(is_gated: int, *fds: int) -> None:
    """A publisher at each ring, killed before store 0 of the first, 1 of the second…"""
    live_and_die(lambda fd, store: publish_until(fd, store, is_gated), fds)


def publish_until(fd: int, store: int, is_gated: int) -> None:
    """A publisher's whole life: takes over, publishes its cursor + 1000, dies before the given store."""
    if CORE is not None:
        CORE.end_stores(store, "kill")
        publisher = Publisher(Segment.attach(fd).memory)
    else:
        before_store = kill_at(store)
        as_words = ring_module.as_words
        ring_module.as_words = lambda memory: WatchedWords(as_words(memory), before_store)
        publisher = Publisher(Segment.attach(fd).memory)
        watch_pack(publisher, before_store)
    publish = publisher.try_publish if is_gated else publisher.publish
    while True:
        publish(record_of(publisher.cursor + 1 + 1000))


def store_until_killed(*fds: int) -> None:
    """A writer at each board, killed before store 0 of the first, 1 of the second…"""
    live_and_die(store_until, fds)


def store_until(fd: int, store: int) -> None:
    """A board writer that stores 1001, 1002… in slot 0 and completes up to each, dead before the given store."""
    if CORE is not None:
        CORE.end_stores(store, "kill")
        writer = BoardWriter(Segment.attach(fd).memory)
    else:
        before_store = kill_at(store)
        as_words = board_module.as_words
        board_module.as_words = lambda memory: WatchedWords(as_words(memory), before_store)
        writer = BoardWriter(Segment.attach(fd).memory)
        watch_pack(writer, before_store)
    number = 1000
    while True:
        number += 1
        writer.store(0, record_of(number))
        writer.complete(number)


def publish_for_ever(fd: int) -> None:
    """Broadcast as fast as it goes, each record its own sequence."""
    publisher = Publisher(Segment.attach(fd).memory)
    while True:
        publisher.publish(record_of(publisher.cursor + 1))


def store_for_ever(fd: int) -> None:
    """Store 1, 2, 3… in slot 0 as fast as it goes."""
    writer = BoardWriter(Segment.attach(fd).memory)
    number = 0
    while True:
        number += 1
        writer.store(0, record_of(number))
        writer.complete(number)


def publish_gated(fd: int, count: int) -> None:
    """Publish 1…count through a gate, trying again when full."""
    publisher = Publisher(Segment.attach(fd).memory)
    while publisher.cursor < count:
        if not publisher.try_publish(record_of(publisher.cursor + 1)):
            os.sched_yield()  # the reader may be waiting for this core
    print(publisher.full_count)


def read_gated(fd: int, count: int) -> None:
    """Read until `count` through gate 0; print how many came, and how many of them were not the next number."""
    subscriber = GatedSubscriber(Segment.attach(fd).memory)
    wrong_count = 0
    while subscriber.next_sequence <= count:
        expected = subscriber.next_sequence
        records = subscriber.poll_many(64)
        for record in records:
            wrong_count += number_of(record) != expected
            expected += 1
        if not records:
            os.sched_yield()  # the publisher may be waiting for this core
    subscriber.release()
    print(subscriber.received_count, wrong_count)


def sleep_and_answer(left_fd: int, right_fd: int, answer_fd: int, eventfd: int) -> None:
    """Sleep at two rings behind one eventfd and answer every record, up to the record 0; print the sleeps and the
    missed wake-ups.
    """
    memories = [Segment.attach(left_fd).memory, Segment.attach(right_fd).memory]
    subscribers = [Subscriber(memory, 1) for memory in memories]
    doorbells = [Doorbell(memory, 3, eventfd) for memory in memories]
    answers = Publisher(Segment.attach(answer_fd).memory)
    poller = select.poll()
    poller.register(eventfd, select.POLLIN)
    sleep_count = missed_count = 0
    number = -1
    while number != 0:
        records = [record for subscriber in subscribers if (record := subscriber.poll()) is not None]
        for record in records:
            answers.publish(record)
            number = number_of(record)
        if number != 0 and not records and try_sleep(doorbells, subscribers):
            sleep_count += 1
            if not poller.poll(MISSED_MS) and any(subscriber.ready() for subscriber in subscribers):
                missed_count += 1
            for doorbell in doorbells:
                doorbell.disarm()
    print(sleep_count, missed_count)


def store_then_load(fd: int, me: int, round_count: int) -> None:
    """Store 1, 2, 3… into my word, and after each a fence and a load of the other's word; print what was loaded.

    The first two lines of the segment say who has begun, the next two are what is stored and loaded. Nobody waits
    for the other after the beginning: the work is the same however seldom both run at once.
    """
    words = Segment.attach(fd).memory.cast("Q")
    mine, its = 16 + me * 8, 16 + (1 - me) * 8
    loaded = [0] * round_count
    words[me * 8] = 1
    while not words[(1 - me) * 8]:
        os.sched_yield()
    for number in range(round_count):
        words[mine] = number + 1
        full_fence()
        loaded[number] = words[its]
    print(*loaded)


def read_board(fd: int, count: int) -> None:
    """Read slot 0 `count` times; print the torn records, the steps back, the misses, and reads behind completeness."""
    reader = BoardReader(Segment.attach(fd, writable=False).memory)
    torn_count = back_count = behind_count = last = 0
    while reader.read(0) is None:  # the writer is still starting
        pass
    for _ in range(count):
        upto = reader.complete_upto
        record = reader.read(0)
        if record is None:
            continue
        number = number_of(record)
        torn_count += number < 0
        back_count += number < last
        behind_count += number < upto
        last = number
    print(torn_count, back_count, behind_count)


def end_with_parent() -> None:
    """Most of the above runs until it is killed: not beyond the test that started it, however that one ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    end_with_parent()
    globals()[sys.argv[1]](*map(int, sys.argv[2:]))
