"""Decodes Kraken's REST replies about orders: their states and fills, and the results of
new orders and cancels.

As in `replies`, each function returns its typed answer or a RestRefusal. A changing call
that Kraken did not clearly refuse has the outcome UNKNOWN.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import ClassVar, TypeVar

import msgspec
from msgspec import Raw, Struct

from engine.kraken.connection.error_catalog import UNREADABLE, meaning
from engine.kraken.connection.salvage import DECODE_ERRORS, OUT_OF_RANGE, Reader, ShortText, Word, cut, is_null
from engine.kraken.private.events import AnswerRow
from engine.kraken.rest.pairs import RestPairs
from engine.kraken.rest.replies import ERROR_BYTES_MAX, RestRefusal, read_result, seconds_ns
from engine.kraken.rest.requests import has_trigger
from engine.orders.venue_facts import ExecutionFact, Fee, OrderLookup
from engine.timestamps import wall_ns
from engine.units import DIGITS_MAX, WallNs

R = TypeVar("R")
T = TypeVar("T")

# --- nothing, and what is not nothing

_NOTHING = Raw(b"null")
_LIQUIDITY = {b"true": "m", b"false": "t"}
WHOLE_MAX = 2**63  # of a userref or a trade's number; Kraken's are smaller
_decode_any = msgspec.json.Decoder().decode
_decode_decimal = msgspec.json.Decoder(Decimal, strict=False).decode


def _text(raw: Raw) -> str | None:
    """A text; None for an absent value, however it is printed."""
    value = _decode_any(raw)
    return None if value is None or is_null(str(value)) else str(value)


def _words(raw: Raw) -> str:
    """A text for people, cut; empty for an absent or unreadable one, because nothing
    depends on it.
    """
    try:
        return cut(_text(raw) or "", ERROR_BYTES_MAX)
    except DECODE_ERRORS:
        return ""


def _number(raw: Raw) -> Decimal:
    """A number, quoted or not, exact; 0 for an absent one. Raises ValidationError for
    anything else, or one out of bounds.
    """
    if _text(raw) is None:
        return Decimal(0)
    number = _decode_decimal(raw)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -DIGITS_MAX or number.adjusted() > DIGITS_MAX:
        raise msgspec.ValidationError(OUT_OF_RANGE)
    return number


def _whole(raw: Raw) -> int | None:
    """An integer other than 0, quoted or not; None for an absent one or 0."""
    number = _number(raw)
    return int(number) or None if abs(number) < WHOLE_MAX else None


def _texts(raw: Raw) -> tuple[str, ...]:
    """A list of texts; empty for an absent one."""
    value = _decode_any(raw)
    return tuple(map(str, value)) if isinstance(value, list) else ()


# --- what became of orders


class _Descr(Struct):
    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("price", "price2"))

    type: str
    ordertype: str
    pair: str = ""
    price: str | None = "0"
    price2: str | None = "0"


class _Order(Struct):
    """A value of OpenOrders, ClosedOrders and QueryOrders; its key is the order id."""

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("vol_exec", "oflags"))

    status: str
    descr: _Descr
    vol: Decimal
    vol_exec: Decimal = Decimal(0)
    refid: Raw = _NOTHING
    userref: Raw = _NOTHING
    cl_ord_id: Raw = _NOTHING
    opentm: Raw = _NOTHING
    reason: Raw = _NOTHING
    oflags: str | None = ""
    time_in_force: Raw = _NOTHING
    trades: Raw = _NOTHING


class _OpenOrders(Struct):
    open: dict[ShortText, _Order]


class _ClosedOrders(Struct):
    closed: dict[ShortText, _Order]


class _Trade(Struct):
    """A value of TradesHistory and QueryTrades; its key is the execution id. `pair` is an
    id here, not an altname.
    """

    ordertxid: str
    pair: str
    time: Decimal
    type: str
    ordertype: str
    price: Decimal
    cost: Decimal
    fee: Decimal
    vol: Decimal
    trade_id: Raw = _NOTHING
    maker: Raw = _NOTHING


_decode_open_orders = Reader(_OpenOrders, strict=False, is_bounded=True)
_decode_closed_orders = Reader(_ClosedOrders, strict=False, is_bounded=True)
_decode_query_orders = Reader(dict[ShortText, _Order], strict=False, is_bounded=True)
_decode_query_trades = Reader(dict[ShortText, _Trade], strict=False, is_bounded=True)


def read_open_orders(status: int, body: bytes, pairs: RestPairs) -> RestRefusal | tuple[OrderLookup, ...]:
    """The reply to OpenOrders."""
    answer = read_result(status, body, _decode_open_orders)
    return answer if isinstance(answer, RestRefusal) else _read_rows(answer.open, pairs, _lookup, status)


def read_open_order_reports(status: int, body: bytes, pairs: RestPairs) -> RestRefusal | tuple[ExecutionFact, ...]:
    """The reply to OpenOrders, as a snapshot of the executions channel would tell it."""
    answer = read_result(status, body, _decode_open_orders)
    return answer if isinstance(answer, RestRefusal) else _read_rows(answer.open, pairs, _report, status)


def read_closed_orders(status: int, body: bytes, pairs: RestPairs) -> RestRefusal | tuple[OrderLookup, ...]:
    """The reply to ClosedOrders: one page, the newest first."""
    answer = read_result(status, body, _decode_closed_orders)
    return answer if isinstance(answer, RestRefusal) else _read_rows(answer.closed, pairs, _lookup, status)


def read_closed_order_reports(status: int, body: bytes, pairs: RestPairs) -> RestRefusal | tuple[ExecutionFact, ...]:
    """The reply to ClosedOrders, as a snapshot of the executions channel would tell open
    ones: the end of each is told by its lookup.
    """
    answer = read_result(status, body, _decode_closed_orders)
    return answer if isinstance(answer, RestRefusal) else _read_rows(answer.closed, pairs, _report, status)


def read_query_orders(status: int, body: bytes, pairs: RestPairs) -> RestRefusal | tuple[OrderLookup, ...]:
    """The reply to QueryOrders; unknown ids are missing in it."""
    answer = read_result(status, body, _decode_query_orders)
    return answer if isinstance(answer, RestRefusal) else _read_rows(answer, pairs, _lookup, status)


def read_query_order_reports(status: int, body: bytes, pairs: RestPairs) -> RestRefusal | tuple[ExecutionFact, ...]:
    """The reply to QueryOrders, as a snapshot of the executions channel would tell open
    orders: the end of each is told by its lookup.
    """
    answer = read_result(status, body, _decode_query_orders)
    return answer if isinstance(answer, RestRefusal) else _read_rows(answer, pairs, _report, status)


def read_query_trades(status: int, body: bytes, pairs: RestPairs) -> RestRefusal | tuple[ExecutionFact, ...]:
    """The reply to QueryTrades."""
    answer = read_result(status, body, _decode_query_trades)
    return answer if isinstance(answer, RestRefusal) else _read_rows(answer, pairs, _fill, status)


def _read_rows(
    rows: dict[str, R], pairs: RestPairs, read: Callable[[str, R, RestPairs], T], status: int
) -> RestRefusal | tuple[T, ...]:
    """Every row, or a refusal of all: a row with an unreadable number must not decide
    anything.
    """
    try:
        return tuple(read(name, row, pairs) for name, row in rows.items())
    except DECODE_ERRORS as error:
        return RestRefusal(f"an answer that cannot be read ({error})", UNREADABLE, status)


def _lookup(order_id: str, order: _Order, _: RestPairs) -> OrderLookup:
    descr = order.descr
    # "vol: volume of order (base currency unless viqc set in oflags)", vol_exec likewise;
    # oflags is a set.
    is_triggered = has_trigger(descr.ordertype)
    is_in_base = "viqc" not in (order.oflags or "").split(",")
    return OrderLookup(
        order_id=order_id,
        status=order.status,
        cl_ord_id=_text(order.cl_ord_id),
        order_userref=_whole(order.userref),
        parent_id=_text(order.refid),
        side=descr.type,
        qty=order.vol if is_in_base else None,
        filled_qty=order.vol_exec if is_in_base else None,
        limit_price=_plain_price(descr.price2 if is_triggered else descr.price),
        trigger_price=_plain_price(descr.price) if is_triggered else None,
        reason=_words(order.reason) or None,
        opened_at=seconds_ns(_number(order.opentm)),
        trade_ids=_texts(order.trades),
    )


def _report(order_id: str, order: _Order, pairs: RestPairs) -> ExecutionFact:
    told, flags = _lookup(order_id, order, pairs), (order.oflags or "").split(",")
    return ExecutionFact(
        exec_type="status",
        order_id=order_id,
        timestamp=told.opened_at,
        cl_ord_id=told.cl_ord_id,
        order_userref=told.order_userref,
        symbol=pairs.symbol(order.descr.pair),
        side=told.side,
        order_type=order.descr.ordertype,
        order_qty=told.qty,
        limit_price=told.limit_price,
        cum_qty=told.filled_qty,
        time_in_force=_words(order.time_in_force) or None,
        post_only="post" in flags,
        fee_preference="base" if "fcib" in flags else None,
        trigger_price=told.trigger_price,
        ord_ref_id=told.parent_id,
        is_snapshot=True,
    )


def _plain_price(text: str | None) -> Decimal | None:
    """None for 0 (a market order), for an absent price, and for a relative one such as
    "+1.0000%".
    """
    if text is None or text[:1] in "+-#" or text.endswith("%"):
        return None
    try:
        return Decimal(text) or None
    except InvalidOperation:
        return None


def _fill(exec_id: str, trade: _Trade, pairs: RestPairs) -> ExecutionFact:
    pair = pairs.find(trade.pair)
    return ExecutionFact(
        exec_type="trade",
        order_id=trade.ordertxid,
        timestamp=seconds_ns(trade.time),
        symbol=pair.symbol if pair else None,
        side=trade.type,
        order_type=trade.ordertype.replace(" ", "-"),
        exec_id=exec_id,
        trade_id=_whole(trade.trade_id),
        last_qty=trade.vol,
        last_price=trade.price,
        cost=trade.cost,
        liquidity=_LIQUIDITY.get(bytes(trade.maker)),
        # In quote currency, which the order tells where the pair is not known; whether it
        # wanted to pay in the base currency is not told here.
        fees=(Fee(pair.quote if pair else "", trade.fee),),
        is_fee_asset_told=False,
    )


# --- trading


class RestPlaced(Struct, frozen=True):
    """The result of AddOrder: the order's ids; none if it was only validated."""

    order_ids: tuple[str, ...]
    description: str


