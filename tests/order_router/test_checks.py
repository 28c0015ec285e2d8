"""What no message told: ends and orders lost with the last message, closing orders of a gap. The checks find them.

The judge of `World` looks at every step, as everywhere.
"""

from decimal import Decimal

import pytest

from engine.order_router.core.lookup.closing_orders import PATIENCE_NS
from engine.orders.intent import Conditional
from engine.orders.life import OrderState
from engine.orders.rings.commands import Cancel, Submit
from engine.units import NS_PER_S, MonoNs
from tests.order_router.rig import SETTINGS, STRATEGY
from tests.order_router.world import Way, World
from tests.orders.rig import limit

CHECKED_NS = SETTINGS.open_orders_check_ns + 2 * NS_PER_S
LAG_NS = SETTINGS.rest_lag_ns_max
KEY = "quoter000000000001"
CLOSE = Conditional("limit", limit_price=Decimal(110))


def world_with_order(**intent):
    """A world with one acknowledged order; also the order at the exchange."""
    world = World()
    if not intent:
        world.intents.add(KEY)
    world.ask(Submit(STRATEGY, KEY, limit("buy", "1", "95", **intent), world.clock.mono_ns(), MonoNs(0)))
    world.run(NS_PER_S)
    (order,) = world.exchange.orders
    return world, order


def lose(world, *happenings):
    """What happens is told by nobody, and no number shows it."""
    world.loses = lambda fact: True
    for happen, *given in happenings:
        happen(*given)
    world.loses = lambda fact: False


def closing_orders(world):
    return [order for order in world.rig.core.blotter.open.values() if not order.is_external and order.key != KEY] + [
        order for order in world.rig.core.blotter.ended.values() if order.key != KEY
    ]


def position(world):
    return world.rig.core.blotter.positions.total_qty("BTC/USD")


# --- open orders, from time to time


def test_an_end_that_was_the_last_message_and_lost_is_found():
    """An expiry before a quiet hour: no later number shows that it is missing."""
    world, order = world_with_order()
    lose(world, (world.exchange.cancel, order.order_id))
    world.run(CHECKED_NS)

    assert world.rig.core.blotter.get(KEY).state is OrderState.CANCELED
    world.agree()


@pytest.mark.parametrize("share", ["0.25", "1"])
def test_a_fill_that_was_the_last_message_and_lost_is_found(share):
    """Whether or not it was the last of its order."""
    world, order = world_with_order()
    lose(world, (world.exchange.fill, order.order_id, Decimal(share)))
    world.run(CHECKED_NS)

    assert position(world) == Decimal(share)
    world.agree()


def test_an_order_of_the_account_that_nobody_told_is_taken_and_its_end_is_known():
    """It counts against limits while it is open; that it ended is found by the next check."""
    world, _ = world_with_order()
    placed = []
    lose(world, (lambda: placed.append(world.exchange.place("BTC/USD", "buy", "2", "90")),))
    world.run(CHECKED_NS)
    assert world.rig.core.blotter.find(placed[0]).is_external
    assert world.rig.core.blotter.find(placed[0]).is_open
    lose(world, (world.exchange.cancel, placed[0]))
    world.run(CHECKED_NS)

    assert not world.rig.core.blotter.find(placed[0]).is_open


def test_a_list_that_is_behind_changes_nothing():
    """REST does not list a young order yet, and lists one that has ended."""
    world, order = world_with_order()
    world.exchange.rest_lag_ns = 20 * NS_PER_S
    world.run(SETTINGS.open_orders_check_ns - 3 * NS_PER_S)
    world.exchange.cancel(order.order_id)
    young = "quoter000000000002"
    world.intents.add(young)
    world.ask(Submit(STRATEGY, young, limit("buy", "1", "94"), world.clock.mono_ns(), MonoNs(0)))
    world.run(10 * NS_PER_S)

    assert world.rig.core.open_orders_check.checks == 1
    assert world.rig.core.blotter.get(KEY).state is OrderState.CANCELED
    assert world.rig.core.blotter.get(young).state is OrderState.WORKING
    world.agree()


