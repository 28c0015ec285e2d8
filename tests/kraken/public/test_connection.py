"""Signs of life, silence, pings, and what a lost connection means."""

import pytest

from tests.kraken.wire import (
    MS,
    T0,
    S,
    Tape,
    asked,
    changed,
    frames,
    live,
    new_session,
    obey,
    poll,
    quiet_session,
    sent,
    states,
    unproved,
)

HEARTBEAT = b'{"channel":"heartbeat"}'
PONG = b'{"method":"pong","req_id":1,"time_in":"2024-05-20T11:08:49.272922Z","time_out":"2024-05-20T11:08:49.272940Z"}'


def test_three_seconds_of_silence_are_death():
    """Kraken promises a heartbeat a second; after three without any frame the connection must be cut."""
    session = live(Tape())

    assert session.dead(T0 + 3 * S) is None
    assert session.dead(T0 + 3 * S + 1) == "no frame for 3.0 s"


@pytest.mark.parametrize(
    "frame",
    [HEARTBEAT, b'{"type":"update","channel":"heartbeat"}', Tape("XRP/USD").nudge(), frames("trade.jsonl")[0],
     frames("status_heartbeat_pong.jsonl")[0], frames("acks.jsonl")[0], b"CloudFlare WebSocket proxy restarting"],
    ids=["heartbeat", "heartbeat with more", "book", "trade", "status", "ack", "noise"],
)  # fmt: skip
def test_any_frame_but_a_pong_is_a_sign_of_life(frame):
    """Silence is measured from the last frame of any kind."""
    session = live(Tape())
    session.receive(frame, T0 + 2 * S)

    assert session.dead(T0 + 5 * S) is None
    assert session.dead(T0 + 5 * S + 1) is not None


def test_pongs_prove_a_socket_and_not_a_feed():
    """A zombie that answers pings and sends nothing else is found dead all the same."""
    session = live(Tape())
    for now in range(T0, T0 + 4 * S, 100 * MS):
        session.receive(PONG, now)

    assert session.pongs == 40
    assert session.dead(T0 + 4 * S) == "no frame for 4.0 s"


def test_a_closed_connection_is_not_dead_a_second_time():
    """Between connections nobody is expected to speak; a new one has its three seconds."""
    session = live(Tape())
    session.closed(T0, "test")
    before = session.dead(T0 + 60 * S)
    session.opened(T0 + 60 * S)

    assert before is None
    assert session.dead(T0 + 63 * S) is None
    assert session.dead(T0 + 63 * S + 1) is not None


def test_an_application_ping_goes_out_every_fifteen_seconds_and_is_timed():
    """Kraken closes after a minute without requests or data; the answer gives the round trip, once."""
    session = live(Tape())
    poll(session, T0, T0 + 15 * S)
    (ping,) = sent(session)
    session.receive(b'{"method":"pong","req_id":%d}' % ping["req_id"], T0 + 15 * S + 7 * MS)
    session.receive(PONG, T0 + 20 * S)
    poll(session, T0 + 15 * S, T0 + 31 * S)

    assert ping.keys() == {"method", "req_id"}
    assert session.ping_rtt_ns == 7 * MS
    assert [request["method"] for request in sent(session)] == ["ping"]


def test_a_pong_that_nobody_asked_for_has_no_round_trip():
    """As in a replay, where no ping was ever sent."""
    session = new_session()
    session.receive(PONG, T0)

    assert (session.pongs, session.ping_rtt_ns) == (1, 0)


# --- the life of a connection


def test_a_lost_connection_puts_every_book_in_doubt():
    """All pairs at once, with the reason; what was to be sent is forgotten, and nothing is polled."""
    btc, eth = Tape("BTC/USD"), Tape("ETH/USD")
    session = live(btc, eth)
    session.poll(T0 + 15 * S)
    events = session.closed(T0 + 15 * S, "reset by peer")

    assert states(events) == [("BTC/USD", "stale"), ("ETH/USD", "stale")]
    assert {event.reason for event in events} == {"connection lost: reset by peer"}
    assert session.to_send() == []
    assert poll(session, T0 + 16 * S, T0 + 200 * S, S) == []
    assert session.to_send() == []


def test_a_new_connection_asks_for_everything_again():
    """Kraken restores nothing: all channels of all pairs, and only a snapshot makes a book live."""
    tape = Tape()
    session = new_session("BTC/USD")
    first = sent(session)
    session.receive(tape.snapshot(), T0)
    session.closed(T0, "test")
    session.opened(T0 + S)
    second = sent(session)
    between = session.receive(tape.nudge(), T0 + S)
    after = session.receive(tape.snapshot(), T0 + S)

    assert [request["params"] for request in second] == [request["params"] for request in first]
    assert (states(between), changed(between)) == ([], [])
    assert session.feeds["BTC/USD"].ignored == 1
    assert (states(after), changed(after)) == ([("BTC/USD", "live")], ["BTC/USD"])


def test_a_pair_that_was_refused_is_asked_for_again_on_a_new_connection():
    """Pairs are listed and relisted; a reconnect is the time to look."""
    session = quiet_session("NEW/USD")
    session.receive(b'{"error":"Currency pair not supported NEW/USD","method":"subscribe","success":false,'
                    b'"symbol":"NEW/USD","channel":"book"}', T0)  # fmt: skip
    session.closed(T0, "test")
    session.opened(T0)

    assert asked(sent(session), "subscribe") == ["NEW/USD"]


