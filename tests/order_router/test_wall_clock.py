"""A wall clock that is set back, or forward, changes no duration and no order of events."""

from decimal import Decimal

import pytest

from engine.instant import Instant
from engine.kraken.connection.kraken_time import KrakenTime
from engine.order_router.core.lookup.questions import OrderQuestions
from engine.order_router.core.new_orders import USERREF_RANGE, next_userref
from engine.orders.blotter import Blotter, fold
from engine.orders.intent import Conditional
from engine.orders.rings.commands import Submit
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs
from tests.order_router.rig import STRATEGY
from tests.order_router.world import World
from tests.orders.rig import AT, KEY, commit, limit, submitted

HOUR_NS = 3600 * NS_PER_S
CLOSE = Conditional("limit", limit_price=Decimal(110))
SENT_AT = MonoNs(1000 * NS_PER_S)


class Told:
    """What is known of executions; the order left at second 1000."""

    def __init__(self, unbroken_since=None, sent_at=SENT_AT):
        self.unbroken_since = unbroken_since
        self._sent_at = sent_at

    def is_complete_until(self, at):
        return True

    def sent_at(self, key):
        return self._sent_at


def in_doubt(told, now):
    """Questions about one order that was sent at AT with a second to live."""
    blotter = Blotter()
    commit(blotter, [submitted()])
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    questions = OrderQuestions(blotter, told, now, KrakenTime(now), life_ns=NS_PER_S, lag_ns_max=60 * NS_PER_S)
    questions.look_up(KEY, WallNs(AT + NS_PER_S))
    return questions


def test_an_order_in_doubt_is_looked_for_in_time_though_the_clock_was_set_back():
    """How long is waited is measured by the clock that nobody sets: an hour back must not leave it in doubt for one."""
    now = Instant(1000 * NS_PER_S, AT)
    questions = in_doubt(Told(), now)
    now.set(1003 * NS_PER_S, AT - HOUR_NS)

    assert questions.next_look() is not None


def test_a_deadline_has_not_passed_because_the_clock_was_set_forward():
    """Kraken may still begin with the order: a look that does not find it would prove nothing."""
    now = Instant(1000 * NS_PER_S, AT + HOUR_NS)
    questions = in_doubt(Told(), now)

    assert questions.next_look() is None


def test_an_order_of_an_earlier_life_waits_no_longer_than_it_had_to_live():
    """Only the wall clock knows when it left, and that was an hour ahead then."""
    now = Instant(1000 * NS_PER_S, AT - HOUR_NS)
    questions = in_doubt(Told(sent_at=None), now)
    now.set(1003 * NS_PER_S, AT - HOUR_NS)

    assert questions.next_look() is not None


def test_a_gap_after_an_order_left_is_one_though_the_clock_was_set_back():
    """Executions are whole since a moment after it left: closed orders are looked at too before it is held absent."""
    now = Instant(1000 * NS_PER_S, AT)
    told = Told()
    questions = in_doubt(told, now)
    told.unbroken_since = MonoNs(1001 * NS_PER_S)
    now.set(1010 * NS_PER_S, AT - HOUR_NS)
    question = questions.next_look()
    assert question.request.name == "OpenOrders"
    question.take([])

    assert questions.next_look().request.name == "ClosedOrders"


def test_no_two_orders_carry_one_userref_though_the_clock_was_set_back():
    """Not even when the first has ended: a look for the second in doubt would find the first. Nor in the next router,
    from the journal or from a snapshot of it."""
    world = World()
    began_at = world.clock.wall_ns()
    for number in range(4):
        if number == 2:
            world.rig.begin_anew()
            world.connect_trading()
            world.cut_feed()
            world.connect_feed()
            world.run(NS_PER_S)
        world.clock.step_wall(began_at - world.clock.wall_ns())
        intent = limit("buy", "1", "95", conditional=CLOSE)
        world.ask(Submit(STRATEGY, f"quoter00000000000{number}", intent, world.clock.mono_ns(), MonoNs(0)))
        world.run(NS_PER_S)
        world.exchange.cancel(world.exchange.orders[-1].order_id)
        world.run(NS_PER_S)
    blotter = world.rig.core.blotter
    userrefs = [order.userref for order in world.exchange.orders]

    assert len(userrefs) == len(set(userrefs)) == 4
    assert fold([blotter.snapshot(AT)]).userref_sent == blotter.userref_sent == userrefs[-1]


@pytest.mark.parametrize(
    ("last", "ms", "expected"),
    [
        (0, 1_700_000_000, 1_700_000_000),  # the first
        (1000, 1001, 1001),
        (1000, 1000, 1001),  # two within a millisecond
        (1000, 400, 1001),  # the clock was set back
        (USERREF_RANGE - 1, 5, 5),  # the range begins anew
        (USERREF_RANGE - 1, USERREF_RANGE - 1, 1),  # 0 is none
        (5, USERREF_RANGE - 7, 6),  # set back across that
    ],
)
def test_a_userref_is_the_clocks_or_the_next(last, ms, expected):
    """Whatever the clock says."""
    assert next_userref(last, WallNs(ms * NS_PER_MS)) == expected
