"""Reports to a strategy that takes none: the router never waits, and the strategy misses nothing that still is so."""

from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from engine.clock import ManualClock
from engine.market import Pair
from engine.order_router.core import report_outbox
from engine.order_router.core.report_outbox import HELD_BACK_MAX, TOLD_ONCE_MAX, ReportOutbox
from engine.orders.life import OrderState
from engine.orders.rings.reports import (
    REPORT_RECORD_BYTES,
    REPORTS,
    Fill,
    OrderReport,
    Position,
    Report,
    ResyncBegan,
    ResyncEnded,
    TradingStatus,
)
from engine.processes.balance_board import BalanceBoardReader
from engine.ring import GatedSubscriber, Publisher
from engine.strategy_host.order_client import OrderClient, OrderPorts
from engine.units import MonoNs, QtyLots, WallNs
from tests.order_router.rig import balance_board, ring

SLOTS = 16


def report_ring() -> bytearray:
    return ring(REPORT_RECORD_BYTES, SLOTS)


def report(number: int, state: OrderState = OrderState.WORKING) -> OrderReport:
    return OrderReport(
        key=f"quoter000001{number:06d}", order_id=f"O{number}", symbol="BTC/USD", side="buy", order_type="limit",
        state=state, qty_lots=QtyLots(100), price_decimals=1, qty_decimals=8, changed_at=WallNs(number),
    )  # fmt: skip


def fill(number: int) -> Fill:
    return Fill(
        key=f"quoter{number}", exec_id=f"T{number}", trade_id=1, symbol="BTC/USD", side="buy", qty=Decimal("1E-8"),
        price=Decimal(1), cost=Decimal(1), fees={}, liquidity="maker", kraken_time=WallNs(0), received_at=MonoNs(0),
    )  # fmt: skip


def taken(reader: GatedSubscriber) -> list[Report]:
    """Everything that is in the ring now."""
    found = []
    while (record := reader.poll()) is not None:
        found.append(REPORTS.unpack(record))
    return found


def drained(line: ReportOutbox, reader: GatedSubscriber, everything: list[Report]) -> list[Report]:
    """Everything, by a strategy that has woken up, with the router looking after it from time to time."""
    found: list[Report] = taken(reader)
    while line.is_behind:
        line.catch_up(lambda: everything)
        found += taken(reader)
    return found


def test_what_finds_the_ring_full_waits_and_comes_in_order() -> None:
    """The strategy is behind, which bars its orders; when it takes what it has, the rest follows, once each."""
    memory = report_ring()
    line, reader = ReportOutbox("quoter", Publisher(memory)), GatedSubscriber(memory)
    sent = [report(number) for number in range(5 * SLOTS)]
    for each in sent:
        line.send(each)

    assert line.is_behind
    assert drained(line, reader, []) == sent
    assert not line.is_behind
    assert line.resyncs == 0


def test_a_strategy_that_sleeps_for_too_long_is_told_everything_anew() -> None:
    """More than can wait is given up, counted, and made good by all there is to say; then news again."""
    memory = report_ring()
    line, reader = ReportOutbox("quoter", Publisher(memory)), GatedSubscriber(memory)
    for number in range(SLOTS + HELD_BACK_MAX + 10):
        line.send(report(number))
    state: list[Report] = [TradingStatus("ACTIVE", True, ""), report(1, OrderState.FILLED), report(2)]

    found = drained(line, reader, state)
    line.send(report(3))

    # What was in the ring already, then: so many were lost, everything, and that was everything.
    assert found[:SLOTS] == [report(number) for number in range(SLOTS)]
    assert found[SLOTS:] == [ResyncBegan(), *state, ResyncEnded()]
    assert taken(reader) == [report(3)]
    assert line.resyncs == 1


