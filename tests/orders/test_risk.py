"""Limits: each refuses what is beyond it, lets through what is on it, and says which and by how much."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.orders.blotter import Blotter
from engine.orders.intent import Amendment, Conditional, Trigger
from engine.orders.journal_records import AmendSent
from engine.orders.risk import (
    DUPLICATES_REMEMBERED_MAX,
    PairLimits,
    RiskLimits,
    TradingMode,
)
from engine.units import NS_PER_MS, NS_PER_S, MonoNs, PriceTicks, QtyLots
from tests.market.rig import book_record
from tests.orders.rig import AT, LOOSE, PAIR, TOP, RiskRig, commit, limit

D = Decimal
STOP = limit("sell", "1", "90", order_type="stop-loss-limit", trigger=Trigger(D(91)))


def test_an_ordinary_order_passes():
    """With every limit set."""
    rig = RiskRig(
        RiskLimits(order_notional_max=D(1000), position_notional_max=D(1000), daily_loss_max=D(10)),
        symbols=frozenset(["BTC/USD"]),
    )

    assert rig.ask(limit()) is None
    assert rig.ask(limit("sell", "1", None, order_type="market")) is None


@pytest.mark.parametrize(
    ("limits", "intent", "refused"),
    [
        ({"order_notional_max": D(100)}, limit("buy", "1", "100"), None),
        ({"order_notional_max": D(100)}, limit("buy", "1.00000001", "100"), "risk.order_notional_max = 100"),
        ({"order_notional_max": D(100)}, limit("buy", "1", None, order_type="market"), "order of 100.1"),
        ({"order_notional_max": D(100)}, limit("buy", "0", None, order_type="market", cash_qty=D(100)), None),
        ({"order_notional_max": D(100)}, limit("buy", "0", None, order_type="market", cash_qty=D(101)), "order of 101"),
        ({"pairs": {"BTC/USD": PairLimits(order_qty_max=D(1))}}, limit("sell", "1"), None),
        ({"pairs": {"BTC/USD": PairLimits(order_qty_max=D(1))}}, limit("sell", "1.1"), "order_qty_max = 1"),
        ({"pairs": {"ETH/USD": PairLimits(order_qty_max=D(1))}}, limit("sell", "1.1"), None),
        ({"symbols": frozenset(["ETH/USD"])}, limit(), "not one of risk.symbols (ETH/USD)"),
        ({"price_collar_percent": D(5)}, limit("buy", "1", "105.1"), None),
        ({"price_collar_percent": D(5)}, limit("buy", "1", "105.2"), "beyond the best ask 100.1"),
        ({"price_collar_percent": D(5)}, limit("sell", "1", "95.0"), None),
        ({"price_collar_percent": D(5)}, limit("sell", "1", "94.9"), "beyond the best bid 99.9"),
        ({"price_collar_percent": D(5)}, limit("buy", "1", "0.5"), None),
        ({}, limit("sell", "1", "50", order_type="stop-loss-limit", trigger=Trigger(D(60))), None),
    ],
)  # fmt: skip
def test_sizes_and_prices_on_a_limit_pass_and_beyond_it_do_not(limits, intent, refused):
    """The refusal names the limit and the number."""
    why = RiskRig(**limits).ask(intent)

    assert (why is None) if refused is None else (why is not None and refused in why), why


@pytest.mark.parametrize(
    ("change", "intent", "refused"),
    [
        ({"qty_increment_lots": 1000}, limit("buy", "0.00012345"), "multiple of BTC/USD's step 0.00001000"),
        ({"price_increment_ticks": 5}, limit("buy", "1", "99.9"), "multiple of BTC/USD's tick 0.5"),
        ({}, limit("buy", "0.00004999"), "less than BTC/USD's minimum of 0.00005000"),
        ({"cost_min": D(5)}, limit("buy", "0.0499"), "less than BTC/USD's minimum of 5"),
        ({"cost_min": D(5)}, limit("buy", "0.05"), None),
        ({"cost_min": D(5)}, limit("buy", "0", None, order_type="market", cash_qty=D(4)), "4 to spend"),
        ({}, limit("buy", "0"), "qty must be a number above 0"),
        ({}, limit("buy", "1", "0"), "limit must be a number above 0"),
        ({"status": "cancel_only"}, limit(), "cancel_only mode"),
        ({"status": "post_only"}, limit(), "post_only mode"),
        ({"status": "post_only"}, limit(post_only=True), None),
        ({"status": "limit_only"}, limit("buy", "1", None, order_type="market"), "limit_only mode"),
        ({"status": "limit_only"}, limit(), None),
    ],
)
def test_what_kraken_must_refuse_is_never_sent(change, intent, refused):
    """Increments, minimums, and the state of the pair."""
    rig = RiskRig()
    rig.pair = replace(PAIR, **change)
    why = rig.ask(intent)

    assert (why is None) if refused is None else (why is not None and refused in why), why


@pytest.mark.parametrize(
    ("top", "refused"),
    [
        (None, "not verified"),
        (replace(TOP, is_live=False), "not verified"),
        (replace(TOP, age_ns=5 * NS_PER_S), None),
        (replace(TOP, age_ns=5 * NS_PER_S + 1), "last heard 5.0 s ago, more than risk.book_age_s_max = 5"),
    ],
)
def test_nothing_is_sent_on_a_book_in_doubt(top, refused):
    """Stale, unverified or silent."""
    rig = RiskRig()
    rig.top = top
    why = rig.ask(limit())

    assert (why is None) if refused is None else (why is not None and refused in why), why


def test_a_market_order_into_an_empty_side_is_refused():
    """There is no price to hold it against."""
    rig = RiskRig()
    rig.top = replace(TOP, best_ask=None)

    assert "nobody asks" in rig.ask(limit("buy", "1", None, order_type="market"))
    assert rig.ask(limit("buy", "1", "100")) is None


def test_a_position_counts_everything_that_is_open():
    """The worst case on the order's own side: all of its open orders filled, none of the other side's."""
    rig = RiskRig(pairs={"BTC/USD": PairLimits(position_qty_max=D(5))})
    rig.position = D(1)
    rig.open(limit("buy", "2", "99"))
    rig.open(limit("sell", "4", "101"))

    assert rig.ask(limit("buy", "2", "99")) is None
    assert "would be 5.1" in rig.ask(limit("buy", "2.1", "99"))
    assert rig.ask(limit("sell", "2", "101")) is None
    assert "would be -5.1" in rig.ask(limit("sell", "2.1", "101"))
    assert "position_qty_max = 5" in rig.ask(limit("buy", "1", "99"), batch=[limit("buy", "1.5", "98")])


def test_what_makes_a_position_smaller_passes_a_limit_that_is_broken():
    """A limit that was lowered must not lock anybody in."""
    rig = RiskRig(position_notional_max=D(100))
    rig.position = D(50)

    assert rig.ask(limit("sell", "50", "100")) is None
    assert rig.ask(limit("buy", "0.1", "100")) is not None
    assert "risk.position_notional_max = 100" in rig.ask(limit("sell", "52", "100"))


def test_an_amend_under_way_counts_with_what_it_may_become():
    """It may have happened already."""
    rig = RiskRig(pairs={"BTC/USD": PairLimits(position_qty_max=D(5))})
    order = rig.open(limit("buy", "2", "99"))
    commit(rig.blotter, [AmendSent(order.key, Amendment(price_decimals=1, qty_decimals=8, qty=QtyLots(4 * 10**8)), AT)])

    assert rig.ask(limit("buy", "1", "99")) is None
    assert rig.ask(limit("buy", "1.1", "99")) is not None


def test_open_orders_are_counted_against_the_smallest_bound():
    """Ours of all pairs, ours of this pair, and Kraken's."""
    rig = RiskRig(open_orders_max=3)
    rig.open(limit("buy", "1", "90"))
    rig.open(limit("buy", "1", "91"), strategy="")
    assert rig.ask(limit("buy", "1", "92")) is None
    assert "risk.open_orders_max = 3" in rig.ask(limit("buy", "1", "92"), batch=[limit("buy", "1", "93")])
    rig.risk.open_orders_cap = 2

    assert "2 orders are open on BTC/USD, as many as Kraken's limit" in rig.ask(limit("buy", "1", "92"))


