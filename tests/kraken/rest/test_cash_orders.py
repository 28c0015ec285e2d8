"""An order that names the money: REST counts its volume in quote currency, and only `oflags` says so."""

import json
from decimal import Decimal

import pytest

from engine.kraken.rest import order_replies
from engine.kraken.rest.pairs import RestPair, RestPairs
from engine.orders.blotter import Blotter
from engine.orders.journal_records import InDoubt
from engine.orders.life import OrderState
from tests.orders.rig import AT, KEY, ORDER_ID, commit, limit, submitted

D = Decimal
PAIRS = RestPairs(
    [RestPair(id="XXBTZUSD", altname="XBTUSD", symbol="BTC/USD", base="BTC", quote="USD", pair_decimals=1,
              lot_decimals=8, cost_decimals=5)]
)  # fmt: skip


def row(oflags, **more):
    """A market buy of 10 USD, of which all was spent."""
    return {
        "refid": None, "userref": 0, "cl_ord_id": KEY, "status": "closed", "opentm": AT / 10**9,
        "descr": {"pair": "XBTUSD", "type": "buy", "ordertype": "market", "price": "0", "price2": "0",
                  "leverage": "none", "order": "buy 10.00000000 (USD) XBTUSD @ market"},
        "vol": "10.00000", "vol_exec": "10.00000", "cost": "10.00000", "fee": "0.02600", "price": "62500.0",
        "misc": "", "oflags": oflags, "trades": ["TBCIKR-RRTIA-UGHNIQ"], **more,
    }  # fmt: skip


def looked_up(name, result):
    """What a reader of that call makes of it."""
    read = getattr(order_replies, f"read_{name}")
    (lookup,) = read(200, json.dumps({"error": [], "result": result}).encode(), PAIRS)
    return lookup


@pytest.mark.parametrize("oflags", ["viqc", "fciq,viqc", "viqc,fciq", "post,viqc,fcib"])
@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        ("open_orders", lambda rows: {"open": rows}),
        ("closed_orders", lambda rows: {"closed": rows}),
        ("query_orders", lambda rows: rows),
    ],
)
def test_money_is_never_taken_for_a_quantity(name, wrap, oflags):
    """Wherever the word stands in the set of flags: neither number is one of the base currency."""
    lookup = looked_up(name, wrap({ORDER_ID: row(oflags)}))

    assert (lookup.qty, lookup.filled_qty) == (None, None)
    assert lookup.trade_ids == ("TBCIKR-RRTIA-UGHNIQ",)


@pytest.mark.parametrize("oflags", ["", "fciq", "post,fciq", "noviqc"])
def test_other_volumes_are_quantities(oflags):
    """A flag is a whole word of the set."""
    lookup = looked_up("query_orders", {ORDER_ID: row(oflags)})

    assert (lookup.qty, lookup.filled_qty) == (D("10.00000"), D("10.00000"))


@pytest.mark.parametrize(("status", "state"), [("open", OrderState.WORKING), ("closed", OrderState.FILLED)])
def test_a_cash_order_in_doubt_does_not_become_one_of_so_many_coins(status, state):
    """10 USD is not 10 BTC: what it bought, its fills and its reports tell."""
    blotter = Blotter()
    spends = limit("buy", "0", None, order_type="market", cash_qty=D(10))
    commit(blotter, [submitted(intent=spends), InDoubt(KEY, "no answer came in time", AT)])
    lookup = looked_up("query_orders", {ORDER_ID: row("fciq,viqc", status=status)})

    commit(blotter, blotter.on_lookup(lookup, AT))

    order = blotter.get(KEY)
    assert (order.state, order.qty, order.filled_known) == (state, 0, 0)
