"""What the ring costs, each time beside what Python itself takes for the same bytes in the
same run.

    python -m pytest bench/test_ring.py --benchmark-columns=median
    --benchmark-json=ring.json

Part of tick-to-order: publish and poll are on it once per ring (market, command), the board
store once per burst, the histogram once per hop. `extra_info` holds ns per operation, the
baseline's, and their ratio: the ratio is what carries over to another machine. Records are
a top-ten BookTop (352 bytes). The hops are measured at 2,000 records a second, a busy
market, with the reader awake (spinning) and asleep (eventfd); their baseline is a
socketpair, asleep as well.
"""

import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from engine import native
from engine.ring import (
    BoardReader,
    BoardWriter,
    Doorbell,
    GatedSubscriber,
    Publisher,
    Segment,
    Subscriber,
    board_bytes,
    format_board,
    format_ring,
    open_eventfd,
    ring_bytes,
    try_sleep,
)
from engine.ring import ring as portable_ring
from engine.telemetry import Histogram

RECORD_BYTES = 352
RECORD = bytes(range(256)) + bytes(96)
SLOT_COUNT = 1024
EACH = 1000  # operations in one round: the loop's own cost is in the baseline too
ROUNDS = 200

HOPS_PER_S = 2_000
HOP_COUNT = 6_000
HOP_RING = {"record_bytes": RECORD_BYTES, "slot_count": SLOT_COUNT}

assert len(RECORD) == RECORD_BYTES


def nothing() -> None:
    pass


def measure(
    benchmark: Any,
    work: Callable[[], object],
    baseline: Callable[[], object],
    prepare: Callable[[], object] = nothing,
    prepare_baseline: Callable[[], object] = nothing,
) -> None:
    """Run both in rounds of EACH operations; medians, so that a neighbour on the core does
    not count.
    """
    elapsed = []
    for _ in range(ROUNDS):
        prepare_baseline()
        began_at = time.perf_counter_ns()
        baseline()
        elapsed.append(time.perf_counter_ns() - began_at)
    benchmark.pedantic(work, setup=prepare, rounds=ROUNDS, warmup_rounds=5)
    if benchmark.stats is None:  # --benchmark-disable
        return
    ours_ns = benchmark.stats.stats.median * 1e9 / EACH
    baseline_ns = median(elapsed) / EACH
    benchmark.extra_info.update(
        ns_each=round(ours_ns), baseline_ns_each=round(baseline_ns), ratio=round(ours_ns / baseline_ns, 2)
    )


def make_ring(gate_count: int = 0) -> bytearray:
    memory = bytearray(ring_bytes(RECORD_BYTES, SLOT_COUNT, gate_count=gate_count))
    format_ring(memory, record_bytes=RECORD_BYTES, slot_count=SLOT_COUNT, gate_count=gate_count)
    return memory


def repeat(call: Callable[..., object], *arguments: object) -> Callable[[], None]:
    def work() -> None:
        for _ in range(EACH):
            call(*arguments)

    return work


def copy_into_memory() -> Callable[[], None]:
    """The least that publishing could cost in Python: the bytes into their place."""
    memory, size = memoryview(bytearray(RECORD_BYTES * SLOT_COUNT)), RECORD_BYTES

    def work() -> None:
        offset = 0
        for _ in range(EACH):
            memory[offset : offset + size] = RECORD
            offset += size

    return work


def copy_out_of_memory() -> Callable[[], None]:
    """The least that polling could cost: new bytes from their place."""
    memory, size = memoryview(bytearray(RECORD_BYTES * SLOT_COUNT)), RECORD_BYTES

    def work() -> None:
        offset = 0
        for _ in range(EACH):
            bytes(memory[offset : offset + size])
            offset += size

    return work


def test_publish(benchmark: Any) -> None:
    """One book change into the market ring; against a bare copy of the bytes."""
    measure(benchmark, repeat(Publisher(make_ring()).publish, RECORD), copy_into_memory())


