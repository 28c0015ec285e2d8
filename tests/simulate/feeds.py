"""The public feeds: each shard's memory, which outlives its processes, and the process that fills it now.

What `public_feed.process` and the supervisor do around the real `PublicFeed`: a death is
noticed, the shard is said to be stale, and a successor begins on the same ring and board.
"""

from collections.abc import Callable
from random import Random
from typing import Final

from engine.kraken.public.session import PublicSession, PublicSettings
from engine.processes.pair_table import PairTable, PairTableWriter, pair_table_bytes
from engine.public_feed.feed import PublicFeed, announce_stale, settle_dead
from engine.public_feed.process import PAIR_PATIENCE_NS, PAUSE_S, WORK_INTERVAL_S, Follower
from engine.records import FeedState, Kind, pair_index_of, state_of
from engine.ring import (
    BoardReader,
    BoardWriter,
    Publisher,
    Subscriber,
    board_bytes,
    format_board,
    format_ring,
    ring_bytes,
)
from engine.strategy_host.followed_pairs import FollowedShard
from engine.strategy_host.followed_ring import MarketPort
from engine.supervisor.children import RestartDelay
from engine.telemetry import new_counters
from engine.topology import Shard, market_record_bytes, pair_counter
from engine.units import NS_PER_MS, NS_PER_S, MonoNs
from tests.simulate.kernel import Kernel, Process, SimClock, Violation
from tests.simulate.mortal import mortal
from tests.simulate.network import SimConnection, Weather
from tests.simulate.venue import LEVELS, SimVenue

NOTICED_NS_MAX: Final = 5 * NS_PER_MS  # from a process's end to the supervisor's knowledge of it
WORK_NS, PAUSE_NS = int(WORK_INTERVAL_S * NS_PER_S), int(PAUSE_S * NS_PER_S)
POLL_RECORDS: Final = 512
BOOK_TOP, FEED_STATE = int(Kind.BOOK_TOP), int(Kind.FEED_STATE)


class SimFeed:
    """One shard."""

    def __init__(
        self,
        kernel: Kernel,
        weather: Weather,
        venue: SimVenue,
        shard: Shard,
        clock: SimClock,
        rng: Random,
        *,
        settings: PublicSettings,
        ring_slots: int,
        conflate: bool,
        wake: Callable[[], None],
        refused: Callable[["SimFeed", str, str], None],
    ) -> None:
        self.shard = shard
        self.process = Process(kernel, shard.actor_name)
        self.route = f"public-{shard.number}"
        self._kernel, self._weather, self._venue, self._clock, self._rng = kernel, weather, venue, clock, rng
        self._settings = settings
        self._conflate = conflate
        self._wake = wake
        self._refused = refused
        record_bytes = market_record_bytes(LEVELS)
        self.ring = bytearray(ring_bytes(record_bytes, ring_slots))
        format_ring(self.ring, record_bytes=record_bytes, slot_count=ring_slots, is_zeroed=True)
        self.board = bytearray(board_bytes(record_bytes, shard.board_slots))
        format_board(self.board, record_bytes=record_bytes, slot_count=shard.board_slots, is_zeroed=True)
        self.counters = new_counters(shard.counter_names)
        # Which pairs are followed: written by the engine's process, read by each feed and router.
        self.table_memory = bytearray(pair_table_bytes(shard))
        writer = PairTableWriter(self.table_memory, shard, shard.first_rows)
        self.followed = FollowedShard(shard, writer, BoardReader(self.board))
        self.table = PairTable(self.table_memory)
        self.port = MarketPort(shard, self.ring, self.board, table=self.table)
        self.observer = RingObserver(self, venue)
        self.restarts = 0
        self.connection: SimConnection[object] | None = None
        self._delay = RestartDelay(0.1, 2.0)
        self._began_at = MonoNs(0)
        self.is_ending = False
        self.process.on_death.append(self._died)
        self.process.on_doomed.append(self._watch_stores)

    def start(self) -> None:
        """A life begins: its first, or a successor's."""
        process, clock = self.process, self._clock
        process.begin()
        self._began_at = clock.mono_ns()
        session = PublicSession(self._settings)
        publisher, board = Publisher(self.ring), BoardWriter(self.board)
        self._mortal_publisher, self._mortal_board = mortal(publisher, process), mortal(board, process)
        feed = self.feed = PublicFeed(
            self.shard,
            session,
            publisher=publisher,
            board=board,
            board_reader=BoardReader(self.board),
            counters=self.counters,
            clock=clock,
            refused=lambda symbol, advice: self._refused(self, symbol, advice),
            conflate="burst" if self._conflate else "none",
            pair_patience_ns=PAIR_PATIENCE_NS,
        )
        self._follower = Follower(feed, PairTable(self.table_memory))
        self._follower.look()
        feed.on_start()
        self.connection = connection = SimConnection(
            self._kernel,
            process,
            self._weather,
            self.route,
            session,
            venue=self._venue,
            connect=self._venue.connect,
            on_events=feed.on_events,
            on_burst_end=self._burst_ended,
            receive=feed.receive,
        )
        feed.traffic = connection
        connection.start()
        process.after(WORK_NS, self._work)
        self._told()

    def stop(self) -> None:
        """The engine stops."""
        self.is_ending = True
        if self.process.is_alive:
            self.feed.begin_close()
            assert self.connection is not None
            self.connection.stop()
            self.feed.on_close()

    def _burst_ended(self) -> None:
        self.feed.on_burst_end()
        self._told()

    def was_live(self, symbol: str) -> bool:
        """Whether the pair has had a snapshot in this run."""
        index = next((index for index, row in enumerate(self.table.rows) if row.symbol == symbol), None)
        return index is not None and self.counters.get(pair_counter(index, "snapshots")) > 0

    def _work(self) -> None:
        self._follower.look()
        self._worked(self.feed.do_work())

    def _go_on(self) -> None:
        self._worked(self.feed.go_on())

    def _worked(self, is_behind: bool) -> None:
        if is_behind:
            self.process.after(PAUSE_NS, self._go_on)
        else:
            self.process.after(WORK_NS, self._work)
        self._told()

    def _told(self) -> None:
        if self.observer.look():
            self._wake()

    # --- death

    def _watch_stores(self) -> None:
        """From now on it may die between any two stores, and in the middle of a record."""
        # A lane stores by itself, so it takes nothing from here on.
        if self.feed.lane is not None:
            self.feed.lane.close()
            self.feed.lane = None
        self.feed._publish, self.feed._board = self._mortal_publisher.publish, self._mortal_board

    def _died(self) -> None:
        if not self.is_ending:
            self._kernel.after(int(self._rng.random() * NOTICED_NS_MAX), self._noticed)

    def _noticed(self) -> None:
        """What `Supervisor.feed_died` and `Actor` do."""
        if self.is_ending:
            return  # they are gone themselves
        now = self._clock.mono_ns()
        publisher = Publisher(self.ring)
        board, before = BoardWriter(self.board), BoardReader(self.board)
        settle_dead(self.shard, self.ring, board, before)
        announce_stale(self.shard, publisher, board, before, f"{self.shard.actor_name} died", now, self.table.rows)
        self._told()
        self.restarts += 1
        delay_ns = int(self._delay.after_life(self._began_at, now) * NS_PER_S)
        self._kernel.after(delay_ns, self._restart)

    def _restart(self) -> None:
        if not self.is_ending:
            self.start()


