"""The compiled path of a plain book update, from the frame's bytes to its record in the
ring, past session and events.

    frame ─► lane ─► a plain update of a live book: applied, verified, published, kept for the board
               └───► any other frame ─► session.receive ─► events ─► on_events

It takes what Kraken sends today, nine of ten frames, byte by byte as it is written
(engine/native/book_update.h). Everything that needs a decision is the session's, a wrong
checksum first of all: doubts, snapshots, other channels, other forms of the same message,
numbers beyond 63 bits, books that wait for their pair. The records are those that the
session's path would have published, byte for byte.
"""

import sys
from collections.abc import Sequence
from typing import Protocol

from engine.kraken.public.book_feed import BookFeed
from engine.kraken.public.events import Event
from engine.kraken.public.session import PublicSession
from engine.native import CORE
from engine.records import FeedState, Kind
from engine.ring import BoardWriter, Publisher
from engine.units import MonoNs


class Lane(Protocol):
    """The interface through which the feed uses a lane."""

    @property
    def taken(self) -> int:
        """Frames it has taken so far."""
        ...

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[Event]:
        """Take a frame, or have the session take it; returns the session's events to
        publish.
        """
        ...

    def store(self) -> None:
        """Store on the board the last record of each pair that it has published since the
        last call, and tell the session that the counters of these pairs have changed.

        Records of these pairs that wait for the board beside it are dropped: they are
        older.
        """
        ...

    def settle(self) -> bool:
        """End a burst: wake sleeping subscribers, store the board, write when Kraken was
        last heard to the counters.

        Returns False, and has only done `store`, when records wait for the board beside
        those that the lane has published.
        """
        ...

    def add(self, symbol: str, feed: BookFeed) -> None:
        """Take updates of this pair too, from the index of its feed."""
        ...

    def close(self) -> None:
        """Stop taking frames."""
        ...


def lane_of(
    session: PublicSession,
    publisher: Publisher,
    board: BoardWriter,
    heard_counter: tuple[memoryview, int],
    waiting: dict[int, bytes],
) -> Lane | None:
    """The lane into this ring and board; None where they, or the records' byte order, are
    not those of the compiled implementation.

    `heard_counter`: values and index of the counter of when Kraken was last heard.
    `waiting`: records that wait for the board until the end of the burst, by pair.
    """
    if CORE is None or sys.byteorder != "little":
        return None
    if type(publisher) is not CORE.Publisher or type(board) is not CORE.BoardWriter:
        return None
    lane: Lane = CORE.Lane(
        publisher,
        board,
        session.feeds,
        session.settings.publish_levels,
        session.receive,
        session.heard,
        session.note_counted,
        heard_counter,
        waiting,
        book_top=int(Kind.BOOK_TOP),
        live=int(FeedState.LIVE),
    )
    return lane
