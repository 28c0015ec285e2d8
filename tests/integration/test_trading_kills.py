"""kill -9 of whoever handles orders, at any moment: every order is explained, none is sent twice, none is forgotten."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue

SEED = 20261121
KILLS = int(os.environ.get("ENGINE_TEST_KILLS", "6"))
SOON = "deadline_s = 0.6\nanswer_timeout_s = 0.9"


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; every engine has an account of its own there."""
    engines = Engines(tmp_path_factory.mktemp("venue"))
    yield TradingVenue(engines, "--no-rate-counter", "--engine-latency-ms", "5-30")
    engines.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engine"


def test_a_router_killed_at_any_moment_of_an_order_explains_every_one(venue: TradingVenue, folder: Path) -> None:
    """Orders come all the while; it dies between journal and send, between send and answer, wherever it is."""
    engine = TradingEngine(venue, folder, trading=SOON, relay=False).start()
    rng, number = Random(SEED), 0
    try:
        for _ in range(KILLS):
            eventually(engine.is_open, "the router takes orders")
            pid = engine.pid("order_router")
            for _ in range(12):
                number += 1
                engine.wish("order", name=f"o{number}", away=3.0 + number % 7, qty="0.001")
            time.sleep(rng.uniform(0.0, 0.06))
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: engine.status().get("processes", {}).get("order_router") not in (None, pid),
                       "there is another router")  # fmt: skip
        eventually(engine.is_open, "the router takes orders")
        eventually(lambda: len(engine.diary().entries("named")) == number, "all were asked for")
        eventually(lambda: not engine.router("status")["unknown"], "nothing is in doubt")
        eventually(lambda: all(engine.told(f"o{n}") for n in range(1, number + 1)), "each order was told of")

        last = [engine.told(f"o{n}")[-1]["state"] for n in range(1, number + 1)]
        assert set(last) <= {"WORKING", "REJECTED", "REFUSED"}
        assert "WORKING" in last
        ids = [order["cl_ord_id"] for order in venue.orders(engine.account)]
        assert len(ids) == len(set(ids)), "an order was sent twice"
        engine.wish("cancel_all")
        eventually(lambda: not engine.router("orders")["orders"], "nothing is open")
        engine.wait_until_agreed()
        assert engine.status()["restarts"]["order_router"] == KILLS
    finally:
        engine.close()


@pytest.mark.parametrize("policy", ["cancel", "keep"])
def test_the_router_outlives_a_killed_engine_and_takes_care_of_its_orders(
    venue: TradingVenue, folder: Path, policy: str
) -> None:
    """The engine's process is killed: the router cancels what is open, or keeps it, and is gone."""
    engine = TradingEngine(venue, folder, trading=f'{SOON}\non_engine_loss = "{policy}"', relay=False).start()
    try:
        engine.wish("order", name="mine", away=4.0)
        engine.wait_for_state("mine", "WORKING")
        router = psutil.Process(engine.pid("order_router"))
        engine.process.kill()
        engine.process.wait()
        eventually(lambda: not router.is_running() or router.status() == psutil.STATUS_ZOMBIE, "the router is gone")

        (order,) = engine.at_venue("mine")
        assert order["status"] == ("canceled" if policy == "cancel" else "new")
        assert engine.differences(told=False) == []
        if policy == "keep":
            # The next life finds it, says so, and ends it in order.
            engine.start()
            eventually(lambda: len(engine.told("mine") + engine.diary().entries("order")) > 2, "it is told of")
            engine.router("cancel", all=True)
            eventually(lambda: engine.at_venue("mine")[0]["status"] == "canceled", "it is over")
    finally:
        engine.close()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_the_dead_mans_switch_ends_what_nobody_is_left_to_end(venue: TradingVenue, folder: Path, how: str) -> None:
    """Engine and router are killed at once, or the router hangs: Kraken cancels everything by itself."""
    slow = "[engine]\nactor_silence_s = 60"
    settings = f"{SOON}\ndead_man_s = 3\ndead_man_refresh_s = 1.0"
    engine = TradingEngine(venue, folder, trading=settings, engine=slow.partition("\n")[2], relay=False).start()
    router = psutil.Process(engine.pid("order_router"))
    try:
        engine.wish("order", name="left", away=4.0)
        engine.wait_for_state("left", "WORKING")
        eventually(lambda: engine.counts()["dead_man_refreshes"] >= 2, "the switch is armed and refreshed")
        if how == "killed":
            router.kill()
            engine.process.kill()
            engine.process.wait()
        else:
            router.suspend()
        eventually(lambda: engine.at_venue("left")[0]["status"] == "canceled", "the switch has fired")
        if how == "stopped":
            router.resume()
            engine.wait_for_state("left", "CANCELED")
            engine.wait_until_agreed()
    finally:
        if router.is_running():
            router.kill()
        engine.close()


