"""Another venue's levels among the orders of ours: equal to what is told, never kinder to a client than the queue."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.venue.market.matching import BUY, FLOW_OWNER, SELL, OrderBook, Outcome, Side
from engine.venue.market.mirror import Mirror
from tests.examples import times

CLIENT = 7
DEPTH = 4


class Glass:
    """A mirror and its book, and every fill of the client since the last look."""

    def __init__(self, depth: int = DEPTH) -> None:
        self.book = OrderBook()
        self.mirror = Mirror(self.book, depth, self.publish)
        self.fills: list[tuple[int, int, bool]] = []  # price, lots, whether the client was the maker

    def publish(self, outcome: Outcome) -> None:
        """Note what the client got."""
        for fill in outcome.fills:
            if CLIENT in (fill.maker_owner, fill.taker_owner):
                self.fills.append((fill.price, fill.qty, fill.maker_owner == CLIENT))

    def update(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Both sides as they are now; the mirror is given the best of them."""
        self.mirror.update(
            dict(sorted(bids.items(), reverse=True)[:DEPTH]),
            dict(sorted(asks.items())[:DEPTH]),  # type: ignore[arg-type]
        )
        self.book.check()

    def order(self, side: Side, price: int, lots: int, **more: Any) -> int:
        """An order of the client; its id."""
        outcome = self.book.limit(CLIENT, side, price, lots, **more)  # type: ignore[arg-type]
        self.publish(outcome)
        return outcome.order_id

    def trade(self, taker: Side, price: int, lots: int) -> list[tuple[int, int, bool]]:
        """A trade at the other venue; what the client got by it."""
        self.mirror.trade(taker, price, lots)  # type: ignore[arg-type]
        self.book.check()
        return self.take()

    def take(self) -> list[tuple[int, int, bool]]:
        """The client's fills since the last look."""
        fills, self.fills = self.fills, []
        return fills

    def shown(self, side: Side, price: int) -> int:
        """What nobody of ours owns at a price."""
        orders = self.book.orders_at(side, price)  # type: ignore[arg-type]
        return sum(order.open_qty for order in orders if order.owner == FLOW_OWNER)

    def ahead(self, order_id: int) -> int:
        """What stands before the client's order at its price."""
        order = self.book.order(order_id)
        assert order is not None
        ahead = 0
        for each in self.book.orders_at(order.side, order.price):
            if each.order_id == order_id:
                return ahead
            ahead += each.open_qty if each.owner == FLOW_OWNER else 0
        raise AssertionError("the order is at its price")


@pytest.fixture
def glass() -> Glass:
    """A market of two levels a side."""
    glass = Glass()
    glass.update({100: 5, 99: 8}, {102: 5, 103: 8})
    return glass


def test_an_order_is_filled_when_the_queue_before_it_has_traded(glass: Glass) -> None:
    """Five are ahead of it: a trade of five is theirs, the next one is ours."""
    order = glass.order(BUY, 100, 3)

    assert glass.trade(SELL, 100, 5) == []
    assert glass.ahead(order) == 0
    assert glass.trade(SELL, 100, 2) == [(100, 2, True)]


def test_who_comes_later_is_behind_and_who_leaves_was_behind_too(glass: Glass) -> None:
    """Growth queues behind the client; shrinkage without a trade takes from behind first."""
    order = glass.order(BUY, 100, 3)
    glass.update({100: 9, 99: 8}, {102: 5})
    assert glass.ahead(order) == 5
    glass.update({100: 6, 99: 8}, {102: 5})
    assert glass.ahead(order) == 5
    glass.update({100: 2, 99: 8}, {102: 5})
    assert glass.ahead(order) == 2


def test_a_trade_and_the_level_that_it_leaves_count_once(glass: Glass) -> None:
    """The trade comes first, the level after it."""
    order = glass.order(BUY, 100, 3)
    glass.trade(SELL, 100, 2)
    glass.update({100: 3, 99: 8}, {102: 5})

    assert glass.ahead(order) == 3
    assert glass.shown(BUY, 100) == 3


