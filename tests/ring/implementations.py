"""The two implementations of rings, boards and doorbells, and who can stand opposite whom."""

from types import SimpleNamespace
from typing import Any

from engine.native import CORE
from engine.ring import board, doorbell, ring

WRITERS = ("Publisher", "BoardWriter")
READERS = ("Subscriber", "GatedSubscriber", "BoardReader", "Doorbell")

IMPLEMENTATIONS: dict[str, Any] = {
    "portable": SimpleNamespace(
        Publisher=ring.Publisher,
        BoardWriter=board.BoardWriter,
        Subscriber=ring.Subscriber,
        GatedSubscriber=ring.GatedSubscriber,
        BoardReader=board.BoardReader,
        Doorbell=doorbell.Doorbell,
    )
}
if CORE is not None:
    IMPLEMENTATIONS["native"] = CORE

# Who writes and who reads. Where there is no extension, or it is not wanted, only the portable ones.
PAIRINGS = [(writer, reader) for writer in IMPLEMENTATIONS for reader in IMPLEMENTATIONS]
PORTABLE_WRITER = [pairing for pairing in PAIRINGS if pairing[0] == "portable"]
