"""A strategy that does not come back: named at once, its orders ended in time, and told of it when it is back."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.rig import Engines, eventually, json_lines
from tests.integration.trading_rig import TradingEngine, TradingVenue, stopped

HANG_S_MAX = 2.0
LOCK_S = 8  # for which a library keeps the interpreter's lock; nothing in that process could end it earlier


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; each engine has an account of its own."""
    engines = Engines(tmp_path_factory.mktemp("hangs"))
    yield TradingVenue(engines, "--no-rate-counter")
    engines.close()


def two_at(venue: TradingVenue, folder: Path, trading: str = "") -> TradingEngine:
    """An engine with two strategies."""
    engine = f"hang_s_max = {HANG_S_MAX}"
    return TradingEngine(venue, folder, names=("good", "bad"), relay=False, engine=engine, trading=trading).start()


def rest_both(engine: TradingEngine) -> None:
    """Each has an order that rests."""
    for puppet in ("good", "bad"):
        engine.wish("order", puppet, name="a", away=3.0)
        engine.wait_for_state("a", "WORKING", puppet=puppet)


def lines(engine: TradingEngine, event: str) -> list[dict[str, Any]]:
    """Lines of the log about an event."""
    return [line for line in json_lines(engine.log()) if line["event"] == event]


@pytest.mark.parametrize("how", ["spin", "sleep"])
def test_a_strategy_that_does_not_return_is_named_and_the_orders_of_all_who_share_its_thread_end(
    venue: TradingVenue, tmp_path: Path, how: str
) -> None:
    """Whether it computes or waits. When it is back, both are told, and trade again."""
    engine = two_at(venue, tmp_path)
    try:
        rest_both(engine)
        engine.hang(how, "bad")
        shown = eventually(lambda: engine.status()["strategies"]["bad"]["hangs"], "it is seen")
        eventually(lambda: engine.at_venue("a", "bad")[0]["status"] == "canceled", "its order is canceled")
        eventually(lambda: engine.at_venue("a", "good")[0]["status"] == "canceled", "the other's is, too")
        assert not engine.diary("bad").entries("awake")
        named = lines(engine, "callback does not return")
        # The log has a thread of its own, which may come after the venue's answer.
        ended = eventually(lambda: len(told := lines(engine, "strategy hangs")) > 1 and told, "the log says so")
        engine.wake()

        assert shown["callback"] == "on_timer"
        assert re.fullmatch(rf"puppet.py:\d+ in do_{how}", shown["line"])
        assert [(line["strategy"], line["callback"]) for line in named] == [("bad", "on_timer")]
        assert {line["strategy"] for line in ended} == {"good", "bad"}
        for puppet in ("good", "bad"):
            engine.wait_for_state("a", "CANCELED", puppet=puppet)
            told = engine.diary(puppet).entries("trading")
            why = [entry["reason"] for entry in told if not entry["open"]][-1]
            assert why.startswith("bad has not returned from on_timer for 2 s")
            eventually(lambda puppet=puppet: engine.diary(puppet).entries("trading")[-1]["open"], "it is open again")
            engine.wish("order", puppet, name="b", away=3.0)
            engine.wait_for_state("b", "WORKING", puppet=puppet)
        eventually(lambda: not engine.status()["strategies"]["bad"]["hangs"], "it does not hang any more")
        conduct = engine.status()["strategies"]["bad"]
        assert (conduct["hung"], conduct["halted"]) == (1, False)
        engine.wait_until_agreed()
        assert engine.stop()["exit"] == "clean"
        assert engine.process.returncode == 0
    finally:
        engine.close()


