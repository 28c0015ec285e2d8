"""Pairs that the local venue makes up, through all processes."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.venue.market.listing import listing
from engine.venue.market.pairs import PAIRS

OPTIONS = "--pairs 300 --seed 7 --rate 500"


def test_made_up_pairs_are_followed_and_traded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cheap one, a dear one, one without decimals of quantity and a quiet one: verified books, a fill each, and
    ledger, journal and callbacks that agree."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    pairs = [pair for pair in listing(300, 7)[len(PAIRS) :] if pair.quote in ("USD", "EUR")]
    chosen = {
        min(pairs, key=lambda pair: pair.mid_ticks / 10**pair.price_decimals),
        max(pairs, key=lambda pair: pair.mid_ticks / 10**pair.price_decimals),
        min(pairs, key=lambda pair: pair.qty_decimals),
        pairs[-1],
    }
    symbols = [pair.symbol for pair in chosen]

    async def program() -> dict[str, Any]:
        async with Engine.open(venue="local", symbols=symbols, venue_options=OPTIONS) as engine:
            for pair in chosen:
                book = await engine.book(pair.symbol)
                assert book.best_bid
                assert book.best_ask
                order = await engine.buy(pair.symbol, Decimal(pair.qty_min) * 2)
                await order.until_over(timeout_s=10)
                assert order.filled_qty == Decimal(pair.qty_min) * 2, order
        return engine.status()

    summary = asyncio.run(program())

    assert summary["exit"] == "clean"
    assert summary["ledger"]["agree"], summary["ledger"]
    assert summary["ledger"]["fills"] >= len(chosen)
    assert {symbol: row["mismatches"] for symbol, row in summary["symbols"].items()} == dict.fromkeys(symbols, 0)
