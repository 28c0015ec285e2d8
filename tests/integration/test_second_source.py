"""A public feed whose WebSocket is taken away: what its readers see is fresh or marked, and comes back by itself."""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import ConnectionConfig, FallbackConfig, LogConfig
from engine.kraken.public.session import PublicSettings
from engine.processes.fork_server import Ended, Fork, Forked, fork_server_command, receive_told, send_fork
from engine.processes.freshness import Freshness
from engine.processes.launch import FeedLaunch, write_launch
from engine.processes.pair_table import PairTableWriter, pair_table_bytes
from engine.records import BookTop, FeedState, Source, received_at_of, unpack_ticker
from engine.ring import BoardReader, Segment, board_bytes, format_board, format_ring, ring_bytes
from engine.telemetry import Counters, counters_bytes, format_counters
from engine.telemetry.warning_ring import warning_segment
from engine.topology import ALL_CHANNELS, PUBLIC_FEED, PairRow, Shard, market_record_bytes
from engine.units import NS_PER_MS, NS_PER_S
from tests.integration.public_relay import PublicRelay
from tests.integration.rig import Engines
from tests.waiting import PATIENCE_S, eventually

SYMBOLS = ("BTC/USD", "ETH/USD")
LIMITS = FallbackConfig(book_s=1.0, ticker_s=1.5, trades_s=2.0, calls_per_s=10.0, cache_s=0.0)
# The local venue counts calls as Kraken does unless it is told not to.
VENUE = ("--symbols", ",".join(SYMBOLS), "--rate", "200", "--seed", "11")
READER_INTERVAL_S = 0.01
# The reader's clock is read a moment after the record: what the machine may take in between.
READER_SLACK_NS = 150 * NS_PER_MS


class Feed:
    """A public feed in a process of its own, and its shared memory."""

    def __init__(self, url: str, rest_url: str | None, folder: Path) -> None:
        self.shard = Shard(0, SYMBOLS)
        record_bytes = market_record_bytes(10)
        self._segments = [
            Segment.create("market-0", ring_bytes(record_bytes, 4096)),
            Segment.create("board-0", board_bytes(record_bytes, self.shard.board_slots)),
            Segment.create("counters-0", counters_bytes(self.shard.counter_names)),
            Segment.create("pairs-0", pair_table_bytes(self.shard)),
        ]
        ring, board, counters, pairs = self._segments
        PairTableWriter(pairs.memory, self.shard, [PairRow(symbol, ALL_CHANNELS, True) for symbol in SYMBOLS])
        format_ring(ring.memory, record_bytes=record_bytes, slot_count=4096)
        format_board(board.memory, record_bytes=record_bytes, slot_count=self.shard.board_slots)
        format_counters(counters.memory, self.shard.counter_names)
        self.board = BoardReader(board.memory)
        self.counters = Counters(counters.memory, self.shard.counter_names)
        self.freshness = [Freshness(self.counters, index) for index in range(len(SYMBOLS))]
        self._news = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._warnings = warning_segment("public_feed-0")
        launch = FeedLaunch(
            warnings_fd=self._warnings.fd,
            shard=self.shard, url=url, ca_file=None, connection=ConnectionConfig(), rest_url=rest_url,
            pair_table_fd=pairs.fd, fallback=LIMITS,
            calls_per_s=LIMITS.calls_per_s, candle_history=0, conflate="none", spin=False, attempts_max=150,
            doorbells=[],
            settings=PublicSettings(symbols=SYMBOLS, heartbeat_silence_ns=NS_PER_S, fills_gaps=True),
            ring_fd=ring.fd, board_fd=board.fd, counters_fd=counters.fd, news_fd=self._news[1].fileno(),
            log=LogConfig(level="debug", format="json"),
        )  # fmt: skip
        fd = write_launch(launch)
        self._log = (folder / "feed.log").open("w")
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = fork_server_command(theirs.fileno(), [PUBLIC_FEED])
            self._fork_server = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        send_fork(self._asking, Fork(0, PUBLIC_FEED, (fd, *launch.descriptors)), self._log.fileno())
        os.close(fd)
        told, self._pidfd = receive_told(self._asking)
        assert isinstance(told, Forked)

    def sources(self) -> set[Source]:
        """The sources of all kinds and pairs."""
        return {pair.source(kind) for pair in self.freshness for kind in ("book", "ticker", "trades")}  # type: ignore[arg-type]

    def close(self) -> None:
        signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)
        assert isinstance(receive_told(self._asking)[0], Ended)
        os.close(self._pidfd)
        self._asking.close()
        self._fork_server.wait(PATIENCE_S)
        self._log.close()
        for end in self._news:
            end.close()


