"""Candles of the local venue, over real processes: made of its trades, they are those of its REST."""

import asyncio
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

import pytest

from engine import Candle, Engine
from tests.waiting import PATIENCE_S

SYMBOL = "MINA/GBP"  # a thin one: its last fifty trades begin before the minute
VENUE = "--rate 50 --seed 5 --no-rate-counter"
SETTINGS = {
    "feed.candle_intervals_min": [1, 5, 60],
    "feed.candle_history": 30,
    "fallback.calls_per_s": 10.0,
    "fallback.cache_s": 0.0,
}


@pytest.fixture(autouse=True)
def run_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Of this test alone, and short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="tm") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield


def figures(candle: Candle) -> tuple[Decimal | int, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades


def test_candles_of_trades_are_those_of_rest():
    """The forming ones as of some moment, history at once, other intervals and more of the past when asked for."""
    told: list[Candle] = []

    async def agree(engine: Engine) -> int:
        """Compare what is made of trades with what REST tells, until a forming candle of both was the same."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                before = {one.interval_begin: one for one in told if one.interval_min == 1}
                by_rest = await engine._candle_history.candles(SYMBOL, 1)  # type: ignore[union-attr]
                newest = before.get(by_rest[-1].interval_begin)
                if newest is not None and newest.source == "websocket" and newest.is_whole:
                    assert newest.trades <= by_rest[-1].trades
                    if newest.trades == by_rest[-1].trades:
                        assert figures(newest) == figures(by_rest[-1])
                        return newest.trades
                await asyncio.sleep(0.02)

    async def program() -> None:
        async with Engine.open(venue="local", symbols=[SYMBOL], venue_options=VENUE, settings=SETTINGS) as engine:
            engine.on("candle", told.append, symbol=SYMBOL)
            for interval_min, count in ((5, 100), (15, 30), (1440, 720)):
                candles = await engine.candles(SYMBOL, interval_min=interval_min, count=count)
                assert len(candles) == count
                assert all(one.interval_begin < two.interval_begin for one, two in pairwise(candles))
                assert all(one.closed for one in candles[:-1])
                assert {one.interval_min for one in candles} == {interval_min}
            assert await agree(engine)
            context = engine._told.context
            async with asyncio.timeout(PATIENCE_S):  # a minute without trades has no candle
                while any(len(context.candles(SYMBOL, interval_min)) < 12 for interval_min in (1, 5, 60)):
                    await asyncio.sleep(0.05)
            by_rest = {one.interval_begin: one for one in await engine._candle_history.candles(SYMBOL, 1)}
            for one in context.candles(SYMBOL, 1):
                if one.closed:
                    assert figures(one) == figures(by_rest[one.interval_begin])
            assert len(await engine.candles(SYMBOL, interval_min=60, count=30)) == 30
            assert engine.sources()["candles_differing"] == 0
        status = engine.status()
        assert status["candles_filled"] >= 36
        assert status["candles_missed"] == 0

    asyncio.run(program())
