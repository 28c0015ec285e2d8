"""Markets are opened when they are asked for, and are the same whenever that is."""

from engine.clock import ManualClock
from engine.units import NS_PER_S, WallNs
from engine.venue.market.exchange import Exchange
from engine.venue.market.markets import Markets
from engine.venue.market.matching import BUY, SELL
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PAIRS
from tests.venue.market.rig import STARTED_AT, AtOnce

FIRST, SECOND = PAIRS[0], PAIRS[1]


def test_all_pairs_are_listed_and_none_is_opened_for_that():
    markets = Markets(PAIRS, 7, STARTED_AT)

    assert list(markets) == [pair.symbol for pair in PAIRS]
    assert markets.pairs() == PAIRS
    assert FIRST.symbol in markets
    assert "NO/SUCH" not in markets
    assert markets.get("NO/SUCH") is None
    assert "opened 0 of" in repr(markets)


def test_a_market_is_what_it_would_have_been_at_the_start():
    """Its book, its last trade and its history, though others have traded for an hour
    meanwhile.
    """
    clock = ManualClock(wall_ns=STARTED_AT)
    exchange = Exchange((FIRST,), 7, clock, AtOnce(), lambda: 0.0, still=(SECOND,))
    at_the_start = PairMarket(SECOND, 7, STARTED_AT)
    clock.advance(3600 * NS_PER_S)
    for _ in range(200):
        exchange.next_event()

    opened = exchange.markets[SECOND.symbol]

    assert exchange.markets[SECOND.symbol] is opened
    for side in (BUY, SELL):
        assert opened.book.levels(side) == at_the_start.book.levels(side)
    assert opened.last_trades(50) == at_the_start.last_trades(50)


def test_trades_of_markets_opened_before_and_after_are_told():
    told: list[str] = []
    markets = Markets((FIRST, SECOND), 7, STARTED_AT)
    before = markets[FIRST.symbol]
    markets.tell_trades_to(lambda market, *_: told.append(market.pair.symbol))
    after = markets[SECOND.symbol]

    for market in (before, after):
        for step in range(2_000):
            market.act(WallNs(STARTED_AT + step + 1))

    assert set(told) == {FIRST.symbol, SECOND.symbol}
