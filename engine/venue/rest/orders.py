"""The trading calls of REST, AddOrder to CancelAllOrdersAfter, over the private WebSocket's
engine.

Each call takes the key, the parameters and the time, and returns the `result` of the reply;
it raises VenueReject with Kraken's words.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from engine.errors import VenueReject
from engine.units import NS_PER_S, WallNs
from engine.venue.market.pair_market import PairMarket
from engine.venue.rest.names import NameBook
from engine.venue.rest.params import Params
from engine.venue.rest.requests import amend, batch_rows, edit, new_order, read_deadline
from engine.venue.rest.text import close_text, edited_prices_text, order_text, padded, utc_s
from engine.venue.setup.keys import ApiKey
from engine.venue.trading.client_order import ClientOrder, OrderSpec
from engine.venue.trading.order_changes import edited_spec
from engine.venue.trading.order_checks import check_client_id, invalid
from engine.venue.trading.trading import Trading
from engine.venue.websocket.private_faults import PrivateFaults

RestCall = Callable[[ApiKey, Params, WallNs], Any]
"""One method of REST."""

INVALID_ORDER: Final = "EOrder:Invalid order"
UNKNOWN_ORDER: Final = "EOrder:Unknown order"
CANCEL_BATCH_MAX: Final = 50

_ORDER_ID: Final = re.compile(r"[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{6}")
_USERREF: Final = re.compile(r"-?\d{1,10}")


def check_order_id(text: str) -> str:
    """Return the text if it could be an order's id; else raise VenueReject."""
    if not _ORDER_ID.fullmatch(text):
        raise VenueReject(INVALID_ORDER)
    return text


def _open_id(cl_ord_id: str) -> str:
    """Return the client order id if it has a legal form; else raise VenueReject: no order
    has it.
    """
    try:
        check_client_id(cl_ord_id)
    except VenueReject:
        raise VenueReject(INVALID_ORDER) from None
    return cl_ord_id


