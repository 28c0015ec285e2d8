"""The ladder: levels of the book, and our own orders in it."""

from decimal import Decimal

from engine.orders.life import OrderState
from engine.screen.ladder import ladder_rows
from tests.screen.rig import book_of, shown_order

BOOK = book_of([("100.0", "2"), ("99.9", "4"), ("99.7", "1")], [("100.2", "1"), ("100.3", "8")])


def rows(*orders, levels=3, bounds=None):
    """The ladder of the book with these orders."""
    return ladder_rows(BOOK, orders, levels, (bounds or {}).get)


def test_it_goes_from_the_highest_ask_to_the_lowest_bid():
    """Each bar is a share of the largest quantity."""
    assert [(row.side, str(row.price), row.share) for row in rows()] == [
        ("ask", "100.3", 1.0), ("ask", "100.2", 0.125), ("bid", "100.0", 0.25), ("bid", "99.9", 0.5),
        ("bid", "99.7", 0.125),
    ]  # fmt: skip


def test_our_orders_are_in_their_levels_with_what_is_left_of_them():
    """Several of one price are added up; the bound is that of the first."""
    offer = shown_order("c", side="sell", limit=Decimal("100.2"))
    bounds = {"a": Decimal(3), "b": Decimal(2)}
    ladder = rows(shown_order("a", filled=Decimal("0.2")), shown_order("b"), offer, bounds=bounds)
    own = {(row.side, str(row.price)): (row.own, row.ahead_max) for row in ladder if row.own}

    assert own == {("bid", "100.0"): (Decimal("0.8"), Decimal(2)), ("ask", "100.2"): (Decimal("0.5"), None)}


def test_a_price_of_ours_that_the_book_does_not_have_yet_has_a_row():
    """Within the levels shown; one beyond them has none."""
    ladder = rows(shown_order("a", limit=Decimal("99.8")), shown_order("b", limit=Decimal("99.0")))

    assert [str(row.price) for row in ladder if row.side == "bid"] == ["100.0", "99.9", "99.8"]
    assert [row.qty for row in ladder if row.own] == [None]


def test_there_are_never_more_rows_than_levels():
    """Whatever the number of our own prices."""
    orders = [shown_order(str(tick), limit=Decimal("100.0") - Decimal(tick) / 1000) for tick in range(200)]
    assert len([row for row in rows(*orders, levels=2) if row.side == "bid"]) == 2
    assert len(ladder_rows(book_of([], []), orders, 2, {}.get)) == 2


def test_orders_that_do_not_stand_in_the_book_are_not_in_the_ladder():
    """On their way, in doubt, or behind a trigger."""
    ladder = rows(
        shown_order("a", state=OrderState.SENT), shown_order("b", state=OrderState.UNKNOWN),
        shown_order("c", order_type="take-profit-limit"),
    )  # fmt: skip
    assert [row for row in ladder if row.own] == []
