"""Every trading request of Kraken's WebSocket v2, as the bytes to send.

Written by hand rather than encoded from Structs: prices and quantities are exact JSON
numbers made from ticks and lots in the order's own scale, which no encoder of floats can
give, and an order is on the hot path (bench/ has its cost).

Left out on purpose: `no_mpp` (ignored by Kraken since 2025-09), the deprecated `stop_price`
and `trigger`.

Source: https://docs.kraken.com/api/docs/websocket-v2/add_order and its neighbours
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from engine.errors import MisuseError
from engine.kraken.connection.number_text import (
    decimal_number,
    quoted,
    time_ms_text,
    time_s_text,
    units_number,
)
from engine.native import ORDERS
from engine.orders.intent import Amendment, Conditional, OrderIntent, Side, Trigger
from engine.timestamps import second_text
from engine.units import NS_PER_MS, NS_PER_S, WallNs

BATCH_ADD_MIN, BATCH_ADD_MAX = 2, 15
BATCH_CANCEL_MIN, BATCH_CANCEL_MAX = 2, 50
DEAD_MAN_S_MAX = 86_399
USERREF_MAX = 2**31 - 1
UNWRITABLE = (MisuseError, ValueError, TypeError, ArithmeticError)
"""Raised by the functions of this module, and of `rest_requests`, for values that no
request can carry.
"""


class BatchRow(Struct, frozen=True):
    """One order of a batch, with its one identifier."""

    intent: OrderIntent
    cl_ord_id: str | None = None
    order_userref: int | None = None


def add_order(
    intent: OrderIntent,
    *,
    cl_ord_id: str | None = None,
    order_userref: int | None = None,
    deadline: WallNs,
    token: str,
    req_id: int,
    sender_sub_id: str | None = None,
) -> bytes:
    """A new order, with its one identifier.

    An order with a conditional close must have a userref: Kraken refuses it together with a
    client order id.
    """
    fields = _order_fields(intent, cl_ord_id, order_userref)
    validate = ',"validate":true' if intent.validate else ""
    sender = f',"sender_sub_id":{quoted(sender_sub_id)}' if sender_sub_id else ""
    return (
        f'{{"method":"add_order","params":{{{fields},"symbol":{quoted(intent.symbol)}{validate}{sender}'
        f',"deadline":"{time_ms_text(deadline)}","token":{quoted(token)}}},"req_id":{req_id}}}'
    ).encode()


class PortableLimitOrderText:
    """Writes limit orders that differ in price, quantity, key and deadline only; each is
    byte for byte what `add_order` writes of the same order.
    """

    def __init__(
        self, symbol: str, side: Side, price_decimals: int, qty_decimals: int, time_in_force: str, *, post_only: bool
    ) -> None:
        time_part = "" if time_in_force == "gtc" else f',"time_in_force":{quoted(time_in_force)}'
        post_part = ',"post_only":true' if post_only else ""
        # What stands before quantity, price, key, deadline, token and number.
        self.parts = tuple(
            part.encode()
            for part in (
                f'{{"method":"add_order","params":{{"order_type":"limit","side":"{side}","order_qty":',
                ',"limit_price":',
                f'{time_part}{post_part},"cl_ord_id":"',
                f'","symbol":{quoted(symbol)},"deadline":"',
                '","token":',
                '},"req_id":',
            )
        )
        # A whole number is written with one decimal, see `number_text`.
        fields = (f"%d.%0{qty_decimals or 1}d", f"%d.%0{price_decimals or 1}d", "%b", "%b.%03dZ", "%b", "%d}")
        self._text = b"".join(
            part.replace(b"%", b"%%") + field.encode() for part, field in zip(self.parts, fields, strict=True)
        )
        self._tick, self._lot = 10**price_decimals, 10**qty_decimals
        # The text of the last deadline's second.
        self._second = -1
        self._second_text = b""

    def write(self, ticks: int, lots: int, key: bytes, deadline: WallNs, quoted_token: bytes, req_id: int) -> bytes:
        """The request. Amounts are not negative; `key` is the client order id, letters and
        digits.
        """
        second, rest = divmod(deadline, NS_PER_S)
        if second != self._second:
            self._second, self._second_text = second, second_text(second).encode()
        return self._text % (
            *divmod(lots, self._lot), *divmod(ticks, self._tick), key, self._second_text, rest // NS_PER_MS,
            quoted_token, req_id,
        )  # fmt: skip


if TYPE_CHECKING or ORDERS is None:
    LimitOrderText = PortableLimitOrderText
else:
    LimitOrderText = ORDERS.LimitOrderText


def amend_order(
    amendment: Amendment,
    *,
    order_id: str | None = None,
    cl_ord_id: str | None = None,
    limit_price_type: str | None = None,
    trigger_price_type: str | None = None,
    deadline: WallNs,
    token: str,
    req_id: int,
) -> bytes:
    """Change an open order in place. The trigger fields are flat here, unlike in a new
    order.

    An amendment does not know its order: if that has a relative limit or trigger, its types
    are given here.
    """
    if (order_id is None) == (cl_ord_id is None):
        raise MisuseError("an amend has either an order id or a client order id")
    parts = [f'"order_id":{quoted(order_id)}' if order_id is not None else f'"cl_ord_id":{quoted(cl_ord_id or "")}']
    if amendment.qty is not None:
        parts.append(f'"order_qty":{units_number(amendment.qty, amendment.qty_decimals)}')
    if amendment.limit_price is not None:
        parts.append(f'"limit_price":{units_number(amendment.limit_price, amendment.price_decimals)}')
    if amendment.limit_offset is not None:
        parts.append(f'"limit_price":{decimal_number(amendment.limit_offset)}')
        if limit_price_type is not None:
            parts.append(f'"limit_price_type":{quoted(limit_price_type)}')
    if amendment.trigger_price is not None:
        parts.append(f'"trigger_price":{decimal_number(amendment.trigger_price)}')
        if trigger_price_type is not None:
            parts.append(f'"trigger_price_type":{quoted(trigger_price_type)}')
    if amendment.display_qty is not None:
        parts.append(f'"display_qty":{units_number(amendment.display_qty, amendment.qty_decimals)}')
    if amendment.post_only:
        parts.append('"post_only":true')
    parts.append(f'"deadline":"{time_ms_text(deadline)}"')
    return _request("amend_order", parts, token, req_id)


def cancel_order(
    *,
    order_id: str | None = None,
    cl_ord_id: str | None = None,
    order_userref: int | None = None,
    token: str,
    req_id: int,
) -> bytes:
    """Cancel one order. A failure names no order, so each has a request of its own."""
    if order_id is not None and cl_ord_id is None and order_userref is None:
        part = f'"order_id":[{quoted(order_id)}]'
    elif cl_ord_id is not None and order_id is None and order_userref is None:
        part = f'"cl_ord_id":[{quoted(cl_ord_id)}]'
    elif order_userref is not None and order_id is None and cl_ord_id is None:
        part = f'"order_userref":[{_userref(order_userref)}]'
    else:
        raise MisuseError("a cancel names its order in exactly one way")
    return _request("cancel_order", [part], token, req_id)


def cancel_all(*, token: str, req_id: int) -> bytes:
    """Cancel every open order of the account."""
    return _request("cancel_all", [], token, req_id)


def cancel_all_orders_after(timeout_s: int, *, token: str, req_id: int) -> bytes:
    """The dead man's switch: all orders of the account are canceled after `timeout_s`
    seconds unless it is set again. 0 disarms it.
    """
    if not 0 <= timeout_s <= DEAD_MAN_S_MAX:
        raise MisuseError(f"a dead man's switch of {timeout_s} s is not between 0 and {DEAD_MAN_S_MAX} s")
    return _request("cancel_all_orders_after", [f'"timeout":{timeout_s}'], token, req_id)


def batch_add(
    rows: Sequence[BatchRow],
    *,
    deadline: WallNs,
    token: str,
    req_id: int,
    validate: bool = False,
) -> bytes:
    """2 to 15 new orders of one pair. One invalid order refuses all; one without funds is
    refused alone.
    """
    if not BATCH_ADD_MIN <= len(rows) <= BATCH_ADD_MAX:
        raise MisuseError(f"a batch has {BATCH_ADD_MIN} to {BATCH_ADD_MAX} orders, not {len(rows)}")
    symbols = {row.intent.symbol for row in rows}
    if len(symbols) > 1:
        raise MisuseError(f"a batch is of one pair, not of {', '.join(sorted(symbols))}")
    orders = ",".join(f"{{{_order_fields(row.intent, row.cl_ord_id, row.order_userref)}}}" for row in rows)
    parts = [f'"symbol":{quoted(rows[0].intent.symbol)}', f'"orders":[{orders}]']
    if validate:
        parts.append('"validate":true')
    parts.append(f'"deadline":"{time_ms_text(deadline)}"')
    return _request("batch_add", parts, token, req_id)


def batch_cancel(*, order_ids: Sequence[str] = (), cl_ord_ids: Sequence[str] = (), token: str, req_id: int) -> bytes:
    """Cancel 2 to 50 orders. The reply only counts them; the executions tell which.

    A userref, as text, may stand among the order ids.
    """
    count = len(order_ids) + len(cl_ord_ids)
    if not BATCH_CANCEL_MIN <= count <= BATCH_CANCEL_MAX:
        raise MisuseError(f"a batch cancels {BATCH_CANCEL_MIN} to {BATCH_CANCEL_MAX} orders, not {count}")
    parts = []
    if order_ids:
        parts.append(f'"orders":[{",".join(map(quoted, order_ids))}]')
    if cl_ord_ids:
        parts.append(f'"cl_ord_id":[{",".join(map(quoted, cl_ord_ids))}]')
    return _request("batch_cancel", parts, token, req_id)


def _request(method: str, parts: list[str], token: str, req_id: int) -> bytes:
    parts.append(f'"token":{quoted(token)}')
    return f'{{"method":"{method}","params":{{{",".join(parts)}}},"req_id":{req_id}}}'.encode()


def _order_fields(intent: OrderIntent, cl_ord_id: str | None, order_userref: int | None) -> str:
    """The fields that an order has in add_order and in a batch alike."""
    # Hot: a limit order passes here in one go; each rare field costs one test.
    fields = f'"order_type":{quoted(intent.order_type)},"side":{quoted(intent.side)}'
    if intent.cash_qty is None:
        fields += f',"order_qty":{units_number(intent.qty, intent.qty_decimals)}'
    else:
        fields += f',"cash_order_qty":{decimal_number(intent.cash_qty)}'
    if intent.limit_price is not None:
        fields += f',"limit_price":{units_number(intent.limit_price, intent.price_decimals)}'
    elif intent.limit_offset is not None:
        fields += f',"limit_price":{decimal_number(intent.limit_offset)}'
        if intent.limit_price_type is not None:
            fields += f',"limit_price_type":{quoted(intent.limit_price_type)}'
    if intent.trigger is not None:
        fields += f",{_triggers(intent.trigger)}"
    if intent.time_in_force != "gtc":
        fields += f',"time_in_force":{quoted(intent.time_in_force)}'
    if intent.expire_at is not None:
        fields += f',"expire_time":"{time_s_text(intent.expire_at)}"'
    if intent.effective_at is not None:
        fields += f',"effective_time":"{time_s_text(intent.effective_at)}"'
    if intent.post_only:
        fields += ',"post_only":true'
    if intent.reduce_only:
        fields += ',"reduce_only":true'
    if intent.margin:
        fields += ',"margin":true'
    if intent.display_qty is not None:
        fields += f',"display_qty":{units_number(intent.display_qty, intent.qty_decimals)}'
    if intent.fee_preference is not None:
        fields += f',"fee_preference":{quoted(intent.fee_preference)}'
    if intent.stp_type is not None:
        fields += f',"stp_type":{quoted(intent.stp_type)}'
    if intent.conditional is not None:
        if order_userref is None:
            raise MisuseError("an order with a conditional close is known by its userref, not by a client order id")
        fields += f",{_conditional(intent.conditional)}"
    if cl_ord_id is not None and order_userref is None:
        return f'{fields},"cl_ord_id":{quoted(cl_ord_id)}'
    if order_userref is not None and cl_ord_id is None:
        return f'{fields},"order_userref":{_userref(order_userref)}'
    raise MisuseError("an order has either a client order id or a userref")


def _triggers(trigger: Trigger) -> str:
    return (
        f'"triggers":{{"reference":{quoted(trigger.reference)},"price":{decimal_number(trigger.price)}'
        f',"price_type":{quoted(trigger.price_type)}}}'
    )


def _conditional(conditional: Conditional) -> str:
    parts = [f'"order_type":{quoted(conditional.order_type)}']
    prices: tuple[tuple[str, Decimal | None, str | None], ...] = (
        ("limit_price", conditional.limit_price, conditional.limit_price_type),
        ("trigger_price", conditional.trigger_price, conditional.trigger_price_type),
    )
    for name, price, price_type in prices:
        if price is not None:
            parts.append(f'"{name}":{decimal_number(price)}')
            if price_type is not None:
                parts.append(f'"{name}_type":{quoted(price_type)}')
    return f'"conditional":{{{",".join(parts)}}}'


def _userref(userref: int) -> int:
    if not -USERREF_MAX - 1 <= userref <= USERREF_MAX:
        raise MisuseError(f"the userref {userref} is no 32-bit integer")
    return userref
