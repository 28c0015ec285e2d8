"""Calls of one key to Kraken's REST: which goes next, and what an answer means for the
others. Pure.

    put ─► room in the key's counter ─► turn: one private call at a time, the most urgent first ─► take_due
    answered, failed ─► lockout, counter, nonce refused once ─► RestCall.answered(the answer, or a RestRefusal)

Private calls of a key go one after the other: on parallel connections a later nonce may
arrive first, and Kraken then refuses the earlier. A call that cannot be sent, or whose
outcome is in doubt, ends with a refusal of our own that says what is known of the outcome.
A call in doubt is never repeated.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog

from engine.errors import EngineError
from engine.instant import Instant
from engine.kraken.connection.error_catalog import Meaning, throttled_until_s
from engine.kraken.connection.kraken_time import KrakenTime
from engine.kraken.rest.replies import STATUS_OK, RestRefusal, refusal_or_result
from engine.kraken.rest.requests import RestRequest
from engine.kraken_rest.call_counter import CallCounter, Urgency, call_cost
from engine.net.lockout import Lockout
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Outcome
from engine.units import NS_PER_S, MonoNs, WallNs

DEADLINE_S: Final = 10.0  # from a call's turn in the counter to the last byte of its answer
DATE_MARGIN_NS: Final = NS_PER_S  # an answer is dated by Kraken's front end, whose clock may be a little ahead
TRIES_MAX: Final = 2  # of a call that changes nothing, when its nonce was refused

NOT_SENT: Final = Meaning(Outcome.NOT_PLACED, ErrorKind.TRANSPORT, "nothing was sent", is_krakens=False)
NO_ANSWER: Final = Meaning(
    Outcome.UNKNOWN, ErrorKind.TRANSPORT, "no answer came, so it is looked up what became of it", is_krakens=False
)
NONCES_REFUSED_MAX: Final = 3  # in a row, before nonces leap
# Refusals that come before a look at the nonce, or without one.
SAY_NOTHING_OF_NONCES: Final = frozenset((
    ErrorKind.AUTH, ErrorKind.LOCKOUT, ErrorKind.CALL_LIMIT, ErrorKind.SERVICE, ErrorKind.TRANSPORT, ErrorKind.UNKNOWN,
))  # fmt: skip
LOCKED_OUT: Final = Meaning(
    Outcome.NOT_PLACED, ErrorKind.LOCKOUT, "nothing is sent until the lockout is over", is_krakens=False
)

log = structlog.get_logger("rest")

Read = Callable[[int, bytes], Any]
"""Decodes (HTTP status, body) into the answer, or a RestRefusal."""


class RestCall:
    """One call. Its `answered` is called exactly once, unless the call is forgotten."""

    __slots__ = ("answered", "cost", "deadline_s", "give_up_at", "read", "request", "tries_left", "urgency")

    def __init__(
        self,
        request: RestRequest,
        read: Read,
        answered: Callable[[Any], None],
        *,
        deadline_s: float = DEADLINE_S,
        urgency: Urgency = Urgency.TRUTH,
    ) -> None:
        """`answered` is called with what `read` makes of the answer, or with a RestRefusal.

        A call that reads first waits for room in the key's counter; `deadline_s` does not
        include that.
        """
        self.request = request
        self.read = read
        self.answered = answered
        self.deadline_s = deadline_s
        self.urgency = urgency
        # Points in the key's counter; calls that change orders have another counter.
        self.cost = call_cost(request.name) if request.is_private and not request.is_mutating else 0
        # None until there is room in the counter.
        self.give_up_at: MonoNs | None = None
        self.tries_left = 1 if request.is_mutating else TRIES_MAX

    def left_s(self, now: MonoNs) -> float:
        """Seconds left until its deadline."""
        return self.deadline_s if self.give_up_at is None else max(0.0, (self.give_up_at - now) / NS_PER_S)


class KeyNotes(Protocol):
    """The key's file: stores what the next process of this key must know, the counter and a
    lockout, and makes the nonces.
    """

    def note_calls(self, tier: str, points: float) -> None: ...

    def note_lockout(self) -> None: ...

    def note_nonce_accepted(self) -> None: ...

    def leap(self) -> None:
        """Make nonces that are further ahead."""


class CallQueue:
    """All calls of one key, and the public calls of its process."""

    def __init__(
        self, now: Instant, *, counter: CallCounter | None = None, lockout: Lockout | None = None,
        notes: KeyNotes | None = None,
    ) -> None:  # fmt: skip
        self._now = now
        self.counter = counter or CallCounter()
        self.lockout = lockout or Lockout()
        self._notes = notes
        # By the dates of the answers, and by what else tells it.
        self.kraken_time = KrakenTime(now)
        # Called when there is a call to take.
        self.on_put: Callable[[], None] = _nothing
        self._public: deque[RestCall] = deque()
        # Private calls, the most urgent first, then first come first served.
        self._waiting: list[RestCall] = []
        # The private call that is under way, and whether it must be sent (again).
        self._turn: RestCall | None = None
        self._is_turn_due = False
        # Nonces that Kraken refused, one after the other.
        self._nonces_refused = 0
        self.calls = 0
        self.failures = 0

    @property
    def locked_out_s(self) -> float:
        """Seconds for which no authenticated call may be made; usually 0."""
        return self.lockout.remaining_ns(self._now.mono) / NS_PER_S

    def set_tier(self, tier: str) -> None:
        """Use the limits of this tier."""
        self.counter.tier = tier
        self._note_counter()

    # --- in

    def put(self, call: RestCall) -> None:
        """Queue a call."""
        if not call.request.is_private:
            self._public.append(call)
        else:
            place = len(self._waiting)
            while place and self._waiting[place - 1].urgency > call.urgency:
                place -= 1
            self._waiting.insert(place, call)
        self.on_put()

    def forget(self, call: RestCall) -> None:
        """Drop a call: it is not sent if it was not yet, and its `answered` is not called."""
        call.answered = _ignore
        if call in self._waiting:
            self._waiting.remove(call)

    # --- what is due

    def take_due(self) -> RestCall | None:
        """The next call to send now; None if there is none. Call it until it returns None."""
        self._admit()
        if self._public:
            return self._begin(self._public.popleft())
        if self._turn is None:
            self._turn = next((call for call in self._waiting if call.give_up_at is not None), None)
            if self._turn is not None:
                self._waiting.remove(self._turn)
                self._is_turn_due = True
        if self._turn is None or not self._is_turn_due:
            return None
        self._is_turn_due = False
        try:
            self.lockout.check(self._now.mono)
        except EngineError as error:
            self._refuse(self._turn, str(error), LOCKED_OUT)
            return self.take_due()
        return self._begin(self._turn)

    def next_due(self) -> MonoNs | None:
        """When `take_due` may return a call though nothing else happens; None if nothing
        waits.
        """
        now = self._now.mono
        if self._public or self._is_turn_due:
            return now
        times = [
            call.give_up_at
            if call.give_up_at is not None
            else MonoNs(now + self.counter.wait_ns(call.cost, now, call.urgency))
            for call in self._waiting
        ]
        return min(times, default=None)

    def _admit(self) -> None:
        """Give waiting calls their room in the counter; end those that are past their
        deadline.
        """
        now = self._now.mono
        for call in tuple(self._waiting):
            if call.give_up_at is None:
                if call.cost:
                    if self.counter.wait_ns(call.cost, now, call.urgency):
                        continue
                    self.counter.charge(call.cost, now)
                    self._note_counter()
                call.give_up_at = MonoNs(now + int(call.deadline_s * NS_PER_S))
            elif now >= call.give_up_at and call in self._waiting:
                self._waiting.remove(call)
                reason = f"{call.request.name}: earlier calls of this key took all of {call.deadline_s:g} s"
                self._refuse(call, reason, NOT_SENT)

    def _begin(self, call: RestCall) -> RestCall:
        if call.tries_left == TRIES_MAX or call.request.is_mutating:
            self.calls += 1
        call.tries_left -= 1
        return call

    # --- what came of it

    def answered(
        self,
        call: RestCall,
        status: int,
        body: bytes,
        retry_after_s: int = 0,
        sent_at: WallNs = WallNs(0),  # noqa: B008
    ) -> None:
        """Take a complete answer to a call; `retry_after_s` is the server's Retry-After,
        `sent_at` the answer's Date, 0 without one.
        """
        if call.request.is_private and self._learn_of_key(status, body) is ErrorKind.NONCE and call.tries_left:
            self._is_turn_due = True
            self.on_put()
            return
        result = call.read(status, body)
        refusal = result if isinstance(result, RestRefusal) else None
        if refusal is None:
            self.kraken_time.dated(WallNs(max(0, sent_at - DATE_MARGIN_NS)))
        else:
            log.warning("REST call refused", call=call.request.name, error=refusal.error)
        self._learn(call.cost, refusal, retry_after_s)
        self._end(call, result, is_failure=refusal is not None)

    def failed(self, call: RestCall, reason: str, *, is_in_doubt: bool) -> None:
        """Take the failure of a call: it was certainly not sent, or (`is_in_doubt`) may
        have been carried out.
        """
        self._refuse(call, reason, NO_ANSWER if is_in_doubt else NOT_SENT)

    def _learn_of_key(self, status: int, body: bytes) -> ErrorKind | None:
        """Apply what an answer says about the key, a lockout or a nonce; returns the kind
        of its error, or None.
        """
        result = refusal_or_result(status, body)
        kind = result.meaning.kind if isinstance(result, RestRefusal) else None
        self._learn_nonce(kind)
        if kind is ErrorKind.LOCKOUT:
            self.lockout.note(self._now.mono)
            if self._notes is not None:
                self._notes.note_lockout()
        return kind

    def _learn_nonce(self, kind: ErrorKind | None) -> None:
        """Nonces leap when several were refused in a row: a single one may only have been
        overtaken, and each failed call brings a lockout nearer.
        """
        if kind is ErrorKind.NONCE:
            self._nonces_refused += 1
            if self._nonces_refused >= NONCES_REFUSED_MAX and self._notes is not None:
                self._notes.leap()
        elif kind not in SAY_NOTHING_OF_NONCES:
            self._nonces_refused = 0
            if self._notes is not None:
                self._notes.note_nonce_accepted()

    def _refuse(self, call: RestCall, reason: str, what: Meaning) -> None:
        log.warning("REST call failed", call=call.request.name, reason=reason)
        self._end(call, RestRefusal(reason, what, 0), is_failure=True)

    def _end(self, call: RestCall, result: Any, *, is_failure: bool) -> None:
        self.failures += is_failure
        if self._turn is call:
            self._turn = None
        call.answered(result)
        self.on_put()

    def _learn(self, cost: int, refusal: RestRefusal | None, retry_after_s: int) -> None:
        """Correct the key's counter by an answer."""
        now = self._now.mono
        if retry_after_s:
            self.counter.hold(retry_after_s * NS_PER_S, now)
        if refusal is not None and refusal.meaning.kind is ErrorKind.CALL_LIMIT:
            until_s = throttled_until_s(refusal.error)
            if until_s is not None:
                self.counter.hold(until_s * NS_PER_S - self._now.wall, now)
            else:
                self.counter.refused(cost, now)
        elif cost and (refusal is None or refusal.status == STATUS_OK):
            self.counter.accepted(now)
        else:
            return
        self._note_counter()

    def _note_counter(self) -> None:
        if self._notes is not None:
            level = self.counter.level(self._now.mono)
            self._notes.note_calls(level.tier, level.points)


def _nothing() -> None:
    """Do nothing."""


def _ignore(_: Any) -> None:
    """Drop the answer of a forgotten call."""
