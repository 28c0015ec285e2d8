"""What time has to be looked at for: each pair when it is due, and never all pairs because there are many."""

import random

import pytest

from engine.kraken.public import session as session_module
from engine.kraken.public.book_feed import BookFeed
from engine.kraken.public.feed_watch import DUE_MAX, WOKEN_MAX, FeedWatch
from tests.kraken.wire import (
    MS,
    T0,
    S,
    Tape,
    acks,
    live,
    poll,
    quiet_session,
    sent,
    states,
    unproved,
    with_wrong_checksum,
)

SYMBOLS = tuple(f"P{number}/USD" for number in range(4))
STATUS = (
    '{{"channel":"status","type":"update","data":[{{"system":"{}","api_version":"v2","connection_id":1,'
    '"version":"2.0.10"}}]}}'
)
PRECISION = (
    '{{"channel":"instrument","type":"update","data":{{"assets":[],"pairs":[{{"symbol":"{}","status":"online",'
    '"price_precision":{},"qty_precision":8,"price_increment":0.1,"qty_increment":0.00000001,"qty_min":0.1,'
    '"cost_min":"0.5","cost_precision":8}}]}}}}'
)


class WatchAll:
    """The oracle: every pair is due on every tick."""

    is_behind = False

    def __init__(self, feeds):
        self._feeds = list(feeds)

    def watch(self, feed):
        pass

    def rest(self, feed, until):
        pass

    def due(self, now):
        return self._feeds


class Story:
    """A session lives through half an hour that a seed decides: silences, wrong checksums, maintenance, reconnects."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.tapes = {symbol: Tape(symbol) for symbol in SYMBOLS}
        self.session = quiet_session(*SYMBOLS, depth=10)
        self.now = T0
        self.on_the_way = []
        self.told = []

    def live(self, minutes):
        while self.now < T0 + minutes * 60 * S:
            self.act()
            for _ in range(self.chance.choice((1, 3, 30, 300, 900))):
                self.now += 100 * MS
                self.note(self.session.poll(self.now))
                for at, frame in [arrived for arrived in self.on_the_way if arrived[0] <= self.now]:
                    self.on_the_way.remove((at, frame))
                    self.note(self.session.receive(frame, self.now))
                self.answer()
        return self.told

    def act(self):
        tape = self.tapes[self.chance.choice(SYMBOLS)]
        kind = self.chance.choice(
            ("update",) * 8 + ("wrong", "maintenance", "online", "closed", "reconnect", "precision")
        )
        match kind:
            case "update":
                self.note(self.session.receive(tape.nudge(), self.now))
            case "wrong":
                self.note(self.session.receive(with_wrong_checksum(tape.nudge()), self.now))
            case "maintenance" | "online" | "closed":
                system = {"closed": "cancel_only"}.get(kind, kind)
                self.note(self.session.receive(STATUS.format(system).encode(), self.now))
            case "reconnect":
                self.note(self.session.closed(self.now, "reset"))
                self.on_the_way.clear()
                self.session.opened(self.now)
            case "precision":
                frame = PRECISION.format(tape.symbol, self.chance.choice((1, 1, 2)))
                self.note(self.session.receive(frame.encode(), self.now))

    def answer(self):
        """Kraken obeys nine times of ten, in its own time."""
        for request in self.session.to_send():
            self.told.append((self.now, request))
            if b'"ping"' in request or self.chance.random() < 0.1:
                continue
            at = self.now + self.chance.choice((0, 80 * MS, 3 * S))
            self.on_the_way += [(at, answer) for answer in acks(request)]
            if b'"subscribe"' in request and b'"book"' in request:
                named = [symbol for symbol in SYMBOLS if f'"{symbol}"'.encode() in request]
                self.on_the_way += [(at, self.tapes[symbol].snapshot()) for symbol in named]

    def note(self, events):
        self.told += [(self.now, states([event]), unproved([event])) for event in events]


@pytest.mark.parametrize("seed", range(8))
def test_a_pair_at_rest_misses_nothing(monkeypatch, seed):
    """The same events and requests at the same time as when every pair is looked at on every tick."""
    rested = Story(seed)
    told = rested.live(minutes=40)
    monkeypatch.setattr(session_module, "FeedWatch", WatchAll)
    told_by_all = Story(seed).live(minutes=40)

    assert len(told) > 100
    assert told == told_by_all


def test_healthy_pairs_are_due_once_a_silence_and_not_on_every_tick():
    """Some live pairs: after a first look none is due until its silence could be too long."""
    watch = FeedWatch([BookFeed(f"P{number}/USD", number, 10, 10, 60 * S) for number in range(WOKEN_MAX)])
    for feed in watch.due(T0):
        watch.rest(feed, T0 + 60 * S)

    assert [watch.due(T0 + tick * 100 * MS) for tick in range(1, 600)] == [[]] * 599
    assert len(watch.due(T0 + 60 * S)) == WOKEN_MAX


def test_a_pair_that_is_watched_is_due_until_it_rests_and_others_are_not():
    """A doubt about one pair costs one look a tick; the pair's earlier rest does not end it."""
    feeds = [BookFeed(f"P{number}/USD", number, 10, 10, 60 * S) for number in range(3)]
    watch = FeedWatch(feeds)
    for feed in watch.due(T0):
        watch.rest(feed, T0 + 60 * S)
    watch.watch(feeds[1])

    assert watch.due(T0 + S) == watch.due(T0 + 2 * S) == [feeds[1]]
    watch.rest(feeds[1], T0 + 70 * S)
    assert watch.due(T0 + 3 * S) == []


