"""Trading requests as bytes: what documents and clients send can be said, and nothing is ever rounded."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.kraken.connection.number_text import quoted
from engine.kraken.private import requests as private_requests
from engine.kraken.trading import order_requests
from engine.kraken.trading.order_requests import BatchRow, LimitOrderText, PortableLimitOrderText
from engine.orders.intent import Amendment, Conditional, OrderIntent, Trigger
from engine.units import DIGITS_MAX, NS_PER_S, UNITS_MAX, decimal_units

DATA = Path(__file__).parents[2] / "data" / "kraken" / "private"
DECIMALS = 10  # enough for every number of the documents
DEADLINE = 1_721_555_639_050_999_999
DEADLINE_TEXT = "2024-07-21T09:53:59.050Z"
TOKEN = "G38a1tGFzqGiUCmnegBcm8d4nfP3tytiNQz6tkCBYXY"


def exact(frame):
    """The request with every number as an exact Decimal, or as text where it is not a plain number."""
    return json.loads(frame, parse_float=_plain, parse_int=_plain)


def _plain(text):
    assert "e" not in text.lower(), f"{text} has an exponent"
    return Decimal(text)


def units(number):
    return None if number is None else decimal_units(number, DECIMALS)


# --- documents and clients as judges


def asked(method):
    lines = (DATA / "ws_requests.jsonl").read_text().splitlines()
    return [request for request in map(exact, lines) if request["method"] == method]


def intent_of(params, symbol):
    """The intent that a documented order stands for."""
    conditional, triggers = params.get("conditional"), params.get("triggers")
    return OrderIntent(
        symbol=symbol,
        side=params["side"],
        order_type=params["order_type"],
        price_decimals=DECIMALS,
        qty_decimals=DECIMALS,
        qty=units(params["order_qty"]),
        limit_price=units(params.get("limit_price")),
        time_in_force=params.get("time_in_force", "gtc"),
        post_only=params.get("post_only", False),
        fee_preference=params.get("fee_preference"),
        stp_type=params.get("stp_type"),
        trigger=Trigger(triggers["price"], triggers["price_type"], triggers["reference"]) if triggers else None,
        conditional=Conditional(**conditional) if conditional else None,
    )


def ids_of(params):
    """A documented order without any identifier gets a userref: ours always have one."""
    if "cl_ord_id" in params:
        return {"cl_ord_id": params["cl_ord_id"]}
    return {"order_userref": int(params.get("order_userref", 5))}


def said(params, ours):
    """Our parameters, less what we always add, to compare with the documented ones less what is their default."""
    theirs = {k: v for k, v in params.items() if v is not False}
    always = {"deadline", "token", "order_userref", "cl_ord_id"} - theirs.keys()
    return {k: v for k, v in ours.items() if k not in always}, theirs


@pytest.mark.parametrize("request_", asked("add_order"), ids=lambda r: r["params"]["order_type"])
def test_every_documented_add_order_can_be_said(request_):
    params = request_["params"]
    frame = order_requests.add_order(
        intent_of(params, params["symbol"]),
        **ids_of(params),
        deadline=DEADLINE,
        token=params.get("token", ""),
        req_id=1,
        sender_sub_id=params.get("sender_sub_id"),
    )
    ours, theirs = said(params, exact(frame)["params"])

    assert ours == theirs


@pytest.mark.parametrize("request_", asked("amend_order"))
def test_every_documented_amend_order_can_be_said(request_):
    params = request_["params"]
    amendment = Amendment(
        price_decimals=DECIMALS,
        qty_decimals=DECIMALS,
        qty=units(params.get("order_qty")),
        limit_price=units(params.get("limit_price")),
        post_only=params.get("post_only", False),
    )
    ids = {name: params[name] for name in ("order_id", "cl_ord_id") if name in params}
    frame = order_requests.amend_order(amendment, **ids, deadline=DEADLINE, token=params["token"], req_id=1)
    ours, theirs = said(params, exact(frame)["params"])

    assert ours == theirs


@pytest.mark.parametrize("request_", asked("cancel_order"))
def test_every_documented_cancel_order_can_be_said_one_order_at_a_time(request_):
    params = dict(request_["params"])
    token = params.pop("token", "")
    ((name, wanted),) = params.items()
    frames = [order_requests.cancel_order(**{name: one}, token=token, req_id=1) for one in wanted]

    assert [exact(frame)["params"] for frame in frames] == [{name: [one], "token": token} for one in wanted]


@pytest.mark.parametrize("request_", asked("batch_add"))
def test_every_documented_batch_add_can_be_said(request_):
    params = request_["params"]
    rows = [BatchRow(intent_of(order, params["symbol"]), **ids_of(order)) for order in params["orders"]]
    frame = order_requests.batch_add(rows, deadline=DEADLINE, token=params["token"], req_id=1)
    ours = exact(frame)["params"]

    assert (ours["symbol"], ours["deadline"]) == (params["symbol"], DEADLINE_TEXT)
    for mine, theirs in zip(ours["orders"], params["orders"], strict=True):
        left, right = said(theirs, mine)
        assert left == right


@pytest.mark.parametrize("request_", [*asked("batch_cancel"), *asked("cancel_all"), *asked("cancel_all_orders_after")])
def test_every_other_documented_request_can_be_said(request_):
    params, method = request_["params"], request_["method"]
    if method == "batch_cancel":
        frame = order_requests.batch_cancel(order_ids=params["orders"], token=params["token"], req_id=1)
    elif method == "cancel_all":
        frame = order_requests.cancel_all(token=params["token"], req_id=1)
    else:
        frame = order_requests.cancel_all_orders_after(int(params["timeout"]), token=params["token"], req_id=1)

    assert exact(frame) == {"method": method, "params": params, "req_id": 1}


def test_the_documented_subscriptions_are_ours_and_the_rate_counter():
    executions = exact(private_requests.subscribe_executions(TOKEN, 1))["params"]
    balances = exact(private_requests.subscribe_balances(TOKEN, 1))["params"]
    theirs = [request["params"] for request in asked("subscribe")]

    assert {**theirs[0], "ratecounter": True} == executions
    assert {**theirs[1], "snapshot": True} == balances
    assert exact(private_requests.unsubscribe("executions", TOKEN, 1))["params"] == asked("unsubscribe")[0]["params"]


# --- exactness

words = st.text(max_size=20)
amounts = st.integers(0, 10**20)
decimals = st.integers(0, 12)
prices = st.decimals(-(10**12), 10**12, places=8)
maybe = st.none
intents = st.builds(
    OrderIntent,
    symbol=words,
    side=st.sampled_from(["buy", "sell"]),
    order_type=words,
    price_decimals=decimals,
    qty_decimals=decimals,
    qty=amounts,
    limit_price=maybe() | amounts,
    trigger=maybe() | st.builds(Trigger, prices, words, words),
    time_in_force=st.sampled_from(["gtc", "gtd", "ioc", "fok"]),
    expire_at=maybe() | st.integers(0, 4 * 10**18),
    effective_at=maybe() | st.integers(0, 4 * 10**18),
    post_only=st.booleans(),
    reduce_only=st.booleans(),
    margin=st.booleans(),
    display_qty=maybe() | amounts,
    fee_preference=maybe() | words,
    stp_type=maybe() | words,
    cash_qty=maybe() | prices,
    validate=st.booleans(),
)


@given(intents, words, words)
def test_what_is_sent_is_what_was_meant(intent, cl_ord_id, token):
    """Read back by another JSON parser, every number is exactly the intent's, and every text is itself."""
    frame = order_requests.add_order(intent, cl_ord_id=cl_ord_id, deadline=DEADLINE, token=token, req_id=77)
    request = exact(frame)
    params = request["params"]

    assert (request["method"], request["req_id"]) == ("add_order", 77)
    assert (params["symbol"], params["side"], params["order_type"]) == (intent.symbol, intent.side, intent.order_type)
    assert (params["cl_ord_id"], params["token"]) == (cl_ord_id, token)
    if intent.cash_qty is None:
        assert params["order_qty"] == Decimal(intent.qty).scaleb(-intent.qty_decimals)
    else:
        assert (params["cash_order_qty"], "order_qty" in params) == (intent.cash_qty, False)
    wanted = {
        "limit_price": None
        if intent.limit_price is None
        else Decimal(intent.limit_price).scaleb(-intent.price_decimals),
        "display_qty": None if intent.display_qty is None else Decimal(intent.display_qty).scaleb(-intent.qty_decimals),
        "fee_preference": intent.fee_preference,
        "stp_type": intent.stp_type,
        "post_only": intent.post_only or None,
        "reduce_only": intent.reduce_only or None,
        "margin": intent.margin or None,
        "validate": intent.validate or None,
        "time_in_force": intent.time_in_force if intent.time_in_force != "gtc" else None,
    }
    assert {name: params.get(name) for name in wanted} == wanted
    if intent.trigger is not None:
        trigger = intent.trigger
        assert params["triggers"] == {
            "price": trigger.price, "price_type": trigger.price_type, "reference": trigger.reference
        }  # fmt: skip


