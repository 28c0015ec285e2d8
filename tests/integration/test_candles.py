"""Candles over real processes: made of the local venue's trades, they are those of its REST."""

import asyncio
import json
import subprocess
from decimal import Decimal
from itertools import pairwise
from urllib.request import urlopen

from engine import Candle, Engine
from engine.kraken.public.messages import CandleData
from engine.kraken.rest import market_data
from engine.timestamps import wall_ns
from tests.integration.rig import Engines
from tests.waiting import PATIENCE_S, until

SYMBOL = "BTC/USD"
VENUE = ("--symbols", SYMBOL, "--rate", 50, "--seed", 5, "--no-rate-counter")
SETTINGS = {
    "feed.candle_intervals_min": [1, 5, 60],
    "feed.candle_history": 30,
    "fallback.calls_per_s": 10.0,
    "fallback.cache_s": 0.0,
}


def figures(candle: Candle | CandleData) -> tuple[Decimal | int, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades


def rows_of(rest_url: str) -> dict[int, CandleData]:
    """The minutes that REST tells, by their begin."""
    with urlopen(rest_url + market_data.ohlc(SYMBOL, 1, 0).target) as answer:
        rows = market_data.read_candles(200, answer.read(), SYMBOL, 1)
    assert isinstance(rows, list)
    return {wall_ns(row.interval_begin): row for row in rows}


def test_candles_of_trades_are_those_of_rest(engines: Engines) -> None:
    """The forming one at a moment that both tell, history soon after the start, any interval when it is asked for."""
    process = engines.spawn("venue", "--port", 0, *VENUE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    venue = json.loads(process.stdout.readline())
    told: list[Candle] = []

    async def agree() -> None:
        """Wait until a minute that trades alone have made was, with as many trades, what REST told."""
        async with asyncio.timeout(2 * PATIENCE_S):  # it may be the first whole one
            while True:
                minutes = {one.interval_begin: one for one in told if one.interval_min == 1}
                whole = [one for one in minutes.values() if one.source == "websocket" and one.is_whole]
                rows = await asyncio.to_thread(rows_of, venue["rest"]) if whole else {}
                for one in whole:
                    row = rows[one.interval_begin]
                    assert one.trades <= row.trades
                    if one.trades == row.trades:
                        assert figures(one) == figures(row)
                        return
                seen = len(told)
                await until(lambda seen=seen: len(told) > seen, "another candle")  # type: ignore[misc]

    async def program() -> None:
        settings = {**SETTINGS, "venue.rest_url": venue["rest"]}
        async with Engine.open(venue=venue["public"], symbols=[SYMBOL], settings=settings) as engine:
            engine.on("candle", told.append, symbol=SYMBOL)
            for interval_min, count in ((5, 100), (15, 30), (1440, 720)):
                candles = await engine.candles(SYMBOL, interval_min=interval_min, count=count)
                assert len(candles) == count
                assert all(one.interval_begin < two.interval_begin for one, two in pairwise(candles))
                assert all(one.closed for one in candles[:-1])
                assert {one.interval_min for one in candles} == {interval_min}
            await until(  # a minute without trades has no candle
                lambda: all(sum(one.closed and one.interval_min == each for one in told) >= 12 for each in (1, 5, 60)),
                "history; the forming ones, which trades tell again and again, are none",
            )
            rows = await asyncio.to_thread(rows_of, venue["rest"])
            history = [one for one in told if one.interval_min == 1 and one.closed]
            assert history
            assert all(figures(one) == figures(rows[one.interval_begin]) for one in history)
            await agree()
            assert engine.sources()["candles_differing"] == 0
        status = engine.status()
        assert status["candles_filled"] >= 36
        assert status["candles_missed"] == 0

    asyncio.run(program())
