"""The router's calls to Kraken's REST: within the key's own counter, and with one kind of answer.

    ask(request, read) ─► counter ─► KrakenRest ─► read(status, body) ─► the answer, or a RestRefusal

What cannot be sent, or is in doubt, comes back as a refusal like Kraken's own, with what it says of the outcome.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from engine.actors.kraken_rest import KrakenRest
from engine.clock import Clock
from engine.errors import EngineError
from engine.kraken import rest_requests
from engine.kraken.error_catalog import ErrorKind, Meaning
from engine.kraken.rest_answers import RestRefusal, read_asset_pairs
from engine.kraken.rest_pairs import TOKENIZED, RestPairs
from engine.kraken.rest_requests import RestRequest
from engine.net.https import DEADLINE_S, InDoubt
from engine.net.lockout import LockedOut
from engine.orders.venue_facts import Outcome
from engine.telemetry import Histogram
from engine.units import NS_PER_S, MonoNs

T = TypeVar("T")

HISTORY_CALLS: Final = frozenset({"ClosedOrders", "TradesHistory", "QueryTrades", "Ledgers", "QueryLedgers"})
HISTORY_COST: Final = 4  # the documents of 2026; older ones, and Kraken's own programs, say 2
COUNTER_MAX: Final = {"starter": 15.0, "intermediate": 20.0, "pro": 20.0}
COUNTER_DECAY_PER_S: Final = {"starter": 0.33, "intermediate": 0.5, "pro": 1.0}

PAIRS_RETRY_S: Final = 0.5

NOT_SENT: Final = Meaning(Outcome.NOT_PLACED, ErrorKind.TRANSPORT, "nothing was sent")
NO_ANSWER: Final = Meaning(Outcome.UNKNOWN, ErrorKind.TRANSPORT, "no answer came, so it is looked up what became of it")
LOCKED_OUT: Final = Meaning(Outcome.NOT_PLACED, ErrorKind.LOCKOUT, "nothing is sent until the lockout is over")

log = structlog.get_logger("rest")


class CallCounter:
    """The key's counter at Kraken, as we believe it to stand. What changes orders is counted elsewhere."""

    def __init__(self, tier: str = "starter") -> None:
        self.tier = tier
        self._level = 0.0
        self._as_of = MonoNs(0)

    def wait_s(self, cost: int, now: MonoNs) -> float:
        """How long until a call of this cost fits."""
        excess = self._level_at(now) + cost - COUNTER_MAX[self.tier]
        return max(0.0, excess / COUNTER_DECAY_PER_S[self.tier])

    def charge(self, cost: int, now: MonoNs) -> None:
        """A call leaves."""
        self._level, self._as_of = self._level_at(now) + cost, now

    def exceeded(self, now: MonoNs) -> None:
        """Kraken says that it is full."""
        self._level, self._as_of = max(self._level_at(now), COUNTER_MAX[self.tier]), now

    def _level_at(self, now: MonoNs) -> float:
        return max(0.0, self._level - COUNTER_DECAY_PER_S[self.tier] * (now - self._as_of) / NS_PER_S)


class RestDesk:
    """Calls of the router."""

    def __init__(self, rest: KrakenRest, clock: Clock, latency: Histogram | None = None) -> None:
        self.rest = rest
        self._mono_ns = clock.mono_ns
        self._latency = latency
        self.counter = CallCounter()
        # How REST names pairs, once that is known.
        self.pairs: RestPairs | None = None
        self.calls = 0
        self.failures = 0

    @property
    def locked_out_s(self) -> float:
        """How long no authenticated call may be made; 0 as a rule."""
        return self.rest.lockout.remaining_ns(self._mono_ns()) / NS_PER_S

    def set_tier(self, tier: str) -> None:
        """Kraken has told the account's tier."""
        self.counter.tier = tier

    async def learn_pairs(self) -> RestPairs:
        """How REST names pairs: asked until it is known."""
        while self.pairs is None:
            answer = await self.ask_pairs()
            if isinstance(answer, RestRefusal):
                await asyncio.sleep(PAIRS_RETRY_S)
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
        self, request: RestRequest, read: Callable[[int, bytes], RestRefusal | T], deadline_s: float = DEADLINE_S
    ) -> RestRefusal | T:
        """Kraken's answer, read; or why there is none, and what that says of the outcome."""
        if request.is_private and not request.is_mutating:
            cost = HISTORY_COST if request.name in HISTORY_CALLS else 1
            if wait_s := self.counter.wait_s(cost, self._mono_ns()):
                await asyncio.sleep(wait_s)
            self.counter.charge(cost, self._mono_ns())
        self.calls += 1
        try:
            answer = await self.rest.call(request, deadline_s=deadline_s)
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
            if result.meaning.kind is ErrorKind.CALL_LIMIT:
                self.counter.exceeded(self._mono_ns())
        return result
