"""A record that cannot be read is one lost record: not the end of a process, nor of its successors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from engine.clock import ManualClock
from engine.errors import MisuseError, UnreadableRecord
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.order_router.core.cancels import OrderCancels
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.dead_man import DeadMan
from engine.order_router.core.executions import AccountFacts
from engine.order_router.core.gate import TradingGate
from engine.order_router.market_boards import MarketBoards
from engine.order_router.core.new_orders import NewOrderSettings, NewOrders, Waiting
from engine.order_router.core.replies import OrderReplies
from engine.order_router.core.report_outbox import ReportOutbox
from engine.order_router.router import OrderRouter
from engine.order_router.wire import OrderWire
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter
from engine.orders.breaker import Breaker
from engine.orders.intent import OrderIntent
from engine.orders.journal import Journal
from engine.orders.journal_records import Submitted
from engine.orders.life import OrderState
from engine.orders.pending_queue import PendingQueue
from engine.orders.rate_counter import STARTER, RateCounters
from engine.orders.rings.account_ring import ACCOUNT_FACTS, ACCOUNT_RECORD_BYTES
from engine.orders.rings.commands import COMMAND_RECORD_BYTES, COMMANDS, CancelAll, Submit, SubmitBatch
from engine.orders.rings.framing import LENGTH
from engine.orders.rings.reports import REPORT_RECORD_BYTES, REPORTS, OrderReport
from engine.orders.rings.ring_records import TOLD_MAX, RingRecords
from engine.orders.risk import DailyLoss, Risk, RiskLimits
from engine.orders.venue_facts import FeedAlive
from engine.ring import GatedSubscriber, Publisher, format_ring, ring_bytes
from engine.telemetry import new_histogram
from engine.units import NS_PER_S, MonoNs, QtyLots, WallNs

AT = 1_800_000_000 * NS_PER_S


def wrong(**fields: Any) -> bytes:
    """An order as a plugin once made it: a Struct takes what it is given, and so does the encoder."""
    intent = OrderIntent(
        symbol="BTC/USD", side="buy", order_type="limit", price_decimals=1, qty_decimals=8, qty=QtyLots(1), **fields
    )
    return COMMANDS.pack(Submit("quoter", "key", intent, MonoNs(AT), MonoNs(0)))


def framed(body: bytes) -> bytes:
    return LENGTH.pack(len(body)) + body


POISON = {
    "a word for a moment": wrong(expire_at="tomorrow"),
    "a word for a closing order": wrong(conditional="x"),
    "a side of its own": COMMANDS.pack(
        Submit(
            "quoter",
            "key",
            OrderIntent(
                symbol="X",
                side="bid",  # type: ignore[arg-type]
                order_type="limit",
                price_decimals=1,
                qty_decimals=8,
                qty=QtyLots(1),
            ),
            MonoNs(AT),
            MonoNs(0),
        )
    ),
    "a batch of none": COMMANDS.pack(SubmitBatch("quoter", [], MonoNs(AT), MonoNs(0))),
    "a message of another ring": framed(msgspec.msgpack.encode(["nobody's", 1])),
    "a nesting without end": framed(b"\x91" * 4000),
    "no MessagePack": framed(b"\xc1" * 50),
    "a length beyond the slot": LENGTH.pack(2**32 - 1) + b"\x91\xa1x",
    "nothing": b"",
    "noise": bytes(range(256)) * 15,
}  # fmt: skip
FACT = FeedAlive(MonoNs(1))


def ring(record_bytes: int, slot_count: int = 256) -> bytearray:
    memory = bytearray(ring_bytes(record_bytes, slot_count, gate_count=1))
    format_ring(memory, record_bytes=record_bytes, slot_count=slot_count, gate_count=1)
    return memory


# --- the codec


@pytest.mark.parametrize("kind", POISON)
@pytest.mark.parametrize("framing", [COMMANDS, ACCOUNT_FACTS, REPORTS], ids=["commands", "account", "reports"])
def test_the_codec_says_what_a_record_holds(framing: Any, kind: str) -> None:
    """One kind of error for all that a slot may hold, on one line, and short."""
    with pytest.raises(UnreadableRecord, match=r"it holds \d+ bytes, beginning b") as unreadable:
        framing.unpack(POISON[kind].ljust(COMMAND_RECORD_BYTES, b"\0"))

    assert "\n" not in str(unreadable.value)
    assert len(str(unreadable.value)) < 1000


@pytest.mark.parametrize(
    "value", [2**64, object(), "\ud800", 1 << 5000], ids=["65 bits", "object", "text", "5000 bits"]
)
def test_what_cannot_be_written_is_one_kind_of_error(value: Any) -> None:
    """The desk tells the strategy of it."""
    with pytest.raises(MisuseError, match="cannot be written"):
        COMMANDS.pack(CancelAll("quoter", value))


# --- one ring


@pytest.mark.parametrize("kind", POISON)
def test_the_records_around_it_come_and_it_comes_never_again(kind: str) -> None:
    """Neither to this reader nor to its successor."""
    memory = ring(COMMAND_RECORD_BYTES)
    publisher, reader, records = Publisher(memory), GatedSubscriber(memory), RingRecords(COMMANDS, "commands")
    good = [CancelAll("quoter", str(number)) for number in range(4)]
    for record in (COMMANDS.pack(good[0]), COMMANDS.pack(good[1]), POISON[kind], *map(COMMANDS.pack, good[2:])):
        assert publisher.try_publish(record)

    with capture_logs() as logs:
        assert list(records.read_all(reader.poll_many(64))) == good
        assert reader.poll() is None

    assert records.unreadable == 1
    assert [(entry["event"], entry["log_level"], entry["ring"]) for entry in logs] == [
        ("unreadable record", "error", "commands")
    ]
    assert GatedSubscriber(memory).poll() is None


def test_a_ring_full_of_noise_is_counted_and_told_a_hundred_times() -> None:
    """A log has a bound, too."""
    records = RingRecords(COMMANDS, "commands")

    with capture_logs() as logs:
        assert list(records.read_all([b"\xff" * 100] * (3 * TOLD_MAX))) == []

    assert (records.unreadable, len(logs)) == (3 * TOLD_MAX, TOLD_MAX)


# --- the order router


class NoRest:
    """In place of the resolver and the second way out: nothing is asked of them here."""

    is_reachable = False

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was called")


class Router:
    """The order router on real rings, without a connection; what it would have Kraken asked is in `settled`."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(AT, AT)
        self.command_ring, self.account_ring = ring(COMMAND_RECORD_BYTES), ring(ACCOUNT_RECORD_BYTES)
        self.commands, self.account = Publisher(self.command_ring), Publisher(self.account_ring)
        reports = ring(REPORT_RECORD_BYTES)
        self.reports = GatedSubscriber(reports)
        self.journal = Journal.open(folder)[0]
        self.line = ReportOutbox("quoter", Publisher(reports))
        self.settled: list[str] = []
        self.router = self.life()

    def life(self) -> OrderRouter:
        """A router that begins where its predecessor's rings stand."""
        clock, no_rest = self.clock, NoRest()
        wire = OrderWire(TradingSession(TradingSettings(answer_deadline_ns=NS_PER_S)), clock)
        rates, risk, boards = RateCounters(STARTER), Risk(RiskLimits()), MarketBoards([], clock)
        gate = TradingGate(risk, self.line.send)
        records = OrderRecords(Blotter(), self.journal, {"quoter": self.line}, Balances(), clock)
        breaker = Breaker(5, NS_PER_S)
        cancels = OrderCancels(records, wire, rates, lambda orders: None, clock)
        dead_man = DeadMan(0, NS_PER_S, wire, lambda timeout_s: None, clock)
        unused: Any = no_rest
        answers = OrderReplies(
            records, wire, gate, cancels, dead_man, rates, breaker, unused, clock, new_histogram(), lambda why: None
        )
        facts = AccountFacts(records, gate, boards, wire, cancels, rates, risk, unused, clock, is_tier_fixed=True)
        entry = NewOrders(
            NewOrderSettings(
                deadline_ns=NS_PER_S, command_ttl_ns=NS_PER_S, rest_fallback=False, queues_over_rate=False,
                queue_wait_ns_max=0,
            ),
            records=records, gate=gate, boards=boards, wire=wire, rest=unused, risk=risk, rates=rates,
            queue=PendingQueue[Waiting](10), breaker=breaker, clock=clock, strategy_to_wire=new_histogram(),
            tick_to_order=new_histogram(),
        )  # fmt: skip
        return OrderRouter(
            records=records, gate=gate, boards=boards, entry=entry, cancels=cancels, answers=answers, facts=facts,
            dead_man=dead_man, risk=risk, daily_loss=DailyLoss(None), commands=GatedSubscriber(self.command_ring),
            account=GatedSubscriber(self.account_ring), clock=clock, settle=self.settled.append,
            look_up=lambda order: None, cancels_on_halt=True,
        )  # fmt: skip

    def refused(self) -> list[str]:
        """Orders that the strategy is told are refused."""
        told = [REPORTS.unpack(record) for record in self.reports.poll_many(64)]
        return [it.cl_ord_id for it in told if isinstance(it, OrderReport) and it.state is OrderState.REFUSED]

    def order(self, key: str) -> bytes:
        """A command that can be read, and is refused for want of a connection."""
        intent = OrderIntent(
            symbol="BTC/USD", side="buy", order_type="market", price_decimals=1, qty_decimals=8, qty=QtyLots(1)
        )
        return COMMANDS.pack(Submit("quoter", key, intent, MonoNs(AT), MonoNs(0)))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Router]:
    """A router that can be begun anew."""
    rig = Router(tmp_path)
    yield rig
    rig.journal.close()


