"""Records: what goes into a slot comes out of it, and nothing of the slot's older record."""

from decimal import Decimal, localcontext
from itertools import chain
from struct import error as StructError
from struct import pack

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.records import (
    BODY_NUMBERS_MAX,
    HEADER_BYTES,
    TEXT_BYTES_MAX,
    BookTop,
    FeedState,
    Kind,
    PairRules,
    best_prices,
    book_top_packer,
    interval_begin_of,
    pack_candle,
    pack_feed_state,
    pack_pair,
    pack_ticker,
    pack_trade,
    pack_venue_status,
    pair_index_of,
    price_reached,
    received_at_of,
    record_bytes_needed,
    unpack_candle,
    unpack_feed_state,
    unpack_pair,
    unpack_ticker,
    unpack_trade,
    unpack_venue_status,
)
from engine.timestamps import wall_ns
from engine.units import units_decimal, units_text
from engine.wide import pack_levels, pack_numbers, unpack_numbers
from tests.market.rig import STAMP, book_record, sides

pair_indexes = st.integers(0, 2**16 - 1)
decimals = st.integers(0, 18)
numbers_of_a_record = st.integers(-(2**127), 2**127 - 1)
times = st.integers(0, 2**63 - 1)
texts = st.text(max_size=60)
STAMP_NS = 1785641751_661460_000


def in_slot(record, publish_levels=10):
    """The record as a reader gets it: a slot is longer, and full of an older record's
    bytes.
    """
    slot = bytearray(b"\xa5" * record_bytes_needed(publish_levels))
    slot[: len(record)] = record
    return bytes(slot)


# --- numbers of 128 bits


@given(st.lists(st.one_of(numbers_of_a_record, st.integers(0, 2**64), st.integers(-2, 2)), max_size=11))
def test_numbers_are_packed_as_two_s_complement_of_128_bits(numbers):
    """Small ones take a shorter way to the same bytes."""
    packed = b"".join(number.to_bytes(16, "little", signed=True) for number in numbers)

    assert pack_numbers(numbers) == packed
    assert unpack_numbers(packed, 0, len(numbers)) == numbers


@pytest.mark.parametrize("number", [2**127, -(2**127) - 1])
def test_a_number_of_more_than_128_bits_is_refused(number):
    """Whatever stands beside it."""
    with pytest.raises(OverflowError):
        pack_numbers([1, number])


# --- texts and words come back


def plain_trade(**changed):
    """A trade of one tick and one lot, but for what a test changes."""
    plain = {"price_ticks": 1, "qty_lots": 1, "price_decimals": 0, "qty_decimals": 0, "side": "buy"}
    plain |= {"order_type": "limit", "trade_id": 1, "kraken_time": "", "received_at": 0}
    return pack_trade(0, **(plain | changed))


def plain_ticker(numbers):
    """A ticker of these numbers in whole units."""
    return pack_ticker(
        0, numbers, price_decimals=0, qty_decimals=0, percent_decimals=2, kraken_time=STAMP, received_at=0
    )


@given(
    pair_indexes,
    numbers_of_a_record,
    numbers_of_a_record,
    decimals,
    decimals,
    st.sampled_from(["buy", "sell"]),
    st.sampled_from(["limit", "market", "other"]),
    st.booleans(),
    times,
    times,
)
def test_trades_come_back(
    pair_index, ticks, lots, price_decimals, qty_decimals, side, order_type, history, trade_id, now
):
    """Every field of a trade comes back, whatever was in its slot before."""
    record = pack_trade(
        pair_index,
        price_ticks=ticks,
        qty_lots=lots,
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        side=side,
        order_type=order_type,
        trade_id=trade_id,
        kraken_time=STAMP,
        received_at=now,
        history=history,
    )
    trade = unpack_trade("BTC/USD", in_slot(record))

    assert (trade.price_ticks, trade.qty_lots, trade.trade_id) == (ticks, lots, trade_id)
    assert (trade.side, trade.order_type, trade.received_at, trade.history) == (side, order_type, now, history)
    assert (trade.price, trade.qty) == (units_decimal(ticks, price_decimals), units_decimal(lots, qty_decimals))
    assert trade.kraken_time == STAMP_NS
    assert (record[0], pair_index_of(record), received_at_of(record)) == (Kind.TRADE, pair_index, now)


def test_an_order_type_of_tomorrow_is_other():
    """Kraken may name more order types than limit and market."""
    record = plain_trade(side="sell", order_type="iceberg")

    assert unpack_trade("A/B", record).order_type == "other"
    assert unpack_trade("A/B", record).kraken_time == 0


