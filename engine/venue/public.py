"""One connection to the public WebSocket: Kraken's protocol, without a socket.

    frames of the client ──► receive() ──► replies ─┐
    streams (exchange or capture) ──► deliver() ────┴──► faults ──► link

The life of a connection, measured on genuine captures: a `status` frame comes first; then nothing until a
subscription succeeds; from then on a heartbeat every second whatever else flows; one ack per symbol, then the
snapshot, then updates; after the ack of an unsubscribe no further frame of that stream.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from engine.clock import Clock
from engine.units import NS_PER_S, MonoNs, WallNs
from engine.venue.faults import FaultLine
from engine.venue.requests import (
    ALREADY_ONE_INTERVAL,
    ALREADY_SUBSCRIBED,
    NOT_SUBSCRIBED,
    PARAMETER_NAMES,
    RATE_EXCEEDED,
    WARNINGS,
    Ping,
    Refusal,
    SubscriptionRequest,
    parse_request,
)
from engine.venue.settings import VenueSettings
from engine.venue.stream import Source, StreamKey, Timer, Timers
from engine.venue.text import HEARTBEAT, ack_text, error_text, pong_text, status_text
from engine.venue.wire import close_frame, pong_frame, text_frame

HEARTBEAT_FRAME: Final = text_frame(HEARTBEAT)
NORMAL_CLOSURE: Final = 1000  # what an idle connection is told; Kraken's own code is not known


class Link(Protocol):
    """The socket side of a connection."""

    def write(self, frames: bytes) -> None:
        """Hand bytes to the socket."""

    def finish(self) -> None:
        """Close once the client has answered our close frame, or a moment later."""

    def reset(self) -> None:
        """Break the connection off, unsent bytes included."""


class House(Protocol):
    """The part of the venue that a connection knows."""

    system: str  # online, cancel_only, maintenance, post_only

    def flush_soon(self, connection: "PublicConnection") -> None:
        """Flush this connection at the end of the tick."""

    def begin_maintenance(self) -> None:
        """Go through the phases of a maintenance, unless one is under way."""


class _Subscription(msgspec.Struct, frozen=True):
    key: StreamKey
    stop: Callable[[], None]


class PublicConnection:
    """What one client has subscribed, and what it is owed."""

    def __init__(
        self,
        number: int,
        connection_id: int,
        *,
        source: Source,
        link: Link,
        house: House,
        timers: Timers,
        clock: Clock,
        settings: VenueSettings,
        fault_counts: dict[str, int],
    ) -> None:
        self._connection_id = connection_id
        self._source = source
        self._link = link
        self._house = house
        self._timers = timers
        self._clock = clock
        self._settings = settings
        # By channel and symbol: a connection holds each only once, whatever the depth or interval.
        self._subscriptions: dict[tuple[str, str], _Subscription] = {}
        self._out: list[bytes] = []  # frames to send at the next flush
        self._open = True  # until either side has begun to close
        self._silent = False  # the fault: nothing is sent any more
        # None for a venue without faults: then every frame goes out as it is.
        self._faults = (
            FaultLine(settings.faults, settings.seed, number, self, fault_counts) if settings.faults else None
        )
        self.plain = self._faults is None
        self.paused = False  # the socket has asked for a rest, see `Subscriber`
        self.waiting: list[Callable[[], None]] = []  # for that rest to be over, see `Subscriber`
        self._heartbeat: Timer | None = None  # runs from the first successful subscription on, for ever
        self._heartbeat_due: MonoNs = MonoNs(0)
        self._idle: Timer | None = None
        self._asked_at: MonoNs = clock.mono_ns()  # last frame of the client
        self._request_credit = float(settings.requests_burst)  # requests that may come before the rate is exceeded
        self._credited_at: MonoNs = self._asked_at

    # --- life --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The server speaks first."""
        self.tell_status()
        self._idle = self._timers.call_later(self._settings.idle_close_s, self._close_if_idle)

    def end(self) -> None:
        """The socket is gone."""
        self._open = False
        self._out.clear()
        for subscription in self._subscriptions.values():
            subscription.stop()
        self._subscriptions.clear()
        for timer in (self._heartbeat, self._idle):
            if timer is not None:
                timer.cancel()

    def tell_status(self) -> None:
        """The state of the venue, on connect and whenever it changes."""
        self._send(status_text(self._house.system, self._connection_id))
        self.flush()

    # --- frames of the client ----------------------------------------------------------------------------------------

    def receive(self, text: bytes) -> None:
        """Answer one request."""
        if not self._open:
            return
        time_in = self._clock.wall_ns()
        self._asked_at = self._clock.mono_ns()
        request = parse_request(text)
        if not self._may_ask():
            method = request.method if isinstance(request, SubscriptionRequest | Refusal) else "ping"
            self._send_error(RATE_EXCEEDED, method, request.req_id, None, time_in)
        elif isinstance(request, Refusal):
            self._send_error(request.error, request.method, request.req_id, request.symbol, time_in)
        elif isinstance(request, Ping):
            self._send(pong_text(request.req_id, time_in, self._clock.wall_ns()))
        elif request.method == "subscribe":
            self._subscribe(request, time_in)
        else:
            self._unsubscribe(request, time_in)
        self.flush()

    def receive_ping(self, payload: bytes) -> None:
        """The WebSocket protocol's own ping also counts as a sign of life."""
        self._asked_at = self._clock.mono_ns()
        if self._open and not self._silent:
            self._out.append(pong_frame(payload))
            self.flush()

    def pause(self) -> None:
        """The socket has more than it can send."""
        self.paused = True

    def resume(self) -> None:
        """The socket has room again."""
        self.paused = False
        waiting, self.waiting = self.waiting, []
        for go_on in waiting:
            go_on()

    def receive_close(self, code: int) -> None:
        """Answer the client's close frame, unless it is the answer to ours."""
        if self._open and not self._silent:
            self._out.append(close_frame(code or 1005))
            self.flush()
        self._open = False

    def _may_ask(self) -> bool:
        """Count one request against the rate that a client may send at."""
        settings = self._settings
        earned = (self._asked_at - self._credited_at) / NS_PER_S * settings.requests_per_s
        self._request_credit = min(settings.requests_burst, self._request_credit + earned)
        self._credited_at = self._asked_at
        if self._request_credit < 1:
            return False
        self._request_credit -= 1
        return True

    def _subscribe(self, request: SubscriptionRequest, time_in: WallNs) -> None:
        for key in request.streams():
            held = self._subscriptions.get((key.channel, key.symbol))
            error = self._source.refusal(key)
            if error is None and held is not None:
                other_interval = key.channel == "ohlc" and held.key != key
                error = ALREADY_ONE_INTERVAL if other_interval else ALREADY_SUBSCRIBED
            if error is not None:
                # Measured: a refused depth does not name the symbol, a refused symbol does.
                symbol = key.symbol if "depth" not in error and key.symbol else None
                self._send_error(error, request.method, request.req_id, symbol, time_in)
                continue
            result = _named(key) | {"snapshot": request.snapshot}
            if key.channel in WARNINGS:
                result["warnings"] = WARNINGS[key.channel]
            self._send(ack_text(request.method, request.req_id, result, time_in, self._clock.wall_ns()))
            if self._faults is not None:
                self._faults.unmute(key)
            stop = self._source.start(self, key, request.snapshot)
            self._subscriptions[key.channel, key.symbol] = _Subscription(key, stop)
            self._start_heartbeat()

    def _unsubscribe(self, request: SubscriptionRequest, time_in: WallNs) -> None:
        for key in request.streams():
            held = self._subscriptions.get((key.channel, key.symbol))
            if held is None or request.parameter not in (None, held.key.parameter):
                error = self._source.refusal(key) or NOT_SUBSCRIBED
                self._send_error(error, request.method, request.req_id, key.symbol or None, time_in)
                continue
            del self._subscriptions[key.channel, key.symbol]
            held.stop()
            self._send(ack_text(request.method, request.req_id, _named(held.key), time_in, self._clock.wall_ns()))

    # --- frames to the client ----------------------------------------------------------------------------------------

    def deliver(self, key: StreamKey, frame: bytes) -> None:
        """Queue a data frame, through the faults; it leaves at the end of the venue's tick."""
        if not self._open or self._silent:
            return
        if not self._out:
            self._house.flush_soon(self)
        if self._faults is None:
            self._out.append(frame)
        else:
            self._out.extend(self._faults.spoil(key, frame))

    def deliver_chunk(self, chunk: bytes) -> None:
        """Send many frames of a capture in one write."""
        if self._open:
            self.flush()
            self._link.write(chunk)

    def flush(self) -> None:
        """Hand what is queued to the socket, in one write."""
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
        # From due time to due time: a late one does not push back those after it.
        now = self._clock.mono_ns()
        self._heartbeat_due = MonoNs(max(self._heartbeat_due + int(self._settings.heartbeat_s * NS_PER_S), now))
        self._heartbeat = self._timers.call_later((self._heartbeat_due - now) / NS_PER_S, self._beat)

    def _beat(self) -> None:
        if self._open and not self._silent:
            self._out.append(HEARTBEAT_FRAME)
            self.flush()
        self._arm_heartbeat()

    def _close_if_idle(self) -> None:
        """Close a connection that neither asks nor is subscribed.

        A subscription is traffic even where its pair is quiet, for it keeps the heartbeat going: connections with
        subscriptions and without pings have stayed up for eleven hours.
        """
        limit_ns = int(self._settings.idle_close_s * NS_PER_S)
        idle_ns = self._clock.mono_ns() - self._asked_at
        if self._subscriptions:
            idle_ns = 0
        if idle_ns >= limit_ns:
            self.close(NORMAL_CLOSURE)
            return
        self._idle = self._timers.call_later((limit_ns - idle_ns) / NS_PER_S, self._close_if_idle)

    # --- what faults can do ------------------------------------------------------------------------------------------

    @property
    def faults(self) -> FaultLine | None:
        return self._faults

    def reset(self) -> None:
        """Break off without a close frame."""
        self._open = False
        self._out.clear()
        self._link.reset()

    def close(self, code: int) -> None:
        """Say goodbye with a code; nothing is sent after it."""
        if self._open:
            self._out.append(close_frame(code))
            self._open = False
            self.flush()
            self._link.finish()

    def fall_silent(self) -> None:
        """Send nothing any more, with the socket open."""
        self._silent = True
        self._out.clear()

    def begin_maintenance(self) -> None:
        self._house.begin_maintenance()


def _named(key: StreamKey) -> dict[str, Any]:
    """A stream as the result of an ack names it."""
    result: dict[str, Any] = {"channel": key.channel}
    if key.channel in PARAMETER_NAMES:
        result[PARAMETER_NAMES[key.channel]] = key.parameter
    if key.symbol:
        result["symbol"] = key.symbol
    return result