@given(st.builds(Amendment, price_decimals=decimals, qty_decimals=decimals, qty=maybe() | amounts,
                 limit_price=maybe() | amounts, trigger_price=maybe() | prices, display_qty=maybe() | amounts,
                 post_only=st.booleans()))  # fmt: skip
def test_an_amend_says_what_was_meant(amendment):
    frame = order_requests.amend_order(
        amendment, cl_ord_id="one", trigger_price_type="pct", deadline=DEADLINE, token=TOKEN, req_id=1
    )
    params = exact(frame)["params"]
    wanted = {"cl_ord_id": "one", "deadline": DEADLINE_TEXT, "token": TOKEN}
    if amendment.qty is not None:
        wanted["order_qty"] = Decimal(amendment.qty).scaleb(-amendment.qty_decimals)
    if amendment.limit_price is not None:
        wanted["limit_price"] = Decimal(amendment.limit_price).scaleb(-amendment.price_decimals)
    if amendment.trigger_price is not None:
        wanted |= {"trigger_price": amendment.trigger_price, "trigger_price_type": "pct"}
    if amendment.display_qty is not None:
        wanted["display_qty"] = Decimal(amendment.display_qty).scaleb(-amendment.qty_decimals)
    if amendment.post_only:
        wanted["post_only"] = True

    assert params == wanted


