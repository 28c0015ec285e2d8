"""Every error text, as Kraken words it, over a real socket; the socket stays open through
all of them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from engine.venue.websocket.requests import Refusal, SubscriptionRequest, parse_request
from tests.venue.venue_client import connected

STILL = VenueSettings(port=0, symbols=("BTC/USD", "ETH/USD"), rate=0, snapshot_delay_ms=(1, 2))

PRIVATE = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"


def subscribe(**params: Any) -> dict[str, Any]:
    return {"method": "subscribe", "params": params}


BTC = ["BTC/USD"]
REFUSED = [
    (subscribe(channel="book", symbol=["WWW/USD"]), "Currency pair not supported WWW/USD", "subscribe", "WWW/USD"),
    (subscribe(channel="book", symbol=["XBT/USD"]), "Currency pair not supported XBT/USD", "subscribe", "XBT/USD"),
    (subscribe(channel="trade", symbol=["btc/usd"]), "Currency pair not supported btc/usd", "subscribe", "btc/usd"),
    (
        subscribe(
            channel="book",
            symbol=['A"\\'],
        ),
        'Currency pair not supported A"\\',
        "subscribe",
        'A"\\',
    ),
    (subscribe(channel="book", symbol="BTC/USD"), "Symbol field must be an array", "subscribe", None),
    (subscribe(channel="book"), "Symbol field must be an array", "subscribe", None),
    *[
        (subscribe(channel="book", symbol=BTC, depth=depth), "Subscription depth not supported", "subscribe", None)
        for depth in (27, 20, 50, 1, 0, -10, "10", 10.0, True)
    ],
    (
        subscribe(channel="ohlc", symbol=BTC, interval=2),
        "Subscription ohlc interval not supported",
        "subscribe",
        None,
    ),
    (subscribe(channel="ohlc", symbol=BTC), "Subscription ohlc requires interval", "subscribe", None),
    ({"method": "subscribe", "params": 0}, "Unsupported event", "subscribe", None),
    ({"method": "subscribe"}, "Unsupported event", "subscribe", None),
    (subscribe(channel="heartbeat"), "Unsupported event", "subscribe", None),
    (subscribe(channel="book", symbol=[]), "Unsupported event", "subscribe", None),
    (subscribe(channel="book", symbol=[5]), "Unsupported event", "subscribe", None),
    (subscribe(channel="book", symbol=BTC, snapshot="yes"), "Unsupported event", "subscribe", None),
    (subscribe(channel="ticker", symbol=BTC, event_trigger="all"), "Unsupported event", "subscribe", None),
    (
        {"method": "subscribe", "channel": "ticker", "symbol": ["ETH/USD"]},
        "Unsupported field: 'channel' for the given msg type: subscribe",
        "subscribe",
        "ETH/USD",
    ),
    (
        subscribe(channel="trade", symbol=BTC, depth=10),
        "Unsupported field: 'depth' for the given msg type: subscribe",
        "subscribe",
        "BTC/USD",
    ),
    (subscribe(channel="instrument", execution_venue="bitnomial-exchange"), "Unsupported event", "subscribe", None),
    (
        {"method": "ping", "params": {}},
        "Unsupported field: 'params' for the given msg type: ping",
        "ping",
        None,
    ),
    *[(subscribe(channel=channel, symbol=BTC), PRIVATE, "subscribe", None) for channel in ("level3", "executions")],
    (subscribe(channel="balances", token="x"), PRIVATE, "subscribe", None),
    ({"method": "add_order", "params": {}}, PRIVATE, "add_order", None),
    (
        {"method": "unsubscribe", "params": {"channel": "book", "symbol": BTC}},
        "Subscription Not Found",
        "unsubscribe",
        "BTC/USD",
    ),
    ({"method": "dance"}, "Malformed request", "error", None),
    ({"params": {}}, "Malformed request", "error", None),
    ({"event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": "book"}}, "Malformed request", "error", None),
    ([], "Malformed request", "error", None),
]


async def test_every_refusal_in_krakens_words(genuine: Path):
    """Text, method, req_id and symbol of each error; keys alphabetical; and a ping is
    answered after all of them.
    """
    samples = [json.loads(line) for line in (genuine / "errors.jsonl").read_text().splitlines()]
    key_orders = {tuple(sample) for sample in samples if "status" not in sample}
    async with Venue(STILL) as venue, connected(venue.public_url) as client:
        replies = []
        for number, (request, *_) in enumerate(REFUSED):
            client.say(json.dumps({**request, "req_id": number} if isinstance(request, dict) else request))
            replies.append(await client.reply())
        client.ask(method="ping")
        pong = await client.reply()

    assert pong["method"] == "pong"
    for number, ((request, error, method, symbol), reply) in enumerate(zip(REFUSED, replies, strict=True)):
        assert (reply["error"], reply["method"], reply.get("symbol")) == (error, method, symbol), request
        assert reply["success"] is False
        assert list(reply) == sorted(reply, key=lambda key: (key.startswith("time"), key))
        if isinstance(request, dict):
            assert reply["req_id"] == number
        assert tuple(key for key in reply if key != "req_id") in {
            tuple(key for key in order if key != "req_id") for order in key_orders
        }


@pytest.mark.parametrize(
    "text", [b"", b"hello", b"{", b"\xff\xfe", b'"subscribe"', b"[" * 100_000, b'{"method":["ping"]}']
)
def test_anything_else_is_malformed(text: bytes):
    """Whatever bytes come, the answer is a refusal and never an exception."""
    assert parse_request(text) == Refusal("Malformed request", "error")


async def test_one_bad_symbol_does_not_cost_the_others():
    """One reply per symbol, in order, each with its own success; the good ones are
    subscribed.
    """
    async with Venue(STILL) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", "XBT/USD", "ETH/USD")
        replies = [await client.reply() for _ in range(3)]
        snapshots = {(await client.of("book"))["data"][0]["symbol"] for _ in range(2)}

    assert [reply["success"] for reply in replies] == [True, False, True]
    assert len({reply["time_in"] for reply in replies}) == 1
    assert snapshots == {"BTC/USD", "ETH/USD"}


async def test_nothing_is_subscribed_twice():
    """The same again, another depth, another interval: refused, and no second snapshot
    comes.
    """
    async with Venue(STILL) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD")
        client.subscribe("ohlc", "BTC/USD", interval=1)
        assert [(await client.reply())["success"] for _ in range(2)] == [True, True]
        await client.of("ohlc")
        client.subscribe("book", "BTC/USD")
        client.subscribe("book", "BTC/USD", depth=25)
        client.subscribe("ohlc", "BTC/USD", interval=1)
        client.subscribe("ohlc", "BTC/USD", interval=5)
        client.subscribe("ohlc", "ETH/USD", interval=5)
        replies = [await client.reply() for _ in range(5)]
        await client.of("ohlc")
        books = [frame for frame in client.frames if '"channel":"book","type"' in frame]

    assert [reply.get("error") for reply in replies] == [
        "Already subscribed",
        "Already subscribed",
        "Already subscribed",
        "Already subscribed to one ohlc interval on this symbol",
        None,
    ]
    assert replies[0]["symbol"] == "BTC/USD"
    assert len(books) == 1


async def test_too_many_requests_are_refused():
    """Above the burst the answer is `Exceeded msg rate`, and the request is not carried
    out.
    """
    settings = VenueSettings(port=0, symbols=("BTC/USD",), rate=0, requests_per_s=0.001, requests_burst=3)
    async with Venue(settings) as venue, connected(venue.public_url) as client:
        for number in range(4):
            client.ask(method="ping", req_id=number)
        client.subscribe("book", "BTC/USD")
        replies = [await client.reply() for _ in range(5)]

    assert [reply["method"] for reply in replies] == ["pong", "pong", "pong", "ping", "subscribe"]
    assert [reply.get("error") for reply in replies] == [None] * 3 + ["Exceeded msg rate"] * 2
    assert replies[3]["req_id"] == 3


def test_the_execution_venue_of_the_instruments():
    """The one whose pairs are listed here may be named."""
    request = json.dumps(subscribe(channel="instrument", execution_venue="international")).encode()

    assert isinstance(parse_request(request), SubscriptionRequest)
