"""Sleeping without ever missing a record, and without a system call when nobody sleeps.

A process that has nothing to read waits on an eventfd; it may wait for several rings on the
same one. At each ring it has one word, `sleep`, that it alone writes: odd while it sleeps,
even while it is awake, and never the same odd number for two sleeps, not even across its
restarts.

    the subscriber, before it waits           the publisher, at the end of a burst
    1  sleep ← odd                            A  stamps and cursor (published)
    2  full fence                             B  full fence
    3  look at the ring once more             C  load sleep
    4  nothing there: wait on the eventfd     D  odd: write the eventfd

Why the fences: x86-64 keeps stores in order and loads in order, but a load may pass an
*earlier store* that still waits in the store buffer. Without 2 the subscriber could look at
the ring (3) before its word is visible, without B the publisher could look at the word (C)
before its record is visible, and both would see the past: asleep with a record in the ring.
With both fences one of them is later and sees the other's store: either 3 finds the record
or C finds the sleeper.

The fence is an uncontended `threading.Lock`, taken and released: `sem_trywait` compares and
exchanges, `sem_post` adds (from Python 3.14: two compare-and-exchanges), each a locked
instruction, and a locked instruction is a full fence on x86-64. tests/ring/test_doorbell.py
holds it to that between two processes.

Why a sleep has a number: a woken process needs microseconds until it says that it is awake,
and a busy publisher ends several bursts meanwhile. It remembers which sleep it has rung for
and spares the system call (0.4 µs) on the others. That is safe because a ring for sleep n
stays in the eventfd until the subscriber, awake, drains it, and the next sleep has another
number.

What remains: a publisher killed between A and D rings nobody. Its successor rings every
doorbell once; until then, and for any hole in this argument, the runner looks again every
RECHECK_NS and counts what it finds then.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Protocol

from engine.ring.layout import Memory, RingLayout, as_words, check_machine
from engine.units import NS_PER_MS

RECHECK_NS = 50 * NS_PER_MS
"""Longest wait for an eventfd before looking at the rings: the most that a missed wake-up
costs.
"""


class Readable(Protocol):
    """Anything that knows whether there is something to read."""

    def ready(self) -> bool: ...


# Bound once: the two calls cost 75 ns, `with` on the same lock 155.
_acquire, _release = (_lock := Lock()).acquire, _lock.release


def full_fence() -> None:
    """Make every earlier store visible to all processes before any later load."""
    _acquire()
    _release()


def open_eventfd() -> int:
    """An eventfd for doorbells: draining one that was not rung does not block."""
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


class Doorbell:
    """The subscriber's side: one process's doorbell at one ring. Its memory must be
    writable.
    """

    def __init__(self, memory: Memory, index: int, eventfd: int) -> None:
        check_machine()
        self._words = as_words(memory)
        self._word = RingLayout.read(memory).doorbell_word(index)
        # The eventfd to wait on; it belongs to the process, not to the doorbell.
        self.eventfd = eventfd
        self.disarm()  # a predecessor may have been killed in its sleep

    def arm(self) -> None:
        """Announce sleep. Look at the ring once more after this, and only then wait."""
        words, word = self._words, self._word
        words[word] = (words[word] + 1) | 1
        full_fence()

    def disarm(self) -> None:
        """Announce that the subscriber is awake, and forget earlier rings."""
        words, word = self._words, self._word
        words[word] = (words[word] + 1) & ~1
        with suppress(BlockingIOError):  # the eventfd was not rung
            os.eventfd_read(self.eventfd)


def try_sleep(doorbells: Sequence[Doorbell], subscribers: Iterable[Readable]) -> bool:
    """Arm every doorbell and look once more; True when it is safe to wait on their eventfd.

    False means that there is something to read, and everything is disarmed again. After
    True, disarm each doorbell on waking.
    """
    for doorbell in doorbells:
        doorbell.arm()
    if not any(subscriber.ready() for subscriber in subscribers):
        return True
    for doorbell in doorbells:
        doorbell.disarm()
    return False


class _Bell:
    """One doorbell, on the publisher's side."""

    __slots__ = ("eventfd", "rung_sleep", "word")

    def __init__(self, word: int, eventfd: int) -> None:
        self.word = word
        self.eventfd = eventfd
        # The last sleep that was rung for; even numbers are no sleep.
        self.rung_sleep = 0


class Bells:
    """The publisher's side: the doorbells of one ring."""

    __slots__ = ("_bells", "_words")

    def __init__(self, memory: Memory, doorbells: Iterable[tuple[int, int]]) -> None:
        layout = RingLayout.read(memory)
        self._words = as_words(memory)
        self._bells = [_Bell(layout.doorbell_word(index), eventfd) for index, eventfd in doorbells]

    def ring_all(self) -> None:
        """Ring every doorbell, asleep or not: a killed predecessor may have published
        without ringing.
        """
        for bell in self._bells:
            os.eventfd_write(bell.eventfd, 1)

    def ring_sleepers(self) -> None:
        """Ring the sleeping ones, once for each sleep."""
        if not self._bells:
            return
        words = self._words
        full_fence()
        for bell in self._bells:
            sleep = words[bell.word]
            if sleep & 1 and sleep != bell.rung_sleep:
                bell.rung_sleep = sleep
                os.eventfd_write(bell.eventfd, 1)
