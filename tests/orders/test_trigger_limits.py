"""An order with a trigger is held to the limits as what it becomes: at once where the market has passed its trigger."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.orders.intent import Amendment, Conditional, Trigger
from engine.orders.journal_records import AmendSent
from engine.units import PriceTicks, QtyLots
from tests.market.rig import book_record
from tests.orders.rig import AT, TOP, RiskRig, commit, limit

D = Decimal


def triggered(side, kind, at, price=None, qty="1", price_type="static"):
    """An order with a trigger; the market is at 99.9 and 100.1."""
    return limit(side, qty, price, order_type=kind, trigger=Trigger(D(at), price_type))


@pytest.mark.parametrize("name", ["order_notional_max", "position_notional_max"])
@pytest.mark.parametrize(
    ("intent", "worth"),
    [
        (triggered("buy", "stop-loss", "5"), "100.1"),
        (triggered("buy", "stop-loss", "150"), "150"),
        (triggered("sell", "stop-loss", "150"), "150"),
        (triggered("sell", "stop-loss", "90"), "90"),
        (triggered("buy", "take-profit", "150"), "150"),
        (triggered("buy", "take-profit", "90"), "90"),
        (triggered("sell", "take-profit", "5"), "99.9"),
        (triggered("sell", "take-profit", "150"), "150"),
        (triggered("sell", "stop-loss-limit", "90", "1"), "90"),
        (triggered("sell", "take-profit-limit", "150", "99"), "150"),
        (triggered("sell", "take-profit-limit", "5", "99"), "99.9"),
        (triggered("buy", "stop-loss-limit", "110", "111"), "111"),
        (triggered("buy", "stop-loss", "10", price_type="pct"), "110.11"),
        (triggered("buy", "stop-loss", "-10", price_type="pct"), "100.1"),
        (triggered("buy", "trailing-stop", "10", price_type="quote"), "110.1"),
        (triggered("sell", "trailing-stop", "10", price_type="quote"), "99.9"),
    ],
)  # fmt: skip
def test_it_is_worth_what_it_trades_at(name, intent, worth):
    """At its trigger, or at the market where that has passed it: a trigger far on the other side is no way round."""
    assert RiskRig(**{name: D(worth)}).ask(intent) is None
    why = RiskRig(**{name: D(worth) - D("0.01")}).ask(intent)

    assert why is not None
    assert f"risk.{name}" in why


def test_the_market_counts_while_the_side_that_it_would_take_is_empty():
    """By its own side then; with neither there is no price, and that is said."""
    rig = RiskRig(order_notional_max=D(50))
    rig.top = replace(TOP, best_ask=None)
    assert "nobody asks" in rig.ask(triggered("buy", "stop-loss", "5"))
    rig.top = replace(TOP, best_ask=None, best_bid=None)
    assert "no price to measure against risk.order_notional_max" in rig.ask(triggered("buy", "stop-loss", "5"))


@pytest.mark.parametrize(
    ("kind", "first", "moved", "refused"),
    [
        ("stop-loss", "110", "5", "order of 200.2"),
        ("stop-loss", "110", "90", "order of 200.2"),
        ("stop-loss", "110", "105", "order of 210"),
        ("take-profit", "80", "98", None),
        ("take-profit", "80", "101", "order of 202"),
    ],
)
def test_a_trigger_that_is_moved_beyond_the_market_is_worth_the_market(kind, first, moved, refused):
    """Two are bought at 100.1 for 200.2, wherever the trigger is moved to."""
    rig = RiskRig()
    order = rig.open(triggered("buy", kind, first, qty="2"))
    rig.risk.limits = replace(rig.risk.limits, order_notional_max=D(200))
    why = rig.ask_amend(order, trigger_price=D(moved))

    assert (why is None) if refused is None else (why is not None and refused in why), why


def test_a_trigger_is_moved_on_a_book_that_is_known():
    """As a limit is: what it would be worth is not known otherwise. Smaller it may be made at any time."""
    rig = RiskRig()
    order = rig.open(triggered("buy", "stop-loss", "110", qty="2"))
    rig.top = replace(TOP, is_live=False)

    assert "not verified" in rig.ask_amend(order, trigger_price=D(120))
    assert rig.ask_amend(order, qty=QtyLots(10**8)) is None


@pytest.mark.parametrize(
    ("intent", "refused"),
    [
        (triggered("sell", "take-profit-limit", "50", "1"), "sell limit 1.0 is more than risk.price_collar_percent"),
        (triggered("buy", "stop-loss-limit", "50", "200"), "buy limit 200.0 is more than risk.price_collar_percent"),
        (triggered("buy", "stop-loss-limit", "50", "104"), None),
        (triggered("buy", "stop-loss-limit", "150", "200"), None),
        (triggered("sell", "take-profit-limit", "150", "1"), None),
    ],
)
def test_the_collar_holds_what_fires_at_once(intent, refused):
    """It is a limit order from the beginning; one that waits for its trigger is not checked before that."""
    why = RiskRig().ask(intent)

    assert (why is None) if refused is None else (why is not None and refused in why), why


def test_the_collar_holds_an_order_whose_trigger_is_moved_so_that_it_fires():
    """Its limit was far away while nothing was near it."""
    rig = RiskRig()
    order = rig.open(triggered("sell", "take-profit-limit", "150", "1"))

    assert "risk.price_collar_percent" in rig.ask_amend(order, trigger_price=D(50))
    assert rig.ask_amend(order, trigger_price=D(140)) is None


def test_the_self_trade_guard_sees_what_fires_at_once():
    """As a market order, as deep as its quantity, or as a limit order; not what waits for its trigger."""
    rig = RiskRig()
    rig.top = replace(TOP, record=book_record([(999, 10)], [(1001, 10**8), (1002, 10**8)]))
    rig.open(limit("sell", "1", "100.2"))

    assert "risk.self_trade_guard" in rig.ask(triggered("buy", "stop-loss", "5", qty="2"))
    assert rig.ask(triggered("buy", "stop-loss", "5")) is None
    assert "risk.self_trade_guard" in rig.ask(triggered("buy", "stop-loss-limit", "5", "100.2"))
    assert rig.ask(triggered("buy", "stop-loss", "110", qty="2")) is None
    waiting = rig.open(triggered("buy", "stop-loss", "110", qty="2"))
    assert "risk.self_trade_guard" in rig.ask_amend(waiting, trigger_price=D(5))


def test_what_fires_at_once_takes_from_the_book_with_the_others():
    """Of the same batch, and on its way."""
    rig = RiskRig()
    rig.top = replace(TOP, record=book_record([(999, 10)], [(1001, 10**8), (1002, 10**8)]))
    rig.open(limit("sell", "1", "100.2"))
    fires = triggered("buy", "stop-loss", "5")
    market = limit("buy", "1", None, order_type="market")

    assert rig.ask(market) is None
    assert "risk.self_trade_guard" in rig.ask(market, batch=[fires])
    rig.open(fires, is_working=False)
    assert "risk.self_trade_guard" in rig.ask(market)


def test_kraken_s_minimum_is_by_the_limit():
    """That is what Kraken multiplies with."""
    rig = RiskRig()
    rig.pair = replace(rig.pair, cost_min=D(5))

    assert "minimum of 5" in rig.ask(triggered("sell", "stop-loss-limit", "90", "1"))
    assert PriceTicks(10) == triggered("sell", "stop-loss-limit", "90", "1").limit_price


def closing(side, price, close, **more):
    """An order with a conditional close, or a market order."""
    return limit(
        side, "1", price, conditional=Conditional(*close), **({} if price else {"order_type": "market"}), **more
    )


def at(price):
    """A trigger of a closing order."""
    return D(price), "static"


@pytest.mark.parametrize(
    ("intent", "refused"),
    [
        (closing("buy", "100", ("limit", D(1))), "closing sell limit 1 is more than risk.price_collar_percent = 5 %"),
        (closing("buy", None, ("limit", D(94))), "beyond 99.9, near which it would be placed"),
        (closing("buy", None, ("limit", D(95))), None),
        (closing("buy", "50", ("limit", D(48))), None),
        (closing("buy", "50", ("limit", D(47))), "closing sell limit 47"),
        (closing("sell", "100", ("limit", D(200))), "closing buy limit 200"),
        (closing("sell", "200", ("limit", D(200))), None),
        (closing("buy", "100", ("limit", D(-50), "pct")), "closing sell limit 49.95"),
        (closing("buy", "100", ("limit", D(2), "pct")), None),
        (closing("buy", "100", ("stop-loss-limit", D(50), None, *at(90))), None),
        (closing("buy", "100", ("stop-loss-limit", D(50), None, *at(101))), "closing sell limit 50"),
        (closing("buy", "100", ("take-profit-limit", D(1), None, *at(50))), "closing sell limit 1"),
        (closing("buy", "100", ("take-profit-limit", D(1), None, *at(150))), None),
        (closing("buy", "100", ("trailing-stop-limit", D(-90), "quote", D(5), "quote")), None),
        (closing("buy", None, ("stop-loss", None, None, *at(1)), take_profit=PriceTicks(20)), "closing sell limit 2.0"),
        (closing("buy", None, ("stop-loss", None, None, *at(1)), take_profit=PriceTicks(1020)), None),
    ],
)  # fmt: skip
def test_the_collar_holds_a_closing_order(intent, refused):
    """Near the price at which it comes into being; one that waits for its trigger then is not checked before that."""
    why = RiskRig().ask(intent)

    assert (why is None) if refused is None else (why is not None and refused in why), why


def test_a_closing_order_is_placed_where_its_order_fires():
    """Or at the market, if it fires at once."""
    close = Conditional("limit", D(145))
    waits = replace(triggered("buy", "stop-loss", "150"), conditional=close)
    fires = replace(triggered("sell", "take-profit", "50"), conditional=close)

    assert RiskRig().ask(waits) is None
    assert "closing buy limit 145" in RiskRig().ask(fires)


@pytest.mark.parametrize(
    ("mine", "change", "intent", "meets"),
    [
        (limit("sell", "1", "104"), {"limit_price": PriceTicks(1010)}, limit("buy", "1", "102"), True),
        (limit("sell", "1", "101"), {"limit_price": PriceTicks(1040)}, limit("buy", "1", "102"), True),
        (limit("sell", "1", "104"), {"limit_price": PriceTicks(1030)}, limit("buy", "1", "102"), False),
        (limit("sell", "1", "104"), {"qty": QtyLots(1)}, limit("buy", "1", "102"), False),
        (limit("buy", "1", "96"), {"limit_price": PriceTicks(990)}, limit("sell", "1", "98"), True),
        (triggered("sell", "stop-loss-limit", "80", "100"), {"trigger_price": D(120)}, limit("buy", "1", "100"), True),
        (triggered("sell", "stop-loss-limit", "80", "100"), {"trigger_price": D(90)}, limit("buy", "1", "100"), False),
    ],
)
def test_an_amend_under_way_is_met_at_either_price(mine, change, intent, meets):
    """It may have been carried out already, or may not be."""
    rig = RiskRig()
    order = rig.open(mine, strategy="another")
    commit(rig.blotter, [AmendSent(order.key, Amendment(price_decimals=1, qty_decimals=8, **change), AT)])
    why = rig.ask(intent)

    assert (why is not None and "risk.self_trade_guard" in why) == meets, why


@pytest.mark.parametrize(
    ("mine", "intent", "meets"),
    [
        (triggered("sell", "stop-loss-limit", "98", "100.1"), limit("buy", "1", "100.1"), True),
        (triggered("sell", "stop-loss-limit", "98", "97"), limit("buy", "1", "100.1"), False),
        (triggered("sell", "stop-loss-limit", "100", "100"), limit("buy", "1", "100"), True),
        (triggered("sell", "take-profit-limit", "103", "102"), limit("buy", "1", "102"), True),
        (triggered("buy", "stop-loss-limit", "102", "99.9"), limit("sell", "1", "99.9"), True),
        (triggered("buy", "stop-loss-limit", "105", "106"), limit("sell", "1", "99.9"), False),
        (triggered("buy", "take-profit-limit", "98", "98"), limit("sell", "1", "98"), True),
    ],
)
def test_a_stop_that_may_have_fired_and_rest_is_met(mine, intent, meets):
    """The market is at 99.9 and 100.1: what rests there may be what has fired, and nothing of ours rests before it."""
    rig = RiskRig()
    rig.open(mine, strategy="another")
    why = rig.ask(intent)

    assert (why is not None and "risk.self_trade_guard" in why) == meets, why


def test_reducing_takes_no_order_that_opens_the_position_again():
    """A sell whose conditional close buys it all back."""
    rig = RiskRig()
    rig.position = D(1)
    rig.risk.reduce("as a person asked")

    assert rig.ask(limit("sell", "1", "102")) is None
    assert rig.ask(closing("sell", "102", ("limit", D(101)))) == (
        "trading is reducing: as a person asked; "
        "the conditional close of this sell would make the position larger again"
    )