@pytest.mark.parametrize(
    ("system", "floor_s"), [("online", 0), ("post_only", 0), ("cancel_only", 5), ("maintenance", 5), ("new", 0)]
)
def test_after_maintenance_reconnects_are_spaced(system, floor_s):
    """Kraken: at least five seconds between attempts, and no gain from faster ones."""
    session = quiet_session()
    (event,) = session.receive(b'{"channel":"status","type":"update","data":[{"system":"%s"}]}' % system.encode(), T0)

    assert event.system == session.system == system
    assert session.reconnect_delay_floor_ns == floor_s * S


def test_connection_ids_are_unsigned_64_bits_or_absent():
    """They exceed 2**63; a maintenance status has none; keys came in alphabetical order until 2024."""
    session = quiet_session()
    systems = [e.system for f in frames("status_heartbeat_pong.jsonl")[:6] for e in session.receive(f, T0)]
    highest = b'{"channel":"status","type":"update","data":[{"connection_id":18446744073709551615,"system":"online"}]}'

    assert systems == ["online", "maintenance", "online", "online", "online", "online"]
    assert [event.system for event in session.receive(highest, T0)] == ["online"]


def test_a_notice_of_maintenance_is_told_with_its_particulars():
    """The genuine announcement of October 2026: once, though each status repeats it."""
    session = quiet_session()
    frame = frames("status_heartbeat_pong.jsonl")[5]
    (first,), (second,) = session.receive(frame, T0), session.receive(frame, T0)
    (notice,) = first.notices

    assert (notice.event_id, notice.phase, notice.title) == (33, "announced", "Order Entry System Maintenance")
    assert notice.recommended_action == "continue"
    assert second.notices == ()


# --- one subscription's silence


def silences(session, tape, until_s):
    """Seconds after T0 at which the pair was asked for anew; heartbeats go on, and every request is obeyed."""
    found = []
    for now in range(T0, T0 + until_s * S, 100 * MS):
        session.receive(HEARTBEAT, now)
        events = session.poll(now)
        assert states(events) == []
        if unproved(events) == ["BTC/USD"]:
            found.append((now - T0) // S)
            obey(session, now)
            session.receive(tape.snapshot(), now)
    return found


def test_a_quiet_pair_is_asked_for_proof_ever_less_often():
    """After 60 s of silence, then 120, 240 … of the next, up to sixteen times as long; heartbeats are no proof."""
    tape = Tape()
    session = live(tape)

    assert silences(session, tape, 4500) == [60, 180, 420, 900, 1860, 2820, 3780]
    assert session.feeds["BTC/USD"].mismatches == 0


def test_an_update_brings_the_patience_back_to_its_beginning():
    """A pair that has spoken is expected to speak again as soon as any other."""
    tape = Tape()
    session = live(tape)
    silences(session, tape, 200)
    session.receive(tape.nudge(), T0 + 200 * S)
    session.poll(T0 + 260 * S)
    before = unproved(session.poll(T0 + 260 * S))
    after = unproved(session.poll(T0 + 260 * S + 100 * MS))

    assert (before, after) == ([], ["BTC/USD"])


def test_a_quiet_pair_stays_live_unproved_and_is_asked_for_alone():
    """It says so, one unsubscribe and one subscribe, and the other pair untouched; an update is taken as ever."""
    btc, eth = Tape("BTC/USD"), Tape("ETH/USD")
    session = live(btc, eth)
    session.receive(eth.nudge(), T0 + 30 * S)
    events = session.poll(T0 + 60 * S + 1)
    requests = [request for request in sent(session) if request["method"] != "ping"]

    assert (states(events), unproved(events)) == ([], ["BTC/USD"])
    assert "unproved: book silent for 60.0 s" in events[0].reason
    assert [(r["method"], r["params"]["symbol"]) for r in requests] == [
        ("unsubscribe", ["BTC/USD"]),
        ("subscribe", ["BTC/USD"]),
    ]
    assert changed(session.receive(btc.nudge(), T0 + 61 * S)) == ["BTC/USD"]
    assert changed(session.receive(eth.nudge(), T0 + 61 * S)) == ["ETH/USD"]


def test_silence_of_a_pair_that_is_asked_for_is_not_counted_twice():
    """While a snapshot is awaited its own deadline runs, not the silence."""
    session = live(Tape())
    session.poll(T0 + 61 * S)
    obey(session, T0 + 61 * S)
    poll(session, T0 + 61 * S, T0 + 70 * S)

    assert session.feeds["BTC/USD"].renewals == 1


def test_another_connection_id_ends_every_book_and_nobody_is_forgotten():
    """A recording runs on over a reconnect; should it happen on a live socket, the pairs are asked for again."""
    status = b'{"channel":"status","type":"update","data":[{"system":"online","connection_id":%d}]}'
    session = live(Tape())
    first, same = session.receive(status % 7, T0), session.receive(status % 7, T0)
    other = session.receive(status % 8, T0)
    poll(session, T0, T0 + S)

    assert (states(first), states(same), states(other)) == ([], [], [("BTC/USD", "stale")])
    assert asked(sent(session), "subscribe") == ["BTC/USD"]


def test_a_book_that_an_unsubscribe_ended_is_asked_for_again():
    """The answer to our own renewal may come after an older snapshot, and ours may be lost: it is not waited for."""
    session = live(Tape())
    session.receive(b'{"method":"unsubscribe","result":{"channel":"book","symbol":"BTC/USD"},"success":true}', T0)
    poll(session, T0, T0 + S)

    assert asked(sent(session), "subscribe") == ["BTC/USD"]
