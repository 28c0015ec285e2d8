"""Encodes the private WebSocket's frames: replies to trading requests, executions and
balances.

Keys of replies are alphabetical; rows come from `executions`.
"""

from collections.abc import Iterable
from time import gmtime, strftime
from typing import Any, Final

import msgspec

from engine.units import NS_PER_S, WallNs
from engine.venue.wire.text import utc_us

# The literal text in the acknowledgment of a subscription to executions.
EXECUTIONS_WARNINGS: Final = [
    "cancel_reason is deprecated, use reason",
    "stop_price is deprecated, use triggers.price",
    "trigger is deprecated use triggers.reference",
    "triggered_price is deprecated use triggers.last_price",
]

_json = msgspec.json.Encoder().encode


def answer_text(method: str, req_id: int | None, result: Any, time_in: WallNs, time_out: WallNs) -> str:
    """`{"method":"add_order","req_id":1,"result":{…},"success":true,"time_in":…,
    "time_out":…}`
    """
    number = "" if req_id is None else f'"req_id":{req_id},'
    return (
        f'{{"method":"{method}",{number}"result":{_json(result).decode()},"success":true,'
        f'"time_in":"{utc_us(time_in)}","time_out":"{utc_us(time_out)}"}}'
    )


def orders_cancelled_text(req_id: int | None, count: int, time_in: WallNs, time_out: WallNs) -> str:
    """The reply to `batch_cancel` as the wire has it (2024, 2026): the count, and no
    result.
    """
    number = "" if req_id is None else f'"req_id":{req_id},'
    return (
        f'{{"method":"batch_cancel","orders_cancelled":{count},{number}"success":true,'
        f'"time_in":"{utc_us(time_in)}","time_out":"{utc_us(time_out)}"}}'
    )


def session_refusal_text(channel: str, error: str, req_id: int | None, time_in: WallNs, time_out: WallNs) -> str:
    """The refusal of a subscription whose token is invalid, the only one with its channel
    and a `status` (wire, 2026).
    """
    number = "" if req_id is None else f'"req_id":{req_id},'
    return (
        f'{{"channel":"{channel}","error":"{error}","method":"subscribe",{number}"status":"error","success":false,'
        f'"time_in":"{utc_us(time_in)}","time_out":"{utc_us(time_out)}"}}'
    )


def whole_second(at: WallNs) -> str:
    """`2024-05-19T19:22:20Z`, rounded to the nearest second, as the dead man's switch has
    it.
    """
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime((at + NS_PER_S // 2) // NS_PER_S))


def rows_text(channel: str, kind: str, rows: Iterable[str], sequence: int) -> str:
    """One frame of executions or balances."""
    return f'{{"channel":"{channel}","type":"{kind}","data":[{",".join(rows)}],"sequence":{sequence}}}'
