"""Client order ids: unique, short, and they tell whose they are."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.orders.client_order_id import NUMBER_MAX, RUN_MAX, client_order_id, order_tags

numbers = st.integers(0, NUMBER_MAX)
names = st.text("abcdefghij-_XYZ019", min_size=1, max_size=32)


@given(numbers, numbers)
def test_an_id_is_eighteen_characters_that_kraken_takes(run, number):
    """Lower-case letters and digits only."""
    assert re.fullmatch(r"[0-9a-z]{18}", client_order_id("quoter", run, number))


@given(st.tuples(numbers, numbers), st.tuples(numbers, numbers))
def test_no_two_orders_share_an_id(one, other):
    """Another run or another number is another id."""
    assert (client_order_id("quoter", *one) == client_order_id("quoter", *other)) == (one == other)


@given(st.lists(names, unique=True, max_size=60))
def test_every_strategy_has_a_tag_of_its_own(strategies):
    """However alike their names are."""
    tags = order_tags(strategies)

    assert list(tags) == strategies
    assert len(set(tags.values())) == len(strategies)
    assert all(re.fullmatch(r"[0-9a-z]{6}", tag) for tag in tags.values())


def test_an_id_says_whose_it_is():
    """It begins with the tag of its strategy."""
    assert client_order_id(order_tags(["Quoter-1"])["Quoter-1"], 5, 6).startswith("quoter")


@pytest.mark.parametrize(("tag", "run", "number"), [("toolong", 1, 1), ("quoter", RUN_MAX + 1, 1), ("quoter", 1, -1)])
def test_an_id_that_would_not_fit_is_a_fault_of_ours(tag, run, number):
    """It is never cut to fit: then it would not be unique."""
    with pytest.raises(MisuseError):
        client_order_id(tag, run, number)
