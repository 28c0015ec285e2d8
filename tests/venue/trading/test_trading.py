"""The trading core: what becomes of an order, by Kraken's rules, under a clock that stands
still.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import VenueReject
from engine.units import NS_PER_S, WallNs
from engine.venue.market.matching import BUY, SELL
from engine.venue.setup.rate_counter import TIERS, RateCounter, cost
from engine.venue.trading.client_order import AmendSpec, Conditional, Triggers
from engine.venue.trading.order_checks import BAD_PRICE, OFF_TICK
from engine.venue.wire.stream import StreamKey
from engine.venue.wire.wire import payload_start
from tests.examples import times
from tests.venue.market.update_law import LawBook, read
from tests.venue.trading_rig import FUNDS, Floor


def refused(call, *args, **kwargs):
    """Kraken's words for a request that is refused."""
    with pytest.raises(VenueReject) as refusal:
        call(*args, **kwargs)
    return str(refusal.value)


# --- life cycles


def test_a_resting_order_is_pending_then_new_then_canceled():
    """Rows in Kraken's order; the new row repeats the time of pending_new; the reserve is
    given back.
    """
    floor = Floor()
    order = floor.add(cl_ord_id="one")
    held = floor.account.held("USD")
    floor.cancel(order)

    assert floor.types(order) == ["pending_new", "new", "canceled"]
    assert floor.told[0]["timestamp"] == floor.told[1]["timestamp"]
    assert floor.told[2]["reason"] == "User requested"
    assert held > order.limit_price * order.order_qty
    assert floor.account.held("USD") == 0
    assert order.status == "canceled"


def test_a_full_fill_is_told_by_filled_alone():
    """The trade row says partially_filled even where nothing is left."""
    floor = Floor()
    order = floor.add("market")

    assert floor.types(order) == ["pending_new", "new", "trade", "filled"]
    assert floor.told[2]["order_status"] == "partially_filled"
    assert floor.told[2]["liquidity_ind"] == "t"
    assert floor.told[3]["cum_qty"] == order.order_qty
    assert (order.status, order.reason) == ("filled", None)


def test_the_crowd_fills_a_resting_order_as_its_maker():
    """An order in the spread is met by the order flow's takers at the maker's fee."""
    floor = Floor()
    order = floor.add("limit", "sell", "0.02", limit_price=floor.price("sell", -1))
    floor.crowd_takes("buy", "0.015")
    trade = floor.told[-1]

    assert trade["liquidity_ind"] == "m"
    assert trade["last_price"] == order.limit_price
    assert order.cum_qty == Decimal("0.015")
    assert floor.account.held("BTC") == Decimal("0.005")
    assert trade["fees"][0]["qty"] == round(trade["cost"] * Decimal("0.0025"), 5)
    assert order.status == "partially_filled"


def test_a_fill_moves_both_balances_by_amount_less_fee():
    """Two legs, base first, with one ref_id; balances are what the entries say."""
    floor = Floor()
    floor.add("market", "sell", "0.001")
    base, quote = floor.moved
    trade = next(row for row in floor.told if row["exec_type"] == "trade")

    assert (base["asset"], quote["asset"]) == ("BTC", "USD")
    assert base["ref_id"] == quote["ref_id"]
    assert base["amount"] == Decimal("-0.001")
    assert base["balance"] == FUNDS["BTC"] - Decimal("0.001") == floor.account.balances["BTC"]
    assert quote["amount"] == round(trade["cost"], 4)
    assert quote["balance"] == FUNDS["USD"] + quote["amount"] - quote["fee"] == floor.account.balances["USD"]


def test_clients_orders_stand_in_the_public_book():
    """What the public sees is the one book; a canceled order is gone from it."""
    floor = Floor()
    before = floor.book.level_qty(BUY, 500_000)
    order = floor.add("limit", "buy", "0.5", limit_price="50000.0")
    during = floor.book.level_qty(BUY, 500_000)
    floor.cancel(order)

    assert (before, during, floor.book.level_qty(BUY, 500_000)) == (0, 50_000_000, 0)


# --- time in force, post-only, self-trade


def test_ioc_cancels_what_it_could_not_take():
    """It trades what the price allows and never rests."""
    floor = Floor()
    touch = floor.book.level_qty(SELL, floor.book.best(SELL))
    order = floor.add("limit", "buy", "5", limit_price=floor.price("sell"), time_in_force="ioc")

    assert floor.types(order)[-1] == "canceled"
    assert order.cum_lots == touch
    assert floor.told[-1]["cum_qty"] == order.cum_qty


