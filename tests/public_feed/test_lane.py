"""The lane publishes what the session's way would have published, byte for byte, and leaves it the rest."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.kraken.public.book_feed import BookFeed, UnitsLevel
from engine.kraken.public.messages import decode_book, decode_exact_book
from engine.market.book import Book as PortableBook
from engine.native import CORE, PORTABLE_VARIABLE
from engine.records import FeedState
from engine.ring import BoardReader
from engine.ring import board as portable_board
from engine.ring import ring as portable_ring
from engine.units import NS_PER_MS, NS_PER_S
from tests.examples import times
from tests.public_feed.rig import Market, flip_checksum, frames, trade

needs_lane = pytest.mark.skipif(CORE is None, reason="the lane is compiled")

KRAKEN = Path(__file__).parents[1] / "data" / "kraken"
CAPTURES = {
    "depth 10, two pairs": (KRAKEN / "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"),
    "depth 25": (KRAKEN / "capture_crossbook_kraken_btcusd_sample.jsonl"),
    "examples of the documentation": (KRAKEN / "doc_book_examples_padded.jsonl"),
}
CAPTURED = frames()
UPDATES = [frame for frame in CAPTURED if frame.startswith(b'{"channel":"book","type":"update"')]
SNAPSHOT_AT = next(index for index, frame in enumerate(CAPTURED) if b'"snapshot","data"' in frame)
PORTABLE_WRITERS = (portable_ring.Publisher, portable_board.BoardWriter)
MAINTENANCE, ONLINE = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"%s","api_version":"v2",'
    b'"connection_id":4421894013101914413}]}' % system
    for system in (b"maintenance", b"online")
)
COUNTED = sorted(
    {*BookFeed.__slots__, "state", "streaming", "timestamp", "heard_at", "updates"} - {"changed", "subscription"}
)


def board_of(market):
    """What readers find on the board: how often a slot was stored may differ."""
    reader = BoardReader(market.board)
    return [reader.read(index) for index in range(reader.slot_count)], reader.complete_upto


def state_of(market):
    """Everything that others see of a feed, and everything that it goes on from."""
    feeds = {
        symbol: {name: getattr(feed, name) for name in COUNTED}
        | {"book": [list(side.levels()) for side in (feed.book.bids, feed.book.asks)], "checksum": feed.book.checksum()}
        for symbol, feed in market.session.feeds.items()
    }
    return bytes(market.ring), board_of(market), feeds, market.session.heard_at, market.counters.snapshot()


def both(**options):
    """The same market with the lane and without."""
    with_lane, without = Market(**options), Market(writers=PORTABLE_WRITERS, **options)
    assert with_lane.feed.lane is not None
    assert without.feed.lane is None
    return with_lane, without


def assert_same(with_lane, without):
    """Ring, board, books and counters."""
    ours, theirs = state_of(with_lane), state_of(without)
    assert ours[2:] == theirs[2:]
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]


@needs_lane
@pytest.mark.parametrize("capture", CAPTURES.values(), ids=CAPTURES.keys())
@pytest.mark.parametrize("burst", [1, 7, 64])
def test_a_capture_leaves_the_same_ring_and_board(capture, burst):
    """Every byte of the ring, all that is read from the board, counters and books; every update is the lane's."""
    lines = [line.rstrip(b"\r") for line in capture.read_bytes().splitlines()]
    symbols = tuple(
        dict.fromkeys(
            entry["symbol"]
            for line in lines
            for entry in data_of(line)
            if isinstance(entry, dict) and "symbol" in entry
        )
    )
    with_lane, without = both(symbols=symbols, slot_count=4096)
    for start in range(0, len(lines), burst):
        for market in (with_lane, without):
            market.take(*lines[start : start + burst])
        assert with_lane.ring == without.ring
        assert board_of(with_lane) == board_of(without)

    assert_same(with_lane, without)
    updates = sum(b'"channel":"book","type":"update"' in line for line in lines)
    assert with_lane.feed.lane.taken == updates


def data_of(line):
    """The entries of a frame that has some."""
    data = json.loads(line).get("data", [])
    return data if isinstance(data, list) else []


