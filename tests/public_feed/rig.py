"""A feed and a strategy host side by side in one process: real rings on plain memory, real frames, a clock by hand."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.clock import ManualClock
from engine.kraken.public.session import PublicSession, PublicSettings
from engine.processes.pair_table import PairTable, PairTableWriter, pair_table_bytes
from engine.public_feed.feed import PublicFeed
from engine.public_feed.sources import Sources, SourceSettings
from engine.ring import BoardReader, BoardWriter, Publisher, board_bytes, format_board, format_ring, ring_bytes
from engine.strategy.api import Strategy
from engine.strategy_host.followed_pairs import FollowedPairs, FollowedShard
from engine.strategy_host.followed_ring import MarketPort
from engine.strategy_host.hosted_strategy import HostedStrategy, HostLimits, wire_latency
from engine.telemetry import new_counters
from engine.topology import ALL_CHANNELS, Shard, market_record_bytes
from tests.kraken.wire import acks

CAPTURE = (
    Path(__file__).parents[1]
    / "data"
    / "kraken"
    / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
)  # fmt: skip
SYMBOLS = ("BTC/USD", "ETH/USD")


def frames() -> list[bytes]:
    """The capture's frames."""
    return CAPTURE.read_bytes().splitlines()


class Market:
    """One shard: its memory, and a feed that writes it."""

    def __init__(
        self,
        *,
        slot_count: int = 1024,
        conflate: Any = "none",
        symbols: Sequence[str] = SYMBOLS,
        pair_patience_ns: int = 0,
        writers: tuple[Any, Any] = (Publisher, BoardWriter),
        sources: SourceSettings | None = None,
        is_connected: bool = True,
        added_max: int = 0,
        candles: Sequence[int] = (),
        candle_history: int = 0,
        wall_ns: int = 0,
        **settings: Any,
    ) -> None:
        self._writers = writers
        self.shard = Shard(0, tuple(symbols), tuple(candles), added_max)
        self._candle_history = candle_history
        record_bytes = market_record_bytes(10)
        self.ring = bytearray(ring_bytes(record_bytes, slot_count))
        format_ring(self.ring, record_bytes=record_bytes, slot_count=slot_count, is_zeroed=True)
        self.board = bytearray(board_bytes(record_bytes, self.shard.board_slots))
        format_board(self.board, record_bytes=record_bytes, slot_count=self.shard.board_slots, is_zeroed=True)
        self.counters = new_counters(self.shard.counter_names)
        # Where pairs can be added: the shard's table, and who follows what.
        pairs = bytearray(pair_table_bytes(self.shard))
        writer = PairTableWriter(pairs, self.shard, self.shard.first_rows)
        self.table = PairTable(pairs) if added_max else None
        self.followed = (
            FollowedPairs([FollowedShard(self.shard, writer, BoardReader(self.board))], ALL_CHANNELS)
            if added_max
            else None
        )
        self.clock = ManualClock(mono_ns=1, wall_ns=wall_ns)
        self.refusals: list[tuple[str, str]] = []
        self.pair_patience_ns = pair_patience_ns
        self._source_settings = sources
        self._is_connected = is_connected
        self._settings = {"depth": None} | settings
        self.start_feed(conflate)

    def start_feed(self, conflate: Any = "none") -> None:
        """A feed's life begins: its first, or a successor's."""
        self.publisher = self._writers[0](self.ring)
        self.session = PublicSession(PublicSettings(symbols=self.shard.symbols, **self._settings))
        self.sources = (
            Sources(self.session, self._source_settings, self.clock.mono_ns()) if self._source_settings else None
        )
        self.feed = PublicFeed(
            self.shard,
            self.session,
            publisher=self.publisher,
            board=self._writers[1](self.board),
            board_reader=BoardReader(self.board),
            counters=self.counters,
            clock=self.clock,
            refused=lambda symbol, advice: self.refusals.append((symbol, advice)),
            conflate=conflate,
            pair_patience_ns=self.pair_patience_ns,
            sources=self.sources,
            candle_history=self._candle_history,
        )
        self.look_at_table()
        self.feed.on_start()
        if self._is_connected:
            self.session.opened(self.clock.mono_ns())

    @property
    def port(self) -> MarketPort:
        return MarketPort(self.shard, self.ring, self.board, self.counters, self.table)

    def look_at_table(self) -> None:
        """What the feed's process does ten times a second."""
        if self.table is not None:
            self.feed.follow(self.table.rows)
            self.feed.on_events(self.session.poll(self.clock.mono_ns()))

    def obey(self) -> None:
        """Kraken acknowledges all that it was asked."""
        for request in self.session.to_send():
            self.take(*acks(request))

    def take(self, *frames: bytes, end_burst: bool = True) -> None:
        """One burst of frames, each a microsecond after the last."""
        for frame in frames:
            self.clock.advance(1_000)
            events = self.feed.receive(frame, self.clock.mono_ns())
            if events:
                self.feed.on_events(events)
        if end_burst:
            self.feed.on_burst_end()

    def host(self, strategy: Strategy, **options: Any) -> HostedStrategy:
        """The strategy, hosted on this market."""
        symbols = options.pop("symbols", self.shard.symbols)
        limits = HostLimits(**options.pop("limits", {}))
        hosted = HostedStrategy(
            strategy,
            type(strategy).__name__,
            symbols=symbols,
            ports=[self.port],
            clock=self.clock,
            latency=wire_latency(),
            limits=limits,
            followed=self.followed,
            **{"first_sequence": 1} | options,
        )
        strategy.context = hosted.context
        return hosted


def drain(hosted: HostedStrategy) -> None:
    """Let the strategy take everything."""
    while hosted.do_work():
        pass


def trade(
    symbol: str, trade_id: int, price: str = "63500.1", qty: str = "0.00100000", at: str = "23:00:04.000677"
) -> bytes:
    """A trade frame in Kraken's words."""
    return (
        f'{{"channel":"trade","type":"update","data":[{{"symbol":"{symbol}","side":"buy","price":{price},"qty":{qty},'
        f'"ord_type":"market","trade_id":{trade_id},"timestamp":"2026-07-07T{at}Z"}}]}}'
    ).encode()


def tick(symbol: str, last: float) -> bytes:
    """A ticker frame in Kraken's words."""
    return (
        f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{symbol}","bid":1.0,"bid_qty":1.0,"ask":2.0,'
        f'"ask_qty":1.0,"last":{last},"volume":1.0,"vwap":1.0,"low":1.0,"high":1.0,"change":0.0,"change_pct":0.0}}]}}'
    ).encode()


def instrument(kind: str = "update", symbol: str = "BTC/USD", **changes: Any) -> bytes:
    """The instrument channel's word on one pair."""
    pair = {"symbol": symbol, "base": "BTC", "quote": "USD", "status": "online", "qty_precision": 8,
            "price_precision": 1, "cost_precision": 5, "cost_min": 0.5, "qty_min": 0.0001, **changes}  # fmt: skip
    return json.dumps({"channel": "instrument", "type": kind, "data": {"assets": [], "pairs": [pair]}}).encode()


def flip_checksum(frame: bytes) -> bytes:
    """The same frame with a checksum that cannot be right."""
    message = json.loads(frame, parse_float=str)
    found = str(message["data"][0]["checksum"]).encode()
    return frame.replace(b'"checksum":' + found, b'"checksum":1')