def test_fok_is_all_or_nothing():
    """Too much for the price: not a single fill; enough: filled at once."""
    floor = Floor()
    too_much = floor.add("limit", "buy", "5", limit_price=floor.price("sell"), time_in_force="fok")
    fits = floor.add("limit", "buy", "0.001", limit_price=floor.price("sell"), time_in_force="fok")

    assert (too_much.status, too_much.cum_lots) == ("canceled", 0)
    assert fits.status == "filled"


def test_gtd_expires_at_its_time():
    """A row of its own, the reserve given back, the book without it."""
    floor = Floor()
    order = floor.add(time_in_force="gtd", expire_time=WallNs(floor.at + 10 * NS_PER_S))
    floor.wait(9)
    assert order.is_open
    floor.wait(2)

    assert floor.types(order) == ["pending_new", "new", "expired"]
    assert floor.account.held("USD") == 0
    assert floor.book.order(order.book_order_id) is None


def test_a_scheduled_order_goes_live_at_its_time():
    """pending_new at once, new and the book when it takes effect."""
    floor = Floor()
    order = floor.add(effective_time=WallNs(floor.at + 5 * NS_PER_S))
    assert floor.types(order) == ["pending_new"]
    floor.wait(6)

    assert floor.types(order) == ["pending_new", "new"]
    assert floor.book.order(order.book_order_id) is not None


@pytest.mark.parametrize("refuse", [False, True])
def test_a_crossing_post_only_order_never_takes(refuse):
    """Accepted and canceled with its reason, or refused with an error: clients meet both."""
    floor = Floor(refuse_crossing_post_only=refuse)
    if refuse:
        error = refused(floor.add, limit_price=floor.price("sell"), post_only=True)
        assert error == "EOrder:Post only order"
        assert floor.told == []
        return
    order = floor.add(limit_price=floor.price("sell"), post_only=True)

    assert floor.types(order) == ["pending_new", "canceled"]
    assert floor.told[-1]["reason"] == "Post only order"
    assert order.cum_lots == 0


@pytest.mark.parametrize(
    ("stp", "old_lives", "new_lives"),
    [("cancel_newest", True, False), ("cancel_oldest", False, True), ("cancel_both", False, False)],
)
def test_nobody_trades_with_himself(stp, old_lives, new_lives):
    """The three ways out, each with its reason; no fill between the two."""
    floor = Floor()
    price = floor.price("sell", -1)
    old = floor.add("limit", "sell", "0.01", limit_price=price)
    new = floor.add("limit", "buy", "0.01", limit_price=price, stp_type=stp)

    assert (old.is_open, new.is_open) == (old_lives, new_lives)
    assert old.cum_lots == new.cum_lots == 0
    assert {row["reason"] for row in floor.told if row["exec_type"] == "canceled"} == {"Cannot trade with self"}
    floor.trading.check_invariants()


# --- market orders, icebergs, triggers, conditional closes


def test_a_market_order_is_protected_from_a_thin_book():
    """It takes nothing further than a tenth from the best price; the rest is canceled."""
    floor = Floor("MINA/GBP")
    order = floor.add("market", "sell", "900000")
    worst = min(row["last_price"] for row in floor.told if row["exec_type"] == "trade")
    best = max(row["last_price"] for row in floor.told if row["exec_type"] == "trade")

    assert order.status == "canceled"
    assert order.reason == "Market order remainder"
    assert 0 < order.cum_lots < order.qty_lots
    assert worst >= best * Decimal("0.89")


def test_a_cash_order_buys_for_a_sum():
    """As many lots as the sum pays for, fee beside it."""
    floor = Floor()
    order = floor.add("market", "buy", None, cash_order_qty="100")

    assert floor.told[0]["cash_order_qty"] == 100
    assert Decimal("99.9") < order.cum_cost <= 100
    assert order.status == "filled"


def test_an_iceberg_shows_a_part_and_refills():
    """The public sees display_qty; each refill is told; the whole is filled in the end."""
    floor = Floor()
    price = floor.price("sell", -1)
    order = floor.add("iceberg", "sell", "0.03", limit_price=price, display_qty="0.01")
    shown = floor.book.level_qty(SELL, order.limit_ticks)
    floor.crowd_takes("buy", "0.015")
    shown_later = floor.book.level_qty(SELL, order.limit_ticks)
    floor.trading.check_invariants()
    floor.crowd_takes("buy", "0.015")

    assert (shown, shown_later) == (1_000_000, 500_000)
    assert floor.types(order).count("iceberg_refill") == 2
    assert order.status == "filled"


