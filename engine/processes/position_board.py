"""The order router's positions as others read them: a board with one slot a position, which
is written when it has changed.

byte  0               4
      ┌───────────────┬──────────────────────────────────────┐
      │ bytes of text │ a JSON PositionRow, then anything    │
      └───────────────┴──────────────────────────────────────┘

A position has no price on it: who reads it values it by the market's boards. There is room
for POSITIONS_MAX; how many further ones there are, the status says, and `engine positions`
asks the router itself.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from engine.orders.positions import PositionState
from engine.ring import BoardReader, BoardWriter, Memory, board_bytes, format_board

POSITIONS_MAX: Final = 8192
POSITIONS_WRITTEN_MAX: Final = 32  # at once, some 0.2 ms; the next ones a twentieth of a second later
LENGTH_BYTES: Final = 4
SLOT_BYTES: Final = 512


class PositionRow(Struct, frozen=True, array_like=True):
    """One strategy's position in one pair."""

    strategy: str
    symbol: str
    qty: Decimal
    cost: Decimal
    realized: Decimal
    fees: Decimal
    unknown_cost_qty: Decimal

    @property
    def state(self) -> PositionState:
        return PositionState(self.qty, self.cost, self.realized, self.fees, self.unknown_cost_qty)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PositionRow).decode


def position_slots(strategies: int, pairs: int) -> int:
    """The number of positions with a slot: of each strategy in each pair, and as many again
    for strategies of earlier runs, up to POSITIONS_MAX.
    """
    return min(POSITIONS_MAX, 2 * max(1, strategies) * max(1, pairs))


def position_board_bytes(slots: int) -> int:
    """Size of the memory that `format_position_board` needs."""
    return board_bytes(SLOT_BYTES, slots)


def format_position_board(memory: Memory, slots: int) -> None:
    """Make an empty board of this memory."""
    format_board(memory, record_bytes=SLOT_BYTES, slot_count=slots)


class PositionBoardWriter:
    """The one writer of the board, or the successor of one that was killed."""

    def __init__(self, memory: Memory) -> None:
        self._board = BoardWriter(memory)
        # By strategy and pair: its slot; for ever, since a position stays when it is
        # closed.
        self._slots: dict[tuple[str, str], int] = {}
        # Positions that are not on the board: there is no room, or its numbers are too
        # long.
        self.left_out: set[tuple[str, str]] = set()

    def store(self, rows: Iterable[tuple[str, str, PositionState]]) -> None:
        """Write positions as they are now."""
        for strategy, symbol, state in rows:
            key = strategy, symbol
            slot = self._slots.get(key, len(self._slots))
            row = PositionRow(
                strategy, symbol, state.qty, state.cost, state.realized, state.fees, state.unknown_cost_qty
            )
            text = _encode(row)
            if slot >= self._board.slot_count or len(text) > SLOT_BYTES - LENGTH_BYTES:
                self.left_out.add(key)
                continue
            self.left_out.discard(key)
            self._slots[key] = slot
            self._board.store(slot, len(text).to_bytes(LENGTH_BYTES, "little") + text)


class PositionBoardReader:
    """Reads the positions, in the order in which they were opened."""

    def __init__(self, memory: Memory) -> None:
        self._board = BoardReader(memory)

    def rows(self) -> Iterator[PositionRow]:
        """Every position on the board, once."""
        seen: dict[tuple[str, str], PositionRow] = {}
        for slot in range(self._board.slot_count):
            record = self._board.read(slot)
            if record is None:
                break
            length = int.from_bytes(record[:LENGTH_BYTES], "little")
            row = _decode(record[LENGTH_BYTES : LENGTH_BYTES + length])
            # A successor that opens positions in another order writes them all anew.
            seen[row.strategy, row.symbol] = row
        yield from seen.values()
