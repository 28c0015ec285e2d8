"""REST calls: documented bodies can be said, names and flags are REST's, numbers are exact text."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import TOKENIZED, RestPair, RestPairs, v2_asset
from engine.kraken.trading.order_requests import BatchRow
from engine.orders.intent import Amendment, Conditional, OrderIntent, Trigger
from engine.units import NS_PER_S

DATA = Path(__file__).parents[2] / "data" / "kraken" / "private"
DEADLINE = 1_695_565_462_000_000_000  # 2023-09-24T14:24:22Z
PAIR = RestPair(
    id="XXBTZUSD", altname="XBTUSD", symbol="BTC/USD", base="BTC", quote="USD", pair_decimals=1, lot_decimals=8,
    cost_decimals=5, leverage_buy=(2, 3, 4, 5, 10), leverage_sell=(2, 3),
)  # fmt: skip


def order(order_type="limit", side="buy", qty=125_000_000, price_decimals=1, **more):
    """The fields of AddOrder for such an order."""
    intent = OrderIntent(
        symbol="BTC/USD",
        side=side,
        order_type=order_type,
        price_decimals=price_decimals,
        qty_decimals=8,
        qty=qty,
        **more,
    )
    ids = {"userref": 5} if intent.conditional else {"cl_ord_id": "a1"}
    request = rest_requests.add_order(intent, pair=PAIR, **ids, deadline=DEADLINE)
    assert (request.method, request.path, request.is_mutating) == ("POST", "/0/private/AddOrder", True)
    fields = dict(request.fields)
    assert (fields.pop("pair"), fields.pop("deadline")) == ("XBTUSD", "2023-09-24T14:24:22.000Z")
    return {name: value for name, value in fields.items() if name not in ("type", "volume", "cl_ord_id", "userref")}


# --- documents as judges

DOCUMENTED = {
    request["path"].rpartition("/")[2]: request
    for request in map(json.loads, (DATA / "rest_requests.jsonl").read_text().splitlines())
    if request["method"] == "POST"
}


def documented(name, *, without=()):
    body = dict(DOCUMENTED[name]["body"])
    return {key: value for key, value in body.items() if key not in ("nonce", *without)}


def ours(request, *, without=()):
    assert request.path == DOCUMENTED[request.name]["path"]
    assert request.method == "POST"
    body = json.loads(request.body(123))
    assert body.pop("nonce") == "123"
    return {key: value for key, value in body.items() if key not in without}


CL_ORD_ID = "6d1b345e-2821-40e2-ad83-4ecb18a06876"


def test_the_documented_add_order_can_be_said():
    intent = OrderIntent(
        symbol="BTC/USD", side="buy", order_type="limit", price_decimals=0, qty_decimals=2, qty=125, limit_price=27_500
    )
    request = rest_requests.add_order(intent, pair=PAIR, cl_ord_id=CL_ORD_ID, deadline=DEADLINE)

    assert ours(request, without=["deadline"]) == documented("AddOrder")


def test_an_order_for_a_tokenized_stock_names_its_class():
    """Kraken asks for it beside the pair, in a batch too; a currency's order says nothing of it."""
    pair = msgspec.structs.replace(PAIR, altname="AAPLxUSD", symbol="AAPLx/USD", asset_class=TOKENIZED)
    intent = OrderIntent(
        symbol="AAPLx/USD", side="buy", order_type="limit", price_decimals=2, qty_decimals=8, qty=125,
        limit_price=27_500,
    )  # fmt: skip
    one = rest_requests.add_order(intent, pair=pair, cl_ord_id=CL_ORD_ID, deadline=DEADLINE)
    batch = rest_requests.add_order_batch([BatchRow(intent, CL_ORD_ID)] * 2, pair=pair, deadline=DEADLINE)

    for request in (one, batch):
        assert (request.fields["pair"], request.fields["asset_class"]) == ("AAPLxUSD", "tokenized_asset")
    assert "asset_class" not in batch.fields["orders"][0]
    assert "asset_class" not in order()


def test_the_documented_batch_can_be_said():
    """Less its placeholders, `"price2":"string"` and `"starttm":"string"`, and what is the default."""
    wanted = documented("AddOrderBatch", without=["validate", "deadline"])
    wanted["pair"] = "XBTUSD"
    for row in wanted["orders"]:
        for name in ("price2", "starttm", "timeinforce", "close"):
            row.pop(name, None)
    buy = OrderIntent(
        symbol="BTC/USD", side="buy", order_type="limit", price_decimals=0, qty_decimals=1, qty=12, limit_price=40_000
    )
    sell = OrderIntent(
        symbol="BTC/USD", side="sell", order_type="limit", price_decimals=0, qty_decimals=1, qty=12, limit_price=42_000
    )
    rows = [BatchRow(buy, CL_ORD_ID), BatchRow(sell, "da8e4ad59b78481c93e589746b0cf91")]
    request = rest_requests.add_order_batch(rows, pair=PAIR, deadline=DEADLINE)

    assert ours(request, without=["deadline"]) == wanted