def test_a_stop_loss_acts_on_the_last_price():
    """Untriggered until a trade at its price; then a status row, and the market."""
    floor = Floor()
    order = floor.add("stop-loss", "sell", "0.01", triggers=Triggers(floor.price("buy", 3)))
    assert order.place == "untriggered"
    assert floor.book.order(order.book_order_id) is None
    floor.crowd_takes("sell", "3")

    assert floor.types(order)[:3] == ["pending_new", "new", "status"]
    status = next(row for row in floor.told if row["exec_type"] == "status")
    assert status["triggers"]["status"] == "triggered"
    assert status["triggers"]["last_price"] <= order.spec.triggers.price
    assert order.status == "filled"


@pytest.mark.parametrize(
    ("kind", "side", "crowd"),
    [("take-profit", "sell", "buy"), ("stop-loss", "buy", "buy"), ("take-profit", "buy", "sell")],
)
def test_stops_and_takes_wait_on_their_own_side(kind, side, crowd):
    """A take of a seller and a stop of a buyer wait above the price, the others below."""
    floor = Floor()
    order = floor.add(kind, side, "0.01", triggers=Triggers(floor.price("sell" if crowd == "buy" else "buy", 3)))
    waited = order.place
    floor.crowd_takes(crowd, "3")

    assert waited == "untriggered"
    assert order.status == "filled"


def test_a_triggered_limit_rests_at_its_limit():
    """stop-loss-limit: after the trigger an ordinary limit order."""
    floor = Floor()
    trigger, limit = floor.price("buy", 3), floor.price("sell", 100)
    order = floor.add("stop-loss-limit", "sell", "0.01", triggers=Triggers(trigger), limit_price=limit)
    floor.crowd_takes("sell", "3")

    assert order.place == "book"
    assert order.limit_price == limit
    floor.trading.check_invariants()


def test_a_trailing_stop_follows_and_never_turns_back():
    """Its distance from the best price seen; it triggers when the price comes back so far."""
    floor = Floor()
    order = floor.add("trailing-stop", "sell", "0.01", triggers=Triggers(Decimal("100.0"), "quote"))
    first = order.trigger_ticks
    floor.crowd_takes("buy", "8")
    higher = order.trigger_ticks
    floor.crowd_takes("sell", "0.00001")
    assert order.place == "untriggered"
    assert order.trigger_ticks == higher > first
    assert order.peak_ticks - order.trigger_ticks == 1000
    floor.crowd_takes("sell", "200")

    assert order.status == "filled"


def test_a_trailing_limit_gets_its_limit_from_its_trigger():
    """The limit is an offset until the trigger is pulled."""
    floor = Floor()
    order = floor.add(
        "trailing-stop-limit", "sell", "0.01",
        triggers=Triggers(Decimal("1.0"), "quote"), limit_price="50.0", limit_price_type="quote",
    )  # fmt: skip
    assert order.limit_ticks is None
    floor.crowd_takes("sell", "20")

    assert order.limit_ticks == order.trigger_ticks + 500
    assert order.is_open


def test_each_fill_of_a_conditional_order_calls_forth_its_opposite():
    """The filled quantity, the other side, the parent named."""
    floor = Floor()
    price = floor.price("buy", -1)
    parent = floor.add("limit", "buy", "0.02", limit_price=price, conditional=Conditional("limit", Decimal("70000.0")))
    floor.crowd_takes("sell", "0.015")
    floor.crowd_takes("sell", "0.005")
    children = [order for order in floor.account.open_orders.values() if order.ref_order_id == parent.order_id]

    assert parent.status == "filled"
    assert [(child.side, child.order_qty) for child in children] == [(SELL, Decimal("0.015")), (SELL, Decimal("0.005"))]
    assert {child.limit_price for child in children} == {Decimal("70000.0")}


# --- amend and edit


def test_an_amend_keeps_id_and_fills():
    """In place: amended row, new price in the book, what was filled stays."""
    floor = Floor()
    order = floor.add("limit", "buy", "0.02", limit_price=floor.price("buy", -1))
    floor.crowd_takes("sell", "0.005")
    floor.amend(order, limit_price="60000.0", order_qty="0.03")
    row = floor.told[-1]

    assert (row["exec_type"], row["order_status"], row["cum_qty"]) == ("amended", "partially_filled", Decimal("0.005"))
    assert order.remaining_lots == 2_500_000
    assert floor.book.level_qty(BUY, 600_000) == 2_500_000
    assert [version.amend_type for version in floor.trading.amendments(order)] == ["original", "user"]
    floor.trading.check_invariants()


def test_an_amend_below_the_filled_quantity_ends_the_order():
    """What has been filled stays, the rest is canceled."""
    floor = Floor()
    order = floor.add("limit", "buy", "0.02", limit_price=floor.price("buy", -1))
    floor.crowd_takes("sell", "0.005")
    floor.amend(order, order_qty="0.001")

    assert floor.types(order)[-2:] == ["amended", "canceled"]
    assert order.order_qty == order.cum_qty == Decimal("0.005")


