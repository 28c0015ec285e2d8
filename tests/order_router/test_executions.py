"""Whether the feed of the account can be relied upon: pairs that are certain are traded, the rest waits."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.clock import ManualClock
from engine.kraken.trading.session import TradingSession, TradingSettings
from engine.order_router.core.cancels import OrderCancels
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.executions import FEED_SILENCE_NS, UNSEEN, AccountFacts
from engine.order_router.core.gate import TradingGate
from engine.order_router.market_boards import MarketBoards
from engine.order_router.wire import OrderWire
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter
from engine.orders.intent import Amendment, Trigger
from engine.orders.journal import Journal
from engine.orders.journal_records import AmendSent
from engine.orders.rate_counter import RateCounters
from engine.orders.risk import Risk, RiskLimits
from engine.orders.venue_facts import (
    BalanceFact,
    ExecutionFact,
    FeedAlive,
    FeedLost,
    OrderLookup,
    SnapshotBegan,
    SnapshotEnded,
)
from engine.units import NS_PER_S, QtyLots
from tests.orders.rig import AT, limit, submitted


class Asked:
    """What REST would be asked about."""

    def __init__(self) -> None:
        self.reconciled: list[str] = []
        self.settled: list[str] = []

    def reconcile(self, keys: list[str]) -> None:
        self.reconciled += keys

    def settle(self, key: str) -> None:
        self.settled.append(key)


class Account:
    """A router's view of the account, with two open orders."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(mono_ns=10**12, wall_ns=AT)
        self.journal = Journal.open(folder)[0]
        self.records = OrderRecords(Blotter(), self.journal, {}, Balances(), self.clock)
        risk = Risk(RiskLimits())
        self.gate = TradingGate(risk, lambda _: None)
        wire = OrderWire(TradingSession(TradingSettings()), self.clock)
        rates = RateCounters()
        self.by_rest: list[str] = []
        cancels = OrderCancels(
            self.records, wire, rates, lambda orders: self.by_rest.extend(order.key for order in orders), self.clock
        )
        self.asked = Asked()
        self.facts = AccountFacts(
            self.records, self.gate, MarketBoards([], self.clock), wire, cancels, rates, risk, self.asked, self.clock,
            is_tier_fixed=False,
        )  # fmt: skip
        for key, symbol in (("one", "BTC/USD"), ("two", "ETH/USD")):
            self.records.commit([submitted(key=key, intent=limit(symbol=symbol))])
            self.records.commit(self.records.blotter.on_acknowledged(key, f"O{key}", self.clock.wall_ns()))
        self.clock.advance(NS_PER_S)

    def snapshot(self, *listed: str) -> None:
        """The feed is there again, with these orders open."""
        asked_at = self.clock.mono_ns()
        self.facts.take(SnapshotBegan("executions"))
        for key in listed:
            self.facts.take(
                ExecutionFact(exec_type="new", order_id=f"O{key}", timestamp=AT, cl_ord_id=key, is_snapshot=True)
            )
        self.facts.take(SnapshotEnded("executions", None, asked_at))
        self.facts.take(SnapshotBegan("balances"))
        self.facts.take(BalanceFact(asset="USD", balance=Decimal(1), is_snapshot=True))
        self.facts.take(SnapshotEnded("balances"))

    def reasons(self) -> tuple[str, str]:
        """Why no order is taken on either pair."""
        return self.gate.closed_reason_of("BTC/USD"), self.gate.closed_reason_of("ETH/USD")


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    account = Account(tmp_path)
    yield account
    account.journal.close()


def test_an_order_that_a_snapshot_does_not_list_shuts_its_own_pair_only(account: Account) -> None:
    """Until REST has told of it; the gate itself is open."""
    account.snapshot("one")
    before = account.reasons()
    account.facts.accounted_for(["two"])

    assert account.asked.reconciled == ["two"]
    assert account.gate.report.is_open
    assert before == ("", "open orders on ETH/USD that Kraken does not list are looked up")
    assert account.reasons() == ("", "")
    assert account.facts.counts["snapshots_reconciled"] == 1


def test_a_later_snapshot_that_lists_all_makes_every_pair_certain(account: Account) -> None:
    """Whatever the one before had left open; an answer about that one is no news then."""
    account.snapshot()
    account.snapshot("one", "two")
    certain = account.reasons()
    account.facts.accounted_for(["one", "two"])

    assert certain == account.reasons() == ("", "")


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (FeedLost("connection lost: reset"), "the private feed is being reconciled: connection lost: reset"),
        (FeedLost("wss://x: connection refused", trouble="cannot be reached"),
         "the private feed cannot be reached: wss://x: connection refused"),
        (FeedLost("EAPI:Invalid key", trouble="has no token"), "the private feed has no token: EAPI:Invalid key"),
    ],
)  # fmt: skip
def test_the_reason_is_what_the_feed_lacks(account: Account, fact: FeedLost, reason: str) -> None:
    """It is reconciled only while a snapshot is on its way."""
    account.snapshot("one", "two")
    account.facts.take(fact)

    assert account.reasons() == (reason, reason)