class Reader:
    """Looks at every book and ticker a hundred times a second, as a strategy's timer would."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._stopping = threading.Event()
        self.looks = 0
        # What was given out as fresh and was older than its limit; and what was seen of each source.
        self.mistakes: list[str] = []
        self.seen: set[tuple[str, str]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(READER_INTERVAL_S):
            for index, symbol in enumerate(SYMBOLS):
                self._look(index, symbol)
            self.looks += 1

    def _look(self, index: int, symbol: str) -> None:
        feed = self._feed
        record = feed.board.read(feed.shard.ticker_slot(index))
        if record is not None and feed.freshness[index].source("ticker") is not Source.NONE:
            self._judge("ticker", unpack_ticker(symbol, record).source, symbol, record, LIMITS.ticker_s)
        record = feed.board.read(index)
        if record is not None and BookTop(symbol, record).state == FeedState.LIVE:
            self._judge("book", "websocket", symbol, record, LIMITS.book_s)
        record = feed.board.read(feed.shard.rest_book_slot(index))
        if record is not None and feed.freshness[index].source("book") is Source.REST:
            assert not BookTop(symbol, record).is_verified
            self._judge("book", "rest", symbol, record, LIMITS.book_s)

    def _judge(self, kind: str, source: str, symbol: str, record: bytes, limit_s: float) -> None:
        self.seen.add((kind, source))
        known_at = received_at_of(record)
        if source == "websocket":
            known_at = self._feed.freshness[SYMBOLS.index(symbol)].known_at(kind, known_at)  # type: ignore[arg-type]
        age_ns = time.monotonic_ns() - known_at
        if age_ns > limit_s * NS_PER_S + READER_SLACK_NS:
            self.mistakes.append(f"{kind} of {symbol} from {source} is {age_ns / NS_PER_MS:.0f} ms old")

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(PATIENCE_S)


@pytest.fixture
def wire(engines: Engines, tmp_path: Path) -> Iterator[tuple[PublicRelay, Feed]]:
    process = engines.spawn("venue", "--port", 0, *VENUE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    relay = PublicRelay(ready["public"])
    feed = Feed(relay.url, ready["rest"], tmp_path)
    yield relay, feed
    feed.close()
    relay.close()


@pytest.mark.parametrize("failure", ["cut", "silent", "half", "refuse"])
def test_nothing_stale_is_seen_unmarked_and_the_way_back_is_its_own(wire: tuple[PublicRelay, Feed], failure: str):
    """Read a hundred times a second, over a failure of the public WebSocket: REST serves, marked, until it is back."""
    relay, feed = wire
    eventually(lambda: feed.sources() == {Source.WEBSOCKET}, "the WebSocket serves everything")
    reader = Reader(feed)
    eventually(lambda: reader.looks > 20, "it is read")
    relay.fail("refuse" if failure == "cut" else failure)
    eventually(lambda: feed.sources() == {Source.REST}, "REST serves everything")
    asked = feed.counters.get("rest_calls")
    eventually(lambda: feed.counters.get("rest_calls") > asked + 10, "REST serves on")
    relay.fail("cut" if failure == "cut" else "pass")
    eventually(lambda: feed.sources() == {Source.WEBSOCKET}, "the WebSocket serves everything again")
    eventually(lambda: feed.counters.get("source_switches") >= 2 * 3 * len(SYMBOLS), "every switch is counted")
    reader.stop()

    assert reader.mistakes == []
    assert reader.seen == {(kind, source) for kind in ("book", "ticker") for source in ("websocket", "rest")}
    print("failover ms", feed.counters.get("failover_ns_max") / NS_PER_MS)
