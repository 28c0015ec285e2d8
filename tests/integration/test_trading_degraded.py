"""Trading goes on by REST while a private WebSocket is out, with the venue's ledger as the judge."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue

LOOSE = "[trading.degraded]\norders_per_s_max = 100\nopen_orders_max = 100\norder_percent = 100\n"
ROUNDS = 6  # of trading meanwhile


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[TradingVenue]:
    """One venue for each, for a ledger of its own."""
    engines = Engines(tmp_path)
    yield TradingVenue(engines)
    engines.close()


def modes(engine: TradingEngine) -> list[tuple[str, bool, str]]:
    """What the strategy was told of trading, oldest first."""
    return [(told["mode"], told["open"], told["reason"]) for told in engine.diary().entries("trading")]


def trade(engine: TradingEngine, name: str) -> None:
    """One order that trades at once, one that is amended and canceled; both are told as what they are."""
    engine.wish("order", name=f"{name}-taken", away=-1.0, qty="0.003")
    engine.wait_for_state(f"{name}-taken", "FILLED")
    engine.wish("order", name=f"{name}-rests", away=4.0)
    engine.wait_for_state(f"{name}-rests", "WORKING")
    engine.wish("amend", name=f"{name}-rests", away=5.0)
    eventually(
        lambda: (
            len({told["limit"] for told in engine.told(f"{name}-rests")}) == 2
            and not engine.told(f"{name}-rests")[-1]["busy"]
        ),
        "it is amended",
    )
    engine.wish("cancel", names=[f"{name}-rests"])
    engine.wait_for_state(f"{name}-rests", "CANCELED")


def test_an_engine_whose_private_address_is_dead_trades_by_rest(venue: TradingVenue, tmp_path: Path) -> None:
    """From the start: nothing was ever heard on a private WebSocket."""
    engine = TradingEngine(venue, tmp_path / "engine", trading=LOOSE)
    assert engine.relay is not None
    dead = engine.relay.url
    engine.relay.close()  # connection refused, whoever tries
    try:
        engine.start()
        for number in range(3):
            trade(engine, f"order{number}")
        engine.wait_until_agreed()
        status: dict[str, Any] = engine.status()["trading"]
        summary = engine.stop()

        assert (status["mode"], status["is_open"]) == ("DEGRADED", True)
        assert status["reason"].startswith(f"private WebSocket unreachable: {dead}: ")
        assert "refused" in status["reason"]
        assert status["counts"]["polls_balances"] > 0
        assert status["counts"]["dead_man_refreshes"] > 0
        assert summary["orders"]["by_rest"] == summary["orders"]["submitted"] == 6
        assert summary["orders"]["by_websocket"] == 0
        assert ("DEGRADED", True, status["reason"]) in modes(engine)
        assert engine.differences() == []
    finally:
        engine.close()


def test_private_websockets_that_die_for_a_while_end_no_trading(venue: TradingVenue, tmp_path: Path) -> None:
    """In mid-trading: what was open is looked after, what is new goes by REST, and afterwards nothing is told twice."""
    engine = TradingEngine(venue, tmp_path / "engine", trading=LOOSE).start()
    relay = engine.relay
    assert relay is not None
    try:
        trade(engine, "before")
        engine.wish("order", name="quote", away=0.02, qty="0.01")
        engine.wait_for_state("quote", "WORKING", "PARTIAL", "FILLED")
        relay.down()
        degraded = eventually(lambda: [told for told in modes(engine) if told[0] == "DEGRADED"], "the mode is told")
        eventually(lambda: engine.router("status").get("looked_up") == [], "what was open is looked up")
        for number in range(ROUNDS):
            trade(engine, f"during{number}")
        assert engine.status()["trading"]["mode"] == "DEGRADED"
        relay.up()
        eventually(lambda: engine.router("status").get("mode") == "ACTIVE", "both are back")
        trade(engine, "after")
        engine.wait_until_agreed()
        summary = engine.stop()

        assert degraded[0][1:] == (True, degraded[0][2])
        assert degraded[0][2].startswith("private WebSocket ")
        assert "reconciled" not in str(modes(engine))
        assert summary["orders"]["by_rest"] == 2 * ROUNDS
        assert summary["orders"]["by_websocket"] == 5
        assert summary["trading"]["counts"]["polls_orders"] > 0
        assert summary["trading"]["counts"]["degraded"] == 1
        assert engine.differences() == []
    finally:
        engine.close()
