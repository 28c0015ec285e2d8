"""A connection that never gives up, against servers that misbehave on real sockets."""

import asyncio
import itertools
import random
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.clock import ManualClock
from engine.errors import ConfigError, MisuseError
from engine.net import link
from engine.net.backoff import Backoff
from engine.net.budget import WINDOW_NS, ConnectionBudget
from engine.net.resolver import Address, Resolver
from engine.net.websocket import GaveUp
from engine.units import NS_PER_MS, NS_PER_S, MonoNs
from tests.descriptors import open_fds
from tests.net.rig import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    POLL_INTERVAL_NS,
    PONG,
    TEXT,
    EndsSoon,
    NotingSession,
    Peer,
    Rig,
    Script,
    Server,
    frame,
    impatient,
    patient,
    text,
)
from tests.public_feed.rig import Market
from tests.waiting import PATIENCE_S, stall, turns, until

BURST_END = ("burst end", None)
PRINTABLE = bytes(32 + byte % 95 for byte in range(256))  # by byte


@pytest.fixture(autouse=True, params=["portable", "compiled"])
def listener(request, monkeypatch):
    """Every test with either listener; the compiled one has a lane without a pair, so every frame is the session's."""
    if request.param == "compiled":
        if link.LISTENER is None:
            pytest.skip("there is no compiled listener")
        monkeypatch.setattr(Rig, "lane", Market(symbols=("NO/PAIR",)).feed.lane)


def sends(*writes: bytes) -> Script:
    """A server that grants the upgrade, makes these writes, and stays until the client leaves."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        for raw in writes:
            peer.write(raw)
        await peer.gone()

    return script


def received(*payloads: bytes) -> list[tuple[str, object]]:
    """What the log holds for frames that the session turned into one event each."""
    return [entry for payload in payloads for entry in (("frame", payload), ("event", payload))]


# --- frames


def test_frames_come_in_order(run):
    """What the server writes is what the session receives, in order, however it is cut into writes."""
    payloads = [b"%d" % i for i in range(1000)]

    async def scenario():
        writes = [text(*payloads[i : i + 7]) for i in range(0, 1000, 7)]
        async with Server(sends(*writes)) as server, Rig(server.url) as rig:
            await rig.until(lambda: len(rig.session.of("frame")) == 1000)

        assert payloads == rig.session.of("frame")
        assert 1000 == rig.connection.frames_received
        assert sum(map(len, payloads)) == rig.connection.bytes_received
        assert rig.session.received_at == sorted(rig.session.received_at)

    run(scenario())


def test_a_burst_ends_once_after_its_last_frame(run):
    """Three frames in one write are three events and one end; a frame that makes no event still ends a burst."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.write(text(b"1", b"2", b"say more"))
        await peer.read()
        peer.write(text(b"nothing"))
        await peer.gone()

    async def scenario():
        async with Server(script) as server, Rig(server.url) as rig:
            await rig.until(lambda: b"nothing" in rig.session.of("frame"))

            assert rig.session.log == [
                ("opened", 1),
                *received(b"1", b"2", b"say more"),
                BURST_END,
                ("frame", b"nothing"),
                BURST_END,
            ]
            assert len(set(rig.session.received_at[:3])) == 1

    run(scenario())


def test_frames_behind_the_upgrade_in_the_same_bytes(run):
    """A server that speaks first, in the very packet of its 101: the session is opened, then hears it."""

    async def script(peer: Peer) -> None:
        await peer.accept(followed_by=text(b"status"))
        await peer.gone()

    async def scenario():
        async with Server(script) as server, Rig(server.url) as rig:
            await rig.until(lambda: rig.session.of("frame"))

            assert rig.session.log == [("opened", 1), *received(b"status"), BURST_END]

    run(scenario())


def test_a_long_burst_ends_in_between(run):
    """However much one read holds, a burst ends after 64 frames at the latest."""
    payloads = [b"%d" % i for i in range(1000)]

    async def scenario():
        async with Server(sends(text(*payloads))) as server, Rig(server.url) as rig:
            await rig.until(lambda: len(rig.session.of("frame")) == 1000)
            longest = run_length = 0
            for kind, _ in rig.session.log:
                run_length = 0 if kind == "burst end" else run_length + (kind == "frame")
                longest = max(longest, run_length)

            assert 1 <= longest <= link.BURST_FRAMES_MAX
            assert rig.session.log[-1] == BURST_END

    run(scenario())


