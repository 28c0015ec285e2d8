"""Kraken's REST calls, as values: path and fields here, nonce and signature when one is
sent.

Bodies are JSON, with numbers as strings, as REST wants them. Names differ from the
WebSocket's: an order's limit is `price`, or `price2` where a trigger takes `price`; a
relative price is a string with a sign and perhaps a per cent behind it; post-only and the
fee's currency are `oflags`. AmendOrder alone uses the WebSocket's names.

Source: https://docs.kraken.com/api/docs/rest-api/add-order and its neighbours
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from engine.errors import MisuseError
from engine.kraken.connection.number_text import decimal_text, time_ms_text
from engine.kraken.rest.pairs import CURRENCY, RestPair
from engine.kraken.rest.signing import Signer
from engine.kraken.trading.order_requests import (
    BATCH_ADD_MAX,
    BATCH_ADD_MIN,
    DEAD_MAN_S_MAX,
    BatchRow,
)
from engine.orders.amounts import usual_limit_type, usual_trigger_type
from engine.orders.intent import Amendment, Conditional, OrderIntent, Trigger
from engine.units import NS_PER_S, WallNs, units_text

PRIVATE = "/0/private/"
PUBLIC = "/0/public/"
CONTENT_TYPE = "application/json"
DEADLINE_MIN_NS = 2 * NS_PER_S  # REST: a deadline lies between now + 2 s and now + 60 s
DEADLINE_MAX_NS = 60 * NS_PER_S
DEADLINE_SPARE_NS = NS_PER_S  # for transit, and for the calls before it
LIFE_NS_MIN = DEADLINE_MIN_NS + DEADLINE_SPARE_NS  # of an order that is sent by REST
QUERY_IDS_MAX = 50  # of QueryOrders
QUERY_TRADES_MAX = 20

_encode = msgspec.json.Encoder().encode
Fields = dict[str, Any]


class RestRequest(Struct, frozen=True):
    """One call, not yet signed."""

    method: str
    path: str
    fields: Fields = {}
    is_mutating: bool = False
    """Whether it changes orders. Then no answer means that its outcome is unknown, and it
    is never sent again blindly.
    """

    @property
    def name(self) -> str:
        """The last part of the path: AddOrder."""
        return self.path.rpartition("/")[2]

    @property
    def is_private(self) -> bool:
        """Whether it must be signed."""
        return self.path.startswith(PRIVATE)

    @property
    def target(self) -> str:
        """The part of the URL after the host: the path, and for a public call its
        parameters.
        """
        return f"{self.path}?{urlencode(self.fields)}" if self.fields and not self.is_private else self.path

    def body(self, nonce: int) -> bytes:
        """The bytes to sign and to send. The nonce is text, because many parsers cannot
        hold it as a number.
        """
        return _encode({"nonce": str(nonce), **self.fields})


class SignedCall(NamedTuple):
    """A private call with its signature."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def sign(request: RestRequest, signer: Signer, nonce: int) -> SignedCall:
    """Sign a call: its nonce, its signature and its headers."""
    body = request.body(nonce)
    headers = {**signer.headers(request.path, nonce, body), "Content-Type": CONTENT_TYPE}
    return SignedCall(request.method, request.path, headers, body)


def rest_deadline(deadline: WallNs, now: WallNs) -> WallNs:
    """The deadline that REST accepts for an order whose own is `deadline`: two seconds from
    now, and one to spare.
    """
    return WallNs(min(max(deadline, now + LIFE_NS_MIN), now + DEADLINE_MAX_NS))


# --- public


def time() -> RestRequest:
    """Ask for Kraken's clock, in whole seconds."""
    return RestRequest("GET", f"{PUBLIC}Time")


def system_status() -> RestRequest:
    """Ask for the state: online, post_only, cancel_only or maintenance."""
    return RestRequest("GET", f"{PUBLIC}SystemStatus")


