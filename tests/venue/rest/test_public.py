"""The public calls of REST, held against genuine answers: the same keys, the same types, the same padding."""

import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine.venue.market.matching import BUY, SELL
from tests.venue.rest_client import THREE_PAIRS, limit_buy, standing_venue

TEXT_NUMBER = re.compile(r"\d+(\.\d+)?")


def captured(genuine: Path, name: str) -> Any:
    return json.loads((genuine / "private" / "rest_public" / f"{name}.json").read_text())["result"]


def shape(value: Any) -> Any:
    """The types of a value, of a text that is a number the fact."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if isinstance(value, str) and TEXT_NUMBER.fullmatch(value):
        return "number in text"
    return type(value).__name__


async def test_the_listing_is_complete(genuine: Path):
    """A pair has every field that a genuine one without leverage has, in the same order and of the same type."""
    expected = captured(genuine, "AssetPairs")["XXBTZUSD"]
    expected["execution_venue"] = "international"  # since 2026-04
    for key in ("long_position_limit", "short_position_limit"):
        del expected[key]
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        pairs = (await client.public("AssetPairs"))["result"]

    row = pairs["XXBTZUSD"]
    assert list(row) == list(expected)
    for key, value in expected.items():
        assert shape(row[key]) == shape(value) or isinstance(value, list), key
    assert [row[key] for key in ("leverage_buy", "leverage_sell")] == [[], []]  # what is not served is not offered
    assert [row[key] for key in ("fees", "fees_maker")] == [[], []]  # as Kraken has it since 2026-09-08
    assert (row["altname"], row["wsname"], row["base"], row["quote"]) == ("XBTUSD", "XBT/USD", "XXBT", "ZUSD")
    assert (row["ordermin"], row["costmin"], row["tick_size"]) == ("0.00005", "0.5", "0.1")
    assert list(pairs) == ["XXBTZUSD", "XETHZUSD", "XDGUSD"]


async def test_a_listing_opens_no_market():
    """All markets opened for a list of names were a third of what a short run of the engine cost."""
    async with standing_venue(symbols=THREE_PAIRS[:1], also=True) as (venue, client):
        pairs = (await client.public("AssetPairs"))["result"]
        markets = venue.trading_side.exchange.markets

        assert len(pairs) == len(markets) > 1
        assert f"opened 1 of {len(markets)}" in repr(markets)


NAMES = {
    "XXBTZUSD": "XXBTZUSD",
    "XBTUSD": "XXBTZUSD",
    "BTCUSD": "XXBTZUSD",
    "xbtusd": "XXBTZUSD",
    "BTC/USD": "BTC/USD",
    "XBT/USD": "XBT/USD",
    "XXBT/ZUSD": "XXBT/ZUSD",
}


@pytest.mark.parametrize(("name", "key"), NAMES.items())
async def test_every_name_of_a_pair_is_understood(name: str, key: str):
    """By every call: the id, the alternative name, v1's and v2's. The answer uses the id, but a name with a slash
    as it was asked."""
    calls = ("AssetPairs", "Ticker", "Depth", "OHLC", "Trades", "Spread")
    async with standing_venue() as (_, client):
        answers = {call: (await client.public(call, pair=name))["result"] for call in calls}

    keys = {call: [found for found in answer if found != "last"] for call, answer in answers.items()}
    assert keys == {call: [key] for call in calls}


async def test_several_pairs_are_each_named_as_they_were_asked():
    """In the order of the request; spaces between them do not count."""
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        pairs = (await client.public("AssetPairs", pair="DOGE/USD,XDGUSD, ETH/USD"))["result"]
        tickers = (await client.public("Ticker", pair="ETHUSD,BTC/USD"))["result"]

    assert list(pairs) == ["DOGE/USD", "XDGUSD", "ETH/USD"]
    assert pairs["DOGE/USD"] == pairs["XDGUSD"]
    assert pairs["XDGUSD"]["base"] == "XXDG"
    assert list(tickers) == ["XETHZUSD", "BTC/USD"]


@pytest.mark.parametrize("call", ["AssetPairs", "Ticker", "Depth", "OHLC", "Trades", "Spread"])
async def test_display_names_when_they_are_asked_for(call: str):
    """With `assetVersion=1` every pair goes by its v2 symbol, however it was asked; no other version is offered."""
    async with standing_venue() as (_, client):
        answer = (await client.public(call, pair="XBTUSD", assetVersion=1))["result"]
        older = (await client.public(call, pair="XBT/USD", assetVersion=1))["result"]
        other = await client.public(call, pair="XBTUSD", assetVersion=2)

    assert next(iter(answer)) == next(iter(older)) == "BTC/USD"
    assert other == {"error": ["EGeneral:Invalid arguments:assetVersion"]}


async def test_display_names_of_assets_and_in_pairs():
    """Assets by their v2 names, pairs with them; alternative names stay."""
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        assets = (await client.public("Assets", assetVersion=1))["result"]
        pairs = (await client.public("AssetPairs", assetVersion=1))["result"]

    assert list(assets) == ["BTC", "USD", "ETH", "DOGE"]
    assert assets["BTC"]["altname"] == "XBT"
    assert list(pairs) == ["BTC/USD", "ETH/USD", "DOGE/USD"]
    row = pairs["BTC/USD"]
    assert [row[key] for key in ("base", "quote", "fee_volume_currency")] == ["BTC", "USD", "USD"]
    assert (row["altname"], row["wsname"]) == ("XBTUSD", "XBT/USD")


async def test_a_part_of_the_listing():
    """`info` chooses fees, leverage or margin, whose stop is called level there."""
    async with standing_venue() as (_, client):
        parts = {
            info: (await client.public("AssetPairs", pair="XBTUSD", info=info))["result"]["XXBTZUSD"]
            for info in ("info", "fees", "leverage", "margin")
        }
        whole = (await client.public("AssetPairs", pair="XBTUSD"))["result"]["XXBTZUSD"]

    assert parts["info"] == whole
    assert list(parts["fees"]) == ["fees", "fees_maker", "fee_volume_currency"]
    assert list(parts["leverage"]) == ["leverage_buy", "leverage_sell"]
    assert parts["margin"] == {"margin_call": 80, "margin_level": 40}


async def test_the_listing_by_place_and_venue():
    """A country changes nothing; of the two execution venues one has all pairs and the other none."""
    async with standing_venue() as (_, client):
        whole = await client.public("AssetPairs")
        here = await client.public("AssetPairs", country_code="DE", execution_venue="international")
        there = await client.public("AssetPairs", execution_venue="bitnomial_exchange")

    assert here == whole
    assert there == {"error": [], "result": {}}


async def test_no_shares_are_listed():
    """Asked for tokenized assets, the venue has none: clients ask for both classes and keep whatever comes."""
    async with standing_venue() as (_, client):
        shares = await client.public("AssetPairs", aclass_base="tokenized_asset")
        share = await client.public("AssetPairs", aclass_base="tokenized_asset", pair="XBTUSD")
        currencies = await client.public("AssetPairs", aclass_base="currency", pair="XBTUSD")
        assets = await client.public("Assets", aclass="tokenized_asset")
        ticker = await client.public("Ticker", pair="XBTUSD", asset_class="tokenized_asset")
        depth = await client.public("Depth", pair="XBTUSD", asset_class="tokenized_asset")
        forex = await client.public("Ticker", pair="XBTUSD", asset_class="forex")

    assert shares == assets == {"error": [], "result": {}}
    assert share == ticker == depth == {"error": ["EQuery:Unknown asset pair"]}
    assert list(currencies["result"]) == list(forex["result"]) == ["XXBTZUSD"]


async def test_assets(genuine: Path):
    """By id, with the fields of the genuine answer."""
    expected = captured(genuine, "Assets")["XXBT"]
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        everything = (await client.public("Assets"))["result"]
        chosen = (await client.public("Assets", asset="XBT,ZUSD"))["result"]
        unknown = await client.public("Assets", asset="GOLD")

    assert list(everything["XXBT"]) == list(expected)
    assert list(everything) == ["XXBT", "ZUSD", "XETH", "XXDG"]
    assert list(chosen) == ["XXBT", "ZUSD"]
    assert unknown == {"error": ["EQuery:Unknown asset"]}


@pytest.mark.parametrize("call", ["Ticker", "Depth", "Trades", "OHLC"])
async def test_markets_look_like_genuine_ones(genuine: Path, call: str):
    """The same fields, each of the same type, prices to the same number of decimals."""
    expected = captured(genuine, call)
    async with standing_venue() as (_, client):
        reply = (await client.public(call, pair="XBTUSD"))["result"]

    ours, theirs = reply["XXBTZUSD"], expected["XXBTZUSD"]
    if call == "Ticker":
        assert shape(ours) == shape(theirs)
        assert decimals(ours) == decimals(theirs)
    elif call == "Depth":
        assert list(ours) == list(theirs)
        for side in ours:
            assert shape(ours[side][0]) == shape(theirs[side][0])
            assert decimals(ours[side]) == decimals(theirs[side])
    else:
        assert shape(ours[-1]) == shape(theirs[-1])
        assert decimals(ours) == decimals(theirs)
        assert type(reply["last"]) is type(expected["last"])


def decimals(value: Any) -> set[int]:
    """How many digits behind the point the text numbers in it have."""
    if isinstance(value, dict):
        return set().union(*map(decimals, value.values()))
    if isinstance(value, list):
        return set().union(*map(decimals, value)) if value else set()
    if isinstance(value, str) and "." in value:
        return {len(value.partition(".")[2])}
    return set()


async def test_depth_shows_the_book():
    """Best first on both sides, as many as asked for, no quantity 0."""
    async with standing_venue() as (_, client):
        book = (await client.public("Depth", pair="XBTUSD", count=500))["result"]["XXBTZUSD"]
        few = (await client.public("Depth", pair="XBTUSD", count=2))["result"]["XXBTZUSD"]

    bids, asks = ([float(row[0]) for row in book[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert all(float(row[1]) > 0 for side in book.values() for row in side)
    assert [len(rows) for rows in few.values()] == [2, 2]
    assert few["asks"] == book["asks"][:2]


async def test_a_grouped_book_is_the_book():
    """Bids are counted at the step below, asks at the one above; nothing is lost within the depth."""
    async with standing_venue() as (venue, client):
        grouped = (await client.public("GroupedBook", pair="BTC/USD", depth=10, grouping=100))["result"]
        plain = (await client.public("GroupedBook", pair="XBTUSD", depth=25))["result"]
        refused = await client.public("GroupedBook", pair="XBTUSD", grouping=3)
        assert venue.exchange is not None
        book = venue.exchange.markets["BTC/USD"].book
        bids, asks = book.levels(BUY), book.levels(SELL)

    assert (grouped["pair"], grouped["grouping"], plain["grouping"]) == ("BTC/USD", 100, 1)
    assert [len(grouped[side]) for side in ("bids", "asks")] == [10, 10]
    assert [len(plain[side]) for side in ("bids", "asks")] == [25, 25]
    bid, ask = grouped["bids"][1], grouped["asks"][1]
    bid_ticks, ask_ticks = round(float(bid["price"]) * 10), round(float(ask["price"]) * 10)
    assert bid_ticks % 100 == ask_ticks % 100 == 0
    assert round(float(bid["qty"]) * 1e8) == sum(qty for price, qty in bids if 0 <= price - bid_ticks < 100)
    assert round(float(ask["qty"]) * 1e8) == sum(qty for price, qty in asks if 0 <= ask_ticks - price < 100)
    assert refused == {"error": ["EGeneral:Invalid arguments:grouping"]}


async def test_the_book_before_trades():
    """The ten best levels with their orders, the pair described."""
    async with standing_venue() as (_, client):
        told = (await client.public("PreTrade", symbol="BTC/USD"))["result"]
        depth = (await client.public("Depth", pair="BTC/USD", count=10))["result"]["BTC/USD"]
        nothing = await client.public("PreTrade", symbol="WWW/USD")

    assert (told["symbol"], told["base_asset"], told["quote_notation"], told["system"]) == (
        "BTC/USD",
        "XBT",
        "MONE",
        "CLOB",
    )
    assert [row["price"] for row in told["asks"]] == [row[0] for row in depth["asks"]]
    assert [row["price"] for row in told["bids"]] == [row[0] for row in depth["bids"]]
    assert {row["side"] for row in told["asks"]} == {"SELL"}
    assert all(row["count"] >= 1 and float(row["qty"]) > 0 for row in told["bids"])
    assert nothing == {"error": ["EQuery:Unknown asset pair"]}


async def test_trades_after_the_fact():
    """Of one pair the trades that Trades has; of all pairs in the order of time; paged by `from_ts`."""
    async with standing_venue(symbols=THREE_PAIRS) as (_, client):
        told = (await client.public("PostTrade", symbol="BTC/USD", count=20))["result"]
        trades = (await client.public("Trades", pair="BTC/USD", count=20))["result"]["BTC/USD"]
        since = told["trades"][9]["trade_ts"]
        until = told["trades"][14]["trade_ts"]
        page = (await client.public("PostTrade", symbol="BTC/USD", from_ts=since, to_ts=until))["result"]
        before = (await client.public("PostTrade", symbol="BTC/USD", to_ts=since, count=5))["result"]
        every = (await client.public("PostTrade", from_ts=since, count=100))["result"]
        newest = (await client.public("PostTrade"))["result"]
        none = (await client.public("PostTrade", from_ts=told["last_ts"], symbol="BTC/USD"))["result"]
        refused = await client.public("PostTrade", from_ts="yesterday")

    assert [row["price"] for row in told["trades"]] == [row[0] for row in trades]
    assert [row["quantity"] for row in told["trades"]] == [row[1] for row in trades]
    assert told["last_ts"] == told["trades"][-1]["trade_ts"]
    assert page["trades"] == told["trades"][10:15]
    assert before["trades"] == told["trades"][5:10]
    assert len({row["symbol"] for row in every["trades"]}) == 3
    for rows in (every["trades"], newest["trades"]):
        assert [row["trade_ts"] for row in rows] == sorted(row["trade_ts"] for row in rows)
    assert newest["count"] == len(newest["trades"]) == 1000
    assert len({row["trade_id"] for row in told["trades"]}) == 20
    assert none == {"last_ts": "", "count": 0, "trades": []}
    assert refused == {"error": ["EGeneral:Invalid arguments:from_ts"]}


async def test_no_price_loses_a_tick():
    """A pair whose ticks are finer than its cost precision, and one whose ticks are whole: Depth has every level."""
    async with standing_venue(symbols=("VET/USDT", "BTC/JPY")) as (venue, client):
        assert venue.exchange is not None
        for symbol, decimals in (("VET/USDT", 6), ("BTC/JPY", 0)):
            rows = (await client.public("Depth", pair=symbol, count=50))["result"][symbol]["asks"]
            ticker = (await client.public("Ticker", pair=symbol))["result"][symbol]
            levels = venue.exchange.markets[symbol].book.levels(SELL, 50)
            listed = (await client.public("AssetPairs", pair=symbol))["result"][symbol]

            assert [round(float(row[0]) * 10**decimals) for row in rows] == [price for price, _ in levels]
            assert float(ticker["b"][0]) < float(ticker["a"][0])
            assert float(listed["tick_size"]) == 10**-decimals
    assert listed["tick_size"] == "1"


async def test_trades_can_be_followed():
    """`last` of one answer as `since` of the next leads on without a gap or a repetition."""
    async with standing_venue() as (_, client):
        everything = (await client.public("Trades", pair="XBTUSD", count=200))["result"]["XXBTZUSD"]
        ids, since = [], str(int(everything[0][2] * 1e9) - 10_000)
        while True:
            reply = (await client.public("Trades", pair="XBTUSD", since=since, count=7))["result"]
            if not reply["XXBTZUSD"]:
                break
            ids += [row[-1] for row in reply["XXBTZUSD"]]
            since = reply["last"]

    assert len(ids) > 20
    assert ids == [row[-1] for row in everything]
    assert reply["last"] == since


async def test_candles_have_no_gaps():
    """720 of them, one per interval, the last one now; quiet intervals have one without trades."""
    async with standing_venue() as (_, client):
        reply = (await client.public("OHLC", pair="XBTUSD", interval=1))["result"]
        again = (await client.public("OHLC", pair="XBTUSD", interval=1, since=reply["last"]))["result"]
        refused = await client.public("OHLC", pair="XBTUSD", interval=7)

    begins = [row[0] for row in reply["XXBTZUSD"]]
    assert len(begins) >= 718
    assert {after - before for before, after in pairwise(begins)} == {60}
    assert all(
        float(low) <= min(float(opened), float(close)) <= max(float(opened), float(close)) <= float(high)
        for _, opened, high, low, close, *_ in reply["XXBTZUSD"]
    )
    assert any(row[5:] == ["0.0", "0.00000000", 0] for row in reply["XXBTZUSD"])
    assert 1 <= len(again["XXBTZUSD"]) <= 2
    assert refused == {"error": ["EGeneral:Invalid arguments:interval"]}


async def test_trades_from_the_beginning():
    """`since=0` begins with the oldest trade and leads on; without `since` the newest come."""
    async with standing_venue() as (_, client):
        oldest = (await client.public("Trades", pair="XBTUSD", since=0))["result"]
        next_page = (await client.public("Trades", pair="XBTUSD", since=oldest["last"], count=3))["result"]
        newest = (await client.public("Trades", pair="XBTUSD"))["result"]

    rows = oldest["XXBTZUSD"]
    assert rows[0][2] < 1_430_000_000
    assert [row[-1] for row in rows] == list(range(rows[0][-1], rows[0][-1] + 1000))
    assert [row[-1] for row in next_page["XXBTZUSD"]] == [rows[-1][-1] + rank for rank in (1, 2, 3)]
    assert len(newest["XXBTZUSD"]) == 1000
    assert time.time() - newest["XXBTZUSD"][-1][2] < 60
    assert int(newest["last"]) / 1e9 == pytest.approx(newest["XXBTZUSD"][-1][2], abs=1e-5)


async def test_each_level_of_depth_bears_the_time_of_its_last_change():
    """They differ, none lies ahead, and a level that a client changes has a new one."""
    async with standing_venue() as (_, client):
        book = (await client.public("Depth", pair="XBTUSD", count=500))["result"]["XXBTZUSD"]
        await client.result("AddOrder", **limit_buy(price=book["bids"][0][0][:-4], volume="0.5"))
        after = (await client.public("Depth", pair="XBTUSD", count=500))["result"]["XXBTZUSD"]

    times = [row[2] for side in ("bids", "asks") for row in book[side]]
    now_s = time.time()
    assert len(set(times)) > 3
    assert all(now_s - 120 < at_s <= now_s for at_s in times)
    assert after["bids"][0][2] > max(times) - 2
    assert after["bids"][1:] == book["bids"][1:]


async def test_the_mean_price_has_all_its_decimals():
    """Volume-weighted, so no multiple of the tick."""
    async with standing_venue() as (_, client):
        rows = (await client.public("Ticker"))["result"]

    assert any(not row["p"][0].endswith("0000") for row in rows.values())
    assert all(float(row["l"][1]) <= float(row["p"][1]) <= float(row["h"][1]) for row in rows.values())


async def test_the_unfinished_candle_always_comes():
    """`since` leaves out what began then or before, but never the last one."""
    async with standing_venue() as (_, client):
        rows = (await client.public("OHLC", pair="XBTUSD", interval=60))["result"]["XXBTZUSD"]
        after = (await client.public("OHLC", pair="XBTUSD", interval=60, since=rows[-3][0]))["result"]["XXBTZUSD"]
        ahead = (await client.public("OHLC", pair="XBTUSD", interval=60, since=rows[-1][0] + 10**6))["result"]

    assert after == rows[-2:]
    assert ahead == {"XXBTZUSD": rows[-1:], "last": rows[-2][0]}


async def test_spread_has_a_history_and_grows():
    """The first call shows how the best prices moved; each change adds a row."""
    async with standing_venue() as (venue, client):
        first = (await client.public("Spread", pair="XBTUSD"))["result"]
        assert venue.exchange is not None
        for _ in range(200):
            venue.exchange.next_event()
        later = (await client.public("Spread", pair="XBTUSD"))["result"]

    assert len(first["XXBTZUSD"]) > 20
    assert all(0 < float(bid) < float(ask) for _, bid, ask in first["XXBTZUSD"])
    assert later["XXBTZUSD"] != first["XXBTZUSD"]
    assert len(later["XXBTZUSD"]) <= 200
    assert shape(later["XXBTZUSD"][0]) == ["int", "number in text", "number in text"]
    assert later["last"] == later["XXBTZUSD"][-1][0]


async def test_the_clock_and_the_state(genuine: Path):
    """Time and SystemStatus, in the genuine form."""
    async with standing_venue() as (venue, client):
        now = (await client.public("Time"))["result"]
        venue.system = "post_only"
        status = (await client.public("SystemStatus"))["result"]

    assert shape(now) == shape(captured(genuine, "Time"))
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d\d \d\d:\d\d:\d\d \+0000", now["rfc1123"])
    assert abs(now["unixtime"] - time.time()) < 60
    assert shape(status) == shape(captured(genuine, "SystemStatus")) | {"upcoming_maintenance": [], "emergency": []}
    assert status["status"] == "post_only"


async def test_a_wrong_clock_is_wrong_in_one_place():
    """The offset moves Time, and no order's or candle's time."""
    async with standing_venue(clock_offset_s=-3600.0) as (_, client):
        now = (await client.public("Time"))["result"]["unixtime"]
        depth = (await client.public("Depth", pair="XBTUSD", count=1))["result"]["XXBTZUSD"]

    assert abs(depth["bids"][0][2] - now - 3600) < 60


@pytest.mark.parametrize(
    ("call", "params", "error"),
    [
        ("Ticker", {"pair": "NOPE"}, "EQuery:Unknown asset pair"),
        ("Depth", {}, "EGeneral:Invalid arguments:pair"),
        ("Depth", {"pair": "XBTUSD", "count": "many"}, "EGeneral:Invalid arguments:count"),
        ("Depth", {"pair": "XBTUSD", "count": "0"}, "EGeneral:Invalid arguments:count"),
        ("Trades", {"pair": "XBTUSD", "count": "1001"}, "EGeneral:Invalid arguments:count"),
        ("Trades", {"pair": "XBTUSD", "since": "yesterday"}, "EGeneral:Invalid arguments:since"),
        ("AssetPairs", {"info": "everything"}, "EGeneral:Invalid arguments:info"),
        ("Weather", {}, "EGeneral:Unknown method"),
    ],
)
async def test_refusals(call: str, params: dict[str, str], error: str):
    """Kraken's words, with status 200."""
    async with standing_venue() as (_, client):
        assert await client.public(call, **params) == {"error": [error]}


async def test_a_public_call_may_be_posted():
    """Some clients do: parameters then come as a form."""
    async with standing_venue() as (_, client):
        url = f"{client.url}/0/public/Depth"
        async with client.session.post(url, data={"pair": "XBTUSD", "count": "1"}) as response:
            reply = await response.json()

    assert len(reply["result"]["XXBTZUSD"]["bids"]) == 1
