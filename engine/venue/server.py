"""The venue's sockets on loopback, each with its connection.

`serve` runs a venue until it is told to stop; `Venue` is the same for tests, as an async
context manager.
"""

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

import structlog
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from engine.clock import Clock, SystemClock
from engine.errors import UserError
from engine.venue.alarm import Alarm
from engine.venue.core import VenueCore
from engine.venue.market.pairs import PairSpec
from engine.venue.rest.server import RestServer
from engine.venue.setup.settings import PATH, PATHS_V1, VenueSettings
from engine.venue.websocket.conversation import Conversation, Link
from engine.venue.wire.stream import Timer
from engine.venue.wire.wire import close_frame

log = structlog.get_logger(__name__)

_Accept = Callable[[WSUpgradeRequest], WSListener | WSUpgradeResponseWithListener | None]

REQUEST_BYTES_MAX: Final = 1024 * 1024  # of one request; a subscription to every pair of Kraken is some 20 kB
CLOSE_WAIT_S: Final = 1.0  # for the client's answer to our close frame
PROTOCOL_ERROR: Final = 1002  # close codes of what is not WebSocket: RFC 6455 §7.4.1
MESSAGE_TOO_BIG: Final = 1009
POLICY_VIOLATION: Final = 1008
V1_NOT_SERVED: Final = f"WebSocket v1 is not served here: connect to {PATH} and use the messages of WebSocket v2"
SOCKET_BUFFER_HIGH: Final = 256 * 1024  # bytes waiting for the socket at which a source that can wait should


