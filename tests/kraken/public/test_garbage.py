"""Whatever arrives: nothing is raised, everything is counted, reports are few and short."""

import json
import time
import tracemalloc
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.connection.liveness import DETAIL_CHARS_MAX, UNKNOWN_NAMES_MAX
from engine.kraken.public.events import Refused
from engine.kraken.public.session import BOOK_UPDATE, FRAME_BYTES_SHOWN_MAX
from tests.kraken.wire import (
    D10,
    DATA,
    MS,
    T0,
    Tape,
    book_frame,
    changed,
    frames,
    live,
    new_session,
    quiet_session,
    states,
)
from tests.market.naive_book import NaiveBook, text

SINGLES = [
    frame for path in sorted(DATA.glob("*.jsonl")) if not path.name.startswith("capture") for frame in frames(path.name)
]
GENUINE = [*SINGLES, *frames(D10)[:40]]
PAIRS = ("BTC/USD", "ETH/USD", "MATIC/USD", "BTC/USDT", "EUR/USD")

MALFORMED = {
    "nothing": b"",
    "proxy": b"CloudFlare WebSocket proxy restarting",
    "html": b"<html><body>502 Bad Gateway</body></html>",
    "no object": b"null",
    "v1": b'[336,{"as":[["5541.30000","2.50700000","1534614248.456738"]]},"book-10","XBT/USD"]',
    "half a frame": Tape().nudge()[:100],
    "half a snapshot": Tape().snapshot()[:300],
    "two frames": b'{"channel":"heartbeat"}{"channel":"heartbeat"}',
    "wrong UTF-8": b'{"channel":"\xff\xfe"}',
    "wrong UTF-8 in a book": BOOK_UPDATE + b'"data":[{"symbol":"\xc3","bids":[],"asks":[],"checksum":1}]}',
    "half a surrogate": b'{"channel":"\\ud800"}',
    "NaN": BOOK_UPDATE + b'"data":[{"symbol":"BTC/USD","bids":[{"price":NaN,"qty":1}],"asks":[],"checksum":1}]}',
    "1e999": BOOK_UPDATE + b'"data":[{"symbol":"BTC/USD","bids":[{"price":1e999,"qty":1}],"asks":[],"checksum":1}]}',
    "null checksum": BOOK_UPDATE + b'"data":[{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":null}]}',
    "long checksum": BOOK_UPDATE + b'"data":[{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":%s}]}' % (b"9" * 5000),
    "no checksum": BOOK_UPDATE + b'"data":[{"symbol":"BTC/USD","bids":[],"asks":[]}]}',
    "deep, fast way": BOOK_UPDATE + b'"new":' + b"[" * 100_000,
    "deep, slow way": b'{"a":' * 100_000,
    "deep, unknown channel": b'{"channel":"new","data":' + b"[" * 100_000,
    "method 5": b'{"method":5}',
    "status without system": b'{"channel":"status","type":"update","data":[{}]}',
    "instrument as list": b'{"channel":"instrument","type":"snapshot","data":[]}',
    "ticker as object": b'{"channel":"ticker","type":"update","data":{}}',
    "trade to an unknown side": b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"both",'
    b'"price":1,"qty":1,"trade_id":1}]}',
}


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED)
def test_what_cannot_be_read_is_counted_and_shown_in_short(frame):
    """One count, one report of its first bytes; the session goes on."""
    session = new_session(*PAIRS)
    events = session.receive(frame, T0)
    session.receive(b'{"channel":"heartbeat"}', T0)

    assert session.malformed == 1
    assert [event.kind for event in events] == ["malformed"]
    assert events[0].frame == frame[:FRAME_BYTES_SHOWN_MAX]
    assert 0 < len(events[0].detail) <= DETAIL_CHARS_MAX
    assert session.heartbeats == 1


