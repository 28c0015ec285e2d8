"""The life of a connection over real sockets, in Kraken's order of things."""

import json
from itertools import pairwise

import pytest

from engine.errors import ConfigError, UserError
from engine.units import NS_PER_S
from engine.venue.market.book_feed import DEPTHS
from engine.venue.market.candles import INTERVALS
from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from tests.venue.market.update_law import LawBook, read
from tests.venue.venue_client import connected
from tests.virtual_time import VirtualTime
from tests.waiting import until

LIVELY = VenueSettings(port=0, seed=3, symbols=("BTC/USD", "ETH/USD"), rate=2000, snapshot_delay_ms=(1, 3))
STILL = VenueSettings(port=0, symbols=("BTC/USD", "ETH/USD"), rate=0, snapshot_delay_ms=(1, 3))


async def test_the_server_speaks_first_and_then_waits(virtual_time: VirtualTime):
    """One status frame, even before the reply to a request sent at once; no heartbeat without a subscription."""
    settings = VenueSettings(port=0, symbols=("BTC/USD",), rate=0, heartbeat_s=1.0)
    async with Venue(settings, virtual_time) as venue, connected(venue.public_url) as client:
        client.ask(method="ping")
        first, second = await client.next(), await client.next()
        await virtual_time.passes(30)

    assert first["channel"] == "status"
    assert first["data"][0]["system"] == "online"
    assert first["data"][0]["upcoming_maintenance"] == first["data"][0]["emergency"] == []
    assert second["method"] == "pong"
    assert len(client.frames) == 2


async def test_heartbeats_come_at_their_own_pace(virtual_time: VirtualTime):
    """From the first successful subscription on, whatever else flows, and on after the last unsubscribe."""
    settings = VenueSettings(port=0, symbols=("BTC/USD",), rate=0, heartbeat_s=1.0)
    came_at_ns = []
    async with Venue(settings, virtual_time) as venue, connected(venue.public_url) as client:
        assert venue.exchange is not None
        client.subscribe("book", "XBT/USD")
        client.subscribe("book", "BTC/USD")
        for number in range(8):
            await client.of("heartbeat")
            came_at_ns.append(virtual_time.mono_ns())
            venue.exchange.next_event()
            if number == 3:
                client.unsubscribe("book", "BTC/USD")
                await client.reply()

    gaps_s = [(later - earlier) / NS_PER_S for earlier, later in pairwise(came_at_ns)]
    assert gaps_s == pytest.approx([1.0] * 7, abs=0.01)
    assert json.loads(client.frames[-1]) == {"channel": "heartbeat"}


async def test_connection_ids_need_64_bits():
    """Unsigned: about half of them are beyond 2^63."""
    ids = []
    async with Venue(STILL) as venue:
        for _ in range(8):
            async with connected(venue.public_url) as client:
                ids.append((await client.next())["data"][0]["connection_id"])

    assert max(ids) >= 1 << 63
    assert len(set(ids)) == 8


@pytest.mark.parametrize("depth", DEPTHS)
async def test_a_book_over_the_socket_verifies(depth: int):
    """Ack, one snapshot, updates; every checksum, and the law, from the text alone."""
    async with Venue(LIVELY) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", "ETH/USD", depth=depth)
        await client.until(lambda seen: len(seen.frames) > 500)
    held = {symbol: LawBook(depth, shorter=depth >= 500) for symbol in ("BTC/USD", "ETH/USD")}
    acks = [json.loads(text) for text in client.frames if '"method"' in text]
    books = [read(text) for text in client.frames if '"channel":"book","type"' in text]
    for message in books:
        held[message["data"][0]["symbol"]].take(message)

    assert [ack["result"]["depth"] for ack in acks] == [depth, depth]
    assert [message["type"] for message in books].count("snapshot") == 2
    assert len(books) > 400


async def test_unsubscribe_and_subscribe_gives_exactly_one_new_snapshot():
    """The only way to a fresh one on a live socket: nothing after the ack, superseded snapshots never come."""
    settings = VenueSettings(port=0, symbols=("BTC/USD",), rate=3000, snapshot_delay_ms=(20, 20))
    async with Venue(settings) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD")
        await client.of("book", "update")
        for _ in range(3):
            client.unsubscribe("book", "BTC/USD")
            client.subscribe("book", "BTC/USD")
        await client.of("book", "snapshot")
        await client.of("book", "update")
    unsubscribed = max(index for index, text in enumerate(client.frames) if '"method":"unsubscribe"' in text)
    first = min(index for index, text in enumerate(client.frames) if '"method":"unsubscribe"' in text)
    between = client.frames[first:unsubscribed]
    after = [json.loads(text) for text in client.frames[unsubscribed:]]

    assert not [text for text in between if '"channel":"book","type"' in text]
    assert [message["type"] for message in after if message.get("channel") == "book"][:2] == ["snapshot", "update"]
    assert sum(message.get("type") == "snapshot" for message in after) == 1


