"""Named counters in shared memory: one process counts, any process looks.

byte      0        8        16       24       32       40       48
          ┌────────┬────────┬────────┬────────┬────────┬────────┬─────────────────┐
        0 │ magic  │ order  │ version│ bytes  │ count  │ hash of│ unused          │  written once, magic last
          │        │ mark   │        │ total  │        │ names  │                 │
          ├────────┼────────┼────────┴────────┴────────┴────────┴─────────────────┤
      128 │ value 0│ value 1│ … signed 64-bit, one writer for all of them          │
          └────────┴────────┴──────────────────────────────────────────────────────┘

Which value is which is in the code, not in the memory, so both sides must have the same names in the same order: the
hash in the header says so, and another build is refused. Values outlive their writer: a restarted actor counts on.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b

from engine.errors import MisuseError
from engine.ring.layout import HEADER_BYTES, WORD_BYTES, LayoutMismatch, Memory, read_header, write_header
from engine.units import INT64_MAX, INT64_MIN

COUNTERS_MAGIC = b"EngCount"
COUNTER_COUNT_MAX = 1 << 16  # a feed of every pair of Kraken has about 15,000


def _names_hash(names: Sequence[str]) -> int:
    return int.from_bytes(blake2b("\n".join(names).encode(), digest_size=WORD_BYTES).digest(), "little")


def counters_bytes(names: Sequence[str]) -> int:
    """Size of the memory that `format_counters` needs for these names."""
    if not 1 <= len(names) <= COUNTER_COUNT_MAX or len(set(names)) != len(names):
        raise MisuseError(f"counters have from 1 to {COUNTER_COUNT_MAX} different names")
    return HEADER_BYTES + len(names) * WORD_BYTES


def format_counters(memory: Memory, names: Sequence[str]) -> None:
    """Make counters of this memory, all at 0."""
    write_header(memory, COUNTERS_MAGIC, counters_bytes(names), (len(names), _names_hash(names)))


class Counters:
    """The values under their names. One process sets and adds; on a read-only memory the others take snapshots.

    In a hot path: `values, index = counters.values, counters.index("gaps")` once, then `values[index] += 1`.
    """

    def __init__(self, memory: Memory, names: Sequence[str]) -> None:
        count, names_hash = read_header(memory, COUNTERS_MAGIC)[:2]
        if (count, names_hash) != (len(names), _names_hash(names)):
            expected = f"{len(names)} with hash {_names_hash(names):#x}"
            raise LayoutMismatch("counter names", expected, f"{count} with hash {names_hash:#x}")
        # The values in the order of the names; each assignment is one store that never tears.
        self.values = memoryview(memory).cast("B")[HEADER_BYTES:].cast("q")
        self._indices = {name: index for index, name in enumerate(names)}

    def index(self, name: str) -> int:
        """Place of a counter in `values`."""
        try:
            return self._indices[name]
        except KeyError:
            raise MisuseError(f"there is no counter {name!r}") from None

    def set(self, name: str, value: int) -> None:
        """One beyond 64 bits is set as far as they reach: what is counted must not end who counts."""
        self.values[self.index(name)] = max(INT64_MIN, min(value, INT64_MAX))

    def add(self, name: str, increment: int = 1) -> None:
        self.set(name, self.get(name) + increment)

    def get(self, name: str) -> int:
        return self.values[self.index(name)]

    def snapshot(self) -> dict[str, int]:
        """Every counter now. Each is whole; two of them may be of moments a microsecond apart."""
        return dict(zip(self._indices, self.values, strict=True))


class CounterGroup:
    """Some counters that one process writes together, their places looked up once.

    What earlier processes counted stays in: each count is added to the value that was there at the beginning.
    """

    __slots__ = ("_indices", "_inherited", "_values")

    def __init__(self, counters: Counters, names: Sequence[str], *, levels: Collection[str] = ()) -> None:
        """`levels` are the names that tell how something is now: they are written as they are."""
        self._values = counters.values
        self._indices = tuple(map(counters.index, names))
        self._inherited = tuple(0 if name in levels else counters.get(name) for name in names)

    def write(self, counts: Iterable[int]) -> None:
        """Store what this process has counted, in the order of the names; ValueError when it is another number.

        A value beyond 64 bits is stored as far as they reach.
        """
        values = self._values
        for index, inherited, count in zip(self._indices, self._inherited, counts, strict=True):
            values[index] = max(INT64_MIN, min(inherited + count, INT64_MAX))


def new_counters(names: Sequence[str]) -> Counters:
    """Counters at 0 in memory of this process's own."""
    memory = bytearray(counters_bytes(names))
    format_counters(memory, names)
    return Counters(memory, names)
