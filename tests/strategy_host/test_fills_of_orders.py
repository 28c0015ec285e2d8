"""An order's own list of its fills: each once, oldest first, and no more of them than the order client remembers."""

import asyncio
import copy
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from engine.errors import OrderRefused
from engine.orders.rings.reports import REPORTS, Fill, Order
from engine.strategy.orders import Order as StrategyOrder
from engine.strategy_host import order_client
from engine.units import MonoNs, WallNs
from tests.strategy_host.rig import NOW, ClientRig


def fill(rig: ClientRig, order: Order, number: int) -> None:
    """The router tells of one."""
    report = Fill(
        key=order.id, exec_id=f"T{number}", trade_id=number, symbol=order.symbol, side=order.side,
        qty=Decimal("0.1"), price=Decimal(60_000 + number), cost=Decimal(6_000), fees={"USD": Decimal(1)},
        liquidity="maker", kraken_time=WallNs(NOW), received_at=MonoNs(1),
    )  # fmt: skip
    assert rig.reports.try_publish(REPORTS.pack(report))
    rig.news()


def test_an_order_has_its_fills_oldest_first_and_each_once() -> None:
    """What a new router tells again is known; another order's are not among them."""
    rig = ClientRig()
    order, other = rig.working(), rig.submit(limit=50_000)
    before = order.fills
    for number in (1, 2, 1):
        fill(rig, order, number)

    assert before == ()
    assert [one.trade_id for one in order.fills] == [1, 2]
    assert order.fills[0].order is order
    assert other.fills == ()


def test_fills_that_nobody_remembers_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first, whichever order they are of."""
    monkeypatch.setattr(order_client, "FILLS_REMEMBERED", 3)
    rig = ClientRig()
    orders = [rig.submit(limit=50_000 + number) for number in range(2)]
    for number in range(5):
        fill(rig, orders[number % 2], number)

    assert [[one.trade_id for one in order.fills] for order in orders] == [[2, 4], [3]]


def test_the_bound_is_told_where_the_list_is() -> None:
    """A reader of `Order.fills` need not look here."""
    assert f"the last {order_client.FILLS_REMEMBERED:,} of" in " ".join((StrategyOrder.fills.__doc__ or "").split())


@pytest.mark.parametrize("copied", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy], ids=["pickle", "deep"])
def test_an_order_its_fills_and_a_refusal_can_be_given_to_another_process(copied: Callable[[Any], Any]) -> None:
    """Also while somebody waits for the order, which the fills name and which names the fills."""

    async def scenario() -> None:
        rig = ClientRig()
        order = rig.working()
        fill(rig, order, 1)
        waiting = asyncio.ensure_future(order.until_over())
        await asyncio.sleep(0)

        again = copied(order.fills[0])
        assert (again.exec_id, repr(again.order)) == ("T1", repr(order))
        assert [one.exec_id for one in copied(order).fills] == ["T1"]
        assert copied(order).report == order.report
        refused = copied(OrderRefused("it is too large", order))
        assert (str(refused), refused.order.id) == ("it is too large", order.id)
        assert not waiting.done()
        waiting.cancel()

    asyncio.run(scenario())
