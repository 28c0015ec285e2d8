"""What the private feed tells the router when things go wrong: why, and that it lives; and how it asks for tokens."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from engine.clock import ManualClock
from engine.kraken.private.session import PrivateSession, PrivateSettings
from engine.net.control_socket import NobodyListens
from engine.net.traffic import Traffic
from engine.order_router.core.executions import FEED_SILENCE_NS
from engine.orders.rings.account_ring import ACCOUNT_FACTS, ACCOUNT_RECORD_BYTES
from engine.orders.rings.framing import RingRecords
from engine.orders.venue_facts import FeedAlive, FeedLost
from engine.private_feed.feed import PrivateFeed
from engine.processes.token_socket import NoToken
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.telemetry import Counters, new_counters
from engine.topology import PRIVATE_FEED_COUNTERS
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

SLOTS = 4096


class Wire(Traffic):
    """What the connection counts, moved by the test."""

    last_error = ""

    def cut(self, reason: str) -> None:
        """Not looked at here."""

    def send_due(self) -> None:
        """Not looked at here."""


class Rig:
    """A feed, its session, and the ring as the router reads it."""

    def __init__(self, counters: Counters | None = None) -> None:
        self.counters = counters or new_counters(PRIVATE_FEED_COUNTERS)
        ring = bytearray(ring_bytes(ACCOUNT_RECORD_BYTES, SLOTS, gate_count=1))
        format_ring(ring, record_bytes=ACCOUNT_RECORD_BYTES, slot_count=SLOTS, gate_count=1)
        self.clock = ManualClock(mono_ns=10**12)
        self.session = PrivateSession(PrivateSettings())
        self.router = GatedSubscriber(ring)
        self.records = RingRecords(ACCOUNT_FACTS, "account")
        # How often a token was asked for, and what comes of it.
        self.asked = 0
        self.no_token: Exception | None = None
        self.wire = Wire()
        self.feed = PrivateFeed(
            self.session, publisher=Publisher(ring), counters=self.counters, clock=self.clock,
            ask_token=self._ask_token, chance=lambda: 1.0,
        )  # fmt: skip
        self.feed.connection = self.feed.traffic = self.wire

    async def _ask_token(self) -> str:
        self.asked += 1
        if self.no_token is not None:
            raise self.no_token
        return "token"

    async def run(self, seconds: float) -> None:
        """Its duty cycle for so long."""
        for _ in range(int(seconds * 50)):
            self.feed.on_events(self.session.poll(self.clock.mono_ns()))
            self.feed.do_work()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.clock.advance(20 * NS_PER_MS)

    def open(self) -> None:
        """A connection is up."""
        self.wire.connects += 1
        self.session.opened(self.clock.mono_ns())

    def hear(self, message: dict[str, Any]) -> None:
        """Kraken says something."""
        self.feed.on_events(self.session.receive(json.dumps(message).encode(), self.clock.mono_ns()))

    def snapshot(self, channel: str) -> None:
        """An empty one."""
        self.hear({"channel": channel, "type": "snapshot", "sequence": 1, "data": []})

    def execute(self, sequence: int) -> None:
        """News of an order."""
        row = {"exec_type": "new", "order_id": "OQCLML-BW3P3-BUCMWZ", "timestamp": "2026-11-28T20:00:00Z"}
        self.hear({"channel": "executions", "type": "update", "sequence": sequence, "data": [row]})

    def refuse_token(self, channels: tuple[str, ...] = ("executions", "balances")) -> None:
        """Kraken refuses what was asked for last, of these channels."""
        for request in self.session.to_send():
            asked = json.loads(request)
            if asked["method"] == "subscribe" and asked["params"]["channel"] in channels:
                self.hear({"method": "subscribe", "success": False, "error": "ESession:Invalid session",
                           "req_id": asked["req_id"]})  # fmt: skip

    def told(self) -> list[Any]:
        """What the router has been told since the last look."""
        return list(self.records.read_all(self.router.poll_many(SLOTS)))


@pytest.fixture
def run() -> Callable[..., None]:
    def runner(scenario: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
            loop.run(asyncio.wait_for(scenario, 30))

    return runner


def test_each_failure_to_connect_is_told_with_its_error(run) -> None:
    """And that there is a connection again, before its snapshot comes."""

    async def scenario() -> None:
        rig = Rig()
        rig.wire.connect_failures, rig.wire.last_error = 1, "wss://kraken: connection refused"
        await rig.run(0.1)
        refused = rig.told()
        rig.wire.connect_failures, rig.wire.last_error = 2, "wss://kraken: cannot resolve"
        await rig.run(0.1)
        unresolved = rig.told()
        rig.no_token = NobodyListens("the router starts")
        rig.open()
        await rig.run(0.1)

        assert refused == [FeedLost("wss://kraken: connection refused", "executions", "unreachable")]
        assert unresolved == [FeedLost("wss://kraken: cannot resolve", "executions", "unreachable")]
        assert rig.told() == [FeedLost("connected, the snapshot is on its way", "executions")]

    run(scenario())


def test_a_feed_without_a_token_says_why_and_asks_less_and_less(run) -> None:
    """A router that is only starting is no reason, and is asked for a few times a second at most."""

    async def scenario() -> None:
        rig = Rig()
        rig.no_token = NoToken("EAPI:Invalid key")
        rig.open()
        await rig.run(60)
        reasons = {(fact.reason, fact.trouble) for fact in rig.told()[1:]}
        asked = rig.asked
        starting = Rig()
        starting.no_token = NobodyListens("the router starts")
        starting.open()
        await starting.run(60)

        assert reasons == {("EAPI:Invalid key", "has no token")}
        assert asked <= 18
        assert starting.asked <= 18
        assert len(starting.told()) == 1

    run(scenario())


def test_tokens_that_are_refused_in_a_row_are_asked_for_less_and_less(run) -> None:
    """The first at once; each costs the key a call."""

    async def scenario() -> None:
        rig = Rig()
        rig.open()
        await rig.run(0.1)
        for _ in range(60 * 50):
            rig.refuse_token()
            await rig.run(0.02)

        assert rig.asked <= 12
        assert rig.told()[-1] == FeedLost("ESession:Invalid session", "executions", "has no token that Kraken takes")

    run(scenario())


def test_trouble_of_balances_says_nothing_of_executions_that_come(run) -> None:
    """Nobody would send another snapshot of these, and the router would wait for it for ever."""

    async def scenario() -> None:
        rig = Rig()
        rig.open()
        await rig.run(0.1)
        rig.snapshot("executions")
        rig.told()
        rig.refuse_token(("balances",))
        rig.no_token = NoToken("EAPI:Rate limit exceeded")
        await rig.run(5)

        assert not [fact for fact in rig.told() if isinstance(fact, FeedLost)]

    run(scenario())


def test_a_feed_with_executions_gives_a_sign_of_life_whatever_kraken_does(run) -> None:
    """Twice a second though Kraken is silent and balances are missing: silence means that the process is frozen."""

    async def scenario() -> None:
        rig = Rig()
        rig.open()
        await rig.run(0.1)
        rig.snapshot("executions")
        heard_at = rig.clock.mono_ns()
        rig.told()
        await rig.run(FEED_SILENCE_NS / NS_PER_S)
        signs = rig.told()

        assert 5 <= len(signs) <= 8
        assert set(signs) == {FeedAlive(heard_at, MonoNs(0))}

    run(scenario())


def test_messages_are_complete_until_the_last_answered_ping_was_sent(run) -> None:
    """A frame that has just arrived may have been on its way for long: an order's row may still be behind it."""

    async def scenario() -> None:
        rig = Rig()
        rig.open()
        await rig.run(0.1)
        rig.snapshot("executions")
        await rig.run(0.7)
        rig.session.to_send()
        for _ in range(25):  # the ping leaves, and Kraken's heartbeats of before come late
            await rig.run(0.1)
            rig.hear({"channel": "heartbeat"})
        await rig.run(0.1)
        without_answer = [fact.complete_until for fact in rig.told() if isinstance(fact, FeedAlive)]
        (ping,) = map(json.loads, rig.session.to_send())
        rig.hear({"method": "pong", "req_id": ping["req_id"]})
        rig.feed.do_work()
        (answered,) = rig.told()

        assert set(without_answer) == {0}
        assert len(without_answer) > 5
        assert ping["method"] == "ping"
        assert 2 * NS_PER_S < rig.clock.mono_ns() - answered.complete_until < 3 * NS_PER_S

    run(scenario())


