"""The pair of an order client changes while its orders live: each command and each order states its own scale."""

from decimal import Decimal
from typing import Any

from engine.clock import ManualClock
from engine.market import Pair
from engine.orders.life import OrderState
from engine.orders.rings.commands import COMMAND_RECORD_BYTES, COMMANDS, Amend, Command, Submit, SubmitBatch
from engine.orders.rings.reports import REPORT_RECORD_BYTES, REPORTS, Fill, Order, OrderReport
from engine.processes.balance_board import BalanceBoardReader
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.strategy_host.order_client import OrderClient, OrderPorts
from engine.units import NS_PER_S, MonoNs, PriceTicks, QtyLots, WallNs
from tests.order_router.rig import balance_board

D = Decimal
NOW = 1_800_000_000 * NS_PER_S
COARSE, FINE = Pair("BTC/USD", 1, 8), Pair("BTC/USD", 2, 9)


def ring(record_bytes: int) -> bytearray:
    memory = bytearray(ring_bytes(record_bytes, 64, gate_count=1))
    format_ring(memory, record_bytes=record_bytes, slot_count=64, gate_count=1)
    return memory


class ClientRig:
    """An order client on real rings; `pairs` is what its strategy was told last."""

    def __init__(self) -> None:
        commands, reports = ring(COMMAND_RECORD_BYTES), ring(REPORT_RECORD_BYTES)
        self._commands, self._reports = GatedSubscriber(commands), Publisher(reports)
        self.pairs: dict[str, Pair | None] = {"BTC/USD": COARSE}
        ports = OrderPorts(
            Publisher(commands), GatedSubscriber(reports), BalanceBoardReader(balance_board()), "quoter", 1
        )
        self.client = OrderClient("quoter", ports, self.pairs, ManualClock(1, NOW))

    def sent(self) -> list[Command]:
        return [COMMANDS.unpack(record) for record in self._commands.poll_many(64)]

    def tell(self, report: Any) -> Any:
        """The router reports; the news of it."""
        assert self._reports.try_publish(REPORTS.pack(report))
        self._reports.flush()
        return self.client.next_news()

    def works(self, order: Order, *, lots: int, ticks: int | None, decimals: tuple[int, int], **more: Any) -> None:
        """The order is open, and stands so."""
        self.tell(
            OrderReport(
                key=order.id, order_id="OABCDE", symbol=order.symbol, side=order.side, order_type=order.order_type,
                state=OrderState.WORKING, qty_lots=QtyLots(lots),
                limit_price_ticks=None if ticks is None else PriceTicks(ticks), price_decimals=decimals[0],
                qty_decimals=decimals[1], changed_at=WallNs(NOW), **more,
            )
        )  # fmt: skip


def scale_of(asked: Any) -> tuple[int, int]:
    return asked.price_decimals, asked.qty_decimals


def test_every_command_says_the_precision_that_its_strategy_knew() -> None:
    """Orders, batches and amends, before a change and after it."""
    rig = ClientRig()
    order = rig.client.submit("buy", "BTC/USD", "1", {"limit": "64000.1"})
    rig.works(order, lots=10**8, ticks=640_001, decimals=(1, 8))
    rig.pairs["BTC/USD"] = FINE
    rig.client.submit_batch([("buy", "BTC/USD", "1.000000001", {"limit": "64000.05"})] * 2)
    assert rig.client.amend(order, {"limit": "64000.0"})
    one, batch, amend = rig.sent()

    assert isinstance(one, Submit)
    assert isinstance(batch, SubmitBatch)
    assert isinstance(amend, Amend)
    assert scale_of(one.intent) == (1, 8)
    assert [scale_of(intent) for _, intent in batch.orders] == [(2, 9)] * 2
    assert (scale_of(amend.amendment), amend.amendment.limit_price) == ((2, 9), 6_400_000)


def test_an_order_is_seen_in_the_scale_of_its_report() -> None:
    """Its pair may have another one by now, and the report a finer one than the order was asked in."""
    rig = ClientRig()
    order = rig.client.submit("buy", "BTC/USD", "1", {"limit": "64000.1"})
    rig.pairs["BTC/USD"] = FINE
    as_asked = order.qty, order.limit_price
    rig.works(order, lots=10**9, ticks=6_400_005, decimals=(2, 9))
    fill = rig.tell(
        Fill(key=order.id, exec_id="T1", trade_id=7, symbol="BTC/USD", side="buy", qty=D("1E-11"), price=D("64000.05"),
             cost=D("6.4"), fees={"USD": D("0.10")}, liquidity="maker", kraken_time=WallNs(NOW), received_at=MonoNs(1))
    )  # fmt: skip

    assert as_asked == (D(1), D("64000.1"))
    assert (order.qty, order.limit_price) == (D(1), D("64000.05"))
    assert isinstance(fill, Fill)
    assert fill.qty == D("1E-11")
    assert fill.order is order


def test_an_amend_of_a_trigger_means_what_the_order_means_by_it() -> None:
    """A distance in per cent has no tick, one in quote currency has."""
    rig = ClientRig()
    options: Any = {"order_type": "trailing-stop", "trigger": "1.5", "trigger_type": "pct"}
    by_percent = rig.client.submit("sell", "BTC/USD", "1", options)
    in_quote = rig.client.submit("sell", "BTC/USD", "1", {"order_type": "trailing-stop", "trigger": "100.5"})
    rig.works(by_percent, lots=10**8, ticks=None, decimals=(1, 8), trigger_type="pct")
    rig.works(in_quote, lots=10**8, ticks=None, decimals=(1, 8), trigger_type="quote")

    assert rig.client.amend(by_percent, {"trigger": "1.2345"})
    assert not rig.client.amend(in_quote, {"trigger": "100.55"})
    assert in_quote.reason.startswith("amend refused: trigger 100.55 is not a multiple of BTC/USD's tick 0.1")
