"""How long orders take until they are acknowledged and filled, by the way that they took."""

import msgspec
import pytest

from engine.orders.journal_records import Acknowledged, Ended
from engine.units import NS_PER_MS, QtyLots
from tests.order_router.rig import RouterRig
from tests.orders.rig import submitted


@pytest.mark.parametrize("route", ["websocket", "rest"])
def test_each_step_is_measured_from_the_sending(route: str) -> None:
    """The acknowledgement once, and the last fill; an order that ends otherwise fills never."""
    rig = RouterRig()
    rig.core.begin()
    records = rig.core.records
    for key in ("one", "two"):
        records.commit([msgspec.structs.replace(submitted(key=key), route=route)])
    rig.clock.advance(3 * NS_PER_MS)
    records.commit([Acknowledged("one", "O1", rig.clock.wall_ns()), Acknowledged("two", "O2", rig.clock.wall_ns())])
    rig.clock.advance(4 * NS_PER_MS)
    for key, state in (("one", "filled"), ("two", "canceled")):
        records.commit([Ended(key, state, "", QtyLots(0), 8, rig.clock.wall_ns())])

    acknowledged = (f"acknowledged_by_{route}", 3 * NS_PER_MS)
    assert rig.took == [acknowledged, acknowledged, (f"filled_by_{route}", 7 * NS_PER_MS)]


def test_of_an_order_of_an_earlier_life_nobody_knows_when_it_left() -> None:
    """No time is better than a wrong one."""
    rig = RouterRig()
    rig.core.begin()
    rig.core.records.commit([submitted(key="one")])
    rig.begin_anew()
    rig.core.begin()
    rig.core.records.commit([Acknowledged("one", "O1", rig.clock.wall_ns())])

    assert rig.took == []
