"""Integers inside, exact text and decimals at the border."""

from decimal import Decimal, getcontext, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.units import (
    DIGITS_MAX,
    aligned,
    decimal_units,
    decimals_of,
    exact_units,
    rescaled,
    units_decimal,
    units_text,
    written_units,
)

decimals = st.integers(0, 18)
numbers = st.integers(-(10**30), 10**30)


@given(numbers, decimals)
def test_units_survive_text_and_decimal(units, places):
    """units → text → Decimal → units is exact, far beyond 64 bits, negative numbers
    included.
    """
    text, exact = units_text(units, places), units_decimal(units, places)

    assert Decimal(text) == exact
    assert decimal_units(exact, places) == decimal_units(Decimal(text), places) == units


@given(st.integers(0, 10**12), decimals)
def test_the_checksum_text_is_the_units_themselves(units, places):
    """Kraken's rule (no point, no leading zeros) gives the integer's own text; for zero it
    gives none.
    """
    token = units_text(units, places).replace(".", "").lstrip("0")

    assert token == (str(units) if units else "")


def test_a_strategy_that_sets_decimal_precision_changes_nothing():
    """`getcontext().prec` belongs to the strategy's own arithmetic: prices keep every
    digit.
    """
    with localcontext() as context:
        context.prec = 3
        assert getcontext().prec == 3
        price, ticks = units_decimal(633887, 1), decimal_units(Decimal("63388.7"), 1)

    assert str(price) == "63388.7"
    assert ticks == 633887


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e31", "Infinity", "-Infinity", "NaN", "sNaN"])
def test_absurd_numbers_cost_nothing(number):
    """Eleven bytes of text must not become gigabytes of integer."""
    with pytest.raises(ValueError, match="is not a number of units"):
        decimal_units(Decimal(number), 8)


@pytest.mark.parametrize("number", ["0.000000001", "1.5e-8", "1e-999999999", "1." + "0" * 90 + "1"])
def test_numbers_finer_than_their_units_are_refused(number):
    """Never rounded to the nearest unit, and never to zero, which would delete a level."""
    with pytest.raises(ValueError, match="has more than 8 decimals"):
        decimal_units(Decimal(number), 8)


@pytest.mark.parametrize(("number", "units"), [("1e-8", 1), ("0e-999999999", 0), ("5.000000000000", 500_000_000)])
def test_zeros_at_the_end_are_no_decimals(number, units):
    """Exponents and trailing zeros are notation, not precision."""
    assert decimal_units(Decimal(number), 8) == units


def test_absurd_decimals_are_refused():
    """A precision comes off the wire too, and may be absurd."""
    with pytest.raises(ValueError, match="is not a number of units"):
        decimal_units(Decimal(1), DIGITS_MAX + 1)


@pytest.mark.parametrize(
    ("units", "places", "text"), [(5, 2, "0.05"), (0, 8, "0.00000000"), (-5, 1, "-0.5"), (7, 0, "7")]
)
def test_texts_as_kraken_writes_them(units, places, text):
    """Every decimal, no exponent, a zero before the point."""
    assert units_text(units, places) == text


@given(st.integers(-(10**12), 10**12), st.integers(0, 9), st.integers(-(10**12), 10**12), st.integers(0, 9))
def test_counts_of_two_scales_are_compared_as_the_amounts_that_they_are(one, its, other, theirs):
    """Two counts are aligned exactly, whichever is the finer."""
    ours, others = aligned(one, its, other, theirs)

    assert (ours < others, ours == others) == (
        units_decimal(one, its) < units_decimal(other, theirs), units_decimal(one, its) == units_decimal(other, theirs)
    )  # fmt: skip


def test_a_count_is_never_told_in_coarser_units():
    """A coarser scale is refused, because it would round."""
    assert rescaled(5, 1, 3) == 500
    with pytest.raises(ValueError, match="cannot be told in units of 10\\*\\*-1"):
        rescaled(500, 3, 1)


@pytest.mark.parametrize(
    ("text", "least", "told"),
    [("64000.1", 1, (640_001, 1)), ("64000.10", 1, (640_001, 1)), ("64000.05", 1, (6_400_005, 2)),
     ("5", 3, (5000, 3)), ("1e-30", 0, (1, 30)), ("-0.5", 0, (-5, 1)), ("0", 8, (0, 8))],
)  # fmt: skip
def test_the_coarsest_scale_that_tells_an_amount_whole(text, least, told):
    """The scale is the order's own, or as much finer as needed."""
    assert exact_units(Decimal(text), least) == told


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "1e-31", "1e30", "1e999999999", "1e-999999999", "10000000000.1234567891"]
)
def test_what_no_record_holds_has_no_scale(text):
    """More than 63 bits of units, or finer than any scale, is refused."""
    with pytest.raises(ValueError, match="cannot be told in whole units"):
        exact_units(Decimal(text), 8)


# --- the numbers of a message, by their text


def written(places):
    """The texts of numbers with these decimals, as Kraken writes them."""
    return st.integers(-(10**24), 10**24).map(lambda units: units_text(units, places))


odd_texts = st.sampled_from(
    ["0", "-0", "-0.00", "0.00000000", "1e5", "1.50E-7", "0E-12", "7", "1e30", "1e-30", "9" * 31 + ".5"]
)
some_texts = st.one_of(*(written(places) for places in (0, 1, 2, 8, 18)), odd_texts)


@given(st.lists(some_texts, min_size=3, max_size=3), st.lists(some_texts, min_size=2, max_size=2), decimals, decimals)
def test_the_numbers_of_a_message_are_exact(prices, qtys, price_places, qty_places):
    """Every group is in the coarsest scale that has all its written decimals, and keeps
    every digit.
    """
    numbers = [Decimal(text) for text in (*prices, *qtys)]
    units, scales = written_units(numbers, (3, 2), (price_places, qty_places))
    price_scale, qty_scale = scales

    assert price_scale == max(price_places, *map(decimals_of, numbers[:3]))
    assert qty_scale == max(qty_places, *map(decimals_of, numbers[3:]))
    assert units == [
        *(decimal_units(number, price_scale) for number in numbers[:3]),
        *(decimal_units(number, qty_scale) for number in numbers[3:]),
    ]


@given(decimals, st.data())
def test_numbers_of_their_pair_s_decimals_keep_its_scale(places, data):
    """As nearly all are written, and whatever a strategy's thread has set as precision."""
    texts = data.draw(st.lists(written(places), min_size=4, max_size=4))
    with localcontext() as context:
        context.prec = 3
        units, scales = written_units([Decimal(text) for text in texts], (3, 1), (places, places))

    assert [units_text(number, places) for number in units] == texts
    assert scales == (places, places)


@pytest.mark.parametrize(
    "number",
    [
        *("1e999999999", "-1e999999999", "1e31", "1e-31", "0e-999999999", "0e999999999", "1" * 32, "1" * 5000),
        *("Infinity", "-Infinity", "NaN", "sNaN", "sNaN12"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_message_with_an_absurd_number_is_refused(number, place):
    """In any place: eleven bytes of text must not become gigabytes of integer."""
    numbers = [Decimal("1.5"), Decimal("2.25")]
    numbers[place] = Decimal(number)

    with pytest.raises(ValueError, match="is not a number of units"):
        written_units(numbers, (1, 1), (1, 2))
