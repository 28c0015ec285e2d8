"""`engine fills` and `engine positions`: of a running engine, of one that was stopped, of none."""

import json
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.integration.rig import CALM, Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue
from tests.waiting import PATIENCE_S


def answer(engines: Engines, *arguments: object) -> Any:
    """What a command prints with --json."""
    ended = engines.call(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_nothing_known_is_one_sentence(engines: Engines) -> None:
    """No engine, no history, no journal: each command says so, and where it looked."""
    fills, positions = engines.call("fills"), engines.call("positions")

    assert (fills.returncode, positions.returncode) == (2, 2)
    assert "there is no history at" in fills.stderr
    assert "no engine named default is running, and there is no journal in" in positions.stderr
    assert all(len(ended.stderr.splitlines()) == 1 for ended in (fills, positions))
    for wrong in ("yesterday", "99999999999d", "3"):
        mistake = engines.call("fills", "--since", wrong)
        assert mistake.returncode == 2, wrong
        assert "write a period such as" in mistake.stderr


def test_what_was_traded_and_is_held_is_told_while_the_engine_runs_and_after_it(tmp_path: Path) -> None:
    """The venue's ledger is the judge; without a history of its own the engine's journal tells the same."""
    venues = Engines(tmp_path / "venue")
    venues.folder.mkdir()
    venue = TradingVenue(venues, "--no-rate-counter")
    engine = TradingEngine(venue, tmp_path / "engine", relay=False, trading="history = false\ndead_man_s = 0")
    try:
        engine.start()
        commands = engine.engines
        assert answer(commands, "positions") == {"positions": []}
        assert "nothing was traded yet" in commands.call("positions").stdout
        assert "no fills yet" in commands.call("fills").stdout
        assert "no fills of a strategy named nix yet" in commands.call("fills", "--strategy", "nix").stdout
        for name, side, qty in (("a", "buy", "0.003"), ("b", "buy", "0.002"), ("c", "sell", "0.001")):
            engine.wish("order", name=name, side=side, order_type="market", qty=qty)
            engine.wait_for_state(name, "FILLED")
        ledger = {fill.exec_id: fill for fill in venue.ledger(engine.account).fills}
        eventually(lambda: len(engine.diary().entries("fill")) == len(ledger), "every fill is told")

        def check(*where: object, is_valued: bool) -> None:
            rows = answer(commands, "fills", "--since", "1h", *where)["fills"]
            assert {row["exec_id"]: Decimal(row["qty"]) for row in rows} == {
                key: fill.qty for key, fill in ledger.items()
            }
            assert sum(Decimal(row["fees"]["USD"]) for row in rows) == sum(fill.fee for fill in ledger.values())
            assert answer(commands, "fills", "--limit", 1, *where)["fills"] == rows[-1:]
            assert answer(commands, "fills", "--strategy", "nobody", *where)["fills"] == []
            (held,) = answer(commands, "positions", *where)["positions"]
            assert (held["strategy"], held["symbol"], held["qty"]) == ("puppet", "BTC/USD", "0.004")
            assert Decimal(held["fees"]) == sum(fill.fee for fill in ledger.values())
            assert (held["unrealized"] is not None) == is_valued

        check(is_valued=True)
        shown = commands.call("fills", "--limit", "1").stdout
        assert "puppet" in shown
        assert "the newest 1; --limit shows more" in shown
        engine.wish("order", name="d", side="buy", order_type="market", qty="0.001")
        engine.wish("order", name="e", side="sell", order_type="market", qty="0.001")
        engine.wait_for_state("e", "FILLED")
        ledger = {fill.exec_id: fill for fill in venue.ledger(engine.account).fills}
        eventually(lambda: len(engine.diary().entries("fill")) == len(ledger), "every fill is told")
        engine.stop()
        check(is_valued=False)
        check("--state-dir", engine.state_dir, is_valued=False)
        assert "unknown" in commands.call("positions").stdout
    finally:
        engine.close()
        venues.close()


def test_a_position_begins_with_what_the_account_holds_and_a_router_that_dies_changes_nothing(tmp_path: Path) -> None:
    """What the account held is shown at no known price, can be sold, and is booked once a run; the next run begins with
    what is there then."""
    venues = Engines(tmp_path / "venue")
    venues.folder.mkdir()
    venue = TradingVenue(venues, "--no-rate-counter")
    engine = TradingEngine(venue, tmp_path / "engine", relay=False, trading='positions = "account"\ndead_man_s = 0')

    def btc() -> tuple[Decimal, Decimal]:
        """The position, and what the account has."""
        (row,) = answer(engine.engines, "positions")["positions"]
        assert row["avg_price"] is None
        (held,) = (row for row in answer(engine.engines, "balances")["balances"] if row["asset"] == "BTC")
        return Decimal(row["qty"]), Decimal(held["total"])

    try:
        engine.start()
        assert btc()[0] == btc()[1] > 1
        assert "unknown" in engine.engines.call("positions").stdout
        engine.wish("order", name="a", side="sell", order_type="market", qty="0.5")
        engine.wait_for_state("a", "FILLED")
        pid = engine.pid("order_router")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: engine.pid("order_router") != pid, "there is another order router")
        engine.wait_until_open()
        eventually(lambda: btc()[0] == btc()[1], "the position is what the account has")
        engine.stop()
        engine.start()
        assert btc()[0] == btc()[1]
        wrong = engine.engines.call("positions", "--cost", "BTC/USD")
        assert (wrong.returncode, "--cost BTC/USD must be a pair and its price" in wrong.stderr) == (2, True)
        (row,) = answer(engine.engines, "positions", "--cost", "BTC/USD=50000")["positions"]
        assert (row["avg_price"], row["unknown_cost_qty"]) == ("50000", "0")
        engine.stop()
    finally:
        engine.close()
        venues.close()


def test_what_changes_something_tells_a_program_what_it_did(engines: Engines) -> None:
    """One object each, by --json; a sentence for people without it."""
    engine = engines.start(*CALM, "--symbols", "BTC/USD")
    engine.wait_for(lambda status: status["trading"].get("is_open"), "orders are taken")

    assert answer(engines, "cancel", "--all") == {"canceling": 0}
    halted = answer(engines, "halt")
    assert (halted["mode"], halted["canceling"]) == ("HALTED", 0)
    assert "HALTED: canceling 0 orders" in engines.call("halt").stdout
    assert answer(engines, "resume")["mode"] == "ACTIVE"
    assert answer(engines, "stop") == {"name": "default", "pid": engine.process.pid}
    assert engine.process.wait(PATIENCE_S) == 0


def test_the_engine_that_was_meant_is_named(engines: Engines) -> None:
    """Who forgets --name is told which engines run."""
    engine = engines.start(*CALM, "--symbols", "BTC/USD", "--name", "mine")
    engines.spawn("run", *CALM, "--symbols", "BTC/USD", "--name", "second")
    said = "engine: no engine named default is running, but mine, second are: ask with `--name mine`\n"
    eventually(lambda: engines.call("status").stderr == said, "both engines are named")

    engine.stop()  # while it starts, its exit code says that there was no run
    said = said.replace("mine, second are", "second is").replace("mine", "second")
    for command in ("orders", "fills", "positions", "balances"):
        asked = engines.call(command)
        assert (asked.returncode, asked.stderr) == (2, said)
