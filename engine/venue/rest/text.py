"""REST's encoder: orders, fills and entries as its replies write them.

Numbers are text at the precision of the pair or asset: prices in a description at the price
precision, all other money at the cost precision; times are seconds with a fraction. The
keys and their order are those of genuine replies of 2026.
"""

from collections.abc import Sequence
from decimal import Decimal
from time import gmtime, strftime
from typing import Any, Final

import msgspec

from engine.units import NS_PER_MS, NS_PER_S, WallNs
from engine.venue.market.pairs import PairSpec
from engine.venue.rest.names import PairNames, asset_decimals, asset_id
from engine.venue.trading.client_order import (
    LIMIT_KINDS,
    TRAILING_KINDS,
    TRIGGER_KINDS,
    Amendment,
    ClientOrder,
    Conditional,
    Execution,
    LedgerEntry,
    OrderSpec,
    Triggers,
)

SPOT_POSITION: Final = "TKH2SE-M7IF5-CFI7LT"
"""The position that every spot fill names, in all genuine replies."""

PAIR_CLASS: Final = "forex"
"""The class (`aclass`) of every spot pair."""

_US: Final = 6


def padded(value: Decimal | int, decimals: int) -> str:
    """`padded(Decimal("1.5"), 4) == "1.5000"`; digits beyond the precision are rounded half
    to even.
    """
    return f"{value:.{decimals}f}"


def seconds(at: WallNs) -> float:
    """A time in orders and trades, in seconds to the microsecond."""
    return round(at / NS_PER_S, _US)


def whole_seconds(at: WallNs | None) -> int:
    """A time in starttm and expiretm; 0 for none."""
    return 0 if at is None else at // NS_PER_S


def utc_s(at_s: int) -> str:
    """Write `2023-03-24T17:41:56Z`: whole seconds, as CancelAllOrdersAfter does."""
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(at_s))


# --- descriptions


def _words(kind: str) -> str:
    return kind.replace("-", " ")


def offset_text(value: Decimal, price_type: str, pair: PairSpec) -> str:
    """Write `+1.0000%` or `+25.0`: the distance of a trailing stop."""
    return f"{value:+.4f}%" if price_type == "pct" else f"{value:+.{pair.price_decimals}f}"


def _trigger_text(triggers: Triggers, kind: str, pair: PairSpec) -> str:
    if triggers.price_type == "static" and kind not in TRAILING_KINDS:
        return padded(triggers.price, pair.price_decimals)
    return offset_text(triggers.price, triggers.price_type, pair)


def _limit_text(limit: Decimal | None, price_type: str | None, kind: str, pair: PairSpec) -> str:
    if limit is None:
        return "0"
    if kind == "trailing-stop-limit" and price_type != "static":
        return offset_text(limit, price_type or "quote", pair)
    return padded(limit, pair.price_decimals)


def prices_text(spec: OrderSpec, pair: PairSpec, limit_price: Decimal | None) -> tuple[str, str]:
    """`descr.price` and `descr.price2`, with the present limit where there is one."""
    kind = spec.order_type
    limit = spec.limit_price if limit_price is None or kind == "trailing-stop-limit" else limit_price
    limit_text = _limit_text(limit, spec.limit_price_type, kind, pair)
    if spec.triggers is None:
        return limit_text, "0"
    return _trigger_text(spec.triggers, kind, pair), limit_text if kind in LIMIT_KINDS else "0"


def edited_prices_text(spec: OrderSpec, pair: PairSpec, asked: tuple[str | None, str | None]) -> tuple[str, str]:
    """The prices of EditOrder's reply: as they were given, `0.89` and not `0.8900`, unless
    distances.
    """
    price, price2 = (
        text if word is None or word[:1] in "+-#" or word.endswith("%") else word
        for word, text in zip(asked, prices_text(spec, pair, None), strict=True)
    )
    return price, price2


def volume_text(spec: OrderSpec, pair: PairSpec, qty: Decimal) -> str:
    """The volume of an order: its quantity, or with `viqc` its amount of quote currency."""
    return padded(qty if spec.cash_order_qty is None else spec.cash_order_qty, pair.qty_decimals)


