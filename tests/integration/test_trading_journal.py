"""The journal, over real processes: torn, flipped, full; and what a person decided outlives the router."""

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue, engines_on, is_alive

Start = Callable[..., TradingEngine]


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; each engine has an account of its own."""
    engines = Engines(tmp_path_factory.mktemp("journal"))
    yield TradingVenue(engines, "--no-rate-counter")
    engines.close()


@pytest.fixture
def start(venue: TradingVenue, tmp_path: Path) -> Iterator[Start]:
    """Starts engines on it."""
    with engines_on(venue, tmp_path, relay=False) as make:
        yield lambda **options: make(**options).start()


def journal_of(engine: TradingEngine) -> Path:
    """The newest segment."""
    return max(engine.state_dir.glob("*.journal"))


def kill_all(engine: TradingEngine) -> None:
    """kill -9 of everything at once: nobody cleans up."""
    family = [psutil.Process(engine.process.pid), *psutil.Process(engine.process.pid).children(recursive=True)]
    for process in reversed(family):
        process.send_signal(signal.SIGKILL)
    engine.process.wait()
    eventually(lambda: not any(is_alive(process.pid) for process in family), "nobody is left")


def run(engine: TradingEngine) -> subprocess.CompletedProcess[str]:
    """`engine run`, when it is to end by itself."""
    return engine.engines.call("run", engine.config, **engine.key_environment)


def test_orders_that_outlived_a_killed_engine_are_found_again_through_a_torn_journal(
    start: Start, venue: TradingVenue
) -> None:
    """The last record is half there: it is cut, and Kraken tells the rest."""
    engine = start(trading="dead_man_s = 0")
    for name in ("a", "b"):
        engine.wish("order", name=name, away=3.0)
        engine.wait_for_state(name, "WORKING")
    kill_all(engine)
    journal = journal_of(engine)
    os.truncate(journal, journal.stat().st_size - 5)
    engine.start()
    rows = engine.router("orders")["orders"]
    assert sorted(row["id"] for row in rows) == sorted(engine.id_of(name) for name in ("a", "b"))
    assert {row["strategy"] for row in rows} == {"puppet"}
    assert engine.differences(told=False) == []
    engine.router("cancel", all=True)
    eventually(lambda: engine.router("orders")["orders"] == [], "they are canceled")
    engine.wait_until_agreed(told=False)


def test_a_flipped_byte_is_named_and_nothing_is_traded_upon_it(start: Start, venue: TradingVenue) -> None:
    """One sentence with file and place, exit code 2; with the file out of the way Kraken tells what is open."""
    engine = start(trading="dead_man_s = 0")
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    kill_all(engine)
    journal = journal_of(engine)
    spoilt = bytearray(journal.read_bytes())
    spoilt[len(spoilt) // 2] ^= 0x10
    journal.write_bytes(spoilt)
    done = run(engine)
    said = [line for line in done.stderr.splitlines() if line.startswith("engine: ")]
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(said) == 1
    assert str(journal) in said[0]
    assert len(venue.orders(engine.account)) == 1

    journal.rename(journal.with_suffix(".spoilt"))
    engine.start()
    (row,) = engine.router("orders")["orders"]
    assert row["order_id"] == venue.orders(engine.account)[0]["order_id"]
    engine.router("cancel", ids=[row["order_id"]])
    eventually(lambda: venue.orders(engine.account)[0]["status"] == "canceled", "an adopted order can be canceled")


@pytest.mark.parametrize("logs", [False, True], ids=["journal alone", "logs too"])
def test_a_full_disk_shuts_trading_cancels_pass_and_it_opens_when_there_is_room(
    start: Start, venue: TradingVenue, logs: bool
) -> None:
    """No order leaves that is not written down first; and a line of the log is not worth an order."""
    engine = start(trading="history = false", logs=logs)
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    router = psutil.Process(engine.pid("order_router"))
    size = journal_of(engine).stat().st_size
    # Not a byte more in any file of this process: what a full disk looks like.
    router.rlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    engine.wish("order", name="b", away=3.0)
    assert "journal" in engine.wait_for_state("b", "REFUSED")["reason"]
    assert engine.at_venue("b") == []
    engine.wish("cancel", names=["a"])
    engine.wait_for_state("a", "CANCELED")
    assert not engine.is_open()
    router.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    eventually(engine.is_open, "it writes again")
    engine.wish("order", name="c", away=3.0)
    engine.wait_for_state("c", "WORKING")
    engine.wait_until_agreed()


def test_a_router_that_dies_on_a_full_disk_is_followed_by_one_that_looks_after_its_orders(
    start: Start, venue: TradingVenue
) -> None:
    """Its successor takes no order and says why, cancels what is asked, and the engine goes on."""
    engine = start(trading='history = false\non_stop = "keep"', logs=False)
    for number in range(40):  # a journal that is longer than what a process is handed when it starts
        engine.wish("order", name=f"o{number}", away=3.0 + number / 10)
        engine.wait_for_state(f"o{number}", "WORKING")
    parent, size = psutil.Process(engine.fork_server_pid()), journal_of(engine).stat().st_size
    parent.rlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))  # which the next router inherits
    psutil.Process(engine.pid("order_router")).kill()
    eventually(lambda: engine.router("status"), "the router was restarted")
    parent.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    eventually(lambda: "journal" in engine.router("status").get("reason", ""), "it says what is wrong")
    engine.wish("order", name="late", away=3.0)
    assert "journal" in engine.wait_for_state("late", "REFUSED")["reason"]
    engine.wish("cancel", names=["o0"])
    engine.wait_for_state("o0", "CANCELED")

    assert engine.process.poll() is None
    assert engine.status()["restarts"]["order_router"] == 1
    assert len(engine.router("orders")["orders"]) == 39


def test_one_directory_for_runtime_and_state_works(start: Start, venue: TradingVenue) -> None:
    """Some machines have one place for both, and neither lock is the other's."""
    engine = start(shared_directory=True)
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")

    assert engine.stop()["exit"] == "clean"


