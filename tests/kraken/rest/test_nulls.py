"""Nothing, in every form in which Kraken's REST prints it: none of them may name a parent or spoil an answer."""

import json
from decimal import Decimal

import pytest

from engine.kraken.private.messages import read_executions
from engine.kraken.rest import order_replies
from engine.kraken.rest.pairs import RestPairs
from engine.kraken.rest.replies import RestRefusal
from engine.units import NS_PER_S

ORDER_ID = "OQCLML-BW3P3-BUCMWZ"
ROW = {
    "userref": 7, "status": "open", "opentm": 1688666559.8974, "vol": "1.25", "vol_exec": "0.375",
    "descr": {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "30010.0"},
}  # fmt: skip
NULLS = (None, "None", "none", "NONE", "", " ", "null", "NULL", "nil", "0")
FIELDS = ("refid", "cl_ord_id", "reason", "closetm", "trades", "time_in_force")


def lookup(**fields):
    """An open order as OpenOrders tells it, with these fields."""
    text = json.dumps({"error": [], "result": {"open": {ORDER_ID: ROW | fields}}}).encode()
    answer = order_replies.read_open_orders(200, text, RestPairs())
    assert not isinstance(answer, RestRefusal), answer.error
    return answer[0]


@pytest.mark.parametrize("null", NULLS)
def test_an_order_without_a_parent_is_known_by_its_own_userref(null):
    """A parent called "None" made a live order pass for a closing order, and so for one that never was."""
    found = lookup(refid=null)

    assert (found.parent_id, found.own_userref) == (None, 7)


def test_a_parent_is_a_parent():
    """Then the userref is the parent's."""
    found = lookup(refid="OPARNT-AAAAA-BBBBBB")

    assert (found.parent_id, found.own_userref) == ("OPARNT-AAAAA-BBBBBB", None)


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("field", FIELDS)
def test_nothing_in_any_field_leaves_the_rest_of_the_row_as_it_is(field, null):
    """The row is what it is without the field."""
    assert lookup(**{field: null}) == lookup()


@pytest.mark.parametrize("null", NULLS)
def test_an_order_without_a_userref_has_none(null):
    """Whatever is printed in its place."""
    assert lookup(userref=null).order_userref is None


@pytest.mark.parametrize("null", NULLS)
def test_a_number_that_is_not_told_is_zero(null):
    """It costs its own field only."""
    assert lookup(opentm=null).opened_at == 0


@pytest.mark.parametrize("field", ["cost", "fee", "price", "closetm"])
def test_a_field_that_nobody_uses_costs_nothing(field):
    """Whatever is in it."""
    assert lookup(**{field: "much"}) == lookup()


@pytest.mark.parametrize(("field", "value"), [("vol_exec", None), ("vol_exec", "None"), ("vol", "")])
def test_an_amount_that_cannot_be_read_decides_nothing(field, value):
    """The answer is refused as a whole, so the order is asked about again."""
    text = json.dumps({"error": [], "result": {"open": {ORDER_ID: ROW | {field: value}}}}).encode()

    assert isinstance(order_replies.read_open_orders(200, text, RestPairs()), RestRefusal)


def test_numbers_are_read_to_the_last_digit_whether_quoted_or_not():
    """As text or as a number."""
    found = lookup(opentm="1688666560.123456", userref="8", vol_exec="0.37500001")

    assert (found.opened_at, found.order_userref) == (1688666560123456 * NS_PER_S // 10**6, 8)
    assert found.filled_qty == Decimal("0.37500001")
    assert lookup(opentm=1688666560.123456).opened_at == found.opened_at


@pytest.mark.parametrize("null", NULLS)
def test_a_fill_without_a_number_or_a_side_of_its_own_is_still_a_fill(null):
    """Of TradesHistory and QueryTrades."""
    trade = {
        "ordertxid": ORDER_ID, "pair": "XXBTZUSD", "time": 1688666559.8974, "type": "buy", "ordertype": "limit",
        "price": "30010.0", "cost": "600.2", "fee": "0.9", "vol": "0.02",
    }  # fmt: skip
    body = {"error": [], "result": {"TBOGUS-AAAAA-BBBBBB": trade | {"trade_id": null, "maker": null}}}
    answer = order_replies.read_query_trades(200, json.dumps(body).encode(), RestPairs())

    assert not isinstance(answer, RestRefusal), answer.error
    assert (answer[0].trade_id, answer[0].liquidity, answer[0].last_qty) == (None, None, Decimal("0.02"))


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("name", ["price", "price2"])
def test_an_order_without_a_price_has_none(name, null):
    """As a market order has."""
    order_type = "limit" if name == "price" else "stop-loss-limit"
    found = lookup(descr=ROW["descr"] | {"price2": "1", "ordertype": order_type} | {name: null})

    assert found.limit_price is None


@pytest.mark.parametrize("null", NULLS)
def test_the_executions_channel_is_read_in_the_same_way(null):
    """An order without a parent is not taken for a closing order, nor for one called "None"."""
    row = {
        "exec_type": "new", "order_id": ORDER_ID, "timestamp": "2026-11-28T20:00:00Z", "order_userref": 7,
        "ord_ref_id": null, "cl_ord_id": null,
    }  # fmt: skip
    message, _ = read_executions(
        json.dumps({"channel": "executions", "type": "update", "sequence": 1, "data": [row]}).encode()
    )
    fact = message.data[0]

    assert (fact.ord_ref_id, fact.cl_ord_id, fact.order_userref) == (None, None, 7)
