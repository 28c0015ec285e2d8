"""Orders from first to last: whatever comes on two connections, in any order, once or twice."""

from decimal import Decimal
from itertools import permutations

import pytest
from msgspec.structs import replace

from engine.orders.blotter import EXEC_IDS_KEPT, PARKED_MAX, Blotter, fold, missing_from
from engine.orders.intent import Amendment, Trigger
from engine.orders.journal_records import (
    Absent,
    Acknowledged,
    AmendSent,
    CancelSent,
    DayBegan,
    Ended,
    Filled,
    ModeChanged,
    Rejected,
    RunBegan,
    encode_record,
)
from engine.orders.life import OrderState
from engine.orders.venue_facts import Fee, OrderLookup
from engine.units import PriceTicks, QtyLots, WallNs
from tests.orders.rig import AT, KEY, ORDER_ID, PAIRS, commit, fact, limit, refused, sent, submitted, tell, trade

S = OrderState
CHILD_ID = "OCHILD-00000-000000"
EXTERNAL_ID = "OEXTER-00000-000000"
ONE = 10**8  # lots of a whole coin


def pending_new(**more):
    """The first report of an order."""
    told = {"symbol": "BTC/USD", "side": "buy", "order_type": "limit", "order_qty": Decimal("1.00000000")}
    return fact("pending_new", **{**told, "limit_price": Decimal("100.0"), **more})


def new(**more):
    """The second."""
    return fact("new", **more)


def end(exec_type, cum="1", **more):
    """The last: neither symbol nor side."""
    return fact(exec_type, cum_qty=Decimal(cum), **more)


def lookup(status, **more):
    """How REST tells the order."""
    told = {"order_id": ORDER_ID, "cl_ord_id": KEY, "qty": Decimal(1), "limit_price": Decimal("100.0")}
    return OrderLookup(status=status, **{**told, **more})


# --- from sent to over


def test_answer_and_reports_make_the_same_order_in_any_order():
    """The answer comes on one connection, the reports on the other; trades and the end may outrun both."""
    hashes = set()
    steps = {
        "answer": lambda b: commit(b, b.on_acknowledged(KEY, ORDER_ID, AT)),
        "pending_new": lambda b: tell(b, pending_new()),
        "new": lambda b: tell(b, new()),
        "first": lambda b: tell(b, trade("T1", qty="0.4")),
        "last": lambda b: tell(b, trade("T2", qty="0.6")),
        "filled": lambda b: tell(b, end("filled")),
    }
    for order_of_steps in permutations(steps):
        blotter, order = sent()
        for step in order_of_steps:
            steps[step](blotter)
        assert (order.state, order.filled, order.order_id) == (S.FILLED, ONE, ORDER_ID)
        assert (order.cost, order.avg_price, order.fees) == (100, 100, {"USD": Decimal("0.32")})
        assert (blotter.open, blotter.quarantined) == ({}, 0)
        hashes.add(blotter.state_hash())

    assert len({blotter.positions.qty("quoter", "BTC/USD") for _ in hashes}) == 1


def test_a_trade_row_never_completes_an_order():
    """Its order_status says nothing (a snapshot's fills are all "filled"): only an execution `filled` is the end."""
    blotter, order = sent()
    tell(blotter, trade(qty="1"))
    assert (order.state, order.remaining) == (S.PARTIAL, 0)
    tell(blotter, end("filled"))

    assert order.state is S.FILLED


@pytest.mark.parametrize(("exec_type", "state"), [("canceled", S.CANCELED), ("expired", S.EXPIRED)])
def test_an_order_can_end_with_a_part_filled(exec_type, state):
    """The remainder of an IOC, a GTD at its time, a cancel: what was filled stays, with the reason of the end."""
    blotter, order = sent()
    tell(blotter, trade(qty="0.4"))
    tell(blotter, end(exec_type, cum="0.4", reason="User requested"))

    assert (order.state, order.filled, order.remaining, order.reason) == (
        state, 40_000_000, 60_000_000, "User requested",
    )  # fmt: skip


