"""The account's balances as the strategies read them: a board with one slot an asset, which
the order router writes once for all of them.

slot 0   stored as soon as Kraken has told all balances: an asset without a slot is not held
slot n   byte  0                 4
               ┌─────────────────┬───────────────────────────────────┐
               │ bytes of record │ a Balance in MessagePack, padding │
               └─────────────────┴───────────────────────────────────┘

Slots are taken in turn, and never change hands. What the board says outlives the router,
and is what its successor begins with.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
import structlog

from engine.orders.balances import ASSETS_MAX
from engine.orders.rings.reports import Balance
from engine.ring import BoardReader, BoardWriter, Memory, board_bytes, format_board

LENGTH_BYTES: Final = 4
RECORD_BYTES: Final = 248  # an asset's name and four amounts
TOLD_SLOT: Final = 0
FIRST_SLOT: Final = 1
BALANCE_BOARD_BYTES: Final = board_bytes(RECORD_BYTES, FIRST_SLOT + ASSETS_MAX)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Balance).decode

log = structlog.get_logger("order_router")


def format_balance_board(memory: Memory, *, is_zeroed: bool = False) -> None:
    """Make an empty board of this memory of BALANCE_BOARD_BYTES. `is_zeroed`: of memory
    that is fresh.
    """
    format_board(memory, record_bytes=RECORD_BYTES, slot_count=FIRST_SLOT + ASSETS_MAX, is_zeroed=is_zeroed)


class BalanceBoardWriter:
    """The one writer of the board, or the successor of one that was killed."""

    def __init__(self, memory: Memory) -> None:
        self._board = BoardWriter(memory)
        self._slots = {balance.asset: slot for slot, balance in _balances(BoardReader(memory), FIRST_SLOT)}
        # Assets that found no room, as logged.
        self._untold: set[str] = set()

    @property
    def assets(self) -> tuple[str, ...]:
        """All assets that are on the board, a predecessor's too."""
        return tuple(self._slots)

    def store(self, balance: Balance) -> None:
        """Replace one asset's balance.

        What finds no room stays as it was, and is logged once.
        """
        record, slot = _encode(balance), self._slots.get(balance.asset, FIRST_SLOT + len(self._slots))
        if LENGTH_BYTES + len(record) > RECORD_BYTES or slot >= self._board.slot_count:
            if balance.asset not in self._untold and len(self._untold) < ASSETS_MAX:
                self._untold.add(balance.asset)
                log.error("a balance cannot be told", asset=balance.asset[:100], bytes=len(record))
            return
        self._board.store(slot, len(record).to_bytes(LENGTH_BYTES, "little") + record)
        self._slots[balance.asset] = slot

    def tell_all(self) -> None:
        """Mark the balances as complete: Kraken has sent all of them."""
        self._board.store(TOLD_SLOT, b"")


class BalanceBoardReader:
    """Reads the balances; one for all strategies of a process."""

    def __init__(self, memory: Memory) -> None:
        self._board = BoardReader(memory)
        # The slots seen so far; others may follow.
        self._slots: dict[str, int] = {}

    def balance(self, asset: str) -> Balance | None:
        """One asset of the account; None while Kraken has not told it, all zero for one
        that is not held.
        """
        is_told = self._board.read(TOLD_SLOT) is not None  # first: what it promises is stored by then
        if (slot := self._slots.get(asset)) is not None:
            return _read(self._board, slot)
        for slot, balance in _balances(self._board, FIRST_SLOT + len(self._slots)):
            self._slots[balance.asset] = slot
        if (slot := self._slots.get(asset)) is not None:
            return _read(self._board, slot)
        return Balance(asset) if is_told else None


def _balances(board: BoardReader, slot: int) -> Iterator[tuple[int, Balance]]:
    """The balances from this slot on, each with its slot."""
    while slot < board.slot_count and (balance := _read(board, slot)) is not None:
        yield slot, balance
        slot += 1


def _read(board: BoardReader, slot: int) -> Balance | None:
    if (record := board.read(slot)) is None:
        return None
    return _decode(record[LENGTH_BYTES : LENGTH_BYTES + int.from_bytes(record[:LENGTH_BYTES], "little")])
