"""Kraken's private messages as typed Structs: their names, and the fields that we use.

Every field of a row may be missing, for each kind of execution has its own set; only the
ids are nearly always there. Numbers are Decimals read from their text, so `0.00010000`
keeps its zeros. Unknown fields are ignored. A field that cannot be read is left at its
default, unless ESSENTIAL names it: then the row is not taken at all, since orders and money
would be counted wrong.

Sources: https://docs.kraken.com/api/docs/websocket-v2/executions and …/balances, corrected
by what the wire shows.
"""

from decimal import Decimal
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from engine.kraken.connection.salvage import AssetName, Reader, ShortText, Word, cut, is_null
from engine.orders.venue_facts import EXECUTION_NAMES, BalanceFact, ExecutionFact, Fee
from engine.timestamps import wall_ns
from engine.units import MonoNs

# --- executions

FEES_MAX: Final = 4  # of one fill: the genuine ones have one
REASON_BYTES_MAX: Final = 200  # Kraken's are a few words
SPOT: Final = "spot"  # the only wallet that can be traded from
_ZERO: Final = Decimal(0)


class FeeRow(Struct, gc=False):
    """{"asset":"USD","qty":0.3458}"""

    asset: AssetName
    qty: Decimal


class TriggersRow(Struct, gc=False):
    """{"price":0.2,"price_type":"static","reference":"index","status":"untriggered"}"""

    price: Decimal | None = None


class ExecutionRow(
    ExecutionFact,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag="x",
    tag_field="fact",
    rename=EXECUTION_NAMES,
):
    """One row of the executions channel, decoded as the fact that crosses the account ring.

    {"timestamp":"2026-09-10T21:32:35.921979Z","order_status":"filled",
    "exec_type":"filled","cum_qty":1.80406743,"cum_cost":180.31654,"fee_usd_equiv":0,
    "avg_price":99.95,"cl_ord_id":"GRID-BO-DVe742G3Eq","order_id":"OJUFYI-6DJSE-BNXAKJ"}

    A terminal row has no symbol, side or last_*; a trade row's `order_status` says nothing
    about completion. `received_at` and `is_snapshot` are set by the session, with `tell`.
    """

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(
        (
            *("cl_ord_id", "order_userref", "symbol", "side", "order_qty"),
            *("cum_qty", "exec_id", "last_qty", "last_price", "fees"),
        )
    )

    exec_type: ShortText
    order_id: ShortText
    timestamp: ShortText = ""  # type: ignore[assignment]  # a WallNs as soon as it is decoded
    cl_ord_id: ShortText | None = None
    order_userref: Word | None = None
    symbol: ShortText | None = None
    side: ShortText | None = None
    order_type: ShortText | None = None
    order_qty: Decimal | None = None
    limit_price: Decimal | None = None
    time_in_force: ShortText | None = None
    post_only: bool | None = None
    cum_qty: Decimal | None = None
    exec_id: ShortText | None = None
    trade_id: Word | None = None
    last_qty: Decimal | None = None
    last_price: Decimal | None = None
    cost: Decimal | None = None
    liquidity: ShortText | None = None
    fees: Annotated[tuple[FeeRow, ...], Meta(max_length=FEES_MAX)] | None = ()  # type: ignore[assignment]
    ord_ref_id: ShortText | None = None
    # The account's counter of the pair. No document of v2 names the field; these are the
    # names clients read.
    rate_count: Decimal | None = None

    # Only on the wire: `__post_init__` moves their meaning into the fields above, and none
    # crosses the ring.
    ratecount: Decimal | None = None
    cash_order_qty: Decimal | None = None
    limit_price_type: ShortText | None = None
    cancel_reason: str | None = None
    fee_ccy_pref: ShortText | None = None
    triggers: TriggersRow | None = None

    def __post_init__(self) -> None:
        """Convert what was decoded into the fact's own fields and units."""
        # Hot: most rows have few of these fields, and each that is missing costs one
        # comparison.
        put = force_setattr
        put(self, "timestamp", wall_ns(self.timestamp))
        put(self, "fees", tuple(Fee(fee.asset, fee.qty) for fee in self.fees) if self.fees else ())
        if self.cl_ord_id is not None and is_null(self.cl_ord_id):
            put(self, "cl_ord_id", None)
        if self.ord_ref_id is not None and is_null(self.ord_ref_id):
            put(self, "ord_ref_id", None)
        if self.order_userref == 0:  # Kraken's way to write that the client gave none
            put(self, "order_userref", None)
        if self.time_in_force is not None:
            put(self, "time_in_force", self.time_in_force.lower() or None)
        if self.reason is not None or self.cancel_reason is not None:
            put(self, "reason", cut(self.reason or self.cancel_reason or "", REASON_BYTES_MAX) or None)
            put(self, "cancel_reason", None)
        if self.fee_ccy_pref is not None:
            put(self, "fee_preference", "base" if self.fee_ccy_pref == "fcib" else None)
            put(self, "fee_ccy_pref", None)
        if self.limit_price_type is not None:
            # Of a trailing order that waits for its trigger, `limit_price` tells how far
            # its limit will lie from that.
            if self.limit_price_type != "static":
                put(self, "limit_price", None)
            put(self, "limit_price_type", None)
        if self.cash_order_qty is not None:
            # Beside an amount of money, `order_qty` may count the money, as REST's volume
            # does.
            put(self, "order_qty", None)
            put(self, "cash_order_qty", None)
        if self.triggers is not None:
            put(self, "trigger_price", self.triggers.price)
            put(self, "triggers", None)
        if self.ratecount is not None:
            if self.rate_count is None:
                put(self, "rate_count", self.ratecount)
            put(self, "ratecount", None)

    def tell(self, received_at: MonoNs, *, is_snapshot: bool) -> None:
        """Set when the row arrived, and whether it is part of a snapshot."""
        force_setattr(self, "received_at", received_at)
        if is_snapshot:
            force_setattr(self, "is_snapshot", True)