def test_ping_is_answered_and_ends_the_burst(run):
    """A ping behind a frame in the same bytes hides no end of a burst, and is answered with its payload."""
    answers = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.write(text(b"1") + frame(PING, b"are you there?"))
        answers.append(await peer.read())
        await peer.gone()

    async def scenario():
        async with Server(script) as server, Rig(server.url) as rig:
            await rig.until(lambda: answers)

            assert answers == [(PONG, b"are you there?")]
            assert rig.session.log == [("opened", 1), *received(b"1"), BURST_END]
            assert rig.connection.frames_received == 2

    run(scenario())


def test_pongs_and_binary_frames_are_not_for_the_session(run):
    """Pongs prove a socket, not a feed; binary frames are counted: Kraken sends none."""

    async def scenario():
        async with Server(sends(frame(PONG) + frame(BINARY, b"\x00") + text(b"1"))) as server, Rig(server.url) as rig:
            await rig.until(lambda: rig.session.of("frame"))

            assert rig.session.of("frame") == [b"1"]
            assert rig.connection.binary_frames == 1
            assert rig.connection.connected

    run(scenario())


def test_fragments_become_one_message(run):
    """A message in fragments arrives whole, with a ping between them, over several writes."""

    async def scenario():
        writes = [
            frame(TEXT, b"one ", fin=False),
            frame(CONTINUATION, b"two ", fin=False) + frame(PING),
            frame(CONTINUATION, b"three"),
            text(b"next"),
        ]
        async with Server(sends(*writes)) as server, Rig(server.url) as rig:
            await rig.until(lambda: b"next" in rig.session.of("frame"))

            assert rig.session.of("frame") == [b"one two three", b"next"]
            assert rig.connection.bytes_received == len(b"one two threenext")

    run(scenario())


@pytest.mark.parametrize(
    ("raw", "code", "reason"),
    [
        (frame(CONTINUATION, b"x"), 1002, "the server broke the WebSocket protocol: a fragment of no message"),
        (
            frame(TEXT, b"a", fin=False) + frame(TEXT, b"b", fin=False),
            1002,
            "the server broke the WebSocket protocol: a new message inside a fragmented one",
        ),
        (
            frame(TEXT, b"a" * 900, fin=False) + frame(CONTINUATION, b"b" * 200, fin=False),
            1009,
            "a message in fragments exceeds 1000 bytes",
        ),
        (b"\x83\x00", 1002, "the server broke the WebSocket protocol: Received frame with invalid opcode=0x3"),
        (
            b"\x81\x7f" + (5000).to_bytes(8, "big"),
            1002,
            "the server broke the WebSocket protocol: Received frame with invalid 64-bit payload length",
        ),
        (
            b"\x81\x7f" + (link.MESSAGE_BYTES_MAX + 1).to_bytes(8, "big"),
            1009,
            "the server broke the WebSocket protocol: Received frame with payload size exceeding max allowed size, "
            "16777217 > 16777216",
        ),
    ],
)
def test_broken_frames_end_the_connection(run, monkeypatch, raw, code, reason):
    """What RFC 6455 forbids is answered with its close code, told to the session, and followed by a new connection."""
    monkeypatch.setattr(link, "MESSAGE_BYTES_MAX", 1000)
    answers = []

    async def breaks(peer: Peer) -> None:
        await peer.accept()
        peer.write(raw)
        answers.append(await peer.read())
        await peer.gone()

    async def scenario():
        async with Server(breaks, sends(text(b"fine"))) as server, Rig(server.url) as rig:
            await rig.until(lambda: b"fine" in rig.session.of("frame"))

            assert rig.session.of("closed") == [reason]
            assert rig.connection.last_error == f"{server.url}: {reason}"
            opcode, payload = answers[0]
            assert (CLOSE, code) == (opcode, int.from_bytes(payload[:2], "big"))

    run(scenario())


