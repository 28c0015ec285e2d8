"""A program's figures are those of the summary, and all of them are there from the beginning."""

import asyncio
from pathlib import Path

import msgspec

from engine.client import Statistics
from engine.config import Config, override
from engine.replay import Capture, replay
from engine.strategy.api import Strategy

CAPTURES = Path(__file__).parents[1] / "data" / "kraken"


def test_a_run_that_only_watched_has_every_figure() -> None:
    """A replay of genuine frames: what was not traded is zero, and what is not known is None."""
    capture = Capture(CAPTURES / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl")
    config = override(Config(), symbols=tuple(capture.symbols))
    summary = asyncio.run(replay([capture], capture.symbols, [("nobody", Strategy())], config))
    statistics = Statistics.of(summary)

    assert statistics.messages["trade"] == summary["trades"] > 0
    assert statistics.messages["book"] == sum(pair["verified"] for pair in summary["symbols"].values()) > 0
    assert statistics.success_percent is None
    assert statistics.acknowledged_ms == {"websocket": None, "rest": None}
    assert (statistics.orders_submitted, statistics.errors, statistics.reconnects) == (0, 0, 0)
    assert not statistics.is_authenticated
    assert msgspec.json.decode(msgspec.json.encode(statistics), type=Statistics) == statistics
