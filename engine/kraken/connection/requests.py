"""The requests of every connection, as bytes.

Source: https://docs.kraken.com/api/docs/websocket-v2/subscribe
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

# Levels a side that the book channel offers; any other is refused.
BOOK_DEPTHS: Final = (10, 25, 100, 500, 1000)

_encode = msgspec.json.Encoder().encode


class SubscribeParams(Struct):
    """The parameters of (un)subscribe; `symbol` is an array here, and a string in the
    acknowledgement.
    """

    channel: str
    symbol: Sequence[str] | UnsetType = UNSET
    depth: int | UnsetType = UNSET
    interval: int | UnsetType = UNSET
    event_trigger: str | UnsetType = UNSET
    snapshot: bool | UnsetType = UNSET
    include_tokenized_assets: bool | UnsetType = UNSET
    """For the instrument channel: include stocks such as AAPLx/USD, which it omits by
    default.
    """


class Request(Struct):
    """{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10},
    "req_id":1}
    """

    method: str
    params: SubscribeParams | UnsetType = UNSET
    req_id: int | UnsetType = UNSET


def subscribe(params: SubscribeParams, req_id: int) -> bytes:
    """Subscribe to a channel of some pairs; Kraken acknowledges each pair separately."""
    return _encode(Request("subscribe", params, req_id))


def unsubscribe(params: SubscribeParams, req_id: int) -> bytes:
    """Unsubscribe a channel of some pairs; Kraken requires depth, interval and trigger
    again.
    """
    return _encode(Request("unsubscribe", params, req_id))


def ping(req_id: int) -> bytes:
    """An application ping, answered by a pong with the same req_id; `params` would be
    refused.
    """
    return _encode(Request("ping", req_id=req_id))
