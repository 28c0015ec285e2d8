"""The book channel against the law that genuine captures obey, judged by a checker that the
captures have judged.
"""

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from engine.clock import ManualClock
from engine.venue.market.book_feed import DEPTHS, BookFeed
from engine.venue.market.exchange import Exchange
from engine.venue.market.matching import BUY, SELL, OrderBook
from engine.venue.market.order_flow import OrderFlow
from engine.venue.market.pairs import PAIR_OF_SYMBOL, PAIRS, PairSpec
from engine.venue.wire.stream import StreamKey
from tests.venue.market.rig import STARTED_AT, AtOnce, Reader
from tests.venue.market.update_law import LawBook, read

EVENTS = 4_000


def exchange_of(*pairs: PairSpec, seed: int = 7) -> Exchange:
    return Exchange(pairs, seed, ManualClock(wall_ns=STARTED_AT), AtOnce(), lambda: 0.0)


@pytest.mark.parametrize(
    ("name", "books", "updates"),
    [
        ("capture_crossbook_kraken_btcusd_sample.jsonl", {"BTC/USD": 25}, 2051),
        ("capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl", {"BTC/USD": 10, "ETH/USD": 10}, 2960),
    ],
)
def test_genuine_captures_obey_the_law(genuine: Path, name: str, books: dict[str, int], updates: int):
    """The judge itself: every genuine update passes the checker, both-sided ones and every
    kind of step included.
    """
    held = {symbol: LawBook(depth) for symbol, depth in books.items()}
    count = 0
    for line in (genuine / name).read_text().splitlines():
        if '"channel":"book"' in line[:20]:
            message = read(line)
            held[message["data"][0]["symbol"]].take(message)
            count += message["type"] == "update"
    tally = sum((Counter(book.tally) for book in held.values()), Counter())

    assert count == updates
    assert min(tally[kind] for kind in ("modify", "delete", "insert", "refill", "both sides")) > 0
    assert tally["grown refill"] == (1 if "crossbook" in name else 0)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.symbol)
