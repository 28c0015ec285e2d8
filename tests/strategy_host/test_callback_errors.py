"""Whatever a callback raises is an error of its strategy: counted, and after too many it is halted, it alone."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from engine import Strategy, Trade
from engine.clock import ManualClock
from engine.errors import StrategyError
from engine.processes.callback_words import CallbackWords
from engine.strategy_host.host import StrategyHost
from engine.strategy_host.hosted_strategy import HostedStrategy
from engine.telemetry import new_counters
from engine.topology import strategy_counter_names
from engine.units import NS_PER_S
from tests.public_feed.rig import Market, frames, trade


class Unspeakable(BaseException):
    """An error whose text cannot be had."""

    def __repr__(self) -> str:
        raise ValueError("no text")

    __str__ = __repr__


ERRORS: dict[str, Callable[[], BaseException]] = {
    "exit 0": lambda: SystemExit(0),
    "exit 3": lambda: SystemExit(3),
    "Ctrl-C": KeyboardInterrupt,
    "generator's end": GeneratorExit,
    "cancelled": asyncio.CancelledError,
    "no exception": lambda: BaseException("none"),
    "no text": Unspeakable,
    "out of memory": MemoryError,
    "iteration's end": StopIteration,
    "async iteration's end": StopAsyncIteration,
    "an ordinary one": lambda: ValueError("no"),
}
ALLOWED = 3


class Raising(Strategy):
    """Raises in `where`."""

    timer_s = 1.0

    def __init__(self, where: str, error: Callable[[], BaseException]) -> None:
        self.where = where
        self.error = error

    def boom(self) -> None:
        raise self.error()

    def on_trade(self, trade: Trade) -> None:
        if self.where == "on_trade":
            self.boom()

    def on_timer(self) -> None:
        if self.where == "on_timer":
            self.boom()

    def on_stop(self) -> None:
        if self.where == "on_stop":
            self.boom()


class RaisingLater(Raising):
    """The same, after it has waited."""

    async def on_trade(self, trade: Trade) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().on_trade(trade)

    async def on_timer(self) -> None:  # type: ignore[override]
        super().on_timer()
        await asyncio.sleep(0)

    async def on_stop(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().on_stop()


async def lived_through(strategy: Raising, market: Market, rounds: int) -> HostedStrategy:
    """Some rounds of a trade, a timer and a call of another thread."""
    hosted = market.host(strategy, limits={"errors_per_minute_max": ALLOWED})
    await hosted.start()
    for number in range(rounds):
        market.clock.advance(NS_PER_S)
        market.take(trade("BTC/USD", number))
        if strategy.where == "call_soon":
            hosted.call_soon(strategy.boom)
        while hosted.do_work() or hosted.waiting is not None:
            await asyncio.sleep(0)
    return hosted


@pytest.mark.parametrize("where", ["on_trade", "on_timer", "call_soon"])
@pytest.mark.parametrize("kind", [Raising, RaisingLater])
@pytest.mark.parametrize("name", ERRORS)
def test_what_a_callback_raises_is_counted_and_halts(name: str, kind: type[Raising], where: str) -> None:
    """More than the allowance: halted, and its host goes on."""

    async def scenario() -> HostedStrategy:
        market = Market()
        market.take(*frames()[:20])
        return await lived_through(kind(where, ERRORS[name]), market, ALLOWED + 3)

    hosted = asyncio.run(scenario())

    assert hosted.errors == ALLOWED + 1
    assert hosted.halted


@pytest.mark.parametrize("kind", [Raising, RaisingLater])
@pytest.mark.parametrize("name", ERRORS)
def test_what_on_stop_raises_keeps_nobody_from_stopping(name: str, kind: type[Raising]) -> None:
    """Counted, and over."""

    async def scenario() -> HostedStrategy:
        hosted = await lived_through(kind("on_stop", ERRORS[name]), Market(), 1)
        await hosted.stop()
        return hosted

    assert asyncio.run(scenario()).errors == 1


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("name", ERRORS)
def test_a_strategy_that_cannot_start_is_named_whatever_it_raises(name: str, is_async: bool) -> None:
    """`on_start` failed: one sentence, with the strategy's name. It has returned, so it is not said to hang."""

    class Failing(Strategy):
        def on_start(self) -> Any:
            return self.later() if is_async else self.now()

        def now(self) -> None:
            raise ERRORS[name]()

        async def later(self) -> None:
            await asyncio.sleep(0)
            raise ERRORS[name]()

    counters = new_counters(strategy_counter_names(["Failing"], ["market-0"]))
    host = StrategyHost([Market().host(Failing(), counters=counters)], counters, ManualClock(1))

    line = r"(.*test_callback_errors.py, line \d+: |RuntimeError: coroutine raised StopIteration)"
    with pytest.raises(StrategyError, match=f"on_start failed: Failing: {line}"):
        asyncio.run(host.on_start())
    assert CallbackWords(counters, "Failing").read() == (0, "")


def test_what_is_no_awaitable_is_an_error_that_says_so() -> None:
    """A callback that returns something by mistake."""

    class Returning(Strategy):
        def on_trade(self, trade: Trade) -> Any:
            return True

    async def scenario() -> HostedStrategy:
        market = Market()
        market.take(*frames()[:20])
        hosted = market.host(Returning())
        market.take(trade("BTC/USD", 1))
        while hosted.do_work() or hosted.waiting is not None:
            await asyncio.sleep(0)
        return hosted

    assert asyncio.run(scenario()).errors == 1


def test_an_async_callbacks_own_time_is_measured_and_its_waiting_is_not() -> None:
    """80 ms of work between two waits: slow, and busy for 80 ms."""
    market = Market()
    market.take(*frames()[:20])

    class Working(Strategy):
        async def on_trade(self, trade: Trade) -> None:  # type: ignore[override]
            await asyncio.sleep(0)
            market.clock.advance(80_000_000)
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(lambda: (market.clock.advance(NS_PER_S), future.set_result(None)))
            await future

    async def scenario() -> HostedStrategy:
        hosted = market.host(Working(), first_sequence=None)
        market.take(trade("BTC/USD", 1))
        while hosted.do_work() or hosted.waiting is not None:
            await asyncio.sleep(0)
        return hosted

    hosted = asyncio.run(scenario())

    assert (hosted.slow, hosted.slowest_ns, hosted.busy_ns) == (1, 80_000_000, 80_000_000)
