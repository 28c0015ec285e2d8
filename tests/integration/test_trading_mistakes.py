"""A user's mistake on the way to the first order: one sentence that says what to change, and no order."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue

TRADING = (
    "query-funds",
    "query-open-trades",
    "query-closed-trades",
    "modify-trades",
    "close-trades",
    "create-ws-token",
)
POISONER = Path(__file__).parent / "strategies" / "poisoner.py"
POISONS = 4  # that it writes
CANARY = "Y2FuYXJ5IHNlY3JldCBvZiB0aGUgdGVzdHMsIG5vYm9keSBtYXkgZXZlciBzZWUgaXQ="


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingVenue]:
    """One venue for all mistakes."""
    engines = Engines(tmp_path_factory.mktemp("mistakes"))
    yield TradingVenue(engines)
    engines.close()


def run(engine: TradingEngine) -> subprocess.CompletedProcess[str]:
    """`engine run` to its end, which comes soon."""
    return engine.engines.call("run", engine.config, "--summary", engine.summary_path, **engine.key_environment)


def sentence_of(engine: TradingEngine) -> str:
    """The one sentence it ends with; exit code 2, no traceback, no secret."""
    done = run(engine)
    output = done.stdout + done.stderr
    assert done.returncode == 2, output
    assert "Traceback" not in output, output.replace("\\n", "\n")
    assert engine.key["api_secret"] not in output
    assert engine.venue.orders(engine.account) == []
    said = [line for line in done.stderr.splitlines() if line.startswith("engine: ")]
    assert len(said) == 1, output
    return said[0]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"permissions": [*TRADING, "withdraw-funds"]}, 'untick "Funds: Withdraw"'),
        ({"permissions": [name for name in TRADING if name != "create-ws-token"]}, "WebSocket interface"),
    ],
    ids=["too much", "too little"],
)
def test_a_key_that_may_do_too_much_or_too_little_does_not_trade(
    venue: TradingVenue, tmp_path: Path, spec: dict[str, Any], said: str
) -> None:
    """Kraken's own words for the box to tick."""
    engine = TradingEngine(venue, tmp_path, key=venue.key(**spec), relay=False)
    try:
        sentence = sentence_of(engine)
        assert said in sentence
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [("api_key", "EAPI:Invalid key"), ("api_secret", "does not belong to the API key")],
)
def test_a_wrong_key_or_secret_does_not_trade(venue: TradingVenue, tmp_path: Path, wrong: str, said: str) -> None:
    """And is not tried so often that Kraken locks the key out."""
    key = venue.key() | {wrong: CANARY}
    engine = TradingEngine(venue, tmp_path, key=key, relay=False)
    try:
        assert said in sentence_of(engine)
    finally:
        engine.close()


def test_a_clock_that_is_ten_seconds_off_does_not_trade(tmp_path: Path) -> None:
    """By Kraken's own word."""
    engines = Engines(tmp_path)
    engine = TradingEngine(TradingVenue(engines, "--clock-offset-s", 10), tmp_path / "engine", relay=False)
    try:
        assert "clock" in sentence_of(engine)
    finally:
        engine.close()
        engines.close()


def test_live_trading_without_limits_does_not_start(venue: TradingVenue, tmp_path: Path) -> None:
    """Each of the three is named."""
    engine = TradingEngine(venue, tmp_path, relay=False)
    try:
        for limit in ("order_notional_max", "position_notional_max", "daily_loss_max"):
            text = engine.config.read_text()
            engine.config.write_text(
                "".join(line for line in text.splitlines(keepends=True) if not line.startswith(limit))
            )
            assert f"risk.{limit}" in sentence_of(engine)
            engine.config.write_text(text)
    finally:
        engine.close()


ORDERS = {
    "price off tick": ({"limit": "60000.05"}, "0.1"),
    "quantity below the minimum": ({"qty": "0.00001"}, "minimum of 0.00005"),
    "quantity finer than a lot": ({"qty": "0.000000001"}, "multiple"),
    "cost below the minimum": ({"qty": "0.00005", "limit": "1"}, "minimum"),
    "price of a typing error": ({"limit": "600000"}, "price_collar_percent"),
    "more than may be ordered": ({"qty": "50"}, "order_notional_max"),
    "no number": ({"qty": "much"}, "number"),
    "negative": ({"qty": "-1"}, "number"),
    "nothing": ({"qty": "0"}, "nothing"),
    "another pair": ({"symbol": "ETH/USD", "limit": "3000"}, "ETH/USD"),
    "a misspelt option": ({"postonly": True}, "did you mean post_only?"),
    "a word for a moment": ({"time_in_force": "gtd", "expire_at": "tomorrow"}, "expire_at must be a datetime"),
    "a word for a closing order": ({"conditional": "x"}, "conditional must be a Conditional"),
    "a stop without trigger": ({"order_type": "stop-loss-limit"}, "needs trigger"),
    "more than 64 bits": ({"qty": "1e30"}, "more than any order can have"),
}