def test_an_empty_journal_beside_a_history_with_fills_is_named(start: Start, venue: TradingVenue) -> None:
    """Positions begin at zero then, which the history contradicts."""
    engine = start()
    engine.wish("order", name="took", order_type="market", qty="0.01")
    engine.wait_for_state("took", "FILLED")
    engine.stop()
    journal = journal_of(engine)
    journal.rename(journal.with_suffix(".aside"))
    engine.start()
    (warning,) = [line for line in engine.log().splitlines() if "the journal is empty" in line]

    assert str(journal) in warning
    assert str(engine.state_dir / "history.sqlite") in warning


def test_a_halt_outlives_the_router_and_the_engine(start: Start, venue: TradingVenue) -> None:
    """Only a person resumes."""
    engine = start()
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    assert engine.router("halt")["mode"] == "HALTED"
    engine.wait_for_state("a", "CANCELED")
    os.kill(engine.pid("order_router"), signal.SIGKILL)
    eventually(lambda: engine.status()["restarts"]["order_router"] == 1, "the router was restarted")
    eventually(lambda: engine.router("status").get("mode") == "HALTED", "it is halted still")
    eventually(lambda: "person" in engine.router("status").get("reason", ""), "for no other reason any more")
    engine.wish("order", name="b", away=3.0)
    assert "halted" in engine.wait_for_state("b", "REFUSED")["reason"]
    engine.stop()
    engine.start(wait=False)
    eventually(lambda: engine.router("status").get("mode") == "HALTED", "so is the next engine's")
    engine.router("resume")
    eventually(engine.is_open, "until a person resumes")


def test_a_halt_that_no_disk_had_room_for_outlives_the_router(start: Start, venue: TradingVenue) -> None:
    """Its successor has the room, and would have gone on trading."""
    engine = start(trading="history = false", logs=False)
    engine.wish("order", name="a", away=3.0)
    engine.wait_for_state("a", "WORKING")
    router = psutil.Process(engine.pid("order_router"))
    router.rlimit(resource.RLIMIT_FSIZE, (journal_of(engine).stat().st_size, resource.RLIM_INFINITY))
    engine.wish("order", name="b", away=3.0)
    assert "journal" in engine.wait_for_state("b", "REFUSED")["reason"]
    assert engine.router("halt")["mode"] == "HALTED"
    engine.wait_for_state("a", "CANCELED")
    eventually(lambda: engine.status()["trading"]["mode"] == "HALTED", "all see it")
    router.kill()
    eventually(lambda: engine.status()["restarts"]["order_router"] == 1, "the router was restarted")
    eventually(lambda: "could not write" in engine.router("status").get("reason", ""), "it is halted still")
    engine.wish("order", name="c", away=3.0)
    engine.wait_for_state("c", "REFUSED")  # for the halt, or because the open orders are still being looked up
    assert engine.router("status")["mode"] == "HALTED"
    engine.router("resume")
    eventually(engine.is_open, "until a person resumes")


def test_reducing_lets_positions_shrink_only(start: Start, venue: TradingVenue) -> None:
    """`engine halt --reducing`."""
    engine = start()
    engine.wish("order", name="long", order_type="market", qty="0.01")
    engine.wait_for_state("long", "FILLED")
    assert engine.engines.call("halt", "--reducing").returncode == 0
    engine.wish("order", name="more", order_type="market", qty="0.01")
    assert "reducing" in engine.wait_for_state("more", "REFUSED")["reason"]
    engine.wish("order", name="too much", side="sell", order_type="market", qty="0.02")
    assert "reducing" in engine.wait_for_state("too much", "REFUSED")["reason"]
    engine.wish("order", name="less", side="sell", order_type="market", qty="0.01")
    engine.wait_for_state("less", "FILLED")
    engine.wait_until_agreed()
    eventually(lambda: engine.status()["positions"]["BTC/USD"]["qty"] == "0", "the position is told")


def test_a_new_run_tells_nothing_of_orders_that_ended_in_the_last(start: Start, venue: TradingVenue) -> None:
    """A strategy would take it for news, and hedge twice; what is still open it is told."""
    engine = start(trading='on_stop = "keep"')
    engine.wish("order", name="took", away=-1.0)
    engine.wait_for_state("took", "FILLED")
    engine.wish("order", name="rests", away=3.0)
    engine.wait_for_state("rests", "WORKING")
    took, rests = engine.id_of("took"), engine.id_of("rests")
    engine.stop()
    told_before = len(engine.diary().entries("order"))
    engine.start()
    engine.wish("order", name="new", away=3.0)
    engine.wait_for_state("new", "WORKING")
    told = {entry["id"] for entry in engine.diary().entries("order")[told_before:]}

    assert rests in told
    assert took not in told