def test_a_large_frame_arrives_whole(run):
    """An instrument snapshot is several hundred kB; 3 MB pass too."""
    payload = random.Random(1).randbytes(100_000).translate(PRINTABLE) * 30

    async def scenario():
        async with Server(sends(text(b"1", payload, b"2"))) as server, Rig(server.url) as rig:
            await rig.until(lambda: len(rig.session.of("frame")) == 3)

            assert rig.session.of("frame") == [b"1", payload, b"2"]

    run(scenario())


# --- requests and timers


def test_requests_leave_after_opening_bursts_and_polls(run):
    """What the session wants to say is said: at once when opened, after a burst, after a poll."""
    heard: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        heard.append((await peer.read())[1])
        peer.write(text(b"say a", b"say b"))
        heard.extend([(await peer.read())[1], (await peer.read())[1]])
        heard.append((await peer.read())[1])
        await peer.gone()

    async def scenario():
        async with Server(script) as server:
            rig = Rig(server.url)
            rig.session.greeting = [b"hello"]
            async with rig:
                await rig.until(lambda: len(heard) == 3)
                rig.session.outbox.append(b"by the way")
                await rig.until(lambda: len(heard) == 4)

        assert heard == [b"hello", b"a", b"b", b"by the way"]

    run(scenario())


def test_events_of_polls_and_closes_are_delivered_and_flushed(run):
    """Whatever the session returns reaches on_events, followed by the end of a burst."""

    async def scenario():
        async with Server(sends()) as server:
            async with Rig(server.url) as rig:
                await rig.connected()
                rig.session.poll_events = [b"late"]
                await rig.until(lambda: b"late" in rig.session.of("event"))

            assert rig.session.log == [
                ("opened", 1),
                ("event", b"late"),
                BURST_END,
                ("closed", "stopped by us"),
                ("event", b"gone"),
                BURST_END,
            ]

    run(scenario())


def test_silence_cuts_the_connection(run):
    """A session that calls its connection dead gets a new one, and the server a close frame that says why."""
    goodbyes = []

    async def mute(peer: Peer) -> None:
        await peer.accept()
        goodbyes.append(await peer.read())

    async def scenario():
        async with Server(mute) as server, Rig(server.url) as rig:
            await rig.connected()
            rig.session.dead_reason = "no frame for 3.0 s"
            await rig.connected(2)
            await rig.until(lambda: goodbyes)

            assert rig.session.of("closed") == ["no frame for 3.0 s"]
            assert goodbyes[0] == (CLOSE, (1001).to_bytes(2, "big") + b"no frame for 3.0 s")
            assert rig.connection.last_error == f"{server.url}: no frame for 3.0 s"

    run(scenario())


class EasilyOffended(NotingSession):
    """Calls its connection dead after a quarter of a second without a frame."""

    SILENCE_NS_MAX = 250 * NS_PER_MS

    def opened(self, now: MonoNs) -> None:
        self.heard_at = now
        super().opened(now)

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[bytes]:
        self.heard_at = received_at
        return super().receive(frame, received_at)

    def dead(self, now: MonoNs) -> str | None:
        return "silent" if now - self.heard_at > self.SILENCE_NS_MAX else None


def test_our_own_stall_is_not_the_servers_silence(run):
    """After a stall of ours the socket is read before the session judges: what lay in it counts as heard in time."""

    async def scenario():
        peers: list[Peer] = []

        async def script(peer: Peer) -> None:
            await peer.accept()
            peers.append(peer)
            await peer.gone()

        clock = ManualClock()
        async with Server(script) as server, Rig(server.url, clock=clock, session=EasilyOffended()) as rig:
            await rig.connected()
            for i in range(3):
                peers[0].write(text(b"%d" % i))
                clock.advance(3 * EasilyOffended.SILENCE_NS_MAX)
                stall(10 * POLL_INTERVAL_NS / NS_PER_S)  # frame and tick are due at once
                await rig.until(lambda wanted=i + 1: len(rig.session.of("frame")) == wanted)

            assert rig.connection.disconnects == 0

    run(scenario())


