"""What a pair's rate counter is charged with: what left on a connection, and nothing else."""

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from msgspec.structs import replace

from engine.orders.intent import Amendment
from engine.orders.life import OrderState
from engine.orders.rings.commands import Amend, Cancel, Submit, SubmitBatch
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks
from tests.order_router.rig import SETTINGS, STRATEGY, RouterRig
from tests.orders.rig import fact, limit

KEYS = [f"quoter{number:012d}" for number in range(20)]
LIMITS = replace(SETTINGS.limits, open_orders_max=100, orders_per_s_max=Decimal(1000))


def _rig() -> RouterRig:
    """A starter key's router, connected, with nothing open."""
    rig = RouterRig(settings=replace(SETTINGS, tier="starter", limits=LIMITS))
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.know_pairs()
    return rig


def _submit(rig: RouterRig, key: str) -> None:
    """An order that Kraken accepts."""
    rig.command(Submit(STRATEGY, key, limit(price="90"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    (added,) = [request for request in rig.socket.take() if request["method"] == "add_order"]
    rig.frame({"method": "add_order", "req_id": added["req_id"], "success": True,
               "result": {"order_id": f"OAAAAA-AAAAA-{key[-6:]}", "cl_ord_id": key}})  # fmt: skip


def _counts(rig: RouterRig) -> dict[str, Decimal]:
    return rig.core.rates.counts(rig.clock.mono_ns())


def _cut(rig: RouterRig) -> None:
    rig.router.on_trading_events(rig.session.closed(rig.clock.mono_ns(), "network is unreachable"))
    rig.core.end_burst()


def _unsent(rig: RouterRig, *, is_in_doubt: bool = False) -> list[str]:
    """No call reaches Kraken, or none for certain; returns their names. The private feed is heard."""
    rig.keep_alive()
    names = []
    while (call := rig.calls.take_due()) is not None:
        names.append(call.request.name)
        rig.calls.failed(call, "network is unreachable", is_in_doubt=is_in_doubt)
        rig.router.end_answer()
    return names


def _canceled(requests: list[dict[str, Any]]) -> int:
    """For how many orders these requests are cancels."""
    names = [request["params"] for request in requests if "cancel" in request["method"]]
    return sum(len(params.get("orders", params.get("order_id", ()))) for params in names)


def _open_and_cut(orders: int, age_ns: int = NS_PER_S) -> RouterRig:
    """So many orders, each so much older than the next; then the network is gone."""
    rig = _rig()
    for key in KEYS[:orders]:
        _submit(rig, key)
        rig.work_for(age_ns, each=rig.keep_alive)
        rig.told()
    _cut(rig)
    return rig


def test_cancels_that_no_connection_took_cost_nothing_and_leave_when_one_is_there():
    rig = _open_and_cut(7)
    assert _counts(rig) == {}
    assert rig.core.halt("a person said so") == 7
    rig.work_for(3 * NS_PER_S, each=lambda: _unsent(rig))
    _unsent(rig)
    assert _counts(rig) == {}

    rig.connect()
    rig.work_for(40 * NS_PER_MS, each=lambda: _unsent(rig))
    assert _canceled(rig.socket.take()) == 7


@pytest.mark.parametrize("out_s", [4, 32])
def test_a_connection_that_is_back_ends_the_pause_of_every_cancel(out_s):
    rig = _open_and_cut(1)
    rig.command(Cancel(STRATEGY, KEYS[:1]))
    rig.work_for(out_s * NS_PER_S, each=lambda: _unsent(rig))
    rig.connect()
    rig.work_for(40 * NS_PER_MS, each=lambda: _unsent(rig))

    assert _canceled(rig.socket.take()) == 1


def test_rest_that_is_back_takes_a_cancel_within_a_second():
    """Nobody tells that it is: it is tried once a second, with one call, however many orders are to end."""
    rig = _open_and_cut(5)
    tried: list[str] = []
    rig.core.halt("a person said so")
    rig.work_for(20 * NS_PER_S, each=lambda: tried.extend(_unsent(rig)))
    assert 19 <= tried.count("CancelOrder") <= 21

    rig.work_for(NS_PER_S)
    rig.take_call("CancelOrder")


def test_the_pause_between_cancels_that_were_sent_grows():
    rig = _rig()
    _submit(rig, KEYS[0])
    rig.command(Cancel(STRATEGY, KEYS[:1]))
    sent_at: list[int] = []

    def accept() -> None:
        rig.keep_alive()
        for request in rig.socket.take():
            if request["method"] == "cancel_order":
                sent_at.append(rig.clock.mono_ns())
                rig.frame({"method": "cancel_order", "req_id": request["req_id"], "success": True, "result": {}})

    rig.work_for(20 * NS_PER_S, each=accept)
    pauses_s = [round((later - earlier) / NS_PER_S) for earlier, later in pairwise(sent_at)]
    assert pauses_s == [1, 2, 4, 8]


def test_a_cancel_by_rest_costs_what_it_costs_and_only_if_it_may_have_been_sent():
    rig = _open_and_cut(1, age_ns=2 * NS_PER_S)
    rig.command(Cancel(STRATEGY, KEYS[:1]))
    rig.calls.failed(rig.take_call("CancelOrder"), "cannot connect", is_in_doubt=False)
    assert _counts(rig) == {}

    rig.work_for(NS_PER_S + 20 * NS_PER_MS, each=rig.keep_alive)
    rig.calls.failed(rig.take_call("CancelOrder"), "no answer in time", is_in_doubt=True)
    assert 7 < _counts(rig)["BTC/USD"] <= 8
    assert rig.core.cancels.sent == 1


def _order(rig: RouterRig) -> None:
    rig.command(Submit(STRATEGY, KEYS[1], limit(price="90"), MonoNs(rig.clock.mono_ns()), MonoNs(0)))


def _odd_order(rig: RouterRig) -> None:
    intent = limit(price="90", display_qty=None, fee_preference="base")
    rig.command(Submit(STRATEGY, KEYS[1], intent, MonoNs(rig.clock.mono_ns()), MonoNs(0)))


def _batch(rig: RouterRig) -> None:
    orders = [(key, limit(price="90")) for key in KEYS[1:3]]
    rig.command(SubmitBatch(STRATEGY, orders, MonoNs(rig.clock.mono_ns()), MonoNs(0)))


def _amend(rig: RouterRig) -> None:
    amendment = Amendment(price_decimals=1, qty_decimals=8, limit_price=PriceTicks(910))
    rig.command(Amend(KEYS[0], amendment, MonoNs(rig.clock.mono_ns()), MonoNs(0)))


REQUESTS = {"AddOrder": _order, "AddOrder, not a plain one": _odd_order, "AddOrderBatch": _batch, "AmendOrder": _amend}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_the_socket_does_not_take_costs_nothing(name):
    """A connection may end at any moment."""
    rig = _rig()
    _submit(rig, KEYS[0])
    rig.work_for(2 * NS_PER_S, each=rig.keep_alive)
    assert _counts(rig) == {}

    rig.socket.takes = False
    REQUESTS[name](rig)
    assert _counts(rig) == {}
    assert rig.core.blotter.get(KEYS[1]) is None or rig.core.blotter.get(KEYS[1]).state is OrderState.REJECTED


ENDS: dict[str, tuple[Callable[[RouterRig, Any], None], bool]] = {
    "was not sent": (lambda rig, call: rig.calls.failed(call, "cannot connect", is_in_doubt=False), False),
    "is in doubt": (lambda rig, call: rig.calls.failed(call, "no answer", is_in_doubt=True), True),
    "is refused": (lambda rig, call: rig.calls.answered(call, 200, b'{"error":["EOrder:Insufficient funds"]}'), True),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_by_rest_is_charged_when_it_is_asked_for_and_for_nothing_if_it_was_not_sent(name, end):
    """Kraken counts a refused one too; and those behind it must know of it before its answer."""
    rig = _rig()
    _submit(rig, KEYS[0])
    rig.work_for(2 * NS_PER_S, each=rig.keep_alive)
    _cut(rig)
    REQUESTS[name](rig)
    assert sum(_counts(rig).values()) > 0

    comes_to, counts = ENDS[end]
    comes_to(rig, rig.take_call(name.partition(",")[0]))
    assert bool(_counts(rig)) is counts


MINUTES: dict[str, tuple[int, int]] = {"forward": (10, 2), "back": (-10, 400)}


@pytest.mark.parametrize("dies", [False, True])
@pytest.mark.parametrize("way", MINUTES)
def test_a_wall_clock_that_is_set_makes_no_order_older_or_younger(way, dies):
    """A cancel of a young order costs 8, one of an order of five minutes nothing, whatever the clock says."""
    minutes, age_s = MINUTES[way]
    rig = _rig()
    _submit(rig, KEYS[0])
    rig.work_for(2 * NS_PER_S, each=rig.keep_alive)
    if dies:
        rig.begin_anew()
        rig.core.begin()
        rig.connect()
        rig.snapshot(fact("new", order_id=f"OAAAAA-AAAAA-{KEYS[0][-6:]}", cum_qty=Decimal(0)))
    rig.clock.advance((age_s - 2) * NS_PER_S)
    rig.clock.step_wall(minutes * 60 * NS_PER_S)
    rig.work_for(20 * NS_PER_MS, each=rig.keep_alive)
    rig.command(Cancel(STRATEGY, KEYS[:1]))

    assert _canceled(rig.socket.take()) == 1
    assert _counts(rig) == ({"BTC/USD": 8} if way == "forward" else {})


def test_the_age_of_an_order_counts_from_its_last_amend():
    rig = _rig()
    _submit(rig, KEYS[0])
    rig.work_for(20 * NS_PER_S, each=rig.keep_alive)
    rig.told()
    rig.fact(fact("amended", order_id=f"OAAAAA-AAAAA-{KEYS[0][-6:]}", order_qty=Decimal(1), limit_price=Decimal(91)))
    rig.command(Cancel(STRATEGY, KEYS[:1]))

    assert _counts(rig) == {"BTC/USD": 8}