async def serve(settings: VenueSettings, ready: Callable[[dict[str, str]], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set; `ready` is called with the addresses once connections are
    accepted.
    """
    async with Venue(settings) as venue:
        ready(venue.addresses())
        await stop.wait()


class Venue(VenueCore):
    """One venue on loopback: `async with Venue(VenueSettings(port=0)) as venue:
    connect(venue.public_url)`.
    """

    def __init__(
        self, settings: VenueSettings, clock: Clock | None = None, mirrored: tuple[PairSpec, ...] = ()
    ) -> None:
        super().__init__(settings, clock or SystemClock(), _LoopTimers(), Alarm, mirrored)
        self._servers: list[asyncio.Server] = []
        self.public_url = ""  # set when the venue serves
        self.private_url = ""  # likewise, empty with a capture
        self.rest: RestServer | None = None  # likewise, None with a capture

    @property
    def open_connections(self) -> int:
        """The number of open WebSocket connections of both sides."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        settings = self._settings
        self.open()
        port = await self._listen(self._accept, settings.port, "--port")
        self.public_url = self._url(port)
        if self.rest_api is not None:
            wanted = settings.private_port
            if wanted is None:
                wanted = settings.port and settings.port + 1
            self.private_url = self._url(await self._listen(self._accept_private, wanted, "--private-port"))
            self.rest = RestServer(settings, self.rest_api)
            try:
                await self.rest.start()
            except BaseException:
                await self._close()
                raise
        self.start()
        return self

    async def _listen(self, accept: _Accept, port: int, option: str) -> int:
        """Listen on a port (0: any) and return it. Raises UserError, naming `option`, if it
        is not available.
        """
        host = self._settings.host
        try:
            server = await ws_create_server(
                accept,
                host,
                port,
                enable_auto_pong=False,
                max_frame_size=REQUEST_BYTES_MAX,
                logger_name="venue",
                # aiofastnet 1.2 on uvloop 0.23 does not notice a reset that comes together
                # with data: the loop stops polling the socket on the error, and the
                # connection would stay for ever.
                use_aiofastnet=False,
            )
        except OSError as error:
            await self._close()
            reason = "is already in use" if error.errno == errno.EADDRINUSE else f"cannot be opened ({error.strerror})"
            raise UserError(
                f"{option} {port}: this port of {host} {reason}, choose another or 0 for any free one"
            ) from None
        self._servers.append(server)
        address: tuple[str, int] = server.sockets[0].getsockname()
        return address[1]

    def _url(self, port: int) -> str:
        host = self._servers[-1].sockets[0].getsockname()[0]
        return f"ws://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    def addresses(self) -> dict[str, str]:
        """The venue's addresses, as the ready line shows them."""
        addresses = {"public": self.public_url}
        if self.private_url:
            addresses["private"] = self.private_url
        if self.rest is not None:
            addresses["rest"] = self.rest.url
            addresses["api_key"], addresses["api_secret"] = self.keys.default.key, self.keys.default.secret
        return addresses

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        if self.rest is not None:
            await self.rest.stop()
        self.shut()
        for _ in range(3):  # turns of the loop until a reset connection is reported as gone
            await asyncio.sleep(0)

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        return self._admit(request, self.connect)

    def _accept_private(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        return self._admit(request, self.connect_private)

    def _admit(
        self, request: WSUpgradeRequest, connect: Callable[[Link], Conversation]
    ) -> WSListener | WSUpgradeResponseWithListener | None:
        _understand_connection(request)
        if self.is_refusing:
            response = WSUpgradeResponse.create_error_response(HTTPStatus.SERVICE_UNAVAILABLE, b"maintenance")
            return WSUpgradeResponseWithListener(response, None)
        path = request.path.decode(errors="replace").partition("?")[0]
        if path in PATHS_V1:
            return _V1Refusal()
        if path.rstrip("/") != PATH:
            return None  # 404
        return _ConnectionSocket(self, connect)


class _LoopTimers:
    """The timers of the running event loop."""

    def call_soon(self, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_soon(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay, callback)


def _understand_connection(request: WSUpgradeRequest) -> None:
    """Reduce the header `Connection` to what picows understands.

    The header is a list (RFC 9110 §7.6.1), and browsers and proxies send `keep-alive,
    Upgrade`; picows accepts the single word only.
    """
    wishes = ",".join(request.headers.getall("Connection", [])).lower().split(",")
    if "upgrade" in (wish.strip() for wish in wishes):
        request.headers["Connection"] = "Upgrade"


class _V1Refusal(WSListener):
    """Refuses a client at WebSocket v1's path, with the reason."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.underlying_transport.write(close_frame(POLICY_VIOLATION, V1_NOT_SERVED))
        transport.disconnect()


class _ConnectionSocket(WSListener):
    """The socket of one connection."""

    def __init__(self, venue: Venue, connect: Callable[[Link], Conversation]) -> None:
        super().__init__()
        self._venue = venue
        self._connect = connect
        self._connection: Conversation
        self._transport: WSTransport
        self._socket: asyncio.Transport
        self._fragments = bytearray()  # of a message that comes in several frames
        self._unfinished = False  # True while such a message has begun and not ended

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._socket = transport.underlying_transport
        self._socket.set_write_buffer_limits(high=SOCKET_BUFFER_HIGH)
        self._connection = self._connect(self)
        self._connection.begin()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            # No extension is ever agreed on, so RSV1 (compressed) has no meaning here: RFC
            # 6455 §5.2 and §5.4.
            if frame.rsv1 or self._unfinished != (kind == WSMsgType.CONTINUATION):
                self._connection.close(PROTOCOL_ERROR)
                return
            self._unfinished = not frame.fin
            self._fragments += frame.get_payload_as_bytes()
            if frame.fin:
                message = bytes(self._fragments)
                self._fragments.clear()
                self._connection.receive(message)
            elif len(self._fragments) > REQUEST_BYTES_MAX:
                self._fragments.clear()  # the client may go on for a while
                self._connection.close(MESSAGE_TOO_BIG)
        elif kind == WSMsgType.PING:
            self._connection.receive_ping(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            self._connection.receive_close(int.from_bytes(frame.get_payload_as_bytes()[:2], "big"))
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._venue.disconnect(self._connection)

    def pause_writing(self) -> None:
        self._connection.pause()

    def resume_writing(self) -> None:
        self._connection.resume()

    def write(self, frames: bytes) -> None:
        self._socket.write(frames)
        if self._socket.get_write_buffer_size() > self._venue.write_buffer_bytes_max:
            # Kraken's servers queue for a slow reader too, but everything here has a bound.
            log.warning("slow client disconnected", unsent_bytes=self._socket.get_write_buffer_size())
            self._connection.reset()

    def finish(self) -> None:
        asyncio.get_running_loop().call_later(CLOSE_WAIT_S, self._transport.disconnect)

    def reset(self) -> None:
        with contextlib.suppress(OSError):  # already gone
            # Without lingering the client sees a reset instead of an orderly end.
            self._socket.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self._transport.disconnect(graceful=False)
