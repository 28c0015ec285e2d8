"""Brackets on the venue: the stop outlives every process and every end, and one start later the target takes its place.

The venue's ledger is the judge.
"""

import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.integration.rig import Engines, eventually
from tests.integration.trading_rig import TradingEngine, TradingVenue

FAR = {"stop_loss": "1000.0", "take_profit": "900000.0"}
REACHED = {"stop_loss": "1000.0", "take_profit": "60000.0"}  # the market is at 63,500


def test_a_stop_outlives_the_engine_and_the_target_is_taken_once(tmp_path: Path) -> None:
    """The router is killed, the engine stopped, the engine killed: the stop rests at Kraken all the time. What is
    bought with a target that the book has reached is sold at once, and its stop is gone before.
    """
    venues = Engines(tmp_path / "venue")
    venues.folder.mkdir()
    venue = TradingVenue(venues, "--no-rate-counter")
    engine = TradingEngine(venue, tmp_path / "engine", relay=False)

    def exits(*states: str) -> list[dict[str, Any]]:
        found = [order for order in venue.orders(engine.account) if order["side"] == "sell"]
        return [order for order in found if not states or order["status"] in states]

    def resting() -> list[tuple[str, Decimal]]:
        return [(order["order_type"], Decimal(order["order_qty"])) for order in exits("new", "pending_new")]

    try:
        engine.start()
        engine.wish("order", name="a", order_type="market", qty="0.01", **FAR)
        engine.wait_for_state("a", "FILLED")
        eventually(lambda: sum(qty for _, qty in resting()) == Decimal("0.01"), "Kraken has placed the stop")
        before = resting()
        assert {kind for kind, _ in before} == {"stop-loss"}
        pid = engine.pid("order_router")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: engine.pid("order_router") != pid, "there is another order router")
        engine.wait_until_open()
        assert resting() == before
        assert engine.stop()["exit"] == "clean"
        assert resting() == before
        engine.start()
        engine.process.kill()
        engine.process.wait()
        eventually(
            lambda: "exits of brackets stay open" in engine.log().rpartition("engine is gone")[2], "it has ended"
        )
        assert resting() == before
        engine.start()
        engine.wish("order", name="b", order_type="market", qty="0.02", **REACHED)
        engine.wait_for_state("b", "FILLED")
        eventually(
            lambda: sum(Decimal(order["cum_qty"]) for order in exits()) == Decimal("0.02"), "the target has been taken"
        )
        assert resting() == before
        assert engine.engines.call("cancel", "--all").returncode == 0
        eventually(lambda: not resting(), "a person has ended the other bracket")
        assert engine.stop()["exit"] == "clean"
        assert not resting()
        engine.wait_until_agreed()
    finally:
        engine.close()
        venues.close()
