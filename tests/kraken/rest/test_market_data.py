"""Public market data by REST: genuine answers read to the last digit, whatever names and forms they come in."""

import json
from decimal import Decimal

import pytest

from engine.kraken.rest import market_data
from engine.kraken.rest.replies import RestRefusal
from engine.market.candles import MINUTE_NS, Candles, begin_of
from engine.timestamps import wall_ns
from engine.units import WallNs, decimal_units
from tests.kraken.rest.rig import body

READERS = {
    "ticker": lambda raw: market_data.read_tickers(200, raw, ["BTC/USD"]),
    "depth": lambda raw: market_data.read_depth(200, raw),
    "trades": lambda raw: market_data.read_trades(200, raw, "BTC/USD"),
    "candles": lambda raw: market_data.read_candles(200, raw, "BTC/USD", 1),
}


def reply(part, name="XXBTZUSD", **more):
    return json.dumps({"error": [], "result": {name: part, **more}}).encode()


# --- requests


@pytest.mark.parametrize(
    ("request_of", "target"),
    [
        (market_data.ticker(["BTC/USD", "DOGE/EUR"]), "Ticker?pair=BTC%2FUSD%2CDOGE%2FEUR"),
        (market_data.depth("BTC/USD", 25), "Depth?pair=BTC%2FUSD&count=25"),
        (market_data.trades("BTC/USD", WallNs(0)), "Trades?pair=BTC%2FUSD"),
        (market_data.trades("BTC/USD", WallNs(1701019771038366300)), "Trades?pair=BTC%2FUSD&since=1701019771038366300"),
        (market_data.ohlc("BTC/USD", 240, 1701019740), "OHLC?pair=BTC%2FUSD&interval=240&since=1701019740"),
        (market_data.ohlc("AAPLx/USD", 1, 0), "OHLC?pair=AAPLx%2FUSD&interval=1&since=0&asset_class=tokenized_asset"),
    ],
)
def test_requests_name_the_pair_by_its_symbol(request_of, target):
    """Kraken takes the v2 symbol; tokenized stocks are asked for in their class."""
    assert (request_of.method, request_of.target, request_of.is_private) == ("GET", f"/0/public/{target}", False)


# --- genuine answers


def test_a_genuine_ticker():
    """The figures of 24 hours, and the change since the day's opening; prices without REST's padding."""
    tickers = market_data.read_tickers(200, body("Ticker"), ["ETH/USD", "BTC/USD", "USDC/USD", "SOL/USD"])
    assert [one.symbol for one in tickers] == ["ETH/USD", "BTC/USD", "USDC/USD"]
    ether = tickers[0]
    assert (str(ether.bid), str(ether.bid_qty), str(ether.ask), str(ether.ask_qty)) == (
        "2243.88", "466", "2243.89", "1",
    )  # fmt: skip
    assert (str(ether.last), str(ether.volume), str(ether.vwap)) == ("2243.89", "25298.24282664", "2211.92808")
    assert (str(ether.low), str(ether.high)) == ("2165.9", "2262.21")
    assert (str(ether.change), str(ether.change_pct), ether.timestamp) == ("2.97", "0.13", "")
    (tether,) = market_data.read_tickers(200, body("Ticker_2025"), ["BTC/USDT"])
    assert str(tether.vwap) == "105904.39279"


def test_a_genuine_depth():
    """Both sides, best first; quantities as REST rounds them."""
    depth = market_data.read_depth(200, body("Depth_2025"))
    assert [str(level.price) for level in depth.bids] == ["105944.2", "105935.4", "105918.8", "105916.8", "105916.7"]
    assert [str(level.qty) for level in depth.asks] == ["0.136", "0.095", "0.003", "0.103", "0.024"]


def test_genuine_trades():
    """As the trade channel tells them: ids, the taker's side and order type, times to seven digits."""
    trades = market_data.read_trades(200, body("Trades"), "BTC/USD")
    assert (len(trades), trades[0].trade_id, trades[-1].trade_id) == (31, 64754585, 64754615)
    assert [trade.trade_id for trade in trades] == list(range(64754585, 64754616))
    first, third = trades[0], trades[2]
    assert (first.side, first.ord_type, str(first.price), str(first.qty)) == ("buy", "limit", "37247", "0.00026451")
    assert (third.ord_type, first.timestamp) == ("market", "2023-11-26T17:29:31.038366300Z")
    assert trades[-1].side == "buy"


def test_genuine_candles():
    """Oldest first; an interval without trades has one too, at the price of before and without a mean."""
    candles = market_data.read_candles(200, body("OHLC"), "BTC/USD", 1)
    assert candles[0].interval_begin == "2023-11-26T06:31:00.000000000Z"
    assert (candles[1].trades, str(candles[1].vwap), str(candles[1].volume)) == (4, "37780.4", "0.02258695")
    quiet = market_data.read_candles(200, body("OHLC_2025"), "BTC/USDT", 1)[0]
    assert (quiet.trades, quiet.volume, quiet.vwap, str(quiet.close)) == (0, 0, 0, "106038.2")


