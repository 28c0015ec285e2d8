"""Shared-memory rings between processes. Start with layout.py: the memory map and the
ordering argument.
"""

from engine.ring.board import BoardReader, BoardWriter, board_bytes, format_board
from engine.ring.doorbell import RECHECK_NS, Doorbell, Readable, full_fence, open_eventfd, try_sleep
from engine.ring.layout import LayoutMismatch, Memory, UnsupportedMachine
from engine.ring.ring import OLDEST, GatedSubscriber, Publisher, Subscriber, format_ring, ring_bytes
from engine.ring.segment import NoSharedMemory, Segment

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
    "open_eventfd",
    "ring_bytes",
    "try_sleep",
]
