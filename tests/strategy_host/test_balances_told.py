"""A balance that Kraken has not told is not zero: a strategy is given none."""

from decimal import Decimal

from engine.clock import ManualClock
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.report_outbox import ReportOutbox
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter
from engine.orders.rings.commands import COMMAND_RECORD_BYTES
from engine.orders.rings.reports import REPORT_RECORD_BYTES, Balance, BalancesTold
from engine.orders.venue_facts import BalanceFact
from engine.ring import GatedSubscriber, Publisher
from engine.strategy_host.order_client import OrderClient, OrderPorts
from engine.units import NS_PER_S
from tests.clocks import ShellClock
from tests.order_router.rig import JournalInMemory, ring
from tests.orders.rig import AT, PAIRS, submitted

D = Decimal


class Account:
    """A desk, and the router's records behind it."""

    def __init__(self) -> None:
        self.clock, reports = ShellClock(NS_PER_S, AT), ring(REPORT_RECORD_BYTES)
        ports = OrderPorts(Publisher(ring(COMMAND_RECORD_BYTES)), GatedSubscriber(reports), "quoter", 1)
        self.desk = OrderClient("quoter", ports, dict(PAIRS), self.clock)
        self.line = ReportOutbox("quoter", Publisher(reports))
        self.balances = Balances()
        self.records = OrderRecords(
            Blotter(), JournalInMemory(), {"quoter": self.line}, self.balances, self.clock.now,
            on_journal=lambda reason: None, on_change=lambda order, is_fill: None,
        )  # fmt: skip

    def report(self) -> list[object]:
        """What the strategy is told when the time for balances has come."""
        self.clock.advance(NS_PER_S)
        self.records.report_balances(self.clock.mono_ns())
        return self.news()

    def news(self) -> list[object]:
        found = []
        while (news := self.desk.next_news()) is not None:
            found.append(news)
        return found

    def snapshot(self, **totals: str) -> None:
        for asset, total in totals.items():
            self.balances.apply(BalanceFact(asset=asset, balance=D(total), is_snapshot=True))
            self.records.balance_changed(asset)
        self.records.balance_changed(*self.balances.forget_others(totals))
        self.records.tell_balances(self.clock.mono_ns())


def test_before_the_snapshot_there_is_no_balance_and_after_it_there_is_one_of_every_asset() -> None:
    """Of one that Kraken did not name there is nothing, and that is known."""
    account = Account()
    assert account.desk.balance("USD") is None
    account.snapshot(USD="100")
    told = account.news()

    assert told == [Balance("USD", D(100), D(0), D(100), D(0))]
    assert account.desk.balance("USD") == told[0]
    assert account.desk.balance("BTC") == Balance("BTC")


def test_an_order_tells_no_balance_that_is_not_known() -> None:
    """What it holds of its currencies is reported when their balances have been told, and not as a part of nothing."""
    account = Account()
    account.records.commit([submitted()])
    told = account.report()
    assert [news for news in told if isinstance(news, Balance)] == []
    assert account.desk.balance("USD") is None
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
    assert account.desk.balance("USD") is None


def test_a_strategy_that_fell_behind_is_told_whether_all_balances_are_known() -> None:
    """As part of everything."""
    account = Account()
    assert not any(isinstance(each, BalancesTold) for each in account.records.everything("quoter"))
    account.snapshot(USD="100")

    everything = list(account.records.everything("quoter"))
    assert [type(each) for each in everything] == [Balance, BalancesTold]


def test_a_desk_without_trading_knows_no_balance() -> None:
    """Nobody asks Kraken for it."""
    assert OrderClient("quoter", None, {}, ManualClock(1, AT)).balance("USD") is None
