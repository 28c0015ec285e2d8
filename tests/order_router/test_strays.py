"""Orders that come to be open when nobody wants any: behind a halt, behind the end of their strategy, behind their own
cancel.
"""

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.orders.intent import Conditional
from engine.orders.journal_records import ModeChanged
from engine.orders.life import OrderState
from engine.orders.rings.commands import Cancel, StatusRequest, StrategyEnded, Submit
from engine.orders.venue_facts import ExecutionFact
from engine.units import NS_PER_MS, NS_PER_S, MonoNs
from tests.order_router.rig import SETTINGS, STRATEGY, RouterRig
from tests.orders.rig import AT, ORDER_ID, fact, limit, trade

KEY = "quoter000000000001"
CLOSING_ID = "OCLOSE-00001-AAAAAA"


def _rig(**settings: object) -> RouterRig:
    rig = RouterRig(settings=replace(SETTINGS, **settings))
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.know_pairs()
    return rig


def _submit(rig: RouterRig, **intent: object) -> None:
    rig.command(Submit(STRATEGY, KEY, limit(price="100", **intent), MonoNs(rig.clock.mono_ns()), MonoNs(0)))
    assert [request["method"] for request in rig.socket.take() if request["method"] != "subscribe"] == ["add_order"]


def _halt(rig: RouterRig) -> None:
    rig.core.halt("a person said so")


def _end(rig: RouterRig) -> None:
    rig.command(StrategyEnded(STRATEGY, "it raised too often"))


def _fall_behind(rig: RouterRig) -> None:
    """The strategy reads nothing of what it is told, until it is barred."""
    for _ in range(20):
        rig.command(StatusRequest(STRATEGY, [KEY] * 20))
    rig.work_for(NS_PER_S, each=rig.keep_alive)
    assert STRATEGY in rig.core.new_orders.barred


def _fill_with_close(rig: RouterRig) -> None:
    """An order with a conditional close fills, and Kraken makes its closing order."""
    userref = rig.core.blotter.get(KEY).userref
    rig.fact(
        trade(qty="1", cl_ord_id=None, order_userref=userref),
        ExecutionFact(
            exec_type="new", order_id=CLOSING_ID, timestamp=AT, order_userref=userref, ord_ref_id=ORDER_ID,
            symbol="BTC/USD", side="sell", order_type="limit", order_qty=Decimal(1), limit_price=Decimal(120),
            cum_qty=Decimal(0),
        ),
        ExecutionFact(exec_type="filled", order_id=ORDER_ID, timestamp=AT, cum_qty=Decimal(1)),
    )  # fmt: skip


def _wait(rig: RouterRig) -> list[str]:
    """A second in which the feed is heard; returns the ids of the orders that are canceled meanwhile."""
    rig.socket.take()
    rig.work_for(NS_PER_S, each=rig.keep_alive)
    return [
        name
        for request in rig.socket.take()
        if request["method"] == "cancel_order"
        for name in (*request["params"].get("order_id", ()), *request["params"].get("cl_ord_id", ()))
    ]


def _lives(rig: RouterRig) -> None:
    """Kraken tells that the order is open."""
    rig.fact(fact("new", cl_ord_id=KEY, symbol="BTC/USD", side="buy", order_type="limit", order_qty=Decimal(1),
                  limit_price=Decimal(100), cum_qty=Decimal(0)))  # fmt: skip
    assert rig.core.blotter.get(KEY).state is OrderState.WORKING


def _be_held_absent(rig: RouterRig, then: Callable[[], None] = lambda: None) -> None:
    """Nobody answers to the order, `then` happens, and REST finds it nowhere."""
    rig.work_for(1700 * NS_PER_MS, each=rig.keep_alive)
    then()

    def find_nothing() -> None:
        rig.keep_alive()
        while (call := rig.calls.take_due()) is not None:
            rig.answer(call, {"open": {}, "closed": {}})

    rig.work_for(20 * NS_PER_S, each=find_nothing)
    assert rig.core.blotter.get(KEY).state is OrderState.REJECTED