def test_a_library_that_keeps_the_interpreters_lock_is_noticed_by_the_router(
    venue: TradingVenue, tmp_path: Path
) -> None:
    """Nothing in the engine's process goes on, its supervisor neither; orders end all the same, the line is told."""
    engine = two_at(venue, tmp_path)
    try:
        rest_both(engine)
        engine.wish("hold_lock", "bad", seconds=LOCK_S)
        eventually(lambda: engine.at_venue("a", "bad")[0]["status"] == "canceled", "its order is canceled")
        eventually(lambda: engine.at_venue("a", "good")[0]["status"] == "canceled", "the other's is, too")
        assert not engine.diary("bad").entries("awake")
        hanging = engine.router("status")["hanging"]
        assert hanging["bad"].startswith("bad has not returned from on_timer for 2 s")
        eventually(lambda: re.search(r'puppet.py", line \d+ in do_hold_lock', engine.log()), "its line is told")
        assert engine.log().count("in do_hold_lock") == 1
        assert not engine.diary("bad").entries("awake")
        engine.wait_for_state("a", "CANCELED", puppet="bad")
        engine.wish("order", "bad", name="b", away=3.0)
        engine.wait_for_state("b", "WORKING", "REFUSED", puppet="bad")
        engine.wait_until_agreed()
    finally:
        engine.close()


def test_an_engine_that_was_stopped_for_a_while_lives_on_and_nothing_reads_its_running_threads(
    venue: TradingVenue, tmp_path: Path
) -> None:
    """A laptop that slept, a machine that was moved: it trades on, and no stack is written, which a timer would do."""
    engine = two_at(venue, tmp_path)
    try:
        rest_both(engine)
        with stopped(engine.process.pid):
            eventually(lambda: len(lines(engine, "strategy hangs")) == 2, "the router has ended its orders")
        eventually(lambda: engine.router("status")["hanging"] == {}, "it goes on")
        for puppet in ("good", "bad"):
            engine.wait_for_state("a", "CANCELED", puppet=puppet)
            eventually(lambda puppet=puppet: engine.diary(puppet).entries("trading")[-1]["open"], "it is open again")
            engine.wish("order", puppet, name="b", away=3.0)
            engine.wait_for_state("b", "WORKING", puppet=puppet)
        assert engine.stop()["exit"] == "clean"
        assert "Timeout (" not in engine.log()  # with which the timer's stacks begin
    finally:
        engine.close()


def test_orders_of_a_strategy_that_hangs_are_kept_when_so_configured(venue: TradingVenue, tmp_path: Path) -> None:
    """It is barred, its orders rest, and it goes on with them when it is back."""
    engine = two_at(venue, tmp_path, 'on_strategy_halt = "keep"')
    try:
        rest_both(engine)
        engine.hang("sleep", "bad")
        eventually(lambda: lines(engine, "strategy hangs"), "it hangs")
        engine.wake()
        eventually(lambda: engine.diary("bad").entries("awake"), "it is back")
        assert engine.at_venue("a", "bad")[0]["status"] == "new"
        eventually(lambda: engine.router("status")["hanging"] == {}, "and known to be")
        engine.wish("amend", "bad", name="a", away=4.0)
        engine.wish("order", "bad", name="b", away=3.0)
        engine.wait_for_state("b", "WORKING", puppet="bad")
        engine.wait_until_agreed()
    finally:
        engine.close()


def test_an_engine_whose_strategy_hangs_is_stopped_and_says_who_kept_it(venue: TradingVenue, tmp_path: Path) -> None:
    """SIGTERM: orders settled, summary written, an exit code that is not 0."""
    engine = TradingEngine(venue, tmp_path, relay=False, engine="stop_deadline_s = 1.0").start()
    try:
        engine.wish("order", name="a", away=3.0)
        engine.wait_for_state("a", "WORKING")
        engine.hang("spin")
        eventually(lambda: engine.diary().entries("asleep"), "it hangs")
        summary = engine.stop()

        assert engine.process.returncode == 1
        assert summary["exit"].startswith("a strategy did not stop in time: puppet does not return from on_timer (pupp")
        assert engine.at_venue("a")[0]["status"] == "canceled"
    finally:
        engine.close()
