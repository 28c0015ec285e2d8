"""The feed: events become records, in order, on the ring and on the board."""

import json

import pytest
from structlog.testing import capture_logs

from engine.records import BookTop, FeedState, Kind, unpack_feed_state, unpack_trade
from engine.ring import OLDEST, BoardReader, Subscriber
from engine.strategy.api import Strategy
from engine.units import NS_PER_S
from tests.public_feed.rig import SYMBOLS, Market, flip_checksum, frames, trade


def kinds(market: Market) -> list[Kind]:
    """What is in the ring, in order."""
    return [Kind(record[0]) for record in Subscriber(market.ring, OLDEST).poll_many(1024)]


def board_top(market: Market, index: int) -> BookTop:
    record = BoardReader(market.board).read(index)
    assert record is not None
    return BookTop(SYMBOLS[index], record)


def test_a_feed_begins_by_calling_every_pair_stale():
    """Whoever follows the ring hears `stale` before any book, and the board is complete from the start."""
    market = Market()

    assert kinds(market) == [Kind.FEED_STATE, Kind.FEED_STATE]
    assert BoardReader(market.board).complete_upto == 2
    assert board_top(market, 0).state == FeedState.STALE
    assert board_top(market, 0).best_bid is None


def test_every_verified_update_is_one_record_and_the_board_has_the_last():
    """A hundred frames: as many books as updates; the board's top is the last in the ring."""
    market = Market()
    market.take(*frames()[:100])
    records = Subscriber(market.ring, OLDEST).poll_many(1024)
    tops = [BookTop("", record) for record in records if record[0] == Kind.BOOK_TOP and record[4] == 1]
    feed = market.session.feeds["ETH/USD"]

    assert len(tops) == feed.verified
    assert [top.update_number for top in tops] == list(range(len(tops)))
    assert board_top(market, 1).bids == tops[-1].bids
    assert board_top(market, 1).asks == tops[-1].asks
    assert board_top(market, 1).state == FeedState.LIVE
    assert tops[-1].kraken_time > 1_700_000_000 * 10**9


def test_a_book_in_doubt_is_stale_in_the_ring_and_on_the_board():
    """After a wrong checksum: a FEED_STATE record and no further book; the board keeps the last good top, stale."""
    market = Market()
    market.take(*frames()[:60])
    good = board_top(market, 1)
    bad = next(frame for frame in frames()[60:] if b'"ETH/USD"' in frame and b'"book"' in frame)
    before = len(kinds(market))
    market.take(flip_checksum(bad), *frames()[60:160])
    records = Subscriber(market.ring, OLDEST).poll_many(1024)[before:]

    change = unpack_feed_state("ETH/USD", next(r for r in records if r[0] == Kind.FEED_STATE))
    assert change.state is FeedState.STALE
    assert "checksum" in change.reason
    assert not any(r[0] == Kind.BOOK_TOP and r[4] == 1 for r in records)
    assert any(r[0] == Kind.BOOK_TOP and r[4] == 0 for r in records)
    assert board_top(market, 1).state == FeedState.STALE
    assert board_top(market, 1).bids == good.bids


def test_conflation_publishes_a_pair_once_a_burst():
    """conflate = "burst": one record a pair and burst, the newest; a pair that fell into doubt publishes none."""
    market = Market(conflate="burst")
    start = next(n for n, frame in enumerate(frames()) if b'"snapshot","data"' in frame)
    market.take(*frames()[: start + 2])
    before = len(kinds(market))
    market.take(*frames()[start + 2 : start + 40])
    eth = [r for r in Subscriber(market.ring, OLDEST).poll_many(1024)[before:] if r[0] == Kind.BOOK_TOP and r[4] == 1]

    assert len(eth) == 1
    assert BookTop("ETH/USD", eth[0]).update_number == market.session.feeds["ETH/USD"].updates


def test_two_entries_of_which_the_second_is_wrong_publish_no_book():
    """A frame whose later entry breaks the book must not show the book as the earlier entry left it."""
    market = Market()
    market.take(*frames()[:60])
    update = next(frame for frame in frames()[60:] if b'"ETH/USD"' in frame and b'"book"' in frame)
    message = json.loads(update)
    entry = update[update.index(b'[{"symbol"') + 1 : -2]
    assert message["data"]
    double = update[:-2] + b"," + entry.replace(b'"checksum":', b'"checksum":9') + b"]}"
    before = len(kinds(market))
    market.take(double)

    assert kinds(market)[before:] == [Kind.FEED_STATE]


def test_a_trade_is_published_before_the_book_that_it_causes():
    """The order of the wire is the order of the ring."""
    market = Market()
    market.take(*frames())
    records = Subscriber(market.ring, OLDEST).poll_many(1024)
    trades = [n for n, record in enumerate(records) if record[0] == Kind.TRADE]

    assert trades
    for index in trades:
        following = next(r for r in records[index + 1 :] if r[0] != Kind.TRADE)
        assert following[0] == Kind.BOOK_TOP
        assert following[4] == records[index][4]
        assert BookTop("", following).kraken_time == unpack_trade("", records[index]).kraken_time