def test_nothing_counts_as_heard_while_a_message_before_it_is_missing(run) -> None:
    """It may be about an order in doubt, which would be taken for one that never was."""

    async def scenario() -> None:
        rig = Rig()
        rig.open()
        await rig.run(0.1)
        rig.snapshot("executions")
        await rig.run(1)
        rig.told()
        rig.execute(3)
        heard_at = rig.clock.mono_ns()
        await rig.run(0.15)
        while_missing = rig.told()
        rig.execute(2)
        await rig.run(1)

        assert while_missing == []
        told = rig.told()
        assert [type(fact).__name__ for fact in told[:3]] == ["ExecutionFact", "ExecutionFact", "FeedAlive"]
        assert told[2].heard_at >= heard_at

    run(scenario())


def test_what_was_counted_is_counted_on_by_the_next_process(run) -> None:
    """Counts go on; whether it is connected and subscribed is of the present process alone."""

    async def scenario() -> None:
        rig = Rig()
        rig.open()
        await rig.run(0.1)
        rig.snapshot("executions")
        rig.snapshot("balances")
        rig.execute(2)
        rig.execute(2)
        await rig.run(0.1)
        before = rig.counters.snapshot()
        assert (before["connects"], before["connected"], before["subscriptions"]) == (1, 1, 2)
        assert (before["executions"], before["duplicates"]) == (1, 1)
        successor = Rig(rig.counters)
        await successor.run(0.1)
        after = rig.counters.snapshot()
        assert (after["connects"], after["connected"], after["subscriptions"]) == (1, 0, 0)
        assert (after["executions"], after["duplicates"]) == (1, 1)

    run(scenario())


def test_trouble_of_executions_says_nothing_of_balances_that_come(run) -> None:
    """Nobody would send another snapshot of these: no balance would grow until the next connection."""

    async def scenario() -> None:
        rig = Rig()
        rig.open()
        await rig.run(0.1)
        rig.snapshot("balances")
        rig.told()
        rig.refuse_token(("executions",))
        await rig.run(5)

        assert {fact.channel for fact in rig.told() if isinstance(fact, FeedLost)} == {"executions"}

    run(scenario())
