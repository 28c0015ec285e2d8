"""Requests of the private channels: subscribe, unsubscribe. Trading requests are in
`order_requests`.

Source: https://docs.kraken.com/api/docs/websocket-v2/executions and …/balances
"""

from typing import Literal

from engine.kraken.connection.number_text import quoted

Channel = Literal["executions", "balances"]


def subscribe_executions(token: str, req_id: int) -> bytes:
    """Subscribe: a snapshot of open orders and of the last 50 fills, then every change with
    the rate counter."""
    return _request(
        "subscribe", "executions", '"snap_orders":true,"snap_trades":true,"ratecounter":true', token, req_id
    )


def subscribe_balances(token: str, req_id: int, *, snapshot: bool = True) -> bytes:
    """Subscribe: a snapshot of every asset (unless `snapshot` is false), then every ledger
    entry."""
    return _request("subscribe", "balances", f'"snapshot":{"true" if snapshot else "false"}', token, req_id)


def unsubscribe(channel: Channel, token: str, req_id: int) -> bytes:
    """Unsubscribe, which is the only way to a fresh snapshot on a live connection."""
    return _request("unsubscribe", channel, "", token, req_id)


def _request(method: str, channel: Channel, options: str, token: str, req_id: int) -> bytes:
    more = f",{options}" if options else ""
    return (
        f'{{"method":"{method}","params":{{"channel":"{channel}"{more},"token":{quoted(token)}}},"req_id":{req_id}}}'
    ).encode()
