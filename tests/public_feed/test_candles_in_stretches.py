"""The clock closes the candles of many pairs: some at a time, each once; what was counted of a pair stays counted."""

from datetime import UTC, datetime

from engine.public_feed.candle_feed import LOOKED_AT_MAX
from engine.records import Kind, pair_index_of, unpack_candle
from engine.ring import Subscriber
from engine.topology import ALL_CHANNELS, PairRow
from tests.kraken.wire import acks
from tests.public_feed.rig import Market, trade

S = 1_000_000_000
BEGAN = int(datetime(2026, 7, 7, 23, 10, tzinfo=UTC).timestamp()) * S
HEARTBEAT = b'{"channel":"heartbeat"}'
SYMBOLS = tuple(f"P{number:03}/USD" for number in range(3 * LOOKED_AT_MAX + 1))


def settled():
    """A feed of many pairs whose trades have been confirmed long ago."""
    market = Market(symbols=SYMBOLS, candles=(1,), wall_ns=BEGAN)
    for _ in range(20):
        requests = [request for request in market.session.to_send() if b'"ping"' not in request]
        market.take(*[ack for request in requests for ack in acks(request)])
        market.clock.advance(S)
        market.take(HEARTBEAT)
        market.session.poll(market.clock.mono_ns())
        finish(market)
    return market


def finish(market):
    """How many stretches the work takes that no frame drives."""
    stretches, is_behind = 1, market.feed.do_work()
    while is_behind:
        stretches, is_behind = stretches + 1, market.feed.go_on()
    return stretches


def closed(subscriber):
    """The pairs of which a closed candle was published since the last time."""
    records = [record for record in subscriber.poll_many(10_000) if record[0] == Kind.CANDLE]
    candles = [unpack_candle(SYMBOLS[pair_index_of(record)], record) for record in records]
    return [candle.symbol for candle in candles if candle.closed]


def test_a_minute_ends_for_some_pairs_at_a_time_and_for_each_once():
    """Frames come in between."""
    market = settled()
    for number, at in enumerate(("23:10:25", "23:11:10"), 1):  # of the first minute a part is missing
        for symbol in SYMBOLS:
            market.take(trade(symbol, number, at=at))
        market.clock.advance(45 * S)
        market.take(HEARTBEAT)
        if number == 1:
            finish(market)
    records = Subscriber(market.ring)
    market.clock.advance(20 * S)
    market.take(HEARTBEAT)
    pieces, is_behind = [], market.feed.do_work()
    pieces.append(closed(records))
    while is_behind:
        market.take(HEARTBEAT)
        is_behind = market.feed.go_on()
        pieces.append(closed(records))

    assert max(map(len, pieces)) <= LOOKED_AT_MAX
    assert sorted(symbol for piece in pieces for symbol in piece) == sorted(SYMBOLS)


def test_a_pair_that_is_given_back_takes_nothing_from_the_counts():
    """A counter never falls."""
    market = settled()
    candles = market.feed.candles
    candles.counts.missed += 3
    market.feed.follow([PairRow(symbol, ALL_CHANNELS) for symbol in SYMBOLS[:-1]] + [PairRow()])
    candles.forget(SYMBOLS[0])

    assert candles.counts.missed == 3