class RestCanceled(Struct, frozen=True):
    """The result of a cancel: how many orders, and whether Kraken is still canceling."""

    count: int
    is_pending: bool


class DeadManSwitch(Struct, frozen=True):
    """The result of CancelAllOrdersAfter: Kraken's time, and when it will cancel everything
    (0: disarmed).
    """

    current_at: WallNs
    trigger_at: WallNs


class _Text(Struct, frozen=True):
    order: str = ""


class _Placed(Struct):
    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("txid",))

    descr: _Text = _Text()
    txid: list[ShortText] = []


class _BatchRow(Struct):
    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("txid", "error"))

    txid: ShortText | list[ShortText] | None = None
    error: str | None = None


class _Batch(Struct):
    orders: list[_BatchRow]


class _Amended(Struct):
    amend_id: ShortText


class _Canceled(Struct):
    count: Word
    pending: bool | int = False


class _Switch(Struct):
    current_time: str = msgspec.field(name="currentTime", default="")
    trigger_time: str = msgspec.field(name="triggerTime", default="")


_decode_placed = Reader(_Placed, strict=False, is_bounded=True)
_decode_batch = Reader(_Batch, strict=False, is_bounded=True)
_decode_amended = Reader(_Amended, strict=False, is_bounded=True)
_decode_canceled = Reader(_Canceled, strict=False, is_bounded=True)
_decode_switch = Reader(_Switch, strict=False, is_bounded=True)