@pytest.mark.skipif(native.CORE is None, reason="there is nothing to compare the portable ring with")
def test_publish_and_poll(benchmark: Any) -> None:
    """A book's record of 376 bytes in and out, one at a time: the compiled ring against the portable one."""
    record = bytes(376)
    rounds: dict[str, list[float]] = {"native": [], "portable": []}
    works: dict[str, Callable[[], None]] = {}
    for name, implementation in (("native", native.CORE), ("portable", portable_ring)):
        memory = bytearray(ring_bytes(len(record), SLOT_COUNT))
        format_ring(memory, record_bytes=len(record), slot_count=SLOT_COUNT)
        publish, poll = implementation.Publisher(memory).publish, implementation.Subscriber(memory).poll

        def work(publish: Callable[[bytes], None] = publish, poll: Callable[[], bytes | None] = poll) -> None:
            for _ in range(EACH):
                publish(record)
                poll()

        works[name] = work
    for _ in range(ROUNDS):
        for name, work in works.items():
            began_at = time.perf_counter_ns()
            work()
            rounds[name].append((time.perf_counter_ns() - began_at) / EACH)
    benchmark.pedantic(works["native"], rounds=5)
    native_ns, portable_ns = median(rounds["native"]), median(rounds["portable"])
    benchmark.extra_info.update(
        ns_each=round(native_ns), ns_target=250, portable_ns_each=round(portable_ns),
        ratio=round(median(n / p for n, p in zip(rounds["native"], rounds["portable"], strict=True)), 3),
    )  # fmt: skip


def test_publish_and_flush(benchmark: Any) -> None:
    """The same when each record ends a burst and one doorbell is to be looked at."""
    publisher = Publisher(make_ring(), [(0, eventfd := open_eventfd())])

    def publish_and_flush() -> None:
        publisher.publish(RECORD)
        publisher.flush()

    measure(benchmark, repeat(publish_and_flush), copy_into_memory())
    os.close(eventfd)


def test_poll(benchmark: Any) -> None:
    """One book change out of the ring; against a deque that hands over the object without a
    copy.
    """
    memory = make_ring()
    publisher, subscriber, queued = Publisher(memory), Subscriber(memory), deque[bytes]()
    measure(
        benchmark,
        repeat(subscriber.poll),
        repeat(queued.popleft),
        repeat(publisher.publish, RECORD),
        repeat(queued.append, RECORD),
    )
    assert subscriber.gap_count == 0


def test_poll_copy(benchmark: Any) -> None:
    """The same against a bare copy of the bytes."""
    memory = make_ring()
    publisher, subscriber = Publisher(memory), Subscriber(memory)
    measure(benchmark, repeat(subscriber.poll), copy_out_of_memory(), repeat(publisher.publish, RECORD))


def test_poll_empty(benchmark: Any) -> None:
    """Looking at a ring that has nothing: what spinning costs; against an empty call."""
    memory = make_ring()
    repeat(Publisher(memory).publish, RECORD)()
    measure(benchmark, repeat(Subscriber(memory).poll), repeat(nothing))