def test_one_call_a_minute_is_all_that_it_costs():
    """Ten minutes in which nothing is amiss."""
    world, _ = world_with_order()
    before = dict(world.exchange.called)
    world.run(10 * CHECKED_NS)
    called = {name: count - before.get(name, 0) for name, count in world.exchange.called.items()}

    assert 9 <= called["OpenOrders"] <= 10
    assert not called.get("QueryOrders")


# --- closing orders


@pytest.mark.parametrize("end", ["open", "filled", "canceled"])
@pytest.mark.parametrize("tells_trades", [True, False])
def test_a_closing_order_of_a_gap_is_found(end, tells_trades):
    """Whatever became of it meanwhile, and whether or not the snapshot still tells the trades."""
    world, order = world_with_order(conditional=CLOSE)
    world.cut_feed()
    world.exchange.trades_told = 50 if tells_trades else 0
    world.exchange.fill(order.order_id, Decimal(1))
    closing = world.exchange.orders[-1]
    assert closing.ref_id == order.order_id
    if end == "filled":
        world.exchange.fill(closing.order_id, Decimal(1))
    elif end == "canceled":
        world.exchange.cancel(closing.order_id)
    world.connect_feed()
    world.run(LAG_NS)

    (found,) = closing_orders(world)
    expected = {"open": OrderState.WORKING, "filled": OrderState.FILLED, "canceled": OrderState.CANCELED}
    assert (found.strategy, found.order_id, found.state) == (STRATEGY, closing.order_id, expected[end])
    assert position(world) == (0 if end == "filled" else 1)
    assert sorted(world.fills_told) == sorted(world.exchange.trades)


def test_a_closing_order_whose_fill_the_snapshot_tells_is_asked_for_by_its_id():
    """Kraken names it: a position is right two seconds later, without a call for history."""
    world, order = world_with_order(conditional=CLOSE)
    world.cut_feed()
    world.exchange.fill(order.order_id, Decimal(1))
    world.exchange.fill(world.exchange.orders[-1].order_id, Decimal(1))
    world.connect_feed()
    world.run(PATIENCE_NS + NS_PER_S)

    assert position(world) == 0
    assert sorted(world.fills_told) == sorted(world.exchange.trades)
    assert "ClosedOrders" not in world.exchange.called
    assert "QueryTrades" not in world.exchange.called


@pytest.mark.parametrize("are_filled", [True, False])
def test_closing_orders_of_several_parents_are_asked_for_together(are_filled):
    """One gap, five brackets filled in it: not a call for each, as long as none is for history."""
    world, order = world_with_order(conditional=CLOSE)
    parents = [order]
    for number in range(4):
        key = f"quoter000000000{number:02d}x"
        world.ask(Submit(STRATEGY, key, limit("buy", "1", "95", conditional=CLOSE), world.clock.mono_ns(), MonoNs(0)))
        world.run(NS_PER_S)
        parents.append(world.exchange.orders[-1])
    world.loses = lambda fact: fact.ord_ref_id is not None
    if are_filled:
        world.cut_feed()
    for parent in parents:
        world.exchange.fill(parent.order_id, Decimal(1))
        if are_filled:
            world.exchange.fill(world.exchange.orders[-1].order_id, Decimal(1))
    before = dict(world.exchange.called)
    world.connect_feed()
    world.run(PATIENCE_NS + 2 * NS_PER_S)
    called = {name: count - before.get(name, 0) for name, count in world.exchange.called.items()}

    assert position(world) == (0 if are_filled else 5)
    assert not world.rig.core.blotter.unclosed()
    assert "ClosedOrders" not in called
    assert called["QueryOrders"] <= 3
    assert called.get("OpenOrders", 0) == (0 if are_filled else 1)


