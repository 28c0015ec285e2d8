"""Where data come from: by evidence, marked, and back again; under a clock by hand."""

from decimal import Decimal as D

import pytest

from engine.kraken.public.messages import ExactLevel, TickerData
from engine.kraken.rest.market_data import RestDepth
from engine.public_feed.sources import START_GRACE_NS, Kind, SourceSettings
from engine.records import BookTop, FeedState, Source, unpack_ticker
from engine.ring import BoardReader
from engine.strategy.api import Strategy
from engine.units import NS_PER_MS, NS_PER_S, decimal_units
from tests.kraken.wire import Tape
from tests.public_feed.rig import Market

BTC = "BTC/USD"


def ticker_frame(symbol: str = BTC, last: str = "5000.1") -> bytes:
    return (
        f'{{"channel":"ticker","type":"update","data":[{{"symbol":"{symbol}","bid":5000.0,"bid_qty":1.0,"ask":5000.2,'
        f'"ask_qty":1.0,"last":{last},"volume":3.0,"vwap":5000.0,"low":1.0,"high":9.0,"change":0.1,"change_pct":0.1}}]}}'
    ).encode()


def confirmed(channel: str, symbol: str = BTC, **more: object) -> bytes:
    """Kraken's word that a subscription succeeded."""
    fields = "".join(f',"{name}":{value}' for name, value in more.items())
    return (
        f'{{"method":"subscribe","result":{{"channel":"{channel}","symbol":"{symbol}"{fields}}},"success":true}}'
    ).encode()


HEARTBEAT = b'{"channel":"heartbeat"}'
DEPTH = RestDepth([ExactLevel(D("4999.9"), D("0.5"))], [ExactLevel(D("5000.25"), D("0.125"))])


class Second(Strategy):
    """Takes books of REST."""

    rest_books = True

    def __init__(self) -> None:
        self.told: list[BookTop] = []

    def on_book(self, book: BookTop) -> None:
        self.told.append(book)


class First(Second):
    """Takes verified books alone."""

    rest_books = False


class Story:
    """A feed with a second source, step by step."""

    def __init__(self, *symbols: str, is_connected: bool = True, compare_ns: int = 0) -> None:
        self.market = Market(
            symbols=symbols or (BTC,),
            sources=SourceSettings(book_symbols=symbols or (BTC,), compare_ns=compare_ns),
            depth=10,
            fills_gaps=True,
            is_connected=is_connected,
        )
        self.sources = self.market.sources
        assert self.sources is not None
        self.tape = Tape()

    @property
    def now(self) -> int:
        return self.market.clock.mono_ns()

    def wait(self, ns: int) -> None:
        """Let time pass without a frame, looked at as often as the shell does."""
        end = self.now + ns
        while self.now < end:
            self.market.clock.advance(min(50 * NS_PER_MS, end - self.now))
            self.look()

    def look(self) -> None:
        self.market.feed.look_at_sources(self.market.clock.mono_ns())
        self.sources.check()

    def serve(self) -> None:
        """All channels of BTC/USD, healthy."""
        self.market.take(self.tape.snapshot(), confirmed("ticker"), confirmed("trade"), ticker_frame(), HEARTBEAT)
        self.look()

    def lose(self, reason: str = "cut") -> None:
        self.market.feed.on_events(self.market.session.closed(self.market.clock.mono_ns(), reason))
        self.market.feed.on_burst_end()
        self.look()

    def connect(self) -> None:
        self.market.session.opened(self.market.clock.mono_ns())
        self.look()

    def marks(self) -> tuple[Source, ...]:
        """The sources of book, ticker and trades, as another process reads them."""
        counters = self.market.counters
        marks = tuple(Source(counters.get(f"0 {name}")) for name in ("book_source", "ticker_source", "trades_source"))
        assert marks == tuple(self.sources.source(kind, 0) for kind in Kind)
        return marks

    def asks(self) -> list[Kind]:
        """What REST would be asked for now; each counts as asked."""
        kinds = []
        while (ask := self.sources.next_ask(self.market.clock.mono_ns())) is not None:
            self.sources.asked(ask, self.market.clock.mono_ns())
            kinds.append(ask.kind)
        return kinds

    def answer(self, kind: Kind, reply: object) -> None:
        """REST answers the next thing that it is asked for."""
        ask = self.sources.next_ask(self.market.clock.mono_ns())
        assert ask is not None
        assert ask.kind is kind
        self.sources.asked(ask, self.market.clock.mono_ns())
        self.market.feed.take_rest(ask, reply, self.market.clock.mono_ns())


WS, REST, NONE = Source.WEBSOCKET, Source.REST, Source.NONE
TICKER = TickerData(BTC, bid=D("4999.9"), ask=D("5000.25"), last=D("5000"), volume=D("7.125"))


def test_a_quiet_pair_on_a_healthy_connection_is_not_stale():
    """Heartbeats prove the connection: an hour without an update changes no source, and REST is asked for nothing."""
    story = Story()
    story.serve()
    for _ in range(3600):
        story.wait(NS_PER_S)
        story.market.take(HEARTBEAT)

    assert story.marks() == (WS, WS, WS)
    assert story.asks() == []