def test_poll_many(benchmark: Any) -> None:
    """Catching up in batches of 50; ns per record, against a bare copy of each."""
    memory = make_ring()
    publisher, subscriber = Publisher(memory), Subscriber(memory)

    def work() -> None:
        for _ in range(EACH // 50):
            subscriber.poll_many(50)

    measure(benchmark, work, copy_out_of_memory(), repeat(publisher.publish, RECORD))
    assert subscriber.gap_count == subscriber.lag == 0


def test_gated_publish(benchmark: Any) -> None:
    """One command into a gated ring with room."""
    memory = make_ring(gate_count=1)
    publisher, subscriber = Publisher(memory), GatedSubscriber(memory)

    def make_room() -> None:
        subscriber.poll_many(SLOT_COUNT)
        subscriber.release()

    measure(benchmark, repeat(publisher.try_publish, RECORD), copy_into_memory(), make_room)
    assert publisher.full_count == 0


def test_gated_poll(benchmark: Any) -> None:
    """One command out of it, gate moved."""
    memory = make_ring(gate_count=1)
    publisher, subscriber = Publisher(memory), GatedSubscriber(memory)

    def refill() -> None:
        subscriber.release()
        repeat(publisher.try_publish, RECORD)()

    measure(benchmark, repeat(subscriber.poll), copy_out_of_memory(), refill)
    assert publisher.full_count == 0


def make_board() -> bytearray:
    memory = bytearray(board_bytes(RECORD_BYTES, 100))
    format_board(memory, record_bytes=RECORD_BYTES, slot_count=100)
    return memory


def test_board_store(benchmark: Any) -> None:
    """The last state of one pair, once per burst; against a dict of the same."""
    last: dict[int, bytes] = {}
    measure(benchmark, repeat(BoardWriter(make_board()).store, 7, RECORD), repeat(last.__setitem__, 7, RECORD))


def test_board_read(benchmark: Any) -> None:
    """The price collar's look at one pair; against a dict that hands over the object
    without a copy.
    """
    memory, last = make_board(), {7: RECORD}
    BoardWriter(memory).store(7, RECORD)
    measure(benchmark, repeat(BoardReader(memory).read, 7), repeat(last.__getitem__, 7))


def test_histogram_record(benchmark: Any) -> None:
    """One latency of 40 µs, once per hop; against appending it to a list, which would grow
    without bound.
    """
    memory, kept = bytearray(Histogram.bytes_needed), list[int]()
    Histogram.format(memory)
    measure(benchmark, repeat(Histogram(memory).record, 40_000), repeat(kept.append, 40_000))


def read_hops(how: str, ring_fd: int, histogram_fd: int, wake_fd: int) -> None:
    """The other process: reads HOP_COUNT records and records the age of each.

    Says "ready" first.
    """
    subscriber = Subscriber(memory := Segment.attach(ring_fd).memory)
    record_age = Histogram(Segment.attach(histogram_fd).memory).record
    if how == "socket":
        connection = socket.socket(fileno=wake_fd)
        print("ready", flush=True)
        for _ in range(HOP_COUNT):
            record = connection.recv(RECORD_BYTES)
            record_age(time.monotonic_ns() - int.from_bytes(record[:8], "little"))
        return
    doorbell = Doorbell(memory, 0, wake_fd)
    poller = select.poll()
    poller.register(wake_fd, select.POLLIN)
    print("ready", flush=True)
    while subscriber.received_count < HOP_COUNT:
        polled = subscriber.poll()
        if polled is not None:
            record_age(time.monotonic_ns() - int.from_bytes(polled[:8], "little"))
        elif how == "asleep" and try_sleep([doorbell], [subscriber]):
            poller.poll()
            doorbell.disarm()


def hop(how: str) -> Histogram:
    """Send HOP_COUNT records to another process at HOPS_PER_S; how old they were when it
    had read them.
    """
    ring = Segment.create("hop", ring_bytes(RECORD_BYTES, SLOT_COUNT))
    format_ring(ring.memory, record_bytes=RECORD_BYTES, slot_count=SLOT_COUNT)
    ages = Segment.create("ages", Histogram.bytes_needed)
    Histogram.format(ages.memory)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    eventfd = open_eventfd()
    publisher = Publisher(ring.memory, [(0, eventfd)])
    wake_fd = theirs.fileno() if how == "socket" else eventfd
    fds = [ring.fd, ages.fd, wake_fd]
    command = [sys.executable, __file__, how, *map(str, fds)]
    padding = bytes(RECORD_BYTES - 8)
    with subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        due_at = time.monotonic_ns()
        for _ in range(HOP_COUNT):
            due_at += 1_000_000_000 // HOPS_PER_S
            while (now := time.monotonic_ns()) < due_at:
                pass
            record = now.to_bytes(8, "little") + padding
            if how == "socket":
                ours.send(record)
            else:
                publisher.publish(record)
                publisher.flush()
    histogram = Histogram(ages.memory)
    for each in (ours, theirs, ring, ages):
        each.close()
    os.close(eventfd)
    return histogram


@pytest.mark.parametrize("how", ["awake", "asleep"])
def test_hop(benchmark: Any, how: str) -> None:
    """From `publish` in one process to the record in the hands of another, beside a
    socketpair in the same run.
    """
    baseline = hop("socket").snapshot()
    ours = benchmark.pedantic(hop, args=(how,), rounds=1).snapshot()
    for name, snapshot in (("hop", ours), ("socketpair", baseline)):
        benchmark.extra_info[f"{name}_us"] = {
            "p50": snapshot.p50_ns / 1e3,
            "p99": snapshot.p99_ns / 1e3,
            "p99.9": snapshot.p999_ns / 1e3,
        }
    benchmark.extra_info["ratio"] = round(ours.p50_ns / baseline.p50_ns, 2)
    assert ours.count == baseline.count == HOP_COUNT


if __name__ == "__main__":
    read_hops(sys.argv[1], *map(int, sys.argv[2:]))
