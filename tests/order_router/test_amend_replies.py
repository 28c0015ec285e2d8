"""Which of an order's amends a reply is of: the executions may tell of one before its own reply comes."""

from decimal import Decimal
from typing import Any

import pytest

from engine.orders.intent import Amendment
from engine.orders.life import OrderState
from engine.orders.rings.commands import Amend, Submit
from engine.orders.rings.reports import OrderReport
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import AT, fact, limit

KEY, ORDER_ID = "quoter000000000001", "OAAAAA-AAAAA-AAAAAA"


class Quoter:
    """A router with one open order, and the requests that it sends."""

    def __init__(self) -> None:
        self.rig = rig = RouterRig()
        rig.core.begin()
        rig.connect()
        rig.snapshot()
        rig.work_for(20 * NS_PER_MS)
        rig.command(Submit(STRATEGY, KEY, limit(price="95"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
        (added,) = self.requests("add_order")
        self.answer(added, {"order_id": ORDER_ID, "cl_ord_id": KEY})

    def requests(self, method: str) -> list[Any]:
        return [request for request in self.rig.socket.take() if request["method"] == method]

    def amend(self, ticks: int) -> None:
        change = Amendment(price_decimals=1, qty_decimals=8, limit_price=PriceTicks(ticks))
        self.rig.command(Amend(KEY, change, MonoNs(self.rig.clock.mono_ns()), MonoNs(0)))

    def answer(self, request: Any, result: Any = None, error: str = "") -> None:
        """Kraken's reply, whenever it comes."""
        outcome = {"success": False, "error": error} if error else {"success": True, "result": result}
        at = "2026-09-21T14:13:20.100000Z"
        self.rig.frame(
            {"method": request["method"], "req_id": request["req_id"], "time_in": at, "time_out": at, **outcome}
        )

    @property
    def told(self) -> OrderReport:
        """The last that the strategy was told of the order."""
        *_, last = [report for report in self.rig.told() if isinstance(report, OrderReport)]
        return last


def two_amends() -> tuple[Quoter, Any, Any]:
    """The executions have told of the first, the second is under way, and neither has its reply."""
    quoter = Quoter()
    quoter.amend(940)
    (first,) = quoter.requests("amend_order")
    quoter.rig.clock.advance(50 * NS_PER_MS)
    quoter.rig.fact(fact("amended", AT + NS_PER_S, order_id=ORDER_ID, limit_price=Decimal("94.0"),
                         order_qty=Decimal(1)))  # fmt: skip
    quoter.amend(930)
    (second,) = quoter.requests("amend_order")
    return quoter, first, second


@pytest.mark.parametrize("error", ["", "EOrder:Invalid price"])
def test_a_late_reply_to_an_amend_is_none_to_the_next(error: str) -> None:
    """The order was told at a price that Kraken then refused."""
    quoter, first, second = two_amends()
    quoter.answer(first, {"order_id": ORDER_ID, "amend_id": "TA"}, error)
    quoter.rig.work_for(20 * NS_PER_MS)
    order = quoter.rig.core.blotter.open[KEY]
    assert (order.pending, order.limit_price) == ("amend", 940)

    quoter.answer(second, error="EOrder:Insufficient funds")
    told = quoter.told
    assert (told.state, told.limit_price_ticks, told.is_busy) == (OrderState.WORKING, 940, False)
