"""The order router's status as others read it: one JSON object on a board of one slot.

byte  0               4
      ┌───────────────┬──────────────────────────────┐
      │ bytes of text │ a JSON object, then anything │
      └───────────────┴──────────────────────────────┘
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from engine.ring import BoardReader, BoardWriter, Memory, board_bytes, format_board
from engine.topology import ROUTER_STATUS_BYTES

STOPPING: Final = "the engine is stopping"  # why no order is taken at the end of a run
LENGTH_BYTES: Final = 4
TEXT_BYTES_MAX: Final = ROUTER_STATUS_BYTES - LENGTH_BYTES
STATUS_BOARD_BYTES: Final = board_bytes(ROUTER_STATUS_BYTES, 1)

_encode = msgspec.json.Encoder().encode


def format_status_board(memory: Memory) -> None:
    """Make an empty status board of this memory of STATUS_BOARD_BYTES."""
    format_board(memory, record_bytes=ROUTER_STATUS_BYTES, slot_count=1)


def store_status(board: BoardWriter, status: Mapping[str, Any]) -> bool:
    """Replace the status. False, with the board unchanged, if the text is longer than
    TEXT_BYTES_MAX.
    """
    text = _encode(status)
    if len(text) > TEXT_BYTES_MAX:
        return False
    board.store(0, len(text).to_bytes(LENGTH_BYTES, "little") + text)
    return True


def read_status(board: BoardReader) -> dict[str, Any]:
    """The status that was stored last; empty before the first."""
    record = board.read(0)
    if record is None:
        return {}
    length = int.from_bytes(record[:LENGTH_BYTES], "little")
    status: dict[str, Any] = msgspec.json.decode(record[LENGTH_BYTES : LENGTH_BYTES + length])
    return status