def test_a_lost_connection_is_asked_for_at_once_and_marked():
    """From the end of the connection on nothing is marked as the WebSocket's; tickers go first, being one call."""
    story = Story()
    story.serve()
    story.lose()

    assert story.marks() == (NONE, NONE, NONE)
    assert story.asks() == [Kind.TICKER, Kind.BOOK, Kind.TRADES]


def test_a_silent_connection_serves_nothing_beyond_the_limit():
    """Open but without any frame: a book for five seconds, a ticker for ten, trades for thirty."""
    story = Story()
    story.serve()
    story.wait(5 * NS_PER_S)
    at_5_s = story.marks()
    story.wait(NS_PER_S)
    at_6_s = story.marks()
    story.wait(5 * NS_PER_S)
    at_11_s = story.marks()
    story.wait(20 * NS_PER_S)

    assert (at_5_s, at_6_s, at_11_s) == ((WS, WS, WS), (NONE, WS, WS), (NONE, NONE, WS))
    assert story.marks() == (NONE, NONE, NONE)


def test_a_connection_that_never_comes_is_asked_for_after_a_grace():
    """Refused from the start: the first connection has a second, then REST serves."""
    story = Story(is_connected=False)
    before = story.asks()
    story.wait(START_GRACE_NS)

    assert before == []
    assert story.asks() == [Kind.TICKER, Kind.BOOK, Kind.TRADES]


def test_what_rest_told_is_marked_and_goes_stale():
    """The ticker is told with its source; when REST is silent for the limit, nothing is its source."""
    story = Story()
    story.serve()
    story.lose()
    story.answer(Kind.TICKER, [TICKER])
    board = BoardReader(story.market.board)
    record = board.read(story.market.shard.ticker_slot(0))
    told = unpack_ticker(BTC, record or b"")
    served = story.marks()
    story.wait(10 * NS_PER_S)
    at_10_s = story.marks()
    story.wait(NS_PER_S)

    assert (told.source, told.bid, told.volume, told.received_at) == (
        "rest",
        D("4999.9"),
        D("7.125"),
        story.now - 11 * NS_PER_S,
    )
    assert (served, at_10_s, story.marks()) == ((NONE, REST, NONE), (NONE, REST, NONE), (NONE, NONE, NONE))


def test_a_book_of_rest_reaches_only_who_asks_and_never_the_price_collar():
    """Unverified and never live: the slot that the order router reads keeps the last verified book, stale."""
    story = Story()
    first, second = First(), Second()
    hosts = [story.market.host(first), story.market.host(second)]
    story.wait(START_GRACE_NS)
    for host in hosts:
        host.do_work()
    story.serve()
    story.lose()
    story.sources.asked(story.sources.next_ask(story.now), story.now)
    story.answer(Kind.BOOK, DEPTH)
    for host in hosts:
        host.do_work()
    board = BoardReader(story.market.board)
    collar = BookTop(BTC, board.read(0) or b"")
    (book,) = [each for each in second.told if each.source == "rest"]

    assert [each.source for each in first.told] == ["websocket"]
    assert (book.is_verified, book.state, book.is_proved) == (False, FeedState.STALE, False)
    assert (book.best_bid.price, book.best_ask.price, book.best_ask.qty) == (D("4999.9"), D("5000.25"), D("0.125"))
    assert second.context.book(BTC) is book
    assert first.context.book(BTC).is_verified
    assert (collar.state, collar.source) == (FeedState.STALE, "websocket")
    assert story.marks() == (REST, NONE, NONE)


def test_the_way_back_is_a_verified_book_and_a_ticker_of_the_new_connection():
    """REST goes on until each kind is served again; a strategy's book is then verified, and live."""
    story = Story()
    second = Second()
    host = story.market.host(second)
    story.serve()
    story.lose()
    story.answer(Kind.TICKER, [TICKER])
    story.answer(Kind.BOOK, DEPTH)
    story.answer(Kind.TRADES, [])
    outage = story.marks()
    story.connect()
    connected = story.marks()
    story.market.take(story.tape.snapshot())
    story.look()
    verified = story.marks()
    story.market.take(confirmed("trade"), ticker_frame())
    story.look()
    host.do_work()

    assert (outage, connected) == ((REST, REST, REST), (REST, REST, REST))
    assert (verified, story.marks()) == ((WS, REST, REST), (WS, WS, WS))
    assert (second.context.book(BTC).is_verified, second.context.book(BTC).state) == (True, FeedState.LIVE)
    assert story.sources.switches == 6


def test_an_answer_that_comes_after_the_way_back_is_not_told():
    """REST was asked in the outage and answers when the book is verified again: nothing is published."""
    story = Story()
    second = Second()
    host = story.market.host(second)
    story.serve()
    story.lose()
    asks = [story.sources.next_ask(story.now)]
    story.sources.asked(asks[0], story.now)
    asks.append(story.sources.next_ask(story.now))
    story.connect()
    story.serve()
    story.market.feed.take_rest(asks[0], [TICKER], story.now)
    story.market.feed.take_rest(asks[1], DEPTH, story.now)
    host.do_work()

    assert story.marks() == (WS, WS, WS)
    assert {book.source for book in second.told} == {"websocket"}


