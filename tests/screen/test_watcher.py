"""What a watcher remembers from look to look."""

from decimal import Decimal

import pytest

from engine.processes.run_view import ShardView
from engine.records import FeedState, Kind, Source
from engine.ring import BoardWriter, board_bytes, format_board
from engine.screen.watcher import PNL_KEPT, Watcher
from engine.telemetry import new_counters
from engine.topology import Shard, market_record_bytes, pair_counter
from engine.units import NS_PER_S
from tests.market.rig import book_record
from tests.screen.rig import PAIR, SUMMARY, ReportRing, report

SYMBOLS = ("BTC/USD", "ETH/USD")
LEVELS = [(1_000, 250_000_000)], [(1_010, 100_000_000)]


class Feed:
    """The board and the counters of a public feed of two pairs."""

    def __init__(self):
        self.shard = Shard(0, SYMBOLS)
        record_bytes, slots = market_record_bytes(10), self.shard.board_slots
        memory = bytearray(board_bytes(record_bytes, slots))
        format_board(memory, record_bytes=record_bytes, slot_count=slots)
        self.board = BoardWriter(memory)
        self.counters = new_counters(self.shard.counter_names)
        self.watched = ShardView(self.shard, bytearray(), memory, self.counters)

    def store(self, symbol, *levels, source=Source.WEBSOCKET):
        """A book of a pair, and what serves it now."""
        index = SYMBOLS.index(symbol)
        record = book_record(*levels)
        if source is Source.REST:
            record = bytes([Kind.REST_BOOK]) + record[1:]
        self.board.store(self.shard.rest_book_slot(index) if source is Source.REST else index, record)
        self.counters.set(pair_counter(index, "book_source"), source)


def summary_at(updates=0, net="0"):
    """The summary of two pairs, with this many updates of the first."""
    pairs = {symbol: {**PAIR, "updates": updates} for symbol in SYMBOLS}
    pnl = {"by_currency": {"USD": {"realized": net, "unrealized": "0", "fees": "0"}}}
    return {**SUMMARY, "symbols": pairs, "pnl": pnl}


def test_the_chosen_pair_has_its_ladder_with_our_orders_and_the_queue_ahead():
    """A pair that is not there is the first one; another's orders are not in its ladder."""
    feed, ring = Feed(), ReportRing()
    for symbol in SYMBOLS:
        feed.store(symbol, *LEVELS)
    ring.tell(report("a"), report("b", symbol="ETH/USD"))
    watcher = Watcher([feed.watched], {"s": ring.memory})
    for second in range(3):
        picture = watcher.look(summary_at(), "gone", second * NS_PER_S)

    assert picture.symbol == "BTC/USD"
    assert [(str(row.price), row.own, row.ahead_max) for row in picture.ladder] == [
        ("101.0", 0, None), ("100.0", Decimal("0.5"), Decimal("2.0")),
    ]  # fmt: skip
    assert picture.ahead == {"a": Decimal("2.0"), "b": Decimal("2.0")}
    assert watcher.look(summary_at(), "ETH/USD", 4 * NS_PER_S).ladder[1].own == Decimal("0.5")


def test_while_rest_serves_a_pair_its_book_is_rests_and_as_old_as_that_is():
    """It is not verified; its queue says nothing."""
    feed, ring = Feed(), ReportRing()
    feed.store("BTC/USD", [(900, 1)], [(901, 1)])
    feed.store("BTC/USD", *LEVELS, source=Source.REST)
    ring.tell(report("a"))
    watcher = Watcher([feed.watched], {"s": ring.memory})
    for second in range(4):
        picture = watcher.look(summary_at(), "BTC/USD", second * NS_PER_S)

    assert not picture.book.is_verified
    assert str(picture.book.best_bid.price) == "100.0"
    assert picture.age_s == pytest.approx(3, abs=1e-3)
    assert picture.ahead == {"a": None}


def test_a_quiet_pair_is_as_old_as_its_connection_is_silent():
    """The WebSocket serves it, and was heard a second ago."""
    feed = Feed()
    feed.store("BTC/USD", *LEVELS)
    feed.counters.set("heard_ns", 9 * NS_PER_S)

    picture = Watcher([feed.watched], {}).look(summary_at(), "BTC/USD", 10 * NS_PER_S)

    assert picture.book.state == FeedState.LIVE
    assert picture.age_s == 1.0


def test_rates_are_of_the_last_second_and_unknown_at_first():
    """Looks in between leave them as they are."""
    watcher = Watcher([Feed().watched], {})
    looks = [(10, 0), (10.5, 40), (11, 100), (11.5, 150), (13, 500)]
    rates = [watcher.look(summary_at(updates), "", int(at * NS_PER_S)).rates for at, updates in looks]

    assert [each.get("BTC/USD") for each in rates] == [None, None, 100, 100, 200]


def test_profit_is_kept_once_a_second_and_its_line_is_bounded():
    """Nothing before the first trade."""
    watcher = Watcher([Feed().watched], {})
    assert watcher.look({**summary_at(), "pnl": {}}, "", 0).pnl == []
    for look in range(2 * PNL_KEPT * 2):
        picture = watcher.look(summary_at(net=str(look)), "", NS_PER_S + look * NS_PER_S // 2)

    assert len(picture.pnl) == PNL_KEPT
    assert picture.pnl[-2:] == [4 * PNL_KEPT - 4, 4 * PNL_KEPT - 2]


def test_an_engine_without_pairs_has_a_picture():
    """Nothing is followed yet."""
    picture = Watcher([], {}).look({**SUMMARY, "symbols": {}}, "", 0)

    assert (picture.symbol, picture.book, picture.ladder) == ("", None, [])
