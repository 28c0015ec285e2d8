"""Nothing compares, adds or writes units of two scales: orders of before a change of precision, and of after it."""

import json
from decimal import Decimal

import pytest
from msgspec.structs import replace

from engine.history import fill_row, order_row
from engine.kraken.rest import requests as rest_requests
from engine.kraken.trading import order_requests
from engine.market import Pair
from engine.order_router.core.report_outbox import order_report
from engine.orders.balances import Balances
from engine.orders.blotter import Blotter, fold
from engine.orders.intent import Amendment, Conditional, OrderIntent
from engine.orders.journal_records import AmendSent, Filled
from engine.orders.life import OrderState
from engine.orders.risk import PairLimits, Risk, RiskLimits, TopOfBook
from engine.orders.venue_facts import OrderLookup
from engine.strategy.order_options import make_amendment, make_intent
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs
from tests.market.rig import book_record
from tests.orders.rig import AT, KEY, ORDER_ID, commit, fact, sent, submitted, tell, text_of, trade

D = Decimal
COARSE, FINE = Pair("BTC/USD", 1, 8, cost_decimals=5), Pair("BTC/USD", 2, 9, cost_decimals=5)
LOOSE = RiskLimits(orders_per_s_max=D(1000), duplicate_window_ns=0)
TOP = TopOfBook(PriceTicks(634_800), PriceTicks(634_900), 1, is_live=True, age_ns=0)


def order_of(pair, side="buy", qty="0.01", price="62000.0"):
    """A limit order as a strategy asks for it while its pair is so."""
    return make_intent(pair, side, qty, {"limit": price}, AT)


def working(intent, **more):
    """A blotter with that order open."""
    blotter, order = sent(intent=intent, **more)
    tell(blotter, fact("new"))
    return blotter, order


def refusal(intent, pair, *, top=TOP, open_orders=(), position="0", limits=LOOSE, batch=(), risk=None):
    """What the router says to an order while the pair is so."""
    return text_of((risk or Risk(limits)).refusal(
        intent, strategy="quoter", pair=pair, top=top, open_orders=open_orders, position=D(position),
        now=MonoNs(10**9), batch=batch,
    ))  # fmt: skip


def amend_refusal(order, amendment, pair, *, top=TOP, limits=LOOSE, risk=None):
    return text_of((risk or Risk(limits)).amend_refusal(
        order, amendment, pair=pair, top=top, open_orders=[order], position=D(0), now=MonoNs(10**9)
    ))  # fmt: skip


# --- what goes out


@pytest.mark.parametrize(("before", "now"), [(FINE, COARSE), (COARSE, FINE)])
def test_an_amend_says_what_was_asked_whatever_the_order_was_opened_with(before, now):
    """64000.0 stays 64000.0, on both routes: not 6400.00, which fills at the market."""
    blotter, order = working(order_of(before))
    asked = make_amendment(now, "limit", {"limit": "64000.0", "qty": "0.02"})
    commit(blotter, [AmendSent(KEY, asked, AT)])
    frame = order_requests.amend_order(order.amendment, order_id=ORDER_ID, deadline=AT, token="t", req_id=1)
    by_rest = rest_requests.amend_order(order.amendment, order_id=ORDER_ID, deadline=AT).fields
    params = json.loads(frame, parse_float=Decimal)["params"]

    assert (params["limit_price"], params["order_qty"]) == (D("64000.0"), D("0.02"))
    assert (D(by_rest["limit_price"]), D(by_rest["order_qty"])) == (D("64000.0"), D("0.02"))


@pytest.mark.parametrize(
    ("asked_in", "now"), [(FINE, COARSE), (COARSE, FINE), (COARSE, replace(COARSE, qty_decimals=7))]
)
def test_what_was_asked_in_another_precision_is_refused(asked_in, now):
    """New orders, those of a batch, and amends: the strategy rounds again. Never sent, never reinterpreted."""
    said = "BTC/USD's precision changed while this was under way"
    _, order = working(order_of(now))
    one, other = order_of(now), order_of(asked_in)

    assert refusal(other, now).startswith(said)
    assert refusal(one, now) is None
    assert refusal(other, now, batch=[one]).startswith(said)
    assert amend_refusal(order, make_amendment(asked_in, "limit", {"qty": "0.005"}), now).startswith(said)


# --- limits


@pytest.mark.parametrize(
    ("own", "other", "meets"),
    [("62000.00", "64500.0", False), ("64500.00", "64500.0", True), ("64500.01", "64500.0", True),
     ("64499.99", "64500.0", False)],
)  # fmt: skip
def test_the_self_trade_guard_knows_prices_in_two_precisions(own, other, meets):
    """An own buy of two decimals and a sell of one: they meet when their prices do."""
    _, buy = working(order_of(FINE, price=own))
    sell = order_of(COARSE, "sell", price=other)
    why = refusal(sell, COARSE, open_orders=[buy])

    assert (why is not None) is meets
    assert why is None or f"the account's own buy {KEY} at {own} on BTC/USD" in why