REPLAY = """
import sys
from hashlib import sha256
from pathlib import Path
from tests.public_feed.rig import Market
from engine.ring import BoardReader
for path in sys.argv[1:]:
    market = Market(symbols=("BTC/USD", "ETH/USD", "MATIC/USD"), slot_count=4096)
    for line in Path(path).read_bytes().splitlines():
        market.take(line)
    board = BoardReader(market.board)
    records = b"".join(board.read(index) or b"" for index in range(board.slot_count))
    counts = sorted(market.counters.snapshot().items())
    print(sha256(market.ring).hexdigest(), sha256(records).hexdigest(), board.complete_upto, counts)
"""


@needs_lane
def test_both_implementations_leave_the_same():
    """A process that is compiled throughout, and one that is portable throughout."""
    command = [sys.executable, "-c", REPLAY, *map(str, CAPTURES.values())]
    told = [
        subprocess.run(
            command, env=os.environ | {PORTABLE_VARIABLE: value}, stdout=subprocess.PIPE, check=True, cwd=Path.cwd()
        ).stdout
        for value in ("0", "1")
    ]
    lines = [[line for line in text.splitlines() if line[:1].isalnum() and b" [(" in line] for text in told]

    assert len(lines[0]) == len(CAPTURES)
    assert lines[0] == lines[1]


# What may happen at a frame of the stream, instead of it or before it.
HAPPENINGS = st.sampled_from(
    ["drop", "twice", "wrong checksum", "blank", "cut", "maintenance", "online", "reconnect", "snapshots", "poll",
     "silence", "trade", "burst ends", "other symbol", "two entries", "crossed", "wide"]
)  # fmt: skip