def test_a_server_that_does_not_read_stops_our_requests(run):
    """When the transport's buffer is full, requests stay with the session, whose queue is bounded.

    The session is polled twenty times more and not asked once for what it has to send.
    """

    class Talkative(NotingSession):
        asked = 0

        def to_send(self) -> list[bytes]:
            self.asked += 1
            return [b"x" * 262_144]

    async def deaf(peer: Peer) -> None:
        await peer.accept()
        peer.pause()
        await asyncio.Event().wait()

    async def scenario():
        async with Server(deaf) as server, Rig(server.url, close_deadline_s=0.01, session=Talkative()) as rig:
            await rig.connected()
            await rig.until(lambda: not rig.connection.can_send)
            asked, polled = rig.session.asked, rig.session.polls
            await rig.until(lambda: rig.session.polls >= polled + 20)

            assert rig.connection.connected
            assert rig.session.asked == asked

    run(scenario())


# --- connecting


def test_a_refused_connection_is_retried_until_the_server_is_there(run):
    """No server, no giving up; when it comes we are there."""

    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as placeholder:
            port = placeholder.getsockname()[1]
        async with Rig(f"ws://127.0.0.1:{port}") as rig:
            await rig.until(lambda: rig.connection.connect_failures >= 3)
            assert not rig.connection.connected
            assert rig.connection.last_error == (
                f"ws://127.0.0.1:{port}: cannot connect to 127.0.0.1 port {port}: 127.0.0.1: connection refused"
            )
            async with Server(sends(text(b"hello")), port=port):
                await rig.until(lambda: rig.session.of("frame"))

                assert rig.connection.connects == 1
                assert rig.session.log == [("opened", 1), *received(b"hello"), BURST_END]

    run(scenario())


def test_a_connection_gives_up_where_it_is_told_to(run):
    """After so many failures in a row; one that was up begins to count anew."""

    async def scenario():
        async with Server(sends()) as server:
            port = server.port
            rig = Rig(server.url, failures_max=3)
            running = asyncio.ensure_future(rig.connection.run())
            await until(lambda: rig.connection.connects)
        with pytest.raises(GaveUp, match=f"127.0.0.1:{port}.*refused; given up after 3 attempts"):
            await running

        assert rig.connection.connect_failures == 3
        await rig.connection.stop()

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", "HTTP 429 Too Many Requests instead of 101"),
        (
            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno",
            "HTTP 503 Service Unavailable instead of 101",
        ),
        (b"HTTP/1.1 521 Web Server Is Down\r\n\r\n", "HTTP 521 Web Server Is Down instead of 101"),
        (b"HTTP/1.1 403\r\n\r\n", "HTTP 403 Forbidden instead of 101"),
        (b"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:9/\r\n\r\n", "HTTP 301 Moved instead of 101"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "not a WebSocket server: it answered 'SSH-2.0-OpenSSH_9.6'"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: bm90IHlvdXJzCg==\r\n\r\n",
            "broken WebSocket handshake: cannot upgrade, invalid sec-websocket-accept response",
        ),
        (b"", "the server closed the connection before it answered the upgrade"),
        (b"HTTP/1.1 101 Switch", "the server closed the connection before it answered the upgrade"),
    ],
)
def test_a_refused_upgrade_is_told_and_retried(run, answer, reason):
    """Anything but a 101 is one sentence with its status, and another attempt."""

    async def refuses(peer: Peer) -> None:
        await peer.read_upgrade()
        peer.write(answer)
        await turns()

    async def scenario():
        async with Server(refuses, refuses, sends()) as server, Rig(server.url) as rig:
            with capture_logs() as logs:
                await rig.connected()

            assert rig.connection.connect_failures == 2
            assert rig.connection.last_error == f"{server.url}: {reason}"
            assert [entry["reason"] for entry in logs if entry["event"] == "connecting failed"] == [reason, reason]
            assert rig.session.log == [("opened", 1)]

    run(scenario())


def test_a_server_that_never_answers_is_left(run):
    """TCP accepts, then nothing, or a trickle: the handshake has one deadline, whatever comes."""

    async def silent(peer: Peer) -> None:
        await peer.left()

    async def trickles(peer: Peer) -> None:
        await peer.read_upgrade()
        for byte in itertools.cycle(b"HTTP/1.1 101 Switching Protocols and so on and so forth "):
            peer.write(bytes([byte]))
            if await peer.left(within_s=0.02):
                return

    async def scenario():
        async with Server(silent, trickles, sends()) as server, Rig(server.url, handshake_deadline_s=0.5) as rig:
            await rig.connected()

            assert rig.connection.connect_failures == 2
            assert rig.connection.last_error == f"{server.url}: no answer to the handshake within 0.5 s"

    run(scenario())


