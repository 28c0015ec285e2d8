"""Which pairs and channels the strategies of this process want, and the places of the
pairs in the shards.

    subscribe(), unsubscribe(), refuse() ─► wishes of each strategy ─► their union, a pair table per shard

A pair stays subscribed at Kraken while one strategy wants it. The configuration wants its
own pairs, too, until a strategy unsubscribes them.

Called from any thread: strategies run on one, the supervisor on another.
"""

from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Final, NamedTuple

from msgspec import Struct

from engine.config import symbol_mistake
from engine.errors import CallError
from engine.processes.pair_table import PairTableWriter
from engine.ring import BoardReader
from engine.strategy.option_rules import did_you_mean, shown
from engine.topology import ALL_CHANNELS, NO_CHANNELS, Channel, PairRow, Shard

CHANNELS = {channel.name.lower(): channel for channel in Channel if channel.name}


_THERE_ARE: Final = f"; there are {', '.join(CHANNELS)}"


class FollowedShard(Struct, frozen=True):
    """A shard whose pairs may change."""

    shard: Shard
    table: PairTableWriter
    board: BoardReader


class Place(NamedTuple):
    """Where a pair is: the shard's place among the shards, and the pair's index in it."""

    shard: int
    pair_index: int


class FollowedPairs:
    """What all strategies of the engine follow."""

    def __init__(self, shards: Sequence[FollowedShard], configured: Channel) -> None:
        """`configured`: the channels of a pair, unless a call names others."""
        self._shards = shards
        self.configured = configured
        self._lock = Lock()
        # By shard: its rows; and by symbol: its place, for the whole run.
        self._rows = [[PairRow(symbol, configured) for symbol in each.shard.symbols] for each in shards]
        self._places = {
            row.symbol: Place(number, index) for number, rows in enumerate(self._rows) for index, row in enumerate(rows)
        }
        # What the configuration wants still, and each strategy.
        self._held = dict.fromkeys(self._places, configured)
        self._wishes: dict[str, dict[str, Channel]] = {}
        self._takes_rest_books: set[str] = set()
        # Pairs that were subscribed at run time.
        self._asked: set[str] = set()
        self._refusals = 0
        self._store(range(len(shards)))

    def begin(self, strategy: str, symbols: Iterable[str], *, takes_rest_books: bool) -> None:
        """Register the channels that a strategy follows from its start."""
        with self._lock:
            self._wishes[strategy] = dict.fromkeys(symbols, self.configured)
            if takes_rest_books:
                self._takes_rest_books.add(strategy)
            self._store({self._places[symbol].shard for symbol in symbols})

    def subscribe(self, strategy: str, symbol: object, channels: object) -> tuple[str, Place, Channel]:
        """Add channels of a pair to what a strategy follows. Returns the pair, its place,
        and all channels of it that the strategy follows now.

        Raises CallError for invalid arguments, or if no more pairs can be added.
        """
        symbol = _checked_symbol(symbol, "subscribe")
        asked = self.configured if channels is None else _channels_of(channels)
        if Channel.CANDLE in asked & ~self.configured:
            raise CallError("candles cannot be subscribed: feed.candle_intervals_min names no interval")
        with self._lock:
            place = self._places.get(symbol) or self._new_place(symbol)
            wishes = self._wishes[strategy]
            if asked & ~wishes.get(symbol, NO_CHANNELS):
                self._asked.add(symbol)
                wishes[symbol] = wishes.get(symbol, NO_CHANNELS) | asked
                self._store({place.shard})
            return symbol, place, wishes[symbol]

    def unsubscribe(self, strategy: str, symbol: object, channels: object) -> tuple[str, Place, Channel]:
        """Remove channels of a pair (None: all) from what a strategy follows. Returns the
        pair, its place, and the channels of it that the strategy still follows.

        Raises CallError for a name that is not a pair of this run.
        """
        symbol = _checked_symbol(symbol, "unsubscribe")
        given_back = ALL_CHANNELS if channels is None else _channels_of(channels)
        with self._lock:
            wishes = self._wishes[strategy]
            place = self._places.get(symbol)
            if place is None:
                near = did_you_mean(symbol, wishes) or f"; {strategy} follows {', '.join(wishes) or 'no pair'}"
                raise CallError(f"{symbol} is not followed{near}")
            for wanted in (wishes, self._held) if symbol in wishes else ():
                left = wanted.get(symbol, NO_CHANNELS) & ~given_back
                if left:
                    wanted[symbol] = left
                else:
                    wanted.pop(symbol, None)
            self._store({place.shard})
            return symbol, place, wishes.get(symbol, NO_CHANNELS)

    def refuse(self, symbol: str, tell: Callable[[], None]) -> bool:
        """Record that Kraken has refused a pair. True if it had been subscribed at run
        time: then `tell` is called before its place is given to another pair.
        """
        with self._lock:
            if symbol not in self._asked:
                return False
            if symbol not in self._places:  # known from the refusal of another channel
                return True
            tell()
            for wanted in (self._held, *self._wishes.values()):
                wanted.pop(symbol, None)
            self._refusals += 1
            number, index = self._places[symbol]
            shard = self._shards[number].shard
            if index >= len(shard.symbols) and self._shards[number].board.read(shard.pair_slot(index)) is None:
                del self._places[symbol]
                self._rows[number][index] = PairRow()
            else:
                self._rows[number][index] = PairRow(symbol, refused_before=self._refusals)
            self._store({number})
            return True

    def place_of(self, symbol: str) -> Place | None:
        """The place of a pair; None if this run does not know it."""
        return self._places.get(symbol)

    def _new_place(self, symbol: str) -> Place:
        counts = [sum(bool(row.symbol) for row in rows) for rows in self._rows]
        free = [(count, number) for number, count in enumerate(counts) if count < self._shards[number].shard.pairs_max]
        if not free:
            most = sum(each.shard.added_max for each in self._shards)
            raise CallError(
                f"{symbol} cannot be subscribed: {most} pairs were added to those of the configuration in this run, as "
                "many as feed.pairs_added_max allows"
            )
        _, number = min(free)
        rows = self._rows[number]
        index = next((index for index, row in enumerate(rows) if not row.symbol), len(rows))
        rows[index:] = [PairRow(symbol, refused_before=self._refusals), *rows[index + 1 :]]
        place = self._places[symbol] = Place(number, index)
        return place

    def _store(self, numbers: Iterable[int]) -> None:
        """Write the rows of these shards into their tables."""
        for number in numbers:
            rows = list(map(self._row, self._rows[number]))
            self._rows[number] = rows
            self._shards[number].table.store(rows)

    def _row(self, before: PairRow) -> PairRow:
        """The table row of a place, from what is wanted now."""
        symbol = before.symbol
        if not symbol:
            return PairRow()
        channels, takes_rest_books = self._held.get(symbol, NO_CHANNELS), False
        for strategy, wishes in self._wishes.items():
            wanted = wishes.get(symbol, NO_CHANNELS)
            channels |= wanted
            takes_rest_books |= Channel.BOOK in wanted and strategy in self._takes_rest_books
        return PairRow(symbol, channels, takes_rest_books, before.refused_before)


def _channels_of(names: object) -> Channel:
    """The channels of these names; CallError for a name that is none."""
    given = [names] if isinstance(names, str) else names
    if not isinstance(given, Iterable):
        raise CallError(f"channels is a list of names ({', '.join(CHANNELS)}), not {shown(names)}")
    channels = NO_CHANNELS
    for name in given:
        channel = CHANNELS.get(name) if isinstance(name, str) else None
        if channel is None:
            likely = "candle" if name == "ohlc" else name
            raise CallError(f"{shown(name)} is no channel{did_you_mean(likely, CHANNELS) or _THERE_ARE}")
        channels |= channel
    if not channels:
        raise CallError(f"channels names none{_THERE_ARE}; leave it out for all that the configuration follows")
    return channels


def _checked_symbol(symbol: object, call: str) -> str:
    if not isinstance(symbol, str):
        raise CallError(f"{call} takes the name of a pair, such as BTC/USD, not {shown(symbol)}")
    if wrong := symbol_mistake(symbol):
        raise CallError(f"{call} was given {wrong}")
    return str.__str__(symbol)