@pytest.mark.parametrize(
    ("mine", "intent", "meets"),
    [
        (limit("sell", "1", "100"), limit("buy", "1", "100"), True),
        (limit("sell", "1", "100"), limit("buy", "1", "99.9"), False),
        (limit("buy", "1", "100"), limit("sell", "1", "100"), True),
        (limit("buy", "1", "100"), limit("buy", "1", "100"), False),
        (limit("sell", "1", "100.2"), limit("buy", "1", None, order_type="market"), True),
        (limit("sell", "1", "120"), limit("buy", "1", None, order_type="market"), False),
        (STOP, limit("buy", "1", "100"), False),
    ],
)  # fmt: skip
def test_an_order_that_would_meet_an_own_one_is_refused(mine, intent, meets):
    """Whoever's of the account it is; a stop does not rest in the book."""
    rig = RiskRig()
    rig.open(mine, strategy="another")
    why = rig.ask(intent)

    assert (why is not None and "risk.self_trade_guard" in why) == meets, why
    assert RiskRig(self_trade_guard=False).ask(intent) is None


@pytest.mark.parametrize(("qty", "meets"), [("1", False), ("2", True), ("9", True)])
def test_a_market_order_reaches_as_deep_as_the_book_must_be_taken(qty, meets):
    """An own offer behind enough of others' is not met; where the published levels end, the collar counts."""
    rig = RiskRig()
    rig.top = replace(TOP, record=book_record([(999, 10)], [(1001, 10**8), (1002, 2 * 10**8)]))
    rig.open(limit("sell", "1", "100.2"))
    why = rig.ask(limit("buy", qty, None, order_type="market"))

    assert (why is not None and "risk.self_trade_guard" in why) == meets, why