def test_the_nearest_of_own_orders_in_two_precisions_is_the_nearest_price():
    """620000 ticks are not below 6199999 hundredths for their numbers."""
    _, fine = working(order_of(FINE, "sell", price="64100.05"), key="quoter00001a000001")
    _, coarse = working(order_of(COARSE, "sell", price="64100.1"), key="quoter00001a000002")
    buy = order_of(COARSE, price="64200.0")

    for own in ([fine, coarse], [coarse, fine]):
        assert "at 64100.05 on" in refusal(buy, COARSE, open_orders=own)


@pytest.mark.parametrize("scale", [0, 1, 2, 5])
def test_the_collar_compares_prices(scale):
    """The book may still be, or already be, in another precision than the pair."""
    bid, ask = 63_480 * 10**scale, 63_490 * 10**scale
    top = TopOfBook(PriceTicks(bid), PriceTicks(ask), scale, is_live=True, age_ns=0)

    assert refusal(order_of(COARSE, price="66664.5"), COARSE, top=top) is None
    assert "beyond the best ask 63490" in refusal(order_of(COARSE, price="66664.6"), COARSE, top=top)
    assert "beyond the best bid 63480" in refusal(order_of(COARSE, "sell", price="6348.0"), COARSE, top=top)


def test_a_market_order_reaches_into_a_book_of_another_precision():
    """Quantities of the record are lots of its own."""
    record = book_record([(999, 10**8)], [(1001, 10**8), (1003, 10**8)])  # 1 and 8 decimals: 1 BTC at 100.1 and 100.3
    top = TopOfBook(PriceTicks(999), PriceTicks(1001), 1, is_live=True, age_ns=0, record=record)
    _, own = working(make_intent(FINE, "sell", "1", {"limit": "100.30"}, AT))

    assert refusal(make_intent(FINE, "buy", "1", {}, AT), FINE, top=top, open_orders=[own]) is None
    assert "at 100.30" in refusal(make_intent(FINE, "buy", "1.000000001", {}, AT), FINE, top=top, open_orders=[own])


@pytest.mark.parametrize(("opened_in", "now"), [(FINE, COARSE), (COARSE, FINE)])
def test_a_position_counts_open_orders_of_both_precisions_as_what_they_are(opened_in, now):
    """0.01 open and 0.02 asked for are 0.03, to the last digit."""
    _, own = working(order_of(opened_in))
    asked = order_of(now, qty="0.02")

    def with_at_most(qty):
        limits = replace(LOOSE, pairs={"BTC/USD": PairLimits(position_qty_max=D(qty))})
        return refusal(asked, now, open_orders=[own], position="1", limits=limits)

    assert with_at_most("1.03") is None
    assert "would be 1.03" in with_at_most("1.0299999999")


def test_the_same_order_in_another_precision_is_a_duplicate():
    """64000.0 and 64000.00 are one price; ten times as many ticks are not another order."""
    risk = Risk(RiskLimits(orders_per_s_max=D(1000)))
    risk.approved("quoter", order_of(COARSE, price="62000.0"), MonoNs(10**9))

    assert "the same order was sent" in refusal(order_of(FINE, price="62000.00"), FINE, risk=risk)
    assert refusal(order_of(FINE, price="6200.00"), FINE, risk=risk) is None


def test_an_amend_is_measured_against_the_order_as_it_is():
    """Less of an order of another precision is less; ten times the ticks are no larger price."""
    _, order = working(order_of(FINE, qty="0.010000001"))
    reducing = Risk(LOOSE)
    reducing.reduce("a test")

    assert amend_refusal(order, make_amendment(COARSE, "limit", {"qty": "0.01"}), COARSE, risk=reducing) is None
    more = make_amendment(COARSE, "limit", {"qty": "0.01000001"})
    assert amend_refusal(order, more, COARSE, risk=reducing).startswith("trading is reducing")
    assert amend_refusal(order, make_amendment(COARSE, "limit", {"limit": "66664.6"}), COARSE).startswith(
        "buy limit 66664.6"
    )
    limits = replace(LOOSE, order_notional_max=D("620.1"))
    assert "more than risk.order_notional_max" in amend_refusal(
        order, make_amendment(COARSE, "limit", {"limit": "62010.0"}), COARSE, limits=limits
    )


