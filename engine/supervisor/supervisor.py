"""The supervisor: creates the shared memory, starts the processes, and keeps them alive
until the end.

    start:  segments ─► order router, private feed ─► strategy host (a thread here)
                     ─► trading is open ─► public feeds
    stop:   public feeds ─► order router (its orders first) ─► private feed ─► host ─► summary

Strategies see no market before they can trade it: an order may answer the first book of a
run.

A feed that dies is restarted, and until its successor publishes the supervisor publishes
for it: every pair of the shard is stale, in the ring, before any further book.
"""

import asyncio
import inspect
import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from msgspec import to_builtins

from engine.clock import SystemClock
from engine.config import Config, FeedConfig, VenueConfig, is_kraken
from engine.errors import UserError
from engine.kraken.public.events import ALL_PAIRS
from engine.kraken.public.session import PONG_PATIENCE, PublicSettings
from engine.kraken.public.subscriptions import REQUESTS_BURST
from engine.ledger_check import Told
from engine.native import DESCRIPTION
from engine.net.budget import ATTEMPTS_MAX
from engine.net.control_socket import Command, Request, Shared, serve_control
from engine.processes.callback_words import CallbackWords
from engine.processes.launch import FeedLaunch, MarketView, News
from engine.processes.pair_table import PairTable, PairTableWriter, pair_table_bytes
from engine.processes.run_view import ENGINE, RunFacts, RunMap, RunView, ShardMap, SupervisorMap
from engine.public_feed.feed import announce_stale, settle_dead
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
from engine.strategy.api import Strategy, overrides
from engine.strategy.events import Connection, ErrorReport
from engine.strategy_host.followed_pairs import FollowedPairs, FollowedShard
from engine.strategy_host.followed_ring import MarketPort
from engine.strategy_host.host import StrategyHost
from engine.strategy_host.hosted_strategy import HostedStrategy, HostLimits
from engine.strategy_host.loading import NamedStrategy, holders
from engine.strategy_host.loop_host import LoopHost
from engine.strategy_host.thread import HostThread
from engine.summary import build_summary
from engine.supervisor.actor import Actor
from engine.supervisor.callback_watch import CallbackWatch, Watched, WatchThread
from engine.supervisor.descriptors import close_all, open_to_read
from engine.supervisor.fork_server import ForkServer
from engine.supervisor.notices import Notices
from engine.supervisor.onlooker import onlookers
from engine.supervisor.run_directory import RunDirectory
from engine.supervisor.trading import Account, Trading, histogram_segment
from engine.supervisor.vitals import Vitals
from engine.telemetry import Counters, Histogram, counters_bytes, format_counters
from engine.telemetry.log import keep_warnings, say_left_out
from engine.telemetry.warning_ring import warning_segment
from engine.topology import (
    NO_CHANNELS,
    ORDER_ROUTER,
    PRIVATE_FEED,
    PUBLIC_FEED,
    STRATEGY_HOST_DOORBELL,
    WIRE_HISTOGRAMS,
    Channel,
    Shard,
    market_record_bytes,
    pair_counter,
    plan_shards,
    strategy_counter_names,
)
from engine.units import NS_PER_S, MonoNs

WATCH_INTERVAL_S = 0.25  # how often the heartbeats are checked
TRADING_WAIT_S = 10.0  # for trading to open; then the market is followed without it
TRADING_LOOK_S = 0.02
CLEAN = "clean"
RUNNING = "running"
PROGRAMS = Path(__file__).parents[1] / "client"

log = structlog.get_logger("supervisor")


