"""The router's calls to Kraken's REST: within the key's own counter, and with one kind of answer.

    ask(request, read) ─► counter ─► KrakenRest ─► read(status, body) ─► the answer, or a RestRefusal

What cannot be sent, or is in doubt, comes back as a refusal like Kraken's own, with what it says of the outcome.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from engine.clock import Clock
from engine.errors import EngineError
from engine.kraken.connection.error_catalog import ErrorKind, Meaning, throttled_until_s
from engine.kraken.connection.retry import Retry
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.pairs import TOKENIZED, RestPairs
from engine.kraken.rest.replies import STATUS_OK, RestRefusal, read_asset_pairs
from engine.kraken.rest.requests import RestRequest
from engine.kraken_rest.call_counter import CallCounter, Urgency, call_cost
from engine.kraken_rest.client import KrakenRest
from engine.net.https import DEADLINE_S, HttpAnswer, InDoubt
from engine.net.lockout import LockedOut
from engine.orders.venue_facts import Outcome
from engine.telemetry import Histogram
from engine.units import NS_PER_S, MonoNs

T = TypeVar("T")

PAIRS_PAUSE_NS_MAX: Final = 10 * NS_PER_S  # orders in doubt wait for the pairs' names

NOT_SENT: Final = Meaning(Outcome.NOT_PLACED, ErrorKind.TRANSPORT, "nothing was sent")
NO_ANSWER: Final = Meaning(Outcome.UNKNOWN, ErrorKind.TRANSPORT, "no answer came, so it is looked up what became of it")
LOCKED_OUT: Final = Meaning(Outcome.NOT_PLACED, ErrorKind.LOCKOUT, "nothing is sent until the lockout is over")

log = structlog.get_logger("rest")


class RestCalls:
    """Calls of the router."""

    def __init__(self, rest: KrakenRest, clock: Clock, latency: Histogram | None = None) -> None:
        self.rest = rest
        self._clock = clock
        self._mono_ns = clock.mono_ns
        self._latency = latency
        self.counter = self._counter_of_before()
        # How REST names pairs, once that is known.
        self.pairs: RestPairs | None = None
        self.calls = 0
        self.failures = 0

    @property
    def locked_out_s(self) -> float:
        """How long no authenticated call may be made; 0 as a rule."""
        return self.rest.lockout.remaining_ns(self._mono_ns()) / NS_PER_S

    def set_tier(self, tier: str) -> None:
        """The account's tier is known."""
        self.counter.tier = tier
        self._keep_counter()

    async def learn_pairs(self) -> RestPairs:
        """How REST names pairs: asked until it is known."""
        retry = Retry(random.random, pause_ns_max=PAIRS_PAUSE_NS_MAX)
        while self.pairs is None:
            answer = await self.ask_pairs()
            if isinstance(answer, RestRefusal):
                retry.failed(answer.meaning.kind, self._mono_ns())
                await asyncio.sleep(min(retry.wait_ns(self._mono_ns()), PAIRS_PAUSE_NS_MAX) / NS_PER_S)
            else:
                self.pairs = answer
        return self.pairs

    async def ask_pairs(self) -> RestRefusal | RestPairs:
        """All pairs, tokenized stocks among them as far as Kraken tells them: others do not wait for those."""
        pairs = await self.ask(rest_requests.asset_pairs(), read_asset_pairs)
        if isinstance(pairs, RestRefusal):
            return pairs
        tokenized = await self.ask(rest_requests.asset_pairs(asset_class=TOKENIZED), read_asset_pairs)
        if isinstance(tokenized, RestRefusal):
            return pairs
        return RestPairs([*pairs.all.values(), *tokenized.all.values()])

    async def ask(
        self,
        request: RestRequest,
        read: Callable[[int, bytes], RestRefusal | T],
        deadline_s: float = DEADLINE_S,
        urgency: Urgency = Urgency.TRUTH,
    ) -> RestRefusal | T:
        """Kraken's answer, read; or why there is none, and what that says of the outcome.

        A call that reads waits for room in the key's counter first, which `deadline_s` does not include.
        """
        cost = call_cost(request.name) if request.is_private and not request.is_mutating else 0
        if cost:
            while wait_ns := self.counter.wait_ns(cost, self._mono_ns(), urgency):
                await asyncio.sleep(wait_ns / NS_PER_S)
            self.counter.charge(cost, self._mono_ns())
            self._keep_counter()
        self.calls += 1
        try:
            answer = await self.rest.call(request, deadline_s=deadline_s, urgency=urgency)
        except EngineError as error:
            self.failures += 1
            log.warning("call failed", call=request.name, reason=str(error))
            kind = NO_ANSWER if isinstance(error, InDoubt) else LOCKED_OUT if isinstance(error, LockedOut) else NOT_SENT
            return RestRefusal(str(error), kind, 0)
        if self._latency is not None:
            self._latency.record(answer.took_ns)
        result = read(answer.status, answer.body)
        if isinstance(result, RestRefusal):
            self.failures += 1
            log.warning("call refused", call=request.name, error=result.error)
        self._learn(cost, answer, result if isinstance(result, RestRefusal) else None)
        return result

    def _learn(self, cost: int, answer: HttpAnswer, refusal: RestRefusal | None) -> None:
        """What an answer says of the key's counter."""
        now = self._mono_ns()
        if answer.retry_after_s:
            self.counter.hold(answer.retry_after_s * NS_PER_S, now)
        if refusal is not None and refusal.meaning.kind is ErrorKind.CALL_LIMIT:
            until_s = throttled_until_s(refusal.error)
            if until_s is not None:
                self.counter.hold(until_s * NS_PER_S - self._clock.wall_ns(), now)
            else:
                self.counter.refused(cost, now)
        elif cost and (refusal is None or refusal.status == STATUS_OK):
            self.counter.accepted(now)
        else:
            return
        self._keep_counter()

    def _counter_of_before(self) -> CallCounter:
        """Where an earlier process of this key has left Kraken's counter."""
        if self.rest.key is None:
            return CallCounter()
        tier, points, age_ns = self.rest.key.calls_before(self._clock)
        now = self._mono_ns()
        return CallCounter(tier, points=points, now=MonoNs(now - age_ns))

    def _keep_counter(self) -> None:
        if self.rest.key is not None:
            level = self.counter.level(self._mono_ns())
            self.rest.key.note_calls(level.tier, level.points, self._clock)
