"""The rows of the executions and balances channels, as Kraken writes them.

Each `exec_type` has one set of keys, in the order of genuine frames. Prices have the pair's
price precision, quantities its lot precision, costs its cost precision, balances the
asset's. Terminal rows carry no symbol. Where no genuine row is known (`expired`, `status`,
`iceberg_refill`) the row is like the most similar known one, with the keys of Kraken's
page.
"""

from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from engine.units import WallNs
from engine.venue.market.pairs import PairSpec, asset_spec
from engine.venue.trading.client_order import LIMIT_KINDS, TRAILING_KINDS, ClientOrder, Execution, LedgerEntry
from engine.venue.wire.text import NumberText, number_text, utc_us

SNAPSHOT_TRADES: Final = 50
USD_DECIMALS: Final = 4
FEE_PREFERENCES: Final = {"base": "fcib", "quote": "fciq", None: "fciq"}

_json = msgspec.json.Encoder().encode


class PairText(NamedTuple):
    """The number writers of one pair."""

    price: NumberText
    qty: NumberText
    cost: NumberText
    usd: NumberText  # of `fee_usd_equiv`


def usd_decimals(pair: PairSpec) -> int:
    """The precision of `fee_usd_equiv`: measured 5 on BTC/USD and 7 on ADX/USD (cost
    precision), 4 on BTC/USDT.
    """
    return pair.cost_decimals if pair.quote == "USD" else USD_DECIMALS


@lru_cache(maxsize=1024)
def pair_text(price_decimals: int, qty_decimals: int, cost_decimals: int, usd: int) -> PairText:
    """The writers of a pair with these precisions."""
    return PairText(
        number_text(price_decimals), number_text(qty_decimals), number_text(cost_decimals), number_text(usd)
    )


def _text_of(pair: PairSpec) -> PairText:
    return pair_text(pair.price_decimals, pair.qty_decimals, pair.cost_decimals, usd_decimals(pair))


def _quoted(text: str) -> str:
    return _json(text).decode()


def _ids(cl_ord_id: str | None, order_userref: int | None) -> str:
    """The client order id, or an `order_userref`, which is 0 where the client gave neither."""
    if cl_ord_id is not None:
        return f'"cl_ord_id":{_quoted(cl_ord_id)}'
    return f'"order_userref":{order_userref or 0}'


# --- executions


def pending_new_row(order: ClientOrder, at: WallNs) -> str:
    """The first row of an order, the only one with all of the request."""
    return "{" + _terms(order, "pending_new") + f',"timestamp":"{utc_us(at)}"}}'


def snapshot_order_row(order: ClientOrder) -> str:
    """An open order in the snapshot: its request, and its fills so far."""
    text = _text_of(order.pair)
    return (
        "{"
        + _terms(order, "new")
        + f',"cum_qty":{text.qty(order.cum_lots)},"avg_price":{text.price(order.avg_ticks)},'
        + f'"timestamp":"{utc_us(order.opened_at)}"}}'
    )


def _terms(order: ClientOrder, exec_type: str) -> str:
    text = _text_of(order.pair)
    spec = order.spec
    parts = [f'"order_id":"{order.order_id}","symbol":"{order.symbol}"']
    if spec.cash_order_qty is not None:
        parts.append(f'"cash_order_qty":{spec.cash_order_qty:f}')
    else:
        parts.append(f'"order_qty":{text.qty(order.qty_lots)}')
    parts.append(
        f'"cum_cost":{text.cost(order.cum_cost_units)},"time_in_force":"{spec.time_in_force.upper()}",'
        f'"exec_type":"{exec_type}","side":"{order.side.value}","order_type":"{order.order_type}",'
        f"{_ids(order.cl_ord_id, order.order_userref)}"
    )
    if order.ref_order_id is not None:
        parts.append(f'"ord_ref_id":"{order.ref_order_id}"')
    if order.order_type in LIMIT_KINDS:
        parts.append(f'"limit_price_type":"{_limit_price_type(order)}"')
    if order.is_triggered_kind:
        parts.append(_triggers(order, text))
        parts.append(f'"stop_price":{text.price(order.trigger_ticks or 0)}')
    if order.order_type in LIMIT_KINDS:
        parts.append(f'"limit_price":{_limit_price(order, text)}')
    if spec.triggers is not None and order.is_triggered_kind:
        parts.append(f'"trigger":"{spec.triggers.reference}"')
    elif order.order_type in LIMIT_KINDS:
        parts.append(f'"stop_price":{text.price(0)}')
    if order.display_lots:
        parts.append(f'"display_qty":{text.qty(order.display_lots)}')
    if spec.expire_time is not None:
        parts.append(f'"expire_time":"{utc_us(spec.expire_time)}"')
    if spec.effective_time is not None:
        parts.append(f'"effective_time":"{utc_us(spec.effective_time)}"')
    if order.post_only:
        parts.append('"post_only":true')
    if spec.conditional is not None:
        parts.append(_contingent(order))
    if spec.sender_sub_id is not None:
        parts.append(f'"sender_sub_id":{_quoted(spec.sender_sub_id)}')
    parts.append(
        f'"order_status":"{order.status}","fee_usd_equiv":{text.usd(order.fee_usd_units)},'
        f'"fee_ccy_pref":"{FEE_PREFERENCES[spec.fee_preference]}"'
    )
    return ",".join(parts)


