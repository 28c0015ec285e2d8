"""The trading session: every answer finds its request, and what is not answered is never thought to have failed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.connection.liveness import PING_INTERVAL_NS, PONG_DEADLINE_NS
from engine.kraken.private.events import (
    Answer,
    ChannelRefused,
    LinkLost,
    Purpose,
    Timing,
    TokenRefused,
    Unanswered,
)
from engine.kraken.trading import order_requests
from engine.kraken.trading.session import RETRY_INTERVAL_NS, TradingSession, TradingSettings
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Outcome
from engine.timestamps import wall_ns
from engine.units import NS_PER_MS, NS_PER_S

DATA = Path(__file__).parents[2] / "data" / "kraken" / "private"
T0 = 1_000 * NS_PER_S
S, MS = NS_PER_S, NS_PER_MS
CANCEL_A1 = Purpose("cancel", ("a1",))
STATUS = b'{"channel":"status","type":"update","data":[{"system":"%b","connection_id":1}]}'
TIMES = '"time_in":"2026-01-21T12:33:34.457870Z","time_out":"2026-01-21T12:33:34.460575Z"'


def lines(name):
    return (DATA / name).read_bytes().splitlines()


def ready_session(**settings):
    """A session on an authorised connection, its subscription sent and confirmed."""
    session = TradingSession(TradingSettings(**settings))
    session.opened(T0)
    session.authorise("the token", T0)
    (subscribe,) = session.to_send()
    ack = b'{"method":"subscribe","req_id":%d,"success":true,"result":{"channel":"balances"}}'
    session.receive(ack % json.loads(subscribe)["req_id"], T0)
    return session


def cancel(session, method="cancel_order", now=T0):
    """Send something small; its number."""

    def build(token, req_id):
        return order_requests.cancel_order(cl_ord_id="a1", token=token, req_id=req_id)

    sent = session.send(method, CANCEL_A1, build, now)
    return None if sent is None else sent[0]


def answer(session, req_id, text, now=T0 + 3 * MS):
    """The answer with this number; its events."""
    return session.receive(f'{{"req_id":{req_id},{TIMES},{text}}}'.encode(), now)


# --- what keeps the connection open


def test_a_connection_asks_for_nothing_before_it_has_a_token():
    session = TradingSession(TradingSettings())
    session.opened(T0)

    assert session.to_send() == []
    assert session.wants_token
    assert not session.is_ready


def test_with_a_token_balances_are_subscribed_without_a_snapshot():
    """An authenticated socket without a subscription is closed after a while; nobody reads these here."""
    session = TradingSession(TradingSettings())
    session.opened(T0)
    session.authorise("the token", T0)
    (request,) = map(json.loads, session.to_send())

    assert request["params"] == {"channel": "balances", "snapshot": False, "token": "the token"}
    assert session.is_ready
    assert not session.wants_token


def test_a_token_is_of_one_connection():
    session = ready_session()
    session.closed(T0, "gone")
    session.authorise("too late", T0)

    assert not session.is_ready
    session.opened(T0 + S)
    assert session.wants_token
    assert cancel(session) is None


def test_a_refused_subscription_is_told_and_asked_for_again():
    session = TradingSession(TradingSettings())
    session.opened(T0)
    session.authorise("the token", T0)
    (request,) = map(json.loads, session.to_send())
    refusal = '"method":"subscribe","success":false,"error":"EGeneral:Permission denied"'
    (event,) = answer(session, request["req_id"], refusal, T0)

    assert isinstance(event, ChannelRefused)
    assert "engine check" in event.advice
    session.poll(T0 + RETRY_INTERVAL_NS - 1)
    assert session.to_send() == []
    session.poll(T0 + RETRY_INTERVAL_NS)
    assert len(session.to_send()) == 1


def test_a_subscription_that_is_refused_for_ever_is_asked_for_less_and_less():
    """Up to once a minute; a new connection begins anew."""
    session = TradingSession(TradingSettings())
    refusal = '"method":"subscribe","success":false,"error":"EGeneral:Permission denied"'
    asked_at = []
    for _ in range(2):
        session.opened(T0)
        session.authorise("token", T0)
        for second in range(600):
            now = T0 + second * S
            session.poll(now)
            for request in map(json.loads, session.to_send()):
                if request["method"] == "subscribe":
                    asked_at.append(second)
                    answer(session, request["req_id"], refusal, now)

    assert asked_at[: len(asked_at) // 2] == [0, 5, 15, 35, 75, *range(135, 600, 60)]
    assert asked_at[len(asked_at) // 2 :] == asked_at[: len(asked_at) // 2]


def test_already_subscribed_is_as_good_as_subscribed():
    session = TradingSession(TradingSettings())
    session.opened(T0)
    session.authorise("the token", T0)
    (request,) = map(json.loads, session.to_send())

    assert (
        answer(session, request["req_id"], '"method":"subscribe","success":false,"error":"Already subscribed"', T0)
        == ()
    )
    session.poll(T0 + 14 * S)
    assert session.to_send() == []


def test_silence_is_death_once_heartbeats_are_due():
    session = ready_session()

    assert session.dead(T0 + 3 * S) is None
    assert session.dead(T0 + 3 * S + 1) == "no frame for 3.0 s"
    session.receive(b'{"channel":"heartbeat"}', T0 + 3 * S)
    assert session.dead(T0 + 5 * S) is None
    session.receive(b'{"method":"pong","req_id":1}', T0 + 6 * S)
    assert session.dead(T0 + 6 * S + 1), "pongs prove a socket, not an exchange"


def test_before_the_first_subscription_pongs_are_life():
    """No channel, no heartbeats: while the token does not come the socket is kept, and watched, by pings."""
    session = TradingSession(TradingSettings())
    session.opened(T0)
    session.poll(T0 + PING_INTERVAL_NS)
    (ping,) = map(json.loads, session.to_send())
    session.receive(b'{"method":"pong","req_id":%d}' % ping["req_id"], T0 + PING_INTERVAL_NS + 4 * MS)

    assert session.liveness.ping_rtt_ns == 4 * MS
    assert session.dead(T0 + 2 * PING_INTERVAL_NS) is None
    session.poll(T0 + 2 * PING_INTERVAL_NS)
    assert session.dead(T0 + 2 * PING_INTERVAL_NS + PONG_DEADLINE_NS) is None
    assert session.dead(T0 + 2 * PING_INTERVAL_NS + PONG_DEADLINE_NS + 1)


@pytest.mark.parametrize(
    ("system", "floor_ns"), [("online", 0), ("maintenance", 5 * S), ("cancel_only", 5 * S), ("post_only", 0)]
)
def test_the_venues_state_is_told_and_after_maintenance_the_next_connection_waits(system, floor_ns):
    session = ready_session()
    (event,) = session.receive(STATUS % system.encode(), T0)

    assert isinstance(event, SystemChanged)
    assert event.system == system
    assert session.reconnect_delay_floor_ns == floor_ns


# --- answers


def test_an_answer_finds_its_request():
    session = ready_session()
    req_id = cancel(session, "add_order")
    result = '"method":"add_order","success":true,"result":{"order_id":"OXZPAJ-ONWQU-KMAMPL","cl_ord_id":"a1"}'
    (event,) = answer(session, req_id, result)

    assert isinstance(event, Answer)
    assert (event.req_id, event.method, event.success, event.timing) == (req_id, "add_order", True, Timing.EXPECTED)
    assert (event.order_id, event.cl_ord_id, event.outcome) == ("OXZPAJ-ONWQU-KMAMPL", "a1", None)
    assert event.purpose == CANCEL_A1
    assert event.took_ns == 3 * MS
    assert event.time_out - event.time_in == 2_705_000
    assert session.pending == ()


def test_requests_are_numbered_and_carry_the_token():
    session = ready_session()
    number, frame = session.send(
        "cancel_all", Purpose("cancel"), lambda t, n: order_requests.cancel_all(token=t, req_id=n), T0
    )

    assert json.loads(frame) == {"method": "cancel_all", "params": {"token": "the token"}, "req_id": number}
    assert cancel(session) == number + 1


EXPECTED = {
    # Of each line of ws_responses.jsonl: what the documents say that the message means.
    0: {"order_id": "AA5JGQ-SBMRC-SCJ7J7", "order_userref": 100054},
    1: {"amend_id": "TTW6PD-RC36L-ZZSWNU", "cl_ord_id": "2c6be801-1f53-4f79-a0bb-4ea1c95dfae9"},
    2: {"order_id": "ORDERX-IDXXX-XXXXX2", "original_order_id": "ORDERX-IDXXX-XXXXX1"},
    3: {"order_id": "OLUMT4-UTEGU-ZYM7E9"},
    4: {"order_id": "OM5CRX-N2HAL-GFGWE9"},
    5: {"count": 1},
    6: {"current_at": wall_ns("2023-09-21T15:49:29Z"), "trigger_at": wall_ns("2023-09-21T15:51:09Z")},
    7: {"rows": [("ORDERX-IDXXX-XXXXX1", None, 1), ("ORDERX-IDXXX-XXXXX2", None, 2)]},
    8: {"count": 3},
    9: {"order_id": "OXZPAJ-ONWQU-KMAMPL", "cl_ord_id": "3178d58d4d000200"},
    10: {"amend_id": "TTB6D6-Q4HHW-DQ5FQW", "cl_ord_id": "aff1f7b04d000200"},
    11: {"cl_ord_id": "6a3260914d000200"},
    12: {"count": 3},
    13: {"order_id": "OPS23M-VS41G-DDE5Z2", "cl_ord_id": "client-zero"},
    14: {"amend_id": "1M2JV8-OEJZD-G5GSBF", "order_id": "BQS60L-EGW18-UPAK9U"},
    15: {"order_id": "7FIK6B-S15X0-DPJJTH", "original_order_id": "K1FF7H-A13AR-Q1S9Z6"},
    16: {"order_id": "1V7PZA-L5RIM-RX2G6B"},
    17: {"cl_ord_id": "a-uuid"},
    18: {"count": 0},
    19: {"current_at": wall_ns("2024-05-19T19:22:20Z"), "trigger_at": wall_ns("2024-05-19T19:22:25Z")},
    20: {"rows": [("JQDNTT-MZEIZ-OZKUDD", None, None), ("X67GEK-3VQWM-HPNQ89", None, None)]},
    21: {"count": 2},
}
FIELDS = (
    "order_id",
    "original_order_id",
    "cl_ord_id",
    "order_userref",
    "amend_id",
    "count",
    "current_at",
    "trigger_at",
)


@pytest.mark.parametrize("number", range(22))
def test_every_known_answer_says_what_it_says(number):
    """Captures and documents of all methods and years, batch_cancel in both shapes."""
    frame = lines("ws_responses.jsonl")[number]
    (event,) = ready_session().receive(frame, T0)
    told = {name: getattr(event, name) for name in FIELDS if getattr(event, name) not in (None, 0)}
    if event.rows:
        told["rows"] = [(row.order_id, row.cl_ord_id, row.order_userref) for row in event.rows]
        assert all(row.outcome is None for row in event.rows)
    if event.count == 0:
        told["count"] = 0

    assert told == EXPECTED[number]
    assert event.method == json.loads(frame)["method"]
    assert event.success
    assert event.outcome is None
    assert event.time_in == wall_ns(json.loads(frame)["time_in"])


def test_there_is_an_expectation_for_every_known_answer():
    assert len(lines("ws_responses.jsonl")) == len(EXPECTED)


@pytest.mark.parametrize("frame", lines("ws_errors.jsonl"))
def test_every_captured_error_is_an_answer_or_a_counted_oddity(frame):
    session = ready_session()
    events = session.receive(frame, T0)
    error = json.loads(frame)

    if error["method"] in ("subscribe", "ping"):
        assert not any(isinstance(event, Answer) for event in events)
        return
    (event,) = events
    assert (event.error, event.success) == (error["error"], False)
    assert event.outcome in (Outcome.NOT_PLACED, Outcome.NOT_OPEN)
    assert event.meaning.advice


@pytest.mark.parametrize("frame", lines("ws_session.jsonl"))
def test_no_genuine_frame_of_a_session_is_odd(frame):
    session = ready_session()
    session.receive(frame, T0)

    assert session.oddities.malformed == session.oddities.unknown == 0


def test_an_error_that_proves_nothing_leaves_the_order_in_doubt():
    session = ready_session()
    req_id = cancel(session, "add_order")
    (event,) = answer(session, req_id, '"method":"add_order","success":false,"error":"EService:Unavailable"')

    assert event.outcome is Outcome.UNKNOWN
    assert event.meaning.kind is ErrorKind.SERVICE


def test_unknown_order_says_nothing_of_an_order_that_was_to_be_made():
    session = ready_session()
    first, second = cancel(session, "add_order"), cancel(session, "cancel_order")
    refusal = '"method":"add_order","success":false,"error":"EOrder:Unknown order"'

    assert answer(session, first, refusal)[0].outcome is Outcome.UNKNOWN
    assert answer(session, second, refusal)[0].outcome is Outcome.NOT_OPEN


@pytest.mark.parametrize("success", ["true", "false"])
def test_each_row_of_a_batch_speaks_for_itself(success):
    """Some orders may live although the batch is called a failure."""
    session = ready_session()
    req_id = cancel(session, "batch_add")
    rows = (
        '[{"order_id":"O1","cl_ord_id":"a"},{"cl_ord_id":"b","error":"EOrder:Insufficient funds"},'
        '{"cl_ord_id":"c","error":"EService:Busy"},{"cl_ord_id":"d"}]'
    )
    error = ',"error":"EOrder:Insufficient funds"' if success == "false" else ""
    (event,) = answer(session, req_id, f'"method":"batch_add","success":{success},"result":{rows}{error}')

    assert [(row.order_id, row.cl_ord_id, row.outcome) for row in event.rows] == [
        ("O1", "a", None),
        (None, "b", Outcome.NOT_PLACED),
        (None, "c", Outcome.UNKNOWN),
        (None, "d", Outcome.UNKNOWN),
    ]


def test_a_failed_cancel_names_no_order_but_its_number_does():
    session = ready_session()
    first, second = cancel(session), cancel(session)
    (event,) = answer(session, second, '"method":"cancel_order","success":false,"error":"EOrder:Unknown order"')

    assert event.req_id == second
    assert [request.req_id for request in session.pending] == [first]


def test_a_cancel_by_userref_may_be_answered_once_for_each_order():
    session = ready_session()
    req_id = cancel(session)
    timings = [
        answer(session, req_id, f'"method":"cancel_order","success":true,"result":{{"order_id":"O{n}"}}')[0].timing
        for n in range(3)
    ]

    assert timings == [Timing.EXPECTED, Timing.AGAIN, Timing.AGAIN]


def test_a_request_that_kraken_could_not_read_is_told_without_a_number():
    session = ready_session()
    cancel(session)
    (event,) = session.receive(lines("ws_errors.jsonl")[3], T0)

    assert (event.method, event.req_id, event.timing) == ("error", None, Timing.STRANGE)
    assert len(session.pending) == 1


def test_an_answer_of_an_unknown_shape_leaves_the_order_in_doubt():
    session = ready_session()
    req_id = cancel(session, "add_order")
    events = answer(session, req_id, '"method":"add_order","success":true,"result":{"order_id":7}')

    assert events[0].outcome is Outcome.UNKNOWN
    assert events[0].req_id == req_id
    assert session.pending == ()
    assert session.oddities.malformed == 1


# --- no answer


def test_a_missing_answer_is_told_once_and_a_late_one_still_counts():
    session = ready_session(answer_deadline_ns=5 * S)
    req_id = cancel(session, "add_order", now=T0)

    assert list(session.poll(T0 + 5 * S - 1)) == []
    (event,) = session.poll(T0 + 5 * S)
    assert isinstance(event, Unanswered)
    assert (event.request.req_id, event.request.method, event.waited_ns) == (req_id, "add_order", 5 * S)
    assert list(session.poll(T0 + 9 * S)) == []
    (late,) = answer(session, req_id, '"method":"add_order","success":true,"result":{"order_id":"O1"}', T0 + 60 * S)
    assert (late.timing, late.order_id, late.took_ns) == (Timing.LATE, "O1", 60 * S)


def test_a_lost_connection_names_every_request_in_doubt():
    session = ready_session()
    numbers = [cancel(session, "add_order"), cancel(session)]
    answered = cancel(session)
    answer(session, answered, '"method":"cancel_order","success":true,"result":{"cl_ord_id":"a1"}')
    (event,) = session.closed(T0 + S, "reset by peer")

    assert isinstance(event, LinkLost)
    assert [request.req_id for request in event.pending] == numbers
    assert event.reason == "reset by peer"
    assert session.pending == ()


def test_numbers_go_on_over_reconnects():
    """A late answer is never taken for another's."""
    session = ready_session()
    before = cancel(session)
    session.closed(T0, "gone")
    session.opened(T0 + S)
    session.authorise("another", T0 + S)

    assert cancel(session) > before


