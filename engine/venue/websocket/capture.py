"""Captures of genuine frames, one raw message a line, read into streams that can be played
back.

The messages tell each stream: channel and symbol by the data, the depth of a book by the
capture's own acks (or, without them, by the size of its snapshot). A stream begins with its
first snapshot, if it has any. The receive times are read from the `.recv_ns.txt` file
beside the capture, one number a line; without that file they are the times in the messages.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from engine.errors import CaptureError
from engine.units import NS_PER_S, NS_PER_US, PriceTicks, QtyLots
from engine.venue.market.book_feed import DEPTHS
from engine.venue.market.pairs import PAIR_OF_SYMBOL, PairSpec
from engine.venue.wire.stream import StreamKey
from engine.venue.wire.wire import text_frame

CHANNELS: Final = frozenset({"book", "trade", "ticker", "ohlc", "instrument"})  # that can be played back
CHUNK_FRAMES: Final = 256  # in one write at full speed: some 56 kB of book updates

_NUMBERS: Final = re.compile(
    r'"(?:price|bid|open)":(?:\d+)(?:\.(\d+))?,"(?:qty|bid_qty)":\d+(?:\.(\d+))?'  # book, trade, ticker
    r'|"open":\d+(?:\.(\d+))?.*?"volume":\d+(?:\.(\d+))?'  # ohlc
)


class CapturedFrame(NamedTuple):
    """One genuine data frame. Tuples compare in the order in which frames are played."""

    at_ns: int  # after the first line of its file
    order: int  # among all frames read, so that no two are equal
    key: StreamKey
    frame: bytes  # with its WebSocket header


class MergedStreams:
    """Several streams merged in the capture's order, ready to be sent."""

    def __init__(self, frames: list[CapturedFrame]) -> None:
        self.frames = frames
        self._chunks: dict[int, bytes] = {}  # joined frames by the index of the first; made when first needed

    def chunk(self, index: int) -> tuple[bytes, int]:
        """The frames from `index` to the end of its chunk as one piece, and the index after
        them.
        """
        end = min(index - index % CHUNK_FRAMES + CHUNK_FRAMES, len(self.frames))
        if index % CHUNK_FRAMES:
            return b"".join([frame.frame for frame in self.frames[index:end]]), end
        chunk = self._chunks.get(index)
        if chunk is None:
            chunk = self._chunks[index] = b"".join([frame.frame for frame in self.frames[index:end]])
        return chunk, end

    def index_of(self, frame: CapturedFrame) -> int:
        """The index of this frame, or of the first after it."""
        return bisect_left(self.frames, frame)


class Capture:
    """All streams of the captures."""

    def __init__(self, streams: dict[StreamKey, list[CapturedFrame]]) -> None:
        self.streams = streams
        self._merged: dict[frozenset[StreamKey], MergedStreams] = {}  # made so far; clients ask for few sets of streams

    def merged(self, keys: Iterable[StreamKey]) -> MergedStreams:
        """These streams, merged."""
        wanted = frozenset(keys)
        if wanted not in self._merged:
            while len(self._merged) >= 8:
                del self._merged[next(iter(self._merged))]
            self._merged[wanted] = MergedStreams(sorted(frame for key in wanted for frame in self.streams[key]))
        return self._merged[wanted]

    def pairs(self) -> tuple[PairSpec, ...]:
        """The pairs of the capture, with the precision of their genuine number text."""
        symbols = dict.fromkeys(key.symbol for key in self.streams if key.symbol)
        return tuple(self._pair(symbol) for symbol in symbols)

    def _pair(self, symbol: str) -> PairSpec:
        decimals = next(iter(self._decimals(symbol)), (8, 8))
        known = PAIR_OF_SYMBOL.get(symbol)
        if known is not None and (known.price_decimals, known.qty_decimals) == decimals:
            return known
        return PairSpec(
            symbol=symbol,
            price_decimals=decimals[0],
            qty_decimals=decimals[1],
            cost_decimals=5,
            qty_min="0.00005000",
            cost_min="0.50",
            mid_ticks=PriceTicks(1),
            gap_ticks=1,
            levels_target=1,
            typical_lots=QtyLots(1),
            weight=0,
        )

    def _decimals(self, symbol: str) -> Iterator[tuple[int, int]]:
        for key, frames in self.streams.items():
            if key.symbol == symbol:
                for frame in frames:
                    if match := _NUMBERS.search(frame.frame.decode(errors="replace")):
                        groups = match.groups()
                        price, qty = groups[:2] if groups[2] is None and groups[3] is None else groups[2:]
                        yield len(price or ""), len(qty or "")


def read_captures(paths: Iterable[str]) -> Capture:
    """Read files of raw messages. Raises CaptureError, in one sentence, if one of them is
    something else.
    """
    streams: dict[StreamKey, list[CapturedFrame]] = {}
    file_of_key: dict[StreamKey, str] = {}
    order = 0
    for path in paths:
        for key, frames in _read(Path(path), order).items():
            if key in file_of_key:
                raise CaptureError(
                    f"--capture {path}: holds {_spoken(key)}, as does {file_of_key[key]}: serve one of the two"
                )
            file_of_key[key] = path
            streams[key] = frames
            order = max(order, frames[-1].order + 1)
    return Capture(streams)