def _limit_price_type(order: ClientOrder) -> str:
    if order.order_type in TRAILING_KINDS and order.limit_ticks is None:
        return order.spec.limit_price_type or "quote"
    return "static"


def _limit_price(order: ClientOrder, text: PairText) -> str:
    if order.limit_ticks is None:  # a trailing limit's price is an offset until it is triggered
        return f"{order.spec.limit_price or Decimal(0):f}"
    return text.price(order.limit_ticks)


def _triggers(order: ClientOrder, text: PairText) -> str:
    triggers = order.spec.triggers
    assert triggers is not None
    price = f"{triggers.price:f}"
    if triggers.price_type == "static" and order.trigger_ticks is not None:
        price = text.price(order.trigger_ticks)
    parts = [f'"price":{price},"price_type":"{triggers.price_type}","reference":"{triggers.reference}"']
    if order.order_type in TRAILING_KINDS or triggers.price_type != "static":
        parts.append(f'"actual_price":{text.price(order.trigger_ticks or 0)}')
    if order.peak_ticks is not None:
        parts.append(f'"peak_price":{text.price(order.peak_ticks)}')
    if order.triggered_at is None:
        parts.append('"status":"untriggered"')
    else:
        parts.append(
            f'"last_price":{text.price(order.triggered_ticks or 0)},"status":"triggered",'
            f'"timestamp":"{utc_us(order.triggered_at)}"'
        )
    return f'"triggers":{{{",".join(parts)}}}'


def _contingent(order: ClientOrder) -> str:
    conditional = order.spec.conditional
    assert conditional is not None
    parts = [f'"order_type":"{conditional.order_type}"']
    if conditional.trigger_price is not None:
        parts.append(f'"trigger_price":{conditional.trigger_price:f}')
        parts.append(f'"trigger_price_type":"{conditional.trigger_price_type}"')
    if conditional.limit_price is not None:
        parts.append(f'"limit_price":{conditional.limit_price:f}')
        parts.append(f'"limit_price_type":"{conditional.limit_price_type}"')
    return f'"contingent":{{{",".join(parts)}}}'


def _short_ids(order: ClientOrder) -> str:
    """The end of the short rows: the client's id, post-only, then the venue's id."""
    post_only = ',"post_only":true' if order.post_only else ""
    return f"{_ids(order.cl_ord_id, order.order_userref)}{post_only}"


def new_row(order: ClientOrder, at: WallNs) -> str:
    """The order is live."""
    return (
        f'{{"timestamp":"{utc_us(at)}","order_status":"new","exec_type":"new",{_short_ids(order)},'
        f'"order_id":"{order.order_id}"}}'
    )


def trade_row(order: ClientOrder, execution: Execution) -> str:
    """A fill. The status is `partially_filled` even for the last: only `filled` tells
    completion.
    """
    text = _text_of(order.pair)
    return (
        f"{{{_trade_head(execution, text)},"
        f'"order_type":"{execution.order_type}","timestamp":"{utc_us(execution.at)}",'
        f'"order_status":"partially_filled","cum_qty":{text.qty(order.cum_lots)},'
        f'"cum_cost":{text.cost(order.cum_cost_units)},"avg_price":{text.price(order.avg_ticks)},'
        f"{_trade_fees(execution, text)}}}"
    )


def snapshot_trade_row(execution: Execution) -> str:
    """A fill in the snapshot: without its order's totals, and always `filled`."""
    text = _text_of(execution.pair)
    sender = "" if execution.sender_sub_id is None else f'"sender_sub_id":{_quoted(execution.sender_sub_id)},'
    return (
        f"{{{_trade_head(execution, text)},"
        f'"order_status":"filled","order_type":"{execution.order_type}",{sender}"timestamp":"{utc_us(execution.at)}",'
        f"{_trade_fees(execution, text)}}}"
    )


def _trade_head(execution: Execution, text: PairText) -> str:
    return (
        f'"order_id":"{execution.order_id}",{_ids(execution.cl_ord_id, execution.order_userref)},'
        f'"exec_id":"{execution.exec_id}","exec_type":"trade","trade_id":{execution.trade_id},'
        f'"symbol":"{execution.pair.symbol}","side":"{execution.side.value}",'
        f'"last_qty":{text.qty(execution.qty_lots)},"last_price":{text.price(execution.price_ticks)},'
        f'"liquidity_ind":"{"m" if execution.is_maker else "t"}","cost":{text.cost(execution.cost_units)}'
    )


