"""The pair table of a shard, in shared memory: which pair has which place, and what of it
is wanted from Kraken.

It says what is wanted, not what to do: the engine's process writes it whenever a program or
a strategy subscribes or unsubscribes; the shard's feed compares it with what it does, the
router and the hosts look up names in it. So whoever dies and starts again finds the whole
truth in it, and nobody has to be told again.

A pair keeps its place for the whole run, unsubscribed or not, so a record that a reader has
not taken yet is never taken for another pair's. Only the place of a name that Kraken has
refused, of which there never was a record, is given again.

    memory    a board of one slot (engine/ring/board.py): the rows as JSON, zeros behind
    version   the board's `complete_upto`, moved after the rows are stored
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from engine.ring import BoardReader, BoardWriter, Memory, board_bytes, format_board
from engine.topology import PairRow, Shard

ROW_BYTES_MAX: Final = 80  # two assets of 24 characters, a slash, channels and a flag, in JSON

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[PairRow, ...]).decode


def _record_bytes(shard: Shard) -> int:
    return ROW_BYTES_MAX * (shard.pairs_max + 1)


def pair_table_bytes(shard: Shard) -> int:
    """Size of the memory that `PairTableWriter` needs."""
    return board_bytes(_record_bytes(shard), 1)


class PairTableWriter:
    """The one writer of a shard's table."""

    def __init__(self, memory: Memory, shard: Shard, rows: Sequence[PairRow]) -> None:
        """Format the memory, and store the first rows."""
        format_board(memory, record_bytes=_record_bytes(shard), slot_count=1)
        self._board = BoardWriter(memory)
        self._version = 0
        self.store(rows)

    def store(self, rows: Sequence[PairRow]) -> None:
        """Replace the rows; readers see the old ones or the new ones."""
        self._board.store(0, _encode(rows))
        self._version += 1
        self._board.complete(self._version)


class PairTable:
    """A reader of a shard's table; `version` costs next to nothing."""

    def __init__(self, memory: Memory) -> None:
        self._board = BoardReader(memory)
        # The rows, and their version; one attribute, because several threads may read.
        self._read: tuple[tuple[PairRow, ...], int] = (), 0

    @property
    def version(self) -> int:
        """Changes whenever the rows change."""
        return self._board.complete_upto

    @property
    def rows(self) -> tuple[PairRow, ...]:
        """The places in use, in the order of their index."""
        version, (rows, read_version) = self.version, self._read
        if version != read_version and (record := self._board.read(0)) is not None:
            rows = _decode(record.rstrip(b"\0"))
            self._read = rows, version
        return rows
