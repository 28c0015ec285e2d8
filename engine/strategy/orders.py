"""What a strategy sees of its orders, fills, positions and balances.

Amounts are exact Decimals in the pair's own currencies: quantities in the base, prices, costs and fees in the quote
unless a fee says otherwise.
"""

from decimal import Decimal

from msgspec import Struct

from engine.orders.intent import Conditional
from engine.orders.life import OrderState
from engine.orders.rings.reports import FillReport, OrderReport
from engine.units import MonoNs, QtyLots, WallNs, units_decimal

__all__ = [
    "Balance",
    "Conditional",
    "Fill",
    "Order",
    "OrderState",
    "Position",
    "TradingStatus",
    "bring_up_to_date",
    "latest_report",
    "make_fill",
]


class Order:
    """One order: what was asked for, and how it stands. The engine keeps it up to date; strategies only read it."""

    __slots__ = ("_report", "id", "tag")

    def __init__(self, report: OrderReport, tag: object = None) -> None:
        self.id = report.cl_ord_id
        """The engine's own id, unique for ever; Kraken knows it as cl_ord_id."""
        self.tag = tag
        """Whatever the strategy attached to it."""
        self._report = report

    @property
    def order_id(self) -> str:
        """Kraken's id; empty until Kraken has acknowledged."""
        return self._report.order_id

    @property
    def symbol(self) -> str:
        return self._report.symbol

    @property
    def side(self) -> str:
        """buy or sell."""
        return self._report.side

    @property
    def order_type(self) -> str:
        """limit, market, …: Kraken's word."""
        return self._report.order_type

    @property
    def state(self) -> OrderState:
        return self._report.state

    @property
    def reason(self) -> str:
        """Why it is in this state, or why the last amend or cancel was refused; empty when nothing needs a word."""
        return self._report.reason

    @property
    def qty(self) -> Decimal:
        """The whole order, what has been filled included; 0 of one that names the money, until Kraken tells."""
        return self._qty(self._report.qty_lots)

    @property
    def filled_qty(self) -> Decimal:
        """As Kraken counts it. The fills that make it up may be told later: `on_fill` tells each of them once."""
        return self._qty(self._report.filled_lots)

    @property
    def remaining_qty(self) -> Decimal:
        """Still to be filled; of an order that is over, what was not."""
        # Of an order that names the money, the quantity is known only when Kraken has told it.
        return self._qty(QtyLots(max(0, self._report.qty_lots - self._report.filled_lots)))

    @property
    def limit_price(self) -> Decimal | None:
        """None for orders without one, such as market."""
        ticks = self._report.limit_price_ticks
        return None if ticks is None else units_decimal(ticks, self._report.price_decimals)

    @property
    def avg_price(self) -> Decimal | None:
        """Of its fills; None before the first."""
        return self._report.avg_price

    @property
    def cost(self) -> Decimal:
        """Price × quantity of its fills, fees not included."""
        return self._report.cost

    @property
    def fees(self) -> dict[str, Decimal]:
        """What its fills cost, by asset."""
        return dict(self._report.fees)

    @property
    def changed_at(self) -> WallNs:
        """When it came into this state."""
        return self._report.changed_at

    @property
    def is_open(self) -> bool:
        """May it still trade? True for an order in doubt, too."""
        return not self._report.state.is_terminal

    @property
    def is_working(self) -> bool:
        """Is it open at Kraken, with no amend or cancel under way: one that can be amended now?"""
        report = self._report
        return report.state in (OrderState.WORKING, OrderState.PARTIAL) and not report.is_busy

    @property
    def is_filled(self) -> bool:
        return self._report.state is OrderState.FILLED

    @property
    def is_unknown(self) -> bool:
        """Is it in doubt: sent, and Kraken has not said what became of it?"""
        return self._report.state is OrderState.UNKNOWN

    def _qty(self, lots: QtyLots) -> Decimal:
        return units_decimal(lots, self._report.qty_decimals)

    def __repr__(self) -> str:
        price = self.limit_price
        at = "" if price is None else f" at {price:f}"
        what = f"{self.side} {self.qty:f} {self.symbol}{at}"
        return f"Order({self.id} {what}: {self.state.name}, {self.filled_qty:f} filled)"


def bring_up_to_date(order: Order, report: OrderReport) -> None:
    """Let `order` say what `report` says; for the engine alone."""
    order._report = report


def latest_report(order: Order) -> OrderReport:
    """What `order` says; for the engine alone."""
    return order._report


class Fill(Struct, frozen=True):
    """One fill of one of the strategy's orders."""

    order: Order
    exec_id: str
    """Kraken's; never the same twice."""
    trade_id: int
    """On the public tape."""
    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    cost: Decimal
    fees: dict[str, Decimal]
    """By asset."""
    liquidity: str
    """maker or taker; empty when Kraken did not say."""
    kraken_time: WallNs
    received_at: MonoNs
    """When the news reached this host; 0 when that is not known: of a fill that an order router heard of and died."""


def make_fill(order: Order, report: FillReport) -> Fill:
    """A strategy's view of a fill."""
    return Fill(
        order,
        report.exec_id,
        report.trade_id,
        report.symbol,
        report.side,
        units_decimal(report.qty_lots, report.qty_decimals),
        report.price,
        report.cost,
        dict(report.fees),
        report.liquidity,
        report.kraken_time,
        report.received_at,
    )


class Position(Struct, frozen=True):
    """What a strategy holds of a pair, by its own fills, at average cost."""

    symbol: str
    qty: Decimal = Decimal(0)
    """Negative when more was sold than bought. What fills credited: Kraken's ledger books each of them rounded to the
    precision of the asset, which may be coarser than the pair's lots, and takes off fees in the base currency."""
    avg_price: Decimal = Decimal(0)
    realized: Decimal = Decimal(0)
    """Profit of what was closed, before fees, in the quote currency."""
    fees: Decimal = Decimal(0)
    """Of all fills, in the quote currency."""


class Balance(Struct, frozen=True):
    """One asset of the account, which all strategies share."""

    asset: str
    total: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    """Reserved by open orders."""
    free: Decimal = Decimal(0)
    earning: Decimal = Decimal(0)
    """In wallets that cannot be traded from; not in `total`."""


class TradingStatus(Struct, frozen=True):
    """Whether orders are taken now, and if not, why."""

    mode: str = "HALTED"
    """ACTIVE; REDUCING: only what makes positions smaller; HALTED: cancels only, until `engine resume`."""
    is_open: bool = False
    reason: str = "the engine does not trade"
