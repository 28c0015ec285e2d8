"""One connection to the public WebSocket: Kraken's protocol, without a socket.

    frames of the client ──► receive() ──► replies ─┐
    streams (exchange or capture) ──► deliver() ────┴──► faults ──► link

As measured on genuine captures: a `status` frame comes first; then nothing until a
subscription succeeds; from then on a heartbeat every second whatever else is sent; one ack
per symbol, then the snapshot, then updates; after the ack of an unsubscribe no further
frame of that stream.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from engine.clock import Clock
from engine.units import NS_PER_S, MonoNs, WallNs
from engine.venue.setup.settings import VenueSettings
from engine.venue.websocket.conversation import Conversation, Link, VenuePort
from engine.venue.websocket.faults import FaultLine, frame_faults
from engine.venue.websocket.requests import (
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
from engine.venue.wire.stream import Source, StreamKey, Timers
from engine.venue.wire.text import ack_text, pong_text


class _Subscription(msgspec.Struct, frozen=True):
    key: StreamKey
    stop: Callable[[], None]


class PublicConnection(Conversation):
    """One client's subscriptions, and the frames that it is sent."""

    def __init__(
        self,
        number: int,
        connection_id: int,
        *,
        source: Source,
        link: Link,
        venue: VenuePort,
        timers: Timers,
        clock: Clock,
        settings: VenueSettings,
        fault_counts: dict[str, int],
    ) -> None:
        super().__init__(connection_id, link=link, venue=venue, timers=timers, clock=clock, settings=settings)
        self._source = source
        # By channel and symbol: a connection has each only once, whatever the depth or
        # interval.
        self._subscriptions: dict[tuple[str, str], _Subscription] = {}
        # None for a venue without faults: then every frame is sent unchanged.
        faults = frame_faults(settings.faults)
        self._faults = FaultLine(faults, settings.seed, number, self, fault_counts) if faults else None
        self.plain = self._faults is None
        self.paused = False  # True while the socket's buffer is full, see `Subscriber`
        self.waiting: list[Callable[[], None]] = []  # called when it has room again, see `Subscriber`
        self._request_credit = float(settings.requests_burst)  # requests that may come before the rate is exceeded
        self._credited_at: MonoNs = self._asked_at

    # --- life --------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Note that the socket is gone."""
        for subscription in self._subscriptions.values():
            subscription.stop()
        self._subscriptions.clear()
        super().end()

    @property
    def is_subscribed(self) -> bool:
        return bool(self._subscriptions)

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

    def pause(self) -> None:
        """Called when the socket's buffer is full."""
        self.paused = True

    def resume(self) -> None:
        """Called when the socket's buffer has room again."""
        self.paused = False
        waiting, self.waiting = self.waiting, []
        for go_on in waiting:
            go_on()

    def _may_ask(self) -> bool:
        """Count one request against the client's rate; False if it exceeds it."""
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
        """Queue a data frame, through the faults; it is sent at the end of the venue's
        tick.
        """
        if not self._open or self._silent:
            return
        if not self._out:
            self._venue.flush_soon(self)
        if self._faults is None:
            self._out.append(frame)
        else:
            self._out.extend(self._faults.spoil(key, frame))

    def deliver_chunk(self, chunk: bytes) -> None:
        """Send many frames of a capture in one write."""
        if self._open:
            self.flush()
            self._link.write(chunk)

    # --- what faults can do ------------------------------------------------------------------------------------------

    @property
    def faults(self) -> FaultLine | None:
        return self._faults


def _named(key: StreamKey) -> dict[str, Any]:
    """The fields that name a stream in the result of an ack."""
    result: dict[str, Any] = {"channel": key.channel}
    if key.channel in PARAMETER_NAMES:
        result[PARAMETER_NAMES[key.channel]] = key.parameter
    if key.symbol:
        result["symbol"] = key.symbol
    return result