@pytest.mark.parametrize("frame", [b'{"channel":"futures","data":[]}', b'{"channel":null}', b"{}", b'{"Error":"new"}'])
def test_what_nobody_knows_is_counted_as_unknown(frame):
    """A channel or an envelope of tomorrow."""
    session = new_session()
    events = session.receive(frame, T0)

    assert (session.unknown, session.malformed) == (1, 0)
    assert [event.kind for event in events] == ["unknown"]


def test_unknown_fields_are_tolerated_everywhere():
    """Kraken adds fields without a version: every genuine object may carry one more, with anything in it."""

    def more(value):
        if isinstance(value, list):
            return [more(entry) for entry in value]
        if isinstance(value, dict):
            return {"new": {"deep": [1, None, "x"]}} | {k: more(v) for k, v in value.items()} | {"newer": 1.5}
        return value

    session = new_session(*PAIRS)
    for frame in SINGLES:
        if b'"method":"ping"' not in frame:
            session.receive(json.dumps(more(json.loads(frame))).encode(), T0)

    assert session.unknown == session.malformed == 0
    assert session.tickers == 4
    assert session.trades == 4


# --- numbers that are too much


HUGE = [
    "1e999999999",
    "1e-999999999",
    "1e99999999999999999999",
    "1e-99999999999999999999",
    "9" * 5000,
    "0." + "0" * 5000 + "1",
]


NUMBERS = (
    *("last", "price", "qty", "trade_id", "close", "trades", "interval", "order_qty", "checksum"),
    *("qty_min", "cost_min", "price_precision", "qty_precision"),
)


@pytest.mark.parametrize("number", HUGE, ids=lambda n: n[:22])
@pytest.mark.parametrize("kind", ["snapshot", "update"])
@pytest.mark.parametrize("where", ["price", "qty", "both"])
def test_absurd_numbers_in_a_book_cost_nothing(number, kind, where):
    """Eleven bytes must not become gigabytes: at once counted as wrong, or as nothing; never live with them."""
    tape = Tape()
    session = live(tape)
    level = (number if where != "qty" else "60000.0", number if where != "price" else "1.0")
    frame = book_frame(kind, (tape.symbol, [], [("1125899906842625000.0", "1.0"), level], 1, "2026"))
    began = time.process_time()
    events = session.receive(frame, T0)

    assert time.process_time() - began < 0.1
    assert states(events) == [("BTC/USD", "stale")]
    assert changed(events) == []
    assert session.malformed + session.feeds["BTC/USD"].mismatches >= 1


@pytest.mark.parametrize("number", [*HUGE, "-1e999999999"], ids=lambda n: n[:22])
@pytest.mark.parametrize("file", ["ticker.jsonl", "trade.jsonl", "ohlc.jsonl", "instrument.jsonl", "level3.jsonl"])
def test_absurd_numbers_elsewhere_cost_nothing(number, file):
    """Every number of a genuine frame in turn is replaced; nothing is raised, nothing takes long."""
    began = time.process_time()
    count = 0
    for frame in frames(file)[:2]:
        whole = frame.decode()
        for key in NUMBERS:
            head, found, tail = whole.partition(f'"{key}":')
            if found:
                rest = tail[len(tail) - len(tail.lstrip("-+.eE0123456789")) :]
                new_session(*PAIRS).receive(f'{head}"{key}":{number}{rest}'.encode(), T0)
                count += 1

    assert count > 0
    assert time.process_time() - began < 1.0


def test_a_negative_number_in_a_book_is_never_live():
    """Prices and quantities are positive; anything else means that the message is not what we think."""
    for level, token in ((("-5.0", "1.0"), b"-5010"), (("5.0", "-1.0"), b"50-10")):
        session = live(Tape())
        events = session.receive(book_frame("snapshot", ("BTC/USD", [level], [], crc32(token))), T0)
        assert states(events) == [("BTC/USD", "stale")]


