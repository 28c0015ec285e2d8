"""Which call of a key goes next, and what an answer means for the others: under an instant by hand."""

from typing import Any

import msgspec
import pytest

from engine.instant import Instant
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.replies import RestRefusal
from engine.kraken.rest.requests import RestRequest
from engine.kraken_rest.call_counter import COUNTER_DECAY_PER_S, COUNTER_MAX, Urgency
from engine.kraken_rest.call_queue import CallQueue, RestCall
from engine.net.lockout import LOCKOUT_NS
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Outcome
from engine.units import NS_PER_MS, NS_PER_S, WallNs

NOW = 1_795_000_000 * NS_PER_S
BALANCE = rest_requests.balance()
CANCEL_ALL = rest_requests.cancel_all()
READS_AND_CHANGES = pytest.mark.parametrize("request_", [BALANCE, CANCEL_ALL], ids=["reads", "changes"])


class Notes:
    """What the next process of the key would know."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []
        self.lockouts = self.leaps = self.accepted = 0

    def note_calls(self, tier: str, points: float) -> None:
        self.calls.append((tier, points))

    def note_lockout(self) -> None:
        self.lockouts += 1

    def note_nonce_accepted(self) -> None:
        self.accepted += 1

    def leap(self) -> None:
        self.leaps += 1


class Key:
    """One key's calls, and what came of each."""

    def __init__(self) -> None:
        self.now = Instant(10**12, NOW)
        self.notes = Notes()
        self.queue = CallQueue(self.now, notes=self.notes)
        self.woken = 0
        self.queue.on_put = self._wake
        self.came_of_it: list[tuple[str, Any]] = []

    def _wake(self) -> None:
        self.woken += 1

    def put(self, request: RestRequest, urgency: Urgency = Urgency.TRUTH, deadline_s: float = 10.0) -> RestCall:
        """Somebody wants this to be asked."""
        call = RestCall(
            request, rest_replies.refusal_or_result, lambda result: self.came_of_it.append((request.name, result)),
            deadline_s=deadline_s, urgency=urgency,
        )  # fmt: skip
        self.queue.put(call)
        return call

    def due(self) -> list[RestCall]:
        """All calls that are to be sent at this moment."""
        found = []
        while (call := self.queue.take_due()) is not None:
            found.append(call)
        return found

    def answer(self, call: RestCall, error: str = "", retry_after_s: int = 0) -> None:
        """Kraken's answer: an error, or that all is well."""
        body = {"error": [error]} if error else {"error": [], "result": {}}
        self.queue.answered(call, 200, msgspec.json.encode(body), retry_after_s)

    @property
    def refusals(self) -> list[RestRefusal]:
        return [result for _, result in self.came_of_it if isinstance(result, RestRefusal)]


def test_one_private_call_is_under_way_at_a_time_and_public_ones_beside_it() -> None:
    """On parallel connections a later nonce may arrive first."""
    key = Key()
    first, second, public = key.put(BALANCE), key.put(CANCEL_ALL), key.put(rest_requests.time())
    at_first = key.due()
    key.answer(public)
    after_the_public_one = key.due()
    key.answer(first)

    assert at_first == [public, first]
    assert after_the_public_one == []
    assert key.due() == [second]


@pytest.mark.parametrize(
    ("status", "body", "is_known"),
    [
        (200, b'{"error":[],"result":{}}', True),
        (200, b"<html>one moment, please</html>", False),  # of whatever is between
        (503, b"", False),
    ],
)
def test_an_answer_of_krakens_tells_its_time(status: int, body: bytes, is_known: bool) -> None:
    """By its Date, which is cut to the second, and of a clock that may be a little ahead."""
    key = Key()
    key.put(BALANCE)
    (call,) = key.due()
    key.queue.answered(call, status, body, sent_at=WallNs(NOW - 40 * NS_PER_S))
    kraken_time = key.queue.kraken_time

    assert kraken_time.least() == (NOW - 41 * NS_PER_S if is_known else NOW)
    assert kraken_time.now() == (NOW - 39 * NS_PER_S if is_known else NOW)  # our clock is far from it


def test_an_answer_without_a_date_tells_nothing() -> None:
    key = Key()
    key.put(BALANCE)
    key.answer(*key.due())

    assert not key.queue.kraken_time.is_told