@pytest.mark.parametrize("seed", range(20))
def test_every_pair_is_watched_or_has_its_time(seed):
    """After any steps no pair is forgotten."""
    chance = random.Random(seed)
    feeds = [BookFeed(f"P{number}/USD", number, 10, 10, 60 * S) for number in range(5)]
    watch, now = FeedWatch(feeds), T0
    for _ in range(300):
        now += chance.randrange(20) * S
        feed = chance.choice(feeds)
        match chance.randrange(3):
            case 0:
                watch.watch(feed)
            case 1:
                watch.rest(feed, now + chance.randrange(1, 60) * S)
            case 2:
                for due in watch.due(now):
                    watch.rest(due, now + 60 * S)
        watch.check()


def test_counts_are_asked_for_of_pairs_that_changed_alone():
    """Of fifty pairs three speak: three are counted, once; nothing happened, nothing to count."""
    tapes = [Tape(f"P{number}/USD") for number in range(50)]
    session = live(*tapes)
    before = session.take_counted()
    for tape in (*tapes[:3], *tapes[:3]):
        session.receive(tape.nudge(), T0 + S)

    assert len(before) == 50
    assert {feed.symbol for feed in session.take_counted()} == {tape.symbol for tape in tapes[:3]}
    assert session.take_counted() == []


def test_a_late_answer_is_named_once_and_one_that_came_is_not():
    """Of two books asked for in one request one snapshot comes: after the deadline the other is asked for again."""
    tapes = [Tape("BTC/USD"), Tape("ETH/USD")]
    session = quiet_session("BTC/USD", "ETH/USD", depth=10, subscribe_deadline_ns=10 * S)
    for request in session.to_send():
        for answer in acks(request):
            session.receive(answer, T0)
    session.receive(tapes[0].snapshot(), T0)
    poll(session, T0, T0 + 11 * S)
    renewed = [request["params"].get("symbol") for request in sent(session) if request["method"] == "unsubscribe"]

    assert renewed == [["ETH/USD"]]


def test_of_many_that_are_due_at_once_some_are_checked_at_a_time():
    """A minute after a start all are: each within as few ticks as there are stretches, and none twice before."""
    feeds = [BookFeed(f"P{number}/USD", number, 10, 10, 60 * S) for number in range(10 * DUE_MAX + 1)]
    watch = FeedWatch(feeds)
    first = [watch.due(T0) for _ in range(10)]
    behind = watch.is_behind
    last = watch.due(T0)[:1]

    assert [len(each) for each in first] == [DUE_MAX] * 10
    assert behind
    assert {feed.pair_index for each in [*first, last] for feed in each} >= set(range(10 * DUE_MAX))
    for feed in feeds:
        watch.rest(feed, T0 + 60 * S)
    watch.check()
    assert watch.due(T0 + 59 * S) == []
    assert not watch.is_behind
    seen = set()
    for _ in range(len(feeds) // WOKEN_MAX + 1):
        due = watch.due(T0 + 60 * S)
        assert len(due) <= DUE_MAX + WOKEN_MAX
        for feed in due:
            seen.add(feed.pair_index)
            watch.rest(feed, T0 + 120 * S)
    assert len(seen) == len(feeds)
    assert not watch.is_behind


def test_a_thousand_silent_pairs_are_all_looked_at_within_a_few_seconds():
    """The next stretch at the next tick instead of a tenth of a second later."""
    symbols = [f"P{number:04}/USD" for number in range(1_000)]
    session = quiet_session(*symbols, depth=10)
    for symbol in symbols:
        session.receive(Tape(symbol).snapshot(), T0)
    now = T0
    while now < T0 + 63 * S:
        now += 20 * MS
        session.poll(now)
        session.to_send()

    assert all(feed.is_unproved or feed.is_renewed for feed in session.feeds.values())
