"""The router's process dies between any two steps, and the next one goes on from the journal, with rings as they stand.

    before and after each append to the journal, and between the records of one · each request of the socket ·
    each report, and when a call of REST is put: between journal and send, send and answer, answer and report

Each deed and fate is lived through once to count its steps, then once for each step with a death there.
"""

from decimal import Decimal
from functools import cache
from itertools import product
from typing import Final

import pytest

from engine.units import NS_PER_MS, NS_PER_S
from tests.order_router.test_cells_of_doubt import DEADLINE_NS, DEEDS, FILL_AFTER_NS, PATIENCE_NS, ROUTES, Deed, way_of
from tests.order_router.world import World

FATES: Final = ("as usual", "lost", "answer lost", "answer late")
RESOLVED_NS_MAX: Final = 2 * NS_PER_S
TICK_NS: Final = 80 * NS_PER_MS  # coarse: deaths come at steps, whenever those are
QUIET_NS: Final = NS_PER_S  # in which nothing may change any more
STEPS_MIN: Final = 8  # of the shortest: a cancel, its journal record, its request, and what the strategy is told


def live_through(route: str, what: str, fate: str, die_at: int, die_again_at: int = 0) -> World:
    """The deed, to its end; the router dies at that step of it (0: never), and at that step of its next life."""
    world = World(tick_ns=TICK_NS)
    world.exchange.rest_lag_ns = 200 * NS_PER_MS
    deed = Deed(world, what)
    deed.prepare()
    if route == "rest":
        world.is_trading_reachable = False
        world.cut_trading()
        world.rest(NS_PER_S)
    if fate != "as usual":
        world.way = way_of(fate, route, what)
    world.steps.clear()
    world.step_to_die, world.step_to_die_again = die_at, die_again_at
    deed.do()
    # A part of each is filled in time for a death to come between the fill and its report.
    for key in deed.keys:
        world.at(2 * FILL_AFTER_NS, lambda key=key: fill_part(world, key))  # type: ignore[misc]
    story = f"nothing is in doubt after {route}, {what}, {fate}, death at {die_at}, {die_again_at}"
    patience_ns = max(DEADLINE_NS[route], PATIENCE_NS[route])
    world.run_until(deed.is_settled, RESOLVED_NS_MAX, story, patience_ns)
    world.rest(QUIET_NS)
    # A death at the end of the quiet time has time of its own.
    world.run_until(deed.is_settled, RESOLVED_NS_MAX, story)
    world.agree()
    if deed.is_end:
        assert not any(order.is_open for order in world.exchange.orders)
    return world


def fill_part(world: World, key: str) -> None:
    for order in world.exchange.of(key):
        world.exchange.fill(order.order_id, Decimal("0.25"))


@cache
def steps_of(route: str, what: str, fate: str) -> int:
    """How many steps there are to die at."""
    return len(live_through(route, what, fate, die_at=0).steps)


@pytest.mark.parametrize(("route", "what", "fate"), list(product(ROUTES, DEEDS, FATES)))
def test_a_death_between_any_two_steps_loses_no_order_and_doubles_none(route: str, what: str, fate: str) -> None:
    """Nor a fill; and what was under way is certain two seconds after the next router has begun."""
    steps = steps_of(route, what, fate)
    died = [live_through(route, what, fate, die_at=number).deaths for number in range(1, steps + 1)]

    assert steps >= STEPS_MIN
    assert died == [1] * steps


@pytest.mark.parametrize("again_at", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(("route", "what"), list(product(ROUTES, DEEDS)))
def test_the_next_router_may_die_as_well(route: str, what: str, again_at: int) -> None:
    """While it reads what its predecessor has left."""
    died = [
        live_through(route, what, "answer lost", die_at=number, die_again_at=again_at).deaths
        for number in range(1, steps_of(route, what, "answer lost") + 1, 3)
    ]

    assert set(died) == {2}
