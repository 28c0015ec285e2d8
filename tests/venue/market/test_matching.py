"""Price-time priority, against a reference so plain that it can be read as the rule."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.venue.market.matching import BUY, SELL, OrderBook, OrderNotFound, Outcome, Side
from tests.examples import times


class Resting(NamedTuple):
    order_id: int
    side: Side
    price: int
    qty: int
    queued: int  # when it took its place: less is first


class PlainBook:
    """The rule: a list of orders, searched anew for every fill."""

    def __init__(self) -> None:
        self.orders: dict[int, Resting] = {}
        self.filled: dict[int, int] = {}
        self.moment = 0

    def take(self, order_id: int, side: Side, price: int | None, qty: int) -> tuple[list[tuple[int, int, int]], int]:
        fills = []
        while qty:
            makers = [
                order
                for order in self.orders.values()
                if order.side is not side
                and (price is None or (order.price <= price if side is BUY else order.price >= price))
            ]
            if not makers:
                break
            best = min(makers, key=lambda order: (order.price if side is BUY else -order.price, order.queued))
            part = min(qty, best.qty)
            fills.append((best.order_id, best.price, part))
            qty -= part
            for filled_id in (best.order_id, order_id):
                self.filled[filled_id] = self.filled.get(filled_id, 0) + part
            if part == best.qty:
                del self.orders[best.order_id]
            else:
                self.orders[best.order_id] = best._replace(qty=best.qty - part)
        return fills, qty

    def rest(self, order_id: int, side: Side, price: int, qty: int) -> None:
        self.moment += 1
        if qty:
            self.orders[order_id] = Resting(order_id, side, price, qty, self.moment)

    def amend(self, order_id: int, price: int, total: int) -> list[tuple[int, int, int]]:
        order = self.orders[order_id]
        qty = total - self.filled.get(order_id, 0)
        if price == order.price and qty <= order.qty:
            self.orders[order_id] = order._replace(qty=qty)
            return []
        del self.orders[order_id]
        fills, left = self.take(order_id, order.side, price, qty)
        self.rest(order_id, order.side, price, left)
        return fills

    def levels(self, side: Side) -> list[tuple[int, int]]:
        totals: dict[int, int] = {}
        for order in self.orders.values():
            if order.side is side:
                totals[order.price] = totals.get(order.price, 0) + order.qty
        return sorted(totals.items(), reverse=side is BUY)


sides = st.sampled_from([BUY, SELL])
prices = st.integers(95, 105)
qtys = st.integers(1, 20)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("limit"), sides, prices, qtys),
        st.tuples(st.just("market"), sides, st.none(), qtys),
        st.tuples(st.just("cancel"), st.integers(0, 10_000)),
        st.tuples(st.just("amend"), st.integers(0, 10_000), prices, qtys),
    ),
    max_size=60,
)


def fills_of(outcome: Outcome) -> list[tuple[int, int, int]]:
    return [(fill.maker_order_id, fill.price, fill.qty) for fill in outcome.fills]


@times(5)
@given(actions)
def test_the_book_is_the_plain_one(steps):
    """Whatever comes: same fills in the same order, same levels, invariants hold, no
    quantity is made or lost.
    """
    book, plain = OrderBook(), PlainBook()
    told: dict[tuple[Side, int], int] = {}  # what the level changes have said so far
    submitted, canceled, traded = 0, 0, 0
    for step in steps:
        if step[0] in ("limit", "market"):
            _, side, price, qty = step
            submitted += qty
            outcome = book.market(0, side, qty) if price is None else book.limit(0, side, price, qty)
            expected, left = plain.take(outcome.order_id, side, price, qty)
            if price is None:
                canceled += left
            else:
                plain.rest(outcome.order_id, side, price, left)
                assert outcome.resting_qty == left
        elif not plain.orders:
            continue
        elif step[0] == "cancel":
            order_id = sorted(plain.orders)[step[1] % len(plain.orders)]
            canceled += plain.orders.pop(order_id).qty
            outcome, expected = book.cancel(order_id), []
        else:
            order_id = sorted(plain.orders)[step[1] % len(plain.orders)]
            total = plain.filled.get(order_id, 0) + step[3]
            submitted += step[3] - plain.orders[order_id].qty
            outcome, expected = book.amend(order_id, price=step[2], qty=total), plain.amend(order_id, step[2], total)
        assert fills_of(outcome) == expected
        traded += sum(qty for _, _, qty in expected)
        for change in outcome.changes:
            told[change.side, change.price] = change.qty
        book.check()
        for side in (BUY, SELL):
            assert book.levels(side) == plain.levels(side)
            assert {price: qty for (of, price), qty in told.items() if of is side and qty} == dict(book.levels(side))
    resting = sum(qty for side in (BUY, SELL) for _, qty in book.levels(side))

    assert submitted == resting + canceled + 2 * traded


def test_a_sweep_tells_one_step_per_maker():
    """The changes of a sweep are its maker fills, one each, with what the level still
    holds.
    """
    book = OrderBook()
    first, second = book.limit(7, SELL, 100, 5), book.limit(8, SELL, 100, 3)
    book.limit(9, SELL, 101, 4)
    outcome = book.limit(1, BUY, 101, 10)

    assert [(fill.maker_owner, fill.price, fill.qty) for fill in outcome.fills] == [
        (7, 100, 5),
        (8, 100, 3),
        (9, 101, 2),
    ]
    assert [(change.side, change.price, change.qty) for change in outcome.changes] == [
        (SELL, 100, 3),
        (SELL, 100, 0),
        (SELL, 101, 2),
    ]
    assert book.order(first.order_id) is None
    assert book.order(second.order_id) is None


def test_an_aggressive_limit_rests_what_it_could_not_take():
    """Both sides change in one event: consumed makers first, then the remainder."""
    book = OrderBook()
    book.limit(1, SELL, 100, 5)
    outcome = book.limit(2, BUY, 100, 8)

    assert [(change.side, change.price, change.qty) for change in outcome.changes] == [(SELL, 100, 0), (BUY, 100, 3)]
    assert outcome.resting_qty == 3


def test_less_keeps_the_place_and_more_loses_it():
    """Kraken's amend: only a decrease leaves the order where it stands in the queue."""
    book = OrderBook()
    first, second = book.limit(1, BUY, 100, 5).order_id, book.limit(2, BUY, 100, 5).order_id
    book.amend(first, qty=4)
    after_less = [order.order_id for order in book.orders_at(BUY, 100)]
    book.amend(first, qty=6)
    after_more = [order.order_id for order in book.orders_at(BUY, 100)]

    assert after_less == [first, second]
    assert after_more == [second, first]


