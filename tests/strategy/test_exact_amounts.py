"""Every amount of an order and of an amend is exact on its pair, or refused with its step:
by the order client, and behind it.

A position stands there without its stop when Kraken refuses a trigger that is off the tick
after a round trip.
"""

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from engine.market import Pair
from engine.orders import amounts
from engine.orders.intent import Amendment, Conditional, OrderIntent, Trigger
from engine.orders.refusal import ErrorKind
from engine.orders.risk import Risk, RiskLimits, TopOfBook
from engine.strategy.order_options import make_amendment, make_intent
from engine.units import MonoNs, PriceTicks, QtyLots, WallNs
from tests.orders.rig import fact, sent, tell, text_of

D = Decimal
NOW = WallNs(1_780_000_000_000_000_000)
# A tick of 0.5 in one decimal, a step of 0.00001 in eight, and cash in hundred-thousandths.
PAIR = Pair("BTC/USD", 1, 8, 5, 1000, 5000, D("0.5"), cost_decimals=5)
TOP = TopOfBook(PriceTicks(634_800), PriceTicks(634_900), 1, is_live=True, age_ns=0)

TICK, STEP = "BTC/USD's tick 0.5", "BTC/USD's step 0.00001000"
SMALLEST_COST = "0.00001 USD, the smallest cost of BTC/USD"


def of(order_type, **options):
    return {"order_type": order_type, **options}


def closing(*what):
    return {"limit": "63500.0", "conditional": Conditional(*what)}


# (side, quantity, options, the amount that is off, the step that is named)
OFF = [
    ("buy", "0.01", {"limit": "63500.1"}, "limit", TICK),
    ("buy", "0.010001", {"limit": "63500.0"}, "qty", STEP),
    ("sell", "0.01", of("stop-loss", trigger="63500.1"), "trigger", TICK),
    ("sell", "0.01", of("take-profit", trigger="63500.6"), "trigger", TICK),
    ("sell", "0.01", of("stop-loss", trigger="63500.1", trigger_reference="index"), "trigger", TICK),
    ("sell", "0.01", of("stop-loss", trigger="-100.1", trigger_type="quote"), "trigger", TICK),
    ("sell", "0.01", of("stop-loss-limit", trigger="63500.1", limit="63400.0"), "trigger", TICK),
    ("sell", "0.01", of("stop-loss-limit", trigger="63500.0", limit="63400.1"), "limit", TICK),
    ("sell", "0.01", of("trailing-stop", trigger="100.1"), "trigger", TICK),
    ("sell", "0.01", of("trailing-stop", trigger="100.1", trigger_type="quote"), "trigger", TICK),
    ("sell", "0.01", of("trailing-stop-limit", trigger="100.0", limit_offset="10.1"), "limit_offset", TICK),
    ("sell", "0.01", of("trailing-stop-limit", trigger="1", trigger_type="pct", limit_offset="-10.1",
                        limit_offset_type="quote"), "limit_offset", TICK),
    ("buy", "0.01", of("iceberg", limit="63500.0", display_qty="0.005001"), "display_qty", STEP),
    ("buy", "0.01", closing("limit", D("70000.1")), "conditional.limit_price", TICK),
    ("buy", "0.01", closing("limit", D("70000.1"), "static"), "conditional.limit_price", TICK),
    ("buy", "0.01", closing("limit", D("700.1"), "quote"), "conditional.limit_price", TICK),
    ("buy", "0.01", closing("stop-loss", None, None, D("60000.1")), "conditional.trigger_price", TICK),
    ("buy", "0.01", closing("stop-loss", None, None, D("-600.1"), "quote"), "conditional.trigger_price", TICK),
    ("buy", "0.01", closing("stop-loss-limit", D("59000.1"), None, D(60000)), "conditional.limit_price", TICK),
    ("buy", "0.01", closing("trailing-stop", None, None, D("600.1")), "conditional.trigger_price", TICK),
    ("buy", "0.01", closing("trailing-stop-limit", D("5.1"), None, D("600.0")), "conditional.limit_price", TICK),
    ("buy", 0, {"cash_qty": "10.123456"}, "cash_qty", SMALLEST_COST),
]  # fmt: skip

