"""A feed that follows its shard's table: pairs that come and go, over the deaths of its processes."""

import json
from decimal import Decimal
from typing import Any

import pytest

from engine.kraken.public.messages import TickerData
from engine.native import CORE
from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.processes.run_view import ShardView
from engine.public_feed.feed import announce_stale
from engine.public_feed.sources import Kind as DataKind
from engine.public_feed.sources import SourceSettings
from engine.records import (
    BookTop,
    FeedState,
    Kind,
    Source,
    number_of,
    pair_index_of,
    state_of,
    unpack_feed_state,
    unpack_trade,
)
from engine.ring import BoardReader, BoardWriter, Publisher, Subscriber
from engine.summary import sources_summary
from engine.topology import ALL_CHANNELS, Channel
from engine.units import NS_PER_S
from tests.kraken.wire import Tape, acks, error
from tests.public_feed.rig import Market, instrument, trade

SOL = "SOL/USD"
HEARTBEAT = b'{"channel":"heartbeat"}'


def sol() -> Tape:
    return Tape(SOL, decimals=(2, 8), mid=14_000)


class Story:
    """A market with two pairs from the start and room for three."""

    def __init__(self, **options: Any) -> None:
        self.market = Market(added_max=3, depth=10, **options)
        assert self.market.followed is not None
        self.followed = self.market.followed
        self.followed.begin("program", self.market.shard.symbols, takes_rest_books=False)
        self.tape = sol()
        self.reader = Subscriber(self.market.ring, 1)
        self.board = BoardReader(self.market.board)

    def subscribe(self, symbol: str = SOL, channels: Any = None) -> None:
        self.followed.subscribe("program", symbol, channels)
        self.market.look_at_table()
        self.market.obey()
        self.market.feed.do_work()

    def unsubscribe(self, symbol: str, channels: Any = None) -> None:
        self.followed.unsubscribe("program", symbol, channels)
        self.market.look_at_table()

    def live(self) -> "Story":
        """SOL/USD is followed, and its book is live."""
        self.subscribe()
        self.market.take(instrument(symbol=SOL, price_precision=2), self.tape.snapshot())
        self.market.feed.do_work()
        return self

    def told(self) -> list[bytes]:
        return self.reader.poll_many(1000)

    def states(self) -> list[tuple[int, str]]:
        return [(record[4], str(state_of(record))) for record in self.told() if record[0] == Kind.FEED_STATE]


def test_an_added_pair_is_published_as_one_from_the_start():
    """Its index is the next one: pair, state, books and trades in the ring, and on the board."""
    story = Story()
    story.told()
    story.live()
    story.market.take(story.tape.nudge(), trade(SOL, 7, "140.01"))
    kinds = [(record[4], Kind(record[0]).name) for record in story.told()]
    book = BookTop(SOL, story.board.read(2) or b"")
    boards = MarketBoards(
        [BoardPort(story.market.shard, story.market.board, story.market.counters, story.market.table)],
        story.market.clock,
    )

    assert kinds == [(2, "FEED_STATE"), (2, "PAIR"), (2, "FEED_STATE"), (2, "BOOK_TOP"), (2, "BOOK_TOP"), (2, "TRADE")]
    assert book.state == FeedState.LIVE
    assert book.best_bid is not None
    assert story.market.counters.get("2 confirmed") == ALL_CHANNELS
    pair, top = boards.pair(SOL), boards.top(SOL)
    assert pair is not None
    assert pair.price_decimals == 2
    assert top is not None
    assert top.is_live


def test_a_router_that_lives_already_finds_the_new_pair():
    """Its view was made before; it reads the table again when it misses a name."""
    story = Story()
    port = BoardPort(story.market.shard, story.market.board, story.market.counters, story.market.table)
    boards = MarketBoards([port], story.market.clock)
    before = boards.pair(SOL), boards.follows_book(SOL)
    story.live()

    assert before == (None, False)
    assert boards.pair(SOL) is not None
    assert boards.follows_book(SOL)
    story.unsubscribe(SOL)
    top = boards.top(SOL)
    assert not boards.follows_book(SOL)
    assert top is not None
    assert not top.is_live


@pytest.mark.skipif(CORE is None, reason="the lane is compiled")
def test_updates_of_an_added_pair_take_the_short_way_too():
    """As those of a pair from the start."""
    story = Story().live()
    lane = story.market.feed.lane
    assert lane is not None
    before = lane.taken
    for _ in range(5):
        story.market.take(story.tape.nudge())
    assert lane.taken == before + 5
    story.unsubscribe(SOL)
    story.told()
    story.market.take(story.tape.nudge())
    assert lane.taken == before + 5
    assert story.told() == []


