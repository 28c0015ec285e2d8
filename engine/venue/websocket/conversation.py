"""What both kinds of WebSocket connection have in common: status, heartbeats and end,
without a socket.

A `status` frame comes first; then nothing until a subscription succeeds; from then on a
heartbeat every second whatever else is sent. A connection without requests and
subscriptions is closed.
"""

from abc import ABC, abstractmethod
from typing import Final, Protocol

from engine.clock import Clock
from engine.units import NS_PER_S, MonoNs, WallNs
from engine.venue.market.notices import Notices
from engine.venue.setup.settings import VenueSettings
from engine.venue.websocket.faults import FaultLine
from engine.venue.wire.stream import Timer, Timers
from engine.venue.wire.text import HEARTBEAT, error_text, status_text
from engine.venue.wire.wire import close_frame, pong_frame, text_frame

HEARTBEAT_FRAME: Final = text_frame(HEARTBEAT)
NORMAL_CLOSURE: Final = 1000  # for an idle connection; Kraken's own code is not known


class Link(Protocol):
    """The socket of a connection."""

    def write(self, frames: bytes) -> None:
        """Write bytes to the socket."""

    def finish(self) -> None:
        """Close once the client has answered our close frame, or after a short wait."""

    def reset(self) -> None:
        """Break the connection off, dropping unsent bytes."""


class VenuePort(Protocol):
    """The part of the venue that a connection uses."""

    system: str  # online, cancel_only, maintenance, post_only
    notices: Notices

    def flush_soon(self, connection: "Conversation") -> None:
        """Flush this connection at the end of the tick."""

    def begin_maintenance(self) -> None:
        """Begin a maintenance; no effect while one is under way."""


class Conversation(ABC):
    """One client's connection; the two kinds implement its requests."""

    def __init__(
        self,
        connection_id: int,
        *,
        link: Link,
        venue: VenuePort,
        timers: Timers,
        clock: Clock,
        settings: VenueSettings,
    ) -> None:
        self._connection_id = connection_id
        self._link = link
        self._venue = venue
        self._timers = timers
        self._clock = clock
        self._settings = settings
        self._out: list[bytes] = []  # frames to send at the next flush
        self._open = True  # False once either side has begun to close
        self._silent = False  # the fault: nothing is sent any more
        self._heartbeat: Timer | None = None  # runs from the first successful subscription on
        self._heartbeat_due: MonoNs = MonoNs(0)
        self._idle: Timer | None = None
        self._asked_at: MonoNs = clock.mono_ns()  # last frame of the client

    # --- what the kinds say ------------------------------------------------------------------------------------------

    @abstractmethod
    def receive(self, text: bytes) -> None:
        """Answer one request."""

    @property
    @abstractmethod
    def is_subscribed(self) -> bool:
        """True if it has any subscription."""

    @property
    def faults(self) -> FaultLine | None:
        """The faults of its data frames; None for none."""
        return None

    def pause(self) -> None:  # noqa: B027 - only some have more to hold back
        """Called when the socket's buffer is full."""

    def resume(self) -> None:  # noqa: B027
        """Called when the socket's buffer has room again."""

    # --- life --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Send the first frame: the server speaks first."""
        self.tell_status()
        self._idle = self._timers.call_later(self._settings.idle_close_s, self._close_if_idle)

    def end(self) -> None:
        """Note that the socket is gone."""
        self._open = False
        self._out.clear()
        for timer in (self._heartbeat, self._idle):
            if timer is not None:
                timer.cancel()

    def tell_status(self) -> None:
        """Send the venue's status and notices, on connect and when either changes."""
        notices = self._venue.notices.status_fields(self._clock.wall_ns())
        self._send(status_text(self._venue.system, self._connection_id, notices))
        self.flush()

    def receive_ping(self, payload: bytes) -> None:
        """Answer a ping of the WebSocket protocol, which also counts as activity."""
        self._asked_at = self._clock.mono_ns()
        if self._open and not self._silent:
            self._out.append(pong_frame(payload))
            self.flush()

    def receive_close(self, code: int) -> None:
        """Answer the client's close frame, unless it is the answer to ours."""
        if self._open and not self._silent:
            self._out.append(close_frame(code or 1005))
            self.flush()
        self._open = False

    # --- frames to the client ----------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the queued frames to the socket at once."""
        if self._out:
            frames = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            if not self._silent:
                self._link.write(frames)

    def _send(self, text: str) -> None:
        if self._open and not self._silent:
            self._out.append(text_frame(text))

    def _send_error(self, error: str, method: str, req_id: int | None, symbol: str | None, time_in: WallNs) -> None:
        self._send(error_text(error, method, req_id, symbol, time_in, self._clock.wall_ns()))

    # --- timers ------------------------------------------------------------------------------------------------------

    def _start_heartbeat(self) -> None:
        if self._heartbeat is None:
            self._heartbeat_due = self._clock.mono_ns()
            self._arm_heartbeat()

    def _arm_heartbeat(self) -> None:
        # Counted from due time to due time: a late one does not delay those after it.
        now = self._clock.mono_ns()
        self._heartbeat_due = MonoNs(max(self._heartbeat_due + int(self._settings.heartbeat_s * NS_PER_S), now))
        self._heartbeat = self._timers.call_later((self._heartbeat_due - now) / NS_PER_S, self._beat)

    def _beat(self) -> None:
        if self._open and not self._silent:
            self._out.append(HEARTBEAT_FRAME)
            self.flush()
        self._arm_heartbeat()

    def _close_if_idle(self) -> None:
        """Close a connection without requests and subscriptions.

        A subscription counts as activity even if its pair is quiet, since it causes
        heartbeats: connections with subscriptions and without pings have stayed open for
        eleven hours.
        """
        limit_ns = int(self._settings.idle_close_s * NS_PER_S)
        idle_ns = self._clock.mono_ns() - self._asked_at
        if self.is_subscribed:
            idle_ns = 0
        if idle_ns >= limit_ns:
            self.close(NORMAL_CLOSURE)
            return
        self._idle = self._timers.call_later((limit_ns - idle_ns) / NS_PER_S, self._close_if_idle)

    # --- what faults can do ------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Break the connection off without a close frame."""
        self._open = False
        self._out.clear()
        self._link.reset()

    def close(self, code: int) -> None:
        """Send a close frame with this code; nothing is sent after it."""
        if self._open:
            self._out.append(close_frame(code))
            self._open = False
            self.flush()
            self._link.finish()

    def fall_silent(self) -> None:
        """Send nothing any more, and keep the socket open."""
        self._silent = True
        self._out.clear()

    def begin_maintenance(self) -> None:
        self._venue.begin_maintenance()
