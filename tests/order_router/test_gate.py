"""Whether orders are taken, as Kraken's own state allows."""

import pytest

from engine.order_router.core.gate import TradingGate
from engine.orders.rings.commands import Submit
from engine.orders.rings.reports import OrderReport
from engine.orders.risk import Risk, RiskLimits
from engine.units import MonoNs
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import limit


@pytest.mark.parametrize(
    ("system", "closed", "takes_any"),
    [
        ("online", "", True),
        ("maintenance", "Kraken is in maintenance", True),
        ("cancel_only", "Kraken is in cancel_only", True),
        ("post_only", "", False),
    ],
)
def test_orders_are_taken_as_the_phase_allows(system: str, closed: str, takes_any: bool):
    """maintenance and cancel_only take none, post_only those that only make."""
    gate = TradingGate(Risk(RiskLimits()), lambda _: None)
    gate.feed_reason, gate.has_balances = "", True
    gate.enter(system)

    assert gate.closed_reason == closed
    assert gate.why_not(post_only=True) == ""
    assert (gate.why_not(post_only=False) == "") is takes_any
    assert (gate.report.is_open, gate.report.reason) == (not closed, closed or gate.why_not(post_only=False))


def test_a_journal_that_cannot_be_written_is_told_once_in_a_sentence() -> None:
    """To the order that finds it so, as to those that come after."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.memory.refuses = "the disk is full"
    for key in ("the first", "the second"):
        rig.command(Submit(STRATEGY, key, limit(), rig.clock.mono_ns(), MonoNs(0)))

    reasons = [report.reason for report in rig.told() if isinstance(report, OrderReport)]
    assert reasons == ["the journal cannot be written: the disk is full"] * 2
