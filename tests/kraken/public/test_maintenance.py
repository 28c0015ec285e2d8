"""Kraken's maintenance as four nights of 2026 showed it: online, maintenance, cancel_only, post_only, online.

Sources of the times: two hosts' status frames of 2026-10-01; 17 minutes of silence, 2026-08-06; 90 updates in 98 s
of it, 2026-08-20; the private socket closed with 1012 eleven seconds after post_only, 2026-10-01.
"""

import json

import pytest

from engine.kraken.connection.events import SystemChanged
from engine.kraken.private.session import PrivateSession, PrivateSettings
from engine.kraken.rest.replies import SystemStatus, read_system_status
from engine.kraken.trading.session import TradingSession, TradingSettings
from tests.kraken.wire import (
    DATA,
    MS,
    T0,
    S,
    Tape,
    changed,
    live,
    new_session,
    obey,
    quiet_session,
    sent,
    states,
    unproved,
)
from tests.kraken.wire import with_wrong_checksum as wrong

HEARTBEAT = b'{"channel":"heartbeat"}'
LADDER = [(64, "maintenance"), (176, "cancel_only"), (273, "post_only"), (368, "online")]  # seconds, 2026-10-01


def status(system, **fields):
    """A status frame of today's shape."""
    data = {"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": 18125794168470749634} | fields
    return json.dumps({"channel": "status", "type": "update", "data": [data]}, separators=(",", ":")).encode()


class Night:
    """Some pairs through a maintenance: heartbeats go on, books say nothing; requests are obeyed when told so."""

    def __init__(self, *symbols):
        self.tapes = {symbol: Tape(symbol) for symbol in symbols}
        self.session = live(*self.tapes.values())
        self.now = T0
        self.events = []
        self.requests = []

    def tell(self, *frames):
        for frame in frames:
            self.events += [(self.now, event) for event in self.session.receive(frame, self.now)]

    def until(self, second, *, obeying):
        while self.now < T0 + second * S:
            self.now += 100 * MS
            if self.now % S == 0:
                self.tell(HEARTBEAT)
            self.events += [(self.now, event) for event in self.session.poll(self.now)]
            for request in self.session.to_send():
                asked = json.loads(request)
                if asked["method"] == "ping":
                    continue
                self.requests.append((self.now, asked["method"], asked["params"].get("symbol", [])))
                if obeying and asked["method"] == "subscribe":
                    self.tell(*(self.tapes[symbol].snapshot() for symbol in asked["params"].get("symbol", [])))

    def states(self):
        return states([event for _, event in self.events])

    def reasons(self):
        return [event.reason for _, event in self.events if hasattr(event, "state")]


def climb(night, *, obeying=True):
    """The whole ladder, and two minutes more."""
    for second, system in LADDER:
        night.until(second, obeying=obeying)
        night.tell(status(system))
    night.until(LADDER[-1][0] + 120, obeying=obeying)


def test_books_are_stale_for_maintenance_and_come_back_by_proving_themselves():
    """Two quiet pairs: stale with that reason, live again only by a fresh snapshot after post_only, no more."""
    night = Night("BTC/USD", "ETH/USD")
    climb(night)

    pairs = ("BTC/USD", "ETH/USD")
    assert night.states() == [*((pair, "stale") for pair in pairs), *((pair, "live") for pair in pairs)]
    assert night.reasons() == ["Kraken is in maintenance"] * 2 + ["snapshot verified"] * 2
    assert [at - T0 for at, event in night.events if hasattr(event, "state")][2] >= 273 * S
    assert [event.system for _, event in night.events if isinstance(event, SystemChanged)] == [s for _, s in LADDER]


def test_nothing_is_asked_while_kraken_is_closed_and_little_afterwards():
    """Five hundred pairs, silent for minutes: not one request before post_only, then batches of fifty, once."""
    symbols = [f"P{number}/USD" for number in range(500)]
    night = Night(*symbols)
    climb(night)
    asked = [(at - T0, method, len(names)) for at, method, names in night.requests if 64 * S <= at - T0 < 320 * S]

    assert [at for at, *_ in asked if at < 273 * S] == []
    assert sum(count for _, method, count in asked if method == "subscribe") == 500
    assert len(asked) <= 2 * 11
    assert {str(feed.state) for feed in night.session.feeds.values()} == {"live"}


def test_snapshots_that_do_not_come_while_kraken_is_closed_are_no_failure():
    """An engine that starts in the middle: no pair is untrusted, asked again once a minute, live as soon as it may."""
    symbols = [f"P{number}/USD" for number in range(500)]
    night = Night(*symbols)
    night.session.closed(T0, "1012")
    night.session.opened(T0)
    night.requests = []
    night.tell(status("maintenance"))
    night.until(100, obeying=False)
    night.tell(status("cancel_only"))
    night.until(250, obeying=False)
    during = [len(names) for at, method, names in night.requests if method == "subscribe" and at > T0 + 10 * S]
    before = {str(feed.state) for feed in night.session.feeds.values()}
    night.tell(status("post_only"))
    night.until(256, obeying=True)

    assert before == {"stale"}
    assert sum(during) <= 3 * 500
    assert {str(feed.state) for feed in night.session.feeds.values()} == {"live"}


