"""Both implementations of the host's hot loop tell the same, and leave the same in the ring."""

import time
import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import BookTop, FeedState, Strategy, Trade
from engine.native import CORE
from engine.strategy_host import book_calls, hosted_strategy
from engine.strategy_host.hosted_strategy import RECORDS_PER_CYCLE_MAX, HostedStrategy
from engine.telemetry import histogram, merged_snapshot
from engine.units import NS_PER_MS
from tests.market.rig import book_record, sides
from tests.public_feed.rig import SYMBOLS, Market, frames, trade

IMPLEMENTATIONS: dict[str, Any] = {"portable": SimpleNamespace(BookCalls=book_calls.BookCalls, BookTop=BookTop)}
if CORE is not None:
    IMPLEMENTATIONS["native"] = CORE
NAMES = sorted(IMPLEMENTATIONS)
FIELDS = (
    "symbol", "received_at", "update_number", "state", "is_proved", "price_decimals", "qty_decimals", "known_at",
    "source", "is_verified", "kraken_time", "best_bid", "best_ask", "bids", "asks", "spread", "spread_percent", "mid",
)  # fmt: skip
needs_extension = pytest.mark.skipif(CORE is None, reason="there is one implementation only")


class Noting(Strategy):
    """Notes all that it is told; takes `took_ns` a book, and raises at every `raises_at`th."""

    def __init__(self, market: Market, took_ns: int = 0, raises_at: int = 0) -> None:
        self.market, self.took_ns, self.raises_at = market, took_ns, raises_at
        self.story: list[tuple[Any, ...]] = []

    def on_book(self, book: BookTop) -> None:
        assert self.context.book(book.symbol) is book
        self.story.append(("book", *(getattr(book, name) for name in FIELDS)))
        self.market.clock.advance(self.took_ns)
        if self.raises_at and len(self.story) % self.raises_at == 0:
            raise ValueError("as asked for")

    def on_trade(self, trade: Trade) -> None:
        self.story.append(("trade", trade.trade_id))

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        self.story.append(("state", symbol, int(state), reason))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a hosted strategy with the implementation of this name."""

    def hosted(name: str, market: Market, strategy: Strategy, **options: Any) -> HostedStrategy:
        monkeypatch.setattr(hosted_strategy, "BOOK_CALLS", IMPLEMENTATIONS[name].BookCalls)
        return market.host(strategy, **options)

    return hosted


def outcome(hosted: HostedStrategy, strategy: Noting) -> tuple[Any, ...]:
    counts = (hosted.received, hosted.gaps, hosted.callbacks, hosted.errors, hosted.slow, hosted.laps, hosted.busy_ns)
    return strategy.story, counts, hosted.halted


@needs_extension
@pytest.mark.parametrize("symbols", [SYMBOLS, SYMBOLS[1:]])
@pytest.mark.parametrize("slot_count", [64, 8192])
@pytest.mark.parametrize(
    ("took_ns", "raises_at", "quota"), [(0, 0, False), (30_000, 0, True), (60 * NS_PER_MS, 40, True)]
)
def test_both_tell_the_same(host, symbols, slot_count, took_ns, raises_at, quota):
    """Followed pairs, laps, turns, slow callbacks, errors up to the halt: the same story and the same counts."""
    told = []
    for name in NAMES:
        market = Market(slot_count=slot_count)
        strategy = Noting(market, took_ns, raises_at)
        hosted = host(name, market, strategy, symbols=symbols)
        if quota:
            hosted.share_the_thread()
        for start in range(0, 600, 90):
            market.take(*frames()[start : start + 90], trade("ETH/USD", start + 1))
            hosted.do_work()
            hosted.do_work()
        while hosted.received + hosted.gaps < market.publisher.cursor and not hosted.halted:
            if not hosted.do_work():
                market.clock.advance(NS_PER_MS)  # it pauses after a long callback
        assert hosted.halted or hosted.received + hosted.gaps == market.publisher.cursor
        told.append(outcome(hosted, strategy))

    assert told[0][0]
    assert told[0] == told[1]


@pytest.mark.parametrize("name", NAMES)
def test_an_async_callback_leaves_the_rest_in_the_ring(name, host):
    """What comes after it is not received before it has ended."""

    class Waiting(Strategy):
        async def on_book(self, book: BookTop) -> None:  # type: ignore[override]
            pass

    market = Market(slot_count=8192)
    hosted = host(name, market, Waiting())
    ran: list[Any] = []
    hosted.go_on = lambda callback, answer: (ran.append(answer.close()), setattr(hosted, "batch_ends", True))
    market.take(*frames()[:40])
    before = hosted.received
    while not ran:
        hosted.do_work()

    assert before <= hosted.received < market.publisher.cursor
    assert len(ran) == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_more_than_a_cycles_records_at_once(name, host):
    """Then other strategies have their turn."""
    market = Market(slot_count=8192)
    hosted = host(name, market, Noting(market))
    market.take(*frames()[:700])

    assert hosted.do_work() == RECORDS_PER_CYCLE_MAX


@needs_extension
@given(sides, sides, st.sampled_from([1, 5, 10]), st.sampled_from([0, 1, 4, 5, 6]))
def test_both_views_of_a_book_show_the_same(bids, asks, publish_levels, code):
    """Every field, whatever the sides hold, and the text."""
    record = bytearray(book_record(bids, asks, publish_levels))
    record[1] = code
    views = [IMPLEMENTATIONS[name].BookTop("A/B", bytes(record)) for name in NAMES]

    for field in FIELDS:
        assert getattr(views[0], field) == getattr(views[1], field), field
    assert repr(views[0]) == repr(views[1])


@needs_extension
def test_a_record_that_counts_more_levels_than_it_has_is_refused():
    """Nothing is read behind it."""
    record = bytearray(book_record([(1, 1)], [(2, 1)], 1))
    record[6] = 200

    with pytest.raises(ValueError, match="no room for 200 bids"):
        CORE.BookTop("A/B", bytes(record))
    with pytest.raises(ValueError, match="at least"):
        CORE.BookTop("A/B", b"short")


@needs_extension
def test_both_know_the_same_histogram():
    """They count in the same words."""
    assert CORE.HISTOGRAM_LAYOUT == (
        histogram.SUM, histogram.MAX, histogram.FIRST_BUCKET, histogram.SUB_BUCKET_BITS, histogram.LINEAR_BITS,
        histogram.SHIFT_MAX, histogram.BUCKET_COUNT,
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_nothing_grows_with_the_messages(name, host):
    """From frame to callback, ten thousand messages leave no more memory behind than one thousand."""

    class Counting(Strategy):
        count = 0

        def on_book(self, book: BookTop) -> None:
            self.count += book.best_bid is not None

    market = Market(slot_count=1024)
    strategy = Counting()
    hosted = host(name, market, strategy)
    some = [frame for frame in frames() if b'"book"' in frame]

    def run(rounds: int) -> int:
        for _ in range(rounds):
            for start in range(0, 1000, 100):
                market.take(*some[start : start + 100])
                while hosted.do_work():
                    pass
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        run(2)
        after_one, after_ten = run(1), run(9)
    finally:
        tracemalloc.stop()

    assert strategy.count > 10_000
    assert hosted.gaps == 0
    assert after_ten - after_one < 9_000  # bytes: less than one a message


@pytest.mark.parametrize("name", NAMES)
def test_the_latency_is_counted_once_a_callback(name, host):
    """By the clock of this host as by one that is moved by hand."""
    market = Market(slot_count=8192)
    market.clock.mono_ns = time.monotonic_ns  # type: ignore[method-assign]
    hosted = host(name, market, Noting(market))

    def recorded():
        return merged_snapshot(hosted.latency.values())

    market.take(*frames()[:60])
    while hosted.do_work():
        pass

    told = sum(entry[0] != "state" for entry in hosted.strategy.story)
    assert recorded().count == told > 0
    assert 0 < recorded().p50_ns <= recorded().max_ns


@pytest.mark.parametrize("name", NAMES)
def test_a_record_for_nobody_wakes_nobody_and_is_not_copied(name, host):
    """Whatever its kind: it is passed over in the ring and counted as received; the next one that is wanted is told."""
    market = Market(slot_count=8192)
    strategy = Noting(market)
    hosted = host(name, market, strategy, symbols=("BTC/USD",), first_sequence=None)
    before = market.publisher.cursor
    market.take(*(frame for frame in frames()[:20] if b"BTC/USD" not in frame))
    while hosted.do_work():  # the venue's status is for everybody
        pass
    strategy.story.clear()
    market.take(*(frame for frame in frames()[20:400] if b"BTC/USD" not in frame), trade("ETH/USD", 7))

    assert not hosted.ready(market.clock.mono_ns())
    assert hosted.do_work() == 0
    assert strategy.story == []
    assert hosted.received == market.publisher.cursor - before > 100
    market.take(trade("ETH/USD", 8), trade("BTC/USD", 9), trade("ETH/USD", 10))
    assert hosted.ready(market.clock.mono_ns())
    assert hosted.do_work() == 1
    assert strategy.story == [("trade", 9)]
    assert (hosted.received, hosted.gaps) == (market.publisher.cursor - before, 0)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_passed_over_is_none_of_a_cycles_records(name, host):
    """A turn takes the one record for this strategy behind more of others than a cycle has."""
    market = Market(slot_count=8192)
    strategy = Noting(market)
    hosted = host(name, market, strategy, symbols=("BTC/USD",), first_sequence=None)
    while hosted.do_work():
        pass
    strategy.story.clear()
    others = [trade("ETH/USD", number) for number in range(RECORDS_PER_CYCLE_MAX + 50)]
    market.take(trade("BTC/USD", 1), *others, trade("BTC/USD", 2))

    assert hosted.do_work() == 2
    assert strategy.story == [("trade", 1), ("trade", 2)]


@pytest.mark.parametrize("name", NAMES)
def test_one_that_passes_over_records_is_lapped_by_none_of_them(name, host):
    """Ten rings of records for others: no gap. Ten of its own that it does not take: a gap."""
    market = Market(slot_count=64)
    strategy = Noting(market)
    hosted = host(name, market, strategy, symbols=("BTC/USD",), first_sequence=None)
    before = market.publisher.cursor
    hosted.do_work()
    for number in range(640):
        market.take(trade("ETH/USD", number))
        hosted.ready(market.clock.mono_ns())
    assert hosted.gaps == 0
    for number in range(640):
        market.take(trade("BTC/USD", number))
        hosted.ready(market.clock.mono_ns())
    while hosted.do_work():
        pass

    assert hosted.gaps > 0
    assert hosted.received + hosted.gaps == market.publisher.cursor - before
