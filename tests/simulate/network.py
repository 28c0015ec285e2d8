"""Simulated connections: what `net.link` and `net.websocket` do with sockets, done with events.

    session ─► requests ─► Wire ─► the venue's conversation
    session ◄─ frames ◄── Wire ◄─ bytes that the conversation writes

Each direction keeps its order, as TCP does, and takes its time. What goes wrong is the wire's: it is cut, it swallows
one direction or both without a word (a dead peer, a half-open connection), it stands still and then delivers everything
at once, it hands over bytes in pieces that respect no frame.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Generic, TypeVar

from engine.kraken.private.session import Phase, PrivateSession
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.link import BURST_FRAMES_MAX, STALL_NS_MAX
from engine.net.reasons import close_text
from engine.net.session import Session
from engine.net.websocket import SERVICE_RESTART
from engine.units import NS_PER_S, NS_PER_US
from engine.venue.core import VenueCore
from engine.venue.websocket.conversation import Conversation, Link
from tests.simulate.kernel import Kernel, Process

HANDSHAKE_NS: Final = 5 * NS_PER_S  # net.websocket gives up then
FORGOTTEN_NS: Final = 20 * NS_PER_S  # the venue's TCP takes so long to give up a peer that is gone
TEXT, CLOSE = 1, 8  # opcodes
EXECUTIONS: Final = b'{"channel":"executions","type":'
GAP_PATIENCE_NS: Final = 15 * NS_PER_S  # longer than any pause between two requests for a snapshot, or a standstill

E = TypeVar("E")


class Weather:
    """How the network is: latencies, and which routes are down."""

    def __init__(self, kernel: Kernel, rng: Random, *, base_us: int, jitter_us: int) -> None:
        self._kernel = kernel
        self.rng = rng
        self.base_ns, self.jitter_ns = base_us * NS_PER_US, jitter_us * NS_PER_US
        # By route: until when nothing new is connected.
        self.down_until: dict[str, int] = {}
        # Until when the venue's answers stand still, all routes.
        self.stalled_until = 0
        # Share of writes that arrive in pieces.
        self.split_share = 0.0
        self.wires: dict[str, list[Wire]] = {}

    def latency_ns(self) -> int:
        return self.base_ns + int(self.jitter_ns * self.rng.random())

    def is_down(self, route: str) -> bool:
        return self.down_until.get(route, 0) > self._kernel.now

    def open_wires(self, route: str) -> list["Wire"]:
        """The connections of a route that are up."""
        wires = self.wires[route] = [wire for wire in self.wires.get(route, ()) if not wire.is_gone]
        return wires

    def heal(self) -> None:
        """The network is as it should be from now on; a wire that swallows goes on doing so."""
        self.down_until.clear()
        self.split_share = 0.0


class Wire:
    """One TCP connection: the venue's `Link`, and the bytes on their way."""

    def __init__(self, kernel: Kernel, weather: Weather, name: str, client: "SimConnection[Any]") -> None:
        self._kernel = kernel
        self._weather = weather
        self.name = name
        self._client: SimConnection[Any] | None = client
        self.conversation: Conversation | None = None
        self._venue: VenueCore | None = None
        self._arrives_there = self._arrives_here = 0
        self.swallows_there = self.swallows_here = False
        self.is_gone = False
        self._writes_left: int | None = None
        self._buffer = b""

    # --- the venue's side: what `conversation.Link` asks

    def accept(self, venue: VenueCore, connect: Callable[[Link], Conversation]) -> None:
        """The upgrade has reached the venue."""
        self._venue = venue
        self.conversation = connect(self)
        self.conversation.begin()

    def write(self, frames: bytes) -> None:
        weather, kernel = self._weather, self._kernel
        if self.swallows_here or self.is_gone:
            return
        if self._writes_left is not None:
            self._writes_left -= 1
            self.swallows_here = self._writes_left <= 0
        at = max(self._arrives_here, kernel.now + weather.latency_ns(), weather.stalled_until)
        if weather.split_share and len(frames) > 2 and weather.rng.random() < weather.split_share:
            place = weather.rng.randrange(1, len(frames))
            kernel.at(at, self._arrive_here, frames[:place])
            frames, at = frames[place:], at + weather.latency_ns()
        self._arrives_here = at
        kernel.at(at, self._arrive_here, frames)

    def finish(self) -> None:
        """The venue has sent its close frame: the socket goes when that is answered, or a second later."""
        self._kernel.after(NS_PER_S, self._end_there)

    def reset(self) -> None:
        self._kernel.call_soon(self._end_there)

    def _end_there(self) -> None:
        """The venue's socket is closed."""
        conversation, self.conversation = self.conversation, None
        if conversation is None or self._venue is None:
            return
        self._venue.disconnect(conversation)
        if not self.swallows_here:
            at = max(self._arrives_here, self._kernel.now + self._weather.latency_ns())
            self._kernel.at(at, self._lost_here)

    # --- the client's side

    def send(self, request: bytes) -> None:
        if self.swallows_there or self.is_gone:
            return
        at = max(self._arrives_there, self._kernel.now + self._weather.latency_ns(), self._weather.stalled_until)
        self._arrives_there = at
        self._kernel.at(at, self._arrive_there, request)

    def _arrive_there(self, request: bytes) -> None:
        if self.conversation is not None and not self.swallows_there:
            self.conversation.receive(request)

    def close_here(self, code: int) -> None:
        """The client's socket is closed, after a close frame; the venue hears of it, unless nobody tells it."""
        self._client, self.is_gone = None, True
        if self.swallows_there:
            self._kernel.after(FORGOTTEN_NS, self._end_there)
            return
        at = max(self._arrives_there, self._kernel.now + self._weather.latency_ns())
        self._kernel.at(at, self._closed_there, code)

    def _closed_there(self, code: int) -> None:
        if self.conversation is not None and code:
            self.conversation.receive_close(code)
        self._end_there()

    def _arrive_here(self, data: bytes) -> None:
        client = self._client
        if client is None or self.swallows_here:
            return
        self._buffer += data
        if client.process.held_up:
            client.process.after(0, self._read, client)
        else:
            self._read(client)

    def _read(self, client: "SimConnection[Any]") -> None:
        """The client's event loop finds bytes in its socket: all whole frames are one burst."""
        if self._client is not client or not self._buffer:
            return
        frames, self._buffer = _whole_frames(self._buffer)
        if frames:
            client.take(self, frames)

    def _lost_here(self) -> None:
        if (client := self._client) is not None:
            client.process.after(0, client.lost, self)

    # --- trouble

    def cut(self) -> None:
        """A reset, both sides told."""
        self._end_there()
        self._lost_here()
        self.swallows_here = self.swallows_there = True

    def lose_requests(self) -> None:
        """From now on a box on the way takes the client's bytes, acknowledges them, and passes none on; the venue's
        arrive as ever. Nothing ends by itself.
        """
        self.swallows_there = True

    def swallow(self, *, here: bool, there: bool) -> None:
        """From now on bytes of these directions vanish, and nobody is told."""
        self.swallows_here |= here
        self.swallows_there |= there
        if there and not here:
            # Nor are the venue's bytes acknowledged: so much it sends, and then its TCP waits.
            self._writes_left = self._weather.rng.randint(3, 20)
        self._kernel.after(FORGOTTEN_NS, self._end_there)


