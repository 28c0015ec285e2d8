"""Pairs and channels that are subscribed and given back while the session lives."""

import json

import pytest

from engine.kraken.public.events import PairChanged, Refused
from engine.topology import ALL_CHANNELS, NO_CHANNELS, Channel
from tests.kraken.wire import T0, S, Tape, acks, asked, changed, error, live, obey, poll, sent, states

BOOK = Channel.BOOK
INSTRUMENTS = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[{"id":"SOL","precision":10}],"pairs":['
    b'{"symbol":"BTC/USD","status":"online","qty_precision":8,"price_precision":1},'
    b'{"symbol":"SOL/USD","status":"online","qty_precision":8,"price_precision":2}]}}'
)


def sol():
    return Tape("SOL/USD", decimals=(2, 8), mid=14_000)


def refused_before_it_was_listed():
    """A session with one live pair; another was added, and refused before Kraken told of it."""
    session = live(Tape())
    session.follow("SOL/USD", 1, BOOK, T0)
    session.poll(T0)
    (request,) = session.to_send()
    session.receive(error(request, "Currency pair not supported SOL/USD", "SOL/USD"), T0)
    return session


def test_a_pair_that_is_followed_later_becomes_live_as_one_from_the_start():
    """On the connection that is open, with what the instrument channel said long before."""
    btc, tape = Tape(), sol()
    session = live(btc)
    session.receive(INSTRUMENTS, T0)
    events = session.follow("SOL/USD", 1, BOOK | Channel.TRADE, T0)

    assert states(events) == [("SOL/USD", "stale")]
    (told,) = [event for event in events if isinstance(event, PairChanged)]
    assert (told.pair.symbol, told.pair.price_precision, told.base_decimals) == ("SOL/USD", 2, 10)
    session.poll(T0)
    requests = session.to_send()
    assert len(requests) == 2
    for request in requests:
        for answer in acks(request):
            session.receive(answer, T0)
    assert session.feeds["SOL/USD"].confirmed == BOOK | Channel.TRADE | Channel.CANDLE  # which is made of trades
    assert states(session.receive(tape.snapshot(), T0)) == [("SOL/USD", "live")]
    assert changed(session.receive(tape.nudge(), T0)) == ["SOL/USD"]
    assert changed(session.receive(btc.nudge(), T0)) == ["BTC/USD"]
    assert session.feeds["SOL/USD"].pair_index == 1


def test_a_reconnect_subscribes_exactly_what_is_wanted():
    """The added pair among it, the one that was given back not."""
    session = live(Tape(), Tape("ETH/USD", decimals=(2, 8)))
    session.follow("SOL/USD", 2, BOOK | Channel.TICKER, T0)
    session.follow("ETH/USD", 1, NO_CHANNELS, T0)
    session.poll(T0)
    obey(session, T0)
    events = session.closed(T0 + S, "cut")
    session.opened(T0 + 2 * S)
    requests = sent(session)

    assert states(events) == [("BTC/USD", "stale")]  # of the others nothing was live
    assert asked(requests, "subscribe") == ["BTC/USD", "SOL/USD"]
    assert asked(requests, "subscribe", "ticker") == ["SOL/USD"]
    assert asked(requests, "unsubscribe") == []


def test_a_pair_that_is_given_back_is_silent_and_asked_for_no_more():
    """Its state says so; what still comes is ignored; no silence of it is a failure."""
    btc, eth = Tape(), Tape("ETH/USD", decimals=(2, 8))
    session = live(btc, eth, book_silence_ns=5 * S)
    events = session.follow("ETH/USD", 1, NO_CHANNELS, T0)
    session.poll(T0)
    requests = sent(session)

    assert states(events) == [("ETH/USD", "unsubscribed")]
    assert asked(requests, "unsubscribe") == ["ETH/USD"]
    assert session.receive(eth.nudge(), T0) == ()
    assert list(session.receive(eth.snapshot(), T0)) == []
    session.receive(btc.nudge(), T0)
    later = poll(session, T0, T0 + 4 * S)
    assert states(later) == []
    assert asked(sent(session), "subscribe") == []
    assert states(session.doubt(("ETH/USD",), "whatever")) == []
    assert session.feeds["ETH/USD"].confirmed == NO_CHANNELS


