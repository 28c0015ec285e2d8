"""Plays captures back: to each connection its subscribed streams, at the recorded pace or
as fast as it reads.

Streams that one connection subscribes at about the same time are collected and played as
one merged stream, in the capture's order (so a trade still comes before its book frame).
Each begins with its snapshot. After the last frame, playback begins again with the
snapshots.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from engine.clock import Clock
from engine.units import NS_PER_S
from engine.venue.market.exchange import INSTRUMENT, instruments_frame, unsupported
from engine.venue.setup.settings import VenueSettings
from engine.venue.websocket.capture import Capture, CapturedFrame
from engine.venue.websocket.requests import DEPTH_REFUSED
from engine.venue.wire.stream import StreamKey, Subscriber, Timer, Timers

GATHER_NS_MAX: Final = NS_PER_S  # playback begins this long after the first subscription at the latest
CHUNKS_PER_TURN: Final = 16  # at full speed, before other connections get their turn
FRAMES_PER_TURN: Final = 512  # where frames must be delivered one by one


class CaptureSource:
    """The source of a venue that plays captures."""

    def __init__(
        self,
        capture: Capture,
        settings: VenueSettings,
        timers: Timers,
        clock: Clock,
        snapshot_delay_s: Callable[[], float],
    ) -> None:
        self._capture = capture
        self._settings = settings
        self._timers = timers
        self._clock = clock
        self._snapshot_delay_s = snapshot_delay_s
        self._gathering: dict[Subscriber, Playback] = {}  # those that have not begun
        # Clients ask for precisions even if the capture does not tell them: they are read
        # from its number text.
        self._instruments = None if INSTRUMENT in capture.streams else instruments_frame(capture.pairs())

    def refusal(self, key: StreamKey) -> str | None:
        """Kraken's error for a stream that the captures do not have; None for one that they
        have.
        """
        if _held(key) in self._capture.streams or key.channel == "instrument":
            return None
        if key.channel == "book" and any(
            other.channel == "book" and other.symbol == key.symbol for other in self._capture.streams
        ):
            return DEPTH_REFUSED
        return unsupported(key.symbol)

    def start(self, subscriber: Subscriber, key: StreamKey, snapshot: bool) -> Callable[[], None]:
        """Add a stream to those that are being collected for this subscriber, or begin to
        collect.

        A capture has its snapshots at fixed places, whether or not the client asks for one.
        """
        if key.channel == "instrument" and self._instruments is not None:
            return self._start_instruments(subscriber, key, self._instruments)
        playback = self._gathering.get(subscriber)
        if playback is None:
            playback = Playback(self._capture, subscriber, self._settings, self._timers, self._clock)
            self._gathering[subscriber] = playback
        chosen = playback
        chosen.add(key, _held(key), self._snapshot_delay_s(), lambda: self._gathering.pop(subscriber, None))
        return lambda: chosen.remove(_held(key))

    def _start_instruments(self, subscriber: Subscriber, key: StreamKey, frame: bytes) -> Callable[[], None]:
        def tell() -> None:
            subscriber.deliver(key, frame)
            subscriber.flush()

        return self._timers.call_later(self._snapshot_delay_s(), tell).cancel


def _held(key: StreamKey) -> StreamKey:
    """The key under which a capture has a stream: the trigger of a ticker cannot be told
    from it.
    """
    return key._replace(parameter="") if key.channel == "ticker" else key


class Playback:
    """One merged stream on its way to one subscriber."""

    def __init__(
        self, capture: Capture, subscriber: Subscriber, settings: VenueSettings, timers: Timers, clock: Clock
    ) -> None:
        self._capture = capture
        self._subscriber = subscriber
        self._settings = settings
        self._timers = timers
        self._clock = clock
        self._asked_keys: dict[StreamKey, StreamKey] = {}  # as captured → as subscribed
        self._merged = capture.merged(())
        self._next = 0  # index of the next frame to send
        self._rounds_left = settings.repeat or -1  # below 0 for ever: it never reaches 0
        self._began_at = 0  # monotonic ns at which the first frame of this round was due
        self._gathered_since = 0  # monotonic ns of the first subscription; 0 before it
        self._timer: Timer | None = None  # the next step, if it has been set for a time

    def add(self, key: StreamKey, held: StreamKey, delay_s: float, begun: Callable[[], object]) -> None:
        """Add a stream; playback begins when none was added for a snapshot's delay."""
        now = self._clock.mono_ns()
        self._gathered_since = self._gathered_since or now
        self._asked_keys[held] = key
        if self._timer is not None:
            self._timer.cancel()

        def begin() -> None:
            begun()
            self._merged = self._capture.merged(self._asked_keys)
            self._begin_round()

        delay_left_s = max(0.0, (self._gathered_since + GATHER_NS_MAX - now) / NS_PER_S)
        self._timer = self._timers.call_later(min(delay_s, delay_left_s), begin)

    def remove(self, held: StreamKey) -> None:
        """Continue without this stream."""
        self._asked_keys.pop(held, None)
        if not self._began_at:
            return  # still collecting: the streams are merged at the beginning
        before, self._merged = self._merged, self._capture.merged(self._asked_keys)
        if self._next < len(before.frames):
            self._next = self._merged.index_of(before.frames[self._next])
        else:
            self._next = len(self._merged.frames)

    def _begin_round(self) -> None:
        self._next = 0
        self._began_at = self._clock.mono_ns()
        self._step()

    def _step(self) -> None:
        """Send what is due, and set the timer for the rest; while the socket is full, wait
        for it.
        """
        self._timer = None
        subscriber = self._subscriber
        if not self._asked_keys:
            return  # all unsubscribed
        if subscriber.paused:
            subscriber.waiting.append(self._step)
            return
        if self._settings.pace == "original":
            delay_s = self._send_due(self._merged.frames)
        else:
            delay_s = self._send_chunks() if subscriber.plain else self._send_single()
        if self._next < len(self._merged.frames):
            self._go_on(delay_s)
            return
        self._rounds_left -= 1
        if self._rounds_left and self._merged.frames:
            self._timer = self._timers.call_soon(self._begin_round)

    def _go_on(self, delay_s: float) -> None:
        if delay_s > 0:
            self._timer = self._timers.call_later(delay_s, self._step)
        else:
            self._timer = self._timers.call_soon(self._step)

    def _send_due(self, frames: list[CapturedFrame]) -> float:
        """Send the frames that are due; returns the seconds until the next."""
        if not frames:
            return 0.0
        elapsed = self._clock.mono_ns() - self._began_at
        heard_at = frames[0].at_ns + elapsed
        due = bisect_right(frames, heard_at, lo=self._next, key=lambda frame: frame.at_ns)
        due = min(due, self._next + FRAMES_PER_TURN)
        self._deliver(frames[self._next : due])
        self._next = due
        if due == len(frames):
            return 0.0
        return max(0.0, (frames[due].at_ns - heard_at) / NS_PER_S)

    def _send_chunks(self) -> float:
        """Send whole chunks until the socket is full."""
        for _ in range(CHUNKS_PER_TURN):
            if self._subscriber.paused or self._next >= len(self._merged.frames):
                break
            chunk, self._next = self._merged.chunk(self._next)
            self._subscriber.deliver_chunk(chunk)
        return 0.0

    def _send_single(self) -> float:
        """Send frame by frame, through the faults."""
        frames = self._merged.frames[self._next : self._next + FRAMES_PER_TURN]
        self._deliver(frames)
        self._next += len(frames)
        return 0.0

    def _deliver(self, frames: list[CapturedFrame]) -> None:
        asked_keys = self._asked_keys
        for frame in frames:
            self._subscriber.deliver(asked_keys[frame.key], frame.frame)
        self._subscriber.flush()