def asset_pairs(names: Sequence[str] = (), asset_class: str | None = None) -> RestRequest:
    """Ask for pairs with their names, precisions and fees; for all when none is named.

    Tokenized stocks are included only when their class is asked for: `TOKENIZED`.
    """
    fields: Fields = {"pair": ",".join(names)} if names else {}
    return RestRequest("GET", f"{PUBLIC}AssetPairs", fields | ({"aclass_base": asset_class} if asset_class else {}))


# --- the key and the account


def get_websockets_token() -> RestRequest:
    """Ask for a token for authenticated WebSocket requests."""
    return _private("GetWebSocketsToken")


def get_api_key_info() -> RestRequest:
    """Ask for the key's own permissions, which needs none of them."""
    return _private("GetApiKeyInfo")


def balance() -> RestRequest:
    """Ask for totals by asset."""
    return _private("Balance")


def balance_ex() -> RestRequest:
    """Ask for totals and what open orders hold, by asset."""
    return _private("BalanceEx")


# --- the state of orders


def open_orders(*, cl_ord_id: str | None = None, userref: int | None = None, trades: bool = True) -> RestRequest:
    """Ask for open orders: of one client order id or userref, or all. May be seconds
    behind.
    """
    return _private("OpenOrders", {"trades": trades, **_which(cl_ord_id, userref)})


def closed_orders(
    *,
    cl_ord_id: str | None = None,
    userref: int | None = None,
    start_s: int | None = None,
    end_s: int | None = None,
    offset: int = 0,
    closetime: str = "",
    trades: bool = True,
) -> RestRequest:
    """Ask for fifty closed orders, newest first. `start_s` (unix seconds) is exclusive,
    `end_s` inclusive.

    They limit when an order was opened or closed; with `closetime` "open" or "close", one
    of the two.
    """
    fields: Fields = {"trades": trades, "consolidate_taker": False, "without_count": True}
    fields |= _which(cl_ord_id, userref)
    if start_s is not None:
        fields["start"] = start_s
    if end_s is not None:
        fields["end"] = end_s
    if closetime:
        fields["closetime"] = closetime
    if offset:
        fields["ofs"] = offset
    return _private("ClosedOrders", fields)


def query_orders(order_ids: Sequence[str], *, trades: bool = True) -> RestRequest:
    """Ask for up to fifty orders by Kraken's ids, open or closed. Unknown ids are left out
    of the answer.
    """
    if not 1 <= len(order_ids) <= QUERY_IDS_MAX:
        raise MisuseError(f"QueryOrders takes 1 to {QUERY_IDS_MAX} order ids, not {len(order_ids)}")
    return _private("QueryOrders", {"txid": ",".join(order_ids), "trades": trades, "consolidate_taker": False})


def query_trades(trade_ids: Sequence[str]) -> RestRequest:
    """Ask for up to twenty fills by their execution ids."""
    if not 1 <= len(trade_ids) <= QUERY_TRADES_MAX:
        raise MisuseError(f"QueryTrades takes 1 to {QUERY_TRADES_MAX} ids, not {len(trade_ids)}")
    return _private("QueryTrades", {"txid": ",".join(trade_ids), "trades": False})


# --- trading


def add_order(
    intent: OrderIntent,
    *,
    pair: RestPair,
    cl_ord_id: str | None = None,
    userref: int | None = None,
    deadline: WallNs,
) -> RestRequest:
    """Place an order; `deadline` from `rest_deadline`."""
    fields = {**_pair_fields(pair), **_order_fields(intent, pair, cl_ord_id, userref)}
    fields["deadline"] = time_ms_text(deadline)
    if intent.validate:
        fields["validate"] = True
    return _change("AddOrder", fields)


def add_order_batch(
    rows: Sequence[BatchRow],
    *,
    pair: RestPair,
    deadline: WallNs,
    validate: bool = False,
) -> RestRequest:
    """Place 2 to 15 orders of one pair."""
    if not BATCH_ADD_MIN <= len(rows) <= BATCH_ADD_MAX:
        raise MisuseError(f"a batch has {BATCH_ADD_MIN} to {BATCH_ADD_MAX} orders, not {len(rows)}")
    orders = [_order_fields(row.intent, pair, row.cl_ord_id, row.order_userref) for row in rows]
    fields: Fields = {**_pair_fields(pair), "orders": orders, "deadline": time_ms_text(deadline)}
    if validate:
        fields["validate"] = True
    return _change("AddOrderBatch", fields)


