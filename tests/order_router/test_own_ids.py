"""Client order ids that the user chose: each is used once, and nobody else's order is taken for ours."""

import pytest
from msgspec.structs import replace

from engine import ErrorKind
from engine.orders.client_order_id import client_order_ids, is_client_order_id, is_made_here
from engine.orders.life import OrderState
from engine.orders.rings.commands import Cancel, Submit
from engine.units import NS_PER_S, MonoNs
from tests.order_router.rig import SETTINGS, STRATEGY
from tests.order_router.world import Way, World
from tests.orders.rig import limit

OWN = "mine-17"
PATIENCE_NS = 70 * NS_PER_S  # after REST's longest lag too


def ask(world, key=OWN, side="buy", price="95"):
    """Send an order with this id; how it stands for the strategy a second later."""
    world.ask(Submit(STRATEGY, key, limit(side, "1", price), world.clock.mono_ns(), MonoNs(0)))
    world.run(NS_PER_S)
    return world.strategy.order(key)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (OWN, True),
        ("GRID-BO-DVe742G3Eq", True),
        ("a" * 18, True),
        ("a" * 19, False),
        ("", False),
        ("with space", False),
        ("ünder", False),
        ("6d1b345e-2821-40e2-ad83-4ecb18a06876", True),
        ("6D1B345E-2821-40E2-AD83-4ECB18A06876", False),
        ("da8e4ad59b78481c93e589746b0cf91f", True),
        ("da8e4ad59b78481c93e589746b0cf91", False),
        ("mine-17\n", False),
    ],
)
def test_what_kraken_takes_and_tells_back(text, is_one):
    """Three forms; whatever it might tell back otherwise is not taken."""
    assert is_client_order_id(text) is is_one


def test_our_own_are_known_by_their_run():
    """Others are the user's."""
    key = next(client_order_ids("quoter", 77))
    assert is_made_here(key, 77)
    assert not is_made_here(key, 78)
    assert not is_made_here(OWN, 77)


def test_an_order_lives_and_ends_under_it():
    """At Kraken, in the journal, for the strategy."""
    world = World()
    world.intents.add(OWN)
    assert ask(world).state is OrderState.WORKING
    assert world.exchange.orders[0].cl_ord_id == OWN
    world.ask(Cancel(STRATEGY, [OWN]))
    world.run(NS_PER_S)

    assert world.strategy.order(OWN).state is OrderState.CANCELED
    world.agree()


def test_an_open_order_of_another_program_has_it():
    """It is refused here, for Kraken would, and that order stays what it is."""
    world = World()
    world.exchange.place("ETH/USD", "buy", "1", "90", cl_ord_id=OWN)
    world.run(NS_PER_S)
    order = ask(world)

    assert (order.state, order.error.kind) == (OrderState.REFUSED, ErrorKind.DUPLICATE)
    assert [order.is_external for order in world.rig.core.blotter.open.values()] == [True]


@pytest.mark.parametrize("way", [Way(["add_order"]), Way(["add_order"], back_ns=None)])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_an_open_order_that_nobody_told_has_it(way, side):
    """Kraken says so, or its answer is lost: nothing of that order becomes ours."""
    world = World(replace(SETTINGS, open_orders_check_ns=0))
    world.loses = lambda fact: True
    placed = world.exchange.place("BTC/USD", "buy", "2", "90", cl_ord_id=OWN)
    world.run(70 * NS_PER_S)  # before ours was sent
    world.loses = lambda fact: False
    world.way = way
    ask(world, side=side, price="95" if side == "buy" else "105")
    world.run(PATIENCE_NS)
    order = world.rig.core.blotter.get(OWN)

    assert order.state is OrderState.REJECTED
    assert order.order_id != placed
    assert world.exchange.orders[0].is_open


def test_an_earlier_runs_id_is_not_taken_again():
    """Silence would leave the strategy waiting."""
    world = World()
    ask(world)
    world.rig.core.blotter.get(OWN).sent_in_run = 99
    order = ask(world)

    assert world.exchange.called.get("AddOrder") is None
    assert len(world.exchange.orders) == 1
    assert (order.state, order.error.kind) == (OrderState.REFUSED, ErrorKind.DUPLICATE)
