"""Any value in any place of a genuine message: nothing ends, and nothing costs more than the entry it stands in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from engine.kraken.private.events import Answer, Purpose
from engine.kraken.private.session import PrivateSession, PrivateSettings
from engine.kraken.public.events import TickerChanged, TradePrinted
from engine.kraken.rest.replies import RestRefusal, read_system_status
from engine.kraken.trading import order_requests
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.orders.rings.account_ring import ACCOUNT_FACTS
from engine.orders.venue_facts import BalanceFact, ExecutionFact, FeedLost, Outcome, SnapshotBegan, SnapshotEnded
from engine.units import INT64_MAX
from tests.kraken.connection.hostile import LONG_TEXT_CHARS, TOKENS, with_value, wounded
from tests.kraken.rest.rig import FILES, PAIRS, READERS, WITH_PAIRS, body, reader
from tests.kraken.wire import (
    D10,
    DATA,
    MS,
    T0,
    S,
    Tape,
    book_frame,
    changed,
    entry_of,
    frames,
    live,
    new_session,
    states,
)
from tests.public_feed.rig import Market

HEARTBEAT = b'{"channel":"heartbeat"}'
PRIVATE = DATA / "private"
SINGLES = [
    frame for path in sorted(DATA.glob("*.jsonl")) if not path.name.startswith("capture") for frame in frames(path.name)
]
PUBLIC = [*SINGLES, *frames(D10)[:60]]


def lines(pattern):
    return [line for path in sorted(PRIVATE.glob(pattern)) for line in path.read_bytes().splitlines() if line]


FACTS = [*lines("executions_*.jsonl"), *lines("balances.jsonl")]
REPLIES = [*lines("ws_responses.jsonl"), *lines("ws_errors.jsonl"), *lines("ws_session.jsonl")]


# --- the public side


@given(st.lists(wounded(PUBLIC), min_size=1, max_size=4))
def test_the_public_feed_goes_on_whatever_a_message_holds(strange):
    """Session, records, board and counters take it; a genuine snapshot afterwards makes a book live, as ever."""
    market = Market(symbols=("BTC/USD", "ETH/USD", "MATIC/USD", "EUR/USD"))
    tape = Tape("ETH/USD")
    with capture_logs() as logs:
        market.take(*frames(D10)[:30])
        market.take(*strange)
        market.feed.on_events(market.session.poll(market.clock.mono_ns()))
        market.take(b'{"channel":"status","data":[{"system":"online"}]}')
        market.feed.do_work()
        market.take(tape.snapshot())
        market.feed.do_work()

    assert str(market.session.feeds["ETH/USD"].state) == "live"
    assert all(len(str(value)) < 2000 for line in logs for value in line.values())
    assert all(abs(count) <= INT64_MAX for count in market.counters.snapshot().values())


NEEDLESS = [
    ("status", ("connection_id",), "1.8e19"),
    ("status", ("connection_id",), '"18125794168470749634"'),
    ("status", ("connection_id",), "[1]"),
    ("status", ("version",), "2"),
    ("status", ("api_version",), "{}"),
    ("trade", ("ord_type",), "7"),
    ("trade", ("timestamp",), "1722569751"),
    ("ticker", ("timestamp",), "null"),
    ("ticker", ("trades",), '"many"'),
    ("ohlc", ("timestamp",), "5"),
    ("ohlc", (), "1"),
]


@pytest.mark.parametrize(("channel", "field", "token"), NEEDLESS, ids=str)
def test_a_field_that_nobody_needs_costs_nothing(channel, field, token):
    """Another type in it: the message means what it meant, and is not counted as malformed."""
    frame = next(f for f in SINGLES if f.startswith(b'{"channel":"%b"' % channel.encode()) and b'"update"' in f)
    path = ("data", 0, *field) if field else ("timestamp",)
    session, plain = new_session("BTC/USD", "MATIC/USD", "ALGO/USD"), new_session("BTC/USD", "MATIC/USD", "ALGO/USD")
    strange, usual = session.receive(with_value(frame, path, token), T0), plain.receive(frame, T0)

    assert [type(event) for event in strange] == [type(event) for event in usual]
    assert session.malformed == 0


def test_a_status_with_a_strange_connection_still_closes_the_market():
    """`cancel_only` must not be lost for the number of a connection."""
    session = new_session()
    (event,) = session.receive(
        b'{"channel":"status","type":"update","data":[{"system":"cancel_only","connection_id":1.8e19}]}', T0
    )

    assert (event.system, session.system, session.malformed) == ("cancel_only", "cancel_only", 0)


def test_a_status_that_is_no_list_still_closes_the_market():
    """One object where a list was: its word on the engine is taken."""
    session = new_session()
    (event,) = session.receive(b'{"channel":"status","type":"update","data":{"system":"maintenance"}}', T0)

    assert (event.system, session.system, session.malformed) == ("maintenance", "maintenance", 0)


@pytest.mark.parametrize("token", ["null", "[]", '"x"', "true", "{}", '"NaN"', '"sNaN"', '"-inf"'])
def test_one_strange_entry_of_several_costs_itself(token):
    """Of three trades, and of three tickers of a frame, the other two are told; the strange one is counted."""
    trade = '{"symbol":"BTC/USD","side":"buy","price":%s,"qty":1.0,"trade_id":%d}'
    trades = ",".join(trade % (price, number) for number, price in enumerate(("1.0", token, "2.0"), start=1))
    tickers = ",".join(f'{{"symbol":"BTC/USD","bid":{bid},"ask":2.0}}' for bid in ("1.0", token, "1.5"))
    session = new_session()
    told = [
        event
        for channel, data in (("trade", trades), ("ticker", tickers))
        for event in session.receive(f'{{"channel":"{channel}","type":"update","data":[{data}]}}'.encode(), T0)
    ]

    assert len([event for event in told if isinstance(event, TickerChanged)]) == 2
    assert len([event for event in told if isinstance(event, TradePrinted)]) == 2
    assert session.malformed == 2


@pytest.mark.parametrize("token", ["1e999", '"x"', "null", str(2**70)])
@pytest.mark.parametrize("kind", ["update", "snapshot"])
def test_one_strange_book_of_several_puts_its_own_pair_in_doubt(token, kind):
    """The other two of the frame are applied, verified and told; the pair of the strange one is asked for anew."""
    tapes = [Tape(symbol) for symbol in ("BTC/USD", "ETH/USD", "XRP/USD")]
    session = live(*tapes)
    parts = [entry_of(tape.nudge() if kind == "update" else tape.snapshot()) for tape in tapes]
    frame = with_value(book_frame(kind, *parts), ("data", 1, "checksum"), token)
    events = session.receive(frame, T0)

    assert changed(events) == ["BTC/USD", "XRP/USD"]
    assert states(events) == [("ETH/USD", "stale")]
    assert session.malformed == 1


def test_a_strange_timestamp_costs_no_book():
    """It informs, it decides nothing: the update is applied, and verified."""
    tape = Tape()
    session = live(tape)
    events = session.receive(with_value(tape.nudge(), ("data", 0, "timestamp"), "1722569751"), T0)

    assert (changed(events), session.malformed) == (["BTC/USD"], 0)


def test_a_strange_asset_or_pair_costs_no_other():
    """Of two pairs and an asset the good pair is told, and what is strange is counted."""
    pair = '{"symbol":"%s","qty_precision":%s,"price_precision":2}'
    data = f'{{"assets":[{{"id":5}}],"pairs":[{pair % ("BTC/USD", "null")},{pair % ("ETH/USD", "8")}]}}'
    session = new_session("BTC/USD", "ETH/USD")
    session.receive(f'{{"channel":"instrument","type":"snapshot","data":{data}}}'.encode(), T0)

    assert session.malformed == 2
    assert session.feeds["ETH/USD"].decimals_known == (2, 8)
    assert session.feeds["BTC/USD"].decimals_known is None


# --- the private side


def live_private():
    """A private session, both of whose channels have had their snapshots."""
    session = PrivateSession(PrivateSettings())
    session.opened(T0)
    session.authorise("the token", T0)
    for request in map(json.loads, session.to_send()):
        channel = request["params"]["channel"]
        ack = b'{"method":"subscribe","req_id":%d,"success":true,"result":{"channel":"%s"}}'
        session.receive(ack % (request["req_id"], channel.encode()), T0)
        session.receive(b'{"channel":"%s","type":"snapshot","data":[],"sequence":1}' % channel.encode(), T0)
    assert session.is_live
    return session


def as_fact(event):
    """A row of the executions channel as the fact that it is; anything else as it stands."""
    if not isinstance(event, ExecutionFact):
        return event
    return ExecutionFact(**{name: getattr(event, name) for name in ExecutionFact.__struct_fields__})


@given(st.lists(wounded(FACTS + REPLIES), min_size=1, max_size=4))
def test_the_private_feed_goes_on_whatever_a_message_holds(strange):
    """Nothing is raised, every fact fits its ring, and time brings the snapshots back."""
    session = live_private()
    events = [event for frame in strange for event in session.receive(frame, T0 + S)]
    for now in range(T0 + S, T0 + 4 * S, 100 * MS):
        events += session.poll(now)
    events += session.closed(T0 + 4 * S, "test")

    for event in events:
        if isinstance(event, ExecutionFact | BalanceFact | FeedLost | SnapshotBegan | SnapshotEnded):
            assert ACCOUNT_FACTS.unpack(ACCOUNT_FACTS.pack(event)) == as_fact(event)


FILL = next(line for line in lines("executions_*.jsonl") if b'"exec_type":"trade"' in line and b"snapshot" not in line)
UNNEEDED = ("trade_id", "liquidity_ind", "cost", "order_type", "timestamp", "fee_usd_equiv", "cum_cost", "avg_price")


@pytest.mark.parametrize(
    "token", [str(2**70), '"x"', "[]", "1e400", f'"{"x" * LONG_TEXT_CHARS}"'], ids=lambda t: t[:12]
)
@pytest.mark.parametrize("field", UNNEEDED)
def test_a_fill_is_told_whatever_stands_in_a_field_that_does_not_decide(field, token):
    """Its ids, price and quantity are there, and no snapshot is asked for."""
    session = live_private()
    message = json.loads(FILL)
    message["sequence"] = 2
    events = session.receive(with_value(json.dumps(message).encode(), ("data", 0, field), token), T0)
    facts = [event for event in events if isinstance(event, ExecutionFact)]

    assert [(str(fact.last_qty), fact.exec_id) for fact in facts] == [
        (str(row["last_qty"]), row["exec_id"]) for row in message["data"]
    ]
    assert not any(isinstance(event, FeedLost) for event in events)
    ACCOUNT_FACTS.pack(facts[0])


UNREADABLE = {
    "last_qty": ('"NaN"', "1e400", "[]"),
    "last_price": ('"Infinity"', "9" * 400, "{}"),
    "order_id": ("null", "5", f'"{"x" * LONG_TEXT_CHARS}"'),
    "exec_id": ("[]", "5", f'"{"x" * LONG_TEXT_CHARS}"'),
}


@pytest.mark.parametrize(
    ("field", "token"),
    [(field, token) for field, tokens in UNREADABLE.items() for token in tokens],
    ids=lambda t: t[:12],
)
def test_a_fill_that_cannot_be_read_is_asked_for_anew(field, token):
    """Money would be counted wrong: the executions are not relied upon until their snapshot has come."""
    session = live_private()
    message = json.loads(FILL)
    message["sequence"] = 2
    events = session.receive(with_value(json.dumps(message).encode(), ("data", 0, field), token), T0 + 2 * S)

    assert [event.channel for event in events if isinstance(event, FeedLost)] == ["executions"]
    assert not session.is_live


# --- answers to requests


def asked_session():
    """A trading session with one order on the wire; its number."""
    session = TradingSession(TradingSettings())
    session.opened(T0)
    session.authorise("the token", T0)
    session.to_send()
    sent = session.send(
        "add_order", Purpose("add", ("a1",)),
        lambda token, req_id: order_requests.cancel_order(cl_ord_id="a1", token=token, req_id=req_id), T0,
    )  # fmt: skip
    assert sent is not None
    return session, sent[0]


@given(st.lists(wounded(REPLIES + FACTS), min_size=1, max_size=4))
def test_the_trading_session_goes_on_whatever_an_answer_holds(strange):
    """Nothing is raised, what is told is short, and what is not answered is reported."""
    session, _ = asked_session()
    events = [event for frame in strange for event in session.receive(frame, T0 + MS)]
    events += session.poll(T0 + 20 * S)
    events += session.closed(T0 + 21 * S, "test")

    for event in events:
        if isinstance(event, Answer):
            assert len(event.error or "") <= 200
            assert all(len(warning) <= 200 for warning in event.warnings)


@pytest.mark.parametrize("token", [str(2**70), '"x"', "[]", "{}", "null", "1e999"])
@pytest.mark.parametrize("field", ["time_in", "time_out", "warnings", "amend_id", "count", "new"])
def test_an_order_is_acknowledged_whatever_stands_in_a_field_that_does_not_decide(field, token):
    """Its id and `success` are there: it is not in doubt."""
    session, req_id = asked_session()
    reply = f'{{"method":"add_order","req_id":{req_id},"result":{{"order_id":"OXZPAJ-ONWQU-KMAMPL"}},"success":true}}'
    path = (field,) if field.startswith("time") else ("result", field)
    answer = session.receive(with_value(reply.encode(), path, token), T0 + MS)[0]

    assert (answer.success, answer.order_id, answer.req_id) == (True, "OXZPAJ-ONWQU-KMAMPL", req_id)


@pytest.mark.parametrize("number", ['"{}"', "{}.0", "{}e0"])
def test_an_answer_finds_its_request_however_the_number_is_written(number):
    """As a text, or with a point: an order is not put in doubt for it."""
    session, req_id = asked_session()
    reply = f'{{"method":"add_order","req_id":{number.format(req_id)},"result":{{"order_id":"O1"}},"success":true}}'
    answer = session.receive(reply.encode(), T0 + MS)[0]

    assert (answer.success, answer.order_id, answer.req_id, session.answered) == (True, "O1", req_id, 1)


@pytest.mark.parametrize("field", ["order_id", "cl_ord_id"])
def test_an_id_that_no_record_holds_leaves_its_order_in_doubt(field):
    """Ten thousand characters are no id: nothing is believed of the answer, and the order is looked up."""
    session, req_id = asked_session()
    reply = f'{{"method":"add_order","req_id":{req_id},"result":{{"order_id":"O1"}},"success":true}}'
    answer = session.receive(with_value(reply.encode(), ("result", field), f'"{"x" * LONG_TEXT_CHARS}"'), T0 + MS)[0]

    assert (answer.success, answer.outcome, answer.req_id) == (False, Outcome.UNKNOWN, req_id)


@pytest.mark.parametrize("letter", ["x", "é", "\N{BLACK CHESS KNIGHT}", "\N{CHEQUERED FLAG}\N{ROCKET}"])
def test_words_of_krakens_are_cut_by_their_bytes(letter):
    """Records have room for bytes: a reason, an error and a warning of any letters are short in UTF-8 too."""
    private, (session, req_id) = live_private(), asked_session()
    row = f'{{"exec_type":"canceled","order_id":"O1","reason":"{letter * LONG_TEXT_CHARS}"}}'
    frame = f'{{"channel":"executions","type":"update","data":[{row}],"sequence":2}}'
    (fact,) = private.receive(frame.encode(), T0)
    refusal = f'{{"method":"add_order","req_id":{req_id},"success":false,"error":"{letter * LONG_TEXT_CHARS}"}}'
    answer = session.receive(refusal.encode(), T0)[0]
    rest = reader("read_add_order")(200, json.dumps({"error": [letter * LONG_TEXT_CHARS]}).encode())

    assert 0 < len(fact.reason.encode()) <= 200
    assert 0 < len(answer.error.encode()) <= 200
    assert 0 < len(rest.error.encode()) <= 240


# --- REST


@given(name=st.sampled_from([name for name in FILES if len(body(name)) < 20_000]), data=st.data())
def test_a_rest_answer_is_read_or_refused_whatever_it_holds(name, data):
    """One value of a genuine answer is another: an answer or a refusal, never an exception, and its text is short."""
    text = data.draw(wounded([body(name)]))
    function = READERS[name.partition("_")[0]]
    answer = reader(function)(200, text, *([PAIRS] if function in WITH_PAIRS else []))

    assert not isinstance(answer, RestRefusal) or len(answer.error) <= 600


@pytest.mark.parametrize("token", TOKENS, ids=lambda t: t[:12])
@pytest.mark.parametrize("field", ["stopprice", "limitprice", "misc", "time_in_force", "reason", "expiretm"])
def test_an_order_is_found_whatever_stands_in_a_field_that_does_not_decide(field, token):
    """A lookup of an order in doubt must not fail for it."""
    message = json.loads(body("OpenOrders_2026"))
    (order_id,) = message["result"]["open"]
    path = ("result", "open", order_id, field)
    plain = reader("read_open_orders")(200, body("OpenOrders_2026"), PAIRS)
    strange = reader("read_open_orders")(200, with_value(body("OpenOrders_2026"), path, token), PAIRS)

    assert not isinstance(strange, RestRefusal), strange.error
    assert [order.order_id for order in strange] == [order.order_id for order in plain]
    assert [order.qty for order in strange] == [order.qty for order in plain]


def test_a_page_of_orders_with_an_unreadable_one_proves_nothing():
    """An order that is not read must not be taken for one that is not there."""
    (order_id,) = json.loads(body("OpenOrders_2026"))["result"]["open"]
    text = with_value(body("OpenOrders_2026"), ("result", "open", order_id, "vol_exec"), '"NaN"')

    assert isinstance(reader("read_open_orders")(200, text, PAIRS), RestRefusal)


def test_an_order_whose_id_no_record_holds_proves_nothing():
    """The page is refused as a whole, for it may be ours."""
    (order_id,) = json.loads(body("OpenOrders_2026"))["result"]["open"]
    text = body("OpenOrders_2026").replace(order_id.encode(), b"O" * LONG_TEXT_CHARS)

    assert isinstance(reader("read_open_orders")(200, text, PAIRS), RestRefusal)


@pytest.mark.parametrize("field", ["timestamp", "upcoming_maintenance", "emergency"])
@pytest.mark.parametrize("token", TOKENS, ids=lambda t: t[:12])
def test_the_system_status_is_read_whatever_stands_beside_it(field, token):
    """Its two lists came in 2026, and may look otherwise tomorrow."""
    text = with_value(
        b'{"error":[],"result":{"status":"cancel_only","timestamp":"2026-05-08T14:28:00Z"}}', ("result", field), token
    )

    system = read_system_status(200, text)

    assert not isinstance(system, RestRefusal)
    assert system.status == "cancel_only"
