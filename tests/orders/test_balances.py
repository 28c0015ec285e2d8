"""Balances: totals are Kraken's, what is held follows from open orders."""

from decimal import Decimal

import pytest

from engine.orders.balances import Balances
from engine.orders.blotter import Blotter
from engine.orders.intent import Trigger
from engine.orders.venue_facts import BalanceFact
from tests.orders.rig import AT, KEY, PAIRS, commit, fact, limit, submitted, tell, trade

D = Decimal


def holding(intent):
    """What one open order reserves, with a fee of one per cent."""
    blotter = Blotter()
    commit(blotter, [submitted(intent=intent)])
    return Balances(fee_percent=D(1)).held(blotter.open.values())


@pytest.mark.parametrize(
    ("intent", "held"),
    [
        (limit("buy", "2", "100"), {"USD": D("202")}),
        (limit("buy", "2", "100", fee_preference="base"), {"USD": D("200")}),
        (limit("sell", "2", "100"), {"BTC": D("2")}),
        (limit("sell", "2", "100", fee_preference="base"), {"BTC": D("2.02")}),
        (limit("sell", "2", None, order_type="market"), {"BTC": D("2")}),
        (limit("buy", "2", None, order_type="market"), {}),
        (limit("buy", "0", None, order_type="market", cash_qty=D(50)), {"USD": D(50)}),
        (limit("buy", "2", None, order_type="stop-loss", trigger=Trigger(D(110))), {"USD": D("222.2")}),
        (limit("buy", "2", "100", margin=True), {}),
    ],
)
def test_an_order_holds_what_it_would_pay_or_give(intent, held):
    """A buy its cost and the fee, a sell its quantity; what has no price, nothing; margin is not the spot wallet's."""
    assert holding(intent) == held


def test_only_what_is_left_is_held_and_nothing_once_it_is_over():
    """An order in doubt is held as if live: it may be."""
    blotter, balances = Blotter(), Balances(fee_percent=D(0))
    commit(blotter, [submitted(intent=limit("sell", "2", "100")), submitted(key="b" * 18, intent=limit("sell", "1"))])
    commit(blotter, blotter.on_doubt("b" * 18, "no answer", AT))
    tell(blotter, trade(qty="0.5"))
    assert balances.held(blotter.open.values()) == {"BTC": D("2.5")}
    tell(blotter, fact("canceled", cum_qty=D("0.5")))

    assert balances.held(blotter.open.values()) == {"BTC": D("1")}
    assert blotter.get(KEY).filled == 50_000_000
    assert PAIRS


def test_free_is_total_less_held_and_never_less_than_nothing():
    """The fee within a hold is an estimate."""
    balances = Balances()
    balances.apply(BalanceFact(asset="USD", balance=D(100), earning=D(7), is_snapshot=True))
    wallet = balances.wallet("USD", {"USD": D("30")})

    assert (wallet.total, wallet.held, wallet.free, wallet.earning) == (100, 30, 70, 7)
    assert balances.free("USD", {"USD": D(101)}) == 0
    assert balances.free("BTC", {}) == 0


def test_an_entry_of_the_ledger_replaces_the_total_and_leaves_what_earns():
    """Kraken tells the new balance with every entry; of other wallets only snapshots tell."""
    balances = Balances()
    assert balances.apply(BalanceFact(asset="USD", balance=D(100), earning=D(7), is_snapshot=True))
    assert not balances.apply(BalanceFact(asset="USD", balance=D(100), earning=D(7), is_snapshot=True))
    assert balances.apply(BalanceFact(asset="USD", balance=D(90), amount=D(-9), fee=D(1)))

    assert balances.wallet("USD", {}).earning == 7
    assert balances.total("USD") == 90


def test_what_a_snapshot_does_not_tell_is_nothing():
    """An asset that was sold while we were away."""
    balances = Balances()
    for asset in ("USD", "BTC", "ETH"):
        balances.apply(BalanceFact(asset=asset, balance=D(asset != "ETH"), is_snapshot=True))

    assert balances.forget_others(["USD"]) == ["BTC"]
    assert balances.total("BTC") == 0
