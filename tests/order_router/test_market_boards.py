"""What the order router sees of the market: how old a book is, and whether it may be relied upon."""

from decimal import Decimal

from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.orders.risk import Risk, RiskLimits
from engine.units import NS_PER_S
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
