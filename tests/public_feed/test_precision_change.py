"""Kraken changes the precision of a living pair: books, boards and strategies hear it, and nobody mixes two scales."""

import json
from decimal import Decimal
from typing import Any

import pytest

from engine import BookTop, FeedState, Strategy
from engine.market import Pair
from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.records import Kind
from engine.ring import OLDEST, Subscriber
from engine.strategy_host.hosted_strategy import HostedStrategy
from engine.units import NS_PER_S
from tests.kraken.wire import Tape, acks
from tests.public_feed.rig import Market, instrument

SYMBOL = "BTC/USD"
D = Decimal


def boards_of(market: Market) -> MarketBoards:
    """The market as an order router sees it."""
    return MarketBoards([BoardPort(market.shard, market.board, market.counters)], market.clock)


class Noting(Strategy):
    """Notes what it is told, and the pair that it sees then."""

    def __init__(self) -> None:
        self.story: list[tuple[Any, ...]] = []

    def on_book(self, book: BookTop) -> None:
        pair = self.context.pair(SYMBOL)
        assert pair is not None
        self.story.append(("book", book.price_decimals, pair.price_decimals))

    def on_feed_state(self, symbol: str, state: FeedState, reason: str) -> None:
        self.story.append(("state", str(state), reason))

    def on_pair(self, pair: Pair) -> None:
        assert self.context.pair(pair.symbol) == pair
        self.story.append(("pair", pair.price_decimals, pair.qty_decimals, pair.status))


def drain(hosted: HostedStrategy) -> None:
    while hosted.do_work():
        pass


def asked(market: Market) -> list[dict[str, Any]]:
    """Requests about the book that the session wants sent."""
    requests = map(json.loads, market.session.to_send())
    return [request for request in requests if request["params"].get("channel") == "book"]


@pytest.fixture
def market() -> Market:
    """One pair of 1 and 8 decimals, told and live."""
    market = Market(symbols=[SYMBOL])
    for request in market.session.to_send():
        market.take(*acks(request))
    market.take(instrument("snapshot"))
    market.take(Tape(SYMBOL, decimals=(1, 8)).snapshot())
    return market


def test_a_book_in_the_old_precision_ends_before_the_pair_changes(market: Market) -> None:
    """In the ring: stale, then the pair. And a fresh snapshot is asked for at once: it is no failure of the pair's."""
    seen = len(Subscriber(market.ring, OLDEST).poll_many(1024))
    market.clock.advance(60 * NS_PER_S)
    market.take(instrument(price_precision=2))
    records = Subscriber(market.ring, OLDEST).poll_many(1024)[seen:]
    feed = market.session.feeds[SYMBOL]

    assert [record[0] for record in records] == [Kind.FEED_STATE, Kind.PAIR]
    assert [request["method"] for request in asked(market)] == ["unsubscribe", "subscribe"]
    assert (feed.state, feed.mismatches, len(feed.failures)) == (FeedState.STALE, 0, 0)


def test_updates_of_the_old_book_are_not_applied_and_a_snapshot_begins_the_new_one(market: Market) -> None:
    """What was in flight in either precision is ignored."""
    old, new = Tape(SYMBOL, decimals=(1, 8)), Tape(SYMBOL, decimals=(2, 8), mid=500_000)
    market.take(instrument(price_precision=2))
    market.take(old.nudge(), new.nudge())
    boards = boards_of(market)
    in_doubt = boards.top(SYMBOL)
    market.take(new.snapshot())
    top = boards.top(SYMBOL)

    assert in_doubt is not None
    assert not in_doubt.is_live
    assert top is not None
    assert (top.is_live, top.price_decimals) == (True, 2)
    assert (top.other_side("buy"), top.other_side("sell")) == (D("5000.01"), D("4999.99"))
    assert market.session.feeds[SYMBOL].mismatches == 0


def test_the_same_precision_told_again_costs_nobody_anything(market: Market) -> None:
    """A reconnect tells every pair anew, and a status changes without the precision."""
    strategy = Noting()
    hosted = market.host(strategy)
    market.take(instrument("snapshot"), instrument("snapshot"), instrument(status="post_only"))
    drain(hosted)

    assert [entry for entry in strategy.story if entry[0] != "book"] == [
        ("pair", 1, 8, "online"), ("state", "live", "snapshot verified"), ("pair", 1, 8, "post_only")
    ]  # fmt: skip
    assert market.session.feeds[SYMBOL].streaming


