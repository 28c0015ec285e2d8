"""Kraken's candles by REST, for a program that asks for more than the feeds have delivered.

One call returns 720 candles of a pair and interval, however many are needed. Concurrent
requests for the same ones share its answer, which is kept for a few seconds.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from engine.clock import Clock
from engine.errors import EngineError, EngineStopped, NotAvailable
from engine.kraken.public.candle_rows import begin_ns
from engine.kraken.public.messages import CandleData
from engine.kraken.rest import market_data
from engine.kraken.rest.replies import RestRefusal
from engine.kraken_rest.client import KrakenRest
from engine.kraken_rest.public_calls import Answer, PublicCalls
from engine.net.own_thread import on_own_thread
from engine.records import REST, Candle
from engine.units import NS_PER_S, WallNs

PACE_LOOK_S: Final = 0.05  # between two looks whether a call may be made
CALL_DEADLINE_S: Final = 8.0  # 720 candles are 50 kB
MINUTE_NS: Final = 60 * NS_PER_S
KNOWN_NS: Final = 1 << 62  # however old, while it is kept


class CandleHistory:
    """The candles of one REST service."""

    def __init__(self, rest: KrakenRest, calls: PublicCalls, clock: Clock) -> None:
        self._rest = rest
        self._calls = calls
        self._clock = clock
        self._asking: dict[tuple[str, int], asyncio.Task[Answer]] = {}

    async def candles(self, symbol: str, interval_min: int) -> list[Candle]:
        """The last 720 intervals of a pair, oldest first, those without trades left out;
        the last one may be forming. Raises NotAvailable, with Kraken's words.
        """
        key = symbol, interval_min
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(symbol, interval_min))
            asking.add_done_callback(lambda task: self._asked(key, task))
        await asyncio.wait({asking})  # who gives up waiting leaves it to the others
        if asking.cancelled():
            raise EngineStopped("the engine was closed before REST had told the candles")
        return _told(asking.result())

    def _asked(self, key: tuple[str, int], task: asyncio.Task[Answer]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # those who asked may have gone: that it failed is then no news

    async def close(self) -> None:
        """Cancel calls in progress, and close the connections."""
        for asking in list(self._asking.values()):
            asking.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)
        await self._rest.close()

    async def _ask(self, symbol: str, interval_min: int) -> Answer:
        request = market_data.ohlc(symbol, interval_min, 0)
        known = self._calls.known(request, self._clock.mono_ns(), KNOWN_NS)
        if known is not None:
            return known
        while not self._calls.may_call(self._clock.mono_ns()):
            await asyncio.sleep(PACE_LOOK_S)
        self._calls.begin(request, self._clock.mono_ns())
        try:
            answer = await self._rest.call(request, deadline_s=CALL_DEADLINE_S)
        except EngineError as error:
            self._calls.failed(request, str(error), self._clock.mono_ns())
            raise NotAvailable(f"no candles of {symbol}: {error}") from None
        except asyncio.CancelledError:
            self._calls.failed(request, "canceled", self._clock.mono_ns())
            raise
        now = self._clock.mono_ns()
        # Ten milliseconds, in which the program's handlers go on.
        read = partial(market_data.read_candles, answer.status, answer.body, symbol, interval_min)
        reply = await asyncio.wrap_future(on_own_thread(read))
        self._calls.answered(request, reply, now, answer.retry_after_s)
        if isinstance(reply, RestRefusal):
            raise NotAvailable(f"no candles of {symbol}: {reply.sentence}")
        return Answer(reply, now)


def _told(answer: Answer) -> list[Candle]:
    rows: Sequence[CandleData] = answer.reply
    return [
        Candle(
            row.symbol,
            row.interval,
            begin_ns(row.interval_begin),
            open=row.open,
            high=row.high,
            low=row.low,
            close=row.close,
            vwap=row.vwap,
            volume=row.volume,
            trades=row.trades,
            closed=row is not rows[-1],
            received_at=answer.received_at,
            history=row is not rows[-1],
            source=REST,
        )
        for row in rows
        if row.trades
    ]


def suffices(told: Sequence[Candle], count: int, *, is_live: bool, now: WallNs) -> bool:
    """Whether the feed's candles suffice without REST: as many as requested, with no trade
    missing. While the feed does not serve the pair, the newest must be whole and of the
    present interval.
    """
    if len(told) < count or not all(candle.is_whole for candle in told[:-1]):
        return False
    newest = told[-1]
    return is_live or (newest.is_whole and now < newest.interval_begin + newest.interval_min * MINUTE_NS)


def joined(told: Sequence[Candle], by_rest: Sequence[Candle]) -> list[Candle]:
    """Merge the feed's candles with those of REST, which replace candles with missing
    trades.
    """
    candles = {candle.interval_begin: candle for candle in told}
    for candle in by_rest:
        known = candles.get(candle.interval_begin)
        if known is None or not known.is_whole or (candle.closed and not known.closed):
            candles[candle.interval_begin] = candle
    return [candle for _, candle in sorted(candles.items())]
