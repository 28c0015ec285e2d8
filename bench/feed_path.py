"""The book path as one object: session, books, ring and board, as in the feed's process but
without a socket.
"""

from collections.abc import Sequence

from engine.clock import Clock, SystemClock
from engine.kraken.public.session import PublicSession, PublicSettings
from engine.public_feed.feed import PublicFeed
from engine.ring import BoardReader, BoardWriter, Publisher, board_bytes, format_board, format_ring, ring_bytes
from engine.telemetry import new_counters
from engine.topology import Shard, market_record_bytes

RING_SLOTS = 65_536  # the default
PUBLISH_LEVELS = 10
BURST = 32  # frames of one socket read: the board is stored and sleepers are rung once in as many


class FeedPath:
    """Takes frames, leaves records."""

    def __init__(
        self,
        symbols: Sequence[str],
        memory: tuple[bytearray, bytearray] | None = None,
        candle_intervals_min: Sequence[int] = (),
        depth: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`clock`: the machine's when left out."""
        self._clock = clock = clock or SystemClock()
        shard = Shard(0, tuple(symbols), tuple(candle_intervals_min))
        record_bytes = market_record_bytes(PUBLISH_LEVELS)
        ring, board = memory or self.new_memory(symbols, candle_intervals_min)
        format_ring(ring, record_bytes=record_bytes, slot_count=RING_SLOTS)
        format_board(board, record_bytes=record_bytes, slot_count=shard.board_slots)
        self.publisher = Publisher(ring)
        self.session = PublicSession(PublicSettings(symbols=shard.symbols, depth=depth, publish_levels=PUBLISH_LEVELS))
        self.feed = PublicFeed(
            shard,
            self.session,
            publisher=self.publisher,
            board=BoardWriter(board),
            board_reader=BoardReader(board),
            counters=new_counters(shard.counter_names),
            clock=clock,
            refused=lambda symbol, advice: None,
        )
        self.feed.on_start()
        self.session.opened(clock.mono_ns())

    @staticmethod
    def new_memory(symbols: Sequence[str], candle_intervals_min: Sequence[int] = ()) -> tuple[bytearray, bytearray]:
        """Ring and board, to be used again and again: fresh pages would be measured too."""
        record_bytes = market_record_bytes(PUBLISH_LEVELS)
        slots = Shard(0, tuple(symbols), tuple(candle_intervals_min)).board_slots
        return bytearray(ring_bytes(record_bytes, RING_SLOTS)), bytearray(board_bytes(record_bytes, slots))

    def take(self, frames: Sequence[bytes]) -> None:
        """All frames, in bursts."""
        receive, on_events, on_burst_end = self.feed.receive, self.feed.on_events, self.feed.on_burst_end
        mono_ns = self._clock.mono_ns
        for start in range(0, len(frames), BURST):
            received_at = mono_ns()
            for frame in frames[start : start + BURST]:
                events = receive(frame, received_at)
                if events:
                    on_events(events)
            on_burst_end()

    @property
    def verified(self) -> int:
        """Messages with a right checksum so far."""
        return sum(feed.verified for feed in self.session.feeds.values())
