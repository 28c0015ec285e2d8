"""One WebSocket connection that drives a sans-I/O session and reconnects until it is
stopped.

    socket ──frames──► Session.receive() ──events──► on_events()       for each frame
                                                     on_burst_end()    when the socket has no more, or after 64
           ◄─requests─ Session.to_send()                               after each burst and each tick
              tick ──► Session.poll(), Session.dead()                  every 20 ms

This module connects and reconnects; `link` serves a connection that is up. Attempts are
paced by a Backoff (how long to wait) and a ConnectionBudget (how often Kraken's edge allows
it). Every await on the network has a deadline.

What the sources of picows 2.3.1 taught us:
* A cancelled ws_connect leaves its socket open. So we shut the socket down and let
  ws_connect come to its end.
* A server that closes before it answers the upgrade makes ws_connect return normally, with
  a listener of None.
* Redirects would be followed over the socket we made for the first host. So none is
  followed.
* A socket that is not connected any more would be connected anew, to a name that the event
  loop looks up. So we look first.
* uvloop may close a socket while it makes a transport of it: `engine.net.dialed_socket`.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog
from picows import ws_connect

from engine.clock import Clock
from engine.endpoints import check_url
from engine.errors import MisuseError, UserError
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.dialed_socket import DialedSocket
from engine.net.frame_log import FrameLog
from engine.net.link import MESSAGE_BYTES_MAX, Link, link_of
from engine.net.reasons import connect_failure_text, retry_after_s
from engine.net.resolver import Resolver
from engine.net.session import Session
from engine.net.tls import client_context
from engine.net.traffic import Traffic
from engine.units import NS_PER_S, MonoNs

__all__ = ["Session", "WebSocketConnection"]

log = structlog.get_logger(__name__)

HANDSHAKE_DEADLINE_S = 5.0  # TLS and upgrade together; usual are 0.1 to 0.5 s
CLOSE_DEADLINE_S = 1.0  # for the server's half of a close, then the socket is aborted
READ_BUFFER_BYTES = 64 * 1024  # initially; picows doubles it whenever a read fills it
STOPPED = "stopped by us"
CLOSED_UNANSWERED = "the server closed the connection before it answered the upgrade"
SERVICE_RESTART = 1012

E = TypeVar("E")


class GaveUp(UserError):
    """Too many attempts to connect failed one after the other."""

    def __init__(self, failures: int, last_error: str) -> None:
        super().__init__(
            f"{last_error}; given up after {failures} attempts in a row, as connection.attempts_max says (0: never)"
        )


class WebSocketConnection(Traffic, Generic[E]):
    """Keeps one session connected to `url`; for use in the thread of the event loop that
    runs `run()`.
    """

    def __init__(
        self,
        url: str,
        session: Session[E],
        *,
        on_events: Callable[[Sequence[E]], None],
        on_burst_end: Callable[[], None],
        receive: Callable[[bytes, MonoNs], Sequence[E]] | None = None,
        lane: object | None = None,
        clock: Clock,
        backoff: Backoff,
        budget: ConnectionBudget,
        resolver: Resolver,
        ca_file: Path | None = None,
        failures_max: int = 0,
        frame_log: FrameLog | None = None,
        handshake_deadline_s: float = HANDSHAKE_DEADLINE_S,
        close_deadline_s: float = CLOSE_DEADLINE_S,
    ) -> None:
        """ConfigError when `url` or `ca_file` cannot be used.

        on_events     takes what the session made of a frame, a poll or a close; never an empty sequence
        on_burst_end  is called when everything a read of the socket gave has been received
                      (and every 64 frames of a longer one), also when no frame of it made
                      events; and after the events of a poll or a close
        receive       takes a message in the session's stead, and has the session take it where it must; None: the
                      session takes each
        failures_max  attempts that fail in a row until `run` gives up; 0: it never does
        frame_log     is given every frame; then there is no lane, which would take some unseen; None: nothing is
        lane          what may take frames before `receive`, in the socket's own buffer, and end a burst of which it
                      took every frame without `on_burst_end`; None: nothing
        """
        super().__init__()
        self._endpoint = check_url(url)
        self._tls = client_context(ca_file) if self._endpoint.is_secure else None
        self._session = session
        self._on_events = on_events
        self._on_burst_end = on_burst_end
        self._receive = session.receive if receive is None else receive
        self._lane = lane
        self._on_sent: Callable[[bytes], None] | None = None
        if frame_log is not None:
            self._receive, self._lane = _noted(self._receive, frame_log), None
            self._on_sent = frame_log.sent
        self._clock = clock
        self._backoff = backoff
        self._budget = budget
        self._resolver = resolver
        self._failures_max = failures_max
        self._handshake_deadline_s = handshake_deadline_s
        self._close_deadline_s = close_deadline_s

        # The connection that is being made, in use or being closed; None between two of
        # them.
        self._link: Link[E] | None = None
        # Ends what run() awaits at the moment, unless that is time.
        self._interrupt: Callable[[], object] = _nothing
        self._stopping = asyncio.Event()
        # Clear while run() runs.
        self._returned = asyncio.Event()
        self._returned.set()

        # Why the last attempt or connection ended, one sentence; empty before the first,
        # unchanged by `stop`.
        self.last_error = ""

    @property
    def connected(self) -> bool:
        """Whether a connection is up and the session knows it."""
        return self._link is not None and self._link.live

    async def run(self) -> None:
        """Connect, serve and reconnect until `stop`.

        Raises GaveUp when `failures_max` attempts have failed one after the other, and the
        MisuseError of a session or callback.
        """
        if not self._returned.is_set():
            raise MisuseError(f"{self._endpoint.url}: run() runs already")
        self._returned.clear()
        retry_at, failures = self._clock.mono_ns(), 0
        try:
            while await self._turn_comes(retry_at):
                connects = self.connects
                floor_ns = await self._connect_and_serve()
                failures = 0 if self.connects > connects else failures + 1
                if 0 < self._failures_max <= failures and not self._stopping.is_set():
                    raise GaveUp(failures, self.last_error)
                retry_at = self._backoff.retry_at(self._clock.mono_ns(), floor_ns)
        finally:
            self._interrupt, self._link = _nothing, None
            self._returned.set()

    async def stop(self) -> None:
        """Close with a close frame and wait until run() has returned, about
        `close_deadline_s` at most.
        """
        self._stopping.set()
        self._interrupt()
        await self._returned.wait()

    def cut(self, reason: str) -> None:
        """End the present connection at once, so that run() makes a new one; no effect
        while there is none.
        """
        if self._link is not None:
            self._link.cut(reason)

    @property
    def can_send(self) -> bool:
        """Whether the socket accepts a request now."""
        return self._link is not None and self._link.can_send

    def send(self, request: bytes) -> bool:
        """Give one request to the socket; False when that is not possible, and then no byte
        was sent.
        """
        return self._link is not None and self._link.send(request)

    def send_due(self) -> None:
        """Send the session's due requests now, without waiting for the next frame or tick."""
        if self._link is not None:
            self._link.send_due()

    async def _turn_comes(self, retry_at: MonoNs) -> bool:
        """Wait until backoff and budget allow an attempt; False when `stop` was called."""
        self._interrupt = _nothing  # the event is enough
        while not self._stopping.is_set():
            now = self._clock.mono_ns()
            wait_ns = max(retry_at, self._budget.earliest(now)) - now
            if wait_ns <= 0:
                return True
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_ns / NS_PER_S):
                    await self._stopping.wait()
        return False

    async def _connect_and_serve(self) -> int:
        """Make one attempt and serve the connection; returns the shortest wait before the
        next attempt, in ns.
        """
        self._budget.spend(self._clock.mono_ns())
        link = self._link = link_of(
            self._session,
            self,
            lane=self._lane,
            url=self._endpoint.url,
            on_events=self._on_events,
            on_burst_end=self._on_burst_end,
            receive=self._receive,
            clock=self._clock,
            close_deadline_s=self._close_deadline_s,
            on_sent=self._on_sent,
        )
        try:
            floor_ns = await self._connect(link)
            if link.was_up:
                await self._serve(link)
                # Kraken restarts its sockets when its engine is back, whatever its last
                # status was.
                is_back = link.close_code == SERVICE_RESTART
                floor_ns = 0 if is_back else self._session.reconnect_delay_floor_ns
            else:
                floor_ns = max(floor_ns, self._session.reconnect_delay_floor_ns)
        finally:
            # In any case, cancellation included: the session is notified and the socket
            # closed.
            link.abort()
        return floor_ns

    async def _connect(self, link: Link[E]) -> int:
        """Try to connect `link`; returns the server's Retry-After in ns if it refused, else
        0.
        """
        try:
            sock = await self._dial()
            if sock is not None:
                await self._shake_hands_in_time(sock, link)
        except Exception as error:  # any error of DNS, picows, aiofastnet or OpenSSL; none of them is a MisuseError
            if not link.was_up and not self._stopping.is_set():
                self._note_failure(connect_failure_text(error))
            return retry_after_s(error) * NS_PER_S
        return 0

    async def _shake_hands_in_time(self, sock: DialedSocket, link: Link[E]) -> None:
        """Complete the handshake of `link` over `sock` in time, or raise."""
        overdue = False

        # Shut down, not canceled: the reader of the socket then sees its end and cleans up,
        # at any stage.
        def give_up() -> None:
            nonlocal overdue
            if not link.was_up:
                overdue = True
                sock.shut()

        self._interrupt = lambda: link.close(STOPPED) if link.was_up else sock.shut()
        deadline = asyncio.get_running_loop().call_later(self._handshake_deadline_s, give_up)
        try:
            await self._shake_hands(sock, link)
        except asyncio.CancelledError:
            sock.shut()
            raise
        except Exception as error:
            if not overdue:
                raise
            raise TimeoutError(f"no answer to the handshake within {self._handshake_deadline_s:g} s") from error
        finally:
            deadline.cancel()
            sock.let_go()

    async def _dial(self) -> DialedSocket | None:
        """A socket connected to the host; None when `stop` came first."""
        dialing = asyncio.ensure_future(self._resolver.connect(self._endpoint.host, self._endpoint.port))
        self._interrupt = dialing.cancel
        try:
            await asyncio.wait({dialing})
        except asyncio.CancelledError:
            dialing.add_done_callback(_close_unused)
            dialing.cancel()
            raise
        if dialing.cancelled():
            return None
        sock = dialing.result()
        if self._stopping.is_set():
            sock.close()
            return None
        return sock

    async def _shake_hands(self, sock: DialedSocket, link: Link[E]) -> None:
        try:
            sock.getpeername()
        except OSError:
            sock.close()
            raise ConnectionAbortedError(CLOSED_UNANSWERED) from None
        # Our own deadline comes first; these apply if picows does not notice the socket's
        # shutdown.
        last_resort_s = self._handshake_deadline_s + self._close_deadline_s
        tls_options: dict[str, Any] = {
            "ssl_handshake_timeout": last_resort_s,
            "ssl_shutdown_timeout": self._close_deadline_s,
        }
        await ws_connect(
            lambda _request, _response: link,
            self._endpoint.url,
            ssl_context=self._tls,
            socket_factory=lambda _url: sock,
            websocket_handshake_timeout=last_resort_s,
            enable_auto_pong=False,
            max_frame_size=MESSAGE_BYTES_MAX,
            max_redirects=0,
            # aiofastnet 1.2 on uvloop 0.23 never notices a reset that comes together with
            # data.
            use_aiofastnet=False,
            read_buffer_init_size=READ_BUFFER_BYTES,
            **(tls_options if self._tls is not None else {}),
        )
        if not link.was_up:
            raise ConnectionAbortedError(CLOSED_UNANSWERED)

    async def _serve(self, link: Link[E]) -> None:
        """Wait until `link` has ended and its socket is closed."""
        self._backoff.opened(self._clock.mono_ns())
        log.info("connected", url=self._endpoint.url, connects=self.connects)
        self._interrupt = partial(link.close, STOPPED)
        reason = await link.ended
        if not self._stopping.is_set():
            self.last_error = f"{self._endpoint.url}: {reason}"
            log.warning("connection ended", url=self._endpoint.url, reason=reason)
        await link.wait_disconnected(2 * self._close_deadline_s)

    def _note_failure(self, text: str) -> None:
        self.connect_failures += 1
        self.last_error = f"{self._endpoint.url}: {text}"
        log.warning("connecting failed", url=self._endpoint.url, reason=text, failures=self.connect_failures)


def _close_unused(dialing: "asyncio.Future[DialedSocket]") -> None:
    """Close a socket that was connected after its caller had given up."""
    if not dialing.cancelled() and dialing.exception() is None:
        dialing.result().close()


def _noted(
    receive: Callable[[bytes, MonoNs], Sequence[E]], frame_log: FrameLog
) -> Callable[[bytes, MonoNs], Sequence[E]]:
    """The same, with every message in the log first."""

    def receive_noted(message: bytes, received_at: MonoNs) -> Sequence[E]:
        frame_log.received(message)
        return receive(message, received_at)

    return receive_noted


def _nothing() -> None:
    pass
