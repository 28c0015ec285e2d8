"""kill -9 of the router at any moment: every order is explained, none is sent twice, none is forgotten."""

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

import psutil
import pytest

from engine.units import NS_PER_S
from tests.integration.rig import Engines, age_ns, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue
from tests.waiting import moment

SEED = 20261121
COMMAND_TTL_NS = 4 * NS_PER_S  # longer than a router on a busy machine waits for a core
KILLS = int(os.environ.get("ENGINE_TEST_KILLS", "3"))
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
            moment(rng.uniform(0.0, 0.06))
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


def test_a_halt_outlives_the_router_and_stale_orders_are_refused_by_one_that_comes_back(
    venue: TradingVenue, folder: Path
) -> None:
    """Only a person resumes. An order that waited for a hanging router for longer than its time to live is refused."""
    engine = TradingEngine(
        venue, folder, trading=f"{SOON}\ncommand_ttl_s = {COMMAND_TTL_NS / NS_PER_S}", relay=False
    ).start()
    try:
        engine.wish("order", name="early", away=4.0)
        engine.wait_for_state("early", "WORKING")
        router = psutil.Process(engine.pid("order_router"))
        router.suspend()
        engine.wish("order", name="late", away=4.5)
        engine.wish("cancel", names=["early"])
        _, late = eventually(lambda: (named := engine.diary().entries("named"))[1:] and named, "both were asked for")
        eventually(lambda: age_ns(late) > COMMAND_TTL_NS, "the second is too old")
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


def test_fills_are_told_once_each_although_their_router_is_killed_again_and_again(
    venue: TradingVenue, folder: Path
) -> None:
    """It dies wherever it is: between journal and report too, and while the strategy leaves its reports lying."""
    engine = TradingEngine(venue, folder, trading=SOON, relay=False).start()
    rng, number = Random(SEED + 1), 0
    try:
        for kill in range(KILLS):
            eventually(engine.is_open, "the router takes orders")
            pid, fills_before = engine.pid("order_router"), engine.counts()["fills"]
            for _ in range(30):
                number += 1
                engine.wish("order", name=f"o{number}", side="buy" if number % 2 else "sell", away=-1.0, qty="0.003")
            eventually(lambda before=fills_before: engine.counts()["fills"] > before, "fills come")
            if kill % 2:
                engine.hang()  # it takes nothing while its router dies
            moment(rng.uniform(0.0, 0.06))
            os.kill(pid, signal.SIGKILL)
            eventually(lambda pid=pid: engine.status().get("processes", {}).get("order_router") not in (None, pid),
                       "there is another router")  # fmt: skip
            if kill % 2:
                engine.wake()
        eventually(engine.is_open, "the router takes orders")
        eventually(lambda: not engine.router("status")["unknown"], "nothing is in doubt")

        engine.wait_until_agreed()
        told = [entry["exec_id"] for entry in engine.diary().entries("fill")]
        assert len(told) == len(set(told)) == engine.counts()["fills"]
        engine.wish("look", note="position")
        look = eventually(lambda: engine.diary().entries("look"), "it looked")[-1]
        held = sum(
            Decimal(entry["qty"]) if entry["side"] == "buy" else -Decimal(entry["qty"])
            for entry in engine.diary().entries("fill")
        )
        assert Decimal(look["qty"]) == held
    finally:
        engine.close()
