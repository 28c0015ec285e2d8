"""The public calls of REST, held against genuine answers: the same keys, the same types, the same padding."""

import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rest_client import standing_venue

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
    """A pair has every field that a genuine one has, in the same order and of the same type."""
    expected = captured(genuine, "AssetPairs")["XXBTZUSD"]
    async with standing_venue() as (_, client):
        pairs = (await client.public("AssetPairs"))["result"]

    row = pairs["XXBTZUSD"]
    assert list(row) == list(expected)
    for key, value in expected.items():
        assert shape(row[key]) == shape(value) or isinstance(value, list), key
    assert {type(number) for tier in row["fees"] for number in tier} <= {int, float}
    assert (row["altname"], row["wsname"], row["base"], row["quote"]) == ("XBTUSD", "XBT/USD", "XXBT", "ZUSD")
    assert (row["ordermin"], row["costmin"], row["tick_size"]) == ("0.00005", "0.5", "0.1")
    assert list(pairs) == ["XXBTZUSD", "XETHZUSD", "XDGUSD"]


@pytest.mark.parametrize("name", ["XXBTZUSD", "XBTUSD", "XBT/USD", "BTC/USD", "BTCUSD", "xbtusd", "XXBT/ZUSD"])
async def test_every_name_of_a_pair_is_understood(name: str):
    """The id, the alternative name, v1's and v2's; the answer uses the id."""
    async with standing_venue() as (_, client):
        pairs = (await client.public("AssetPairs", pair=name))["result"]
        doge = (await client.public("AssetPairs", pair="DOGE/USD,XDGUSD"))["result"]

    assert list(pairs) == ["XXBTZUSD"]
    assert list(doge) == ["XDGUSD"]
    assert doge["XDGUSD"]["base"] == "XXDG"


async def test_a_part_of_the_listing():
    """`info` chooses fees, leverage or margin."""
    async with standing_venue() as (_, client):
        fees = await client.public("AssetPairs", pair="XBTUSD", info="fees")
        leverage = await client.public("AssetPairs", pair="XBTUSD", info="leverage")

    assert list(fees["result"]["XXBTZUSD"]) == ["fees", "fees_maker", "fee_volume_currency"]
    assert list(leverage["result"]["XXBTZUSD"]) == ["leverage_buy", "leverage_sell"]


async def test_no_shares_are_listed():
    """Asked for tokenized assets, the venue has none: clients ask for both classes and keep whatever comes."""
    async with standing_venue() as (_, client):
        shares = await client.public("AssetPairs", aclass_base="tokenized_asset")
        share = await client.public("AssetPairs", aclass_base="tokenized_asset", pair="XBTUSD")
        currencies = await client.public("AssetPairs", aclass_base="currency", pair="XBTUSD")
        assets = await client.public("Assets", aclass="tokenized_asset")

    assert shares == assets == {"error": [], "result": {}}
    assert share == {"error": ["EQuery:Unknown asset pair"]}
    assert list(currencies["result"]) == ["XXBTZUSD"]


async def test_assets(genuine: Path):
    """By id, with the fields of the genuine answer."""
    expected = captured(genuine, "Assets")["XXBT"]
    async with standing_venue() as (_, client):
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
    assert few["asks"] == [[*row[:2], few["asks"][0][2]] for row in book["asks"][:2]]


async def test_trades_can_be_followed():
    """`last` of one answer as `since` of the next leads on without a gap or a repetition."""
    async with standing_venue() as (_, client):
        everything = (await client.public("Trades", pair="XBTUSD"))["result"]["XXBTZUSD"]
        ids, since = [], "1"
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


async def test_spread_grows_from_the_first_question_on():
    """Each change of the best prices adds a row."""
    async with standing_venue() as (venue, client):
        first = (await client.public("Spread", pair="XBTUSD"))["result"]
        assert venue.exchange is not None
        for _ in range(200):
            venue.exchange.next_event()
        later = (await client.public("Spread", pair="XBTUSD"))["result"]

    assert len(first["XXBTZUSD"]) == 1
    assert len(later["XXBTZUSD"]) > 1
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
