"""Clients' requests on the private WebSocket, checked as Kraken's front end checks them:
types and names only.

Each frame becomes one of the requests below, or a `Refusal` with the front end's own
unprefixed error. The checks come in the order in which genuine refusals show them: JSON,
method, unknown keys, types, missing keys. Numbers are read as `Decimal` from their text; a
string in place of a number is refused, an integer is a number.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from math import isinf
from typing import Any, Final

import msgspec

from engine.units import NS_PER_S, WallNs
from engine.venue.trading.client_order import AmendSpec, Conditional, EditSpec, OrderSpec, Triggers
from engine.venue.websocket.requests import MALFORMED, PRIVATE_CHANNELS, UNSUPPORTED_EVENT, Ping, Refusal

PUBLIC_HERE: Final = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"
CHANNELS: Final = frozenset({"executions", "balances"})
PUBLIC_CHANNELS: Final = frozenset({"book", "trade", "ticker", "ohlc", "instrument"})

DEPRECATED: Final = {
    "no_mpp": "no_mpp is deprecated",
    "stop_price": "stop_price is deprecated, use triggers.price",
    "trigger": "trigger is deprecated, use triggers.reference",
    "price": "price is deprecated, use limit_price",
}


class Subscribe(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription to executions or balances."""

    req_id: int | None
    token: str
    channel: str
    snap_orders: bool = True  # of balances: the snapshot
    snap_trades: bool = False
    order_status: bool = True
    ratecounter: bool = False
    users: str | None = None


