"""The engine's shared memory as one table: each ring, its publisher and its subscribers.

    ring      publisher                          subscribers                      mode
    ────────  ─────────────────────────────────  ───────────────────────────────  ─────────
    market-k  public_feed-k; the supervisor for  the strategy host, one            broadcast
              a moment, when the feed has died   subscriber a strategy
    command   the strategy host                  the order router                  gated
    account   private_feed                       the order router                  gated
    report-s  the order router                   strategy s, in the host           gated

Each strategy has a ring of reports of its own, so one that hangs holds up no other. The
last three exist when the engine trades.

Each market ring has a board, with one slot per pair for its last BOOK_TOP, one per pair for
its last PAIR record, one for the last VENUE_STATUS, one per pair for its newest TRADE, two
for its last TICKER and last REST_BOOK, and one for the newest CANDLE of each interval. The
successor of a dead feed continues after trade and candles. Pairs are spread over the shards
in turn; the index of a pair in records is its place in its shard. A shard has room for
pairs that are subscribed at run time: which pair has which place, and which of its channels
are wanted, is written in the shard's pair table (engine/processes/pair_table.py).
"""

from collections.abc import Sequence
from enum import IntFlag

from msgspec import Struct

from engine.records import record_bytes_needed
from engine.ring.board import board_bytes
from engine.ring.ring import ring_bytes
from engine.telemetry import measures
from engine.telemetry.measures import names_of

# Index of the strategy host's doorbell at every market ring, and at report rings.
STRATEGY_HOST_DOORBELL = 0
ROUTER_DOORBELL = 0  # index of the order router's doorbell at the command and account rings
COMMAND_RING, ACCOUNT_RING = "command", "account"
PUBLIC_FEED, PRIVATE_FEED, ORDER_ROUTER = "public_feed", "private_feed", "order_router"  # the kinds of actors
ROUTER_STATUS_BYTES = 256 * 1024  # of the router's status on its board, as JSON

# The counters of each process, in the order of the memory; what each means is in
# engine/telemetry/measures.py. Those of a pair are there once for each place of the feed.
FEED_COUNTERS = names_of(measures.FEED)
PAIR_COUNTERS = names_of(measures.PAIR)
# Where the data of a pair come from: levels of `records.Source`, in the order of
# `public_feed.sources.Kind`.
SOURCE_COUNTERS = names_of(measures.SOURCE)
PRIVATE_FEED_COUNTERS = names_of(measures.PRIVATE_FEED)
ROUTER_COUNTERS = names_of(measures.ROUTER)
ROUTER_HISTOGRAMS = tuple(measures.ROUTER_LATENCIES)

# What is true of a process while it lives.
CONNECTION_LEVELS = frozenset(("connected", "authenticated", "subscriptions"))

# The counters of the strategy host; the others once per strategy, and once per strategy and
# market ring.
HOST_COUNTERS = names_of(measures.HOST)
STRATEGY_COUNTERS = names_of(measures.STRATEGY)
STRATEGY_RING_COUNTERS = names_of(measures.STRATEGY_RING)
# Of each target of notices.
NOTICE_TARGET_COUNTERS = names_of(measures.NOTICE_TARGET)
# From a frame's arrival to the callback that it causes, by callback.
WIRE_HISTOGRAMS = tuple(measures.WIRE_LATENCIES)
# The callback that it is in; see processes/callback_words.py.
STRATEGY_WORDS = ("callback_began_ns", "callback")
# See processes/stack_request.py.
HOST_WORDS = ("thread_id", "watched_at_ns")


class Channel(IntFlag):
    """The channels of a pair that can be followed, by the names of their events."""

    BOOK = 1
    TRADE = 2
    TICKER = 4
    CANDLE = 8


NO_CHANNELS = Channel(0)
ALL_CHANNELS = Channel.BOOK | Channel.TRADE | Channel.TICKER | Channel.CANDLE


class PairRow(Struct, frozen=True, array_like=True):
    """One place of a shard: its pair, and what of it is wanted from Kraken."""

    symbol: str = ""
    """Empty for a place that is free."""
    channels: Channel = NO_CHANNELS
    takes_rest_books: bool = False
    """Whether somebody takes books of REST while the WebSocket does not serve the pair."""
    refused_before: int = 0
    """How many refusals of pairs came before this row. One that differs asks for the pair
    anew, though the rest is what a reader saw last: Kraken has refused it in between."""