def test_a_post_only_order_that_would_take_is_canceled_unseen():
    """Accepted, then canceled, without a `new` between."""
    blotter, order = sent()
    commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT))
    tell(blotter, pending_new())
    tell(blotter, end("canceled", cum="0", reason="Post only order"))

    assert (order.state, order.reason) == (S.CANCELED, "Post only order")


def test_late_news_of_an_order_that_is_over_changes_nothing():
    """Not even the journal."""
    blotter, order = sent()
    for what in (pending_new(), trade(qty="1"), end("filled")):
        tell(blotter, what)
    before = blotter.state_hash()
    for what in (pending_new(), new(), trade(qty="1"), end("filled")):
        assert list(blotter.on_execution(what, PAIRS.get, AT)) == []
    for records in (
        blotter.on_acknowledged(KEY, ORDER_ID, AT), blotter.on_doubt(KEY, "", AT),
        blotter.on_rejected(KEY, refused(""), AT),
        blotter.on_absent(KEY, "", AT), blotter.on_amended(KEY, AT), blotter.on_lookup(lookup("open"), AT),
    ):  # fmt: skip
        assert list(records) == []

    assert blotter.state_hash() == before
    assert blotter.fills_repeated == 1
    assert order.state is S.FILLED


def test_a_fill_that_comes_after_the_end_is_counted():
    """The end outran it: money is money."""
    blotter, order = sent()
    tell(blotter, end("canceled", cum="0.4"))
    assert order.fills_missing == 40_000_000
    tell(blotter, trade(qty="0.4"))

    assert (order.state, order.filled, order.fills_missing) == (S.CANCELED, 40_000_000, 0)
    assert blotter.positions.qty("quoter", "BTC/USD") == Decimal("0.4")


def test_rejected_orders_are_over_with_the_reason():
    """Kraken said no, for certain."""
    blotter, order = sent()
    commit(blotter, blotter.on_rejected(KEY, refused("EOrder:Insufficient funds"), AT))

    assert (order.state, order.reason, blotter.open) == (S.REJECTED, "EOrder:Insufficient funds", {})


def test_what_cannot_be_is_counted_and_put_aside():
    """A cancel of a filled order, a rejection of an open one: visible, without effect, never raised."""
    blotter, order = sent()
    tell(blotter, pending_new())
    commit(blotter, blotter.on_rejected(KEY, refused("EOrder:Insufficient funds"), AT))
    assert order.state is S.WORKING
    tell(blotter, trade(qty="1"))
    tell(blotter, end("filled"))
    tell(blotter, end("canceled"))

    assert order.state is S.FILLED
    assert blotter.quarantined == 2
    assert [oddity.key for oddity in blotter.oddities] == [KEY, KEY]


@pytest.mark.parametrize("told", [trade(qty="-0.4"), trade(qty="0"), trade(price="0"), trade(price="-100")])
def test_a_fill_of_nothing_or_less_is_counted_and_changes_no_position(told):
    """Neither its quantity nor its price can be so; its order's own count will ask for what was really filled."""
    blotter, order = sent()
    tell(blotter, trade("T1"))
    tell(blotter, told)

    assert (order.filled, blotter.quarantined) == (40_000_000, 1)
    assert blotter.positions.qty("quoter", "BTC/USD") == Decimal("0.4")


@pytest.mark.parametrize("own", [True, False])
def test_an_order_of_less_than_nothing_is_counted_and_holds_nothing(own):
    """An amend of ours to -1, or somebody else's order of -1: it would set funds free that nobody has."""
    blotter, order = sent()
    ids = {} if own else {"order_id": EXTERNAL_ID, "cl_ord_id": None}
    tell(blotter, pending_new())
    tell(blotter, fact("amended" if own else "new", symbol="BTC/USD", side="buy", order_qty=Decimal(-1), **ids))

    assert (list(blotter.open), order.qty, blotter.quarantined) == ([KEY], 100_000_000, 1)


