"""Asks Kraken's REST what became of orders: `OrderQuestions` says what, this asks.

    next_truth ─┐
                ├─► pauses after failures ─► the key's counter ─► REST ─► the answer is taken
    next_look ──┘

The two are asked for side by side, so that what trading waits for never waits behind what only one pair waits for.
While the counter has no room for a question, the next one is chosen anew: a cheaper one may have come.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from engine.clock import Clock
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS, Retry
from engine.kraken.rest.pairs import RestPairs
from engine.kraken.rest.replies import RestRefusal
from engine.kraken_rest.call_counter import call_cost
from engine.kraken_rest.calls import RestCalls
from engine.order_router.doubt.questions import OrderQuestions, Question
from engine.orders.blotter import Blotter
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

LOOK_DEADLINE_S: Final = 2.0
RETRY_NS: Final = 300 * NS_PER_MS  # after a first call that failed
RETRY_NS_MAX: Final = 5 * NS_PER_S  # a strategy waits for each answer; the key's counter has pauses of its own
CHOSEN_ANEW_S: Final = 1.0  # while a question has to wait: a cheaper one may have come


class OrderResolver:
    """The router's eyes at REST. All of it runs in the router's event loop."""

    def __init__(self, blotter: Blotter, rest: RestCalls, clock: Clock, *, lag_ns_max: int) -> None:
        """`lag_ns_max` is how far REST may ever lag; at Kraken, fills were seen a minute ahead of it."""
        self.questions = OrderQuestions(blotter, clock, lag_ns_max=lag_ns_max)
        self._rest = rest
        self._clock = clock
        self._truth_retry, self._look_retry = (
            Retry(random.random, first_ns=RETRY_NS, pause_ns_max=RETRY_NS_MAX) for _ in range(2)
        )
        self._truth_changed, self._look_changed = asyncio.Event(), asyncio.Event()

    def look_up(self, key: str, deadline: WallNs) -> None:
        """Find out what became of an order in doubt, which Kraken does not begin with after `deadline`."""
        self.questions.look_up(key, deadline)
        self._look_changed.set()

    def settle(self, key: str) -> None:
        """Find out how an order stands of which a change, a cancel or a fill is in doubt."""
        self.questions.settle(key)
        self._look_changed.set()

    def reconcile(self, keys: Sequence[str]) -> None:
        """Find out what became of orders that a snapshot did not list."""
        self.questions.reconcile(keys)
        self._truth_changed.set()

    def anew(self) -> None:
        """Something has changed, such as the key's permissions: ask what was refused before."""
        for retry, changed in ((self._truth_retry, self._truth_changed), (self._look_retry, self._look_changed)):
            retry.anew()
            changed.set()

    async def run(self) -> None:
        """Until it is canceled: pairs first, then whatever is due."""
        pairs = await self._rest.learn_pairs()
        async with asyncio.TaskGroup() as group:
            group.create_task(
                self._ask_all(self.questions.next_truth, _never, self._truth_retry, self._truth_changed, pairs)
            )
            group.create_task(
                self._ask_all(
                    self.questions.next_look, self.questions.next_look_at, self._look_retry, self._look_changed, pairs
                )
            )

    async def _ask_all(
        self,
        next_question: Callable[[], Question | None],
        next_at: Callable[[], MonoNs | None],
        retry: Retry,
        changed: asyncio.Event,
        pairs: RestPairs,
    ) -> None:
        while True:
            changed.clear()
            question = next_question()
            if question is None:
                at = next_at()
                wait_s = None if at is None else max(0.001, (at - self._clock.mono_ns()) / NS_PER_S)
            elif (wait_ns := self._wait_ns(question, retry)) > 0:
                wait_s = min(wait_ns / NS_PER_S, CHOSEN_ANEW_S)
            else:
                await self._ask(question, retry, pairs)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await changed.wait()

    def _wait_ns(self, question: Question, retry: Retry) -> int:
        """How long this must not be asked: after a failure, or because the key's counter has no room for it."""
        now = self._clock.mono_ns()
        room_ns = self._rest.counter.wait_ns(call_cost(question.request.name), now, question.urgency)
        return max(retry.wait_ns(now), room_ns)

    async def _ask(self, question: Question, retry: Retry, pairs: RestPairs) -> None:
        answer = await self._rest.ask(
            question.request,
            lambda status, body: question.read(status, body, pairs),
            LOOK_DEADLINE_S,
            question.urgency,
        )
        if isinstance(answer, RestRefusal):
            left_ns = int(self._rest.locked_out_s * NS_PER_S)
            retry.failed(answer.meaning.kind, self._clock.mono_ns(), left_ns or LOCKOUT_PAUSE_NS)
        else:
            retry.succeeded()
            question.take(answer)


def _never() -> None:
    """Nothing comes with time alone."""