def test_an_amend_may_take_unless_it_is_post_only():
    """post_only refuses the amend and leaves the order; without it a crossing price trades."""
    floor = Floor()
    order = floor.add(post_only=True)
    error = refused(floor.amend, order, limit_price=floor.price("sell"), post_only=True)
    assert error == "EOrder:Post only order"
    assert order.is_open
    floor.amend(order, limit_price=floor.price("sell", 5))

    assert order.status == "filled"


def test_amends_that_cannot_be():
    """Nothing to change, no limit to change, no such order, a conditional close."""
    floor = Floor()
    order = floor.add()
    stop = floor.add("stop-loss", "sell", "0.01", triggers=Triggers(Decimal("50000.0")))
    conditional = floor.add(conditional=Conditional("limit", Decimal("70000.0")))

    assert refused(floor.amend, order, limit_price=order.limit_price) == "EOrder:No amendable parameters specified"
    assert refused(floor.amend, stop, limit_price="50000.0") == "EOrder:Invalid limit price"
    assert refused(floor.amend, conditional, limit_price="50000.0") == "EOrder:Order not editable"
    unknown = AmendSpec(order_id="OAAAAA-AAAAA-AAAAAA", limit_price=Decimal(1))
    assert refused(floor.trading.amend, 1, unknown, floor.at) == "EOrder:Unknown order"


def test_a_trigger_can_be_amended():
    """The waiting order then acts at its new trigger."""
    floor = Floor()
    order = floor.add("stop-loss", "sell", "0.01", triggers=Triggers(Decimal("50000.0")))
    floor.amend(order, trigger_price="51000.0")
    assert order.trigger_price == 51000
    floor.amend(order, trigger_price="70000.0")

    assert order.status == "filled"


def test_an_edit_replaces_the_order():
    """Old id canceled with its reason, new id without the client's id, only what was left
    of the quantity.
    """
    floor = Floor()
    order = floor.add("limit", "buy", "0.02", limit_price=floor.price("buy", -1), cl_ord_id="mine", post_only=True)
    floor.crowd_takes("sell", "0.005")
    new = floor.edit(order, limit_price="60000.0")

    assert (order.status, order.reason) == ("canceled", "Order replaced")
    assert new.order_qty == Decimal("0.015")
    assert (new.cl_ord_id, new.post_only) == (None, False)
    error = refused(floor.edit, new, order_qty="0")
    assert error == "EOrder:Not enough leaves qty"


# --- refusals


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"qty": "0.00001"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"limit_price": "1.0"}, "EOrder:Cost minimum not met"),
        ({"limit_price": "60000.01"}, "EOrder:Tick size check failed"),
        ({"limit_price": "-1"}, "EOrder:Invalid price"),
        ({"qty": "100"}, "EOrder:Insufficient funds"),
        ({"side": "sell", "qty": "11"}, "EOrder:Insufficient funds"),
        ({"order_type": "market", "qty": "20"}, "EOrder:Insufficient funds"),
        ({"qty": "1e20"}, "EOrder:Insufficient funds"),
        ({"qty": "1e20", "limit_price": "1e20"}, "EOrder:Insufficient funds"),
        ({"qty": "1e20", "side": "sell"}, "EOrder:Insufficient funds"),
        ({"qty": "1e20", "side": "sell", "fee_preference": "base"}, "EOrder:Insufficient funds"),
        ({"qty": "1e21"}, "EGeneral:Invalid arguments:volume"),
        ({"limit_price": "1e21"}, "EOrder:Invalid price"),
        ({"symbol": "XBT/USD"}, "Currency pair not supported XBT/USD"),
        ({"cl_ord_id": "meme-20240509-00010"}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"cl_ord_id": "a", "order_userref": 1}, "EGeneral:Invalid arguments:cl_ord_id"),
        ({"time_in_force": "gtd"}, "EGeneral:Invalid arguments:expire_time"),
        ({"time_in_force": "ioc", "post_only": True}, "EGeneral:Invalid arguments:post_only"),
        ({"reduce_only": True}, "EOrder:Reduce only:No position exists"),
        ({"margin": True}, "EOrder:Cannot open position"),
        ({"order_type": "settle-position"}, "EOrder:Unknown position"),
        ({"order_type": "iceberg", "limit_price": "60000.0", "qty": "1", "display_qty": "0.01"},
         "EGeneral:Invalid arguments:display_qty"),
    ],
)  # fmt: skip
def test_orders_that_cannot_be(more, error):
    """Kraken's words, and nothing has changed."""
    floor = Floor()

    assert refused(floor.add, **{"order_type": "limit"} | more) == error
    assert floor.told == []
    assert floor.account.holds.get("USD", 0) == 0


