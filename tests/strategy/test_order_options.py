"""What a strategy may ask of an order, and the one sentence that it gets for what it may
not.
"""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum

import pytest

from engine import Conditional
from engine.market import Pair
from engine.orders.intent import Trigger
from engine.strategy.option_rules import EXPIRY_NS_MAX, KINDS
from engine.strategy.order_options import AmendOptions, OrderOptions, make_amendment, make_intent
from engine.units import NS_PER_S, WallNs

NOW = WallNs(1_800_000_000 * NS_PER_S)
SOON = WallNs(NOW + 60 * NS_PER_S)
MOMENT = "a datetime with a timezone, or whole nanoseconds since 1970 such as context.wall_now() + 60 * 10**9"
TYPES = (
    "market, limit, iceberg, stop-loss, stop-loss-limit, take-profit, take-profit-limit, trailing-stop, "
    "trailing-stop-limit or settle-position"
)
PAIR = Pair("BTC/USD", 1, 8, qty_min_lots=5000, cost_min=Decimal("0.5"))


def intent(qty="1", side="buy", **options):
    """The order that these options make."""
    return make_intent(PAIR, side, qty, options, NOW)


def refusal(make, *arguments, **options):
    """The sentence that refuses it."""
    with pytest.raises(ValueError, match=r"^[a-z]") as refused:
        make(*arguments, **options)
    sentence = str(refused.value)
    assert "\n" not in sentence
    assert len(sentence) < 300
    return sentence


# --- what is not there, or not of its kind

