"""The strategy host: records become callbacks; gaps, errors and slowness stay a strategy's own."""

import asyncio
from typing import Any

import pytest

from engine import BookTop, FeedState, Strategy, Ticker, Trade, VenueStatus
from engine.strategy_host.host import StrategyHost
from engine.telemetry import new_counters
from engine.topology import strategy_counter_names
from engine.units import NS_PER_MS, NS_PER_S
from tests.kraken.wire import Tape
from tests.public_feed.rig import CAPTURE, SYMBOLS, Market, drain, flip_checksum, frames, tick, trade
from tests.waiting import turns


class Noting(Strategy):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.story: list[tuple[Any, ...]] = []

    def on_book(self, book: BookTop) -> None:
        self.story.append(("book", book.symbol, book.update_number))

    def on_trade(self, trade: Trade) -> None:
        self.story.append(("trade", trade.symbol, trade.trade_id))

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        self.story.append(("state", symbol, str(state)))

    def books(self, symbol: str) -> list[int]:
        return [entry[2] for entry in self.story if entry[:2] == ("book", symbol)]


BOOKS = [frame for frame in frames()[60:] if b'"book"' in frame]
MAINTENANCE = b'{"channel":"status","type":"update","data":[{"system":"maintenance","api_version":"v2"}]}'


def lap(market: Market) -> None:
    """Have a ring of 64 overwrite what a strategy has not read."""
    for frame in BOOKS[:200]:
        market.take(frame)


def test_assumptions_about_the_capture():
    """The tests below lean on this capture's beginning."""
    assert CAPTURE.exists()
    assert b'"snapshot","data"' in frames()[6]


def test_books_come_in_order_after_live():
    """`live` first, then every update, each once."""
    market = Market(slot_count=8192)
    strategy = Noting()
    hosted = market.host(strategy)
    market.take(*frames())
    drain(hosted)

    for symbol in SYMBOLS:
        assert strategy.books(symbol) == list(range(market.session.feeds[symbol].verified))
        first = next(entry for entry in strategy.story if entry[1] == symbol)
        assert first == ("state", symbol, "live")
    assert hosted.gaps == 0
    assert hosted.received == market.publisher.cursor


def test_only_followed_pairs_are_told():
    """A strategy of one pair hears nothing of the other, and may not ask for it."""
    market = Market()
    strategy = Noting()
    hosted = market.host(strategy, symbols=("ETH/USD",))
    market.take(*frames()[:300])
    drain(hosted)

    assert {entry[1] for entry in strategy.story} == {"ETH/USD"}
    with pytest.raises(KeyError, match="ETH/USD"):
        hosted.context.book("BTC/USD")


def test_a_lapped_strategy_gets_the_newest_of_every_pair_and_nothing_twice():
    """Two thousand records behind on a ring of 256: the gap is exact, each pair's newest book comes once, in order."""
    market = Market(slot_count=256)
    strategy = Noting()
    hosted = market.host(strategy)
    market.take(*frames()[:50])
    drain(hosted)
    seen = {symbol: strategy.books(symbol)[-1] for symbol in SYMBOLS}
    strategy.story.clear()
    for start in range(50, 2050, 20):
        market.take(*frames()[start : start + 20])
    drain(hosted)

    assert hosted.gaps > 1000
    assert hosted.laps == 1
    assert hosted.received + hosted.gaps == market.publisher.cursor
    for symbol in SYMBOLS:
        newest = market.session.feeds[symbol].updates
        assert strategy.books(symbol) == [newest]
        assert newest > seen[symbol]
        book = hosted.context.book(symbol)
        assert book is not None
        assert book.update_number == newest
    market.take(*frames()[2050:2150])
    drain(hosted)
    for symbol in SYMBOLS:
        numbers = strategy.books(symbol)
        assert numbers == list(range(numbers[0], market.session.feeds[symbol].updates + 1))