class Shard(Struct, frozen=True):
    """The places of one public feed's pairs, in the order of their index."""

    number: int
    symbols: tuple[str, ...]
    """The pairs from the start, which have the first places."""
    candle_intervals_min: tuple[int, ...] = ()
    """The candles that are made of the pairs' trades."""
    added_max: int = 0
    """Places for pairs that are subscribed at run time."""

    @property
    def ring_name(self) -> str:
        return f"market-{self.number}"

    @property
    def actor_name(self) -> str:
        return f"public_feed-{self.number}"

    @property
    def counter_names(self) -> tuple[str, ...]:
        """Names of this feed's counters."""
        names = PAIR_COUNTERS + SOURCE_COUNTERS
        return FEED_COUNTERS + tuple(name for index in range(self.pairs_max) for name in pair_counters(index, names))

    @property
    def pairs_max(self) -> int:
        """How many pairs it has places for."""
        return len(self.symbols) + self.added_max

    @property
    def first_rows(self) -> tuple[PairRow, ...]:
        """Its pairs from the start, with every channel."""
        return tuple(PairRow(symbol, ALL_CHANNELS) for symbol in self.symbols)

    @property
    def board_slots(self) -> int:
        return (5 + len(self.candle_intervals_min)) * self.pairs_max + 1

    def pair_slot(self, pair_index: int) -> int:
        """Board slot of the pair's PAIR record; that of its BOOK_TOP is the index itself."""
        return self.pairs_max + pair_index

    @property
    def status_slot(self) -> int:
        """Board slot of the VENUE_STATUS record."""
        return 2 * self.pairs_max

    def trade_slot(self, pair_index: int) -> int:
        """Board slot of the pair's newest TRADE record."""
        return 2 * self.pairs_max + 1 + pair_index

    def ticker_slot(self, pair_index: int) -> int:
        """Board slot of the pair's last TICKER record."""
        return 3 * self.pairs_max + 1 + pair_index

    def rest_book_slot(self, pair_index: int) -> int:
        """Board slot of the pair's last REST_BOOK record."""
        return 4 * self.pairs_max + 1 + pair_index

    def candle_slot(self, pair_index: int, interval_min: int) -> int:
        """Board slot of the pair's newest CANDLE record of an interval."""
        return (5 + self.candle_intervals_min.index(interval_min)) * self.pairs_max + 1 + pair_index


def pair_counter(pair_index: int, name: str) -> str:
    """Name of a counter of one pair among those of its feed: a place may be given to a pair
    at run time, so it has no symbol in it.
    """
    return f"{pair_index} {name}"


def pair_counters(pair_index: int, names: Sequence[str] = PAIR_COUNTERS) -> tuple[str, ...]:
    """Names of a pair's counters among those of its feed."""
    return tuple(pair_counter(pair_index, name) for name in names)


def report_ring(strategy: str) -> str:
    """Name of the ring that tells a strategy what became of its orders."""
    return f"report-{strategy}"


def plan_shards(
    symbols: Sequence[str], shard_count: int, candle_intervals_min: Sequence[int] = (), added_max: int = 0
) -> tuple[Shard, ...]:
    """Spread the pairs over at most `shard_count` feeds in turn, and the places for
    `added_max` further ones; never more feeds than pairs.
    """
    count = min(shard_count, len(symbols))
    intervals = tuple(sorted(set(candle_intervals_min)))
    return tuple(
        Shard(number, tuple(symbols[number::count]), intervals, len(range(number, added_max, count)))
        for number in range(count)
    )


def market_record_bytes(publish_levels: int) -> int:
    """Bytes of a record in a market ring and on its board."""
    return record_bytes_needed(publish_levels)


def market_bytes(shards: Sequence[Shard], publish_levels: int, ring_slots: int) -> int:
    """Bytes of the market rings and boards of all shards together."""
    record_bytes = market_record_bytes(publish_levels)
    boards = sum(board_bytes(record_bytes, shard.board_slots) for shard in shards)
    return len(shards) * ring_bytes(record_bytes, ring_slots) + boards


def strategy_ring_counter(strategy: str, ring_name: str, name: str) -> str:
    """Name of a counter of one strategy at one market ring."""
    return f"{strategy} {ring_name} {name}"


def strategy_counter_names(strategies: Sequence[str], rings: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the strategy host's counters; `rings` are the market rings of the run."""
    names = STRATEGY_COUNTERS + STRATEGY_WORDS
    return (
        HOST_COUNTERS
        + HOST_WORDS
        + tuple(f"{strategy} {name}" for strategy in strategies for name in names)
        + tuple(
            strategy_ring_counter(strategy, ring, name)
            for strategy in strategies
            for ring in rings
            for name in STRATEGY_RING_COUNTERS
        )
    )


def supervisor_counter_names(children: Sequence[str], strategies: Sequence[str]) -> tuple[str, ...]:
    """Names of the supervisor's counters, for its children and the strategies that it
    watches.
    """
    of_children = [f"{child} {name}" for child in children for name in names_of(measures.CHILD)]
    of_strategies = [f"{strategy} {name}" for strategy in strategies for name in names_of(measures.WATCHED)]
    return (*names_of(measures.SUPERVISOR), *of_children, *of_strategies)


def notices_counter_names(targets: Sequence[str]) -> tuple[str, ...]:
    """Names of the counters of the process that sends notices to these targets."""
    of_targets = [f"{target} {name}" for target in targets for name in NOTICE_TARGET_COUNTERS]
    return (*names_of(measures.NOTICES), *of_targets)
