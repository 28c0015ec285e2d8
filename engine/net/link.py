"""One connection, from the upgrade to its end: frames in, requests out, timers, the close.

What the sources of picows 2.3.1 taught us:
* A PING that picows answers itself never reaches the listener; if it were the last frame of
  a buffer, nobody would see `last_in_buffer`. So we answer pings.
* picows does not answer a CLOSE. So we do.
* Frames behind one whose callback failed, or behind a disconnect(), are still delivered. So
  we ask `live` first.
* After a protocol error picows sends a CLOSE and disconnects 10 ms later, gracefully, which
  can take for ever on a dead peer. So the next tick aborts.
* Its read buffer doubles whenever a read fills it, so under load or after a stall one read
  can hold 12,000 frames (2.6 MB, measured). So a burst ends after 64 frames at the latest:
  subscribers that sleep until the end of the burst start to work while we are receiving.
"""

import asyncio
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Generic, TypeVar

import structlog
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from engine import native
from engine.clock import Clock
from engine.errors import MisuseError
from engine.net.reasons import close_text
from engine.net.session import Session
from engine.net.traffic import Traffic
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

log = structlog.get_logger(__name__)

# Whole or in fragments; an instrument snapshot is about 0.6 MB.
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
# About 0.3 ms of work; the cost of ending a burst is then below 1 % of it.
BURST_FRAMES_MAX = 64
# A tick that comes this much later than due was delayed by this process, and proves nothing
# about the server.
STALL_NS_MAX = 200 * NS_PER_MS
FRAME_BYTES_LOGGED_MAX = 200  # of a message that the session could not take
# RFC 6455 §5.5: a control frame carries 125 bytes, two of them the code.
CLOSE_REASON_BYTES_MAX = 123

LISTENER, WHY_PORTABLE = native.find_listener(version("picows"))
if native.IS_NATIVE and LISTENER is None:
    log.warning("frames go the portable way from the socket", reason=WHY_PORTABLE)

TEXT = WSMsgType.TEXT  # hot: a global is one load
E = TypeVar("E")