def test_an_overfill_is_counted_and_believed():
    """The position must be what Kraken did, not what it should have done."""
    blotter, order = sent()
    tell(blotter, trade("T1", qty="0.8"))
    tell(blotter, trade("T2", qty="0.8"))

    assert (order.filled, order.remaining, blotter.quarantined) == (160_000_000, 0, 1)
    assert blotter.positions.qty("quoter", "BTC/USD") == Decimal("1.6")


@pytest.mark.parametrize("qty", ["92233720368.54775808", "1e25"])
def test_a_number_beyond_a_record_is_put_aside(qty):
    """More lots than 63 bits hold: no journal takes them, so no order of ours and none that is adopted has them."""
    blotter, order = sent()
    tell(blotter, pending_new())
    tell(blotter, trade(qty=qty))
    tell(blotter, fact("new", order_id="O2", cl_ord_id=None, symbol="BTC/USD", side="buy", order_type="limit",
                       order_qty=Decimal(qty), limit_price=Decimal(100)))  # fmt: skip

    assert (order.filled, blotter.quarantined > 0) == (0, True)
    assert all(known.qty < 2**63 for known in blotter.open.values())


def test_a_record_that_the_table_does_not_allow_is_never_raised():
    """A journal may hold anything that an earlier version decided: the router must start all the same."""
    blotter, order = sent()
    tell(blotter, trade(qty="1"))
    tell(blotter, end("filled"))
    commit(blotter, [Rejected(KEY, "", AT), Absent(KEY, "", AT), Ended(KEY, "canceled", "", None, 8, AT)])
    commit(blotter, [Acknowledged("nobody", "O", AT), submitted()])

    assert (order.state, order.filled) == (S.FILLED, ONE)
    assert blotter.quarantined == 4


# --- in doubt


def test_an_order_in_doubt_is_open_until_kraken_has_told():
    """And has its reason."""
    blotter, order = sent()
    commit(blotter, blotter.on_doubt(KEY, "the connection was lost", AT))

    assert (order.state, order.is_open, order.reason) == (S.UNKNOWN, True, "the connection was lost")
    assert blotter.in_doubt() == [order]
    assert list(blotter.on_doubt(KEY, "again", AT)) == []


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ("open", S.WORKING),
        ("pending", S.WORKING),
        ("closed", S.FILLED),
        ("canceled", S.CANCELED),
        ("expired", S.EXPIRED),
    ],
)
def test_a_lookup_settles_the_doubt(found, state):
    """Whatever it finds; twice is as once."""
    blotter, order = sent()
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    filled = Decimal(1) if found == "closed" else Decimal(0)
    commit(blotter, blotter.on_lookup(lookup(found, filled_qty=filled), AT))

    assert (order.state, order.order_id, order.reason) == (state, ORDER_ID, "")
    assert list(blotter.on_lookup(lookup(found, filled_qty=filled), AT)) == []
    assert order.fills_missing == (ONE if found == "closed" else 0)


def test_absent_is_rejected_and_says_that_it_never_was():
    """Only from doubt: what Kraken has acknowledged cannot be absent."""
    blotter, order = sent()
    assert list(blotter.on_absent(KEY, "never there", AT)) == []
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    commit(blotter, blotter.on_absent(KEY, "it never reached Kraken", AT))

    assert (order.state, order.reason) == (S.REJECTED, "it never reached Kraken")


