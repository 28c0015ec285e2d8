"""Trades and candles over the deaths of a feed: its successor goes on where it ended."""

from engine.public_feed.feed import announce_stale, settle_dead
from engine.records import Candle, Trade
from engine.ring import BoardReader, BoardWriter, Publisher
from engine.strategy.api import Strategy
from tests.public_feed.rig import Market, trade


class Listener(Strategy):
    """Remembers the trades and candles that it was told."""

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.candles: list[Candle] = []

    def on_trade(self, trade: Trade) -> None:
        self.trades.append(trade)

    def on_candle(self, candle: Candle) -> None:
        self.candles.append(candle)


def candles(kind: str, *rows: tuple[int, int]) -> bytes:
    """A message of one-minute candles of BTC/USD: (minute, trades)."""
    text = ",".join(
        f'{{"symbol":"BTC/USD","open":1,"high":1,"low":1,"close":1,"trades":{trades},"volume":1,"vwap":1,'
        f'"interval_begin":"2026-09-10T17:{minute:02}:00.000000000Z","interval":1}}'
        for minute, trades in rows
    )
    return f'{{"channel":"ohlc","type":"{kind}","timestamp":"2026-09-10T18:00:00Z","data":[{text}]}}'.encode()


def told(market: Market, *lives: list[bytes]) -> Listener:
    """What a strategy hears of the frames of one life after another of a feed."""
    hosted = market.host(Listener())
    for number, frames in enumerate(lives):
        if number:
            market.start_feed()
        market.take(*frames)
        market.feed.do_work()
        while hosted.do_work():
            pass
    return hosted.strategy  # type: ignore[return-value]


def snapshot_of(*ids: int) -> bytes:
    rows = [trade("BTC/USD", trade_id).partition(b'"data":[')[2].removesuffix(b"]}") for trade_id in ids]
    return b'{"channel":"trade","type":"snapshot","data":[' + b",".join(rows) + b"]}"


def test_a_trade_is_told_once_over_the_death_of_a_feed():
    """The successor's snapshot repeats some and brings two of the time between; one is missed."""
    market = Market()
    listener = told(
        market,
        [trade("BTC/USD", 10), trade("BTC/USD", 11)],
        [snapshot_of(10, 11, 13, 14), trade("BTC/USD", 15)],
    )
    counts = market.counters.snapshot()

    assert [(one.trade_id, one.history) for one in listener.trades] == [
        (10, False), (11, False), (13, True), (14, True), (15, False),
    ]  # fmt: skip
    assert (counts["trades"], counts["trades_missed"], counts["trades_repeated"]) == (5, 1, 2)


def test_a_candle_is_told_once_over_the_death_of_a_feed():
    """What was closed is not told again; the one that was forming is closed by the snapshot, as history."""
    market = Market()
    listener = told(
        market,
        [candles("snapshot", (31, 1), (32, 1), (33, 1)), candles("update", (34, 2))],
        [candles("snapshot", (32, 1), (33, 1), (34, 5), (35, 1))],
    )

    minutes = [one.interval_begin // 60_000_000_000 % 60 for one in listener.candles]

    assert [(m, one.trades, one.closed, one.history) for m, one in zip(minutes, listener.candles, strict=True)] == [
        (31, 1, True, True), (32, 1, True, True), (33, 1, False, False),
        (33, 1, True, False), (34, 2, False, False),
        (34, 5, True, True), (35, 1, False, False),
    ]  # fmt: skip
    assert market.counters.snapshot()["candles_repeated"] == 2


def test_a_candle_whose_end_nobody_tells_is_missed_over_the_death_of_a_feed():
    """The successor's snapshot begins two minutes later: nothing is closed, and the next candle says how many."""
    market = Market()
    listener = told(market, [candles("update", (34, 2))], [candles("snapshot", (36, 1), (37, 1))])

    assert [(one.closed, one.history, one.missed) for one in listener.candles] == [
        (False, False, 0), (True, True, 2), (False, False, 0),
    ]  # fmt: skip
    assert market.counters.snapshot()["candles_missed"] == 2


def test_what_a_feed_published_before_it_was_killed_is_not_told_again():
    """Killed within a burst: its trades and candles are in the ring, and the supervisor puts them on the board."""
    market = Market()
    hosted = market.host(Listener())
    market.take(trade("BTC/USD", 10), candles("update", (34, 2)))
    market.take(trade("BTC/USD", 12), trade("BTC/USD", 11), candles("update", (35, 1)), end_burst=False)
    publisher, board, before = Publisher(market.ring), BoardWriter(market.board), BoardReader(market.board)
    settle_dead(market.shard, market.ring, board, before)
    announce_stale(market.shard, publisher, board, before, "killed", market.clock.mono_ns(), market.shard.first_rows)
    market.start_feed()
    market.take(snapshot_of(10, 11, 12), trade("BTC/USD", 13), candles("snapshot", (34, 2), (35, 1)))
    while hosted.do_work():
        pass
    listener = hosted.strategy

    assert [one.trade_id for one in listener.trades] == [10, 12, 11, 13]
    assert [(one.interval_begin // 60_000_000_000 % 60, one.closed) for one in listener.candles] == [
        (34, False), (34, True), (35, False), (35, False),
    ]  # fmt: skip
