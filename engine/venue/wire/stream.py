"""What can be subscribed: one channel of one symbol with its parameter, and who listens to it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol


class StreamKey(NamedTuple):
    """Names one stream. The parameter is the book's depth, the candles' interval or the ticker's trigger."""

    channel: str
    symbol: str  # empty for the instrument channel, which has none
    parameter: int | str = ""


class Subscriber(Protocol):
    """Whoever frames are delivered to: a connection."""

    # Has the socket asked for a rest? Only a source that can wait (a capture at full speed) need care.
    paused: bool
    # Called once each when the rest is over; a source that waits adds its own here.
    waiting: list[Callable[[], None]]
    # Do frames arrive as they were sent? False with faults: then each frame must be delivered by itself.
    plain: bool

    def deliver(self, key: StreamKey, frame: bytes) -> None:
        """Queue one frame; it is the same bytes for all subscribers of the stream."""

    def deliver_chunk(self, chunk: bytes) -> None:
        """Send many frames at once, as they are; only to a plain subscriber."""

    def flush(self) -> None:
        """Send what is queued now, rather than at the end of the venue's tick."""


class Source(Protocol):
    """Where streams come from: the living exchange, or a capture."""

    def refusal(self, key: StreamKey) -> str | None:
        """Kraken's words for a stream that is not to be had here; None for one that is."""

    def start(self, subscriber: Subscriber, key: StreamKey, snapshot: bool) -> Callable[[], None]:
        """Begin a stream, a little later if it begins with a snapshot. The answer stops it, whenever it is called."""


class Timers(Protocol):
    """The part of an event loop that the venue needs."""

    def call_soon(self, callback: Callable[[], None]) -> "Timer": ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> "Timer": ...


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None: ...
