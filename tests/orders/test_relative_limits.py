"""A limit that follows its trigger is a distance, which nobody takes for a price: not the order, no limit, no hold."""

import json
from decimal import Decimal

import msgspec
import pytest

from engine.kraken.private.messages import ExecutionRow
from engine.orders.balances import Balances
from engine.orders.intent import Amendment, Conditional, Trigger
from engine.orders.journal_records import AmendSent
from engine.units import MonoNs, PriceTicks
from tests.orders.rig import AT, KEY, ORDER_ID, commit, limit, sent, tell

D = Decimal
TRAILING = {"order_type": "trailing-stop-limit", "price": None, "trigger": Trigger(D(10), "quote")}
ROW = {
    "order_id": ORDER_ID, "cl_ord_id": KEY, "symbol": "BTC/USD", "side": "buy", "order_type": "trailing-stop-limit",
    "order_qty": 1, "cum_qty": 0, "order_status": "new", "timestamp": "2026-11-21T10:00:00.000000Z",
}  # fmt: skip


def told(blotter, exec_type, *, is_snapshot=False, **fields):
    """Kraken's own row, through the border."""
    row = msgspec.json.decode(json.dumps(ROW | {"exec_type": exec_type} | fields), type=ExecutionRow)
    row.tell(MonoNs(0), is_snapshot=is_snapshot)
    tell(blotter, row)


@pytest.mark.parametrize("price_type", ["quote", "pct"])
@pytest.mark.parametrize("distance", [-20.5, 20.5])
@pytest.mark.parametrize("exec_type", ["pending_new", "amended", "restated"])
def test_a_distance_that_kraken_tells_is_no_limit_price(exec_type, distance, price_type):
    """Nor does a hold count with it: a negative one would free what is not there."""
    blotter, order = sent(intent=limit("buy", limit_offset=D("-20.5"), limit_price_type=price_type, **TRAILING))
    commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT))
    change = Amendment(price_decimals=1, qty_decimals=8, limit_offset=D(str(distance)))
    commit(blotter, [AmendSent(KEY, change, AT)])
    told(blotter, exec_type, limit_price=distance, limit_price_type=price_type)
    told(blotter, "new", limit_price=distance, limit_price_type=price_type, is_snapshot=True)

    assert order.limit_price is None
    assert Balances().held(blotter.open.values()) == {}


def test_it_has_a_price_once_its_trigger_has_gone_off():
    """Then Kraken tells a static one."""
    blotter, order = sent(intent=limit("buy", limit_offset=D("-20.5"), **TRAILING))
    commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT))
    told(blotter, "restated", limit_price=99.5, limit_price_type="static")

    assert order.limit_price == PriceTicks(995)


def test_a_closing_order_that_trails_is_adopted_without_a_price():
    """As somebody else's is."""
    close = Conditional("trailing-stop-limit", limit_price=D("-2"), trigger_price=D(10), trigger_price_type="quote")
    blotter, _ = sent(intent=limit("sell", conditional=close), userref=5)
    commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT))
    for order_id, parent in (("OCHILD", ORDER_ID), ("OTHER", None)):
        told(blotter, "pending_new", order_id=order_id, cl_ord_id=None, ord_ref_id=parent, limit_price=-2,
             limit_price_type="quote")  # fmt: skip

    assert [blotter.open[key].limit_price for key in ("OCHILD", "OTHER")] == [None, None]
