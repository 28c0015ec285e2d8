"""Captures served again: byte for byte, in order, at either pace."""

import asyncio
import json
from pathlib import Path

import pytest

from engine.errors import CaptureError
from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from engine.venue.websocket.capture import read_captures
from tests.venue.venue_client import Client, connected
from tests.virtual_time import VirtualTime
from tests.waiting import turns

TWO_PAIRS = "capture_flashbook_btcusd_ethusd_d10_book_trade_20260707.jsonl"
ONE_PAIR = "capture_crossbook_kraken_btcusd_sample.jsonl"


def capture_settings(*paths: Path, pace: str = "max", **rest: object) -> VenueSettings:
    common = {"port": 0, "snapshot_delay_ms": (1.0, 2.0), "capture": tuple(map(str, paths)), "pace": pace}
    return VenueSettings(**{**common, **rest})  # type: ignore[arg-type]


def market_lines(path: Path, *marks: str) -> list[str]:
    """The capture's data frames that carry all of these marks."""
    lines = [line for line in path.read_text().splitlines() if '"type":' in line and '"status"' not in line[:25]]
    return [line for line in lines if all(mark in line for mark in marks)]


def market_frames(client: Client) -> list[str]:
    return [text for text in client.frames if '"type":' in text and '"status"' not in text[:25]]


async def test_all_of_a_capture_byte_for_byte(genuine: Path):
    """Books and trades of both pairs, subscribed at about the same time, come in the
    capture's own order.
    """
    expected = market_lines(genuine / TWO_PAIRS)
    async with Venue(capture_settings(genuine / TWO_PAIRS)) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", "ETH/USD", depth=10)
        client.subscribe("trade", "BTC/USD", "ETH/USD")
        acks = [await client.reply() for _ in range(4)]
        await client.until(lambda seen: len(market_frames(seen)) >= len(expected))

    assert market_frames(client) == expected
    assert [ack["success"] for ack in acks] == [True] * 4
    assert client.frames[0].startswith('{"channel":"status"')


async def test_one_stream_of_a_capture(genuine: Path):
    """Who subscribes to one book gets that book alone."""
    expected = market_lines(genuine / TWO_PAIRS, '"channel":"book"', "ETH/USD")
    async with Venue(capture_settings(genuine / TWO_PAIRS)) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "ETH/USD", depth=10)
        await client.until(lambda seen: len(market_frames(seen)) >= len(expected))

    assert market_frames(client) == expected


async def test_rounds_begin_with_the_snapshot(genuine: Path):
    """Three rounds, the same frames each."""
    expected = market_lines(genuine / ONE_PAIR) * 3
    async with (
        Venue(capture_settings(genuine / ONE_PAIR, repeat=3)) as venue,
        connected(venue.public_url) as client,
    ):
        client.subscribe("book", "BTC/USD", depth=25)
        await client.until(lambda seen: len(market_frames(seen)) >= len(expected))

    assert market_frames(client) == expected


async def test_a_new_subscription_starts_again_and_leaves_the_other_alone(genuine: Path):
    """Unsubscribe and subscribe in mid-stream: snapshot first; the other book goes on in
    order.
    """
    eth = market_lines(genuine / TWO_PAIRS, '"channel":"book"', "ETH/USD")
    settings = capture_settings(genuine / TWO_PAIRS, pace="original")
    async with Venue(settings) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", "ETH/USD", depth=10)
        await client.until(lambda seen: len(market_frames(seen)) > 60)
        client.unsubscribe("book", "BTC/USD", depth=10)
        await client.next(lambda message: message.get("method") == "unsubscribe")
        gone = len(client.frames)
        client.subscribe("book", "BTC/USD", depth=10)
        await client.until(lambda seen: sum("BTC/USD" in text for text in seen.frames[gone:]) > 3)
        client.drop()
    unsubscribed = next(index for index, text in enumerate(client.frames) if '"unsubscribe"' in text)
    after = [text for text in client.frames[unsubscribed:] if "BTC/USD" in text]
    eth_came = [text for text in market_frames(client) if "ETH/USD" in text]

    assert [json.loads(text).get("type", json.loads(text).get("method")) for text in after[:4]] == [
        "unsubscribe",
        "subscribe",
        "snapshot",
        "update",
    ]
    assert eth_came == eth[: len(eth_came)]
    assert len(eth_came) > 20


async def test_the_original_pace_is_that_of_the_receive_clock(genuine: Path, tmp_path: Path, virtual_time: VirtualTime):
    """Three tenths of a second between two frames of old are three tenths again."""
    lines = market_lines(genuine / ONE_PAIR)[:3]
    path = tmp_path / "three.jsonl"
    path.write_text("\n".join(lines))
    (tmp_path / "three.recv_ns.txt").write_text("1000000000\n1000000000\n1300000000\n")
    settings = capture_settings(path, pace="original", snapshot_delay_ms=(1.0, 1.0))
    async with Venue(settings, virtual_time) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", depth=25)
        await client.of("book")
        await client.of("book")
        began = asyncio.get_running_loop().time()
        await client.of("book")
        took_s = asyncio.get_running_loop().time() - began

    assert took_s == pytest.approx(0.3, abs=0.01)
    assert market_frames(client) == lines