@pytest.mark.parametrize("first", ["pending_new", "trade", "canceled", "answer", "lookup"])
def test_an_order_taken_for_absent_lives_again_when_kraken_tells_of_it(first):
    """Kraken's own word outranks our search; it is counted, and the strategy is told."""
    blotter, order = sent()
    commit(blotter, blotter.on_doubt(KEY, "no answer", AT))
    commit(blotter, blotter.on_absent(KEY, "it never reached Kraken", AT))
    tells = {
        "pending_new": lambda: tell(blotter, pending_new()),
        "trade": lambda: tell(blotter, trade(qty="0.4")),
        "canceled": lambda: tell(blotter, end("canceled", cum="0")),
        "answer": lambda: commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT)),
        "lookup": lambda: commit(blotter, blotter.on_lookup(lookup("open"), AT)),
    }
    changes = tells[first]()
    state = {"trade": S.PARTIAL, "canceled": S.CANCELED}.get(first, S.WORKING)

    assert order.state is state
    assert (KEY in blotter.open) == (list(blotter.open_on("BTC/USD")) == [order]) == state.is_open
    assert blotter.quarantined == 1
    assert changes[-1].order is order
    assert blotter.state_hash() == blotter_again(blotter).state_hash()


def blotter_again(blotter):
    """Through a snapshot."""
    again = Blotter()
    again.apply(blotter.snapshot(AT))
    return again


# --- amends and cancels


def amending(**changes):
    """An open order with an amend under way."""
    blotter, order = sent()
    tell(blotter, pending_new())
    commit(blotter, [AmendSent(KEY, Amendment(price_decimals=1, qty_decimals=8, **changes), AT)])
    return blotter, order


def amended(qty="1", price="101", at=AT + 100):
    """The report of an amend."""
    return fact("amended", at, order_qty=Decimal(qty), limit_price=Decimal(price), cum_qty=Decimal(0))


@pytest.mark.parametrize("order_of_news", ["answer, report", "report, answer", "answer", "report"])
def test_an_amend_is_done_by_answer_or_report_whichever_comes(order_of_news):
    """Either may be lost, too."""
    blotter, order = amending(limit_price=PriceTicks(1010))
    assert order.pending == "amend"
    for news in order_of_news.split(", "):
        if news == "answer":
            commit(blotter, blotter.on_amended(KEY, AT, WallNs(AT + 50)))
        else:
            tell(blotter, amended())

    assert (order.limit_price, order.qty, order.pending, order.amendment) == (1010, ONE, "", None)


def test_a_late_report_of_an_earlier_amend_does_not_undo_a_later_one():
    """It comes on the other connection: Kraken's clock tells which is older."""
    blotter, order = amending(limit_price=PriceTicks(1010))
    commit(blotter, blotter.on_amended(KEY, AT, WallNs(AT + 50)))
    commit(blotter, [AmendSent(KEY, Amendment(price_decimals=1, qty_decimals=8, limit_price=PriceTicks(1020)), AT)])
    tell(blotter, amended(price="101", at=AT + 60))
    assert (order.limit_price, order.pending) == (1010, "amend")  # about the first: the second is still under way
    commit(blotter, blotter.on_amended(KEY, AT, WallNs(AT + 80)))
    tell(blotter, amended(price="101", at=AT + 60))
    assert order.limit_price == 1020
    tell(blotter, amended(price="102", at=AT + 90))

    assert (order.limit_price, order.pending) == (1020, "")


def test_a_refused_amend_leaves_the_order_as_it_was():
    """With the reason on it, until the next change."""
    blotter, order = amending(limit_price=PriceTicks(1010))
    commit(blotter, blotter.on_request_refused(KEY, "amend", refused("EOrder:Post only order"), AT))

    assert (order.limit_price, order.pending) == (1000, "")
    assert order.reason == "amend refused: EOrder:Post only order"


def test_an_amend_whose_answer_was_lost_shows_in_the_snapshot():
    """And is done."""
    blotter, order = amending(limit_price=PriceTicks(1010), qty=QtyLots(2 * ONE))
    tell(blotter, pending_new(limit_price=Decimal("101.0"), order_qty=Decimal(2), is_snapshot=True))

    assert (order.limit_price, order.qty, order.pending) == (1010, 2 * ONE, "")


STOP = {"order_type": "stop-loss", "price": None, "trigger": Trigger(Decimal(90))}