def amend_order(
    amendment: Amendment,
    *,
    order_id: str | None = None,
    cl_ord_id: str | None = None,
    limit_price_type: str | None = None,
    trigger_price_type: str | None = None,
    deadline: WallNs,
) -> RestRequest:
    """Change an open order; types of relative prices as in `order_requests.amend_order`."""
    if (order_id is None) == (cl_ord_id is None):
        raise MisuseError("an amend has either an order id or a client order id")
    fields: Fields = {"txid": order_id} if order_id is not None else {"cl_ord_id": cl_ord_id}
    if amendment.qty is not None:
        fields["order_qty"] = units_text(amendment.qty, amendment.qty_decimals)
    if amendment.limit_price is not None:
        fields["limit_price"] = units_text(amendment.limit_price, amendment.price_decimals)
    if amendment.limit_offset is not None:
        fields["limit_price"] = _price_text(amendment.limit_offset, limit_price_type or "quote")
    if amendment.trigger_price is not None:
        fields["trigger_price"] = _price_text(amendment.trigger_price, trigger_price_type or "static")
    if amendment.display_qty is not None:
        fields["display_qty"] = units_text(amendment.display_qty, amendment.qty_decimals)
    if amendment.post_only:
        fields["post_only"] = True
    fields["deadline"] = time_ms_text(deadline)
    return _change("AmendOrder", fields)


def cancel_order(
    *, order_id: str | None = None, cl_ord_id: str | None = None, userref: int | None = None
) -> RestRequest:
    """Cancel one order; by a userref, all that have it."""
    given = [name for name in (order_id, cl_ord_id, userref) if name is not None]
    if len(given) != 1:
        raise MisuseError("a cancel names its order in exactly one way")
    if cl_ord_id is not None:
        return _change("CancelOrder", {"cl_ord_id": cl_ord_id})
    return _change("CancelOrder", {"txid": given[0]})


def cancel_all() -> RestRequest:
    """Cancel every open order of the account."""
    return _change("CancelAll", {})


def cancel_all_orders_after(timeout_s: int) -> RestRequest:
    """Arm the dead man's switch; 0 disarms it."""
    if not 0 <= timeout_s <= DEAD_MAN_S_MAX:
        raise MisuseError(f"a dead man's switch of {timeout_s} s is not between 0 and {DEAD_MAN_S_MAX} s")
    return _change("CancelAllOrdersAfter", {"timeout": timeout_s})


# --- fields


def _private(name: str, fields: Fields | None = None) -> RestRequest:
    return RestRequest("POST", PRIVATE + name, fields or {})


def _change(name: str, fields: Fields) -> RestRequest:
    return RestRequest("POST", PRIVATE + name, fields, is_mutating=True)


def _which(cl_ord_id: str | None, userref: int | None) -> Fields:
    if cl_ord_id is not None and userref is not None:
        raise MisuseError("orders are looked up by client order id or by userref, not by both")
    if cl_ord_id is not None:
        return {"cl_ord_id": cl_ord_id}
    return {} if userref is None else {"userref": userref}


def _pair_fields(pair: RestPair) -> Fields:
    """The fields that name a pair: its name, and the class of its base, where that is no
    currency.
    """
    fields: Fields = {"pair": pair.altname}
    return fields if pair.asset_class == CURRENCY else fields | {"asset_class": pair.asset_class}


