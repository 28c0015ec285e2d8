"""A strategy is handed the router's reports themselves, under the names that are documented."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine import Balance, Fill, Order, OrderState, Position, TradingStatus
from engine.orders.rings.reports import REPORTS, OrderReport
from engine.units import QtyLots, WallNs
from tests.strategy_host.rig import ClientRig, fill_of

# What README and the examples call them: a strategy that is out there reads these.
DOCUMENTED = {
    Order: (
        *("id", "tag", "order_id", "symbol", "side", "order_type", "state", "reason", "qty", "filled_qty"),
        *("remaining_qty", "limit_price", "avg_price", "cost", "fees", "changed_at", "is_open", "is_working"),
        *("is_filled", "is_unknown", "cash_qty", "trigger"),
    ),
    Fill: (
        *("order", "exec_id", "trade_id", "symbol", "side", "qty", "price", "cost", "fees", "liquidity"),
        *("kraken_time", "received_at"),
    ),
    Position: ("symbol", "qty", "avg_price", "realized", "fees"),
    Balance: ("asset", "total", "held", "free", "earning"),
    TradingStatus: ("mode", "is_open", "reason"),
}


@pytest.mark.parametrize("view", DOCUMENTED, ids=lambda view: view.__name__)
def test_every_documented_name_is_there(view: type) -> None:
    """A field or a property of each."""
    assert [name for name in DOCUMENTED[view] if not hasattr(view, name)] == []


def test_a_fill_is_told_as_the_router_wrote_it() -> None:
    """To the last digit, with the order that the strategy holds."""
    rig = ClientRig()
    order = rig.working()
    assert rig.reports.try_publish(REPORTS.pack(fill_of(order.id)))
    (fill,) = rig.news()

    assert isinstance(fill, Fill)
    assert fill.order is order
    sent = fill_of(order.id)
    names = [name for name in DOCUMENTED[Fill] if name != "order"]
    assert [str(getattr(fill, name)) for name in names] == [str(getattr(sent, name)) for name in names]


def test_orders_are_told_apart_by_what_they_are() -> None:
    """Not by what they say: a strategy keeps them in sets and as keys."""
    report = OrderReport(key="quoter000001000001", symbol="BTC/USD", side="buy", changed_at=WallNs(1))
    one, other = Order(report), Order(report)

    assert one != other
    assert len({one, other, one}) == 2


def test_an_order_says_what_its_newest_report_says() -> None:
    """In Decimals, of the scale that the report names."""
    order = Order(OrderReport(key="k", symbol="BTC/USD", side="buy", changed_at=WallNs(1)), tag="mine")
    order.report = OrderReport(
        key="k", order_id="O1", symbol="BTC/USD", side="buy", order_type="limit", state=OrderState.PARTIAL,
        qty_lots=QtyLots(150), filled_lots=QtyLots(50), price_decimals=1, qty_decimals=2, changed_at=WallNs(2),
    )  # fmt: skip

    assert (order.id, order.tag, order.order_id, order.state) == ("k", "mine", "O1", OrderState.PARTIAL)
    assert [str(qty) for qty in (order.qty, order.filled_qty, order.remaining_qty)] == ["1.50", "0.50", "1.00"]
    assert repr(order) == "Order(k buy 1.50 BTC/USD: PARTIAL, 0.50 filled)"


def test_an_order_for_money_says_the_money_and_what_it_has_bought() -> None:
    """Its quantity is known by its fills alone: nobody divides by 0, or sees more filled than ordered, when it is."""
    rig = ClientRig()
    order = rig.submit(qty=0, cash_qty="50")
    asked = (order.cash_qty, order.qty, order.remaining_qty, repr(order).partition(" ")[2])
    report = replace(
        order.report, order_id="O1", state=OrderState.FILLED, filled_lots=QtyLots(78_720), cost=Decimal("49.99956")
    )
    assert rig.reports.try_publish(REPORTS.pack(report))
    assert rig.news() == [order]

    assert asked == (Decimal(50), 0, 0, "buy BTC/USD for 50: NEW, 0.00000000 filled)")
    assert (order.cash_qty, order.qty) == (Decimal(50), Decimal("0.0007872"))
    assert (order.filled_qty, order.remaining_qty) == (order.qty, 0)
    assert rig.submit(limit=60000).cash_qty is None


def test_a_stop_says_what_triggers_it() -> None:
    """A price, or a distance of a trailing one, as it was asked for."""
    rig = ClientRig()
    stop = rig.submit(side="sell", order_type="stop-loss-limit", trigger=50000, limit="49900")
    trailing = rig.submit(side="sell", order_type="trailing-stop", trigger="1.5", trigger_type="pct")

    assert (stop.trigger, trailing.trigger) == (Decimal(50000), Decimal("1.5"))
    assert "BTC/USD when 50000 at 49900.0: NEW" in repr(stop)
    assert rig.submit(limit=60000).trigger is None
