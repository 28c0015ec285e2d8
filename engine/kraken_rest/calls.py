"""Carries the call queue out over HTTPS: sends the calls that are due, and hands the
answers back.

CallQueue ─► take_due ─► KrakenRest.call ─► answered or failed ─► CallQueue        ask: the same, to be awaited
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from engine.clock import Clock
from engine.errors import EngineError
from engine.instant import Instant
from engine.kraken.rest.pairs import RestPairs
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.requests import RestRequest
from engine.kraken_rest.call_counter import CallCounter, Urgency
from engine.kraken_rest.call_queue import DEADLINE_S, CallQueue, RestCall
from engine.kraken_rest.client import KrakenRest
from engine.kraken_rest.pair_names import ask_pairs
from engine.net.https import InDoubt
from engine.net.key_lock import KeyLock
from engine.net.lockout import Lockout
from engine.telemetry import Histogram
from engine.units import NS_PER_S, MonoNs

T = TypeVar("T")


class RestCalls:
    """The calls of one process. Use it on one event loop."""

    def __init__(
        self, rest: KrakenRest, clock: Clock, now: Instant | None = None, latency: Histogram | None = None
    ) -> None:
        """`now` is set from `clock` before each answer is handed on: pass the instant that
        the callers work with.
        """
        self.rest = rest
        self._clock = clock
        self._now = now or Instant()
        self._look_at_clock()
        self.queue = _queue_of(rest.key, clock, self._now)
        self.queue.on_put = self._wake
        # Called after each answer has been passed to its caller.
        self.on_answered: Callable[[], None] = _tell_nobody
        self._latency = latency
        # Carries an exception of an `answered` callback: a fault of ours, after which
        # nothing may go on.
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sending: set[asyncio.Task[None]] = set()
        self._is_woken = False
        self._timer: asyncio.TimerHandle | None = None

    async def ask(
        self,
        request: RestRequest,
        read: Callable[[int, bytes], RestRefusal | T],
        deadline_s: float = DEADLINE_S,
        urgency: Urgency = Urgency.TRUTH,
    ) -> RestRefusal | T:
        """Kraken's answer, decoded, or the refusal with the outcome that it proves."""
        answer: asyncio.Future[RestRefusal | T] = asyncio.get_running_loop().create_future()
        call = RestCall(request, read, _into(answer), deadline_s=deadline_s, urgency=urgency)
        self._look_at_clock()
        self.queue.put(call)
        try:
            return await answer
        except asyncio.CancelledError:
            self.queue.forget(call)
            raise

    async def ask_pairs(self) -> RestRefusal | RestPairs:
        """All pairs, with the names that REST has for them."""
        answer: asyncio.Future[RestRefusal | RestPairs] = asyncio.get_running_loop().create_future()
        self._look_at_clock()
        ask_pairs(self.queue, _into(answer))
        return await answer

    async def close(self, deadline_s: float) -> None:
        """Wait up to `deadline_s` seconds for calls under way, then abandon the rest."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=deadline_s)
        if self._timer is not None:
            self._timer.cancel()
        for task in self._sending:
            task.cancel()

    def _look_at_clock(self) -> None:
        self._now.set(self._clock.mono_ns(), self._clock.wall_ns())

    def _wake(self) -> None:
        """Send what is due in the next turn of the event loop. Not at once: the caller may
        be in the middle of an update.
        """
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._send_due)

    def _send_due(self) -> None:
        self._is_woken = False
        self._look_at_clock()
        while (call := self.queue.take_due()) is not None:
            task = asyncio.get_running_loop().create_task(self._send(call))
            self._sending.add(task)
            task.add_done_callback(self._sent)
        if self._timer is not None:
            self._timer.cancel()
        due = self.queue.next_due()
        wait_s = None if due is None else max(0.0, (due - self._clock.mono_ns()) / NS_PER_S)
        self._timer = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, self._wake)

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def _send(self, call: RestCall) -> None:
        try:
            answer = await self.rest.call(call.request, deadline_s=call.left_s(self._clock.mono_ns()))
        except EngineError as error:
            self._look_at_clock()
            self.queue.failed(call, str(error), is_in_doubt=isinstance(error, InDoubt))
            self.on_answered()
            return
        if self._latency is not None:
            self._latency.record(answer.took_ns)
        self._look_at_clock()
        self.queue.answered(call, answer.status, answer.body, answer.retry_after_s, answer.sent_at)
        self.on_answered()


class _KeyFile:
    """The queue's access to the key's file."""

    def __init__(self, key: KeyLock, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def note_calls(self, tier: str, points: float) -> None:
        self._key.note_calls(tier, points, self._clock)

    def note_lockout(self) -> None:
        self._key.note_lockout(self._clock)

    def note_nonce_accepted(self) -> None:
        self._key.note_accepted()

    def leap(self) -> None:
        self._key.leap()


def _queue_of(key: KeyLock | None, clock: Clock, now: Instant) -> CallQueue:
    """A queue that continues with the counter and lockout that an earlier process of this
    key noted.
    """
    if key is None:
        return CallQueue(now)
    tier, points, age_ns = key.calls_before(clock)
    counter = CallCounter(tier, points=points, now=MonoNs(now.mono - age_ns))
    left_ns = key.lockout_left_ns(clock)
    lockout = Lockout(now.mono + left_ns if left_ns > 0 else 0)
    return CallQueue(now, counter=counter, lockout=lockout, notes=_KeyFile(key, clock))


def _tell_nobody() -> None:
    """The callback without a listener; does nothing."""


def _into(answer: "asyncio.Future[Any]") -> Callable[[Any], None]:
    def take(result: Any) -> None:
        if not answer.done():
            answer.set_result(result)

    return take
