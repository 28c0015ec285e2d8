"""Writers of shared memory whose process may die between any two of their stores, and in
the middle of a record.
"""

from typing import Any, Final

from engine.native import CORE
from tests.ring.children import watch_pack, watch_words
from tests.simulate.kernel import Process

SLOT_STORES: Final = 4  # stamp 0, the record in two halves, stamp
RECORD_STORES: Final = SLOT_STORES + 1  # and the cursor


def mortal(writer: Any, process: Process) -> Any:
    """A publisher or board writer, or what stands in for it: once its process is doomed,
    each of its stores is a point of it.
    """
    if CORE is not None and isinstance(writer, CORE.Publisher | CORE.BoardWriter):
        return _NativeWriter(writer, process)
    dooms = []

    def watch() -> None:
        dooms.append(process)
        if len(dooms) == 1:
            watch_words(writer, process.point)
            watch_pack(writer, process.point)

    process.on_doomed.append(watch)
    return writer


class _NativeWriter:
    """A compiled writer whose stores are the same points as those of a portable one."""

    def __init__(self, writer: Any, process: Process) -> None:
        self._writer = writer
        self._process = process
        # Asked for at each turn: bound once.
        self.flush = getattr(writer, "flush", None)

    @property
    def cursor(self) -> int:
        cursor: int = self._writer.cursor
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def publish(self, record: bytes) -> None:
        self._store(RECORD_STORES, self._writer.publish, record)

    def try_publish(self, record: bytes) -> bool:
        is_published: bool = self._store(RECORD_STORES, self._writer.try_publish, record)
        return is_published

    def store(self, index: int, record: bytes) -> None:
        self._store(SLOT_STORES, self._writer.store, index, record)

    def complete(self, sequence: int) -> None:
        self._store(0 if self._writer.inherited_count else 1, self._writer.complete, sequence)

    def _store(self, stores: int, store: Any, *arguments: Any) -> Any:
        """Make so many stores, or those up to the process's death; False of a full ring is
        none.
        """
        left = self._process.points_left
        if left is None:
            return store(*arguments)
        CORE.end_stores(left)
        try:
            told = store(*arguments)
        finally:
            CORE.end_stores(None)
        for _ in range(0 if told is False else stores):
            self._process.point()
        return told