def test_localhost_is_resolved_and_reached(run):
    """A name works as an address does."""

    async def scenario():
        async with Server(sends(text(b"hello"))) as server, Rig(f"ws://localhost:{server.port}/v2") as rig:
            await rig.until(lambda: rig.session.of("frame"))

            assert rig.session.of("frame") == [b"hello"]

    run(scenario())


def test_dns_failure_is_told_and_the_last_address_used(run):
    """A name server that fails before it ever answered is a sentence; later, the last known address serves."""
    answers: list[Any] = [OSError(-3, "Temporary failure in name resolution")]

    def lookup(host: str, port: int) -> list[Address]:
        answer = answers[-1]
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def scenario():
        dns_is_down = asyncio.Event()

        async def drops(peer: Peer) -> None:
            await peer.accept()
            await dns_is_down.wait()

        resolver = Resolver(lookup)
        async with Server(drops, sends()) as server, Rig("ws://localhost/v2", resolver=resolver) as rig:
            await rig.until(lambda: rig.connection.connect_failures >= 2)
            assert rig.connection.last_error == (
                "ws://localhost/v2: cannot resolve localhost: temporary failure in name resolution"
            )
            answers.append([Address(socket.AF_INET, ("127.0.0.1", server.port))])
            await rig.connected(1)
            answers.append(OSError(-3, "Temporary failure in name resolution"))
            dns_is_down.set()
            await rig.connected(2)

            assert resolver.stale_answers == 1

    run(scenario())


@pytest.mark.parametrize("url", ["ws://ws.kraken.com/v2", "http://127.0.0.1", "wss://"])
def test_a_forbidden_url_is_refused_before_anything_else(run, url):
    """No connection object exists for a URL that must not be used."""

    async def scenario():
        with pytest.raises(ConfigError):
            Rig(url)

    run(scenario())


# --- the end of a connection


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ((1001).to_bytes(2, "big"), "closed by the server: 1001 going away"),
        ((1012).to_bytes(2, "big") + b"deploy", 'closed by the server: 1012 service restart "deploy"'),
        ((1013).to_bytes(2, "big"), "closed by the server: 1013 try again later"),
        ((4000).to_bytes(2, "big") + b"mine", 'closed by the server: 4000 "mine"'),
        (b"", "closed by the server without a code"),
    ],
)
def test_a_close_frame_is_answered_told_and_followed_by_a_new_connection(run, payload, reason):
    """The server's half of a close gets our half; code and reason reach the session; then we are back."""
    answers = []

    async def closes(peer: Peer) -> None:
        await peer.accept()
        peer.write(text(b"last words") + frame(CLOSE, payload) + text(b"too late"))
        answers.append(await peer.read())
        await peer.gone()

    async def scenario():
        async with Server(closes, sends()) as server, Rig(server.url) as rig:
            await rig.connected(2)
            await rig.until(lambda: len(rig.session.of("opened")) == 2)

            assert rig.session.log == [
                ("opened", 1),
                *received(b"last words"),
                ("closed", reason),
                ("event", b"gone"),
                BURST_END,
                ("opened", 2),
            ]
            assert answers == [(CLOSE, (1000).to_bytes(2, "big"))]
            assert rig.connection.disconnects == 1

    run(scenario())


@pytest.mark.parametrize("how", ["end of stream", "reset", "reset with data"])
def test_a_lost_connection_is_told_and_replaced(run, how):
    """No close frame: the session hears of it all the same."""

    async def drops(peer: Peer) -> None:
        await peer.accept()
        peer.write(text(b"1"))
        if how == "reset":
            await peer.read()
            peer.reset()
        elif how == "reset with data":
            peer.write(text(*(b"%d" % number for number in range(2, 20_000))))
            peer.reset_behind_what_was_written()

    async def scenario():
        async with Server(drops, sends()) as server:
            rig = Rig(server.url)
            rig.session.greeting = [b"hello", b"and more"]
            async with rig:
                await rig.connected(2)

                assert rig.session.of("closed") == ["connection lost without a close frame"]
                assert rig.session.of("opened") == [1, 2]

    run(scenario())


