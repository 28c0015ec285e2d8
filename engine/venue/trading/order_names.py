"""Which open orders a request means: by Kraken's id, by the client's own, or by a number that several may share."""

from typing import Final

from engine.errors import VenueReject
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import ClientOrder

UNKNOWN_ORDER: Final = "EOrder:Unknown order"


def open_order(account: Account, order_id: str | None, cl_ord_id: str | None) -> ClientOrder:
    """The one order that one of the two ids names."""
    if order_id is not None:
        order = account.open_orders.get(order_id)
    else:
        order = account.open_by_cl_ord_id(cl_ord_id or "")
    if order is None:
        raise VenueReject(UNKNOWN_ORDER)
    return order


def open_orders_of_userref(account: Account, userref: int) -> list[ClientOrder]:
    """All with this number, oldest first; at least one."""
    orders = account.open_by_userref(userref)
    if not orders:
        raise VenueReject(UNKNOWN_ORDER)
    return orders


def order_to_edit(account: Account, name: str) -> ClientOrder:
    """By its id, or by a userref that only one open order has."""
    order = account.open_orders.get(name)
    if order is None and _is_userref(name):
        orders = account.open_by_userref(int(name))
        order = orders[0] if len(orders) == 1 else None
    if order is None:
        raise VenueReject(UNKNOWN_ORDER)
    return order


def orders_of_batch(account: Account, names: list[str], cl_ord_ids: list[str]) -> list[ClientOrder]:
    """What is open of these (ids, or userrefs as text; the client's own ids), each once; possibly nothing."""
    orders: dict[str, ClientOrder] = {}
    for name in names:
        order = account.open_orders.get(name)
        named = [order] if order else account.open_by_userref(int(name)) if _is_userref(name) else []
        orders |= {order.order_id: order for order in named}
    for name in cl_ord_ids:
        if (order := account.open_by_cl_ord_id(name)) is not None:
            orders[order.order_id] = order
    return list(orders.values())


def _is_userref(name: str) -> bool:
    return name.isascii() and name.removeprefix("-").isdigit() and len(name) <= 11
