"""What the session and the compiled lane of the public feed both read and write of one pair's book.

The lane (`engine/public_feed/lane.py`) takes plain updates of live books past the session. Both count in the same
place, so that neither has to be brought up to date with the other.
"""

from typing import TYPE_CHECKING

from engine.market import Book
from engine.native import CORE
from engine.records import FeedState
from engine.units import MonoNs


class PlainBookStatus:
    """The portable one."""

    __slots__ = ("book", "heard_at", "is_direct", "state", "streaming", "timestamp", "updates")

    book: Book
    state: FeedState
    streaming: bool
    """Has a snapshot been verified, and nothing gone wrong since? Otherwise updates are ignored."""
    is_direct: bool
    """Has whoever publishes the books told that this one is live, and nothing else since? Then its updates may be
    published without the session."""
    timestamp: str
    """The last message's, as text."""
    heard_at: MonoNs
    """When this channel of this pair last said anything; 0 before."""
    updates: int
    """Messages applied since the process started."""


if TYPE_CHECKING or CORE is None:
    BookStatus = PlainBookStatus
else:
    BookStatus = CORE.BookStatus
