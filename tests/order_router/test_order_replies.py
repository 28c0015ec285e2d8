"""What a reply to a new order proves: no order is over that Kraken may have."""

from typing import Any

import pytest
from msgspec.structs import replace

from engine.orders.life import OrderState
from engine.orders.rings.commands import Submit
from engine.units import NS_PER_MS, NS_PER_S, MonoNs
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import fact, limit

KEY = "quoter000000000001"


def sent(*, validate: bool) -> tuple[RouterRig, dict[str, Any]]:
    """A router that has sent one order, and the request."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.know_pairs()
    rig.socket.take()
    intent = replace(limit(price="95"), validate=validate)
    rig.command(Submit(STRATEGY, KEY, intent, MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    (request,) = [request for request in rig.socket.take() if request["method"] == "add_order"]
    return rig, request


def answer(rig: RouterRig, request: dict[str, Any], result: dict[str, Any]) -> None:
    rig.frame({"method": "add_order", "req_id": request["req_id"], "success": True, "result": result})


@pytest.mark.parametrize("result", [{}, {"warnings": ["x"]}, {"order_id": ""}, {"order_id": None}])
@pytest.mark.parametrize("is_there", [True, False])
def test_an_order_that_a_success_does_not_name_is_in_doubt(result: dict[str, Any], is_there: bool) -> None:
    """Kraken may have it: it is looked for, and ends only where it is not found after its deadline."""
    rig, request = sent(validate=False)
    answer(rig, request, result)
    order = rig.core.blotter.get(KEY)
    state = order.state
    if is_there:
        rig.fact(fact("new", rig.clock.wall_ns(), cl_ord_id=KEY))

    def answers() -> None:
        rig.keep_alive()
        while (call := rig.calls.take_due()) is not None:
            rig.answer(call, {"OpenOrders": {"open": {}}, "ClosedOrders": {"closed": {}}}.get(call.request.name, {}))

    rig.work_for(8 * NS_PER_S, answers)

    assert state is OrderState.UNKNOWN
    assert order.state is (OrderState.WORKING if is_there else OrderState.REJECTED)
    assert is_there or "never reached Kraken" in order.reason


def test_an_order_that_was_only_to_be_checked_ends_with_the_answer() -> None:
    """Kraken names none then."""
    rig, request = sent(validate=True)
    answer(rig, request, {"order_id": ""})
    rig.work_for(20 * NS_PER_MS)

    assert rig.core.blotter.get(KEY).state is OrderState.REJECTED


def test_the_same_by_rest() -> None:
    """An empty list of ids, for an order that was to be placed."""
    rig = RouterRig()
    rig.core.begin()
    rig.snapshot()
    rig.know_pairs()
    rig.command(Submit(STRATEGY, KEY, limit(price="95"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    while (call := rig.take_call()).request.name != "AddOrder":
        rig.calls.failed(call, "not now", is_in_doubt=False)
    rig.answer(call, {"txid": [], "descr": {"order": "buy 1 BTCUSD"}})

    assert rig.core.blotter.get(KEY).state is OrderState.UNKNOWN


@pytest.mark.parametrize(
    ("is_in_doubt", "state", "reason"),
    [
        (False, OrderState.REJECTED, "connection refused; nothing was sent"),
        (True, OrderState.UNKNOWN, "connection refused; no answer came, so it is looked up what became of it"),
    ],
)
def test_what_kraken_did_not_say_is_not_told_as_its_word(is_in_doubt: bool, state: OrderState, reason: str) -> None:
    """A call that did not arrive, or that was not answered, has a text of our own."""
    rig = RouterRig()
    rig.core.begin()
    rig.snapshot()
    rig.know_pairs()
    rig.command(Submit(STRATEGY, KEY, limit(price="95"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    while (call := rig.take_call()).request.name != "AddOrder":
        rig.calls.failed(call, "not now", is_in_doubt=False)
    rig.calls.failed(call, "connection refused", is_in_doubt=is_in_doubt)
    order = rig.core.blotter.get(KEY)

    assert (order.state, order.reason) == (state, reason)
