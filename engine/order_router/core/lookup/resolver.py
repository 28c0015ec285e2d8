"""Sends the questions about orders to Kraken's REST: `OrderQuestions` says which, this says
when.

    next_truth ─┐
    next_look ──┼─► pauses after failures ─► the key's counter ─► CallQueue ─► the answer is taken
    checks ─────┘

The kinds are asked independently, so a question that all trading waits for never waits for
one that concerns a single pair, and neither for a check that nothing waits for. While the
key's counter has no room for a question, the next one is chosen anew, since a cheaper one
may have come. But a cheap question finds room before an expensive one, and there may always
be another: so what has waited for PATIENCE_NS goes before others that are as urgent.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from engine.instant import Instant
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS, Retry
from engine.kraken.rest.replies import RestRefusal
from engine.kraken_rest.call_counter import COST_MIN, Urgency, call_cost
from engine.kraken_rest.call_queue import CallQueue, RestCall
from engine.kraken_rest.pair_names import PairNames
from engine.order_router.core.lookup.questions import OrderQuestions, Question
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, WallNs

LOOK_DEADLINE_S: Final = 2.0
RETRY_NS: Final = 300 * NS_PER_MS  # after a first call that failed
PATIENCE_NS: Final = 5 * NS_PER_S  # with cheaper questions that find room first
RETRY_NS_MAX: Final = 5 * NS_PER_S  # a strategy waits for each answer; the key's counter has pauses of its own


class Check(Protocol):
    """Background questions, on which nothing waits: they look for what no message has
    reported.
    """

    def next_question(self) -> Question | None: ...


class _Asker:
    """Asks one kind of question, one at a time."""

    def __init__(self, next_question: Callable[[], Question | None], chance: Callable[[], float]) -> None:
        self.next_question = next_question
        self.retry = Retry(chance, first_ns=RETRY_NS, pause_ns_max=RETRY_NS_MAX)
        self.is_asking = False
        # Since when its question has waited for room in the key's counter, and how urgent
        # that is; None while none waits.
        self.waits_since: MonoNs | None = None
        self.urgency = Urgency.LATER


class OrderResolver:
    """Sends the due questions about orders to REST, within the key's counter and with
    pauses after failures.
    """

    def __init__(
        self,
        questions: OrderQuestions,
        checks: Sequence[Check],
        calls: CallQueue,
        names: PairNames,
        now: Instant,
        chance: Callable[[], float],
    ) -> None:
        self._questions = questions
        self._calls = calls
        self._names = names
        self._now = now
        self._truth = _Asker(questions.next_truth, chance)
        self._look = _Asker(questions.next_look, chance)
        self._checks = [_Asker(check.next_question, chance) for check in checks]

    def look_up(self, key: str, deadline: WallNs) -> None:
        """Find out what became of an order in doubt that Kraken does not accept after
        `deadline`.
        """
        self._questions.look_up(key, deadline)

    def settle(self, key: str, not_before: MonoNs | None = None) -> None:
        """Find out the state of an order with an amend, cancel or fill in doubt, not before
        `not_before` if given.
        """
        self._questions.settle(key, not_before)

    def reconcile(self, keys: Sequence[str]) -> None:
        """Find out what became of orders that a snapshot did not list."""
        self._questions.reconcile(keys)

    def ask_anew(self) -> None:
        """Repeat the questions that were refused, because something has changed, such as
        the key's permissions.
        """
        self._truth.retry.anew()
        self._look.retry.anew()
        for check in self._checks:
            check.retry.anew()

    def ask_due(self) -> None:
        """Send the questions that are due. The names of pairs come first, since no answer
        can be decoded without them.
        """
        self._names.ask_due()
        if self._names.pairs is not None:
            self._ask(self._truth)
            self._ask(self._look)
            for check in self._checks:
                self._ask(check)

    def _ask(self, asker: _Asker) -> None:
        now = self._now.mono
        if asker.is_asking or (asker.waits_since is not None and self._has_no_room(asker, now)):
            return
        question = asker.next_question()
        if question is None or asker.retry.wait_ns(now):
            asker.waits_since = None
            return
        if self._calls.counter.wait_ns(call_cost(question.request.name), now, question.urgency) or self._is_held_back(
            asker, question, now
        ):
            asker.urgency = question.urgency
            if asker.waits_since is None:
                asker.waits_since = now
            return
        asker.is_asking, asker.waits_since = True, None
        self._calls.put(RestCall(
            question.request,
            lambda status, body: question.read(status, body, self._names.pairs),  # type: ignore[arg-type]
            partial(self._answered, asker, question),
            deadline_s=LOOK_DEADLINE_S,
            urgency=question.urgency,
        ))  # fmt: skip

    def _has_no_room(self, asker: _Asker, now: MonoNs) -> bool:
        """True if the key's counter has no room for the cheapest and most urgent question
        that this one may have.
        """
        return asker is not self._truth and self._calls.counter.wait_ns(COST_MIN, now, Urgency.LOOK) > 0

    def _is_held_back(self, asker: _Asker, question: Question, now: MonoNs) -> bool:
        """True if another question that is as urgent has waited for too long, and longer
        than this one.
        """
        return any(
            other.waits_since is not None
            and now - other.waits_since > PATIENCE_NS
            and other.urgency <= question.urgency
            and (asker.waits_since is None or other.waits_since < asker.waits_since)
            for other in (self._truth, self._look, *self._checks)
        )

    def _answered(self, asker: _Asker, question: Question, answer: Any) -> None:
        asker.is_asking = False
        if isinstance(answer, RestRefusal):
            left_ns = int(self._calls.locked_out_s * NS_PER_S)
            asker.retry.failed(answer.meaning.kind, self._now.mono, left_ns or LOCKOUT_PAUSE_NS)
        else:
            asker.retry.succeeded()
            question.take(answer)
        self._ask(asker)
