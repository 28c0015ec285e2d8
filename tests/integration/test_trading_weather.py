"""All faults together, for a while: ledger, journal and callbacks agree order by order and fill by fill.

`TRADING_WEATHER_S=600` makes it the ten minutes that count; by default it is a few seconds of each weather.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import strategy
from tests.integration.rig import ENGINE, PATIENCE_S, Engines, eventually, summary_of
from tests.integration.trading_rig import TradingEngine, TradingVenue
from tests.waiting import moment

QUOTER = Path(strategy.__file__).parent / "examples" / "quoter.py"
SECONDS = float(os.environ.get("TRADING_WEATHER_S", "6"))
SEED = int(os.environ.get("TRADING_WEATHER_SEED", "1"))
LONG_S = 60.0
SHORT_TIMES = 4  # as much trouble in a short run
SYMBOLS = "BTC/USD,ETH/USD"
RATES = {
    "drop-answer": 0.01,
    "late": 0.01,
    "unavailable": 0.01,
    "unavailable-done": 0.01,
    "token-death": 0.003,
    "sequence-gap": 0.003,
    "snapshot-again": 0.2,
    "reorder": 0.05,
    "batch-refusal": 0.05,
    "lost": 0.01,
    "private-cut": 0.002,
    "html-520": 0.01,
    "rest-lag": 0.05,
}
# In a short run, the one with most in it.
WEATHERS = ("calm", "faults", "faults and cuts", "faults and kills")[0 if SECONDS >= LONG_S else 3 :]
HEALTHY = "breaker_failures = 1000\ndeadline_s = 0.6\nanswer_timeout_s = 0.9"


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[TradingVenue]:
    """A venue of its own, for its counters are looked at."""
    engines = Engines(tmp_path)
    yield TradingVenue(engines, "--rate", 1000, "--tier", "pro", symbols=SYMBOLS)
    engines.close()


@pytest.mark.parametrize("weather", WEATHERS)
def test_ledger_journal_and_callbacks_agree_whatever_the_weather(
    venue: TradingVenue, tmp_path: Path, weather: str
) -> None:
    """No order twice, none forgotten, no end without the venue's word."""
    dice = random.Random(SEED)
    engine = TradingEngine(venue, tmp_path / "engine", trading=HEALTHY, symbols=SYMBOLS).start()
    try:
        assert engine.relay is not None
        for kind, rate in RATES.items() if weather != "calm" else ():
            venue.rate(kind, rate if SECONDS >= LONG_S else SHORT_TIMES * rate)
        engine.wish("churn", seed=SEED, per_s=8.0)
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at:
            # Connections that have been healthy for half a minute come back at once; in a short run they need not be.
            pause_s = dice.uniform(1.0, 4.0) if SECONDS < LONG_S else dice.uniform(10.0, 50.0)
            moment(min(pause_s, max(0.0, ends_at - time.monotonic())))
            if weather.endswith("cuts"):
                engine.relay.cut(dice.choice(("", "orders", "feed")))
            elif weather.endswith("kills"):
                pid = engine.status()["processes"][dice.choice(("order_router", "private_feed"))]
                if pid:
                    os.kill(pid, signal.SIGKILL)
        engine.wish("churn", seed=0, per_s=0.0)
        venue.clear()
        eventually(engine.is_open, "orders are taken again")
        eventually(
            lambda: not any(o["state"] in ("sent", "unknown") for o in engine.router("orders")["orders"]), "known"
        )
        engine.wait_until_agreed()
        engine.wish("cancel_all")
        eventually(lambda: engine.router("orders").get("orders") == [], "nothing is open")
        engine.wait_until_agreed()
        counts = engine.counts()
        summary = engine.stop()
        assert engine.differences() == []
        assert summary["exit"] == "clean"
        assert summary["orders"]["unknown_open"] == 0
        assert counts["quarantined"] == 0 or weather != "calm"
        assert counts["rate_limited"] == 0 or weather != "calm"
        assert summary["strategies"]["puppet"]["errors"] == 0
        assert len(venue.orders(engine.account)) > SECONDS / 4
    finally:
        engine.close()


def test_the_example_agrees_with_its_local_venue_with_all_faults_on(tmp_path: Path) -> None:
    """As a user runs it: the summary's own comparison."""
    engines = Engines(tmp_path)
    summary = tmp_path / "summary.json"
    faults = " ".join(f"--fault {kind}={rate}" for kind, rate in RATES.items())
    try:
        done = subprocess.run(
            (
                *ENGINE, "run", "--venue", "local", "--venue-options", f"--seed {SEED} {faults}", "--symbols", SYMBOLS,
                "--strategy", str(QUOTER), "--seconds", str(SECONDS), "--summary", str(summary),
            ),
            env=engines.environment, cwd=tmp_path, timeout=SECONDS + PATIENCE_S, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        told = summary_of(summary)
        assert told["ledger"]["differences"] == []
        assert told["ledger"]["agree"] is True
        assert told["ledger"]["orders"] > 0
        assert told["orders"]["unknown_open"] == 0
    finally:
        engines.close()