class _Feed:
    """One shard: its memory, which outlives its processes, and its process."""

    def __init__(self, shard: Shard, config: Config, supervisor: "Supervisor") -> None:
        self.shard = shard
        record_bytes = market_record_bytes(config.feed.publish_levels)
        slots = config.feed.ring_slots
        self.ring = Segment.create(shard.ring_name, ring_bytes(record_bytes, slots))
        # A new segment's pages are zero: a ring of gigabytes is not written twice.
        format_ring(self.ring.memory, record_bytes=record_bytes, slot_count=slots, is_zeroed=True)
        self.board = Segment.create(f"board-{shard.number}", board_bytes(record_bytes, shard.board_slots))
        format_board(self.board.memory, record_bytes=record_bytes, slot_count=shard.board_slots, is_zeroed=True)
        self.actor = Actor(
            shard.actor_name,
            PUBLIC_FEED,
            shard.counter_names,
            fork_server=supervisor.fork_server,
            make_launch=lambda _: supervisor.feed_launch(self),
            on_death=lambda reason, now: supervisor.feed_died(self, reason, now),
            on_news=lambda news: supervisor.feed_told(self, news),
            settings=config.engine,
            clock=supervisor.clock,
        )
        self.table = Segment.create(f"pairs-{shard.number}", pair_table_bytes(shard))
        self.followed = FollowedShard(
            shard, PairTableWriter(self.table.memory, shard, shard.first_rows), BoardReader(self.board.memory)
        )
        self.port = MarketPort(
            shard, self.ring.memory, self.board.memory, self.actor.counters, PairTable(self.table.memory)
        )

    def segments(self) -> tuple[ShardMap, list[Segment]]:
        """The memory segments that another process may attach."""
        counters = self.actor.counters_segment
        mapped = ShardMap(self.shard, self.ring.fd, self.board.fd, counters.fd, self.table.fd)
        return mapped, [self.ring, self.board, counters, self.table]

    def was_live(self, symbol: str) -> bool:
        """Whether the pair has had a snapshot since the engine started; for ALL_PAIRS,
        whether any has.
        """
        indices = [index for index, row in enumerate(self.port.rows) if symbol in (row.symbol, ALL_PAIRS)]
        return any(self.actor.counters.get(pair_counter(index, "snapshots")) > 0 for index in indices)

    def note_dead(self) -> None:
        """Mark all subscriptions of the dead process as unconfirmed in the counters."""
        for index in range(self.shard.pairs_max):
            self.actor.counters.set(pair_counter(index, "confirmed"), NO_CHANNELS)


