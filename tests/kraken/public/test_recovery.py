"""A book in doubt: it says so first, heals alone, and is never live without a verified snapshot."""

from itertools import pairwise

import pytest

from engine.kraken.public.book_feed import FAILURES_MAX, RESYNC_INTERVAL_NS, UNTRUSTED_RETRY_NS, StateChanged
from tests.kraken.wire import (
    D10,
    D25,
    MS,
    T0,
    S,
    Tape,
    acks,
    book_frame,
    changed,
    entry_of,
    error,
    frames,
    live,
    obey,
    poll,
    quiet_session,
    sent,
    states,
    with_wrong_checksum,
)
from tests.market.naive_book import NaiveBook

UNSUBSCRIBED = b'{"method":"unsubscribe","result":{"channel":"book","depth":10,"symbol":"BTC/USD"},"success":true}'


def renewals(session):
    """(method, symbols) of the requests that are not pings."""
    return [(r["method"], r["params"]["symbol"]) for r in sent(session) if r["method"] != "ping"]


ONE_RENEWAL = [("unsubscribe", ["BTC/USD"]), ("subscribe", ["BTC/USD"])]


def test_a_wrong_checksum_is_told_before_anything_else():
    """The only event is `stale`, with both numbers; the book of the wrong message is not among them."""
    tape = Tape()
    session = live(tape)
    right = tape.nudge()
    events = session.receive(with_wrong_checksum(right), T0)

    assert [type(event) for event in events] == [StateChanged]
    assert states(events) == [("BTC/USD", "stale")]
    ours, theirs = (f"{tape.book.checksum() + i:#010x}" for i in (0, 1))
    assert events[0].reason == f"checksum {ours}, Kraken says {theirs}"
    assert session.feeds["BTC/USD"].mismatches == 1


def test_sixty_bad_updates_in_flight_cost_one_resynchronisation():
    """One mismatch, one unsubscribe and one subscribe, 59 ignored; live again with the snapshot, and only then."""
    tape = Tape()
    session = live(tape)
    told = [event for _ in range(60) for event in session.receive(with_wrong_checksum(tape.nudge()), T0)]
    requests = renewals(session)
    poll(session, T0, T0 + 4 * S)
    feed = session.feeds["BTC/USD"]

    assert states(told) == [("BTC/USD", "stale")]
    assert requests == ONE_RENEWAL
    assert renewals(session) == []
    assert (feed.mismatches, feed.ignored, feed.resyncs) == (1, 59, 1)
    assert states(session.receive(tape.snapshot(), T0 + 4 * S)) == [("BTC/USD", "live")]


def test_right_updates_after_a_wrong_one_are_ignored_too():
    """Its state is unknown: a later message that happens to verify proves nothing below the top ten."""
    tape = Tape(depth=25)
    session = live(tape)
    wrong = with_wrong_checksum(tape.nudge())
    events = [*session.receive(wrong, T0), *(e for _ in range(5) for e in session.receive(tape.nudge(), T0))]

    assert changed(events) == []
    assert str(session.feeds["BTC/USD"].state) == "stale"


def test_another_pair_and_the_connection_never_notice():
    """One poisoned pair among twenty: the other nineteen stream on, nothing else is asked, nobody is dead."""
    tapes = [Tape(f"P{number}/USD") for number in range(20)]
    session = live(*tapes)
    session.receive(with_wrong_checksum(tapes[7].nudge()), T0)
    news = [symbol for _ in range(3) for tape in tapes for symbol in changed(session.receive(tape.nudge(), T0))]

    assert sorted(set(news)) == sorted(tape.symbol for tape in tapes if tape is not tapes[7])
    assert renewals(session) == [("unsubscribe", ["P7/USD"]), ("subscribe", ["P7/USD"])]
    assert session.dead(T0) is None


def test_a_whole_recovery():
    """Stale; acknowledgements bring nothing; the snapshot makes it live, and updates count again."""
    tape = Tape()
    session = live(tape)
    session.receive(with_wrong_checksum(tape.nudge()), T0)
    answers = obey(session, T0 + 50 * MS)
    snapshot = session.receive(tape.snapshot(), T0 + 100 * MS)
    update = session.receive(tape.nudge(), T0 + 150 * MS)

    assert answers == []
    assert (states(snapshot), changed(snapshot)) == ([("BTC/USD", "live")], ["BTC/USD"])
    assert changed(update) == ["BTC/USD"]
    session.feeds["BTC/USD"].book.check()