def test_the_most_urgent_call_goes_next() -> None:
    """The dead man's switch does not wait behind lookups; of equal ones the first that came."""
    key = Key()
    key.queue.set_tier("pro")
    for request, urgency in (
        (BALANCE, Urgency.TRUTH),
        (rest_requests.closed_orders(), Urgency.LATER),
        (rest_requests.open_orders(), Urgency.LOOK),
        (rest_requests.query_orders(["OQCLML-BW3P3-BUCMWZ"]), Urgency.LOOK),
        (rest_requests.cancel_all_orders_after(60), Urgency.DEAD_MAN),
    ):
        key.put(request, urgency)
        if request is BALANCE:
            under_way = key.due()
    names = []
    while under_way:
        names += [call.request.name for call in under_way]
        key.answer(under_way[0])
        under_way = key.due()

    assert names == ["Balance", "CancelAllOrdersAfter", "OpenOrders", "QueryOrders", "ClosedOrders"]


def test_a_call_that_never_got_its_turn_was_not_sent() -> None:
    """One that hangs holds the others up; they are in no doubt."""
    key = Key()
    hanging = key.put(CANCEL_ALL, deadline_s=0.6)
    assert key.due() == [hanging]
    key.put(BALANCE, deadline_s=0.1)
    key.due()
    key.now.advance(100 * NS_PER_MS)
    too_late = key.due()
    key.queue.failed(hanging, "no answer in 0.6 s", is_in_doubt=True)

    assert too_late == []
    assert [(name, refusal.meaning.outcome) for name, refusal in key.came_of_it] == [
        ("Balance", Outcome.NOT_PLACED), ("CancelAll", Outcome.UNKNOWN),
    ]  # fmt: skip
    assert "earlier calls" in key.refusals[0].error
    assert key.queue.next_due() is None


def test_a_call_that_is_given_up_while_it_waits_costs_nobody_a_turn() -> None:
    """Those behind it go on, and nothing is told of it; one that is under way still ends for the others."""
    key = Key()
    first, second, third = (key.put(BALANCE) for _ in range(3))
    assert key.due() == [first]
    key.queue.forget(second)
    key.queue.forget(first)
    key.answer(first)

    assert key.due() == [third]
    assert key.came_of_it == []