def test_a_few_updates_in_the_halt_keep_the_book_but_do_not_make_it_live():
    """They are applied and verified; no book is told; the first that verifies after the halt makes the pair live."""
    night = Night("BTC/USD")
    tape = night.tapes["BTC/USD"]
    night.tell(status("maintenance"))
    night.tell(*(tape.nudge() for _ in range(90)))
    told = changed([event for _, event in night.events])
    night.tell(status("cancel_only"), tape.nudge())

    assert told == []
    assert night.session.feeds["BTC/USD"].verified == 92
    assert night.states() == [("BTC/USD", "stale"), ("BTC/USD", "live")]
    assert changed([event for _, event in night.events]) == ["BTC/USD"]


def test_a_mismatch_in_the_halt_is_settled_after_it():
    """The book in doubt is not asked for while Kraken is down, and first of all when it is back."""
    night = Night("BTC/USD", "ETH/USD")
    night.tell(status("maintenance"), wrong(night.tapes["BTC/USD"].nudge()))
    night.until(120, obeying=False)
    during = list(night.requests)
    night.tell(status("online"))
    night.until(122, obeying=True)

    assert during == []
    assert night.requests[0][1:] == ("unsubscribe", ["BTC/USD"])
    assert {str(feed.state) for feed in night.session.feeds.values()} == {"live"}


def test_maintenance_may_be_the_first_word():
    """A connection that begins in it: asked for once, its snapshot is kept, nothing is live before Kraken is back."""
    tape = Tape()
    session = quiet_session()
    session.receive(status("maintenance"), T0)
    obey(session, T0)
    during = session.receive(tape.snapshot(), T0)
    for now in range(T0, T0 + 600 * S, 100 * MS):
        during = [*during, *session.poll(now)]
    requests = [request for request in sent(session) if request["method"] != "ping"]
    session.receive(status("post_only"), T0 + 600 * S)
    after = session.receive(tape.nudge(), T0 + 600 * S)

    assert (states(during), changed(during), requests) == ([], [], [])
    assert states(after) == [("BTC/USD", "live")]
    assert changed(after) == ["BTC/USD"]


def test_subscriptions_that_kraken_did_not_answer_in_maintenance_are_asked_again_after_it():
    """The connection began in it and nothing was answered: silence on our side for its time, then in batches."""
    symbols = [f"P{number}/USD" for number in range(120)]
    session = new_session(*symbols)
    session.receive(status("maintenance"), T0)
    for now in range(T0, T0 + 2 * S, 100 * MS):
        session.poll(now)
    first = sent(session)
    for now in range(T0 + 2 * S, T0 + 300 * S, 100 * MS):
        session.poll(now)
    during = [request for request in sent(session) if request["method"] != "ping"]
    session.receive(status("online"), T0 + 300 * S)
    for now in range(T0 + 300 * S, T0 + 303 * S, 100 * MS):
        session.poll(now)
    after = [request for request in sent(session) if request["method"] != "ping"]

    assert len(first) == 1 + 4 * 3
    assert during == []
    assert len(after) == len(first) + 3  # the books are given back first


def test_a_new_connection_does_not_inherit_the_maintenance_of_the_last():
    """The socket was closed in it; the next one says online: its first snapshot is live at once."""
    tape = Tape()
    session = live(tape)
    session.receive(status("maintenance"), T0)
    session.closed(T0, "closed with code 1012")
    session.opened(T0 + 10 * S)
    session.receive(status("online"), T0 + 10 * S)
    obey(session, T0 + 10 * S)

    assert states(session.receive(tape.snapshot(), T0 + 10 * S)) == [("BTC/USD", "live")]


def test_cancel_only_alone_leaves_books_live_and_asks_for_no_proof():
    """An incident without maintenance: cancels still change the book; silence is the rule and costs no request."""
    night = Night("BTC/USD")
    night.tell(status("cancel_only"))
    night.until(400, obeying=True)
    during = list(night.requests)
    night.tell(status("online"))
    night.until(405, obeying=True)

    assert night.states() == []
    assert unproved([event for _, event in night.events]) == ["BTC/USD"]
    assert during == []
    assert [method for _, method, _ in night.requests] == ["unsubscribe", "subscribe"]
    assert not night.session.feeds["BTC/USD"].is_unproved


