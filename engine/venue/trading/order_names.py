"""The open orders that a request names: by Kraken's id, the client order id, or a shared
number.
"""

from typing import Final

from engine.errors import VenueReject
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import ClientOrder

UNKNOWN_ORDER: Final = "EOrder:Unknown order"


def open_order(account: Account, order_id: str | None, cl_ord_id: str | None) -> ClientOrder:
    """The one open order that one of the two ids names; raises VenueReject without one."""
    if order_id is not None:
        order = account.open_orders.get(order_id)
    else:
        order = account.open_by_cl_ord_id(cl_ord_id or "")
    if order is None:
        raise VenueReject(UNKNOWN_ORDER)
    return order


def open_orders_of_userref(account: Account, userref: int) -> list[ClientOrder]:
    """All open orders with this number, oldest first; raises VenueReject without one."""
    orders = account.open_by_userref(userref)
    if not orders:
        raise VenueReject(UNKNOWN_ORDER)
    return orders


def order_to_edit(account: Account, name: str) -> ClientOrder:
    """The open order with this id, or with this userref, if it is the only one; else raises
    VenueReject.
    """
    order = account.open_orders.get(name)
    if order is None and _is_userref(name):
        orders = account.open_by_userref(int(name))
        order = orders[0] if len(orders) == 1 else None
    if order is None:
        raise VenueReject(UNKNOWN_ORDER)
    return order


def orders_of_batch(account: Account, names: list[str], cl_ord_ids: list[str]) -> list[ClientOrder]:
    """The open ones among these (ids, or userrefs as text; client order ids), each once;
    may be none.
    """
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