@pytest.mark.parametrize("depth", [-5, 0, 7, 10**18])
def test_an_absurd_depth_in_an_acknowledgement_is_not_believed(depth):
    """Books have one of five depths; the one that was asked for stays."""
    tape = Tape()
    session = quiet_session()
    session.receive(
        b'{"method":"subscribe","success":true,"result":{"channel":"book","depth":%d,"symbol":"BTC/USD"}}' % depth, T0
    )
    events = session.receive(tape.snapshot(), T0)

    assert states(events) == [("BTC/USD", "live")]
    assert session.feeds["BTC/USD"].depth == 10


def test_absurd_precisions_of_an_instrument_are_not_believed():
    """10**-1000000000 is no precision: the pair is left out, the other pairs of the frame are taken."""
    session = new_session("BTC/USD", "ETH/USD")
    pairs = '{"symbol":"%s","qty_precision":%d,"price_precision":2}'
    data = ",".join([pairs % ("BTC/USD", 10**9), pairs % ("BTC/USD", -1), pairs % ("ETH/USD", 8)])
    session.receive(b'{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[%s]}}' % data.encode(), T0)

    assert session.malformed == 2
    assert session.feeds["BTC/USD"].decimals_known is None
    assert session.feeds["ETH/USD"].decimals_known == (2, 8)


# --- anything at all


def checksum_by_text(book):
    """What Kraken's rules make of a book's levels, by the naive reference."""
    naive = NaiveBook(book.depth)
    decimals = (book.price_decimals, book.qty_decimals)
    naive.apply(*([tuple(map(text, level, decimals)) for level in side.levels()] for side in (book.bids, book.asks)))
    return naive.checksum()


@given(st.binary(max_size=300))
@example(BOOK_UPDATE)
@example(b'{"method":"subscribe"}')
def test_any_bytes_are_taken(noise):
    """No exception; a frame counts as malformed, unknown or refused, unless it happens to mean something."""
    session = new_session(*PAIRS)
    session.receive(noise, T0)

    assert session.malformed + session.unknown + session.refused <= 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(frame=st.sampled_from(SINGLES), data=st.data())
def test_genuine_messages_with_any_value_in_any_place_are_taken(frame, data):
    """Any value of a genuine message replaced by any other: no exception, one count at most for each strange entry."""
    message = json.loads(frame)
    node = message
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(json_values)
    session = new_session(*PAIRS)
    session.receive(json.dumps(message).encode(), T0)

    entries = len(node[key]) if isinstance(node[key], list) else 1
    assert session.malformed + session.unknown + session.refused <= max(1, entries)


@given(
    frame=st.sampled_from(GENUINE),
    at=st.integers(0, 400),
    removed=st.integers(0, 9),
    added=st.binary(max_size=9) | st.sampled_from([b"[", b"{", b'"', b"\\u0000", b"e99", b"-", b"null"]),
)
@example(frame=next(it for it in GENUINE if b'"checksum":1741843838' in it), at=174, removed=0, added=b"\x80")
def test_genuine_bytes_with_a_wound_are_taken(frame, at, removed, added):
    """Bytes cut out and put in anywhere: no exception, and a book is told only when it has the frame's checksum."""
    session = quiet_session("BTC/USD", "ETH/USD", depth=None)
    for genuine in frames(D10)[:20]:
        session.receive(genuine, T0)
    wounded = frame[:at] + added + frame[at + removed :]
    events = session.receive(wounded, T0)

    for symbol in changed(events):
        entry = json.loads(wounded.decode(errors="replace"))["data"][-1]  # it may be in a text that nobody reads
        assert entry["symbol"] == symbol
        assert checksum_by_text(session.feeds[symbol].book) == entry["checksum"]
        session.feeds[symbol].book.check()
    assert session.malformed + session.unknown + session.refused <= 2


# --- a frame that was an update


@pytest.mark.parametrize("cut", [90, 120, 150])
def test_an_update_that_cannot_be_read_is_an_update_lost(cut):
    """The frame names a live pair and is broken: that pair is in doubt at once, the other is not."""
    btc, eth = Tape("BTC/USD"), Tape("ETH/USD")
    session = live(btc, eth)
    events = session.receive(btc.nudge()[:cut], T0)

    assert states(events) == [("BTC/USD", "stale")]
    assert session.malformed == 1
    assert changed(session.receive(eth.nudge(), T0)) == ["ETH/USD"]
    assert changed(session.receive(btc.nudge(), T0)) == []


