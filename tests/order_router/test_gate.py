"""Whether orders are taken, as Kraken's own state allows."""

import pytest

from engine.order_router.core.gate import TradingGate
from engine.orders.risk import Risk, RiskLimits


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