@pytest.mark.parametrize("ends", [_halt, _end, _fall_behind])
def test_a_closing_order_that_appears_behind_the_end_is_canceled(ends):
    rig = _rig()
    _submit(rig, conditional=Conditional("limit", Decimal(120)))
    ends(rig)
    _fill_with_close(rig)

    assert _wait(rig) == [CLOSING_ID]


@pytest.mark.parametrize("ends", [_halt, _end])
def test_an_order_that_was_held_to_be_absent_and_lives_behind_the_end_is_canceled(ends):
    rig = _rig()
    _submit(rig)
    _be_held_absent(rig)
    ends(rig)
    _lives(rig)

    assert _wait(rig) == [ORDER_ID]


@pytest.mark.parametrize("has_new_segment", [False, True])
def test_a_router_that_begins_behind_a_halt_of_its_run_cancels_what_appears(has_new_segment):
    """Also if the journal has begun a segment since, which has the halt in its snapshot alone."""
    rig = _rig()
    _submit(rig, conditional=Conditional("limit", Decimal(120)))
    _halt(rig)
    if has_new_segment:
        rig.core.records.begin_segment()
    rig.begin_anew()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.work_for(NS_PER_S, each=rig.keep_alive)
    _fill_with_close(rig)

    assert CLOSING_ID in _wait(rig)


def test_a_halt_that_is_over_ends_nothing_that_appears():
    rig = _rig()
    _submit(rig, conditional=Conditional("limit", Decimal(120)))
    rig.fact(fact("new", cl_ord_id=None, order_userref=rig.core.blotter.get(KEY).userref, symbol="BTC/USD"))
    _halt(rig)
    rig.core.resume()
    _fill_with_close(rig)

    assert _wait(rig) == []


def test_a_halt_that_somebody_asks_to_be_reducing_stays_one():
    """It is still closed for every order, so what appears is canceled still."""
    rig = _rig()
    _submit(rig, conditional=Conditional("limit", Decimal(120)))
    _halt(rig)
    rig.core.reduce("a person said so")
    _fill_with_close(rig)

    assert rig.core.gate.report.mode == "HALTED"
    assert _wait(rig) == [CLOSING_ID]


def test_a_run_that_begins_halted_leaves_what_it_finds_to_a_person():
    """A state that was restored from a copy is halted so, and its orders may protect what is held."""
    rig = _rig()
    _submit(rig, conditional=Conditional("limit", Decimal(120)))
    rig.fact(fact("new", cl_ord_id=None, order_userref=rig.core.blotter.get(KEY).userref, symbol="BTC/USD"))
    rig.journal.append(ModeChanged("HALTED", "the state was restored from a copy", AT))
    rig.run += 1
    rig.begin_anew()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    _fill_with_close(rig)

    assert _wait(rig) == []


def test_nothing_that_appears_is_canceled_of_a_strategy_whose_orders_are_kept():
    rig = _rig(cancels_on_halt=False)
    _submit(rig, conditional=Conditional("limit", Decimal(120)))
    _end(rig)
    _fill_with_close(rig)

    assert _wait(rig) == []


@pytest.mark.parametrize("dies", [False, True])
def test_a_cancel_of_an_order_that_is_held_to_be_absent_is_sent_when_it_lives_again(dies):
    rig = _rig()
    _submit(rig)
    _be_held_absent(rig, lambda: rig.command(Cancel(STRATEGY, [KEY])))
    order = [report for report in rig.told() if getattr(report, "key", "") == KEY][-1]
    assert (order.state, order.is_ending) == (OrderState.REJECTED, False)
    if dies:
        rig.begin_anew()
        rig.core.begin()
        rig.connect()
        rig.snapshot()
    _lives(rig)

    assert _wait(rig) == [ORDER_ID]
    rig.core.blotter.check()