def test_a_number_that_fits_no_record_is_counted_and_left():
    """A price beyond 128 bits: nothing crashes, nothing is published, the counter says so."""
    market = Market()
    market.take(*frames()[:20])
    before = len(kinds(market))
    market.take(trade("BTC/USD", 1, price="9999999999999999999999999999999.12345678"), trade("BTC/USD", 2))
    market.feed.do_work()

    assert kinds(market)[before:] == [Kind.TRADE]
    assert market.counters.get("unpublishable") == 1
    assert market.counters.get("trades") == 2


def test_counters_outlive_a_feed():
    """A successor counts on from where its predecessor was killed."""
    market = Market()
    market.take(*frames()[:100])
    market.feed.do_work()
    first = market.counters.snapshot()
    market.start_feed()
    market.feed.do_work()
    assert market.counters.get("0 updates") == first["0 updates"]
    market.take(*frames()[:100])
    market.feed.do_work()

    assert market.counters.get("0 updates") == 2 * first["0 updates"]
    assert market.counters.get("heartbeats") == 2 * first["heartbeats"]


def test_a_refused_subscription_is_told_with_its_advice():
    """Kraken's no reaches whoever decides what it means."""
    market = Market()
    numbers = {request["params"]["channel"]: request["req_id"] for request in map(json.loads, market.session.to_send())}
    market.take(
        b'{"error":"Currency pair not supported ETH/USD","method":"subscribe","req_id":%d,"success":false,'
        b'"symbol":"ETH/USD","time_in":"2026-09-25T17:48:54.701041Z","time_out":"2026-09-25T17:48:54.701062Z"}'
        % numbers["book"]
    )

    ((symbol, advice),) = market.refusals
    assert symbol == "ETH/USD"
    assert "ETH/USD" in advice
    assert board_top(market, 1).state == FeedState.UNTRUSTED


def pair_frame(symbol: str) -> bytes:
    """An instrument snapshot of one pair, as Kraken pads it."""
    pair = (
        f'{{"symbol":"{symbol}","base":"{symbol[:3]}","quote":"USD","status":"online","qty_precision":8,'
        '"qty_increment":0.00000001,"price_precision":2,"cost_precision":5,"marginable":true,"has_index":true,'
        '"cost_min":0.5,"tick_size":0.01,"price_increment":0.01,"qty_min":0.001}'
    )
    return f'{{"channel":"instrument","type":"snapshot","data":{{"assets":[],"pairs":[{pair}]}}}}'.encode()


def books_of(market: Market, index: int) -> list[BookTop]:
    records = Subscriber(market.ring, OLDEST).poll_many(1024)
    return [BookTop("", record) for record in records if record[0] == Kind.BOOK_TOP and record[4] == index]


def test_a_book_waits_for_its_pair_and_misses_nothing():
    """Kraken answers subscriptions in any order: a book whose precision nobody knows cannot be traded."""
    market = Market(pair_patience_ns=10**12)
    market.take(*frames()[:100])
    assert books_of(market, 1) == []
    assert board_top(market, 1).state == FeedState.STALE
    market.take(pair_frame("ETH/USD"))
    kinds_of_it = [
        Kind(record[0])
        for record in Subscriber(market.ring, OLDEST).poll_many(1024)
        if record[0] in (Kind.PAIR, Kind.FEED_STATE, Kind.BOOK_TOP) and record[4] == 1
    ]
    books = books_of(market, 1)

    assert kinds_of_it[:4] == [Kind.FEED_STATE, Kind.PAIR, Kind.FEED_STATE, Kind.BOOK_TOP]
    assert [book.update_number for book in books] == list(range(market.session.feeds["ETH/USD"].verified))
    assert board_top(market, 1).bids == books[-1].bids
    assert board_top(market, 1).state == FeedState.LIVE
    assert books_of(market, 0) == []


def test_a_book_does_not_wait_for_its_pair_for_ever():
    """A refused channel must not cost the books."""
    market = Market(pair_patience_ns=1)
    market.take(*frames()[:100])
    market.feed.do_work()

    assert len(books_of(market, 1)) == market.session.feeds["ETH/USD"].verified
    assert board_top(market, 1).state == FeedState.LIVE


def test_a_book_that_waits_for_its_pair_and_falls_silent_is_told_with_its_levels():
    """Unproved is a state of a book that was told; before that there would be none to show."""
    market, strategy = Market(symbols=["BTC/USD"], pair_patience_ns=3600 * NS_PER_S), Watcher()
    hosted = market.host(strategy)
    strategy.on_start()
    snapshot = next(frame for frame in frames() if b'"BTC/USD"' in frame and b'"type":"snapshot"' in frame)
    market.take(snapshot)
    hosted.do_work()
    market.clock.advance(60 * NS_PER_S)
    market.take(b'{"channel":"heartbeat"}')
    market.feed.on_events(market.session.poll(market.clock.mono_ns()))
    market.feed.on_burst_end()
    hosted.do_work()
    top = board_top(market, 0)

    assert [said for _, said, _ in strategy.told] == ["snapshot verified", "book", "unproved"]
    assert (top.state, top.is_proved, len(top.bids)) == (FeedState.LIVE, False, 10)