def test_a_command_that_cannot_be_read_holds_up_nobody(rig: Router) -> None:
    """The commands around it are looked at; a successor does not find it again."""
    poison = list(POISON.values())
    assert rig.commands.try_publish(rig.order("before"))
    for record in poison:
        assert rig.commands.try_publish(record)
    assert rig.commands.try_publish(rig.order("after"))

    with capture_logs() as logs:
        while rig.router.do_work():
            pass

    assert rig.refused() == ["before", "after"]
    assert rig.router.records.counts["records_unreadable"] == len(poison)
    assert sum(entry["event"] == "unreadable record" for entry in logs) == len(poison)
    assert rig.settled == []
    successor = rig.life()
    assert successor.do_work() == 0
    assert successor.records.counts["records_unreadable"] == 0


def test_a_fact_that_cannot_be_read_is_asked_of_kraken(rig: Router) -> None:
    """It may have been the end, or a fill, of any open order."""
    intent = OrderIntent(
        symbol="BTC/USD", side="buy", order_type="market", price_decimals=1, qty_decimals=8, qty=QtyLots(1)
    )
    records = rig.router.records
    for key in ("acknowledged", "on its way"):
        records.commit([Submitted(key, "quoter", intent, WallNs(AT + NS_PER_S), "websocket", None, WallNs(AT))])
    records.commit(records.blotter.on_acknowledged("acknowledged", "O1", WallNs(AT)))
    assert rig.account.try_publish(ACCOUNT_FACTS.pack(FACT))
    assert rig.account.try_publish(framed(b"\x93\xa1?\x01\x02"))
    assert rig.account.try_publish(ACCOUNT_FACTS.pack(FACT))

    with capture_logs() as logs:
        assert rig.router.do_work() == 3
        assert rig.router.do_work() == 0

    assert rig.settled == ["acknowledged"]
    assert [entry["ring"] for entry in logs if entry["event"] == "unreadable record"] == ["account"]
    assert records.counts["records_unreadable"] == 1
