"""A connection whose heartbeats arrive and whose requests do not: it is found dead by its pings."""

import json

import pytest

from engine.kraken.connection.liveness import PING_INTERVAL_NS, PONG_DEADLINE_NS
from engine.kraken.private.events import Purpose
from engine.kraken.private.session import PrivateSession, PrivateSettings
from engine.kraken.public.session import PublicSession, PublicSettings
from engine.kraken.trading import order_requests
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.units import NS_PER_MS, NS_PER_S

T0 = 1_000 * NS_PER_S
MS = NS_PER_MS
POLL_NS = 20 * MS
HEARTBEAT = b'{"channel":"heartbeat"}'
PONG = b'{"method":"pong","req_id":%d}'
REFUSED = b'{"error":"Unsupported event","method":"ping","req_id":%d,"success":false}'


class OneWay:
    """A session whose connection brings a heartbeat a second, and answers pings if it is
    told to.
    """

    def __init__(self, session, answer=None):
        self.session, self.answer = session, answer
        self.now = T0
        self.requests = []
        session.opened(T0)

    def until_dead(self, seconds):
        """Let time pass; (seconds until it was found dead, why), or None."""
        end = self.now + int(seconds * NS_PER_S)
        while (now := self.now + POLL_NS) < end:
            self.now = now
            if self.now % NS_PER_S < POLL_NS:
                self.session.receive(HEARTBEAT, self.now)
            self.session.poll(self.now)
            for request in map(json.loads, self.session.to_send()):
                self.requests.append(request["method"])
                if request["method"] == "ping" and self.answer is not None:
                    self.session.receive(self.answer % request["req_id"], self.now + MS)
            if (why := self.session.dead(self.now)) is not None:
                return (self.now - T0) / NS_PER_S, why
        return None


SESSIONS = {
    "trading": lambda: TradingSession(TradingSettings()),
    "private": lambda: PrivateSession(PrivateSettings()),
    "public": lambda: PublicSession(PublicSettings(symbols=("BTC/USD",))),
}


@pytest.mark.parametrize("name", SESSIONS)
def test_a_ping_that_is_not_answered_ends_the_connection(name):
    """Though heartbeats go on: what is asked does not arrive, and nothing else would show it."""
    found = OneWay(SESSIONS[name]()).until_dead(60)

    assert found is not None
    seconds, why = found
    assert why.startswith("no answer to a ping for ")
    assert seconds * NS_PER_S <= PING_INTERVAL_NS + 3 * PONG_DEADLINE_NS + POLL_NS


@pytest.mark.parametrize("name", SESSIONS)
@pytest.mark.parametrize("answer", [PONG, REFUSED], ids=["pong", "refusal"])
def test_a_ping_that_is_answered_keeps_the_connection(name, answer):
    """Whatever the answer says; other requests may wait for theirs."""
    way = OneWay(SESSIONS[name](), answer)

    assert way.until_dead(25 if name == "public" else 60) is None
    assert way.requests.count("ping") > 0


def test_a_trading_request_without_an_answer_is_followed_by_a_ping():
    """So that a dead direction costs one deadline more, not the next ping's turn."""
    way = OneWay(TradingSession(TradingSettings(answer_deadline_ns=2 * NS_PER_S)))
    way.session.authorise("the token", T0)
    way.session.send(
        "cancel_order",
        Purpose("cancel", ("a1",)),
        lambda token, req_id: order_requests.cancel_order(cl_ord_id="a1", token=token, req_id=req_id),
        T0,
    )
    found = way.until_dead(60)

    assert found is not None
    assert found[0] * NS_PER_S <= 2 * NS_PER_S + PONG_DEADLINE_NS + 2 * POLL_NS


def test_a_private_channel_without_an_answer_is_followed_by_a_ping():
    """The same, for what the private feed asks."""
    way = OneWay(PrivateSession(PrivateSettings(subscribe_deadline_ns=2 * NS_PER_S)))
    way.session.authorise("the token", T0)
    found = way.until_dead(60)

    assert found is not None
    assert found[0] * NS_PER_S <= 2 * NS_PER_S + PONG_DEADLINE_NS + 2 * POLL_NS


def test_a_public_channel_without_an_answer_is_followed_by_a_ping():
    """The same, for what a public feed asks; it may wait longer, for it may have much to read."""
    way = OneWay(PublicSession(PublicSettings(symbols=("BTC/USD",), subscribe_deadline_ns=2 * NS_PER_S)))
    found = way.until_dead(60)

    assert found is not None
    assert found[0] * NS_PER_S <= 2.5 * NS_PER_S + 3 * PONG_DEADLINE_NS


def test_a_late_pong_answers_for_the_ping_before_it():
    """A ping is out, and no second one until it is answered: the oldest decides."""
    way = OneWay(SESSIONS["trading"]())
    way.until_dead(PING_INTERVAL_NS / NS_PER_S + 1)
    way.session.receive(PONG % 1, way.now)

    assert way.session.dead(way.now + PONG_DEADLINE_NS // 2) is None
