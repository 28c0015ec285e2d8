"""What the tests of `net` share: a misbehaving server on a real socket, and a session that notes what it is told."""

import asyncio
import base64
import hashlib
import random
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Self

from engine.clock import SystemClock
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.dialed_socket import DialedSocket
from engine.net.resolver import Address, Resolver
from engine.net.websocket import WebSocketConnection
from engine.units import NS_PER_MS, MonoNs
from tests.waiting import until

POLL_INTERVAL_NS = 2 * NS_PER_MS
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
TLS = Path(__file__).parent.parent / "data" / "tls"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A server's frame (RFC 6455 §5.2), unmasked."""
    head = bytes([(0x80 if fin else 0) | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return head + b"\x7e" + struct.pack(">H", len(payload)) + payload
    return head + b"\x7f" + struct.pack(">Q", len(payload)) + payload


def text(*payloads: bytes) -> bytes:
    """One text frame for each payload, back to back."""
    return b"".join(frame(TEXT, payload) for payload in payloads)


class Peer:
    """The server's end of one TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.key = ""

    async def read_upgrade(self) -> None:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        self.key = next(line.split(": ")[1] for line in head.split("\r\n") if line.startswith("Sec-WebSocket-Key"))

    async def accept(self, *, followed_by: bytes = b"") -> None:
        """Read the request for an upgrade and grant it."""
        await self.read_upgrade()
        accept = base64.b64encode(hashlib.sha1((self.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        self.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + followed_by
        )

    def write(self, raw: bytes) -> None:
        """One write, hence on loopback one read at the other end."""
        self._writer.write(raw)

    async def read(self) -> tuple[int, bytes]:
        """The client's next frame: opcode and payload."""
        first, second = await self._reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self._reader.readexactly(8))
        mask = await self._reader.readexactly(4)
        payload = await self._reader.readexactly(length)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))

    async def gone(self) -> None:
        """Wait until the client has left, or has said that it wants to: then answer, and be the first to close."""
        try:
            while (await self.read())[0] != CLOSE:
                pass
            self.write(frame(CLOSE, (1000).to_bytes(2, "big")))
            await self._writer.drain()
            self._writer.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass

    async def left(self, within_s: float | None = None) -> bool:
        """Wait until the client has left, and say nothing; False when it has not `within_s`
        seconds.
        """
        try:
            async with asyncio.timeout(within_s):
                while await self._reader.read(1 << 16):
                    pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def pause(self) -> None:
        """Read nothing more."""
        self._writer.transport.pause_reading()

    def reset(self) -> None:
        """Close without a word: a TCP reset where bytes are unread."""
        self._writer.transport.abort()

    def reset_behind_what_was_written(self) -> None:
        """A TCP reset that reaches the client together with data it has not read."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Plays one script for each connection, in order; the last one for all that follow."""

    def __init__(self, *scripts: Script, port: int = 0, tls: Any = None) -> None:
        self._scripts = scripts
        self._port = port
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/v2"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
        self.accepted += 1
        try:
            await script(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


class NotingSession:
    """A session whose events are the frames themselves; it notes every call in `log`."""

    def __init__(self) -> None:
        self.log: list[tuple[str, object]] = []
        self.outbox: list[bytes] = []
        # What `opened` puts into the outbox.
        self.greeting: list[bytes] = []
        self.poll_events: list[bytes] = []
        self.dead_reason: str | None = None
        self.reconnect_delay_floor_ns = 0
        self.poll_interval_ns = POLL_INTERVAL_NS
        # Names of methods that shall raise, and what.
        self.raises: dict[str, Exception] = {}
        self.received_at: list[MonoNs] = []
        self.polls = 0

    def opened(self, now: MonoNs) -> None:
        self.log.append(("opened", len(self.of("opened")) + 1))
        self.dead_reason = None
        self.outbox = list(self.greeting)
        self._maybe_raise("opened")

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[bytes]:
        self.log.append(("frame", frame))
        self.received_at.append(received_at)
        if frame == b"poison":
            self._maybe_raise("receive")
        if frame.startswith(b"say "):
            self.outbox.append(frame[4:])
        return [frame] if frame != b"nothing" else []

    def poll(self, now: MonoNs) -> Sequence[bytes]:
        self.polls += 1
        self._maybe_raise("poll")
        events, self.poll_events = self.poll_events, []
        return events

    def to_send(self) -> list[bytes]:
        requests, self.outbox = self.outbox, []
        return requests

    def dead(self, now: MonoNs) -> str | None:
        return self.dead_reason

    def closed(self, now: MonoNs, reason: str) -> Sequence[bytes]:
        self.log.append(("closed", reason))
        self._maybe_raise("closed")
        return [b"gone"]

    def of(self, kind: str) -> list[Any]:
        """What was noted under `kind`, in order."""
        return [what for name, what in self.log if name == kind]

    def _maybe_raise(self, method: str) -> None:
        if method in self.raises:
            raise self.raises.pop(method)


class Rig:
    """A connection, its session and its callbacks, all noted in one log: `session.log`."""

    # What may take frames before the session, of the connections that are given no other: see `listener` in
    # test_websocket.py.
    lane: Any = None

    def __init__(self, url: str, **options: Any) -> None:
        self.session: NotingSession = options.pop("session", None) or NotingSession()
        self.connection: WebSocketConnection[bytes] = WebSocketConnection(
            url,
            self.session,
            on_events=options.pop("on_events", self._on_events),
            on_burst_end=options.pop("on_burst_end", self._on_burst_end),
            clock=options.pop("clock", None) or SystemClock(),
            backoff=options.pop("backoff", None) or impatient(),
            budget=options.pop("budget", None) or ConnectionBudget(attempts_max=10_000),
            resolver=options.pop("resolver", None) or Resolver(),
            **{"close_deadline_s": 0.05, "lane": self.lane, **options},
        )
        self.running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Rig":
        self.running = asyncio.create_task(self.connection.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.stop()
        assert self.running is not None
        await self.running

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until `condition` holds; the scenario's deadline is the limit."""

        def look() -> object:
            if found := condition():
                return found
            assert self.running is not None
            if self.running.done():
                self.running.result()
            return None

        await until(look)

    async def connected(self, times: int = 1) -> None:
        await self.until(lambda: self.connection.connects >= times)

    def _on_events(self, events: Sequence[bytes]) -> None:
        self.session.log += [("event", event) for event in events]

    def _on_burst_end(self) -> None:
        self.session.log.append(("burst end", None))


def impatient() -> Backoff:
    """Retries almost at once, always."""
    return Backoff(random.Random(1), first_ceiling_ns=1_000_000, ceiling_ns_max=5_000_000)


def patient() -> Backoff:
    """After the instant retries waits for an hour or so: whoever gets past it did not wait."""
    return Backoff(random.Random(1), first_ceiling_ns=10**13, ceiling_ns_max=10**13)


def server_context(names: list[str | None] | None = None) -> ssl.SSLContext:
    """A server that is venue.test; it notes the names that clients asked for (SNI)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "venue.pem", TLS / "venue.key")
    if names is not None:
        context.sni_callback = lambda _socket, name, _context: names.append(name)
    return context


def pointing_at(port: int) -> Resolver:
    """Every name is 127.0.0.1 at this port."""
    return Resolver(lambda _host, _port: [Address(socket.AF_INET, ("127.0.0.1", port))])


class EndsSoon(Resolver):
    """Addresses of another one; each connection is shut down, the first as soon as it is made, the next a turn of the
    loop later…
    """

    def __init__(self, other: Resolver) -> None:
        super().__init__()
        self.addresses = other.addresses  # type: ignore[method-assign]
        self.made: list[DialedSocket] = []
        self._turns = count()

    def new_socket(self, family: int, kind: int = socket.SOCK_STREAM, proto: int = 0) -> DialedSocket:
        sock = super().new_socket(family, kind, proto)
        self.made.append(sock)
        self._end(sock, next(self._turns))
        return sock

    def _end(self, sock: DialedSocket, turns_left: int) -> None:
        try:
            sock.getpeername()
        except OSError:
            if sock.fileno() == -1:
                return
            turns_left += 1  # it is not connected yet
        if turns_left:
            asyncio.get_running_loop().call_soon(self._end, sock, turns_left - 1)
        else:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Rest:
    """A server whose connections each follow a script, a list of what to do with each
    request.
    """

    def __init__(self, *connections: list[bytes | Callable[..., Awaitable[None]]], tls=None) -> None:
        self._scripts = list(connections)
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def has_hung_up(self) -> bool:
        """Has the server closed every connection that it took?"""
        return bool(self._tasks) and all(task.done() for task in self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            for step in self._scripts[min(self.connections, len(self._scripts)) - 1]:
                self.requests.append(await read_request(reader))
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                else:
                    await step(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


async def silence(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()