async def test_a_pending_snapshot_is_canceled_by_unsubscribe():
    """Unsubscribed before it was due, it never comes."""
    settings = VenueSettings(port=0, symbols=("BTC/USD",), rate=0, snapshot_delay_ms=(30, 30), heartbeat_s=0.1)
    async with Venue(settings) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD")
        client.unsubscribe("book", "BTC/USD")
        await client.of("heartbeat")

    assert not [text for text in client.frames if '"channel":"book","type"' in text]


async def test_unsubscribe_names_what_it_ends():
    """The ack's result without snapshot; a depth that was not subscribed is not found."""
    async with Venue(STILL) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", depth=25)
        client.subscribe("ohlc", "BTC/USD", interval=5)
        client.subscribe("ticker", "BTC/USD", event_trigger="bbo")
        client.ask(method="subscribe", params={"channel": "instrument"})
        for _ in range(4):
            await client.reply()
        client.unsubscribe("book", "BTC/USD", depth=10)
        client.unsubscribe("book", "BTC/USD")
        client.unsubscribe("ohlc", "BTC/USD", interval=5)
        client.unsubscribe("ticker", "BTC/USD", event_trigger="bbo")
        client.ask(method="unsubscribe", params={"channel": "instrument"})
        replies = [await client.reply() for _ in range(5)]

    assert replies[0]["error"] == "Subscription Not Found"
    assert [reply["result"] for reply in replies[1:]] == [
        {"channel": "book", "depth": 25, "symbol": "BTC/USD"},
        {"channel": "ohlc", "interval": 5, "symbol": "BTC/USD"},
        {"channel": "ticker", "event_trigger": "bbo", "symbol": "BTC/USD"},
        {"channel": "instrument"},
    ]


async def test_snapshot_false_means_updates_only():
    """For every channel; and trade is without one unless asked."""
    async with Venue(LIVELY) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", snapshot=False)
        client.subscribe("ticker", "BTC/USD", snapshot=False)
        client.subscribe("ohlc", "BTC/USD", interval=1, snapshot=False)
        client.subscribe("trade", "BTC/USD")
        acks = [await client.reply() for _ in range(4)]
        for channel in ("ohlc", "ticker", "book", "trade"):
            await client.of(channel, "update")

    assert [ack["result"]["snapshot"] for ack in acks] == [False] * 4
    assert not [text for text in client.frames if '"type":"snapshot"' in text]


async def test_a_trade_snapshot_holds_the_last_fifty():
    """Oldest first, ids without a gap, and the first update goes on from there."""
    async with Venue(LIVELY) as venue, connected(venue.public_url) as client:
        client.subscribe("trade", "BTC/USD", snapshot=True)
        snapshot, update = await client.of("trade"), await client.of("trade")
    ids = [row["trade_id"] for row in snapshot["data"]]

    assert snapshot["type"] == "snapshot"
    assert ids == list(range(ids[0], ids[0] + 50))
    assert update["data"][0]["trade_id"] == ids[-1] + 1


async def test_ticker_triggers():
    """`bbo` tells changes of the best prices, `trades` tells trades at their time; never crossed."""
    async with Venue(LIVELY) as venue, connected(venue.public_url) as client:
        client.subscribe("ticker", "BTC/USD", event_trigger="bbo")
        client.subscribe("ticker", "ETH/USD")
        client.subscribe("trade", "ETH/USD")
        await client.until(lambda seen: len(seen.frames) > 250)
    rows = [json.loads(text)["data"][0] for text in client.frames if '"channel":"ticker","type":"update"' in text]
    best = [(row["bid"], row["ask"]) for row in rows if row["symbol"] == "BTC/USD"]
    # Of snapshots too: a trade may fall between the two subscriptions.
    traded_at = {
        row["timestamp"]
        for text in client.frames
        if '"channel":"trade","type"' in text
        for row in json.loads(text)["data"]
    }
    ticked_at = [row["timestamp"] for row in rows if row["symbol"] == "ETH/USD"]

    assert len(best) > 50
    assert all(before != after for before, after in pairwise(best))
    assert all(bid < ask for bid, ask in best)
    assert ticked_at
    assert set(ticked_at) <= traded_at