def _whole_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """(opcode, payload) of the frames that have come whole, and what is left: server frames, RFC 6455 §5.2."""
    frames, at, end = [], 0, len(data)
    while end - at >= 2:
        size, start = data[at + 1], at + 2
        if size == 126:
            size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
        elif size == 127:
            size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
        if start + size > end or start > end:
            break
        frames.append((data[at] & 15, data[start : start + size]))
        at = start + size
    return frames, data[at:]


class Overhearer:
    """Hears what goes over a connection, beside those whose connection it is."""

    def opened(self) -> None: ...

    def received(self, frame: bytes) -> None: ...

    def sent(self, request: bytes) -> None: ...

    def ended(self) -> None: ...


class GapOverhearer(Overhearer):
    """Accuses a private feed that goes on behind a gap in the executions' numbers, as if nothing had been missed."""

    def __init__(self, process: Process, session: PrivateSession) -> None:
        self._kernel, self._process = process.kernel, process
        self._executions = session.streams["executions"]
        # The number that comes next; None while the channel is asked for.
        self._expected: int | None = None
        # Connections made and ended, and requests for the channel so far: a gap is made good by each.
        self._beginnings = 0

    def opened(self) -> None:
        self._begin()

    def received(self, frame: bytes) -> None:
        if not frame.startswith(EXECUTIONS):
            return
        number = int(frame.rpartition(b'"sequence":')[2].rstrip(b"}"))
        if self._expected is not None and number > self._expected:
            self._kernel.note("gap", f"{self._expected} to {number}")
            self._process.after(GAP_PATIENCE_NS, self._look, self._beginnings, self._expected)
        self._expected = number + 1

    def sent(self, request: bytes) -> None:
        if b'"executions"' in request:
            self._begin()

    def ended(self) -> None:
        self._begin()  # nothing goes on; until Kraken takes connections again, maintenance may take minutes

    def _begin(self) -> None:
        self._beginnings += 1
        self._expected = None

    def _look(self, beginnings: int, missed: int) -> None:
        # Not live: a token may be long in coming, and the feed has told that it misses something.
        if beginnings == self._beginnings and self._executions.phase is Phase.LIVE:
            self._kernel.accuse("a gap is made good", f"executions go on without number {missed}")


