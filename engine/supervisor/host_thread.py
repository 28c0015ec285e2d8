"""The strategy host's thread, with its own event loop: a strategy that blocks does not block the supervisor."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import uvloop

from engine.actors.runner import LoopRunner
from engine.actors.strategy_host import StrategyHost
from engine.clock import Clock
from engine.errors import StrategyError
from engine.ring import Doorbell


class HostThread:
    """Runs a StrategyHost from `start` to `stop`."""

    def __init__(self, host: StrategyHost, doorbells: Sequence[Doorbell], clock: Clock, *, spin: bool) -> None:
        self._host = host
        self._doorbells = doorbells
        self._clock = clock
        self._spin = spin
        # Fulfilled when every strategy has started, or with what one of them raised.
        self._started: Future[None] = Future()
        # Fulfilled when the thread is at its end.
        self._ended: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        # Daemon: a strategy stuck in a callback must not keep the process from exiting.
        self._thread = threading.Thread(target=self._run, name="strategy-host", daemon=True)

    async def start(self) -> None:
        """Start every strategy; StrategyError when one of them fails."""
        self._thread.start()
        await asyncio.wrap_future(self._started)

    async def stop(self, deadline_s: float) -> bool:
        """Let the strategies take what is left and stop; False when one is stuck past the deadline."""
        if self._loop is not None and self._stopping is not None:
            with suppress(RuntimeError):  # the loop has ended on its own
                self._loop.call_soon_threadsafe(self._stopping.set)
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.shield(asyncio.wrap_future(self._ended))
        except TimeoutError:
            return False
        return True

    @property
    def ended(self) -> Future[None]:
        """Fulfilled, or failed, when the thread is at its end."""
        return self._ended

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._main())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
                self._ended.set_result(None)
            else:
                self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            await self._host.on_start()
        except Exception as error:
            raise StrategyError(f"a strategy's on_start failed: {type(error).__name__}: {error}") from error
        runner = LoopRunner(self._host, self._doorbells, self._clock, spin=self._spin)
        runner.start()
        self._started.set_result(None)
        stopping = asyncio.ensure_future(self._stopping.wait())
        ends: set[asyncio.Future[Any]] = {stopping, runner.failed}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        runner.stop()
        if runner.failed.done():
            stopping.cancel()
            runner.failed.result()
        await self._host.on_close()