class Supervisor:
    """One run of the engine."""

    def __init__(
        self,
        config: Config,
        url: str,
        strategies: Sequence[NamedStrategy],
        directory: RunDirectory,
        account: Account | None = None,
        *,
        in_loop: bool = False,
        notice_secrets_fd: int | None = None,
    ) -> None:
        """`account` is the account to trade on; None for an engine that only watches.
        `in_loop` runs the strategies on the event loop that runs `run`, instead of in a
        thread. `notice_secrets_fd` holds the secrets of notices' targets from the
        environment; None without targets.
        """
        self._config = config
        self._in_loop = in_loop
        self._url = url
        # For people: real money and paper must not look alike.
        self._venue = f"paper on {url}" if account is not None and account.is_paper else url
        self.rest_url = _rest_url(config, url, account)
        """REST of the venue; None when it is not to be asked."""
        self._directory = directory
        self.clock = SystemClock()
        self._began_at = self.clock.mono_ns()
        kinds = (PUBLIC_FEED,) if account is None else (ORDER_ROUTER, PRIVATE_FEED, PUBLIC_FEED)
        self.fork_server = ForkServer(kinds)
        added_max, intervals = config.feed.pairs_added_max, config.feed.candle_intervals_min
        self._feeds = [
            _Feed(shard, config, self)
            for shard in plan_shards(config.symbols, config.feed.shards, intervals, added_max)
        ]
        self.followed = FollowedPairs([feed.followed for feed in self._feeds], configured_channels(config.feed))
        # Who asks REST for public data: each feed, and a program that opened the engine.
        self._asker_count = len(self._feeds) + in_loop
        # The strategy host's doorbell, rung by every feed.
        self._eventfd = open_eventfd()
        weakref.finalize(self, os.close, self._eventfd)
        latency = {name: histogram_segment(f"wire-{name}") for name in WIRE_HISTOGRAMS}
        limits = HostLimits.of(config.engine)
        # The current callback of each strategy, for the router too, which must notice a
        # hang of this process.
        names = strategy_counter_names(
            [named.name for named in strategies], [feed.shard.ring_name for feed in self._feeds]
        )
        self._host_counters = Segment.create("counters-host", counters_bytes(names))
        format_counters(self._host_counters.memory, names)
        host_counters = Counters(self._host_counters.memory, names)
        self._trading = None if account is None else self._make_trading(account, strategies)
        histograms = {name: Histogram(segment.memory) for name, segment in latency.items()}
        self._hosted = [
            HostedStrategy(
                named.strategy,
                named.name,
                symbols=named.symbols,
                ports=[feed.port for feed in self._feeds],
                clock=self.clock,
                latency=histograms,
                limits=limits,
                order_ports=self._trading.order_ports(named.name) if self._trading is not None else None,
                counters=host_counters,
                followed=self.followed,
            )
            for named in strategies
        ]
        self._host = StrategyHost(self._hosted, host_counters, self.clock)
        rings = [feed.ring.memory for feed in self._feeds]
        if self._trading is not None:
            rings += self._trading.report_memories
        doorbells = [Doorbell(ring, STRATEGY_HOST_DOORBELL, self._eventfd) for ring in rings]
        spin = config.engine.spin
        self._thread: HostThread | LoopHost = (
            LoopHost(self._host, doorbells, self.clock, spin=spin)
            if in_loop
            else HostThread(self._host, doorbells, self.clock, spin=spin, cpus=config.engine.cpus)
        )
        watched = [_watched(hosted, host_counters) for hosted in self._hosted]
        self._watch_of_callbacks = CallbackWatch(watched, host_counters, lambda: self._thread.thread_id)
        # Where the strategies share the supervisor's loop, a thread watches their
        # callbacks.
        self._watch_thread = WatchThread(self._watch_of_callbacks, self.clock) if in_loop else None
        self._vitals = Vitals([actor.name for actor in self._actors], [hosted.name for hosted in self._hosted])
        self._warnings = warning_segment(ENGINE)
        self._onlookers = onlookers(config, self.clock)
        self._notices: Notices | None = None
        if notice_secrets_fd is not None:
            self._notices = Notices(
                config,
                self._venue,
                self._trading is not None,
                directory.control_path,
                notice_secrets_fd,
                self.clock,
            )
            self._onlookers.append(self._notices.onlooker)
        # What other processes can look at, and how this one sees the same.
        own = (self._host_counters, self._vitals.segment, self._warnings)
        self._segments = {segment.fd: segment for segment in (*own, *latency.values())}
        self.map = self._map([segment.fd for segment in latency.values()])
        self._view = RunView(self.map, lambda fd: self._segments[fd].memory)
        # The descriptors that are passed on, in the map's order; opened for the first who
        # asks.
        self._lent: list[int] = []
        weakref.finalize(self, close_all, self._lent)
        # Connections made and lost by each process, when they were last looked at.
        self._connections: dict[str, tuple[int, int]] = {}
        # Set when strategies and feeds have been started.
        self.has_begun = asyncio.Event()
        # Why the engine stops: "clean", or what went wrong. None while it runs.
        self._exit_reason: str | None = None
        self._stop_requested = asyncio.Event()
        # What ended the run, if it was the user's mistake.
        self._mistake: UserError | None = None

    def _make_trading(self, account: Account, strategies: Sequence[NamedStrategy]) -> Trading:
        return Trading(
            self._config,
            account,
            directory=self._directory,
            strategies=[named.name for named in strategies],
            holders=holders(strategies),
            balance_callers=[named.name for named in strategies if overrides(named.strategy, "on_balance")],
            markets=[
                MarketView(feed.shard, feed.board.fd, feed.table.fd, feed.actor.counters_segment.fd)
                for feed in self._feeds
            ],
            fork_server=self.fork_server,
            host_eventfd=self._eventfd,
            clock=self.clock,
            on_news=self._router_told,
            on_death=self.tell_error,
            attempts_max=self._attempts_max(account),
            host_counters_fd=self._host_counters.fd,
        )

    # --- one run

    async def run(self, seconds: float | None, on_tick: Callable[[RunFacts], None], tick_s: float) -> UserError | None:
        """Run until `request_stop`, `engine stop`, or the end of `seconds`. Returns the
        UserError that ended the run, if any.

        `on_tick` is called with the facts every `tick_s`, and at the end.
        """
        commands: dict[str, Command] = {"status": self._status_command, "stop": self._stop_command}
        keep_no_warnings = keep_warnings(self._warnings.memory)
        server = await serve_control(self._directory.control_path, commands)
        tasks: list[asyncio.Task[None]] = []
        try:
            self.fork_server.start()
            for onlooker in self._onlookers:
                onlooker.start()
            if self._trading is not None and not self._stop_requested.is_set():
                self._trading.start()
            tasks = [asyncio.create_task(self._watch()), asyncio.create_task(_tick(on_tick, self.facts, tick_s))]
            tasks[0].add_done_callback(self._watch_ended)
            if self._watch_thread is not None:
                self._watch_thread.start()
            asyncio.wrap_future(self._thread.ended).add_done_callback(self._host_ended)
            await self._start_strategies(seconds)
            if self._trading is not None and not self._stop_requested.is_set():
                await self._until_open(self._trading)
            if not self._stop_requested.is_set():
                for feed in self._feeds:
                    feed.actor.start()
                self.has_begun.set()
            await self._wait(seconds)
        except UserError as error:
            self._fail(error)
        except Exception as error:
            log.error("the supervisor failed", error=repr(error), exc_info=error)
            self.request_stop(f"the supervisor failed: {error!r}")
        finally:
            for task in tasks[1:]:
                task.cancel()
            await self._stop()
            for task in tasks[:1]:
                task.cancel()
            if self._watch_thread is not None:
                self._watch_thread.stop()
            server.close()
            keep_no_warnings()
            on_tick(self.facts())
        return self._mistake

    def request_stop(self, reason: str) -> None:
        """Begin to stop; the first reason given is the one that is reported."""
        if self._exit_reason is None:
            self._exit_reason = reason
        self._stop_requested.set()

    @property
    def exit_reason(self) -> str:
        """Why the engine stops or has stopped; "running" before that."""
        return self._exit_reason or RUNNING

    @property
    def state_text(self) -> str:
        """One line for people about the current state of the engine."""
        if self._exit_reason is not None:
            return f"stopping: {self._exit_reason}"
        if not self.has_begun.is_set():
            return "starting"
        if self._trading is None:
            return "following the market, without orders"
        status = self._trading.status()
        reason = "" if status.get("is_open") else str(status.get("reason") or "the order router does not answer")
        return f"trading: {status.get('mode', 'closed')}" + (f", {reason}" if reason else "")

    def summary(self) -> dict[str, Any]:
        """The summary of the run so far. Building it takes milliseconds of this process, so
        other processes build their own from the shared memory while the run lasts.
        """
        if self._in_loop:
            self._host.count_all()  # on its own thread, so the newest counts can be told
        return build_summary(self._view, self.facts(), self.clock.mono_ns())

    def facts(self) -> RunFacts:
        """The facts about the run that are not in shared memory."""
        now = self.clock.mono_ns()
        self._count(now)
        return RunFacts(
            seconds=(now - self._began_at) / NS_PER_S,
            restarts={actor.name: actor.restarts for actor in self._actors},
            exit_reason=self.exit_reason,
            pid=os.getpid(),
            venue=self._venue,
            processes={actor.name: actor.pid for actor in self._actors},
            hangs={hosted.name: self._watch_of_callbacks.conduct(hosted.name, now) for hosted in self._hosted},
        )

    def _map(self, latency: list[int]) -> RunMap:
        """Build the map of the run's memory, and keep its segments alive."""
        shards, trading = [], None
        for feed in self._feeds:
            mapped, segments = feed.segments()
            shards.append(mapped)
            self._segments |= {segment.fd: segment for segment in segments}
        if self._trading is not None:
            trading, segments = self._trading.segments()
            self._segments |= {segment.fd: segment for segment in segments}
        warnings = [actor.warnings_segment for actor in self._actors]
        self._segments |= {segment.fd: segment for segment in warnings}
        notices = self._notices
        if notices is not None:
            self._segments[notices.segment.fd] = notices.segment
        supervisor = SupervisorMap(
            pid=os.getpid(),
            name=self._config.name,
            venue=self._venue,
            native=DESCRIPTION,
            began_ns=self._began_at,
            children=[actor.name for actor in self._actors],
            state_dir="" if self._trading is None else str(self._trading.state_dir),
            counters=self._vitals.segment.fd,
            warnings=[self._warnings.fd, *(segment.fd for segment in warnings)],
        )
        names = [hosted.name for hosted in self._hosted]
        told = None if notices is None else notices.mapped
        return RunMap(shards, names, self._host_counters.fd, latency, trading, supervisor, told)

    def _count(self, now: MonoNs) -> None:
        held_up = self._trading.commands_held_up if self._trading is not None else 0
        self._vitals.write(now, held_up, self._actors, self._watch_of_callbacks.hung)

    @property
    def _actors(self) -> list[Actor]:
        feeds = [feed.actor for feed in self._feeds]
        return feeds if self._trading is None else [*feeds, *self._trading.actors]

    def _attempts_max(self, account: Account | None) -> int:
        """Each process's share of the connection attempts that Kraken allows one address."""
        return ATTEMPTS_MAX // (len(self._feeds) + (2 if account is not None else 0))

    def told(self) -> list[Told]:
        """What the strategies' callbacks received about orders, for comparison with the
        venue's ledger.
        """
        return [Told(hosted.order_client.fills_told, hosted.order_client.ends_told) for hosted in self._hosted]

    async def _start_strategies(self, seconds: float | None) -> None:
        """Wait until every on_start has returned, `seconds` are over, or a stop was
        requested.

        Raises StrategyError if one fails.
        """
        if self._stop_requested.is_set():
            return
        started = self._thread.start()
        stopping = asyncio.ensure_future(self._stop_requested.wait())
        await asyncio.wait((started, stopping), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if started.done():
            started.result()
        else:
            self.request_stop(CLEAN)
            started.add_done_callback(_forget)

    async def _until_open(self, trading: Trading) -> None:
        """Wait until orders are accepted, or will not be soon."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TRADING_WAIT_S):
                while not (trading.has_opened or self._stop_requested.is_set()):
                    await asyncio.sleep(TRADING_LOOK_S)
                return
        log.warning("the market begins before trading is open", reason=trading.status().get("reason", "no router"))

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop_requested.wait()
        except TimeoutError:
            self.request_stop(CLEAN)

    async def _stop(self) -> None:
        """Stop the feeds first, so that strategies get everything that was published; then
        the order router; then the strategies.
        """
        if self._exit_reason is None:
            self._exit_reason = CLEAN
        deadline_s = self._config.engine.stop_deadline_s
        await asyncio.gather(*(feed.actor.stop(deadline_s) for feed in self._feeds))
        if self._trading is not None:
            # The router takes none either; one that it has not read at its end would get no
            # answer.
            for hosted in self._hosted:
                hosted.send_no_orders()
            await self._trading.stop(deadline_s)
            if (left := self._trading.left_open()) and self._exit_reason == CLEAN:
                self._exit_reason = left
                log.error("orders are left open", reason=left)
        if not await self._thread.stop(deadline_s):
            self._watch_of_callbacks.look(self.clock.mono_ns())
            log.error("a strategy does not come back from its callback", waited_s=deadline_s)
            self._exit_reason = f"a strategy did not stop in time: {self._watch_of_callbacks.sentence}"
        await asyncio.gather(*(onlooker.stop(deadline_s) for onlooker in self._onlookers))
        for actor in self._actors:
            actor.close()
        self.fork_server.close()

    def _status_command(self, _: Request) -> Shared:
        """Answer `status` with the map of the memory to read, not with its contents: see
        `engine.processes.run_view`.
        """
        if not self._lent:
            self._lent += open_to_read(self.map.descriptors)
        return Shared({"map": to_builtins(self.map), "facts": to_builtins(self.facts())}, self._lent)

    def _stop_command(self, _: Request) -> dict[str, Any]:
        self.request_stop(CLEAN)
        return {"stopping": True, "pid": os.getpid()}

    def _fail(self, error: UserError) -> None:
        self._mistake = self._mistake or error
        self.request_stop(str(error))

    def _host_ended(self, ended: "asyncio.Future[None]") -> None:
        if not ended.cancelled() and (error := ended.exception()) is not None:
            log.error("the strategy host failed", error=repr(error), exc_info=error)
            self.request_stop(f"the strategy host failed: {error!r}")

    def _watch_ended(self, watch: "asyncio.Task[None]") -> None:
        if not watch.cancelled() and (error := watch.exception()) is not None:
            log.error("the watch of actors and strategies failed", error=repr(error), exc_info=error)
            self.request_stop(f"the watch of actors and strategies failed: {error!r}")

    # --- the feeds

    def feed_died(self, feed: _Feed, reason: str, now: MonoNs) -> None:
        """Publish that the pairs of a feed are stale, because its process has ended."""
        publisher = Publisher(feed.ring.memory, [(STRATEGY_HOST_DOORBELL, self._eventfd)])
        board, before = BoardWriter(feed.board.memory), BoardReader(feed.board.memory)
        self.tell_error(feed.actor.name, reason)
        settle_dead(feed.shard, feed.ring.memory, board, before)
        announce_stale(feed.shard, publisher, board, before, reason, now, feed.port.rows)
        feed.note_dead()

    def feed_told(self, feed: _Feed, news: News) -> None:
        """Handle a message of a feed: a fatal error, or a refused subscription.

        A refusal stops the engine, unless the pair was live before (one that is delisted
        later becomes untrusted, alone) or was subscribed at run time (its subscribers are
        told). A refusal of the instrument channel does not stop it once any pair has been
        live.
        """
        if news.kind == "fatal" or (not feed.was_live(news.symbol) and not self._refuse(news.symbol, news.text)):
            self._fail(UserError(news.text))

    def _refuse(self, symbol: str, reason: str) -> bool:
        """Report a refused pair to every strategy; False if it was not subscribed at run
        time.
        """

        def tell() -> None:
            for hosted in self._hosted:
                hosted.tell_refused(symbol, reason)

        return self.followed.refuse(symbol, tell)

    def tell_error(self, place: str, text: str) -> None:
        """Schedule a call of on_error for every strategy."""
        error = ErrorReport(place, text, self.clock.wall_ns())
        for hosted in self._hosted:
            hosted.tell_error(error)

    def _router_told(self, news: News) -> None:
        self._fail(UserError(news.text))

    @property
    def calls_per_s(self) -> float:
        """The REST calls per second for public data of one process: its share of the limit."""
        return self._config.fallback.calls_per_s / self._asker_count

    def feed_launch(self, feed: _Feed) -> tuple[FeedLaunch, tuple[int, ...]]:
        """The launch data of a feed's process, and the descriptors that it inherits."""
        config, intervals = self._config, self._config.feed.candle_intervals_min
        compared = min(intervals, default=None) if config.feed.compare_candles else None
        launch = FeedLaunch(
            shard=feed.shard,
            url=self._url,
            ca_file=config.venue.ca_file,
            connection=config.connection,
            settings=PublicSettings(
                symbols=feed.shard.symbols,
                depth=config.feed.depth,
                publish_levels=config.feed.publish_levels,
                trades=config.feed.trades or bool(intervals),
                tickers=config.feed.tickers,
                ticker_trigger=config.feed.ticker_trigger,
                candle_interval_min=compared,
                heartbeat_silence_ns=int(config.feed.heartbeat_silence_s * NS_PER_S),
                ping_interval_ns=int(config.connection.ping_interval_s * NS_PER_S),
                pong_deadline_ns=int(PONG_PATIENCE * config.connection.ping_timeout_s * NS_PER_S),
                book_silence_ns=int(config.feed.book_silence_s * NS_PER_S),
                subscribe_deadline_ns=int(config.feed.subscribe_deadline_s * NS_PER_S),
                requests_per_s=config.feed.requests_per_s / len(self._feeds),
                requests_burst=burst_of_shard(len(self._feeds)),
                symbols_per_request=config.feed.symbols_per_request,
                fills_gaps=self.rest_url is not None,
            ),
            fallback=config.fallback,
            rest_url=self.rest_url,
            calls_per_s=self.calls_per_s,
            candle_history=config.feed.candle_history,
            conflate=config.feed.conflate,
            spin=config.feed.spin,
            cpus=(config.feed.cpus[feed.shard.number % len(config.feed.cpus)],) if config.feed.cpus else (),
            attempts_max=ATTEMPTS_MAX // (len(self._feeds) + (2 if self._trading is not None else 0)),
            ring_fd=feed.ring.fd,
            board_fd=feed.board.fd,
            pair_table_fd=feed.table.fd,
            counters_fd=feed.actor.counters_segment.fd,
            warnings_fd=feed.actor.warnings_segment.fd,
            doorbells=[(STRATEGY_HOST_DOORBELL, self._eventfd)],
            news_fd=feed.actor.news_of_child.fileno(),
            log=config.log,
        )
        return launch, launch.descriptors

    async def _watch(self) -> None:
        """Kill each process whose heartbeat has stopped; its end is then handled like any
        other.
        """
        silence_ns_max = int(self._config.engine.actor_silence_s * NS_PER_S)
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            say_left_out()
            now = self.clock.mono_ns()
            for actor in self._actors if not self._stop_requested.is_set() else ():
                actor.kill_if_silent(now, silence_ns_max)
            for actor in self._actors:
                self._tell_connections(actor)
            self._count(now)
            if self._watch_thread is None:
                self._watch_of_callbacks.look(now)

    def _tell_connections(self, actor: Actor) -> None:
        """Schedule a call of on_connection for each process that has connected, or lost its
        connection, since the last look.
        """
        made, lost = actor.counters.get("connects"), actor.counters.get("disconnects")
        was_made, was_lost = self._connections.get(actor.name, (0, 0))
        self._connections[actor.name] = (made, lost)
        changes = [False] * (lost > was_lost) + [True] * (made > was_made)
        if made - was_made < lost - was_lost:
            changes.reverse()  # it was made and lost again
        for is_connected in changes:
            for hosted in self._hosted:
                hosted.tell_connection(Connection(actor.name, is_connected, self.clock.wall_ns()))


def _rest_url(config: Config, url: str, account: Account | None) -> str | None:
    """The REST service behind the public feeds. None if it is switched off, or is not known
    to belong to the same venue: Kraken's must not stand in for another venue's market.
    """
    if not config.fallback.enabled:
        return None
    if account is not None and not account.is_paper:
        return account.rest_url
    is_krakens_rest = config.venue.rest_url == VenueConfig().rest_url
    return config.venue.rest_url if is_kraken(url) == is_krakens_rest else None


def configured_channels(feed: FeedConfig) -> Channel:
    """The channels of each pair that are followed unless a call names others."""
    return (
        Channel.BOOK
        | (Channel.TRADE if feed.trades or feed.candle_intervals_min else NO_CHANNELS)
        | (Channel.TICKER if feed.tickers else NO_CHANNELS)
        | (Channel.CANDLE if feed.candle_intervals_min else NO_CHANNELS)
    )


def _watched(hosted: HostedStrategy, host_counters: Counters) -> Watched:
    words = CallbackWords(host_counters, hosted.name)
    return Watched(hosted.name, words, file_of(hosted.strategy), lambda: hosted.answer)


def file_of(strategy: Strategy) -> str:
    """The file of a strategy's class; empty if it has none, and for a program, whose
    handlers may be in any file.
    """
    try:
        file = inspect.getfile(type(strategy))
    except (OSError, TypeError):
        return ""
    return "" if Path(file).is_relative_to(PROGRAMS) else file


def _forget(started: "asyncio.Future[None]") -> None:
    """Retrieve the outcome of a start that nobody awaits any more, so that asyncio does not
    log it.
    """
    if not started.cancelled():
        started.exception()


async def _tick(on_tick: Callable[[RunFacts], None], facts: Callable[[], RunFacts], tick_s: float) -> None:
    while True:
        on_tick(facts())
        await asyncio.sleep(tick_s)


def burst_of_shard(shards: int) -> int:
    """The number of requests that one of so many feeds may send at once: its share, since
    Kraken counts per address; at least one.
    """
    return max(1, REQUESTS_BURST // shards)