@given(st.lists(numbers_of_a_record, min_size=11, max_size=11), decimals, decimals, decimals, times)
def test_tickers_come_back(numbers, price_decimals, qty_decimals, percent_decimals, now):
    """Prices come back at the price's decimals, quantities at theirs, the percentage at its
    own.
    """
    record = pack_ticker(
        3,
        tuple(numbers),
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        percent_decimals=percent_decimals,
        kraken_time=STAMP,
        received_at=now,
    )
    ticker = unpack_ticker("A/B", in_slot(record))
    found = (ticker.bid, ticker.bid_qty, ticker.ask, ticker.ask_qty, ticker.last, ticker.volume, ticker.vwap)
    places = (price_decimals, qty_decimals, price_decimals, qty_decimals, price_decimals, qty_decimals, price_decimals)

    assert found == tuple(map(units_decimal, numbers[:7], places))
    assert ticker.change_pct == units_decimal(numbers[10], percent_decimals)
    assert (ticker.low, ticker.high, ticker.change) == tuple(units_decimal(n, price_decimals) for n in numbers[7:10])
    assert (ticker.received_at, ticker.kraken_time) == (now, STAMP_NS)


@given(
    st.lists(numbers_of_a_record, min_size=8, max_size=8),
    decimals,
    decimals,
    st.sampled_from([1, 5, 21600]),
    st.tuples(*[st.booleans()] * 4),
    times,
)
def test_candles_come_back(numbers, price_decimals, qty_decimals, interval, flags, now):
    """Prices, volume, trades, the interval's begin and the candle's certainty come back."""
    closed, history, is_rest, is_whole = flags
    record = pack_candle(
        1,
        tuple(numbers),
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        interval_min=interval,
        closed=closed,
        received_at=now,
        history=history,
        is_rest=is_rest,
        is_whole=is_whole,
    )
    candle = unpack_candle("A/B", in_slot(record))

    assert (candle.open, candle.high, candle.low, candle.close, candle.vwap) == tuple(
        units_decimal(n, price_decimals) for n in numbers[:5]
    )
    assert (candle.volume, candle.trades) == (units_decimal(numbers[5], qty_decimals), numbers[6])
    assert (candle.interval_begin, candle.interval_min, candle.closed) == (numbers[7], interval, closed)
    assert (candle.history, candle.source, candle.is_whole) == (history, "rest" if is_rest else "websocket", is_whole)
    assert interval_begin_of(in_slot(record)) == numbers[7]


@given(pair_indexes, st.sampled_from(FeedState), texts, times)
def test_states_come_back_without_the_tail_of_an_older_text(pair_index, state, reason, now):
    """A short reason in a slot that held a long one is still short."""
    assume(len(reason.encode()) <= TEXT_BYTES_MAX)
    record = pack_feed_state(pair_index, state, reason, now)
    change = unpack_feed_state("A/B", in_slot(record))

    assert (change.state, change.reason, change.received_at) == (state, reason, now)
    assert pair_index_of(record) == pair_index


@given(texts, times)
def test_the_status_comes_back(system, now):
    """online, or any status that Kraken may use tomorrow."""
    assume(len(system.encode()) <= TEXT_BYTES_MAX)
    status = unpack_venue_status(in_slot(pack_venue_status(system, now)))

    assert (status.system, status.received_at) == (system, now)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), decimals, decimals)
def test_the_rules_of_a_pair_come_back(price_increment, qty_increment, qty_min, price_decimals, qty_decimals):
    """The longest numbers fit, and cost_min keeps its digits."""
    rules = PairRules(price_increment, qty_increment, qty_min, Decimal("0.50"), "work_in_progress", 5)
    record = pack_pair(5, price_decimals, qty_decimals, rules, 1)

    assert unpack_pair(in_slot(record)) == (price_decimals, qty_decimals, rules)
    assert str(unpack_pair(record)[2].cost_min) == "0.50"
    assert len(record) <= record_bytes_needed(1)


@given(st.text(alphabet="aé漢🎉", min_size=TEXT_BYTES_MAX, max_size=300))
def test_a_text_too_long_for_its_slot_is_cut_between_two_letters(reason):
    """A reason that is too long is cut, says so, and is still text."""
    record = pack_feed_state(0, FeedState.STALE, reason, 0)
    told = unpack_feed_state("A/B", in_slot(record)).reason

    assert len(record) <= HEADER_BYTES + TEXT_BYTES_MAX
    if told != reason:
        assert told.endswith("...")
        assert reason.startswith(told[:-3])


def test_a_text_that_is_no_text_is_still_told():
    """A lone surrogate, as from an operating system's error: `stale` must never be lost
    because of its reason.
    """
    record = pack_feed_state(0, FeedState.STALE, "host \udcff gone", 0)

    assert unpack_feed_state("A/B", record).reason == "host ? gone"


