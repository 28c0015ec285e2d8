"""The public feed's process: attaches the rings, and runs session and connection until
SIGTERM.
"""

import asyncio
import signal
import socket
from contextlib import suppress
from pathlib import Path

from engine.clock import SystemClock
from engine.kraken.public.events import Event
from engine.kraken.public.session import PublicSession
from engine.kraken_rest.client import KrakenRest
from engine.kraken_rest.public_calls import PublicCalls
from engine.net.https import HttpsClient
from engine.net.websocket import WebSocketConnection
from engine.processes.connecting import keep_connected, make_connection, make_resolver
from engine.processes.launch import FeedLaunch, News, Tell
from engine.processes.pair_table import PairTable
from engine.public_feed.fallback import Fallback
from engine.public_feed.feed import PublicFeed
from engine.public_feed.sources import Sources, SourceSettings
from engine.ring import BoardReader, BoardWriter, Publisher, Segment
from engine.telemetry import Counters
from engine.units import NS_PER_S, PPM

WORK_INTERVAL_S = 0.1  # between two calls of `do_work`
PAUSE_S = 0.002  # between two stretches of pairs whose candles are looked at and counters written
# How long a book waits for the data of its pair, which usually come first.
PAIR_PATIENCE_NS = 5 * NS_PER_S


async def run_public_feed(launch: FeedLaunch, _: socket.socket, tell: Tell) -> None:
    """Serve one shard until SIGTERM."""
    segments = [
        Segment.attach(fd) for fd in (launch.ring_fd, launch.board_fd, launch.counters_fd, launch.pair_table_fd)
    ]
    ring, board, counters, pair_table = (segment.memory for segment in segments)
    clock = SystemClock()
    session = PublicSession(launch.settings)
    sources = Sources(session, _source_settings(launch), clock.mono_ns())
    names = make_resolver(launch.connection)
    ca_file = Path(launch.ca_file) if launch.ca_file else None
    feed = PublicFeed(
        launch.shard,
        session,
        publisher=Publisher(ring, launch.doorbells),
        board=BoardWriter(board),
        board_reader=BoardReader(board),
        counters=Counters(counters, launch.shard.counter_names),
        clock=clock,
        refused=lambda symbol, advice: tell(News("refused", advice, symbol)),
        conflate=launch.conflate,
        pair_patience_ns=PAIR_PATIENCE_NS,
        sources=sources,
        divergence_ppm_max=int(launch.fallback.divergence_percent * PPM / 100),
        candle_history=launch.candle_history,
    )
    table = PairTable(pair_table)
    followed = Follower(feed, table)
    followed.look()
    feed.on_start()
    connection: WebSocketConnection[Event] = make_connection(
        launch,
        launch.url,
        session,
        on_events=feed.on_events,
        on_burst_end=feed.on_burst_end,
        receive=feed.receive,
        lane=feed.lane,
        clock=clock,
        resolver=names,
    )
    feed.traffic = connection
    rest = None
    if launch.rest_url is not None:
        rest = KrakenRest(HttpsClient(launch.rest_url, clock=clock, resolver=names, ca_file=ca_file), clock)
    feed.calls = PublicCalls(calls_per_s=launch.calls_per_s, cache_ns=int(launch.fallback.cache_s * NS_PER_S))
    fallback = Fallback(feed, sources, clock, rest=rest, calls=feed.calls)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    if launch.spin:
        _spin(loop)
    connecting = asyncio.ensure_future(keep_connected(connection, tell, stopped))
    working = asyncio.ensure_future(_work(feed, followed))
    falling_back = asyncio.ensure_future(fallback.run())
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait({connecting, working, falling_back, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, falling_back, stopping):
        task.cancel()
    feed.begin_close()
    await connection.stop()
    feed.on_close()
    await fallback.close()
    for task in (connecting, falling_back):
        with suppress(asyncio.CancelledError):
            await task  # a MisuseError ends the process


def _source_settings(launch: FeedLaunch) -> SourceSettings:
    fallback, settings = launch.fallback, launch.settings
    return SourceSettings(
        limits_ns=(
            int(fallback.book_s * NS_PER_S),
            int(fallback.ticker_s * NS_PER_S),
            int(fallback.trades_s * NS_PER_S),
        ),
        publish_levels=settings.publish_levels,
        compare_ns=int(fallback.compare_every_s * NS_PER_S),
    )


class Follower:
    """Keeps a feed in step with its shard's table."""

    def __init__(self, feed: PublicFeed, table: PairTable) -> None:
        self._feed = feed
        self._table = table
        self._version = 0

    def look(self) -> None:
        """Follow the table if it has changed since the last look."""
        version = self._table.version
        if version != self._version:
            self._version = version
            self._feed.follow(self._table.rows)


async def _work(feed: PublicFeed, followed: Follower) -> None:
    while True:
        followed.look()
        is_behind = feed.do_work()
        while is_behind:
            await asyncio.sleep(PAUSE_S)
            is_behind = feed.go_on()
        await asyncio.sleep(WORK_INTERVAL_S)


def _spin(loop: asyncio.AbstractEventLoop) -> None:
    """Keep the event loop from sleeping."""
    loop.call_soon(_spin, loop)
