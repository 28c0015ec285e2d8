"""Silence is not doubt: a quiet pair stays live, marked unproved, is renewed in batches, and delays nothing urgent."""

import json

import pytest

from engine.kraken.public.session import PROOF_PATIENCE_NS
from engine.kraken.public.subscriptions import REQUESTS_BURST
from tests.kraken.wire import (
    MS,
    T0,
    S,
    Tape,
    acks,
    changed,
    error,
    live,
    obey,
    poll,
    quiet_session,
    sent,
    states,
    unproved,
)
from tests.kraken.wire import with_wrong_checksum as wrong

HEARTBEAT = b'{"channel":"heartbeat"}'
QUIET, BUSY = 1112, 338
LATENCY_NS = 80 * MS  # of Kraken's answer and snapshot on a warm socket: 13 to 78 ms


class Exchange:
    """Many pairs on one connection with 80 ms of latency: requests are obeyed, busy pairs speak each second."""

    def __init__(self, quiet, busy, **settings):
        self.tapes = {
            name: Tape(name) for name in (*(f"Q{n}/USD" for n in range(quiet)), *(f"B{n}/USD" for n in range(busy)))
        }
        self.busy = [name for name in self.tapes if name.startswith("B")]
        self.session = quiet_session(*self.tapes, **settings)
        self.now = T0
        self.on_the_way = []  # (when, frame)
        self.events = []  # (when, event)
        self.requests = []  # (when, request)

    def run(self, seconds, step=20 * MS):
        end = self.now + int(seconds * S)
        while self.now < end:
            self.now += step
            for frame in [frame for at, frame in self.on_the_way if at <= self.now]:
                self.tell(frame)
            self.on_the_way = [(at, frame) for at, frame in self.on_the_way if at > self.now]
            if self.now % S < step:
                self.tell(HEARTBEAT)
                for name in self.busy:
                    self.tell(self.tapes[name].nudge())
            self.events += [(self.now, event) for event in self.session.poll(self.now)]
            self.answer()
        return self

    def tell(self, frame):
        self.events += [(self.now, event) for event in self.session.receive(frame, self.now)]

    def answer(self):
        for request in self.session.to_send():
            asked = json.loads(request)
            self.requests.append((self.now, asked))
            if asked["method"] == "ping":
                continue
            self.on_the_way += [(self.now + LATENCY_NS, answer) for answer in acks(request)]
            if asked["method"] == "subscribe" and asked["params"]["channel"] == "book":
                symbols = asked["params"]["symbol"]
                self.on_the_way += [(self.now + LATENCY_NS, self.tapes[name].snapshot()) for name in symbols]

    def of(self, kind):
        return [(at, event) for at, event in self.events if type(event).__name__ == kind]


@pytest.fixture(scope="module")
def exchange():
    """1,450 pairs, of which 1,112 say nothing after their snapshot; a minute and four seconds have passed."""
    market = Exchange(QUIET, BUSY).run(64.5)
    market.live_before = [str(feed.state) for feed in market.session.feeds.values()].count("live")
    return market


def test_more_than_a_thousand_quiet_pairs_stay_live(exchange):
    """After a minute of silence: every quiet pair is unproved, none is stale, and the busy ones are neither."""
    marked = [event.symbol for _, event in exchange.of("BookUnproved")]

    assert exchange.live_before == QUIET + BUSY
    assert sorted(marked) == sorted(name for name in exchange.tapes if name.startswith("Q"))
    assert [event for at, event in exchange.of("StateChanged") if at > T0 + 50 * S] == []


