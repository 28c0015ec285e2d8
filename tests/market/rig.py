"""Records of books for tests, packed as the feed does."""

from hypothesis import strategies as st

from engine.market.books import Book
from engine.records import (
    FeedState,
    Kind,
    book_top_packer,
)
from engine.wide import LEVEL_BYTES

STAMP = "2026-08-02T03:35:51.661460Z"


# Quantities of a word, of a coin worth next to nothing, and the largest that a record can
# hold with such a price.
lots_of_a_level = st.integers(1, 2**63 - 1) | st.integers(2**63, 2**66) | st.integers(2**63, 2**80 - 1)
sides = st.lists(st.tuples(st.integers(1, 10**12), lots_of_a_level), max_size=25, unique_by=lambda level: level[0])


def book_record(bids, asks, publish_levels=10, *, price_decimals=1, qty_decimals=8, state=FeedState.LIVE, time=STAMP):
    """A BOOK_TOP of (ticks, lots), packed from a Book's own columns as the feed does."""
    book = Book(1000, price_decimals, qty_decimals, publish_levels)
    book.apply_units(*([_Units(*level) for level in levels] for levels in (bids, asks)))
    tops = (book.bids.top_units, book.asks.top_units)
    counts = [len(top) // LEVEL_BYTES for top in tops]
    return book_top_packer(publish_levels)(
        Kind.BOOK_TOP, state, price_decimals, qty_decimals, 7, *counts, publish_levels, time.encode(), 42, 99, *tops
    )


class _Units:
    def __init__(self, price, qty):
        self.price, self.qty = price, qty