def test_too_many_unanswered_requests_are_not_sent():
    session = ready_session(pending_max=2)

    assert [cancel(session) is None for _ in range(3)] == [False, False, True]


def test_a_request_that_was_not_written_is_not_waited_for():
    session = ready_session()
    session.withdraw(cancel(session))

    assert session.pending == ()
    assert session.closed(T0, "gone") == (LinkLost("gone", ()),)


# --- tokens


@pytest.mark.parametrize("error", ["ESession:Invalid session", "EAPI:Invalid token"])
def test_a_dead_token_is_told_once_and_its_requests_were_certainly_not_placed(error):
    session = ready_session()
    first, second = cancel(session, "add_order"), cancel(session)
    refusal = f'"method":"add_order","success":false,"error":"{error}"'
    told = [*answer(session, first, refusal), *answer(session, second, refusal)]

    assert [type(event) for event in told] == [Answer, TokenRefused, Answer]
    assert told[0].outcome is Outcome.NOT_PLACED
    assert session.wants_token
    assert cancel(session) is None, "nothing can be sent without a token"


def test_an_old_tokens_refusal_does_not_cost_the_new_one():
    session = ready_session()
    first, second = cancel(session), cancel(session)
    refusal = '"method":"cancel_order","success":false,"error":"ESession:Invalid session"'
    answer(session, first, refusal)
    session.authorise("another", T0 + S)
    (event,) = answer(session, second, refusal)

    assert isinstance(event, Answer)
    assert session.is_ready