def _read(path: Path, order: int) -> dict[StreamKey, list[CapturedFrame]]:
    lines = _lines(path)
    at_ns = _receive_times(path, len(lines))
    depth_of_symbol: dict[str, int] = {}  # by the last ack
    streams: dict[StreamKey, list[CapturedFrame]] = {}
    begun: set[StreamKey] = set()  # streams whose first snapshot has been seen
    last_at = first_at = 0
    for number, line in enumerate(lines, start=1):
        message = _message(path, number, line)
        at = at_ns[number - 1] if at_ns else (_told_time(message) or last_at)
        first_at = first_at or at
        last_at = max(last_at, at)  # a snapshot has the time of the last change, which may be earlier
        _note_depth(message, depth_of_symbol)
        key = _key(message, depth_of_symbol)
        if key is None:
            continue
        if message.get("type") == "snapshot" and key not in begun:
            begun.add(key)
            streams[key] = []  # earlier frames are of a subscription whose snapshot is not in the capture
        streams.setdefault(key, []).append(CapturedFrame(last_at - first_at, order + number, key, text_frame(line)))
    served = {key: frames for key, frames in streams.items() if key in begun or key.channel == "trade"}
    if not served:
        raise CaptureError(f"--capture {path}: holds no Kraken market data that begins with a snapshot")
    return served


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CaptureError(f"--capture {path}: there is no such file") from None
    except OSError as error:
        raise CaptureError(f"--capture {path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CaptureError(f"--capture {path}, line {line}: is not text in UTF-8") from None
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def _message(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise CaptureError(f"--capture {path}, line {number}: is not JSON ({error})") from None
    if not isinstance(message, dict) or not ("channel" in message or "method" in message or "error" in message):
        raise CaptureError(f"--capture {path}, line {number}: is not a Kraken message, it has no channel and no method")
    return message


def _receive_times(path: Path, line_count: int) -> list[int]:
    """The receive time of each line; empty if the capture has none."""
    beside = path.with_name(path.name.removesuffix(".jsonl") + ".recv_ns.txt")
    if not beside.exists():
        return []
    try:
        at_ns = [int(line) for line in beside.read_text().split()]
    except ValueError as error:
        raise CaptureError(f"--capture {beside}: one whole number a line is expected ({error})") from None
    if len(at_ns) != line_count:
        raise CaptureError(f"--capture {beside}: has {len(at_ns)} lines where its capture has {line_count}")
    return at_ns


def _told_time(message: dict[str, Any]) -> int:
    """The time in a message, in ns; 0 if it has none."""
    row = message.get("data")
    if isinstance(row, list):
        row = row[-1] if row else None
    told = message.get("timestamp") or (row.get("timestamp") if isinstance(row, dict) else message.get("time_out"))
    if not isinstance(told, str):
        return 0
    try:
        moment = datetime.fromisoformat(told)
    except ValueError:
        return 0
    return int(moment.timestamp()) * NS_PER_S + moment.microsecond * NS_PER_US


def _note_depth(message: dict[str, Any], depth_of_symbol: dict[str, int]) -> None:
    result = message.get("result")
    if message.get("method") == "subscribe" and isinstance(result, dict) and result.get("channel") == "book":
        symbol, depth = result.get("symbol"), result.get("depth", 10)
        if isinstance(symbol, str) and depth in DEPTHS:
            depth_of_symbol[symbol] = depth


def _key(message: dict[str, Any], depth_of_symbol: dict[str, int]) -> StreamKey | None:
    """The stream that a message belongs to; None if it is not market data."""
    channel, rows = message.get("channel"), message.get("data")
    if channel not in CHANNELS or "method" in message:
        return None
    if channel == "instrument":
        return StreamKey("instrument", "")
    row = rows[0] if isinstance(rows, list) and rows else None
    symbol = row.get("symbol") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(symbol, str):
        return None
    if channel == "book":
        if symbol not in depth_of_symbol:
            levels = max(len(row.get("bids") or ()), len(row.get("asks") or ()))
            depth_of_symbol[symbol] = next((depth for depth in DEPTHS if depth >= levels), DEPTHS[-1])
        return StreamKey("book", symbol, depth_of_symbol[symbol])
    if channel == "ohlc":
        interval = row.get("interval")
        return StreamKey("ohlc", symbol, interval if isinstance(interval, int) else 1)
    return StreamKey(str(channel), symbol)


def _spoken(key: StreamKey) -> str:
    parameter = f" ({key.parameter})" if key.parameter else ""
    return f"the {key.channel} of {key.symbol}{parameter}" if key.symbol else f"the {key.channel} channel"
