"""Book against a naive reference, Kraken's own examples, and every genuine message that we have."""

import gc
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from engine.market import book as portable
from engine.market.book import UNITS_MAX_OF_FLOAT, UnitsTooLarge
from engine.native import CORE
from engine.wide import pack_levels
from tests.market.naive_book import NaiveBook, read, sides, text

KRAKEN = Path(__file__).parent.parent / "data" / "kraken"
CAPTURES = (
    "capture_crossbook_kraken_btcusd_sample.jsonl",
    "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl",
)
DEPTHS = (10, 25, 100, 500, 1000)
WORD_MAX = 2**63 - 1
LEVEL_BITS_MAX = 120  # of price and quantity of a level that is published


BOOKS = {"portable": portable.Book} | ({} if CORE is None else {"native": CORE.Book})
Book = portable.Book  # of the test at hand: see `implementation`
for_either_book = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True, params=BOOKS.values(), ids=BOOKS.keys())
def implementation(request, monkeypatch):
    """Every test of this file with each implementation."""
    monkeypatch.setattr(request.module, "Book", request.param)


class Level(NamedTuple):
    """What Book.apply takes: numbers as floats, or as units."""

    price: float
    qty: float


def floats(levels):
    """Wire texts as the decoder gives them."""
    return [Level(float(price), float(qty)) for price, qty in levels]


def units(levels, decimals):
    """Wire texts as ticks and lots."""
    return [Level(*(int(Decimal(n).scaleb(d)) for n, d in zip(level, decimals, strict=True))) for level in levels]


def apply(book, bids, asks):
    """As a session applies a message: as floats, and from the text when those are not exact."""
    try:
        return book.apply(floats(bids), floats(asks))
    except UnitsTooLarge:
        decimals = (book.price_decimals, book.qty_decimals)
        book.apply_units(units(bids, decimals), units(asks, decimals))
        return book.checksum()


def texts(side, book):
    """A side of a Book as wire texts, best first."""
    return [(text(ticks, book.price_decimals), text(lots, book.qty_decimals)) for ticks, lots in side.levels()]


def assert_same(book, naive):
    """Equal levels, equal checksum, equal verdict on crossing, and every invariant."""
    assert texts(book.bids, book) == naive.levels("bids")
    assert texts(book.asks, book) == naive.levels("asks")
    assert book.checksum() == naive.checksum()
    assert book.crossed() == naive.crossed()
    book.bids.check()
    book.asks.check()
    if not naive.crossed():
        book.check()


