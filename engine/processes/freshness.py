"""How old the market data of a pair are, by evidence, for whoever reads a feed's boards.

What the WebSocket serves is as old as its connection's last frame, heartbeats included: a
quiet pair's last ticker may be an hour old and still be the truth. What it no longer serves
is as old as its record. A feed that hangs or has died writes neither, so its data grow old
by themselves.
"""

from typing import Literal

from engine.records import Source
from engine.telemetry import Counters
from engine.topology import SOURCE_COUNTERS, Channel, pair_counter
from engine.units import MonoNs

DataKind = Literal["book", "ticker", "trades"]


class Freshness:
    """The evidence about one pair, in the counters of its public feed."""

    def __init__(self, counters: Counters, pair_index: int) -> None:
        self._values = counters.values
        self._heard = counters.index("heard_ns")
        self._confirmed = counters.index(pair_counter(pair_index, "confirmed"))
        # By kind: the index of the counter that says where the data come from.
        self._sources = {
            name.removesuffix("_source"): counters.index(pair_counter(pair_index, name)) for name in SOURCE_COUNTERS
        }

    @property
    def confirmed(self) -> Channel:
        """The channels that Kraken has confirmed on the present connection."""
        return Channel(self._values[self._confirmed])

    def source(self, kind: DataKind) -> Source:
        """Where the newest data of this kind come from."""
        return Source(self._values[self._sources[kind]])

    def known_at(self, kind: DataKind, received_at: MonoNs) -> MonoNs:
        """The last time at which a record of the WebSocket, the newest of its kind, is
        certain to have been true. Read the record first.
        """
        if self._values[self._sources[kind]] != Source.WEBSOCKET:
            return received_at
        return max(received_at, MonoNs(self._values[self._heard]))