@pytest.mark.parametrize(
    "cl_ord_id",
    [
        "0835958d-c526-4ad8-aea8-af54836de47e",
        "0835958dc5264ad8aea8af54836de47e",
        "GRID-BO-DVe742G3Eq",
        "b17c7bb34d000200",
    ],
)
def test_client_order_ids_of_the_three_forms(cl_ord_id):
    """Unique among the open orders, free again once the order has ended."""
    floor = Floor()
    order = floor.add(cl_ord_id=cl_ord_id)
    error = refused(floor.add, cl_ord_id=cl_ord_id)
    floor.cancel(order)

    assert error == "EGeneral:Invalid arguments:cl_ord_id not unique"
    assert floor.add(cl_ord_id=cl_ord_id).is_open


def test_quantities_finer_than_a_lot_are_cut_off():
    """Kraken's own examples have nine decimals where a pair has eight."""
    floor = Floor()

    assert floor.add(qty="0.123456789").order_qty == Decimal("0.12345678")


def test_a_deadline_that_is_over_is_refused():
    """The engine does not touch a request after its deadline."""
    floor = Floor()
    spec = floor.spec(deadline=floor.at)
    floor.clock.advance(NS_PER_S)

    assert refused(floor.trading.add, 1, spec, floor.at) == "EService:Deadline elapsed"


@pytest.mark.parametrize(
    ("system", "add", "post_only", "cancel"),
    [
        ("cancel_only", "EService:Market in cancel_only mode", "EService:Market in cancel_only mode", None),
        ("post_only", "EService:Market in post_only mode", None, None),
        ("maintenance", "EService:Unavailable", "EService:Unavailable", "EService:Unavailable"),
    ],
)
def test_states_of_the_venue_allow_what_they_say(system, add, post_only, cancel):
    """cancel_only: cancels; post_only: cancels and post-only limits; maintenance: nothing."""
    floor = Floor()
    order = floor.add()
    floor.trading.system = system

    def outcome(call, *args, **kwargs):
        try:
            call(*args, **kwargs)
        except VenueReject as refusal:
            return str(refusal)
        return None

    assert outcome(floor.add) == add
    assert outcome(floor.add, post_only=True) == post_only
    assert outcome(floor.cancel, order) == cancel


# --- batches, cancels, the dead man's switch


def test_a_batch_is_checked_as_a_whole_and_funded_row_by_row():
    """One bad row refuses all; a row without funds is refused alone."""
    floor = Floor()
    good, bad = floor.spec(), floor.spec(limit_price="60000.01")
    dear = floor.spec(qty="15.9", limit_price="60000.0")

    assert refused(floor.trading.add_batch, 1, [good, bad], floor.at) == "EOrder:Tick size check failed"
    assert floor.told == []
    first, second, third = floor.trading.add_batch(1, [good, dear, dear], floor.at)
    assert first.is_open
    assert second.is_open
    assert str(third) == "EOrder:Insufficient funds"


def test_cancels_by_every_name():
    """Venue id, client id, userref (all that have it), batch of any of them, and all."""
    floor = Floor()
    floor.add(cl_ord_id="a")
    for _ in range(2):
        floor.add(order_userref=7)
    by_batch = [floor.add(), floor.add(order_userref=8)]
    trading = floor.trading

    assert len(trading.cancel(1, floor.at, cl_ord_id="a")) == 1
    assert len(trading.cancel(1, floor.at, userref=7)) == 2
    assert trading.cancel_batch(1, floor.at, [by_batch[0].order_id, "8", "OAAAAA-AAAAA-AAAAAA"]) == 2
    floor.add("stop-loss", "sell", "0.01", triggers=Triggers(Decimal("50000.0")))
    assert trading.cancel_all(1, floor.at) == 1
    assert trading.cancel_all(1, floor.at) == 0
    assert refused(trading.cancel, 1, floor.at, cl_ord_id="a") == "EOrder:Unknown order"


def test_the_dead_mans_switch_strikes_once_unless_it_is_refreshed():
    """Only the timer counts; 0 disarms; a day is too much."""
    floor = Floor()
    order = floor.add()
    trading = floor.trading
    trading.cancel_all_orders_after(1, 60, floor.at)
    floor.wait(50)
    trading.cancel_all_orders_after(1, 60, floor.at)
    floor.wait(50)
    assert order.is_open
    floor.wait(11)
    assert not order.is_open
    later = floor.add()
    floor.wait(1000)
    assert later.is_open
    trading.cancel_all_orders_after(1, 5, floor.at)
    assert trading.cancel_all_orders_after(1, 0, floor.at) is None
    floor.wait(10)

    assert later.is_open
    assert (
        refused(trading.cancel_all_orders_after, 1, 86_400, floor.at) == "EGeneral:Invalid timeout argument:above max"
    )


