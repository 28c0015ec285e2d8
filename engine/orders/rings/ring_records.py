"""Reading a ring of messages so that one bad record is one lost record: counted, told of, and left behind.

Whoever reads such a ring may own real money, as the order router does. A record that ended its process would be found
again by the successor, and end that too, for ever: nobody could cancel anything.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

import structlog

from engine.errors import UnreadableRecord
from engine.orders.rings.framing import Framing

TOLD_MAX: Final = 100  # lines in the log, of one ring; all are counted

log = structlog.get_logger("ring")
T = TypeVar("T")


class RingRecords(Generic[T]):
    """The messages of one ring, in their order, without those that are none."""

    def __init__(self, framing: Framing[T], ring: str) -> None:
        self._unpack = framing.unpack
        self._ring = ring
        # Records left behind. Never goes down.
        self.unreadable = 0

    def read(self, record: bytes) -> T | None:
        """The message in a record; None when it is none."""
        try:
            return self._unpack(record)
        except UnreadableRecord as error:
            self.unreadable += 1
            if self.unreadable <= TOLD_MAX:
                log.error("unreadable record", ring=self._ring, reason=str(error), unreadable=self.unreadable)
            return None

    def read_all(self, records: Iterable[bytes]) -> Iterator[T]:
        """The messages in a batch of records, each decoded when it is its turn."""
        for record in records:
            if (message := self.read(record)) is not None:
                yield message