def test_rules_longer_than_a_slot_are_an_error_of_the_data():
    """A status of a thousand letters is Kraken's mistake: a ValueError that is counted, not
    a crash of the feed.
    """
    rules = PairRules(1, 1, 0, Decimal(0), "x" * 1000, 5)
    with pytest.raises(ValueError, match=r"the rules of a pair need \d+ bytes, a slot holds 160"):
        pack_pair(0, 1, 8, rules, 0)


@pytest.mark.parametrize("number", [2**127, -(2**127) - 1])
def test_a_number_of_more_than_128_bits_is_an_error(number):
    """A number that is too large raises and is counted where it is published; it is never
    cut.
    """
    with pytest.raises(OverflowError):
        plain_trade(price_ticks=number)
    with pytest.raises(OverflowError):
        plain_ticker((number,) * 11)
    with pytest.raises(OverflowError):
        pack_candle(0, (number,) * 8, price_decimals=0, qty_decimals=0, interval_min=1, closed=False, received_at=0)


def test_a_trade_id_of_more_than_64_bits_is_an_error():
    """Kraken's trade ids have 32 bits; a larger one is counted where it is published."""
    with pytest.raises(StructError):
        plain_trade(trade_id=2**70)


# --- sizes


@pytest.mark.parametrize("publish_levels", [1, 2, 5, 10, 25, 100, 500, 1000])
def test_every_record_fits_its_slot(publish_levels):
    """Full books, the longest texts and all words fit, at every number of published levels."""
    levels = [(10**6 + i, 1 + i) for i in range(publish_levels)]
    needed = record_bytes_needed(publish_levels)
    records = [
        book_record([(10**6 - i, 1 + i) for i in range(publish_levels)], levels, publish_levels),
        pack_feed_state(0, FeedState.STALE, "x" * 1000, 0),
        pack_venue_status("x" * 1000, 0),
        plain_ticker((1,) * BODY_NUMBERS_MAX),
    ]

    assert max(map(len, records)) == needed
    assert needed == HEADER_BYTES + max(2 * 16 * publish_levels, 16 * BODY_NUMBERS_MAX, TEXT_BYTES_MAX)
    assert len(BookTop("A/B", records[0]).bids) == publish_levels


# --- the view of a book


@given(sides, sides, st.sampled_from([1, 5, 10, 25]), decimals, decimals)
def test_a_book_top_is_the_best_of_the_book(bids, asks, publish_levels, price_decimals, qty_decimals):
    """Best first, as many as published or as there are; in ticks, exact decimals and
    Kraken's text.
    """
    record = book_record(bids, asks, publish_levels, price_decimals=price_decimals, qty_decimals=qty_decimals)
    top = BookTop("A/B", in_slot(record, publish_levels))
    best = (sorted(bids, reverse=True)[:publish_levels], sorted(asks)[:publish_levels])

    for shown, expected, first in ((top.bids, best[0], top.best_bid), (top.asks, best[1], top.best_ask)):
        assert [(level.price_ticks, level.qty_lots) for level in shown] == expected
        assert first == (shown[0] if shown else None)
        for level in shown:
            assert level.price_text == units_text(level.price_ticks, price_decimals) == format(level.price, "f")
            assert level.qty_text == units_text(level.qty_lots, qty_decimals) == format(level.qty, "f")
    assert (top.price_decimals, top.qty_decimals) == (price_decimals, qty_decimals)
    assert best_prices(record) == tuple(side[0][0] if side else None for side in best)


def test_what_a_strategy_reads_of_a_book():
    """Symbol, times, numbers, spread and mid come back."""
    top = BookTop("BTC/USD", book_record([(453283, 5), (453282, 6)], [(453286, 7)]))

    assert (top.symbol, top.state, top.update_number, top.received_at) == ("BTC/USD", FeedState.LIVE, 99, 42)
    assert top.kraken_time == STAMP_NS
    assert (str(top.best_bid.price), top.best_ask.qty_text) == ("45328.3", "0.00000007")
    assert (top.spread, top.mid) == (Decimal("0.3"), Decimal("45328.45"))
    assert repr(top) == "BookTop(BTC/USD 0.00000005 @ 45328.3 | 0.00000007 @ 45328.6)"


@pytest.mark.parametrize(("bids", "asks"), [([], []), ([(1, 1)], []), ([], [(1, 1)])])
def test_a_side_without_levels(bids, asks):
    """An empty side gives None and empty tuples, not zeros: nobody bids at 0."""
    top = BookTop("A/B", in_slot(book_record(bids, asks)))

    assert (len(top.bids), len(top.asks)) == (len(bids), len(asks))
    assert (top.best_bid is None, top.best_ask is None) == (not bids, not asks)
    assert top.spread is top.mid is None
    assert repr(top)