def test_a_successor_follows_what_the_table_says():
    """Subscribed before the death, given back after it: each is announced as what it is."""
    story = Story().live()
    market = story.market
    story.told()
    story.followed.unsubscribe("program", "ETH/USD", None)
    board, before = BoardWriter(market.board), BoardReader(market.board)
    assert market.table is not None
    announce_stale(market.shard, Publisher(market.ring), board, before, "died", 1, market.table.rows)
    announced = story.states()
    market.start_feed()
    again = story.states()
    market.obey()
    market.take(instrument(symbol=SOL, price_precision=2), story.tape.snapshot())

    assert announced == again == [(0, "stale"), (1, "unsubscribed"), (2, "stale")]
    assert set(market.session.feeds) == {"BTC/USD", "ETH/USD", SOL}
    assert market.session.is_confirmed("book", SOL)
    assert not market.session.is_confirmed("book", "ETH/USD")
    assert (2, "live") in story.states()
    assert story.board.complete_upto == market.publisher.cursor


def test_a_pair_that_was_given_back_and_comes_again_misses_no_trade():
    """What happened while nobody followed it is no gap; nor for the successor of a feed."""
    story = Story().live()
    market = story.market
    market.take(trade(SOL, 10, "140.01"), trade(SOL, 11, "140.01"))
    story.unsubscribe(SOL)
    market.obey()
    market.take(trade(SOL, 12, "140.01"))  # still on its way
    story.told()
    story.subscribe()
    market.take(trade(SOL, 500, "140.01"))
    told = [unpack_trade(SOL, record).trade_id for record in story.told() if record[0] == Kind.TRADE]

    assert told == [500]
    assert market.session.trades_missed == 0


def test_a_pair_that_kraken_does_not_know_leaves_its_place_to_another():
    """Nothing was ever published of it, so no record can be taken for the other's."""
    story = Story()
    story.told()
    story.followed.subscribe("program", "SOX/USD", None)
    story.market.look_at_table()
    for request in story.market.session.to_send():
        if b"SOX" in request:
            story.market.take(error(request, "Currency pair not supported SOX/USD", "SOX/USD"))
    refusals = story.market.refusals
    assert {symbol for symbol, _ in refusals} == {"SOX/USD"}
    assert [unpack_feed_state("", record).state for record in story.told() if record[0] == Kind.FEED_STATE] == [
        FeedState.STALE
    ]
    assert story.followed.refuse("SOX/USD", lambda: None)
    story.live()
    assert set(story.market.session.feeds) == {"BTC/USD", "ETH/USD", SOL}
    assert story.market.session.feeds[SOL].pair_index == 2
    assert story.states()[-1] == (2, "live")


def test_a_name_that_is_refused_before_kraken_lists_it_leaves_no_record_in_its_place():
    """Kraken tells its pairs a moment later, that one among them, and its ticker is served: the next one's place."""
    story = Story()
    market = story.market
    story.followed.subscribe("program", SOL, None)
    market.look_at_table()
    requests = market.session.to_send()
    for request in requests:
        if b"SOL" in request and b'"ticker"' not in request:
            market.take(error(request, f"Currency pair not supported {SOL}", SOL))
    assert story.followed.refuse(SOL, lambda: None)
    story.told()
    for request in requests:
        if b'"ticker"' in request:
            market.take(*acks(request))
    both = [json.loads(instrument(symbol=symbol, price_precision=3))["data"]["pairs"][0] for symbol in ("BTC/USD", SOL)]
    market.take(
        json.dumps({"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": both}}).encode(),
        instrument(symbol=SOL, price_precision=3),
        story.tape.snapshot(),
        story.tape.nudge(),
        trade(SOL, 7, "140.01"),
    )
    told = {pair_index_of(record) for record in story.told()}
    market.look_at_table()
    story.subscribe("DOT/USD")

    assert 2 not in told
    assert story.board.read(market.shard.pair_slot(2)) is None
    assert market.session.feeds["DOT/USD"].pair_index == 2
    assert SOL not in market.session.feeds


def test_a_name_that_was_refused_and_is_listed_by_then_is_told_when_it_is_wanted_again():
    """What Kraken said of it meanwhile is known, and holds."""
    story = Story()
    story.followed.subscribe("program", SOL, None)
    story.market.look_at_table()
    for request in story.market.session.to_send():
        if b"SOL" in request:
            story.market.take(error(request, f"Currency pair not supported {SOL}", SOL))
    assert story.followed.refuse(SOL, lambda: None)
    story.market.take(instrument(symbol=SOL, price_precision=2))
    story.subscribe()
    story.market.take(story.tape.snapshot())

    assert story.board.read(story.market.shard.pair_slot(2)) is not None
    assert story.states()[-1] == (2, "live")


def test_a_pair_that_was_refused_and_is_wanted_again_at_once_is_asked_for_again():
    """Between two looks of the feed at the table its row is what it was: Kraken is asked all the same."""
    story = Story()

    def ask() -> list[bytes]:
        story.market.clock.advance(NS_PER_S)
        story.market.look_at_table()
        return [request for request in story.market.session.to_send() if b"SOX" in request]

    story.followed.subscribe("program", "SOX/USD", None)
    asked = ask()
    for request in asked:
        story.market.take(error(request, "Currency pair not supported SOX/USD", "SOX/USD"))
    assert story.followed.refuse("SOX/USD", lambda: None)
    story.followed.subscribe("program", "SOX/USD", None)
    again = ask()
    for request in again:
        story.market.take(error(request, "Currency pair not supported SOX/USD", "SOX/USD"))

    assert len(asked) == len(again) > 0
    assert len(story.market.refusals) == 2 * len(asked)


