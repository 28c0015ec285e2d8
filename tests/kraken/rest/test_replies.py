"""REST answers: every genuine one is read, and what is no answer of Kraken's proves nothing."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kraken.rest import order_replies
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest.replies import RestRefusal
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Fee, OrderLookup, Outcome
from tests.kraken.rest.rig import DATA, FILES, PAIRS, READERS, WITH_PAIRS, body, reader

HTML = (
    b"<!DOCTYPE html><html><head><title>api.kraken.com | 520: Web server is returning an unknown error</title></head>"
    b"<body><h1>Error 520</h1></body></html>"
)


def read(function, name, *more):
    answer = reader(function)(200, body(name), *more)
    assert not isinstance(answer, RestRefusal), answer.error
    return answer


# --- every genuine answer


@pytest.mark.parametrize("name", FILES)
def test_every_genuine_answer_is_read(name):
    """Captures and documents of all years, of every call that the engine makes."""
    function = READERS[name.partition("_")[0]]
    answer = read(function, name, *([PAIRS] if function in WITH_PAIRS else []))

    assert repr(answer)


def test_every_call_has_a_genuine_answer_here():
    assert {name.partition("_")[0] for name in FILES} == READERS.keys()


@pytest.mark.parametrize("name", ["OpenOrders", "OpenOrders_2026", "OpenOrders_doc", "ClosedOrders",
                                  "ClosedOrders_doc", "QueryOrders_doc", "QueryOrders_replaced",
                                  "QueryOrders_trailing_stop_2025"])  # fmt: skip
def test_every_genuine_order_is_told_to_the_last_digit(name):
    """Judged by another JSON parser."""
    function = READERS[name.partition("_")[0]]
    result = json.loads(body(name), parse_float=Decimal)["result"]
    rows = result.get("open", result.get("closed", result))
    orders = read(function, name, PAIRS)

    assert [order.order_id for order in orders] == list(rows)
    for order, row in zip(orders, rows.values(), strict=True):
        assert [f"{n:f}" for n in (order.qty, order.filled_qty)] == [row["vol"], row["vol_exec"]]
        assert (order.status, order.reason) == (row["status"], row.get("reason"))
        assert order.side == row["descr"]["type"]
        is_stop = row["descr"]["ordertype"].startswith(("stop", "take"))
        assert order.trigger_price == (Decimal(row["descr"]["price"]) if is_stop else None)
        assert order.cl_ord_id == row.get("cl_ord_id")
        assert order.order_userref == (row["userref"] or None)
        assert order.opened_at == int(row["opentm"] * 10**9)
        assert order.trade_ids == tuple(row.get("trades", ()))


def test_an_open_order_of_2026():
    assert read("read_open_orders", "OpenOrders_2026", read("read_asset_pairs", "AssetPairs_2025")) == (
        OrderLookup(
            order_id="OFIYM3-N4EEJ-2O6UKI", status="open", cl_ord_id="aff1f7b04d000200", side="buy",
            qty=Decimal("0.00010000"), filled_qty=Decimal("0.00000000"),
            limit_price=Decimal("81818.0"), opened_at=1769057759974710000,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(("told", "meant"), [("gtc", "gtc"), ("gtd", "gtd"), ("None", None), (7, "7")])
def test_an_open_order_tells_how_long_it_lives(told, meant):
    """In the field that the wire has, `time_in_force`, which a request calls `timeinforce`."""
    text = body("OpenOrders_2026").replace(
        b'"time_in_force": "gtc"', b'"time_in_force": %b' % json.dumps(told).encode()
    )
    (report,) = order_replies.read_open_order_reports(200, text, PAIRS)

    assert report.time_in_force == meant


def test_a_relative_price_is_no_limit():
    (order,) = read("read_query_orders", "QueryOrders_trailing_stop_2025", PAIRS)

    assert order.limit_price is None


def test_a_stop_limits_limit_is_its_second_price():
    text = body("QueryOrders_doc").replace(b'"price2": "0"', b'"price2": "27400.0"')
    first, market = order_replies.read_query_orders(200, text, PAIRS)

    assert first.limit_price == Decimal("27400.0")
    assert market.limit_price is None


def test_fills_are_told_as_the_executions_channel_would():
    history = json.loads(body("TradesHistory"))  # its rows have the shape of QueryTrades
    text = json.dumps({"error": [], "result": history["result"]["trades"]}).encode()
    first, second, third = order_replies.read_query_trades(200, text, PAIRS)[:3]

    assert (second.exec_id, second.order_id) == ("VN6IJE-7BQX2-YXRLGM", "39HUZX-AYB9W-WK9G32")
    assert third.symbol == "BTC/USD"
    assert (third.exec_type, third.liquidity, third.order_type) == ("trade", "t", "stop-limit")
    assert (third.last_qty, third.last_price) == (Decimal("0.00166745"), Decimal("27600.00000"))
    assert third.fees == (Fee("USD", Decimal("0.07423")),)
    assert third.timestamp == 1685189574653626400
    assert first.symbol is None
    assert [fee.asset for fee in first.fees] == [""], "of a pair that we do not know the order tells the currency"


def test_pairs_have_three_names_and_their_fees():
    pair = PAIRS.find("XXBTZUSD")

    assert (pair.symbol, pair.altname, pair.base, pair.quote) == ("BTC/USD", "XBTUSD", "BTC", "USD")
    assert (pair.order_min, pair.cost_min, pair.tick_size) == (Decimal("0.0001"), Decimal("0.5"), Decimal("0.1"))
    assert (pair.taker_fee_pct, pair.maker_fee_pct) == (Decimal("0.26"), Decimal("0.16"))
    assert pair.leverage_max("buy") == 5


def test_a_tokenized_stock_is_found_by_its_names_letter_for_letter():
    """As REST tells it when its class is asked for: two ids, one pair; no other spelling is taken for it."""
    row = (
        '{"altname":"AAPLxUSD","wsname":"AAPLx/USD","aclass_base":"tokenized_asset","base":"AAPLx","quote":"ZUSD",'
        '"pair_decimals":2,"lot_decimals":8}'
    )
    pairs = rest_replies.read_asset_pairs(
        200, f'{{"error":[],"result":{{"AAPLSPVUSD":{row},"AAPLxUSD":{row}}}}}'.encode()
    )

    assert {pairs.symbol(name) for name in ("AAPLSPVUSD", "AAPLxUSD", "AAPLx/USD")} == {"AAPLx/USD"}
    assert pairs.find("AAPLX/USD") is pairs.find("aaplx/usd") is None
    assert (pairs.all["AAPLx/USD"].asset_class, PAIRS.all["BTC/USD"].asset_class) == ("tokenized_asset", "currency")


def test_a_pair_of_a_strange_shape_costs_itself_only():
    text = (
        b'{"error":[],"result":{"A":{"altname":5},"B":'
        + json.dumps(json.loads(body("AssetPairs"))["result"]["XXBTZUSD"]).encode()
        + b"}}"
    )

    assert list(rest_replies.read_asset_pairs(200, text).all) == ["BTC/USD"]


def test_balances_have_v2_names_and_say_what_is_free():
    balances = {row.asset: row for row in read("read_balance_ex", "BalanceEx")}

    assert balances["LUNA"].free == Decimal("19984.00000000")
    assert {"BTC", "ETH", "USD", "ATOM.S"} <= balances.keys()
    assert {row.asset: row.balance for row in read("read_balance", "Balance_2026")} == {"USDT": Decimal("100")}


CAMEL = {
    "apiKeyName": "TestKey", "apiKey": "123", "nonce": "123", "nonceWindow": 15,
    "permissions": ["query-funds", "add-funds", "withdraw-funds"], "validUntil": "0", "ipAllowlist": [""],
}  # fmt: skip


@pytest.mark.parametrize(
    "text", [body("GetApiKeyInfo"), json.dumps({"error": [], "result": CAMEL}).encode()], ids=["snake", "camel"]
)
def test_a_keys_permissions_are_read_in_either_casing(text):
    info = rest_replies.read_api_key_info(200, text)

    assert {"query-funds", "add-funds", "withdraw-funds"} <= info.permissions
    assert (info.name, info.nonce, info.nonce_window, info.valid_until) == ("TestKey", 123, 15, 0)
    assert info.ip_allowlist == ()


def test_a_key_without_permissions_listed_is_not_read():
    assert isinstance(rest_replies.read_api_key_info(200, b'{"error":[],"result":{}}'), RestRefusal)


def test_a_token_does_not_show_itself():
    token = read("read_websockets_token", "GetWebSocketsToken")

    assert (token.token, token.expires_s) == ("QJFpl0/Kd0DaTbZnGE7L2agfYZS2k1aqgB7TD2btgww", 900)
    assert token.token not in f"{token!r} {token}"


def test_the_answers_to_orders():
    assert read("read_add_order", "AddOrder").order_ids == ("AKB9L1-XC5U3-CYCTO1",)
    assert [row.order_id for row in read("read_add_order_batch", "AddOrderBatch")] == [
        "OZICHZ-FGB63-156I4K", "BEGNMD-FEJKF-VC6U8Y"
    ]  # fmt: skip
    assert read("read_amend_order", "AmendOrder") == "TVB4ER-X5QP3-ADURMW"
    assert [read("read_cancel", name).count for name in ("CancelOrder", "CancelOrderBatch", "CancelAll")] == [1, 2, 4]
    switch = read("read_cancel_all_orders_after", "CancelAllOrdersAfter")
    assert switch.trigger_at - switch.current_at == 60_000_000_000


def test_a_validated_order_has_no_id():
    answer = order_replies.read_add_order(200, b'{"error":[],"result":{"descr":{"order":"buy 1 XBTUSD @ market"}}}')

    assert (answer.order_ids, answer.description) == ((), "buy 1 XBTUSD @ market")


def test_each_row_of_a_batch_speaks_for_itself():
    text = (
        b'{"error":[],"result":{"orders":[{"txid":"O1","descr":{"order":"x"}},'
        b'{"error":"EOrder:Insufficient funds"},{"descr":{"order":"x"}},{"txid":["O4"]}]}}'
    )
    rows = order_replies.read_add_order_batch(200, text)

    assert [(row.order_id, row.outcome) for row in rows] == [
        ("O1", None), (None, Outcome.NOT_PLACED), (None, Outcome.UNKNOWN), ("O4", None)
    ]  # fmt: skip


# --- no, and no answer


@pytest.mark.parametrize("line", (DATA / "rest_errors.jsonl").read_bytes().splitlines())
def test_a_captured_error_says_that_nothing_was_placed(line):
    answer = order_replies.read_add_order(200, line)

    assert isinstance(answer, RestRefusal)
    assert answer.outcome is Outcome.NOT_PLACED
    assert answer.error == json.loads(line)["error"][0]
    assert answer.error in answer.sentence


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (520, HTML),
        (502, b""),
        (503, b'{"error":[],"result":{}}'),
        (504, b"upstream timed out"),
        (408, b""),
        (200, HTML),
        (200, b""),
        (200, b"{}"),
        (200, b"null"),
        (200, b'{"error":[]}'),
        (200, b'{"error":null,"result":{}}'),
        (200, b'{"error":[],"result":{"txid":["O1"'),
        (200, b'{"error":[],"result":{"txid":5}}'),
        (200, b'{"error":[],"result":[]}'),
        (200, b"[" * 100_000),
        (200, b'{"error":["EService:Unavailable"]}'),
        (200, b'{"error":["EGeneral:Internal error"]}'),
        (200, b'{"error":["EOrder:Insufficient funds","EService:Busy"]}'),
        (520, b'{"error":["EService:Unavailable"]}'),
    ],
)
def test_what_is_no_clear_no_leaves_an_order_in_doubt(status, text):
    answer = order_replies.read_add_order(status, text)

    assert isinstance(answer, RestRefusal)
    assert answer.outcome is Outcome.UNKNOWN
    assert len(answer.error) < 300


@pytest.mark.parametrize("status", [301, 403, 404, 429])
def test_a_call_that_did_not_reach_kraken_changed_nothing(status):
    answer = order_replies.read_add_order(status, HTML)

    assert (answer.outcome, answer.meaning.kind) == (Outcome.NOT_PLACED, ErrorKind.TRANSPORT)


def test_a_warning_is_no_error():
    answer = order_replies.read_add_order(200, b'{"error":["WGeneral:Something"],"result":{"txid":["O1"]}}')

    assert answer.order_ids == ("O1",)


@given(st.integers(100, 599), st.binary() | st.sampled_from([body("AddOrder"), HTML, body("OpenOrders")]))
def test_nothing_that_can_be_received_raises(status, text):
    for name, function in READERS.items():
        assert repr(reader(function)(status, text, *([PAIRS] if function in WITH_PAIRS else []))), name


def test_a_page_for_browsers_is_told_by_its_title():
    """Not by its markup."""
    answer = order_replies.read_add_order(520, HTML)

    assert answer.error == "HTTP 520: api.kraken.com | 520: Web server is returning an unknown error"
