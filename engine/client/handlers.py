"""A program's handlers: any number per event, plain or async, each isolated from the
others.

    what happened ─► Registrations.tell ─► plain: called at once
                                  └─► async: its own queue, one call after the other

What a handler raises is counted, logged and told to the handlers of `error`; one that
raises too often is not called any more. An async handler is canceled when it takes longer
than the time limit. A plain one that blocks cannot be; it is named in log and status while
it does. At the engine's end, async handlers of orders and fills are told all that came,
within the same limit; what else waits is dropped. An engine that ends by itself, or by
`engine stop`, tells it to the handlers of `error`.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, Final

import structlog

from engine.clock import Clock
from engine.errors import CallError
from engine.strategy.events import ErrorReport
from engine.strategy.option_rules import did_you_mean
from engine.strategy_host.hosted_strategy import shown
from engine.strategy_host.loading import free_name
from engine.units import NS_PER_S, MonoNs

OF_PAIRS: Final = ("book", "rest_book", "ticker", "trade", "candle", "feed_state", "pair", "order", "fill")
EVENTS: Final = (*OF_PAIRS, "balance", "trading", "notice", "connection", "error")
WAITING_MAX: Final = 1_000  # events that wait for an async handler; then the oldest is dropped, and counted
MONEY_WAITING_MAX: Final = 100_000  # the same, of orders and fills
REMOVED: Final = "removed handlers"
MONEY: Final = ("order", "fill")
CANCEL_S: Final = 1.0  # for calls that are canceled at the end to end
MINUTE_NS: Final = 60 * NS_PER_S

Function = Callable[[Any], object]

log = structlog.get_logger("program")


class Registration:
    """One function that a program registered for one event."""

    def __init__(self, event: str, function: Function, symbol: str | None, name: str) -> None:
        self.event = event
        self.function = function
        # Also of an object whose call is async: calling it begins nothing.
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - not whether it can be called, but how
        )
        self.symbol = symbol
        self.name = name
        self.calls = 0
        self.errors = 0
        self.timeouts = 0
        self.dropped = 0
        # Raised too often, or was removed: not called any more.
        self.is_halted = False
        self.error_times: deque[MonoNs] = deque()
        # The events that wait for an async handler, and the task that delivers them.
        self.waiting: deque[Any] = deque()
        self.task: asyncio.Task[None] | None = None
        # When its present call began; 0 between two.
        self.began_at = MonoNs(0)

    @property
    def is_served(self) -> bool:
        """Whether a task is telling it what waits."""
        return self.task is not None and not self.task.done()

    def conduct(self, now: MonoNs) -> dict[str, Any]:
        """Its counters, for the status."""
        return {
            "event": self.event,
            "symbol": self.symbol,
            "calls": self.calls,
            "errors": self.errors,
            "timeouts": self.timeouts,
            "dropped": self.dropped,
            "waiting": len(self.waiting),
            "runs_for_s": round((now - self.began_at) / NS_PER_S, 1) if self.began_at else 0.0,
            "halted": self.is_halted,
        }


class Registrations:
    """All handlers of a program."""

    def __init__(self, clock: Clock, *, timeout_s: float, errors_per_minute_max: int) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._errors_max = errors_per_minute_max
        self._handlers: dict[str, list[Registration]] = {event: [] for event in EVENTS}
        # The counts of those that were removed; and those of them whose last call runs.
        self._removed = Registration("", print, None, REMOVED)
        self._leaving: list[Registration] = []
        # True when the engine is about to end: async handlers receive only orders and
        # fills.
        self._is_ending = False

    def add(self, event: str, function: Function, symbol: str | None) -> None:
        """Register a function; CallError for an event that there is not, or one without
        pairs."""
        if event not in EVENTS:
            raise CallError(f"{event!r} is no event{did_you_mean(event, EVENTS)}; there are {', '.join(EVENTS)}")
        if symbol is not None and event not in OF_PAIRS:
            raise CallError(f"{event} is no event of a pair; leave out symbol")
        if not callable(function):
            raise CallError(f"a handler of {event} is called with what happened; {function!r} cannot be called")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise CallError(
                f"a handler of {event} is called, and nothing asks what {function!r} would yield: leave yield out"
            )
        registration = Registration(event, function, symbol, self._free_name(event, function))
        # A new list: an event that is being delivered now does not reach the new handler.
        self._handlers[event] = [*self._handlers[event], registration]

    def remove(self, event: str, function: Function) -> bool:
        """Remove a function; False if it was not registered for this event."""
        known = self._handlers[event] if event in EVENTS else []
        removed = [handler for handler in known if handler.function == function]
        if removed:
            self._handlers[event] = [handler for handler in known if handler not in removed]
        for handler in removed:
            handler.is_halted = True
            handler.waiting.clear()
        self._leaving += removed
        self._count_removed()
        return bool(removed)

    def tell(self, event: str, what: Any, symbol: str | None = None) -> None:
        """Call every handler of an event; a handler of one pair only for that pair's
        events.
        """
        for handler in self._handlers[event]:
            if not handler.is_halted and (handler.symbol is None or handler.symbol == symbol):
                self._tell(handler, what)

    def conduct(self) -> dict[str, dict[str, Any]]:
        """The counters of all handlers, by name; handlers that were removed are counted
        together.
        """
        now = self._clock.mono_ns()
        self._count_removed()
        handlers = [handler for known in self._handlers.values() for handler in known]
        if self._removed.calls:
            handlers.append(self._removed)
        return {handler.name: handler.conduct(now) for handler in handlers}

    def begin_end(self, closers: Collection[asyncio.Task[Any] | None] = ()) -> None:
        """Prepare for the engine's end: drop and count waiting events and cancel running
        calls, except those of orders and fills.

        `closers` are tasks that wait for the end themselves; they are left alone.
        """
        self._is_ending = True
        for handler in self._all():
            if handler.event not in MONEY:
                self._stop(handler, closers)

    async def end(self, closers: Collection[asyncio.Task[Any] | None] = ()) -> None:
        """Wait until the handlers of orders and fills have received all waiting events, no
        longer than one call may take. Drop and count the rest, and cancel calls that have
        not ended.
        """
        tasks = {handler.task for handler in self._all() if handler.task is not None and handler.is_served}
        tasks -= set(closers)
        if tasks:
            await asyncio.wait(tasks, timeout=self._timeout_s)
        for handler in self._all():
            if handler.waiting:
                log.warning("handler was not told all", handler=handler.name, dropped=len(handler.waiting))
            self._stop(handler, closers)
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)

    def _all(self) -> Iterator[Registration]:
        for handlers in self._handlers.values():
            yield from handlers
        yield from self._leaving

    def _free_name(self, event: str, function: Function) -> str:
        """A name that no other handler has. Two lambdas of one function would otherwise
        share one.
        """
        name = f"{event} handler {getattr(function, '__qualname__', None) or repr(function)}"
        return free_name(name, {handler.name for handler in self._handlers[event]})

    def _count_removed(self) -> None:
        """Add the counters of removed handlers whose last call has ended."""
        leaving, self._leaving = self._leaving, []
        for handler in leaving:
            if handler.is_served or handler.began_at:
                self._leaving.append(handler)
                continue
            for count in ("calls", "errors", "timeouts", "dropped"):
                setattr(self._removed, count, getattr(self._removed, count) + getattr(handler, count))

    def _stop(self, handler: Registration, closers: Collection[asyncio.Task[Any] | None]) -> None:
        handler.dropped += len(handler.waiting)
        handler.waiting.clear()
        if handler.task is not None and handler.task not in closers:
            handler.task.cancel()

    def _tell(self, handler: Registration, what: Any) -> None:
        if handler.is_served or handler.is_async:
            self._queue(handler, what)
            return
        handler.calls += 1
        handler.began_at = self._clock.mono_ns()
        try:
            answer = handler.function(what)
        except BaseException as error:  # a canceled job's result, sys.exit: it is this handler's mistake alone
            self._failed(handler, error)
            return
        finally:
            handler.began_at = MonoNs(0)
        if inspect.isawaitable(answer):
            handler.task = asyncio.ensure_future(self._serve(handler, answer))

    def _queue(self, handler: Registration, what: Any) -> None:
        if self._is_ending and handler.event not in MONEY:
            handler.dropped += 1
            return
        most = MONEY_WAITING_MAX if handler.event in MONEY else WAITING_MAX
        if len(handler.waiting) >= most:
            handler.waiting.popleft()
            handler.dropped += 1
            if handler.dropped & (handler.dropped - 1) == 0:  # the first, then ever more rarely
                log.warning("handler is too slow", handler=handler.name, dropped=handler.dropped)
                self._say(handler, f"it is too slow: {handler.dropped} events were dropped, the oldest first")
        handler.waiting.append(what)
        if not handler.is_served:
            handler.task = asyncio.ensure_future(self._serve(handler, None))

    async def _serve(self, handler: Registration, answer: Awaitable[object] | None) -> None:
        """Finish a call that has begun, then make the waiting ones."""
        handler.task = asyncio.current_task()  # an eager task runs before its creator knows it
        while answer is not None or handler.waiting:
            await self._call(handler, answer)
            answer = None

    async def _call(self, handler: Registration, answer: Awaitable[object] | None) -> None:
        handler.began_at = self._clock.mono_ns()
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                if answer is None:
                    handler.calls += 1
                    answer = handler.function(handler.waiting.popleft())  # type: ignore[assignment]
                if inspect.isawaitable(answer):
                    await answer
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, GeneratorExit) or (
                isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
            ):
                raise  # the task itself is canceled, not what the handler waited for
            if isinstance(error, TimeoutError) and limit.expired():
                handler.timeouts += 1
                self._failed(handler, TimeoutError(f"it had not ended after {self._timeout_s:g} s and was canceled"))
            else:
                self._failed(handler, error)
        finally:
            handler.began_at = MonoNs(0)

    def _failed(self, handler: Registration, error: BaseException) -> None:
        handler.errors += 1
        now = self._clock.mono_ns()
        handler.error_times.append(now)
        while now - handler.error_times[0] > MINUTE_NS:
            handler.error_times.popleft()
        text = f"it raised {shown(error)}"
        log.error("handler raised", handler=handler.name, error=shown(error), exc_info=error)
        if len(handler.error_times) > self._errors_max:
            handler.is_halted = True
            handler.waiting.clear()
            text += f", too often for one minute ({len(handler.error_times)} times), and is not called any more"
            log.error("handler halted", handler=handler.name, errors_per_minute=self._errors_max)
        self._say(handler, text)

    def _say(self, handler: Registration, text: str) -> None:
        if handler.event != "error":  # what an error handler does wrong is in the log alone
            self.tell("error", ErrorReport(handler.name, text, self._clock.wall_ns()))