@pytest.mark.parametrize("told", ["snapshot", "lookup"])
@pytest.mark.parametrize(("trigger", "pending"), [("95", ""), ("90", "amend"), (None, "amend")])
def test_a_trigger_that_was_moved_shows_in_what_kraken_tells(told, trigger, pending):
    """The amend of it is done when it is there, whether or not its answer was lost; and only then."""
    blotter, order = sent(intent=limit("sell", **STOP))
    commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT))
    commit(blotter, [AmendSent(KEY, Amendment(price_decimals=1, qty_decimals=8, trigger_price=Decimal(95)), AT)])
    terms = {"limit_price": None, "trigger_price": None if trigger is None else Decimal(trigger)}
    if told == "snapshot":
        tell(blotter, fact("new", order_qty=Decimal(1), is_snapshot=True, **terms))
    else:
        commit(blotter, blotter.on_lookup(lookup("open", **terms), AT))

    assert order.pending == pending
    assert order.intent.trigger == Trigger(Decimal(90) if pending else Decimal(95))


def test_a_late_first_report_does_not_undo_an_amend():
    """`pending_new` tells the order as it was sent."""
    blotter, order = sent()
    commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT))
    commit(blotter, [AmendSent(KEY, Amendment(price_decimals=1, qty_decimals=8, limit_price=PriceTicks(1010)), AT)])
    commit(blotter, blotter.on_amended(KEY, AT, WallNs(AT + 50)))
    tell(blotter, pending_new())

    assert order.limit_price == 1010


def test_a_lagging_lookup_says_nothing_of_the_next_amend_either():
    """It shows the order as it was before the last one; a row that must be newer than that is taken."""
    blotter, order = amending(limit_price=PriceTicks(1010))
    commit(blotter, blotter.on_amended(KEY, AT, WallNs(AT + 50)))
    commit(blotter, [AmendSent(KEY, Amendment(price_decimals=1, qty_decimals=8, limit_price=PriceTicks(1020)), AT)])
    commit(blotter, blotter.on_lookup(lookup("open"), AT))
    older = (order.limit_price, order.pending)
    commit(blotter, blotter.on_lookup(lookup("open"), AT, is_newer=True))

    assert older == (1010, "amend")
    assert (order.limit_price, order.pending) == (1000, "amend")


def test_a_lagging_lookup_does_not_undo_an_amend():
    """REST is behind; only for an order in doubt it is the best there is."""
    blotter, order = amending(limit_price=PriceTicks(1010))
    commit(blotter, blotter.on_amended(KEY, AT, WallNs(AT + 50)))
    commit(blotter, blotter.on_lookup(lookup("open"), AT))

    assert order.limit_price == 1010


def test_an_order_amended_below_what_is_filled_ends_with_what_is_filled():
    """Kraken sets the quantity to what is filled, and cancels the rest."""
    blotter, order = sent()
    tell(blotter, trade(qty="0.6"))
    commit(blotter, [AmendSent(KEY, Amendment(price_decimals=1, qty_decimals=8, qty=QtyLots(50_000_000)), AT)])
    tell(blotter, amended(qty="0.6", price="100"))
    tell(blotter, end("canceled", cum="0.6"))

    assert (order.state, order.qty, order.filled, order.pending) == (S.CANCELED, 60_000_000, 60_000_000, "")


def test_a_cancel_stays_wanted_until_the_order_is_over():
    """Refused, lost or in doubt: somebody asked for its end."""
    blotter, order = sent()
    tell(blotter, pending_new())
    commit(blotter, [CancelSent(KEY, AT)])
    commit(blotter, blotter.on_request_refused(KEY, "cancel", refused("EOrder:Rate limit exceeded"), AT))
    assert (order.pending, order.cancel_wanted) == ("", True)
    tell(blotter, end("canceled", cum="0"))

    assert (order.state, order.cancel_wanted) == (S.CANCELED, False)


def test_the_age_for_rate_costs_begins_anew_with_an_amend():
    """A young order is dear to change."""
    blotter, order = amending(limit_price=PriceTicks(1010))
    commit(blotter, blotter.on_amended(KEY, WallNs(AT + 7), WallNs(AT + 5)))

    assert (order.submitted_at, order.aged_from) == (AT, AT + 7)