async def test_what_a_capture_does_not_hold_is_refused(genuine: Path):
    """In Kraken's words: the symbol, or the depth where the symbol's book is held at
    another.
    """
    async with Venue(capture_settings(genuine / ONE_PAIR)) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "ETH/USD", depth=25)
        client.subscribe("book", "BTC/USD", depth=10)
        client.subscribe("trade", "BTC/USD")
        client.subscribe("book", "BTC/USD", depth=25)
        client.subscribe("book", "BTC/USD", depth=25)
        replies = [await client.reply() for _ in range(5)]

    assert [reply.get("error") for reply in replies] == [
        "Currency pair not supported ETH/USD",
        "Subscription depth not supported",
        "Currency pair not supported BTC/USD",
        None,
        "Already subscribed",
    ]


async def test_precisions_are_told_even_where_the_capture_has_none(genuine: Path):
    """The instrument channel of a capture without one: its pairs, with the precision of
    their number text.
    """
    async with Venue(capture_settings(genuine / TWO_PAIRS)) as venue, connected(venue.public_url) as client:
        client.ask(method="subscribe", params={"channel": "instrument"})
        pairs = (await client.of("instrument"))["data"]["pairs"]

    assert [(pair["symbol"], pair["price_precision"], pair["qty_precision"]) for pair in pairs] == [
        ("BTC/USD", 1, 8),
        ("ETH/USD", 2, 8),
    ]


async def test_single_samples_of_the_other_channels_are_served_too(genuine: Path):
    """Candles under their interval, tickers whatever triggered them, the genuine instrument
    snapshot itself.
    """
    names = ("ohlc", "ticker", "instrument")
    settings = capture_settings(*(genuine / f"{name}.jsonl" for name in names))
    async with Venue(settings) as venue, connected(venue.public_url) as client:
        client.subscribe("ohlc", "BTC/USDT", interval=1)
        client.subscribe("ticker", "ALGO/USD", event_trigger="bbo")
        client.ask(method="subscribe", params={"channel": "instrument"})
        client.subscribe("ohlc", "BTC/USDT", interval=5)
        replies = [await client.reply() for _ in range(4)]
        await client.until(lambda seen: len(market_frames(seen)) == 5)
    expected = [*market_lines(genuine / "ohlc.jsonl", "BTC/USDT"), *market_lines(genuine / "ticker.jsonl", "ALGO")]

    assert [reply["success"] for reply in replies] == [True, True, True, False]
    assert set(market_frames(client)) == {*expected, *market_lines(genuine / "instrument.jsonl")}


async def test_a_slow_reader_holds_a_fast_capture_back(genuine: Path):
    """At full speed for ever, the venue waits for the socket and keeps no more than its
    buffer.
    """
    settings = capture_settings(genuine / ONE_PAIR, repeat=0, write_buffer_bytes_max=1_000_000)
    async with Venue(settings) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", depth=25)
        await client.until(lambda seen: len(seen.frames) > 100)
        client.stop_reading()
        await turns(5_000)  # a frame or more in each: without the wait it would be more than the buffer may hold
        assert venue.open_connections == 1
        client.read_on()
        before = len(client.frames)
        await client.until(lambda seen: len(seen.frames) > before + 20_000)
        client.drop()


async def test_faults_strike_captures_as_well(genuine: Path):
    """Frame by frame then, still in order."""
    from engine.venue.websocket.faults import parse_fault

    expected = market_lines(genuine / ONE_PAIR)
    settings = capture_settings(genuine / ONE_PAIR, faults=(parse_fault("duplicate=1"),))
    async with Venue(settings) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", depth=25)
        await client.until(lambda seen: len(market_frames(seen)) >= 2 * len(expected))

    assert market_frames(client) == [line for line in expected for _ in range(2)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"hello\n", r"bad.jsonl, line 1: is not JSON"),
        (b'{"channel":"heartbeat"}\n[1]\n', "line 2: is not a Kraken message"),
        (b'{"channel":"heartbeat"}\n', "holds no Kraken market data that begins with a snapshot"),
        (b"", "holds no Kraken market data"),
        (b'{"a":1}\n', "line 1: is not a Kraken message, it has no channel and no method"),
        (b'{"channel":"heartbeat"}\n\xff\n', "line 2: is not text in UTF-8"),
    ],
)
def test_garbage_is_one_sentence(tmp_path: Path, content: bytes, sentence: str):
    """File, line, what is wrong."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)

    with pytest.raises(CaptureError, match=sentence):
        read_captures([str(path)])


def test_files_that_do_not_go_together_are_one_sentence(genuine: Path, tmp_path: Path):
    """Missing, twice the same stream, a receive clock of another capture."""
    path = tmp_path / "one.jsonl"
    path.write_text(market_lines(genuine / ONE_PAIR)[0])
    (tmp_path / "one.recv_ns.txt").write_text("1\n2\n")

    with pytest.raises(CaptureError, match="there is no such file"):
        read_captures([str(tmp_path / "none.jsonl")])
    with pytest.raises(CaptureError, match=r"holds the book of BTC/USD \(25\), as does"):
        read_captures([str(genuine / ONE_PAIR)] * 2)
    with pytest.raises(CaptureError, match="has 2 lines where its capture has 1"):
        read_captures([str(path)])