@pytest.mark.parametrize("interval", INTERVALS)
async def test_candles_of_every_interval(interval: int):
    """Oldest first, the update replaces the current one, and the deprecated timestamp is the interval's end."""
    async with Venue(LIVELY) as venue, connected(venue.public_url) as client:
        client.subscribe("ohlc", "BTC/USD", interval=interval)
        ack, snapshot, update = await client.reply(), await client.of("ohlc"), await client.of("ohlc")
    begins = [row["interval_begin"] for row in snapshot["data"]]

    assert ack["result"]["warnings"] == ["timestamp is deprecated, use interval_begin"]
    assert begins == sorted(begins)
    assert len(begins) >= 6
    assert len(update["data"]) == 1
    assert update["data"][0]["interval_begin"] >= begins[-1]
    for row in snapshot["data"] + update["data"]:
        assert row["interval"] == interval
        assert row["low"] <= min(row["open"], row["close"], row["vwap"])
        assert row["high"] >= max(row["open"], row["close"], row["vwap"])


async def test_an_idle_connection_is_closed(virtual_time: VirtualTime):
    """No subscription and no request: a close frame. A subscription or a ping of either kind keeps it up."""
    settings = VenueSettings(port=0, symbols=("BTC/USD",), rate=0, idle_close_s=60.0)
    async with (
        Venue(settings, virtual_time) as venue,
        connected(venue.public_url) as idle,
        connected(venue.public_url) as asking,
        connected(venue.public_url) as subscribed,
    ):
        subscribed.subscribe("trade", "BTC/USD")
        for _ in range(4):
            await virtual_time.passes(40)
            asking.ask(method="ping")
        up = [not client.ended.is_set() for client in (asking, subscribed)]

    assert idle.ended.is_set()
    assert idle.close_code == 1000
    assert up == [True, True]


async def test_protocol_pings_are_answered():
    """With their payload, beside the application's own ping."""
    async with Venue(STILL) as venue, connected(venue.public_url) as client:
        client.ping(b"are you there")
        await client.until(lambda seen: bool(seen.pongs))

    assert client.pongs == [b"are you there"]


async def test_a_client_that_does_not_read_is_disconnected():
    """The venue's memory for it is bounded; others go on."""
    settings = VenueSettings(port=0, rate=20_000, symbols=("BTC/USD",), write_buffer_bytes_max=100_000)
    async with Venue(settings) as venue, connected(venue.public_url) as slow, connected(venue.public_url) as other:
        slow.subscribe("book", "BTC/USD", depth=1000)
        other.subscribe("book", "BTC/USD")
        await slow.reply()
        slow.stop_reading()
        await until(lambda: venue.open_connections == 1, "the slow one is disconnected")
        await other.of("book", "update")


async def test_each_event_of_the_venue_is_one_book_message_at_depth_10():
    """Whatever the pairs and their depth: a rate of 1,500 is 1,500 messages a second. See
    `test_pulse` for the pace.
    """
    async with Venue(STILL) as venue, connected(venue.public_url) as client:
        assert venue.exchange is not None
        client.subscribe("book", *venue.exchange.markets)
        for _ in venue.exchange.markets:
            await client.of("book", "snapshot")
        for _ in range(500):
            venue.exchange.next_event()
        client.ask(method="ping")
        await client.next(lambda message: message.get("method") == "pong")

    updates = [frame for frame in client.frames if '"channel":"book","type":"update"' in frame]
    assert len(updates) == 500


async def test_the_address_is_loopback_and_the_port_free():
    """What cannot be served is one sentence with the mend."""
    async with Venue(STILL) as venue:
        port = int(venue.public_url.split(":")[2].partition("/")[0])
        with pytest.raises(
            UserError, match=rf"--port {port}: this port of 127.0.0.1 is already in use, choose another"
        ):
            async with Venue(VenueSettings(port=port)):
                pass
    with pytest.raises(ConfigError, match=r"--host 0.0.0.0: the venue serves loopback only"):
        VenueSettings(host="0.0.0.0")
    with pytest.raises(ConfigError, match=r"does not list 'XBT/USD': use BTC/USD"):
        async with Venue(VenueSettings(port=0, symbols=("XBT/USD",))):
            pass


async def test_another_path_is_not_found():
    """Only /v2 is the public WebSocket."""
    async with Venue(STILL) as venue:
        with pytest.raises(Exception, match="404"):
            async with connected(venue.public_url.replace("/v2", "/v9")):
                pass