def test_a_quiet_pair_is_right_after_a_gap():
    """A pair that changed long before the ring was overwritten is still known: the board holds it."""
    market = Market(slot_count=256)
    late = Noting()
    market.take(*frames()[:200])
    eth = [frame for frame in frames()[200:] if b'"ETH/USD"' in frame and b'"book"' in frame]
    for frame in eth[:1000]:
        market.take(frame)
    hosted = market.host(late)
    drain(hosted)
    book = hosted.context.book("BTC/USD")

    assert book is not None
    assert book.update_number == market.session.feeds["BTC/USD"].updates
    assert hosted.context.state("BTC/USD") is FeedState.LIVE
    assert late.books("BTC/USD") == [market.session.feeds["BTC/USD"].updates]


def test_a_ticker_is_right_after_a_gap():
    """The newest is told once, though the ring repeats what changed while the board was read."""
    market = Market(slot_count=64)

    class Tickers(Strategy):
        def __init__(self) -> None:
            self.told: list[tuple[str, int]] = []

        def on_ticker(self, ticker: Ticker) -> None:
            self.told.append((ticker.symbol, int(ticker.last)))
            if self.told[-1] == ("BTC/USD", 20):
                market.take(tick("ETH/USD", 2001.0))
            if self.told[-1] == ("ETH/USD", 2001):
                market.take(tick("ETH/USD", 2002.0))

    hosted = market.host(Tickers())
    market.take(*frames()[:60], tick("BTC/USD", 10.0), tick("ETH/USD", 1000.0))
    drain(hosted)
    hosted.strategy.told.clear()  # type: ignore[attr-defined]
    market.take(tick("BTC/USD", 20.0), tick("ETH/USD", 2000.0))
    lap(market)
    drain(hosted)

    ticker = hosted.context.ticker("ETH/USD")
    assert ticker is not None
    assert ticker.last == 2002
    assert hosted.strategy.told == [("BTC/USD", 20), ("ETH/USD", 2001), ("ETH/USD", 2002)]  # type: ignore[attr-defined]
    lap(market)
    drain(hosted)
    assert hosted.strategy.told[3:] == []  # type: ignore[attr-defined]


