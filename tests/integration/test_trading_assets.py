"""A pair whose lots are finer than its asset: what was bought can be sold, to the last unit."""

import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue

ODD = ("1234.56784", "777.00006", "2501.23455", "999.99999")
UNIT = Decimal("0.0001")


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue; each engine has an account of its own, with dollars alone."""
    engines = Engines(tmp_path_factory.mktemp("assets"))
    yield TradingVenue(engines, "--no-rate-counter", symbols="PENGU/USD")
    engines.close()


@pytest.fixture
def engine(venue: TradingVenue, tmp_path: Path) -> Iterator[TradingEngine]:
    key = venue.key(tier="pro", funds={"USD": "100000"})
    engine = TradingEngine(venue, tmp_path, symbols="PENGU/USD", relay=False, key=key).start()
    yield engine
    engine.close()


def buy(engine: TradingEngine, tag: str, **options: Any) -> None:
    """Odd amounts, each in as many parts as the book has."""
    for number, qty in enumerate(ODD):
        engine.wish("order", name=f"{tag}{number}", order_type="market", qty=qty, **options)
    for number in range(len(ODD)):
        engine.wait_for_state(f"{tag}{number}", "FILLED")


def sell_all(engine: TradingEngine, name: str, state: str = "FILLED", **options: Any) -> None:
    engine.wish("sell_all", name=name, **options)
    engine.wait_for_state(name, state)


def position(engine: TradingEngine) -> dict[str, Any]:
    """What the strategy is told that it holds."""
    looks = len(engine.diary().entries("look"))
    engine.wish("look", note="position")
    return dict(eventually(lambda: engine.diary().entries("look")[looks:], "it looked")[-1])


def balance(engine: TradingEngine) -> Decimal:
    """What Kraken says that the account has."""
    rows = engine.router("balances")["balances"]
    return Decimal(next((row["total"] for row in rows if row["asset"] == "PENGU"), "0"))


def agrees(engine: TradingEngine) -> bool:
    """Does the position agree with the balance, to the last unit?"""
    return Decimal(position(engine)["qty"]) == balance(engine)


def refusals(engine: TradingEngine) -> list[str]:
    return [entry["reason"] for entry in engine.diary().entries("order") if entry["state"] in ("REJECTED", "REFUSED")]


@pytest.mark.parametrize("options", [{}, {"fee_preference": "base"}])
def test_what_was_bought_in_odd_amounts_can_be_sold_again_and_again(
    engine: TradingEngine, options: dict[str, Any]
) -> None:
    """Position and balance never differ; Kraken never says that funds are insufficient."""
    for trip in range(4):
        buy(engine, f"trip {trip} buy ", **options)
        eventually(lambda: agrees(engine), "the position is the balance")
        held = Decimal(position(engine)["qty"])
        assert held == held.quantize(UNIT)
        assert held > 5000
        sell_all(engine, f"trip {trip} sell")
        eventually(lambda: agrees(engine), "the position is the balance")
        assert abs(Decimal(position(engine)["qty"])) < 100 * UNIT

    assert refusals(engine) == []
    engine.wait_until_agreed()


def test_a_stop_for_all_of_it_is_taken_and_so_is_the_exit_after_it(engine: TradingEngine) -> None:
    """Kraken's own case: the stop of 39148.13654 PENGU was refused, for 39148.1365 had been credited."""
    engine.wish("order", name="buy", order_type="market", qty="39148.13654")
    engine.wait_for_state("buy", "FILLED")
    sell_all(engine, "stop", "WORKING", order_type="stop-loss", stop=20.0)
    engine.wish("cancel", names=["stop"])
    engine.wait_for_state("stop", "CANCELED")
    sell_all(engine, "exit")

    assert refusals(engine) == []
    engine.wait_until_agreed()


def test_a_new_router_and_a_new_engine_find_the_position_that_was_credited(engine: TradingEngine) -> None:
    """The journal has it; nothing is looked up."""
    buy(engine, "buy ")
    eventually(lambda: agrees(engine), "the position is the balance")
    held = position(engine)
    pid = engine.pid("order_router")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: engine.pid("order_router") != pid, "there is another router")
    eventually(engine.is_open, "the router takes orders")
    eventually(lambda: agrees(engine), "the position is the balance")
    assert position(engine)["qty"] == held["qty"]
    engine.stop()
    engine.start()
    eventually(lambda: agrees(engine), "the position is the balance")
    sell_all(engine, "sell")

    assert position(engine)["fees"] != held["fees"]
    assert refusals(engine) == []
    engine.wait_until_agreed(told=False)


def test_what_is_left_of_a_pair_that_is_not_followed_any_more_does_not_lift_the_days_limit(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It counts at cost, and the log says so. Without a price of it the loss was taken for unknown, for good."""
    engines = Engines(tmp_path)
    request.addfinalizer(engines.close)
    venue = TradingVenue(engines, "--no-rate-counter", symbols="BTC/USD,PENGU/USD")
    engine = TradingEngine(venue, tmp_path / "engine", symbols="BTC/USD,PENGU/USD")
    request.addfinalizer(engine.close)
    engine.start()
    engine.wish("order", name="rest", symbol="PENGU/USD", order_type="market", qty="1234.56784")
    engine.wait_for_state("rest", "FILLED")
    engine.stop()
    text = engine.config.read_text()
    engine.config.write_text(
        text.replace('"BTC/USD", "PENGU/USD"', '"BTC/USD"').replace("daily_loss_max = 1000000", "daily_loss_max = 20")
    )
    engine.start()
    for side in ("buy", "sell"):
        engine.wish("order", name=side, side=side, order_type="market", qty="0.5")
        engine.wait_for_state(side, "FILLED")
    eventually(lambda: engine.router("status")["mode"] == "HALTED", "the day's loss halts it")
    reason = engine.router("status")["reason"]
    log = engine.log()

    assert "lost today, as much as risk.daily_loss_max = 20.0 allows" in reason
    assert "positions have no price for the day's loss" in log