@pytest.mark.parametrize("letter", ["x", '"', "\N{ROCKET}"])
def test_a_status_of_any_length_is_told_cut(letter):
    """A word of five thousand characters costs nobody the pair: its decimals and minimums are told with it."""
    market = Market()
    market.take(instrument(status=letter * 5000, price_precision=2))
    pair = boards_of(market).pair(SYMBOL)

    assert pair is not None
    assert pair.price_decimals == 2
    assert pair.status == letter * (24 // len(letter.encode()))


def test_a_book_that_is_in_the_new_precision_already_goes_on(market: Market) -> None:
    """The book channel may tell the change first: by a wrong checksum, and a snapshot whose text has other decimals."""
    tape = Tape(SYMBOL, decimals=(2, 8), mid=500_000)
    market.take(tape.nudge())
    market.take(tape.snapshot())
    market.take(instrument(price_precision=2))
    market.take(tape.nudge())

    assert market.session.feeds[SYMBOL].state is FeedState.LIVE
    assert market.session.feeds[SYMBOL].resyncs == 1


def test_a_strategy_hears_stale_then_the_pair_then_books_in_the_new_precision(market: Market) -> None:
    """So `context.pair` fits every book that it is given."""
    strategy = Noting()
    hosted = market.host(strategy)
    market.take(instrument(price_precision=2, qty_precision=6))
    market.take(Tape(SYMBOL, decimals=(2, 6), mid=500_000).snapshot())
    drain(hosted)

    reason = "precision is 2 and 6 decimals now; asking for a fresh snapshot"
    assert strategy.story == [
        ("pair", 1, 8, "online"), ("state", "live", "snapshot verified"), ("book", 1, 1),
        ("state", "stale", reason), ("pair", 2, 6, "online"),
        ("state", "live", "snapshot verified"), ("book", 2, 2),
    ]  # fmt: skip


def test_a_lapped_strategy_hears_of_the_pair_from_the_board_once(market: Market) -> None:
    """And before any book in the new precision."""
    strategy = Noting()
    hosted = market.host(strategy)
    drain(hosted)
    strategy.story.clear()
    tape = Tape(SYMBOL, decimals=(2, 8), mid=500_000)
    market.take(instrument(price_precision=2))
    market.take(tape.snapshot())
    market.take(*[tape.nudge() for _ in range(3000)])
    drain(hosted)

    assert hosted.gaps > 0
    assert [entry for entry in strategy.story if entry[0] == "pair"] == [("pair", 2, 8, "online")]
    assert strategy.story[0][0] == "pair"
    assert {entry[1:] for entry in strategy.story if entry[0] == "book"} == {(2, 2)}


def test_the_router_sees_a_pair_as_it_is_now(market: Market) -> None:
    """Not as it was a second ago; and what has not changed is not decoded again."""
    boards = boards_of(market)
    first, again = boards.pair(SYMBOL), boards.pair(SYMBOL)
    market.take(instrument(price_precision=2))
    changed = boards.pair(SYMBOL)

    assert first is again
    assert first is not None
    assert changed is not None
    assert (first.price_decimals, changed.price_decimals) == (1, 2)


def test_the_smallest_cost_reaches_strategies_and_the_router(market: Market) -> None:
    """`cost_precision` of the instrument channel: what an amount of cash is a multiple of."""
    hosted = market.host(Noting())
    drain(hosted)
    market.take(instrument(cost_precision=3))
    pair = boards_of(market).pair(SYMBOL)
    drain(hosted)

    assert pair is not None
    assert pair.cost_decimals == 3
    assert hosted.context.pair(SYMBOL) == pair


def test_a_book_in_a_new_precision_waits_for_its_pair() -> None:
    """The book channel may be the first to tell, and a feed that begins finds the old pair on its board."""
    market = Market(symbols=[SYMBOL], pair_patience_ns=5 * NS_PER_S)
    market.take(instrument("snapshot"))
    market.take(Tape(SYMBOL, decimals=(1, 8)).snapshot())
    strategy = Noting()
    hosted = market.host(strategy)
    market.start_feed()
    market.take(Tape(SYMBOL, decimals=(2, 8), mid=500_000).snapshot())
    drain(hosted)
    before = list(strategy.story)
    market.take(instrument(price_precision=2))
    drain(hosted)

    assert before[-1][0] == "state"
    assert before[-1][1] == "stale"
    assert [entry[:3] for entry in strategy.story[len(before) :]] == [
        ("pair", 2, 8), ("state", "live", "snapshot verified"), ("book", 2, 2)
    ]  # fmt: skip


def test_a_pair_that_is_not_told_holds_its_book_up_for_no_longer_than_that() -> None:
    """Five seconds, once; the book goes on in the precision that its checksum proves."""
    market = Market(symbols=[SYMBOL], pair_patience_ns=5 * NS_PER_S)
    market.take(instrument("snapshot"))
    market.take(Tape(SYMBOL, decimals=(2, 8), mid=500_000).snapshot())
    boards = boards_of(market)
    waiting = boards.top(SYMBOL)
    market.clock.advance(5 * NS_PER_S)
    market.feed.do_work()
    top = boards.top(SYMBOL)

    assert waiting is not None
    assert top is not None
    assert (waiting.is_live, top.is_live, top.price_decimals) == (False, True, 2)


def test_a_minimum_that_the_new_lots_cannot_tell_costs_no_pair_its_change(market: Market) -> None:
    """A coarser precision may leave it behind; the next lot above it is the smallest order then."""
    boards = boards_of(market)
    market.take(instrument(qty_precision=3, qty_min=0.00005))
    pair = boards.pair(SYMBOL)

    assert pair is not None
    assert (pair.qty_decimals, pair.qty_min_lots) == (3, 1)
