"""One account of the venue: balances, orders, fills, and the listeners to its changes.

Only `trading` and its parts change an account; WebSocket and REST read it. Balances are
totals; `held` is the part that open orders reserve. Everything that grows is bounded: the
oldest closed orders, executions and entries are dropped first.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, Protocol

from engine.units import WallNs
from engine.venue.setup.rate_counter import TIERS, RateCounter, Tier, TierLimits
from engine.venue.trading.client_order import ClientOrder, Execution, LedgerEntry
from engine.venue.trading.fees import FeeTier, FeeVolume, fee_tier

CLOSED_ORDERS_MAX: Final = 50_000
EXECUTIONS_MAX: Final = 50_000
LEDGER_ENTRIES_MAX: Final = 100_000
ZERO: Final = Decimal(0)


class AccountListener(Protocol):
    """Receives an account's changes: a private connection's subscriptions."""

    def execution(self, exec_type: str, row: str, symbol: str, at: WallNs) -> None:
        """One row of the executions channel, as JSON text."""

    def balance(self, row: str) -> None:
        """One row of the balances channel, as JSON text."""


class Account:
    """The whole state of one account."""

    def __init__(self, account_id: int, tier: Tier, funds: dict[str, Decimal], volume_usd: float = 0.0) -> None:
        self.account_id = account_id
        self.tier: Tier = tier
        self.balances: dict[str, Decimal] = dict(funds)  # totals by asset, the reserves of open orders included
        self.holds: dict[str, Decimal] = {}  # the part of them that open orders reserve
        self.open_orders: dict[str, ClientOrder] = {}  # by order id, oldest first
        self.closed_orders: dict[str, ClientOrder] = {}  # by order id, in the order of their end
        self.executions: dict[str, Execution] = {}  # by exec id, oldest first
        self.entries: dict[str, LedgerEntry] = {}  # by ledger id, oldest first
        self.volume = FeeVolume(volume_usd)
        self.dead_man_at: WallNs | None = None  # when all orders are canceled; None: not armed
        self.listeners: dict[AccountListener, None] = {}
        self._counters: dict[str, RateCounter] = {}  # by symbol
        self._by_cl_ord_id: dict[str, ClientOrder] = {}  # of the open orders
        self._open_per_symbol: dict[str, int] = {}

    # --- reading

    @property
    def limits(self) -> TierLimits:
        return TIERS[self.tier]

    def held(self, asset: str) -> Decimal:
        """The amount of an asset that open orders reserve."""
        return self.holds.get(asset, ZERO)

    def free(self, asset: str) -> Decimal:
        """The amount of an asset that a new order may reserve."""
        return self.balances.get(asset, ZERO) - self.holds.get(asset, ZERO)

    def order(self, order_id: str) -> ClientOrder | None:
        """An order by its id, open or one of the last CLOSED_ORDERS_MAX closed ones; else
        None.
        """
        return self.open_orders.get(order_id) or self.closed_orders.get(order_id)

    def open_by_cl_ord_id(self, cl_ord_id: str) -> ClientOrder | None:
        """The open order with this client order id, or None; there is at most one."""
        return self._by_cl_ord_id.get(cl_ord_id)

    def open_by_userref(self, userref: int) -> list[ClientOrder]:
        """The open orders with this number, oldest first."""
        return [order for order in self.open_orders.values() if order.order_userref == userref]

    def open_count(self, symbol: str) -> int:
        return self._open_per_symbol.get(symbol, 0)

    def last_executions(self, count: int) -> Iterator[Execution]:
        """The newest fills, newest first."""
        for execution, _ in zip(reversed(self.executions.values()), range(count), strict=False):
            yield execution

    def counter(self, symbol: str) -> RateCounter:
        """The rate counter of one pair."""
        counter = self._counters.get(symbol)
        if counter is None:
            counter = self._counters[symbol] = RateCounter(self.limits)
        return counter

    def fee_tier(self, at: WallNs) -> FeeTier:
        return fee_tier(self.volume.usd(at))

    # --- rows for the listeners

    def tell(self, exec_type: str, row: str, symbol: str, at: WallNs) -> None:
        """Send one row of the executions channel to every listener."""
        for listener in self.listeners:
            listener.execution(exec_type, row, symbol, at)

    def tell_balance(self, row: str) -> None:
        """Send one row of the balances channel to every listener."""
        for listener in self.listeners:
            listener.balance(row)

    # --- changes, by `trading` and its parts alone

    def opened(self, order: ClientOrder) -> None:
        """Add an accepted order to the open ones."""
        self.open_orders[order.order_id] = order
        self._open_per_symbol[order.symbol] = self._open_per_symbol.get(order.symbol, 0) + 1
        if order.cl_ord_id is not None:
            self._by_cl_ord_id[order.cl_ord_id] = order

    def closed(self, order: ClientOrder) -> None:
        """Move an order to the closed ones and release its reserve; its client order id is
        free again.
        """
        del self.open_orders[order.order_id]
        self._open_per_symbol[order.symbol] -= 1
        if order.cl_ord_id is not None:
            del self._by_cl_ord_id[order.cl_ord_id]
        self.reserve(order, ZERO)
        self.closed_orders[order.order_id] = order
        _forget(self.closed_orders, CLOSED_ORDERS_MAX)

    def reserve(self, order: ClientOrder, amount: Decimal) -> None:
        """Reserve this much for an order, instead of what was reserved before."""
        self.holds[order.hold_asset] = self.holds.get(order.hold_asset, ZERO) + amount - order.hold
        order.hold = amount

    def executed(self, execution: Execution) -> None:
        """Keep a fill."""
        self.executions[execution.exec_id] = execution
        _forget(self.executions, EXECUTIONS_MAX)

    def entered(self, entry: LedgerEntry) -> None:
        """Keep an entry, whose balance is the asset's from now on."""
        self.balances[entry.asset] = entry.balance
        self.entries[entry.ledger_id] = entry
        _forget(self.entries, LEDGER_ENTRIES_MAX)


def _forget(kept: dict[str, Any], count_max: int) -> None:
    """Drop the oldest entries beyond `count_max`."""
    while len(kept) > count_max:
        del kept[next(iter(kept))]
