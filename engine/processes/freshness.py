"""How old the market data of a pair are, by evidence, for whoever reads a feed's boards.

What the WebSocket serves is as old as its connection's last frame, heartbeats included: a
quiet pair's last ticker may be an hour old and still be the truth. What it no longer serves
is as old as its record. A feed that hangs or has died writes neither, so its data grow old
by themselves.
"""

from collections.abc import Mapping
from typing import Literal

from engine.records import Source
from engine.telemetry import Counters
from engine.topology import SOURCE_COUNTERS, Shard
from engine.units import MonoNs

DataKind = Literal["book", "ticker", "trades"]


class Freshness:
    """The evidence of one public feed."""

    def __init__(self, shard: Shard, counters: Counters) -> None:
        self._values = counters.values
        self._heard = counters.index("heard_ns")
        # By kind and symbol: the index of the counter that says where the data come from.
        self._sources: Mapping[tuple[str, str], int] = {
            (name.removesuffix("_source"), symbol): counters.index(f"{symbol} {name}")
            for name in SOURCE_COUNTERS
            for symbol in shard.symbols
        }

    def source(self, kind: DataKind, symbol: str) -> Source:
        """Where the newest data of this kind come from; KeyError for another feed's pair."""
        return Source(self._values[self._sources[kind, symbol]])

    def known_at(self, kind: DataKind, symbol: str, received_at: MonoNs) -> MonoNs:
        """Until when a record of the WebSocket, the newest of its kind, is certain to have
        been the truth.

        Read the record first. KeyError for a pair of another feed.
        """
        if self._values[self._sources[kind, symbol]] != Source.WEBSOCKET:
            return received_at
        return max(received_at, MonoNs(self._values[self._heard]))