def test_a_fill_under_the_userref_of_our_order_that_is_no_closing_order_is_nobodys():
    """Another program has used the number: the order of that fill is not taken, nor its fill."""
    world, order = world_with_order(conditional=CLOSE)
    userref = world.rig.core.blotter.get(KEY).userref
    world.cut_feed()
    world.exchange.makes_closing_orders = False
    world.exchange.fill(order.order_id, Decimal(1))
    other = world.exchange.place("BTC/USD", "sell", "1", "110", userref=userref)
    world.exchange.fill(other, Decimal(1))
    world.connect_feed()
    world.run(LAG_NS)

    assert world.rig.core.blotter.find(other) is None
    assert position(world) == 1


@pytest.mark.parametrize("reconnects_s", [2, 8])
@pytest.mark.parametrize("tells_trades", [True, False])
def test_calls_for_history_have_their_turn_while_cheaper_ones_would_take_all_there_is(tells_trades, reconnects_s):
    """A poor key, and each second another order in doubt: closing orders and what became of orders are known all the
    same, after a time that the key's counter allows.
    """
    world, order = world_with_order(conditional=CLOSE)
    world.exchange.trades_told = 50 if tells_trades else 0
    in_doubt = []
    for second in range(150):
        key = f"quoter00000001{second:04d}"
        in_doubt.append(key)
        world.intents.add(key)
        world.way = Way(["add_order"], there_ns=None)
        world.ask(Submit(STRATEGY, key, limit("buy", "1", "90"), world.clock.mono_ns(), MonoNs(0)))
        world.run(NS_PER_S)
        if second % reconnects_s == 0:
            world.cut_feed()
            if second == 40:
                world.exchange.fill(order.order_id, Decimal(1))
                world.exchange.fill(world.exchange.orders[-1].order_id, Decimal(1))
            world.connect_feed()
        if second == 40 + (25 if tells_trades else 70):
            assert sorted(world.fills_told) == sorted(world.exchange.trades)

    assert not [key for key in in_doubt[:-80] if not world.is_settled(key)]


def test_several_closing_orders_of_one_parent_are_found_by_a_router_that_begins_after_the_gap():
    """One fill was told before, with its closing order; two others with theirs were not."""
    world, order = world_with_order(conditional=CLOSE)
    world.exchange.fill(order.order_id, Decimal("0.5"))
    world.run(NS_PER_S)
    lose(
        world,
        (world.exchange.fill, order.order_id, Decimal("0.5")),
        (world.exchange.fill, order.order_id, Decimal(1)),
    )
    for closing in world.exchange.orders[1:]:
        lose(world, (world.exchange.fill, closing.order_id, Decimal(1)))
    world.rig.begin_anew()
    world.cut_feed()
    world.connect_feed()
    world.run(LAG_NS)

    assert sorted(it.order_id for it in closing_orders(world)) == [it.order_id for it in world.exchange.orders[1:]]
    assert {it.state for it in closing_orders(world)} == {OrderState.FILLED}
    assert position(world) == 0


def test_a_closing_order_that_was_told_is_not_looked_for():
    """Neither once it was amended, filled, or has ended."""
    world, order = world_with_order(conditional=CLOSE)
    world.exchange.fill(order.order_id, Decimal(1))
    world.run(10 * NS_PER_S)
    (closing,) = closing_orders(world)
    world.ask(Cancel(STRATEGY, [closing.key]))
    world.run(CHECKED_NS)

    assert "ClosedOrders" not in world.exchange.called


def test_a_closing_order_that_kraken_never_made_is_looked_for_three_times():
    """Not for ever; the log says so in the end."""
    world, order = world_with_order(conditional=CLOSE)
    world.exchange.makes_closing_orders = False
    world.exchange.fill(order.order_id, Decimal(1))
    world.run(20 * CHECKED_NS)

    assert world.exchange.called["ClosedOrders"] == 3
