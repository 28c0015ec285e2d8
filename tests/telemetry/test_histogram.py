"""The histogram against sorting the same durations."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.ring import LayoutMismatch
from engine.telemetry import Histogram, HistogramSnapshot, merged_percentile, merged_snapshot, new_histogram
from engine.telemetry.histogram import BUCKET_COUNT, FIRST_BUCKET, VALUE_BITS_MAX, bucket_last_ns

SECONDS_100 = 100 * 10**9
# As likely 5 ns as 50 s: the exponent is drawn first.
durations = st.integers(0, VALUE_BITS_MAX - 1).flatmap(lambda bits: st.integers(0, 1 << bits))
percents = st.sampled_from([1e-9, 1, 50, 90, 99, 99.9, 100]) | st.floats(0.01, 100)


def exact_percentile(recorded, percent):
    return sorted(recorded)[max(1, math.ceil(round(len(recorded) * percent / 100, 6))) - 1]


@given(st.lists(durations, min_size=1, max_size=200), percents)
def test_percentiles_are_never_below_and_at_most_a_32nd_above(recorded, percent):
    """Compared with sorting everything; count, sum and max are exact."""
    histogram = new_histogram()
    for ns in recorded:
        histogram.record(ns)
    snapshot = histogram.snapshot()
    exact = exact_percentile(recorded, percent)

    assert exact <= histogram.percentile(percent) <= exact * 33 / 32
    assert (snapshot.count, snapshot.sum_ns, snapshot.max_ns) == (len(recorded), sum(recorded), max(recorded))
    assert snapshot.p50_ns <= snapshot.p99_ns <= snapshot.p999_ns <= snapshot.max_ns


@given(st.lists(st.lists(durations, max_size=50), max_size=4), percents)
def test_merged_is_as_if_recorded_in_one(recorded_each, percent):
    """Shards of one actor are read as one histogram."""
    together, each = new_histogram(), []
    for recorded in recorded_each:
        each.append(new_histogram())
        for ns in recorded:
            together.record(ns)
            each[-1].record(ns)

    assert merged_snapshot(each) == together.snapshot()
    assert merged_percentile(each, percent) == together.percentile(percent)


def test_every_duration_has_one_bucket_and_buckets_meet():
    """Each bucket ends where the next begins, from 0 to beyond 100 s, and recording finds the same edges."""
    edges = [bucket_last_ns(bucket) for bucket in range(BUCKET_COUNT)]
    memory = bytearray(Histogram.bytes_needed)
    Histogram.format(memory)
    histogram = Histogram(memory)
    for edge in edges:
        histogram.record(edge)
        histogram.record(edge + 1)

    assert edges[:64] == list(range(64))
    assert all(later > earlier for earlier, later in pairwise(edges))
    assert edges[-1] == 2**VALUE_BITS_MAX - 1 > SECONDS_100
    assert memoryview(memory).cast("Q")[FIRST_BUCKET:].tolist() == [1] + [2] * (BUCKET_COUNT - 2) + [3]


def test_what_no_bucket_can_hold_is_still_counted():
    """Beyond the last bucket, and below 0: neither lost nor an error, and the maximum stays exact."""
    histogram = new_histogram()
    histogram.record(-5)
    histogram.record(3600 * 10**9)

    assert histogram.snapshot() == HistogramSnapshot(2, 3600 * 10**9, 0, 3600 * 10**9, 3600 * 10**9, 3600 * 10**9)


def test_an_empty_histogram_is_all_zero():
    """Nothing recorded, or nothing to merge."""
    assert new_histogram().snapshot() == HistogramSnapshot(0, 0, 0, 0, 0, 0) == merged_snapshot([])


def test_a_percentile_is_a_percentage():
    """0 and 101 mean nothing."""
    for percent in (0, -1, 101):
        with pytest.raises(MisuseError, match="above 0 and at most 100"):
            new_histogram().percentile(percent)


def test_a_histogram_outlives_its_writer():
    """A restarted actor goes on with sum, maximum and counts."""
    memory = bytearray(Histogram.bytes_needed)
    Histogram.format(memory)
    Histogram(memory).record(1000)
    Histogram(memory).record(10)

    snapshot = Histogram(memory).snapshot()
    assert (snapshot.count, snapshot.sum_ns, snapshot.max_ns) == (2, 1010, 1000)


def test_another_memory_is_refused():
    """Something that is no histogram, or one of other buckets."""
    memory = bytearray(Histogram.bytes_needed)
    with pytest.raises(LayoutMismatch, match="EngHisto magic"):
        Histogram(memory)
    Histogram.format(memory)
    memoryview(memory).cast("Q")[4] = 7
    with pytest.raises(LayoutMismatch, match="histogram buckets: expected 1056, found 7"):
        Histogram(memory)