@pytest.fixture(scope="module")
def engine(venue: TradingVenue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TradingEngine]:
    """One that trades."""
    engine = TradingEngine(venue, tmp_path_factory.mktemp("engine"), relay=False).start()
    yield engine
    engine.close()


@pytest.mark.parametrize("mistake", ORDERS)
def test_an_order_that_cannot_be_is_refused_with_what_to_change(engine: TradingEngine, mistake: str) -> None:
    """It never leaves; nothing is raised in the strategy."""
    options, said = ORDERS[mistake]
    engine.wish("order", name=mistake, **options)
    reason = engine.wait_for_state(mistake, "REFUSED")["reason"]
    assert said in reason
    assert "\n" not in reason
    assert engine.at_venue(mistake) == []
    assert engine.status()["strategies"]["puppet"]["errors"] == 0


def test_a_batch_with_a_side_of_its_own_is_refused_and_the_router_lives(engine: TradingEngine) -> None:
    """Both orders say which one is wrong; the next order is taken."""
    router = engine.pid("order_router")
    engine.wish("batch", orders=[{"name": "bid", "side": "bid"}, {"name": "its sibling", "side": "buy"}])

    for name in ("bid", "its sibling"):
        assert "order 1 of the batch: side must be buy or sell" in engine.wait_for_state(name, "REFUSED")["reason"]
    engine.wish("order", name="the next", away=5.0)
    engine.wait_for_state("the next", "WORKING")
    engine.wish("cancel", names=["the next"])
    engine.wait_for_state("the next", "CANCELED")
    assert engine.pid("order_router") == router


def test_a_record_that_cannot_be_read_does_not_end_the_router(venue: TradingVenue, tmp_path: Path) -> None:
    """A plugin that writes to the command ring itself costs nobody else an order, or a cancel."""
    poisoner = (
        f'[[strategy]]\ntarget = "{POISONER}"\nname = "poisoner"\nparams = {{ path = "{tmp_path / "poison"}" }}\n'
    )
    engine = TradingEngine(venue, tmp_path / "engine", relay=False, strategies=poisoner).start()
    try:
        router = engine.pid("order_router")
        engine.wish("order", name="before", away=5.0)
        engine.wait_for_state("before", "WORKING")

        (tmp_path / "poison").touch()
        eventually(lambda: engine.counts()["records_unreadable"] == POISONS, "the router has left the poison behind")

        engine.wish("order", name="after", away=6.0)
        engine.wait_for_state("after", "WORKING")
        engine.wish("cancel", names=["before", "after"])
        for name in ("before", "after"):
            engine.wait_for_state(name, "CANCELED")
        assert engine.pid("order_router") == router
        told = [line for line in engine.log().splitlines() if "unreadable record" in line]
        assert len(told) == POISONS
        assert all('"level": "error"' in line for line in told)
        assert "Traceback" not in engine.log()
        assert engine.stop()["trading"]["counts"]["records_unreadable"] == POISONS
    finally:
        engine.close()


def test_an_order_that_kraken_refuses_says_so_in_plain_words(engine: TradingEngine) -> None:
    """More than the account holds: Kraken's own word, and what it means."""
    engine.wish("order", name="poor", side="sell", qty="15", away=1.0)
    entry = engine.wait_for_state("poor", "REJECTED")
    assert "EOrder:Insufficient funds" in entry["reason"]
    engine.wish("order", name="taker", away=-3.0, qty="0.001", post_only=True)
    assert engine.wait_for_state("taker", "CANCELED", "REJECTED")["reason"]
    engine.wait_until_agreed()


def test_a_second_engine_with_the_same_key_is_refused(engine: TradingEngine, tmp_path: Path) -> None:
    """Two signers would spoil each other's nonces."""
    second = TradingEngine(engine.venue, tmp_path, key=engine.key, relay=False)
    second.config.write_text(second.config.read_text().replace('name = "default"', 'name = "second"'))
    try:
        done = second.engines.call(
            "run", second.config, XDG_STATE_HOME=str(engine.folder / "state"), **engine.key_environment
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert str(engine.pid("order_router")) in done.stderr.splitlines()[-1]
    finally:
        second.close()
    assert os.path.exists(engine.config)