def _order_fields(
    intent: OrderIntent,
    pair: RestPair,
    cl_ord_id: str | None,
    userref: int | None,
) -> Fields:
    """The fields that an order has in AddOrder and in a batch alike."""
    if (cl_ord_id is None) == (userref is None):
        raise MisuseError("an order has either a client order id or a userref")
    is_cash = intent.cash_qty is not None
    volume = units_text(intent.qty, intent.qty_decimals) if intent.cash_qty is None else decimal_text(intent.cash_qty)
    fields: Fields = {"ordertype": intent.order_type, "type": intent.side, "volume": volume}
    limit = None
    if intent.limit_price is not None:
        limit = units_text(intent.limit_price, intent.price_decimals)
    elif intent.limit_offset is not None:
        limit = _price_text(intent.limit_offset, intent.limit_price_type or "quote")
    fields |= _prices(intent.order_type, limit, intent.trigger)
    if intent.time_in_force != "gtc":
        fields["timeinforce"] = intent.time_in_force.upper()
    if intent.expire_at is not None:
        fields["expiretm"] = str(intent.expire_at // NS_PER_S)
    if intent.effective_at is not None:
        fields["starttm"] = str(intent.effective_at // NS_PER_S)
    if intent.reduce_only:
        fields["reduce_only"] = True
    if intent.margin:
        leverage = pair.leverage_max(intent.side)
        if not leverage:
            raise MisuseError(f"{intent.symbol} cannot be traded on margin, so this order cannot be sent by REST")
        fields["leverage"] = str(leverage)
    if intent.display_qty is not None:
        fields["displayvol"] = units_text(intent.display_qty, intent.qty_decimals)
    fields |= _flags(post_only=intent.post_only, fee_preference=intent.fee_preference, is_cash=is_cash)
    if intent.stp_type is not None:
        fields["stptype"] = intent.stp_type.replace("_", "-")
    if intent.conditional is not None:
        if userref is None:
            raise MisuseError("an order with a conditional close is known by its userref, not by a client order id")
        fields["close"] = _close(intent.conditional)
    return fields | ({"userref": userref} if cl_ord_id is None else {"cl_ord_id": cl_ord_id})


def _prices(order_type: str, limit: str | None, trigger: Trigger | None) -> Fields:
    """`price` is the trigger of an order that has one, and then `price2` is its limit."""
    if trigger is None:
        return {} if limit is None else {"price2" if has_trigger(order_type) else "price": limit}
    text = _price_text(trigger.price, trigger.price_type)
    if order_type.startswith("trailing"):
        text = "+" + text.lstrip("+-")  # a distance from the peak: always positive, the side decides its direction
    fields: Fields = {"price": text}
    if limit is not None:
        fields["price2"] = limit
    if trigger.reference != "last":
        fields["trigger"] = trigger.reference
    return fields


def has_trigger(order_type: str) -> bool:
    """Whether an order of this type waits for a trigger price."""
    return order_type.startswith(("stop-loss", "take-profit", "trailing-stop"))


def _flags(*, post_only: bool, fee_preference: str | None, is_cash: bool) -> Fields:
    flags = ["post"] if post_only else []
    if fee_preference is not None:
        flags.append("fcib" if fee_preference == "base" else "fciq")
    if is_cash:
        flags.append("viqc")
    return {"oflags": ",".join(flags)} if flags else {}


def _close(conditional: Conditional) -> Fields:
    kind, limit, trigger = conditional.order_type, None, None
    if conditional.limit_price is not None:
        limit = _price_text(conditional.limit_price, conditional.limit_price_type or usual_limit_type(kind))
    if conditional.trigger_price is not None:
        trigger = _price_text(conditional.trigger_price, conditional.trigger_price_type or usual_trigger_type(kind))
    fields: Fields = {"ordertype": kind}
    if trigger is not None:
        fields["price"] = trigger
    if limit is not None:
        fields["price" if trigger is None else "price2"] = limit
    return fields


def _price_text(price: Decimal, price_type: str) -> str:
    """A price as it is; an offset with its sign, and a per cent where it is one."""
    text = decimal_text(price)
    if price_type == "static":
        return text
    signed = text if text.startswith("-") else f"+{text}"
    return f"{signed}%" if price_type == "pct" else signed