def test_the_same_order_twice_in_a_moment_is_taken_for_a_mistake():
    """Only of the same strategy, and only within the window; a refused one leaves no trace."""
    rig = RiskRig(duplicate_window_ns=10 * NS_PER_MS)
    intent = limit()
    assert rig.ask(intent) is None
    assert rig.ask(intent) is None
    rig.risk.approved("quoter", intent, MonoNs(0))

    assert "sent 9.0 ms ago, within risk.duplicate_window_ms = 10" in rig.ask(intent, now=9 * NS_PER_MS)
    assert rig.ask(intent, now=10 * NS_PER_MS) is None
    assert rig.ask(limit(qty="2"), now=1) is None
    assert rig.ask(intent, now=1, strategy="another") is None
    assert "twice" in rig.ask(limit(price="98"), batch=[limit(price="98")])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"order_type": "stop-loss", "trigger": Trigger(D(95))}, {"trigger": Trigger(D(90))}),
        ({"order_type": "take-profit", "trigger": Trigger(D(110))}, {"trigger": Trigger(D(120))}),
        ({"order_type": "trailing-stop", "trigger": Trigger(D(1), "pct")}, {"trigger": Trigger(D(2), "pct")}),
        ({"order_type": "trailing-stop", "trigger": Trigger(D(1), "pct")}, {"trigger": Trigger(D(1), "quote")}),
        (
            {"order_type": "trailing-stop-limit", "trigger": Trigger(D(1), "quote"), "limit_offset": D(-1)},
            {"limit_offset": D(-2)},
        ),
        ({"price": "110", "conditional": Conditional("limit", D(90))}, {"conditional": Conditional("limit", D(80))}),
        (
            {"price": "110", "conditional": Conditional("stop-loss", None, None, D(120)), "take_profit": 900},
            {"take_profit": 800},
        ),
        ({"price": "110", "effective_at": AT}, {"effective_at": AT + NS_PER_S}),
    ],
)
def test_orders_that_fire_or_close_elsewhere_are_not_the_same(one, other):
    """A ladder of stops, or brackets with two targets: in one callback, and in one batch. Really the same they are."""
    rig = RiskRig(duplicate_window_ns=10 * NS_PER_MS)
    one = {"price": None} | one
    first, second = limit("sell", "1", **one), limit("sell", "1", **(one | other))
    rig.risk.approved("quoter", first, MonoNs(0))

    assert "the same order" in rig.ask(first, now=1)
    assert rig.ask(second, now=1) is None
    assert rig.ask(second, now=1, batch=[first]) is None
    assert "twice" in rig.ask(second, now=1, batch=[second])


