"""What the order router tells a strategy, through the report ring of that strategy.

A report carries state, not steps: an OrderReport says all there is to say of an order, so a reader that missed some
is right again with the next. After a time in which a strategy took nothing and the ring was full, the router sends
everything anew between ResyncBegan and ResyncEnded.
"""

from decimal import Decimal

from msgspec import Struct

from engine.orders.life import OrderState
from engine.orders.rings.framing import Framing
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs

REPORT_RECORD_BYTES = 1016
REPORT_SLOTS = 4096
REASON_CHARS_MAX = 240  # in a report; the log has all of it


class OrderReport(Struct, frozen=True, array_like=True, tag="o"):
    """One order as it stands."""

    cl_ord_id: str
    order_id: str
    """Kraken's; empty until it is known."""
    symbol: str
    side: str
    order_type: str
    state: OrderState
    reason: str
    """Why it is in this state, or why a request about it was refused; empty when there is nothing to explain."""
    qty_lots: QtyLots
    filled_lots: QtyLots
    limit_price_ticks: PriceTicks | None
    avg_price: Decimal | None
    cost: Decimal
    fees: tuple[tuple[str, Decimal], ...]
    """(asset, amount), of all fills."""
    price_decimals: int
    qty_decimals: int
    is_busy: bool
    """Is an amend or a cancel under way?"""
    changed_at: WallNs
    trigger_type: str = ""
    """static, pct or quote, of an order that has a trigger: what an amend of it means."""
    limit_offset_type: str = ""
    """pct or quote, of an order whose limit follows its trigger."""


class FillReport(Struct, frozen=True, array_like=True, tag="f"):
    """One fill."""

    cl_ord_id: str
    order_id: str
    exec_id: str
    trade_id: int
    symbol: str
    side: str
    qty_lots: QtyLots
    price: Decimal
    cost: Decimal
    fees: tuple[tuple[str, Decimal], ...]
    liquidity: str
    """maker, taker, or empty when Kraken did not say."""
    qty_decimals: int
    kraken_time: WallNs
    received_at: MonoNs
    """0 when a router that began anew tells what its predecessor may not have told."""


class PositionReport(Struct, frozen=True, array_like=True, tag="p"):
    """What a strategy holds of a pair, by its own fills, at average cost. Amounts in the quote currency."""

    symbol: str
    qty: Decimal
    avg_price: Decimal
    realized: Decimal
    fees: Decimal


class BalanceReport(Struct, frozen=True, array_like=True, tag="w"):
    """One asset of the account; shared by all strategies."""

    asset: str
    total: Decimal
    held: Decimal
    """Reserved by open orders."""
    free: Decimal
    earning: Decimal
    """In wallets that cannot be traded from; not in `total`."""


class BalancesTold(Struct, frozen=True, array_like=True, tag="k"):
    """Kraken has told all balances: what no report tells of is nothing."""


class TradingReport(Struct, frozen=True, array_like=True, tag="t"):
    """Whether orders are taken now."""

    mode: str
    """ACTIVE, REDUCING or HALTED."""
    is_open: bool
    """Would an order of this strategy be looked at now?"""
    reason: str


class ResyncBegan(Struct, frozen=True, array_like=True, tag="["):
    """Reports were lost; what follows is everything."""


class ResyncEnded(Struct, frozen=True, array_like=True, tag="]"):
    """What follows is news again."""


Report = (
    OrderReport | FillReport | PositionReport | BalanceReport | BalancesTold | TradingReport | ResyncBegan | ResyncEnded
)

REPORTS: Framing[Report] = Framing(Report, REPORT_RECORD_BYTES)