def fail_for_ever(session, tape, until_s, wrong):
    """Every request is obeyed at once, and every snapshot or first update is wrong; when the pair was asked anew."""
    renewed, told = [], []
    for now in range(T0, T0 + until_s * S, 100 * MS):
        told += session.poll(now)
        if renewals(session) == ONE_RENEWAL:
            renewed.append((now - T0) / S)
            for frame in wrong():
                told += session.receive(frame, now)
    return renewed, told


@pytest.mark.parametrize("kind", ["snapshot", "update"])
def test_a_checksum_wrong_for_ever_ends_untrusted_and_is_retried_slowly(kind):
    """At least five seconds between two attempts; after the third failure in a minute one attempt a minute."""
    tape = Tape()
    session = live(tape)

    def wrong():
        if kind == "snapshot":
            return [with_wrong_checksum(tape.snapshot())]
        return [tape.snapshot(), with_wrong_checksum(tape.nudge())]

    first = session.receive(with_wrong_checksum(tape.nudge()), T0)
    renewed, told = fail_for_ever(session, tape, 300, wrong)

    gaps = [later - earlier for earlier, later in pairwise(renewed)]
    assert renewed[:2] == [0, 5]
    assert min(gaps) >= 5
    assert states(first) == [("BTC/USD", "stale")]
    assert states(told).count(("BTC/USD", "untrusted")) >= 1
    if kind == "snapshot":
        # Never live in between: told once, and then a minute from one attempt to the next.
        assert states(told) == [("BTC/USD", "untrusted")]
        assert gaps[1:] == [60, 60, 60, 60]
    else:
        assert len(renewed) <= 2 + 3 * 300 / 60


def test_the_third_failure_says_why_it_is_retried_slowly():
    """Its reason has the checksums, and what happens next."""
    tape = Tape()
    session = live(tape)
    told = []
    for number in range(FAILURES_MAX):
        told += session.receive(with_wrong_checksum(tape.snapshot()), T0 + number * S)

    assert states(told) == [("BTC/USD", "stale"), ("BTC/USD", "untrusted")]
    assert told[1].reason.startswith("snapshot: checksum 0x")
    assert told[1].reason.endswith("third failure within a minute, retried slowly")


def test_two_failures_a_minute_are_only_stale():
    """Failures of more than a minute ago are forgotten."""
    tape = Tape()
    session = live(tape)
    told = []
    for second in (0, 30, 61, 91, 122):
        told += session.receive(with_wrong_checksum(tape.nudge()), T0 + second * S)
        told += session.receive(tape.snapshot(), T0 + second * S)

    assert set(states(told)) == {("BTC/USD", "stale"), ("BTC/USD", "live")}


def test_an_untrusted_pair_comes_back_when_a_snapshot_verifies():
    """After the slow retry, or whenever Kraken sends one: from untrusted to live."""
    tape = Tape()
    session = live(tape)
    for _ in range(FAILURES_MAX):
        session.receive(with_wrong_checksum(tape.snapshot()), T0)
    session.to_send()
    poll(session, T0, T0 + UNTRUSTED_RETRY_NS - 100 * MS, S)
    early = renewals(session)
    session.poll(T0 + UNTRUSTED_RETRY_NS)
    late = renewals(session)

    assert early == []
    assert late == ONE_RENEWAL
    assert states(session.receive(tape.snapshot(), T0 + 61 * S)) == [("BTC/USD", "live")]
    assert changed(session.receive(tape.nudge(), T0 + 61 * S)) == ["BTC/USD"]


def test_resynchronisations_of_one_pair_are_five_seconds_apart():
    """The snapshot verifies and the next update fails, again and again: the second attempt waits for its time."""
    tape = Tape()
    session = live(tape)
    session.receive(with_wrong_checksum(tape.nudge()), T0)
    first = renewals(session)
    session.receive(tape.snapshot(), T0 + S)
    session.receive(with_wrong_checksum(tape.nudge()), T0 + S)
    poll(session, T0 + S, T0 + RESYNC_INTERVAL_NS - 100 * MS)
    between = renewals(session)
    poll(session, T0 + RESYNC_INTERVAL_NS, T0 + RESYNC_INTERVAL_NS + 100 * MS)

    assert (first, between) == (ONE_RENEWAL, [])
    assert renewals(session) == ONE_RENEWAL


