"""Exact text ⇄ ticks and lots, at every precision."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.market import Pair
from engine.market.pair import Rounding

decimals = st.integers(0, 18)
magnitudes = st.integers(0, 10**24)


@given(decimals, decimals, magnitudes)
def test_text_to_units_to_text_is_exact(price_decimals, qty_decimals, number):
    """Whatever Kraken writes at a pair's precision comes back letter by letter."""
    pair = Pair("A/B", price_decimals, qty_decimals)
    price, qty = pair.price_text(number), pair.qty_text(number)

    assert pair.price_ticks(price) == pair.qty_lots(qty) == number
    assert pair.price(number) == Decimal(price)
    assert str(pair.qty(number)) == str(Decimal(qty))
    assert "e" not in (price + qty).lower()
    assert len(price.partition(".")[2]) == price_decimals


@given(decimals, magnitudes, st.integers(2, 10**6))
def test_what_lies_between_two_increments_is_refused_with_the_increment(price_decimals, number, increment):
    """A price off the grid raises, and the sentence says how wide the grid is."""
    pair = Pair("A/B", price_decimals, 8, price_increment_ticks=increment)
    price = pair.price(number)
    if number % increment == 0:
        assert pair.price_ticks(price) == number
    else:
        with pytest.raises(ValueError) as refused:
            pair.price_ticks(price)
        assert str(refused.value).endswith(f"is not a multiple of {pair.price_text(increment)}")
        assert str(refused.value).startswith("A/B: price ")


@pytest.mark.parametrize(
    "price",
    ["45283.55", "1e-2", Decimal("0.05"), "NaN", "sNaN", "Infinity", "-1.0", "", "one", "1e999999999", "1e-999999999"],
)
def test_what_is_no_price_is_refused_in_the_same_words(price):
    """Too fine, not finite, negative, no number or absurd: one sentence, at once."""
    with pytest.raises(ValueError, match=r"BTC/USD: price .* is not a multiple of 0\.1$"):
        Pair("BTC/USD", 1, 8).price_ticks(price)


@pytest.mark.parametrize("price", ["45283.5", "45283.50", "4.52835e4", Decimal("45283.500"), 45283])
def test_every_way_to_write_a_number_is_taken(price):
    """Trailing zeros, exponents and whole numbers are the same number."""
    assert Pair("BTC/USD", 1, 8).price_ticks(price) == int(Decimal(price) * 10)


def test_the_quantity_too_names_its_increment():
    """Lots have a grid of their own."""
    with pytest.raises(ValueError, match=r"VET/USDT: quantity 0\.000001 is not a multiple of 0\.00001$"):
        Pair("VET/USDT", 6, 5).qty_lots("0.000001")


@pytest.mark.parametrize(
    ("value", "direction", "rounded"),
    [("63500.17", "down", "63500.1"), ("63500.17", "up", "63500.2"), ("63500.1", "up", "63500.1")],
)
def test_rounding_goes_where_it_is_told(value: str, direction: Rounding, rounded: str) -> None:
    """Never to the nearest by habit: a buyer rounds down, a seller up."""
    pair = Pair("BTC/USD", 1, 8)

    assert pair.round_price(value, direction) == Decimal(rounded)
    assert pair.price_ticks(pair.round_price(value, direction)) == int(rounded.replace(".", ""))
    assert pair.round_qty("0.123456789", "down") == Decimal("0.12345678")


@pytest.mark.parametrize(
    ("increment", "base_decimals", "down", "up"),
    [
        (1, None, "39148.13654", "39148.13654"),
        (1, 8, "39148.13654", "39148.13654"),
        (1, 4, "39148.1365", "39148.1366"),
        (1, 0, "39148", "39149"),
        (25, 4, "39148.1365", "39148.1370"),
        (500, 4, "39148.135", "39148.140"),
    ],
)
def test_a_quantity_is_rounded_to_what_can_be_ordered_and_held(
    increment: int, base_decimals: int | None, down: str, up: str
) -> None:
    """An account may hold an asset in coarser units than its pair trades, and the other way
    round.
    """
    pair = Pair("PENGU/USD", 6, 5, qty_increment_lots=increment, base_decimals=base_decimals)

    assert pair.round_qty("39148.13654", "down") == Decimal(down)
    assert pair.round_qty("39148.13654", "up") == Decimal(up)
    assert pair.qty_lots(pair.round_qty("39148.13654", "up")) > 0


@pytest.mark.parametrize("digits", [1, 3, 6, 28])
def test_rounding_does_not_depend_on_the_precision_of_a_thread(digits):
    """A strategy may have set it to three digits: "down" is never above, and on the step."""
    pair = Pair("BTC/USD", 1, 8)
    with localcontext(prec=digits):
        rounded = pair.round_price("64000.19", "down"), pair.round_qty("1.234567891", "up")

    assert rounded == (Decimal("64000.1"), Decimal("1.23456790"))


@pytest.mark.parametrize("direction", ["down", "up"])
@pytest.mark.parametrize("price", [63500.1, 0.3, 0.7, 1.1, 1e15])
def test_a_float_on_the_tick_stays_there(price: float, direction: Rounding) -> None:
    """It counts as the shortest decimal that means it, as it does in an order."""
    pair = Pair("BTC/USD", 1, 8)
    rounded = pair.round_price(price, direction)

    assert rounded == Decimal(repr(price))
    assert pair.price_ticks(price) == pair.price_ticks(rounded)
    assert pair.round_qty(0.29, direction) == Decimal("0.29")


@pytest.mark.parametrize("direction", ["nearest", "UP", "", None])
def test_a_direction_that_is_none_is_refused(direction: str) -> None:
    """A misspelt "down" must not be taken for "up"."""
    with pytest.raises(ValueError, match=r'is "down" or "up", not '):
        Pair("BTC/USD", 1, 8).round_price("63500.17", direction)  # type: ignore[arg-type]


def test_a_number_of_very_many_digits_is_not_rounded_across_the_step() -> None:
    """Down is never above, however many nines there are."""
    pair, nines = Pair("BTC/USD", 1, 8), Decimal("0." + "9" * 90)

    assert pair.round_qty(nines, "down") == Decimal("0.99999999")
    assert pair.round_qty("1." + "0" * 90 + "1", "up") == Decimal("1.00000001")
