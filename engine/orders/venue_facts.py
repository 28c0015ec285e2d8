"""Facts: what Kraken tells of orders and money, in the engine's units. Made from its
messages, read by the router.

Every field but the order's id may be missing: Kraken's reports of the end of an order carry
no symbol, no side and no quantity. Numbers are Decimals of Kraken's own text.
"""

from decimal import Decimal
from enum import Enum
from typing import Final

from msgspec import Struct

from engine.units import MonoNs, WallNs


class Outcome(Enum):
    """What an error, or the lack of an answer, says of the order or of the requested
    change."""

    NOT_PLACED = "not_placed"
    """Nothing happened, for certain."""
    UNKNOWN = "unknown"
    """It may have happened, or may still happen: it must be looked up before anything
    else."""
    ALREADY_PLACED = "already_placed"
    """This request did nothing, but an order with this id is open."""
    NOT_OPEN = "not_open"
    """The order that was to be changed or canceled is not open."""


class Fee(Struct, frozen=True, array_like=True):
    """One fee of a fill."""

    asset: str
    qty: Decimal


# How the fields of an ExecutionFact are called in Kraken's rows and in the account ring,
# where that differs. A leading underscore marks those that no row has: whatever Kraken adds
# to its rows cannot set them.
EXECUTION_NAMES: Final = {
    "liquidity": "liquidity_ind",
    "received_at": "_received_at",
    "is_fee_asset_told": "_is_fee_asset_told",
    "fee_preference": "_fee_preference",
    "trigger_price": "_trigger_price",
    "is_snapshot": "_is_snapshot",
}


class ExecutionFact(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag="x", tag_field="fact", rename=EXECUTION_NAMES
):
    """One row of the executions channel, or one fill that REST told.

    The private feed decodes Kraken's rows as a subclass of this,
    `kraken.private.messages.ExecutionRow`, and the account ring carries them as they are.
    """

    exec_type: str
    """pending_new, new, trade, filled, canceled, expired, amended, restated, status,
    iceberg_refill, or a newer one."""
    order_id: str
    timestamp: WallNs
    received_at: MonoNs = MonoNs(0)
    cl_ord_id: str | None = None
    order_userref: int | None = None
    symbol: str | None = None
    side: str | None = None
    order_type: str | None = None
    order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    """None also while it is only a distance from the trigger."""
    cum_qty: Decimal | None = None
    exec_id: str | None = None
    trade_id: int | None = None
    last_qty: Decimal | None = None
    last_price: Decimal | None = None
    cost: Decimal | None = None
    liquidity: str | None = None
    """m or t."""
    fees: tuple[Fee, ...] = ()
    is_fee_asset_told: bool = True
    """False where Kraken says what the fee is worth in quote currency, and not in which
    currency it was taken. The asset is empty then if the pair is not known either."""
    reason: str | None = None
    time_in_force: str | None = None
    post_only: bool | None = None
    fee_preference: str | None = None
    """base where the order pays its fees in the base currency."""
    trigger_price: Decimal | None = None
    """A price, per cent or an amount, as in the order."""
    ord_ref_id: str | None = None
    """The order whose conditional close this one is."""
    rate_count: Decimal | None = None
    """Kraken's rate counter of the pair; None when the row does not have it."""
    is_snapshot: bool = False

    @property
    def own_userref(self) -> int | None:
        """A closing order carries the userref of its parent, which is not its own name."""
        return None if self.ord_ref_id else self.order_userref


class BalanceFact(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="b", tag_field="fact"):
    """One asset, from a snapshot or after one entry of the ledger."""

    asset: str
    balance: Decimal
    """Of a snapshot: in all wallets that can be traded from. Of an entry of the ledger:
    afterwards, in those wallets or in all of the account; Kraken does not say which."""
    earning: Decimal = Decimal(0)
    """Of the others; known from snapshots only."""
    is_snapshot: bool = False
    amount: Decimal | None = None
    fee: Decimal | None = None


class FeedLost(Struct, frozen=True, tag="l", tag_field="fact"):
    """Facts may be missing until the next snapshot, which is on its way unless `trouble`
    says otherwise."""

    reason: str
    channel: str = ""
    """executions or balances, whose messages have a gap: the connection stands, and a fresh
    snapshot has been asked for. Empty: the connection is gone, and with it both."""
    trouble: str = ""
    """Why no snapshot is on its way: "unreachable", "has no token", "is refused"."""


class FeedAlive(Struct, frozen=True, tag="a", tag_field="fact"):
    """The private connection gives signs of life."""

    heard_at: MonoNs
    """When a frame last arrived. It may have been on its way for long."""
    complete_until: MonoNs
    """Everything that Kraken had sent by then has been published: a ping that left at that
    time has been answered. 0 before the first answer."""


class SnapshotBegan(Struct, frozen=True, tag="s", tag_field="fact"):
    """The rows of a snapshot of one channel follow: executions or balances."""

    channel: str


class SnapshotEnded(Struct, frozen=True, tag="e", tag_field="fact"):
    """The snapshot is complete; updates follow."""

    channel: str
    max_rate_count: int | None = None
    """Threshold of the account's tier."""
    asked_at: MonoNs = MonoNs(0)
    """When the snapshot was asked for: orders sent later may be missing in it."""


AccountFact = ExecutionFact | BalanceFact | FeedLost | FeedAlive | SnapshotBegan | SnapshotEnded


class OrderLookup(Struct, frozen=True, kw_only=True):
    """One order as REST tells it: OpenOrders, ClosedOrders or QueryOrders."""

    order_id: str
    status: str
    """pending, open, closed (filled), canceled or expired."""
    cl_ord_id: str | None = None
    order_userref: int | None = None
    side: str | None = None
    qty: Decimal | None = None
    """In the base currency; None when the order names the money, for then REST counts in
    that."""
    filled_qty: Decimal | None = None
    """Likewise; its fills tell what was filled."""
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    """None without one, and for a distance or per cent."""
    reason: str | None = None
    opened_at: WallNs = WallNs(0)
    trade_ids: tuple[str, ...] = ()
    parent_id: str | None = None
    """Kraken's id of the order whose conditional close this one is."""

    @property
    def own_userref(self) -> int | None:
        """A closing order carries the userref of its parent, which is not its own name."""
        return None if self.parent_id else self.order_userref
