"""When a public call of REST may be made, and what the last ones told: pacing, breaker,
answers kept for a while. Pure; time is passed in.

    known(request) ─► an answer young enough, else None        hits and misses are counted
    may_call() ─► begin() ─► answered() or failed()             one call of a request at a time

Kraken counts public calls by IP address, about one a second; the processes of an engine
share that. A call that follows another waits for the spacing, and beyond a burst of
CALLS_BURST for the budget.
"""

from collections import OrderedDict
from typing import Any, Final, NamedTuple

from engine.kraken.connection.breaker import Breaker
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.requests import RestRequest
from engine.orders.refusal import ErrorKind
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

CALLS_BURST: Final = 3  # so that books, tickers and trades are asked for at once when the socket is lost
FOR_RENEWALS: Final = 1  # calls that renewing an answer leaves, for the first one after another loss
FOR_CANDLES: Final = CALLS_BURST - 1  # and calls that candles leave
SPACING_NS: Final = 100 * NS_PER_MS
ANSWERS_KEPT_MAX: Final = 256
FAILURES_MAX: Final = 5  # in a row, then the breaker opens
OPEN_NS: Final = 10 * NS_PER_S
LIMIT_PAUSE_NS: Final = 5 * NS_PER_S  # after Kraken's "too many requests"
NOT_OURS: Final = frozenset({ErrorKind.SERVICE, ErrorKind.TRANSPORT, ErrorKind.CALL_LIMIT, ErrorKind.LOCKOUT})
"""Refusals that say something of the service; any other is about the request itself."""
REMEMBERED_CALLS: Final = 20  # of whose failures the quality of REST is made


class Answer(NamedTuple):
    """An answer of REST, and when it arrived."""

    reply: Any
    received_at: MonoNs


class PublicCalls:
    """The public calls of one process."""

    def __init__(self, *, calls_per_s: float, cache_ns: int) -> None:
        """`calls_per_s` is this process's share; answers are kept for `cache_ns`."""
        self._interval_ns = int(NS_PER_S / calls_per_s)
        self._cache_ns = cache_ns
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._under_way: set[str] = set()
        self._breaker = Breaker(FAILURES_MAX, OPEN_NS)
        # No call before this: the spacing, or a pause that Kraken asked for.
        self._next_at = MonoNs(0)
        # When the budget of all calls so far is earned; ahead of now by the burst at most.
        self._earned_at = MonoNs(0)
        # Whether the last calls failed, newest last.
        self._failures: list[bool] = []
        # Counted since the process started; a hit is an answer that needed no call.
        self.calls = 0
        self.failures = 0
        self.hits = 0
        # Kraken's words about the last failure; empty after a success.
        self.last_error = ""

    @property
    def failed_percent(self) -> int:
        """Of the last calls, how many failed; 0 before the first."""
        return 100 * sum(self._failures) // len(self._failures) if self._failures else 0

    def known(self, request: RestRequest, now: MonoNs, age_ns_max: int) -> Answer | None:
        """A kept answer that is no older, counted as a hit; None when it must be asked for."""
        answer = self._answers.get(request.target)
        if answer is not None and now - answer.received_at <= min(age_ns_max, self._cache_ns):
            self._answers.move_to_end(request.target)
            self.hits += 1
            return answer
        return None

    def is_under_way(self, request: RestRequest) -> bool:
        """Whether this very request is waiting for its answer."""
        return request.target in self._under_way

    def may_call(self, now: MonoNs, *, leaves: int = 0) -> bool:
        """Whether a call may be made now that leaves so many of the burst to others. True
        while the breaker is half-open makes the next call its probe.
        """
        burst = CALLS_BURST - 1 - leaves
        if now < self._next_at or self._earned_at > now + burst * self._interval_ns:
            return False
        return self._breaker.opened_at is None or self._breaker.allows(now)

    def begin(self, request: RestRequest, now: MonoNs) -> None:
        """Note that the request is being sent."""
        self.calls += 1
        self._under_way.add(request.target)
        self._next_at = MonoNs(max(self._next_at, now + SPACING_NS))
        self._earned_at = MonoNs(max(self._earned_at, now) + self._interval_ns)

    def answered(self, request: RestRequest, reply: Any, now: MonoNs, retry_after_s: int = 0) -> None:
        """Take the decoded reply, or Kraken's refusal."""
        self._under_way.discard(request.target)
        if retry_after_s:
            self._next_at = MonoNs(max(self._next_at, now + retry_after_s * NS_PER_S))
        if isinstance(reply, RestRefusal):
            if reply.meaning.kind in (ErrorKind.CALL_LIMIT, ErrorKind.LOCKOUT):
                self._next_at = MonoNs(max(self._next_at, now + LIMIT_PAUSE_NS))
            self._note(reply.error, now, is_ours=reply.meaning.kind not in NOT_OURS)
            return
        self._note("", now)
        self._answers[request.target] = Answer(reply, now)
        self._answers.move_to_end(request.target)
        if len(self._answers) > ANSWERS_KEPT_MAX:
            self._answers.popitem(last=False)

    def failed(self, request: RestRequest, error: str, now: MonoNs) -> None:
        """Note that no answer came."""
        self._under_way.discard(request.target)
        self._note(error, now)

    def _note(self, error: str, now: MonoNs, *, is_ours: bool = False) -> None:
        self.last_error = error
        self._failures = [*self._failures, bool(error)][-REMEMBERED_CALLS:]
        self.failures += bool(error)
        if error and not is_ours:
            self._breaker.failed(now)
        else:
            self._breaker.succeeded()
