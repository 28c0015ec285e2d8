"""A strategy's orders without a router: what it asks for is read from the command ring,
answers are written by hand.
"""

from decimal import Decimal
from typing import Any

from engine.clock import ManualClock
from engine.market import Pair
from engine.orders.life import OrderState
from engine.orders.rings.commands import (
    COMMAND_RECORD_BYTES,
    COMMANDS,
    Command,
)
from engine.orders.rings.reports import REPORT_RECORD_BYTES, REPORTS, Fill, Order, OrderReport
from engine.orders.risk import TopOfBook
from engine.processes.balance_board import BalanceBoardReader
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.strategy_host.order_client import OrderClient, OrderPorts
from engine.units import NS_PER_S, MonoNs, PriceTicks, QtyLots, WallNs
from tests.order_router.rig import balance_board

NOW = 1_800_000_000 * NS_PER_S


PAIR = Pair("BTC/USD", 1, 8, qty_min_lots=5000, cost_min=Decimal("0.5"))


OTHER = Pair("ETH/USD", 2, 8, qty_min_lots=5000, cost_min=Decimal("0.5"))


TOP = TopOfBook(PriceTicks(599_999), PriceTicks(600_001), 1, is_live=True, age_ns=0)


def ring(record_bytes: int, slot_count: int) -> bytearray:
    memory = bytearray(ring_bytes(record_bytes, slot_count, gate_count=1))
    format_ring(memory, record_bytes=record_bytes, slot_count=slot_count, gate_count=1, is_zeroed=True)
    return memory


def fill_of(key: str, exec_id: str = "T1") -> Fill:
    return Fill(
        key=key, exec_id=exec_id, trade_id=7, symbol="BTC/USD", side="buy", qty=Decimal("0.01000000"),
        price=Decimal("60000.1"), cost=Decimal("600.001"), fees={"USD": Decimal("0.9600"), "BTC": Decimal("1E-8")},
        liquidity="taker", kraken_time=WallNs(5), received_at=MonoNs(6),
    )  # fmt: skip


class ClientRig:
    """An order client on real rings, and what the router finds in them."""

    def __init__(self, slot_count: int = 64) -> None:
        commands, reports = ring(COMMAND_RECORD_BYTES, slot_count), ring(REPORT_RECORD_BYTES, 64)
        self.commands = GatedSubscriber(commands)
        self.reports = Publisher(reports)
        ports = OrderPorts(
            Publisher(commands), GatedSubscriber(reports), BalanceBoardReader(balance_board()), "quoter", 1
        )
        pairs: dict[str, Pair | None] = {"BTC/USD": PAIR, "ETH/USD": OTHER, "SOL/USD": None}
        self.client = OrderClient("quoter", ports, pairs, ManualClock(1, NOW))

    def submit(self, qty: Any = "1", side: Any = "buy", symbol: Any = "BTC/USD", **options: Any) -> Order:
        return self.client.submit(side, symbol, qty, options)  # type: ignore[arg-type]

    def sent(self) -> list[Command]:
        """Everything in the ring, decoded."""
        return [COMMANDS.unpack(record) for record in self.commands.poll_many(64)]

    def news(self) -> list[object]:
        """All that the strategy would be told."""
        told = []
        while (one := self.client.next_news()) is not None:
            told.append(one)
        return told

    def working(self, **options: Any) -> Order:
        """An order that Kraken has acknowledged."""
        order = self.submit(**(options or {"limit": 60000}))
        self.sent()
        report = OrderReport(
            key=order.id, order_id="O1", symbol=order.symbol, side=order.side, order_type=order.order_type,
            state=OrderState.WORKING, qty_lots=QtyLots(10**8), limit_price_ticks=order.report.limit_price_ticks,
            price_decimals=1, qty_decimals=8, changed_at=WallNs(NOW),
        )  # fmt: skip
        assert self.reports.try_publish(REPORTS.pack(report))
        self.news()
        assert order.is_working
        return order
