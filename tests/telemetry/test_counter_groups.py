"""Counters that are written together, and the heartbeat among them."""

import pytest

from engine.errors import MisuseError
from engine.telemetry import CounterGroup, Heartbeat, new_counters
from engine.units import INT64_MAX, INT64_MIN, MonoNs

NAMES = ("frames", "gaps", "state", "heartbeat_ns")


def test_a_successor_counts_on_from_where_its_predecessor_ended():
    """Counts of two lives are added; a level is as it was last written."""
    counters = new_counters(NAMES)
    CounterGroup(counters, ("gaps", "state"), levels=("state",)).write((3, 2))
    successor = CounterGroup(counters, ("gaps", "state"), levels=("state",))
    successor.write((1, 1))
    successor.write((4, 1))

    assert counters.snapshot() == {"frames": 0, "gaps": 7, "state": 1, "heartbeat_ns": 0}


def test_counts_that_did_not_change_are_not_stored_again():
    """They are asked for many times a second, and change seldom; one that changed has all of them stored."""
    counters = new_counters(NAMES)
    group = CounterGroup(counters, ("gaps", "state"))
    group.write((3, 2))
    counters.set("gaps", 0)
    group.write((3, 2))
    unchanged = counters.get("gaps")
    group.write((3, 4))

    assert unchanged == 0
    assert (counters.get("gaps"), counters.get("state")) == (3, 4)


@pytest.mark.parametrize("count", [2**70, -(2**70)])
def test_a_count_beyond_64_bits_is_clamped(count):
    """What is counted does not end the process that counts it."""
    counters = new_counters(NAMES)
    CounterGroup(counters, ("gaps",)).write((count,))

    assert counters.get("gaps") == (INT64_MAX if count > 0 else INT64_MIN)


def test_a_group_knows_its_names_and_how_many_they_are():
    """An unknown name is refused at once, a wrong number of counts when they are written."""
    counters = new_counters(NAMES)

    with pytest.raises(MisuseError, match="there is no counter 'laps'"):
        CounterGroup(counters, ("gaps", "laps"))
    with pytest.raises(ValueError):
        CounterGroup(counters, ("gaps", "state")).write((1,))


def test_a_heartbeat_is_seen_by_whoever_has_the_same_memory():
    """0 before the first beat, the time of the last one, and 0 again after the end."""
    counters = new_counters(NAMES)
    process, watcher = Heartbeat(counters), Heartbeat(counters)
    seen = [watcher.last_at]
    process.beat(MonoNs(5))
    seen.append(watcher.last_at)
    process.end()

    assert [*seen, watcher.last_at] == [0, 5, 0]