def test_quiet_pairs_are_renewed_in_batches_of_fifty(exchange):
    """Two requests for fifty pairs, never one pair at a time: 23 batches for 1,112."""
    renewals = [request for at, request in exchange.requests if request["method"] == "unsubscribe"]

    assert sum(len(request["params"]["symbol"]) for request in renewals) == QUIET
    assert len(renewals) <= -(-QUIET // 50) + 2


def test_a_mismatch_of_the_busiest_pair_goes_before_all_quiet_ones():
    """Asked for at once, live again within a second, though a thousand silent pairs are being renewed."""
    market = Exchange(QUIET, BUSY).run(61.2)
    while market.session.requests_waiting < 40:  # of fifty that are asked for at once
        market.run(0.02)
    failed_at = market.now
    market.tell(wrong(market.tapes["B0/USD"].nudge()))
    market.answer()
    asked_at = [at for at, request in market.requests if request.get("params", {}).get("symbol") == ["B0/USD"]]
    market.run(1.0)
    back = [at for at, event in market.of("StateChanged") if event.symbol == "B0/USD" and at >= failed_at]

    assert asked_at == [failed_at, failed_at]
    assert len(back) == 2
    assert back[1] - failed_at <= S


def test_renewals_keep_the_pace_and_leave_the_burst_to_doubt(exchange):
    """No more requests in any second than the rate and the burst allow, while a thousand pairs are renewed."""
    times = [at for at, request in exchange.requests if request["method"] != "ping"]

    for index, first in enumerate(times):
        within = sum(first <= at < first + S for at in times[index:])
        assert within <= REQUESTS_BURST + 20


def test_an_update_proves_a_quiet_book_and_withdraws_its_renewal():
    """A pair that speaks while it waits for its turn is not asked for."""
    tape = Tape()
    session = live(tape, requests_per_s=1.0)
    session.receive(b'{"error":"Exceeded msg rate"}', T0 + 60 * S)
    marked = unproved(session.poll(T0 + 61 * S))
    told = session.receive(tape.nudge(), T0 + 62 * S)
    poll(session, T0 + 62 * S, T0 + 100 * S)

    assert (marked, changed(told)) == (["BTC/USD"], ["BTC/USD"])
    assert not session.feeds["BTC/USD"].is_unproved
    assert [r["method"] for r in sent(session) if r["method"] != "ping"] == []


def test_a_snapshot_proves_a_quiet_book():
    """The book is told once more, with its proof; the state never changed."""
    tape = Tape()
    session = live(tape)
    session.poll(T0 + 61 * S)
    obey(session, T0 + 61 * S)
    events = session.receive(tape.snapshot(), T0 + 61 * S)

    assert (states(events), changed(events)) == ([], ["BTC/USD"])
    assert not session.feeds["BTC/USD"].is_unproved


def test_a_book_that_was_mute_all_along_is_found_out_by_its_snapshot():
    """The subscription had died: the snapshot shows another book, which is the one that is live from then on."""
    tape = Tape()
    session = live(tape)
    for _ in range(5):
        tape.nudge()
    session.poll(T0 + 61 * S)
    obey(session, T0 + 61 * S)
    session.receive(tape.snapshot(), T0 + 61 * S)

    assert session.feeds["BTC/USD"].book.checksum() == tape.book.checksum()
    assert session.feeds["BTC/USD"].mismatches == 0


def test_a_book_that_was_given_back_is_not_live_for_long_without_a_snapshot():
    """Two seconds after Kraken has confirmed that the book is unsubscribed, nobody would hear of a change: stale."""
    session = live(Tape())
    session.poll(T0 + 61 * S)
    obey(session, T0 + 61 * S)
    before = poll(session, T0 + 61 * S, T0 + 61 * S + PROOF_PATIENCE_NS)
    after = session.poll(T0 + 61 * S + PROOF_PATIENCE_NS + 100 * MS)

    assert (states(before), states(after)) == ([], [("BTC/USD", "stale")])
    assert "no snapshot within 2.0 s" in after[0].reason


def test_a_renewal_that_nobody_answers_is_doubt():
    """Neither acknowledgement nor snapshot within the deadline: stale, and asked for at once."""
    session = live(Tape())
    session.poll(T0 + 61 * S)
    session.to_send()
    events = poll(session, T0 + 61 * S, T0 + 72 * S)

    assert states(events) == [("BTC/USD", "stale")]
    assert "no snapshot within 10.0 s" in events[-1].reason
    assert [r["method"] for r in sent(session) if r["method"] != "ping"] == ["unsubscribe", "subscribe"]


def test_a_mismatch_while_a_quiet_pair_is_renewed_is_doubt():
    """It was unproved and asked for; then a wrong checksum comes: stale until a snapshot."""
    tape = Tape()
    session = live(tape)
    session.poll(T0 + 61 * S)
    events = session.receive(wrong(tape.nudge()), T0 + 61 * S)

    assert states(events) == [("BTC/USD", "stale")]
    assert states(session.receive(tape.snapshot(), T0 + 61 * S)) == [("BTC/USD", "live")]


def test_a_silent_connection_is_dead_as_ever():
    """Unproved is for a pair on a connection that lives; without heartbeats it is cut, and its books are stale."""
    session = live(Tape())
    reason = session.dead(T0 + 4 * S)
    events = session.closed(T0 + 4 * S, reason)

    assert reason == "no frame for 4.0 s"
    assert states(events) == [("BTC/USD", "stale")]


# --- a pair that is no more

KNOWN = b'{"channel":"instrument","type":"%s","data":{"assets":[],"pairs":[%s]}}'
PAIR = b'{"symbol":"ETH/USD","qty_precision":8,"price_precision":2,"status":"%s"}'


def test_a_pair_that_was_delisted_is_never_advised_in_its_own_place():
    """It is in the list that came when the connection began; the renewal is refused: the reason is the true one."""
    tape = Tape("ETH/USD")
    session = live(tape)
    session.receive(KNOWN % (b"snapshot", PAIR % b"online"), T0)
    session.poll(T0 + 61 * S)
    *_, request = session.to_send()
    events = session.receive(error(request, "Currency pair not supported ETH/USD", "ETH/USD"), T0 + 61 * S)

    assert states(events) == [("ETH/USD", "untrusted")]
    assert "did you mean" not in events[0].reason
    assert "lists the pair as online and does not offer it" in events[0].reason


def test_a_pair_whose_status_becomes_delisted_is_gone_and_the_others_go_on():
    """Untrusted with a true reason, given back and not asked for in an hour; the other book is told as ever."""
    gone, other = Tape("ETH/USD"), Tape("BTC/USD")
    session = live(gone, other)
    events = session.receive(KNOWN % (b"update", PAIR % b"delisted"), T0)
    told = session.receive(other.nudge(), T0 + S)
    later = []
    for now in range(T0, T0 + 3600 * S, S):
        session.receive(HEARTBEAT, now)
        session.poll(now)
        for request in session.to_send():
            later += [json.loads(request)] if b'"ETH/USD"' in request else []
            for answer in acks(request) if b'"ping"' not in request else ():
                session.receive(answer, now)

    assert states(events) == [("ETH/USD", "untrusted")]
    assert "taken ETH/USD off its list" in events[-1].reason
    assert changed(told) == ["BTC/USD"]
    assert [request["method"] for request in later] == ["unsubscribe"]
    assert changed(session.receive(gone.nudge(), T0 + 3600 * S)) == []


def test_a_refusal_ends_a_resynchronisation_that_was_planned():
    """In doubt for the third time, to be retried in a minute, then refused: asked for as what is not subscribed."""
    tape = Tape()
    session = live(tape)
    for _ in range(3):
        session.receive(wrong(tape.snapshot()), T0)
    requests = session.to_send()
    session.receive(error(requests[-1], "Currency pair not supported BTC/USD", "BTC/USD"), T0)
    poll(session, T0, T0 + 65 * S)

    assert [r["method"] for r in sent(session) if r["method"] != "ping"] == ["subscribe"]