# --- crossed books


def crossing(tape):
    """A message that leaves the book crossed, with the checksum that Kraken would compute of it."""
    (ask, qty), *_ = tape.book.levels("asks")
    return tape.update([(ask, qty)], [])


def test_a_crossed_book_is_in_doubt_though_its_checksum_is_right():
    """The second invariant: the best bid is below the best ask after every whole message."""
    tape = Tape()
    session = live(tape)
    events = session.receive(crossing(tape), T0)
    feed = session.feeds["BTC/USD"]

    assert states(events) == [("BTC/USD", "stale")]
    assert changed(events) == []
    assert (feed.mismatches, feed.crossings) == (0, 1)
    assert renewals(session) == ONE_RENEWAL


def test_a_crossed_snapshot_is_not_live():
    """Nor is one that begins crossed."""
    tape = Tape()
    session = live(tape)
    crossing(tape)
    events = session.receive(tape.snapshot(), T0)

    assert states(events) == [("BTC/USD", "stale")]
    assert events[0].reason.startswith("snapshot: best bid at or above best ask")


def test_a_book_that_is_crossed_between_its_sides_is_not():
    """An aggressive bid rests in `bids` before `asks` tells what it consumed: judged after the whole message."""
    tape = Tape()
    session = live(tape)
    (ask, _), *_ = tape.book.levels("asks")
    events = session.receive(tape.update([(ask, "1.00000000")], [(ask, "0.00000000")]), T0)

    assert changed(events) == ["BTC/USD"]
    assert session.feeds["BTC/USD"].crossings == 0


# --- snapshots


def test_a_snapshot_replaces_a_healthy_book_wholesale():
    """Levels that vanished in between never get a delete: nothing of the old book may stay, at any depth."""
    old, new = Tape(depth=25), Tape(depth=25, mid=60_000)
    session = live(old)
    events = session.receive(new.snapshot(), T0)
    book = session.feeds["BTC/USD"].book

    assert (states(events), changed(events)) == ([], ["BTC/USD"])
    assert min(ticks for ticks, _ in book.bids.levels()) == 60_000 - 25
    assert (len(book.bids), len(book.asks)) == (25, 25)


def test_a_snapshot_without_a_timestamp_is_taken():
    """As in Kraken's documentation and in 2024."""
    tape = Tape()
    session = quiet_session()
    events = session.receive(book_frame("snapshot", entry_of(tape.snapshot())[:4]), T0)

    assert states(events) == [("BTC/USD", "live")]
    assert session.feeds["BTC/USD"].timestamp == ""


def test_a_snapshot_with_a_wrong_checksum_is_not_live():
    """v2 snapshots carry one, and it counts."""
    tape = Tape()
    session = quiet_session()
    events = session.receive(with_wrong_checksum(tape.snapshot()), T0)
    later = session.receive(tape.nudge(), T0)

    assert (states(events), changed(events), changed(later)) == ([], [], [])
    assert str(session.feeds["BTC/USD"].state) == "stale"
    assert (session.feeds["BTC/USD"].mismatches, session.feeds["BTC/USD"].ignored) == (1, 1)


def test_updates_before_the_snapshot_are_ignored_and_counted():
    """They tell of a book that we do not have."""
    tape = Tape()
    session = quiet_session()
    events = [event for _ in range(3) for event in session.receive(tape.nudge(), T0)]

    assert events == []
    assert session.feeds["BTC/USD"].ignored == 3
    assert session.feeds["BTC/USD"].updates == 0


def test_an_unsubscribe_acknowledged_in_mid_stream_ends_the_book():
    """Stale until a snapshot, as in captures whose recorder subscribed anew."""
    tape = Tape()
    session = live(tape, depth=None)
    events = session.receive(UNSUBSCRIBED, T0)
    between = session.receive(tape.nudge(), T0)

    assert states(events) == [("BTC/USD", "stale")]
    assert "unsubscribed" in events[0].reason
    assert changed(between) == []
    assert states(session.receive(tape.snapshot(), T0)) == [("BTC/USD", "live")]


