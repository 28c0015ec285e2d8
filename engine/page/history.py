"""What the page draws over time: samples of the last quarter of an hour, and no more.

    AttachedEngine ─ once a second ─► Sampler.sample ─► History.add ─► rows_since, for the browser

Pure but for the attached engine's memory. All bounds are here.
"""

from array import array
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from engine.attach.engine import AttachedEngine
from engine.records import BookTop
from engine.telemetry import Histogram
from engine.topology import PairRow
from engine.units import NS_PER_US

SAMPLE_S: Final = 1.0
SAMPLES_MAX: Final = 900  # a quarter of an hour
PAIRS_MAX: Final = 20  # of which prices are kept; further ones can be chosen by `symbols` of the configuration
HEAT_LEVELS_MAX: Final = 25  # of each side of a book
HEAT_SAMPLES_MAX: Final = 120  # books are larger than prices: two minutes

Side = tuple[tuple[float, float], ...]
"""Prices and quantities, best first."""
Books = Mapping[str, tuple[Side, Side]]
"""Bids and asks by pair."""


class Durations(NamedTuple):
    """What was measured of one latency since the sample before."""

    p50_us: float | None
    p99_us: float | None
    counts: "array[int]"
    """By bucket between two edges."""


class Sample(Struct, frozen=True):
    """One moment. Numbers are for drawing: exact ones are in the status."""

    number: int
    at_s: float
    """Since 1970."""
    quotes: Mapping[str, tuple[float | None, float | None]]
    """Best bid and ask by pair."""
    profit: Mapping[str, float]
    """After fees, by currency."""
    equity: float | None
    """The account's worth; None while nobody looks, or it is not known."""
    latency: Mapping[str, "Durations"]
    cpu_percent: Mapping[str, float]


NOTHING: Final = Durations(None, None, array("L"))


class History:
    """The last samples."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        # The books of the newest samples: they are much larger than the rest.
        self._books: deque[Books] = deque(maxlen=HEAT_SAMPLES_MAX)

    def add(self, sample: Sample, books: Books) -> None:
        """Keep it, in place of the oldest."""
        self._samples.append(sample)
        self._books.append(books)

    def rows_since(self, number: int, symbol: str, hop: str) -> list[dict[str, Any]]:
        """The samples after this one, as the page wants them for one pair and latency."""
        without_book = len(self._samples) - len(self._books)
        return [
            _row(sample, symbol, hop, self._books[place - without_book] if place >= without_book else {})
            for place, sample in enumerate(self._samples)
            if sample.number > number
        ]


def _row(sample: Sample, symbol: str, hop: str, books: Books) -> dict[str, Any]:
    bid, ask = sample.quotes.get(symbol, (None, None))
    p50, p99, counts = sample.latency.get(hop, NOTHING)
    return {
        "n": sample.number,
        "t": round(sample.at_s, 1),
        "bid": bid,
        "ask": ask,
        "book": books.get(symbol),
        "profit": sample.profit,
        "equity": sample.equity,
        "p50": p50,
        "p99": p99,
        "counts": counts.tolist(),
        "cpu": sample.cpu_percent,
    }


class Sampler:
    """Makes samples of one engine."""

    def __init__(self, engine: AttachedEngine, edges_ns: Sequence[int]) -> None:
        self._engine = engine
        self._edges_us = [edge / NS_PER_US for edge in edges_ns]
        self._boards = [view.board for view in engine.view.shards]
        self._hops = engine.latency
        self._counted = {hop: self._counts(histogram) for hop, histogram in self._hops.items()}
        self._cpu_s: dict[str, float] = {}
        self._at_s = 0.0

    def sample(
        self, number: int, at_s: float, summary: Mapping[str, Any], cpu_s: Mapping[str, float], books: Books
    ) -> Sample:
        """The engine as it is now, with these books; `cpu_s` is what each process has used
        since its start."""
        elapsed_s = at_s - self._at_s if self._at_s else 0.0
        cpu = {
            name: round(100 * max(0.0, used - self._cpu_s[name]) / elapsed_s, 1)
            for name, used in cpu_s.items()
            if name in self._cpu_s and elapsed_s > 0
        }
        self._at_s, self._cpu_s = at_s, dict(cpu_s)
        return Sample(
            number=number,
            at_s=at_s,
            quotes={
                symbol: (bids[0][0] if bids else None, asks[0][0] if asks else None)
                for symbol, (bids, asks) in books.items()
            },
            profit={
                currency: float(pnl["realized"]) + float(pnl["unrealized"]) - float(pnl["fees"])
                for currency, pnl in summary["pnl"].get("by_currency", {}).items()
            },
            equity=None,
            latency={hop: self._since_last(hop, histogram) for hop, histogram in self._hops.items()},
            cpu_percent=cpu,
        )

    def books(self) -> Books:
        """The books as they are now, of PAIRS_MAX pairs at most."""
        books: dict[str, tuple[Side, Side]] = {}
        for shard, index, symbol in places_as_given([view.rows for view in self._engine.view.shards]):
            if len(books) < PAIRS_MAX and (record := self._boards[shard].read(index)) is not None:
                top = BookTop(symbol, record)
                books[symbol] = _side(top.bids), _side(top.asks)
        return books

    def _since_last(self, hop: str, histogram: Histogram) -> "Durations":
        counted = self._counts(histogram)
        new = array("L", (now - then for now, then in zip(counted, self._counted[hop], strict=True)))
        self._counted[hop] = counted
        return Durations(self._percentile(new, 0.5), self._percentile(new, 0.99), new)

    def _counts(self, histogram: Histogram) -> list[int]:
        """How many are in each bucket between two edges; the last is beyond them."""
        cumulative = histogram.cumulative()
        below = [0, *cumulative.counts]
        return [upper - lower for lower, upper in zip(below, [*cumulative.counts, cumulative.total], strict=True)]

    def _percentile(self, counts: Sequence[int], part: float) -> float | None:
        """The edge in µs that this part of them did not exceed; None without any."""
        left = part * sum(counts)
        if not left:
            return None
        for edge, count in zip(self._edges_us, counts, strict=False):
            left -= count
            if left <= 0:
                return edge
        return self._edges_us[-1]


def places_as_given(rows_of_shards: Sequence[Sequence[PairRow]]) -> list[tuple[int, int, str]]:
    """(shard, index in it, pair) of every pair, in the order of `symbols`: they are spread
    over the shards in turn.
    """
    places = [
        (index, shard, row.symbol)
        for shard, rows in enumerate(rows_of_shards)
        for index, row in enumerate(rows)
        if row.symbol
    ]
    return [(shard, index, symbol) for index, shard, symbol in sorted(places)]


def _side(levels: Sequence[Any]) -> Side:
    return tuple((float(level.price), float(level.qty)) for level in levels[:HEAT_LEVELS_MAX])
