"""How many files somebody reads who follows an order from `Strategy.buy` into the command ring."""

import asyncio
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import engine
from engine import Conditional, Order, OrderState, Strategy
from engine.clock import SystemClock
from engine.market import Pair
from engine.orders.rings.commands import COMMAND_RECORD_BYTES, COMMANDS, Submit
from engine.orders.rings.reports import REPORT_RECORD_BYTES
from engine.processes.balance_board import BalanceBoardReader
from engine.ring import GatedSubscriber, format_ring, ring_bytes
from engine.ring.ring import Publisher
from engine.strategy_host.hosted_strategy import HostedStrategy, wire_latency
from engine.strategy_host.order_client import OrderPorts
from engine.units import NS_PER_S
from tests.order_router.rig import balance_board

ENGINE = Path(engine.__file__).parent
IN_AN_HOUR = SystemClock().wall_ns() + 3600 * NS_PER_S
FILES_MAX = 8  # and `orders/amounts.py`, of an order that has more than a limit
# Called at the end of the journey, and what comes after it is the router's. The portable
# one, which is what somebody reads: the compiled one does the same in no file of Python's.
LAST_CALL = ("ring/ring.py", "try_publish")

USUAL: dict[str, dict[str, Any]] = {
    "a limit order": {"limit": Decimal("60000.1")},
    "a limit order in floats": {"qty": 0.01, "limit": 60000.1, "post_only": True},
    "a market order": {},
    "at once or never": {"limit": "60000", "time_in_force": "IOC"},
}
RARE: dict[str, dict[str, Any]] = {
    "a stop": {"order_type": "stop-loss", "trigger": "50000"},
    "good till a date": {"limit": "60000", "time_in_force": "gtd", "expire_at": IN_AN_HOUR},
    "a trailing stop with a limit": {"order_type": "trailing-stop-limit", "trigger": "5", "trigger_type": "pct",
                                     "limit_offset": "-1", "limit_offset_type": "pct"},
    "an iceberg": {"order_type": "iceberg", "limit": "60000", "display_qty": "0.005"},
    "money to spend": {"qty": 0, "cash_qty": "50"},
    "with a closing order": {"limit": "60000", "conditional": Conditional("stop-loss", trigger_price=Decimal(5))},
}  # fmt: skip


def ring(record_bytes: int) -> bytearray:
    memory = bytearray(ring_bytes(record_bytes, 64, gate_count=1))
    format_ring(memory, record_bytes=record_bytes, slot_count=64, gate_count=1)
    return memory


class Hosted:
    """A strategy in its host, on real rings."""

    def __init__(self) -> None:
        commands, reports = ring(COMMAND_RECORD_BYTES), ring(REPORT_RECORD_BYTES)
        self.commands = GatedSubscriber(commands)
        self.strategy = Strategy()
        balances = BalanceBoardReader(balance_board())
        hosted = HostedStrategy(
            self.strategy, "quoter", symbols=["BTC/USD"], ports=[], clock=SystemClock(), latency=wire_latency(),
            order_ports=OrderPorts(Publisher(commands), GatedSubscriber(reports), balances, "quoter", 1),
        )  # fmt: skip
        asyncio.run(hosted.start())
        hosted.context.pairs["BTC/USD"] = Pair("BTC/USD", 1, 8, qty_min_lots=5000, cost_min=Decimal("0.5"))


def files_entered(call: Callable[[], object]) -> list[str]:
    """Files of the engine of which a line runs before `LAST_CALL` returns."""
    entered: dict[str, None] = {}
    is_over = False

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal is_over
        path = Path(frame.f_code.co_filename)
        if is_over or event not in ("call", "return") or not path.is_relative_to(ENGINE):
            return
        place = str(path.relative_to(ENGINE))
        entered[place] = None
        is_over = event == "return" and (place, frame.f_code.co_name) == LAST_CALL

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    assert is_over, "it did not come to the command ring"
    return list(entered)


@pytest.mark.parametrize("options", (USUAL | RARE).values(), ids=USUAL | RARE)
def test_an_order_passes_few_files_on_its_way_to_the_ring(options: dict[str, Any]) -> None:
    """The second as any later one; the first has the ring look at its gates, in `ring/doorbell.py`."""
    hosted, orders = Hosted(), list[Order]()
    named = {"qty": Decimal("0.01"), **options}
    journeys = [files_entered(lambda: orders.append(hosted.strategy.buy("BTC/USD", **named))) for _ in range(2)]

    assert [order.state for order in orders] == [OrderState.NEW] * 2
    sent = [COMMANDS.unpack(record) for record in hosted.commands.poll_many(9)]
    assert [each.key for each in sent if isinstance(each, Submit)] == [order.id for order in orders]
    assert len(set(journeys[1]) - {"orders/amounts.py"}) <= FILES_MAX, journeys[1]
