"""Named counters that another process reads under the same names."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.ring import LayoutMismatch, Segment
from engine.telemetry import Counters, counters_bytes, format_counters, new_counters
from engine.telemetry.counters import COUNTER_COUNT_MAX

NAMES = ("frames", "gaps", "position")


@pytest.fixture
def memory():
    memory = bytearray(counters_bytes(NAMES))
    format_counters(memory, NAMES)
    return memory


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.booleans(), st.integers(-(2**40), 2**40)), max_size=50))
def test_counters_are_a_dict_in_shared_memory(changes):
    """Whatever is set and added, every reader sees what a dict would hold."""
    memory = bytearray(counters_bytes(NAMES))
    format_counters(memory, NAMES)
    writer, reader = Counters(memory, NAMES), Counters(memory, NAMES)
    expected = dict.fromkeys(NAMES, 0)
    for name, is_set, value in changes:
        if is_set:
            writer.set(name, value)
            expected[name] = value
        else:
            writer.add(name, value)
            expected[name] += value

    assert reader.snapshot() == expected
    assert [reader.get(name) for name in NAMES] == list(expected.values())


def test_the_whole_signed_range_fits(memory):
    """63 bits and a sign."""
    counters = Counters(memory, NAMES)
    counters.set("frames", 2**63 - 1)
    counters.set("gaps", -(2**63))

    assert counters.snapshot() == {"frames": 2**63 - 1, "gaps": -(2**63), "position": 0}


def test_hot_code_counts_by_index(memory):
    """The values are reachable without a name look-up."""
    counters = Counters(memory, NAMES)
    values, index = counters.values, counters.index("gaps")
    values[index] += 3

    assert counters.get("gaps") == 3


def test_values_outlive_their_writer(memory):
    """A restarted actor counts on where its last life stopped."""
    Counters(memory, NAMES).add("frames", 5)
    Counters(memory, NAMES).add("frames")

    assert Counters(memory, NAMES).get("frames") == 6


@pytest.mark.parametrize("names", [("gaps", "frames", "position"), ("frames",), ("frames", "gaps", "places")])
def test_other_names_are_refused(memory, names):
    """Another order, number or name means another build: its numbers would be read under
    wrong names.
    """
    with pytest.raises(LayoutMismatch, match=r"counter names: expected .* found 3 with hash"):
        Counters(memory, names)


@pytest.mark.parametrize("names", [(), ("frames", "frames"), tuple(map(str, range(COUNTER_COUNT_MAX + 1)))])
def test_names_are_different_and_not_too_many(names):
    """None, twice the same, or more than the written bound."""
    with pytest.raises(MisuseError, match=f"from 1 to {COUNTER_COUNT_MAX} different names"):
        counters_bytes(names)


def test_an_unknown_name_is_misuse(memory):
    """A typing error in code, not a new counter."""
    with pytest.raises(MisuseError, match="no counter 'frame'"):
        Counters(memory, NAMES).add("frame")


def test_new_counters_begin_at_zero():
    """In memory of their own, for replay and tests."""
    assert new_counters(NAMES).snapshot() == dict.fromkeys(NAMES, 0)


def test_a_status_process_reads_without_being_able_to_write():
    """On a read-only mapping a snapshot works and a store does not."""
    segment = Segment.create("counters", counters_bytes(NAMES))
    format_counters(segment.memory, NAMES)
    Counters(segment.memory, NAMES).add("gaps", 2)
    watching = Counters(Segment.attach(os.dup(segment.fd), writable=False).memory, NAMES)

    assert watching.snapshot() == {"frames": 0, "gaps": 2, "position": 0}
    with pytest.raises(TypeError):
        watching.add("gaps")