LIMIT = OrderIntent(
    symbol="BTC/USD", side="buy", order_type="limit", price_decimals=1, qty_decimals=8, qty=100_000, limit_price=650_001
)


def test_the_bytes_of_a_plain_limit_order():
    frame = order_requests.add_order(LIMIT, cl_ord_id="quoter0k1a00000a", deadline=DEADLINE, token="t", req_id=9)

    assert frame == (
        b'{"method":"add_order","params":{"order_type":"limit","side":"buy","order_qty":0.00100000,'
        b'"limit_price":65000.1,"cl_ord_id":"quoter0k1a00000a","symbol":"BTC/USD",'
        b'"deadline":"2024-07-21T09:53:59.050Z","token":"t"},"req_id":9}'
    )


def test_whole_numbers_have_a_decimal_point_too():
    """Kraken asks for a number_float; only the form with a point is proven."""
    whole = msgspec.structs.replace(LIMIT, price_decimals=0, qty_decimals=0)
    frame = order_requests.add_order(whole, cl_ord_id="x", deadline=DEADLINE, token="t", req_id=9)

    assert b'"order_qty":100000.0,"limit_price":650001.0' in frame


@pytest.mark.parametrize("text", ["1E+3", "1e-9", "0E-10", "-2.0", "12345678901234567890.123456789"])
def test_no_decimal_becomes_an_exponent(text):
    intent = OrderIntent(
        symbol="A/B",
        side="sell",
        order_type="stop-loss",
        price_decimals=1,
        qty_decimals=8,
        qty=1,
        trigger=Trigger(Decimal(text), "pct", "index"),
    )
    frame = order_requests.add_order(intent, cl_ord_id="x", deadline=DEADLINE, token="t", req_id=9)

    assert exact(frame)["params"]["triggers"]["price"] == Decimal(text)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999999", "1e-999999"])