def _trade_fees(execution: Execution, text: PairText) -> str:
    asset, base_fee = execution.fee_asset, execution.base_fee
    qty = text.cost(execution.fee_units) if base_fee is None else asset_text(asset, base_fee)
    return f'"fee_usd_equiv":{text.usd(execution.fee_usd_units)},"fees":[{{"asset":"{asset}","qty":{qty}}}]'


def filled_row(order: ClientOrder, at: WallNs) -> str:
    """The order is filled completely."""
    return (
        f'{{"timestamp":"{utc_us(at)}","order_status":"filled","exec_type":"filled",{_totals(order)},'
        f'{_ids(order.cl_ord_id, order.order_userref)},"order_id":"{order.order_id}"}}'
    )


def ended_row(order: ClientOrder, at: WallNs) -> str:
    """The order was canceled, or it expired."""
    reason = _quoted(order.reason or "")
    return (
        f'{{"timestamp":"{utc_us(at)}","order_status":"{order.status}","exec_type":"{order.status}",{_totals(order)},'
        f'{_short_ids(order)},"cancel_reason":{reason},"reason":{reason},"order_id":"{order.order_id}"}}'
    )


def _totals(order: ClientOrder) -> str:
    text = _text_of(order.pair)
    return (
        f'"cum_qty":{text.qty(order.cum_lots)},"cum_cost":{text.cost(order.cum_cost_units)},'
        f'"fee_usd_equiv":{text.usd(order.fee_usd_units)},"avg_price":{text.price(order.avg_ticks)}'
    )


def amended_row(order: ClientOrder, at: WallNs, reason: str) -> str:
    """The order's terms have changed."""
    text = _text_of(order.pair)
    limit = ""
    if order.order_type in LIMIT_KINDS:
        limit = f',"limit_price":{_limit_price(order, text)},"limit_price_type":"{_limit_price_type(order)}"'
    display = f',"display_qty":{text.qty(order.display_lots)}' if order.display_lots else ""
    triggers = f",{_triggers(order, text)}" if order.is_triggered_kind else ""
    return (
        f'{{"timestamp":"{utc_us(at)}","exec_type":"amended","order_status":"{order.status}",'
        f'"cum_qty":{text.qty(order.cum_lots)},"reason":{_quoted(reason)},"amended":true,'
        f'"order_qty":{text.qty(order.qty_lots)}{limit}{display}{triggers},'
        f'{_ids(order.cl_ord_id, order.order_userref)},"order_id":"{order.order_id}"}}'
    )


def status_row(order: ClientOrder, at: WallNs) -> str:
    """The order was triggered."""
    text = _text_of(order.pair)
    return (
        f'{{"timestamp":"{utc_us(at)}","exec_type":"status","order_status":"{order.status}",{_triggers(order, text)},'
        f'{_ids(order.cl_ord_id, order.order_userref)},"order_id":"{order.order_id}"}}'
    )


def refill_row(order: ClientOrder, shown_lots: int, at: WallNs) -> str:
    """An iceberg shows its next part."""
    text = _text_of(order.pair)
    return (
        f'{{"timestamp":"{utc_us(at)}","exec_type":"iceberg_refill","order_status":"{order.status}",'
        f'"display_qty":{text.qty(order.display_lots)},"display_qty_remain":{text.qty(shown_lots)},'
        f'{_ids(order.cl_ord_id, order.order_userref)},"order_id":"{order.order_id}"}}'
    )


# --- balances


def asset_text(asset: str, amount: Decimal) -> str:
    """An amount at its asset's precision: four decimals for US dollars, ten for bitcoin."""
    return f"{amount:.{asset_spec(asset).precision}f}"


def balance_row(asset: str, balance: Decimal) -> str:
    """One asset of the snapshot."""
    text = asset_text(asset, balance)
    return (
        f'{{"asset":"{asset}","asset_class":"currency","wallets":[{{"type":"spot","id":"main","balance":{text}}}],'
        f'"balance":{text}}}'
    )


def ledger_row(entry: LedgerEntry) -> str:
    """One leg of a change of a balance."""
    return (
        f'{{"ledger_id":"{entry.ledger_id}","ref_id":"{entry.ref_id}","timestamp":"{utc_us(entry.at)}",'
        f'"type":"{entry.kind}","asset":"{entry.asset}","asset_class":"currency","category":"{entry.kind}",'
        f'"wallet_type":"spot","wallet_id":"main","amount":{asset_text(entry.asset, entry.amount)},'
        f'"fee":{asset_text(entry.asset, entry.fee)},"balance":{asset_text(entry.asset, entry.balance)}}}'
    )