def test_an_amend_to_the_same_changes_nothing():
    """No event, so no message: the feed never tells a modify that changes nothing."""
    book = OrderBook()
    order_id = book.limit(1, BUY, 100, 5).order_id

    assert book.amend(order_id, price=100, qty=5).changes == []


def test_an_amended_price_that_crosses_trades():
    """The order keeps its id and takes like a new one."""
    book = OrderBook()
    maker = book.limit(1, SELL, 101, 2).order_id
    order_id = book.limit(2, BUY, 100, 5).order_id
    outcome = book.amend(order_id, price=101)

    assert [(fill.maker_order_id, fill.taker_order_id) for fill in outcome.fills] == [(maker, order_id)]
    assert outcome.resting_qty == 3
    assert [(change.side, change.price, change.qty) for change in outcome.changes] == [
        (BUY, 100, 0),
        (SELL, 101, 0),
        (BUY, 101, 3),
    ]


def test_what_is_not_there_cannot_be_changed():
    """Unknown orders are refused with their id, impossible ones are a fault of the caller."""
    book = OrderBook()
    order_id = book.limit(1, BUY, 100, 5).order_id
    book.market(2, SELL, 2)

    with pytest.raises(OrderNotFound, match="99"):
        book.cancel(99)
    with pytest.raises(OrderNotFound):
        book.amend(99, qty=1)
    with pytest.raises(MisuseError):
        book.limit(1, BUY, 0, 1)
    with pytest.raises(MisuseError):
        book.market(1, BUY, 0)
    with pytest.raises(MisuseError, match="2 lots are filled"):
        book.amend(order_id, qty=2)