def test_an_unsubscribe_of_another_channel_ends_nothing():
    """Trades of the pair are given back; its book streams on."""
    tape = Tape()
    session = live(tape)
    session.receive(b'{"method":"unsubscribe","result":{"channel":"trade","symbol":"BTC/USD"},"success":true}', T0)

    assert changed(session.receive(tape.nudge(), T0)) == ["BTC/USD"]


def test_an_old_snapshot_between_our_two_requests_does_no_harm():
    """It verifies and is live until the unsubscribe is acknowledged; then stale until the snapshot we asked for."""
    tape = Tape()
    session = live(tape)
    session.receive(with_wrong_checksum(tape.nudge()), T0)
    give_back, ask = session.to_send()
    told = [*session.receive(tape.snapshot(), T0)]
    for frame in (*acks(give_back), *acks(ask), tape.nudge(), tape.snapshot(), tape.nudge()):
        told += session.receive(frame, T0)

    assert [state for _, state in states(told)] == ["live", "stale", "live"]
    assert session.feeds["BTC/USD"].ignored == 1
    session.feeds["BTC/USD"].book.check()


# --- depth and precision


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
@pytest.mark.parametrize("told_by", ["ack", "snapshot"])
def test_a_replay_learns_the_depth(depth, told_by):
    """From the acknowledgement, or from the number of levels in the snapshot; then it truncates to that."""
    tape = Tape(depth=depth)
    session = quiet_session(depth=None)
    if told_by == "ack":
        tape.fill(3)
        session.receive(
            b'{"method":"subscribe","result":{"channel":"book","depth":%d,"snapshot":true,"symbol":"BTC/USD"},'
            b'"success":true}' % depth, T0
        )  # fmt: skip
    session.receive(tape.snapshot(), T0)
    verified = 0
    for number in range(2 * depth):
        better = tape.level(tape.mid - 1 + number, 7)
        above = [(price, "0.00000000") for price, _ in tape.book.levels("asks") if float(price) <= float(better[0])]
        verified += changed(session.receive(tape.update([better], above), T0)) == ["BTC/USD"]

    assert session.feeds["BTC/USD"].depth == depth
    assert verified == 2 * depth
    assert len(session.feeds["BTC/USD"].book.bids) == depth


def test_a_recorder_subscribes_anew_with_another_depth():
    """25, then unsubscribed, then 10: the later acknowledgement holds."""
    deep, shallow = Tape(depth=25), Tape(depth=10)
    session = quiet_session(depth=None)
    ack = b'{"method":"subscribe","result":{"channel":"book","depth":%d,"symbol":"BTC/USD"},"success":true}'
    for frame in (ack % 25, deep.snapshot(), UNSUBSCRIBED, ack % 10, shallow.snapshot()):
        session.receive(frame, T0)
    better = shallow.level(shallow.mid, 7)

    assert changed(session.receive(shallow.update([better]), T0)) == ["BTC/USD"]
    assert len(session.feeds["BTC/USD"].book.bids) == 10


def printed_short(frame):
    """The frame as some recorders print it: numbers without trailing zeros."""
    symbol, bids, asks, checksum, stamp = entry_of(frame)
    sides = [[tuple(n.rstrip("0").rstrip(".") for n in level) for level in side] for side in (bids, asks)]
    return book_frame("snapshot" if b"snapshot" in frame else "update", (symbol, *sides, checksum, stamp))


def test_the_instrument_channel_tells_what_trailing_zeros_would():
    """Quantities of whole units, printed short: only the pair's precision reproduces the checksum."""
    tape = Tape(decimals=(1, 8), mid=50_000)
    tape.book.apply([], [])
    for side in (tape.book.bids, tape.book.asks):
        for price in side:
            side[price] = (side[price][0], "3.00000000")
    instrument = b'{"channel":"instrument","type":"snapshot","data":{"pairs":[{"symbol":"BTC/USD","price_precision":1,"qty_precision":8}]}}'  # noqa: E501
    without, with_it = quiet_session(), quiet_session()
    with_it.receive(instrument, T0)

    assert states(without.receive(printed_short(tape.snapshot()), T0)) == []
    assert states(with_it.receive(printed_short(tape.snapshot()), T0)) == [("BTC/USD", "live")]
    assert changed(with_it.receive(printed_short(tape.nudge()), T0)) == ["BTC/USD"]


