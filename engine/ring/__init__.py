"""Shared-memory rings between processes. Start with layout.py: the memory map and the
ordering argument.
"""

from typing import TYPE_CHECKING

from engine.native import CORE
from engine.ring.board import board_bytes, format_board
from engine.ring.doorbell import RECHECK_NS, Readable, open_eventfd, try_sleep
from engine.ring.layout import LayoutMismatch, Memory, UnsupportedMachine
from engine.ring.ring import OLDEST, format_ring, gate_lag, ring_bytes, ring_slots
from engine.ring.segment import NoSharedMemory, Segment

if TYPE_CHECKING or CORE is None:
    from engine.ring.board import BoardReader, BoardWriter
    from engine.ring.doorbell import Doorbell, full_fence
    from engine.ring.ring import GatedSubscriber, Publisher, Subscriber
else:
    BoardReader, BoardWriter, Doorbell = CORE.BoardReader, CORE.BoardWriter, CORE.Doorbell
    GatedSubscriber, Publisher, Subscriber = CORE.GatedSubscriber, CORE.Publisher, CORE.Subscriber
    full_fence = CORE.full_fence

__all__ = [
    "OLDEST",
    "RECHECK_NS",
    "BoardReader",
    "BoardWriter",
    "Doorbell",
    "GatedSubscriber",
    "LayoutMismatch",
    "Memory",
    "NoSharedMemory",
    "Publisher",
    "Readable",
    "Segment",
    "Subscriber",
    "UnsupportedMachine",
    "board_bytes",
    "format_board",
    "format_ring",
    "full_fence",
    "gate_lag",
    "open_eventfd",
    "ring_bytes",
    "ring_slots",
    "try_sleep",
]
