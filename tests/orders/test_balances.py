"""Balances: totals are Kraken's, what is held follows from open orders."""

from decimal import Decimal

import pytest

from engine.kraken.private.messages import read_balances
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


# --- what an entry of the ledger means


def told(*frames):
    """Balances, as Kraken's own frames make them."""
    balances = Balances()
    for frame in frames:
        message, _ = read_balances(frame.encode())
        facts = [row.fact(is_snapshot=message.type == "snapshot") for row in message.data]
        for each in facts:
            if each is not None:
                balances.apply(each)
        if message.type == "snapshot":
            balances.forget_others([each.asset for each in facts])
    return balances


SNAPSHOT = (
    '{"channel":"balances","type":"snapshot","data":[{"asset":"USD","asset_class":"currency","balance":500.0000,"wallets":'
    '[{"type":"spot","id":"main","balance":300.0000},{"type":"earn","id":"flex","balance":200.0000}]}],"sequence":1}'
)


def entry(amount, balance, fee="0.0000", wallet="spot", asset="USD"):
    return (
        f'{{"channel":"balances","type":"update","data":[{{"ledger_id":"L","ref_id":"T","type":"trade","asset":"{asset}",'
        f'"asset_class":"currency","wallet_type":"{wallet}","wallet_id":"main","amount":{amount},"fee":{fee},'
        f'"balance":{balance}}}],"sequence":2}}'
    )


@pytest.mark.parametrize("elsewhere", [0, 200], ids=["of the spot wallet", "of the whole account"])
def test_what_is_free_is_right_whichever_balance_an_entry_of_the_ledger_tells(elsewhere):
    """Kraken's page says "in the account"; a snapshot counts each wallet."""
    balances = told(
        SNAPSHOT,
        entry("-99.0000", f"{200 + elsewhere}.0000", fee="1.0000"),
        entry("50.5000", f"{250 + elsewhere}.4000", fee="0.1000"),
        entry("0.0001", f"{250 + elsewhere}.4001"),
    )

    assert balances.free("USD", {}) == balances.total("USD") == D("250.4001")
    assert balances.wallet("USD", {}).earning == 200


@pytest.mark.parametrize("elsewhere", [0, 500], ids=["of the spot wallet", "of the whole account"])
def test_money_that_goes_to_a_wallet_that_earns_is_not_free(elsewhere):
    """Two entries, of two wallets; in the account as a whole nothing has changed."""
    balances = told(
        SNAPSHOT,
        entry("-300.0000", "0.0000" if not elsewhere else "500.0000"),
        entry("300.0000", "500.0000", wallet="earn"),
    )

    assert balances.free("USD", {}) == 0


def test_an_asset_that_no_snapshot_named_begins_with_nothing():
    """The first purchase of it."""
    balances = told(SNAPSHOT, entry("2.0000000000", "2.0000000000", asset="BTC"))

    assert balances.total("BTC") == 2


def test_a_balance_alone_can_only_make_less_of_it():
    """Without an amount its meaning is uncertain."""
    without = entry("1", "450.0000").replace('"amount":1,', "")
    less = entry("1", "250.0000").replace('"amount":1,', "")

    assert told(SNAPSHOT, without).total("USD") == 300
    assert told(SNAPSHOT, less).total("USD") == 250


def test_nothing_is_more_while_entries_may_be_missing():
    """The one that is missing may have taken it away."""
    balances = told(SNAPSHOT)
    balances.doubt()
    for amount, balance in ((50, 350), (-100, 250)):
        balances.apply(BalanceFact(asset="USD", balance=D(balance), amount=D(amount)))
    before = balances.total("USD")
    balances.apply(BalanceFact(asset="USD", balance=D(400), is_snapshot=True))
    balances.forget_others(["USD"])
    balances.apply(BalanceFact(asset="USD", balance=D(450), amount=D(50)))

    assert (before, balances.total("USD")) == (200, 450)


def test_the_next_snapshot_is_the_last_word():
    """Whatever the entries came to."""
    assert told(SNAPSHOT, entry("-299.0000", "1.0000"), SNAPSHOT).total("USD") == 300


def test_what_has_not_been_told_is_not_known():
    """Neither by an entry without a snapshot nor by an order; after a snapshot, all is."""
    balances = Balances()
    assert not balances.apply(BalanceFact(asset="USD", balance=D(90), amount=D(-9), fee=D(1)))
    assert not balances.is_known("USD")
    assert balances.assets() == ()
    balances.apply(BalanceFact(asset="BTC", balance=D(1), is_snapshot=True))
    assert balances.is_known("BTC")
    balances.forget_others(["BTC"])

    assert balances.is_known("USD")
    assert balances.total("USD") == 0