# --- rate counter, caps, fees


def test_the_rate_counter_is_the_guides():
    """Kraken's two worked examples, and bounds that are exclusive."""
    counter = RateCounter(TIERS["intermediate"])
    counter.charge(50, WallNs(NS_PER_S))

    assert counter.value(WallNs(11 * NS_PER_S)) == pytest.approx(26.6)
    assert cost("add") + cost("amend", 7 * NS_PER_S) + cost("cancel", 36 * NS_PER_S) == 8
    assert (cost("cancel", 5 * NS_PER_S - 1), cost("cancel", 5 * NS_PER_S)) == (8, 6)
    assert (cost("cancel", 300 * NS_PER_S), cost("edit", 95 * NS_PER_S)) == (0, 1)


def test_a_full_counter_refuses_until_it_has_decayed():
    """Fixed costs count for refused orders too."""
    floor = Floor(count_rates=True, tier="starter")
    for _ in range(60):
        refused(floor.add, qty="0.00001")
    assert refused(floor.add) == "EOrder:Rate limit exceeded"
    floor.wait(1.5)

    assert floor.add().is_open


def test_a_batch_cancel_may_overshoot_a_cancel_may_not():
    """The age costs of young orders: 8 each."""
    floor = Floor(count_rates=True, tier="starter")
    orders = [floor.add() for _ in range(10)]
    for order in orders[:6]:
        floor.cancel(order)
    assert refused(floor.cancel, orders[6]) == "EOrder:Rate limit exceeded"

    assert floor.trading.cancel_batch(1, floor.at, [order.order_id for order in orders[6:]]) == 4
    assert floor.account.counter("BTC/USD").value(floor.at) > 60


def test_open_orders_are_capped_by_tier():
    """Per pair."""
    floor = Floor(count_rates=True, tier="starter")
    for _ in range(60):
        floor.add()
        floor.wait(2)

    assert refused(floor.add) == "EOrder:Orders limit exceeded"


def test_fees_fall_with_volume():
    """Thirty days of volume decide the tier; makers pay less."""
    floor = Floor()
    floor.account.volume.add(60_000.0, floor.at)
    floor.add("market", "buy", "0.01")
    trade = next(row for row in floor.told if row["exec_type"] == "trade")

    assert trade["fees"][0]["qty"] == round(trade["cost"] * Decimal("0.0024"), 5)
    floor.wait(31 * 86_400)
    assert floor.account.fee_tier(floor.at).taker_ppm == 4000


# --- the ledger


def test_the_ledger_says_what_became_of_every_order(tmp_path):
    """Accepted, changed, ended, filled: in memory and, line by line, in its file.

    Refused ones are not in it.
    """
    from engine.venue.trading.ledger import Ledger

    path = tmp_path / "ledger.jsonl"
    with Ledger(str(path)) as ledger:
        floor = Floor(ledger=ledger)
        kept = floor.add(cl_ord_id="kept")
        floor.amend(kept, limit_price="60000.0")
        taken = floor.add("market", cl_ord_id="taken")
        gone = floor.add(cl_ord_id="gone")
        floor.cancel(gone)
        refused(floor.add, qty="1000")
        orders = {order.cl_ord_id: order for order in ledger.orders()}

    assert {name: order.status for name, order in orders.items()} == {
        "kept": "new",
        "taken": "filled",
        "gone": "canceled",
    }
    assert (orders["kept"].limit_price, orders["kept"].amend_count) == ("60000.0", 1)
    assert [fill.order_id for fill in ledger.fills] == [taken.order_id]
    events = [line.split('"')[3] for line in path.read_text().splitlines()]
    assert events == ["accepted", "changed", "accepted", "fill", "ended", "accepted", "ended"]


# --- the public's view


class BookReader:
    """A public subscriber that holds every frame of the book to the update law."""

    paused = False
    plain = True

    def __init__(self) -> None:
        self.waiting: list[object] = []
        self.book = LawBook(10)
        self.count = 0

    def deliver(self, key, frame):
        self.count += 1
        self.book.take(read(frame[payload_start(frame) :].decode()))

    def flush(self): ...