ON = [
    ("buy", "0.01", {"limit": "63500.5"}),
    ("sell", "0.01", of("stop-loss", trigger="63500.5")),
    ("sell", "0.01", of("stop-loss", trigger="-1.2345", trigger_type="pct")),
    ("sell", "0.01", of("stop-loss", trigger="-100.5", trigger_type="quote")),
    ("sell", "0.01", of("trailing-stop", trigger="1.23456", trigger_type="pct")),
    ("sell", "0.01", of("trailing-stop", trigger="100.5")),
    ("sell", "0.01", of("trailing-stop-limit", trigger="100.5", limit_offset="-0.5")),
    ("sell", "0.01", of("trailing-stop-limit", trigger="100.5", limit_offset="0")),
    ("sell", "0.01", of("trailing-stop-limit", trigger="100.5", limit_offset="0.333", limit_offset_type="pct")),
    ("buy", "0.01", of("iceberg", limit="63500.0", display_qty="0.005")),
    ("buy", "0.01", closing("limit", D("70000.5"))),
    ("buy", "0.01", closing("limit", D("1.234"), "pct")),
    ("buy", "0.01", closing("stop-loss-limit", D("59000.5"), None, D("60000.500"))),
    ("buy", "0.01", closing("trailing-stop", None, None, D("1.234"), "pct")),
    ("buy", 0, {"cash_qty": "10.12345"}),
]


@pytest.mark.parametrize(("side", "qty", "options", "name", "step"), OFF)
def test_an_amount_between_two_steps_is_refused_by_name_with_the_step(side, qty, options, name, step):
    with pytest.raises(ValueError, match=" is not a multiple of ") as refused:
        make_intent(PAIR, side, qty, options, NOW)

    assert str(refused.value).startswith(f"{name} ")
    assert step in str(refused.value)


@pytest.mark.parametrize(("side", "qty", "options"), ON)
def test_an_amount_on_its_step_goes_out(side, qty, options):
    """And the router's own look agrees."""
    intent = make_intent(PAIR, side, qty, options, NOW)

    assert amounts.order_refusal(intent, PAIR) is None


@pytest.mark.parametrize(("side", "qty", "options", "name", "step"), OFF)
def test_the_router_does_not_trust_the_order_client(side, qty, options, name, step):
    """What an order client with another idea of the tick let through is refused by the risk check in
    the same words.
    """
    finer = replace(PAIR, price_increment_ticks=1, qty_increment_lots=1, cost_decimals=10)
    intent = make_intent(finer, side, qty, options, NOW)

    why = Risk(RiskLimits()).refusal(
        intent, strategy="s", pair=PAIR, top=TOP, open_orders=(), position=D(0), now=MonoNs(10**9)
    )
    assert why is not None
    assert why.text.startswith(f"{name} ")
    assert step in why.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit_price": PriceTicks(635_001)}, TICK),
        ({"qty": QtyLots(10_001)}, STEP),
        ({"display_qty": QtyLots(10_001)}, STEP),
    ],
)
def test_counts_are_looked_at_behind_the_order_client_too(change, said):
    """Ticks and lots that no order client of ours would make."""
    intent = OrderIntent(
        symbol="BTC/USD", side="buy", order_type="iceberg", price_decimals=1, qty_decimals=8,
        **{"qty": QtyLots(100_000), "limit_price": PriceTicks(635_000), "display_qty": QtyLots(50_000), **change},
    )  # fmt: skip
    why = amounts.order_refusal(intent, PAIR)

    assert why is not None
    assert why.kind is ErrorKind.PRECISION
    assert said in why.text


