"""When a cancel goes out, and when it is held back."""

from engine.orders.life import OrderState
from engine.orders.rings.commands import Cancel, StatusRequest, Submit
from engine.orders.rings.reports import OrderReport, ResyncBegan, ResyncEnded
from engine.units import NS_PER_MS, NS_PER_S, MonoNs
from tests.order_router.rig import STRATEGY, RouterRig
from tests.orders.rig import limit

KEY = "quoter000000000001"


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
               "result": {"order_id": "OAAAAA-AAAAA-AAAAAA", "cl_ord_id": KEY},
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