def test_what_the_board_says_after_a_gap_waits_for_an_async_callback():
    """A ticker or a notice like any book: callbacks of one strategy never overlap."""

    class Waiting(Strategy):
        def __init__(self) -> None:
            self.story: list[str] = []

        async def note(self, what: str) -> None:
            self.story.append(f"{what} begins")
            await asyncio.sleep(0)
            self.story.append(f"{what} ends")

        async def on_notice(self, status: VenueStatus) -> None:
            await self.note(status.system)

        async def on_ticker(self, ticker: Ticker) -> None:
            await self.note(f"{ticker.symbol} {int(ticker.last)}")

        async def on_book(self, book: BookTop) -> None:
            await self.note(f"{book.symbol} {book.update_number}")

    async def scenario() -> list[str]:
        market = Market(slot_count=64)
        hosted = market.host(strategy := Waiting())
        await hosted.start()
        market.take(*frames()[:60])
        lap(market)
        market.take(MAINTENANCE, tick("BTC/USD", 20.0), tick("ETH/USD", 2000.0))
        lap(market)
        while hosted.ready(market.clock.mono_ns()) or hosted.waiting is not None:
            hosted.do_work()
            await asyncio.sleep(0)
        return strategy.story

    story = asyncio.run(scenario())

    assert [each.split()[-1] for each in story] == ["begins", "ends"] * (len(story) // 2)
    told = [each.removesuffix(" ends") for each in story[1::2]]
    assert told == ["maintenance", "BTC/USD 20", "ETH/USD 2000"]


@pytest.mark.parametrize("waits", ["on_book", "on_ticker"])
def test_all_that_the_board_says_has_its_turn_though_an_async_callback_falls_behind_each_time(waits: str):
    """A callback that takes longer than the market needs to change: it is given no pair again and again before
    another, and no tickers alone.
    """
    symbols = ("A/USD", "B/USD", "C/USD")
    tapes = [Tape(symbol) for symbol in symbols]
    market = Market(symbols=symbols, slot_count=64)
    market.take(*(tape.snapshot() for tape in tapes))

    class Slow(Strategy):
        def __init__(self) -> None:
            self.told: list[tuple[str, str]] = []
            self.gate = asyncio.Event()

        async def note(self, what: str, symbol: str) -> None:
            self.told.append((what, symbol))
            if what == waits:
                await self.gate.wait()
                self.gate.clear()

        async def on_book(self, book: BookTop) -> None:
            await self.note("on_book", book.symbol)

        async def on_ticker(self, ticker: Ticker) -> None:
            await self.note("on_ticker", ticker.symbol)

    async def scenario() -> list[tuple[str, str]]:
        hosted = market.host(strategy := Slow())
        await hosted.start()
        for number in range(60):
            if hosted.waiting is None or (strategy.told and strategy.told[-1][0] == waits):
                for _ in range(40):
                    market.take(*(tape.nudge() for tape in tapes))
                market.take(*(tick(symbol, 10.0 + number) for symbol in symbols))
            strategy.gate.set()
            await turns(3)
            hosted.do_work()
            await turns(3)
        strategy.gate.set()
        await turns(3)
        return strategy.told

    told = asyncio.run(scenario())

    counts = {(what, symbol): told.count((what, symbol)) for what in ("on_book", "on_ticker") for symbol in symbols}
    assert min(counts.values()) >= 4, counts


def test_on_stop_comes_after_all_that_the_board_says_after_a_gap():
    """Also after a callback that has to be waited for, and that no book comes with."""

    class Waiting(Strategy):
        def __init__(self) -> None:
            self.story: list[str] = []

        async def on_ticker(self, ticker: Ticker) -> None:
            self.story.append(f"{ticker.symbol} {int(ticker.last)} begins")
            await asyncio.sleep(0)
            self.story.append("ends")

        def on_stop(self) -> None:
            self.story.append("on_stop")

    async def scenario() -> list[str]:
        market = Market(slot_count=64)
        hosted = market.host(strategy := Waiting())
        await hosted.start()
        market.take(*frames()[:60], tick("BTC/USD", 20.0), tick("ETH/USD", 2000.0))
        lap(market)
        await hosted.stop()
        return strategy.story

    assert asyncio.run(scenario()) == ["BTC/USD 20 begins", "ends", "ETH/USD 2000 begins", "ends", "on_stop"]


def test_the_market_is_told_between_two_async_timers_that_take_longer_than_they_are_apart():
    """Of which one is always due."""

    class Timed(Strategy):
        timer_s = 1.0

        def __init__(self) -> None:
            self.told: list[str] = []
            self.gate = asyncio.Event()

        async def on_timer(self) -> None:
            self.told.append("timer")
            await self.gate.wait()
            self.gate.clear()

        def on_ticker(self, ticker: Ticker) -> None:
            self.told.append(f"ticker {int(ticker.last)}")

    async def scenario() -> list[str]:
        market = Market()
        hosted = market.host(strategy := Timed())
        await hosted.start()
        for number in range(4):
            market.take(tick("BTC/USD", 10.0 + number))
            market.clock.advance(2 * NS_PER_S)
            strategy.gate.set()
            await turns(3)
            for _ in range(3):
                hosted.do_work()
        strategy.gate.set()
        await turns(3)
        return strategy.told

    assert asyncio.run(scenario()) == ["timer", "ticker 11", "timer", "ticker 12", "timer", "ticker 13", "timer"]


@pytest.mark.parametrize("takes", ["on_notice", "on_ticker"])
def test_one_that_stops_in_the_middle_of_the_board_asks_for_its_next_turn(takes: str):
    """Whatever took so long there, and though nothing more comes: no ring tells of the rest."""
    market = Market(slot_count=64)

    class Slow(Noting):
        def on_notice(self, status: VenueStatus) -> None:
            market.clock.advance(60 * NS_PER_MS if takes == "on_notice" else 0)

        def on_ticker(self, ticker: Ticker) -> None:
            market.clock.advance(60 * NS_PER_MS if takes == "on_ticker" else 0)

    hosted = market.host(strategy := Slow())
    market.take(*frames()[:60])
    drain(hosted)
    strategy.story.clear()
    market.take(tick("BTC/USD", 10.0))
    lap(market)
    market.take(MAINTENANCE)
    while hosted.ready(market.clock.mono_ns()):
        hosted.do_work()

    for symbol in SYMBOLS:
        assert hosted.context.state(symbol) is market.session.feeds[symbol].state
        assert ("state", symbol, str(hosted.context.state(symbol))) in strategy.story


def test_a_pair_that_fell_into_doubt_during_a_gap_is_stale_afterwards():
    """The state of the board counts: a missed `stale` is told, and no book of that pair comes."""
    market = Market(slot_count=256)
    strategy = Noting()
    hosted = market.host(strategy)
    market.take(*frames()[:200])
    drain(hosted)
    strategy.story.clear()
    bad = next(frame for frame in frames()[200:] if b'"BTC/USD"' in frame and b'"book"' in frame)
    market.take(flip_checksum(bad))
    for start in range(200, 1500, 20):
        market.take(*frames()[start : start + 20])
    drain(hosted)

    assert ("state", "BTC/USD", "stale") in strategy.story
    assert strategy.books("BTC/USD") == []
    assert strategy.books("ETH/USD") == [market.session.feeds["ETH/USD"].updates]
    book = hosted.context.book("BTC/USD")
    assert book is not None
    assert book.state == FeedState.STALE


def test_a_lap_in_mid_burst_waits_for_the_board():
    """The board is complete at the end of a burst: until then a lapped strategy is told nothing rather than half."""
    market = Market(slot_count=256)
    strategy = Noting()
    hosted = market.host(strategy)
    market.take(*frames()[:50])
    drain(hosted)
    strategy.story.clear()
    market.take(*frames()[50:1000], end_burst=False)
    drain(hosted)
    told_in_mid_burst = list(strategy.story)
    market.feed.on_burst_end()
    drain(hosted)

    assert told_in_mid_burst == []
    for symbol in SYMBOLS:
        assert strategy.books(symbol) == [market.session.feeds[symbol].updates]
    assert hosted.received + hosted.gaps == market.publisher.cursor


def test_old_news_is_skipped_for_the_newest():
    """Records that waited longer than allowed: not told one by one but made up for by the board, and counted."""
    market = Market(slot_count=8192)
    strategy = Noting()
    hosted = market.host(strategy, limits={"lag_ns_max": NS_PER_S})
    market.take(*frames()[:1000])
    market.clock.advance(2 * NS_PER_S)
    market.take(*frames()[1000:1500])
    drain(hosted)
    skipped_to = {symbol: market.session.feeds[symbol].updates for symbol in SYMBOLS}
    market.take(*frames()[1500:1600])
    drain(hosted)

    assert hosted.laps == 1
    assert hosted.gaps == market.publisher.cursor - hosted.received > 1000
    for symbol in SYMBOLS:
        updates = market.session.feeds[symbol].updates
        assert strategy.books(symbol) == list(range(skipped_to[symbol], updates + 1))


def test_after_a_callback_that_blocked_nothing_of_its_batch_is_told_late():
    """A strategy that blocks in the middle of a batch is next told what is so now, not the rest of the batch."""
    market = Market(slot_count=8192)

    class Blocking(Noting):
        def on_book(self, book: BookTop) -> None:
            super().on_book(book)
            if len(self.story) == 20:
                market.clock.advance(5 * NS_PER_S)
                market.take(*frames()[600:1200])

    strategy = Blocking()
    hosted = market.host(strategy)
    market.take(*frames()[:600])
    drain(hosted)

    assert hosted.laps == 1
    for symbol in SYMBOLS:
        assert strategy.books(symbol)[-1] == market.session.feeds[symbol].updates
    assert len(strategy.story) == 20 + len(SYMBOLS)
    assert hosted.received + hosted.gaps == market.publisher.cursor


def test_a_feeds_successor_is_heard_without_a_second_stale():
    """Death and rebirth of a feed: stale once, then live with the new books."""
    market = Market()
    strategy = Noting()
    hosted = market.host(strategy)
    market.take(*frames()[:100])
    market.start_feed()
    market.take(*frames()[:100])
    drain(hosted)
    states = [entry for entry in strategy.story if entry[:2] == ("state", "BTC/USD")]

    assert [entry[2] for entry in states] == ["live", "stale", "live"]


def test_too_many_errors_within_a_minute_halt_a_strategy():
    """More than the allowance: halted. As many over a longer time: not."""

    class Raising(Strategy):
        def on_trade(self, trade: Trade) -> None:
            raise ValueError("no")

    market = Market()
    market.take(*frames()[:20])
    patient = market.host(Raising(), limits={"errors_per_minute_max": 3})
    drain(patient)
    for number in range(8):
        market.clock.advance(25 * NS_PER_S)
        market.take(trade("BTC/USD", number))
        drain(patient)
    hasty = market.host(Raising(), limits={"errors_per_minute_max": 3})
    for number in range(8):
        market.take(trade("BTC/USD", 10 + number))
        drain(hasty)

    assert (patient.errors, patient.halted) == (8, False)
    assert (hasty.errors, hasty.halted) == (4, True)
    assert not hasty.ready(market.clock.mono_ns())


def test_an_async_callback_holds_back_its_own_records_only():
    """While one strategy waits, another is told everything; afterwards the first goes on where it was."""

    class Waiting(Strategy):
        def __init__(self) -> None:
            self.gate = asyncio.Event()
            self.trades: list[int] = []

        async def on_trade(self, trade: Trade) -> None:  # type: ignore[override]
            await self.gate.wait()
            self.trades.append(trade.trade_id)

    async def scenario() -> tuple[list[int], list[int], list[int]]:
        market = Market()
        market.take(*frames()[:20])
        waiting, noting = Waiting(), Noting()
        slow, quick = market.host(waiting), market.host(noting)
        for number in range(5):
            market.take(trade("BTC/USD", number))
        drain(quick)
        drain(slow)
        before = list(waiting.trades)
        waiting.gate.set()
        while len(waiting.trades) < 5:
            await asyncio.sleep(0)
            slow.do_work()
        return [entry[2] for entry in noting.story if entry[0] == "trade"], before, waiting.trades

    quick_trades, before, slow_trades = asyncio.run(scenario())

    assert quick_trades == slow_trades == [0, 1, 2, 3, 4]
    assert before == []


@pytest.mark.parametrize("waits_in", ["on_trade", "on_stop"])
def test_one_that_does_not_stop_takes_on_stop_from_nobody(waits_in: str):
    """Whether it waits in a callback, or in on_stop itself; those with async callbacks of their own likewise."""
    stopped: list[str] = []

    class Waits(Strategy):
        async def on_trade(self, trade: Trade) -> None:
            if waits_in == "on_trade":
                await asyncio.Event().wait()

        async def on_stop(self) -> None:
            await asyncio.Event().wait()

    class Stops(Strategy):
        def on_stop(self) -> None:
            stopped.append("plain")

    class StopsLater(Strategy):
        async def on_stop(self) -> None:
            await asyncio.sleep(0)
            stopped.append("async")

    async def scenario() -> None:
        market = Market()
        hosted = [market.host(each) for each in (Waits(), StopsLater(), Stops())]
        names = strategy_counter_names([each.name for each in hosted], [market.shard.ring_name])
        host = StrategyHost(hosted, new_counters(names), market.clock)
        await host.on_start()
        market.take(*frames()[:20], trade("BTC/USD", 1))
        host.do_work()
        await turns(3)
        closing = asyncio.ensure_future(host.on_close())
        await turns(20)
        assert not closing.done()
        closing.cancel()
        await asyncio.wait({closing})
        assert closing.cancelled()

    asyncio.run(scenario())

    assert sorted(stopped) == ["async", "plain"]


def test_a_slow_callback_is_measured_and_counted():
    """Longer than the limit, by the host's clock: counted, and the slowest remembered."""
    market = Market()
    market.take(*frames()[:20])

    class Slow(Strategy):
        def on_trade(self, trade: Trade) -> None:
            market.clock.advance(80_000_000)

    hosted = market.host(Slow(), limits={"slow_callback_ns": 50_000_000})
    market.take(trade("BTC/USD", 1))
    drain(hosted)

    assert hosted.slow == 1
    assert hosted.slowest_ns == 80_000_000


def test_a_timer_is_called_when_it_is_due_and_never_in_a_volley():
    """Every timer_s seconds; after a long absence once, not as often as it was missed."""

    class Timed(Strategy):
        timer_s = 1.0

        def __init__(self) -> None:
            self.ticks = 0

        def on_timer(self) -> None:
            self.ticks += 1

    market = Market()
    strategy = Timed()
    hosted = market.host(strategy)
    asyncio.run(hosted.start())
    hosted.do_work()
    assert strategy.ticks == 0
    market.clock.advance(NS_PER_S)
    hosted.do_work()
    market.clock.advance(30 * NS_PER_S)
    hosted.do_work()
    hosted.do_work()

    assert strategy.ticks == 2
    assert hosted.due_at == market.clock.mono_ns() + NS_PER_S


def test_a_timer_may_be_set_and_ended_while_the_strategy_runs():
    """In `on_start`, or by any callback; a time that is none ends it, and the log says so."""

    class Timed(Strategy):
        ticks = 0

        def on_start(self) -> None:
            self.timer_s = 1.0

        def on_timer(self) -> None:
            self.ticks += 1

    market = Market()
    strategy = Timed()
    hosted = market.host(strategy)
    asyncio.run(hosted.start())
    ticks = []
    for timer_s in (1.0, 1.0, 0.0, 0.5, 0.5, float("nan"), 0.25):
        strategy.timer_s = timer_s
        hosted.do_work()
        market.clock.advance(NS_PER_S)
        hosted.do_work()
        ticks.append(strategy.ticks)

    assert ticks == [1, 2, 2, 3, 4, 4, 5]


def test_a_timer_that_a_callback_sets_is_due_though_nothing_comes():
    """Until then no record comes that would make the host look: a quiet market tells none."""

    class Timed(Strategy):
        timer_s = 60.0

        def on_timer(self) -> None:
            self.timer_s = 0.5

    market = Market()
    hosted = market.host(Timed())
    asyncio.run(hosted.start())
    hosted.do_work()
    market.clock.advance(60 * NS_PER_S)
    hosted.do_work()

    assert hosted.due_at == market.clock.mono_ns() + NS_PER_S // 2


def test_callbacks_of_one_strategy_never_overlap():
    """While an async on_timer waits, no record is dispatched, of any kind."""

    class Timed(Noting):
        timer_s = 1.0

        def __init__(self) -> None:
            super().__init__()
            self.gate = asyncio.Event()

        async def on_timer(self) -> None:  # type: ignore[override]
            self.story.append(("timer begins",))
            await self.gate.wait()
            self.story.append(("timer ends",))

    async def scenario() -> list[tuple[Any, ...]]:
        market = Market()
        strategy = Timed()
        hosted = market.host(strategy)
        await hosted.start()
        drain(hosted)
        market.clock.advance(NS_PER_S)
        market.take(*frames()[:20], trade("BTC/USD", 1))
        hosted.do_work()
        await asyncio.sleep(0)
        hosted.do_work()
        strategy.gate.set()
        while hosted.waiting is not None:
            await asyncio.sleep(0)
        drain(hosted)
        return strategy.story

    story = asyncio.run(scenario())

    assert story[:2] == [("timer begins",), ("timer ends",)]
    assert ("trade", "BTC/USD", 1) in story[2:]
