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


def shown(candles: list[Candle]) -> list[tuple[int, int, str]]:
    """Minute, trades, and what is known of each candle."""
    return [
        (
            one.interval_begin // 60_000_000_000 % 60,
            one.trades,
            "closed" * one.closed + " history" * one.history + "in part" * (not one.is_whole),
        )
        for one in candles
    ]


def test_a_candle_is_told_once_over_the_death_of_a_feed():
    """What was closed is not told again, nor is the one that was forming closed without the trades before."""
    market = Market(candles=(1,))
    minutes = {trade_id: f"23:{trade_id:02}:10" for trade_id in range(60)}
    frames = {trade_id: trade("BTC/USD", trade_id, at=at) for trade_id, at in minutes.items()}
    listener = told(market, [frames[10], frames[11], frames[12]], [frames[13]], [frames[14], frames[15]])

    assert shown(listener.candles) == [
        (11, 1, "closed"), (12, 1, ""),
        (13, 1, ""),
        (14, 1, "closed"), (15, 1, ""),
    ]  # fmt: skip
    assert market.counters.snapshot()["candles_missed"] == 3  # the last one of each life, and the first


def test_the_successor_tells_what_its_snapshot_adds_to_a_closed_interval():
    """The trades of the time between come with it; the interval before it was told is not told again."""
    market = Market(candles=(1,))
    listener = told(
        market,
        [trade("BTC/USD", 1, at="23:10:10"), trade("BTC/USD", 2, at="23:11:10")],
        [trade("BTC/USD", 3, at="23:11:50"), trade("BTC/USD", 4, at="23:12:10"), trade("BTC/USD", 5, at="23:13:10")],
    )
    assert shown(listener.candles)[-2:] == [(12, 1, "closed"), (13, 1, "")]
    assert not any(one.closed for one in listener.candles if one.interval_begin // 60_000_000_000 % 60 == 11)


def test_what_a_feed_published_before_it_was_killed_is_not_told_again():
    """Killed within a burst: its trades and candles are in the ring, and the supervisor puts them on the board."""
    market = Market(candles=(1, 5))
    hosted = market.host(Listener())
    market.take(trade("BTC/USD", 10, at="23:34:10"))
    market.take(trade("BTC/USD", 12, at="23:35:10"), trade("BTC/USD", 11, at="23:35:09"))
    market.take(trade("BTC/USD", 13, at="23:36:10"), end_burst=False)
    publisher, board, before = Publisher(market.ring), BoardWriter(market.board), BoardReader(market.board)
    settle_dead(market.shard, market.ring, board, before)
    announce_stale(market.shard, publisher, board, before, "killed", market.clock.mono_ns(), market.shard.first_rows)
    market.start_feed()
    market.take(trade("BTC/USD", 14, at="23:37:10"))
    while hosted.do_work():
        pass
    listener = hosted.strategy

    assert [one.trade_id for one in listener.trades] == [10, 12, 11, 13, 14]
    assert shown([one for one in listener.candles if one.interval_min == 1]) == [
        (34, 1, "in part"), (35, 2, ""), (37, 1, ""),
    ]  # fmt: skip
