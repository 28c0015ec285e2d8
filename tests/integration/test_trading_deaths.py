"""Whatever dies in the middle of trading: no order is forgotten, none is sent twice, none is left alone.

A death of the router between any two of its steps is lived through under a manual clock, in
`tests/order_router`; here are those that need a process, a kernel, or the venue's own clock.
"""

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.ledger_check import read_state
from engine.units import NS_PER_S
from tests.integration.rig import Engines, age_ns, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue, is_alive, stopped

COMMAND_TTL_NS = 4 * NS_PER_S  # longer than a router on a busy machine waits for a core: the others must not be too old


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; each engine has an account of its own."""
    engines = Engines(tmp_path_factory.mktemp("deaths"))
    yield TradingVenue(engines, "--no-rate-counter", symbols="BTC/USD,ETH/USD")
    engines.close()


@pytest.fixture
def start(venue: TradingVenue, tmp_path: Path) -> Iterator[object]:
    """Starts engines on it."""
    started: list[TradingEngine] = []

    def start(**options: str) -> TradingEngine:
        engine = TradingEngine(venue, tmp_path / f"{len(started)}", **options)  # type: ignore[arg-type]
        started.append(engine)
        engine.start()
        assert engine.relay is not None
        eventually(lambda: engine.relay.carries("orders", "feed"), "both connections are there")
        return engine

    yield start
    for engine in started:
        engine.close()
    venue.clear()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def router_restarted(engine: TradingEngine, times: int = 1) -> None:
    eventually(lambda: engine.status()["restarts"].get("order_router") == times, "the router was restarted")
    eventually(engine.is_open, "the router takes orders again")


# --- the router


@pytest.mark.parametrize(
    ("what", "where"),
    [("batch", "before it is sent"), ("amend", "before it is answered")],
)
def test_a_router_killed_with_an_order_under_way_explains_it_and_does_not_send_it_again(
    start, venue: TradingVenue, what: str, where: str
) -> None:
    """The journal has it. The venue has it or not, as the relay lets it; and afterwards nobody doubts which."""
    engine = start(trading="deadline_s = 1.0")
    names = ["a", "b", "c"] if what == "batch" else ["a"]
    if what == "amend":
        engine.wish("order", name="a")
        engine.wait_for_state("a", "WORKING")
    kinds = ("orders", "feed")
    engine.relay.hold(requests=("orders",) if where == "before it is sent" else (), answers=kinds)
    if what == "amend":
        engine.wish("amend", name="a", qty="0.02")
        eventually(lambda: engine.router("orders")["orders"][0]["pending"] == "amend", "the amend is under way")
    else:
        if what == "add":
            engine.wish("order", name="a")
        else:
            engine.wish("batch", orders=[{"name": name, "away": 3.0 + i} for i, name in enumerate(names)])
        for name in names:
            engine.wait_for_state(name, "SENT")
    if where == "before it is answered":
        eventually(
            lambda: all(
                at_venue and (what != "amend" or at_venue[0]["amend_count"]) for at_venue in map(engine.at_venue, names)
            ),
            "the venue has it",
        )
    kill(engine.pid("order_router"))
    engine.relay.cut("orders")  # with what it held up
    engine.relay.free()
    router_restarted(engine)
    for name in names:
        engine.wait_for_state(name, "REJECTED" if where == "before it is sent" and what != "amend" else "WORKING")
        assert len(engine.at_venue(name)) == (0 if where == "before it is sent" and what != "amend" else 1)
    engine.wait_until_agreed()
    assert len(read_state(engine.state_dir)[0]) == len(names)


def test_fills_while_the_router_is_dead_are_told_once(start, venue: TradingVenue) -> None:
    """What Kraken does meanwhile is found in its snapshot, or by asking."""
    engine = start(engine="restart_delay_min_s = 1.0")
    engine.wish("order", name="a", away=0.0, qty="0.05")
    engine.wait_for_state("a", "WORKING", "PARTIAL", "FILLED")
    kill(engine.pid("order_router"))
    router_restarted(engine)
    engine.wish("order", name="b", order_type="market", qty="0.002")
    engine.wait_for_state("b", "FILLED")
    engine.wish("cancel_all")
    engine.wait_for_state("a", "CANCELED", "FILLED")
    engine.wait_until_agreed()


# --- the private feed


def test_a_killed_private_feed_comes_back_with_a_snapshot_and_trading_goes_on(start, venue: TradingVenue) -> None:
    """What happened meanwhile is not lost, and nothing is told twice."""
    engine = start(engine="restart_delay_min_s = 0.5")
    engine.wish("order", name="resting", away=3.0)
    engine.wish("order", name="near", away=0.0, qty="0.02")
    engine.wait_for_state("resting", "WORKING")
    closed_before = len(engine.diary().entries("trading"))
    kill(engine.pid("private_feed"))
    eventually(
        lambda: any(not entry["open"] for entry in engine.diary().entries("trading")[closed_before:]),
        "the strategy was told that no orders are taken",
    )
    eventually(engine.is_open, "trading resumes")
    names = (f"after {number}" for number in itertools.count())

    def is_filled() -> bool:
        """Another order: the pair may be closed while an order is looked up that the snapshot lacked."""
        name = next(names)
        engine.wish("order", name=name, order_type="market", qty="0.002")
        return bool(engine.wait_for_state(name, "FILLED", "REFUSED")["state"] == "FILLED")

    eventually(is_filled, "an order is filled")
    engine.wish("cancel_all")
    engine.wait_for_state("near", "CANCELED", "FILLED")
    engine.wait_for_state("resting", "CANCELED")
    engine.wait_until_agreed()
    assert engine.status()["restarts"]["private_feed"] == 1


# --- the fork server


def test_a_killed_fork_server_takes_the_feeds_along_and_the_router_trades_on(start, venue: TradingVenue) -> None:
    """The feeds come back by its successor, and so does a router that dies later."""
    engine = start()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    router = engine.pid("order_router")
    for times in (1, 2):
        kill(engine.fork_server_pid())
        eventually(
            lambda times=times: all(
                engine.status()["restarts"][name] == times for name in ("private_feed", "public_feed-0")
            ),
            "the feeds were started again",
        )
        eventually(engine.is_open, "orders are taken again")
        eventually(lambda: engine.status()["symbols"]["BTC/USD"]["state"] == "live", "the book verifies again")
    assert engine.pid("order_router") == router
    names = (f"after {number}" for number in itertools.count())

    def works() -> str:
        """Another order: one that comes before the router has seen the feed's end is refused."""
        name = next(names)
        engine.wish("order", name=name, away=3.0)
        return name if engine.wait_for_state(name, "WORKING", "REFUSED")["state"] == "WORKING" else ""

    after = eventually(works, "an order works")
    kill(router)
    router_restarted(engine)
    for name in ("a", after):
        engine.wish("cancel", names=[name])
        engine.wait_for_state(name, "CANCELED")
    engine.wait_until_agreed()
    summary = engine.stop()
    assert summary["exit"] == "clean"