class ExecutionsMessage(Struct, gc=False):
    """{"channel":"executions","type":"update","data":[…],"sequence":8}"""

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("type", "sequence"))

    data: list[ExecutionRow]
    type: ShortText = "update"
    sequence: Word | None = None


# --- balances


class WalletRow(Struct, gc=False):
    """{"type":"spot","id":"main","balance":1.2}"""

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("type", "balance"))

    type: ShortText = ""
    balance: Decimal = Decimal(0)


class BalanceRow(Struct, gc=False):
    """A snapshot's {"asset":"BTC","asset_class":"currency","balance":1.2,"wallets":[…]}

    or an update, one leg of a ledger entry:
    {"ledger_id":"A5KS77-LQRMP-SMMN4B","ref_id":"AGBB7L-HT5LX-J3BB4A",
    "timestamp":"2023-09-22T10:33:05.710082Z","type":"trade","asset":"USD",
    "asset_class":"currency","category":"trade","wallet_type":"spot","wallet_id":"main",
    "amount":132.9995,"fee":0.3458,"balance":500}
    """

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("wallets", "wallet_type"))

    asset: AssetName
    balance: Decimal
    wallets: list[WalletRow] | None = None
    wallet_type: ShortText | None = None
    amount: Decimal | None = None
    fee: Decimal | None = None

    def fact(self, *, is_snapshot: bool) -> BalanceFact | None:
        """What it says of the asset; None for a leg of a wallet that cannot be traded
        from."""
        if is_snapshot:
            if not self.wallets:
                return BalanceFact(asset=self.asset, balance=self.balance, is_snapshot=True)
            spot = sum((wallet.balance for wallet in self.wallets if wallet.type == SPOT), _ZERO)
            earning = sum((wallet.balance for wallet in self.wallets if wallet.type != SPOT), _ZERO)
            return BalanceFact(asset=self.asset, balance=spot, earning=earning, is_snapshot=True)
        if self.wallet_type not in (None, SPOT):
            return None
        return BalanceFact(asset=self.asset, balance=self.balance, amount=self.amount, fee=self.fee)


class BalancesMessage(Struct, gc=False):
    """{"channel":"balances","type":"update","data":[…],"sequence":9}"""

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("type", "sequence"))

    data: list[BalanceRow]
    type: ShortText = "update"
    sequence: Word | None = None


# --- acknowledgements of subscriptions


class ChannelResult(Struct, gc=False):
    """{"channel":"executions","maxratecount":125,"snap_orders":true,"snap_trades":true,
    "snapshot":true,…}
    """

    channel: str | None = None
    maxratecount: Word | None = None


class ChannelReply(Struct, gc=False):
    """{"method":"subscribe","req_id":0,"result":{"channel":"executions",…},"success":true,
    "time_in":…,"time_out":…}

    or {"error":"ESession:Invalid session","method":"subscribe","success":false,…}; a pong
    has neither.
    """

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("success", "error"))

    method: str
    req_id: int | None = None
    success: bool | None = None
    result: ChannelResult | None = None
    error: str | None = None


# --- answers to trading requests


class ResultRow(Struct, gc=False):
    """One order's part of an answer:
    {"order_id":"OXZPAJ-ONWQU-KMAMPL","cl_ord_id":"3178d58d4d000200"}

    Every method has its own fields, and a refused row of a batch has `error`.
    """

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("order_id", "cl_ord_id", "order_userref", "error", "success"))

    order_id: ShortText | None = None
    original_order_id: ShortText | None = None
    cl_ord_id: ShortText | None = None
    order_userref: int | None = None
    amend_id: ShortText | None = None
    count: Word | None = None
    orders_cancelled: Word | None = None
    error: str | None = None
    success: bool | None = None
    warnings: list[str] | None = None
    current_time: str | None = msgspec.field(default=None, name="currentTime")
    trigger_time: str | None = msgspec.field(default=None, name="triggerTime")


class TradingReply(Struct, gc=False):
    """{"method":"add_order","req_id":7,"result":{"order_id":"OXZPAJ-ONWQU-KMAMPL"},
    "success":true,"time_in":…}

    batch_add's result is a list; batch_cancel may have no result, but `orders_cancelled`
    beside `success`.
    """

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("req_id", "success", "result", "error"))

    method: str
    req_id: int | None = None
    success: bool | None = None
    result: ResultRow | list[ResultRow] | None = None
    error: str | None = None
    orders_cancelled: Word | None = None
    time_in: str = ""
    time_out: str = ""


class BareReply(Struct, gc=False):
    """The head of an answer whose result has an unknown shape."""

    ESSENTIAL: ClassVar[frozenset[str]] = frozenset(("req_id", "success", "error"))

    method: str
    req_id: int | None = None
    success: bool | None = None
    error: str | None = None
    time_in: str = ""
    time_out: str = ""


# Each raises one of `salvage.DECODE_ERRORS` when an essential field cannot be read; `read`
# also returns what is wrong with the fields that were left at their defaults.
read_executions = Reader(ExecutionsMessage, is_bounded=True).read
read_balances = Reader(BalancesMessage, is_bounded=True).read
read_channel_reply = Reader(ChannelReply).decode
read_trading_reply = Reader(TradingReply).read
read_bare_reply = Reader(BareReply).decode
