"""Lost frames: a gap is noticed at the first message that can show it, and not forgotten before a snapshot."""

import pytest

from tests.kraken.wire import D10, D25, T0, book_frame, changed, frames, quiet_session, states
from tests.market.naive_book import NaiveBook, read, sides

MESSAGES_MAX = 60  # after a hole; one far from the top may show much later, or never: then both must be silent
AFTER_DETECTION = 15


def stream(file, symbol):
    """One pair's book messages of a capture: frames, and their texts."""
    found = []
    for frame in frames(file):
        if b'"channel":"book"' in frame and b'"method"' not in frame:
            (entry,) = read(frame)["data"]
            if entry["symbol"] == symbol:
                found.append((frame, *sides(entry), int(entry["checksum"])))
    return found


def first_to_show(naive, messages):
    """Index of the first message whose checksum, or crossing, the book with a hole cannot explain; None if none can."""
    for index, (_, bids, asks, checksum) in enumerate(messages):
        naive.apply(bids, asks)
        if naive.checksum() != checksum or naive.crossed():
            return index
    return None


def copy_of(naive):
    copy = NaiveBook(naive.depth)
    copy.bids, copy.asks = dict(naive.bids), dict(naive.asks)
    return copy


@pytest.mark.parametrize(
    ("file", "symbol", "depth"), [(D10, "BTC/USD", 10), (D10, "ETH/USD", 10), (D25, "BTC/USD", 25)]
)
@pytest.mark.parametrize("length", [1, 3])
def test_a_hole_anywhere_is_caught_at_the_first_message_that_can_show_it(file, symbol, depth, length):
    """Every position of a genuine capture: as soon as the naive reference can tell, and not earlier; then no book."""
    (_, bids, asks, _), *messages = stream(file, symbol)
    naive = NaiveBook(depth)
    naive.apply(bids, asks)
    caught, unseen = 0, 0
    for position in range(len(messages) - length):
        before = book_frame("snapshot", (symbol, naive.levels("bids"), naive.levels("asks"), naive.checksum()))
        after = messages[position + length :][:MESSAGES_MAX]
        shown = first_to_show(copy_of(naive), after)
        session = quiet_session(symbol, depth=depth)
        session.receive(before, T0)
        for index, (frame, *_) in enumerate(after):
            events = session.receive(frame, T0)
            if shown is None or index < shown:
                assert (states(events), changed(events)) == ([], [symbol])
            else:
                assert states(events) == ([(symbol, "stale")] if index == shown else [])
                assert changed(events) == []
                if index > shown + AFTER_DETECTION:
                    break
        caught += shown is not None
        unseen += shown is None
        naive.apply(*messages[position][1:3])

    assert caught + unseen == len(messages) - length
    assert caught / len(messages) > (0.8 if depth == 10 else 0.5)


@pytest.mark.parametrize(("file", "symbol"), [(D10, "BTC/USD"), (D10, "ETH/USD"), (D25, "BTC/USD")])
def test_a_flipped_digit_in_the_top_is_caught_at_once(file, symbol):
    """One digit of one quantity or price of each message in turn: that message is the one that is refused."""
    (snapshot, bids, asks, _), *messages = stream(file, symbol)
    naive = NaiveBook(len(bids))
    naive.apply(bids, asks)
    flipped = 0
    for frame, bids, asks, checksum in messages[:400]:
        before = book_frame("snapshot", (symbol, naive.levels("bids"), naive.levels("asks"), naive.checksum()))
        at = frame.rfind(b'"qty":') + 6
        digit = b"%d" % ((frame[at] - ord("0") + 1) % 10)
        damaged = frame[:at] + digit + frame[at + 1 :]
        judge = copy_of(naive)
        (entry,) = read(damaged)["data"]
        judge.apply(*sides(entry))
        session = quiet_session(symbol, depth=naive.depth)
        session.receive(before, T0)
        events = session.receive(damaged, T0)
        shows = judge.checksum() != checksum or judge.crossed()
        assert states(events) == ([(symbol, "stale")] if shows else [])
        assert changed(events) == ([] if shows else [symbol])
        flipped += shows
        naive.apply(bids, asks)

    assert flipped > 100
    assert snapshot.startswith(b'{"channel":"book","type":"snapshot"')


def test_two_frames_exchanged_are_caught():
    """The order of messages is part of the truth: an exchange that the reference can see, the session sees."""
    (snapshot, bids, asks, _), *messages = stream(D10, "ETH/USD")
    caught = 0
    for position in range(200):
        naive = NaiveBook(10)
        naive.apply(bids, asks)
        session = quiet_session("ETH/USD")
        session.receive(snapshot, T0)
        for frame, *both, _ in messages[:position]:
            naive.apply(*both)
            session.receive(frame, T0)
        exchanged = [messages[position + 1], messages[position], *messages[position + 2 : position + 30]]
        shown = first_to_show(naive, exchanged)
        told = [states(session.receive(frame, T0)) for frame, *_ in exchanged]
        assert [index for index, news in enumerate(told) if news] == ([] if shown is None else [shown])
        caught += shown is not None

    assert caught > 150
