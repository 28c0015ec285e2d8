"""Which of an order's amends a reply is of: the executions may tell of one before its own reply comes."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from engine.orders.intent import Amendment, OrderIntent, Trigger
from engine.orders.life import OrderState
from engine.orders.rings.commands import Amend, Submit
from engine.orders.rings.reports import OrderReport
from engine.orders.venue_facts import ExecutionFact
from engine.timestamps import wall_ns
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks, WallNs
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import AT, fact, limit

D = Decimal
RECEIVED_AT, ANSWERED_AT = "2001-09-09T01:46:40.100000Z", "2001-09-09T01:46:40.102000Z"
KEY, ORDER_ID = "quoter000000000001", "OAAAAA-AAAAA-AAAAAA"


class Quoter:
    """A router with one open order, and the requests that it sends."""

    def __init__(self, intent: OrderIntent | None = None) -> None:
        self.rig = rig = RouterRig()
        rig.core.begin()
        rig.connect()
        rig.snapshot()
        rig.work_for(20 * NS_PER_MS)
        rig.command(Submit(STRATEGY, KEY, intent or limit(price="95"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
        (added,) = self.requests("add_order")
        self.answer(added, {"order_id": ORDER_ID, "cl_ord_id": KEY})

    def requests(self, method: str) -> list[Any]:
        return [request for request in self.rig.socket.take() if request["method"] == method]

    def amend(self, ticks: int) -> None:
        self.change(limit_price=PriceTicks(ticks))

    def change(self, **terms: Any) -> None:
        change = Amendment(price_decimals=1, qty_decimals=8, **terms)
        self.rig.command(Amend(KEY, change, MonoNs(self.rig.clock.mono_ns()), MonoNs(0)))

    def answer(self, request: Any, result: Any = None, error: str = "") -> None:
        """Kraken's reply, whenever it comes."""
        outcome = {"success": False, "error": error} if error else {"success": True, "result": result}
        times = {"time_in": RECEIVED_AT, "time_out": ANSWERED_AT}
        self.rig.frame({"method": request["method"], "req_id": request["req_id"], **times, **outcome})

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


def trailed(**more: Any) -> tuple[Quoter, Any, ExecutionFact]:
    """A stop that was moved to 91 and is being moved to 92: the reply to the first has come, its report comes now.

    Kraken's reports of amends tell quantity and limit.
    """
    quoter = Quoter(limit("sell", price=more.get("price"), order_type=more.pop("order_type"), trigger=Trigger(D(90))))
    quoter.change(trigger_price=D(91), **more.get("also", {}))
    (first,) = quoter.requests("amend_order")
    quoter.answer(first, {"order_id": ORDER_ID, "amend_id": "TA"})
    quoter.change(trigger_price=D(92), **more.get("also", {}))
    (second,) = quoter.requests("amend_order")
    price = more.get("price")
    at = wall_ns(ANSWERED_AT) - NS_PER_MS
    report = fact("amended", at, order_id=ORDER_ID, limit_price=price and D(price), order_qty=D(1))
    return quoter, second, report


STOPS = [
    {"order_type": "stop-loss"},
    {"order_type": "stop-loss-limit", "price": "89"},
    {"order_type": "stop-loss-limit", "price": "89", "also": {"limit_price": PriceTicks(890)}},
]


@pytest.mark.parametrize("stop", STOPS, ids=["alone", "beside a limit", "with the same limit"])
@pytest.mark.parametrize("is_trigger_told", [False, True])
def test_a_late_report_of_an_amend_of_the_trigger_is_none_of_the_next(stop: dict[str, Any], is_trigger_told) -> None:
    """The stop was told where Kraken had refused to put it, and the amend after that was sent beside this one."""
    quoter, second, report = trailed(**stop)
    quoter.rig.fact(replace(report, trigger_price=D(91) if is_trigger_told else None))
    order = quoter.rig.core.blotter.open[KEY]
    assert (order.pending, order.intent.trigger.price) == ("amend", 91)
    quoter.change(trigger_price=D(93))
    assert quoter.requests("amend_order") == []

    quoter.answer(second, error="EOrder:Rate limit exceeded")
    assert order.intent.trigger.price == 91


@pytest.mark.parametrize("is_trigger_told", [False, True])
def test_a_later_report_is_that_of_the_amend_under_way(is_trigger_told: bool) -> None:
    """Its reply may be lost."""
    quoter, _, report = trailed(order_type="stop-loss")
    at = WallNs(wall_ns(ANSWERED_AT) + 20 * NS_PER_MS)
    quoter.rig.fact(replace(report, timestamp=at, trigger_price=D(92) if is_trigger_told else None))

    order = quoter.rig.core.blotter.open[KEY]
    assert (order.pending, order.intent.trigger.price) == ("", 92)