def test_genuine_trades_make_the_genuine_candle():
    """Of the one minute that both genuine answers cover, our candle of the trades is Kraken's."""
    candles = Candles((1,))
    trades = market_data.read_trades(200, body("Trades_2025"), "BTC/USDT")
    for trade in trades:
        ticks, lots = decimal_units(trade.price, 1), decimal_units(trade.qty, 8)
        candles.add(trade.trade_id, wall_ns(trade.timestamp), ticks, lots)
    begin = begin_of(wall_ns(trades[-1].timestamp), 1)
    candles.know(begin + MINUTE_NS)
    ours = next(state for state in candles.take() if state.begin == begin)
    told = market_data.read_candles(200, body("OHLC_2025"), "BTC/USDT", 1)
    (theirs,) = [row for row in told if wall_ns(row.interval_begin) == begin]

    assert ours.is_closed
    assert (ours.trades, ours.lots) == (theirs.trades, decimal_units(theirs.volume, 8))
    for name in ("open", "high", "low", "close", "vwap"):
        assert getattr(ours, name) == decimal_units(getattr(theirs, name), 1)


@pytest.mark.parametrize("name", ["BTC/USD", "XBT/USD", "XXBTZUSD", "XBTUSD", "BTCUSD"])
def test_the_pair_may_be_answered_under_any_of_its_names(name):
    """The one pair of an answer, and a ticker among others."""
    row = [1701019740, "1", "1", "1", "1", "1", "1", 1]
    assert len(market_data.read_candles(200, reply([row], name, last=1), "BTC/USD", 1)) == 1
    part = json.loads(body("Ticker"))["result"]["XXBTZUSD"]
    assert len(market_data.read_tickers(200, reply(part, name, OTHER={}), ["BTC/USD"])) == 1


# --- answers that cannot be used


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "raw",
    [
        b"", b"null", b"[]", b"{}", b"<html>", b'{"error":[],"result":{}}', b'{"error":[],"result":{"XXBTZUSD":null}}',
        b'{"error":[],"result":{"XXBTZUSD":[[1]]}}', b'{"error":[],"result":{"XXBTZUSD":{"a":[]}}}',
        b'{"error":[],"result":{"XXBTZUSD":[["x","y",1,"b","l","",1]]}}',
        b'{"error":[],"result":{"XXBTZUSD":[["1","1",1e30,"b","l","",1]]}}',
        b'{"error":[],"result":{"XXBTZUSD":[["1","1",1,"z","l","",1]]}}',
        b'{"error":[],"result":{"XXBTZUSD":[["1e999999999","1",1,"b","l","",1]]}}',
        b'{"error":[],"result":{"XXBTZUSD":[[-1,"1","1","1","1","1","1",1]]}}',
        b'{"error":[],"result":{"XXBTZUSD":[[1,"NaN","1","1","1","1","1",1]]}}',
        b'{"error":[],"result":{"A":[],"B":[]}}', b'{"error":["EQuery:Unknown asset pair"]}',
        b'{"error":["EService:Unavailable"],"result":{}}',
    ],
    ids=lambda raw: raw.decode()[:60],
)  # fmt: skip
def test_what_cannot_be_read_is_a_refusal(kind, raw):
    """One sentence, never an exception, and never half an answer."""
    told = READERS[kind](raw)
    assert isinstance(told, RestRefusal)
    assert told.sentence


def test_krakens_words_are_kept():
    """The refusal says what Kraken said."""
    told = market_data.read_candles(200, b'{"error":["EGeneral:Invalid arguments:interval"]}', "BTC/USD", 7)
    assert isinstance(told, RestRefusal)
    assert "Invalid arguments:interval" in told.sentence


def test_a_ticker_that_cannot_be_read_costs_its_pair_alone():
    """The others are told."""
    good = json.loads(body("Ticker"))["result"]["XXBTZUSD"]
    raw = json.dumps({"error": [], "result": {"XXBTZUSD": good, "XETHZUSD": {**good, "a": []}}}).encode()
    assert [one.symbol for one in market_data.read_tickers(200, raw, ["ETH/USD", "BTC/USD"])] == ["BTC/USD"]


def test_a_pair_that_opened_at_nothing_has_not_changed():
    """A new pair's opening is 0."""
    part = json.loads(body("Ticker"))["result"]["XXBTZUSD"] | {"o": "0.00000"}
    (told,) = market_data.read_tickers(200, reply(part), ["BTC/USD"])
    assert told.change_pct == Decimal(0)
