"""An account's orders as REST shows them: selected, sorted, in pages, and possibly delayed.

The genuine REST lags behind the engine at times. A view `as_of` an earlier moment leaves
out later orders, fills, amends and ends.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final, TypeVar

from engine.units import NS_PER_S, WallNs
from engine.venue.rest.params import Params
from engine.venue.rest.text import OrderView
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import ClientOrder, Execution
from engine.venue.trading.order_checks import invalid

PAGE: Final = 50

Row = TypeVar("Row")


def current_view(order: ClientOrder) -> OrderView:
    """An order in its present state."""
    return OrderView(
        order,
        order.is_open,
        order.order_qty,
        order.limit_price,
        order.cum_qty,
        order.cum_cost,
        order.fee,
        order.exec_ids,
        order.amended,
    )


def view_of(order: ClientOrder, account: Account, as_of: WallNs | None) -> OrderView | None:
    """An order in its state then; None when it had not been placed. `as_of` None means now."""
    if as_of is None:
        return current_view(order)
    if order.opened_at > as_of:
        return None
    fills = [account.executions[exec_id] for exec_id in order.exec_ids if exec_id in account.executions]
    fills = [fill for fill in fills if fill.at <= as_of]
    terms = [version for version in order.amendments if version.at <= as_of]
    return OrderView(
        order,
        order.closed_at is None or order.closed_at > as_of,
        terms[-1].order_qty if terms else order.order_qty,
        terms[-1].limit_price if terms else order.limit_price,
        sum((fill.qty for fill in fills), Decimal(0)),
        sum((fill.cost for fill in fills), Decimal(0)),
        sum((fill.fee for fill in fills), Decimal(0)),
        [fill.exec_id for fill in fills],
        len(terms) > 1,
    )


def open_views(account: Account, params: Params, as_of: WallNs | None) -> list[OrderView]:
    """OpenOrders, newest first."""
    return [
        view
        for order in _newest_first(account, as_of)
        if (view := view_of(order, account, as_of)) is not None and view.is_open and _is_wanted(order, params)
    ]


def closed_views(account: Account, params: Params, as_of: WallNs | None) -> list[OrderView]:
    """ClosedOrders, the last to end first; not yet cut into pages."""
    closetime = params.choice("closetime", ("both", "open", "close")) or "both"
    span = Span(params, account)
    views = []
    for order in reversed(account.closed_orders.values()):
        if as_of is not None and (order.closed_at or 0) > as_of:
            continue
        times = {
            "open": (order.opened_at,),
            "close": (order.closed_at or order.opened_at,),
            "both": (order.opened_at, order.closed_at or order.opened_at),
        }[closetime]
        if any(span.holds(at) for at in times) and _is_wanted(order, params):
            view = view_of(order, account, as_of)
            if view is not None:
                views.append(view)
    return views


def _newest_first(account: Account, as_of: WallNs | None) -> Iterable[ClientOrder]:
    """The orders that are open, or were open then."""
    if as_of is None:
        return reversed(account.open_orders.values())
    since_ended = [order for order in account.closed_orders.values() if (order.closed_at or 0) > as_of]
    return sorted([*account.open_orders.values(), *since_ended], key=lambda order: -order.sequence)


def _is_wanted(order: ClientOrder, params: Params) -> bool:
    """Whether the userref or client order id of the request, where there is one, is the
    order's.
    """
    userref, cl_ord_id = params.integer("userref"), params.text("cl_ord_id")
    if userref is not None and order.order_userref != userref:
        return False
    return cl_ord_id is None or order.cl_ord_id == cl_ord_id


class Span:
    """From `start`, exclusive, to `end`, inclusive: seconds since 1970, or the id of an
    order or entry.
    """

    def __init__(self, params: Params, account: Account) -> None:
        self._start = _moment(params, "start", account)
        self._end = _moment(params, "end", account)

    def holds(self, at: WallNs) -> bool:
        """Whether the time is within the span."""
        return (self._start is None or at > self._start) and (self._end is None or at <= self._end)


def _moment(params: Params, name: str, account: Account) -> int | None:
    text = params.text(name)
    if text is None:
        return None
    if order := account.order(text):
        return order.opened_at
    if execution := account.executions.get(text):
        return execution.at
    if entry := account.entries.get(text):
        return entry.at
    seconds = params.decimal(name)
    if seconds is None or not -1 <= seconds < 10**12:
        raise invalid(name)
    return int(seconds * NS_PER_S)


def page(rows: Sequence[Row], params: Params, rows_max: int = PAGE) -> Sequence[Row]:
    """`rows_max` of the rows, from the offset `ofs` on."""
    offset = params.integer("ofs") or 0
    if offset < 0:
        raise invalid("ofs")
    return rows[offset : offset + rows_max]


def merged(executions: Iterable[Execution]) -> list[list[Execution]]:
    """Fills, with those that a taker made at once put together, the default of
    `consolidate_taker`.
    """
    groups: list[list[Execution]] = []
    for execution in executions:
        last = groups[-1][0] if groups else None
        if (
            last is not None
            and not execution.is_maker
            and not last.is_maker
            and (last.order_id, last.at) == (execution.order_id, execution.at)
        ):
            groups[-1].append(execution)
        else:
            groups.append([execution])
    return groups


def chosen(ids: list[str], count_max: int, name: str) -> Iterable[str]:
    """The ids of a Query call, within its limit."""
    if not 1 <= len(ids) <= count_max:
        raise invalid(name)
    return islice(dict.fromkeys(ids), count_max)
