"""Records of books for tests, packed as the feed does."""

from engine.market.books import Book
from engine.records import (
    FeedState,
    Kind,
    book_top_packer,
)
from engine.wide import LEVEL_BYTES

STAMP = "2026-08-02T03:35:51.661460Z"


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
