"""Quoting as fast as the engine lets a strategy, the venue never says that it is too fast; and cancels find room.

`TRADING_RATE_EDGES=200` goes to the edge of the counter so often.
"""

import os
from pathlib import Path

import pytest

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue

EDGES = int(os.environ.get("TRADING_RATE_EDGES", "10"))
RATE_LIMITED = "EOrder:Rate limit exceeded"


@pytest.mark.parametrize(("tier", "over_rate"), [("starter", "queue"), ("pro", "refuse")])
def test_quoting_without_pause_draws_no_rate_limit_and_starves_no_cancel(
    tmp_path: Path, tier: str, over_rate: str
) -> None:
    """The venue counts for itself; a tenth of its threshold is left to cancels."""
    engines = Engines(tmp_path)
    venue = TradingVenue(engines)
    trading = f'over_rate = "{over_rate}"\ncancel_reserve_percent = 10.0'
    engine = TradingEngine(venue, tmp_path / "engine", trading=trading, key=venue.key(tier=tier), relay=False)
    try:
        engine.start()
        engine.wish("press", orders=2)
        eventually(
            lambda: sum("rate counter" in entry["reason"] for entry in engine.diary().entries("order")) >= EDGES,
            "the engine itself has said no so often: it was at the edge",
        )
        rate = engine.router("status")["rate"]
        engine.wish("press", orders=0)
        engine.wish("cancel_all")
        eventually(lambda: engine.router("orders")["orders"] == [], "every cancel has found room")
        engine.wait_until_agreed()
        counts = engine.counts()
        assert rate["tier"] == tier
        assert counts["rate_limited"] == 0
        assert not any(RATE_LIMITED in entry["reason"] for entry in engine.diary().entries("order"))
        assert RATE_LIMITED not in engine.log()
    finally:
        engine.close()
        engines.close()
