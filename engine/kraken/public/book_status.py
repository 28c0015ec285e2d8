"""What the session and the compiled lane of the public feed both read and write: of each
pair's book, and of the connection's liveness.

The lane (`engine/public_feed/lane.py`) takes plain updates of live books past the session.
Both count in the same place, so that neither has to be brought up to date with the other.
"""

from typing import TYPE_CHECKING

from engine.market.books import Book
from engine.native import CORE
from engine.records import FeedState
from engine.units import MonoNs


class PlainBookStatus:
    """The portable one."""

    __slots__ = ("book", "heard_at", "is_direct", "state", "streaming", "timestamp", "updates")

    book: Book
    state: FeedState
    streaming: bool
    """True from a verified snapshot until the next failure; while False, updates are
    ignored.
    """
    is_direct: bool
    """True while the last published state of this book is live: then its updates may be
    published without the session.
    """
    timestamp: str
    """Kraken's timestamp of the last message, as text."""
    heard_at: MonoNs
    """When the last message of this book was received; 0 before the first."""
    updates: int
    """Messages applied since the process started."""


class PlainHeard:
    """The part of a connection's liveness that the lane writes; the portable one."""

    heard_at: MonoNs
    """When a frame other than a pong was last received."""


if TYPE_CHECKING or CORE is None:
    BookStatus = PlainBookStatus
    Heard = PlainHeard
else:
    BookStatus = CORE.BookStatus
    Heard = CORE.Heard
