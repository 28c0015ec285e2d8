"""The private WebSocket's messages beside the genuine ones: keys and their order, padding,
texts.
"""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from engine.venue.trading.client_order import Triggers
from engine.venue.trading.executions import balance_row, snapshot_trade_row
from engine.venue.websocket.private_requests import TradingRequest, parse_private_request
from engine.venue.websocket.requests import Refusal
from engine.venue.wire.text import error_text
from tests.venue.trading_rig import Floor


@pytest.fixture(scope="module")
def private(genuine: Path) -> Path:
    return genuine / "private"


def messages(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows_of(private: Path, *names: str) -> list[tuple[str, dict[str, object], str]]:
    """(file, row, text of the row) of every genuine executions row of these files."""
    rows = []
    for name in names:
        for line in (private / name).read_text().splitlines():
            rows += [(name, row, line) for row in json.loads(line)["data"]]
    return rows


def padding(text: str, key: str) -> int | None:
    """Decimals of a number as it is written."""
    match = re.search(rf'"{key}":-?\d+(?:\.(\d+))?', text)
    return None if match is None else len(match[1] or "")


LIVE = ("executions_lifecycle_limit_amend_cancel.jsonl", "executions_lifecycle_postonly_cancel.jsonl")
ALL = (
    *LIVE,
    "executions_lifecycle_market_fill.jsonl",
    "executions_lifecycle_limit_cancel_2026.jsonl",
    "executions_lifecycle_limit_taker_fill_doc.jsonl",
    "executions_singles.jsonl",
)


def our_rows() -> dict[tuple[str, bool, bool], str]:
    """Our rows of the same lives, by (exec_type, with cl_ord_id, post-only)."""
    floor = Floor()
    for more in ({"cl_ord_id": "b17c7bb34d000200"}, {"post_only": True}, {}):
        order = floor.add(**more)
        floor.amend(order, limit_price=floor.price("buy", 4_000))
        floor.cancel(order)
        if "post_only" not in more:
            floor.add("market", **more)
    floor.add(
        "stop-loss-limit", "buy", limit_price=floor.price("sell", 600), triggers=Triggers(floor.price("sell", 500))
    )
    ours = {}
    for text in floor.texts:
        row = json.loads(text)
        key = (row["exec_type"], "cl_ord_id" in row, "post_only" in row)
        ours.setdefault(key if row.get("order_type") != "stop-loss-limit" else ("stop-loss-limit", False, False), text)
    return ours


def test_every_kind_of_row_has_the_genuine_keys_in_their_order(private):
    """Clients read rows by exec_type: what a genuine one holds, ours holds, and nothing
    else.
    """
    ours = our_rows()
    compared = 0
    for name, row, _ in rows_of(private, *ALL):
        kind = "stop-loss-limit" if row.get("order_type") == "stop-loss-limit" else row["exec_type"]
        own = json.loads(ours[kind, "cl_ord_id" in row, "post_only" in row])
        genuine_keys, own_keys = list(row), list(own)
        if "2023" in str(row["timestamp"]):  # the documentation's example puts the userref elsewhere
            genuine_keys, own_keys = sorted(genuine_keys), sorted(own_keys)
        if kind == "new" and row.get("post_only"):
            assert set(genuine_keys) == set(own_keys), name
        else:
            assert genuine_keys == own_keys, (name, kind)
        compared += 1

    assert compared >= 17


def test_numbers_are_padded_as_on_the_wire(private):
    """Prices, quantities and costs of BTC pairs: the decimals of the live captures."""
    ours = our_rows()
    compared = 0
    for name, row, line in rows_of(private, *LIVE):
        own = ours[row["exec_type"], "cl_ord_id" in row, "post_only" in row]
        for key in ("order_qty", "cum_cost", "cum_qty", "limit_price", "stop_price", "avg_price"):
            if key in row:
                assert padding(line, key) == padding(own, key), (name, key)
                compared += 1
        if "2025" in row["timestamp"] and "fee_usd_equiv" in row:
            assert padding(line, "fee_usd_equiv") == padding(own, "fee_usd_equiv")

    assert compared >= 15


def test_fixed_words_of_the_rows_are_the_genuine_ones(private):
    """Reasons, statuses and flags, letter by letter."""
    ours = our_rows()
    words = (
        "order_status",
        "exec_type",
        "reason",
        "cancel_reason",
        "limit_price_type",
        "time_in_force",
        "fee_ccy_pref",
    )
    for name, row, _ in rows_of(private, *ALL):
        if row.get("order_type") == "stop-loss-limit":
            continue
        own = json.loads(ours[row["exec_type"], "cl_ord_id" in row, "post_only" in row])
        for word in words:
            assert row.get(word) == own.get(word), (name, word)


def test_fills_of_the_snapshot_have_the_genuine_keys(private):
    """Neither sums nor averages: what Kraken repeats of old fills is short."""
    floor = Floor()
    floor.add("market")
    own = json.loads(snapshot_trade_row(next(iter(floor.account.executions.values()))))
    optional = {"sender_sub_id", "margin", "margin_borrow", "liquidated"}
    for _, row, _ in rows_of(private, "executions_snapshots.jsonl"):
        assert [key for key in row if key not in optional] == list(own)


def test_balances_have_the_genuine_keys_and_padding(private):
    """A snapshot row of 2026 and both legs of a trade."""
    floor = Floor()
    floor.add("market")
    snapshot = messages(private / "balances.jsonl")[4]["data"][0]
    legs = [row for message in messages(private / "balances.jsonl") for row in message["data"] if "ledger_id" in row]

    assert list(snapshot) == list(json.loads(balance_row("BTC", Decimal(1))))
    for leg in legs:
        assert list(leg) == list(floor.moved[0])
    assert balance_row("USD", Decimal("80595.4943")).endswith('"balance":80595.4943}')
    assert '"balance":1.2000000000}' in balance_row("BTC", Decimal("1.2"))


def test_a_fee_is_rounded_as_the_genuine_ones():
    """12.70744 × 0.4 % = 0.05083; 132.9995 × 0.26 % = 0.3458 at four decimals; 180.31654 ×
    0.38 % = 0.685203.
    """
    from engine.venue.trading.fees import fee_units

    assert fee_units(1_270_744, 4000) == 5_083
    assert fee_units(1_329_995, 2600) == 3_458
    assert fee_units(180_316_540, 3800) == 685_203


def test_requests_of_the_pages_are_understood(private):
    """Every trading example of Kraken's pages and of published clients passes the front
    end's typing checks.
    """
    refused = []
    for request in messages(private / "ws_requests.jsonl"):
        parsed = parse_private_request(json.dumps(request).encode())
        if isinstance(parsed, Refusal):
            refused.append((request["method"], parsed.error))

    # Two examples of the page on client order ids come without their token.
    assert refused == [("add_order", "Token(s) not found"), ("cancel_order", "Token(s) not found")]


REFUSED = {
    "Malformed request": b"{",
    "Unsupported field: 'channel' for the given msg type: subscribe": (
        b'{"method":"subscribe","channel":"book","symbol":"ETH/USDC","params":{"channel":"executions","token":"t"}}'
    ),
    "Unsupported field: 'params' for the given msg type: ping": b'{"method":"ping","params":{},"req_id":0}',
    "Unsupported event": b'{"method":"subscribe","params":{"channel":"weather","token":"t"},"req_id":0}',
    "Cash_order_qty field must be a number_float": (
        b'{"method":"add_order","params":{"cash_order_qty":"10","order_type":"market","token":"t"},"req_id":7}'
    ),
    "Token(s) not found": b'{"method":"edit_order","params":{"order_id":"O","symbol":"BTC/USD"},"req_id":0}',
    "Limit_price field must be a number_float": (
        b'{"method":"amend_order","params":{"order_id":"O","limit_price":"0.96","token":"t"},"req_id":0}'
    ),
}


def test_front_end_refusals_are_genuine_letter_by_letter(private):
    """The whole reply, but for its times, is that of the captures."""
    captured = {message["error"]: message for message in messages(private / "ws_errors.jsonl")}
    for error, request in REFUSED.items():
        refusal = parse_private_request(request)
        assert isinstance(refusal, Refusal)
        own = json.loads(error_text(refusal.error, refusal.method, refusal.req_id, refusal.symbol, 0, 0))
        own["time_in"], own["time_out"] = captured[error]["time_in"], captured[error]["time_out"]
        assert captured[error] == own


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ('"leverage":2', "Unsupported field: 'leverage' for the given msg type: add_order"),
        ('"post_only":"true"', "Post_only field must be a boolean"),
        ('"order_userref":"1"', "Order_userref field must be a number_integer"),
        ('"order_type":"stop"', "EGeneral:Invalid arguments:order_type"),
        ('"triggers":{"price":"1"}', "Price field must be a number_float"),
        ('"triggers":{"peak":1}', "Unsupported field: 'peak' for the given msg type: triggers"),
        ('"order_type":"limit","side":"buy","order_qty":1', "Symbol(s) not found"),
        ('"order_type":"limit","side":"buy","symbol":"BTC/USD","order_qty":1', "Limit_price(s) not found"),
        ('"order_type":"stop-loss","side":"buy","symbol":"BTC/USD","order_qty":1', "Triggers(s) not found"),
        ('"deadline":"tomorrow"', "EGeneral:Invalid arguments:deadline"),
        ('"order_qty":1e999999999', "Malformed request"),
        ('"order_qty":-1e999', "Malformed request"),
    ],
)
def test_wrong_types_and_missing_keys_are_named(params, error):
    """The front end's grammar: the key with a capital, and what it must be."""
    refusal = parse_private_request(f'{{"method":"add_order","params":{{{params},"token":"t"}}}}'.encode())

    assert isinstance(refusal, Refusal)
    assert refusal.error == error


def test_numbers_are_read_exactly():
    """Any digits that the client writes, integers included; a float would have lost some."""
    request = parse_private_request(
        b'{"method":"add_order","params":{"order_type":"limit","side":"buy","symbol":"BTC/USD","token":"t",'
        b'"order_qty":123456789.12345678,"limit_price":490795,"deadline":"2026-07-21T09:53:59.050Z"}}'
    )

    assert isinstance(request, TradingRequest)
    assert request.orders[0].order_qty == Decimal("123456789.12345678")
    assert request.orders[0].limit_price == 490795
    assert request.deadline == 1784627639050000000
