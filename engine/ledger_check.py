"""Three records of one run, compared order by order and fill by fill: the venue's ledger,
the journal, the strategy.

    ledger      what the venue accepted, and how it ended
    journal     what the router wrote
    strategy    what callbacks were told, as counts and digests (`Tally`)

They must agree: no order twice, none missing, no end that the venue does not confirm.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import msgspec
from msgspec import Struct

from engine.orders.blotter import Blotter
from engine.orders.journal import read_journal
from engine.orders.journal_records import Filled, Snapshot, Submitted
from engine.orders.life import OrderState
from engine.orders.positions import fee_in_base
from engine.orders.tally import Tally
from engine.orders.tracked_order import TrackedOrder
from engine.units import units_decimal

LEDGER_DEADLINE_S: Final = 10.0
DIFFERENCES_SHOWN_MAX: Final = 20


class VenueOrder(Struct, frozen=True):
    """One order of the venue's ledger: the fields that are compared."""

    order_id: str
    cl_ord_id: str | None
    order_userref: int | None
    symbol: str
    side: str
    status: str
    cum_qty: Decimal


class VenueFill(Struct, frozen=True):
    """One fill of the venue's ledger."""

    exec_id: str
    order_id: str
    cl_ord_id: str | None
    qty: Decimal
    price: Decimal
    cost: Decimal
    fee: Decimal
    base_change: Decimal | None = None
    """Of the account's balance in the base currency; None when the ledger does not tell."""


class Ledger(Struct, frozen=True):
    """The venue's ledger."""

    orders: list[VenueOrder]
    fills: list[VenueFill]
    complete: bool = True


class Told(Struct, frozen=True):
    """What one strategy's callbacks were told."""

    fills: Tally
    ends: Tally


def fetch_ledger(rest_url: str) -> Ledger:
    """The ledger of the built-in venue."""
    with urlopen(f"{rest_url}/venue/ledger", timeout=LEDGER_DEADLINE_S) as answer:
        return msgspec.json.decode(answer.read(), type=Ledger)


def compare_with_ledger(rest_url: str, state_dir: Path, told: Iterable[Told]) -> dict[str, Any]:
    """The object `ledger` of a summary: {orders, fills, agree, differences}."""
    try:
        ledger = fetch_ledger(rest_url)
    except (OSError, ValueError) as error:
        return {"orders": 0, "fills": 0, "agree": False, "differences": [f"the ledger cannot be read: {error}"]}
    differences = compare(ledger, *read_state(state_dir), list(told))
    return {
        "orders": len(ledger.orders),
        "fills": len(ledger.fills),
        "agree": not differences,
        "differences": differences[:DIFFERENCES_SHOWN_MAX],
    }


def read_state(state_dir: Path) -> tuple[dict[str, TrackedOrder], dict[str, tuple[Filled, TrackedOrder]]]:
    """All orders and fills of the journal segments that are still there, by their ids."""
    blotter = Blotter()
    orders: dict[str, TrackedOrder] = {}
    fills: dict[str, tuple[Filled, TrackedOrder]] = {}
    for _, record in read_journal(state_dir):
        if isinstance(record, Snapshot) and orders:
            continue  # sums up what was read
        change = blotter.apply(record)
        if change is None:
            continue
        if change.is_new:
            orders[change.order.key] = change.order
        if isinstance(record, Submitted) and not change.is_new:
            raise AssertionError("a new order is new")
        if change.fill is not None:
            fills[change.fill.exec_id] = (change.fill, change.order)
    return orders, fills


def compare(
    ledger: Ledger,
    orders: Mapping[str, TrackedOrder],
    fills: Mapping[str, tuple[Filled, TrackedOrder]],
    told: Sequence[Told],
) -> list[str]:
    """All differences, each as a sentence; empty when all agree."""
    return [
        *([] if ledger.complete else ["the venue's ledger is not complete"]),
        *_orders_differ(ledger.orders, orders),
        *_fills_differ(ledger.fills, fills),
        *_told_differ(orders, fills, told),
    ]


