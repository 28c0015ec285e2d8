"""Strategies share a thread: a turn is a quota of time, and who asks for more than there is loses alone."""

import asyncio
from itertools import pairwise
from math import inf

import pytest
from structlog.testing import capture_logs

from engine import BookTop, Order, Strategy, Trade
from engine.ring import RECHECK_NS, BoardReader
from engine.strategy_host import followed_ring
from engine.strategy_host.host import CONTENDED, MEASURE_NS, StrategyHost, fair_share
from engine.strategy_host.hosted_strategy import REST_NS_MAX, HostedStrategy
from engine.telemetry import new_counters
from engine.topology import strategy_counter_names
from engine.units import NS_PER_MS, NS_PER_S, NS_PER_US
from tests.kraken.wire import Tape
from tests.public_feed.rig import Market, frames, trade
from tests.telemetry.said import Said


class Taking(Strategy):
    """Takes `took_ns` for each trade, and notes how late each came: trade n is due at n milliseconds."""

    def __init__(self, market: Market, took_ns: int = 0) -> None:
        self.market = market
        self.took_ns = took_ns
        self.follows = market.shard.symbols
        self.began_at = market.clock.mono_ns()
        self.trades: list[int] = []
        self.late_ns: list[int] = []

    def on_trade(self, trade: Trade) -> None:
        self.trades.append(trade.trade_id)
        self.late_ns.append(self.market.clock.mono_ns() - self.began_at - trade.trade_id * NS_PER_MS)
        self.market.clock.advance(self.took_ns)


def hosted_on(market: Market, *strategies: Strategy, **limits: int) -> StrategyHost:
    """One host for all of them, at the end of what was published so far."""
    hosted = [
        market.host(
            strategy, first_sequence=None, limits=limits, symbols=getattr(strategy, "follows", market.shard.symbols)
        )
        for strategy in strategies
    ]
    for number, each in enumerate(hosted):
        each.name = f"s{number}"
    counters = new_counters(strategy_counter_names([each.name for each in hosted], ["market-0"]))
    return StrategyHost(hosted, counters, market.clock)


def live_market(slot_count: int = 65536) -> Market:
    market = Market(slot_count=slot_count)
    market.take(*frames()[:20])
    return market


def run_for(market: Market, host: StrategyHost, began_at: int, seconds: float) -> None:
    """A trade a millisecond, each published when it is due or, if the thread was busy, as soon as it was not."""
    number, count_at = 0, began_at
    while (now := market.clock.mono_ns()) < began_at + seconds * NS_PER_S:
        while began_at + number * NS_PER_MS <= now:
            market.take(trade("BTC/USD", number))
            number += 1
        if not host.do_work():
            market.clock.advance(10 * NS_PER_US)
        if now >= count_at:
            count_at = now + RECHECK_NS
            host.count()


def test_a_turn_is_a_quota_of_time() -> None:
    """Forty trades wait: the slow one takes one and leaves the others to its next turns, the quick one takes all."""
    market = live_market()
    slow, quick = Taking(market, NS_PER_MS), Taking(market)
    host = hosted_on(market, slow, quick)
    market.take(*(trade("BTC/USD", number) for number in range(40)))
    host.do_work()

    assert len(slow.trades) == 1
    assert len(quick.trades) == 40
    while host.do_work():
        pass
    assert slow.trades == quick.trades


def test_each_turn_begins_with_another() -> None:
    """Nobody is always behind the others."""
    market = live_market()
    first: list[str] = []

    class Noting(Strategy):
        name = ""

        def on_trade(self, trade: Trade) -> None:
            first.append(self.name)

    strategies = [Noting() for _ in range(3)]
    for name, strategy in zip("abc", strategies, strict=True):
        strategy.name = name
    host = hosted_on(market, *strategies)
    for number in range(3):
        market.take(trade("BTC/USD", number))
        host.do_work()

    assert first == [*"abc", *"bca", *"cab"]


