"""The strategies' thread: it starts, stops and fails in order, whatever a strategy does."""

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from engine import Strategy
from engine.clock import SystemClock
from engine.errors import StrategyError
from engine.ring import Doorbell, open_eventfd
from engine.strategy_host.host import StrategyHost
from engine.strategy_host.thread import HostThread
from engine.telemetry import new_counters
from engine.topology import STRATEGY_HOST_DOORBELL, strategy_counter_names
from tests.public_feed.rig import Market
from tests.waiting import until

SOON_S, LONG_S = 0.05, 30.0


def thread_of(*strategies: Strategy) -> HostThread:
    """A thread that runs them on an empty market."""
    market = Market()
    hosted = [market.host(strategy) for strategy in strategies]
    for number, each in enumerate(hosted):
        each.name = f"s{number}"
    names = strategy_counter_names([each.name for each in hosted], ["market-0"])
    host = StrategyHost(hosted, new_counters(names), SystemClock())
    doorbells = [Doorbell(market.ring, STRATEGY_HOST_DOORBELL, open_eventfd())]
    return HostThread(host, doorbells, SystemClock(), spin=False)


class Telling(Strategy):
    """Says that it has stopped."""

    stopped = False

    def on_stop(self) -> None:
        self.stopped = True


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a strategy that hangs waits for: at the end of the test it comes back."""
    event = threading.Event()
    yield event
    event.set()


def test_a_task_of_a_strategys_own_that_exits_ends_nothing() -> None:
    """asyncio lets a SystemExit through to the loop: the loop goes on, and on_stop is called."""

    class Exiting(Telling):
        ended = False

        def on_start(self) -> None:
            async def leave() -> None:
                raise SystemExit(0)

            self.task = asyncio.get_running_loop().create_task(leave())
            asyncio.get_running_loop().call_later(SOON_S, self.leave_too)

        def leave_too(self) -> None:
            self.ended = True
            raise KeyboardInterrupt

    async def scenario() -> bool:
        await thread.start()
        await until(lambda: strategy.ended)
        has_stopped = await thread.stop(LONG_S)
        assert isinstance(strategy.task.exception(), SystemExit)
        return has_stopped

    strategy = Exiting()
    thread = thread_of(strategy)

    assert asyncio.run(scenario())
    assert strategy.stopped


def test_an_on_start_that_waits_for_ever_is_given_up_when_the_engine_stops() -> None:
    """Those that had started are stopped; it is not, for it never ran."""

    class Waiting(Telling):
        waits = False

        async def on_start(self) -> None:  # type: ignore[override]
            self.waits = True
            await asyncio.Event().wait()

    async def scenario() -> bool:
        started = thread.start()
        await until(lambda: waiting.waits)
        has_stopped = await thread.stop(LONG_S)
        assert isinstance(started.exception(), StrategyError)
        return has_stopped

    quick, waiting = Telling(), Waiting()
    thread = thread_of(quick, waiting)

    assert asyncio.run(scenario())
    assert (quick.stopped, waiting.stopped) == (True, False)


@pytest.mark.parametrize("where", ["on_start", "on_stop"])
def test_a_callback_that_never_returns_is_left_behind_at_the_deadline(where: str, release: threading.Event) -> None:
    """The thread is a daemon: whoever stops it is told, and goes on."""

    def hang(self: Any) -> None:
        release.wait()

    strategy = type("Hanging", (Strategy,), {where: hang})()
    thread = thread_of(strategy)

    async def scenario() -> bool:
        started = thread.start()
        if where == "on_stop":
            await started
        has_stopped = await thread.stop(SOON_S)
        started.cancel()
        return has_stopped

    assert asyncio.run(scenario()) is False


def test_a_thread_that_never_started_has_stopped() -> None:
    """The engine may be asked to stop before its strategies have begun."""

    async def scenario() -> bool:
        return await thread_of(Telling()).stop(LONG_S)

    assert asyncio.run(scenario())


def test_a_strategy_that_cancels_every_task_ends_the_host_in_order_and_is_blamed() -> None:
    """The engine's own tasks are among them: without a word it would go on as an engine without strategies."""

    class Cancelling(Telling):
        def on_start(self) -> None:
            asyncio.get_running_loop().call_later(SOON_S, self._cancel)

        def _cancel(self) -> None:
            for task in asyncio.all_tasks():
                task.cancel()

    strategy = Cancelling()

    async def main() -> None:
        thread = thread_of(strategy)
        await thread.start()
        await asyncio.wait_for(asyncio.wrap_future(thread.ended), LONG_S)

    with pytest.raises(StrategyError, match="a strategy has canceled the tasks that are the engine's own"):
        asyncio.run(main())
    assert strategy.stopped


def test_a_process_that_a_strategy_forks_off_ends_where_its_callback_would_go_on() -> None:
    """It would read the engine's rings and answer the engine's doorbells."""

    class Forking(Telling):
        code = -1

        def on_start(self) -> None:
            child = os.fork()
            if child == 0:
                return
            _, status = os.waitpid(child, 0)
            self.code = os.waitstatus_to_exitcode(status)

    strategy = Forking()

    async def main() -> None:
        thread = thread_of(strategy)
        await thread.start()
        await thread.stop(LONG_S)

    asyncio.run(main())

    assert strategy.code == 1
    assert strategy.stopped
