"""The strategy host on the event loop of the program that opened the engine.

The program's own code and its strategies share the loop's thread: an order is sent where it
is asked for, without a hand-over, and whatever blocks the loop blocks all of them. The
supervisor's watch looks at that from a thread of its own.
"""

import asyncio
import os
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future

from engine.clock import Clock
from engine.errors import StrategyError
from engine.processes.runner import LoopRunner
from engine.processes.stack_request import allow_stack_requests
from engine.ring import Doorbell
from engine.strategy_host.host import StrategyHost


class LoopHost:
    """Runs a StrategyHost on the running loop from `start` to `stop`; the same calls as
    `HostThread`."""

    def __init__(self, host: StrategyHost, doorbells: Sequence[Doorbell], clock: Clock, *, spin: bool) -> None:
        self._host = host
        self._doorbells = doorbells
        self._clock = clock
        self._spin = spin
        self._runner: LoopRunner | None = None
        self._starting: asyncio.Future[None] | None = None
        # Done when the host has stopped, or failed with what it raised.
        self.ended: Future[None] = Future()
        self.thread_id = 0

    def start(self) -> "asyncio.Future[None]":
        """Start every strategy. The future fails with StrategyError if one of them fails."""
        self.thread_id = threading.get_ident()
        allow_stack_requests(self._host.counters)
        forked = weakref.WeakMethod(self._forked)  # the hook outlives every engine of the program
        os.register_at_fork(after_in_child=lambda: (it := forked()) and it())
        self._starting = asyncio.ensure_future(self._start())
        return self._starting

    async def stop(self, deadline_s: float) -> bool:
        """Let the strategies take the remaining records and stop. False if one has not
        stopped after `deadline_s` seconds.
        """
        if self._starting is None or self.ended.done():
            return True
        if not self._starting.done():
            self._starting.cancel()
        await asyncio.wait({self._starting})
        if self._runner is not None:
            self._runner.stop()
        closing = asyncio.ensure_future(self._host.on_close())
        done, _ = await asyncio.wait({closing}, timeout=deadline_s)
        if not done:
            closing.cancel()
            return False
        if not self.ended.done():
            self.ended.set_result(None)
        closing.result()
        return True

    async def _start(self) -> None:
        await self._host.on_start()
        self._runner = LoopRunner(self._host, self._doorbells, self._clock, spin=self._spin)
        self._runner.failed.add_done_callback(self._failed)
        self._runner.start()

    def _failed(self, failed: "asyncio.Future[None]") -> None:
        if not failed.cancelled() and not self.ended.done():
            error = failed.exception()
            self.ended.set_exception(error or StrategyError("the strategy host has ended"))

    def _forked(self) -> None:
        for strategy in self._host.strategies:
            strategy.forked()
