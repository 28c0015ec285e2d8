"""The router's status on its board: one object, whole, or as it was."""

import pytest

from engine.processes.status_board import (
    STATUS_BOARD_BYTES,
    TEXT_BYTES_MAX,
    format_status_board,
    read_status,
    store_status,
)
from engine.ring import BoardReader, BoardWriter


@pytest.fixture
def memory():
    """An empty status board."""
    memory = bytearray(STATUS_BOARD_BYTES)
    format_status_board(memory)
    return memory


def test_what_is_stored_last_is_read(memory):
    """Empty before the first; a shorter status leaves nothing of a longer one behind it."""
    board, reader = BoardWriter(memory), BoardReader(memory)
    before = read_status(reader)
    stored = [store_status(board, {"mode": "active", "reason": "x" * 1000}), store_status(board, {"mode": "halted"})]

    assert before == {}
    assert stored == [True, True]
    assert read_status(reader) == {"mode": "halted"}


def test_a_status_that_is_too_long_leaves_the_last_one(memory):
    """The longest that fits is stored; one byte more is refused, and the writer is told."""
    board, reader = BoardWriter(memory), BoardReader(memory)
    frame_chars = len('{"reason":""}')
    longest = {"reason": "x" * (TEXT_BYTES_MAX - frame_chars)}

    assert store_status(board, longest)
    assert not store_status(board, {"reason": longest["reason"] + "x"})
    assert read_status(reader) == longest