def test_one_channel_is_given_back_alone():
    """The book stays, and its updates come."""
    btc = Tape()
    session = live(btc)
    session.follow("BTC/USD", 0, BOOK | Channel.TRADE, T0)
    session.poll(T0)
    obey(session, T0)
    events = session.follow("BTC/USD", 0, BOOK, T0)
    session.poll(T0)

    assert states(events) == []
    assert asked(sent(session), "unsubscribe", "trade") == ["BTC/USD"]
    assert changed(session.receive(btc.nudge(), T0)) == ["BTC/USD"]


def test_given_back_and_wanted_again_it_is_unsubscribed_first():
    """And the late answer to the first request changes nothing of the second."""
    btc = Tape()
    session = live(btc)
    session.follow("BTC/USD", 0, NO_CHANNELS, T0)
    events = session.follow("BTC/USD", 0, BOOK, T0)
    session.poll(T0)
    requests = session.to_send()
    again = [request for request in requests if b'"subscribe"' in request]

    assert states(events) == [("BTC/USD", "stale")]
    assert [b'"unsubscribe"' in request for request in requests] == [True, False]
    for answer in acks(again[0]):
        session.receive(answer, T0)
    assert states(session.receive(btc.snapshot(), T0)) == [("BTC/USD", "live")]
    for answer in acks(requests[0]):
        assert session.receive(answer, T0) == ()
    assert str(session.feeds["BTC/USD"].state) == "live"


def wanted_again_while_the_first_snapshot_is_on_its_way():
    """The session; and the requests: to subscribe, to give back, to subscribe again. The snapshot has come."""
    tape = sol()
    session = live(Tape())
    requests = []
    for channels in (BOOK, NO_CHANNELS, BOOK):
        session.follow("SOL/USD", 1, channels, T0)
        session.poll(T0)
        requests += session.to_send()
    session.receive(acks(requests[0])[0], T0)
    assert states(session.receive(tape.snapshot(), T0)) == [("SOL/USD", "live")]
    return session, tape, requests


def test_a_book_is_not_live_by_the_snapshot_of_a_subscription_that_has_ended():
    """Live while Kraken streams by the first one, stale when it says that it has ended that, live by its own."""
    session, tape, (_, give_back, again) = wanted_again_while_the_first_snapshot_is_on_its_way()
    assert changed(session.receive(tape.nudge(), T0)) == ["SOL/USD"]
    ended = session.receive(acks(give_back)[0], T0)

    assert states(ended) == [("SOL/USD", "stale")]
    assert session.receive(acks(again)[0], T0) == ()
    assert states(session.receive(tape.snapshot(), T0)) == [("SOL/USD", "live")]
    assert states(poll(session, T0, T0 + 15 * S)) == []


def test_the_snapshot_of_a_subscription_that_has_ended_is_no_answer_to_the_next():
    """Kraken takes too many messages amiss and never answers the second request: after its deadline it is repeated."""
    session, _, (_, give_back, again) = wanted_again_while_the_first_snapshot_is_on_its_way()
    session.receive(acks(give_back)[0], T0)
    session.receive(error(again, "Exceeded msg rate"), T0)
    poll(session, T0, T0 + 9 * S)
    early = asked(sent(session), "subscribe")
    poll(session, T0 + 9 * S, T0 + 11 * S)

    assert "SOL/USD" not in early
    assert "SOL/USD" in asked(sent(session), "subscribe")