def test_the_text_on_the_wire_outranks_the_instrument_channel():
    """Kraken re-prices pairs: what the checksum is made of is the text, whatever was announced before."""
    tape = Tape(decimals=(5, 8))
    session = quiet_session()
    session.feeds["BTC/USD"].decimals_known = (1, 8)

    assert states(session.receive(tape.snapshot(), T0)) == [("BTC/USD", "live")]
    assert session.feeds["BTC/USD"].book.price_decimals == 5


def test_a_pair_that_is_repriced_in_mid_stream_heals_with_its_snapshot():
    """Updates with more decimals than the book has cannot verify; the new snapshot brings the new precision."""
    old, new = Tape(decimals=(1, 8)), Tape(decimals=(2, 8), mid=500_000)
    session = live(old)
    between = session.receive(new.update([new.level(499_999, 77)]), T0)

    assert states(between) == [("BTC/USD", "stale")]
    assert states(session.receive(new.snapshot(), T0)) == [("BTC/USD", "live")]


@pytest.mark.parametrize("bids_and_asks", [(0, 0), (0, 3), (3, 0), (1, 10), (9, 9)])
def test_thin_books_are_verified_like_any_other(bids_and_asks):
    """Fewer than ten levels, or none on a side: fewer tokens in the checksum, and no error."""
    tape = Tape()
    tape.fill(10)
    bids, asks = bids_and_asks
    gone = [[(price, "0.0") for price, _ in tape.book.levels(s)[n:]] for s, n in (("bids", bids), ("asks", asks))]
    tape.book.apply(*gone)
    session = quiet_session()
    first = session.receive(tape.snapshot(), T0)
    second = session.receive(tape.update([tape.level(49_000, 5)], [tape.level(51_000, 5)]), T0)

    assert states(first) == [("BTC/USD", "live")]
    assert (states(second), changed(second)) == ([], ["BTC/USD"])
    assert session.feeds["BTC/USD"].mismatches == 0


def test_a_book_that_empties_in_mid_stream_stays_verified():
    """Every level goes; the checksum of nothing is 0, and the next order is taken."""
    tape = Tape()
    tape.fill(2)
    session = live(tape)
    gone = [[(price, "0.00000000") for price, _ in tape.book.levels(side)] for side in ("bids", "asks")]

    assert changed(session.receive(tape.update(*gone), T0)) == ["BTC/USD"]
    assert session.feeds["BTC/USD"].book.bids.best() is None
    assert changed(session.receive(tape.update([tape.level(5, 5)]), T0)) == ["BTC/USD"]


# --- several entries in a frame


def test_entries_of_several_pairs_in_a_frame_are_judged_alone():
    """One of three is wrong: the other two are told, in order, and stay live."""
    tapes = [Tape(symbol) for symbol in ("BTC/USD", "ETH/USD", "XRP/USD")]
    session = live(*tapes)
    first, second, third = (tape.nudge() for tape in tapes)
    frame = book_frame("update", entry_of(first), entry_of(with_wrong_checksum(second)), entry_of(third))
    events = session.receive(frame, T0)

    assert changed(events) == ["BTC/USD", "XRP/USD"]
    assert states(events) == [("ETH/USD", "stale")]


def test_two_entries_of_one_pair_in_a_frame_are_two_messages():
    """Each has a checksum of its own, and both are applied."""
    tape = Tape()
    session = live(tape)
    events = session.receive(book_frame("update", entry_of(tape.nudge(0)), entry_of(tape.nudge(1))), T0)

    assert changed(events) == ["BTC/USD", "BTC/USD"]
    assert session.feeds["BTC/USD"].updates == 2
    session.feeds["BTC/USD"].book.check()