def test_the_middle_is_exact_in_a_thread_of_few_digits():
    """Whatever precision a strategy has set for its own arithmetic."""
    even, odd = (BookTop("BTC/USD", book_record([(635000, 1)], [(ask, 1)])) for ask in (635002, 635003))
    with localcontext(prec=3):
        middles = even.mid, odd.mid

    assert middles == (Decimal("63500.1"), Decimal("63500.15"))


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        (STAMP, STAMP_NS),
        ("2026-08-02T03:35:51.661460123Z", STAMP_NS + 123),
        ("2026-08-02T03:35:51Z", STAMP_NS - 661460000),
        ("", 0),
        ("garbage", 0),
        ("2026-13-40T99:99:99.000000Z", 0),
        ("2026-08-02T03:35:51.xyz", STAMP_NS - 661460000),
    ],
)
def test_kraken_time_in_every_spelling(text, ns):
    """Six decimals or nine; an unreadable time is 0 or its whole second: a timestamp
    decides nothing.
    """
    assert wall_ns(text) == ns
    if len(text) <= 28:
        assert BookTop("A/B", book_record([], [], time=text)).kraken_time == ns


@given(st.text(max_size=40))
def test_any_timestamp_may_be_asked_for(text):
    """Whatever Kraken wrote, even cut inside a letter: a number, never an exception in a
    strategy.
    """
    assert isinstance(wall_ns(text), int)
    assert isinstance(BookTop("A/B", book_record([], [], time=text)).kraken_time, int)


def test_the_layout_is_as_it_is_drawn():
    """Byte for byte: a board or a ring may be read by another build's tools."""
    record = book_record([(5, 6)], [(7, 8), (9, 10)], publish_levels=2)
    header = pack("<BBBBHHHH28sqq", 1, 1, 1, 8, 7, 1, 2, 2, STAMP.encode(), 42, 99)

    assert record == header + pack("<4q", 5, 6, 0, 0) + pack("<4q", 7, 8, 9, 10)


def test_the_layout_of_a_wide_level_is_as_it_is_drawn():
    """Where a number needs more than 63 bits: the price from bit 0, the quantity behind it,
    the cut, a mark.
    """
    record = book_record([(5, 2**63)], [(7, 8)], publish_levels=2)
    wide = 5 | 2**63 << 3 | 3 << 120 | 1 << 127

    assert record[HEADER_BYTES:] == wide.to_bytes(16, "little") + bytes(16) + pack("<4q", 7, 8, 0, 0)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**120 - 1), st.integers(0, 2**120 - 1)).filter(
            lambda level: sum(map(int.bit_length, level)) <= 120
        ),
        max_size=25,
    )
)
def test_any_level_of_120_bits_comes_back(levels):
    """However the bits are spread over price and quantity, beside levels of words."""
    block = pack_levels(list(chain.from_iterable(levels)))
    record = book_top_packer(25)(1, 1, 0, 0, 0, len(levels), 0, 25, b"", 0, 0, block, b"")

    assert [(level.price_ticks, level.qty_lots) for level in BookTop("A/B", record).bids] == levels


@pytest.mark.parametrize("level", [(2**100, 2**20), (2**63, 2**64), (1, 2**120)])
def test_a_level_of_more_than_120_bits_is_an_error(level):
    """A level worth 10**18 of a currency is refused, never cut."""
    with pytest.raises(OverflowError, match=r"a level of \d+ ticks and \d+ lots has more than 120 bits"):
        pack_levels([1, 1, *level])


def test_an_order_reaches_through_wide_levels():
    """The router reads the numbers that strategies read, whatever their size."""
    record = in_slot(book_record([(99, 2**63), (98, 2**70)], [(101, 2**64), (103, 2**65)]))

    assert best_prices(record) == (99, 101)
    assert price_reached(record, "buy", units_decimal(2**64, 8)) == Decimal("10.1")
    assert price_reached(record, "buy", units_decimal(2**64 + 1, 8)) == Decimal("10.3")
    assert price_reached(record, "sell", units_decimal(2**63 + 2**70 + 1, 8)) is None


@pytest.mark.parametrize(
    ("side", "lots", "reached"),
    [
        ("buy", 5, "10.1"),
        ("buy", 6, "10.3"),
        ("buy", 12, "10.3"),
        ("buy", 13, None),
        ("sell", 3, "9.9"),
        ("sell", 4, "9.8"),
    ],
)
def test_an_order_reaches_as_deep_as_its_quantity(side, lots, reached):
    """The price reached is summed level by level; beyond the published levels it is
    unknown.
    """
    record = in_slot(book_record([(99, 3), (98, 4)], [(101, 5), (103, 7)]))

    assert price_reached(record, side, Decimal(lots).scaleb(-8)) == (reached and Decimal(reached))