# --- orders that nobody knows


def external(**more):
    """The first report of an order of somebody else's."""
    return pending_new(order_id=EXTERNAL_ID, cl_ord_id="GRID-BO-DVe742G3Eq", **more)


def test_an_order_that_nobody_knows_is_adopted():
    """It holds funds and counts for limits, under no strategy's name; its end is seen."""
    blotter = Blotter()
    changes = tell(blotter, external(cum_qty=Decimal("0.25"), is_snapshot=True))
    order = blotter.open[EXTERNAL_ID]

    assert changes[0].is_new
    assert (order.is_external, order.state, order.remaining, order.cl_ord_id) == (
        True, S.PARTIAL, 75_000_000, "GRID-BO-DVe742G3Eq",
    )  # fmt: skip
    assert list(blotter.on_execution(external(cum_qty=Decimal("0.25"), is_snapshot=True), PAIRS.get, AT)) == []
    tell(blotter, end("canceled", cum="0.25", order_id=EXTERNAL_ID, cl_ord_id=None))
    assert (order.state, order.fills_missing) == (S.CANCELED, 0)
    assert list(blotter.positions.items()) == []


def test_an_order_that_neither_buys_nor_sells_is_not_adopted_as_one_that_sells():
    """A side that we do not know is counted; what such an order would hold or bring cannot be told."""
    blotter = Blotter()
    tell(blotter, external(side="short"))

    assert (blotter.open, blotter.quarantined) == ({}, 1)


def test_old_fills_in_a_snapshot_are_not_counted_on_top_of_what_was_adopted():
    """The snapshot tells the order with its fills counted, and then the fills."""
    blotter = Blotter()
    tell(blotter, external(cum_qty=Decimal("0.4"), is_snapshot=True))
    tell(blotter, trade("T1", qty="0.4", order_id=EXTERNAL_ID, cl_ord_id=None, is_snapshot=True, at=AT - 5))
    tell(blotter, trade("T2", qty="0.1", order_id=EXTERNAL_ID, cl_ord_id=None, at=AT + 5))

    assert blotter.open[EXTERNAL_ID].remaining == 50_000_000


def test_an_end_that_outruns_its_order_waits_for_it():
    """A frame may tell the end of an order before its beginning."""
    blotter = Blotter()
    tell(blotter, end("canceled", cum="0.4", order_id=EXTERNAL_ID, cl_ord_id=None))
    tell(blotter, trade(qty="0.4", order_id=EXTERNAL_ID, cl_ord_id=None))
    assert blotter.parked == 2
    tell(blotter, external())
    order = blotter.ended[EXTERNAL_ID]

    assert (order.state, blotter.parked, blotter.open) == (S.CANCELED, 0, {})


def test_a_fill_that_waited_is_not_counted_on_top_of_what_a_snapshot_adopted():
    """The snapshot's count has it."""
    blotter = Blotter()
    tell(blotter, trade(qty="0.4", order_id=EXTERNAL_ID, cl_ord_id=None))
    tell(blotter, external(cum_qty=Decimal("0.4"), is_snapshot=True))

    assert (blotter.open[EXTERNAL_ID].remaining, blotter.parked) == (60_000_000, 0)


def test_what_waits_for_its_order_is_bounded():
    """Reports of orders that never come are forgotten, the oldest first."""
    blotter = Blotter()
    for number in range(PARKED_MAX + 50):
        tell(blotter, end("canceled", order_id=f"O{number}", cl_ord_id=None))

    assert blotter.parked == PARKED_MAX


def test_fills_of_long_ago_in_a_snapshot_are_nobodys():
    """The last fifty, of orders that are over."""
    blotter = Blotter()
    for number in range(50):
        tell(blotter, trade(f"T{number}", order_id=f"O{number}", cl_ord_id=None, is_snapshot=True))

    assert (blotter.parked, blotter.open, blotter.quarantined) == (0, {}, 0)


