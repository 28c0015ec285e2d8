"""Streams: one channel of one symbol with its parameter, and its subscribers."""

from collections.abc import Callable
from typing import NamedTuple, Protocol


class StreamKey(NamedTuple):
    """Identifies a stream. The parameter is the book's depth, the candles' interval or the
    ticker's trigger.
    """

    channel: str
    symbol: str  # empty for the instrument channel, which has none
    parameter: int | str = ""


class Subscriber(Protocol):
    """What frames are delivered to: a connection."""

    # Whether the socket has asked to pause. Only a source that can wait (a capture at full
    # speed) looks at it.
    paused: bool
    # Called once each when the pause is over; a source that waits adds its own function
    # here.
    waiting: list[Callable[[], None]]
    # Whether frames arrive as they were sent. False with faults: then each frame must be
    # delivered by itself.
    plain: bool

    def deliver(self, key: StreamKey, frame: bytes) -> None:
        """Queue one frame; its bytes are shared by all subscribers of the stream."""

    def deliver_chunk(self, chunk: bytes) -> None:
        """Send many frames at once, unchanged; only to a plain subscriber."""

    def flush(self) -> None:
        """Send what is queued now, before the end of the venue's tick."""


class Source(Protocol):
    """What streams come from: the exchange, or a capture."""

    def refusal(self, key: StreamKey) -> str | None:
        """Kraken's error for a stream that this source lacks; None for one that it has."""

    def start(self, subscriber: Subscriber, key: StreamKey, snapshot: bool) -> Callable[[], None]:
        """Start a stream, a little later if it begins with a snapshot; returns a function
        that ends it.
        """


class Timers(Protocol):
    """The part of an event loop that the venue uses."""

    def call_soon(self, callback: Callable[[], None]) -> "Timer": ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> "Timer": ...


class Timer(Protocol):
    """A scheduled call."""

    def cancel(self) -> None: ...