def test_an_absurd_number_is_never_sent(text):
    intent = OrderIntent(
        symbol="A/B", side="buy", order_type="market", price_decimals=1, qty_decimals=8, qty=0, cash_qty=Decimal(text)
    )
    with pytest.raises(MisuseError):
        order_requests.add_order(intent, cl_ord_id="x", deadline=DEADLINE, token="t", req_id=9)


def test_a_conditional_close_is_flat_and_goes_with_a_userref_only():
    """Kraken refuses it together with a client order id."""
    close = Conditional("stop-loss-limit", Decimal("28400"), None, Decimal("-5"), "pct")
    intent = OrderIntent(
        symbol="BTC/USD",
        side="buy",
        order_type="limit",
        price_decimals=1,
        qty_decimals=8,
        qty=1,
        limit_price=1,
        conditional=close,
    )
    frame = order_requests.add_order(intent, order_userref=-7, deadline=DEADLINE, token="t", req_id=9)
    params = exact(frame)["params"]

    assert params["order_userref"] == -7
    assert params["conditional"] == {
        "order_type": "stop-loss-limit",
        "limit_price": 28400,
        "trigger_price": -5,
        "trigger_price_type": "pct",
    }
    with pytest.raises(MisuseError):
        order_requests.add_order(intent, cl_ord_id="x", deadline=DEADLINE, token="t", req_id=9)


def test_a_trailing_stop_limit_has_its_offset_where_others_have_their_limit():
    intent = OrderIntent(
        symbol="A/B", side="sell", order_type="trailing-stop-limit", price_decimals=1, qty_decimals=8, qty=1,
        limit_offset=Decimal("-1.5"), limit_price_type="pct", trigger=Trigger(Decimal(2), "pct"),
    )  # fmt: skip
    params = exact(
        order_requests.add_order(intent, cl_ord_id="x", deadline=DEADLINE, token="t", req_id=9)
    )["params"]  # fmt: skip

    assert (params["limit_price"], params["limit_price_type"]) == (Decimal("-1.5"), "pct")


def test_times_are_rounded_down_to_what_kraken_reads():
    intent = OrderIntent(
        symbol="A/B", side="buy", order_type="limit", price_decimals=1, qty_decimals=8, qty=1, limit_price=1,
        time_in_force="gtd",
        expire_at=DEADLINE, effective_at=DEADLINE - NS_PER_S,
    )  # fmt: skip
    params = exact(
        order_requests.add_order(intent, cl_ord_id="x", deadline=DEADLINE, token="t", req_id=9)
    )["params"]  # fmt: skip

    assert params["deadline"] == "2024-07-21T09:53:59.050Z"
    assert params["expire_time"] == "2024-07-21T09:53:59Z"
    assert params["effective_time"] == "2024-07-21T09:53:58Z"


@pytest.mark.parametrize("ids", [{}, {"cl_ord_id": "x", "order_userref": 1}])
def test_an_order_has_exactly_one_identifier(ids):
    with pytest.raises(MisuseError):
        order_requests.add_order(LIMIT, **ids, deadline=DEADLINE, token="t", req_id=9)


