"""Every fill of a run is told exactly once, whatever died when: real journal, real rings, one router after another."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from engine.order_router.core.commit import UNWRITTEN_MAX, OrderRecords
from engine.order_router.core.report_outbox import HELD_BACK_MAX, ReportOutbox
from engine.orders import blotter as blotters
from engine.orders.balances import Balances
from engine.orders.blotter import fold
from engine.orders.journal import Journal, read_journal
from engine.orders.journal_records import Ended, Filled, Record, RunBegan, Snapshot, Submitted
from engine.orders.rings.commands import COMMAND_RECORD_BYTES
from engine.orders.rings.reports import REPORT_RECORD_BYTES
from engine.orders.venue_facts import Fee
from engine.processes.balance_board import BalanceBoardReader, BalanceBoardWriter
from engine.ring import GatedSubscriber, Publisher
from engine.strategy.orders import Fill
from engine.strategy_host import order_client
from engine.strategy_host.order_client import OrderClient, OrderPorts
from engine.units import NS_PER_S, QtyLots, WallNs
from tests.clocks import ShellClock
from tests.descriptors import unwritable
from tests.order_router.rig import balance_board, ring
from tests.orders.rig import AT, PAIRS, limit

NAME = "quoter"
KEY = "quoter000001000001"
FILLS = 12
SLOTS = 8


def filled(number: int) -> Filled:
    fees = (Fee("USD", Decimal("0.1")),)
    return Filled(
        KEY, f"TEXEC{number:05d}", number, QtyLots(10**8), 8, Decimal(100), Decimal(100), fees, "maker", AT, AT
    )


class Trading:
    """A strategy's desk, and the routers that serve it one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.run = folder, ShellClock(1, AT), 1
        self.reports = ring(REPORT_RECORD_BYTES, SLOTS)
        self.balances = balance_board()
        ports = OrderPorts(
            Publisher(ring(COMMAND_RECORD_BYTES, SLOTS)), GatedSubscriber(self.reports),
            BalanceBoardReader(self.balances), NAME, self.run,
        )  # fmt: skip
        self.desk = OrderClient(NAME, ports, dict(PAIRS), self.clock)
        self.told: list[Fill] = []
        self.journal: Journal | None = None
        # Is the strategy configured in this run?
        self.is_run = True
        self.start()

    def start(self) -> None:
        """A router begins, as the process does: journal, fold, what there is to say."""
        self.journal, records, _ = Journal.open(self.folder, segment_bytes_max=1)
        blotter = fold(records)
        began = RunBegan(self.run, "test", "key", AT)
        self.journal.append(began)
        blotter.apply(began)
        self.line = ReportOutbox(NAME, Publisher(self.reports))
        outboxes = {NAME: self.line} if self.is_run else {}
        self.records = OrderRecords(
            blotter,
            self.journal,
            outboxes,
            Balances(),
            BalanceBoardWriter(self.balances),
            self.clock.now,
            on_journal=lambda reason: None,
            on_change=lambda order, is_fill: None,
        )
        for report in self.records.everything(NAME):
            self.line.send(report)
        self.records.tell_fills_again()

    def kill(self) -> None:
        """What the process kept to itself is gone; journal and ring stay."""
        assert self.journal is not None
        self.journal.close()

    def do(self, *records: Record) -> None:
        self.records.commit(records)

    def catch_up(self) -> None:
        """The router looks after the line from time to time, while the strategy takes what it has."""
        self.take()
        while self.line.is_behind:
            self.line.catch_up(lambda: self.records.everything(NAME))
            self.take()

    def take(self) -> None:
        """The strategy takes its turn."""
        while (news := self.desk.next_news()) is not None:
            if isinstance(news, Fill):
                self.told.append(news)

    def names(self) -> list[int]:
        return [fill.trade_id for fill in self.told]


@pytest.fixture
def trading(tmp_path: Path) -> Iterator[Trading]:
    trading = Trading(tmp_path / "journal")
    intent = limit("buy", str(FILLS), "100")
    trading.do(Submitted(KEY, NAME, intent, WallNs(AT + NS_PER_S), "websocket", None, AT))
    yield trading
    trading.kill()


def everything_was_told(trading: Trading, count: int = FILLS) -> None:
    assert trading.names() == list(range(count))
    assert trading.desk.fills_told.count == count
    assert trading.desk.positions["BTC/USD"].qty == count
    order = trading.desk.order(KEY)
    assert order is not None
    assert order.filled_qty == count


@pytest.mark.parametrize("strategy_is_quick", [True, False])
@pytest.mark.parametrize("victim", range(FILLS))
def test_a_router_killed_between_journal_and_report_of_a_fill_has_it_told(
    trading: Trading, victim: int, strategy_is_quick: bool
) -> None:
    """Written, and neither applied nor told: the next router tells it, in its place, and no other one twice."""
    for number in range(FILLS):
        if number == victim:
            trading.records.write_facts([filled(number)])
            trading.kill()
            trading.start()
        else:
            trading.do(filled(number))
        if strategy_is_quick:
            trading.catch_up()
    trading.catch_up()

    everything_was_told(trading)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("taken", range(0, FILLS, 3))