def read_add_order(status: int, body: bytes) -> RestRefusal | RestPlaced:
    """The reply to AddOrder."""
    answer = read_result(status, body, _decode_placed)
    return answer if isinstance(answer, RestRefusal) else RestPlaced(tuple(answer.txid), answer.descr.order)


def read_add_order_batch(status: int, body: bytes) -> RestRefusal | tuple[AnswerRow, ...]:
    """The reply to AddOrderBatch: one row per order, in the order of the request; each may
    be refused alone.
    """
    answer = read_result(status, body, _decode_batch)
    return answer if isinstance(answer, RestRefusal) else tuple(_batch_row(row) for row in answer.orders)


def _batch_row(row: _BatchRow) -> AnswerRow:
    order_id = (row.txid[0] if row.txid else None) if isinstance(row.txid, list) else row.txid
    what = meaning(row.error) if row.error else None if order_id is not None else UNREADABLE
    error = None if row.error is None else cut(row.error, ERROR_BYTES_MAX)
    return AnswerRow(order_id, None, None, error, what, ())


def read_amend_order(status: int, body: bytes) -> RestRefusal | str:
    """The reply to AmendOrder: the amend's id."""
    answer = read_result(status, body, _decode_amended)
    return answer if isinstance(answer, RestRefusal) else answer.amend_id


def read_cancel(status: int, body: bytes) -> RestRefusal | RestCanceled:
    """The reply to CancelOrder, CancelOrderBatch and CancelAll."""
    answer = read_result(status, body, _decode_canceled)
    return answer if isinstance(answer, RestRefusal) else RestCanceled(answer.count, bool(answer.pending))


def read_cancel_all_orders_after(status: int, body: bytes) -> RestRefusal | DeadManSwitch:
    """The reply to CancelAllOrdersAfter."""
    answer = read_result(status, body, _decode_switch)
    if isinstance(answer, RestRefusal):
        return answer
    return DeadManSwitch(wall_ns(answer.current_time), wall_ns(answer.trigger_time))