def test_an_order_on_a_pair_that_is_not_followed_is_adopted_with_the_precision_of_its_text():
    """Kraken pads its numbers; what it holds must be known all the same."""
    blotter = Blotter()
    told = {"symbol": "ADX/USD", "order_qty": Decimal("81.36256082"), "limit_price": Decimal("0.18328")}
    tell(blotter, external(**told))
    order = blotter.open[EXTERNAL_ID]

    assert (order.qty, order.qty_decimals, order.limit_price, order.price_decimals) == (8_136_256_082, 8, 18_328, 5)


def test_a_closing_order_belongs_to_the_strategy_of_its_parent():
    """Its fills are that strategy's position, though no strategy sent it; it goes by its own name."""
    blotter, parent = sent(userref=77)
    tell(blotter, trade(qty="1", cl_ord_id=None, order_userref=77))
    tell(blotter, end("filled", cl_ord_id=None, order_userref=77))
    told = {"order_id": CHILD_ID, "cl_ord_id": None, "order_userref": 77, "ord_ref_id": ORDER_ID, "side": "sell"}
    tell(blotter, pending_new(**told))
    child = blotter.open[CHILD_ID]
    tell(blotter, trade("T9", qty="1", price="110", order_id=CHILD_ID, cl_ord_id=None, order_userref=77))
    position = blotter.positions.of("quoter", "BTC/USD")

    assert (parent.cl_ord_id, parent.state, parent.filled) == (None, S.FILLED, ONE)
    assert (child.strategy, child.intent.side, child.filled) == ("quoter", "sell", ONE)
    assert (position.qty, position.realized) == (0, 10)


def test_a_closing_order_is_never_taken_for_its_parent():
    """It may carry the parent's userref, and be told before the parent is acknowledged."""
    blotter, parent = sent(userref=77)
    tell(blotter, pending_new(order_id=CHILD_ID, cl_ord_id=None, order_userref=77, ord_ref_id=ORDER_ID, side="sell"))

    assert (parent.order_id, parent.state) == ("", S.SENT)
    assert (blotter.open[CHILD_ID].intent.side, blotter.open[CHILD_ID].strategy) == ("sell", "quoter")


def test_a_fill_that_is_written_twice_is_counted_once():
    """Two sources may tell of it before the first is applied."""
    blotter, order = sent()
    tell(blotter, pending_new())
    records = [
        *blotter.on_execution(trade(), PAIRS.get, AT),
        *blotter.on_execution(trade(is_snapshot=True), PAIRS.get, AT),
    ]
    changes = commit(blotter, records)

    assert [change is not None for change in changes] == [True, False]
    assert (order.filled, blotter.positions.qty("quoter", "BTC/USD")) == (40_000_000, Decimal("0.4"))


def test_a_second_order_with_an_id_of_ours_is_seen_for_what_it_is():
    """It must never be: it is adopted, for the strategy's account, and counted."""
    blotter, order = sent()
    tell(blotter, pending_new())
    tell(blotter, pending_new(order_id="OTWIN0-00000-000000"))

    assert order.order_id == ORDER_ID
    assert blotter.open["OTWIN0-00000-000000"].strategy == "quoter"
    assert blotter.quarantined == 1


# --- as a whole


def test_a_snapshot_tells_what_was_missed():
    """More filled than we saw: the fills are to be asked for, and are counted once."""
    blotter, order = sent()
    tell(blotter, pending_new())
    tell(blotter, pending_new(is_snapshot=True, cum_qty=Decimal("0.4")))
    assert order.fills_missing == 40_000_000
    assert list(blotter.on_execution(pending_new(is_snapshot=True, cum_qty=Decimal("0.4")), PAIRS.get, AT)) == []
    tell(blotter, trade(qty="0.4"))

    assert (order.fills_missing, order.state) == (0, S.PARTIAL)


