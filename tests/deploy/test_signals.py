"""What systemd does to the processes of a unit, one signal at a time: whatever it is, the orders end."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.integration.rig import PATIENCE_S, Engines
from tests.integration.trading_rig import TradingEngine, TradingVenue, is_alive, stopped
from tests.waiting import eventually


@pytest.fixture
def engine(engines: Engines, tmp_path: Path) -> Iterator[TradingEngine]:
    """One with two orders that rest, on a venue that outlives it, and no dead man's switch to help."""
    venue = TradingVenue(engines, "--no-rate-counter")
    engine = TradingEngine(venue, tmp_path / "it", relay=False, trading="dead_man_s = 0").start()
    for name in ("a", "b"):
        engine.wish("order", name=name, away=3.0)
        engine.wait_for_state(name, "WORKING")
    yield engine
    engine.close()


def terminate_all(processes: list[psutil.Process]) -> None:
    """SIGTERM to every process of the unit, as KillMode=control-group sends it."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)


def family_of(engine: TradingEngine) -> list[psutil.Process]:
    """The engine and its processes."""
    it = psutil.Process(engine.process.pid)
    return [it, *it.children(recursive=True)]


def ended_well(engine: TradingEngine, family: list[psutil.Process]) -> None:
    """Nobody is left, no order rests, and the journal says what the venue says."""
    eventually(lambda: not any(is_alive(process.pid) for process in family), "nobody is left")
    assert [order["status"] for order in engine.venue.orders(engine.account)] == ["canceled", "canceled"]
    assert engine.differences(told=False) == []


def test_all_processes_are_told_to_end_at_once(engine: TradingEngine) -> None:
    """Before the unit was ready there is no ExecStop, and none where that failed."""
    family = family_of(engine)
    terminate_all(family)
    engine.process.wait(PATIENCE_S)
    ended_well(engine, family)


def test_the_engine_is_killed_and_the_rest_is_told_to_end(engine: TradingEngine) -> None:
    """By the kernel, for want of memory, say."""
    family = family_of(engine)
    family[0].kill()
    engine.process.wait(PATIENCE_S)
    terminate_all(family[1:])
    assert engine.engines.call("stop", "--if-running").returncode == 0  # ExecStopPost
    ended_well(engine, family)


def test_a_supervisor_that_hangs_is_told_to_end_and_killed_later(engine: TradingEngine) -> None:
    """The watchdog: the router ends the orders though the engine does not move."""
    family = family_of(engine)
    router = engine.pid("order_router")
    with stopped(engine.process.pid):
        terminate_all(family)
        eventually(
            lambda: {order["status"] for order in engine.venue.orders(engine.account)} == {"canceled"},
            "the orders are ended",
        )
        eventually(lambda: not is_alive(router), "its router has ended")
        os.kill(engine.process.pid, signal.SIGKILL)
    engine.process.wait(PATIENCE_S)
    ended_well(engine, family)