def test_a_fork_server_that_stands_still_keeps_no_run_from_its_end(start, venue: TradingVenue) -> None:
    """Nor the router from ending its orders, though nobody tells how the processes ended."""
    engine = start()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    os.kill(engine.fork_server_pid(), signal.SIGSTOP)
    summary = engine.stop()
    assert summary["exit"] == "clean"
    assert [order["status"] for order in engine.at_venue("a")] == ["canceled"]


# --- the engine


@pytest.mark.parametrize("policy", ["cancel", "keep"])
def test_a_killed_engine_has_its_orders_ended_or_kept_by_the_router_which_exits(
    start, venue: TradingVenue, policy: str
) -> None:
    """on_engine_loss."""
    engine = start(trading=f'on_engine_loss = "{policy}"')
    for name in ("a", "b"):
        engine.wish("order", name=name, away=3.0)
        engine.wait_for_state(name, "WORKING")
    router, feed = engine.pid("order_router"), engine.pid("private_feed")
    kill(engine.process.pid)
    engine.process.wait()
    eventually(lambda: not is_alive(router), "the router exits")
    eventually(lambda: not is_alive(feed), "the private feed exits")
    expected = "canceled" if policy == "cancel" else "new"
    assert [order["status"] for order in venue.orders(engine.account)] == [expected, expected]
    assert engine.differences(told=False) == []

    # The next engine of this name finds what was kept.
    engine.start()
    assert len(engine.router("orders")["orders"]) == (2 if policy == "keep" else 0)
    assert engine.differences(told=False) == []


