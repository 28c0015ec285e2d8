"""Closing orders that Kraken makes of our own orders' fills, told late."""

from decimal import Decimal

from msgspec.structs import replace

from engine.orders.blotter import Blotter, fold
from engine.orders.intent import Conditional
from engine.orders.journal_records import Acknowledged
from tests.orders.rig import AT, KEY, ORDER_ID, commit, fact, limit, submitted, tell, trade

CLOSING = "OCLOSE-00000-000000"


def blotter_with_parent():
    """One order of ours that is known at Kraken and has a conditional close."""
    blotter = Blotter()
    closing = Conditional("limit", limit_price=Decimal(110))
    commit(blotter, [submitted(intent=limit(conditional=closing), userref=7), Acknowledged(KEY, ORDER_ID, AT)])
    return blotter


def snapshot_row(cum_qty):
    """The closing order as a snapshot tells it."""
    return fact(
        "new", order_id=CLOSING, cl_ord_id=None, order_userref=7, ord_ref_id=ORDER_ID, side="sell", symbol="BTC/USD",
        order_qty=Decimal(2), cum_qty=cum_qty, limit_price=Decimal(110), is_snapshot=True, order_type="limit",
    )  # fmt: skip


def test_what_a_closing_order_has_filled_in_a_gap_is_ours():
    """A closing order that a snapshot tells for the first time: its fills so far are missing, not somebody else's."""
    blotter = blotter_with_parent()
    tell(blotter, snapshot_row(Decimal(1)))
    order = blotter.find(CLOSING)

    assert order.strategy == "quoter"
    assert order.filled_before == 0
    assert order.fills_missing


def test_a_fill_of_it_that_the_snapshot_tells_counts():
    """Its fill comes in the same snapshot, before it or behind it, and is counted once."""
    blotter = blotter_with_parent()
    fill = trade(order_id=CLOSING, cl_ord_id=None, qty="1", is_snapshot=True)
    tell(blotter, fill)
    tell(blotter, snapshot_row(Decimal(1)))
    tell(blotter, fill)
    order = blotter.find(CLOSING)

    assert order.filled == 10**8
    assert not order.fills_missing


def test_a_fill_of_it_is_not_its_parents_that_nobody_has_acknowledged_yet():
    """A trade names the userref that both have, and not that it is a closing order's; the side tells them apart."""
    blotter = Blotter()
    commit(blotter, [submitted(intent=limit(conditional=Conditional("limit", limit_price=Decimal(110))), userref=7)])
    of_closing = trade(order_id=CLOSING, cl_ord_id=None, order_userref=7)
    of_closing = replace(of_closing, side="sell")
    of_parent = trade(order_id=ORDER_ID, cl_ord_id=None, order_userref=7)

    assert blotter.order_of(of_closing) is None
    assert blotter.order_of(of_parent) is blotter.get(KEY)


def test_after_a_snapshot_of_the_journal_a_userref_is_its_parents_still():
    """A closing order carries it as well, and was not sent with it: a further one, told by
    its fill alone, is found as one of the parent's.
    """
    blotter = blotter_with_parent()
    tell(blotter, trade(order_id=ORDER_ID, cl_ord_id=None, order_userref=7, exec_id="T1"))
    tell(blotter, snapshot_row(Decimal(0)))
    folded = fold([blotter.snapshot(AT)])
    late = replace(trade(order_id="OCLOSE-00000-000001", cl_ord_id=None, order_userref=7, exec_id="T2"), side="sell")
    late = replace(late, is_snapshot=True)
    for each in (blotter, folded):
        tell(each, late)
        each.check()

    assert blotter.closing_ids(blotter.get(KEY)) == ["OCLOSE-00000-000001"]
    assert folded.closing_ids(folded.get(KEY)) == ["OCLOSE-00000-000001"]
    assert folded.parked == blotter.parked
