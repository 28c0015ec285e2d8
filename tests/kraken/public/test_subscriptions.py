"""What is asked of Kraken, how fast, and what its answers do."""

import json
from itertools import pairwise

import pytest

from engine.kraken.connection.events import FrameNotUnderstood
from engine.kraken.public.events import Refused
from engine.kraken.public.subscriptions import RATE_PENALTY_NS, REQUESTS_BURST
from tests.kraken.wire import (
    MS,
    T0,
    S,
    Tape,
    acks,
    asked,
    changed,
    error,
    frames,
    live,
    new_session,
    obey,
    poll,
    quiet_session,
    sent,
    states,
)

EVERYTHING = [
    {"channel": "instrument", "snapshot": True, "include_tokenized_assets": True},
    {"channel": "book", "symbol": ["BTC/USD", "ETH/USD"], "depth": 25, "snapshot": True},
    {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"], "snapshot": True},
    {"channel": "ticker", "symbol": ["BTC/USD", "ETH/USD"], "event_trigger": "bbo", "snapshot": True},
    {"channel": "ohlc", "symbol": ["BTC/USD", "ETH/USD"], "interval": 5, "snapshot": True},
]


def test_one_request_asks_for_a_channel_of_many_pairs():
    """Symbols as an array, only the parameters that a channel knows, each request numbered."""
    session = new_session("BTC/USD", "ETH/USD", depth=25, ticker_trigger="bbo", candle_interval_min=5)
    requests = sent(session)

    assert [request["params"] for request in requests] == EVERYTHING
    assert [request["method"] for request in requests] == ["subscribe"] * 5
    assert len({request["req_id"] for request in requests}) == 5


def test_channels_that_are_not_wanted_are_not_asked_for():
    """Books and instruments always, the rest as configured."""
    assert [request["params"]["channel"] for request in sent(quiet_session())] == ["instrument", "book"]


def test_requests_carry_as_many_symbols_as_configured():
    """A hundred and twenty pairs, fifty a request: fifty, fifty and twenty, each pair once."""
    symbols = [f"P{number}/USD" for number in range(120)]
    session = quiet_session(*symbols, symbols_per_request=50)
    requests = sent(session)

    assert [len(request["params"].get("symbol", [])) for request in requests] == [0, 50, 50, 20]
    assert asked(requests, "subscribe") == symbols


def send_times(session, seconds, step=10 * MS):
    """When each request leaves, with nobody answering."""
    times = [T0] * len(session.to_send())
    for now in range(T0 + step, T0 + seconds * S, step):
        session.poll(now)
        times += [now] * sum(b'"ping"' not in request for request in session.to_send())
    return times


@pytest.mark.parametrize("rate", [1.0, 5.0, 20.0])
def test_the_rate_is_kept_and_the_burst_is_bounded(rate):
    """In any span of time no more requests leave than a burst and the rate allow; and they do leave."""
    symbols = [f"P{number}/USD" for number in range(60)]
    session = quiet_session(*symbols, symbols_per_request=1, requests_per_s=rate, subscribe_deadline_ns=10**15)
    times = send_times(session, 70)

    assert len(times) == 61
    assert times.count(T0) == REQUESTS_BURST
    for first in range(0, len(times), 7):
        for last in range(first, len(times)):
            assert last - first + 1 <= REQUESTS_BURST + rate * (times[last] - times[first]) / S + 1e-9
    assert times[-1] - T0 == pytest.approx((61 - REQUESTS_BURST) / rate * S, abs=100 * MS)


def test_a_deadline_starts_when_its_request_leaves():
    """The last of sixty requests leaves after three seconds; with two seconds of patience none is late."""
    symbols = [f"P{number}/USD" for number in range(60)]
    session = new_session(
        *symbols, symbols_per_request=1, requests_per_s=20.0, subscribe_deadline_ns=2 * S, tickers=False,
        trades=False, candle_interval_min=1, depth=10,
    )  # fmt: skip
    tapes = {symbol: Tape(symbol) for symbol in symbols}
    requests, events = [], []
    for now in range(T0, T0 + 12 * S, 100 * MS):
        events += session.poll(now)
        for request in session.to_send():
            requests.append(json.loads(request))
            if requests[-1]["method"] == "subscribe":
                for answer in acks(request):
                    session.receive(answer, now)
                for symbol in asked(requests[-1:], "subscribe"):
                    session.receive(tapes[symbol].snapshot(), now)

    assert [request["method"] for request in requests] == ["subscribe"] * 121
    assert states(events) == []


def test_each_symbol_is_answered_for_on_its_own():
    """Two of three pairs are acknowledged: the third alone is asked for again, when its time is over."""
    session = new_session("A/USD", "B/USD", "C/USD", trades=False, candle_interval_min=None)
    for request in session.to_send():
        for answer in acks(request):
            if b'"channel":"ticker"' not in answer or b'"B/USD"' not in answer:
                session.receive(answer, T0)
    for symbol in ("A/USD", "B/USD", "C/USD"):
        session.receive(Tape(symbol).snapshot(), T0)
    poll(session, T0, T0 + 9_900 * MS)
    before = sent(session)
    poll(session, T0 + 10 * S, T0 + 11 * S)
    ping, *requests = sorted(sent(session), key=lambda request: request["method"])

    assert before == []
    assert ping["method"] == "ping"  # whether requests arrive at all
    assert [(r["method"], r["params"]["channel"], r["params"]["symbol"]) for r in requests] == [
        ("subscribe", "ticker", ["B/USD"])
    ]


def test_a_book_is_there_only_when_its_snapshot_is():
    """Acknowledged, then nothing: after ten seconds it is given back and asked for again, and the third time told."""
    session = quiet_session("BTC/USD")
    events = []
    for now in range(T0, T0 + 50 * S, 100 * MS):
        events += session.poll(now)
        obey(session, now)

    assert states(events) == [("BTC/USD", "untrusted")]
    assert "no snapshot within 10.0 s" in events[0].reason
    assert session.feeds["BTC/USD"].resyncs == 2


# --- refusals


def test_a_pair_that_was_delisted_is_not_suggested_again():
    """The pair was there when we came, and is gone: the advice says so, and names neither it nor another one gone."""
    session = quiet_session("OLD/USD", "OLDX/USD")
    session.receive(KNOWN, T0)
    _, request = session.to_send()
    (*_, gone) = session.receive(error(request, "Currency pair not supported OLD/USD", "OLD/USD"), T0)
    (_, near) = session.receive(error(request, "Currency pair not supported OLDX/USD", "OLDX/USD"), T0)

    assert gone.advice.endswith(": Kraken lists the pair as delisted and does not offer it; take it out of `symbols`")
    assert "OLD/USD" not in near.advice.partition("): ")[2]


@pytest.mark.parametrize(
    ("symbol", "mend"),
    [("XBT/USD", "use BTC/USD"), ("FOO/USD", "check its letters"), ("AAPLX/USD", "check its letters"),
     ("AAPLx/USD", "check its letters"), ("avax/usd", "check its letters")],
)  # fmt: skip
def test_before_kraken_has_told_its_pairs_only_a_plain_slip_is_corrected(symbol, mend):
    """A refusal comes before the pairs do; no name is made up."""
    session = quiet_session(symbol)
    _, request = session.to_send()
    (_, refused) = session.receive(error(request, f"Currency pair not supported {symbol}", symbol), T0)

    assert mend in refused.advice


def test_an_update_of_an_instrument_counts_for_advice():
    """Listed, then delisted while we run: the last word counts."""
    pair = b'{"symbol":"NEW/USD","status":"%s","qty_precision":8,"price_precision":2}'
    update = b'{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[%s]}}'
    session = quiet_session("NEW/USD")
    _, request = session.to_send()
    for status in (b"online", b"delisted"):
        session.receive(update % (pair % status), T0)
    (*_, refused) = session.receive(error(request, "Currency pair not supported NEW/USD", "NEW/USD"), T0)

    assert "lists the pair as delisted" in refused.advice


KNOWN = frames("instrument.jsonl")[0].replace(
    b'"pairs":[',
    b'"pairs":[{"symbol":"AAPLx/USD","qty_precision":8,"price_precision":2},'
    b'{"symbol":"OLD/USD","status":"delisted","qty_precision":8,"price_precision":2},',
)

REFUSALS = {
    "v1 name": ("XBT/USD", "Currency pair not supported XBT/USD", "use BTC/USD"),
    "v1 quote": ("ETH/XBT", "Currency pair not supported ETH/XBT", "use ETH/BTC"),
    "doge": ("XDG/USD", "Currency pair not supported XDG/USD", "use DOGE/USD"),
    "lower case": ("btc/usd", "Currency pair not supported btc/usd", "use BTC/USD"),
    "a tokenized stock in capitals": ("AAPLX/USD", "Currency pair not supported AAPLX/USD", "use AAPLx/USD"),
    "a tokenized stock in small letters": ("aaplx/usd", "Currency pair not supported aaplx/usd", "use AAPLx/USD"),
    "a tokenized stock that is not listed": (
        "TSLAx/USD",
        "Currency pair not supported TSLAx/USD",
        "did you mean AAPLx/USD?",
    ),
    "perhaps a tokenized stock": ("zzzzx/jpy", "Currency pair not supported zzzzx/jpy", "take it out of `symbols`"),
    "a listed pair": (
        "EUR/USD",
        "Currency pair not supported EUR/USD",
        "Kraken lists the pair as online and does not offer it; take it out of `symbols`",
    ),
    "nearly known": ("EUR/USF", "Currency pair not supported EUR/USF", "did you mean EUR/USD?"),
    "unlike anything": ("QQQQQ/ZZZ", "Currency pair not supported QQQQQ/ZZZ", "take it out of `symbols`"),
    "ohlc": ("BTC/USD", "Already subscribed to one ohlc interval on this symbol", "one candle interval only"),
    "private": (
        "BTC/USD",
        "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
        "use another endpoint",
    ),
    "wrong host": (
        "BTC/USD",
        "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com",
        "wss://ws.kraken.com/v2",
    ),
    "anything else": ("BTC/USD", "Something new", "https://docs.kraken.com"),
}


@pytest.mark.parametrize(("symbol", "message", "mend"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_names_the_pair_and_the_mend(symbol, message, mend):
    """One sentence: which channel of which pair, in Kraken's words, and what to change. It is not tried again soon."""
    session = quiet_session(symbol, "ETH/USD")
    session.receive(KNOWN, T0)
    _, request = session.to_send()
    events = session.receive(error(request, message, symbol), T0)
    poll(session, T0, T0 + 59 * S)

    (refused,) = [event for event in events if isinstance(event, Refused)]
    assert (refused.channel, refused.symbol) == ("book", symbol)
    assert refused.advice.startswith(f"Kraken refuses book of {symbol} ({message}): ")
    assert mend in refused.advice
    assert states(events) == [(symbol, "untrusted")]
    assert symbol not in asked(sent(session), "subscribe")


def refused_while_live(tape, until_s, *, answers):
    """A live pair that Kraken does not offer on the next connection: when its book was asked for there, and the events.

    `answers`: to a request at a time (frames).
    """
    session = live(tape)
    session.closed(T0, "test")
    session.opened(T0)
    times, told = [], []
    for now in range(T0, T0 + until_s * S, 100 * MS):
        told += session.poll(now)
        for request in session.to_send():
            if b'"ping"' in request:
                session.receive(b'{"method":"pong"}', now)
            elif b'"book"' in request:
                assert b'"subscribe"' in request
                times.append((now - T0) // S)
                told += [event for frame in answers(request, now) for event in session.receive(frame, now)]
            else:
                told += [event for frame in acks(request) for event in session.receive(frame, now)]
    return session, times, told


def test_a_pair_that_kraken_refuses_is_asked_for_again_ever_more_rarely():
    """After a minute, then two, four, at most sixteen; it is told once, and every refusal is counted."""

    def answers(request, _):
        return [error(request, "Currency pair not supported BTC/USD", "BTC/USD")]

    session, times, told = refused_while_live(Tape(), 3600, answers=answers)

    assert [(later - earlier) // 60 for earlier, later in pairwise(times)] == [1, 2, 4, 8, 16, 16]
    assert states(told) == [("BTC/USD", "untrusted")]
    assert [type(event) for event in told].count(Refused) == 1
    assert session.refused == len(times) - 1
    assert session.is_refused("book", "BTC/USD")


def test_a_pair_that_kraken_refused_once_is_live_again_after_a_minute():
    """As when Kraken's own list was not loaded yet: one refusal is not for ever."""
    tape = Tape()
    refusals = ["Currency pair not supported BTC/USD"]

    def answers(request, _):
        return [error(request, refusals.pop(), "BTC/USD")] if refusals else [*acks(request), tape.snapshot()]

    session, times, told = refused_while_live(tape, 90, answers=answers)

    assert times == [0, 60]
    assert states(told) == [("BTC/USD", "untrusted"), ("BTC/USD", "live")]
    assert changed(session.receive(tape.nudge(), T0 + 90 * S)) == ["BTC/USD"]
    assert not session.is_refused("book", "BTC/USD")


def listing(status):
    pair = b'{"symbol":"BTC/USD","status":"%s","qty_precision":8,"price_precision":1}' % status
    return b'{"channel":"instrument","type":"update","data":{"assets":[],"pairs":[%s]}}' % pair


def test_a_question_that_came_early_counts_for_no_pause():
    """On each new connection Kraken tells of all pairs right after it was asked for their books: one that it refuses
    for some seconds is asked for soon, and then after a minute as any other.
    """
    tape = Tape()

    def answers(request, now):
        refused = error(request, "Internal error", "BTC/USD")
        return [refused, listing(b"online")] if now == T0 else [refused]

    session, times, _ = refused_while_live(tape, 400, answers=answers)

    assert times == [0, 5, 65, 185]
    assert states(session.receive(tape.snapshot(), T0 + 400 * S)) == [("BTC/USD", "live")]


@pytest.mark.parametrize("channel", ["book", "trade", "ticker"])
def test_what_was_refused_is_asked_for_again_when_kraken_tells_of_its_pair(channel):
    """Five seconds after the refusal at the earliest."""
    session = new_session("BTC/USD", candle_interval_min=None)
    for request in session.to_send():
        is_refused = f'"{channel}"'.encode() in request
        for answer in [error(request, "Currency pair not supported BTC/USD")] if is_refused else acks(request):
            session.receive(answer, T0)
    session.receive(listing(b"delisted"), T0)
    poll(session, T0, T0 + S)
    sent(session)
    session.receive(listing(b"online"), T0 + S)
    poll(session, T0 + S, T0 + 4900 * MS)
    early = asked(sent(session), "subscribe", channel)
    poll(session, T0 + 5 * S, T0 + 5 * S)

    assert early == []
    assert asked(sent(session), "subscribe", channel) == ["BTC/USD"]


def test_a_pair_that_was_delisted_is_given_back_and_comes_back_when_it_is_listed():
    """While it is off the list Kraken streams nothing of it that nobody takes, and nothing is asked."""
    tape = Tape()
    session = live(tape)
    gone = session.receive(listing(b"delisted"), T0)
    poll(session, T0, T0 + S)
    given_back = asked(sent(session), "unsubscribe")
    later = poll(session, T0 + S, T0 + 3600 * S, S)
    asked_meanwhile = asked(sent(session), "subscribe")
    back = session.receive(listing(b"online"), T0 + 3600 * S)
    poll(session, T0 + 3600 * S, T0 + 3600 * S + 100 * MS)
    again = asked(sent(session), "subscribe")

    assert states(gone) == [("BTC/USD", "untrusted")]
    assert given_back == ["BTC/USD"]
    assert (states(later), asked_meanwhile, states(back)) == ([], [], [])
    assert again == ["BTC/USD"]
    assert states(session.receive(tape.snapshot(), T0 + 3601 * S)) == [("BTC/USD", "live")]


def test_a_book_that_was_delisted_while_its_snapshot_was_on_its_way_is_in_doubt_and_asked_for():
    """That snapshot makes it live; when Kraken says that it was given back it is stale, and Kraken is asked anew."""
    tape = Tape()
    session = live(tape)
    session.receive(listing(b"delisted"), T0)
    session.poll(T0)
    (give_back,) = [request for request in session.to_send() if b'"unsubscribe"' in request]
    events = [*session.receive(tape.snapshot(), T0), *session.receive(acks(give_back)[0], T0)]
    poll(session, T0, T0 + 6 * S)

    assert states(events) == [("BTC/USD", "live"), ("BTC/USD", "stale")]
    assert asked(sent(session), "subscribe") == ["BTC/USD"]


def test_a_wrong_depth_concerns_every_pair_of_its_request():
    """The error names no symbol: the request's number tells which pairs are meant."""
    session = quiet_session("BTC/USD", "ETH/USD", depth=27)
    _, request = session.to_send()
    events = session.receive(error(request, "Subscription depth not supported"), T0)
    refused = [event for event in events if isinstance(event, Refused)]

    assert [event.symbol for event in refused] == ["BTC/USD", "ETH/USD"]
    assert all("feed.depth to one of 10, 25, 100, 500, 1000" in event.advice for event in refused)


def test_a_refused_instrument_channel_is_a_refusal_too():
    """It has no pairs; the advice says so."""
    session = quiet_session()
    request, _ = session.to_send()
    (event,) = session.receive(
        error(request, "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"), T0
    )

    assert (event.channel, event.symbol) == ("instrument", "all pairs")
    assert "set venue.url" in event.advice


def test_a_refused_pair_costs_the_others_nothing():
    """One of two pairs is unknown: the other becomes live on the same connection."""
    tape = Tape("ETH/USD")
    session = quiet_session("WWW/USD", "ETH/USD")
    _, request = session.to_send()
    session.receive(error(request, "Currency pair not supported WWW/USD", "WWW/USD"), T0)
    session.receive(acks(request)[1], T0)

    assert changed(session.receive(tape.snapshot(), T0)) == ["ETH/USD"]
    assert changed(session.receive(tape.nudge(), T0)) == ["ETH/USD"]


def test_a_refused_renewal_never_leaves_a_book_live():
    """The pair is delisted while it is asked for again: untrusted, and nothing more is told of it."""
    tape = Tape()
    session = live(tape)
    session.poll(T0 + 61 * S)
    _, request = [r for r in session.to_send() if b'"ping"' not in r]
    session.receive(error(request, "Currency pair not supported BTC/USD", "BTC/USD"), T0 + 61 * S)
    events = session.receive(tape.nudge(), T0 + 61 * S)

    assert str(session.feeds["BTC/USD"].state) == "untrusted"
    assert changed(events) == []


@pytest.mark.parametrize(
    "frame",
    [
        b'{"error":"Unsupported event","method":"subscribe","success":false}',
        b'{"error":"Malformed request","method":"error","success":false}',
        b'{"error":"Subscription Not Found","method":"unsubscribe","success":false,"symbol":"BTC/USD"}',
        b'{"error":"Unsupported field: \'params\' for the given msg type: ping","method":"ping","success":false}',
        b'{"channel":"executions","error":"ESession:Invalid session","method":"subscribe","success":false}',
    ],
)
def test_an_error_that_refuses_none_of_our_subscriptions_is_counted_and_told(frame):
    """Nothing is dropped silently, and no book pays for it."""
    tape = Tape()
    session = live(tape)
    (event,) = session.receive(frame, T0)

    assert isinstance(event, FrameNotUnderstood)
    assert (event.kind, session.refused) == ("refused", 1)
    assert changed(session.receive(tape.nudge(), T0)) == ["BTC/USD"]


@pytest.mark.parametrize(
    "trouble", ["EService:Unavailable", "EGeneral:Internal error", "EService:Market in maintenance"]
)
def test_a_subscription_refused_for_trouble_that_passes_is_asked_for_again(trouble):
    """Kraken's own trouble refuses no pair for good: it is counted and told, and after the deadline asked for again."""
    session = quiet_session("BTC/USD")
    instrument, request = session.to_send()
    events = [
        *session.receive(error(instrument, trouble), T0),
        *session.receive(error(request, trouble, "BTC/USD"), T0),
    ]
    poll(session, T0, T0 + 10 * S)
    again = [(ask["method"], ask["params"]["channel"]) for ask in sent(session) if ask["method"] != "ping"]

    assert [type(event) for event in events] == [FrameNotUnderstood]  # one a second is told, both are counted
    assert session.refused == 2
    assert again == [("unsubscribe", "book"), ("subscribe", "book"), ("subscribe", "instrument")]


# --- already subscribed


def test_already_subscribed_heals_a_book_by_giving_it_back():
    """The refusal brings no snapshot: the pair is unsubscribed, subscribed once more, and live again."""
    tape = Tape()
    session = quiet_session()
    instrument, request = session.to_send()
    refusals = session.receive(error(request, "Already subscribed", "BTC/USD"), T0)
    for answer in acks(instrument):
        session.receive(answer, T0)
    poll(session, T0, T0 + 10 * S)
    requests = [request for request in sent(session) if request["method"] != "ping"]
    session.receive(tape.snapshot(), T0 + 11 * S)

    assert refusals == ()
    assert [request["method"] for request in requests] == ["unsubscribe", "subscribe"]
    assert requests[0]["params"] == {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}
    assert str(session.feeds["BTC/USD"].state) == "live"


def test_already_subscribed_is_good_news_elsewhere():
    """A ticker that streams already needs nothing: it is not asked for again."""
    session = new_session("BTC/USD", trades=False, candle_interval_min=None)
    for request in session.to_send():
        is_ticker = b'"ticker"' in request
        for answer in [error(request, "Already subscribed", "BTC/USD")] if is_ticker else acks(request):
            session.receive(answer, T0)
    session.receive(Tape().snapshot(), T0)
    poll(session, T0, T0 + 40 * S)

    assert [request["method"] for request in sent(session)] == ["ping"]


@pytest.mark.parametrize("answer", ["acknowledged", "subscribed already"])
def test_instruments_whose_snapshot_does_not_come_are_asked_for_anew(answer):
    """Else no pair's rules would be known on this connection: no order could be written, and no bracket closed."""
    session = quiet_session()
    for request in session.to_send():
        of_instruments = b'"instrument"' in request
        for ack in acks(request)[: 1 if of_instruments else None]:
            session.receive(error(request, "Already subscribed") if of_instruments and "already" in answer else ack, T0)
    session.receive(Tape().snapshot(), T0)
    poll(session, T0, T0 + 10 * S)
    again = [request for request in session.to_send() if b'"ping"' not in request]
    for request in again:
        for ack in acks(request):
            session.receive(ack, T0 + 10 * S)
    poll(session, T0 + 10 * S, T0 + 14 * S)
    asked = [(ask["method"], ask["params"]["channel"]) for ask in map(json.loads, again)]

    assert asked == [("unsubscribe", "instrument"), ("subscribe", "instrument")]
    assert [request for request in session.to_send() if b'"instrument"' in request] == []


# --- too fast

TOO_FAST = [
    b'{"Error":"Exceeded msg rate"}',
    b'{"error":"Exceeded msg rate"}',
    b'{"error":"Exceeded msg rate","method":"subscribe","success":false,"symbol":"P0/USD"}',
    b'{"error":"EGeneral:Exceeded msg rate","method":"subscribe","req_id":2,"success":false}',
    b'{"error":"Exceeded msg rate","method":"ping","success":false}',
    b'{"error":"EService: Throttled: 1750000000","method":"subscribe","success":false,"symbol":"P0/USD"}',
]


@pytest.mark.parametrize("frame", TOO_FAST)
def test_exceeded_message_rate_slows_us_down_and_refuses_nothing(frame):
    """Every spelling: silence for a while, then the pace without a burst; the rest is still asked for."""
    symbols = [f"P{number}/USD" for number in range(40)]
    session = quiet_session(*symbols, symbols_per_request=1, requests_per_s=20.0)
    early = len(session.to_send())
    (event,) = session.receive(frame, T0)
    poll(session, T0, T0 + RATE_PENALTY_NS - 100 * MS)
    silence = sent(session)
    times = []
    for now in range(T0 + RATE_PENALTY_NS, T0 + RATE_PENALTY_NS + 2 * S, 10 * MS):
        session.poll(now)
        times += [now] * len(session.to_send())

    assert event.kind == "refused"
    assert (session.refused, session.unknown, session.malformed) == (1, 0, 0)
    assert (early, silence) == (REQUESTS_BURST, [])
    assert len(times) == 41 - REQUESTS_BURST
    assert all(later - earlier >= 40 * MS for earlier, later in pairwise(times))


def test_a_connection_is_not_cut_while_it_waits_because_kraken_said_too_fast():
    """Before anything is subscribed no heartbeat comes: silence counts from when all was asked for again."""
    session = quiet_session()
    for request in session.to_send():
        session.receive(error(request, "Exceeded msg rate"), T0)
    cut = []
    for now in range(T0, T0 + 10 * S + 1, 100 * MS):
        session.poll(now)
        cut.append(session.dead(now))

    assert set(cut) == {None}
    assert asked(sent(session), "subscribe", "instrument") == [None]
    assert session.dead(T0 + 13 * S) is None
    assert session.dead(T0 + 13 * S + 1) == "no frame for 13.0 s"


@pytest.mark.parametrize("is_first", [True, False])
def test_a_connection_with_a_subscription_is_cut_after_three_seconds_all_the_same(is_first):
    """Its heartbeats are due, whether Kraken confirmed something before it said so, or after."""
    session = quiet_session()
    instrument, book = session.to_send()
    frames = [acks(instrument)[0], error(book, "Exceeded msg rate")]
    for frame in frames if is_first else reversed(frames):
        session.receive(frame, T0)

    assert session.dead(T0 + 3 * S) is None
    assert session.dead(T0 + 3 * S + 1) == "no frame for 3.0 s"


# --- whose answer is it


def test_answers_of_a_former_connection_are_nobodys():
    """Numbers go on over reconnects, so a late answer is never taken for one of today."""
    session = quiet_session(depth=25)
    old = session.to_send()
    session.closed(T0, "test")
    session.opened(T0)
    new = session.to_send()
    late = session.receive(error(old[1], "Subscription depth not supported"), T0)

    assert {json.loads(r)["req_id"] for r in old}.isdisjoint(json.loads(r)["req_id"] for r in new)
    assert [event.kind for event in late] == ["refused"]
    assert states(late) == []


def test_the_numbers_in_a_capture_are_its_recorders():
    """In a replay an answer may bear a number of ours by chance: its channel and method must fit as well."""
    tape = Tape()
    session = new_session("BTC/USD", depth=None)
    (number,) = [request["req_id"] for request in sent(session) if request["params"]["channel"] == "book"]
    session.receive(tape.snapshot(), T0)
    answers = [
        b'{"method":"unsubscribe","req_id":%d,"result":{"channel":"trade","symbol":"BTC/USD"},"success":true}',
        b'{"method":"subscribe","req_id":%d,"result":{"channel":"ticker","symbol":"BTC/USD"},"success":true}',
        b'{"error":"EOrder:Invalid price","method":"add_order","req_id":%d,"success":false}',
    ]
    for answer in answers:
        session.receive(answer % number, T0)

    assert changed(session.receive(tape.nudge(), T0)) == ["BTC/USD"]


def test_acknowledgements_with_reordered_keys_say_the_same():
    """Any order of keys, with and without a number."""
    session = quiet_session(depth=None)
    session.receive(
        b'{"success":true,"time_out":"x","result":{"symbol":"BTC/USD","snapshot":true,"depth":25,"channel":"book"},'
        b'"method":"subscribe"}',
        T0,
    )

    assert session.feeds["BTC/USD"].depth == 25


def test_requests_that_are_never_answered_do_not_pile_up():
    """A venue that heartbeats and never acknowledges, for an hour: the ledger stays as small as at first."""
    session = new_session("BTC/USD", "ETH/USD")
    for now in range(T0, T0 + 3600 * S, S):
        session.receive(b'{"channel":"heartbeat"}', now)
        session.poll(now)
        session.to_send()

    subscriptions = 2 * 4 + 1  # books, trades, tickers and candles of two pairs, at most, and the instruments
    assert session.requests_unanswered <= 2 * subscriptions + REQUESTS_BURST
    assert session.requests_waiting <= 2 * subscriptions
