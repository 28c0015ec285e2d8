"""What a context tells of a pair when it is asked, and how old that is."""

from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from engine import BookTop, Strategy
from engine.public_feed.sources import SourceSettings
from engine.records import pack_candle, pack_ticker
from engine.strategy_host.context import TRADES_KEPT, StrategyContext
from engine.units import NS_PER_S
from tests.public_feed.rig import Market, drain, flip_checksum, frames, trade

HEARTBEAT = b'{"channel":"heartbeat"}'
TICKER = (
    b'{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","bid":63500.0,"bid_qty":1.00000000,'
    b'"ask":63501.0,"ask_qty":1.00000000,"last":63500.5,"volume":5.00000000,"vwap":63500.5,"low":1.0,"high":64000.0,'
    b'"change":1.0,"change_pct":0.01}]}'
)


def ticker_record(received_at: int, bid: int = 635000, ask: int = 635010) -> bytes:
    """A TICKER of the first pair."""
    numbers = (bid, 1, ask, 1, 635005, 5, 635005, 1, 1, 10, 1)
    return pack_ticker(
        0, numbers, price_decimals=1, qty_decimals=8, percent_decimals=2, kraken_time="", received_at=received_at
    )


def candle_record(interval_min: int, received_at: int) -> bytes:
    """A CANDLE of the first pair."""
    return pack_candle(
        0, (1, 2, 1, 2, 1, 7, 3, 60 * NS_PER_S), price_decimals=1, qty_decimals=8, interval_min=interval_min,
        closed=False, history=False, received_at=received_at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("made", "asked", "sentence"),
    [
        ((1, 60), 5, "there are no candles of 5 min: feed.candle_intervals_min has 1, 60; add it there"),
        ((), 1, "there are no candles of 1 min: feed.candle_intervals_min has none; add it there"),
        ((1, 60), "1", "there are no candles of '1' min: feed.candle_intervals_min has 1, 60; add it there"),
        ((1, 60), 60, ""),
        ((1, 60), None, ""),
    ],
)
def test_who_asks_for_candles_that_are_never_made_is_told_once(made, asked, sentence):
    """Nothing else says why a strategy that waits for them does nothing."""
    market = Market(candles=made)
    context = market.host(Strategy()).context
    with capture_logs() as logs:
        for _ in range(3):
            assert context.candle("BTC/USD", asked) is None
            assert context.candles("BTC/USD", *([] if asked is None else [asked])) == ()

    assert [log["reason"] for log in logs] == ([sentence] if sentence else [])


def test_ticker_trades_and_candles_are_kept_without_callbacks():
    """A strategy that overrides nothing still knows them; before the first there is none."""
    market = Market()
    hosted = market.host(Strategy())
    context = hosted.context
    before = (context.ticker("BTC/USD"), context.trades("BTC/USD"), context.candle("BTC/USD"))
    market.take(*frames()[:20], *(trade("BTC/USD", number) for number in range(1, TRADES_KEPT + 11)))
    now = market.clock.mono_ns()
    market.publisher.publish(ticker_record(now))
    market.publisher.publish(candle_record(1, now))
    market.publisher.publish(candle_record(5, now))
    drain(hosted)
    ticker, candle = context.ticker("BTC/USD"), context.candle("BTC/USD", 5)

    assert before == (None, (), None)
    assert [one.trade_id for one in context.trades("BTC/USD")] == list(range(11, TRADES_KEPT + 11))
    assert ticker is not None
    assert (ticker.bid, ticker.mid, ticker.spread) == (Decimal("63500.0"), Decimal("63500.5"), Decimal("1.0"))
    assert ticker.spread_percent == 100 * Decimal("1.0") / Decimal("63500.5")
    assert candle is not None
    assert candle.interval_min == 5
    assert context.candle("BTC/USD", 15) is None
    assert context.ticker("ETH/USD") is None
    with pytest.raises(KeyError, match="follows BTC/USD, ETH/USD"):
        context.ticker("DOGE/USD")


def ages(market: Market, context: StrategyContext) -> tuple[float, float]:
    """Of book and ticker of the first pair, after a look at the evidence."""
    market.feed.look_at_sources(market.clock.mono_ns())
    book, ticker = context.book("BTC/USD"), context.ticker("BTC/USD")
    assert book is not None
    assert ticker is not None
    return round(book.age_s), round(ticker.age_s)


def test_a_quiet_pair_is_as_young_as_its_connection_and_ages_without_it() -> None:
    """Heartbeats prove that nothing newer has come; silence proves nothing."""
    market = Market(sources=SourceSettings())
    hosted = market.host(Strategy())
    market.take(*frames()[:20], TICKER)
    drain(hosted)
    market.clock.advance(4 * NS_PER_S)
    silent = ages(market, hosted.context)
    market.take(HEARTBEAT)
    market.clock.advance(NS_PER_S)
    heard = ages(market, hosted.context)
    market.session.closed(market.clock.mono_ns(), "cut")
    market.clock.advance(NS_PER_S)
    cut = ages(market, hosted.context)

    assert (silent, heard, cut) == ((4, 4), (1, 1), (6, 6))


def test_a_book_in_doubt_is_proved_by_no_heartbeat() -> None:
    """The ticker has a channel of its own, and stays as young as the connection."""
    market = Market(sources=SourceSettings())
    hosted = market.host(Strategy())
    market.take(*frames()[:20], TICKER)
    drain(hosted)
    market.clock.advance(NS_PER_S)
    bad = next(frame for frame in frames()[20:] if b'"BTC/USD"' in frame and b'"book"' in frame)
    market.take(flip_checksum(bad))
    drain(hosted)
    market.clock.advance(4 * NS_PER_S)
    market.take(HEARTBEAT)

    assert ages(market, hosted.context) == (5, 0)


def test_the_spread_in_per_cent():
    """Of the price half-way."""
    told: list[BookTop] = []

    class Looker(Strategy):
        def on_book(self, book: BookTop) -> None:
            told.append(book)

    market = Market()
    hosted = market.host(Looker())
    market.take(*frames()[:20])
    drain(hosted)
    book = told[-1]
    assert book.spread is not None
    assert book.mid is not None

    assert book.spread_percent == 100 * book.spread / book.mid