def test_a_level_that_crosses_an_order_fills_it_at_its_own_price(glass: Glass) -> None:
    """And no more of it than the level has; what it took from there is not sold twice."""
    glass.order(BUY, 101, 6)
    glass.update({99: 8}, {100: 4, 102: 5})
    assert glass.take() == [(101, 4, True)]
    assert glass.shown(SELL, 100) == 0
    glass.update({99: 8}, {100: 4, 102: 6})
    assert glass.take() == []
    glass.update({99: 8}, {100: 5, 102: 6})
    assert glass.take() == [(101, 1, True)]


def test_what_a_client_took_comes_back_when_the_level_has_gone(glass: Glass) -> None:
    """The other venue still shows it: only what is new there is for sale."""
    glass.order(BUY, 102, 4, rest=False)
    assert glass.take() == [(102, 4, False)]
    glass.update({100: 5}, {102: 7})
    assert glass.shown(SELL, 102) == 3
    glass.update({100: 5}, {102: 6})
    assert glass.shown(SELL, 102) == 2
    glass.update({100: 5}, {103: 8})
    glass.update({100: 5}, {102: 5, 103: 8})
    assert glass.shown(SELL, 102) == 5


def test_what_comes_into_view_from_beyond_the_depth_was_there_before(glass: Glass) -> None:
    """Nobody told what stood there when the client came."""
    glass.update({100: 1, 99: 1, 98: 1, 97: 1}, {102: 5})
    deep, near = glass.order(BUY, 95, 3), glass.order(BUY, 98, 3)
    glass.update({99: 1, 98: 4, 97: 1, 95: 9}, {102: 5})

    assert glass.ahead(deep) == 9
    assert glass.ahead(near) == 1


def test_a_place_in_the_queue_outlasts_a_level_that_goes_out_of_view(glass: Glass) -> None:
    """Those who were ahead may still be; who came meanwhile is behind."""
    glass.update({100: 1, 99: 1, 98: 6, 97: 1}, {105: 5})
    order = glass.order(BUY, 98, 3)
    glass.update({103: 1, 102: 1, 101: 1, 100: 1}, {105: 5})
    assert glass.ahead(order) == 6
    glass.update({100: 1, 99: 1, 98: 9, 97: 1}, {105: 5})
    assert glass.ahead(order) == 6


def test_levels_beyond_the_depth_do_not_stay(glass: Glass) -> None:
    """Where no client waits, nothing is kept of what is not told."""
    for best in range(200, 300):
        glass.update({best - rank: 1 for rank in range(DEPTH)}, {best + 1 + rank: 1 for rank in range(DEPTH)})

    assert glass.book.level_count(BUY) == glass.book.level_count(SELL) == DEPTH
    assert len(glass.mirror.told(BUY)) == len(glass.mirror.told(SELL)) == DEPTH


def test_cleared_nothing_is_shown_and_no_place_is_known(glass: Glass) -> None:
    """After it all that is told is before the client."""
    order = glass.order(BUY, 100, 3)
    glass.mirror.clear()
    assert glass.book.levels(BUY) == [(100, 3)]
    assert glass.book.levels(SELL) == []
    glass.update({100: 9}, {102: 1})
    assert glass.ahead(order) == 9


prices = st.integers(90, 110)
lots = st.integers(1, 6)
levels = st.tuples(st.integers(92, 108), st.dictionaries(prices, lots, max_size=12))
steps = st.one_of(
    st.tuples(st.just("update"), levels),
    st.tuples(st.just("trade"), st.sampled_from([BUY, SELL]), prices, lots),
    st.tuples(st.just("order"), st.sampled_from([BUY, SELL]), prices, lots),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
)


