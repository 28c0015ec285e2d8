"""What a WebSocket connection drives: the protocol of a venue, without a socket or a clock.

    opened ─► to_send ─► ┌ receive … receive ─► to_send   for each burst of frames ┐ ─► closed
                         └ poll ─► to_send ─► dead        about every 20 ms        ┘

Times are CLOCK_MONOTONIC nanoseconds. What a session returns are its events (type E); an
exception that escapes it ends the connection, and a new one is made.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from engine.units import MonoNs

E_co = TypeVar("E_co", covariant=True)


class Session(Protocol[E_co]):
    """A session; it outlives its connections, of which at most one is open at a time."""

    @property
    def reconnect_delay_floor_ns(self) -> int:
        """Shortest wait before the next attempt, in ns: 5 s after maintenance, else 0. Read
        when a connection or an attempt has ended, except after close code 1012, which a
        server sends that has restarted.
        """
        ...

    def opened(self, now: MonoNs) -> None:
        """Begin a connection: reset what belonged to the last one, and queue the first
        requests.
        """
        ...

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[E_co]:
        """Process one text message; `received_at` is when the event loop handed over its
        last bytes.
        """
        ...

    def poll(self, now: MonoNs) -> Sequence[E_co]:
        """Check deadlines, pacing, pings and silence. Called about every 20 ms while a
        connection is up.
        """
        ...

    def to_send(self) -> Sequence[bytes]:
        """Take the requests that are due. Called after `opened`, each burst and each poll."""
        ...

    def dead(self, now: MonoNs) -> str | None:
        """The reason to cut the connection ("no frame for 3.2 s"); None otherwise. Called
        after each poll.
        """
        ...

    def closed(self, now: MonoNs, reason: str) -> Sequence[E_co]:
        """End the connection. Called exactly once after each `opened`."""
        ...