def given_back(answer, until_s):
    """The seconds at which Kraken is asked to end the trades of a pair; `answer` makes its answers to each request."""
    session = live(Tape())
    session.follow("BTC/USD", 0, BOOK | Channel.TRADE, T0)
    session.poll(T0)
    obey(session, T0)
    session.follow("BTC/USD", 0, BOOK, T0)
    times = []
    for now in range(T0, T0 + until_s * S, S):
        session.poll(now)
        for request in session.to_send():
            if b'"unsubscribe"' in request and b'"trade"' in request:
                times.append((now - T0) // S)
                for frame in answer(request):
                    session.receive(frame, now)
            elif b'"ping"' in request:
                session.receive(b'{"method":"pong"}', now)
    return times


@pytest.mark.parametrize("trouble", ["EService:Unavailable", "Exceeded msg rate", ""])
def test_what_is_given_back_in_vain_is_given_back_again(trouble):
    """Refused, or never answered: Kraken would stream it on. Ever more rarely, while Kraken does not answer at all."""
    times = given_back(lambda request: [error(request, trouble)] if trouble else [], 200)

    assert times == [0, 10, 30, 70, 150]


@pytest.mark.parametrize("is_found", [True, False])
def test_what_kraken_has_ended_is_not_given_back_again(is_found):
    """It says so, or that there is nothing to end; after an answer that came in vain first."""
    answers = [["EService:Unavailable"], [] if is_found else ["Subscription Not Found"]]

    def answer(request):
        return [error(request, text, "BTC/USD") for text in answers[0]] or acks(request)

    def once_refused(request):
        told = answer(request)
        answers.pop(0)
        return told

    assert given_back(once_refused, 300) == [0, 10]


def test_what_is_wanted_again_is_not_given_back_again():
    """The unsubscription was lost; Kraken says of the new request that it is subscribed already."""
    session = live(Tape())
    session.follow("BTC/USD", 0, BOOK | Channel.TRADE, T0)
    session.poll(T0)
    obey(session, T0)
    for channels in (BOOK, BOOK | Channel.TRADE):
        session.follow("BTC/USD", 0, channels, T0)
    session.poll(T0)
    *_, again = session.to_send()
    session.receive(error(again, "Already subscribed", "BTC/USD"), T0)
    poll(session, T0, T0 + 120 * S)

    assert session.is_confirmed("trade", "BTC/USD")
    assert asked(sent(session), "unsubscribe", "trade") == []


def test_what_is_wanted_again_in_vain_and_given_back_is_given_back_again():
    """All of it is too fast for Kraken, which streams by the first request still; the last one was never asked."""
    session = live(Tape())
    session.follow("BTC/USD", 0, BOOK | Channel.TRADE, T0)
    session.poll(T0)
    obey(session, T0)
    changes = {0: BOOK, 1: BOOK | Channel.TRADE, 17: BOOK}  # by second
    asked_at = []
    for second in range(24):
        now = T0 + second * S
        if second in changes:
            session.follow("BTC/USD", 0, changes[second], now)
        session.poll(now)
        asked_at += [(second, request["method"]) for request in sent(session) if request["method"] != "ping"]
        if second in (0, 6, 14):
            session.receive(b'{"error":"Exceeded msg rate"}', now)

    assert asked_at == [(0, "unsubscribe"), (6, "subscribe"), (20, "unsubscribe")]


def test_a_book_in_doubt_that_is_given_back_is_unsubscribed_once():
    """Its renewal waits to be asked for; that is void."""
    btc = Tape()
    session = live(btc, requests_per_s=1.0)
    for _ in range(12):  # use the burst up
        session.follow("BTC/USD", 0, BOOK | Channel.TRADE, T0)
        session.poll(T0)
        session.follow("BTC/USD", 0, BOOK, T0)
        session.poll(T0)
    session.to_send()
    session.receive(btc.update([("4999.9", "9.00000000")]).replace(b'"checksum":', b'"checksum":1'), T0)
    session.follow("BTC/USD", 0, NO_CHANNELS, T0)
    requests = []
    for now in range(T0, T0 + 40 * S, S):
        session.poll(now)
        for request in session.to_send():
            requests.append(json.loads(request))
            for answer in acks(request) if b'"ping"' not in request else [b'{"method":"pong"}']:
                session.receive(answer, now)

    assert asked(requests, "unsubscribe") == ["BTC/USD"]
    assert asked(requests, "subscribe") == []


def test_a_name_that_kraken_refuses_is_told_as_a_refusal_alone():
    """No state of a pair that there is not: its index goes to another name."""
    session = live(Tape())
    session.receive(INSTRUMENTS, T0)
    session.follow("SOX/USD", 1, ALL_CHANNELS, T0)
    session.poll(T0)
    requests = session.to_send()
    events = [
        event
        for request in requests
        for event in session.receive(error(request, "Currency pair not supported SOX/USD", "SOX/USD"), T0)
    ]

    assert {type(event) for event in events} == {Refused}
    assert "did you mean SOL/USD?" in events[0].advice
    session.forget("SOX/USD", T0)
    events = session.follow("SOL/USD", 1, BOOK, T0)
    assert ("SOL/USD", "stale") in states(events)
    assert session.feeds["SOL/USD"].pair_index == 1
    assert set(session.feeds) == {"BTC/USD", "SOL/USD"}


def test_a_listed_pair_that_was_refused_and_is_wanted_again_is_told_again():
    """Who publishes forgot its data with its place: without them its book would be held back."""
    session = live(Tape())
    session.receive(INSTRUMENTS, T0)
    session.follow("SOL/USD", 1, ALL_CHANNELS, T0)
    session.poll(T0)
    for request in session.to_send():
        session.receive(error(request, "Currency pair not supported SOL/USD", "SOL/USD"), T0)
    session.forget("SOL/USD", T0)
    events = session.follow("SOL/USD", 1, BOOK, T0)

    assert [event.pair.symbol for event in events if isinstance(event, PairChanged)] == ["SOL/USD"]
    assert session.feeds["SOL/USD"].decimals_known == (2, 8)


def test_a_name_that_was_refused_before_it_was_listed_is_told_when_kraken_serves_it_after_all():
    """As of a pair that an earlier process of this feed had live: nobody forgets it, and it is asked for again."""
    tape = sol()
    session = refused_before_it_was_listed()
    told = [*session.receive(INSTRUMENTS, T0), *session.receive(tape.snapshot(), T0), *poll(session, T0, T0 + 60 * S)]
    (again,) = [request for request in session.to_send() if b'"SOL/USD"' in request]
    later = [event for frame in (*acks(again), tape.snapshot()) for event in session.receive(frame, T0 + 60 * S)]

    assert [event.pair.symbol for event in told if isinstance(event, PairChanged)] == ["BTC/USD"]
    assert states(told) == []
    assert [event.pair.symbol for event in later if isinstance(event, PairChanged)] == ["SOL/USD"]
    assert states(later) == [("SOL/USD", "live")]


def test_a_name_that_was_refused_before_it_was_listed_is_told_when_the_next_connection_serves_it():
    """There it is asked for anew, and nothing of the refusal counts."""
    tape = sol()
    session = refused_before_it_was_listed()
    session.closed(T0 + S, "gone")
    session.opened(T0 + 2 * S)
    answers = [answer for request in session.to_send() for answer in acks(request)]
    told = [event for frame in (*answers, INSTRUMENTS, tape.snapshot()) for event in session.receive(frame, T0 + 2 * S)]

    assert "SOL/USD" in [event.pair.symbol for event in told if isinstance(event, PairChanged)]
    assert ("SOL/USD", "live") in states(told)


def test_a_name_that_was_refused_before_it_was_listed_is_told_when_it_is_given_back_and_wanted_again():
    """Its place is its own still: nobody has made the session forget it."""
    tape = sol()
    session = live(Tape())
    session.follow("SOL/USD", 1, BOOK | Channel.TRADE, T0)
    session.poll(T0)
    for request in session.to_send():
        is_book = b'"book"' in request
        answers = [error(request, "Currency pair not supported SOL/USD", "SOL/USD")] if is_book else acks(request)
        for answer in (*answers, INSTRUMENTS):
            session.receive(answer, T0)
    session.follow("SOL/USD", 1, Channel.TRADE, T0)
    told = [*session.follow("SOL/USD", 1, BOOK | Channel.TRADE, T0), *session.poll(T0)]
    answers = [answer for request in session.to_send() for answer in acks(request)]
    told += [event for frame in (*answers, tape.snapshot()) for event in session.receive(frame, T0)]

    assert [event.pair.symbol for event in told if isinstance(event, PairChanged)] == ["SOL/USD"]
    assert states(told)[-1] == ("SOL/USD", "live")


def test_nothing_is_told_of_an_asset_whose_pair_was_forgotten():
    """Its precision changes afterwards."""
    session = live(Tape())
    session.receive(INSTRUMENTS, T0)
    session.follow("SOL/USD", 1, BOOK, T0)
    session.forget("SOL/USD", T0)
    told = session.receive(
        INSTRUMENTS.replace(b'"precision":10', b'"precision":9').replace(b'"SOL/USD"', b'"X/USD"'), T0
    )

    assert [event.pair.symbol for event in told if isinstance(event, PairChanged)] == ["BTC/USD"]


def test_without_a_connection_it_is_wanted_and_asked_for_when_there_is_one():
    """Nothing is sent into the void, nothing forgotten."""
    session = live(Tape())
    session.closed(T0 + S, "cut")
    session.follow("SOL/USD", 1, BOOK, T0 + S)

    assert session.to_send() == []
    session.opened(T0 + 2 * S)
    assert asked(sent(session), "subscribe") == ["BTC/USD", "SOL/USD"]


def test_many_pairs_at_once_share_requests():
    """As at the start: the pace is the session's."""
    session = live(Tape())
    session.closed(T0 + S, "cut")
    for number in range(120):
        session.follow(f"P{number}/USD", 1 + number, BOOK, T0 + S)
    session.opened(T0 + 2 * S)
    requests = sent(session)

    assert [len(r["params"].get("symbol", [])) for r in requests if r["params"]["channel"] == "book"] == [50, 50, 21]