def test_an_amend_whose_scale_no_record_could_hold_is_refused():
    """9 * 10^10 coins of 8 decimals have no room for a ninth."""
    _, order = working(order_of(COARSE, qty="90000000000"))
    why = amend_refusal(order, make_amendment(FINE, "limit", {"limit": "61000.00"}), FINE)

    assert "too many digits" in why


# --- what Kraken tells


def test_a_fill_finer_than_the_order_is_counted_whole():
    """It was dropped as impossible; the order is told in finer lots from then on, and its first fill stays right."""
    blotter, order = working(order_of(COARSE, qty="1", price="100.0"))
    first = tell(blotter, trade(qty="0.4"))[0]
    second = tell(blotter, trade("T2", qty="0.123456789"))[0]

    assert (order.filled_qty, order.order_qty, order.limit) == (D("0.523456789"), D(1), D("100.0"))
    assert blotter.positions.total_qty("BTC/USD") == D("0.523456789")
    assert [D(fill_row(order, change.fill).qty) for change in (first, second)] == [D("0.4"), D("0.123456789")]
    assert blotter.quarantined == 0


@pytest.mark.parametrize(
    ("opened_in", "asked_in", "told"),
    [(FINE, COARSE, "64000.0"), (FINE, COARSE, "64000.00"), (COARSE, FINE, "64000.05"), (COARSE, FINE, "64000.050")],
)
def test_the_report_of_an_amend_in_another_precision_answers_it(opened_in, asked_in, told):
    """By its price and quantity, however many digits Kraken prints."""
    blotter, order = working(order_of(opened_in))
    asked = make_amendment(asked_in, "limit", {"limit": D(told).normalize(), "qty": "0.02"})
    commit(blotter, [AmendSent(KEY, asked, AT)])
    tell(blotter, fact("amended", at=WallNs(AT + 5), order_qty=D("0.02000000"), limit_price=D(told)))

    assert (order.pending, order.limit, order.order_qty) == ("", D(told), D("0.02"))


def test_the_answer_to_an_amend_in_another_precision_is_what_was_asked():
    """Before any report of it."""
    blotter, order = working(order_of(FINE, price="62000.05"))
    asked = make_amendment(COARSE, "limit", {"qty": "0.5"})
    commit(blotter, [AmendSent(KEY, asked, AT)])
    commit(blotter, blotter.on_amended(KEY, AT))

    assert (order.limit, order.order_qty) == (D("62000.05"), D("0.5"))


@pytest.mark.parametrize("qty", ["0.01", "0.010000000", "0.0123456789"])
def test_rest_tells_an_order_of_another_precision(qty):
    """An amend whose answer was lost shows in a lookup; a count that is finer than the order is kept whole."""
    blotter, order = working(order_of(COARSE, qty="0.02"))
    asked = make_amendment(FINE, "limit", {"limit": "61999.95"})
    commit(blotter, [AmendSent(KEY, asked, AT)])
    found = OrderLookup(order_id=ORDER_ID, status="open", cl_ord_id=KEY, qty=D("0.02"), filled_qty=D(qty),
                        limit_price=D("61999.95"))  # fmt: skip
    commit(blotter, blotter.on_lookup(found, AT))

    assert (order.pending, order.limit) == ("", D("61999.95"))
    assert D(order.filled_known).scaleb(-order.qty_decimals) == D(qty)


def test_an_order_finer_than_its_pair_is_adopted_as_it_is():
    """Opened by somebody before the pair became coarser: it must count for the guard and for positions."""
    blotter = Blotter()
    row = fact("new", cl_ord_id="theirs", order_id="OTHEIR", symbol="BTC/USD", side="sell", order_type="limit",
               order_qty=D("0.123456789"), limit_price=D("64000.05"), cum_qty=D("0.1"), is_snapshot=True)  # fmt: skip
    commit(blotter, blotter.on_execution(row, {"BTC/USD": COARSE}.get, AT))
    order = blotter.open["OTHEIR"]

    assert (order.order_qty, order.limit, order.filled_in_all) == (D("0.123456789"), D("64000.05"), D("0.1"))
    assert "at 64000.05" in refusal(order_of(COARSE, price="64000.1"), COARSE, open_orders=[order])


def test_a_number_that_no_record_holds_is_counted_and_left():
    """2^80 lots end nobody."""
    blotter, order = working(order_of(COARSE))
    assert tell(blotter, trade(qty=f"0.{'1' * 29}")) == []
    tell(blotter, fact("status", order_qty=D(2**80), limit_price=D("1e-29"), is_snapshot=True))

    assert (order.filled, order.order_qty, order.limit) == (0, D("0.01"), D("62000.0"))
    assert blotter.quarantined == 1


# --- what stays