def test_a_book_in_doubt_on_a_live_connection_has_its_limit_to_heal():
    """A wrong checksum costs one pair a resynchronisation; REST is asked only when that takes longer than the limit."""
    story = Story()
    story.serve()
    story.market.feed.on_events(story.market.session.doubt([BTC], "a wrong checksum"))
    story.look()
    at_once = story.asks()
    for _ in range(6):
        story.wait(NS_PER_S)
        story.market.take(HEARTBEAT)

    assert story.marks() == (NONE, WS, WS)
    assert (at_once, story.asks()) == ([], [Kind.BOOK])


def test_an_answer_is_renewed_within_its_limit_and_failures_sooner():
    """Half a limit after an answer it is asked for again; after a failure a second later."""
    story = Story()
    story.serve()
    story.lose()
    ask = story.sources.next_ask(story.now)
    story.sources.asked(ask, story.now)
    story.sources.failed(ask, story.now)
    others = story.asks()
    story.wait(NS_PER_S)
    retried = story.asks()
    story.wait(5 * NS_PER_S)

    assert (others, retried) == ([Kind.BOOK, Kind.TRADES], [Kind.TICKER])
    assert story.asks() == [Kind.TICKER, Kind.BOOK]


def test_what_nothing_serves_goes_before_what_is_renewed():
    """REST's ticker is due for renewal and serves still; the book has no answer: it is asked for first."""
    story = Story()
    story.serve()
    story.lose()
    first = story.sources.next_ask(story.now)
    story.answer(Kind.TICKER, [TICKER])
    others = story.asks()
    story.wait(6 * NS_PER_S)
    asks = []
    while (ask := story.sources.next_ask(story.now)) is not None:
        story.sources.asked(ask, story.now)
        asks.append((ask.kind, ask.is_first))

    assert (first.is_first, others) == (True, [Kind.BOOK, Kind.TRADES])
    assert asks == [(Kind.BOOK, True), (Kind.TICKER, False)]


@pytest.mark.parametrize(("bid", "ask"), [("5000.3", "5000.3"), ("5000.4", "5000.3")])
def test_a_crossed_book_of_rest_is_not_told(bid: str, ask: str):
    """It makes no sense: asked for again."""
    story = Story()
    story.serve()
    story.lose()
    story.sources.asked(story.sources.next_ask(story.now), story.now)
    story.answer(Kind.BOOK, RestDepth([ExactLevel(D(bid), D(1))], [ExactLevel(D(ask), D(1))]))

    assert story.marks() == (NONE, NONE, NONE)
    assert decimal_units(D(bid), 1) >= decimal_units(D(ask), 1)


@pytest.mark.parametrize(("bid", "ask", "ppm", "beyond"), [("4999.9", "5000.1", 0, 0), ("5099.9", "5100.1", 19_607, 1)])
def test_both_sources_are_compared_on_a_schedule(bid: str, ask: str, ppm: int, beyond: int):
    """A live book beside REST's best prices: how far apart they are is a figure, and nothing is published."""
    story = Story(compare_ns=2 * NS_PER_S)
    story.serve()
    before = story.asks()
    story.wait(NS_PER_S)
    story.market.take(HEARTBEAT)
    story.wait(NS_PER_S)
    published = story.market.publisher.cursor
    comparison = story.sources.next_ask(story.now)
    story.sources.asked(comparison, story.now)
    story.market.feed.take_rest(comparison, [TickerData(BTC, bid=D(bid), ask=D(ask))], story.now)
    feed = story.market.feed

    assert (before, comparison.is_first, story.asks()) == ([], False, [])
    assert (feed.comparisons, feed.divergence_ppm, feed.divergences) == (1, ppm, beyond)
    assert story.market.publisher.cursor == published
    assert story.marks() == (WS, WS, WS)


def test_an_hour_with_a_disconnect_is_the_websockets_for_ninety_five_per_cent():
    """Five seconds without it, in which REST serves; the rest is an hour of heartbeats, books and tickers."""
    story = Story()
    story.serve()

    def half_an_hour() -> None:
        for _ in range(30 * 60):
            story.market.take(ticker_frame(), HEARTBEAT)
            story.wait(NS_PER_S)

    half_an_hour()
    story.lose()
    story.answer(Kind.TICKER, [TICKER])
    story.answer(Kind.BOOK, DEPTH)
    story.answer(Kind.TRADES, [])
    story.wait(5 * NS_PER_S)
    story.connect()
    story.serve()
    half_an_hour()

    served = dict(zip(Source, story.sources.served_ns, strict=True))
    assert served[WS] / sum(served.values()) >= 0.95
    assert served[REST] > 0
    assert story.marks() == (WS, WS, WS)