def happen(market, what, frame):
    """One thing that the wire, the venue or time may do."""
    match what:
        case "drop":
            pass
        case "twice":
            market.take(frame, frame, end_burst=False)
        case "wrong checksum":
            market.take(flip_checksum(frame) if b"checksum" in frame else frame, end_burst=False)
        case "blank":
            market.take(frame.replace(b",", b", ", 3), end_burst=False)
        case "cut":
            market.take(frame[: len(frame) // 2], end_burst=False)
        case "maintenance" | "online":
            market.take(MAINTENANCE if what == "maintenance" else ONLINE, frame, end_burst=False)
        case "reconnect":
            now = market.clock.mono_ns()
            if events := market.session.closed(now, "cut"):
                market.feed.on_events(events)
            market.feed.on_burst_end()
            market.session.opened(now)
        case "snapshots":
            market.take(
                *(each for each in CAPTURED[: SNAPSHOT_AT + 12] if b'"snapshot","data"' in each), end_burst=False
            )
        case "poll" | "silence":
            market.clock.advance(50 * NS_PER_MS if what == "poll" else 70 * NS_PER_S)
            if events := market.session.poll(market.clock.mono_ns()):
                market.feed.on_events(events)
            market.feed.do_work()
            market.take(frame, end_burst=False)
        case "trade":
            market.take(frame, trade("BTC/USD", 999_000_000), frame, end_burst=False)
        case "burst ends":
            market.take(frame)
        case "other symbol":
            market.take(frame.replace(b"BTC/USD", b"DOGE/USD").replace(b"ETH/USD", b"BTC/USD"), end_burst=False)
        case "two entries":
            entry = frame[frame.find(b'"data":[') + 8 : -2]
            market.take(frame.replace(entry, entry + b"," + entry), end_burst=False)
        case "crossed":
            market.take(frame.replace(b'"bids":[]', b'"bids":[{"price":99999999.9,"qty":1.00000000}]'), end_burst=False)
        case "wide":
            market.take(frame.replace(b'"qty":0.', b'"qty":999999999990.', 1), end_burst=False)


@needs_lane
@times(2)
@given(
    st.lists(st.tuples(st.integers(SNAPSHOT_AT, SNAPSHOT_AT + 120), HAPPENINGS), max_size=12),
    st.integers(1, 9),
    st.sampled_from([0, 5 * NS_PER_S]),
)
@example([(SNAPSHOT_AT + 20, "maintenance"), (SNAPSHOT_AT + 30, "online")], 5, 0)
@example([(SNAPSHOT_AT + 20, "wrong checksum"), (SNAPSHOT_AT + 21, "snapshots")], 5, 0)
def test_whatever_happens_the_lane_changes_nothing(happenings, burst, patience_ns):
    """Gaps, wrong checksums, other forms, maintenance, new connections, pairs that are waited for: always the same
    ring and board as without it."""
    with_lane, without = both(slot_count=256, pair_patience_ns=patience_ns)
    at = {}
    for index, what in happenings:
        at.setdefault(index, []).append(what)
    for number, frame in enumerate(CAPTURED[: SNAPSHOT_AT + 130]):
        for market in (with_lane, without):
            for what in at.get(number, ()):
                happen(market, what, frame)
            if number not in at:
                market.take(frame, end_burst=False)
            if number % burst == 0:
                market.feed.on_burst_end()
        assert with_lane.session.to_send() == without.session.to_send()
        if number % burst == 0:
            assert_same(with_lane, without)
    for market in (with_lane, without):
        market.feed.on_close()

    assert_same(with_lane, without)


@needs_lane
def test_books_that_wait_for_their_pair_are_not_the_lanes():
    """Nothing of the pair is in the ring before Kraken has told of it, or the wait is over."""
    with_lane, without = both(pair_patience_ns=5 * NS_PER_S)
    for market in (with_lane, without):
        market.take(*CAPTURED[: SNAPSHOT_AT + 20])
    waiting = with_lane.feed.lane.taken
    for market in (with_lane, without):
        market.clock.advance(6 * NS_PER_S)
        market.feed.do_work()
        market.take(*CAPTURED[SNAPSHOT_AT + 20 : SNAPSHOT_AT + 40])

    assert waiting == 0
    assert with_lane.feed.lane.taken > 10
    assert_same(with_lane, without)


@needs_lane
def test_the_end_of_the_engine_is_the_end_of_the_lane():
    """The last word on each pair is the market's: what comes while we close is not told."""
    with_lane, without = both()
    for market in (with_lane, without):
        market.take(*CAPTURED[: SNAPSHOT_AT + 20])
        market.feed.begin_close()
        market.take(*CAPTURED[SNAPSHOT_AT + 20 : SNAPSHOT_AT + 40])

    assert with_lane.feed.lane.taken > 10
    assert_same(with_lane, without)


@needs_lane
def test_a_crossed_book_is_the_sessions_though_its_checksum_is_right():
    """It is counted as a crossing, and the book is in doubt."""
    with_lane, without = both()
    for market in (with_lane, without):
        market.take(*CAPTURED[: SNAPSHOT_AT + 20])
    feed = without.session.feeds["BTC/USD"]
    book = PortableBook(10, feed.book.price_decimals, feed.book.qty_decimals)
    levels = [[UnitsLevel(*level) for level in side.levels()] for side in (feed.book.bids, feed.book.asks)]
    crossing = UnitsLevel(levels[1][0].price + 1, 100_000_000)
    book.apply_units([*levels[0], crossing], levels[1])
    frame = (
        f'{{"channel":"book","type":"update","data":[{{"symbol":"BTC/USD","bids":[{{"price":{crossing.price / 10},'
        f'"qty":1.00000000}}],"asks":[],"checksum":{book.checksum()},"timestamp":"2026-07-07T23:00:04.000677Z"}}]}}'
    ).encode()
    taken = with_lane.feed.lane.taken
    for market in (with_lane, without):
        market.take(frame)

    assert CORE.scanned(frame) is not None
    assert with_lane.feed.lane.taken == taken
    assert with_lane.session.feeds["BTC/USD"].crossings == 1
    assert_same(with_lane, without)


@needs_lane
def test_held_back_books_are_not_the_lanes():
    """`conflate = "burst"` publishes the last of each pair; the lane publishes each."""
    assert Market(conflate="burst").feed.lane is None


def test_without_the_lane_the_session_takes_every_frame():
    """Portable writers, or no extension."""
    market = Market(writers=PORTABLE_WRITERS)

    assert market.feed.receive == market.session.receive


# --- the scanner


def as_msgspec_reads(frame):
    """The frame in the scanner's terms, its numbers from their text."""
    (entry,) = decode_exact_book(frame).data
    assert decode_book(frame).data[0].symbol == entry.symbol

    def numbers(level):
        for number in (level.price, level.qty):
            sign, digits, exponent = number.as_tuple()
            assert sign == 0
            yield int("".join(map(str, digits)))
            yield -exponent

    sides = [[tuple(numbers(level)) for level in side] for side in (entry.bids, entry.asks)]
    return entry.symbol.encode(), *sides, entry.checksum, entry.timestamp.encode()


@needs_lane
def test_every_genuine_update_is_recognised():
    """The scanner and msgspec read the same of each."""
    for frame in UPDATES:
        assert CORE.scanned(frame) == as_msgspec_reads(frame)


SNIPPETS = st.sampled_from(
    [b"", b"0", b"00", b".", b"-", b"1e5", b"E", b" ", b",", b":", b'"', b"\\", b"{", b"}", b"[", b"]", b"\0", b"\xc3",
     b"9" * 19, b"null", b'{"price":1.0,"qty":2.0}', b',{"price":1,"qty":2}', b'"symbol"', b',"data":[]', b"T", b"Z"]
)  # fmt: skip


@st.composite
def mutated(draw):
    """A genuine update with some bytes replaced, cut out or put in."""
    frame = draw(st.sampled_from(UPDATES[:200]))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(frame)))
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 5, 20]))
        frame = frame[:start] + draw(SNIPPETS | st.binary(max_size=2)) + frame[start + length :]
    return frame