AMENDS_OFF = [
    ("limit", {"limit": "63500.1"}, {}, "limit"),
    ("limit", {"qty": "0.010001"}, {}, "qty"),
    ("iceberg", {"display_qty": "0.005001"}, {}, "display_qty"),
    ("stop-loss", {"trigger": "63500.1"}, {}, "trigger"),
    ("stop-loss", {"trigger": "63500.1"}, {"trigger_type": "static"}, "trigger"),
    ("stop-loss", {"trigger": "-10.1"}, {"trigger_type": "quote"}, "trigger"),
    ("trailing-stop", {"trigger": "100.1"}, {}, "trigger"),
    ("trailing-stop-limit", {"limit_offset": "10.1"}, {}, "limit_offset"),
]


@pytest.mark.parametrize(("order_type", "options", "types", "name"), AMENDS_OFF)
def test_a_change_to_an_amount_between_two_steps_is_refused(order_type, options, types, name):
    with pytest.raises(ValueError, match=f"^{name} .* is not a multiple of "):
        make_amendment(PAIR, order_type, options, **types)


@pytest.mark.parametrize(
    ("order_type", "options", "types"),
    [
        ("stop-loss", {"trigger": "-1.234"}, {"trigger_type": "pct"}),
        ("trailing-stop", {"trigger": "1.234"}, {"trigger_type": "pct"}),
        ("trailing-stop-limit", {"limit_offset": "-1.234"}, {"limit_offset_type": "pct"}),
        ("trailing-stop-limit", {"limit_offset": "-10.5"}, {"limit_offset_type": "quote"}),
    ],
)
def test_what_a_change_means_is_what_the_order_means_by_it(order_type, options, types):
    """Per cent has no tick."""
    assert make_amendment(PAIR, order_type, options, **types) is not None


def test_the_router_looks_at_what_an_amend_changes_and_at_that_alone():
    """An order of before a coarser step keeps its quantity; a stop's new trigger must be on
    the tick all the same.
    """
    stop = OrderIntent(
        symbol="BTC/USD", side="sell", order_type="stop-loss", price_decimals=1, qty_decimals=8,
        qty=QtyLots(100_001), trigger=Trigger(D(60_000)),
    )  # fmt: skip
    blotter, order = sent(intent=stop)
    tell(blotter, fact("new"))

    def why(**change):
        return text_of(Risk(RiskLimits()).amend_refusal(
            order, Amendment(price_decimals=1, qty_decimals=8, **change), pair=PAIR, top=TOP,
            open_orders=(order,), position=D(0), now=MonoNs(10**9),
        ))  # fmt: skip

    assert why(trigger_price=D("60500.5")) is None
    assert (
        why(trigger_price=D("60500.1"))
        == f"trigger 60500.1 is not a multiple of {TICK}; pair.round_price finds one that is"
    )
    assert "step" in why(qty=QtyLots(50_001))


ANY = st.decimals(allow_nan=True, allow_infinity=True)


@example(D("1e999999999"), D("1e999999999"), "static")
@example(D("-1e-999999999"), D("sNaN"), "quote")
@given(ANY, ANY, st.sampled_from(["static", "quote", "pct"]))
def test_no_number_raises_behind_the_order_client(price, cash, price_type):
    """The router takes what is in its ring: NaN and endless numbers are refused before
    anything counts with them.
    """
    stop = OrderIntent(
        symbol="BTC/USD", side="sell", order_type="stop-loss", price_decimals=1, qty_decimals=8, qty=QtyLots(100_000),
        trigger=Trigger(price, price_type),
    )  # fmt: skip
    spends = OrderIntent(
        symbol="BTC/USD",
        side="buy",
        order_type="market",
        price_decimals=1,
        qty_decimals=8,
        qty=QtyLots(0),
        cash_qty=cash,
    )
    risk = Risk(RiskLimits(position_notional_max=D(10**6), order_notional_max=D(10**6)))
    risk.reduce("a test")
    told = [
        risk.refusal(asked, strategy="s", pair=PAIR, top=TOP, open_orders=(), position=D(0), now=MonoNs(10**9))
        for asked in (stop, spends)
    ]

    assert all(why is not None and len(why) < 300 for why in told)
