"""Client order ids: unique, short, and they tell whose they are."""

import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MisuseError
from engine.orders.client_order_id import RUN_MAX, client_order_ids, order_tags

runs = st.integers(0, RUN_MAX)
names = st.text("abcdefghij-_XYZ019", min_size=1, max_size=32)


@given(runs)
def test_an_id_is_eighteen_characters_that_kraken_takes(run):
    """Lower-case letters and digits only."""
    assert all(re.fullmatch(r"[0-9a-z]{18}", name) for name in islice(client_order_ids("quoter", run), 5))


def test_ids_count_the_orders_of_a_run_in_base_36():
    """Across the borders of the pairs of digits that they are made of."""
    ids = list(islice(client_order_ids("quoter", 36**3), 36**4 + 2))

    assert (ids[0], ids[35], ids[1295]) == ("quoter001000000001", "quoter001000000010", "quoter001000000100")
    assert ids[-1] == "quoter001000010002"
    assert ids == sorted(set(ids))


@given(runs, runs)
def test_no_two_runs_share_an_id(one, other):
    """Their first ones differ as their last ones do: by the run."""
    assert (next(client_order_ids("quoter", one)) == next(client_order_ids("quoter", other))) == (one == other)


@given(st.lists(names, unique=True, max_size=60))
def test_every_strategy_has_a_tag_of_its_own(strategies):
    """However alike their names are."""
    tags = order_tags(strategies)

    assert list(tags) == strategies
    assert len(set(tags.values())) == len(strategies)
    assert all(re.fullmatch(r"[0-9a-z]{6}", tag) for tag in tags.values())


def test_an_id_says_whose_it_is():
    """It begins with the tag of its strategy."""
    assert next(client_order_ids(order_tags(["Quoter-1"])["Quoter-1"], 5)).startswith("quoter")


@pytest.mark.parametrize(("tag", "run"), [("toolong", 1), ("short", 1), ("quoter", RUN_MAX + 1), ("quoter", -1)])
def test_an_id_that_would_not_fit_is_a_fault_of_ours(tag, run):
    """It is never cut to fit: then it would not be unique."""
    with pytest.raises(MisuseError):
        client_order_ids(tag, run)
