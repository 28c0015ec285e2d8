"""What was told on two ways is compared by value and in any order."""

from decimal import Decimal

from engine.orders.tally import Tally


def tally(*entries):
    """A tally of these entries."""
    told = Tally()
    for entry in entries:
        told.add(*entry)
    return told


def test_numbers_count_by_value():
    """REST pads the price of a fill that the executions channel told without zeros."""
    assert tally(("T1", Decimal("0.021689"))) == tally(("T1", Decimal("0.02168900")))
    assert tally(("T1", Decimal("1E+2"))) == tally(("T1", Decimal(100)))
    assert tally(("T1", Decimal("0.021689"))) != tally(("T1", Decimal("0.021688")))


def test_the_order_does_not_matter_and_a_repetition_shows():
    """As two sources tell the same day."""
    one, other = ("T1", Decimal(1)), ("T2", Decimal(2))
    assert tally(one, other) == tally(other, one)
    assert tally(one, other) != tally(one, other, other)
    assert Tally.sum([tally(one), tally(other)]) == tally(one, other)


def test_what_is_taken_back_was_never_there():
    """The digest too."""
    told = tally(("T1", Decimal("1.0")), ("T2", Decimal(2)))
    told.remove("T1", Decimal(1))
    assert told == tally(("T2", Decimal(2)))
