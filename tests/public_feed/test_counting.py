"""The feed's counters in shared memory: what changed is written, and every one of them is right."""

import random

import pytest

from engine.public_feed import feed as feed_module
from engine.public_feed.feed import COUNTED_PAIRS_MAX
from engine.records import FeedState, Kind
from engine.ring import OLDEST, BoardReader, Subscriber
from engine.topology import PAIR_COUNTERS, pair_counters
from engine.units import NS_PER_S
from tests.kraken.wire import Tape, with_wrong_checksum
from tests.public_feed.rig import Market, frames

SYMBOLS = ("AAA/USD", "BBB/USD", "CCC/USD")


def counted(market):
    """Every counter of every pair."""
    counts = market.counters.snapshot()
    return {name: counts[name] for index in range(len(market.shard.symbols)) for name in pair_counters(index)}


def truth(market, before):
    """The same from the session itself, on top of what earlier lives had counted; a state is as it is."""
    return {
        counter: int(getattr(feed, name)) + (0 if name in ("state", "confirmed") else before[counter])
        for feed in market.session.feeds.values()
        for name, counter in zip(PAIR_COUNTERS, pair_counters(feed.pair_index), strict=True)
    }


@pytest.mark.parametrize("seed", range(10))
def test_every_counter_is_right_after_every_counting(seed):
    """Whatever happens to pairs, over two lives of the feed: no change of a count or a state is left out."""
    chance = random.Random(seed)
    market = Market(symbols=SYMBOLS)
    tapes = [Tape(symbol) for symbol in SYMBOLS]
    for _ in range(2):
        before = counted(market)
        for _ in range(150):
            tape = chance.choice(tapes)
            match chance.randrange(8):
                case 0:
                    market.take(tape.snapshot())
                case 1:
                    market.take(with_wrong_checksum(tape.nudge()))
                case 2:
                    market.clock.advance(chance.choice((1, 6, 61)) * NS_PER_S)
                    market.feed.on_events(market.session.poll(market.clock.mono_ns()))
                case 3:
                    market.feed.on_events(market.session.closed(market.clock.mono_ns(), "reset"))
                    market.session.opened(market.clock.mono_ns())
                case _:
                    market.take(tape.nudge())
            market.feed.do_work()
            assert counted(market) == truth(market, before)
        market.start_feed()


def test_what_the_session_and_the_feed_count_is_there_too():
    """A capture with trades: the feed's own counters are those of its session."""
    market = Market()
    market.take(*frames()[:200])
    market.feed.do_work()

    assert market.counters.get("trades") == market.session.trades > 0
    assert market.counters.get("heartbeats") == market.session.heartbeats
    assert market.counters.get("heartbeat_ns") == market.clock.mono_ns()


def test_a_book_that_goes_live_is_packed_once(monkeypatch):
    """A snapshot's record goes to the board and to the ring: the same bytes, made once."""
    packed = []

    def counting_packer(publish_levels):
        pack = packer(publish_levels)
        return lambda *fields: packed.append(pack(*fields)) or packed[-1]

    packer = feed_module.book_top_packer
    monkeypatch.setattr(feed_module, "book_top_packer", counting_packer)
    market = Market(symbols=SYMBOLS[:1])
    market.take(Tape(SYMBOLS[0]).snapshot())
    in_ring = [r for r in Subscriber(market.ring, OLDEST).poll_many(100) if r[0] == Kind.BOOK_TOP]

    assert market.session.feeds[SYMBOLS[0]].state is FeedState.LIVE
    assert len(packed) == 1
    assert in_ring == [BoardReader(market.board).read(0)]
    assert in_ring[0].startswith(packed[0])


@pytest.mark.parametrize("conflate", ["none", "burst"])
def test_the_next_book_of_a_burst_is_not_the_one_that_went_live(conflate):
    """A snapshot and an update in one burst: the newest is on the board and last in the ring."""
    market = Market(symbols=SYMBOLS[:1], conflate=conflate)
    tape = Tape(SYMBOLS[0])
    market.take(tape.snapshot(), tape.nudge())
    *_, newest = (r for r in Subscriber(market.ring, OLDEST).poll_many(100) if r[0] == Kind.BOOK_TOP)

    assert newest == BoardReader(market.board).read(0)
    assert int.from_bytes(newest[48:56], "little") == 1


def test_what_the_lane_takes_is_counted():
    """Updates that the compiled lane takes past the session are in the counters, those of a
    burst that has not ended too.
    """
    market = Market(symbols=SYMBOLS)
    if market.feed.lane is None:
        pytest.skip("there is no compiled lane")
    tape, quiet = Tape("AAA/USD"), Tape("BBB/USD")
    market.take(tape.snapshot(), quiet.snapshot(), tape.nudge())
    market.feed.do_work()
    market.take(tape.nudge(), quiet.nudge(), tape.nudge(), end_burst=False)
    market.feed.do_work()

    assert market.feed.lane.taken == 4
    assert (market.counters.get("0 updates"), market.counters.get("1 updates")) == (3, 1)


def test_the_counters_of_many_pairs_are_written_in_stretches():
    """Frames come in between; what changes meanwhile is not lost, and the end leaves nothing."""
    symbols = tuple(f"P{number:03}/USD" for number in range(3 * COUNTED_PAIRS_MAX))
    market = Market(symbols=symbols)
    tapes = [Tape(symbol) for symbol in symbols]
    before = counted(market)
    for tape in tapes:
        market.take(tape.snapshot())
    stretches, is_behind = 1, market.feed.do_work()
    while is_behind:
        market.take(tapes[0].nudge())
        stretches, is_behind = stretches + 1, market.feed.go_on()

    assert stretches == 3
    assert {name: count for name, count in counted(market).items() if not name.startswith("0 ")} == {
        name: count for name, count in truth(market, before).items() if not name.startswith("0 ")
    }
    market.feed.on_close()
    assert counted(market) == truth(market, before)