def order_text(
    spec: OrderSpec,
    pair: PairSpec,
    altname: str,
    qty: Decimal,
    limit_price: Decimal | None = None,
    prices: tuple[str, str] | None = None,
) -> str:
    """Write `buy 1.25000000 XBTUSD @ stop loss 27500.0 -> limit 27400.0`.

    In a `viqc` order the number is the amount of the quote currency, and only the flag
    shows it, as ccxt met it in 2024; ten years earlier the wire had `buy 1.00000000 (EUR)
    XBTEUR`. `prices` are the texts of `descr.price` and `descr.price2` where they are not
    those of the order.
    """
    kind = spec.order_type
    price, price2 = prices or prices_text(spec, pair, limit_price)
    text = f"{spec.side} {volume_text(spec, pair, qty)} {altname} @ "
    if kind in TRIGGER_KINDS:
        text += f"{_words(kind.removesuffix('-limit'))} {price}"
        if kind in LIMIT_KINDS:
            text += f" -> limit {price2}"
        return text
    return text + (f"{_words(kind)} {price}" if kind in LIMIT_KINDS else _words(kind))


def close_text(conditional: Conditional | None, pair: PairSpec) -> str:
    """Write `close position @ stop loss 22000.0 -> limit 21000.0`; empty for an order
    without one.
    """
    if conditional is None:
        return ""
    kind = conditional.order_type
    limit = _limit_text(conditional.limit_price, conditional.limit_price_type, kind, pair)
    if conditional.trigger_price is None:
        return f"close position @ {_words(kind)} {limit}"
    trigger = _trigger_text(Triggers(conditional.trigger_price, conditional.trigger_price_type), kind, pair)
    text = f"close position @ {_words(kind.removesuffix('-limit'))} {trigger}"
    return text if conditional.limit_price is None else f"{text} -> limit {limit}"


# --- rows


class OrderView(msgspec.Struct, frozen=True):
    """An order as a reply shows it: in its present state, or in that of a while ago."""

    order: ClientOrder
    is_open: bool
    order_qty: Decimal
    limit_price: Decimal | None
    cum_qty: Decimal
    cum_cost: Decimal
    fee: Decimal
    exec_ids: Sequence[str]
    amended: bool

    @property
    def status(self) -> str:
        """Kraken's REST word: pending, open, closed, canceled, expired."""
        if self.is_open:
            return "pending" if self.order.place == "scheduled" else "open"
        return "closed" if self.order.status == "filled" else self.order.status


def order_row(view: OrderView, names: PairNames, with_trades: bool) -> dict[str, Any]:
    """One order of OpenOrders, ClosedOrders and QueryOrders."""
    order, pair, spec = view.order, view.order.pair, view.order.spec
    money = pair.cost_decimals
    price, price2 = prices_text(spec, pair, view.limit_price)
    row: dict[str, Any] = {
        "refid": order.ref_order_id,
        "userref": order.order_userref if order.cl_ord_id is not None else order.order_userref or 0,
    }
    if order.cl_ord_id is not None:
        row["cl_ord_id"] = order.cl_ord_id
    row |= {
        "status": view.status,
        "opentm": seconds(order.opened_at),
        "starttm": whole_seconds(spec.effective_time),
        "expiretm": whole_seconds(spec.expire_time),
        "descr": {
            "pair": names.altname,
            "aclass": PAIR_CLASS,
            "type": spec.side,
            "ordertype": order.order_type,
            "price": price,
            "price2": price2,
            "leverage": "none",
            "order": order_text(spec, pair, names.altname, view.order_qty, view.limit_price),
            "close": close_text(spec.conditional, pair),
        },
        "vol": volume_text(spec, pair, view.order_qty),
        "vol_exec": padded(view.cum_qty, pair.qty_decimals),
        "cost": padded(view.cum_cost, money),
        "fee": padded(view.fee, money),
        "price": padded(view.cum_cost / view.cum_qty, pair.price_decimals) if view.cum_qty else padded(0, money),
        **_stop_prices(order, money),
    }
    if order.display_qty is not None:
        row["displayvol"] = padded(order.display_qty, pair.qty_decimals)
    if spec.triggers is not None:
        row["trigger"] = spec.triggers.reference
    row |= {"misc": _misc(view), "oflags": _oflags(order)}
    if view.is_open:
        row["time_in_force"] = spec.time_in_force
    else:
        row |= {"reason": order.reason, "closetm": seconds(order.closed_at or order.opened_at)}
    if with_trades:
        row["trades"] = list(view.exec_ids)
    return row