def test_cut_replaces_the_connection(run):
    """`cut` ends what is up, at once; without a connection it does nothing."""

    async def scenario():
        async with Server(sends()) as server:
            rig = Rig(server.url)
            rig.connection.cut("nothing there yet")
            async with rig:
                await rig.connected()
                rig.connection.cut("books crossed")
                assert not rig.connection.connected
                assert rig.session.of("closed") == ["books crossed"]
                rig.connection.cut("twice")
                await rig.connected(2)

                assert rig.session.of("closed") == ["books crossed"]

    run(scenario())


def test_the_first_drops_are_retried_at_once_and_the_fourth_waits(run):
    """Backoff of an hour: three drops do not feel it, the fourth does."""
    waits_ns = []

    class NotedBackoff(Backoff):
        def retry_at(self, now: MonoNs, floor_ns: int = 0) -> MonoNs:
            at = super().retry_at(now, floor_ns)
            waits_ns.append(at - now)
            return at

    async def drops(peer: Peer) -> None:
        await peer.accept()

    async def scenario():
        backoff = NotedBackoff(random.Random(1), first_ceiling_ns=10**13, ceiling_ns_max=10**13)
        async with Server(drops) as server, Rig(server.url, backoff=backoff) as rig:
            await rig.until(lambda: len(waits_ns) == 4)
            await turns(5)

            assert waits_ns[:3] == [0, 0, 0]
            assert waits_ns[3] > 60 * NS_PER_S
            assert rig.connection.connects == 4

    run(scenario())


def test_the_session_says_how_long_to_stay_away(run):
    """After maintenance the floor is the session's, and even a first drop respects it."""
    floors = []

    class NotedBackoff(Backoff):
        def retry_at(self, now: MonoNs, floor_ns: int = 0) -> MonoNs:
            floors.append(floor_ns)
            return super().retry_at(now)

    async def maintenance(peer: Peer) -> None:
        await peer.accept()

    async def overloaded(peer: Peer) -> None:
        await peer.read_upgrade()
        peer.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n\r\n")

    async def scenario():
        async with Server(maintenance, overloaded, sends()) as server:
            rig = Rig(server.url, backoff=NotedBackoff(random.Random(1), first_ceiling_ns=1_000_000))
            rig.session.reconnect_delay_floor_ns = 5_000_000_000
            async with rig:
                await rig.connected(2)

        assert floors[:2] == [5_000_000_000, 7_000_000_000]

    run(scenario())


def test_a_server_that_is_back_says_so_and_is_connected_to_at_once(run):
    """Kraken closes with 1012 when its engine is back, whatever its status said last; other codes keep the floor.

    So does an attempt that fails: after maintenance at least five seconds lie between two.
    """
    floors = []

    class NotedBackoff(Backoff):
        def retry_at(self, now: MonoNs, floor_ns: int = 0) -> MonoNs:
            floors.append(floor_ns)
            return super().retry_at(now)

    def closes(code: int):
        async def script(peer: Peer) -> None:
            await peer.accept(followed_by=frame(CLOSE, code.to_bytes(2, "big")))
            await peer.left()

        return script

    async def refuses(peer: Peer) -> None:
        await peer.read_upgrade()
        peer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

    async def scenario():
        async with Server(closes(1012), closes(1001), refuses, sends()) as server:
            rig = Rig(server.url, backoff=NotedBackoff(random.Random(1), first_ceiling_ns=1_000_000))
            rig.session.reconnect_delay_floor_ns = 5_000_000_000
            async with rig:
                await rig.connected(3)

        assert floors[:3] == [0, 5_000_000_000, 5_000_000_000]

    run(scenario())


def test_a_storm_stays_inside_the_budget(run):
    """A server that closes each connection at once gets as many attempts as the budget holds, then none."""

    class NotedBudget(ConnectionBudget):
        made_wait_ns = 0

        def earliest(self, now: MonoNs) -> MonoNs:
            at = super().earliest(now)
            self.made_wait_ns = at - now
            return at

    async def drops(peer: Peer) -> None:
        await peer.accept()

    async def refuses(peer: Peer) -> None:
        await peer.read_upgrade()
        peer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")

    async def scenario():
        budget = NotedBudget(attempts_max=20)
        async with Server(*[drops, refuses] * 50) as server, Rig(server.url, budget=budget) as rig:
            await rig.until(lambda: budget.made_wait_ns > 0)

            assert server.accepted == 20
            assert budget.made_wait_ns > WINDOW_NS / 2

    run(scenario())