class RingObserver:
    """Reads everything that a feed publishes, the moment it is published, and compares it with the venue."""

    def __init__(self, feed: SimFeed, venue: SimVenue) -> None:
        self._feed = feed
        self._venue = venue
        self._subscriber = Subscriber(feed.ring, 1)
        self._board = BoardReader(feed.board)
        self.published = 0
        self.books = 0
        configured = len(feed.shard.symbols)
        self.states = [FeedState.STALE] * configured
        self.states += [FeedState.UNSUBSCRIBED] * (feed.shard.pairs_max - configured)
        # The pair that each was told of: the place of one that Kraken refused is given to another.
        self.told_of = [""] * feed.shard.pairs_max

    def board_of(self, index: int) -> bytes | None:
        """What the board has of a pair."""
        return self._board.read(index)

    def symbol_of(self, index: int) -> str:
        """The pair that has this place; empty when none has."""
        rows = self._feed.table.rows
        return rows[index].symbol if index < len(rows) else ""

    def state_told(self, index: int, state: FeedState) -> None:
        """Take what the feed says of a pair."""
        self.states[index] = state
        self.told_of[index] = self.symbol_of(index)

    def state_of(self, index: int, symbol: str) -> FeedState:
        """What the feed has said last of the pair that has this place."""
        return self.states[index] if self.told_of[index] == symbol else FeedState.UNSUBSCRIBED

    def look(self) -> bool:
        """Take what is new, and say whether there was anything; Violation when a live book was never the venue's."""
        published, touched = self.published, set()
        while records := self._subscriber.poll_many(POLL_RECORDS):
            self.published += len(records)
            for record in records:
                kind = record[0]
                if kind == BOOK_TOP:
                    index = pair_index_of(record)
                    touched.add(index)
                    self.books += 1
                    if self.states[index] is not FeedState.LIVE:
                        raise Violation("a book in doubt says so", f"{self.symbol_of(index)}: a book while "
                                        f"{self.states[index]}")  # fmt: skip
                    self._venue.check_book(self.symbol_of(index), record)
                elif kind == FEED_STATE:
                    index = pair_index_of(record)
                    touched.add(index)
                    self.state_told(index, state_of(record))
        if self._subscriber.gap_count:
            raise Violation("the observer sees everything", f"{self._subscriber.gap_count} records lost")
        if not self._feed.process.is_alive:  # it may have left the board ahead of the ring
            touched.update(range(len(self.states)))
        for index in touched:
            top = self._board.read(index)
            if top is not None and state_of(top) is FeedState.LIVE:
                self._venue.check_book(self.symbol_of(index), top)
        return self.published > published