def _stop_prices(order: ClientOrder, money: int) -> dict[str, str]:
    """The trigger's price and time; zeros for an order without one."""
    stop = limit = Decimal(0)
    decimals = order.pair.price_decimals
    if order.order_type in TRAILING_KINDS:
        stop = order.trigger_price or stop
        limit = Decimal(order.peak_ticks or 0).scaleb(-decimals)
    elif order.triggered_at is not None:
        stop, limit = order.trigger_price or stop, order.limit_price or limit
    return {"stopprice": padded(stop, money), "limitprice": padded(limit, money)}


def _misc(view: OrderView) -> str:
    order = view.order
    words = []
    if order.triggered_at is not None:
        words.append("touched" if order.order_type.startswith("take-profit") else "stopped")
    if view.amended:
        words.append("amended")
    return ",".join(words)


def _oflags(order: ClientOrder) -> str:
    """A set of words, in the order of the wire: `post,fciq` in June 2026. The place of
    `viqc` is unknown.
    """
    flags = ["post"] if order.post_only else []
    flags.append("fcib" if order.spec.fee_preference == "base" else "fciq")
    if order.spec.cash_order_qty is not None:
        flags.append("viqc")
    return ",".join(flags)


def _traded_as(kind: str) -> str:
    """The kind as which an order trades: a stop-loss takes as a market order."""
    return "limit" if kind in LIMIT_KINDS else "market"


def trade_row(fills: Sequence[Execution], names: PairNames, with_ledgers: bool) -> dict[str, Any]:
    """One row of TradesHistory and QueryTrades: one fill, or all that one taker made at
    once.
    """
    first, pair = fills[0], fills[0].pair
    money = max(pair.cost_decimals, pair.price_decimals)
    qty = sum((fill.qty for fill in fills), Decimal(0))
    cost = sum((fill.cost for fill in fills), Decimal(0))
    row: dict[str, Any] = {
        "ordertxid": first.order_id,
        "postxid": SPOT_POSITION,
        "pair": names.pair_id,
        "aclass": PAIR_CLASS,
        "time": round(first.at / NS_PER_S, _US + 1),
        "type": first.side.value,
        "ordertype": first.order_type,
        "tradeordertype": _traded_as(first.order_type),
        "price": padded(first.price if len(fills) == 1 else cost / qty, money),
        "cost": padded(cost, money),
        "fee": padded(sum((fill.fee for fill in fills), Decimal(0)), money),
        "vol": padded(qty, pair.qty_decimals),
        "margin": padded(0, money),
        "leverage": "0",
        "misc": "",
        "trade_id": first.trade_id,
        "maker": first.is_maker,
    }
    if with_ledgers:
        row["ledgers"] = [ledger_id for fill in fills for ledger_id in fill.ledger_ids if ledger_id]
    return row


def ledger_row(entry: LedgerEntry) -> dict[str, Any]:
    """One entry of Ledgers and QueryLedgers."""
    decimals = asset_decimals(entry.asset)
    return {
        "refid": entry.ref_id,
        "time": seconds(entry.at),
        "type": entry.kind,
        "subtype": "",
        "aclass": "currency",
        "asset": asset_id(entry.asset),
        "amount": padded(entry.amount, decimals),
        "fee": padded(entry.fee, decimals),
        "balance": padded(entry.balance, decimals),
    }


def amend_row(amendment: Amendment, pair: PairSpec) -> dict[str, Any]:
    """One row of OrderAmends; fields that an order lacks are left out."""
    row: dict[str, Any] = {
        "amend_id": amendment.amend_id,
        "amend_type": amendment.amend_type,
        "order_qty": padded(amendment.order_qty, pair.qty_decimals),
        "remaining_qty": padded(amendment.remaining_qty, pair.qty_decimals),
    }
    if amendment.display_qty is not None:
        row["display_qty"] = padded(amendment.display_qty, pair.qty_decimals)
    if amendment.limit_price is not None:
        row["limit_price"] = padded(amendment.limit_price, pair.price_decimals)
    if amendment.trigger_price is not None:
        row["trigger_price"] = padded(amendment.trigger_price, pair.price_decimals)
    if amendment.reason is not None:
        row["reason"] = amendment.reason
    return row | {"post_only": amendment.post_only, "timestamp": amendment.at // NS_PER_MS}