def test_the_public_book_keeps_its_law_while_clients_trade():
    """Icebergs, sweeps, amends and canceled self-trades: each frame obeys the law and its
    checksum.
    """
    floor = Floor()
    key, reader = StreamKey("book", "BTC/USD", 10), BookReader()
    reader.deliver(key, floor.market.snapshot(key, floor.at))
    floor.market.join(key, reader)
    for number in range(60):
        side = ("buy", "sell")[number % 2]
        other = ("sell", "buy")[number % 2]
        price = floor.price(other, -1)
        floor.add("iceberg", side, "0.05", limit_price=price, display_qty="0.005")
        for _ in range(5):
            floor.crowd_takes(other, "0.005")  # exactly what is shown: no level changes, and no frame tells it
        order = floor.add("limit", side, "0.3", limit_price=floor.price(side, 20))
        floor.amend(order, limit_price=floor.price(other, 2), order_qty="0.4")
        floor.add("limit", other, "0.01", limit_price=floor.price(side), stp_type="cancel_both")
        for _ in range(20):
            floor.exchange.next_event()
        floor.book.check()
        floor.trading.check_invariants()

    assert reader.count > 500
    assert reader.book.levels("bids")[0][0] == str(floor.price("buy"))


# --- whatever comes

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["limit", "market", "iceberg", "stop", "trail", "ioc", "close", "amend", "edit", "cancel", "flow"]
        ),
        st.sampled_from(["buy", "sell"]),
        st.integers(-60, 400),
        st.integers(1, 400),
    ),
    min_size=1,
    max_size=40,
)


@times(2)
@given(steps)
def test_orders_books_and_accounts_agree_whatever_comes(steps):
    """After every step: books and invariants hold, balances are the sum of their entries,
    fills that of the orders.
    """
    floor = Floor()
    for kind, side, away, size in steps:
        qty = str(Decimal(size) / 1000)
        orders = list(floor.account.open_orders.values())
        try:
            if kind in ("limit", "ioc", "close"):
                conditional = Conditional("limit", floor.price("sell", 50)) if kind == "close" else None
                tif = "ioc" if kind == "ioc" else "gtc"
                floor.add("limit", side, qty, limit_price=floor.price(side, away), time_in_force=tif, stp_type=[
                    "cancel_newest", "cancel_oldest", "cancel_both"][size % 3], conditional=conditional)  # fmt: skip
            elif kind == "market":
                floor.add("market", side, qty)
            elif kind == "iceberg":
                floor.add(
                    "iceberg", side, qty, limit_price=floor.price(side, away), display_qty=str(Decimal(size) / 9000)
                )
            elif kind == "stop":
                floor.add("stop-loss", side, qty, triggers=Triggers(floor.price(side, away)))
            elif kind == "trail":
                floor.add("trailing-stop", side, qty, triggers=Triggers(Decimal(abs(away) + 1) / 10, "quote"))
            elif kind == "flow":
                for _ in range(size):
                    floor.exchange.next_event()
            elif orders:
                order = orders[size % len(orders)]
                if kind == "cancel":
                    floor.cancel(order)
                elif kind == "edit":
                    floor.edit(order, order_qty=qty)
                elif order.limit_ticks is not None:
                    floor.amend(order, limit_price=floor.price(side, away), order_qty=qty)
        except VenueReject:
            pass
        floor.book.check()
        floor.trading.check_invariants()
    account = floor.account
    for asset in ("BTC", "USD"):
        moved = sum(entry.amount - entry.fee for entry in account.entries.values() if entry.asset == asset)
        assert account.balances[asset] == FUNDS[asset] + moved
    for order in [*account.open_orders.values(), *account.closed_orders.values()]:
        fills = [account.executions[exec_id] for exec_id in order.exec_ids]
        assert sum(fill.qty_lots for fill in fills) == order.cum_lots
        assert sum(fill.fee_units for fill in fills) == order.fee_units


def test_a_market_order_that_is_scheduled_can_be_amended_before_its_time():
    """What it reserves follows its quantity, and the rest is free again when it has traded."""
    floor = Floor()
    order = floor.add("market", "buy", "0.01", effective_time=WallNs(floor.at + 5 * NS_PER_S))
    reserved = order.hold
    floor.trading.amend(1, AmendSpec(order_id=order.order_id, order_qty=Decimal("0.02")), floor.at)

    assert order.hold == reserved * 2
    floor.wait(6)
    assert order.status == "filled"
    assert order.hold == 0
    floor.trading.check_invariants()


