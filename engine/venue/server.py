"""The doors of the venue: sockets on loopback, each with its connection behind it.

`serve` runs a venue until it is told to stop; `Venue` is the same for tests, as an async context manager.
"""

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable, Iterable
from http import HTTPStatus
from random import Random
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
from engine.errors import ConfigError, UserError
from engine.units import NS_PER_MS, NS_PER_S, WallNs
from engine.venue.market.exchange import Exchange
from engine.venue.market.notices import Maintenance, Notices
from engine.venue.market.pairs import pairs_of_symbols
from engine.venue.market.pulse import Pulse
from engine.venue.rest.server import RestServer
from engine.venue.setup.keys import FUNDED_ACCOUNT, KeyRing
from engine.venue.setup.settings import PATH, PATHS_V1, FaultSpec, VenueSettings
from engine.venue.trading.ledger import Ledger
from engine.venue.trading.settlement import default_funds
from engine.venue.trading.trading import Trading
from engine.venue.websocket.capture import read_captures
from engine.venue.websocket.conversation import Conversation
from engine.venue.websocket.faults import KINDS, check_symbols
from engine.venue.websocket.playback import CaptureSource
from engine.venue.websocket.private import PrivateConnection, TradingFloor
from engine.venue.websocket.private_faults import PRIVATE_KINDS, PrivateFaults
from engine.venue.websocket.public import PublicConnection
from engine.venue.websocket.tokens import Tokens
from engine.venue.wire.stream import Source, Timer, Timers
from engine.venue.wire.wire import close_frame

log = structlog.get_logger(__name__)

_Accept = Callable[[WSUpgradeRequest], WSListener | WSUpgradeResponseWithListener | None]

PUBLIC, PRIVATE = "public", "private"  # the sides
REQUEST_BYTES_MAX: Final = 1024 * 1024  # of one request; a subscription to every pair of Kraken is some 20 kB
CLOSE_WAIT_S: Final = 1.0  # for the client's answer to our close frame
SERVICE_RESTART: Final = 1012  # close code of a maintenance, as a private socket met it on 2026-10-01
PROTOCOL_ERROR: Final = 1002  # close codes of what is not WebSocket: RFC 6455 §7.4.1
MESSAGE_TOO_BIG: Final = 1009
POLICY_VIOLATION: Final = 1008
V1_NOT_SERVED: Final = f"WebSocket v1 is not served here: connect to {PATH} and use the messages of WebSocket v2"
NOTICE_LAG_S: Final = 0.001  # after the moment at which a notice becomes another
START_SLACK_NS: Final = 50 * NS_PER_MS  # a maintenance that begins so much before its announced time is that one
DUE_WAIT_S_MAX: Final = 3600.0  # between looks at what is due, so that a clock that was set does not matter for long
# The phases of a maintenance and their lengths, of which cancel_only's is one: some 110, 100 and 95 s on 2026-10-01.
LADDER: Final = (("maintenance", 1.1), ("cancel_only", 1.0), ("post_only", 0.95))
PRIVATE_LOSS_SHARE: Final = 11 / 95  # of post_only that had passed when that private socket was closed
QUIET_SHARE: Final = 0.01  # of the venue's rate: what the books move during a maintenance
QUIET_EVENTS_MIN: Final = 3  # but so many in a phase
MAINTENANCE_TITLE: Final = "Spot Exchange Maintenance"
SOCKET_BUFFER_HIGH: Final = 256 * 1024  # bytes waiting for the socket at which a source that can wait should


async def serve(settings: VenueSettings, ready: Callable[[dict[str, str]], None], stop: asyncio.Event) -> None:
    """Serve until `stop` is set; `ready` is given the addresses once they take connections."""
    async with Venue(settings) as venue:
        ready(venue.addresses())
        await stop.wait()


