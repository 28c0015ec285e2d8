"""A strategy that raises or hangs harms nobody else, and its own orders do not outlive its attention."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.order_router.core.report_outbox import HELD_BACK_MAX
from engine.orders.rings.reports import REPORT_SLOTS
from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; each engine has an account of its own."""
    engines = Engines(tmp_path_factory.mktemp("strategies"))
    yield TradingVenue(engines, "--no-rate-counter")
    engines.close()


@pytest.fixture
def two(venue: TradingVenue, tmp_path: Path) -> Iterator[TradingEngine]:
    """An engine with two strategies."""
    engine = TradingEngine(venue, tmp_path, names=("good", "bad"), relay=False).start()
    yield engine
    engine.close()


def test_a_strategy_that_was_halted_has_its_orders_canceled_and_the_other_goes_on(two: TradingEngine) -> None:
    """Halted for raising too often."""
    for puppet in ("good", "bad"):
        two.wish("order", puppet, name="a", away=3.0)
        two.wait_for_state("a", "WORKING", puppet=puppet)
    two.wish("raise", "bad")
    eventually(lambda: two.status()["strategies"]["bad"]["halted"], "the strategy was halted")
    eventually(lambda: two.at_venue("a", "bad")[0]["status"] == "canceled", "its order is canceled")
    assert two.at_venue("a", "good")[0]["status"] == "new"
    two.wish("order", "good", name="b", away=3.0)
    two.wait_for_state("b", "WORKING", puppet="good")
    two.wish("cancel_all", "good")
    two.wait_for_state("a", "CANCELED", puppet="good")
    two.wait_for_state("b", "CANCELED", puppet="good")
    assert two.stop()["orders"]["canceled"] == 3
    assert two.differences(told=False) == []


def test_on_stop_is_told_that_it_comes_too_late_for_orders(venue: TradingVenue, tmp_path: Path) -> None:
    """What the configuration kept stays, and is shown as it is."""
    engine = TradingEngine(venue, tmp_path, trading='on_stop = "keep"', relay=False).start()
    try:
        engine.wish("order", name="a", away=3.0)
        engine.wait_for_state("a", "WORKING")
        engine.wish("try_at_stop")
        engine.wish("look", note="it has heard that")
        eventually(lambda: engine.diary().entries("look"), "it tries")
        assert engine.stop()["exit"] == "clean"
        (tried,) = engine.diary().entries("tried")
        assert (tried["state"], tried["reason"]) == ("REFUSED", "the engine is stopping")
        assert tried["working"] == ["a"]
        assert not tried["is_called"]
        assert engine.at_venue("a")[0]["status"] == "new"
        assert "1 open orders were not canceled" in engine.log()
    finally:
        engine.close()


@pytest.mark.parametrize("command", ["cancel", "halt"])
def test_a_person_can_end_everything_while_a_strategy_hangs(two: TradingEngine, command: str) -> None:
    """`engine cancel --all` and `engine halt` are the router's, whom no strategy can hold up."""
    two.wish("order", "bad", name="a", away=3.0)
    two.wait_for_state("a", "WORKING", puppet="bad")
    two.hang(puppet="bad")
    eventually(lambda: two.diary("bad").entries("asleep"), "the strategy hangs")
    answer = two.engines.call(*(("cancel", "--all") if command == "cancel" else ("halt",)))
    assert answer.returncode == 0, answer.stderr
    eventually(lambda: two.at_venue("a", "bad")[0]["status"] == "canceled", "its order is canceled")
    assert not two.diary("bad").entries("awake")
    eventually(lambda: two.router("orders")["orders"] == [], "the router has been told")
    two.wake()
    two.wait_for_state("a", "CANCELED", puppet="bad")
    two.wish("order", "good", name="b", away=3.0)
    if command == "halt":
        assert "halted" in two.wait_for_state("b", "REFUSED", puppet="good")["reason"]
        assert two.engines.call("resume").returncode == 0
        two.wish("order", "good", name="c", away=3.0)
        two.wait_for_state("c", "WORKING", puppet="good")
    else:
        two.wait_for_state("b", "WORKING", puppet="good")
    two.wait_until_agreed()


def test_a_strategy_that_leaves_its_reports_lying_is_refused_canceled_and_then_told_everything(
    venue: TradingVenue, tmp_path: Path
) -> None:
    """Its report ring fills while it sleeps, and the router waits for nobody: not even with what it keeps aside."""
    engine = TradingEngine(venue, tmp_path, relay=False, trading="answer_timeout_s = 5.0").start()
    try:
        engine.wish("order", name="resting", away=3.0)
        engine.wait_for_state("resting", "WORKING")
        engine.wish("order", name="trading", away=0.0, qty="9")
        engine.wait_for_state("trading", "WORKING", "PARTIAL", "FILLED")
        # Refusals fill the ring as well as fills, and faster.
        engine.hang("flood", count=REPORT_SLOTS + HELD_BACK_MAX + 1000)
        eventually(lambda: engine.diary().entries("asleep"), "the strategy hangs")
        eventually(lambda: engine.at_venue("resting")[0]["status"] == "canceled", "its order is canceled")
        eventually(lambda: engine.counts()["reports_held_back"] > 0, "reports are kept aside")
        assert not engine.diary().entries("awake")
        engine.wake()
        engine.wait_for_state("resting", "CANCELED")
        eventually(lambda: engine.diary().entries("awake"), "it wakes")
        eventually(lambda: engine.counts()["resyncs"] > 0, "it is told")
        eventually(lambda: "takes its reports again" in engine.log(), "and may trade again")
        engine.wish("order", name="after", away=3.0)
        engine.wait_for_state("after", "WORKING")
        engine.wait_until_agreed()
    finally:
        engine.close()
