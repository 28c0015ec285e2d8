"""Every frame of the venue against a genuine one, key for key in order, and number for
number in kind.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from engine.venue.websocket.conversation import HEARTBEAT_FRAME
from engine.venue.wire.text import number_text, signed_text, utc_ns, utc_us
from tests.venue.venue_client import connected

LIVELY = VenueSettings(port=0, seed=5, symbols=("BTC/USD", "EUR/USD"), rate=3000, snapshot_delay_ms=(1, 5))


def shape(value: Any) -> Any:
    """Keys in order and the kind of each value, the digits of numbers aside."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return re.sub(r"\d", "0", value)
    return type(value).__name__


def genuine_messages(genuine: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (genuine / f"{name}.jsonl").read_text().splitlines()]


async def test_frames_have_the_shape_of_genuine_ones(genuine: Path):
    """Status, acks, snapshots and updates of every channel, errors, pong: as the newest
    genuine sample of each.
    """
    acks, errors = genuine_messages(genuine, "acks"), genuine_messages(genuine, "errors")
    ticker, trade, ohlc = (genuine_messages(genuine, name) for name in ("ticker", "trade", "ohlc"))
    status = genuine_messages(genuine, "status_heartbeat_pong")
    (*_, book_snapshot) = (
        json.loads(line)
        for line in (genuine / "capture_crossbook_kraken_btcusd_sample.jsonl").read_text().splitlines()[:3]
    )
    async with Venue(LIVELY) as venue, connected(venue.public_url) as client:
        seen = {"status": await client.next()}
        client.ask(method="subscribe", params={"channel": "book", "symbol": ["BTC/USD"], "depth": 25}, req_id=11)
        seen["book ack"] = await client.reply()
        seen["book snapshot"] = await client.of("book")
        seen["book update"] = await client.of("book")
        client.unsubscribe("book", "BTC/USD", depth=25)
        seen["book unsubscribe ack"] = await client.reply()
        client.subscribe("trade", "BTC/USD", snapshot=True)
        seen["trade ack"] = await client.reply()
        seen["trade snapshot"] = await client.of("trade")
        seen["trade update"] = await client.of("trade")
        client.subscribe("ticker", "BTC/USD")
        seen["ticker ack"] = await client.reply()
        seen["ticker snapshot"] = await client.of("ticker")
        seen["ticker update"] = await client.of("ticker")
        client.subscribe("ohlc", "BTC/USD", interval=1)
        seen["ohlc ack"] = await client.reply()
        seen["ohlc snapshot"] = await client.of("ohlc")
        seen["ohlc update"] = await client.of("ohlc")
        client.ask(method="subscribe", params={"channel": "instrument"})
        seen["instrument ack"] = await client.reply()
        client.ask(method="ping", req_id=694480169830934)
        seen["pong"] = await client.reply()
        client.ask(method="subscribe", params={"channel": "book", "symbol": ["WWW/USD"]}, req_id=0)
        seen["error"] = await client.reply()

    assert shape(seen["status"]) == shape(status[4])
    assert shape(seen["book ack"]) == shape(acks[2])
    assert shape(seen["book snapshot"]) == shape(book_snapshot)
    # An update has the same keys; one of its sides is mostly empty.
    assert list(seen["book update"]["data"][0]) == list(book_snapshot["data"][0])
    assert shape(seen["book unsubscribe ack"]) == shape(acks[15])
    assert shape(seen["trade ack"]) == shape(acks[6])
    assert shape(seen["trade snapshot"]) == shape(trade[2])
    assert shape(seen["trade update"]) == shape(trade[1])
    assert shape(seen["ticker ack"]) == shape(acks[1])
    assert shape(seen["ticker snapshot"]) == shape(ticker[3])
    assert shape(seen["ticker update"]) == shape(ticker[2])
    assert shape(seen["ohlc ack"]) == shape(acks[11])
    assert shape(seen["ohlc snapshot"]) == shape(ohlc[0])
    assert shape(seen["ohlc update"]) == shape(ohlc[1])
    assert shape(seen["instrument ack"]) == shape(acks[13])
    assert shape(seen["pong"]) == shape(status[8])
    assert shape(seen["error"]) == shape(errors[0])
    assert HEARTBEAT_FRAME[2:].decode() == (genuine / "status_heartbeat_pong.jsonl").read_text().splitlines()[6]


