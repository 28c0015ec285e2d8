"""Replay: captured frames through the same session, books, ring and strategies, in one
process.

    capture ─► PublicSession ─► PublicFeed ─► ring, board ─► HostedStrategy ─► strategies

One line of a capture is one frame. The clock follows the capture: the receive times beside
it (`NAME.recv_ns.txt`) where there are any, otherwise Kraken's own timestamps. Each capture
is a connection of its own: its pairs are stale until its snapshots.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from engine.clock import ManualClock
from engine.config import Config
from engine.errors import CaptureError
from engine.kraken.public.session import PublicSession, PublicSettings
from engine.processes.run_view import RunFacts, RunMap, RunView, ShardMap
from engine.public_feed.feed import PublicFeed
from engine.ring import BoardReader, BoardWriter, Publisher, board_bytes, format_board, format_ring, ring_bytes
from engine.strategy.api import Strategy
from engine.strategy_host.followed_ring import MarketPort
from engine.strategy_host.host import StrategyHost
from engine.strategy_host.hosted_strategy import HostedStrategy, HostLimits
from engine.summary import build_summary
from engine.telemetry import Counters, Histogram, counters_bytes, format_counters
from engine.timestamps import wall_ns
from engine.topology import WIRE_HISTOGRAMS, market_record_bytes, plan_shards, strategy_counter_names
from engine.units import NS_PER_S

RING_SLOTS = 4096  # the strategies take every record before the next frame is fed
LINE_CHARS_SHOWN_MAX = 40
PAIR_CHANNELS = ("book", "trade", "ticker", "ohlc", "level3")
TIMED_BY = (b'"timestamp":"', b'"time_out":"')
TIMESTAMP_CHARS_MAX = 30


class _Glance(Struct):
    method: str | None = None
    channel: str | None = None
    data: Raw = Raw(b"[]")


class _Entry(Struct):
    symbol: str = ""


_glance = msgspec.json.Decoder(_Glance).decode
_entries = msgspec.json.Decoder(list[_Entry]).decode


class Capture:
    """One file of frames, and when each was received."""

    def __init__(self, path: Path) -> None:
        self.path = path
        clock_path = path.with_name(path.name.removesuffix(".jsonl") + ".recv_ns.txt")
        self._clock_path = clock_path if clock_path.is_file() else None
        # The pairs that it holds, in order of appearance.
        self.symbols = self._scan()

    def frames(self) -> Iterator[tuple[bytes, int]]:
        """Each frame with its receive time in ns; with Kraken's time, or 0, where that is
        not known.
        """
        received_at = self._receive_times()
        for frame in self._lines():
            yield frame, (next(received_at, 0) if received_at is not None else _kraken_time(frame))

    @property
    def began_at(self) -> int:
        """The first time of its frames, in nanoseconds since 1970; 0 if none has one."""
        return next((at for _, at in self.frames() if at), 0)

    def _lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            for line in file:
                frame = line.rstrip(b"\r\n")
                if frame:
                    yield frame

    def _receive_times(self) -> Iterator[int] | None:
        if self._clock_path is None:
            return None
        return iter([int(text) for text in self._clock_path.read_text().split()])

    def _scan(self) -> tuple[str, ...]:
        symbols: dict[str, None] = {}
        messages = 0
        first_bad: tuple[int, bytes] | None = None
        try:
            for number, frame in enumerate(self._lines(), start=1):
                try:
                    glance = _glance(frame)
                    if glance.channel in PAIR_CHANNELS:
                        symbols.update(dict.fromkeys(entry.symbol for entry in _entries(glance.data)))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    first_bad = first_bad or (number, frame)  # one bad frame is counted when it is replayed
                    continue
                messages += glance.channel is not None or glance.method is not None
            if self._clock_path is not None:
                self._receive_times()
        except OSError as error:
            raise CaptureError(f"{self.path} cannot be read: {(error.strerror or str(error)).lower()}") from None
        except ValueError:
            raise CaptureError(f"{self._clock_path} must hold one whole number of nanoseconds a line") from None
        if not messages:
            if first_bad is None:
                raise CaptureError(f"{self.path} holds no frame; a capture has one Kraken message a line")
            shown = first_bad[1][:LINE_CHARS_SHOWN_MAX].decode(errors="replace")
            raise CaptureError(
                f"{self.path} holds no Kraken message (line {first_bad[0]} is {shown!r}); a capture has one a line"
            )
        symbols.pop("", None)
        return tuple(symbols)


async def replay(
    captures: Sequence[Capture], symbols: Sequence[str], strategies: Sequence[tuple[str, Strategy]], config: Config
) -> dict[str, Any]:
    """Feed every frame, let the strategies take each record that follows; returns the
    summary.
    """
    began_ns = time.perf_counter_ns()
    run = _Replay(captures[0].began_at, symbols, strategies, config)
    await run.start()
    for capture in captures:
        await run.feed_capture(capture)
    await run.close()
    return run.summary((time.perf_counter_ns() - began_ns) / NS_PER_S)


class _Replay:
    """The feed and the strategies of one replay, on the captures' clock and over memory of
    this process alone.
    """

    def __init__(
        self, began_at: int, symbols: Sequence[str], strategies: Sequence[tuple[str, Strategy]], config: Config
    ) -> None:
        self._clock = ManualClock(mono_ns=1, wall_ns=began_at)
        self._stopwatch = _Stopwatch()
        (self._shard,) = plan_shards(symbols, 1, config.feed.candle_intervals_min)
        record_bytes = market_record_bytes(config.feed.publish_levels)
        self._ring = bytearray(ring_bytes(record_bytes, RING_SLOTS))
        format_ring(self._ring, record_bytes=record_bytes, slot_count=RING_SLOTS)
        self._board = bytearray(board_bytes(record_bytes, self._shard.board_slots))
        format_board(self._board, record_bytes=record_bytes, slot_count=self._shard.board_slots)
        self._counters_memory = _counters_memory(self._shard.counter_names)
        self._counters = Counters(self._counters_memory, self._shard.counter_names)
        # Depth None: the captures show how deep they are.
        settings = PublicSettings(symbols=self._shard.symbols, depth=None, publish_levels=config.feed.publish_levels)
        self._session = PublicSession(settings)
        self._feed = PublicFeed(
            self._shard,
            self._session,
            publisher=Publisher(self._ring),
            board=BoardWriter(self._board),
            board_reader=BoardReader(self._board),
            counters=self._counters,
            clock=self._clock,
            refused=lambda symbol, advice: None,  # a refusal in a capture was meant for its recorder
        )
        self._latency_memories = [bytearray(Histogram.bytes_needed) for _ in WIRE_HISTOGRAMS]
        for memory in self._latency_memories:
            Histogram.format(memory)
        self._names = [name for name, _ in strategies]
        host_names = strategy_counter_names(self._names, [self._shard.ring_name])
        self._host_memory = _counters_memory(host_names)
        hosted = self._hosted(strategies, config)
        self._host = StrategyHost(hosted, Counters(self._host_memory, host_names), self._clock)
        self._frames = 0

    def _hosted(self, strategies: Sequence[tuple[str, Strategy]], config: Config) -> list[HostedStrategy]:
        port = MarketPort(self._shard, self._ring, self._board)
        latency = dict(zip(WIRE_HISTOGRAMS, map(Histogram, self._latency_memories), strict=True))
        limits = HostLimits.of(config.engine)
        return [
            HostedStrategy(
                strategy,
                name,
                symbols=self._shard.symbols,
                ports=[port],
                clock=self._clock,
                latency=latency,
                latency_ns=self._stopwatch.since_fed_ns,
                limits=limits,
                why_no_trading="a replay has no venue to send orders to",
            )
            for name, strategy in strategies
        ]

    async def start(self) -> None:
        """Start the strategies, then the feed and its session."""
        await self._host.on_start()
        self._feed.on_start()
        self._session.opened(self._clock.mono_ns())

    async def feed_capture(self, capture: Capture) -> None:
        """Feed the frames of one capture; the clock advances as it did while recording."""
        clock, feed, session, stopwatch = self._clock, self._feed, self._session, self._stopwatch
        held = [symbol for symbol in capture.symbols if symbol in session.feeds]
        feed.begin_recording(held, capture.path.name)
        offset_ns: int | None = None
        for frame, captured_at in capture.frames():
            if captured_at:
                if offset_ns is None:
                    offset_ns = clock.mono_ns() - captured_at
                    clock.set_wall(captured_at)
                clock.advance(max(0, captured_at + offset_ns - clock.mono_ns()))
            self._frames += 1
            stopwatch.fed_at_ns = time.perf_counter_ns()
            events = feed.receive(frame, clock.mono_ns())
            while events:
                feed.on_events(events)
                events = session.tell_pairs(clock.mono_ns())
            feed.on_burst_end()
            session.to_send()  # requests are discarded: there is no connection
            await _drain(self._host)

    async def close(self) -> None:
        """Close the feed, then stop the strategies."""
        self._feed.on_close()
        await self._host.on_close()
        self._counters.set("frames", self._frames)

    def summary(self, seconds: float) -> dict[str, Any]:
        """The summary of a replay that took `seconds`."""
        # The map has the memories' indices in this list in place of descriptors.
        memories = [self._ring, self._board, self._counters_memory, self._host_memory, *self._latency_memories]
        mapped = RunMap(
            [ShardMap(self._shard, ring=0, board=1, counters=2)],
            self._names,
            host_counters=3,
            latency=list(range(4, len(memories))),
        )
        facts = RunFacts(seconds, restarts={self._shard.actor_name: 0}, exit_reason="clean")
        return build_summary(RunView(mapped, memories.__getitem__), facts, self._clock.mono_ns())


def _counters_memory(names: Sequence[str]) -> bytearray:
    memory = bytearray(counters_bytes(names))
    format_counters(memory, names)
    return memory


class _Stopwatch:
    """Measures real time since a frame was fed; everything else uses the capture's clock."""

    def __init__(self) -> None:
        self.fed_at_ns = 0

    def since_fed_ns(self, received_at: int) -> int:
        return time.perf_counter_ns() - self.fed_at_ns


async def _drain(host: StrategyHost) -> None:
    """Let every strategy take every record, and wait for its async callbacks."""
    while True:
        work = host.do_work()
        waiting = [strategy.waiting for strategy in host.strategies if strategy.waiting is not None]
        if waiting:
            for task in waiting:
                await task
        elif not work:
            return


def _kraken_time(frame: bytes) -> int:
    if b'"ohlc"' in frame[:40]:
        return 0  # its rows carry the end of their interval, which is in the future
    for key in TIMED_BY:
        start = frame.rfind(key)
        if start >= 0:
            text = frame[start + len(key) : start + len(key) + TIMESTAMP_CHARS_MAX]
            return wall_ns(text.partition(b'"')[0].decode(errors="replace"))
    return 0
