"""Kraken's private messages as typed Structs: their names, and the fields that we use.

Every field of a row may be missing, for each kind of execution has its own set: only the ids are nearly always
there. Numbers are Decimals read from their text, so `0.00010000` keeps its zeros. Unknown fields are ignored.

Sources: https://docs.kraken.com/api/docs/websocket-v2/executions and …/balances, corrected by what the wire shows.
"""

from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

# --- executions


class FeeRow(Struct, gc=False):
    """{"asset":"USD","qty":0.3458}"""

    asset: str
    qty: Decimal


class TriggersRow(Struct, gc=False):
    """{"price":0.2,"price_type":"static","reference":"index","status":"untriggered"}"""

    price: Decimal | None = None
    price_type: str | None = None
    reference: str | None = None
    status: str | None = None
    actual_price: Decimal | None = None
    peak_price: Decimal | None = None
    last_price: Decimal | None = None
    timestamp: str | None = None


class ExecutionRow(Struct, gc=False):
    """{"timestamp":"2026-09-10T21:32:35.921979Z","order_status":"filled","exec_type":"filled",
    "cum_qty":1.80406743,"cum_cost":180.31654,"fee_usd_equiv":0,"avg_price":99.95,
    "cl_ord_id":"GRID-BO-DVe742G3Eq","order_id":"OJUFYI-6DJSE-BNXAKJ"}

    A terminal row has no symbol, side or last_*; a trade row's `order_status` says nothing about completion.
    """

    exec_type: str
    order_id: str
    cl_ord_id: str | None = None
    order_userref: int | None = None
    order_status: str = ""
    symbol: str | None = None
    side: str | None = None
    order_type: str | None = None
    order_qty: Decimal | None = None
    cash_order_qty: Decimal | None = None
    display_qty: Decimal | None = None
    display_qty_remain: Decimal | None = None
    limit_price: Decimal | None = None
    limit_price_type: str | None = None
    time_in_force: str | None = None
    effective_time: str | None = None
    expire_time: str | None = None
    post_only: bool | None = None
    reduce_only: bool | None = None
    margin: bool | None = None
    cum_qty: Decimal | None = None
    cum_cost: Decimal | None = None
    avg_price: Decimal | None = None
    exec_id: str | None = None
    trade_id: int | None = None
    last_qty: Decimal | None = None
    last_price: Decimal | None = None
    cost: Decimal | None = None
    liquidity_ind: str | None = None
    fees: list[FeeRow] | None = None
    fee_ccy_pref: str | None = None
    reason: str | None = None
    cancel_reason: str | None = None
    triggers: TriggersRow | None = None
    ord_ref_id: str | None = None
    amended: bool | None = None
    # The account's counter of the pair. No document of v2 names the field; these are the names clients read.
    rate_count: Decimal | None = None
    ratecount: Decimal | None = None
    user: str | None = None
    timestamp: str = ""


class ExecutionsMessage(Struct, gc=False):
    """{"channel":"executions","type":"update","data":[…],"sequence":8}"""

    data: list[ExecutionRow]
    type: str = "update"
    sequence: int | None = None


# --- balances


class WalletRow(Struct, gc=False):
    """{"type":"spot","id":"main","balance":1.2}"""

    type: str = ""
    id: str = ""
    balance: Decimal = Decimal(0)


class BalanceRow(Struct, gc=False):
    """A snapshot's {"asset":"BTC","asset_class":"currency","balance":1.2,"wallets":[…]}

    or an update, one leg of a ledger entry: {"ledger_id":"A5KS77-LQRMP-SMMN4B","ref_id":"AGBB7L-HT5LX-J3BB4A",
    "timestamp":"2023-09-22T10:33:05.710082Z","type":"trade","asset":"USD","asset_class":"currency",
    "category":"trade","wallet_type":"spot","wallet_id":"main","amount":132.9995,"fee":0.3458,"balance":500}
    """

    asset: str
    balance: Decimal
    wallets: list[WalletRow] | None = None
    ledger_id: str | None = None
    ref_id: str | None = None
    type: str | None = None
    subtype: str | None = None
    category: str | None = None
    wallet_type: str | None = None
    wallet_id: str | None = None
    amount: Decimal | None = None
    fee: Decimal | None = None
    timestamp: str = ""


class BalancesMessage(Struct, gc=False):
    """{"channel":"balances","type":"update","data":[…],"sequence":9}"""

    data: list[BalanceRow]
    type: str = "update"
    sequence: int | None = None


# --- acknowledgements of subscriptions


class ChannelResult(Struct, gc=False):
    """{"channel":"executions","maxratecount":125,"snap_orders":true,"snap_trades":true,"snapshot":true,…}"""

    channel: str | None = None
    maxratecount: int | None = None
    warnings: list[str] | None = None