def test_rest_is_not_asked_for_what_nobody_follows():
    """And a pair that nobody follows makes no source look bad."""
    story = Story(sources=SourceSettings(book_symbols=(SOL, "ETH/USD"), compare_ns=0), symbols=("BTC/USD", "ETH/USD"))
    market, sources = story.market, story.market.sources
    assert sources is not None
    story.live()
    story.unsubscribe("ETH/USD")
    market.feed.on_events(market.session.closed(market.clock.mono_ns(), "cut"))
    market.clock.advance(2 * NS_PER_S)
    market.feed.look_at_sources(market.clock.mono_ns())
    sources.check()
    asks = []
    while (ask := sources.next_ask(market.clock.mono_ns())) is not None:
        sources.asked(ask, market.clock.mono_ns())
        asks.append((ask.kind, ask.symbols))

    assert (DataKind.TICKER, ("BTC/USD", SOL)) in asks
    assert not any("ETH/USD" in symbols for _, symbols in asks)
    shown = sources_summary([ShardView(market.shard, market.ring, market.board, market.counters, market.table)])
    assert set(shown["pairs"]) == {"BTC/USD", SOL}
    assert shown["websocket"]["reasons"][0] == "does not serve book of 2 of 2 pairs"


def test_rest_is_not_asked_for_a_name_that_may_be_no_pair():
    """One unknown name would spoil the answer about all of them."""
    story = Story(sources=SourceSettings(compare_ns=0), is_connected=False)
    market, sources = story.market, story.market.sources
    assert sources is not None
    story.followed.subscribe("program", "SOX/USD", None)
    market.look_at_table()
    market.clock.advance(20 * NS_PER_S)
    market.feed.look_at_sources(market.clock.mono_ns())
    ask = sources.next_ask(market.clock.mono_ns())

    assert ask is not None
    assert ask.symbols == ("BTC/USD", "ETH/USD")


def test_an_answer_of_rest_about_a_pair_that_was_given_back_is_dropped():
    """It was asked for while the pair was followed."""
    story = Story(sources=SourceSettings(compare_ns=0))
    market, sources = story.market, story.market.sources
    assert sources is not None
    story.live()
    market.feed.on_events(market.session.closed(market.clock.mono_ns(), "cut"))
    market.clock.advance(NS_PER_S)
    market.feed.look_at_sources(market.clock.mono_ns())
    ask = sources.next_ask(market.clock.mono_ns())
    assert ask is not None
    assert SOL in ask.symbols
    sources.asked(ask, market.clock.mono_ns())
    story.unsubscribe(SOL)
    story.told()
    d = Decimal
    ticker = TickerData(SOL, bid=d("140.00"), ask=d("140.02"), last=d("140.01"), volume=d(5))
    market.feed.take_rest(ask, [ticker], market.clock.mono_ns())
    sources.check()

    assert story.told() == []
    assert market.counters.get("2 ticker_source") == Source.NONE


def test_channels_change_alone():
    """A ticker without a book: the book says that nobody follows it, and is none of REST's business."""
    story = Story(sources=SourceSettings(compare_ns=0))
    story.told()
    story.subscribe(channels=["ticker"])

    assert story.market.counters.get("2 confirmed") == Channel.TICKER
    assert story.states() == []
    story.subscribe(channels=["book"])
    assert story.states() == [(2, "stale")]
    story.market.take(story.tape.snapshot())
    story.unsubscribe(SOL, ["book"])
    assert [state for _, state in story.states()] == ["live", "unsubscribed"]
    assert story.market.session.feeds[SOL].channels == Channel.TICKER
    story.market.clock.advance(100 * NS_PER_S)
    story.market.take(HEARTBEAT)
    story.market.feed.on_events(story.market.session.poll(story.market.clock.mono_ns()))
    assert (2, "stale") not in story.states()


def test_candles_are_made_of_the_trades_of_an_added_pair() -> None:
    """Of those alone whose candles are followed; not any more when they are given back."""
    story = Story(candles=(1, 5))
    market = story.market
    assert market.feed.candles is not None
    story.subscribe(channels=["candle"])
    assert market.session.is_confirmed("trade", SOL)
    assert market.counters.get("2 confirmed") & Channel.CANDLE
    story.told()
    market.take(trade(SOL, 7, "140.01"), trade(SOL, 8, "140.02"))
    assert {(record[4], number_of(record)) for record in story.told() if record[0] == Kind.CANDLE} == {(2, 1), (2, 5)}
    market.feed.candles.check()
    story.unsubscribe(SOL)
    market.obey()
    story.subscribe(channels=["trade"])
    story.told()
    market.take(trade(SOL, 9, "140.03"))
    market.feed.do_work()
    assert Kind.CANDLE not in {record[0] for record in story.told()}
    assert not market.feed.candles.follows(2)
    market.feed.candles.check()
