"""How often the router looks at what is due: often after an input, seldom when nothing comes."""

from engine.order_router.core.order_core import TIMER_NS
from engine.order_router.router import QUIET_NS, QUIET_TIMER_NS
from engine.orders.rings.commands import Cancel
from engine.orders.venue_facts import FeedLost
from tests.order_router.rig import STRATEGY, RouterRig


def pace_ns(rig: RouterRig) -> int:
    """How far apart its looks are now."""
    looked_at = rig.router.next_timer()
    rig.clock.advance(looked_at - rig.clock.mono_ns())
    rig.work()
    return rig.router.next_timer() - looked_at


def quiet() -> RouterRig:
    """A router that takes orders and has had no input for a while."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.know_pairs()
    assert pace_ns(rig) == TIMER_NS
    for _ in range(QUIET_NS // TIMER_NS + 1):
        pace_ns(rig)
    assert rig.core.gate.report.is_open
    assert pace_ns(rig) == QUIET_TIMER_NS
    return rig


def test_signs_of_life_are_no_inputs() -> None:
    """The private feed gives five a second for as long as it runs."""
    rig = quiet()

    rig.keep_alive()

    assert pace_ns(rig) == QUIET_TIMER_NS


def test_a_command_and_a_fact_quicken_it() -> None:
    """From the moment that they come, and for as long as what they began may be due soon."""
    for give in (lambda rig: rig.command(Cancel(STRATEGY, ["none"])), lambda rig: rig.fact(FeedLost("reset"))):
        rig = quiet()

        give(rig)

        assert rig.router.next_timer() <= rig.clock.mono_ns() + TIMER_NS
        assert pace_ns(rig) == TIMER_NS


def test_an_answer_of_rest_is_told_at_once() -> None:
    """Its own turn of the event loop: the next look by time may be far."""
    rig = quiet()
    woken = []
    rig.router.wake_with(lambda: woken.append(rig.router.next_timer()))

    rig.router.look_at_clock()
    rig.router.end_answer()
    rig.router.end_answer()

    assert woken == [rig.clock.mono_ns() + TIMER_NS]
    assert pace_ns(rig) == TIMER_NS


def test_while_orders_are_not_taken_it_looks_often() -> None:
    """However long that lasts: the first look that may open the gate comes soon."""
    rig = quiet()

    rig.core.shut("a test")
    pace_ns(rig)

    assert [pace_ns(rig) for _ in range(2 * QUIET_NS // TIMER_NS)] == [TIMER_NS] * (2 * QUIET_NS // TIMER_NS)