class Venue:
    """One exchange on loopback: `async with Venue(VenueSettings(port=0)) as venue: connect(venue.public_url)`."""

    def __init__(self, settings: VenueSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self.clock: Clock = clock or SystemClock()
        self._connections: set[Conversation] = set()
        self._unflushed: dict[Conversation, None] = {}  # those with frames of this tick
        self._flush_is_due = False  # at the end of this turn of the loop
        self._connection_count = 0  # ever accepted: the number of the next one
        self._rng = Random(f"{settings.seed} connections")  # ids and delays
        # The private connections draw from their own: who trades does not change what the public sees.
        self._private_count = 0
        self._private_rng = Random(f"{settings.seed} private connections")
        self._pulse: Pulse | None = None  # None where nothing moves by itself: at rate 0, or with a capture
        self._servers: list[asyncio.Server] = []
        self._due: Timer | None = None  # of what the trading core has to do next by itself
        self._ledger = Ledger(settings.ledger)
        self._maintenance: asyncio.Task[None] | None = None  # the one under way
        self._refusing = False  # connections, during the outage of a maintenance
        self._timers: list[asyncio.TimerHandle] = []  # of the timed faults
        self.notices = Notices(self._tell_all)
        self._notice_due: asyncio.TimerHandle | None = None  # when they become others by time alone
        self._source: Source
        self.exchange: Exchange | None = None  # None when a capture is served
        self.floor: TradingFloor | None = None  # likewise: a capture cannot be traded
        self.keys = KeyRing(settings.seed, settings.tier, settings.keys)
        self.system = "online"
        self.public_url = ""  # set once the venue serves
        self.private_url = ""  # likewise, empty with a capture
        self.rest: RestServer | None = None  # likewise, None with a capture
        self.fault_counts: dict[str, int] = {}  # how often each kind of fault has struck
        self._sides_begun: set[str] = set()  # to which there has been a connection

    @property
    def open_connections(self) -> int:
        """WebSocket connections of either side that are open at present."""
        return len(self._connections)

    async def __aenter__(self) -> Self:
        settings = self._settings
        loop = asyncio.get_running_loop()
        self._source = self._open_source(loop)
        port = await self._listen(self._accept, settings.port, "--port")
        self.public_url = self._url(port)
        if self.floor is not None:
            wanted = settings.private_port
            if wanted is None:
                wanted = settings.port and settings.port + 1
            self.private_url = self._url(await self._listen(self._accept_private, wanted, "--private-port"))
            self.rest = RestServer(
                settings, self.floor, self.keys, self.clock, lambda: self.system, self.fault_counts, self.notices
            )
            try:
                await self.rest.start()
            except BaseException:
                await self._close()
                raise
        if self._pulse is not None:
            self._pulse.start()
        for spec in settings.faults:
            if spec.at_s is not None and spec.kind in PRIVATE_KINDS and self.floor is not None:
                self._timers.append(loop.call_later(spec.at_s, self.floor.faults.script, spec.kind))
        return self

    def _begin_side(self, side: str) -> None:
        """A connection: the first one to each of the two sides starts the clock of the faults timed for it."""
        if side in self._sides_begun:
            return
        self._sides_begun.add(side)
        loop = asyncio.get_running_loop()
        for number, spec in enumerate(self._settings.faults, 1):
            if spec.at_s is not None and spec.kind in KINDS:
                self._timers.append(loop.call_later(spec.at_s, self._strike, spec, side))
                if spec.kind == "maintenance" and (side == PUBLIC or PUBLIC not in self._sides_begun):
                    self._announce(number, spec.at_s)

    def _announce(self, event_id: int, in_s: float) -> None:
        """Have a maintenance that is to come listed among the notices."""
        starts_at = WallNs(self.clock.wall_ns() + int(in_s * NS_PER_S))
        lasts_s = self._settings.maintenance_phase_s * sum(share for _, share in LADDER)
        ends_at = WallNs(starts_at + int(lasts_s * NS_PER_S) + 1)
        self.notices.plan(Maintenance(event_id=event_id, title=MAINTENANCE_TITLE, starts_at=starts_at, ends_at=ends_at))

    def _tell_all(self) -> None:
        """Tell every connection the state and the notices, and again when time alone makes these others."""
        for connection in list(self._connections):
            connection.tell_status()
        if self._notice_due is not None:
            self._notice_due.cancel()
            self._notice_due = None
        now = self.clock.wall_ns()
        self.notices.begin(now)
        due_at = self.notices.next_change(now)
        if due_at is not None:
            # A little late rather than early, when nothing would have changed yet.
            wait_s = min((due_at - now) / NS_PER_S + NOTICE_LAG_S, DUE_WAIT_S_MAX)
            self._notice_due = asyncio.get_running_loop().call_later(wait_s, self._tell_all)

    async def _listen(self, accept: _Accept, port: int, option: str) -> int:
        """Open one door; the port that it has got."""
        host = self._settings.host
        try:
            server = await ws_create_server(
                accept,
                host,
                port,
                enable_auto_pong=False,
                max_frame_size=REQUEST_BYTES_MAX,
                logger_name="venue",
                # aiofastnet 1.2 on uvloop 0.23 does not notice a reset that comes together with data: the loop drops
                # its poll on the error, and the connection would stay for ever.
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
        """Where the venue serves, as the ready line tells it."""
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
        if self._pulse is not None:
            self._pulse.stop()
        for timer in (*self._timers, self._notice_due):
            if timer is not None:
                timer.cancel()
        if self._due is not None:
            self._due.cancel()
        if self._maintenance is not None:
            self._maintenance.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._maintenance
        if self.rest is not None:
            await self.rest.stop()
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.reset()
        for _ in range(3):  # the loop's turns that a broken connection needs to be reported gone
            await asyncio.sleep(0)
        self._ledger.close()

    def _open_source(self, timers: Timers) -> Source:
        settings = self._settings
        if settings.capture:
            return CaptureSource(read_captures(settings.capture), settings, timers, self.clock, self._snapshot_delay_s)
        pairs = pairs_of_symbols(settings.symbols)
        check_symbols(settings.faults, [pair.symbol for pair in pairs])
        self.exchange = Exchange(pairs, settings.seed, self.clock, timers, self._snapshot_delay_s)
        self._open_floor(self.exchange)
        if settings.rate > 0:
            self._pulse = Pulse(settings.rate, settings.seed, self.clock, self.exchange.next_event, self._flush)
        return self.exchange

    def _open_floor(self, exchange: Exchange) -> None:
        """Where clients trade, with one funded account."""
        settings = self._settings
        trading = Trading(
            exchange,
            seed=settings.seed,
            ledger=self._ledger,
            count_rates=settings.count_rates,
            refuse_crossing_post_only=settings.crossing_post_only == "refuse",
            on_reminder=self._await_due,
        )
        trading.open_account(FUNDED_ACCOUNT, settings.tier, default_funds(exchange.markets), settings.fee_volume_usd)
        faults = PrivateFaults(settings.faults, settings.seed, self.fault_counts)
        self.floor = TradingFloor(exchange, trading, Tokens(settings.seed), faults)

    def _await_due(self) -> None:
        """Wake the trading core when it has something to do by itself: expiries, dead man's switches."""
        assert self.floor is not None
        if self._due is not None:
            self._due.cancel()
            self._due = None
        due_at = self.floor.trading.next_due()
        if due_at is not None:
            wait_s = min(max(0.0, (due_at - self.clock.wall_ns()) / NS_PER_S), DUE_WAIT_S_MAX)
            self._due = asyncio.get_running_loop().call_later(wait_s, self._do_due)

    def _do_due(self) -> None:
        assert self.floor is not None
        self.floor.trading.advance(self.clock.wall_ns())
        self._await_due()

    def _snapshot_delay_s(self) -> float:
        return self._rng.uniform(*self._settings.snapshot_delay_ms) / 1000

    def _private_snapshot_delay_s(self) -> float:
        return self._private_rng.uniform(*self._settings.snapshot_delay_ms) / 1000

    # --- connections -------------------------------------------------------------------------------------------------

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        return self._admit(request, self.connect)

    def _accept_private(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        return self._admit(request, self.connect_private)

    def _admit(
        self, request: WSUpgradeRequest, connect: Callable[["_Door"], Conversation]
    ) -> WSListener | WSUpgradeResponseWithListener | None:
        _understand_connection(request)
        if self._refusing:
            response = WSUpgradeResponse.create_error_response(HTTPStatus.SERVICE_UNAVAILABLE, b"maintenance")
            return WSUpgradeResponseWithListener(response, None)
        path = request.path.decode(errors="replace").partition("?")[0]
        if path in PATHS_V1:
            return _ClosedDoor()
        if path.rstrip("/") != PATH:
            return None  # 404
        return _Door(self, connect)

    def connect(self, door: "_Door") -> PublicConnection:
        """A new public connection behind its door."""
        self._begin_side(PUBLIC)
        self._connection_count += 1
        connection = PublicConnection(
            self._connection_count,
            self._rng.getrandbits(64),  # regularly beyond 2^63, as Kraken's are
            source=self._source,
            link=door,
            house=self,
            timers=asyncio.get_running_loop(),
            clock=self.clock,
            settings=self._settings,
            fault_counts=self.fault_counts,
        )
        self._connections.add(connection)
        return connection

    def connect_private(self, door: "_Door") -> PrivateConnection:
        """A new private one."""
        assert self.floor is not None
        self._begin_side(PRIVATE)
        self._private_count += 1
        connection = PrivateConnection(
            self._private_count,
            self._private_rng.getrandbits(64),
            floor=self.floor,
            link=door,
            house=self,
            timers=asyncio.get_running_loop(),
            clock=self.clock,
            settings=self._settings,
            snapshot_delay_s=self._private_snapshot_delay_s,
        )
        self._connections.add(connection)
        return connection

    def disconnect(self, connection: Conversation) -> None:
        """A connection has gone."""
        self._connections.discard(connection)
        self._unflushed.pop(connection, None)
        connection.end()

    @property
    def write_buffer_bytes_max(self) -> int:
        return self._settings.write_buffer_bytes_max

    def flush_soon(self, connection: Conversation) -> None:
        self._unflushed[connection] = None
        if not self._flush_is_due:  # a trade of a client's: no tick of the pulse will flush it
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        for connection in self._unflushed:
            connection.flush()
        self._unflushed.clear()

    # --- trouble -----------------------------------------------------------------------------------------------------

    def _strike(self, spec: FaultSpec, side: str) -> None:
        """The moment of a timed fault of one side; a maintenance is for both, and waits for the public one."""
        log.info("fault", kind=spec.kind, symbol=spec.symbol, side=side, connections=len(self._connections))
        if spec.kind == "maintenance":
            if side == PUBLIC or PUBLIC not in self._sides_begun:
                self.fault_counts["maintenance"] = self.fault_counts.get("maintenance", 0) + 1
                self.begin_maintenance()
            return
        if spec.kind == "precision":
            if side == PUBLIC or PUBLIC not in self._sides_begun:
                self._relist(spec)
            return
        for connection in list(self._connections):
            if (connection.faults is not None) != (side == PUBLIC):
                continue
            if connection.faults is not None:
                connection.faults.arm(spec)
            elif spec.kind == "cut":
                connection.reset()
            elif spec.kind == "silent":
                connection.fall_silent()
            elif spec.kind == "close":
                connection.close(spec.close_code)

    def _relist(self, spec: FaultSpec) -> None:
        """A pair gets another precision; one that cannot have it is told in the log, and goes on as it was."""
        assert spec.symbol is not None
        if self.floor is None:
            log.error("fault cannot strike", kind=spec.kind, reason="a capture is served as it was recorded")
            return
        try:
            self.floor.trading.relist(spec.symbol, *spec.decimals, self.floor.exchange.event_time())
        except ConfigError as error:
            log.error("fault cannot strike", kind=spec.kind, reason=str(error))
            return
        self.fault_counts["precision"] = self.fault_counts.get("precision", 0) + 1

    def begin_maintenance(self) -> None:
        """Go through the phases of a maintenance, unless one is under way."""
        if self._maintenance is None or self._maintenance.done():
            self._maintenance = asyncio.get_running_loop().create_task(self._maintain())

    async def _maintain(self) -> None:
        """Kraken's phases in their order. Nothing is matched until the venue is online again, and books hardly move."""
        loss, unit_s = self._settings.maintenance_loss, self._settings.maintenance_phase_s
        pulse, quiet = self._pulse, self._quiet_pulse(unit_s)
        if pulse is not None and quiet is not None:
            pulse.stop()
            self._pulse = quiet
            quiet.start()
        self.notices.begin(WallNs(self.clock.wall_ns() + START_SLACK_NS))
        for system, share in LADDER:
            self._refusing = loss == "all" and system == "maintenance"
            self._enter(system)
            left_s = share * unit_s
            if self._refusing:
                self._close_connections(self._connections)
            elif loss == "private" and system == "post_only":
                await asyncio.sleep(left_s * PRIVATE_LOSS_SHARE)
                left_s *= 1 - PRIVATE_LOSS_SHARE
                self._close_connections(
                    connection for connection in self._connections if isinstance(connection, PrivateConnection)
                )
            await asyncio.sleep(left_s)
        if pulse is not None and quiet is not None:
            quiet.stop()
            self._pulse = pulse
            pulse.start()
        self._enter("online")

    def _quiet_pulse(self, phase_s: float) -> Pulse | None:
        """What little moves the books during a maintenance; None where nothing moves by itself."""
        if self._pulse is None or self.exchange is None:
            return None
        rate = max(QUIET_SHARE * self._settings.rate, QUIET_EVENTS_MIN / phase_s)
        event = self.exchange.quiet_event
        return Pulse(min(rate, self._settings.rate), self._settings.seed, self.clock, event, self._flush)

    def _close_connections(self, connections: Iterable[Conversation]) -> None:
        for connection in list(connections):
            connection.close(SERVICE_RESTART)

    def _enter(self, system: str) -> None:
        log.info("status", system=system)
        self.system = system
        if self.floor is not None:
            self.floor.trading.system = system
            self._do_due()
        self._tell_all()


def _understand_connection(request: WSUpgradeRequest) -> None:
    """Leave of the header `Connection` what picows understands.

    It is a list (RFC 9110 §7.6.1), and browsers and proxies send `keep-alive, Upgrade`; picows knows the word alone.
    """
    wishes = ",".join(request.headers.getall("Connection", [])).lower().split(",")
    if "upgrade" in (wish.strip() for wish in wishes):
        request.headers["Connection"] = "Upgrade"


class _ClosedDoor(WSListener):
    """Where WebSocket v1 would be: whoever comes is told that it is not here."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.underlying_transport.write(close_frame(POLICY_VIOLATION, V1_NOT_SERVED))
        transport.disconnect()


class _Door(WSListener):
    """The socket of one connection."""

    def __init__(self, venue: Venue, connect: Callable[["_Door"], Conversation]) -> None:
        super().__init__()
        self._venue = venue
        self._connect = connect
        self._connection: Conversation
        self._transport: WSTransport
        self._socket: asyncio.Transport
        self._fragments = bytearray()  # of a message that comes in several frames
        self._unfinished = False  # has such a message begun, and not ended yet?

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._socket = transport.underlying_transport
        self._socket.set_write_buffer_limits(high=SOCKET_BUFFER_HIGH)
        self._connection = self._connect(self)
        self._connection.begin()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            # No extension is ever agreed on, so RSV1 (compressed) has no meaning here: RFC 6455 §5.2 and §5.4.
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
            # Kraken's servers queue for a slow reader too, but nothing may grow without a bound.
            log.warning("slow client disconnected", unsent_bytes=self._socket.get_write_buffer_size())
            self._connection.reset()

    def finish(self) -> None:
        asyncio.get_running_loop().call_later(CLOSE_WAIT_S, self._transport.disconnect)

    def reset(self) -> None:
        with contextlib.suppress(OSError):  # already gone
            # No lingering: the client sees a reset, not an orderly end.
            self._socket.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        self._transport.disconnect(graceful=False)