def test_a_second_entry_that_fails_takes_the_first_with_it():
    """The frame's last word on the pair is `stale`, and the book is not streaming: whoever publishes can tell."""
    tape = Tape()
    session = live(tape)
    frame = book_frame("update", entry_of(tape.nudge()), entry_of(with_wrong_checksum(tape.nudge())))
    events = session.receive(frame, T0)

    assert isinstance(events[-1], StateChanged)
    assert states(events) == [("BTC/USD", "stale")]
    assert not session.feeds["BTC/USD"].streaming


def test_two_entries_with_large_numbers_are_each_applied_once():
    """A number beyond 2**50 units sends the frame to its text: of two entries, without timestamps, the right one."""
    tape = Tape(depth=25)
    tape.fill(20)
    session = live(tape)
    entries = [entry_of(tape.nudge()), entry_of(tape.update([], [("1125899906842625.1", "1.00000000")]))]
    events = session.receive(book_frame("update", *(entry[:4] for entry in entries)), T0)

    assert states(events) == []
    assert changed(events) == ["BTC/USD", "BTC/USD"]
    assert list(session.feeds["BTC/USD"].book.asks.levels())[-1] == (11258999068426251, 100_000_000)


def test_an_update_that_makes_no_sense_is_not_counted_as_verified():
    """A level of the top needs more than 120 bits: counted as malformed, in doubt, and not among the verified."""
    tape = Tape()
    session = live(tape)
    events = session.receive(tape.update([("99999999999999999999999999999.0", "1.00000000")]), T0)
    feed = session.feeds["BTC/USD"]

    assert states(events) == [("BTC/USD", "stale")]
    assert (session.malformed, feed.updates, feed.verified) == (1, 0, 1)


# --- other orders of keys


def reordered(frame):
    """The same message with its keys in another order: the slow way."""
    symbol, bids, asks, checksum, stamp = entry_of(frame)
    sides = [",".join(f'{{"qty":{qty},"price":{price}}}' for price, qty in side) for side in (bids, asks)]
    kind = "snapshot" if b"snapshot" in frame else "update"
    return (
        f'{{"data":[{{"checksum":{checksum},"timestamp":"{stamp}","asks":[{sides[1]}],"bids":[{sides[0]}],'
        f'"symbol":"{symbol}"}}],"type":"{kind}","channel":"book"}}'
    ).encode()


@pytest.mark.parametrize("file", [D10, D25])
def test_reordered_keys_take_the_slow_way_to_the_same_books(file):
    """A whole capture with other orders of keys: the same events, the same books."""
    fast, slow = quiet_session("BTC/USD", "ETH/USD", depth=None), quiet_session("BTC/USD", "ETH/USD", depth=None)
    for frame in frames(file)[:800]:
        is_book = b'"channel":"book"' in frame and b"method" not in frame
        events = slow.receive(reordered(frame) if is_book else frame, T0)
        expected = fast.receive(frame, T0)
        assert (states(events), changed(events)) == (states(expected), changed(expected))

    for symbol, feed in fast.feeds.items():
        other = slow.feeds[symbol]
        assert (feed.updates, feed.snapshots, feed.mismatches) == (other.updates, other.snapshots, 0)
        assert list(feed.book.bids.levels()) == list(other.book.bids.levels())
        assert list(feed.book.asks.levels()) == list(other.book.asks.levels())


def test_a_refused_subscribe_after_a_mismatch_is_told():
    """The pair went away while it was in doubt: untrusted, with Kraken's words; a late snapshot revives nothing."""
    tape = Tape()
    session = live(tape)
    session.receive(with_wrong_checksum(tape.nudge()), T0)
    _, ask = session.to_send()
    session.receive(tape.snapshot(), T0)
    events = session.receive(error(ask, "Currency pair not supported BTC/USD", "BTC/USD"), T0)

    assert states(events) == [("BTC/USD", "untrusted")]
    assert "Currency pair not supported" in events[0].reason
    assert changed(session.receive(tape.nudge(), T0)) == []


def test_the_naive_reference_agrees_on_the_tape():
    """The tape that these tests are made of is checked by its own judge."""
    tape, judge = Tape(depth=25), NaiveBook(25)
    judge.apply(*entry_of(tape.snapshot())[1:3])
    for index in range(25):
        _, bids, asks, checksum, _ = entry_of(tape.nudge(index))
        judge.apply(bids, asks)
        assert judge.checksum() == checksum
