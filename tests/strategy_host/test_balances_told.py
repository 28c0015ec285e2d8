"""A balance that Kraken has not told is not zero: a strategy is given none."""

from collections.abc import Collection
from decimal import Decimal

from engine.clock import ManualClock
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.report_outbox import ReportOutbox
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter
from engine.orders.rings.commands import COMMAND_RECORD_BYTES
from engine.orders.rings.reports import REPORT_RECORD_BYTES, Balance
from engine.orders.venue_facts import BalanceFact
from engine.processes.balance_board import BalanceBoardReader, BalanceBoardWriter
from engine.ring import GatedSubscriber, Publisher
from engine.strategy_host.order_client import OrderClient, OrderPorts
from engine.units import NS_PER_S
from tests.clocks import ShellClock
from tests.order_router.rig import JournalInMemory, balance_board, ring
from tests.orders.rig import AT, PAIRS, submitted

D = Decimal


class Account:
    """An order client, and the router's records behind it."""

    def __init__(self, balance_callers: Collection[str] = ("quoter",)) -> None:
        self.clock, reports = ShellClock(NS_PER_S, AT), ring(REPORT_RECORD_BYTES)
        board = balance_board()
        ports = OrderPorts(
            Publisher(ring(COMMAND_RECORD_BYTES)), GatedSubscriber(reports), BalanceBoardReader(board), "quoter", 1
        )
        self.client = OrderClient("quoter", ports, dict(PAIRS), self.clock)
        self._board, self._reports, self._balance_callers = board, reports, balance_callers
        self.restart()

    def restart(self) -> None:
        """A router begins: it knows nothing but what is in shared memory."""
        self.line = ReportOutbox("quoter", Publisher(self._reports))
        self.balances = Balances()
        self.records = OrderRecords(
            Blotter(), JournalInMemory(), {"quoter": self.line}, self.balances,
            BalanceBoardWriter(self._board), self.clock.now, balance_callers=self._balance_callers,
            on_journal=lambda reason: None, on_change=lambda order, is_fill: None,
        )  # fmt: skip

    def report(self) -> list[object]:
        """What the strategy is told when the time for balances has come."""
        self.clock.advance(NS_PER_S)
        self.records.tell_balances(self.clock.mono_ns())
        return self.news()

    def news(self) -> list[object]:
        found = []
        while (news := self.client.next_news()) is not None:
            found.append(news)
        return found

    def snapshot(self, **totals: str) -> None:
        for asset, total in totals.items():
            self.balances.apply(BalanceFact(asset=asset, balance=D(total), is_snapshot=True))
            self.records.balance_changed(asset)
        self.records.balance_changed(*self.balances.forget_others(totals))
        self.records.tell_all_balances(self.clock.mono_ns())


def test_before_the_snapshot_there_is_no_balance_and_after_it_there_is_one_of_every_asset() -> None:
    """Of one that Kraken did not name there is nothing, and that is known."""
    account = Account()
    assert account.client.balance("USD") is None
    account.snapshot(USD="100")
    told = account.news()

    assert told == [Balance("USD", D(100), D(0), D(100), D(0))]
    assert account.client.balance("USD") == told[0]
    assert account.client.balance("BTC") == Balance("BTC")


def test_an_order_tells_no_balance_that_is_not_known() -> None:
    """What it holds of its currencies is reported when their balances have been told, and not as a part of nothing."""
    account = Account()
    account.records.commit([submitted()])
    told = account.report()
    assert [news for news in told if isinstance(news, Balance)] == []
    assert account.client.balance("USD") is None
    account.snapshot(USD="1000")

    (usd,) = [news for news in account.news() if isinstance(news, Balance) and news.asset == "USD"]
    assert usd.held > 100
    assert usd.free == 1000 - usd.held


def test_an_entry_of_the_ledger_before_the_snapshot_is_no_balance() -> None:
    """It says what changed, and of what is not known."""
    account = Account()
    if account.balances.apply(BalanceFact(asset="USD", balance=D(90), amount=D(-9), fee=D(1))):
        account.records.balance_changed("USD")

    assert account.report() == []
    assert account.client.balance("USD") is None


def test_a_strategy_that_fell_behind_is_told_the_balances_it_is_called_with() -> None:
    """As part of everything; another reads them on the board, and missed none."""
    caller, reader = Account(), Account(balance_callers=())
    for account in (caller, reader):
        account.snapshot(USD="100")

    assert [type(each) for each in caller.records.everything("quoter")] == [Balance]
    assert list(reader.records.everything("quoter")) == []


def test_a_strategy_without_on_balance_is_sent_none_and_reads_them_all_the_same() -> None:
    """At once, whether or not it has taken its reports."""
    account = Account(balance_callers=())
    account.snapshot(USD="100", BTC="2")

    assert account.client.balance("USD") == Balance("USD", D(100), D(0), D(100), D(0))
    assert account.client.balance("ETH") == Balance("ETH")
    assert account.line.sent == 0


def test_another_router_goes_on_with_what_was_told_and_says_what_is_gone() -> None:
    """Its first snapshot names no BTC any more."""
    account = Account()
    account.snapshot(USD="100", BTC="2")
    account.restart()
    before = account.client.balance("BTC"), account.client.balance("ETH")
    account.snapshot(USD="90")

    assert before == (Balance("BTC", D(2), D(0), D(2)), Balance("ETH"))
    assert account.client.balance("BTC") == Balance("BTC")
    assert account.client.balance("USD") == Balance("USD", D(90), D(0), D(90))


def test_an_order_client_without_trading_knows_no_balance() -> None:
    """Nobody asks Kraken for it."""
    assert OrderClient("quoter", None, {}, ManualClock(1, AT)).balance("USD") is None
