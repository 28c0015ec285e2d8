"""Every genuine frame that we have goes through the session: nothing unknown, nothing malformed."""

import json
from decimal import Decimal

import pytest

from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.public.events import CandleTold, PairChanged, TickerChanged, TradePrinted, TradesBefore
from tests.kraken.wire import D10, D25, DATA, T0, changed, frames, new_session, states

FILES = sorted(path.name for path in DATA.glob("*.jsonl"))


def symbols_of(file):
    """Every pair that a file names."""
    found = {}
    for frame in map(json.loads, frames(file)):
        for entry in frame["data"] if isinstance(frame.get("data"), list) else []:
            found[entry.get("symbol")] = None
    return tuple(symbol for symbol in found if symbol)


@pytest.mark.parametrize("file", FILES)
def test_no_genuine_frame_is_unknown_or_malformed(file):
    """Captures, acknowledgements, errors, single messages of all channels and years: each line is understood."""
    session = new_session(*symbols_of(file), depth=None)
    not_understood = []
    for number, frame in enumerate(frames(file), start=1):
        events = session.receive(frame, T0 + number)
        not_understood += [(number, e.kind) for e in events if isinstance(e, FrameNotUnderstood) if e.kind != "refused"]

    assert not_understood == []
    assert session.unknown == session.malformed == 0
    for feed in session.feeds.values():
        assert feed.mismatches == feed.crossings == 0


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        (D25, {"BTC/USD": (1, 2051)}),
        (D10, {"BTC/USD": (1, 561), "ETH/USD": (1, 2399)}),
    ],
)
def test_every_checksum_of_the_captures_verifies(file, counts):
    """Depth and precision are learned from the wire; each message is applied, verified and reported once."""
    session = new_session(*counts, depth=None)
    told, news = [], []
    for number, frame in enumerate(frames(file)):
        events = session.receive(frame, T0 + number)
        told += states(events)
        news += changed(events)

    assert told == [(symbol, "live") for symbol in counts]
    for symbol, (snapshots, updates) in counts.items():
        feed = session.feeds[symbol]
        assert (feed.snapshots, feed.updates, feed.mismatches, feed.ignored) == (snapshots, updates, 0, 0)
        assert feed.verified == news.count(symbol) == snapshots + updates
        feed.book.check()
    assert (session.trades, session.heartbeats) == ((17, 23) if file == D10 else (0, 50))  # 17 fills in 10 frames


@pytest.mark.parametrize(
    ("file", "kinds"),
    [
        ("ticker.jsonl", {TickerChanged: 6}),
        ("trade.jsonl", {TradePrinted: 4, TradesBefore: 1}),
        ("instrument.jsonl", {}),
        ("status_heartbeat_pong.jsonl", {SystemChanged: 6}),
        ("level3.jsonl", {}),
        ("errors.jsonl", {FrameNotUnderstood: 1}),
        ("acks.jsonl", {}),
    ],
)
def test_what_the_single_messages_mean(file, kinds):
    """One event a ticker, trade and status; a snapshot of trades is history; refusals are reported once a second."""
    session = new_session(*symbols_of(file))
    counts = {}
    for frame in frames(file):
        for event in session.receive(frame, T0):
            counts[type(event)] = counts.get(type(event), 0) + 1

    assert counts == kinds


def test_instruments_bring_the_pairs_that_we_follow():
    """Of all pairs of the venue only ours are reported, with their precisions; the others serve as advice."""
    session = new_session("EUR/USD")
    events = [event for frame in frames("instrument.jsonl") for event in session.receive(frame, T0)]
    pairs = [event.pair for event in events if isinstance(event, PairChanged)]

    assert {pair.symbol for pair in pairs} == {"EUR/USD"}
    assert session.feeds["EUR/USD"].decimals_known == (pairs[-1].price_precision, pairs[-1].qty_precision) == (5, 8)


def test_the_candles_of_a_genuine_snapshot_are_told_oldest_first():
    """Every row of ours, each with its begin, interval and exact numbers."""
    session = new_session("BTC/USDT")
    snapshot, *updates = frames("ohlc.jsonl")
    told = [event.candle for event in session.receive(snapshot, T0) if isinstance(event, CandleTold)]
    begins = [candle.interval_begin for candle in told]

    assert begins == sorted(set(begins))
    assert len(begins) > 5
    first = told[0]
    assert (first.interval, first.trades, str(first.volume), str(first.vwap)) == (1, 15, "0.25302078", "77416.2")
    (update,) = session.receive(updates[0], T0)
    assert (update.candle.trades, update.candle.close) == (15, Decimal("77509.2"))