def test_a_private_socket_that_closes_in_post_only_is_opened_again_at_once():
    """1012 eleven seconds after post_only: the engine is back, so there is no pause; in the phases before there is."""
    private, trading = PrivateSession(PrivateSettings()), TradingSession(TradingSettings())
    pauses = []
    for session in (private, trading):
        session.opened(T0)
        for _, system in LADDER:
            session.receive(status(system), T0)
            pauses.append((system, session.reconnect_delay_floor_ns // S))

    assert pauses == [("maintenance", 5), ("cancel_only", 5), ("post_only", 0), ("online", 0)] * 2


# --- notices

UPCOMING = json.loads((DATA / "status_heartbeat_pong.jsonl").read_text().splitlines()[5])["data"][0][
    "upcoming_maintenance"
][0]
EMERGENCY = {
    "event_id": 4821,
    "title": "Elevated API error rates",
    "incident_status": "investigating",
    "impact": "none",
    "affected_services": ["spot_ws", "spot_rest", "spot_fix"],
    "started_at_utc": "2026-05-08T14:23:11Z",
    "next_steps": [],
}
RESTART = {"applies_to": ["spot_trading"], "type": "expected_restart", "expected_at_utc": "2026-05-08T14:30:00Z"}


def told(session, **lists):
    """The notices that a status frame with these lists makes the session tell."""
    return [notice for event in session.receive(status("online", **lists), T0) for notice in event.notices]


@pytest.mark.parametrize(
    "change",
    [
        {"incident_status": "identified"},
        {"impact": "critical"},
        {"next_steps": [RESTART]},
        {"title": "Trading is halted"},
        {"affected_services": ["all"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_change_of_an_emergency_is_told_once(change):
    """First the entry, then its update with what is new, then nothing while it stays so, then the change back."""
    session = new_session()
    later = EMERGENCY | change
    counts = [len(told(session, emergency=[entry])) for entry in (EMERGENCY, EMERGENCY, later, later, EMERGENCY)]

    assert counts == [1, 0, 1, 0, 1]


def test_an_emergency_is_told_with_its_impact_and_the_expected_restart():
    """What a person must know: how bad, how far, and when Kraken expects to be back."""
    (notice,) = told(new_session(), emergency=[EMERGENCY | {"impact": "critical", "next_steps": [RESTART]}])

    assert (notice.impact, notice.incident_status) == ("critical", "investigating")
    assert notice.expected_restart_utc == "2026-05-08T14:30:00Z"


def test_an_announcement_that_leaves_its_list_is_no_news():
    """Its window has begun; and the seconds that count down in it are no change."""
    session = new_session()
    first = told(session, upcoming_maintenance=[UPCOMING])
    nearer = told(session, upcoming_maintenance=[UPCOMING | {"time_to_start_s": 60}])
    gone = told(session, upcoming_maintenance=[])
    back = told(session, upcoming_maintenance=[UPCOMING])

    assert [len(notices) for notices in (first, nearer, gone, back)] == [1, 0, 0, 0]


def test_an_announcement_that_is_moved_is_told_again():
    """Another beginning, or another phase: each once, though phases stand side by side."""
    session = new_session()
    moved = UPCOMING | {"expected_start_utc": "2026-10-06T09:00:00.000000Z"}
    near = UPCOMING | {"phase": "approaching_30m"}

    assert len(told(session, upcoming_maintenance=[UPCOMING])) == 1
    assert len(told(session, upcoming_maintenance=[moved])) == 1
    assert len(told(session, upcoming_maintenance=[moved, near])) == 1
    assert told(session, upcoming_maintenance=[moved, near]) == []


@pytest.mark.parametrize(
    "field",
    [
        {"impact": 5},
        {"next_steps": "soon"},
        {"next_steps": [5]},
        {"affected_services": None},
        {"event_id": 4821.5},
        {"event_id": 2**70},
    ],
    ids=str,
)
def test_a_field_of_a_notice_of_another_type_costs_itself_alone(field):
    """The title is told all the same, once."""
    session = new_session()
    entry = EMERGENCY | field
    (notice,) = told(session, emergency=[entry])

    assert notice.title == "Elevated API error rates"
    assert told(session, emergency=[entry]) == []


def test_a_flood_of_notices_is_told_once_and_in_short():
    """Ten thousand emergencies in every frame: fifty are told, and how many there are, and then nothing."""
    session = new_session()
    flood = [EMERGENCY | {"event_id": number} for number in range(10_000)]
    counts = [len(told(session, emergency=flood)) for _ in range(3)]

    assert counts == [51, 0, 0]


def test_rest_tells_the_same_notices_beside_the_state():
    """Kraken's documented answer of 2026: an emergency with its restart, nothing announced."""
    body = {"status": "cancel_only", "timestamp": "2026-05-08T14:28:00Z", "upcoming_maintenance": []}
    body |= {"emergency": [EMERGENCY | {"impact": "critical", "next_steps": [RESTART]}]}
    system = read_system_status(200, json.dumps({"error": [], "result": body}).encode())

    assert isinstance(system, SystemStatus)
    assert (system.status, system.upcoming) == ("cancel_only", ())
    assert [(n.impact, n.expected_restart_utc) for n in system.emergency] == [("critical", "2026-05-08T14:30:00Z")]
