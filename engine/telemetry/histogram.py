"""Latency histogram in shared memory: one process records, any process reads percentiles.

byte      0        8        16       24       32       40       48
          ┌────────┬────────┬────────┬────────┬────────┬──────────────────────────┐
        0 │ magic  │ order  │ version│ bytes  │ bucket │ unused                   │  written once, magic last
          │        │ mark   │        │ total  │ count  │                          │
          ├────────┼────────┼────────┴────────┴────────┴──────────────────────────┤
      128 │ sum    │ max    │ unused                                              │
          ├────────┼────────┼─────────────────────────────────────────────────────┤
      192 │ count 0│ count 1│ … one per bucket                                    │
          └────────┴────────┴─────────────────────────────────────────────────────┘

Log-linear, the idea of HdrHistogram: every power of two is cut into 32 buckets of equal
width. Up to 63 ns a bucket is one nanosecond wide; above, a bucket that begins at v is v/32
wide at most, so the upper edge by which we speak for it is at most 3.2 % above what was
recorded, and never below: a percentile does not flatter. The last bucket ends at 2**37 ns
(137 s) and takes everything beyond; sum and max are exact always.

Each word is whole at any moment. A reader that looks between two stores of one `record`
sees a count without its sum: by one record, for a microsecond.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from typing import ClassVar, NamedTuple

from engine.errors import MisuseError
from engine.ring.layout import (
    FIRST_GATE,
    HEADER_BYTES,
    WORD_BYTES,
    LayoutMismatch,
    Memory,
    as_words,
    read_header,
    write_header,
)

HISTOGRAM_MAGIC = b"EngHisto"
SUB_BUCKET_BITS = 5  # 2**5 buckets to a power of two: 1/32, about 3 %, is precise enough for a latency
VALUE_BITS_MAX = 37  # 2**37 ns = 137 s: more than any timeout of ours
BUCKET_COUNT = (VALUE_BITS_MAX - SUB_BUCKET_BITS + 1) << SUB_BUCKET_BITS
LINEAR_BITS = SUB_BUCKET_BITS + 1  # durations of so many bits have a bucket each
SHIFT_MAX = VALUE_BITS_MAX - LINEAR_BITS

SUM = HEADER_BYTES // WORD_BYTES
MAX = SUM + 1
FIRST_BUCKET = FIRST_GATE  # the next cache line
LAST_BUCKET = FIRST_BUCKET + BUCKET_COUNT - 1

assert BUCKET_COUNT - 1 == (SHIFT_MAX << SUB_BUCKET_BITS) + (1 << LINEAR_BITS) - 1


@dataclass(frozen=True, slots=True)
class HistogramSnapshot:
    """The records of one histogram, or of several together, at one moment; all 0 without
    records.
    """

    count: int
    sum_ns: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class Cumulative(NamedTuple):
    """How many records were at most as long as each of `edges_ns`."""

    counts: list[int]
    total: int
    sum_ns: int


def bucket_last_ns(bucket: int) -> int:
    """The longest duration that a bucket counts, except the last bucket, which counts all
    longer ones.
    """
    shift = max(0, (bucket >> SUB_BUCKET_BITS) - 1)
    return ((bucket - (shift << SUB_BUCKET_BITS) + 1) << shift) - 1


class Histogram:
    """Durations of one kind, in nanoseconds."""

    bytes_needed: ClassVar[int] = (FIRST_BUCKET + BUCKET_COUNT) * WORD_BYTES

    @staticmethod
    def format(memory: Memory) -> None:
        """Write the header of an empty histogram into this memory of `bytes_needed`."""
        write_header(memory, HISTOGRAM_MAGIC, Histogram.bytes_needed, (BUCKET_COUNT,))

    def __init__(self, memory: Memory) -> None:
        bucket_count = read_header(memory, HISTOGRAM_MAGIC)[0]
        if bucket_count != BUCKET_COUNT:
            raise LayoutMismatch("histogram buckets", BUCKET_COUNT, bucket_count)
        # All of its words. The compiled strategy host counts in them itself, on the same
        # thread, so nothing of them is remembered here.
        self.words = as_words(memory)

    def record(self, ns: int) -> None:
        """Count one duration.

        A negative one, possible between clocks of different hosts, counts as 0.
        """
        if ns < 0:
            ns = 0
        words = self.words
        if ns > words[MAX]:
            words[MAX] = ns
        words[SUM] += ns
        shift = ns.bit_length() - LINEAR_BITS
        if shift <= 0:
            words[FIRST_BUCKET + ns] += 1
        elif shift <= SHIFT_MAX:
            words[FIRST_BUCKET + (shift << SUB_BUCKET_BITS) + (ns >> shift)] += 1
        else:
            words[LAST_BUCKET] += 1

    def percentile(self, percent: float) -> int:
        """The duration that this share of all records did not exceed, 0 < percent <= 100; 0
        without records.
        """
        return merged_percentile([self], percent)

    def snapshot(self) -> HistogramSnapshot:
        return merged_snapshot([self])

    def cumulative(self) -> Cumulative:
        """How many durations were at most as long as each of `edges_ns`, and all of them."""
        counts, sum_ns, _ = self._load()
        sums = list(accumulate(counts))
        return Cumulative([sums[bucket] for bucket in EDGE_BUCKETS], sums[-1], sum_ns)

    def _load(self) -> tuple[list[int], int, int]:
        """The present bucket counts, sum and max."""
        return self.words[FIRST_BUCKET:].tolist(), self.words[SUM], self.words[MAX]


# Two edges to a power of two, from a microsecond to 17 s; each is the last duration of a
# bucket, so the counts up to it are exact.
EDGE_BITS_MIN, EDGE_BITS_MAX = 10, 34
EDGE_BUCKETS = tuple(
    ((bits - SUB_BUCKET_BITS + 1) << SUB_BUCKET_BITS) + half - 1
    for bits in range(EDGE_BITS_MIN, EDGE_BITS_MAX)
    for half in (0, 1 << (SUB_BUCKET_BITS - 1))
)


def edges_ns() -> list[int]:
    """The durations up to which `Histogram.cumulative` counts, in rising order."""
    return [bucket_last_ns(bucket) for bucket in EDGE_BUCKETS]


def new_histogram() -> Histogram:
    """An empty histogram in memory of this process's own."""
    memory = bytearray(Histogram.bytes_needed)
    Histogram.format(memory)
    return Histogram(memory)


