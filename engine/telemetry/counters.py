"""Named counters in shared memory: one process writes them, any process reads them.

byte      0        8        16       24       32       40       48
          ┌────────┬────────┬────────┬────────┬────────┬────────┬─────────────────┐
        0 │ magic  │ order  │ version│ bytes  │ count  │ hash of│ unused          │  written once, magic last
          │        │ mark   │        │ total  │        │ names  │                 │
          ├────────┼────────┼────────┴────────┴────────┴────────┴─────────────────┤
      128 │ value 0│ value 1│ … signed 64-bit, one writer for all of them          │
          └────────┴────────┴──────────────────────────────────────────────────────┘

The names are not in the memory, so both sides must have the same names in the same order;
the hash in the header verifies that, and refuses another build. Values outlive the process
that writes them: a restarted actor continues to count.
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
    """Bytes of memory that `format_counters` needs for these names; MisuseError when names
    repeat or are too many.
    """
    if not 1 <= len(names) <= COUNTER_COUNT_MAX or len(set(names)) != len(names):
        raise MisuseError(f"counters have from 1 to {COUNTER_COUNT_MAX} different names")
    return HEADER_BYTES + len(names) * WORD_BYTES


def format_counters(memory: Memory, names: Sequence[str]) -> None:
    """Format memory as counters with these names, all 0."""
    write_header(memory, COUNTERS_MAGIC, counters_bytes(names), (len(names), _names_hash(names)))


class Counters:
    """Access to counters by name. One process writes; others read snapshots, on read-only
    memory.

    In a hot path, bind once: `values, index = counters.values, counters.index("gaps")`,
    then `values[index] += 1`.
    """

    def __init__(self, memory: Memory, names: Sequence[str]) -> None:
        count, names_hash = read_header(memory, COUNTERS_MAGIC)[:2]
        if (count, names_hash) != (len(names), _names_hash(names)):
            expected = f"{len(names)} with hash {_names_hash(names):#x}"
            raise LayoutMismatch("counter names", expected, f"{count} with hash {names_hash:#x}")
        # The values in the order of the names; each assignment is one store, which never
        # tears.
        self.values = memoryview(memory).cast("B")[HEADER_BYTES:].cast("q")
        self._indices = {name: index for index, name in enumerate(names)}

    def index(self, name: str) -> int:
        """Index of a counter in `values`; MisuseError for an unknown name."""
        try:
            return self._indices[name]
        except KeyError:
            raise MisuseError(f"there is no counter {name!r}") from None

    def set(self, name: str, value: int) -> None:
        """Set a counter; a value beyond 64 bits is clamped, for a count must not end its
        process.
        """
        self.values[self.index(name)] = max(INT64_MIN, min(value, INT64_MAX))

    def add(self, name: str, increment: int = 1) -> None:
        self.set(name, self.get(name) + increment)

    def get(self, name: str) -> int:
        return self.values[self.index(name)]

    def snapshot(self) -> dict[str, int]:
        """Every counter by name. Each value is whole; two may have been read a microsecond
        apart.
        """
        return dict(zip(self._indices, self.values, strict=True))


class CounterGroup:
    """Some counters that one process writes together, with their indices looked up once.

    Each count is added to the value that an earlier process left.
    """

    __slots__ = ("_indices", "_inherited", "_values", "_written")

    def __init__(self, counters: Counters, names: Sequence[str], *, levels: Collection[str] = ()) -> None:
        """`levels` are the names of values that are no counts: they are written without
        addition.
        """
        self._values = counters.values
        self._indices = tuple(map(counters.index, names))
        self._inherited = tuple(0 if name in levels else counters.get(name) for name in names)
        # The counts of the last `write`: they are asked for 50 times a second, and most
        # of them change seldom.
        self._written: tuple[int, ...] = ()

    def write(self, counts: Iterable[int]) -> None:
        """Store the counts of this process, in the order of the names; ValueError for
        another number of counts.

        A value beyond 64 bits is clamped.
        """
        counts = tuple(counts)
        if counts == self._written:
            return
        values = self._values
        for index, inherited, count in zip(self._indices, self._inherited, counts, strict=True):
            try:  # hot: a comparison with both limits takes longer than the store
                values[index] = inherited + count
            except ValueError:
                values[index] = max(INT64_MIN, min(inherited + count, INT64_MAX))
        self._written = counts


def new_counters(names: Sequence[str]) -> Counters:
    """Counters with these names, all 0, in private memory."""
    memory = bytearray(counters_bytes(names))
    format_counters(memory, names)
    return Counters(memory, names)
