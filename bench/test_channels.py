"""Every channel beside the book: frame bytes → record published in the ring, without a socket.

The baseline is msgspec decoding the same frames into a typed Struct of the fields that the
engine reads, numbers as floats, in the same run and in turn, a round of 100 messages each;
measured in CPU time, for a round is as short as other processes' turns are. The frames are
genuine rows; only ids, counts and sequence numbers are made to grow, since a row that
repeats another is not published. Target: 100 messages in less than 1 ms, so less than 10 µs
a message.
"""

import logging
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import msgspec
import pytest
import structlog
from feed_path import BURST, FeedPath
from rig import CAPTURES

from engine.clock import SystemClock
from engine.kraken.private.session import PrivateSession, PrivateSettings
from engine.orders.rings.account_ring import ACCOUNT_RECORD_BYTES
from engine.private_feed.feed import PrivateFeed
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.telemetry import new_counters
from engine.topology import PRIVATE_FEED_COUNTERS

ROUND_FRAMES = 100
ROUNDS = 300
FRAMES = ROUND_FRAMES * ROUNDS
ACCOUNT_SLOTS = 1_024  # more than a round publishes
PAIRS = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":['
    b'{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,'
    b'"qty_increment":0.00000001,"price_precision":1,"cost_precision":5,"cost_min":0.50,"price_increment":0.1,'
    b'"qty_min":0.00005000},'
    b'{"symbol":"ETH/USD","base":"ETH","quote":"USD","status":"online","qty_precision":8,'
    b'"qty_increment":0.00000001,"price_precision":2,"cost_precision":5,"cost_min":0.50,"price_increment":0.01,'
    b'"qty_min":0.00200000}]}}'
)

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

FIELDS: dict[str, list[tuple[str, type]]] = {
    "ticker": [
        ("symbol", str),
        *((name, float) for name in ("bid", "bid_qty", "ask", "ask_qty", "last", "volume")),
        *((name, float) for name in ("vwap", "low", "high", "change", "change_pct")),
        ("timestamp", str),
    ],
    "trade": [
        *((name, str) for name in ("symbol", "side", "ord_type", "timestamp")),
        ("price", float), ("qty", float), ("trade_id", int),
    ],
    "executions": [
        *((name, str) for name in ("order_id", "exec_type", "order_status", "timestamp", "reason", "cancel_reason")),
        *((name, float) for name in ("cum_qty", "cum_cost", "fee_usd_equiv", "avg_price")),
    ],
    "balances": [
        *((name, str) for name in ("ledger_id", "ref_id", "timestamp", "type", "asset", "wallet_type", "wallet_id")),
        *((name, float) for name in ("amount", "fee", "balance")),
    ],
}  # fmt: skip
FIELDS["candles"] = FIELDS["trade"]  # which make them
CANDLES_MIN = (1, 5, 60)


def decoder(channel: str) -> Callable[[bytes], object]:
    """The baseline of a channel."""
    row = msgspec.defstruct("Row", FIELDS[channel], gc=False)
    message = msgspec.defstruct("Message", [("channel", str), ("type", str), ("data", list[row])], gc=False)  # type: ignore[valid-type]
    return msgspec.json.Decoder(message).decode


def genuine(path: str, head: bytes, *needles: bytes) -> list[bytes]:
    """The updates of a capture that begin so and contain all of these."""
    lines = (CAPTURES / path).read_bytes().splitlines()
    return [line for line in lines if line.startswith(head) and all(needle in line for needle in needles)]


def grown(frames: Sequence[bytes], number: Callable[[int], tuple[bytes, bytes]]) -> list[bytes]:
    """FRAMES frames, the given ones in turn; `number(index)` is what to replace, and by what."""
    return [frames[index % len(frames)].replace(*number(index)) for index in range(FRAMES)]


def market_frames(channel: str) -> list[bytes]:
    """FRAMES updates of a public channel, each of which is published."""
    if channel == "ticker":
        head = b'{"channel":"ticker","type":"update"'
        frames = [
            frame for name in (b"BTC/USD", b"ETH/USD") for frame in genuine("ticker.jsonl", head, name, b"timestamp")
        ]
        return grown(frames, lambda index: (b"", b""))
    (frame,) = genuine("trade.jsonl", b'{"channel":"trade","type":"update"', b'"BTC/USD"', b"109116693")
    return grown([frame], lambda index: (b"109116693", b"%d" % (109116693 + index)))