class Link(WSListener, Generic[E]):
    """The picows listener of one connection, created before its handshake."""

    def __init__(
        self,
        session: Session[E],
        traffic: Traffic,
        *,
        url: str,
        on_events: Callable[[Sequence[E]], None],
        on_burst_end: Callable[[], None],
        receive: Callable[[bytes, MonoNs], Sequence[E]],
        clock: Clock,
        close_deadline_s: float,
        on_sent: Callable[[bytes], None] | None = None,
    ) -> None:
        self._session = session
        self._traffic = traffic
        self._url = url
        self._on_events = on_events
        self._on_burst_end = on_burst_end
        self._poll_interval_s = session.poll_interval_ns / NS_PER_S
        self._held_up_ns_max = session.poll_interval_ns + STALL_NS_MAX
        self._close_deadline_s = close_deadline_s
        self._loop = asyncio.get_running_loop()
        # Hot: bound once, a call per frame.
        self._receive = receive
        self._to_send = session.to_send
        self._on_sent = on_sent
        self._mono_ns = clock.mono_ns

        # The connection, from the moment the upgrade is done; None before.
        self.transport: WSTransport | None = None
        # Between the session's `opened` and its `closed`.
        self.live = False
        # The reason of the end; or a MisuseError raised by session or callback, which ends
        # the process.
        self.ended: asyncio.Future[str] = self._loop.create_future()
        # When the event loop handed over the present buffer; None between two buffers.
        self._received_at: MonoNs | None = None
        # The count of frames at which the burst ends though the socket has more.
        self._burst_end_at = 0
        # The start of a message whose last fragment has not come; None when no message is
        # open.
        self._fragments: bytearray | None = None
        # Of the server's close frame; None without one.
        self.close_code: int | None = None
        # The transport's buffer is full: requests wait in the session.
        self._writing_paused = False
        self._polled_at = MonoNs(0)
        self._tick_timer: asyncio.TimerHandle | None = None
        # Aborts the socket when the server does not do its half of the close.
        self._abort_timer: asyncio.TimerHandle | None = None

    # What picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self.live = True
        self._traffic.connects += 1
        self._burst_end_at = self._traffic.frames_received + BURST_FRAMES_MAX
        self._polled_at = self._mono_ns()
        self._tick_timer = self._loop.call_later(self._poll_interval_s, self._tick)
        try:
            self._session.opened(self._polled_at)
            self._send_requests(transport)
        except Exception as error:
            self._fail(error, b"")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # Hot: over 100,000 calls a second. The commonest case first, no call that is not
        # needed.
        if not self.live:
            self._frame_after_end(transport, frame)
            return
        if (received_at := self._received_at) is None:
            received_at = self._received_at = self._mono_ns()
        payload = b""
        try:
            traffic = self._traffic
            traffic.frames_received += 1
            if frame.msg_type is TEXT and frame.fin:
                payload = frame.get_payload_as_bytes()
                traffic.bytes_received += len(payload)
                if events := self._receive(payload, received_at):
                    self._on_events(events)
            else:
                payload = frame.get_payload_as_bytes()
                self._rare_frame(transport, frame, payload, received_at)
            if frame.last_in_buffer:
                self._received_at = None
                self._end_burst(transport)
            elif traffic.frames_received >= self._burst_end_at:
                self._end_burst(transport)
        except Exception as error:
            self._fail(error, payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        handshake = transport.close_handshake
        sent = handshake.sent if handshake is not None else None
        # And not by us, for we end the link first: picows found a protocol error.
        if sent is not None:
            self._end(f"the server broke the WebSocket protocol: {sent.reason or 'no detail known'}")
        else:
            self._end("connection lost without a close frame")
        if self._abort_timer is not None:
            self._abort_timer.cancel()

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False  # the next tick sends

    # What the connection calls

    @property
    def was_up(self) -> bool:
        """Whether the upgrade was completed."""
        return self.transport is not None

    def cut(self, reason: str) -> None:
        """End the connection at once: notify the session, send a close frame, do not wait
        for the answer.
        """
        self._drop(WSCloseCode.GOING_AWAY, reason)

    def close(self, reason: str) -> None:
        """End the connection with a close frame, which the server has `close_deadline_s` to
        answer.
        """
        if self.live and self.transport is not None:
            self._end(reason)
            self._send_close(self.transport, WSCloseCode.OK, "")
            self._abort_timer = self._loop.call_later(self._close_deadline_s, self.abort)

    def abort(self) -> None:
        """Close the socket without a close frame."""
        self._end("aborted")
        if self.transport is not None:
            self.transport.disconnect(graceful=False)

    @property
    def can_send(self) -> bool:
        """Whether the socket accepts a request now."""
        return self.live and self.transport is not None and not self._writing_paused

    def send(self, request: bytes) -> bool:
        """Give one request to the socket; False when that is not possible, and then no byte
        was sent.
        """
        if not self.live or self.transport is None or self._writing_paused:
            return False
        self.transport.send(TEXT, request)
        if self._on_sent is not None:
            self._on_sent(request)
        return True

    def send_due(self) -> None:
        """Send what the session has to send without waiting for the next burst or tick."""
        if self.live and self.transport is not None:
            self._send_requests(self.transport)

    async def wait_disconnected(self, deadline_s: float) -> None:
        """Wait until the socket is closed, at most `deadline_s`."""
        if self.transport is None:
            return
        try:
            async with asyncio.timeout(deadline_s):
                await self.transport.wait_disconnected()
        except TimeoutError:
            log.warning("socket does not close", url=self._url, waited_s=deadline_s)
        except Exception as error:  # what made picows disconnect; `ended` has the reason
            log.debug("protocol error", url=self._url, error=repr(error))

    # Rare frames

    def _rare_frame(self, transport: WSTransport, frame: WSFrame, payload: bytes, received_at: MonoNs) -> None:
        match frame.msg_type:
            case WSMsgType.PING:
                # A server that pings and does not read must not fill our memory.
                if not self._writing_paused:
                    transport.send_pong(payload)
            case WSMsgType.PONG:
                pass  # only application data is a sign of life
            case WSMsgType.CLOSE:
                self._closed_by_server(transport, payload)
            case WSMsgType.BINARY:
                self._traffic.binary_frames += 1
            case _:
                self._fragment(frame, payload, received_at)

    def _closed_by_server(self, transport: WSTransport, payload: bytes) -> None:
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
        self.close_code = code
        self._end(close_text(code, payload[2:].decode("utf-8", "replace")))
        self._send_close(transport, WSCloseCode.OK, "")
        transport.disconnect()
        self._abort_timer = self._loop.call_later(self._close_deadline_s, self.abort)

    def _fragment(self, frame: WSFrame, payload: bytes, received_at: MonoNs) -> None:
        """A text message in parts: TEXT without fin, CONTINUATION …, CONTINUATION with fin
        (RFC 6455 §5.4).
        """
        is_first = frame.msg_type is TEXT
        if is_first is (self._fragments is not None):
            what = "a new message inside a fragmented one" if is_first else "a fragment of no message"
            self._drop(WSCloseCode.PROTOCOL_ERROR, f"the server broke the WebSocket protocol: {what}")
            return
        if self._fragments is None:
            self._fragments = bytearray()
        self._traffic.bytes_received += len(payload)
        self._fragments += payload
        if len(self._fragments) > MESSAGE_BYTES_MAX:
            self._drop(WSCloseCode.MESSAGE_TOO_BIG, f"a message in fragments exceeds {MESSAGE_BYTES_MAX} bytes")
        elif frame.fin:
            message, self._fragments = bytes(self._fragments), None
            if events := self._receive(message, received_at):
                self._on_events(events)

    def _frame_after_end(self, transport: WSTransport, frame: WSFrame) -> None:
        """Process only the server's answer to our close frame."""
        if frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    # Out

    def _end_burst(self, transport: WSTransport) -> None:
        self._burst_end_at = self._traffic.frames_received + BURST_FRAMES_MAX
        if self.live:
            self._on_burst_end()
            self._send_requests(transport)

    def _send_requests(self, transport: WSTransport) -> None:
        if self._writing_paused:
            return
        for request in self._to_send():
            transport.send(TEXT, request)
            if self._on_sent is not None:
                self._on_sent(request)

    def _send_close(self, transport: WSTransport, code: WSCloseCode, reason: str) -> None:
        # Never half a character.
        text = reason.encode()[:CLOSE_REASON_BYTES_MAX].decode("utf-8", "ignore")
        transport.send_close(code, text)

    # Timers and ends

    def _tick(self) -> None:
        transport = self.transport
        if not self.live or transport is None:
            return
        self._tick_timer = self._loop.call_later(self._poll_interval_s, self._tick)
        now = self._mono_ns()
        held_up_ns, self._polled_at = now - self._polled_at, now
        if held_up_ns > self._held_up_ns_max:
            # This process was held up (SIGSTOP, a suspended machine, a slow callback).
            # Frames of that time may still be in the socket: they are read before the next
            # tick decides whether the server is silent.
            return
        try:
            if events := self._session.poll(now):
                self._on_events(events)
                self._on_burst_end()
            if self.live:
                self._send_requests(transport)
            if (reason := self._session.dead(now)) is not None:
                self._drop(WSCloseCode.GOING_AWAY, reason)
        except Exception as error:
            self._fail(error, b"")
        if self.live and transport.is_close_frame_sent:  # by picows: a protocol error
            transport.disconnect(graceful=False)

    def _drop(self, code: WSCloseCode, reason: str) -> None:
        if self.live and self.transport is not None:
            self._end(reason)
            self._send_close(self.transport, code, reason)
            self.transport.disconnect(graceful=False)

    def _fail(self, error: Exception, message: bytes) -> None:
        """Log an exception of the session or a callback with its message, and end the
        connection.
        """
        self._traffic.session_errors += 1
        shown = message[:FRAME_BYTES_LOGGED_MAX]
        log.error("session failed", url=self._url, error=repr(error), frame=shown, exc_info=error)
        reason = f"the session failed: {type(error).__name__}: {error}"
        if isinstance(error, MisuseError) and not self.ended.done():
            self.ended.set_exception(error)
        self._drop(WSCloseCode.INTERNAL_ERROR, reason)

    def _end(self, reason: str) -> None:
        """Mark the end of the connection, once: notify the session and fulfil `ended`."""
        if not self.live:
            return
        self.live = False
        self._traffic.disconnects += 1
        self._fragments = None
        if self._tick_timer is not None:
            self._tick_timer.cancel()
        try:
            if events := self._session.closed(self._mono_ns(), reason):
                self._on_events(events)
                self._on_burst_end()
        except Exception as error:
            self._fail(error, b"")
        if not self.ended.done():
            self.ended.set_result(reason)


if LISTENER is not None:

    class CompiledLink(LISTENER.Listener, Link[Any]):  # type: ignore[misc,name-defined]
        """A link that gives its frames to a compiled lane first, in the socket's own
        buffer; the rest is Link's.
        """

        def __init__(self, session: Session[Any], traffic: Traffic, *, lane: object, **options: Any) -> None:
            super().__init__(session, traffic, **options)
            self.set_lane(
                lane,
                traffic,
                self._take_general,
                self._end_burst,
                self._fail,
                self._mono_ns,
                BURST_FRAMES_MAX,
            )

        def _take_general(self, transport: WSTransport, frame: WSFrame) -> None:
            Link.on_ws_frame(self, transport, frame)


def link_of(session: Session[E], traffic: Traffic, *, lane: object | None, **options: Any) -> Link[E]:
    """A link for one connection: compiled where there is a lane, and the listener for it."""
    if lane is None or LISTENER is None:
        return Link(session, traffic, **options)
    return CompiledLink(session, traffic, lane=lane, **options)
