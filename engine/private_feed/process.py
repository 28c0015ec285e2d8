"""The private feed's process: its ring, its session, its connection, until SIGTERM or its
parent's end."""

import asyncio
import signal
import socket
from contextlib import suppress
from pathlib import Path

from engine.clock import SystemClock
from engine.kraken.private.session import PrivateEvent, PrivateSession, PrivateSettings
from engine.net.websocket import WebSocketConnection
from engine.private_feed.feed import PrivateFeed
from engine.processes.connecting import keep_connected, make_connection, make_resolver
from engine.processes.launch import PrivateFeedLaunch, Tell
from engine.processes.token_socket import ask_token
from engine.ring import Publisher, Segment
from engine.telemetry import Counters
from engine.topology import PRIVATE_FEED_COUNTERS
from engine.units import NS_PER_S

WORK_INTERVAL_S = 0.05  # between two duty cycles that no frame drives


async def run_private_feed(launch: PrivateFeedLaunch, _: socket.socket, tell: Tell) -> None:
    """Serve the account until SIGTERM."""
    ring, counters = (Segment.attach(fd).memory for fd in (launch.ring_fd, launch.counters_fd))
    clock = SystemClock()
    session = PrivateSession(
        PrivateSettings(
            heartbeat_silence_ns=launch.heartbeat_silence_ns,
            pong_deadline_ns=int(launch.connection.ping_timeout_s * NS_PER_S),
        )
    )
    feed = PrivateFeed(
        session,
        publisher=Publisher(ring, launch.doorbells),
        counters=Counters(counters, PRIVATE_FEED_COUNTERS),
        clock=clock,
        ask_token=lambda: ask_token(Path(launch.token_path)),
    )
    feed.on_start()
    connection: WebSocketConnection[PrivateEvent] = make_connection(
        launch,
        launch.url,
        session,
        on_events=feed.on_events,
        on_burst_end=feed.on_burst_end,
        receive=feed.receive,
        lane=feed.lane,
        clock=clock,
        resolver=make_resolver(launch.connection),
    )
    feed.connection = feed.traffic = connection
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    nudges = socket.socket(fileno=launch.nudge_fd)
    nudges.setblocking(False)
    loop.add_reader(nudges, _read_nudges, nudges, feed)
    connecting = asyncio.ensure_future(keep_connected(connection, tell, stopped))
    working = asyncio.ensure_future(_work(feed))
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait({connecting, working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    stopping.cancel()
    await connection.stop()
    with suppress(asyncio.CancelledError):
        await connecting  # what it raised, a broken rule of our own, ends the process


def _read_nudges(nudges: socket.socket, feed: PrivateFeed) -> None:
    """However many came: one fresh snapshot answers them all."""
    nudged = False
    with suppress(BlockingIOError):
        while nudges.recv(16):
            nudged = True
    if nudged:
        feed.nudge()


async def _work(feed: PrivateFeed) -> None:
    while True:
        feed.do_work()
        await asyncio.sleep(WORK_INTERVAL_S)