def test_a_fact_that_cannot_be_is_told_in_the_log(account: Account) -> None:
    """The cancel of an order that is filled has no effect; a person reads of it, and how many there were."""
    account.snapshot("one", "two")
    with capture_logs() as logs:
        for exec_type in ("filled", "canceled", "canceled"):
            account.facts.take(ExecutionFact(exec_type=exec_type, order_id="Oone", timestamp=AT, cl_ord_id="one"))
    told = [(line["id"], line["quarantined"]) for line in logs if line["event"] == "fact not acted upon"]

    assert told[0] == ("one", 1)
    assert len(told) == account.records.blotter.quarantined


def test_a_feed_that_says_nothing_for_three_seconds_shuts_the_gate_until_it_speaks(account: Account) -> None:
    """What it is late with does not open it: the last thing that Kraken said must be of just now."""
    account.snapshot("one", "two")
    account.clock.advance(FEED_SILENCE_NS)
    account.facts.watch(account.clock.mono_ns())
    in_time = account.reasons()
    account.clock.advance(1)
    account.facts.watch(account.clock.mono_ns())
    silent = account.reasons()
    account.facts.take(FeedAlive(account.clock.mono_ns() - FEED_SILENCE_NS - 1))
    late = account.reasons()
    account.facts.take(FeedAlive(account.clock.mono_ns()))

    assert in_time == ("", "")
    assert silent == late == ("the private feed's process gives no sign of life",) * 2
    assert account.reasons() == ("", "")


def test_a_frozen_feed_that_comes_back_with_a_lost_connection_says_so(account: Account) -> None:
    """Then its snapshot opens the gate, as ever."""
    account.snapshot("one", "two")
    account.clock.advance(2 * FEED_SILENCE_NS)
    account.facts.watch(account.clock.mono_ns())
    account.facts.take(FeedLost("connection lost: silent"))
    lost = account.reasons()
    account.snapshot("one", "two")

    assert lost[0] == "the private feed is being reconciled: connection lost: silent"
    assert account.reasons() == ("", "")


def test_a_cancel_that_ends_nothing_is_sent_less_and_less(account: Account) -> None:
    """By REST here, for there is no connection; each would cost the pair's counter."""
    account.snapshot("one", "two")
    cancels = account.facts._cancels
    cancels.want("one")
    for _ in range(120 * 50):
        cancels.send(account.clock.mono_ns(), is_maintenance=False)
        account.clock.advance(NS_PER_S // 50)
    in_two_minutes = len(account.by_rest)
    account.snapshot("one", "two")
    cancels.send(account.clock.mono_ns(), is_maintenance=False)

    assert 6 <= in_two_minutes <= 9
    assert len(account.by_rest) == in_two_minutes + 1, "a feed that is back ends the pause"


@pytest.mark.parametrize(
    ("change", "told", "reason"),
    [
        ({"trigger_price": Decimal(95)}, {"trigger_price": Decimal(95)}, ""),
        ({"trigger_price": Decimal(95)}, {"trigger_price": Decimal(90)}, "amend refused: Kraken did not get it"),
        ({"trigger_price": Decimal(95)}, {}, f"amend in doubt: {UNSEEN}"),
        ({"display_qty": QtyLots(5)}, {"qty": Decimal(1)}, f"amend in doubt: {UNSEEN}"),
        ({"qty": QtyLots(5)}, {"qty": Decimal(1)}, "amend refused: Kraken did not get it"),
    ],
)
def test_an_amend_in_doubt_is_said_to_have_failed_only_where_that_shows(
    account: Account, change: dict[str, Any], told: dict[str, Any], reason: str
) -> None:
    """REST tells quantity, limit and trigger of an order: what else an amend was to change may be so, or may not."""
    stop = limit("sell", price=None, order_type="stop-loss", trigger=Trigger(Decimal(90)))
    account.records.commit([submitted(key="stop", intent=stop)])
    account.records.commit(account.records.blotter.on_acknowledged("stop", "Ostop", AT))
    account.records.commit([AmendSent("stop", Amendment(price_decimals=1, qty_decimals=8, **change), AT)])
    account.facts.found(OrderLookup(order_id="Ostop", status="open", **told), [])
    order = account.records.blotter.open["stop"]

    assert (order.pending, order.reason) == ("", reason)
