"""What a memory must be before anybody reads a word of it."""

import pytest

from engine.errors import MisuseError, UserError
from engine.ring import LayoutMismatch, Publisher, Subscriber, UnsupportedMachine, format_ring, ring_bytes
from engine.ring.layout import (
    CACHE_LINE_BYTES,
    LAYOUT_VERSION,
    MAGIC,
    ORDER_MARK,
    TOTAL_BYTES,
    VERSION,
    WORD_BYTES,
    RingLayout,
    as_words,
    check_machine,
)


def test_other_machines_are_refused_in_one_sentence():
    """The portable rings' argument holds on x86-64 alone, and the user is told so, and what to do."""
    check_machine("x86_64")
    check_machine("AMD64")

    with pytest.raises(UnsupportedMachine) as refusal:
        check_machine("aarch64")
    assert str(refusal.value) == (
        "the portable rings need an x86-64 machine and this one is aarch64: "
        "run tools/setup where there is a C compiler, which builds rings for any machine"
    )
    assert isinstance(refusal.value, UserError)


@pytest.mark.parametrize(
    ("word", "value", "sentence"),
    [
        (MAGIC, 0, r"EngRing magic: expected b'EngRing\x00', found b'\x00\x00\x00\x00\x00\x00\x00\x00'"),
        (
            ORDER_MARK,
            0x0807060504030201,
            "EngRing byte order mark: expected 0x102030405060708, found 0x807060504030201",
        ),
        (
            VERSION,
            LAYOUT_VERSION + 1,
            f"EngRing layout version: expected {LAYOUT_VERSION}, found {LAYOUT_VERSION + 1}",
        ),
        (TOTAL_BYTES, 4096, "EngRing size in bytes: expected 4096, found 960"),
    ],
)
def test_attach_refuses_what_it_does_not_know(make_ring, word, value, sentence):
    """A memory of another kind, build, byte order or size is refused, saying what was
    expected and what found.
    """
    memory = make_ring()
    as_words(memory)[word] = value

    for attach in (Publisher, Subscriber):
        with pytest.raises(LayoutMismatch) as refusal:
            attach(memory)
        assert str(refusal.value) == sentence


def test_attach_refuses_memory_too_small_for_a_header():
    """Not even the header fits: refused, not an IndexError."""
    with pytest.raises(LayoutMismatch, match="at least 128 bytes, found 64 bytes"):
        Subscriber(bytearray(64))


def test_format_needs_exactly_the_planned_memory():
    """Memory of another size is a mistake of the caller's, found before anything is
    written.
    """
    memory = bytearray(ring_bytes(16, 4) + 8)

    with pytest.raises(MisuseError, match="takes 960 bytes and the memory has 968"):
        format_ring(memory, record_bytes=16, slot_count=4)
    assert memory == bytes(968)


def test_format_refuses_misaligned_memory():
    """A word across two cache lines could tear, so a memory that begins off a word is
    refused.
    """
    memory = memoryview(bytearray(ring_bytes(16, 4) + 8))

    with pytest.raises(MisuseError, match="multiple of 8"):
        format_ring(memory[4:-4], record_bytes=16, slot_count=4)


@pytest.mark.parametrize(
    "plan",
    [
        {"slot_count": 3},
        {"slot_count": 1},
        {"slot_count": 1 << 25},
        {"record_bytes": 0},
        {"gate_count": 65},
        {"gate_count": -1},
        {"doorbell_count": 65},
    ],
)
def test_impossible_plans_are_refused(plan):
    """Sizes outside their written bounds never reach the memory."""
    with pytest.raises(MisuseError):
        ring_bytes(**{"record_bytes": 16, "slot_count": 4, **plan})


def test_nothing_shares_a_cache_line_with_another_writer():
    """The publisher, each gate, each doorbell and each slot have lines of their own."""
    layout = RingLayout.plan(record_bytes=57, slot_count=4, gate_count=3, doorbell_count=2)
    words = [layout.gate_word(gate) for gate in range(3)] + [layout.doorbell_word(bell) for bell in range(2)]
    lines = [word * WORD_BYTES // CACHE_LINE_BYTES for word in [*words, layout.first_slot_word]]

    assert lines == [3, 4, 5, 6, 7, 8]
    assert layout.slot_bytes == 128
    assert layout.total_bytes == 8 * CACHE_LINE_BYTES + 4 * 128
    with pytest.raises(MisuseError, match="no gate 3"):
        layout.gate_word(3)
    with pytest.raises(MisuseError, match="no doorbell 2"):
        layout.doorbell_word(2)


def test_formatting_again_leaves_nothing_of_the_ring_before(make_ring):
    """Old stamps would be read as records."""
    memory = make_ring()
    publisher = Publisher(memory)
    for _ in range(9):
        publisher.publish(b"x" * 16)

    format_ring(memory, record_bytes=16, slot_count=4)

    assert Subscriber(memory, 1).poll() is None
    assert memory == make_ring()


@pytest.mark.parametrize("is_zeroed", [False, True])
def test_only_memory_that_may_hold_something_is_cleared(is_zeroed: bool):
    """A fresh ring of gigabytes is not written a second time."""
    memory = bytearray(ring_bytes(16, 4))
    memory[-1] = 7
    format_ring(memory, record_bytes=16, slot_count=4, is_zeroed=is_zeroed)

    assert memory[-1] == (7 if is_zeroed else 0)
    assert Publisher(memory).cursor == 0
