"""The lane behind a socket: what picows gives the compiled listener is published as if the feed had been given it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.clock import ManualClock
from engine.net import link
from engine.net.budget import ConnectionBudget
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection
from engine.public_feed.feed import PublicFeed
from engine.ring import BoardReader, BoardWriter, Doorbell, Publisher, Subscriber, open_eventfd
from tests.net.rig import CONTINUATION, PING, TEXT, Peer, Server, frame, patient, text
from tests.public_feed.rig import Market, flip_checksum, frames
from tests.waiting import until

pytestmark = pytest.mark.skipif(link.LISTENER is None, reason="there is no compiled listener")

CAPTURED = frames()
HANG_S = 30.0


def board_of(market: Market) -> list[bytes | None]:
    """The last record of each slot."""
    reader = BoardReader(market.board)
    return [reader.read(index) for index in range(reader.slot_count)]


def fed(*payloads: bytes) -> Market:
    """A market that was given these messages at one moment, as one burst of the listener is."""
    market = Market(slot_count=4096)
    for payload in payloads:
        if events := market.feed.receive(payload, market.clock.mono_ns()):
            market.feed.on_events(events)
    market.feed.on_burst_end()
    return market


def connected(server: Server, market: Market, on_burst_end: Callable[[], None]) -> Any:
    """A connection of this market to the server, still to be run."""
    return WebSocketConnection(
        server.url,
        market.session,
        on_events=market.feed.on_events,
        on_burst_end=on_burst_end,
        receive=market.feed.receive,
        lane=market.feed.lane,
        clock=ManualClock(mono_ns=1),
        backoff=patient(),
        budget=ConnectionBudget(attempts_max=10),
        resolver=Resolver(),
    )


def error_of(market: Market, script: Callable[[Peer], Awaitable[None]], on_burst_end: Callable[[], None]) -> str:
    """The one error that ended a connection of this market while the connection's own task lived on."""

    async def scenario() -> str:
        async with asyncio.timeout(HANG_S), Server(script) as server:
            connection = connected(server, market, on_burst_end)
            running = asyncio.create_task(connection.run())
            await until(lambda: connection.last_error or running.done(), "the session's error")
            assert not running.done()
            await connection.stop()
            await running
            assert connection.session_errors == 1
            return str(connection.last_error)

    return asyncio.run(scenario())


def served(*writes: bytes, count: int) -> tuple[Market, Any]:
    """A market behind a real connection, and its counters."""
    market = Market(slot_count=4096)

    async def script(peer: Peer) -> None:
        await peer.accept()
        for raw in writes:
            peer.write(raw)
        await peer.gone()

    async def scenario() -> None:
        nonlocal connection
        async with asyncio.timeout(HANG_S), Server(script) as server:
            connection = connected(server, market, market.feed.on_burst_end)
            running = asyncio.create_task(connection.run())
            await until(lambda: connection.frames_received >= count or running.done(), "every frame")
            assert not running.done()
            market.feed.begin_close()
            await connection.stop()
            await running

    connection: Any = None
    asyncio.run(scenario())
    return market, connection


@pytest.mark.parametrize("frames_a_write", [1, 7, 500])
def test_a_capture_comes_through_the_socket_whole(frames_a_write):
    """However it is cut into writes: the same ring, and every frame and byte counted once."""
    payloads = CAPTURED[:1500]
    writes = [text(*payloads[at : at + frames_a_write]) for at in range(0, len(payloads), frames_a_write)]
    market, connection = served(*writes, count=len(payloads))
    direct = fed(*payloads)

    assert market.ring == direct.ring
    assert market.feed.lane.taken == direct.feed.lane.taken > 1_000
    assert connection.frames_received == len(payloads)
    assert connection.bytes_received == sum(map(len, payloads))
    assert connection.session_errors == 0
    assert board_of(market) == board_of(direct)
    assert BoardReader(market.board).complete_upto == Subscriber(market.ring).next_sequence - 1
    heard = market.counters.index("heard_ns")
    assert market.counters.values[heard] == direct.counters.values[heard] > 0


def test_fragments_and_pings_between_are_not_the_lanes():
    """A message in two frames is read whole, by the session; control frames count and disturb nothing."""
    payloads = CAPTURED[:200]
    raw = b""
    for number, payload in enumerate(payloads):
        if number % 3 == 0:
            raw += frame(TEXT, payload[:40], fin=False) + frame(PING, b"?") + frame(CONTINUATION, payload[40:])
        else:
            raw += frame(TEXT, payload)
    frame_count = len(payloads) + 2 * len(range(0, len(payloads), 3))
    market, connection = served(raw, count=frame_count)

    direct = fed(*payloads)
    assert market.ring == direct.ring
    assert connection.frames_received == frame_count
    assert connection.bytes_received == sum(map(len, payloads))
    assert 0 < market.feed.lane.taken <= direct.feed.lane.taken


def test_a_wrong_checksum_in_the_socket_is_the_sessions():
    """The book is in doubt from that message on, and what follows is ignored, as without the lane."""
    payloads = [*CAPTURED[:40], flip_checksum(CAPTURED[40]), *CAPTURED[41:80]]
    market, connection = served(text(*payloads), count=len(payloads))

    assert market.ring == fed(*payloads).ring
    assert sum(feed.mismatches for feed in market.session.feeds.values()) == 1
    assert connection.session_errors == 0


def test_what_a_burst_ends_in_ends_the_connection_once():
    """An error in the end of a burst that the lane took is told, and a new connection would be made."""
    market = Market()
    told = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.write(text(*CAPTURED[:20]))
        peer.write(text(*CAPTURED[20:21]))
        await peer.gone()

    def on_burst_end() -> None:
        if market.feed.lane.taken and not told:
            told.append(market.feed.lane.taken)
            raise RuntimeError("full")
        market.feed.on_burst_end()

    with capture_logs() as logs:
        assert "RuntimeError: full" in error_of(market, script, on_burst_end)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["session failed"]


def test_a_doorbell_that_cannot_be_rung_ends_the_connection():
    """The end of a burst that the lane took whole fails like any other: told, counted, and begun anew."""
    market = Market(slot_count=4096)
    market.feed = PublicFeed(
        market.shard,
        market.session,
        publisher=Publisher(market.ring, [(0, eventfd := open_eventfd())]),
        board=BoardWriter(market.board),
        board_reader=BoardReader(market.board),
        counters=market.counters,
        clock=market.clock,
        refused=lambda symbol, advice: None,
    )
    updates = [payload for payload in CAPTURED[:60] if b'"update","data":[{"symbol"' in payload]
    first = [payload for payload in CAPTURED[:60] if payload not in updates]
    asleep = Doorbell(market.ring, 0, open_eventfd())
    unwritable = os.open(os.devnull, os.O_RDONLY)

    async def script(peer: Peer) -> None:
        await peer.accept()
        peer.write(text(*first, *updates[:3]))
        await until(lambda: market.feed.lane.taken == 3, "three updates")
        asleep.arm()
        os.dup2(unwritable, eventfd)
        peer.write(text(updates[3]))
        await peer.gone()

    assert "Bad file descriptor" in error_of(market, script, market.feed.on_burst_end)
    for fd in (unwritable, eventfd, asleep.eventfd):
        os.close(fd)