def test_what_is_left_of_a_deadline_begins_with_room_in_the_counter() -> None:
    """Not with the wish: what waits for Kraken's counter has all of its time when its turn has come."""
    key = Key()
    key.queue.counter.charge(int(COUNTER_MAX["starter"]), key.now.mono)
    call = key.put(BALANCE, deadline_s=2.0)
    too_early = key.due()
    due_at = key.queue.next_due()
    assert due_at is not None
    key.now.advance(due_at - key.now.mono)
    in_time = key.due()
    key.now.advance(NS_PER_S // 2)

    assert (too_early, in_time) == ([], [call])
    assert call.left_s(key.now.mono) == 1.5


@READS_AND_CHANGES
def test_a_refused_nonce_is_tried_once_more_where_nothing_is_changed(request_: RestRequest) -> None:
    """The second refusal is the answer, and the next call has its turn after it."""
    key = Key()
    call, other = key.put(request_), key.put(rest_requests.open_orders())
    sent = []
    for _ in range(3):
        sent += (due := key.due())
        if due and due[0] is call:
            key.answer(call, "EAPI:Invalid nonce")

    assert sent == [call] * (1 if request_.is_mutating else 2) + [other]
    assert [refusal.meaning.kind for refusal in key.refusals] == [ErrorKind.NONCE]


def test_nonces_leap_once_three_were_refused_in_a_row() -> None:
    """With each further one, until Kraken has accepted one; a single one may only have been overtaken."""
    key = Key()
    leaps = []
    for error in ["EAPI:Invalid nonce"] * 2 + ["EOrder:Unknown order"] + ["EAPI:Invalid nonce"] * 2 + [
        "EService:Unavailable", "EAPI:Invalid nonce", "EAPI:Invalid nonce", "", "EAPI:Invalid nonce"
    ]:  # fmt: skip
        key.answer(_taken(key, CANCEL_ALL), error)
        leaps.append(key.notes.leaps)

    assert leaps == [0, 0, 0, 0, 0, 0, 1, 2, 2, 2]
    assert key.notes.accepted == 2


def test_no_authenticated_call_is_made_for_a_quarter_of_an_hour_after_a_lockout() -> None:
    """They are in no doubt, and are told for how long; public calls go on; the next process is told as well."""
    key = Key()
    key.answer(_taken(key, BALANCE), "EGeneral:Temporary lockout")
    refused = [key.put(request) for request in (BALANCE, CANCEL_ALL)]
    public = key.put(rest_requests.time())
    due = key.due()
    key.now.advance(LOCKOUT_NS)
    again = key.put(BALANCE)

    assert due == [public]
    assert [refusal.meaning.kind for refusal in key.refusals] == [ErrorKind.LOCKOUT] * (1 + len(refused))
    assert all(refusal.meaning.outcome is Outcome.NOT_PLACED for refusal in key.refusals[1:])
    assert all("15 minutes" in refusal.error for refusal in key.refusals[1:])
    assert key.notes.lockouts == 1
    assert key.due() == [again]


def test_calls_that_kraken_refuses_for_its_counter_make_the_next_ones_wait() -> None:
    """Refused calls count as well: the belief goes above the limit; and it is written down for the next process."""
    key = Key()
    key.queue.set_tier("pro")
    key.answer(_taken(key, BALANCE), "EAPI:Rate limit exceeded")
    key.put(BALANCE)
    wait_ns = key.queue.counter.wait_ns(1, key.now.mono)

    assert key.due() == []
    assert wait_ns > NS_PER_S / COUNTER_DECAY_PER_S["pro"]
    assert key.queue.next_due() == key.now.mono + wait_ns
    assert key.notes.calls[-1] == ("pro", COUNTER_MAX["pro"] + 1)


def test_calls_that_change_orders_pass_a_full_counter() -> None:
    """They are counted elsewhere, and a cancel must not wait behind lookups."""
    key = Key()
    key.queue.counter.charge(100, key.now.mono)
    key.put(BALANCE)
    cancel = key.put(CANCEL_ALL, Urgency.CANCEL)

    assert key.due() == [cancel]


@pytest.mark.parametrize(
    ("error", "retry_after_s", "wait_s"),
    [(f"EService: Throttled: {NOW // NS_PER_S + 40}", 0, 40), ("EService:Unavailable", 25, 25)],
    ids=["throttled", "retry after"],
)
def test_a_moment_that_kraken_names_is_waited_for_by_all_calls(error: str, retry_after_s: int, wait_s: int) -> None:
    """Whatever the belief of the counter is."""
    key = Key()
    key.answer(_taken(key, rest_requests.cancel_all_orders_after(60)), error, retry_after_s)

    assert key.queue.counter.wait_ns(1, key.now.mono) == wait_s * NS_PER_S


@READS_AND_CHANGES
@pytest.mark.parametrize(("is_in_doubt", "outcome"), [(True, Outcome.UNKNOWN), (False, Outcome.NOT_PLACED)])
def test_a_call_without_an_answer_is_never_sent_again(
    request_: RestRequest, is_in_doubt: bool, outcome: Outcome
) -> None:
    """Whoever wanted it is told what that says of the outcome, once; the others go on."""
    key = Key()
    call, other = _taken(key, request_), key.put(BALANCE)
    key.queue.failed(call, "connection reset", is_in_doubt=is_in_doubt)

    assert [refusal.meaning.outcome for refusal in key.refusals] == [outcome]
    assert key.due() == [other]


def test_the_queue_wakes_its_shell_whenever_a_call_may_have_become_due() -> None:
    """When one is put, when one ends, and when one is to be tried again."""
    key = Key()
    first = key.put(BALANCE)
    key.put(BALANCE)
    put = key.woken
    key.due()
    key.answer(first, "EAPI:Invalid nonce")
    tried_again = key.woken
    key.due()
    key.answer(first)

    assert (put, tried_again) == (2, 3)
    assert key.woken == 4
    assert len(key.due()) == 1


def _taken(key: Key, request: RestRequest) -> RestCall:
    """A call that has been sent."""
    call = key.put(request)
    assert key.due() == [call]
    return call