def test_engine_stop_waits_for_the_router_of_a_killed_engine(start, venue: TradingVenue) -> None:
    """So that what starts the engine again, systemd say, never meets a journal that is still in use."""
    engine = start()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    router = engine.pid("order_router")
    kill(engine.process.pid)
    engine.process.wait()
    stopped_by = engine.engines.call("stop")

    assert (stopped_by.returncode, stopped_by.stderr) == (0, "")
    assert stopped_by.stdout == "the engine named default was gone; its order router has ended its orders\n"
    assert not is_alive(router)
    assert venue.orders(engine.account)[0]["status"] == "canceled"
    engine.start()
    assert engine.differences(told=False) == []


@pytest.mark.parametrize("ends", ["it ends", "and is stopped itself"])
def test_an_engine_waits_for_the_router_of_a_killed_one(start, venue: TradingVenue, ends: str) -> None:
    """That one has the key and the journal until what it cancels is over. Whoever starts the engine anew at
    once loses nothing by it.
    """
    engine = start()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    venue.rate("html-520", 1.0)
    engine.relay.down()  # the order cannot be canceled
    kill(engine.process.pid)
    engine.process.wait()
    engine.start(wait=False)
    eventually(lambda: "waiting for the order router of an engine that was killed" in engine.log(), "it waits")
    if ends != "it ends":
        engine.stop()
        assert engine.process.returncode == 0, engine.log()[-3000:]
    venue.clear()
    engine.relay.up()
    if ends != "it ends":
        engine.start(wait=False)
    engine.wait_until_open()
    assert venue.orders(engine.account)[0]["status"] == "canceled"
    assert engine.differences(told=False) == []


def test_stopping_what_does_not_run_is_a_mistake_unless_that_is_said(tmp_path: Path) -> None:
    """For a script that stops whatever there is."""
    engines = Engines(tmp_path)
    plain, asked = engines.call("stop"), engines.call("stop", "--if-running")
    engines.close()

    assert (plain.returncode, asked.returncode) == (2, 0)
    assert "no engine named default is running" in plain.stderr
    assert asked.stdout == "no engine named default is running\n"


def test_an_engine_and_its_router_killed_together_leave_it_to_the_dead_mans_switch(start, venue: TradingVenue) -> None:
    """The switch needs nobody of us."""
    engine = start(trading="dead_man_s = 3\ndead_man_refresh_s = 1.0")
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    router = engine.pid("order_router")
    kill(router)
    kill(engine.process.pid)
    engine.process.wait()
    eventually(lambda: not is_alive(router), "the router is gone")
    assert [order["status"] for order in venue.orders(engine.account)] == ["new"]
    eventually(lambda: venue.orders(engine.account)[0]["status"] == "canceled", "the switch fires")
    engine.start()
    assert engine.router("orders")["orders"] == []
    engine.wait_until_agreed(told=False)


def test_a_router_that_stands_still_is_met_by_the_dead_mans_switch_and_told_of_it_later(
    start, venue: TradingVenue
) -> None:
    """Commands that waited are refused, cancels are not, and the strategy learns of every end."""
    engine = start(trading="dead_man_s = 3\ndead_man_refresh_s = 1.0", engine="actor_silence_s = 30.0")
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    with stopped(engine.pid("order_router")):
        engine.wish("order", name="stale", away=3.0)
        eventually(lambda: venue.orders(engine.account)[0]["status"] == "canceled", "the switch fires")
    engine.wait_for_state("a", "CANCELED")
    assert "waited" in engine.wait_for_state("stale", "REFUSED")["reason"]
    assert engine.at_venue("stale") == []
    eventually(engine.is_open, "orders are taken again")
    engine.wish("order", name="b", away=3.0)
    engine.wait_for_state("b", "WORKING")
    engine.wait_until_agreed()