@times(15)
@given(st.lists(steps, max_size=40))
def test_the_mirror_is_never_kinder_than_the_queue(script: list[tuple[Any, ...]]) -> None:
    """After any sequence: a whole book, what is told less what was taken, and fills that somebody paid for."""
    glass = Glass()
    told: dict[Side, dict[int, int]] = {BUY: {}, SELL: {}}
    mine: dict[int, tuple[Side, int]] = {}  # the client's resting orders: side, price
    for kind, *details in script:
        before = {order_id: (glass.book.order(order_id), glass.ahead(order_id)) for order_id in mine}
        open_before = {order_id: order.open_qty for order_id, (order, _) in before.items() if order is not None}
        if kind == "update":
            middle, drawn = details[0]
            bids = {price: qty for price, qty in drawn.items() if price < middle}
            asks = {price: qty for price, qty in drawn.items() if price > middle}
            grown = {
                side: sum(max(0, qty - told[side].get(price, 0)) for price, qty in new.items())
                for side, new in ((BUY, bids), (SELL, asks))
            }
            glass.update(bids, asks)
            for order_id, qty in open_before.items():
                side, price = mine[order_id]
                left = glass.book.order(order_id)
                if qty > (left.open_qty if left is not None else 0):  # only by a level that crosses it
                    other = asks if side is BUY else bids
                    assert any(ask <= price if side is BUY else ask >= price for ask in other)
            for maker in (BUY, SELL):  # no more than came
                got = sum(qty for price, qty, _ in glass.fills)
                assert got <= grown[BUY] + grown[SELL], maker
            told = {BUY: dict(sorted(bids.items(), reverse=True)[:DEPTH]), SELL: dict(sorted(asks.items())[:DEPTH])}
            for side in (BUY, SELL):
                for price, qty in told[side].items():
                    assert glass.mirror.told(side)[price] == qty  # type: ignore[index]
                    assert glass.shown(side, price) <= qty
        elif kind == "trade":
            taker, price, qty = details
            got = glass.trade(taker, price, qty)
            assert sum(part for _, part, _ in got) <= qty
            for at, _, is_maker in got:
                assert is_maker
                assert at <= price if taker is BUY else at >= price
            for order_id, (order, ahead) in before.items():
                left = glass.book.order(order_id)
                if left is not None:
                    assert ahead - qty <= glass.ahead(order_id) <= ahead
                assert order is not None
                filled = open_before[order_id] - (left.open_qty if left is not None else 0)
                assert filled <= max(0, qty - ahead), "those ahead are served first"
            for side in (BUY, SELL):
                told[side] = {at: here for at, here in told[side].items() if glass.mirror.told(side).get(at)}  # type: ignore[call-overload]
                told[side] = {at: glass.mirror.told(side)[at] for at in told[side]}  # type: ignore[index]
        elif kind == "order":
            side, price, qty = details
            order_id = glass.order(side, price, qty)
            for at, _, is_maker in glass.fills:
                assert not is_maker
                assert at <= price if side is BUY else at >= price
            if glass.book.order(order_id) is not None:
                mine[order_id] = (side, price)
        elif mine:
            order_id = list(mine)[details[0] % len(mine)]
            glass.book.cancel(order_id)
        glass.take()
        glass.book.check()
        mine = {order_id: what for order_id, what in mine.items() if glass.book.order(order_id) is not None}
        if kind == "update":
            for order_id in mine:
                if order_id in before:
                    side, price = mine[order_id]
                    ahead, was = glass.ahead(order_id), before[order_id][1]
                    assert ahead == was or ahead <= glass.mirror.told(side).get(price, 0)  # type: ignore[call-overload]
                    if ahead < was:  # so many are not there any more
                        assert ahead >= min(was, glass.shown(side, price))


@given(st.lists(levels, min_size=1, max_size=20))
def test_without_clients_the_book_is_what_is_told(script: list[tuple[int, dict[int, int]]]) -> None:
    """Price for price, whatever was told before."""
    glass = Glass()
    for middle, drawn in script:
        bids = {price: qty for price, qty in drawn.items() if price < middle}
        asks = {price: qty for price, qty in drawn.items() if price > middle}
        glass.update(bids, asks)

        assert glass.book.levels(BUY) == sorted(bids.items(), reverse=True)[:DEPTH]
        assert glass.book.levels(SELL) == sorted(asks.items())[:DEPTH]