class SimConnection(Generic[E]):
    """What `WebSocketConnection` is in a process: keeps one session connected."""

    def __init__(
        self,
        kernel: Kernel,
        process: Process,
        weather: Weather,
        route: str,
        session: Session[E],
        *,
        venue: VenueCore,
        connect: Callable[[Link], Conversation],
        on_events: Callable[[Sequence[E]], None],
        on_burst_end: Callable[[], None],
        receive: Callable[..., Sequence[E]] | None = None,
        before: Callable[[], None] | None = None,
        overhearer: Overhearer | None = None,
    ) -> None:
        """`before` is called before the session is given anything: an actor that keeps the time for it sets it."""
        self._kernel = kernel
        self.process = process
        self._weather = weather
        self._route = route
        self._receives, self._sends = f"{route}<", f"{route}>"  # in the story
        self._session = session
        self._venue = venue
        self._connect = connect
        self._on_events = on_events
        self._on_burst_end = on_burst_end
        self._receive = receive or session.receive
        self._before = before or _nothing
        self._overhearer = overhearer or Overhearer()
        self._wire: Wire | None = None
        self._is_live = False
        self._close_code: int | None = None
        self._polled_at = 0
        rng = kernel.rng(f"backoff {route} {process.life}")
        self._backoff = Backoff(rng)
        self._budget = ConnectionBudget()
        self.connects = self.disconnects = self.connect_failures = 0
        self.frames_received = self.bytes_received = self.binary_frames = self.session_errors = 0
        self.last_error = ""
        self._is_stopping = False
        process.on_death.append(self._died)

    # --- what the actors ask of a connection

    @property
    def connected(self) -> bool:
        return self._is_live

    @property
    def can_send(self) -> bool:
        return self._is_live

    def send(self, request: bytes) -> bool:
        """Hand one request to the socket; False when it cannot take it."""
        if not self._is_live or self._wire is None:
            return False
        self.process.point()
        self._kernel.note(self._sends, request)
        self._overhearer.sent(request)
        self._wire.send(request)
        self.process.point()
        return True

    def send_due(self) -> None:
        if self._is_live and self._wire is not None:
            for request in self._session.to_send():
                self.send(request)

    def cut(self, reason: str) -> None:
        """End the connection that is up; a new one is made."""
        if self._is_live:
            self._end(reason, code=1001)

    def stop(self) -> None:
        """No connection any more."""
        self._is_stopping = True
        if self._is_live:
            self._end("stopped by us", code=1000)

    # --- connecting

    def start(self) -> None:
        self._try_at(self._kernel.now)

    def _try_at(self, when: int) -> None:
        self.process.at(max(when, self._budget.earliest(self._kernel.now)), self._attempt)  # type: ignore[arg-type]

    def _attempt(self) -> None:
        if self._is_stopping:
            return
        weather, kernel = self._weather, self._kernel
        now = kernel.now
        if (earliest := self._budget.earliest(now)) > now:  # type: ignore[arg-type]
            self._try_at(earliest)
            return
        self._budget.spend(now)  # type: ignore[arg-type]
        self._close_code = None
        wire = self._wire = Wire(kernel, weather, self._route, self)
        if weather.is_down(self._route):
            refused = weather.rng.random() < 0.5  # or nobody answers at all
            delay_ns = weather.latency_ns() if refused else HANDSHAKE_NS
            self.process.after(delay_ns, self._failed, wire, "connection refused" if refused else "no answer in time")
            return
        kernel.after(2 * weather.latency_ns(), self._arrived, wire)

    def _arrived(self, wire: Wire) -> None:
        """The upgrade request is at the venue."""
        if self._wire is not wire or wire.is_gone:
            return
        back_ns = self._weather.latency_ns()
        if self._venue.is_refusing:
            self.process.after(back_ns, self._failed, wire, "HTTP 503 Service Unavailable instead of 101")
            return
        self._weather.wires.setdefault(self._route, []).append(wire)
        self.process.after(back_ns, self._opened, wire)
        wire._arrives_here = self._kernel.now + back_ns + 1
        wire.accept(self._venue, self._connect)

    def _failed(self, wire: Wire, why: str) -> None:
        if self._wire is not wire:
            return
        self._wire = None
        self.connect_failures += 1
        self.last_error = f"{self._route}: {why}"
        self._kernel.note(f"{self._route} fails", why)
        self._try_at(self._backoff.retry_at(self._kernel.now, self._session.reconnect_delay_floor_ns))  # type: ignore[arg-type]

    def _opened(self, wire: Wire) -> None:
        if self._wire is not wire or wire.is_gone:
            return
        now = self._kernel.now
        self.connects += 1
        self._is_live = True
        self._polled_at = now
        self._backoff.opened(now)  # type: ignore[arg-type]
        self._kernel.note(f"{self._route} opened")
        self._overhearer.opened()
        self._before()
        self._session.opened(now)  # type: ignore[arg-type]
        self.send_due()
        self.process.after(self._kernel.beat_ns, self._tick, wire)

    # --- while it is up

    def take(self, wire: Wire, frames: list[tuple[int, bytes]]) -> None:
        """What a read of the socket gave."""
        if not self._is_live:  # the upgrade's answer is behind us in the queue: same read
            return
        now = self._kernel.now
        self._before()
        for taken, (opcode, payload) in enumerate(frames, 1):
            if not self._is_live or self._wire is not wire:
                return
            self.frames_received += 1
            if opcode == TEXT:
                self.bytes_received += len(payload)
                self._kernel.note(self._receives, payload)
                self._overhearer.received(payload)
                if events := self._receive(payload, now):
                    self._on_events(events)
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
                self._close_code = code
                self._end(close_text(code, payload[2:].decode("utf-8", "replace")), code=1000)
                return
            if taken % BURST_FRAMES_MAX == 0:
                self._end_burst()
        self._end_burst()

    def _end_burst(self) -> None:
        if self._is_live:
            self._on_burst_end()
            self.send_due()

    def _tick(self, wire: Wire) -> None:
        if self._wire is not wire or not self._is_live:
            return
        self.process.after(self._kernel.beat_ns, self._tick, wire)
        now = self._kernel.now
        held_up_ns, self._polled_at = now - self._polled_at, now
        if held_up_ns > STALL_NS_MAX + self._kernel.beat_ns:
            return  # we stood still: read the socket before calling the venue silent
        self._before()
        if events := self._session.poll(now):  # type: ignore[arg-type]
            self._on_events(events)
            self._on_burst_end()
        if self._is_live:
            self.send_due()
        if self._is_live and (reason := self._session.dead(now)) is not None:  # type: ignore[arg-type]
            self._end(reason, code=1001)

    # --- ends

    def lost(self, wire: Wire) -> None:
        """The socket is gone, without a close frame."""
        if self._wire is not wire:
            return
        if self._is_live:
            self._end("connection lost without a close frame", code=0)
        else:
            self._failed(wire, "the connection was reset during the handshake")

    def _end(self, reason: str, *, code: int) -> None:
        wire, self._wire = self._wire, None
        self._is_live = False
        self.disconnects += 1
        self.last_error = f"{self._route}: {reason}"
        now = self._kernel.now
        self._kernel.note(f"{self._route} ends", reason)
        self._overhearer.ended()
        if wire is not None:
            wire.close_here(code)
        self._before()
        if events := self._session.closed(now, reason):  # type: ignore[arg-type]
            self._on_events(events)
            self._on_burst_end()
        if not self._is_stopping:
            floor_ns = 0 if self._close_code == SERVICE_RESTART else self._session.reconnect_delay_floor_ns
            self._try_at(self._backoff.retry_at(now, floor_ns))  # type: ignore[arg-type]

    def _died(self) -> None:
        """The process is gone, and its socket with it."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close_here(0)
        self._is_live = False
        self.process.on_death.remove(self._died)


def _nothing() -> None:
    pass