@pytest.mark.parametrize("ids", [{}, {"cl_ord_id": "x", "order_id": "y"}, {"order_id": "y", "order_userref": 1}])
def test_a_cancel_names_one_order_in_one_way(ids):
    """A failure carries no identifier: only one order a request can be told apart."""
    with pytest.raises(MisuseError):
        order_requests.cancel_order(**ids, token="t", req_id=9)


@pytest.mark.parametrize("count", [0, 1, 16])
def test_a_batch_has_two_to_fifteen_orders(count):
    with pytest.raises(MisuseError):
        order_requests.batch_add([BatchRow(LIMIT, "x")] * count, deadline=DEADLINE, token="t", req_id=9)


def test_a_batch_is_of_one_pair():
    other = OrderIntent(
        symbol="ETH/USD", side="buy", order_type="limit", price_decimals=1, qty_decimals=8, qty=1, limit_price=1
    )
    with pytest.raises(MisuseError, match="BTC/USD, ETH/USD"):
        order_requests.batch_add([BatchRow(LIMIT, "x"), BatchRow(other, "y")], deadline=DEADLINE, token="t",
                                 req_id=9)  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 51])
def test_a_batch_cancels_two_to_fifty_orders(count):
    with pytest.raises(MisuseError):
        order_requests.batch_cancel(cl_ord_ids=["x"] * count, token="t", req_id=9)


@pytest.mark.parametrize("timeout_s", [-1, 86_400])
def test_a_dead_mans_switch_is_shorter_than_a_day(timeout_s):
    with pytest.raises(MisuseError):
        order_requests.cancel_all_orders_after(timeout_s, token="t", req_id=9)


def test_a_userref_is_a_32_bit_integer():
    with pytest.raises(MisuseError):
        order_requests.add_order(LIMIT, order_userref=2**31, deadline=DEADLINE, token="t", req_id=9)


# --- limit orders, prepared


@given(
    symbol=st.one_of(st.sampled_from(["BTC/USD", "1%D/€", 'A"B/USD', "%%d%b"]), st.text(max_size=12)),
    side=st.sampled_from(["buy", "sell"]),
    decimals=st.tuples(st.integers(0, DIGITS_MAX), st.integers(0, DIGITS_MAX)),
    time_in_force=st.sampled_from(["gtc", "ioc"]),
    post_only=st.booleans(),
    orders=st.lists(
        st.tuples(
            st.one_of(st.sampled_from([1, 10**12, UNITS_MAX]), st.integers(1, UNITS_MAX)),
            st.one_of(st.sampled_from([1, 10**12, UNITS_MAX]), st.integers(1, UNITS_MAX)),
            st.integers(0, 2**63),
            st.text("ab9", min_size=18, max_size=18),
        ),
        min_size=1,
        max_size=4,
    ),
)
@pytest.mark.parametrize(
    "text", dict.fromkeys((PortableLimitOrderText, LimitOrderText)), ids=lambda text: text.__module__
)
def test_a_prepared_limit_order_is_the_text_of_add_order(
    text, symbol, side, decimals, time_in_force, post_only, orders
):
    """Byte for byte, order after order, whatever differs between them: in plain Python and compiled."""
    price_decimals, qty_decimals = decimals
    prepared = text(symbol, side, price_decimals, qty_decimals, time_in_force, post_only=post_only)
    for number, (ticks, lots, deadline, key) in enumerate(orders):
        intent = OrderIntent(
            symbol=symbol, side=side, order_type="limit", price_decimals=price_decimals, qty_decimals=qty_decimals,
            qty=lots, limit_price=ticks, time_in_force=time_in_force, post_only=post_only,
        )  # fmt: skip
        written = prepared.write(ticks, lots, key.encode(), deadline, quoted(TOKEN).encode(), number)

        assert written == order_requests.add_order(
            intent, cl_ord_id=key, deadline=deadline, token=TOKEN, req_id=number
        )  # fmt: skip