class Unsubscribe(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a subscription."""

    req_id: int | None
    token: str
    channel: str


class TradingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request of one of the trading methods, with its fields."""

    method: str
    req_id: int | None
    token: str
    symbols: tuple[str, ...] = ()  # that it names, as it writes them
    warnings: tuple[str, ...] = ()
    deadline: WallNs | None = None
    validate: bool = False
    orders: tuple[OrderSpec, ...] = ()  # add_order (one), batch_add
    amend: AmendSpec | None = None
    edit: EditSpec | None = None
    order_ids: tuple[str, ...] = ()  # cancel_order, batch_cancel
    cl_ord_ids: tuple[str, ...] = ()
    userrefs: tuple[int, ...] = ()
    timeout_s: int = 0


PrivateRequest = Ping | Subscribe | Unsubscribe | TradingRequest | Refusal


class _Refused(Exception):
    """Kraken's error for a field."""


def _exact(text: str) -> Decimal:
    """A number with every digit of its text; ArithmeticError for one that no float holds,
    as a parser that reads floats would refuse it.
    """
    if isinf(float(text)):
        raise ArithmeticError("a number out of range")
    return Decimal(text)


_decode = msgspec.json.Decoder(float_hook=_exact).decode


# --- one value -------------------------------------------------------------------------------------------------------


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


def _number(name: str, value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if type(value) is int:
        return Decimal(value)
    raise _Refused(f"{_title(name)} field must be a number_float")


def _integer(name: str, value: object) -> int:
    if type(value) is not int:
        raise _Refused(f"{_title(name)} field must be a number_integer")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _Refused(f"{_title(name)} field must be a string")
    return value


def _bool(name: str, value: object) -> bool:
    if type(value) is not bool:
        raise _Refused(f"{_title(name)} field must be a boolean")
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _Refused(f"{_title(name)} field must be an array")
    return tuple(_text(name, entry) for entry in value)


def _integers(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise _Refused(f"{_title(name)} field must be an array")
    return tuple(_integer(name, entry) for entry in value)


def _array(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _Refused(f"{_title(name)} field must be an array")
    return value


def _time(name: str, value: object) -> WallNs:
    """An RFC 3339 time, with `Z` or an offset, and any number of decimals of the second."""
    text = _text(name, value)
    try:
        whole, _, rest = text.partition(".")
        digits = ""
        while rest and rest[0].isdigit():
            digits, rest = digits + rest[0], rest[1:]
        moment = datetime.fromisoformat(whole + (rest or ""))
    except ValueError:
        raise _Refused(f"EGeneral:Invalid arguments:{name}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = int(moment.timestamp())
    return WallNs(seconds * NS_PER_S + int(digits[:9].ljust(9, "0") or 0))


def _choice(*values: str) -> Callable[[str, object], str]:
    def read(name: str, value: object) -> str:
        text = _text(name, value)
        if text not in values:
            raise _Refused(f"EGeneral:Invalid arguments:{name}")
        return text

    return read


def _object(fields: dict[str, Callable[[str, object], Any]]) -> Callable[[str, object], dict[str, Any]]:
    def read(name: str, value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _Refused(f"{_title(name)} field must be an object")
        return _read(value, fields, name)

    return read


def _read(params: dict[str, Any], fields: dict[str, Callable[[str, object], Any]], method: str) -> dict[str, Any]:
    """All values of an object. An unknown key is refused before any wrong type; null counts
    as absent.
    """
    if stray := params.keys() - fields.keys():
        # The alphabetically first, because Kraken's JSON objects are sorted.
        raise _Refused(f"Unsupported field: '{min(stray)}' for the given msg type: {method}")
    return {name: fields[name](name, params[name]) for name in sorted(params) if params[name] is not None}


# --- the parameters of each method -----------------------------------------------------------------------------------

_KIND = _choice(
    "market", "limit", "iceberg", "stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit",
    "trailing-stop", "trailing-stop-limit", "settle-position",
)  # fmt: skip
_PRICE_TYPE = _choice("static", "pct", "quote")
_REFERENCE = _choice("last", "index")
_TRIGGERS = _object({"price": _number, "price_type": _PRICE_TYPE, "reference": _REFERENCE})
_CONDITIONAL = _object(
    {
        "order_type": _KIND,
        "limit_price": _number,
        "limit_price_type": _PRICE_TYPE,
        "trigger_price": _number,
        "trigger_price_type": _PRICE_TYPE,
        "stop_price": _number,
    }
)
_ORDER: Final[dict[str, Callable[[str, object], Any]]] = {
    "order_type": _KIND,
    "side": _choice("buy", "sell"),
    "order_qty": _number,
    "limit_price": _number,
    "limit_price_type": _PRICE_TYPE,
    "triggers": _TRIGGERS,
    "time_in_force": _choice("gtc", "gtd", "ioc", "fok"),
    "expire_time": _time,
    "effective_time": _time,
    "post_only": _bool,
    "reduce_only": _bool,
    "margin": _bool,
    "display_qty": _number,
    "fee_preference": _choice("base", "quote"),
    "stp_type": _choice("cancel_newest", "cancel_oldest", "cancel_both"),
    "cl_ord_id": _text,
    "order_userref": _integer,
    "cash_order_qty": _number,
    "conditional": _CONDITIONAL,
    "no_mpp": _bool,
    "sender_sub_id": _text,
    "stop_price": _number,
    "trigger": _REFERENCE,
}
_ADD: Final = _ORDER | {"symbol": _text, "token": _text, "deadline": _time, "validate": _bool}
_AMEND: Final[dict[str, Callable[[str, object], Any]]] = {
    "order_id": _text,
    "cl_ord_id": _text,
    "order_qty": _number,
    "limit_price": _number,
    "limit_price_type": _PRICE_TYPE,
    "trigger_price": _number,
    "trigger_price_type": _PRICE_TYPE,
    "display_qty": _number,
    "post_only": _bool,
    "deadline": _time,
    "symbol": _text,
    "token": _text,
}
_EDIT: Final[dict[str, Callable[[str, object], Any]]] = {
    "order_id": _text,
    "symbol": _text,
    "order_qty": _number,
    "limit_price": _number,
    "display_qty": _number,
    "fee_preference": _choice("base", "quote"),
    "order_userref": _integer,
    "post_only": _bool,
    "reduce_only": _bool,
    "triggers": _TRIGGERS,
    "deadline": _time,
    "validate": _bool,
    "no_mpp": _bool,
    "price": _number,
    "stop_price": _number,
    "trigger": _REFERENCE,
    "token": _text,
}
_FIELDS: Final[dict[str, dict[str, Callable[[str, object], Any]]]] = {
    "add_order": _ADD,
    "amend_order": _AMEND,
    "edit_order": _EDIT,
    "cancel_order": {"order_id": _texts, "cl_ord_id": _texts, "order_userref": _integers, "token": _text},
    "cancel_all": {"token": _text},
    "cancel_all_orders_after": {"timeout": _integer, "token": _text},
    "batch_add": {"symbol": _text, "orders": _array, "deadline": _time, "validate": _bool, "token": _text},
    "batch_cancel": {"orders": _texts, "cl_ord_id": _texts, "token": _text},
}
_SUBSCRIBE: Final[dict[str, dict[str, Callable[[str, object], Any]]]] = {
    "executions": {
        "channel": _text,
        "token": _text,
        "snap_orders": _bool,
        "snap_trades": _bool,
        "snapshot": _bool,
        "snapshot_trades": _bool,
        "order_status": _bool,
        "ratecounter": _bool,
        "rebased": _bool,
        "users": _text,
    },
    "balances": {"channel": _text, "token": _text, "snapshot": _bool, "rebased": _bool, "users": _text},
}
_TOP_LEVEL: Final = frozenset({"method", "params", "req_id"})
_PING: Final = frozenset({"method", "req_id"})


# --- requests --------------------------------------------------------------------------------------------------------


def parse_private_request(text: bytes) -> PrivateRequest:
    """Parse one frame of a client. Never raises: an invalid one becomes a `Refusal`."""
    try:
        request = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        return Refusal(MALFORMED, "error")
    if not isinstance(request, dict):
        return Refusal(MALFORMED, "error")
    req_id = request.get("req_id")
    if req_id is not None and (type(req_id) is not int or not -(1 << 63) <= req_id < 1 << 64):
        return Refusal(MALFORMED, "error")
    method = request.get("method")
    if not isinstance(method, str) or not (method in _FIELDS or method in ("ping", "subscribe", "unsubscribe")):
        return Refusal(MALFORMED, "error", req_id)
    params = request.get("params")
    try:
        if stray := request.keys() - (_PING if method == "ping" else _TOP_LEVEL):
            raise _Refused(f"Unsupported field: '{min(stray)}' for the given msg type: {method}")
        if method == "ping":
            return Ping(req_id)
        if not isinstance(params, dict):
            raise _Refused(UNSUPPORTED_EVENT if method.endswith("subscribe") else "Token(s) not found")
        if method in ("subscribe", "unsubscribe"):
            return _subscription(method, req_id, params)
        return _READERS[method](method, req_id, _with_token(_read(params, _FIELDS[method], method)))
    except _Refused as refused:
        return Refusal(str(refused), method, req_id, _named_symbol(method, request, params))


def _with_token(values: dict[str, Any]) -> dict[str, Any]:
    if "token" not in values:
        raise _Refused("Token(s) not found")
    return values


def _need(values: dict[str, Any], *names: str) -> None:
    for name in names:
        if name not in values:
            raise _Refused(f"{_title(name)}(s) not found")


def _named_symbol(method: str, request: dict[str, Any], params: object) -> str | None:
    """The symbol in a failed subscription, wherever it stands, for the refusal; trading
    refusals have none.
    """
    if not method.endswith("subscribe"):
        return None
    for fields in (params, request):
        symbols = fields.get("symbol") if isinstance(fields, dict) else None
        if isinstance(symbols, list) and symbols:
            symbols = symbols[0]
        if isinstance(symbols, str):
            return symbols
    return None


def _subscription(method: str, req_id: int | None, params: dict[str, Any]) -> Subscribe | Unsubscribe:
    channel = params.get("channel")
    if not isinstance(channel, str):
        raise _Refused(UNSUPPORTED_EVENT)
    if channel in PUBLIC_CHANNELS:
        raise _Refused(PUBLIC_HERE)
    if channel not in CHANNELS:
        raise _Refused("Channel not supported" if channel in PRIVATE_CHANNELS else UNSUPPORTED_EVENT)
    values = _with_token(_read(params, _SUBSCRIBE[channel], method))
    if method == "unsubscribe":
        return Unsubscribe(req_id=req_id, token=values["token"], channel=channel)
    snapshot = values.get("snapshot", True)
    return Subscribe(
        req_id=req_id,
        token=values["token"],
        channel=channel,
        snap_orders=values.get("snap_orders", snapshot),
        snap_trades=values.get("snap_trades", values.get("snapshot_trades", False)),
        order_status=values.get("order_status", True),
        ratecounter=values.get("ratecounter", False),
        users=values.get("users"),
    )


def _warnings(values: dict[str, Any]) -> tuple[str, ...]:
    return tuple(warning for name, warning in DEPRECATED.items() if name in values)


def _order(values: dict[str, Any], symbol: str) -> OrderSpec:
    """The order of an add, or one row of a batch."""
    _need(values, "order_type", "side")
    kind = values["order_type"]
    if "order_qty" not in values and "cash_order_qty" not in values:
        raise _Refused("Order_qty(s) not found")
    if kind in ("limit", "iceberg") or kind.endswith("-limit"):
        _need(values, "limit_price")
    triggers = _triggers(values)
    if triggers is None and kind.startswith(("stop-", "take-", "trailing-")):
        raise _Refused("Triggers(s) not found")
    conditional = None
    if (asked := values.get("conditional")) is not None:
        _need(asked, "order_type")
        conditional = Conditional(
            order_type=asked["order_type"],
            limit_price=asked.get("limit_price"),
            limit_price_type=asked.get("limit_price_type", "static"),
            trigger_price=asked.get("trigger_price", asked.get("stop_price")),
            trigger_price_type=asked.get("trigger_price_type", "static"),
        )
    return OrderSpec(
        order_type=kind,
        side=values["side"],
        symbol=symbol,
        order_qty=values.get("order_qty"),
        limit_price=values.get("limit_price"),
        limit_price_type=values.get("limit_price_type"),
        triggers=triggers,
        time_in_force=values.get("time_in_force", "gtc"),
        expire_time=values.get("expire_time"),
        effective_time=values.get("effective_time"),
        deadline=values.get("deadline"),
        post_only=values.get("post_only", False),
        reduce_only=values.get("reduce_only", False),
        margin=values.get("margin", False),
        display_qty=values.get("display_qty"),
        fee_preference=values.get("fee_preference"),
        stp_type=values.get("stp_type", "cancel_newest"),
        cl_ord_id=values.get("cl_ord_id"),
        order_userref=values.get("order_userref"),
        cash_order_qty=values.get("cash_order_qty"),
        conditional=conditional,
        sender_sub_id=values.get("sender_sub_id"),
        validate=values.get("validate", False),
    )


def _triggers(values: dict[str, Any]) -> Triggers | None:
    """The trigger fields, from the object or from the older flat keys; None if there are
    none.
    """
    asked = values.get("triggers")
    if asked is not None:
        _need(asked, "price")
        return Triggers(asked["price"], asked.get("price_type", "static"), asked.get("reference", "last"))
    if "stop_price" in values:
        return Triggers(values["stop_price"], "static", values.get("trigger", "last"))
    return None


def _add(method: str, req_id: int | None, values: dict[str, Any]) -> TradingRequest:
    _need(values, "symbol")
    return TradingRequest(
        method=method,
        req_id=req_id,
        token=values["token"],
        symbols=(values["symbol"],),
        warnings=_warnings(values),
        deadline=values.get("deadline"),
        validate=values.get("validate", False),
        orders=(_order(values, values["symbol"]),),
    )


def _batch_add(method: str, req_id: int | None, values: dict[str, Any]) -> TradingRequest:
    _need(values, "symbol", "orders")
    symbol, deadline = values["symbol"], values.get("deadline")
    rows = []
    for row in values["orders"]:
        if not isinstance(row, dict):
            raise _Refused("Orders field must be an array of objects")
        rows.append(_read(row, _ORDER, method))
    return TradingRequest(
        method=method,
        req_id=req_id,
        token=values["token"],
        symbols=(symbol,),
        warnings=tuple(dict.fromkeys(warning for row in rows for warning in _warnings(row))),
        deadline=deadline,
        validate=values.get("validate", False),
        orders=tuple(_order(row | ({"deadline": deadline} if deadline else {}), symbol) for row in rows),
    )


def _amend(method: str, req_id: int | None, values: dict[str, Any]) -> TradingRequest:
    if "order_id" not in values and "cl_ord_id" not in values:
        raise _Refused("Order_id(s) not found")
    asked = {name: value for name, value in values.items() if name not in ("token", "symbol")}
    if "order_id" in asked:
        asked.pop("cl_ord_id", None)
    return TradingRequest(
        method=method, req_id=req_id, token=values["token"], deadline=values.get("deadline"), amend=AmendSpec(**asked)
    )


def _edit(method: str, req_id: int | None, values: dict[str, Any]) -> TradingRequest:
    _need(values, "order_id", "symbol")
    return TradingRequest(
        method=method,
        req_id=req_id,
        token=values["token"],
        symbols=(values["symbol"],),
        warnings=_warnings(values),
        deadline=values.get("deadline"),
        validate=values.get("validate", False),
        edit=EditSpec(
            order_id=values["order_id"],
            symbol=values["symbol"],
            order_qty=values.get("order_qty"),
            limit_price=values.get("limit_price", values.get("price")),
            display_qty=values.get("display_qty"),
            triggers=_triggers(values),
            fee_preference=values.get("fee_preference"),
            order_userref=values.get("order_userref"),
            post_only=values.get("post_only", False),
            reduce_only=values.get("reduce_only", False),
            deadline=values.get("deadline"),
            validate=values.get("validate", False),
        ),
    )


def _cancel(method: str, req_id: int | None, values: dict[str, Any]) -> TradingRequest:
    request = TradingRequest(
        method=method,
        req_id=req_id,
        token=values["token"],
        order_ids=values.get("order_id", ()),
        cl_ord_ids=values.get("cl_ord_id", ()),
        userrefs=values.get("order_userref", ()),
    )
    if not (request.order_ids or request.cl_ord_ids or request.userrefs):
        raise _Refused("Order_id(s) not found")
    return request


def _cancel_all(method: str, req_id: int | None, values: dict[str, Any]) -> TradingRequest:
    return TradingRequest(method=method, req_id=req_id, token=values["token"])


def _cancel_after(method: str, req_id: int | None, values: dict[str, Any]) -> TradingRequest:
    _need(values, "timeout")
    return TradingRequest(method=method, req_id=req_id, token=values["token"], timeout_s=values["timeout"])


def _batch_cancel(method: str, req_id: int | None, values: dict[str, Any]) -> TradingRequest:
    if "cl_ord_id" not in values:
        _need(values, "orders")
    return TradingRequest(
        method=method,
        req_id=req_id,
        token=values["token"],
        order_ids=values.get("orders", ()),
        cl_ord_ids=values.get("cl_ord_id", ()),
    )


_READERS: Final[dict[str, Callable[[str, int | None, dict[str, Any]], TradingRequest]]] = {
    "add_order": _add,
    "amend_order": _amend,
    "edit_order": _edit,
    "cancel_order": _cancel,
    "cancel_all": _cancel_all,
    "cancel_all_orders_after": _cancel_after,
    "batch_add": _batch_add,
    "batch_cancel": _batch_cancel,
}
