"""The venue's ledger: every order that it accepted, amended and ended, and every fill.

It is what tests compare engines with. It is written when the event happens, depends on no
reply, stream or fault, and is never corrected. It is kept in memory, up to ENTRIES_MAX
orders and as many fills, and in a file, where one is named, as one JSON object a line,
flushed at once, so that it outlives a killed venue.
"""

from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import msgspec

from engine.errors import ConfigError
from engine.venue.trading.client_order import ClientOrder, Execution

ENTRIES_MAX: Final = 1_000_000  # orders, and fills; beyond it `complete` is false, and only the file is continued

_to_json = msgspec.json.Encoder().encode


class LedgerOrder(msgspec.Struct, frozen=True):
    """One accepted order in its present state."""

    order_id: str
    account_id: int
    cl_ord_id: str | None
    order_userref: int | None
    symbol: str
    side: str
    order_type: str
    order_qty: str
    limit_price: str | None
    status: str
    reason: str | None
    cum_qty: str
    cum_cost: str
    fee: str
    amend_count: int
    accepted_at: int
    ended_at: int | None


class LedgerFill(msgspec.Struct, frozen=True):
    """One fill of one client order."""

    exec_id: str
    trade_id: int
    order_id: str
    cl_ord_id: str | None
    symbol: str
    side: str
    qty: str
    price: str
    cost: str
    fee: str
    fee_asset: str
    base_change: str  # of the base currency's balance, fees in it included
    maker: bool
    at: int


class Ledger:
    """Append-only record of all accounts."""

    def __init__(self, path: str = "") -> None:
        # By order id, in order of acceptance: the order itself while it is open, its final
        # state after that.
        self._orders: dict[str, ClientOrder | LedgerOrder] = {}
        self.fills: list[LedgerFill] = []
        self.complete = True  # False once anything had to be left out of memory
        self._file: IO[bytes] | None = None
        if path:
            try:
                self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115
            except OSError as error:
                raise ConfigError(f"--ledger {path}: cannot be written ({error.strerror}), name another file") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def accepted(self, order: ClientOrder) -> None:
        """Record that an order was accepted."""
        if len(self._orders) < ENTRIES_MAX:
            self._orders[order.order_id] = order
        else:
            self.complete = False
        if self._file is not None:
            self._write("accepted", _entry(order))

    def changed(self, order: ClientOrder) -> None:
        """Record that an order was amended or triggered, or has ended."""
        if self._file is not None:
            self._write("changed" if order.is_open else "ended", _entry(order))
        if not order.is_open and order.order_id in self._orders:
            self._orders[order.order_id] = _entry(order)

    def filled(self, order: ClientOrder, execution: Execution) -> None:
        """Record a fill."""
        fill = LedgerFill(
            exec_id=execution.exec_id,
            trade_id=execution.trade_id,
            order_id=execution.order_id,
            cl_ord_id=execution.cl_ord_id,
            symbol=order.symbol,
            side=order.side.value,
            qty=f"{execution.qty:f}",
            price=f"{execution.price:f}",
            cost=f"{execution.cost:f}",
            fee=f"{execution.fee_taken:f}",
            fee_asset=execution.fee_asset,
            base_change=f"{execution.base_change:f}",
            maker=execution.is_maker,
            at=execution.at,
        )
        if len(self.fills) < ENTRIES_MAX:
            self.fills.append(fill)
        else:
            self.complete = False
        if self._file is not None:
            self._write("fill", fill)

    def orders(self, account_id: int | None = None) -> list[LedgerOrder]:
        """All accepted orders in their present state, in order of acceptance; of one
        account, or of all.
        """
        return [
            _entry(order) if isinstance(order, ClientOrder) else order
            for order in self._orders.values()
            if account_id in (None, order.account_id)
        ]

    def as_json(self, account_id: int | None = None) -> bytes:
        """Write `{"orders":[…],"fills":[…],"complete":true}`, of one account or of all."""
        orders = self.orders(account_id)
        known = None if account_id is None else {entry.order_id for entry in orders}
        fills = [fill for fill in self.fills if known is None or fill.order_id in known]
        return _to_json({"orders": orders, "fills": fills, "complete": self.complete})

    def _write(self, event: str, entry: Any) -> None:
        if self._file is not None:
            self._file.write(b'{"event":"%s","entry":%s}\n' % (event.encode(), _to_json(entry)))


def _entry(order: ClientOrder) -> LedgerOrder:
    limit_price = order.limit_price
    return LedgerOrder(
        order_id=order.order_id,
        account_id=order.account_id,
        cl_ord_id=order.cl_ord_id,
        order_userref=order.order_userref,
        symbol=order.symbol,
        side=order.side.value,
        order_type=order.order_type,
        order_qty=f"{order.order_qty:f}",
        limit_price=None if limit_price is None else f"{limit_price:f}",
        status=order.status,
        reason=order.reason,
        cum_qty=f"{order.cum_qty:f}",
        cum_cost=f"{order.cum_cost:f}",
        fee=f"{order.fee:f}",
        amend_count=max(0, len(order.amendments) - 1),
        accepted_at=order.opened_at,
        ended_at=order.closed_at,
    )