def test_orders_that_kraken_does_not_list_are_found():
    """Those that it had acknowledged; the others are looked up by their own id."""
    blotter, order = sent()
    commit(blotter, [submitted(key="quoter00001a000002")])
    tell(blotter, pending_new())

    assert missing_from(blotter.open.values(), [ORDER_ID]) == []
    assert missing_from(blotter.open.values(), []) == [order]


def test_a_halt_and_the_days_totals_survive():
    """A restart lifts no halt and forgives no loss."""
    blotter = Blotter()
    commit(blotter, [RunBegan(5, "0.1.0", "ab", AT), ModeChanged("HALTED", "daily loss", AT)])
    commit(blotter, [DayBegan(20_000, {"USD": Decimal("-12.5")}, AT)])
    again = blotter_again(blotter)

    assert (again.run, again.mode, again.mode_reason) == (5, "HALTED", "daily loss")
    assert (again.day, again.day_totals) == (20_000, {"USD": Decimal("-12.5")})


def test_a_fee_in_the_base_currency_is_taken_from_what_was_bought():
    """The position is what there is to sell."""
    blotter, order = sent()
    told = trade(qty="1")
    tell(blotter, replace(told, fees=(Fee("BTC", Decimal("0.004")),)))
    position = blotter.positions.of("quoter", "BTC/USD")

    assert (order.filled, order.fees) == (ONE, {"BTC": Decimal("0.004")})
    assert (position.qty, position.fees, position.total(Decimal(100))) == (
        Decimal("0.996"),
        Decimal("0.4"),
        Decimal("-0.4"),
    )


def test_a_record_of_an_order_is_small():
    """Megabytes a day, not gigabytes."""
    assert len(encode_record(submitted())) < 250
    fill = Filled(KEY, "TNPY35-6GCT5-MINCYT", 1, QtyLots(1), 8, Decimal(1), Decimal(1), (), "maker", AT, AT)
    assert len(encode_record(fill)) < 150


def test_the_same_records_come_to_the_same_state():
    """Whatever was asked of the blotter in between."""
    journal = []
    blotter = Blotter()
    commit(blotter, [submitted(intent=limit(qty="2"))], journal)
    for what in (pending_new(order_qty=Decimal(2)), trade(qty="0.3"), end("canceled", cum="0.3")):
        tell(blotter, what, journal)

    assert fold(journal).state_hash() == fold(journal).state_hash() == blotter.state_hash()
    assert blotter_again(blotter).state_hash() == blotter.state_hash()


# --- fills that are known


def _with_many_fills(blotter):
    """After so many fills of another order that the ids of older ones are forgotten."""
    blotter.apply(submitted("quoter00001a000002", limit(qty="1000", symbol="ETH/USD")))
    blotter.apply(Acknowledged("quoter00001a000002", "OLATER-00000-000000", AT))
    for number in range(EXEC_IDS_KEPT):
        qty = QtyLots(100_000)
        blotter.apply(
            Filled("quoter00001a000002", f"LATER{number:06d}", number, qty, 8, Decimal(1), Decimal(1), (), "m", AT, AT)
        )


def test_a_fill_of_an_open_order_is_known_for_as_long_as_rest_may_tell_it_again():
    """Whatever was filled since: a lookup lists all fills of its order, and each counts once."""
    blotter, order = sent()
    commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT))
    tell(blotter, trade("FIRST", qty="0.4"))
    _with_many_fills(blotter)
    after_restart = fold([blotter.snapshot(AT)])
    tell(blotter, trade("FIRST", qty="0.4"))

    assert blotter.knows_fill("FIRST")
    assert after_restart.knows_fill("FIRST")
    assert order.filled == 4 * ONE // 10
    assert after_restart.state_hash() == blotter.state_hash()
    blotter.check()


def test_a_fill_of_an_ended_order_is_forgotten_when_many_others_came():
    blotter, _ = sent()
    commit(blotter, blotter.on_acknowledged(KEY, ORDER_ID, AT))
    tell(blotter, trade("FIRST", qty="1"))
    tell(blotter, end("filled"))
    _with_many_fills(blotter)

    assert not blotter.knows_fill("FIRST")
