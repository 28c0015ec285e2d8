"""Positions at average cost: what is made, what is held, and what it cost, to the last digit."""

from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from engine.orders.positions import Positions, PositionState, fee_in_base, fee_in_quote

D = Decimal
fills = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]), st.integers(1, 10**9).map(lambda n: D(n).scaleb(-8)),
        st.integers(1, 10**8).map(lambda n: D(n).scaleb(-2)), st.integers(0, 10**6).map(lambda n: D(n).scaleb(-4)),
    ),
    max_size=30,
)  # fmt: skip


def after(*trades):
    """A position after (side, quantity, price) without fees."""
    position = PositionState()
    for side, qty, price in trades:
        position.fill(side, D(qty), D(price), D(0))
    return position


def told(position):
    """Quantity, average price, profit."""
    return position.qty, position.avg_price, position.realized


def test_buying_more_moves_the_average_and_selling_realizes():
    """The book-keeping of every exercise."""
    assert told(after(("buy", 1, 100), ("buy", 1, 110))) == (2, 105, 0)
    assert told(after(("buy", 1, 100), ("buy", 1, 110), ("sell", 1, 120))) == (1, 105, 15)
    assert told(after(("buy", 2, 100), ("sell", 2, 90))) == (0, 0, -20)


def test_a_position_that_turns_round_does_both():
    """What was held is realized, what is beyond begins at the new price; selling first is the same with the sign."""
    assert told(after(("buy", 1, 100), ("sell", 3, 110))) == (-2, 110, 10)
    assert told(after(("sell", 2, 100), ("buy", 3, 90))) == (1, 90, 20)


def test_what_is_held_is_worth_its_mark():
    """Without a price it is worth what it cost."""
    position = after(("sell", 2, 100))

    assert (position.unrealized(D(90)), position.unrealized(D(110)), position.unrealized(None)) == (20, -20, 0)


@given(fills, st.integers(1, 10**8))
def test_no_money_appears_or_vanishes(trades, mark):
    """Realized plus unrealized less fees is cash plus holdings, whatever the order of trades."""
    position, cash, held = PositionState(), D(0), D(0)
    for side, qty, price, fee in trades:
        position.fill(side, qty, price, fee)
        signed = qty if side == "buy" else -qty
        cash -= signed * price + fee
        held += signed

    assert position.qty == held
    assert abs(position.total(D(mark)) - (cash + held * mark)) < D("1e-9")


@given(fills)
def test_a_strategys_own_precision_changes_nothing(trades):
    """A router in another thread's context comes to the same digits."""
    positions = [PositionState(), PositionState()]
    for position, digits in zip(positions, (28, 3), strict=True):
        with localcontext() as context:
            context.prec = digits
            for side, qty, price, fee in trades:
                position.fill(side, qty, price, fee, base_fee=fee / 1_000_000 if digits == 28 else D(0))
            position.unrealized(D("123.45"))
    with localcontext() as context:
        context.prec = 3
        twin = PositionState()
        for side, qty, price, fee in trades:
            twin.fill(side, qty, price, fee)

    assert told(twin) == told(positions[1])


@given(st.integers(1, 10**9), st.integers(1, 10**7), st.integers(0, 10**7))
def test_a_fee_in_the_base_currency_costs_what_it_is_worth(qty, price, fee):
    """It leaves the holdings, and counts at the price of its fill."""
    qty, price, fee = D(qty).scaleb(-8), D(price).scaleb(-1), D(fee).scaleb(-10)
    fees = (("BTC", fee),)
    position = PositionState()
    position.fill("buy", qty, price, fee_in_quote("BTC/USD", fees, price), fee_in_base("BTC/USD", fees))

    assert position.qty == qty - fee
    assert position.fees == fee * price
    assert abs(position.total(price) + fee * price) < D("1e-15")


def test_fees_of_a_third_currency_have_no_price_here():
    """They are kept with the order."""
    assert fee_in_quote("BTC/USD", (("USD", D(1)), ("BTC", D("0.1")), ("KFEE", D(9))), D(100)) == 11
    assert fee_in_base("BTC/USD", (("USD", D(1)), ("BTC", D("0.1")))) == D("0.1")


def test_totals_are_by_quote_currency():
    """Euros and dollars are not added."""
    positions = Positions()
    positions.of("a", "BTC/USD").fill("buy", D(1), D(100), D(1))
    positions.of("b", "BTC/USD").fill("sell", D(1), D(100), D(1))
    positions.of("b", "ETH/EUR").fill("buy", D(1), D(10), D("0.1"))

    assert positions.totals({"BTC/USD": D(120)}) == {"USD": D(-2), "EUR": D("-0.1")}
    assert positions.total_qty("BTC/USD") == 0
    assert positions.qty("nobody", "BTC/USD") == 0


def test_what_all_strategies_hold_together_is_exact():
    """Whatever digits the amounts have: 31 of them here, three more than Decimals are added with by habit."""
    positions = Positions()
    positions.of("a", "PEPE/USD").qty = Decimal("123456789012345678901.1234567890")
    positions.of("b", "PEPE/USD").qty = Decimal("0.0000000001")

    assert positions.total_qty("PEPE/USD") == Decimal("123456789012345678901.1234567891")
    assert positions.total_qty("BTC/USD") == 0
