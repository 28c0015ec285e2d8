"""Open orders and fills, as the report rings tell them to the strategies.

    order router ─ report-s ─► strategy s
                       └─────► OrderTape (no gate: nobody waits for it) ─► orders, ended, fills

Whoever watches reads the same reports as the strategies, so nothing is asked of the order
router while it trades. What the rings no longer hold, because the watcher came late or was
lapped, and orders that no strategy has sent, are told by the router's answer to `orders`:
`wants_orders` says when that is to be asked for.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from engine.orders.life import OrderState
from engine.orders.rings.framing import RingRecords
from engine.orders.rings.reports import REPORTS, Fill, OrderReport, Report, ResyncBegan
from engine.ring import OLDEST, Memory, Subscriber
from engine.units import WallNs, units_decimal

ENDED_KEPT: Final = 50
FILLS_KEPT: Final = 200
RECORDS_AT_ONCE: Final = 512  # of a ring, copied in one pass
RECORDS_A_LOOK_MAX: Final = 16_384  # four rings full; the rest is read at the next look


class ShownOrder(Struct, frozen=True):
    """One order as it stands."""

    key: str
    """The engine's name of it."""
    order_id: str
    """Kraken's; empty until it is known."""
    strategy: str
    """Empty of one that no strategy of this engine sent."""
    symbol: str
    side: str
    order_type: str
    state: OrderState
    qty: Decimal
    filled: Decimal
    limit: Decimal | None
    reason: str
    changed_at: WallNs

    @property
    def remaining(self) -> Decimal:
        """What may still be filled."""
        return self.qty - self.filled

    @property
    def rests(self) -> bool:
        """Whether it stands in Kraken's book: open there, with a limit and without a
        trigger."""
        return (
            self.state in (OrderState.WORKING, OrderState.PARTIAL)
            and self.limit is not None
            and self.order_type in ("limit", "iceberg")
        )


class ShownFill(Struct, frozen=True):
    """One fill with its strategy."""

    strategy: str
    fill: Fill


def shown_report(strategy: str, report: OrderReport) -> ShownOrder:
    """An order from its newest report."""
    ticks = report.limit_price_ticks
    return ShownOrder(
        key=report.key,
        order_id=report.order_id,
        strategy=strategy,
        symbol=report.symbol,
        side=report.side,
        order_type=report.order_type,
        state=report.state,
        qty=units_decimal(report.qty_lots, report.qty_decimals),
        filled=units_decimal(report.filled_lots, report.qty_decimals),
        limit=None if ticks is None else units_decimal(ticks, report.price_decimals),
        reason=report.reason,
        changed_at=report.changed_at,
    )


def shown_row(row: Mapping[str, Any]) -> ShownOrder:
    """An order from the router's answer to `orders`."""
    limit = row["limit_price"]
    return ShownOrder(
        key=row["id"],
        order_id=row["order_id"],
        strategy=row["strategy"],
        symbol=row["symbol"],
        side=row["side"],
        order_type=row["type"],
        state=OrderState(row["state"]),
        qty=Decimal(row["qty"]),
        filled=Decimal(row["filled"]),
        limit=None if limit is None else Decimal(limit),
        reason=row["reason"],
        changed_at=WallNs(row["changed_ns"]),
    )


class OrderTape:
    """Orders and fills from the report rings of all strategies."""

    def __init__(self, rings: Mapping[str, Memory]) -> None:
        """`rings`: the report ring of each strategy."""
        self._readers = {name: Subscriber(ring, OLDEST) for name, ring in rings.items()}
        self._records = {name: RingRecords(REPORTS, name) for name in rings}
        self.open: dict[str, ShownOrder] = {}
        """Orders that may trade, by key, oldest first."""
        self.ended: deque[ShownOrder] = deque(maxlen=ENDED_KEPT)
        """Orders that are over, newest last."""
        self.fills: deque[ShownFill] = deque(maxlen=FILLS_KEPT)
        """Newest last."""
        self._told: set[str] = set()  # ids of these fills: one may be reported again
        # Reports that were gone before they were read: before the first, and by laps.
        self._gaps_seen = 0
        self._is_whole = all(reader.first_sequence == 1 for reader in self._readers.values())

    @property
    def unreadable(self) -> int:
        """Reports that could not be read."""
        return sum(records.unreadable for records in self._records.values())

    def poll(self) -> None:
        """Read new reports."""
        left = RECORDS_A_LOOK_MAX
        for name, reader in self._readers.items():
            while left > 0 and (records := reader.poll_many(RECORDS_AT_ONCE)):
                left -= len(records)
                for report in self._records[name].read_all(records):
                    self._apply(name, report)
        gaps = sum(reader.gap_count for reader in self._readers.values())
        if gaps > self._gaps_seen:
            self._gaps_seen, self._is_whole = gaps, False

    def wants_orders(self, open_count: int, own_count: int) -> bool:
        """Whether the router must be asked for its open orders; it counts `open_count`, of
        which `own_count` are of strategies."""
        others = sum(not order.strategy for order in self.open.values())
        return not self._is_whole or others != open_count - own_count

    def told_orders(self, rows: Iterable[Mapping[str, Any]], asked_at: WallNs) -> None:
        """Apply the router's answer to a question asked at `asked_at`; newer reports are
        kept.
        """
        self.poll()
        told = {row["id"]: shown_row(row) for row in rows}
        newer = {
            key: order
            for key, order in self.open.items()
            if order.changed_at > (told[key].changed_at if key in told else asked_at)
        }
        over = {order.key for order in self.ended if order.changed_at > asked_at}
        self.open = {key: order for key, order in (told | newer).items() if key not in over}
        self._is_whole = True

    def _apply(self, strategy: str, report: Report) -> None:
        if isinstance(report, OrderReport):
            if report.symbol:
                self._apply_order(shown_report(strategy, report))
        elif isinstance(report, Fill):
            self._apply_fill(ShownFill(strategy, report))
        elif isinstance(report, ResyncBegan):
            self.open = {key: order for key, order in self.open.items() if order.strategy != strategy}

    def _apply_order(self, order: ShownOrder) -> None:
        if order.state.is_open:
            self.open[order.key] = order
        elif self.open.pop(order.key, None) is not None or all(order.key != each.key for each in self.ended):
            self.ended.append(order)

    def _apply_fill(self, shown: ShownFill) -> None:
        if shown.fill.exec_id in self._told:
            return
        self.fills.append(shown)
        self._told.add(shown.fill.exec_id)
        if len(self._told) > 2 * FILLS_KEPT:
            self._told = {each.fill.exec_id for each in self.fills}