def test_the_documented_amend_can_be_said():
    amend = rest_requests.amend_order(
        Amendment(price_decimals=0, qty_decimals=2, qty=125), cl_ord_id=CL_ORD_ID, deadline=DEADLINE
    )

    assert ours(amend, without=["deadline"]) == documented("AmendOrder")


OTHERS = {
    "CancelOrder": (rest_requests.cancel_order(order_id="OHYO67-6LP66-HMQ437"), {"pair"}),
    "CancelAll": (rest_requests.cancel_all(), set()),
    "CancelAllOrdersAfter": (rest_requests.cancel_all_orders_after(120), set()),
    "GetWebSocketsToken": (rest_requests.get_websockets_token(), set()),
    "Balance": (rest_requests.balance(), {"rebase_multiplier"}),
    "BalanceEx": (rest_requests.balance_ex(), {"rebase_multiplier"}),
    "GetApiKeyInfo": (rest_requests.get_api_key_info(), {"otp"}),
    "OpenOrders": (rest_requests.open_orders(cl_ord_id="9cc788d8-9c00-4b25-94d3-26d93603948d"), set()),
    "QueryTrades": (rest_requests.query_trades(["L2QE42-IGSZ3-WEVTLK", " STMH53C-C54CG-4SO42I"]), set()),
    "ClosedOrders": (
        rest_requests.closed_orders(cl_ord_id="9cc788d8-9c00-4b25-94d3-26d93603948d", start_s=1695728276),
        {"end", "closetime", "consolidate_taker", "without_count"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_documented_call_can_be_said(name):
    request, apart = OTHERS[name]

    assert ours(request, without=apart) == documented(name, without=apart)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_only_calls_that_change_orders_count_as_such(name):
    """A lost answer of these is a doubt; the others are simply asked again."""
    if name in OTHERS:
        assert OTHERS[name][0].is_mutating == ("Cancel" in name)


# --- an order in REST's words


def test_a_plain_limit_order():
    assert order(limit_price=650_001) == {"ordertype": "limit", "price": "65000.1"}


def test_a_market_order_that_spends_quote_currency():
    assert order("market", qty=0, cash_qty=Decimal("100.50")) == {"ordertype": "market", "oflags": "viqc"}


@pytest.mark.parametrize(
    ("order_type", "trigger", "more", "prices"),
    [
        ("stop-loss", Trigger(Decimal("60000.5")), {}, {"price": "60000.5"}),
        ("stop-loss", Trigger(Decimal("-2.0"), "pct", "index"), {}, {"price": "-2.0%", "trigger": "index"}),
        ("take-profit", Trigger(Decimal(5), "quote"), {}, {"price": "+5"}),
        ("stop-loss-limit", Trigger(Decimal(60)), {"limit_price": 590}, {"price": "60", "price2": "59.0"}),
        ("take-profit-limit", Trigger(Decimal(60)), {"limit_price": 590}, {"price": "60", "price2": "59.0"}),
        ("trailing-stop", Trigger(Decimal("1.0000"), "pct"), {}, {"price": "+1.0000%"}),
        ("trailing-stop", Trigger(Decimal(100), "quote"), {}, {"price": "+100"}),
        (
            "trailing-stop-limit",
            Trigger(Decimal(2), "pct"),
            {"limit_offset": Decimal("-1.5"), "limit_price_type": "pct"},
            {"price": "+2%", "price2": "-1.5%"},
        ),
        (
            "trailing-stop-limit",
            Trigger(Decimal(2), "quote"),
            {"limit_offset": Decimal(0)},
            {"price": "+2", "price2": "+0"},
        ),
    ],
)
def test_a_triggers_price_and_a_limit_have_their_places(order_type, trigger, more, prices):
    assert order(order_type, trigger=trigger, **more) == {"ordertype": order_type, **prices}


def test_every_option_has_its_name():
    fields = order(
        limit_price=1, time_in_force="gtd", expire_at=9 * NS_PER_S, effective_at=5 * NS_PER_S, post_only=True,
        reduce_only=True, margin=True, display_qty=25_000_000, fee_preference="base", stp_type="cancel_both",
        validate=True,
    )  # fmt: skip

    assert fields == {
        "ordertype": "limit", "price": "0.1", "timeinforce": "GTD", "expiretm": "9", "starttm": "5",
        "oflags": "post,fcib", "reduce_only": True, "leverage": "5", "displayvol": "0.25000000",
        "stptype": "cancel-both", "validate": True,
    }  # fmt: skip


@pytest.mark.parametrize("time_in_force", ["ioc", "fok"])
def test_time_in_force_is_upper_case(time_in_force):
    assert order(limit_price=1, time_in_force=time_in_force)["timeinforce"] == time_in_force.upper()


def test_margin_is_the_pairs_highest_leverage_of_that_side():
    assert (order(margin=True, limit_price=1)["leverage"]) == "5"
    assert (order(margin=True, limit_price=1, side="sell")["leverage"]) == "3"


def test_margin_without_leverage_cannot_be_said():
    intent = OrderIntent(
        symbol="A/B",
        side="buy",
        order_type="limit",
        price_decimals=1,
        qty_decimals=8,
        qty=1,
        limit_price=1,
        margin=True,
    )
    pair = RestPair(id="AB", altname="AB", symbol="A/B", base="A", quote="B", pair_decimals=1, lot_decimals=8,
                    cost_decimals=5)  # fmt: skip
    with pytest.raises(MisuseError, match="A/B"):
        rest_requests.add_order(intent, pair=pair, cl_ord_id="x", deadline=DEADLINE)


def test_a_conditional_close():
    both = Conditional("stop-loss-limit", Decimal(36000), None, Decimal(37000), None)
    one = Conditional("limit", Decimal("5"), "pct")
    stop = Conditional("stop-loss", trigger_price=Decimal("-5"), trigger_price_type="pct")

    assert order(limit_price=1, conditional=both)["close"] == {
        "ordertype": "stop-loss-limit", "price": "37000", "price2": "36000"
    }  # fmt: skip
    assert order(limit_price=1, conditional=one)["close"] == {"ordertype": "limit", "price": "+5%"}
    assert order(limit_price=1, conditional=stop)["close"] == {"ordertype": "stop-loss", "price": "-5%"}


def test_a_closing_trailing_stop_has_a_distance_and_an_offset_as_one_of_its_own_has():
    """Without a type they are amounts, not prices."""
    close = Conditional("trailing-stop-limit", Decimal(5), None, Decimal(10), None)
    alone = order("trailing-stop-limit", limit_offset=Decimal(5), trigger=Trigger(Decimal(10), "quote"))

    assert order(limit_price=1, conditional=close)["close"] == alone
    assert (alone["price"], alone["price2"]) == ("+10", "+5")


@given(st.integers(0, 10**20), st.integers(0, 10**20), st.integers(0, 12), st.integers(0, 12))
def test_numbers_are_exact_text(qty, price, price_decimals, qty_decimals):
    intent = OrderIntent(
        symbol="BTC/USD",
        side="buy",
        order_type="limit",
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        qty=qty,
        limit_price=price,
    )
    request = rest_requests.add_order(intent, pair=PAIR, cl_ord_id="x", deadline=DEADLINE)
    body = json.loads(request.body(1))

    assert Decimal(body["volume"]) == Decimal(qty).scaleb(-qty_decimals)
    assert Decimal(body["price"]) == Decimal(price).scaleb(-price_decimals)
    assert "e" not in (body["volume"] + body["price"]).lower()


def test_an_amend_of_a_relative_price_says_what_it_is_relative_to():
    amendment = Amendment(price_decimals=1, qty_decimals=8, limit_offset=Decimal("-1"), trigger_price=Decimal("2.5"))
    request = rest_requests.amend_order(
        amendment, order_id="O1", limit_price_type="pct", trigger_price_type="quote", deadline=DEADLINE
    )

    assert {name: request.fields[name] for name in ("txid", "limit_price", "trigger_price")} == {
        "txid": "O1", "limit_price": "-1%", "trigger_price": "+2.5"
    }  # fmt: skip


def test_a_deadline_by_rest_is_at_least_two_seconds_away():
    now = 100 * NS_PER_S

    assert rest_requests.rest_deadline(now + NS_PER_S, now) == now + 3 * NS_PER_S
    assert rest_requests.rest_deadline(now + 5 * NS_PER_S, now) == now + 5 * NS_PER_S
    assert rest_requests.rest_deadline(now + 99 * NS_PER_S, now) == now + 60 * NS_PER_S


@pytest.mark.parametrize("ids", [{}, {"order_id": "a", "cl_ord_id": "b"}, {"order_id": "a", "userref": 1}])
def test_a_cancel_names_one_order_in_one_way(ids):
    with pytest.raises(MisuseError):
        rest_requests.cancel_order(**ids)


def test_a_cancel_by_userref_sends_a_number():
    assert rest_requests.cancel_order(userref=7).fields == {"txid": 7}


# --- public calls and names


def test_public_calls_have_their_parameters_in_the_path():
    assert rest_requests.time().target == "/0/public/Time"
    assert rest_requests.asset_pairs().target == "/0/public/AssetPairs"
    assert rest_requests.asset_pairs(["XBTUSD", "ETHUSD"]).target == "/0/public/AssetPairs?pair=XBTUSD%2CETHUSD"
    assert rest_requests.asset_pairs(asset_class=TOKENIZED).target == "/0/public/AssetPairs?aclass_base=tokenized_asset"
    assert rest_requests.open_orders().target == "/0/private/OpenOrders"


def test_a_pair_is_found_by_any_of_its_names():
    pairs = RestPairs([PAIR])

    assert {pairs.symbol(name) for name in ("XXBTZUSD", "XBTUSD", "BTC/USD", "XBT/USD")} == {"BTC/USD"}
    assert pairs.symbol("NOSUCH") is None


NAMING = json.loads((DATA / "naming.json").read_text())


@pytest.mark.parametrize(("name", "asset"), NAMING["assets"].items())
def test_assets_have_their_v2_names(name, asset):
    assert v2_asset(name) == asset
    assert v2_asset(f"{name}.F") == f"{asset}.F"
