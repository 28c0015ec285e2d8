"""What the order router sees of the market: how old a book is, and whether it may be relied upon."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.order_router.market_boards import BoardPort, MarketBoards, Place, PortablePlace
from engine.orders.risk import Risk, RiskLimits
from engine.records import FeedState, Kind, PairRules, book_top_packer, pack_pair, record_bytes_needed
from engine.ring import BoardReader, BoardWriter, board_bytes, format_board
from engine.telemetry import new_counters
from engine.units import NS_PER_S, MonoNs
from engine.wide import pack_levels
from tests.orders.rig import PAIR, limit
from tests.public_feed.rig import Market, frames

HEARTBEAT = b'{"channel":"heartbeat"}'
PONG = b'{"method":"pong","req_id":1}'


class Desk:
    """A market whose feed is alive, and the router's view of it."""

    def __init__(self) -> None:
        self.market = Market()
        self.market.take(*frames()[:100])
        ports = [BoardPort(self.market.shard, self.market.board, self.market.counters)]
        self.boards = MarketBoards(ports, self.market.clock)
        self.risk = Risk(RiskLimits(orders_per_s_max=Decimal(1000), book_age_ns_max=5 * NS_PER_S))

    def wait(self, seconds: int, *each_second: bytes) -> None:
        """The feed's process works all the time, whatever Kraken says."""
        for _ in range(seconds):
            self.market.clock.advance(NS_PER_S)
            self.market.take(*each_second)
            self.market.feed.do_work()

    def refusal(self) -> str:
        """Why an order on the pair is refused for the age of its book; empty when it is not."""
        why = self.risk.refusal(
            limit(), strategy="quoter", pair=PAIR, top=self.boards.top("BTC/USD"), open_orders=[],
            position=Decimal(0), now=self.market.clock.mono_ns(),
        )  # fmt: skip
        return why.text if why is not None and "last heard" in why.text else ""


def test_a_books_age_is_that_of_krakens_last_frame():
    """Silent for twelve seconds, with heartbeat_silence_s = 30: the process lives, and yet no order goes out."""
    desk = Desk()
    fresh = desk.refusal()
    desk.wait(12)

    assert fresh == ""
    assert "last heard 12.0 s ago, more than risk.book_age_s_max = 5" in desk.refusal()


def test_heartbeats_are_krakens_word_and_pongs_are_not():
    """A quiet pair's book stays young by the heartbeats of its connection; a pong proves a socket only."""
    beating, ponging = Desk(), Desk()
    beating.wait(60, HEARTBEAT)
    ponging.wait(60, PONG)

    assert beating.refusal() == ""
    assert "last heard 60.0 s ago" in ponging.refusal()


def test_an_unproved_book_may_be_traded_on():
    """Silence of the pair alone leaves it live for the router as well."""
    desk = Desk()
    desk.wait(60, HEARTBEAT)
    events = desk.market.session.poll(desk.market.clock.mono_ns())
    desk.market.feed.on_events(events)
    desk.market.feed.on_burst_end()
    book, top = desk.boards.book("BTC/USD"), desk.boards.top("BTC/USD")

    assert book is not None
    assert top is not None
    assert (book.is_proved, top.is_live) == (False, True)


books = st.builds(
    lambda bids, asks, state, decimals, levels: (bids[:levels], asks[:levels], state, decimals, levels),
    st.lists(st.tuples(st.integers(1, 2**60), st.integers(1, 2**59)), max_size=3),
    st.lists(st.tuples(st.one_of(st.integers(1, 10**7), st.integers(2**61, 2**64)), st.integers(1, 2**54)), max_size=3),
    st.sampled_from(list(FeedState)),
    st.integers(0, 18),
    st.integers(1, 3),
)


@given(st.lists(books, max_size=3), st.integers(0, 10**12))
def test_a_place_reads_what_the_records_say(told: list[Any], heard: int) -> None:
    """In plain Python and compiled, numbers beyond 63 bits included."""
    memory = bytearray(board_bytes(record_bytes_needed(3), 2))
    format_board(memory, record_bytes=record_bytes_needed(3), slot_count=2)
    writer, counters = BoardWriter(memory), new_counters(["other", "heard_ns"])
    counters.set("heard_ns", heard)
    where = ("BTC/USD", BoardReader(memory), 0, 1, counters.values, counters.index("heard_ns"), lambda: 10**12)
    portable, chosen = PortablePlace(*where), Place(*where)

    assert chosen.best() is None
    assert chosen.pair() is None
    for bids, asks, state, decimals, levels in told:
        sides = [pack_levels([number for level in side for number in level]) for side in (bids, asks)]
        head = (Kind.BOOK_TOP, state, decimals, 8, 0, len(bids), len(asks), levels, b"", 1, 1)
        writer.store(0, book_top_packer(levels)(*head, *sides))
        rules = PairRules(1, 1, 5000, Decimal("0.5"), "online", decimals)
        writer.store(1, pack_pair(0, decimals, 8, rules, MonoNs(1)))
        pair = chosen.pair()

        assert chosen.best() == portable.best() is not None
        assert pair == portable.pair() is not None
        assert chosen.pair() is pair
        assert (chosen.book_record(), chosen.age_ns()) == (portable.book_record(), 10**12 - heard)
