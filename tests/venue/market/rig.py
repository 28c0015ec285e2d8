"""An exchange without time or sockets: what the tests of the market share."""

from engine.units import WallNs
from engine.venue.wire.stream import StreamKey
from engine.venue.wire.wire import payload_start

STARTED_AT = WallNs(1_785_641_751_000_000_000)


class Reader:
    """A subscriber that keeps the text of what it gets, by stream."""

    paused = False
    plain = True

    def __init__(self) -> None:
        self.waiting: list[object] = []
        self.texts: list[tuple[StreamKey, str]] = []

    def deliver(self, key: StreamKey, frame: bytes) -> None:
        self.texts.append((key, frame[payload_start(frame) :].decode()))

    def deliver_chunk(self, chunk: bytes) -> None:
        raise AssertionError("only a capture sends chunks")

    def flush(self) -> None: ...


class AtOnce:
    """Timers for a world without time: whatever is asked for happens now."""

    def call_later(self, delay: float, callback):  # type: ignore[no-untyped-def]
        callback()
        return self

    def cancel(self) -> None: ...