def _merge(histograms: Iterable[Histogram]) -> tuple[list[int], int, int]:
    # Who looks on does so for a dozen, some times a second.
    loaded = [histogram._load() for histogram in histograms]
    if len(loaded) == 1:
        return loaded[0]
    counts = list(map(sum, zip(*(each[0] for each in loaded), strict=True)))
    return counts, sum(each[1] for each in loaded), max((each[2] for each in loaded), default=0)


def _percentile(sums: Sequence[int], max_ns: int, percent: float) -> int:
    """`sums`: of the counts up to each bucket."""
    if not 0 < percent <= 100:
        raise MisuseError(f"a percentile is above 0 and at most 100, not {percent}")
    if not sums or not sums[-1]:
        return 0
    # The number of records from the smallest on; rounded first, because 99.9 % of 1,000 is
    # 999 and not 999.0000000000001.
    bucket = bisect_left(sums, max(1, ceil(round(sums[-1] * percent / 100, 6))))
    return min(bucket_last_ns(bucket), max_ns) if bucket < BUCKET_COUNT - 1 else max_ns


def merged_percentile(histograms: Iterable[Histogram], percent: float) -> int:
    """`Histogram.percentile` of several histograms taken together."""
    counts, _, max_ns = _merge(histograms)
    return _percentile(list(accumulate(counts)), max_ns, percent)


def merged_snapshot(histograms: Iterable[Histogram]) -> HistogramSnapshot:
    """`Histogram.snapshot` of several histograms taken together."""
    counts, sum_ns, max_ns = _merge(histograms)
    sums = list(accumulate(counts))
    p50_ns, p99_ns, p999_ns = (_percentile(sums, max_ns, percent) for percent in (50, 99, 99.9))
    return HistogramSnapshot(sums[-1] if sums else 0, sum_ns, p50_ns, p99_ns, p999_ns, max_ns)