@needs_lane
@times(20)
@given(mutated())
def test_what_the_scanner_accepts_it_reads_as_msgspec_does(frame):
    """What it does not accept is the session's to judge."""
    found = CORE.scanned(frame)

    assert found is None or found == as_msgspec_reads(frame)


@needs_lane
@given(st.integers(0, 10**18 - 1), st.integers(0, 18), st.integers(0, 2**32 - 1))
def test_numbers_of_eighteen_digits_are_read_exactly(digits, decimals, checksum):
    """As Decimal reads them; more digits are not the scanner's."""
    text = f"{Decimal(digits).scaleb(-decimals):f}".encode()
    frame = (
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":%s,"qty":1}],"asks":[],'
        b'"checksum":%d,"timestamp":""}]}' % (text, checksum)
    )
    found = CORE.scanned(frame)

    if len(text.replace(b".", b"")) > 18:
        assert found is None
    else:
        assert found == as_msgspec_reads(frame)


@needs_lane
@pytest.mark.parametrize(
    "number", [b"01", b"1.", b".5", b"-1", b"1e5", b"+1", b"", b"1.0.0", b"00", b"1234567890123456789"]
)
def test_other_numbers_are_not_the_scanners(number):
    """JSON forbids some, the others are rare: the general decoder decides."""
    frame = (
        b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":%s,"qty":1}],"asks":[],'
        b'"checksum":1,"timestamp":""}]}'
    )

    assert CORE.scanned(frame % b"1") is not None
    assert CORE.scanned(frame % number) is None


@needs_lane
@pytest.mark.parametrize("state", [FeedState.STALE, FeedState.UNTRUSTED])
def test_the_lane_takes_only_live_books_that_stream(state):
    """Whoever put a book in doubt, it is the session's from that moment on."""
    market = Market()
    market.take(*CAPTURED[: SNAPSHOT_AT + 20])
    frame = next(frame for frame in CAPTURED[SNAPSHOT_AT + 20 :] if frame in UPDATES)
    (symbol,) = {symbol for symbol in market.session.feeds if symbol.encode() in frame}
    feed, lane = market.session.feeds[symbol], market.feed.lane
    taken = []
    for name, doubt in (("state", state), ("streaming", False), ("is_direct", False)):
        before = getattr(feed, name)
        setattr(feed, name, doubt)
        count = lane.taken
        lane.receive(frame, market.clock.mono_ns())
        taken.append(lane.taken - count)
        setattr(feed, name, before)
    lane.receive(frame, market.clock.mono_ns())

    assert taken == [0, 0, 0]
    assert lane.taken == count + 1