def test_fills_are_told_once_each_however_long_the_strategy_slept() -> None:
    """A fill has no later report that makes good for it."""
    memory = report_ring()
    line, reader = ReportOutbox("quoter", Publisher(memory)), GatedSubscriber(memory)
    fills = []
    for number in range(SLOTS + HELD_BACK_MAX + 300):
        line.send(report(number))
        if number % 100 == 0:
            fills.append(fill(number))
            line.send(fills[-1])

    assert [each for each in drained(line, reader, []) if isinstance(each, Fill)] == fills
    assert line.resyncs == 1


def test_a_refusal_is_told_however_long_the_strategy_slept() -> None:
    """No journal has it, and the order would be waited for for ever."""
    memory = report_ring()
    line, reader = ReportOutbox("quoter", Publisher(memory)), GatedSubscriber(memory)
    refused = report(5, OrderState.REFUSED)
    for number in range(SLOTS + HELD_BACK_MAX + 10):
        line.send(report(number))
    line.send(refused)

    assert drained(line, reader, [])[-2:] == [refused, ResyncEnded()]


def test_what_is_given_up_beyond_its_bound_is_counted() -> None:
    """Of refusals the newest go; the strategy is told of all others."""
    memory = report_ring()
    line, reader = ReportOutbox("quoter", Publisher(memory)), GatedSubscriber(memory)
    for number in range(SLOTS + HELD_BACK_MAX + TOLD_ONCE_MAX + 7):
        line.send(report(number, OrderState.REFUSED))
    lost = HELD_BACK_MAX + 7

    assert line.untold == lost
    told = [each for each in drained(line, reader, []) if isinstance(each, OrderReport)]
    assert len(told) == SLOTS + TOLD_ONCE_MAX
    assert told[-1] == report(SLOTS + TOLD_ONCE_MAX - 1, OrderState.REFUSED)


def test_the_desk_is_right_again_after_a_resynchronisation() -> None:
    """Orders that ended unseen have ended, and each end is told once."""
    memory, commands = report_ring(), report_ring()
    line, clock = ReportOutbox("quoter", Publisher(memory)), ManualClock()
    ports = OrderPorts(Publisher(commands), GatedSubscriber(memory), BalanceBoardReader(balance_board()), "quoter", 1)
    desk = OrderClient("quoter", ports, {"BTC/USD": Pair("BTC/USD", 1, 8)}, clock)
    line.send(report(1))
    assert desk.next_news() is not None
    for each in (ResyncBegan(), Position("BTC/USD", Decimal(1), Decimal(2), Decimal(3), Decimal(4)),
                 report(1, OrderState.FILLED), report(2), ResyncEnded()):  # fmt: skip
        line.send(each)
    told = []
    while (news := desk.next_news()) is not None:
        told.append(news)

    assert [getattr(each, "id", None) for each in told] == [report(1).key, report(2).key]
    assert [order.id for order in desk.open_orders] == [report(2).key]
    assert desk.positions["BTC/USD"].qty == 1
    assert desk.ends_told.count == 1


def test_what_is_never_told_is_counted_and_said_and_a_refusal_goes_before_a_fill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kept are four: of three refusals and three fills the fills, and one refusal."""
    monkeypatch.setattr(report_outbox, "TOLD_ONCE_MAX", 4)
    monkeypatch.setattr(report_outbox, "HELD_BACK_MAX", 0)
    memory = report_ring()
    line, reader = ReportOutbox("quoter", Publisher(memory)), GatedSubscriber(memory)
    for number in range(SLOTS):
        line.send(report(number))
    with capture_logs() as logs:
        for number in range(3):
            line.send(report(100 + number, OrderState.REFUSED))
        for number in range(3):
            line.send(fill(number))
    told = drained(line, reader, [])

    assert line.untold == 2
    assert [it for it in told[SLOTS:] if isinstance(it, Fill)] == [fill(number) for number in range(3)]
    assert [it.key for it in told[SLOTS:] if isinstance(it, OrderReport)] == [report(102).key]
    assert [entry["untold"] for entry in logs if entry["event"] == "reports are never told"] == [1, 2]
