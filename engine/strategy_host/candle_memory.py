"""The candles that a strategy has received, by pair and interval; decoded when they are
read.
"""

from itertools import islice
from typing import Final

from engine.records import Candle, interval_begin_of, number_of, unpack_candle
from engine.units import WallNs

CANDLES_KEPT: Final = 720  # of a pair and interval: as many as Kraken's REST gives


class CandleMemory:
    """The last candles of each pair and interval: 720 at most, 300 kB of each."""

    def __init__(self) -> None:
        # Records by the begin of their interval, oldest first.
        self._kept: dict[str, dict[int, dict[WallNs, bytes]]] = {}

    def follow(self, symbol: str) -> None:
        """Start keeping candles of a pair."""
        self._kept[symbol] = {}

    def drop(self, symbol: str) -> None:
        """Forget a pair."""
        self._kept.pop(symbol, None)

    def keep(self, symbol: str, record: bytes) -> None:
        """Store a candle, or its newer version."""
        kept = self._kept[symbol].setdefault(number_of(record), {})
        begin = interval_begin_of(record)
        is_late = begin not in kept and bool(kept) and begin < next(reversed(kept))
        kept[begin] = record
        if is_late:  # from an outage, or REST: each in its place
            ordered = sorted(kept.items())
            kept.clear()
            kept.update(ordered)
        if len(kept) > CANDLES_KEPT:
            del kept[next(iter(kept))]

    def has(self, symbol: str, record: bytes) -> bool:
        """True if exactly this version of the candle is stored."""
        return self._kept[symbol].get(number_of(record), {}).get(interval_begin_of(record)) == record

    def go_on(self, symbol: str, record: bytes) -> None:
        """Store the newest candle of an interval after a gap. If it is later than the one
        stored last, the others are dropped, because the end of one was missed.
        """
        kept = self._kept[symbol].setdefault(number_of(record), {})
        if kept and interval_begin_of(record) != next(reversed(kept)):
            kept.clear()
        self.keep(symbol, record)

    def newest(self, symbol: str, interval_min: int | None) -> Candle | None:
        """The newest candle of an interval; of the shortest when that is None."""
        kept = self._kept[symbol]
        records = kept.get(min(kept, default=0) if interval_min is None else interval_min)
        return unpack_candle(symbol, records[next(reversed(records))]) if records else None

    def last(self, symbol: str, interval_min: int, count: int) -> list[Candle]:
        """The last candles of an interval, oldest first, at most `count`."""
        records = self._kept[symbol].get(interval_min, {})
        newest_first = islice(reversed(records.values()), max(0, count))
        return [unpack_candle(symbol, record) for record in newest_first][::-1]
