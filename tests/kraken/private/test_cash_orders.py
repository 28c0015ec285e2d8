"""An order that names the money, as the executions channel may tell it.

No genuine row of one is known. Kraken's page has `cash_order_qty`, "if specified on the original order", beside an
optional `order_qty`; in which currency that one would then count is not said, and REST's volume counts the money.
"""

import json
from decimal import Decimal

import pytest

from engine.kraken.private.messages import read_executions


@pytest.mark.parametrize("order_qty", [{}, {"order_qty": 50.0}, {"order_qty": 0.00078791}, {"order_qty": 0}])
def test_money_is_never_taken_for_a_quantity(order_qty):
    """Whatever stands beside the money, the order's quantity in base currency is not known from it."""
    row = {
        "order_id": "O7LBBG-TQYA6-I2GAEB", "symbol": "BTC/USD", **order_qty, "cash_order_qty": 50.0, "cum_cost": 0.0,
        "time_in_force": "GTC", "exec_type": "new", "side": "buy", "order_type": "market", "order_userref": 0,
        "order_status": "new", "cum_qty": 0.0, "avg_price": 0.0, "timestamp": "2026-11-28T21:57:47.824337Z",
    }  # fmt: skip
    frame = {"channel": "executions", "type": "snapshot", "data": [row], "sequence": 1}
    (fact,) = read_executions(json.dumps(frame).encode())[0].data

    assert fact.order_qty is None
    assert fact.cum_qty == Decimal(0)
