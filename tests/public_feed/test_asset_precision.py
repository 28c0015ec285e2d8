"""What Kraken says of an asset's precision reaches strategies and the order router."""

from decimal import Decimal

import pytest

from engine.market import Pair
from engine.order_router.market_boards import BoardPort, MarketBoards
from engine.strategy.api import Strategy
from engine.units import NS_PER_S
from tests.public_feed.rig import Market

SYMBOLS = ("PENGU/USD", "EUR/USD")
PENGU = '{"symbol":"PENGU/USD","base":"PENGU","quote":"USD","qty_precision":5,"price_precision":6}'
EUR = '{"symbol":"EUR/USD","base":"EUR","quote":"USD","qty_precision":8,"price_precision":5}'


def asset(name: str, precision: object) -> str:
    return f'{{"id":"{name}","status":"enabled","precision":{precision},"precision_display":2,"borrowable":false}}'


ASSETS = ",".join([asset("USD", 4), asset("PENGU", 4), asset("EUR", 4), asset("BTC", 10)])


def instrument(assets: str = "", pairs: str = "", kind: str = "update") -> bytes:
    return f'{{"channel":"instrument","type":"{kind}","data":{{"assets":[{assets}],"pairs":[{pairs}]}}}}'.encode()


class Nothing(Strategy):
    def on_timer(self) -> None:
        pass


def seen(market: Market, symbol: str = "PENGU/USD") -> Pair:
    """The pair as the order router sees it, and as a strategy does."""
    port = BoardPort(market.shard, market.board, market.counters)
    by_router = MarketBoards([port], market.clock).pair(symbol)
    hosted = market.host(Nothing())
    hosted.do_work()
    assert hosted.context.pair(symbol) == by_router
    assert by_router is not None
    return by_router


def decimals(pair: Pair) -> tuple[int | None, int | None]:
    return pair.base_decimals, pair.quote_decimals


def test_precisions_of_both_assets_come_with_the_pair() -> None:
    """One snapshot: assets and pairs."""
    market = Market(symbols=SYMBOLS)
    market.take(instrument(ASSETS, f"{PENGU},{EUR}", "snapshot"))

    assert decimals(seen(market)) == (4, 4)
    assert decimals(seen(market, "EUR/USD")) == (4, 4)
    assert seen(market, "EUR/USD").round_qty("1.23456789", "down") == Decimal("1.2345")


@pytest.mark.parametrize(
    "frames",
    [(instrument("", PENGU, "snapshot"), instrument(ASSETS)), (instrument(ASSETS), instrument("", PENGU, "snapshot"))],
)
def test_assets_and_pairs_may_come_apart(frames: tuple[bytes, ...]) -> None:
    """In either order: the pair is told anew when its assets are."""
    market = Market(symbols=SYMBOLS)
    market.take(*frames)

    assert decimals(seen(market)) == (4, 4)


def test_a_pair_that_is_told_to_a_new_feed_before_the_assets_keeps_their_precisions() -> None:
    """It has changed just when the feed began anew: what an earlier life published of its assets holds."""
    market = Market(symbols=SYMBOLS)
    market.take(instrument(ASSETS, f"{PENGU},{EUR}", "snapshot"))
    market.start_feed()
    market.take(instrument("", PENGU.replace('"price_precision":6', '"price_precision":5')))

    assert decimals(seen(market)) == (4, 4)
    assert seen(market).price_decimals == 5


def test_an_asset_that_changes_alone_changes_its_pairs_and_no_others() -> None:
    """Kraken tells the asset that changed, and not its pairs."""
    market = Market(symbols=SYMBOLS)
    market.take(instrument(ASSETS, f"{PENGU},{EUR}", "snapshot"))
    market.clock.advance(NS_PER_S)
    before = market.session.receive(instrument(asset("BTC", 8)), market.clock.mono_ns())
    market.take(instrument(asset("PENGU", 2)))

    assert not before
    assert decimals(seen(market)) == (2, 4)
    assert decimals(seen(market, "EUR/USD")) == (4, 4)


@pytest.mark.parametrize("precision", [-1, 19, 10**30, "null"])
def test_a_precision_that_cannot_be_is_not_known_and_costs_nothing_else(precision: object) -> None:
    """The pair is told all the same."""
    market = Market(symbols=SYMBOLS)
    market.take(instrument(asset("PENGU", precision) + "," + asset("USD", 4), PENGU, "snapshot"))

    assert decimals(seen(market)) == (None, 4)
    assert seen(market).round_qty("39148.13654", "down") == Decimal("39148.13654")