def test_orders_a_second_are_a_bucket():
    """A second's worth at once, then one at a time as it fills; a batch needs room for all of it."""
    rig = RiskRig(orders_per_s_max=D(2))
    for _ in range(2):
        assert rig.ask(limit()) is None
        rig.risk.approved("quoter", limit(), MonoNs(0))
    assert "risk.orders_per_s_max = 2" in rig.ask(limit())
    half = NS_PER_S // 2

    assert rig.ask(limit(), now=half - 1) is not None
    assert rig.ask(limit(), now=half) is None
    assert rig.ask(limit(), now=half, batch=[limit(price="98")]) is not None
    assert rig.ask(limit(), now=10 * NS_PER_S, batch=[limit(price="98")]) is None
    rig.risk.amend_approved(MonoNs(half))
    assert rig.ask(limit(), now=half) is not None


def test_less_than_one_order_a_second_is_a_rate_too():
    """One in ten seconds."""
    rig = RiskRig(orders_per_s_max=D("0.1"))
    assert rig.ask(limit()) is None
    rig.risk.approved("quoter", limit(), MonoNs(0))

    assert rig.ask(limit(), now=10 * NS_PER_S - 1) is not None
    assert rig.ask(limit(), now=10 * NS_PER_S) is None


def test_nothing_new_on_a_pair_while_an_order_is_in_doubt_there():
    """Of the same strategy; unless it is allowed."""
    rig = RiskRig()
    order = rig.open(limit("buy", "1", "99"), is_working=False)
    commit(rig.blotter, rig.blotter.on_doubt(order.key, "no answer", AT))

    assert f"order {order.key} on BTC/USD is in doubt" in rig.ask(limit())
    assert rig.ask(limit(), strategy="another") is None
    rig.risk.limits = replace(LOOSE, trade_while_unknown=True)
    assert rig.ask(limit()) is None


def test_halted_takes_nothing_and_only_a_person_lifts_it():
    """A later `reduce` does not."""
    rig = RiskRig()
    rig.risk.halt("daily loss")
    rig.risk.reduce("softer")

    assert rig.ask(limit()) == "trading is halted: daily loss; only cancels are taken until `engine resume`"
    order = rig.open(limit("buy", "2", "99"))
    assert "halted" in rig.ask_amend(order, qty=QtyLots(10**8))
    rig.risk.resume()
    assert rig.risk.mode is TradingMode.ACTIVE
    assert rig.ask(limit("buy", "1", "98")) is None


def test_reducing_lets_through_what_makes_the_position_smaller():
    """With all that is open on that side: two orders that each close it would turn it round."""
    rig = RiskRig()
    rig.position = D(3)
    rig.risk.reduce("a strategy was halted")

    assert "reducing: a strategy was halted" in rig.ask(limit("buy", "1", "99"))
    assert rig.ask(limit("sell", "3", "101")) is None
    assert rig.ask(limit("sell", "3.1", "101")) is not None
    rig.open(limit("sell", "2", "101"))
    assert rig.ask(limit("sell", "1.1", "101")) is not None
    assert rig.ask(limit("sell", "1", "101")) is None
    rig.position = D(-3)
    assert rig.ask(limit("buy", "3", "99")) is None
    assert rig.ask(limit("buy", "0", None, order_type="market", cash_qty=D(10))) is not None


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"limit_price": PriceTicks(1000)}, None),
        ({"limit_price": PriceTicks(1060)}, "price_collar_percent"),
        ({"qty": QtyLots(6 * 10**8)}, "order_notional_max"),
        ({"qty": QtyLots(3 * 10**8)}, "position_qty_max"),
        ({"qty": QtyLots(10**8)}, None),
        ({"limit_price": PriceTicks(1012)}, "self_trade_guard"),
    ],
)
def test_an_amend_is_held_against_the_same_limits(change, refused):
    """But not against itself."""
    rig = RiskRig(order_notional_max=D(500), pairs={"BTC/USD": PairLimits(position_qty_max=D(4))})
    order = rig.open(limit("buy", "2", "99"))
    rig.open(limit("buy", "1.5", "98"))
    rig.open(limit("sell", "1", "101.2"))
    why = rig.ask_amend(order, **change)

    assert (why is None) if refused is None else (why is not None and refused in why), why


def test_an_amend_that_only_makes_an_order_smaller_needs_no_book():
    """And passes while reducing."""
    rig = RiskRig()
    order = rig.open(limit("buy", "2", "99"))
    rig.top = None
    rig.risk.reduce("")

    assert rig.ask_amend(order, qty=QtyLots(10**8)) is None
    assert rig.ask_amend(order, limit_price=PriceTicks(991)) is not None