def account_frames(channel: str) -> list[bytes]:
    """FRAMES updates of a private channel, numbered from 2 on."""
    path, sequence = {"executions": ("executions_singles", b"143"), "balances": ("balances", b"9")}[channel]
    end = b'"sequence":%b}' % sequence
    (frame,) = genuine(f"private/{path}.jsonl", b'{"channel":"%b","type":"update"' % channel.encode(), end)
    return grown([frame], lambda index: (end, b'"sequence":%d}' % (2 + index)))


class AccountPath:
    """Session, private feed and account ring, without the order router."""

    def __init__(self) -> None:
        ring = bytearray(ring_bytes(ACCOUNT_RECORD_BYTES, ACCOUNT_SLOTS, gate_count=1))
        format_ring(ring, record_bytes=ACCOUNT_RECORD_BYTES, slot_count=ACCOUNT_SLOTS, gate_count=1)
        self._reader = GatedSubscriber(ring)
        clock = SystemClock()
        self.session = PrivateSession(PrivateSettings())
        self.publisher = Publisher(ring)
        self.feed = PrivateFeed(
            self.session,
            publisher=self.publisher,
            counters=new_counters(PRIVATE_FEED_COUNTERS),
            clock=clock,
            ask_token=_no_token,
        )
        self.session.opened(clock.mono_ns())
        self.session.authorise("WW91ciBhdXRoZW50aWNhdGlvbiB0b2tlbiBnb2VzIGhlcmUu", clock.mono_ns())
        self.session.to_send()
        for channel in ("executions", "balances"):
            self.take([f'{{"channel":"{channel}","type":"snapshot","data":[],"sequence":1}}'.encode()])

    def take(self, frames: Sequence[bytes]) -> None:
        """All frames, in bursts."""
        for start in range(0, len(frames), BURST):
            received_at = SystemClock().mono_ns()
            for frame in frames[start : start + BURST]:
                if events := self.feed.receive(frame, received_at):
                    self.feed.on_events(events)
            self.feed.on_burst_end()

    def drain(self) -> None:
        """Take what was published, as the order router does; otherwise the ring is full."""
        while self._reader.poll_many(ACCOUNT_SLOTS):
            pass


async def _no_token() -> str:
    raise AssertionError


def new_market_path(candle_intervals_min: Sequence[int] = ()) -> FeedPath:
    """A public feed that knows its pairs."""
    path = FeedPath(("BTC/USD", "ETH/USD"), candle_intervals_min=candle_intervals_min)
    path.take([PAIRS])
    return path


@pytest.mark.parametrize("channel", ["ticker", "trade", "candles", "executions", "balances"])
def test_channel(benchmark: Any, channel: str) -> None:
    """One core, no socket: decode, judge, pack, publish; the board once a burst."""
    is_public = channel in ("ticker", "trade", "candles")
    frames = market_frames(channel) if is_public else account_frames(channel)
    path = new_market_path(CANDLES_MIN if channel == "candles" else ()) if is_public else AccountPath()
    decode = decoder(channel)
    before = path.publisher.cursor
    path_s: list[float] = []
    decode_s: list[float] = []

    def both() -> None:
        for start in range(0, FRAMES, ROUND_FRAMES):
            part = frames[start : start + ROUND_FRAMES]
            began = time.thread_time()
            path.take(part)
            taken = time.thread_time()
            for frame in part:
                decode(frame)
            decode_s.append(time.thread_time() - taken)
            path_s.append(taken - began)
            if not is_public:
                path.drain()

    benchmark.pedantic(both, rounds=1)
    bursts = ROUNDS * -(-ROUND_FRAMES // BURST)
    candles = bursts * len(CANDLES_MIN) if channel == "candles" else 0  # each interval's once a burst
    assert path.publisher.cursor - before == len(frames) + candles
    path_us, decode_us = (median(seconds) / ROUND_FRAMES * 1e6 for seconds in (path_s, decode_s))
    benchmark.extra_info.update(
        path_us=round(path_us, 2),
        decode_us=round(decode_us, 3),
        ratio=round(median(p / d for p, d in zip(path_s, decode_s, strict=True)), 1),
        us_for_100_messages=round(100 * path_us),
        us_for_100_messages_target=1_000,
    )