class RestOrders:
    """The calls that change orders."""

    def __init__(self, trading: Trading, faults: PrivateFaults, book: NameBook) -> None:
        self._trading = trading
        self._faults = faults
        self._book = book

    # --- placing

    def add_order(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"txid":["O…"],"descr":{"order":"buy 1.25000000 XBTUSD @ limit
        37500.0"}}`.

        Without txid when it was only to be validated.
        """
        market = self._market(params)
        validate = params.flag("validate")
        spec = new_order(params, market, at, read_deadline(params, at), validate)
        if validate:
            self._trading.check(api_key.account_id, spec, at)
            return {"descr": self._description(spec, market)}
        order = self._trading.add(api_key.account_id, spec, at)
        return {"txid": [order.order_id], "descr": self._description(spec, market, order)}

    def add_order_batch(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"orders":[{"txid":"O…","descr":{…}},{"error":"EOrder:Insufficient
        funds"}]}`.

        The txid is no list here.
        """
        market = self._market(params)
        validate = params.flag("validate")
        deadline = read_deadline(params, at)
        specs = [new_order(row, market, at, deadline, validate) for row in batch_rows(params)]
        if validate:
            self._trading.check_batch(api_key.account_id, specs, at)
            return {"orders": [self._batch_row(spec, market, None) for spec in specs]}
        struck = self._faults.strikes("batch-refusal", "batch_add", (market.pair.symbol,))
        refused = int(self._faults.share() * len(specs)) if struck else None
        placed = self._trading.add_batch(api_key.account_id, specs, at, refused_row=refused)
        return {"orders": [self._batch_row(spec, market, order) for spec, order in zip(specs, placed, strict=True)]}

    def _batch_row(self, spec: OrderSpec, market: PairMarket, placed: ClientOrder | VenueReject | None) -> Any:
        if isinstance(placed, VenueReject):
            return {"error": str(placed)}
        description = self._description(spec, market, placed)
        row: dict[str, Any] = {} if placed is None else {"txid": placed.order_id}
        row["descr"] = {"order": description["order"]}
        if "close" in description:
            row["close"] = description["close"]
        return row

    # --- changing

    def amend_order(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"amend_id":"T…"}`."""
        order = self._named_order(api_key, params)
        change = amend(params, order, self._trading.markets[order.symbol], at)
        return {"amend_id": self._trading.amend(api_key.account_id, change, at).amend_id}

    def edit_order(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return the new txid, and the state of the old order."""
        market = self._market(params)
        validate = params.flag("validate")
        old = self._edited_order(api_key, params)
        if old.symbol != market.pair.symbol:
            raise VenueReject(UNKNOWN_ORDER)
        change = edit(params, old, market, at, validate)
        order = self._trading.edit(api_key.account_id, change, at)
        spec, pair = (edited_spec(old, change) if validate else order.spec), order.pair
        qty = spec.order_qty if validate else order.order_qty
        assert qty is not None, "an edited order names no cost"
        result: dict[str, Any] = {"status": "ok"}
        if not validate:
            result |= {"txid": order.order_id, "originaltxid": old.order_id}
        if change.order_userref is not None:
            result["newuserref"] = change.order_userref
        if old.order_userref is not None:
            result["olduserref"] = old.order_userref
        result["volume"] = padded(qty, pair.qty_decimals)
        prices = edited_prices_text(spec, pair, (params.text("price"), params.text("price2")))
        result |= {name: text for name, text in zip(("price", "price2"), prices, strict=True) if text != "0"}
        result["orders_cancelled"] = 0 if validate else 1
        result["descr"] = self._description(spec, market, None if validate else order, edited_prices=prices)
        return result

    def _edited_order(self, api_key: ApiKey, params: Params) -> ClientOrder:
        """The order by txid, or by a userref that only one open order has."""
        name = params.required("txid")
        account = self._trading.account(api_key.account_id)
        if _USERREF.fullmatch(name):
            orders = account.open_by_userref(int(name))
            if len(orders) != 1:
                raise VenueReject(UNKNOWN_ORDER)
            return orders[0]
        order = account.open_orders.get(check_order_id(name))
        if order is None:
            raise VenueReject(UNKNOWN_ORDER)
        return order

    def _named_order(self, api_key: ApiKey, params: Params) -> ClientOrder:
        """The order by txid or by client order id; exactly one of them is given."""
        account = self._trading.account(api_key.account_id)
        order_id, cl_ord_id = params.text("txid"), params.text("cl_ord_id")
        if (order_id is None) == (cl_ord_id is None):
            raise invalid("txid" if order_id is None else "cl_ord_id")
        if order_id is not None:
            order = account.open_orders.get(check_order_id(order_id))
        else:
            order = account.open_by_cl_ord_id(_open_id(cl_ord_id or ""))
        if order is None:
            raise VenueReject(UNKNOWN_ORDER)
        return order

    # --- canceling

    def cancel_order(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"count":1}`; by txid, by userref, which several orders may have, or by
        client order id.
        """
        account_id = api_key.account_id
        if params.has("txid"):
            names = params.texts("txid")
            if len(names) > CANCEL_BATCH_MAX:
                raise invalid("txid")
            if len(names) == 1:
                return {"count": len(self._cancel_one(account_id, names[0], at))}
            return {"count": self._cancel_many(account_id, [_order_name(name) for name in names], [], at)}
        if params.has("userref"):
            return {"count": len(self._cancel_one(account_id, params.required("userref"), at))}
        cl_ord_id = params.text("cl_ord_id")
        if cl_ord_id is None:
            raise invalid("cl_ord_id") if params.raw("txid") is None else VenueReject(INVALID_ORDER)
        return {"count": len(self._trading.cancel(account_id, at, cl_ord_id=_open_id(cl_ord_id)))}

    def _cancel_one(self, account_id: int, name: str, at: WallNs) -> list[ClientOrder]:
        if _USERREF.fullmatch(name):
            return self._trading.cancel(account_id, at, userref=int(name))
        return self._trading.cancel(account_id, at, order_id=check_order_id(name))

    def _cancel_many(self, account_id: int, names: list[str], cl_ord_ids: list[str], at: WallNs) -> int:
        count = self._trading.cancel_batch(account_id, at, names, cl_ord_ids)
        if not count:
            raise VenueReject(UNKNOWN_ORDER)
        return count

    def cancel_order_batch(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"count":2}`: how many of them were open."""
        names, cl_ord_ids = _batch_names(params), params.texts("cl_ord_ids")
        if not 1 <= len(names) + len(cl_ord_ids) <= CANCEL_BATCH_MAX:
            raise invalid("orders")
        if self._faults.strikes("batch-refusal", "batch_cancel"):
            struck = names or cl_ord_ids
            del struck[int(self._faults.share() * len(struck))]
        return {"count": self._cancel_many(api_key.account_id, names, cl_ord_ids, at)}

    def cancel_all(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return `{"count":4}`; 0 is a success too."""
        return {"count": self._trading.cancel_all(api_key.account_id, at)}

    def cancel_all_orders_after(self, api_key: ApiKey, params: Params, at: WallNs) -> Any:
        """Return
        `{"currentTime":"2023-03-24T17:41:56Z","triggerTime":"2023-03-24T17:42:56Z"}`.

        The trigger time is `"0"` when the switch is disarmed.
        """
        timeout_s = params.integer("timeout")
        if timeout_s is None:
            raise invalid("timeout")
        strikes_at = self._trading.cancel_all_orders_after(api_key.account_id, timeout_s, at)
        # Whole seconds on both sides, so that the two are always `timeout` apart.
        return {
            "currentTime": utc_s(at // NS_PER_S),
            "triggerTime": "0" if strikes_at is None else utc_s(at // NS_PER_S + timeout_s),
        }

    # --- texts

    def _market(self, params: Params) -> PairMarket:
        return self._trading.markets[self._book.pair(params.required("pair")).symbol]

    def _description(
        self,
        spec: OrderSpec,
        market: PairMarket,
        order: ClientOrder | None = None,
        *,
        edited_prices: tuple[str, str] | None = None,
    ) -> dict[str, str]:
        """Describe an order in Kraken's words. EditOrder's has the prices as they were
        given, and the pair's id.
        """
        pair = market.pair
        names = self._book.names[pair.symbol]
        name = names.altname if edited_prices is None else names.pair_id
        qty = order.order_qty if order is not None else spec.order_qty or spec.cash_order_qty
        assert qty is not None
        description = {"order": order_text(spec, pair, name, qty, prices=edited_prices)}
        if spec.conditional is not None:
            description["close"] = close_text(spec.conditional, pair)
        return description


def _order_name(name: str) -> str:
    return name if _USERREF.fullmatch(name) else check_order_id(name)


def _batch_names(params: Params) -> list[str]:
    """Order ids, userrefs as text or number, or objects with either."""
    names = []
    for element in params.elements("orders"):
        if isinstance(element, dict):
            element = element.get("txid") or element.get("userref")
        if isinstance(element, bool) or not isinstance(element, (str, int)):
            raise invalid("orders")
        names.append(_order_name(str(element)))
    return names


def trading_calls(orders: RestOrders) -> dict[str, tuple[tuple[str, ...], RestCall]]:
    """By method: the permissions it needs (all of them, or one of those joined by `|`), and
    its function.
    """
    modify, close = "modify-trades", "close-trades"
    either = f"{modify}|{close}"
    return {
        "AddOrder": ((modify,), orders.add_order),
        "AddOrderBatch": ((modify, close), orders.add_order_batch),
        "AmendOrder": ((modify,), orders.amend_order),
        "EditOrder": ((modify, close), orders.edit_order),
        "CancelOrder": ((either,), orders.cancel_order),
        "CancelOrderBatch": ((either,), orders.cancel_order_batch),
        "CancelAll": ((either,), orders.cancel_all),
        "CancelAllOrdersAfter": ((either,), orders.cancel_all_orders_after),
    }
