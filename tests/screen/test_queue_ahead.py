"""What others have ahead of an order: a bound that may be too high, and is never too low."""

from decimal import Decimal
from random import Random

import pytest

from engine.orders.life import OrderState
from engine.records import FeedState
from engine.screen.queue_ahead import ORDERS_MAX, QueueAhead
from engine.units import NS_PER_S
from tests.screen.rig import book_of, shown_order

SECOND = NS_PER_S
BEST_ASK = [("101.0", "1")]


def bid(qty):
    """A book with this quantity at the order's price."""
    return book_of([("100.0", qty)], BEST_ASK)


def test_it_is_what_stands_at_the_price_less_our_own_and_only_falls():
    """What comes later stands behind."""
    queue, order = QueueAhead(), shown_order()
    queue.look(0, bid("2.5"), [order])
    queue.look(SECOND, bid("2.5"), [order])
    assert queue.ahead_max("a") is None  # the first look that counts waits for its reports
    queue.look(2 * SECOND, bid("1.7"), [order])
    assert queue.ahead_max("a") == Decimal("2.0")
    queue.look(3 * SECOND, bid("9"), [order])
    assert queue.ahead_max("a") == Decimal("1.2")
    queue.look(4 * SECOND, bid("9"), [order])
    assert queue.ahead_max("a") == Decimal("1.2")


@pytest.mark.parametrize(
    "changed", [shown_order(limit=Decimal("99.9")), shown_order(qty=Decimal("0.6"))], ids=["price", "quantity"]
)
def test_an_amend_that_loses_the_place_begins_anew(changed):
    """A smaller quantity keeps it."""
    queue = QueueAhead()
    for second in range(3):
        queue.look(second * SECOND, bid("2.5"), [shown_order()])
    queue.look(3 * SECOND, bid("2.5"), [shown_order(qty=Decimal("0.4"))])
    assert queue.ahead_max("a") == Decimal("2.0")
    queue.look(4 * SECOND, bid("2.5"), [changed])

    assert queue.ahead_max("a") is None


@pytest.mark.parametrize(
    "book",
    [None, book_of([("100.0", "2")], BEST_ASK, FeedState.STALE), book_of([("100.5", "2")], BEST_ASK)],
    ids=["none", "in doubt", "beyond its levels"],
)
def test_a_book_that_does_not_tell_it_leaves_it_unknown(book):
    """Nothing is guessed."""
    queue = QueueAhead()
    for second in range(5):
        queue.look(second * SECOND, book, [shown_order()])

    assert queue.ahead_max("a") is None


def test_orders_that_do_not_rest_have_no_queue_and_what_is_followed_is_bounded():
    """Triggers, orders on their way, orders in doubt."""
    queue = QueueAhead()
    orders = [
        shown_order("stop", order_type="stop-loss"),
        shown_order("sent", state=OrderState.SENT),
        shown_order("doubt", state=OrderState.UNKNOWN),
        *(shown_order(f"o{number}") for number in range(2 * ORDERS_MAX)),
    ]
    for second in range(3):
        queue.look(second * SECOND, bid("9999"), orders)
    known = [order.key for order in orders if queue.ahead_max(order.key) is not None]

    assert len(known) == ORDERS_MAX
    assert not {"stop", "sent", "doubt"} & set(known)


@pytest.mark.parametrize("seed", range(60))
def test_it_is_never_below_the_truth(seed):
    """A queue of one price: others come, leave and trade, so do we; book and reports come late, each by
    its own delay of less than a second."""
    chance = Random(seed)
    queue, now = QueueAhead(), 0
    line = []  # [owner, what is left]; the front is first
    sizes = {}  # of our orders: the whole quantity
    books, reports = [(0, "0")], [(0, {})]  # (when it is seen, what)
    for step in range(400):
        now += chance.randrange(1, SECOND // 3)
        what = chance.random()
        if what < 0.3:
            line.append([None, chance.randrange(1, 50)])
        elif what < 0.4:
            key, qty = f"o{step}", chance.randrange(1, 30)
            sizes[key] = qty
            line.append([key, qty])
        elif what < 0.6 and line:
            line.pop(chance.randrange(len(line)))
        elif what < 0.7 and (ours := [each for each in line if each[0]]):
            mine = chance.choice(ours)  # a larger quantity: the end of the queue
            line.remove(mine)
            sizes[mine[0]] += 5
            line.append([mine[0], mine[1] + 5])
        else:
            traded = chance.randrange(1, 60)
            while traded and line:
                taken = min(traded, line[0][1])
                line[0][1] -= taken
                traded -= taken
                if not line[0][1]:
                    line.pop(0)
        seen_at = now + chance.randrange(0, SECOND * 9 // 10)
        books.append((max(seen_at, books[-1][0]), str(sum(qty for _, qty in line))))
        seen_at = now + chance.randrange(0, SECOND * 9 // 10)
        reports.append((max(seen_at, reports[-1][0]), {key: qty for key, qty in line if key}))
        qty = [qty for at, qty in books if at <= now][-1]
        told = [told for at, told in reports if at <= now][-1]
        orders = [
            shown_order(key, qty=Decimal(sizes[key]), filled=Decimal(sizes[key] - left)) for key, left in told.items()
        ]
        queue.look(now, bid(qty) if Decimal(qty) else book_of([], BEST_ASK), orders)
        ahead = 0
        for key, left in line:
            if key is None:
                ahead += left
            elif key in told and (bound := queue.ahead_max(key)) is not None and sizes[key] == sizes_told(orders, key):
                assert bound >= ahead, (seed, step, key, bound, ahead)


def sizes_told(orders, key):
    """The whole quantity of an order as it was told."""
    return next(int(order.qty) for order in orders if order.key == key)
