"""The interface of a session: the protocol of a venue, without a socket or a clock.

    opened ─► to_send ─► ┌ receive … receive ─► to_send   for each burst of frames ┐ ─► closed
                         └ poll ─► to_send ─► dead        about every 20 ms        ┘

Times are CLOCK_MONOTONIC nanoseconds. A session returns its events (type E); an exception
that escapes it ends the connection, and a new one is made.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from engine.units import MonoNs

E_co = TypeVar("E_co", covariant=True)


class Session(Protocol[E_co]):
    """One session outlives its connections; no two of them are open at the same time."""

    @property
    def reconnect_delay_floor_ns(self) -> int:
        """The least wait before the next attempt: 5 s after maintenance, 0 otherwise.

        Read when a connection or an attempt ends; not after close code 1012, by which a
        server says that it is back.
        """
        ...

    @property
    def poll_interval_ns(self) -> int:
        """How often `poll` is called while connected: its timers are as fine."""
        ...

    def opened(self, now: MonoNs) -> None:
        """A connection is open: forget the last one's state, queue the first requests."""
        ...

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[E_co]:
        """Process one text message; `received_at` is when the event loop had its last
        bytes.
        """
        ...

    def poll(self, now: MonoNs) -> Sequence[E_co]:
        """Process timers: deadlines, pacing, pings, watchdogs. Called about every
        `poll_interval_ns` while connected.
        """
        ...

    def to_send(self) -> Sequence[bytes]:
        """Take the requests that are due now. Called after `opened`, each burst and each
        poll.
        """
        ...

    def dead(self, now: MonoNs) -> str | None:
        """Why the connection must be cut, e.g. "silent for 3.2 s"; None while it is fine.
        Called after each poll.
        """
        ...

    def closed(self, now: MonoNs, reason: str) -> Sequence[E_co]:
        """The connection has ended. Called exactly once after each `opened`."""
        ...