def test_a_killed_private_feed_costs_nothing(venue: TradingVenue, folder: Path) -> None:
    """It dies while orders are filled: trading waits for the snapshot, and every fill is told once."""
    engine = TradingEngine(venue, folder, trading=SOON, relay=False).start()
    try:
        for number in range(3):
            engine.wish("order", name=f"before{number}", away=-0.5, qty="0.01")
            os.kill(engine.pid("private_feed"), signal.SIGKILL)
            eventually(lambda n=number: engine.status()["restarts"]["private_feed"] > n, "it is started again")
            eventually(engine.is_open, "orders are taken again")
        for number in range(3):
            engine.wait_for_state(f"before{number}", "FILLED", "REJECTED", "REFUSED")
        engine.wait_until_agreed()
    finally:
        engine.close()


def test_a_strategy_that_raises_too_often_has_its_orders_cancelled(venue: TradingVenue, folder: Path) -> None:
    """It is halted, its orders end, and those of the other strategy do not."""
    engine = TradingEngine(venue, folder, names=("bad", "good"), trading=SOON, relay=False).start()
    try:
        for puppet in ("bad", "good"):
            engine.wish("order", puppet, name=f"{puppet} order", away=4.0 if puppet == "bad" else 5.0)
            engine.wait_for_state(f"{puppet} order", "WORKING", puppet=puppet)
        engine.wish("raise", "bad")
        eventually(lambda: engine.at_venue("bad order", "bad")[0]["status"] == "canceled", "its order is canceled")

        assert engine.at_venue("good order", "good")[0]["status"] == "new"
        assert engine.status()["strategies"]["bad"]["halted"]
    finally:
        engine.close()


def test_orders_can_be_cancelled_and_trading_halted_while_a_strategy_hangs(venue: TradingVenue, folder: Path) -> None:
    """The router answers by itself; what the strategy missed it is told when it wakes."""
    engine = TradingEngine(venue, folder, trading=SOON, relay=False).start()
    try:
        for name in ("a", "b"):
            engine.wish("order", name=name, away=4.0 if name == "a" else 5.0)
            engine.wait_for_state(name, "WORKING")
        engine.wish("sleep", seconds=3)
        eventually(lambda: engine.diary().entries("asleep"), "it hangs")
        assert engine.engines.call("cancel", engine.id_of("a")).returncode == 0
        eventually(lambda: engine.at_venue("a")[0]["status"] == "canceled", "one is canceled")
        assert "HALTED" in engine.engines.call("halt").stdout
        eventually(lambda: engine.at_venue("b")[0]["status"] == "canceled", "the other one too")
        eventually(lambda: engine.diary().entries("awake"), "it wakes")
        for name in ("a", "b"):
            engine.wait_for_state(name, "CANCELED")
        engine.wish("order", name="halted", away=4.0)
        assert "halt" in engine.wait_for_state("halted", "REFUSED")["reason"]
        assert "ACTIVE" in engine.engines.call("resume").stdout
        engine.wish("order", name="resumed", away=4.0)
        engine.wait_for_state("resumed", "WORKING")
    finally:
        engine.close()


def test_a_halt_outlives_the_router_and_stale_orders_are_refused_by_one_that_comes_back(
    venue: TradingVenue, folder: Path
) -> None:
    """Only a person resumes. An order that waited for a hanging router for longer than its time to live is refused."""
    engine = TradingEngine(venue, folder, trading=f"{SOON}\ncommand_ttl_s = 0.5", relay=False).start()
    try:
        engine.wish("order", name="early", away=4.0)
        engine.wait_for_state("early", "WORKING")
        router = psutil.Process(engine.pid("order_router"))
        router.suspend()
        engine.wish("order", name="late", away=4.5)
        engine.wish("cancel", names=["early"])
        eventually(lambda: len(engine.diary().entries("named")) == 2, "both were asked for")
        time.sleep(0.7)
        router.resume()
        assert "waited" in engine.wait_for_state("late", "REFUSED")["reason"]
        engine.wait_for_state("early", "CANCELED")  # cancels are never too old

        engine.engines.call("halt")
        eventually(lambda: not engine.is_open(), "it is halted")
        os.kill(router.pid, signal.SIGKILL)
        eventually(lambda: engine.pid("order_router") != router.pid, "there is another router")
        eventually(lambda: engine.router("status").get("mode") == "HALTED", "it knows of the halt")
    finally:
        engine.close()
