"""The requests that we send, as bytes.

Source: https://docs.kraken.com/api/docs/websocket-v2/subscribe
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

BOOK_DEPTHS: Final = (10, 25, 100, 500, 1000)  # levels a side that the book channel offers; any other is refused

_encode = msgspec.json.Encoder().encode


class SubscribeParams(Struct):
    """`symbol` is an array in a request, though a string in its acknowledgement."""

    channel: str
    symbol: Sequence[str] | UnsetType = UNSET
    depth: int | UnsetType = UNSET
    interval: int | UnsetType = UNSET
    event_trigger: str | UnsetType = UNSET
    snapshot: bool | UnsetType = UNSET
    include_tokenized_assets: bool | UnsetType = UNSET
    """Of the instrument channel: tell of stocks such as AAPLx/USD too, which it leaves out by itself."""


class Request(Struct):
    """{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10},"req_id":1}"""

    method: str
    params: SubscribeParams | UnsetType = UNSET
    req_id: int | UnsetType = UNSET


def subscribe(params: SubscribeParams, req_id: int) -> bytes:
    """Ask for a channel of some pairs; each is acknowledged on its own."""
    return _encode(Request("subscribe", params, req_id))


def unsubscribe(params: SubscribeParams, req_id: int) -> bytes:
    """Give a channel of some pairs back; depth and interval are repeated, as Kraken asks."""
    return _encode(Request("unsubscribe", params, req_id))


def ping(req_id: int) -> bytes:
    """An application ping: answered by a pong with the same req_id; `params` would be refused."""
    return _encode(Request("ping", req_id=req_id))
