"""Kraken's private rows as the facts that the rest of the engine knows."""

from decimal import Decimal

from engine.kraken.connection.salvage import cut
from engine.kraken.private.messages import BalanceRow, ExecutionRow
from engine.orders.venue_facts import BalanceFact, ExecutionFact, Fee
from engine.timestamps import wall_ns
from engine.units import MonoNs

# What Kraken's gateways print where there is nothing: a Python None among them.
NULL_TEXTS = frozenset({"", "none", "null", "nil", "0"})
SPOT = "spot"  # the only wallet that can be traded from
REASON_BYTES_MAX = 200  # Kraken's are a few words
_ZERO = Decimal(0)


def execution_fact(row: ExecutionRow, received_at: MonoNs, *, is_snapshot: bool) -> ExecutionFact:
    """One row of the executions channel."""
    triggers = row.triggers
    return ExecutionFact(
        exec_type=row.exec_type,
        order_id=row.order_id,
        timestamp=wall_ns(row.timestamp),
        received_at=received_at,
        cl_ord_id=_name(row.cl_ord_id),
        order_userref=row.order_userref or None,  # Kraken writes 0 for an order without any id of the client
        symbol=row.symbol,
        side=row.side,
        order_type=row.order_type,
        order_status=row.order_status or None,
        # Beside an amount of money it may count the money, as REST's volume does.
        order_qty=row.order_qty if row.cash_order_qty is None else None,
        # Of a trailing order that waits for its trigger Kraken tells here how far its limit will lie from that.
        limit_price=row.limit_price if row.limit_price_type in (None, "static") else None,
        cum_qty=row.cum_qty,
        cum_cost=row.cum_cost,
        avg_price=row.avg_price,
        exec_id=row.exec_id,
        trade_id=row.trade_id,
        last_qty=row.last_qty,
        last_price=row.last_price,
        cost=row.cost,
        liquidity=row.liquidity_ind,
        fees=tuple(Fee(fee.asset, fee.qty) for fee in row.fees) if row.fees else (),
        reason=cut(row.reason or row.cancel_reason or "", REASON_BYTES_MAX) or None,
        time_in_force=row.time_in_force.lower() if row.time_in_force else None,
        post_only=row.post_only,
        fee_preference="base" if row.fee_ccy_pref == "fcib" else None,
        display_qty=row.display_qty,
        trigger_status=triggers.status if triggers else None,
        trigger_price=triggers.price if triggers else None,
        ord_ref_id=_name(row.ord_ref_id),
        rate_count=row.rate_count if row.rate_count is not None else row.ratecount,
        is_snapshot=is_snapshot,
    )


def _name(text: str | None) -> str | None:
    """An id, or None in whatever form it is printed."""
    return None if text is None or text.strip().lower() in NULL_TEXTS else text


def balance_fact(row: BalanceRow, *, is_snapshot: bool) -> BalanceFact | None:
    """One row of the balances channel; None for the leg of a wallet that cannot be traded from."""
    if is_snapshot:
        if not row.wallets:
            return BalanceFact(asset=row.asset, balance=row.balance, is_snapshot=True)
        spot = sum((wallet.balance for wallet in row.wallets if wallet.type == SPOT), _ZERO)
        earning = sum((wallet.balance for wallet in row.wallets if wallet.type != SPOT), _ZERO)
        return BalanceFact(asset=row.asset, balance=spot, earning=earning, is_snapshot=True)
    if row.wallet_type not in (None, SPOT):
        return None
    return BalanceFact(
        asset=row.asset,
        balance=row.balance,
        amount=row.amount,
        fee=row.fee,
        ledger_id=row.ledger_id or "",
        ref_id=row.ref_id or "",
        kind=row.type or "",
        timestamp=wall_ns(row.timestamp),
    )