async def test_the_instrument_channel_lists_pairs_and_assets_as_kraken_does(genuine: Path):
    """One snapshot, an object; no pair offers the leverage and no asset the loan that the
    venue does not give.
    """
    newest, _ = genuine_messages(genuine, "instrument")
    async with Venue(LIVELY) as venue, connected(venue.public_url) as client:
        client.ask(method="subscribe", params={"channel": "instrument"})
        message = await client.of("instrument")
        text = next(frame for frame in client.frames if '"instrument","type":"snapshot"' in frame)
    pairs = {pair["symbol"]: pair for pair in message["data"]["pairs"]}
    assets = {asset["id"]: asset for asset in message["data"]["assets"]}
    genuine_pair = newest["data"]["pairs"][0]

    assert list(pairs) == ["BTC/USD", "EUR/USD"]
    assert shape(pairs["EUR/USD"]) == shape(genuine_pair)
    assert pairs["EUR/USD"] == genuine_pair
    assert shape(pairs["BTC/USD"]) == shape(genuine_pair)
    assert not any(pair["marginable"] for pair in pairs.values())
    # Genuine assets of the same kind, those that cannot be borrowed, stand last in the
    # sample.
    assert shape(assets["USD"]) == shape(newest["data"]["assets"][-1])
    assert not any(asset["borrowable"] for asset in assets.values())
    assert list(assets) == ["USD", "BTC", "EUR"]
    assert '"price_increment":0.00001,' in text  # plain decimals, never an exponent


async def test_numbers_carry_the_full_precision_of_their_pair():
    """Fixed decimals with trailing zeros; pairs with a price precision of 0 print bare
    integers.
    """
    settings = VenueSettings(port=0, seed=5, symbols=("BTC/JPY", "VET/USDT"), rate=3000, snapshot_delay_ms=(1, 5))
    async with Venue(settings) as venue, connected(venue.public_url) as client:
        for channel, extra in (("book", {}), ("trade", {}), ("ticker", {}), ("ohlc", {"interval": 1})):
            client.subscribe(channel, "BTC/JPY", "VET/USDT", **extra)
        await client.until(
            lambda seen: len(seen.frames) > 100 and any('"ohlc","type":"update"' in text for text in seen.frames)
        )
        texts = [text for text in client.frames if '"type":"' in text and '"status"' not in text]
    pattern = {"BTC/JPY": (r"\d+", r"\d+\.\d{8}"), "VET/USDT": (r"\d+\.\d{6}", r"\d+\.\d{5}")}
    prices = {"price", "bid", "ask", "last", "vwap", "low", "high", "open", "close"}
    quantities = {"qty", "bid_qty", "ask_qty", "volume"}

    assert len(texts) > 20
    for text in texts:
        price, qty = pattern["BTC/JPY" if '"symbol":"BTC/JPY"' in text else "VET/USDT"]
        for key, number in re.findall(r'"(\w+)":(-?[\d.eE+-]+)', text):
            if key in prices:
                assert re.fullmatch(price, number), (key, text)
            elif key in quantities:
                assert re.fullmatch(qty, number), (key, text)
            elif key == "change_pct":
                assert re.fullmatch(r"-?\d+\.\d\d", number)
        assert " " not in text
        assert "e-" not in text


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [
        (0, 8, "0.00000000"),
        (29, 8, "0.00000029"),
        (633887, 1, "63388.7"),
        (9981250, 0, "9981250"),
        (10**20, 8, "1" + "0" * 12 + "." + "0" * 8),
    ],
)
def test_number_text(units: int, decimals: int, text: str):
    """Exact at any size: junk beyond 64 bits included."""
    assert number_text(decimals)(units) == text


def test_signed_and_time_text():
    """`change_pct` with its sign, times to the microsecond and to the nanosecond."""
    assert signed_text(-360, 2) == "-3.60"
    assert signed_text(525, 2) == "5.25"
    assert signed_text(-5, 2) == "-0.05"
    assert utc_us(1_785_641_751_302_928_999) == "2026-08-02T03:35:51.302928Z"
    assert utc_ns(1_785_641_751_302_928_009) == "2026-08-02T03:35:51.302928009Z"
