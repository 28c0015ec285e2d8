"""The strategy host's thread, with its own event loop: a strategy that blocks does not
block the supervisor."""

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import structlog
import uvloop

from engine.clock import Clock
from engine.errors import StrategyError
from engine.processes.pinning import pin
from engine.processes.runner import LoopRunner
from engine.processes.scheduling import shorten_time_slice
from engine.processes.stack_request import allow_stack_requests
from engine.ring import Doorbell
from engine.strategy_host.host import StrategyHost
from engine.strategy_host.hosted_strategy import shown

JOIN_S = 0.5  # for the thread's own loop to close, once every strategy has stopped

log = structlog.get_logger("strategy_host")


class HostThread:
    """Runs a StrategyHost from `start` to `stop`."""

    def __init__(
        self,
        host: StrategyHost,
        doorbells: Sequence[Doorbell],
        clock: Clock,
        *,
        spin: bool,
        cpus: Sequence[int] = (),
    ) -> None:
        """`cpus`: the CPUs that may run the thread; none: all."""
        self._host = host
        self._doorbells = doorbells
        self._clock = clock
        self._spin = spin
        self._cpus = cpus
        # Done when every strategy has started; fails with what one of them raised.
        self._started: Future[None] = Future()
        # Done when the thread has ended.
        self._ended: Future[None] = Future()
        self._loop = uvloop.new_event_loop()
        self._stopping = asyncio.Event()
        # Daemon: a strategy that hangs in a callback must not keep the process from
        # exiting.
        self._thread = threading.Thread(target=self._run, name="strategy-host", daemon=True)

    def start(self) -> "asyncio.Future[None]":
        """Start the thread and every strategy. The future fails with StrategyError if one
        of them fails.
        """
        self._thread.start()
        return asyncio.wrap_future(self._started)

    @property
    def thread_id(self) -> int:
        """The thread's id; 0 before it has started."""
        return self._thread.ident or 0

    async def stop(self, deadline_s: float) -> bool:
        """Let the strategies take the remaining records and stop. False if one has not
        stopped after `deadline_s` seconds.
        """
        if not self.thread_id:
            return True
        with suppress(RuntimeError):  # the loop has ended on its own
            self._loop.call_soon_threadsafe(self._stopping.set)
        done, _ = await asyncio.wait({asyncio.wrap_future(self._ended)}, timeout=deadline_s)
        if done:
            await asyncio.to_thread(self._thread.join, JOIN_S)
        return bool(done)

    @property
    def ended(self) -> Future[None]:
        """A future that is done when the thread has ended, or fails with what the host
        raised.
        """
        return self._ended

    def _forked(self) -> None:
        for strategy in self._host.strategies:
            strategy.forked()

    def _run(self) -> None:
        pin(self._cpus)
        shorten_time_slice()
        allow_stack_requests(self._host.counters)
        os.register_at_fork(after_in_child=self._forked)
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            main = runner.get_loop().create_task(self._main())
            while not main.done():
                try:
                    self._loop.run_until_complete(main)
                except BaseException as error:
                    if not main.done():
                        # Of a strategy's own task or timer: a SystemExit, say, which
                        # asyncio lets through.
                        log.error("a strategy's task raised", error=shown(error), exc_info=error)
            failure = None if main.cancelled() else main.exception()
            if failure is None and not self._stopping.is_set():
                failure = StrategyError(
                    "a strategy has canceled the tasks that are the engine's own; let it cancel those that it has made"
                )
            self._end_with(failure)

    def _end_with(self, error: BaseException | None) -> None:
        """Resolve both futures: all strategies have stopped, or the host has failed with
        `error`.
        """
        if not self._started.done():
            self._started.set_exception(error or StrategyError("stopped before every strategy had started"))
            error = None
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    async def _main(self) -> None:
        starting = asyncio.ensure_future(self._host.on_start())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():  # an async on_start waits, and the engine is to stop
            starting.cancel()
            await asyncio.wait({starting})
        if not starting.cancelled() and (error := starting.exception()) is not None:
            raise error
        if starting.cancelled():
            await self._host.on_close()
            return
        runner = LoopRunner(self._host, self._doorbells, self._clock, spin=self._spin)
        runner.start()
        self._started.set_result(None)
        ends: set[asyncio.Future[Any]] = {stopping, runner.failed}
        with suppress(asyncio.CancelledError):  # a strategy may cancel all tasks that it finds
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        runner.stop()
        if runner.failed.done():
            stopping.cancel()
            runner.failed.result()
        await self._host.on_close()