@pytest.mark.parametrize(
    ("conditional", "error"),
    [
        (Conditional("limit", Decimal(-5)), "EOrder:Invalid price"),
        (Conditional("limit", Decimal("70000.55")), "EOrder:Tick size check failed"),
        (Conditional("stop-loss", trigger_price=Decimal(0)), "EOrder:Invalid price"),
        (Conditional("trailing-stop", trigger_price=Decimal(-1), trigger_price_type="pct"), "EOrder:Invalid price"),
        (Conditional("trailing-stop", trigger_price=Decimal(1)), "EGeneral:Invalid arguments:conditional"),
        (Conditional("trailing-stop", trigger_price=Decimal("100.05"), trigger_price_type="quote"), OFF_TICK),
    ],
)
def test_a_closing_order_that_could_not_be_placed_is_refused_at_once(conditional: Conditional, error: str):
    """With the order that would call it forth, not when that has traded."""
    floor = Floor()
    with pytest.raises(VenueReject, match=error):
        floor.add("market", "buy", "0.01", conditional=conditional)


# --- amounts that are off the tick


@pytest.mark.parametrize(
    ("order_type", "side", "options", "error"),
    [
        ("stop-loss", "sell", {"triggers": Triggers(Decimal("50000.05"))}, OFF_TICK),
        ("stop-loss", "sell", {"triggers": Triggers(Decimal("-1000.05"), "quote")}, OFF_TICK),
        ("trailing-stop", "sell", {"triggers": Triggers(Decimal("100.05"), "quote")}, OFF_TICK),
        (
            "trailing-stop-limit",
            "sell",
            {"triggers": Triggers(Decimal("100.5"), "quote"), "limit_price": "-5.05"},
            OFF_TICK,
        ),
        ("market", "buy", {"qty": None, "cash_order_qty": "10.123456"}, "EGeneral:Invalid arguments:volume"),
        ("trailing-stop", "buy", {"triggers": Triggers(Decimal("1e999999999"), "pct")}, BAD_PRICE),
        ("stop-loss", "buy", {"triggers": Triggers(Decimal("1e999"), "pct")}, BAD_PRICE),
        (
            "trailing-stop-limit",
            "sell",
            {"triggers": Triggers(Decimal(1), "pct"), "limit_price": "1e999999999", "limit_price_type": "pct"},
            BAD_PRICE,
        ),
    ],
)
def test_every_amount_is_on_its_tick(order_type: str, side: str, options: dict[str, Any], error: str):
    """Distances in quote currency as prices are, cash at the cost precision: Kraken cuts
    off nothing but lots.
    """
    floor = Floor()
    with pytest.raises(VenueReject, match=error):
        floor.add(order_type, side, options.pop("qty", "0.01"), **options)


def test_a_distance_in_per_cent_has_no_tick():
    """1.23456 % of the price is a price like any other, to the nearest tick."""
    floor = Floor()
    order = floor.add("trailing-stop", "sell", "0.01", triggers=Triggers(Decimal("1.23456"), "pct"))
    distance = floor.market.last * Decimal("0.0123456")

    assert order.trigger_ticks == floor.market.last - int(distance.to_integral_value(ROUND_HALF_UP))


@pytest.mark.parametrize(
    ("order_type", "options", "change", "error"),
    [
        ("stop-loss", {"triggers": Triggers(Decimal("50000.0"))}, {"trigger_price": Decimal("50000.05")}, OFF_TICK),
        (
            "stop-loss",
            {"triggers": Triggers(Decimal("50000.0"))},
            {"trigger_price": Decimal("-5")},
            "EOrder:Invalid price",
        ),
        (
            "stop-loss",
            {"triggers": Triggers(Decimal("50000.0"))},
            {"trigger_price": Decimal(-100), "trigger_price_type": "pct"},
            "EOrder:Invalid price",
        ),
        (
            "trailing-stop",
            {"triggers": Triggers(Decimal("100.0"), "quote")},
            {"trigger_price": Decimal("-100")},
            "EOrder:Invalid price",
        ),
        (
            "trailing-stop",
            {"triggers": Triggers(Decimal("100.0"), "quote")},
            {"trigger_price": Decimal("100.05")},
            OFF_TICK,
        ),
        (
            "trailing-stop-limit",
            {"triggers": Triggers(Decimal("100.0"), "quote"), "limit_price": "-5.0"},
            {"limit_price": Decimal("-5.05")},
            OFF_TICK,
        ),
    ],
)
def test_a_refused_amend_changes_nothing(order_type: str, options: dict[str, Any], change: dict[str, Any], error: str):
    """Neither the trigger that was wrong nor the quantity that was right beside it."""
    floor = Floor()
    order = floor.add(order_type, "sell", "0.01", **options)
    before = (order.spec, order.qty_lots, order.trigger_ticks, order.hold, order.amended)
    with pytest.raises(VenueReject, match=error):
        floor.trading.amend(1, AmendSpec(order_id=order.order_id, order_qty=Decimal("0.02"), **change), floor.at)

    assert (order.spec, order.qty_lots, order.trigger_ticks, order.hold, order.amended) == before
    floor.trading.check_invariants()