class ChannelReply(Struct, gc=False):
    """{"method":"subscribe","req_id":0,"result":{"channel":"executions",…},"success":true,"time_in":…,"time_out":…}

    or {"error":"ESession:Invalid session","method":"subscribe","success":false,…}; a pong has neither.
    """

    method: str
    req_id: int | None = None
    success: bool | None = None
    result: ChannelResult | None = None
    error: str | None = None


# --- answers to trading requests


class ResultRow(Struct, gc=False):
    """One order's part of an answer: {"order_id":"OXZPAJ-ONWQU-KMAMPL","cl_ord_id":"3178d58d4d000200"}

    Every method has its own fields, and a refused row of a batch has `error`.
    """

    order_id: str | None = None
    original_order_id: str | None = None
    cl_ord_id: str | None = None
    order_userref: int | None = None
    amend_id: str | None = None
    count: int | None = None
    orders_cancelled: int | None = None
    channel: str | None = None
    error: str | None = None
    success: bool | None = None
    warnings: list[str] | None = None
    current_time: str | None = msgspec.field(default=None, name="currentTime")
    trigger_time: str | None = msgspec.field(default=None, name="triggerTime")


class TradingReply(Struct, gc=False):
    """{"method":"add_order","req_id":7,"result":{"order_id":"OXZPAJ-ONWQU-KMAMPL"},"success":true,"time_in":…}

    batch_add's result is a list; batch_cancel may have no result, but `orders_cancelled` beside `success`.
    """

    method: str
    req_id: int | None = None
    success: bool | None = None
    result: ResultRow | list[ResultRow] | None = None
    error: str | None = None
    orders_cancelled: int | None = None
    time_in: str = ""
    time_out: str = ""


class BareReply(Struct, gc=False):
    """What is left of an answer whose result has a shape that we do not know."""

    method: str
    req_id: int | None = None
    success: bool | None = None
    error: str | None = None
    time_in: str = ""
    time_out: str = ""


decode_executions = msgspec.json.Decoder(ExecutionsMessage).decode
decode_balances = msgspec.json.Decoder(BalancesMessage).decode
decode_channel_reply = msgspec.json.Decoder(ChannelReply).decode
decode_trading_reply = msgspec.json.Decoder(TradingReply).decode
decode_bare_reply = msgspec.json.Decoder(BareReply).decode


# --- rows of a type that has changed

Row = TypeVar("Row", ExecutionRow, BalanceRow)

# Without these, or with a wrong one, a row is worse than none: orders and money would be counted wrong.
_OF_ORDERS = ("exec_type", "order_id", "cl_ord_id", "order_userref", "order_status", "symbol", "side", "order_qty")
_OF_FILLS = ("cum_qty", "exec_id", "last_qty", "last_price", "fees")
_OF_BALANCES = ("asset", "balance", "wallets", "wallet_type")
ESSENTIAL = frozenset((*_OF_ORDERS, *_OF_FILLS, *_OF_BALANCES))


class _RawMessage(Struct):
    data: list[dict[str, Raw]]
    type: str = "update"
    sequence: int | None = None


_decode_raw_message = msgspec.json.Decoder(_RawMessage).decode
_FIELD_DECODERS = {
    row: {
        field.encode_name: (field.name, msgspec.json.Decoder(field.type, strict=False).decode)
        for field in msgspec.structs.fields(row)
    }
    for row in (ExecutionRow, BalanceRow)
}


def salvage_executions(frame: bytes) -> ExecutionsMessage:
    """A message that `decode_executions` refused, without the fields of other types than we know.

    Kraken changes types without a version, and a field that decides nothing must not cost a fill. Raises what the
    decoders raise when a field that does decide cannot be read.
    """
    message = _decode_raw_message(frame)
    return ExecutionsMessage([_salvage(ExecutionRow, row) for row in message.data], message.type, message.sequence)


def salvage_balances(frame: bytes) -> BalancesMessage:
    """The same for balances."""
    message = _decode_raw_message(frame)
    return BalancesMessage([_salvage(BalanceRow, row) for row in message.data], message.type, message.sequence)


def _salvage(row_type: type[Row], row: dict[str, Raw]) -> Row:
    known = {}
    for name, raw in row.items():
        if name not in _FIELD_DECODERS[row_type]:
            continue
        field, decode = _FIELD_DECODERS[row_type][name]
        try:
            known[field] = decode(raw)
        except msgspec.ValidationError:
            if name in ESSENTIAL:
                raise
    try:
        return row_type(**known)
    except TypeError as error:  # a field without a default is missing
        raise msgspec.ValidationError(str(error)) from None