# --- reports


def test_a_flood_of_garbage_is_reported_once_a_second():
    """A thousand frames a second cost two reports in two seconds, and a thousand counts each."""
    session = new_session()
    reports = [event for number in range(2000) for event in session.receive(b"garbage %d" % number, T0 + number * MS)]

    assert session.malformed == 2000
    assert len(reports) == 2
    assert all(isinstance(event, FrameNotUnderstood) for event in reports)


def test_each_unknown_channel_is_reported_once_even_if_two_come_at_once():
    """The second name waits for its turn; it is not taken as told."""
    session = new_session()
    told = []
    for now in range(T0, T0 + 3000 * MS, 100 * MS):
        for name in (b"alpha", b"beta"):
            told += [event.detail for event in session.receive(b'{"channel":"%s"}' % name, now)]

    assert told == ["channel alpha", "channel beta"]
    assert session.unknown == 60


def test_what_is_remembered_of_garbage_is_bounded():
    """Names of unknown channels, long or many, cost a bounded memory; all frames are counted."""
    session, told = new_session(), []
    tracemalloc.start()
    for number in range(500):
        events = session.receive(b'{"channel":"%d%s"}' % (number, b"x" * 5000), T0 + number * 1000 * MS)
        told += [len(event.detail) for event in events]
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert session.unknown == 500
    assert len(told) == UNKNOWN_NAMES_MAX
    assert max(told) <= DETAIL_CHARS_MAX + len("channel ")
    assert kept_bytes < UNKNOWN_NAMES_MAX * 1000


def test_reports_of_long_texts_are_short():
    """Kraken's own words go into reports and advice; megabytes of them do not."""
    session = quiet_session()
    long = b"x" * 1_000_000
    (report,) = session.receive(b'{"method":"subscribe","success":false,"error":"%s"}' % long, T0)

    assert len(report.detail) <= DETAIL_CHARS_MAX
    assert len(report.frame) <= FRAME_BYTES_SHOWN_MAX


# --- status


@pytest.mark.parametrize(
    "emergency",
    ["null", "{}", '"fire"', "[null]", "[5]", '[{"title":null}]', '[{"event_id":{"a":1},"title":"fire"}]', "[[]]"],
)
def test_an_emergency_of_unknown_shape_does_not_hide_the_state_of_the_engine(emergency):
    """No genuine emergency entry is known: whatever it looks like, `system` is understood, and the entry is told."""
    session = new_session()
    head, tail = b'{"channel":"status","type":"update","data":[{"system":"maintenance","emergency":', b"}]}"
    (event,) = session.receive(head + emergency.encode() + tail, T0)

    assert isinstance(event, SystemChanged)
    assert (event.system, session.system) == ("maintenance", "maintenance")
    assert len(event.notices) == (emergency != "null")
    assert session.malformed == 0


def test_notices_of_maintenance_are_told_once_and_for_ever():
    """The same event and phase once; new ones are told even after hundreds of others."""
    session = new_session()
    frame = (
        b'{"channel":"status","type":"update","data":[{"system":"online","upcoming_maintenance":[{"event_id":%d}]}]}'
    )
    told = [
        len(event.notices) for number in range(1000) for _ in range(2) for event in session.receive(frame % number, T0)
    ]

    assert told == [1, 0] * 1000


def test_a_refusal_in_megabytes_is_one_short_sentence():
    """The advice carries Kraken's words, cut to a readable length."""
    session = quiet_session()
    long = b"x" * 1_000_000
    events = session.receive(
        b'{"method":"subscribe","success":false,"error":"%s","channel":"book","symbol":"BTC/USD"}' % long, T0
    )
    (refused,) = [event for event in events if isinstance(event, Refused)]

    assert len(refused.advice) < 1000