WRONG_VALUES = {
    "postonly": ({"limit": 1, "postonly": True}, "an order has no option postonly; did you mean post_only?"),
    "Kraken's own name": ({"limit_price": 1}, "an order has no option limit_price; did you mean limit?"),
    "quantity": ({"quantity": 1}, "an order has no option quantity; did you mean qty?"),
    "no name at all": ({"limit": 1, 5: 1}, "an order has no option 5: options have names"),
    "type": (
        {"order_type": "stoploss", "trigger": 1},
        f"order_type must be {TYPES}, not 'stoploss'; did you mean stop-loss?",
    ),
    "type is a number": ({"order_type": 5}, f"order_type must be {TYPES}, not 5"),
    "time in force": ({"limit": 1, "time_in_force": "GTX"}, "time_in_force must be gtc, gtd, ioc or fok, not 'GTX'"),
    "stp": (
        {"limit": 1, "stp_type": "cancel-newest"},
        "stp_type must be cancel_newest, cancel_oldest or cancel_both, not 'cancel-newest'; did you mean "
        "cancel_newest?",
    ),
    "trigger reference": (
        {"order_type": "stop-loss", "trigger": 1, "trigger_reference": "mark"},
        "trigger_reference must be last or index, not 'mark'",
    ),
    "trigger type": (
        {"order_type": "stop-loss", "trigger": 1, "trigger_type": "percent"},
        "trigger_type must be static, pct or quote, not 'percent'",
    ),
    "offset type": (
        {"order_type": "trailing-stop-limit", "trigger": 1, "limit_offset": 1, "limit_offset_type": "static"},
        "limit_offset_type must be pct or quote, not 'static'",
    ),
    "fee": ({"fee_preference": "USD"}, "fee_preference must be base or quote, not 'USD'"),
    "limit None": ({"limit": None}, "limit is None: give a price, or leave limit out for a market order"),
    "limit NaN": ({"limit": float("nan")}, "limit must be a number above 0, not NaN"),
    "limit sNaN": ({"limit": Decimal("sNaN")}, "limit must be a number above 0, not sNaN"),
    "limit infinite": ({"limit": Decimal("-Infinity")}, "limit must be a number above 0, not -Infinity"),
    "limit a word": ({"limit": "best\n"}, r"limit must be a number, not 'best\n'"),
    "limit a bool": ({"limit": True}, "limit must be a number, not True"),
    "limit a list": ({"limit": [1]}, "limit must be a number, not a list"),
    "limit a tuple": ({"limit": (0, (1,), 3)}, "limit must be a number, not a tuple"),
    "limit nothing": ({"limit": 0}, "limit must be a number above 0, not 0"),
    "limit negative": ({"limit": -1.5}, "limit must be a number above 0, not -1.5"),
    "limit off tick": (
        {"limit": "60000.05"},
        "limit 60000.05 is not a multiple of BTC/USD's tick 0.1; pair.round_price finds one that is",
    ),
    "limit huge": ({"limit": Decimal("1e30")}, "limit 1E+30 is more than any order can have"),
    "limit endless": ({"limit": 10**5000}, f"limit 1{39 * '0'}… is more than any order can have"),
    "limit tiny": (
        {"limit": Decimal("1e-999999")},
        "limit 1E-999999 is not a multiple of BTC/USD's tick 0.1; pair.round_price finds one that is",
    ),
    "trigger too long": (
        {"order_type": "stop-loss", "trigger": Decimal("1." + "1" * 31)},
        f"trigger 1.{31 * '1'} has more than 30 digits before or behind the point",
    ),
    "trigger in per cent": ({"order_type": "trailing-stop", "trigger": "1%"}, "trigger must be a number, not '1%'"),
    "flag": ({"limit": 1, "post_only": "no"}, "post_only must be True or False, not 'no'"),
    "margin": ({"margin": 5}, "margin must be True or False, not 5"),
    "expiry a word": (
        {"limit": 1, "time_in_force": "gtd", "expire_at": "tomorrow"},
        f"expire_at must be {MOMENT}, not 'tomorrow'",
    ),
    "expiry a float": (
        {"limit": 1, "time_in_force": "gtd", "expire_at": 1.8e9},
        f"expire_at must be {MOMENT}, not 1800000000.0",
    ),
    "expiry a bool": ({"limit": 1, "expire_at": True}, f"expire_at must be {MOMENT}, not True"),
    "expiry without timezone": (
        {"limit": 1, "time_in_force": "gtd", "expire_at": datetime(2027, 1, 16)},
        "expire_at must have a timezone: give datetime.now(timezone.utc) + timedelta(…), or the like",
    ),
    "expiry no moment": ({"limit": 1, "expire_at": -1}, "expire_at -1 is no moment in nanoseconds since 1970"),
    "conditional a word": (
        {"limit": 1, "conditional": "x"},
        "conditional must be a Conditional (from engine import Conditional), not 'x'",
    ),
    "conditional a dict": (
        {"limit": 1, "conditional": {"order_type": "limit"}},
        "conditional must be a Conditional (from engine import Conditional), not a dict",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG_VALUES)
def test_a_wrong_value_is_named_with_what_it_must_be(mistake):
    """Whatever it is: it is never taken for something else, and never taken for not given."""
    options, said = WRONG_VALUES[mistake]

    assert said == refusal(make_intent, PAIR, "buy", "1", options, NOW)


WRONG_AMOUNTS = {
    "nothing": (0, "qty must be a number above 0: an order of 0 is nothing"),
    "None": (None, "qty must be a number, not None"),
    "empty": ("", "qty must be a number, not ''"),
    "yes": (True, "qty must be a number, not True"),
    "negative": (-1, "qty must be a number above 0, not -1"),
    "finer than a lot": (
        "0.000000001", "qty 1E-9 is not a multiple of BTC/USD's step 0.00000001; pair.round_qty finds one that is"
    ),
    "a sum of floats": (
        0.1 + 0.2,
        "qty 0.30000000000000004 is not a multiple of BTC/USD's step 0.00000001; pair.round_qty finds one that is",
    ),
    "beyond 64 bits": (Decimal("1e30"), "qty 1E+30 is more than any order can have"),
    "just beyond 63 bits": (2**63, "qty 9223372036854775808 is more than any order can have"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG_AMOUNTS)
def test_a_wrong_quantity_is_named(mistake):
    """bool is an int to Python, and nobody's quantity."""
    qty, said = WRONG_AMOUNTS[mistake]

    assert said == refusal(intent, qty)


@pytest.mark.parametrize(
    ("side", "said"), [("bid", "'bid'"), (None, "None"), (1, "1"), ([], "a list"), (b"buy", "a bytes")]
)
def test_a_side_is_buy_or_sell(side, said):
    """A batch gives it as a word."""
    assert f"side must be buy or sell, not {said}" == refusal(intent, side=side)


@pytest.mark.parametrize("options", [None, "limit", 5, [("limit", 1)]])
def test_options_are_a_dict(options):
    """In a batch anything can stand in their place."""
    said = "the options of an order must be a dict, such as {'limit': price}"

    assert said == refusal(make_intent, PAIR, "buy", 1, options, NOW)
    assert said == refusal(make_amendment, PAIR, "limit", options)


# --- what does not go together

CONTRADICTIONS = {
    "a limit order without limit": (
        {"order_type": "limit"}, "a limit order needs limit=…, the worst price it may trade at"
    ),
    "a market order with a limit": (
        {"order_type": "market", "limit": 1},
        "a market order takes no limit: leave it out, or let order_type be limit, iceberg, stop-loss-limit or "
        "take-profit-limit",
    ),
    "post-only without a limit": (
        {"post_only": True},
        "a market order (order_type was left out) takes no post_only: leave it out, or let order_type be limit, "
        "iceberg, stop-loss-limit, take-profit-limit or trailing-stop-limit",
    ),
    "post-only that must trade": (
        {"limit": 1, "post_only": True, "time_in_force": "ioc"},
        "post_only and time_in_force='ioc' contradict each other: such an order could neither rest nor trade; leave "
        "one out",
    ),
    "fok at the market": (
        {"time_in_force": "fok"},
        "time_in_force='fok' is for orders with a limit: a market order has none; leave it out",
    ),
    "a stop without trigger": (
        {"order_type": "stop-loss"},
        "a stop-loss order needs trigger=…, the price that sets it off (of a trailing stop, the distance)",
    ),
    "a stop-loss-limit without limit": (
        {"order_type": "stop-loss-limit", "trigger": 1},
        "a stop-loss-limit order needs limit=…, the worst price it may trade at",
    ),
    "a trigger without type": (
        {"limit": 1, "trigger": 1},
        "a limit order (order_type was left out) takes no trigger: leave it out, or let order_type be stop-loss, "
        "stop-loss-limit, take-profit, take-profit-limit, trailing-stop or trailing-stop-limit",
    ),
    "a trigger below nothing": (
        {"order_type": "stop-loss", "trigger": -2},
        "trigger must be a number above 0, not -2; one below the present price is trigger_type='pct' or 'quote'",
    ),
    "a trailing stop at a price": (
        {"order_type": "trailing-stop", "trigger": 1, "trigger_type": "static"},
        "trigger_type of a trailing-stop must be pct or quote: its trigger is a distance, not a price",
    ),
    "a trailing stop ahead": (
        {"order_type": "trailing-stop", "trigger": -1, "trigger_type": "pct"},
        "trigger must be a number above 0, not -1",
    ),
    "a trailing limit at a price": (
        {"order_type": "trailing-stop-limit", "trigger": 1, "limit": 60000},
        "a trailing-stop-limit order takes limit_offset in place of limit: its limit follows the trigger",
    ),
    "a trailing limit without offset": (
        {"order_type": "trailing-stop-limit", "trigger": 1},
        "a trailing-stop-limit order needs limit_offset=…, how far its limit lies from the trigger",
    ),
    "an offset of a limit order": (
        {"limit": 1, "limit_offset": 1},
        "a limit order (order_type was left out) takes no limit_offset: leave it out, or let order_type be "
        "trailing-stop-limit",
    ),
    "an iceberg that shows nothing": (
        {"order_type": "iceberg", "limit": 1},
        "an iceberg order needs display_qty=…, what the book shows of it",
    ),
    "an iceberg that shows too little": (
        {"order_type": "iceberg", "limit": 1, "display_qty": "0.06"},
        "display_qty must be between 1/15 of qty and all of it",
    ),
    "an iceberg that shows more than all": (
        {"order_type": "iceberg", "limit": 1, "display_qty": 2},
        "display_qty must be between 1/15 of qty and all of it",
    ),
    "shown without being an iceberg": (
        {"limit": 1, "display_qty": 1},
        "a limit order (order_type was left out) takes no display_qty: leave it out, or let order_type be iceberg",
    ),
    "gtd without expiry": (
        {"limit": 1, "time_in_force": "gtd"},
        "time_in_force='gtd' needs expire_at=…, a datetime with a timezone or nanoseconds",
    ),
    "expiry without gtd": (
        {"limit": 1, "expire_at": SOON},
        "expire_at goes with time_in_force='gtd': give both, or leave expire_at out",
    ),
    "expiry in the past": (
        {"limit": 1, "time_in_force": "gtd", "expire_at": NOW},
        "expire_at must lie ahead, by a second or more",
    ),
    "expiry within the second": (
        {"limit": 1, "time_in_force": "gtd", "expire_at": NOW + NS_PER_S - 1},
        "expire_at must lie ahead, by a second or more",
    ),
    "expiry in seconds": (
        {"limit": 1, "time_in_force": "gtd", "expire_at": SOON // NS_PER_S},
        "expire_at must lie ahead, by a second or more; whole numbers are nanoseconds since 1970",
    ),
    "expiry too far": (
        {"limit": 1, "time_in_force": "gtd", "expire_at": datetime(9999, 12, 31, tzinfo=UTC)},
        "expire_at must lie at most one month ahead: Kraken keeps no order longer by gtd",
    ),
    "a start in the past": (
        {"limit": 1, "effective_at": NOW - 1},
        "effective_at must lie ahead, by a second or more: leave it out to begin now",
    ),
    "a start after the end": (
        {"limit": 1, "time_in_force": "gtd", "expire_at": SOON, "effective_at": SOON},
        "effective_at must lie before expire_at",
    ),
    "qty and cash_qty": (
        {"cash_qty": 100},
        "cash_qty takes the place of qty: give qty as 0, or leave cash_qty out",
    ),
    "cash_qty of a limit order": (
        {"cash_qty": 100, "limit": 1},
        "a limit order (order_type was left out) takes no cash_qty: leave it out, or let order_type be market",
    ),
    "a conditional market order": (
        {"limit": 1, "conditional": Conditional("market")},
        "conditional.order_type must be limit, stop-loss, stop-loss-limit, take-profit, take-profit-limit, "
        "trailing-stop or trailing-stop-limit, not 'market'",
    ),
    "a conditional trailing limit at a price": (
        {"limit": 1, "conditional": Conditional("trailing-stop-limit", Decimal(1), "static", Decimal(1))},
        "conditional: the limit of a trailing-stop-limit is a distance: its type is pct or quote",
    ),
    "a conditional stop without trigger": (
        {"limit": 1, "conditional": Conditional("stop-loss-limit", limit_price=Decimal(1))},
        "conditional: a stop-loss-limit order needs a trigger_price",
    ),
    "a conditional limit with trigger": (
        {"limit": 1, "conditional": Conditional("limit", Decimal(1), trigger_price=Decimal(1))},
        "conditional: a limit order takes no trigger_price",
    ),
    "a conditional price below nothing": (
        {"limit": 1, "conditional": Conditional("stop-loss", trigger_price=Decimal(-1))},
        "conditional.trigger_price must be a number above 0, not -1",
    ),
    "a conditional type of nothing": (
        {"limit": 1, "conditional": Conditional("limit", Decimal(1), trigger_price_type="pct")},
        "conditional.trigger_price_type says what trigger_price is: give that too",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", CONTRADICTIONS)
def test_options_that_do_not_go_together_are_named(mistake):
    """Kraken's own answer to most of them is a field that is missing, or invalid arguments."""
    options, said = CONTRADICTIONS[mistake]

    assert said == refusal(make_intent, PAIR, "buy", "1", options, NOW)


def test_cash_is_for_buys_without_margin():
    """Kraken: buy market, not margin."""
    assert refusal(intent, 0, "sell", cash_qty=1) == "cash_qty is for buys; a sell says in qty what it sells"
    assert refusal(intent, 0, cash_qty=1, margin=True).startswith("cash_qty cannot be had on margin")


# --- what Kraken takes is taken


@pytest.mark.parametrize("order_type", KINDS)
def test_every_type_goes_with_all_that_it_takes(order_type):
    """No rule of one type stands in the way of another."""
    kind = KINDS[order_type]
    everything = {
        "limit": "60000.1", "trigger": 5, "trigger_type": "pct", "trigger_reference": "index", "limit_offset": "-0.5",
        "limit_offset_type": "pct", "display_qty": "0.1", "post_only": True, "time_in_force": "gtd", "expire_at": SOON,
        "effective_at": NOW + 5 * NS_PER_S, "reduce_only": True, "margin": True, "fee_preference": "quote",
        "stp_type": "cancel_both", "conditional": Conditional("limit", Decimal(1)), "order_type": order_type,
    }  # fmt: skip
    given = {name: value for name, value in everything.items() if name in kind.takes}

    made = intent("1", **given)

    assert made.order_type == order_type
    assert made.limit_price == (600001 if "limit" in kind.takes else None)
    assert made.limit_offset == (Decimal("-0.5") if "limit_offset" in kind.takes else None)
    assert made.trigger == (Trigger(Decimal(5), "pct", "index") if "trigger" in kind.takes else None)
    assert made.post_only == ("post_only" in kind.takes)
    assert made.expire_at == SOON


def test_a_relative_trigger_may_lie_below():
    """Kraken's own example: sell when the price falls by 2 %."""
    made = intent(100, "sell", order_type="stop-loss", trigger=-2.0, trigger_type="pct")

    assert made.trigger == Trigger(Decimal("-2.0"), "pct", "last")


def test_the_limit_of_a_closing_trailing_stop_is_an_amount_unless_it_is_said_otherwise():
    """By both routes: REST and the WebSocket take different types where none is given."""
    given = Conditional("trailing-stop-limit", limit_price=-5, trigger_price=10)
    close = intent(1, limit=60000, conditional=given).conditional

    assert (close.limit_price_type, close.trigger_price_type) == ("quote", "quote")


def test_a_closing_order_is_made_exact():
    """Whatever numbers it was made of; Kraken's own example of one."""
    given: object = Conditional("Stop-Loss-Limit", limit_price=28400, trigger_price=28410.5)  # type: ignore[arg-type]
    made = intent("1.2", limit=28440, conditional=given)

    assert made.conditional == Conditional("stop-loss-limit", Decimal(28400), None, Decimal("28410.5"))


def test_a_bracket_is_a_stop_at_kraken_and_a_target_of_the_engine():
    """On either side of the entry; a market order says nothing of its price."""
    made = intent(limit=60000, stop_loss=59000, take_profit="61000.5")
    assert made.conditional == Conditional("stop-loss", trigger_price=Decimal(59000))
    assert made.take_profit == 610005
    sold = intent(side="sell", stop_loss="61000", take_profit=59000.1)
    assert (sold.order_type, sold.take_profit) == ("market", 590001)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stop_loss": 1}, "stop_loss goes with take_profit: give both (for a stop alone: conditional=…), or leave "
         "stop_loss out"),
        ({"take_profit": 1}, "take_profit goes with stop_loss: give both, or leave take_profit out"),
        ({"limit": 100, "stop_loss": 100, "take_profit": 110}, "of a buy, prices must be stop_loss below limit below "
         "take_profit"),
        ({"stop_loss": 110, "take_profit": 100}, "of a buy, prices must be stop_loss below take_profit"),
        ({"side": "sell", "limit": 100, "stop_loss": 90, "take_profit": 80}, "of a sell, prices must be stop_loss "
         "above limit above take_profit"),
        ({"stop_loss": 90, "take_profit": 110, "margin": True}, "stop_loss and take_profit do not go with margin: "
         "leave it out, or these two"),
        ({"stop_loss": 90, "take_profit": 110, "conditional": Conditional("limit", Decimal(1))}, "stop_loss "
         "and take_profit do not go with conditional: leave it out, or these two"),
        ({"stop_loss": 90, "take_profit": 110, "fee_preference": "base"}, "stop_loss and take_profit do not go with "
         "fee_preference='base': the stop would be for more than the fee leaves; leave it out"),
        ({"stop_loss": 90, "take_profit": 110, "cl_ord_id": "mine"}, "an order with a conditional close takes no "
         "cl_ord_id: Kraken knows it by its userref"),
        ({"stop_loss": "90.01", "take_profit": 110}, "stop_loss 90.01 is not a multiple of BTC/USD's tick 0.1; "
         "pair.round_price finds one that is"),
        ({"sl": 90}, "an order has no option sl; did you mean stop_loss?"),
        ({"target": 90}, "an order has no option target; did you mean take_profit?"),
    ],
)  # fmt: skip
def test_a_bracket_that_cannot_be_says_why(options, said):
    """One sentence names what must change."""
    assert refusal(intent, **options) == said


def test_words_may_be_in_capitals():
    """Other libraries write GTC, and enums of words are words."""

    class Tif(StrEnum):
        FOK = "fok"

    made = intent(1, "BUY", limit=1, time_in_force="GTC", order_type="Limit")

    assert (made.side, made.order_type, made.time_in_force) == ("buy", "limit", "gtc")
    assert type(intent(1, limit=1, time_in_force=Tif.FOK).time_in_force) is str


def test_times_may_be_datetimes_with_a_timezone():
    """In any timezone."""
    at = datetime.fromtimestamp(SOON // NS_PER_S, timezone(timedelta(hours=-7)))

    assert intent(1, limit=1, time_in_force="gtd", expire_at=at).expire_at == SOON
    assert intent(1, limit=1, effective_at=at).effective_at == SOON


def test_the_last_moment_of_expiry_is_a_month_ahead():
    """To the nanosecond."""
    assert intent(1, limit=1, time_in_force="gtd", expire_at=NOW + EXPIRY_NS_MAX).expire_at == NOW + EXPIRY_NS_MAX


@pytest.mark.parametrize("price", [Decimal("60000.1"), "60000.1", 60000.1, "6.00001e4"])
def test_amounts_come_in_all_forms(price):
    """A float counts as the shortest decimal that means it."""
    assert intent("1", limit=price).limit_price == 600001


def test_what_asks_for_nothing_is_as_if_left_out():
    """False and None, but for the limit that a market order would be made of."""
    options: OrderOptions = {"post_only": False, "margin": False, "tag": object()}
    nothing = dict.fromkeys(("trigger", "cash_qty", "conditional", "expire_at", "stp_type", "order_type"))

    assert make_intent(PAIR, "buy", 1, options, NOW) == intent(1)
    assert intent(1, **nothing) == intent(1)
    assert intent(1, limit=None, order_type="market") == intent(1)


def test_nothing_but_cash_or_a_position_to_settle_has_no_quantity():
    """Both say otherwise how much it is."""
    assert intent(0, cash_qty="99.5").cash_qty == Decimal("99.5")
    assert intent(0, order_type="settle-position").qty == 0


# --- amends

WRONG_AMENDS = {
    "nothing": ("limit", {}, "an amend must change something: give qty, limit, trigger, limit_offset or display_qty"),
    "post-only alone": ("limit", {"post_only": True}, "an amend must change something: give qty, limit, trigger, limit_"
                        "offset or display_qty"),
    "price": ("limit", {"price": 1}, "amend has no option price; did you mean limit?"),
    "misspelt": ("limit", {"limit": 1, "postonly": True}, "amend has no option postonly; did you mean post_only?"),
    "what cannot change": (
        "limit", {"time_in_force": "ioc"}, "amend cannot change time_in_force: cancel the order and send another"
    ),
    "limit of a market order": ("market", {"limit": 1}, "a market order has no limit to change"),
    "limit of a stop": ("stop-loss", {"limit": 1}, "a stop-loss order has no limit to change"),
    "limit that trails": (
        "trailing-stop-limit", {"limit": 1}, "a trailing-stop-limit order has no limit to change; it has limit_offset"
    ),
    "trigger of a limit order": ("limit", {"trigger": 1}, "a limit order has no trigger to change"),
    "trigger ahead": ("trailing-stop", {"trigger": -1}, "trigger must be a number above 0, not -1"),
    "no quantity": ("limit", {"qty": 0}, "qty must be a number above 0: 0 is nothing"),
    "no number": ("limit", {"limit": "x"}, "limit must be a number, not 'x'"),
    "no flag": ("limit", {"limit": 1, "post_only": 1}, "post_only must be True or False, not 1"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", WRONG_AMENDS)
def test_an_amend_that_cannot_be_says_why(mistake):
    """By the type of its order."""
    order_type, options, said = WRONG_AMENDS[mistake]

    assert said == refusal(make_amendment, PAIR, order_type, options)


def test_an_amend_is_in_ticks_and_lots():
    """And of an order whose type we do not know, Kraken judges."""
    options: AmendOptions = {"qty": "0.5", "limit": 60000.1, "post_only": True}

    for order_type in ("limit", "a type of tomorrow"):
        made = make_amendment(PAIR, order_type, options)
        assert (made.qty, made.limit_price, made.post_only) == (50_000_000, 600001, True)