class BookMachine(RuleBasedStateMachine):
    """Any message, also such as Kraken never sends; `naive` says what must come of it."""

    @initialize(
        depth=st.sampled_from(DEPTHS),
        decimals=st.sampled_from([(0, 8), (1, 8), (5, 5), (7, 0), (10, 8)]),
        publish_levels=st.sampled_from([1, 5, 10, 25]),
    )
    def start(self, depth, decimals, publish_levels):
        self.decimals = decimals
        self.book = Book(depth, *decimals, publish_levels)
        self.naive = NaiveBook(depth)
        self.publish_levels = publish_levels
        # Prices lie around here; far enough from zero for the deepest ladder.
        self.mid = 5_000

    def message(self, bids, asks):
        """Apply one message to both books; (ticks, lots) in, texts on the wire."""
        wire = [
            [(text(ticks, self.decimals[0]), text(lots, self.decimals[1])) for ticks, lots in side]
            for side in (bids, asks)
        ]
        self.naive.apply(*wire)
        try:
            checksum = apply(self.book, *wire)
        except OverflowError:
            assert self.top_bits() > LEVEL_BITS_MAX  # no record can carry this top
            self.forget()
        else:
            assert self.top_bits() <= LEVEL_BITS_MAX
            assert checksum == self.naive.checksum()

    def top_bits(self):
        """The bits of the largest of the published levels, where one of its numbers is larger than a word."""
        top = self.naive.levels("bids")[: self.publish_levels] + self.naive.levels("asks")[: self.publish_levels]
        levels = [[int(number.replace(".", "")) for number in level] for level in top]
        return max((sum(map(int.bit_length, level)) for level in levels if max(level) > WORD_MAX), default=0)

    @rule()
    def forget(self):
        self.book.clear()
        self.naive = NaiveBook(self.naive.depth)

    @rule(bids=st.sampled_from([0, 1, 9, 10, 11, 25, 1000]), asks=st.sampled_from([0, 1, 9, 10, 11, 25, 1000]))
    def snapshot(self, bids, asks):
        """As many levels as that, or as the depth allows."""
        self.forget()
        depth = self.naive.depth
        self.message(
            [(self.mid - 1 - 2 * i, 10 + i) for i in range(min(bids, depth))],
            [(self.mid + 1 + 2 * i, 10 + i) for i in range(min(asks, depth))],
        )

    @rule(data=st.data())
    def update(self, data):
        """A few entries near the top: absent levels deleted, prices twice, both sides, crossings between them."""
        near = st.tuples(st.integers(-30, 30), st.sampled_from([0, 0, 1, 7, 5_100_000_000]))
        entries = st.lists(near, max_size=9)
        bids, asks = data.draw(entries), data.draw(entries)
        self.message([(self.mid + o, lots) for o, lots in bids], [(self.mid + o, lots) for o, lots in asks])

    @rule(count=st.integers(1, 30))
    def sweep(self, count):
        """An aggressive buyer consumes asks and rests: bids come first on the wire, so the book is crossed between."""
        swept = [ticks for ticks, _ in self.book.asks.levels()][:count]
        if swept:
            self.message([(swept[-1], 3)], [(ticks, 0) for ticks in swept])

    @rule(side=st.sampled_from(["bids", "asks"]), lots=st.integers(0, 9))
    def worst(self, side, lots):
        """The last level of the window changes, goes, or is pushed out by a better one."""
        levels = [ticks for ticks, _ in getattr(self.book, side).levels()]
        if levels:
            entries = [(levels[-1], lots), ((levels[0] + levels[-1]) // 2, 4)]
            self.message(*((entries, []) if side == "bids" else ([], entries)))

    @rule(
        ticks=st.sampled_from([2**50 - 1, 2**50 + 1, 2**53 + 1, WORD_MAX, 2**63, 2**70 + 3]),
        lots=st.sampled_from([0, 1, 2**50 + 1, WORD_MAX, 2**64 + 5, 2**80]),
        deleted=st.integers(0, 12),
    )
    def junk(self, ticks, lots, deleted):
        """Somebody offers far away, or far too much; in the same message the best asks may go."""
        gone = [(level[0], 0) for level in self.book.asks.levels()][:deleted]
        self.message([], [*gone, (ticks, lots), (ticks + 1, 1)])

    @invariant()
    def same_book(self):
        assert_same(self.book, self.naive)

    @invariant()
    def top_units_are_the_published_levels(self):
        for side in (self.book.bids, self.book.asks):
            top = [number for level in list(side.levels())[: self.publish_levels] for number in level]
            assert side.top_units == pack_levels(top)


def test_any_messages_leave_the_book_that_the_naive_one_has():
    """Snapshots, updates, sweeps, the edge of the window, and numbers of every size, in any order."""
    run_state_machine_as_test(BookMachine)


# --- Kraken's own examples


def test_the_worked_example_of_the_book_guide():
    """The guide's ladder gives 3310070434, from floats and from units."""
    (entry,) = read((KRAKEN / "doc_checksum_v2_official_example.jsonl").read_text())["data"]
    by_floats, by_units = Book(10, 1, 8), Book(10, 1, 8)
    checksum = by_floats.apply(*map(floats, sides(entry)))
    by_units.apply_units(*(units(side, (1, 8)) for side in sides(entry)))

    assert checksum == by_floats.checksum() == by_units.checksum() == 3310070434
    by_floats.check()
    by_units.check()


@pytest.mark.parametrize("file", ["doc_book_examples.jsonl", "doc_book_examples_padded.jsonl"])
def test_the_matic_pair_of_the_book_page(file):
    """As printed, without trailing zeros, and padded: at the pair's precision it is the same book."""
    book = Book(10, 4, 8)
    checksums = [
        book.apply(*map(floats, sides(read(line)["data"][0]))) for line in (KRAKEN / file).read_text().splitlines()
    ]

    assert checksums == [2439117997, 2114181697]


def test_the_matic_pair_as_printed_does_not_verify_as_text():
    """Why precision matters: the text of the page, taken as it stands, gives another number."""
    naive = NaiveBook(10)
    naive.apply(*sides(read((KRAKEN / "doc_book_examples.jsonl").read_text().splitlines()[0])["data"][0]))

    assert naive.checksum() == 3830085102


@pytest.mark.parametrize(("file", "messages"), [(CAPTURES[0], 2052), (CAPTURES[1], 2962)])
def test_every_genuine_message_verifies_twice(file, messages):
    """Book and the text-based checker both agree with Kraken after each message, and with one another."""
    books, naives, verified = {}, {}, 0
    for frame in map(read, (KRAKEN / file).read_text().splitlines()):
        if frame.get("channel") != "book":
            continue
        (entry,) = frame["data"]
        symbol = entry["symbol"]
        if frame["type"] == "snapshot":
            price, qty = entry["bids"][0]["price"], entry["bids"][0]["qty"]
            decimals = (len(price.partition(".")[2]), len(qty.partition(".")[2]))
            books[symbol] = Book(len(entry["bids"]), *decimals)
            naives[symbol] = NaiveBook(len(entry["bids"]))
        book, naive = books[symbol], naives[symbol]
        naive.apply(*sides(entry))
        checksum = book.apply(*map(floats, sides(entry)))
        verified += checksum == naive.checksum() == int(entry["checksum"])
        assert_same(book, naive)

    assert verified == messages


# --- single rules


def ladder(book, levels, *, mid=1000):
    """Fill both sides with so many levels, one tick apart."""
    book.apply_units(
        [Level(mid - 1 - i, 1 + i) for i in range(levels)], [Level(mid + 1 + i, 1 + i) for i in range(levels)]
    )


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_better_level_pushes_the_worst_out(depth):
    """Kraken sends no delete for what falls out of the window; we drop it, and its price may come back."""
    book = Book(depth, 0, 0)
    ladder(book, depth, mid=5000)
    worst = list(book.asks.levels())[-1]
    book.apply_units([], [Level(5001, 0), Level(5000 + depth + 7, 9)])
    book.apply_units([], [Level(5001, 5)])
    pushed_out = list(book.asks.levels())
    book.apply_units([], [Level(5001, 0), Level(worst[0] + 7, 8)])

    assert len(pushed_out) == depth
    assert pushed_out[-1] == worst
    assert list(book.asks.levels())[-1] == (worst[0] + 7, 8)
    book.check()


def test_of_two_entries_for_one_price_the_last_wins():
    """Entries are applied in the order of the array."""
    book = Book(10, 0, 0)
    book.apply([Level(5, 1), Level(5, 0), Level(5, 3), Level(4, 2), Level(4, 0)], [])

    assert list(book.bids.levels()) == [(5, 3)]
    book.check()


def test_an_empty_book_has_the_checksum_of_nothing():
    """Nothing to join, nothing crossed, no best levels."""
    book = Book(10, 2, 8)

    assert book.checksum() == book.apply([], []) == 0
    assert book.bids.best() is book.asks.best() is None
    assert not book.crossed()
    book.check()


@pytest.mark.parametrize("bid_and_ask", [(5, 5), (6, 5)])
def test_locked_and_crossed_are_both_crossed(bid_and_ask):
    """The best bid must be below the best ask: equal is as wrong as above."""
    bid, ask = bid_and_ask
    book = Book(10, 0, 0)
    book.apply([Level(bid, 1)], [Level(ask, 1)])

    assert book.crossed()
    with pytest.raises(AssertionError):
        book.check()


@pytest.mark.parametrize("first_deleted", [0, 11])
def test_a_message_that_begins_as_floats_and_ends_as_units_is_applied_once(first_deleted):
    """The best ask is deleted before the number that is too large is met: the checksum must not remember it."""
    book, naive = Book(25, 1, 8), NaiveBook(25)
    bids = [(text(900 - i, 1), text(1, 8)) for i in range(25)]
    asks = [(text(1000 + i, 1), text(1, 8)) for i in range(25)]
    apply(book, bids, asks)
    naive.apply(bids, asks)
    message = [(asks[first_deleted][0], text(0, 8)), (text(2**50 + 1, 1), text(1, 8))]
    checksum = apply(book, [], message)
    naive.apply([], message)

    assert checksum == naive.checksum()
    assert_same(book, naive)


def test_an_absurd_level_stays_out_of_the_top_or_is_an_error():
    """Beyond the published levels it is only carried; among them no record can carry it."""
    book = Book(25, 0, 0)
    ladder(book, 12)
    book.apply_units([], [Level(2**64, 2**70)])
    book.check()

    assert list(book.asks.levels())[-1] == (2**64, 2**70)
    with pytest.raises(OverflowError):
        book.apply_units([], [Level(1001 + i, 0) for i in range(3)])


@for_either_book
@given(st.integers(0, 10), st.integers(1, UNITS_MAX_OF_FLOAT))
def test_floats_give_exact_integers_up_to_their_bound(decimals, number):
    """2**50 units are found again from the nearest float, at every precision that pairs have."""
    book = Book(10, decimals, decimals)
    book.apply(floats([(text(number, decimals), text(number, decimals))]), [])

    assert list(book.bids.levels()) == [(number, number)]


@for_either_book
@given(st.integers(0, 10), st.integers(UNITS_MAX_OF_FLOAT + 1, 2**90))
def test_beyond_that_bound_floats_are_refused(decimals, number):
    """Before anything has changed: the caller reads the text again."""
    assume(number > UNITS_MAX_OF_FLOAT + 1 or decimals == 0)
    book = Book(10, decimals, decimals)
    with pytest.raises(UnitsTooLarge):
        book.apply([], floats([(text(number, decimals), "1")]))

    assert len(book.asks) == 0
    book.check()


def test_more_levels_than_sortedlist_keeps_in_one_list():
    """A message larger than any depth: it splits its keys at 2,000, and a place counts over all of its lists."""
    book, naive = Book(1000, 0, 0), NaiveBook(1000)
    asks = [(str(5000 + i), "1") for i in range(3000)]
    for message in (asks[1:], [asks[0]], [(asks[0][0], "0"), asks[1000]]):
        checksum = book.apply([], floats(message))
        naive.apply([], message)
        assert_same(book, naive)

    assert checksum == naive.checksum()


@pytest.mark.parametrize(("number", "error"), [(float("nan"), ValueError), (float("inf"), OverflowError)])
@pytest.mark.parametrize("is_price", [True, False])
def test_what_is_no_number_is_an_error_and_leaves_the_book_whole(number, error, is_price):
    """JSON has neither, and 1e999 is one."""
    book = Book(10, 0, 0)
    ladder(book, 12)
    before = book.checksum()
    with pytest.raises(error):
        book.apply([Level(number, 1) if is_price else Level(1, number)], [])

    assert book.checksum() == before
    book.check()


def test_negative_numbers_are_kept_as_they_come():
    """Kraken has none; what came is in the book, and the checksum will be another than Kraken's."""
    book, oracle = Book(10, 0, 0), portable.Book(10, 0, 0)
    for each in (book, oracle):
        each.apply([Level(5, 1)], [Level(7, 1), Level(6, -2), Level(-3, 4)])
    by_floats = list(book.asks.levels())
    book.clear()
    book.apply_units([Level(5, 1)], [Level(7, 1), Level(6, -2)])

    assert by_floats == list(oracle.asks.levels())
    assert list(book.asks.levels()) == [(6, -2), (7, 1)]


def test_a_wide_book_goes_on_as_one_and_is_plain_again_when_cleared():
    """A number beyond 63 bits anywhere: updates, the other side, and everything that is asked of the book."""
    book, naive = Book(25, 0, 0), NaiveBook(25)
    for bids, asks in (
        ([("5", "1")], [("7", "2"), ("8", "3")]),
        ([], [(str(2**70), "9")]),
        ([("4", "6"), ("5", "0")], [("7", "0")]),
        ([], [(str(2**70), "0")]),
    ):
        naive.apply(bids, asks)
        assert apply(book, bids, asks) == naive.checksum()
        assert_same(book, naive)
        assert (len(book.bids), len(book.asks)) == (len(naive.levels("bids")), len(naive.levels("asks")))
        assert book.asks.best() == next(iter(book.asks.levels()))
    book.clear()
    ladder(book, 3)

    assert list(book.asks.levels()) == [(1001, 1), (1002, 2), (1003, 3)]
    book.check()


def test_room_that_one_large_message_took_is_given_back():
    """Twenty thousand levels at once leave a book of ten."""
    book = Book(10, 0, 0)
    levels = [Level(100_000 + i, 1) for i in range(20_000)]
    gc.collect()
    tracemalloc.start()  # each allocation is ten times as slow from here on
    before, _ = tracemalloc.get_traced_memory()
    book.apply([], levels)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(book.asks) == 10
    assert after - before < 100_000  # of 320 kB


def test_clear_forgets_everything_but_the_plan():
    """A snapshot replaces the book wholesale; depth and published levels stay, wide numbers do not."""
    book = Book(25, 0, 0, publish_levels=5)
    ladder(book, 25)
    book.apply_units([], [Level(2**70, 1)])
    book.clear()
    ladder(book, 30)

    assert (len(book.bids), len(book.asks)) == (25, 25)
    assert len(book.bids.top_units) == len(book.asks.top_units) == 5 * 16
    book.check()


def test_a_thousand_books_of_ten_levels_fit_in_five_megabytes():
    """Five kilobytes a pair, both sides full."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    books = [Book(10, 1, 8) for _ in range(100)]
    for number, book in enumerate(books):
        ladder(book, 10, mid=1_000_000 + 1000 * number)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (after - before) / len(books) < 5_000
