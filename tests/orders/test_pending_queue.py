"""The queue under the rate counter: bounded, fair on each pair, and no pair holds up another."""

from engine.orders.pending_queue import PendingQueue
from engine.units import MonoNs


def queue(*entries, size_max=10):
    """Put (pair, key, time) in."""
    waiting = PendingQueue(size_max)
    for symbol, key, now in entries:
        assert waiting.put(symbol, key, key.upper(), MonoNs(now))
    return waiting


def test_first_come_first_served_on_each_pair():
    """And each pair by itself."""
    waiting = queue(("A", "a1", 0), ("B", "b1", 1), ("A", "a2", 2))

    assert (waiting.first("A").key, waiting.waiting("A"), waiting.size) == ("a1", 2, 3)
    assert [waiting.pop("A").entry, waiting.pop("B").entry, waiting.pop("A").entry] == ["A1", "B1", "A2"]
    assert (waiting.pop("A"), waiting.first("A"), waiting.symbols(), waiting.size) == (None, None, (), 0)


def test_full_is_an_answer():
    """Over all pairs together, and one key waits once."""
    waiting = queue(("A", "a1", 0), ("B", "b1", 0), size_max=2)

    assert waiting.is_full
    assert not waiting.put("C", "c1", "", MonoNs(0))
    waiting.pop("A")
    assert not waiting.put("B", "b1", "", MonoNs(0))
    assert waiting.put("C", "c1", "", MonoNs(0))


def test_an_order_that_is_canceled_leaves_out_of_turn():
    """It was never sent."""
    waiting = queue(("A", "a1", 0), ("A", "a2", 0), ("A", "a3", 0))

    assert waiting.remove("A", "a2").key == "a2"
    assert waiting.remove("A", "a2") is None
    assert waiting.remove("Z", "a1") is None
    assert [waiting.pop("A").key, waiting.pop("A").key] == ["a1", "a3"]


def test_what_waited_too_long_is_taken_out():
    """The others stay."""
    waiting = queue(("A", "a1", 0), ("A", "a2", 50), ("B", "b1", 10))

    assert [(symbol, gone.key) for symbol, gone in waiting.expired(MonoNs(111), 100)] == [("A", "a1"), ("B", "b1")]
    assert (waiting.symbols(), waiting.size) == (("A",), 1)