def test_a_link_that_is_gone_for_longer_than_the_switch_waits_ends_the_orders_and_the_strategy_learns_of_it(
    start, venue: TradingVenue
) -> None:
    """Neither WebSocket nor REST: the switch fires, and everything is found out when they are back."""
    engine = start(trading="dead_man_s = 3\ndead_man_refresh_s = 1.0")
    for name in ("a", "b"):
        engine.wish("order", name=name, away=3.0)
        engine.wait_for_state(name, "WORKING")
    venue.rate("lost", 1.0)
    venue.rate("html-520", 1.0)
    engine.relay.down()
    eventually(lambda: {order["status"] for order in venue.orders(engine.account)} == {"canceled"}, "the switch fires")
    engine.relay.up()
    venue.clear()
    for name in ("a", "b"):
        engine.wait_for_state(name, "CANCELED")
    eventually(engine.is_open, "orders are taken again")
    engine.wish("order", name="c", away=3.0)
    engine.wait_for_state("c", "WORKING")
    engine.wait_until_agreed()


def test_old_orders_are_refused_and_old_cancels_are_not(start, venue: TradingVenue) -> None:
    """By a router that was stopped for longer than a command lives."""
    engine = start(trading=f"command_ttl_s = {COMMAND_TTL_NS / NS_PER_S}", engine="actor_silence_s = 30.0")
    for name in ("a", "b"):
        engine.wish("order", name=name, away=3.0)
        engine.wait_for_state(name, "WORKING")
    with stopped(engine.pid("order_router")):
        engine.wish("order", name="stale", away=3.0)
        engine.wish("batch", orders=[{"name": name, "away": 3.0} for name in ("stale 1", "stale 2")])
        engine.wish("amend", name="b", qty="0.02")
        engine.wish("cancel", names=["a"])
        (asked,) = eventually(lambda: engine.diary().entries("amending"), "the strategy has asked for all of it")
        eventually(lambda: age_ns(asked) > COMMAND_TTL_NS, "all of it is too old")
    engine.wait_for_state("a", "CANCELED")
    for name in ("stale", "stale 1", "stale 2"):
        assert "waited" in engine.wait_for_state(name, "REFUSED")["reason"]
        assert engine.at_venue(name) == []
    eventually(lambda: "amend refused" in engine.told("b")[-1]["reason"], "the amend is refused")
    assert not engine.at_venue("b")[0]["amend_count"]
    engine.wait_until_agreed()


def test_a_router_without_a_sign_of_life_is_replaced_and_nothing_is_sent_twice(start, venue: TradingVenue) -> None:
    """It hangs with orders in its ring: its successor takes them, or says that they are too old."""
    engine = start(engine="actor_silence_s = 1.0")
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    router = engine.pid("order_router")
    os.kill(router, signal.SIGSTOP)
    for number in range(5):
        engine.wish("order", name=f"{number}", away=3.0)
    router_restarted(engine)
    for number in range(5):
        engine.wait_for_state(f"{number}", "WORKING", "REFUSED")
    engine.wait_until_agreed()
    assert not is_alive(router)


def test_nothing_is_left_of_an_engine_that_was_stopped(start, venue: TradingVenue) -> None:
    """Orders canceled, the switch off, processes gone, and the state directory whole for the next."""
    engine = start()
    for name in ("a", "b"):
        engine.wish("order", name=name, away=3.0)
        engine.wait_for_state(name, "WORKING")
    children = psutil.Process(engine.process.pid).children(recursive=True)
    summary = engine.stop()
    assert summary["exit"] == "clean"
    assert summary["orders"]["canceled"] == 2
    assert summary["orders"]["unknown_open"] == 0
    assert not any(is_alive(child.pid) for child in children)
    assert engine.differences() == []
