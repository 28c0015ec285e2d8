"""When a cancel goes out, and when it is held back."""

from decimal import Decimal

import pytest

from engine.orders.intent import Amendment
from engine.orders.life import OrderState
from engine.orders.rings.commands import Amend, Cancel, StatusRequest, Submit
from engine.orders.rings.reports import OrderReport, ResyncBegan, ResyncEnded
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import PAIRS, fact, limit

KEY = "quoter000000000001"
ORDER_ID = "OAAAAA-AAAAA-AAAAAA"


def _rig_with_order() -> RouterRig:
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    _tell_status(rig, "online", connection_id=1)
    rig.snapshot()
    rig.work_for(20 * NS_PER_MS)
    rig.command(Submit(STRATEGY, KEY, limit(price="95"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    (added,) = [request for request in rig.socket.take() if request["method"] == "add_order"]
    rig.frame({"method": "add_order", "req_id": added["req_id"], "success": True,
               "result": {"order_id": ORDER_ID, "cl_ord_id": KEY},
               "time_in": "2026-09-21T14:13:20.100000Z", "time_out": "2026-09-21T14:13:20.100100Z"})  # fmt: skip
    return rig


def _tell_status(rig: RouterRig, system: str, *, connection_id: int) -> None:
    rig.frame({"channel": "status", "type": "update", "data": [
        {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": connection_id}
    ]})  # fmt: skip


def _cancels(rig: RouterRig) -> list[str]:
    return [request["method"] for request in rig.socket.take() if request["method"] == "cancel_order"]


def test_maintenance_holds_cancels_back_and_its_end_sends_them_at_once():
    rig = _rig_with_order()
    _tell_status(rig, "maintenance", connection_id=1)
    rig.command(Cancel(STRATEGY, [KEY]))
    rig.work_for(2 * NS_PER_S, each=lambda: rig.keep_alive())
    assert _cancels(rig) == []

    _tell_status(rig, "cancel_only", connection_id=1)
    rig.work_for(20 * NS_PER_MS)
    assert _cancels(rig) == ["cancel_order"]


def test_maintenance_that_a_lost_connection_told_holds_no_cancel_back():
    """Whether it has ended can be known by trying alone."""
    rig = _rig_with_order()
    _tell_status(rig, "maintenance", connection_id=1)
    rig.command(Cancel(STRATEGY, [KEY]))
    rig.router.on_trading_events(rig.session.closed(rig.clock.mono_ns(), "reset"))
    rig.connect()
    rig.work_for(20 * NS_PER_MS)

    assert _cancels(rig) == ["cancel_order"]


def test_a_cancel_of_an_order_that_no_journal_knows_is_answered():
    """An earlier router refused it and died with that held back: what its strategy has open ends once it asks."""
    rig = _rig_with_order()
    rig.told()
    rig.command(Cancel(STRATEGY, ["quoter000000000009"]))

    (told,) = [report for report in rig.told() if isinstance(report, OrderReport)]
    assert (told.key, told.symbol, told.state) == ("quoter000000000009", "", OrderState.REFUSED)
    assert told.reason == "it was never sent: the order router that took it is gone"
    assert rig.socket.take() == []


def test_an_order_that_no_journal_knows_is_told_to_be_none_when_its_strategy_asks():
    rig = _rig_with_order()
    rig.told()
    rig.command(StatusRequest(STRATEGY, [KEY, "quoter000000000009"]))

    told = [report for report in rig.told() if isinstance(report, OrderReport)]
    assert [(each.key, each.state) for each in told] == [
        (KEY, OrderState.WORKING), ("quoter000000000009", OrderState.REFUSED)
    ]  # fmt: skip
    assert rig.socket.take() == []


def test_a_router_that_begins_tells_the_whole_between_marks():
    rig = _rig_with_order()
    rig.told()
    rig.begin_anew()
    rig.told()
    rig.core.begin()
    told = rig.told()

    assert (told[0], told[-1]) == (ResyncBegan(), ResyncEnded())
    assert [each.key for each in told if isinstance(each, OrderReport)] == [KEY]


def test_a_router_begins_with_the_tier_that_is_noted_with_the_key():
    """Without the private WebSocket nobody tells it again: cancels would wait for a counter
    of the smallest tier, though Kraken has room.
    """
    rig = RouterRig()
    rig.key_tier = "pro"
    rig.begin_anew()

    assert rig.core.rates.tier.name == "pro"


def _amend(rig: RouterRig, *, price: str = "91", qty: str = "1") -> int:
    """An amend of the order is on its way; returns its request's number."""
    pair = PAIRS["BTC/USD"]
    amendment = Amendment(
        price_decimals=pair.price_decimals, qty_decimals=pair.qty_decimals,
        limit_price=pair.price_ticks(Decimal(price)), qty=pair.qty_lots(Decimal(qty)),
    )  # fmt: skip
    rig.command(Amend(KEY, amendment, MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    (request,) = [request for request in rig.socket.take() if request["method"] == "amend_order"]
    return int(request["req_id"])


def _cut_off_rest(rig: RouterRig) -> None:
    """The private feed is heard, and REST refuses whatever it is asked."""
    rig.keep_alive()
    while (call := rig.calls.take_due()) is not None:
        rig.calls.answered(call, 200, b'{"error":["EService:Unavailable"]}')
        rig.router.end_answer()


def test_a_cancel_waits_for_the_reply_to_an_amend_of_its_order():
    rig = _rig_with_order()
    number = _amend(rig)
    rig.command(Cancel(STRATEGY, [KEY]))
    rig.work_for(NS_PER_S, each=rig.keep_alive)
    assert _cancels(rig) == []

    rig.frame({"method": "amend_order", "req_id": number, "success": True, "result": {"order_id": ORDER_ID}})
    rig.work_for(40 * NS_PER_MS)
    assert _cancels(rig) == ["cancel_order"]


def test_an_amend_without_a_reply_holds_a_cancel_back_until_its_deadline_and_no_longer():
    """Only REST could tell what became of it, and does not: a halt must not wait for that."""
    rig = _rig_with_order()
    _amend(rig)
    rig.core.halt("a person said so")
    rig.work_for(NS_PER_S + 300 * NS_PER_MS, each=lambda: _cut_off_rest(rig))

    assert _cancels(rig) == ["cancel_order"]


@pytest.mark.parametrize("error", ["EService:Unavailable", "EGeneral:Internal error"])
def test_an_amend_whose_reply_proves_nothing_holds_no_cancel_back(error):
    rig = _rig_with_order()
    number = _amend(rig)
    rig.core.halt("a person said so")
    rig.frame({"method": "amend_order", "req_id": number, "success": False, "error": error})
    rig.work_for(40 * NS_PER_MS, each=lambda: _cut_off_rest(rig))

    assert _cancels(rig) == ["cancel_order"]


def test_an_amend_that_was_under_way_on_a_lost_connection_holds_no_cancel_back_on_the_next():
    rig = _rig_with_order()
    _amend(rig)
    rig.core.halt("a person said so")
    rig.router.on_trading_events(rig.session.closed(rig.clock.mono_ns(), "reset"))
    rig.connect()
    rig.work_for(40 * NS_PER_MS, each=lambda: _cut_off_rest(rig))

    assert _cancels(rig) == ["cancel_order"]


def test_an_amend_by_rest_holds_a_cancel_back_while_its_call_is_under_way():
    rig = _rig_with_order()
    rig.know_pairs()
    rig.router.on_trading_events(rig.session.closed(rig.clock.mono_ns(), "reset"))
    rig.command(Amend(KEY, Amendment(price_decimals=1, qty_decimals=8, limit_price=PriceTicks(910)),
                      MonoNs(rig.clock.mono_ns()), MonoNs(0)))  # fmt: skip
    rig.command(Cancel(STRATEGY, [KEY]))
    rig.connect()
    call = rig.take_call("AmendOrder")
    rig.work_for(100 * NS_PER_MS)
    assert _cancels(rig) == []

    rig.calls.failed(call, "no answer", is_in_doubt=True)
    rig.work_for(40 * NS_PER_MS)
    assert _cancels(rig) == ["cancel_order"]


def test_an_order_counts_as_its_amend_in_doubt_may_have_made_it_until_its_end():
    """Its cancel may be refused, or come too late."""
    rig = _rig_with_order()
    _amend(rig, price="96", qty="3")
    rig.command(Cancel(STRATEGY, [KEY]))
    rig.work_for(2 * NS_PER_S, each=lambda: _cut_off_rest(rig))
    order = rig.core.blotter.open[KEY]
    assert order.cancel_wanted
    assert order.amendment is not None

    rig.fact(fact("amended", order_id=ORDER_ID, order_qty=Decimal(3), limit_price=Decimal(96)))
    assert (order.order_qty, order.limit, order.amendment, order.cancel_wanted) == (3, 96, None, True)
    rig.socket.take()
    rig.work_for(2 * NS_PER_S, each=lambda: _cut_off_rest(rig))
    assert "cancel_order" in _cancels(rig)
    assert order.pending == "cancel"

    rig.fact(fact("canceled", order_id=ORDER_ID, cum_qty=Decimal(0)))
    assert order.state is OrderState.CANCELED
    rig.core.blotter.check()


def test_a_router_that_begins_behind_an_amend_in_doubt_sends_the_cancel():
    rig = _rig_with_order()
    _amend(rig)
    rig.command(Cancel(STRATEGY, [KEY]))
    rig.work_for(2 * NS_PER_S, each=lambda: _cut_off_rest(rig))
    rig.begin_anew()
    rig.core.begin()
    rig.connect()
    rig.work_for(40 * NS_PER_MS, each=lambda: _cut_off_rest(rig))

    assert _cancels(rig) == ["cancel_order"]