def test_only_the_slow_one_loses_when_there_is_not_enough_for_all() -> None:
    """1 ms for each of 1,000 trades a second: eight others get nearly all at once, and only the slow one has gaps."""
    market = live_market()
    slow, quick = Taking(market, NS_PER_MS), [Taking(market) for _ in range(8)]
    host = hosted_on(market, *quick[:4], slow, *quick[4:])
    run_for(market, host, slow.began_at, 4.0)
    of_slow, others = host.strategies[4], [*host.strategies[:4], *host.strategies[5:]]

    assert of_slow.must_rest
    assert of_slow.gaps > 0
    assert 0.002 < of_slow.busy_share < 0.01
    assert of_slow.busy_share_max > 0.5
    assert all(each.gaps == 0 and each.rests == 0 for each in others)
    late_ns = sorted(late for strategy in quick for late in strategy.late_ns[1500:])
    assert late_ns[len(late_ns) // 2] < 50 * NS_PER_US
    assert late_ns[int(len(late_ns) * 0.99)] < 0.1 * NS_PER_MS


def test_where_all_are_slow_nobody_rests() -> None:
    """They share the thread in turns, and both lose."""
    market = live_market()
    pair = [Taking(market, NS_PER_MS) for _ in range(2)]
    host = hosted_on(market, *pair)
    run_for(market, host, pair[0].began_at, 3.0)

    assert [each.rests for each in host.strategies] == [0, 0]
    assert all(0.4 < each.busy_share < 0.6 for each in host.strategies)


def test_one_that_rests_goes_on_resting_though_the_board_tells_it_all() -> None:
    """What it is called with after a gap is no record taken, and shows that it keeps pace as little."""
    market = live_market()

    class Books(Strategy):
        def on_book(self, book: BookTop) -> None:
            market.clock.advance(NS_PER_MS)

    # It falls behind, and reads the board, again and again.
    host = hosted_on(market, Books(), Taking(market), lag_ns_max=100 * NS_PER_MS)
    slow = host.strategies[0]
    rested: list[bool] = []
    for number in range(20, 2900):
        market.take(frames()[number])
        due = market.clock.mono_ns() + NS_PER_MS
        while host.do_work():
            pass
        market.clock.advance(max(0, due - market.clock.mono_ns()))
        if number % 100 == 0:
            host.count()
            rested.append((market.clock.mono_ns() > 2 * MEASURE_NS, slow.must_rest))

    assert slow.gaps > 500
    assert len([late for late, _ in rested if late]) > 5
    assert all(rests for late, rests in rested if late)


def test_nobody_rests_while_there_is_enough() -> None:
    """Two that take 0.3 ms each of a millisecond: no rest, no gap."""
    market = live_market()
    pair = [Taking(market, 300 * NS_PER_US) for _ in range(2)]
    host = hosted_on(market, *pair)
    run_for(market, host, pair[0].began_at, 4.0)

    assert [(each.rests, each.gaps) for each in host.strategies] == [(0, 0), (0, 0)]
    assert all(0.25 < each.busy_share < 0.35 for each in host.strategies)


def test_one_that_is_alone_never_rests() -> None:
    """There is nobody to leave the thread to."""
    market = live_market()
    slow = Taking(market, 2 * NS_PER_MS)
    host = hosted_on(market, slow)
    run_for(market, host, slow.began_at, 3.0)

    assert host.strategies[0].rests == 0
    assert host.strategies[0].busy_share > 0.9


def test_a_rest_ends_in_time_though_the_callback_was_long() -> None:
    """After a callback of two seconds the strategy is not away for eighteen."""
    market = live_market()
    strategy = Taking(market, 2 * NS_PER_S)
    hosted = hosted_on(market, strategy, Taking(market)).strategies[0]
    hosted.must_rest = True
    market.take(trade("BTC/USD", 1))
    hosted.do_work()
    strategy.took_ns = 0
    market.take(trade("BTC/USD", 2))
    hosted.do_work()

    assert strategy.trades == [1]
    assert not hosted.ready(market.clock.mono_ns())
    assert hosted.due_at == market.clock.mono_ns() + REST_NS_MAX
    market.clock.advance(REST_NS_MAX)
    assert hosted.ready(market.clock.mono_ns())
    hosted.do_work()
    assert strategy.trades == [1, 2]


def test_orders_and_timers_are_told_to_one_that_rests() -> None:
    """What became of its orders is not to wait."""
    market = live_market()

    class Ordering(Taking):
        timer_s = 0.001

        def __init__(self) -> None:
            super().__init__(market, NS_PER_MS)
            self.told: list[str] = []

        def on_order(self, order: Order) -> None:
            self.told.append(order.state.name)

        def on_timer(self) -> None:
            self.told.append("timer")

    strategy = Ordering()
    hosted = hosted_on(market, strategy, Taking(market)).strategies[0]
    hosted.must_rest = True
    asyncio.run(hosted.start())  # from now on its timer runs
    market.take(trade("BTC/USD", 1), trade("BTC/USD", 2))
    hosted.do_work()
    strategy.buy("BTC/USD", "1")
    hosted.do_work()

    assert strategy.trades == [1]
    assert strategy.told == ["REFUSED", "timer"]


def test_what_the_board_tells_after_a_gap_is_told_in_turns_too() -> None:
    """A strategy of 1 ms a book that was lapped is given one pair a turn, each once."""
    market = Market(slot_count=256)
    market.take(*frames()[:50])

    class Books(Strategy):
        def __init__(self) -> None:
            self.symbols: list[str] = []

        def on_book(self, book: BookTop) -> None:
            self.symbols.append(book.symbol)
            market.clock.advance(NS_PER_MS)

    strategy = Books()
    host = hosted_on(market, strategy, Taking(market))
    for start in range(50, 2050, 20):
        market.take(*frames()[start : start + 20])
    told = []
    for _ in range(2):
        host.do_work()
        told.append(len(strategy.symbols))

    assert told == [1, 2]
    assert set(strategy.symbols) == set(market.shard.symbols)
    while host.do_work():
        pass
    assert len(strategy.symbols) == 2


def test_who_fell_behind_catches_up_though_its_board_is_long_and_the_market_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two that need a tenth of the thread: a look at all that the board says takes ten turns, and in each of them a
    pair changes.
    """
    symbols = tuple(f"P{number}/USD" for number in range(100))
    tapes = [Tape(symbol) for symbol in symbols]
    market = Market(symbols=symbols, slot_count=1024, candles=(1, 5, 60))

    class CostlyBoard(BoardReader):
        def read(self, index: int) -> bytes | None:
            market.clock.advance(4 * NS_PER_US)
            return super().read(index)

    class Books(Strategy):
        def on_book(self, book: BookTop) -> None:
            market.clock.advance(50 * NS_PER_US)

    monkeypatch.setattr(followed_ring, "BoardReader", CostlyBoard)
    market.take(*(tape.snapshot() for tape in tapes), *(trade(symbol, 1) for symbol in symbols))
    host = hosted_on(market, Books(), Books())
    began_at, told = market.clock.mono_ns(), 0
    market.clock.advance(2 * NS_PER_S)  # nobody has had a turn
    gaps = []
    while (now := market.clock.mono_ns()) < began_at + 4 * NS_PER_S:
        while began_at + told * NS_PER_MS <= now:
            market.take(tapes[told % len(tapes)].nudge())
            told += 1
        if not host.do_work():
            market.clock.advance(10 * NS_PER_US)
        gaps.append([each.gaps for each in host.strategies])

    assert min(gaps[-1]) > 1000
    assert gaps[-1] == gaps[len(gaps) // 2]


def test_only_those_with_something_to_do_have_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record wakes those that take it, a call its strategy, a timer its own; a callback that waits wakes nobody."""
    market = live_market()
    turns: list[str] = []
    do_work = HostedStrategy.do_work
    monkeypatch.setattr(HostedStrategy, "do_work", lambda self: turns.append(self.name) or do_work(self))

    class Timed(Taking):
        timer_s = 0.5

        def on_timer(self) -> None:
            pass

    takers = [Taking(market) for _ in range(3)] + [Timed(market)]
    for taker, symbols in zip(takers, [("BTC/USD",), ("ETH/USD",), (), ()], strict=True):
        taker.follows = symbols
    host = hosted_on(market, *takers)
    asyncio.run(host.on_start())

    def woken() -> list[str]:
        turns.clear()
        while host.do_work() or host.ready():
            pass
        return sorted(set(turns))

    assert woken() == ["s0", "s1", "s2", "s3"]  # each looks once at what it begins with
    assert woken() == []
    market.take(trade("BTC/USD", 1))
    assert woken() == ["s0"]
    market.take(trade("ETH/USD", 1))
    assert woken() == ["s1"]
    host.strategies[2].call_soon(turns.append, "called")
    assert woken() == ["called", "s2"]
    assert host.next_timer() - market.clock.mono_ns() > 400 * NS_PER_MS
    market.clock.advance(NS_PER_S)
    assert woken() == ["s3"]


@pytest.mark.parametrize(
    ("wanted", "most"),
    [
        ([], inf),
        ([0.2, 0.3], inf),
        ([5.0], CONTENDED),
        ([0.01] * 8 + [1.0], CONTENDED - 0.08),
        ([0.1, 2.0, 3.0], (CONTENDED - 0.1) / 2),
    ],
)
def test_what_each_may_have_of_a_thread(wanted: list[float], most: float) -> None:
    """Who wants less than a fair share has it; what is left is shared by the others."""
    assert fair_share(wanted, CONTENDED) == pytest.approx(most)


def test_a_strategy_that_is_always_slow_is_named_ever_more_rarely() -> None:
    """Three hundred callbacks of a second: the limit of all lines lets a few pass, ever less often, with the count."""
    market, said = live_market(), Said()
    hosted = market.host(Taking(market, NS_PER_S), first_sequence=None)
    for number in range(300):
        market.take(trade("BTC/USD", number))
        with capture_logs() as logs:
            hosted.do_work()
        said.take(logs, market.clock.mono_ns())
    counts = [fields["slow"] for fields in said.of("slow callback")]

    assert hosted.slow == 300
    assert counts[0] == 1
    assert 5 <= len(counts) < 10
    assert all(2 * (later - earlier) >= earlier for earlier, later in pairwise(counts))
