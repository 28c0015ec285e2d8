"""While the journal cannot be written nothing is sent; when it can be again, it has
everything, and trading goes on.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.order_router.core.commit import SEGMENT_RETRY_NS, UNWRITTEN_MAX
from engine.orders.blotter import fold
from engine.orders.journal import Journal
from engine.orders.journal_records import ModeChanged
from engine.orders.rings.commands import Submit
from engine.orders.rings.reports import TradingStatus
from engine.orders.venue_facts import ExecutionFact
from engine.units import NS_PER_S, MonoNs
from tests.order_router.rig import STRATEGY, TICK_NS, RouterRig
from tests.orders.rig import AT, KEY, ORDER_ID, limit

FULL = "no space left on device"


def trading() -> RouterRig:
    """A router with one order of its strategy, which is open."""
    rig = RouterRig()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    ask(rig, KEY)
    (sent,) = orders_sent(rig)
    rig.frame({"method": "add_order", "req_id": sent["req_id"], "success": True, "result": {"order_id": ORDER_ID}})
    return rig


def ask(rig: RouterRig, key: str) -> None:
    rig.command(Submit(STRATEGY, key, limit(), MonoNs(rig.clock.mono_ns()), MonoNs(0)))


def orders_sent(rig: RouterRig) -> list[dict[str, Any]]:
    """New orders that were written since the last time."""
    return [request for request in rig.socket.take() if request["method"] == "add_order"]


def test_facts_beyond_those_that_are_held_back_are_in_the_journal_all_the_same(capsys) -> None:
    """As the state that they led to: a restart knows of the fill."""
    rig = trading()
    rig.memory.refuses = FULL
    rig.core.records.commit([ModeChanged("ACTIVE", f"fact {number}", AT) for number in range(UNWRITTEN_MAX)])
    rig.fact(
        ExecutionFact(
            exec_type="trade", order_id=ORDER_ID, cl_ord_id=KEY, timestamp=AT, exec_id="T1", trade_id=1, side="buy",
            last_qty=Decimal(1), last_price=Decimal(90), cost=Decimal(90), symbol="BTC/USD",
        ),
        ExecutionFact(exec_type="filled", order_id=ORDER_ID, cl_ord_id=KEY, timestamp=AT, cum_qty=Decimal(1)),
    )  # fmt: skip
    rig.work_for(NS_PER_S, rig.keep_alive)
    rig.memory.refuses = ""
    ask(rig, "quoter00001a000002")
    assert not orders_sent(rig), "an intent in the journal before the facts"
    rig.work_for(SEGMENT_RETRY_NS, rig.keep_alive)

    ask(rig, "quoter00001a000003")

    assert len(orders_sent(rig)) == 1
    live, folded = rig.core.blotter, fold(rig.memory.records())
    assert folded.positions.qty(STRATEGY, "BTC/USD") == 1
    assert folded.state_hash() == live.state_hash()
    assert "facts are in the journal's snapshot alone" in capsys.readouterr().out


def statuses(rig: RouterRig) -> list[tuple[str, bool, str]]:
    """What the strategy is told of trading: mode, whether orders are taken, why not."""
    return [(it.mode, it.is_open, it.reason) for it in rig.told() if isinstance(it, TradingStatus)]


def test_trading_opens_by_itself_once_the_disk_takes_writes_again() -> None:
    """Not before, though there is nothing to write meanwhile but orders, which are refused."""
    rig = trading()
    rig.told()
    rig.memory.refuses = FULL
    ask(rig, "quoter00001a000002")
    rig.work_for(NS_PER_S, rig.keep_alive)
    assert statuses(rig) == [("ACTIVE", False, f"the journal cannot be written: {FULL}")]

    rig.memory.refuses = ""
    rig.work_for(TICK_NS, rig.keep_alive)
    ask(rig, "quoter00001a000003")
    assert statuses(rig) == [("ACTIVE", True, "")]
    assert len(orders_sent(rig)) == 1
    assert fold(rig.memory.records()).state_hash() == rig.core.blotter.state_hash()


@pytest.mark.parametrize("is_before", [True, False])
def test_a_halt_outlasts_a_journal_that_could_not_be_written(is_before: bool) -> None:
    """That of a person, or of the day's loss: with its own reason, and over a restart."""
    rig = trading()
    if is_before:
        rig.core.halt("a person asked")
    rig.memory.refuses = FULL
    ask(rig, "quoter00001a000002")
    rig.work_for(NS_PER_S, rig.keep_alive)
    if not is_before:
        rig.core.halt("a person asked")
    rig.memory.refuses = ""
    rig.work_for(NS_PER_S, rig.keep_alive)
    assert rig.core.gate.report == TradingStatus("HALTED", False, "a person asked")

    rig.begin_anew()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    assert rig.core.gate.report == TradingStatus("HALTED", False, "a person asked")


def test_a_router_that_begins_anew_trades_as_the_one_before_would() -> None:
    """When there is room again it makes no difference whether it was started meanwhile."""
    rig = trading()
    rig.memory.refuses = FULL
    ask(rig, "quoter00001a000002")
    rig.memory.refuses = ""
    rig.begin_anew()
    rig.core.begin()
    rig.connect()
    rig.snapshot()
    rig.work_for(NS_PER_S, rig.keep_alive)

    assert rig.core.gate.report == TradingStatus("ACTIVE", True, "")


def test_a_segment_that_cannot_be_begun_is_tried_again_after_a_while(tmp_path: Path) -> None:
    """Each try sums up all orders, and orders wait for it."""
    journal, _, _ = Journal.open(tmp_path, segment_bytes_max=1)
    (tmp_path / "00000002.journal-unfinished").mkdir()
    rig = RouterRig(journal=journal)
    rig.core.begin()
    rig.work_for(SEGMENT_RETRY_NS // 2)
    assert journal.errors == 1

    (tmp_path / "00000002.journal-unfinished").rmdir()
    rig.work_for(SEGMENT_RETRY_NS // 2 + NS_PER_S)
    assert journal.path.name == "00000002.journal"
    journal.close()
