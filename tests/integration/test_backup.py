"""A copy that is made while the engine trades, and put back elsewhere after all was killed: Kraken tells the rest."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.ledger_check import compare, read_state
from tests.integration.rig import CALM, Engines
from tests.integration.trading_rig import TradingEngine, TradingVenue, engines_on, is_alive
from tests.waiting import eventually

Start = Callable[..., TradingEngine]
COPIES = 6


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; each engine has an account of its own."""
    engines = Engines(tmp_path_factory.mktemp("backup"))
    yield TradingVenue(engines, "--no-rate-counter")
    engines.close()


@pytest.fixture
def make(venue: TradingVenue, tmp_path: Path) -> Iterator[Start]:
    """Makes engines on it, each with a host's worth of places of its own."""
    with engines_on(venue, tmp_path, relay=False, trading="dead_man_s = 0") as make:
        yield make


def kill_all(engine: TradingEngine) -> None:
    """kill -9 of everything at once."""
    family = [psutil.Process(engine.process.pid), *psutil.Process(engine.process.pid).children(recursive=True)]
    for process in reversed(family):
        process.send_signal(signal.SIGKILL)
    engine.process.wait()
    eventually(lambda: not any(is_alive(process.pid) for process in family), "nobody is left")


def answer(engine: TradingEngine, *arguments: object) -> dict[str, Any]:
    """What a command tells a program."""
    done = engine.engines.call(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def trade(engine: TradingEngine, name: str, **order: Any) -> None:
    """An order that is filled at once."""
    engine.wish("order", name=name, away=-1.0, qty="0.003", **order)
    engine.wait_for_state(name, "FILLED")


def test_every_copy_of_a_trading_engine_is_whole(make: Start, venue: TradingVenue, tmp_path: Path) -> None:
    """Whenever it is made: nothing in it that the venue does not confirm, and nothing missing from before it began."""
    engine = make().start()
    engine.wish("churn", seed=5, per_s=40.0)
    for number in range(COPIES):
        before = engine.counts()["fills"]
        eventually(lambda before=before: engine.counts()["fills"] > before, "it trades on")
        known = {fill.exec_id for fill, _ in read_state(engine.state_dir)[1].values()}
        told = answer(engine, "backup", tmp_path / f"copy-{number}")
        _, fills = read_state(tmp_path / f"copy-{number}")
        ledger = {fill.exec_id: (fill.qty, fill.price) for fill in venue.ledger(engine.account).fills}

        assert told["records"] > 0
        assert known <= fills.keys()
        assert fills.keys() <= ledger.keys()
        assert sorted(path.name for path in (tmp_path / f"copy-{number}").iterdir()) == [
            "00000001.journal", "history.sqlite", "run",
        ]  # fmt: skip
        assert {path.stat().st_mode & 0o777 for path in (tmp_path / f"copy-{number}").iterdir()} == {0o600}
        rows = {
            row["exec_id"]
            for row in answer(engine, "fills", "--limit", 10_000, "--state-dir", tmp_path / f"copy-{number}")["fills"]
        }
        assert fills.keys() <= rows <= ledger.keys()


def test_a_copy_is_restored_elsewhere_and_kraken_tells_the_rest(
    make: Start, venue: TradingVenue, tmp_path: Path
) -> None:
    """Of the copy's orders every fill and end is found; of later ones the open ones, as somebody else's. No nonce goes
    back, no id comes again, and nothing is sent before a person resumes.
    """
    first, copy = make(), tmp_path / "copy"
    first.start()
    for name in ("fills later", "ends later", "stays"):
        first.wish("order", name=name, away=3.0)
        first.wait_for_state(name, "WORKING")
    trade(first, "bought", side="buy")
    answer(first, "backup", copy)
    first.wish("amend", name="fills later", away=-1.0)
    first.wait_for_state("fills later", "FILLED")
    first.wish("cancel", names=["ends later"])
    first.wait_for_state("ends later", "CANCELED")
    first.wish("order", name="late", away=3.0)
    first.wait_for_state("late", "WORKING")
    trade(first, "late fill", side="buy")
    ids = {name: first.id_of(name) for name in ("fills later", "ends later", "stays", "bought", "late", "late fill")}
    kill_all(first)

    second = make(key=first.key)
    restored = answer(second, "restore", copy)
    assert Path(restored["state_dir"]) == second.state_dir
    second.start(wait=False)
    shown = eventually(lambda: second.router("status"), "its router answers")
    assert shown["mode"] == "HALTED"
    eventually(lambda: not second.router("status").get("unknown", 1), "nothing is in doubt")

    def state(name: str) -> str:
        orders, _ = read_state(second.state_dir)
        return orders[ids[name]].state.name if ids[name] in orders else ""

    eventually(lambda: state("fills later") == "FILLED", "its fills are found")
    eventually(lambda: state("ends later") == "CANCELED", "its end is found")
    rows = {row["id"]: row["strategy"] for row in second.router("orders")["orders"]}
    late = next(order["order_id"] for order in venue.orders(first.account) if order["cl_ord_id"] == ids["late"])
    assert rows == {ids["stays"]: "puppet", late: ""}
    # Up to the copy, and what became of the copy's orders: order by order as in the ledger.
    ledger = venue.ledger(first.account)
    orders, fills = read_state(second.state_dir)
    of_copy = {ids[name] for name in ("fills later", "ends later", "stays", "bought")}
    assert {fill.exec_id for fill in ledger.fills if fill.cl_ord_id in of_copy} == fills.keys()
    assert {row["exec_id"] for row in answer(second, "fills")["fills"]} == fills.keys()
    # But for what nobody here can know, and for what the strategies of the first engine were told.
    unknown_here = (ids["late"], ids["late fill"], late, "strategies were told")
    differences = compare(ledger, orders, fills, [])
    assert [told for told in differences if not any(name in told for name in unknown_here)] == []

    before = len(venue.orders(first.account))
    assert "HALTED" in str(second.router("status")["mode"])
    eventually(lambda: second.router("resume") and second.is_open(), "a person resumes")
    trade(second, "new", side="sell")
    assert len(venue.orders(first.account)) == before + 1
    second.router("cancel", all=True)
    eventually(lambda: [row["id"] for row in second.router("orders")["orders"]] == [late], "its own are canceled")
    second.router("cancel", ids=[late])
    eventually(lambda: second.router("orders")["orders"] == [], "somebody else's is canceled by its id")
    assert second.id_of("new") not in ids.values()


def test_nothing_is_restored_over_a_state_or_under_an_engine(make: Start, tmp_path: Path) -> None:
    """One sentence that says which of the two is newer, and how to make room; and nothing is changed."""
    engine = make().start()
    trade(engine, "a", side="buy")
    answer(engine, "backup", tmp_path / "copy")
    trade(engine, "b", side="buy")

    def said(*arguments: object) -> str:
        done = engine.engines.call(*arguments)
        assert done.returncode == 2, done.stdout
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "is running; stop it with `engine stop`" in said("restore", tmp_path / "copy")
    engine.stop()
    files = {path: path.read_bytes() for path in sorted(engine.state_dir.iterdir())}
    assert "holds a state already, a newer one, with " in said("restore", tmp_path / "copy")
    assert f"(mv {engine.state_dir} {engine.state_dir}.old)" in said("restore", tmp_path / "copy")
    assert {path: path.read_bytes() for path in sorted(engine.state_dir.iterdir())} == files
    assert "is no copy of an engine's state" in said("restore", tmp_path / "nowhere")
    assert "is there already, and not an empty directory" in said("backup", tmp_path / "copy")
    assert "there is no journal in" in said("backup", tmp_path / "other", "--name", "other")
    assert not list(tmp_path.glob("*.unfinished"))

    engine.state_dir.rename(engine.state_dir.with_suffix(".old"))
    assert answer(engine, "restore", tmp_path / "copy")["history"] is True
    journal = max((tmp_path / "copy").glob("*.journal"))
    spoilt = bytearray(journal.read_bytes())
    spoilt[len(spoilt) // 2] ^= 0x10
    journal.write_bytes(spoilt)
    assert "is damaged at" in said("restore", tmp_path / "copy", "--state-dir", tmp_path / "third")
    assert not (tmp_path / "third").exists()
    assert not list(tmp_path.glob("*.unfinished"))


def test_a_state_elsewhere_is_found_while_the_router_is_being_started_again(make: Start, tmp_path: Path) -> None:
    """The engine itself knows its directory; the default one, of another time, is not taken for it."""
    trading = f'dead_man_s = 0\nstate_dir = "{tmp_path / "own"}"'
    engine = make(trading=trading, engine="restart_delay_min_s = 30.0").start()
    trade(engine, "a", side="buy")
    router = engine.pid("order_router")
    psutil.Process(router).kill()
    eventually(lambda: not is_alive(router), "the router is dead")

    assert answer(engine, "backup", tmp_path / "copy")["records"] > 0
    assert answer(engine, "fills")["fills"]
    assert not engine.state_dir.exists()


def test_play_money_has_nothing_to_restore_to(engines: Engines) -> None:
    """The account of the built-in exchange ends with its engine."""
    engine = engines.start(*CALM)
    engine.wait_until_live()
    done = engines.call("backup", engines.folder / "copy")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "trades play money on the built-in exchange" in done.stderr