def test_what_the_checks_remember_is_bounded():
    """However many orders pass: of those within the window the last ones are known, and no
    other.
    """
    rig = RiskRig(duplicate_window_ns=NS_PER_S, orders_per_s_max=10**12)
    for number in range(3 * DUPLICATES_REMEMBERED_MAX):
        rig.risk.approved("quoter", limit("buy", f"1.{number:08}", "100"), MonoNs(number))
    said = [rig.ask(limit("buy", f"1.{number:08}", "100")) for number in (0, 3 * DUPLICATES_REMEMBERED_MAX - 1)]

    assert said[0] is None
    assert "the same order was sent" in said[1]


def cash(amount: str):
    """A market buy that names the money."""
    return limit("buy", "0", None, order_type="market", cash_qty=D(amount))


def test_an_order_that_names_the_money_is_held_to_limits_of_quantity():
    """At the best ask of 100.1: 100.1 buys one, whatever the order calls itself."""
    rig = RiskRig(pairs={"BTC/USD": PairLimits(order_qty_max=D(1), position_qty_max=D(2))})

    assert rig.ask(cash("100.1")) is None
    assert "order_qty_max = 1" in rig.ask(cash("100.2"))
    rig.position = D("1.5")
    assert "position_qty_max = 2" in rig.ask(cash("100.1"))
    assert rig.ask(cash("50")) is None


def test_money_under_way_counts_for_the_position():
    """Of open orders, and of the same batch."""
    rig = RiskRig(pairs={"BTC/USD": PairLimits(position_qty_max=D(2))})
    assert rig.ask(limit("buy", "1", "100"), batch=[cash("100.2")]) is not None
    rig.open(cash("100.2"), is_working=False)

    assert "position_qty_max = 2" in rig.ask(limit("buy", "1", "100"))
    assert rig.ask(limit("buy", "0.9", "100")) is None


def test_money_that_closes_a_short_position_reduces_it():
    """And no further than to nothing."""
    rig = RiskRig()
    rig.risk.reduce("the day's loss")
    rig.position = D(-1)

    assert rig.ask(cash("100.1")) is None
    assert "does not only make the position smaller" in rig.ask(cash("101"))


def test_market_orders_under_way_reach_together():
    """Two of one that leave at once take what one of two would."""
    rig = RiskRig()
    rig.top = replace(TOP, record=book_record([(999, 10)], [(1001, 10**8), (1002, 10**8)]))
    rig.open(limit("sell", "1", "100.2"))
    one = limit("buy", "1", None, order_type="market")

    assert rig.ask(one) is None
    assert "risk.self_trade_guard" in rig.ask(one, batch=[one])
    rig.open(one, is_working=False)
    assert "risk.self_trade_guard" in rig.ask(one)


@pytest.mark.parametrize(
    ("limits", "trigger", "refused"),
    [
        ({"order_notional_max": D(300)}, "150", None),
        ({"order_notional_max": D(300)}, "150.1", "risk.order_notional_max = 300"),
        ({"position_notional_max": D(300)}, "150.1", "risk.position_notional_max = 300"),
        ({"order_notional_max": D(300)}, "1010", "order of 2020"),
    ],
)
def test_a_stop_whose_trigger_is_moved_is_worth_what_it_is_there(limits, trigger, refused):
    """It trades near it: ten times the trigger is ten times the order. And what it was moved to is what it has."""
    rig = RiskRig(**limits)
    order = rig.open(limit("buy", "2", None, order_type="stop-loss", trigger=Trigger(D(101))))
    why = rig.ask_amend(order, trigger_price=D(trigger))
    moved = Amendment(price_decimals=1, qty_decimals=8, trigger_price=D(150))
    commit(rig.blotter, [AmendSent(order.key, moved, AT)])
    commit(rig.blotter, rig.blotter.on_amended(order.key, AT))

    assert (why is None) if refused is None else (why is not None and refused in why), why
    assert order.intent.trigger == Trigger(D(150))
    assert "more than risk." in rig.ask_amend(order, qty=QtyLots(3 * 10**8))
    assert fold_again(rig.blotter).open[order.key].intent.trigger == Trigger(D(150))


def fold_again(blotter):
    """Through a snapshot."""
    again = Blotter()
    again.apply(blotter.snapshot(AT))
    return again
