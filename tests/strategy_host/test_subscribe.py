"""Strategies that subscribe and give back: what they are told, and what the others are not."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine import BookTop, Candle, FeedState, Strategy, Ticker, Trade
from engine.errors import CallError
from engine.market import Pair
from engine.strategy_host.hosted_strategy import NO_FOLLOWING, HostedStrategy
from tests.kraken.wire import Tape, with_wrong_checksum
from tests.public_feed.rig import Market, drain, instrument, tick, trade
from tests.waiting import turns

BTC, ETH, SOL = "BTC/USD", "ETH/USD", "SOL/USD"


class Noting(Strategy):
    """Notes what it is told; `on` is called with each note."""

    def __init__(self) -> None:
        self.story: list[tuple[Any, ...]] = []
        self.on: Callable[[tuple[Any, ...]], None] = lambda _: None

    def note(self, *what: Any) -> None:
        self.story.append(what)
        self.on(what)

    def on_book(self, book: BookTop) -> None:
        self.note("book", book.symbol)

    def on_trade(self, one: Trade) -> None:
        self.note("trade", one.symbol, one.trade_id)

    def on_ticker(self, ticker: Ticker) -> None:
        self.note("ticker", ticker.symbol)

    def on_pair(self, pair: Pair) -> None:
        self.note("pair", pair.symbol)

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        self.note("state", symbol, str(state), reason)

    def taken(self) -> list[tuple[Any, ...]]:
        story, self.story = self.story, []
        return story


class Other(Noting):
    """Another one."""


class Story:
    """Two strategies on a market with a pair from the start and room for two."""

    def __init__(self, **options: Any) -> None:
        self.market = Market(symbols=(BTC, ETH), added_max=2, depth=10, **options)
        self.one, self.other = Noting(), Other()
        self.hosts: list[HostedStrategy] = [self.market.host(self.one), self.market.host(self.other)]
        self.tapes = {BTC: Tape(BTC), SOL: Tape(SOL, decimals=(2, 8), mid=14_000)}
        self.serve()

    def serve(self) -> None:
        """The feed looks at its table, Kraken answers, the strategies take what there is."""
        self.market.look_at_table()
        self.market.obey()
        self.market.feed.do_work()
        self.drain()

    def drain(self) -> None:
        for host in self.hosts:
            drain(host)

    def take(self, *frames: bytes, **options: Any) -> None:
        self.market.take(*frames, **options)
        self.drain()

    def live(self) -> None:
        """The book of SOL/USD comes."""
        self.take(instrument(symbol=SOL, price_precision=2), self.tapes[SOL].snapshot())


def test_a_strategy_hears_of_a_pair_that_it_subscribes_to():
    """Rules, then the state, then books; it can ask for all of them; the other one hears nothing."""
    story = Story()
    context = story.one.context
    assert SOL not in context.symbols
    assert context.subscribe(SOL)
    assert tuple(context.symbols) == (BTC, ETH, SOL)
    assert context.state(SOL) is FeedState.STALE
    story.serve()
    story.live()
    story.take(trade(SOL, 5, "140.01"))

    assert story.one.taken() == [
        ("pair", SOL), ("state", SOL, "live", "snapshot verified"), ("book", SOL), ("trade", SOL, 5),
    ]  # fmt: skip
    assert story.other.taken() == []
    book = context.book(SOL)
    assert book is not None
    assert book.state == FeedState.LIVE
    assert [one.trade_id for one in context.trades(SOL)] == [5]
    assert context.pair(SOL) is not None
    with pytest.raises(KeyError, match="follows BTC/USD, ETH/USD"):
        story.other.context.book(SOL)


def test_a_second_follower_begins_with_what_the_board_says():
    """The pair is live already: it waits for no news to hear of it."""
    story = Story()
    story.one.context.subscribe(SOL)
    story.serve()
    story.live()
    story.other.context.subscribe(SOL)
    story.drain()

    assert story.other.taken() == [("pair", SOL), ("state", SOL, "live", "as the board says"), ("book", SOL)]
    story.take(story.tapes[SOL].nudge())
    assert story.other.taken() == [("book", SOL)]


def test_what_the_board_says_is_told_once_to_a_second_follower_with_async_callbacks():
    """Each is waited for, and none is told again because of the next."""

    class Waiting(Noting):
        async def on_ticker(self, ticker: Ticker) -> None:  # type: ignore[override]
            self.note("ticker", ticker.symbol)
            await asyncio.sleep(0)

        async def on_candle(self, candle: Candle) -> None:
            self.note("candle", candle.interval_min)
            await asyncio.sleep(0)

    async def scenario() -> list[tuple[Any, ...]]:
        story = Story(candles=(1, 5), wall_ns=1_783_465_444 * 10**9)
        story.one.context.subscribe(SOL)
        story.serve()
        story.live()
        story.take(trade(SOL, 5, "140.01", at="23:04:04.5"), tick(SOL, 140.01))
        story.market.clock.advance(10**9)
        story.serve()
        late = Waiting()
        hosted = story.market.host(late, symbols=(BTC,))
        await hosted.start()
        hosted.context.subscribe(SOL)
        for _ in range(100):
            hosted.do_work()
            await asyncio.sleep(0)
        return late.taken()

    told = asyncio.run(scenario())

    assert [note[0] for note in told if note[-1] != BTC] == ["pair", "ticker", "candle", "candle", "state", "book"]


def test_a_pair_that_begins_holds_up_no_other_though_its_ticker_changes_sooner_than_it_is_told():
    """An async callback that takes longer than the market needs for the next ticker: the newest comes by the ring."""

    class Waiting(Noting):
        def __init__(self) -> None:
            super().__init__()
            self.gate = asyncio.Event()

        async def on_ticker(self, ticker: Ticker) -> None:  # type: ignore[override]
            self.note("ticker", ticker.symbol, int(ticker.last))
            await self.gate.wait()
            self.gate.clear()

    async def scenario() -> list[tuple[Any, ...]]:
        story = Story()
        story.one.context.subscribe(SOL)
        story.serve()
        story.live()
        story.take(story.tapes[BTC].snapshot(), tick(SOL, 140.0))
        late = Waiting()
        hosted = story.market.host(late, symbols=(BTC,), first_sequence=None)
        await hosted.start()
        hosted.context.subscribe(SOL)
        for number in range(1, 6):
            hosted.do_work()
            story.take(tick(SOL, 140.0 + number), story.tapes[BTC].nudge())
            late.gate.set()
            await turns(3)
        return late.taken()

    told = asyncio.run(scenario())

    assert ("book", SOL) in told
    assert ("book", BTC) in told
    assert [note[2] for note in told if note[0] == "ticker"][:3] == [140, 141, 142]


@pytest.mark.parametrize("kind", ["live", "doubt"])
def test_what_a_burst_has_told_and_the_board_has_not_is_not_lost(kind: str):
    """Subscribed in the middle of a burst, when the change of state was taken from the ring and dropped."""
    story = Story()
    story.one.context.subscribe(SOL)
    story.serve()
    sol = story.tapes[SOL]
    story.take(instrument(symbol=SOL, price_precision=2))
    if kind == "doubt":
        story.take(sol.snapshot())
        story.take(sol.nudge().replace(b'"checksum":', b'"checksum":1'), end_burst=False)
    else:
        story.take(sol.snapshot(), end_burst=False)
    story.other.context.subscribe(SOL)
    story.drain()
    assert story.hosts[1].ready(story.market.clock.mono_ns())
    story.take()  # the burst ends

    assert story.other.context.state(SOL) is (FeedState.LIVE if kind == "live" else FeedState.STALE)
    assert story.one.context.state(SOL) is story.other.context.state(SOL)


def test_no_book_from_before_a_doubt_follows_the_doubt_that_the_board_tells():
    """The ring repeats what came before the board was read; the strategy was busy meanwhile."""
    story = Story()
    story.one.context.subscribe(SOL)
    story.serve()
    story.live()
    sol = story.tapes[SOL]
    story.other.context.subscribe(SOL)
    story.market.take(sol.nudge())
    story.market.take(with_wrong_checksum(sol.nudge()))
    story.drain()

    assert story.other.taken() == [("pair", SOL)]
    assert story.other.context.book(SOL) is None
    assert story.other.context.state(SOL) is FeedState.STALE
    assert [what for what, *_ in story.one.taken()][-2:] == ["book", "state"]  # who followed it saw both
    story.serve()
    story.take(sol.snapshot())
    assert story.other.taken() == [("state", SOL, "live", "snapshot verified"), ("book", SOL)]


def test_a_strategy_gives_back_what_another_follows():
    """It hears that, and no more of the pair; the other one hears on."""
    story = Story()
    for strategy in (story.one, story.other):
        strategy.context.subscribe(SOL)
    story.serve()
    story.live()
    story.one.taken(), story.other.taken()
    assert story.one.context.unsubscribe(SOL)
    assert story.one.context.unsubscribe(SOL)
    story.serve()
    story.take(story.tapes[SOL].nudge())

    assert story.one.taken() == [("state", SOL, "unsubscribed", "unsubscribed")]
    assert story.other.taken() == [("book", SOL)]
    assert tuple(story.one.context.symbols) == (BTC, ETH)
    assert story.market.session.is_confirmed("book", SOL)
    with pytest.raises(KeyError, match="is not followed"):
        story.one.context.book(SOL)
    assert story.one.context.position(SOL).qty == 0
    story.other.context.unsubscribe(SOL)
    story.serve()
    assert not story.market.session.is_confirmed("book", SOL)
    assert story.other.taken() == [("state", SOL, "unsubscribed", "unsubscribed")]


def test_a_pair_from_the_start_is_given_back_when_the_last_gives_it_back():
    """And comes back when it is wanted again, stale until its first book."""
    story = Story()
    btc = story.tapes[BTC]
    story.take(instrument(), btc.snapshot())
    for strategy in (story.one, story.other):
        strategy.context.unsubscribe(BTC)
    story.serve()
    story.one.taken()
    story.take(btc.nudge())

    assert story.one.taken() == []
    assert str(story.market.session.feeds[BTC].state) == "unsubscribed"
    story.one.context.subscribe(BTC)
    assert story.one.context.state(BTC) is FeedState.STALE
    story.serve()
    story.take(btc.snapshot())
    assert story.one.taken() == [("pair", BTC), ("state", BTC, "live", "snapshot verified"), ("book", BTC)]


def test_given_back_and_wanted_again_before_the_feed_looks_nothing_happens_at_kraken():
    """The wish is the same as before; the strategy goes on with the board."""
    story = Story()
    btc = story.tapes[BTC]
    story.take(instrument(), btc.snapshot())
    story.one.taken()
    story.one.context.unsubscribe(BTC)
    story.one.context.subscribe(BTC)
    story.serve()

    assert story.one.taken() == [
        ("state", BTC, "unsubscribed", "unsubscribed"),
        ("pair", BTC),
        ("state", BTC, "live", "as the board says"),
        ("book", BTC),
    ]
    assert story.market.session.feeds[BTC].resyncs == 0


def test_channels_are_each_strategys_own():
    """One takes books, the other trades; the feed takes both."""
    story = Story()
    story.one.context.subscribe(SOL, ["book"])
    story.other.context.subscribe(SOL, channels=("trade",))
    story.serve()
    story.live()
    story.take(trade(SOL, 5, "140.01"))

    assert [note[0] for note in story.one.taken()] == ["pair", "state", "book"]
    assert [note[0] for note in story.other.taken()] == ["pair", "trade"]
    assert story.other.context.state(SOL) is FeedState.UNSUBSCRIBED
    story.other.context.subscribe(SOL, "book")
    story.drain()
    assert [note[:2] for note in story.other.taken()] == [("state", SOL), ("book", SOL)]
    story.other.context.unsubscribe(SOL, ["trade"])
    story.take(trade(SOL, 6, "140.01"), story.tapes[SOL].nudge())
    assert story.other.taken() == [("book", SOL)]


def test_of_a_channel_that_was_given_back_nothing_is_known():
    """Another strategy may follow it still, so nothing else would say how old it is."""
    story = Story(candles=(1,), wall_ns=1_783_465_444 * 10**9)
    for each in (story.one, story.other):
        each.context.subscribe(SOL)
    story.serve()
    story.live()

    def known() -> list[bool]:
        context = story.one.context
        return [bool(each(SOL)) for each in (context.book, context.ticker, context.trades, context.candle)]

    story.take(trade(SOL, 5, "140.01", at="23:04:04.5"), tick(SOL, 140.01))
    story.serve()
    assert known() == [True] * 4
    for number, channel in enumerate(("ticker", "trade", "candle")):
        story.one.context.unsubscribe(SOL, [channel])
        story.drain()
        assert known() == [True, *[False] * (number + 1), *[True] * (2 - number)]
    story.one.taken()
    story.one.context.subscribe(SOL, ["ticker"])
    story.drain()
    assert known() == [True, True, False, False]
    assert story.one.taken() == [("ticker", SOL)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("SOL",), 'subscribe was given "SOL", which is no symbol of Kraken\'s v2; write it as BASE/QUOTE'),
        (("xbt/usd",), "use BTC/USD"),
        ((7,), "subscribe takes the name of a pair, such as BTC/USD, not 7"),
        ((None,), "not None"),
        ((["SOL/USD"],), "subscribe takes the name of a pair, such as BTC/USD, not"),
        ((SOL, ["boks"]), "'boks' is no channel; did you mean book?"),
        ((SOL, ["ohlc"]), "'ohlc' is no channel; did you mean candle?"),
        ((SOL, "level3"), "'level3' is no channel; there are book, trade, ticker, candle"),
        ((SOL, []), "channels names none"),
        ((SOL, 5), "channels is a list of names"),
        ((SOL, [None]), "None is no channel"),
    ],
)
def test_a_call_that_cannot_be_right_is_told_and_changes_nothing(arguments: tuple[Any, ...], sentence: str):
    """False at once, and the sentence in on_feed_state; it never raises."""
    story = Story()
    before = tuple(story.one.context.symbols)

    assert story.one.context.subscribe(*arguments) is False
    story.drain()
    ((kind, _, state, reason),) = story.one.taken()
    assert (kind, state) == ("state", "unsubscribed")
    assert sentence in reason
    assert tuple(story.one.context.symbols) == before
    with pytest.raises(CallError) as raised:
        story.hosts[0].subscribe(*(*arguments, None)[:2])
    assert str(raised.value) == reason


def test_a_mistake_about_a_pair_that_is_live_does_not_say_that_it_is_not():
    """The state is told as it is."""
    story = Story()
    story.take(instrument(), story.tapes[BTC].snapshot())
    story.one.taken()
    story.one.context.subscribe(BTC, ["boks"])
    story.drain()

    assert story.one.taken()[0][:3] == ("state", BTC, "live")


def test_giving_back_a_name_that_is_no_pair_of_the_run_is_a_mistake():
    """A second time is none: that is what the caller wanted."""
    story = Story()

    assert story.one.context.unsubscribe("ETH/UDS") is False
    story.drain()
    assert "ETH/UDS is not followed; did you mean ETH/USD?" in story.one.taken()[0][3]
    assert story.one.context.unsubscribe(ETH)
    assert story.one.context.unsubscribe(ETH)


def test_more_pairs_than_there_is_room_for_are_refused():
    """A pair that was given back counts: its place is its own for the whole run."""
    story = Story()
    assert story.one.context.subscribe("AAA/USD")
    assert story.one.context.subscribe("BBB/USD")
    story.one.context.unsubscribe("AAA/USD")

    assert story.one.context.subscribe("CCC/USD") is False
    story.drain()
    reason = story.one.taken()[-1][3]
    assert "2 pairs were added" in reason
    assert "feed.pairs_added_max" in reason
    assert story.one.context.subscribe("AAA/USD")


def test_a_refused_pair_is_told_to_all_who_follow_it_and_its_place_is_free():
    """Kraken's reason is the reason; the next pair in its place is not taken for it."""
    story = Story()
    for strategy in (story.one, story.other):
        strategy.context.subscribe("SOX/USD")
    story.serve()
    story.one.taken(), story.other.taken()

    def tell() -> None:
        for host in story.hosts:
            host.tell_refused("SOX/USD", "Kraken refuses book of SOX/USD")

    assert story.market.followed is not None
    assert story.market.followed.refuse("SOX/USD", tell)
    assert story.market.followed.refuse("SOX/USD", tell)  # of another channel: told once
    assert not story.market.followed.refuse(BTC, tell)
    story.one.context.subscribe(SOL)
    story.serve()
    story.live()

    assert story.other.taken() == [("state", "SOX/USD", "unsubscribed", "Kraken refuses book of SOX/USD")]
    told = story.one.taken()
    assert told[0] == ("state", "SOX/USD", "unsubscribed", "Kraken refuses book of SOX/USD")
    assert [note[1] for note in told[1:]] == [SOL] * 3
    assert tuple(story.one.context.symbols) == (BTC, ETH, SOL)


