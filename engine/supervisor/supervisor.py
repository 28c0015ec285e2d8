"""The supervisor: makes the shared memory, starts the actors, and keeps them alive until the engine stops.

    segments ─► strategy host (a thread here) ─► public feeds (processes) ─► watch ─► stop: feeds, host, summary

A feed that dies is restarted, and until its successor speaks the supervisor speaks for
it: every pair of the shard is stale, in the ring, before any further book.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from msgspec import Struct

from engine.actors.hosted_strategy import HostedStrategy, HostLimits, MarketPort
from engine.actors.launch import FeedLaunch, actor_command, decode_news, write_launch
from engine.actors.public_feed import announce_stale
from engine.actors.strategy_host import StrategyHost
from engine.actors.summary import ShardView, build_summary
from engine.clock import SystemClock
from engine.config import Config
from engine.errors import UserError
from engine.kraken.public_session import PublicSettings
from engine.net.budget import ATTEMPTS_MAX
from engine.ring import (
    BoardReader,
    BoardWriter,
    Doorbell,
    Publisher,
    Segment,
    board_bytes,
    format_board,
    format_ring,
    open_eventfd,
    ring_bytes,
)
from engine.strategy.api import Strategy
from engine.supervisor.children import Child, RestartDelay, exit_text
from engine.supervisor.control import serve_control
from engine.supervisor.host_thread import HostThread
from engine.supervisor.run_directory import RunDirectory
from engine.telemetry import Counters, counters_bytes, format_counters, new_counters, new_histogram
from engine.topology import (
    STRATEGY_HOST_DOORBELL,
    Shard,
    market_record_bytes,
    plan_shards,
    strategy_counter_names,
)
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

WATCH_INTERVAL_S = 0.25  # how often the signs of life are looked at
NEWS_BYTES_MAX = 4096
CLEAN = "clean"

log = structlog.get_logger("supervisor")


class NamedStrategy(Struct):
    """A strategy that was loaded, and the pairs that it follows."""

    name: str
    strategy: Strategy
    symbols: tuple[str, ...]


class _Feed:
    """One shard: its memory, which outlives its processes, and the process that serves it now."""

    def __init__(self, shard: Shard, config: Config) -> None:
        self.shard = shard
        record_bytes = market_record_bytes(config.feed.publish_levels)
        slots = config.feed.ring_slots
        self.ring = Segment.create(shard.ring_name, ring_bytes(record_bytes, slots))
        format_ring(self.ring.memory, record_bytes=record_bytes, slot_count=slots)
        self.board = Segment.create(f"board-{shard.number}", board_bytes(record_bytes, shard.board_slots))
        format_board(self.board.memory, record_bytes=record_bytes, slot_count=shard.board_slots)
        names = shard.counter_names
        self.counters_segment = Segment.create(f"counters-{shard.actor_name}", counters_bytes(names))
        format_counters(self.counters_segment.memory, names)
        self.counters = Counters(self.counters_segment.memory, names)
        self.port = MarketPort(shard, self.ring.memory, self.board.memory)
        # Our end and the child's of the socket for news.
        self.news, self.news_of_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.news.setblocking(False)
        self.child: Child | None = None
        self.started_at = MonoNs(0)
        self.restarts = 0
        self.delay = RestartDelay(config.engine.restart_delay_min_s, config.engine.restart_delay_max_s)

    def was_live(self, symbol: str) -> bool:
        """Has the pair had a snapshot since the engine started?"""
        return symbol in self.shard.symbols and self.counters.get(f"{symbol} snapshots") > 0

    def close(self) -> None:
        self.news.close()
        self.news_of_child.close()


class Supervisor:
    """One run of the engine."""

    def __init__(self, config: Config, url: str, strategies: Sequence[NamedStrategy], directory: RunDirectory) -> None:
        self._config = config
        self._url = url
        self._directory = directory
        self._clock = SystemClock()
        self._began_at = self._clock.mono_ns()
        self._feeds = [_Feed(shard, config) for shard in plan_shards(config.symbols, config.feed.shards)]
        # The strategy host's bell, rung by every feed.
        self._eventfd = open_eventfd()
        self._latency = new_histogram()
        limits = HostLimits(
            slow_callback_ns=int(config.engine.slow_callback_ms * NS_PER_MS),
            errors_per_minute_max=config.engine.strategy_errors_per_minute_max,
            lag_ns_max=int(config.engine.strategy_lag_s_max * NS_PER_S),
        )
        self._hosted = [
            HostedStrategy(
                named.strategy,
                named.name,
                symbols=named.symbols,
                ports=[feed.port for feed in self._feeds],
                clock=self._clock,
                latency=self._latency,
                limits=limits,
            )
            for named in strategies
        ]
        names = strategy_counter_names([named.name for named in strategies])
        self._host = StrategyHost(self._hosted, new_counters(names), self._clock)
        doorbells = [Doorbell(feed.ring.memory, STRATEGY_HOST_DOORBELL, self._eventfd) for feed in self._feeds]
        self._thread = HostThread(self._host, doorbells, self._clock, spin=config.engine.spin)
        # Why the engine stops: "clean", or what went wrong. None while it runs.
        self._exit_reason: str | None = None
        self._stop_requested = asyncio.Event()
        # What ended the run, if it was the user's mistake.
        self._mistake: UserError | None = None

    # --- one run

    async def run(
        self, seconds: float | None, on_tick: Callable[[dict[str, Any]], None], tick_s: float
    ) -> UserError | None:
        """Run until a signal, `engine stop`, or `seconds` are over; `on_tick` sees the summary every `tick_s`.

        What is returned, if anything, is a mistake of the user's that ended the run.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop, CLEAN)
        server = await serve_control(self._directory, {"status": self.summary, "stop": self._stop_command})
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._thread.start()
            for feed in self._feeds:
                loop.add_reader(feed.news, self._read_news, feed)
                self._start(feed)
            tasks = [asyncio.create_task(self._watch()), asyncio.create_task(_tick(on_tick, self.summary, tick_s))]
            asyncio.wrap_future(self._thread.ended).add_done_callback(self._host_ended)
            await self._wait(seconds)
        except UserError as error:
            self._fail(error)
        finally:
            for task in tasks:
                task.cancel()
            await self._stop()
            server.close()
            on_tick(self.summary())
        return self._mistake

    def request_stop(self, reason: str) -> None:
        """Stop soon; the first reason given is the one that is told."""
        if self._exit_reason is None:
            self._exit_reason = reason
        self._stop_requested.set()

    def summary(self) -> dict[str, Any]:
        """The run so far."""
        summary = build_summary(
            seconds=(self._clock.mono_ns() - self._began_at) / NS_PER_S,
            shards=[ShardView(feed.port, feed.counters) for feed in self._feeds],
            strategies=self._hosted,
            latency=self._latency,
            restarts={feed.shard.actor_name: feed.restarts for feed in self._feeds},
            exit_reason=self._exit_reason or "running",
        )
        summary["strategy_host"] = self._host.vitals()
        summary["pid"] = os.getpid()
        summary["venue"] = self._url
        summary["processes"] = {
            feed.shard.actor_name: feed.child.pid if feed.child is not None and feed.child.alive else None
            for feed in self._feeds
        }
        return summary

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop_requested.wait()
        except TimeoutError:
            self.request_stop(CLEAN)

    async def _stop(self) -> None:
        """Feeds first, so that strategies take everything that was published; then the strategies."""
        if self._exit_reason is None:
            self._exit_reason = CLEAN
        deadline_s = self._config.engine.stop_deadline_s
        children = [feed.child for feed in self._feeds if feed.child is not None]
        await asyncio.gather(*(child.stop(deadline_s) for child in children))
        if not await self._thread.stop(deadline_s):
            log.error("a strategy does not come back from its callback", waited_s=deadline_s)
            self._exit_reason = "a strategy did not stop in time"
        for feed in self._feeds:
            feed.close()

    def _stop_command(self) -> dict[str, Any]:
        self.request_stop(CLEAN)
        return {"stopping": True, "pid": os.getpid()}

    def _fail(self, error: UserError) -> None:
        self._mistake = self._mistake or error
        self.request_stop(str(error))

    def _host_ended(self, ended: "asyncio.Future[None]") -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            log.error("the strategy host failed", error=repr(error), exc_info=error)
            self.request_stop(f"the strategy host failed: {error!r}")

    # --- the feeds

    def _start(self, feed: _Feed) -> None:
        launch = self._launch(feed)
        launch_fd = write_launch(launch)
        try:
            command = actor_command(sys.executable, "public_feed", launch_fd)
            feed.started_at = self._clock.mono_ns()
            feed.child = Child(command, (launch_fd, *launch.descriptors), lambda _, code: self._ended(feed, code))
        finally:
            os.close(launch_fd)
        log.info("actor started", name=feed.shard.actor_name, pid=feed.child.pid)

    def _ended(self, feed: _Feed, code: int) -> None:
        """A feed's process has ended: say for it that its pairs are stale, and start its successor."""
        if self._stop_requested.is_set():
            return
        reason = f"{feed.shard.actor_name} died ({exit_text(code)})"
        publisher = Publisher(feed.ring.memory, [(STRATEGY_HOST_DOORBELL, self._eventfd)])
        board = feed.board.memory
        now = self._clock.mono_ns()
        announce_stale(feed.shard, publisher, BoardWriter(board), BoardReader(board), reason, now)
        delay_s = feed.delay.after_life(feed.started_at, now)
        log.error("actor died", name=feed.shard.actor_name, how=exit_text(code), restart_in_s=delay_s)
        asyncio.get_running_loop().call_later(delay_s, self._restart, feed)

    def _restart(self, feed: _Feed) -> None:
        if not self._stop_requested.is_set():
            feed.restarts += 1
            self._start(feed)

    def _launch(self, feed: _Feed) -> FeedLaunch:
        config, intervals = self._config, self._config.feed.candle_intervals_min
        return FeedLaunch(
            shard=feed.shard,
            url=self._url,
            ca_file=config.venue.ca_file,
            settings=PublicSettings(
                symbols=feed.shard.symbols,
                depth=config.feed.depth,
                publish_levels=config.feed.publish_levels,
                trades=config.feed.trades,
                tickers=config.feed.tickers,
                ticker_trigger=config.feed.ticker_trigger,
                candle_interval_min=intervals[0] if intervals else None,
                heartbeat_silence_ns=int(config.feed.heartbeat_silence_s * NS_PER_S),
                book_silence_ns=int(config.feed.book_silence_s * NS_PER_S),
                subscribe_deadline_ns=int(config.feed.subscribe_deadline_s * NS_PER_S),
                requests_per_s=config.feed.requests_per_s,
                symbols_per_request=config.feed.symbols_per_request,
            ),
            conflate=config.feed.conflate,
            spin=config.feed.spin,
            attempts_max=ATTEMPTS_MAX // len(self._feeds),
            ring_fd=feed.ring.fd,
            board_fd=feed.board.fd,
            counters_fd=feed.counters_segment.fd,
            doorbells=[(STRATEGY_HOST_DOORBELL, self._eventfd)],
            news_fd=feed.news_of_child.fileno(),
            parent_pid=os.getpid(),
            log_level=config.log.level,
            log_format=config.log.format,
        )

    def _read_news(self, feed: _Feed) -> None:
        try:
            news = decode_news(feed.news.recv(NEWS_BYTES_MAX))
        except BlockingIOError:
            return
        # A pair that was live and is refused later (delisted, say) is untrusted, and the others go on.
        if news.kind == "fatal" or not feed.was_live(news.symbol):
            self._fail(UserError(news.text))

    async def _watch(self) -> None:
        """Kill what gives no sign of life: its end is then met like any other."""
        silence_ns_max = int(self._config.engine.actor_silence_s * NS_PER_S)
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            now = self._clock.mono_ns()
            for feed in self._feeds:
                if feed.child is None or not feed.child.alive:
                    continue
                heard_at = max(int(feed.started_at), feed.counters.get("heartbeat_ns"))
                if now - heard_at > silence_ns_max:
                    log.error("actor gives no sign of life", name=feed.shard.actor_name, pid=feed.child.pid)
                    feed.child.signal(signal.SIGKILL)


async def _tick(
    on_tick: Callable[[dict[str, Any]], None], summary: Callable[[], dict[str, Any]], tick_s: float
) -> None:
    while True:
        on_tick(summary())
        await asyncio.sleep(tick_s)
