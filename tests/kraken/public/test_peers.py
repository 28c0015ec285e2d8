"""Defects measured in the peers, each as one story from the first frame to what a strategy would be told."""

import re

from engine.kraken.public.session import PublicSettings
from tests.kraken.wire import (
    D25,
    MS,
    T0,
    S,
    Tape,
    book_frame,
    changed,
    entry_of,
    frames,
    live,
    obey,
    poll,
    quiet_session,
    sent,
    states,
    with_wrong_checksum,
)


def test_nautilus_takes_a_stream_of_wrong_checksums_for_good():
    """A capture in which every checksum is off by one: no book of it is ever told, and the pair ends untrusted."""
    session = quiet_session("BTC/USD", depth=None)
    told, news = [], []
    for number, frame in enumerate(frames(D25)):
        is_book = b'"checksum"' in frame
        events = session.receive(with_wrong_checksum(frame) if is_book else frame, T0 + number * MS)
        told += states(events)
        news += changed(events)
        if number % 500 == 499:
            told += states(session.receive(with_wrong_checksum(frames(D25)[2]), T0 + number * MS))

    assert news == []
    assert [state for _, state in told] == ["untrusted"]


def test_peers_stumble_over_a_snapshot_without_a_timestamp():
    """It is taken, and the updates after it verify."""
    tape = Tape()
    session = quiet_session()
    first = session.receive(book_frame("snapshot", entry_of(tape.snapshot())[:4]), T0)
    second = session.receive(tape.nudge(), T0)

    assert (states(first), changed(second)) == ([("BTC/USD", "live")], ["BTC/USD"])


def test_cryptofeed_skips_and_hummingbot_halves_a_message_of_both_sides():
    """Both arrays are applied and both count in the checksum: either alone would not verify."""
    tape = Tape()
    session = live(tape)
    bids, asks = [tape.level(49_999, 71)], [tape.level(50_001, 72), tape.level(50_002, 0)]
    events = session.receive(tape.update(bids, asks), T0)
    book = session.feeds["BTC/USD"].book

    assert changed(events) == ["BTC/USD"]
    assert (book.bids.best(), book.asks.best()) == ((49_999, 71), (50_001, 72))
    assert len(book.asks) == 9


def test_hummingbot_keeps_levels_beyond_the_depth():
    """What falls out of the window goes: it would come back as a wrong level when the window moves."""
    tape = Tape()
    session = live(tape)
    book = session.feeds["BTC/USD"].book
    session.receive(tape.update([tape.level(50_000, 5)]), T0)
    pushed_out = list(book.bids.levels())[-1]
    events = session.receive(tape.update([tape.level(50_000, 0), tape.level(49_989, 6)]), T0)

    assert pushed_out == (49_991, 1008)
    assert changed(events) == ["BTC/USD"]
    assert list(book.bids.levels())[-1] == (49_989, 6)


def test_python_kraken_sdk_resubscribes_once_a_bad_update():
    """Sixty in flight: one unsubscribe and one subscribe, and nobody waits in the receive loop."""
    tape = Tape()
    session = live(tape)
    bad = [with_wrong_checksum(tape.nudge()) for _ in range(60)]
    for frame in bad:
        session.receive(frame, T0)
    poll(session, T0, T0 + 3 * S)
    requests = sent(session)

    assert [request["method"] for request in requests] == ["unsubscribe", "subscribe"]


def test_cryptofeed_and_ccxt_close_the_connection_over_one_pair():
    """A pair that is wrong for ever costs itself: the other streams on, the connection is never called dead."""
    bad, good = Tape("BAD/USD"), Tape("GOOD/USD")
    session = live(bad, good)
    news = 0
    for now in range(T0, T0 + 120 * S, 500 * MS):
        for frame in (with_wrong_checksum(bad.snapshot()), with_wrong_checksum(bad.nudge()), good.nudge()):
            news += changed(session.receive(frame, now)).count("GOOD/USD")
        session.poll(now)
        obey(session, now)
        assert session.dead(now) is None

    assert news == 240
    assert str(session.feeds["GOOD/USD"].state) == "live"
    assert str(session.feeds["BAD/USD"].state) == "untrusted"
    assert session.feeds["GOOD/USD"].resyncs == 0


def test_ccxt_is_used_with_its_check_turned_off():
    """There is no such switch to turn."""
    switches = [name for name in PublicSettings.__struct_fields__ if "check" in name or "verif" in name]

    assert switches == []


def test_the_small_quantities_that_break_decimal_text():
    """`0.00000029` is text to Kraken and 2.9E-7 to a Decimal: the genuine capture has it, and verifies."""
    session = quiet_session("BTC/USD", depth=None)
    small = 0
    for frame in frames(D25):
        small += bool(re.search(rb'"qty":0\.000000[1-9]', frame))
        session.receive(frame, T0)

    assert small > 0
    assert session.feeds["BTC/USD"].mismatches == 0
