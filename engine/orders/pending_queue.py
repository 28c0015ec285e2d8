"""Orders that wait for the rate counter: first come first served on each pair, and never more than a bound.

A pair that has no room holds up only its own. Cancels do not wait here.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from engine.units import MonoNs

T = TypeVar("T")


class Waiting(NamedTuple, Generic[T]):
    """One order, and since when it waits."""

    key: str
    entry: T
    since: MonoNs


class PendingQueue(Generic[T]):
    """What waits, by pair; `entry` is whatever the owner needs to send it."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        # How many wait. Read it, for it costs no call.
        self.size = 0
        self._queues: dict[str, deque[Waiting[T]]] = {}
        # The keys of all that wait.
        self._keys: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    @property
    def is_full(self) -> bool:
        """Would `put` say no?"""
        return self.size >= self._size_max

    def put(self, symbol: str, key: str, entry: T, now: MonoNs) -> bool:
        """Wait as the last of a pair; False when as many wait as may."""
        if self.is_full or key in self._keys:
            return False
        self._queues.setdefault(symbol, deque()).append(Waiting(key, entry, now))
        self._keys.add(key)
        self.size += 1
        return True

    def symbols(self) -> tuple[str, ...]:
        """The pairs on which something waits."""
        return tuple(self._queues)

    def waiting(self, symbol: str) -> int:
        """How many wait on a pair: a new order must not overtake them."""
        queue = self._queues.get(symbol)
        return len(queue) if queue else 0

    def first(self, symbol: str) -> Waiting[T] | None:
        """Whose turn it is on a pair."""
        queue = self._queues.get(symbol)
        return queue[0] if queue else None

    def all_of(self, symbol: str) -> tuple[Waiting[T], ...]:
        """All that wait on a pair, first come first."""
        return tuple(self._queues.get(symbol, ()))

    def pop(self, symbol: str) -> Waiting[T] | None:
        """Take the first of a pair."""
        queue = self._queues.get(symbol)
        if not queue:
            return None
        return self._took(symbol, queue, queue.popleft())

    def replace(self, symbol: str, key: str, new_key: str, entry: T) -> None:
        """Another entry, in the place of the one of this key and waiting since then."""
        queue = self._queues[symbol]
        place = next(place for place, waiting in enumerate(queue) if waiting.key == key)
        queue[place] = Waiting(new_key, entry, queue[place].since)
        self._keys.discard(key)
        self._keys.add(new_key)

    def remove(self, symbol: str, key: str) -> Waiting[T] | None:
        """Take one out of turn: it was canceled before it was sent."""
        queue = self._queues.get(symbol)
        for waiting in queue or ():
            if queue is not None and waiting.key == key:
                queue.remove(waiting)
                return self._took(symbol, queue, waiting)
        return None

    def expired(self, now: MonoNs, wait_ns_max: int) -> Iterator[tuple[str, Waiting[T]]]:
        """Take what has waited for too long, oldest first."""
        for symbol in self.symbols():
            while (first := self.first(symbol)) is not None and now - first.since > wait_ns_max:
                self.pop(symbol)
                yield symbol, first

    def _took(self, symbol: str, queue: "deque[Waiting[T]]", waiting: Waiting[T]) -> Waiting[T]:
        if not queue:
            del self._queues[symbol]
        self._keys.discard(waiting.key)
        self.size -= 1
        return waiting
