"""A child process: `python -m engine actor public_feed --launch-fd N`.

It dies with its parent, is stopped by SIGTERM, and leaves SIGINT to the parent, who
got it from the same terminal.
"""

import asyncio
import ctypes
import os
import random
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import structlog
import uvloop
from setproctitle import setproctitle

from engine.actors.launch import FeedLaunch, News, encode_news, read_launch
from engine.actors.public_feed import PublicFeed
from engine.clock import SystemClock
from engine.errors import EngineError
from engine.kraken.events import Event
from engine.kraken.public_session import PublicSession
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection
from engine.ring import BoardReader, BoardWriter, Publisher, Segment
from engine.telemetry import Counters
from engine.telemetry.log import configure_log

PR_SET_PDEATHSIG = 1  # linux/prctl.h
WORK_INTERVAL_S = 0.1  # between two duty cycles that no frame drives
EXIT_MISCONFIGURED = 2

log = structlog.get_logger("actor")


def main(arguments: list[str]) -> int:
    """Run the actor that the command line names; its exit code."""
    actor, _, launch_fd = arguments
    launch = read_launch(int(launch_fd))
    die_with_parent(launch.parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    setproctitle(f"kraken-engine {actor} {launch.shard.number}: {' '.join(launch.shard.symbols)}"[:120])
    configure_log(launch.log_level, launch.log_format, launch.shard.actor_name)
    news = socket.socket(fileno=launch.news_fd)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run_feed(launch, news))
    except EngineError as error:
        _tell(news, News("fatal", str(error)))
        log.error("cannot run", error=str(error))
        return EXIT_MISCONFIGURED
    return 0


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, be it by SIGKILL."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before we asked
        sys.exit(1)


async def _run_feed(launch: FeedLaunch, news: socket.socket) -> None:
    segments = [Segment.attach(fd) for fd in (launch.ring_fd, launch.board_fd, launch.counters_fd)]
    ring, board, counters = (segment.memory for segment in segments)
    clock = SystemClock()
    session = PublicSession(launch.settings)
    feed = PublicFeed(
        launch.shard,
        session,
        publisher=Publisher(ring, launch.doorbells),
        board=BoardWriter(board),
        board_reader=BoardReader(board),
        counters=Counters(counters, launch.shard.counter_names),
        clock=clock,
        refused=lambda symbol, advice: _tell(news, News("refused", advice, symbol)),
        conflate=launch.conflate,
    )
    feed.on_start()
    connection: WebSocketConnection[Event] = WebSocketConnection(
        launch.url,
        session,
        on_events=feed.on_events,
        on_burst_end=feed.on_burst_end,
        clock=clock,
        backoff=Backoff(random.Random()),
        budget=ConnectionBudget(attempts_max=launch.attempts_max),
        resolver=Resolver(),
        ca_file=Path(launch.ca_file) if launch.ca_file else None,
    )
    feed.traffic = connection
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    if launch.spin:
        _spin(loop)
    connecting = asyncio.ensure_future(connection.run())
    working = asyncio.ensure_future(_work(feed))
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait({connecting, working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    stopping.cancel()
    feed.begin_close()
    await connection.stop()
    feed.on_close()
    with suppress(asyncio.CancelledError):
        await connecting  # what it raised, a broken rule of our own, ends the process


async def _work(feed: PublicFeed) -> None:
    while True:
        feed.do_work()
        await asyncio.sleep(WORK_INTERVAL_S)


def _spin(loop: asyncio.AbstractEventLoop) -> None:
    """Keep the loop from ever sleeping in its poll."""
    loop.call_soon(_spin, loop)


def _tell(news: socket.socket, item: News) -> None:
    with suppress(OSError):  # a full or closed socket: the log has it too
        news.send(encode_news(item), socket.MSG_DONTWAIT)
