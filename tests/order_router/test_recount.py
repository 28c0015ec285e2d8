"""A router that begins anew counts on from where the one before ended."""

from decimal import Decimal

from engine.orders.blotter import ENDED_KEPT
from engine.orders.journal_records import Rejected, Submitted
from engine.units import WallNs
from tests.order_router.rig import RouterRig
from tests.orders.rig import AT, ORDER_ID, fact, limit, trade

COUNTED = ("submitted", "by_websocket", "acknowledged", "filled", "canceled", "rejected", "fills", "adopted")


def counted(rig: RouterRig) -> dict[str, int]:
    return {name: rig.core.records.counts[name] for name in COUNTED}


def submitted(number: int) -> Submitted:
    return Submitted(f"gone{number:014}", "gone", limit(), WallNs(AT + 1), "websocket", None, AT)


def traded() -> RouterRig:
    """One order of ours filled, one rejected, and one of somebody else's canceled."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.core.records.commit([submitted(0), submitted(1), Rejected(submitted(1).key, "no", AT)])
    mine = {"cl_ord_id": submitted(0).key}
    rig.fact(fact("new", **mine), trade(qty="1", **mine), fact("filled", cum_qty=None, **mine))
    others = {"order_id": "O" + ORDER_ID[1:][::-1], "cl_ord_id": None}
    rig.fact(fact("new", symbol="BTC/USD", side="buy", order_qty=Decimal(1), **others), fact("canceled", **others))
    assert counted(rig) == {
        "submitted": 2, "by_websocket": 2, "acknowledged": 1, "filled": 1, "canceled": 0, "rejected": 1, "fills": 1,
        "adopted": 1,
    }  # fmt: skip
    return rig


def test_counts_outlast_a_router() -> None:
    rig = traded()
    before = counted(rig)
    rig.begin_anew()

    assert counted(rig) == before


def test_counts_outlast_a_segment_of_the_journal() -> None:
    """Its records are gone, and its snapshot tells of orders; twice, and more is counted in between."""
    rig = traded()
    rig.core.records.begin_segment()
    rig.core.records.commit([submitted(2)])
    rig.begin_anew()
    rig.core.records.commit([Rejected(submitted(2).key, "no", AT)])
    before = counted(rig)
    assert (before["submitted"], before["rejected"], before["fills"]) == (3, 2, 1)
    rig.core.records.begin_segment()
    rig.begin_anew()

    assert counted(rig) == before


def test_another_run_counts_from_nothing() -> None:
    rig = traded()
    rig.core.records.begin_segment()
    rig.run += 1
    rig.begin_anew()

    assert set(counted(rig).values()) == {0}


def test_orders_that_are_forgotten_are_counted_all_the_same() -> None:
    """A busy day has more than the blotter remembers."""
    rig = RouterRig()
    orders = ENDED_KEPT + 10
    rig.core.records.commit([
        record for number in range(orders)
        for record in (submitted(number), Rejected(submitted(number).key, "no", AT))
    ])  # fmt: skip
    rig.begin_anew()

    assert (counted(rig)["submitted"], counted(rig)["rejected"]) == (orders, orders)