def test_a_router_that_dies_with_reports_that_found_the_ring_full_has_them_told(
    trading: Trading, taken: int, marked: bool
) -> None:
    """What it kept aside dies with it; what it wrote down as told the next one does not tell again."""
    for number in range(FILLS):
        trading.do(filled(number))
        if number < taken:
            trading.take()
        if marked:
            trading.clock.advance(NS_PER_S)
            trading.records.note_fills_told(trading.clock.mono_ns())
    assert trading.line.is_behind
    trading.do(Ended(KEY, "filled", "", QtyLots(FILLS * 10**8), 8, AT))
    trading.kill()
    trading.start()
    trading.catch_up()

    everything_was_told(trading)


def test_reports_that_were_given_up_lose_no_fill_and_a_death_then_loses_none_either(trading: Trading) -> None:
    """More reports than are kept aside: everything is told anew, the fills among it; also by the next router."""
    for number in range(FILLS):
        trading.do(filled(number))
    for _ in range(HELD_BACK_MAX):
        trading.records.report(trading.records.blotter.get(KEY))
    trading.line.catch_up(lambda: trading.records.everything(NAME))
    assert trading.line.resyncs == 1
    trading.take()
    trading.kill()
    trading.start()
    trading.catch_up()

    everything_was_told(trading)


def test_a_new_segment_of_the_journal_keeps_what_was_not_told(trading: Trading) -> None:
    """What a fold no longer finds as records it finds in the snapshot that sums them up."""
    for number in range(FILLS):
        trading.do(filled(number))
    trading.records.compact_journal()
    trading.kill()
    trading.start()
    trading.catch_up()

    everything_was_told(trading)


def test_a_new_segment_of_the_journal_has_the_records_that_the_old_one_did_not_take(trading: Trading) -> None:
    """For whoever reads one record after the other, as the history does; in the fold they are once."""
    assert trading.journal is not None
    trading.do(filled(0))
    with unwritable(trading.journal.path):
        trading.do(late := filled(1), ended := Ended(KEY, "canceled", "", None, 8, AT))
    trading.records.begin_segment()
    state = trading.records.blotter.state_hash()
    trading.kill()
    journal, records, _ = Journal.open(trading.folder)
    journal.close()

    assert fold(records).state_hash() == state
    assert [type(record) for record in records] == [Snapshot]
    read = [record for _, record in read_journal(trading.folder)]
    assert [read.count(record) for record in (filled(0), late, ended)] == [1, 1, 1]
    assert read.index(ended) < read.index(records[0])
    trading.start()


def test_fills_that_are_known_to_be_told_are_forgotten_and_not_told_again(trading: Trading) -> None:
    """In a long run the next router has a second's worth to tell again, not a day's."""
    for number in range(FILLS):
        trading.do(filled(number))
        trading.catch_up()
    trading.records.note_fills_told(trading.clock.mono_ns())
    sent_before = trading.line.sent
    trading.kill()
    trading.start()
    trading.catch_up()

    assert sent_before > FILLS
    assert trading.records.blotter.untold == {}
    assert trading.desk.fills_repeated == 0
    everything_was_told(trading)


def test_fills_of_an_earlier_run_are_not_told_to_this_one(trading: Trading) -> None:
    """Its strategies began anew with the run: they would take them for news."""
    for number in range(FILLS):
        trading.do(filled(number))
    trading.kill()
    trading.run = 2
    trading.start()

    assert trading.records.blotter.untold == {}


def test_fills_of_a_strategy_that_is_not_run_any_more_are_kept_for_nobody(trading: Trading) -> None:
    """Nobody will take them."""
    trading.kill()
    trading.is_run = False
    trading.start()
    trading.do(filled(0))
    trading.records.note_fills_told(trading.clock.mono_ns())

    assert trading.records.blotter.untold == {}


def test_a_desk_remembers_more_fills_than_a_new_router_can_tell_again() -> None:
    """What may be told again is bounded, by what is kept untold and by what the journal could not take."""
    assert order_client.FILLS_REMEMBERED >= blotters.UNTOLD_MAX + UNWRITTEN_MAX


def test_more_fills_than_are_kept_untold_are_counted(trading: Trading) -> None:
    """The oldest go first, and are counted."""
    for number in range(blotters.UNTOLD_MAX + 2):
        trading.records.blotter.apply(filled(number))

    assert trading.records.blotter.fills_given_up == 2
    assert len(trading.records.blotter.untold[NAME]) == blotters.UNTOLD_MAX