# --- odd frames


@pytest.mark.parametrize(
    "frame",
    [b"", b"CloudFlare WebSocket proxy restarting", b"[1,2]", b'{"channel":7}', b'{"method":"add_order","req_id":"x"}',
     b"[" * 100_000, b"\xff\xfe", b'{"channel":"status","data":5}'],
)  # fmt: skip
def test_a_frame_that_cannot_be_read_is_counted_and_left(frame):
    session = ready_session()
    req_id = cancel(session)
    events = session.receive(frame, T0)

    assert session.oddities.malformed == 1
    assert all(isinstance(event, FrameNotUnderstood) for event in events)
    assert answer(session, req_id, '"method":"cancel_order","success":true')[0].timing is Timing.EXPECTED


def test_a_channel_that_nobody_knows_is_reported_once():
    session = ready_session()

    assert len(session.receive(b'{"channel":"news"}', T0)) == 1
    assert len(session.receive(b'{"channel":"news"}', T0 + 9 * S)) == 0
    assert session.oddities.unknown == 2


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
       lambda inner: st.lists(inner) | st.dictionaries(
           st.sampled_from(["method", "req_id", "result", "success", "error", "channel", "data", "x"]), inner))
       .map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_nothing_that_can_be_received_raises(frame):
    session = ready_session()
    cancel(session)
    for event in session.receive(frame, T0):
        assert repr(event)
