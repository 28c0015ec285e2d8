"""Asks REST for what the WebSocket does not serve, and for candles: the shell of `Sources`,
`CandleFeed` and `PublicCalls`.

Sources.next_ask ────┬─► PublicCalls (pace, cache, breaker) ─► KrakenRest.call ─┬─► PublicFeed.take_rest
CandleFeed.next_ask ─┘ when there is time                                       └─► PublicFeed.take_candles
"""

import asyncio
from contextlib import suppress
from typing import Final

from engine.clock import Clock
from engine.errors import EngineError
from engine.kraken.rest.replies import RestRefusal
from engine.kraken_rest.client import KrakenRest
from engine.kraken_rest.public_calls import FOR_CANDLES, FOR_RENEWALS, PublicCalls
from engine.public_feed.candle_feed import CandleAsk
from engine.public_feed.feed import PublicFeed
from engine.public_feed.sources import Ask, Sources
from engine.units import MonoNs

LOOK_INTERVAL_S: Final = 0.05  # between two looks at the sources; a lost connection is looked at at once
CALL_DEADLINE_S: Final = 4.0


class Fallback:
    """The second source of one feed. Use it on one event loop."""

    def __init__(
        self, feed: PublicFeed, sources: Sources, clock: Clock, *, rest: KrakenRest | None, calls: PublicCalls
    ) -> None:
        """`rest` is None where REST is not to be asked: then the sources are marked, and
        nothing else.
        """
        self._feed = feed
        self._sources = sources
        self._clock = clock
        self._rest = rest
        self._calls = calls
        self._woken = asyncio.Event()
        feed.on_doubt = self._woken.set

    async def run(self) -> None:
        """Look and ask until it is canceled; an error of ours ends it."""
        async with asyncio.TaskGroup() as sending:
            while True:
                self._look(sending)
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_INTERVAL_S):
                        await self._woken.wait()
                self._woken.clear()

    async def close(self) -> None:
        """Close the connections."""
        if self._rest is not None:
            await self._rest.close()

    def _look(self, sending: asyncio.TaskGroup) -> None:
        now = self._clock.mono_ns()
        self._feed.look_at_sources(now)
        if self._rest is None:
            return
        while (ask := self._sources.next_ask(now)) is not None:
            if (known := self._calls.known(ask.request, now, ask.age_ns_max)) is not None:
                self._sources.asked(ask, now)
                self._feed.take_rest(ask, known.reply, known.received_at)
            elif self._calls.is_under_way(ask.request):
                self._sources.asked(ask, now)
            elif self._calls.may_call(now, leaves=0 if ask.is_first else FOR_RENEWALS):
                self._sources.asked(ask, now)
                self._calls.begin(ask.request, now)
                sending.create_task(self._send(self._rest, ask))
            else:
                return
        self._look_at_candles(sending, self._rest, now)

    def _look_at_candles(self, sending: asyncio.TaskGroup, rest: KrakenRest, now: MonoNs) -> None:
        """Ask for a candle, when nothing else is to be asked for."""
        candles = self._feed.candles
        if (
            candles is None
            or (ask := candles.next_ask(now)) is None
            or not self._calls.may_call(now, leaves=FOR_CANDLES)
        ):
            return
        candles.asked()
        if not self._calls.is_under_way(ask.request):
            self._calls.begin(ask.request, now)
            sending.create_task(self._send(rest, ask))

    async def _send(self, rest: KrakenRest, ask: Ask | CandleAsk) -> None:
        try:
            answer = await rest.call(ask.request, deadline_s=CALL_DEADLINE_S)
        except EngineError as error:
            now = self._clock.mono_ns()
            self._calls.failed(ask.request, str(error), now)
            self._failed(ask, now)
            return
        now = self._clock.mono_ns()
        reply = ask.read(answer.status, answer.body)
        self._calls.answered(ask.request, reply, now, answer.retry_after_s)
        if isinstance(reply, RestRefusal):
            self._failed(ask, now)
        elif isinstance(ask, CandleAsk):
            self._feed.take_candles(ask, reply)
        else:
            self._feed.take_rest(ask, reply, now)

    def _failed(self, ask: Ask | CandleAsk, now: MonoNs) -> None:
        if isinstance(ask, Ask):
            self._sources.failed(ask, now)