def _orders_differ(theirs: Sequence[VenueOrder], ours: Mapping[str, TrackedOrder]) -> Iterable[str]:
    by_order_id = {order.order_id: order for order in ours.values() if order.order_id}
    seen: dict[str, str] = {}
    for venue in theirs:
        order = by_order_id.get(venue.order_id)
        name = venue.cl_ord_id or venue.order_id
        if order is None:
            yield f"the venue has order {name} ({venue.status}), the journal does not"
            continue
        if venue.cl_ord_id is not None:
            if venue.cl_ord_id in seen:
                yield f"the venue has order {name} twice: {seen[venue.cl_ord_id]} and {venue.order_id}"
            seen[venue.cl_ord_id] = venue.order_id
        status = _status(order)
        # An order whose time has not come is pending at the venue, and working for us.
        if venue.status != status and (venue.status, status) != ("pending_new", "new"):
            yield f"order {name} is {venue.status} at the venue and {status} in the journal"
        filled = order.filled_qty
        if venue.cum_qty != filled:
            yield f"order {name} has {venue.cum_qty:f} filled at the venue and {filled:f} in the journal"
    known = {venue.order_id for venue in theirs}
    for order in ours.values():
        if order.order_id and order.order_id not in known:
            yield f"the journal has order {order.key} as {order.order_id}, the venue does not"
        if not order.order_id and order.state not in (OrderState.REJECTED, OrderState.REFUSED):
            yield f"order {order.key} is {order.state} in the journal, and the venue never had it"


def _status(order: TrackedOrder) -> str:
    match order.state:
        case OrderState.WORKING:
            return "new"
        case OrderState.PARTIAL:
            return "partially_filled"
        case _:
            return str(order.state)


def _fills_differ(theirs: Sequence[VenueFill], ours: Mapping[str, tuple[Filled, TrackedOrder]]) -> Iterable[str]:
    for venue in theirs:
        known = ours.get(venue.exec_id)
        if known is None:
            yield f"the venue has fill {venue.exec_id} of {venue.cl_ord_id or venue.order_id}, the journal does not"
            continue
        fill, order = known
        qty = units_decimal(fill.qty, fill.qty_decimals)
        fee, changed = sum((fee.qty for fee in fill.fees), Decimal(0)), _base_change(order, fill)
        more = fee - venue.fee
        if order.intent.fee_preference == "base" and abs(more) <= base_fee_slack(venue.fee, venue.cost, venue.price):
            fee, changed = fee - more, changed + more
        if (venue.qty, venue.price, venue.cost, venue.fee) != (qty, fill.price, fill.cost, fee):
            yield (
                f"fill {venue.exec_id} is {venue.qty:f} at {venue.price:f} for {venue.cost:f}, fee {venue.fee:f} "
                f"at the venue and {qty:f} at {fill.price:f} for {fill.cost:f}, fee {fee:f} in the journal"
            )
        if venue.base_change is not None and venue.base_change != changed:
            yield (
                f"fill {venue.exec_id} changed the balance by {venue.base_change:f} at the venue and by {changed:f} in "
                "the journal"
            )
    known_there = {venue.exec_id for venue in theirs}
    for exec_id in ours:
        if exec_id not in known_there:
            yield f"the journal has fill {exec_id}, the venue does not"


def _base_change(order: TrackedOrder, fill: Filled) -> Decimal:
    """The change of the account's base currency by a fill, according to the journal."""
    if fill.base_change is not None:
        return fill.base_change
    qty = units_decimal(fill.qty, fill.qty_decimals)
    fee = fee_in_base(order.symbol, tuple((fee.asset, fee.qty) for fee in fill.fees))
    return (qty if order.is_buy else -qty) - fee


def base_fee_slack(fee: Decimal, cost: Decimal, price: Decimal) -> Decimal:
    """How far a fee in the base currency may be from ours: REST tells of it only by its
    value, which is rounded as the fill's cost is.
    """
    return _unit(fee) + _unit(cost) / price


def _unit(shown: Decimal) -> Decimal:
    """The last decimal of a number as it is shown."""
    return Decimal(1).scaleb(int(shown.as_tuple().exponent))


def _told_differ(
    orders: Mapping[str, TrackedOrder],
    fills: Mapping[str, tuple[Filled, TrackedOrder]],
    told: Sequence[Told],
) -> Iterable[str]:
    """Compare the strategies' callbacks with the journal, without orders that no strategy
    sent."""
    fills_journal, ends_journal = Tally(), Tally()
    for fill, order in fills.values():
        if order.strategy:
            fills_journal.add(fill.exec_id, order.key, units_decimal(fill.qty, fill.qty_decimals), fill.price)
    for order in orders.values():
        if order.strategy and not order.is_open:
            ends_journal.add(order.key, order.state.name)
    for name, ours, theirs in (
        ("fills", fills_journal, [each.fills for each in told]),
        ("ends of orders", ends_journal, [each.ends for each in told]),
    ):
        total = Tally.sum(theirs)
        if total != ours:
            yield f"strategies were told {total.count} {name} and the journal has {ours.count}, or others"