def test_after_a_restart_an_order_is_what_it_was():
    """Journalled in one precision, amended in another, filled in a third: by its records, and by a snapshot."""
    records = []
    blotter = Blotter()
    commit(blotter, [submitted(intent=order_of(FINE, price="62000.05"))], records)
    tell(blotter, fact("new"), records)
    commit(blotter, [AmendSent(KEY, make_amendment(COARSE, "limit", {"limit": "62000.1", "qty": "0.02"}), AT)], records)
    commit(blotter, blotter.on_amended(KEY, AT), records)
    tell(blotter, trade(qty="0.0000000001", price="62000.1"), records)
    again = fold(records)
    snapshot = fold([blotter.snapshot(AT)])

    assert again.state_hash() == snapshot.state_hash() == blotter.state_hash()
    for found in (again, snapshot):
        order = found.open[KEY]
        assert (order.order_qty, order.limit, order.filled_qty) == (D("0.02"), D("62000.1"), D("0.0000000001"))


def test_what_an_order_holds_does_not_change_with_its_scale():
    """Balances, and the row for people."""
    _, order = working(order_of(COARSE, qty="1", price="100.0"))
    balances = Balances(D(0))
    held = balances.held([order])
    order.refine(4, 12)

    assert balances.held([order]) == held == {"USD": D(100)}
    assert D(order_row(order).qty) == 1
    assert D(order_row(order).limit_price) == 100


def test_a_fill_keeps_its_own_scale_when_its_order_becomes_finer():
    """Compared, told and written later, it is what it was."""
    blotter, order = working(order_of(COARSE, qty="1", price="100.0"))
    change = tell(blotter, trade(qty="0.4"))[0]
    order.refine(5, 11)

    assert isinstance(change.fill, Filled)
    assert D(fill_row(order, change.fill).qty) == D("0.4")


def test_an_amend_under_way_counts_for_the_position_as_what_it_asks():
    """It may have happened already: 0.05 of another precision, not ten times that."""
    _, order = working(order_of(FINE, qty="0.01"))
    order.pending, order.amendment = "amend", Amendment(price_decimals=1, qty_decimals=8, qty=QtyLots(5_000_000))
    limits = replace(LOOSE, pairs={"BTC/USD": PairLimits(position_qty_max=D("0.0699999999"))})

    why = refusal(order_of(COARSE, qty="0.02"), COARSE, open_orders=[order], limits=limits)

    assert "would be 0.07" in why


def test_a_cash_order_of_another_precision_counts_what_is_left_of_it():
    """What it buys at the best ask, less what it has bought."""
    spends = OrderIntent(symbol="BTC/USD", side="buy", order_type="market", price_decimals=2, qty_decimals=9,
                         qty=QtyLots(0), cash_qty=D(100))  # fmt: skip
    top = TopOfBook(PriceTicks(999), PriceTicks(1000), 1, is_live=True, age_ns=0)
    blotter, order = working(spends)
    tell(blotter, trade(qty="0.4", price="100.0"))
    limits = replace(LOOSE, pairs={"BTC/USD": PairLimits(position_qty_max=D("0.9"))})
    asked = make_intent(COARSE, "buy", "0.3", {"limit": "100.0"}, AT)

    assert order.state is OrderState.PARTIAL
    assert refusal(asked, COARSE, top=top, open_orders=[order], limits=limits) is None
    more = make_intent(COARSE, "buy", "0.30000001", {"limit": "100.0"}, AT)
    assert "would be 0.90000001" in refusal(more, COARSE, top=top, open_orders=[order], limits=limits)


def test_a_closing_order_means_by_its_trigger_what_its_parent_said():
    """Kraken's reports of it do not tell: an amend of a distance in per cent has no tick."""
    close = Conditional("trailing-stop", trigger_price=D("1.234"), trigger_price_type="pct")
    parent = make_intent(COARSE, "buy", "0.01", {"limit": "62000.0", "conditional": close}, AT)
    blotter, _ = sent(intent=parent, userref=77)
    tell(blotter, fact("new", cl_ord_id=None, order_userref=77))
    row = fact("pending_new", order_id="OCHILD", cl_ord_id=None, order_userref=77, ord_ref_id=ORDER_ID,
               symbol="BTC/USD", side="sell", order_type="trailing-stop", order_qty=D("0.01"))  # fmt: skip
    tell(blotter, row)
    child = blotter.open["OCHILD"]
    report = order_report(child)
    finer = {"trigger": "2.345"}

    assert (child.strategy, report.trigger_type) == ("quoter", "pct")
    assert make_amendment(COARSE, report.order_type, finer, trigger_type=report.trigger_type).trigger_price == D(
        "2.345"
    )
