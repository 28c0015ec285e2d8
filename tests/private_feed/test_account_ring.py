"""The private feed: what Kraken says fits the account ring, or costs a snapshot."""

from decimal import Decimal

from engine.clock import ManualClock
from engine.kraken.private.session import PrivateSession, PrivateSettings
from engine.orders.rings.account_ring import ACCOUNT_FACTS, ACCOUNT_RECORD_BYTES
from engine.orders.venue_facts import ExecutionFact, Fee, FeedLost
from engine.private_feed.feed import PrivateFeed
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.telemetry import new_counters
from engine.topology import PRIVATE_FEED_COUNTERS
from engine.units import WallNs


class Connection:
    """In place of the socket: notes why it was cut."""

    def __init__(self) -> None:
        self.cuts: list[str] = []

    def cut(self, reason: str) -> None:
        self.cuts.append(reason)

    def send_due(self) -> None:
        pass


async def no_token() -> str:
    return ""


def test_a_fact_that_does_not_fit_its_ring_costs_a_snapshot_and_not_the_process():
    """Each number and text is bounded, their sum is not: the router is told that facts are lost, and all begins."""
    memory = bytearray(ring_bytes(ACCOUNT_RECORD_BYTES, 16, gate_count=1))
    format_ring(memory, record_bytes=ACCOUNT_RECORD_BYTES, slot_count=16, gate_count=1)
    ring = GatedSubscriber(memory)
    feed = PrivateFeed(
        PrivateSession(PrivateSettings()), publisher=Publisher(memory), counters=new_counters(PRIVATE_FEED_COUNTERS),
        clock=ManualClock(), ask_token=no_token,
    )  # fmt: skip
    connection = feed.connection = Connection()
    fees = tuple(Fee("é" * 64, Decimal("9" * 30)) for _ in range(16))
    feed.on_events([ExecutionFact(exec_type="trade", order_id="O1", timestamp=WallNs(0), fees=fees)])
    feed.do_work()
    facts = [ACCOUNT_FACTS.unpack(record) for record in ring.poll_many(16)]

    assert [type(fact) for fact in facts] == [FeedLost]
    assert len(connection.cuts) == 1
    assert "does not fit the account ring" in connection.cuts[0]