def test_the_venue_obeys_the_law(pair: PairSpec, depth: int):
    """Each pair at each depth: law and checksum hold for every message, and the client's
    book is the venue's own.
    """
    exchange, reader = exchange_of(pair), Reader()
    exchange.start(reader, StreamKey("book", pair.symbol, depth), snapshot=True)
    market = exchange.markets[pair.symbol]
    short = depth > pair.levels_target // 3  # the flow keeps a third of its target at least
    held = LawBook(depth, shorter=short)
    for _ in range(EVENTS // 10 if depth >= 500 else EVENTS // 4):
        exchange.next_event()
        for _, text in reader.texts:
            held.take(read(text))
        reader.texts.clear()

    for name, side in (("bids", BUY), ("asks", SELL)):
        ours = [(Decimal(price), Decimal(qty)) for price, qty in held.levels(name)]
        scale = Decimal(10) ** -pair.price_decimals, Decimal(10) ** -pair.qty_decimals
        assert ours == [(price * scale[0], qty * scale[1]) for price, qty in market.book.levels(side, depth)]
    market.book.check()


def test_all_kinds_of_steps_occur():
    """In the venue's stream as on the wire: both-sided messages, and refills that grow
    order by order.
    """
    exchange, reader = exchange_of(PAIR_OF_SYMBOL["BTC/USD"]), Reader()
    exchange.start(reader, StreamKey("book", "BTC/USD", 10), snapshot=True)
    for _ in range(EVENTS):
        exchange.next_event()
    held = LawBook(10)
    for _, text in reader.texts:
        held.take(read(text))
    sizes = [len(text) for _, text in reader.texts[1:]]

    assert len(reader.texts) == 1 + EVENTS  # one message per event at depth 10: the unit of the venue's rate
    assert min(held.tally.values()) >= EVENTS // 200
    assert 190 <= sum(sizes) / len(sizes) <= 230  # bytes; genuine captures: 190 to 220


def test_a_thin_pair_has_fewer_than_ten_levels_at_times():
    """Checksums that assume ten levels must be found out."""
    exchange = exchange_of(PAIR_OF_SYMBOL["MINA/GBP"])
    book = exchange.markets["MINA/GBP"].book
    counts = Counter()
    for _ in range(EVENTS):
        exchange.next_event()
        counts[min(book.level_count(BUY), book.level_count(SELL)) < 10] += 1

    assert counts[True] > EVENTS // 10
    assert counts[False] > EVENTS // 10


def test_the_flow_is_stationary():
    """After a long time no price has drifted away, no book has grown or dried up; only the
    thin one is thin.
    """
    exchange = exchange_of(*PAIRS)
    for _ in range(30_000):
        exchange.next_event()

    for market in exchange.markets.values():
        market.book.check()
        bid, ask = market.book.best(BUY), market.book.best(SELL)
        assert bid is not None
        assert ask is not None
        assert 0.8 < (bid + ask) / 2 / market.pair.mid_ticks < 1.2
        levels = [(side, price) for side in (BUY, SELL) for price, _ in market.book.levels(side)]
        assert sum(len(list(market.book.orders_at(*level))) for level in levels) < 8 * market.pair.levels_target
        if market.pair.symbol != "MINA/GBP":
            assert min(market.book.level_count(BUY), market.book.level_count(SELL)) >= 100


@pytest.mark.parametrize("symbol", ["BTC/USD", "MINA/GBP"])
def test_the_same_seed_gives_the_same_engine_events(symbol: str):
    """Fills and level changes repeat to the last lot; another seed gives others."""

    def events(seed: int) -> list[object]:
        pair, book = PAIR_OF_SYMBOL[symbol], OrderBook()
        flow = OrderFlow(pair, book, seed)
        return [*flow.open_book(), *(flow.act() for _ in range(1000))]

    assert events(1) == events(1)
    assert events(1) != events(2)


def test_the_same_seed_gives_the_same_frames():
    """Across all pairs, at a clock that repeats: the whole stream is a function of the
    seed.
    """

    def texts(seed: int) -> list[tuple[StreamKey, str]]:
        exchange, reader = exchange_of(*PAIRS, seed=seed), Reader()
        for pair in PAIRS:
            exchange.start(reader, StreamKey("book", pair.symbol, 10), snapshot=True)
            exchange.start(reader, StreamKey("trade", pair.symbol), snapshot=True)
        for _ in range(1000):
            exchange.next_event()
        return reader.texts

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_what_is_subscribed_does_not_change_what_happens():
    """Subscribers look on: with or without them the books go the same way."""
    watched, unwatched = exchange_of(*PAIRS), exchange_of(*PAIRS)
    for pair in PAIRS:
        for depth in DEPTHS:
            watched.start(Reader(), StreamKey("book", pair.symbol, depth), snapshot=True)
    for _ in range(1000):
        watched.next_event()
        unwatched.next_event()

    for symbol, market in watched.markets.items():
        assert market.book.levels(BUY) == unwatched.markets[symbol].book.levels(BUY)
        assert market.book.levels(SELL) == unwatched.markets[symbol].book.levels(SELL)


def test_the_trade_frame_comes_immediately_before_its_book_frame():
    """The book's time is the last fill's, and trade ids go up by one for each fill."""
    exchange, reader = exchange_of(PAIR_OF_SYMBOL["ETH/USD"]), Reader()
    exchange.start(reader, StreamKey("book", "ETH/USD", 10), snapshot=False)
    exchange.start(reader, StreamKey("trade", "ETH/USD"), snapshot=False)
    for _ in range(EVENTS):
        exchange.next_event()
    messages = [json.loads(text) for _, text in reader.texts]
    trades = [index for index, message in enumerate(messages) if message["channel"] == "trade"]
    ids = [row["trade_id"] for index in trades for row in messages[index]["data"]]

    assert len(trades) > EVENTS // 50
    assert max(len(messages[index]["data"]) for index in trades) > 3  # sweeps
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    for index in trades:
        book = messages[index + 1]
        assert book["channel"] == "book"
        assert book["data"][0]["timestamp"] == messages[index]["data"][-1]["timestamp"]
        side, taken = ("buy", "asks") if messages[index]["data"][0]["side"] == "buy" else ("sell", "bids")
        fills = messages[index]["data"]
        assert {row["side"] for row in fills} == {side}
        # One entry per maker fill, in the order of the fills, at the same prices.
        entries = [entry["price"] for entry in book["data"][0][taken]]
        assert [row["price"] for row in fills if row["price"] in entries] == [row["price"] for row in fills]


def test_a_refill_is_told_order_by_order():
    """Two orders on the level that moves in: two entries with growing quantity, the second
    the whole.
    """
    book = OrderBook()
    feed = BookFeed(1, 8, book.orders_at)
    for price, qty in ((100, 5), (101, 6), (200, 1), (201, 1), (202, 1), (203, 1), (102, 7), (102, 8)):
        feed.apply(book.limit(0, SELL, price, qty).changes)  # the last is order 8: see REFILL_BY_ORDER_OF
    feed.watch(2)
    feed.apply(book.market(0, BUY, 5).changes)
    (update,) = feed.updates()

    assert update.bids == ""
    assert update.asks == (
        '{"price":10.0,"qty":0.00000000},{"price":10.2,"qty":0.00000007},{"price":10.2,"qty":0.00000015}'
    )


def test_a_change_beyond_the_window_is_not_told():
    """Neither a message nor an entry for what a subscriber of this depth cannot see."""
    book = OrderBook()
    feed = BookFeed(1, 8, book.orders_at)
    feed.watch(1)
    feed.apply(book.limit(0, BUY, 100, 5).changes)
    feed.updates()
    rank = feed.apply(book.limit(0, BUY, 99, 5).changes)

    assert rank == 1
    assert feed.updates() == []
