"""Genuine bodies of REST answers, and the functions that read them."""

from pathlib import Path

from engine.kraken.rest import order_replies
from engine.kraken.rest import replies as rest_replies

DATA = Path(__file__).parents[2] / "data" / "kraken" / "private"


def body(name):
    folder = "rest_public" if (DATA / "rest_public" / f"{name}.json").exists() else "rest_private"
    return (DATA / folder / f"{name}.json").read_bytes()


PAIRS = rest_replies.read_asset_pairs(200, body("AssetPairs"))


def reader(function):
    return getattr(rest_replies, function, None) or getattr(order_replies, function)


READERS = {
    "AddOrder": "read_add_order",
    "AddOrderBatch": "read_add_order_batch",
    "AmendOrder": "read_amend_order",
    "AssetPairs": "read_asset_pairs",
    "Balance": "read_balance",
    "BalanceEx": "read_balance_ex",
    "CancelAll": "read_cancel",
    "CancelAllOrdersAfter": "read_cancel_all_orders_after",
    "CancelOrder": "read_cancel",
    "CancelOrderBatch": "read_cancel",
    "ClosedOrders": "read_closed_orders",
    "GetApiKeyInfo": "read_api_key_info",
    "GetWebSocketsToken": "read_websockets_token",
    "OpenOrders": "read_open_orders",
    "QueryOrders": "read_query_orders",
    "QueryTrades": "read_query_trades",
    "SystemStatus": "read_system_status",
    "Time": "read_time",
}


WITH_PAIRS = {"read_closed_orders", "read_open_orders", "read_query_orders", "read_query_trades"}


FILES = [
    path.stem
    for folder in ("rest_private", "rest_public")
    for path in sorted((DATA / folder).glob("*.json"))
    if path.stem.partition("_")[0] in READERS
]