def test_a_callback_may_subscribe_and_give_back():
    """In the middle of a batch: nothing of the pair is told after it was given back."""
    story = Story()
    story.take(instrument(), story.tapes[BTC].snapshot())
    story.one.taken()

    def once(what: tuple[Any, ...]) -> None:
        if what[0] == "book":
            story.one.context.unsubscribe(BTC)
            story.one.context.subscribe(SOL)

    story.one.on = once
    story.take(*(story.tapes[BTC].nudge() for _ in range(5)))
    story.serve()

    assert story.one.taken() == [("book", BTC), ("state", BTC, "unsubscribed", "unsubscribed")]
    assert tuple(story.one.context.symbols) == (ETH, SOL)


def test_a_pair_is_given_back_while_it_is_told_what_the_board_says():
    """By on_pair, the first callback of the pair: no book of it follows."""
    story = Story()
    story.one.context.subscribe(SOL)
    story.serve()
    story.live()
    story.other.on = lambda what: what[0] == "pair" and story.other.context.unsubscribe(SOL) and None
    story.other.context.subscribe(SOL)
    story.drain()

    assert story.other.taken() == [("pair", SOL), ("state", SOL, "unsubscribed", "unsubscribed")]


def test_a_strategy_that_follows_a_part_is_told_that_part_after_a_gap():
    """Books of the other pairs repeat in the ring, and are none of its business."""
    market = Market(slot_count=16, symbols=(BTC, ETH), depth=10)
    hosted = market.host(noting := Noting(), symbols=(BTC,))
    btc, eth = Tape(BTC), Tape(ETH)
    market.take(instrument(), btc.snapshot(), eth.snapshot())
    for _ in range(40):
        market.take(eth.nudge(), btc.nudge())
    market.take(eth.nudge(), btc.nudge(), end_burst=False)  # in the ring, and on the board not yet
    drain(hosted)

    assert hosted.laps == 1
    assert {note[1] for note in noting.taken()} == {BTC}


def test_in_a_replay_nothing_can_be_subscribed():
    """It says so, the same at each replay."""
    market = Market(symbols=(BTC,), depth=10)
    hosted = market.host(noting := Noting())

    assert noting.context.subscribe(SOL) is False
    drain(hosted)
    assert noting.taken() == [("state", SOL, "unsubscribed", NO_FOLLOWING)]