def test_nothing_is_leaked_by_200_reconnects(run):
    """Drops, resets, closes, refusals, silence in the handshake: no task and no descriptor stays behind."""

    async def drops(peer: Peer) -> None:
        await peer.accept()
        peer.write(text(b"1"))

    async def resets(peer: Peer) -> None:
        await peer.accept(followed_by=text(b"1"))
        peer.reset()

    async def closes(peer: Peer) -> None:
        await peer.accept(followed_by=frame(CLOSE, b"\x03\xe9"))
        await peer.gone()

    async def refuses(peer: Peer) -> None:
        await peer.read_upgrade()
        peer.write(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")

    async def silent(peer: Peer) -> None:
        await peer.left()

    async def scenario():
        scripts = [drops, resets, closes, refuses] * 49 + [silent] * 4
        async with Server(*scripts, sends(text(b"stay"))) as server:
            fds, tasks = open_fds(), len(asyncio.all_tasks())
            async with Rig(server.url, handshake_deadline_s=0.05) as rig:
                await rig.until(lambda: b"stay" in rig.session.of("frame"))
                # Two ends of one connection; run() and the server's script.
                await rig.until(lambda: open_fds() <= fds + 2 and len(asyncio.all_tasks()) <= tasks + 2)

                assert rig.connection.connects + rig.connection.connect_failures == 201
                assert rig.session.of("opened") == list(range(1, rig.connection.connects + 1))
                assert len(rig.session.of("closed")) == rig.connection.connects - 1

    run(scenario())


# --- mistakes of our own


@pytest.mark.parametrize("where", ["receive", "poll", "opened", "closed", "on_events", "on_burst_end"])
def test_an_exception_ends_the_connection_is_told_once_and_survived(run, where):
    """Whatever session or callback raise: one log line, one count, a new connection, and the session knows."""

    def raise_once(bugs: list[Exception]) -> None:
        if bugs:
            raise bugs.pop()

    async def scenario():
        options = {}
        if where == "on_events":
            options["on_events"] = lambda events: raise_once([ValueError("a bug")] if events == [b"poison"] else [])
        if where == "on_burst_end":
            bugs = [ValueError("a bug")]
            options["on_burst_end"] = lambda: raise_once(bugs)
        poisonous = text(b"1", b"poison", b"2")
        ending = frame(CLOSE, b"\x03\xe8") if where == "closed" else b""
        async with Server(sends(poisonous + ending), sends(text(b"fine"))) as server:
            rig = Rig(server.url, **options)
            rig.session.raises[where] = ValueError("a bug")
            with capture_logs() as logs:
                async with rig:
                    await rig.until(lambda: b"fine" in rig.session.of("frame"))

            told = [entry for entry in logs if entry["event"] == "session failed"]
            assert len(told) == 1
            assert told[0]["error"] == "ValueError('a bug')"
            assert rig.connection.session_errors == 1
            assert rig.session.of("opened") == [1, 2]
            assert len(rig.session.of("closed")) == 2
            if where in ("receive", "on_events"):
                assert told[0]["frame"] == b"poison"
                assert b"2" not in rig.session.of("frame")
                assert rig.connection.last_error.endswith("the session failed: ValueError: a bug")

    run(scenario())


def test_of_a_frame_that_fails_only_the_beginning_is_logged(run):
    """200 bytes tell what it was; 16 MB would fill the disk."""

    async def scenario():
        async with Server(sends(text(b"x" * 5000)), sends()) as server:
            rig = Rig(server.url, on_events=lambda events: 1 // 0 if events != [b"gone"] else None)
            with capture_logs() as logs:
                async with rig:
                    await rig.connected(2)

            assert [entry["frame"] for entry in logs if entry["event"] == "session failed"] == [b"x" * 200]

    run(scenario())


def test_a_broken_rule_of_our_own_ends_run(run):
    """MisuseError means that the process must not go on: run() raises it, the session is told, the socket closed."""

    async def scenario():
        async with Server(sends(text(b"poison"))) as server:
            rig = Rig(server.url)
            rig.session.raises["receive"] = MisuseError("two publishers")

            with pytest.raises(MisuseError, match="two publishers"):
                await rig.connection.run()
            assert rig.session.of("closed") == ["the session failed: MisuseError: two publishers"]
            assert rig.connection.disconnects == 1

    run(scenario())


# --- stopping


async def accepts_only(peer: Peer) -> None:
    await peer.left()


async def ignores_close(peer: Peer) -> None:
    await peer.accept()
    peer.pause()
    await asyncio.Event().wait()


@pytest.mark.parametrize("phase", ["before run", "waiting", "resolving", "handshake", "open", "open, server deaf"])
def test_stop_returns_in_every_phase(run, phase):
    """With deadlines of an hour, stop() would hang if it waited for one of them."""

    asked, released = threading.Event(), threading.Event()

    def never(host: str, port: int) -> list[Address]:
        asked.set()
        released.wait(PATIENCE_S)
        return []

    async def scenario():
        script = {"handshake": accepts_only, "open, server deaf": ignores_close}.get(phase, sends())
        async with Server(script) as server:
            url = server.url if phase != "waiting" else "ws://127.0.0.1:1"
            rig = Rig(
                url if phase != "resolving" else "ws://localhost/",
                resolver=Resolver(never) if phase == "resolving" else Resolver(),
                backoff=patient(),
                handshake_deadline_s=3600.0,
                close_deadline_s=0.05 if phase == "open, server deaf" else 3600.0,
            )
            if phase == "before run":
                await rig.connection.stop()
                await rig.connection.run()
                assert server.accepted == 0
                return
            async with rig:
                reached = {
                    "waiting": lambda: rig.connection.connect_failures == 1,
                    "handshake": lambda: server.accepted == 1,
                    "resolving": asked.is_set,
                }
                await rig.until(reached.get(phase, lambda: rig.connection.connected))
                await rig.connection.stop()

                assert rig.running is not None
                await rig.running
                assert not rig.connection.connected
                released.set()
                assert rig.connection.connect_failures == (1 if phase == "waiting" else 0)
                assert rig.session.of("closed") == (["stopped by us"] if phase.startswith("open") else [])

    run(scenario())


def test_no_socket_keeps_a_number_that_is_closed(run):
    """It would close whatever has that number by the time it is dropped."""
    resolver = EndsSoon(Resolver())

    async def scenario():
        async with Server(accepts_only) as server, Rig(server.url, resolver=resolver) as rig:
            await rig.until(lambda: rig.connection.connect_failures >= 12)

    run(scenario())

    assert len(resolver.made) >= 12
    assert {sock.fileno() for sock in resolver.made} == {-1}


def test_stop_says_goodbye(run):
    """The server gets a close frame with 1000, and what it still sends is not for the session."""
    goodbyes = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        goodbyes.append(await peer.read())
        peer.write(text(b"too late") + frame(CLOSE, b"\x03\xe8"))
        await peer.gone()
        goodbyes.append("left")

    async def scenario():
        async with Server(script) as server:
            async with Rig(server.url, close_deadline_s=3600.0) as rig:
                await rig.connected()
            await rig.until(lambda: len(goodbyes) == 2)

        assert goodbyes == [(CLOSE, (1000).to_bytes(2, "big")), "left"]
        assert rig.session.of("frame") == []
        assert rig.connection.last_error == ""
        assert rig.connection.disconnects == 1

    run(scenario())


@pytest.mark.parametrize("phase", ["handshake", "open"])
def test_a_canceled_run_closes_its_socket(run, phase):
    """Cancellation is no way to stop, but leaves nothing open either, and the session is told."""

    async def scenario():
        async with Server(accepts_only if phase == "handshake" else sends()) as server:
            before = open_fds()
            rig = Rig(server.url, backoff=impatient())
            task = asyncio.create_task(rig.connection.run())
            await until(lambda: server.accepted and (phase == "handshake" or rig.connection.connected))
            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(rig.session.of("closed")) == len(rig.session.of("opened"))
            await until(lambda: open_fds() <= before, "every descriptor is closed")

    run(scenario())
