"""A snapshot in the precision that Kraken has told is read in a tenth of the time: the book is the same."""

import pytest

from engine.kraken.public.book_feed import BookFeed
from engine.kraken.public.messages import decode_book, decode_exact_book
from engine.market.book import UNITS_MAX_OF_FLOAT
from engine.venue.market.book_feed import DEPTHS
from engine.venue.market.listing import listing
from engine.venue.market.pair_market import PairMarket
from engine.venue.market.pairs import PairSpec
from engine.venue.wire.stream import StreamKey
from engine.venue.wire.wire import payload_start

LISTED = listing(400, 7)
OPENED_AT = 1_785_641_751_000_000_000


def snapshot(pair: PairSpec, depth: int) -> bytes:
    frame = PairMarket(pair, 7, OPENED_AT).snapshot(StreamKey("book", pair.symbol, depth), OPENED_AT)
    return frame[payload_start(frame) :]


def feed_of(pair: PairSpec, depth: int, decimals: tuple[int, int] | None) -> BookFeed:
    feed = BookFeed(pair.symbol, 0, depth, 10, 1)
    feed.decimals_known = decimals
    return feed


def levels(feed: BookFeed) -> list[object]:
    book = feed.book
    sides = (book.bids, book.asks)
    return [*map(list, (side.levels() for side in sides)), *(side.top_units for side in sides), book.price_decimals]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("pair", LISTED[::13], ids=lambda pair: pair.symbol)
def test_the_book_is_the_one_that_every_digit_gives(pair: PairSpec, depth: int):
    """All depths, prices and precisions; what no float tells is left to the digits."""
    frame, decimals = snapshot(pair, depth), (pair.price_decimals, pair.qty_decimals)
    (plain,), (exact,) = decode_book(frame).data, decode_exact_book(frame).data
    known, digits = feed_of(pair, depth, decimals), feed_of(pair, depth, decimals)
    fits = all(
        level.price * 10 ** decimals[0] <= UNITS_MAX_OF_FLOAT and level.qty * 10 ** decimals[1] <= UNITS_MAX_OF_FLOAT
        for level in (*plain.bids, *plain.asks)
    )

    assert digits.load(exact)
    assert known.load_known(plain) is fits
    if fits:
        assert levels(known) == levels(digits)
        assert (known.snapshots, known.timestamp, known.mismatches) == (1, exact.timestamp, 0)
        known.book.check()


@pytest.mark.parametrize(
    ("decimals", "spoil"),
    [
        (None, False),  # nothing was told yet
        ((2, 8), False),  # another precision than the text's
        ((0, 8), False),
        ((1, 8), True),  # a wrong checksum is described by who reads the digits
    ],
)
def test_what_does_not_verify_so_changes_nothing(decimals: tuple[int, int] | None, spoil: bool):
    """Then every digit is read, and decides."""
    pair = LISTED[0]
    frame = snapshot(pair, 10)
    (plain,) = decode_book(frame.replace(b'"checksum":', b'"checksum":1,"was":') if spoil else frame).data
    feed = feed_of(pair, 10, decimals)
    before = levels(feed), feed.snapshots, feed.timestamp

    assert not feed.load_known(plain)
    assert (levels(feed), feed.snapshots, feed.timestamp) == before
    if not spoil:
        assert feed.load(decode_exact_book(frame).data[0])
