"""A bounded queue of orders that wait for the rate counter, first in first out on each
pair.

A pair without room delays only its own orders. Cancels do not wait here.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from engine.units import MonoNs

T = TypeVar("T")


class Waiting(NamedTuple, Generic[T]):
    """One entry, and since when it waits."""

    key: str
    entry: T
    since: MonoNs


class PendingQueue(Generic[T]):
    """Entries by pair; `entry` is whatever the owner needs to send the order."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        # How many wait. Read it, for it costs no call.
        self.size = 0
        self._queues: dict[str, deque[Waiting[T]]] = {}
        # The keys of all entries.
        self._keys: set[str] = set()

    @property
    def is_full(self) -> bool:
        """True if `put` would refuse."""
        return self.size >= self._size_max

    def put(self, symbol: str, key: str, entry: T, now: MonoNs) -> bool:
        """Append an entry to its pair's queue; False if the queue is full."""
        if self.is_full or key in self._keys:
            return False
        self._queues.setdefault(symbol, deque()).append(Waiting(key, entry, now))
        self._keys.add(key)
        self.size += 1
        return True

    def symbols(self) -> tuple[str, ...]:
        """The pairs with entries."""
        return tuple(self._queues)

    def waiting(self, symbol: str) -> int:
        """The number of entries of a pair; a new order must not overtake them."""
        queue = self._queues.get(symbol)
        return len(queue) if queue else 0

    def first(self, symbol: str) -> Waiting[T] | None:
        """The oldest entry of a pair; None if there is none."""
        queue = self._queues.get(symbol)
        return queue[0] if queue else None

    def all_of(self, symbol: str) -> tuple[Waiting[T], ...]:
        """All entries of a pair, oldest first."""
        return tuple(self._queues.get(symbol, ()))

    def pop(self, symbol: str) -> Waiting[T] | None:
        """Remove and return the oldest entry of a pair; None if there is none."""
        queue = self._queues.get(symbol)
        if not queue:
            return None
        return self._took(symbol, queue, queue.popleft())

    def replace(self, symbol: str, key: str, new_key: str, entry: T) -> None:
        """Replace the entry with this key; the new one keeps its position and time."""
        queue = self._queues[symbol]
        place = next(place for place, waiting in enumerate(queue) if waiting.key == key)
        queue[place] = Waiting(new_key, entry, queue[place].since)
        self._keys.discard(key)
        self._keys.add(new_key)

    def remove(self, symbol: str, key: str) -> Waiting[T] | None:
        """Remove and return an entry out of turn; None if it is not here."""
        queue = self._queues.get(symbol)
        for waiting in queue or ():
            if queue is not None and waiting.key == key:
                queue.remove(waiting)
                return self._took(symbol, queue, waiting)
        return None

    def expired(self, now: MonoNs, wait_ns_max: int) -> Iterator[tuple[str, Waiting[T]]]:
        """Remove and return the entries that waited longer than `wait_ns_max`, oldest
        first.
        """
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
