"""What belongs to this run is told by its number: the wall clock may be set back within one."""

from engine.orders.journal_records import Ended, Rejected
from engine.orders.rings.reports import OrderReport
from engine.units import NS_PER_S, WallNs
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import AT, submitted

HOUR_NS = 3600 * NS_PER_S


def ends_told(rig: RouterRig) -> list[str]:
    """Orders that a router which begins now says are over."""
    rig.told(STRATEGY)
    rig.begin_anew()
    rig.core.begin()
    rig.core.end_burst()
    return [it.key for it in rig.told(STRATEGY) if isinstance(it, OrderReport) and it.state.is_terminal]


def test_an_end_after_the_clock_was_set_back_is_told_by_the_next_router() -> None:
    """It ended in this run, whatever its time says; one of another run is not news."""
    rig = RouterRig()
    rig.core.begin()
    rig.core.records.commit([submitted(key="one", strategy=STRATEGY)])
    rig.core.records.commit([Ended("one", "canceled", "", None, 8, WallNs(AT - HOUR_NS))])

    assert ends_told(rig) == ["one"]


def test_the_ends_of_an_earlier_run_are_not_told() -> None:
    """A strategy would take them for news, however young they are."""
    rig = RouterRig()
    rig.core.begin()
    rig.core.records.commit([submitted(key="one", strategy=STRATEGY), Rejected("one", "no", WallNs(AT + HOUR_NS))])
    rig.run += 1

    assert ends_told(rig) == []
