"""A pair that is not online while the venue is: what is accepted, and what waits."""

import pytest

from engine.errors import VenueReject
from engine.units import NS_PER_S, WallNs
from engine.venue.market.matching import BUY
from tests.venue.trading_rig import Floor


@pytest.fixture
def floor() -> Floor:
    """Two pairs, of which one is closed."""
    floor = Floor("BTC/USD", "ETH/USD")
    floor.market.mode = "cancel_only"
    return floor


def test_orders_of_that_pair_alone_are_refused(floor: Floor) -> None:
    """In Kraken's words, also a change of one that is open; canceling goes on."""
    floor.market.mode = "online"
    resting = floor.add()
    floor.market.mode = "cancel_only"
    with pytest.raises(VenueReject, match="EService:Market in cancel_only mode"):
        floor.add()
    with pytest.raises(VenueReject, match="EService:Market in cancel_only mode"):
        floor.amend(resting, order_qty="0.02")
    best = floor.exchange.markets["ETH/USD"].book.best(BUY)
    assert best is not None
    assert floor.add(symbol="ETH/USD", qty="0.1", limit_price="1000").is_open
    floor.cancel(resting)
    assert not resting.is_open


def test_a_post_only_order_is_taken_in_that_mode(floor: Floor) -> None:
    """And no other."""
    floor.market.mode = "post_only"
    assert floor.add(post_only=True).is_open
    with pytest.raises(VenueReject, match="post_only"):
        floor.add()


def test_maintenance_of_a_pair_is_unavailable(floor: Floor) -> None:
    """As of the whole venue."""
    floor.market.mode = "maintenance"
    with pytest.raises(VenueReject, match="EService:Unavailable"):
        floor.add()


def test_a_scheduled_order_waits_until_the_pair_is_online(floor: Floor) -> None:
    """Nothing goes into a book that is not live."""
    floor.market.mode = "online"
    order = floor.add(effective_time=WallNs(floor.at + 2 * NS_PER_S))
    floor.market.mode = "cancel_only"
    floor.wait(5)
    assert order.place == "scheduled"
    floor.market.mode = "online"
    floor.wait(2)
    assert order.place == "book"
    floor.trading.check_invariants()