# --- quiet pairs, absurd numbers, long texts


class Watcher(Strategy):
    """Notes what it is told of its pairs, and what the context says meanwhile."""

    def on_start(self) -> None:
        self.told: list[tuple[str, str, bool]] = []

    def on_book(self, book: BookTop) -> None:
        self.told.append((book.symbol, "book", book.is_proved))

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        book = self.context.book(symbol)
        self.told.append((symbol, reason.partition(":")[0], book is None or book.is_proved))


def test_a_strategy_is_told_that_a_live_book_is_unproved_and_what_proves_it():
    """on_feed_state with LIVE and the reason, is_proved False, until the next book of the pair."""
    market, strategy = Market(symbols=["BTC/USD"]), Watcher()
    hosted = market.host(strategy)
    strategy.on_start()
    snapshot, update = [frame for frame in frames() if b'"BTC/USD"' in frame and b'"type":' in frame][:2]
    market.take(snapshot)
    hosted.do_work()
    market.clock.advance(60 * NS_PER_S)
    market.take(b'{"channel":"heartbeat"}')
    market.feed.on_events(market.session.poll(market.clock.mono_ns()))
    market.feed.on_burst_end()
    on_board = board_top(market, 0).is_proved
    hosted.do_work()
    market.take(update)
    hosted.do_work()

    assert strategy.told == [
        ("BTC/USD", "snapshot verified", True),
        ("BTC/USD", "book", True),
        ("BTC/USD", "unproved", False),
        ("BTC/USD", "book", True),
    ]
    assert hosted.context.state("BTC/USD") is FeedState.LIVE
    assert (on_board, board_top(market, 0).is_proved) == (False, True)


def test_a_strategy_that_fell_behind_hears_from_the_board_that_a_book_is_unproved():
    """It had the book; what it missed meanwhile was that the pair has been silent."""
    market, strategy = Market(symbols=["BTC/USD"]), Watcher()
    hosted = market.host(strategy)
    strategy.on_start()
    market.take(next(frame for frame in frames() if b'"BTC/USD"' in frame and b'"type":' in frame))
    hosted.do_work()
    strategy.told.clear()
    market.clock.advance(61 * NS_PER_S)
    market.feed.on_events(market.session.poll(market.clock.mono_ns()))
    market.feed.on_burst_end()
    market.clock.advance(10 * NS_PER_S)
    while hosted.do_work():
        pass

    assert strategy.told == [("BTC/USD", "unproved", False)]
    assert hosted.context.state("BTC/USD") is FeedState.LIVE


@pytest.mark.parametrize("trade_id", [2**63, 2**70, -(2**70)])
def test_an_absurd_trade_id_costs_its_trade_alone(trade_id: int):
    """Counted as malformed; the feed goes on counting, and the next trade's number is judged by the last sane one."""
    market = Market()
    market.take(*frames()[:20])
    market.feed.do_work()
    missed = market.counters.get("trades_missed")
    market.take(trade("BTC/USD", 7), trade("BTC/USD", trade_id), trade("BTC/USD", 9))
    market.feed.do_work()

    assert market.counters.get("malformed") == 1
    assert market.counters.get("trades_missed") == missed + 1


def test_a_jump_of_trade_ids_beyond_any_gap_is_another_numbering():
    """Nobody missed 2**64 trades: none is counted as missed, and the feed works on."""
    market = Market()
    for trade_id in (-(2**63), 2**63 - 1):
        market.take(trade("BTC/USD", trade_id))
    market.feed.do_work()

    assert market.counters.get("trades_missed") == 0
    assert market.counters.get("trades") == 2


def test_a_long_status_is_cut_and_said_once():
    """Ten thousand characters, at every change and again: a short record, and one short line a change."""
    market = Market()
    frame = b'{"channel":"status","type":"update","data":[{"system":"%s","version":"%s"}]}'
    with capture_logs() as logs:
        for letter in b"aaabbb":
            market.take(frame % (bytes([letter]) * 10_000, b"v" * 10_000))

    assert [len(line["system"]) for line in logs if line["event"] == "venue status"] == [40, 40]
    assert all(len(str(value)) <= 200 for line in logs for value in line.values())


def test_an_emergency_is_shown_with_its_impact_and_the_expected_restart():
    """The line that a person reads in the night."""
    market = Market()
    entry = (
        b'{"event_id":4821,"title":"%s","incident_status":"identified","impact":"critical","affected_services":'
        b'["spot_ws","spot_rest"],"next_steps":[{"applies_to":["spot_trading"],"type":"expected_restart",'
        b'"expected_at_utc":"2026-05-08T14:30:00Z"}]}' % (b"Elevated API error rates " * 400)
    )
    with capture_logs() as logs:
        market.take(b'{"channel":"status","data":[{"system":"online","emergency":[%s]}]}' % entry)
    (line,) = [line for line in logs if line["event"] == "venue notice"]

    assert (line["impact"], line["status"]) == ("critical", "identified")
    assert line["expected_restart"] == "2026-05-08T14:30:00Z"
    assert line["services"] == "spot_ws, spot_rest"
    assert len(line["title"]) == 200
