"""Each kind of trouble does what it says, by seed, and leaves the venue's own books alone."""

import json
from collections import Counter

import pytest

from engine.errors import ConfigError
from engine.venue.server import Venue
from engine.venue.setup.settings import FaultSpec, VenueSettings
from engine.venue.websocket.faults import FaultLine, parse_fault
from engine.venue.wire.stream import StreamKey
from engine.venue.wire.wire import payload_start, text_frame
from tests.venue.market.update_law import LawBook, read
from tests.venue.venue_client import Client, connected
from tests.virtual_time import VirtualTime

BOOK = StreamKey("book", "BTC/USD", 10)
UPDATE = (
    '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":63381.0,"qty":0.00000000},'
    '{"price":63376.4,"qty":0.00005100}],"asks":[],"checksum":3726153463,"timestamp":"2026-08-02T03:35:51.660084Z"}]}'
)


class Target:
    """What the faults did to a connection."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def reset(self) -> None:
        self.done.append("reset")

    def close(self, code: int) -> None:
        self.done.append(("close", code))

    def fall_silent(self) -> None:
        self.done.append("silent")

    def begin_maintenance(self) -> None:
        self.done.append("maintenance")


def line_of(*faults: str, seed: int = 1, target: Target | None = None) -> FaultLine:
    return FaultLine([parse_fault(fault) for fault in faults], seed, 1, target or Target(), {})


def spoiled(line: FaultLine, text: str = UPDATE, key: StreamKey = BOOK) -> list[str]:
    return [frame[payload_start(frame) :].decode() for frame in line.spoil(key, text_frame(text))]


def settings_of(*faults: str, **rest: object) -> VenueSettings:
    specs = tuple(parse_fault(fault) for fault in faults)
    common = {"port": 0, "seed": 9, "symbols": ("BTC/USD", "ETH/USD"), "rate": 2000.0, "snapshot_delay_ms": (1.0, 2.0)}
    return VenueSettings(faults=specs, **{**common, **rest})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("corrupt=0.001@BTC/USD", FaultSpec("corrupt", rate=0.001, symbol="BTC/USD")),
        ("drop=1", FaultSpec("drop", rate=1.0)),
        ("cut@5", FaultSpec("cut", at_s=5.0)),
        ("mute@0.5@ETH/USD", FaultSpec("mute", at_s=0.5, symbol="ETH/USD")),
        ("close:1012=1e-4", FaultSpec("close", rate=1e-4, close_code=1012)),
        ("close:4000@3", FaultSpec("close", at_s=3.0, close_code=4000)),
    ],
)
def test_faults_are_told_in_one_word(text: str, spec: FaultSpec):
    """KIND=RATE[@SYMBOL] and KIND@SECONDS[@SYMBOL]."""
    assert parse_fault(text) == spec


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("corupt=0.1", "there is no fault 'corupt': use corrupt"),
        ("zzz=0.1", "there is no fault 'zzz': the kinds are corrupt, badcrc"),
        ("drop", r"write KIND=RATE\[@SYMBOL\]"),
        ("drop=2", "'2' must be a number from 0 to 1"),
        ("drop=nan", "'nan' must be a number"),
        ("cut@soon", "'soon' must be a number"),
        ("close@1", "close needs a code"),
        ("cut:1000@1", "close needs a code and is alone"),
        ("close:9@1", "'9' must be a number from 1000 to 4999"),
        ("close:1006@1", "1006 may not be sent"),
    ],
)
def test_a_fault_that_cannot_be_is_one_sentence(text: str, sentence: str):
    """The option, what is wrong, and the mend."""
    with pytest.raises(ConfigError, match=f"^--fault {text}: .*{sentence}"):
        parse_fault(text)


def test_corrupt_changes_one_digit():
    """Of a price or a quantity, still JSON; snapshots and other channels stay as they are."""
    line = line_of("corrupt=1")
    for _ in range(200):
        (text,) = spoiled(line)
        changed = [index for index, (old, new) in enumerate(zip(UPDATE, text, strict=True)) if old != new]
        json.loads(text)
        assert len(changed) == 1
        assert UPDATE.index('"bids"') < changed[0] < UPDATE.index('"asks"')
    snapshot = UPDATE.replace("update", "snapshot")

    assert spoiled(line, snapshot) == [snapshot]
    assert spoiled(line, UPDATE, StreamKey("trade", "BTC/USD")) == [UPDATE]


def test_badcrc_tells_another_checksum():
    """Nothing else of the frame changes."""
    (text,) = spoiled(line_of("badcrc=1"))
    before, after = json.loads(UPDATE)["data"][0], json.loads(text)["data"][0]

    assert before.pop("checksum") != after.pop("checksum")
    assert before == after


def test_frames_can_go_missing_or_come_twice_or_in_bad_company():
    """drop, duplicate, noise and unknown."""
    noise, genuine = spoiled(line_of("noise=1"))
    stranger, _ = spoiled(line_of("unknown=1"))

    assert spoiled(line_of("drop=1")) == []
    assert spoiled(line_of("duplicate=1")) == [UPDATE, UPDATE]
    assert genuine == UPDATE
    assert noise == "CloudFlare WebSocket proxy restarting"
    assert json.loads(stranger)["channel"] == "weather"


def test_a_rate_is_a_rate_and_a_seed_is_a_seed():
    """About one in ten, the same ones again with the same seed, and only of the symbol that was named."""

    def dropped(seed: int) -> list[int]:
        line = line_of("drop=0.1@BTC/USD", seed=seed)
        return [index for index in range(2000) if not spoiled(line)]

    assert 140 < len(dropped(1)) < 260
    assert dropped(1) == dropped(1) != dropped(2)
    assert spoiled(line_of("drop=1@ETH/USD")) == [UPDATE]


def test_a_muted_stream_is_heard_again_when_subscribed_anew():
    """One channel of one symbol; the others go on."""
    line = line_of("mute@1@BTC/USD")
    line.arm(parse_fault("mute@1@BTC/USD"))
    other = StreamKey("trade", "BTC/USD")

    assert spoiled(line) == spoiled(line) == []
    assert spoiled(line, key=other) == [UPDATE]
    line.unmute(BOOK)
    assert spoiled(line) == [UPDATE]


def test_a_timed_fault_strikes_once():
    """Frames: the next that fits. Connections: at once."""
    target = Target()
    line = line_of(target=target)
    for fault in ("drop@1@BTC/USD", "cut@1", "close:1012@1", "silent@1"):
        line.arm(parse_fault(fault))
    others = spoiled(line, key=StreamKey("book", "ETH/USD", 10))

    assert others == [UPDATE]
    assert spoiled(line) == []
    assert spoiled(line) == [UPDATE]
    assert target.done == ["reset", ("close", 1012), "silent"]


def check_book(frames: list[str]) -> None:
    held = LawBook(10)
    for text in frames:
        if '"channel":"book","type"' in text:
            held.take(read(text))


async def read_book(client: Client, updates: int) -> None:
    client.subscribe("book", "BTC/USD")
    await client.until(lambda seen: len(seen.frames) > updates)


@pytest.mark.parametrize("fault", ["corrupt=0.02", "badcrc=0.02", "drop=0.02@BTC/USD"])
async def test_spoiled_books_are_found_out(fault: str):
    """The checksum or the law breaks, at or soon after a spoiled frame, and at none before."""
    async with Venue(settings_of(fault)) as venue, connected(venue.public_url) as client:
        await read_book(client, 600)
        struck = venue.fault_counts[fault.partition("=")[0]]

    assert 1 <= struck < 60
    with pytest.raises(AssertionError):
        check_book(client.frames)


async def test_the_venues_books_do_not_suffer():
    """A client that gets every frame spoiled, beside it the books are right."""
    async with Venue(settings_of("corrupt=1", "duplicate=0.5")) as venue, connected(venue.public_url) as client:
        await read_book(client, 300)
        assert venue.exchange is not None
        for market in venue.exchange.markets.values():
            market.check()


async def test_cut_ends_without_a_close_frame():
    """TCP reset in the middle of the stream; the next connection is served."""
    async with Venue(settings_of("cut@0.1")) as venue:
        async with connected(venue.public_url) as client:
            client.subscribe("book", "BTC/USD")
            await client.ended.wait()
        async with connected(venue.public_url) as again:
            await read_book(again, 50)

    assert client.close_code is None


async def test_close_tells_its_code():
    """A close frame, then the end."""
    async with Venue(settings_of("close:1012@0.1")) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD")
        await client.ended.wait()

    assert client.close_code == 1012


def flow(venue: Venue, events: int) -> None:
    """So many events of the order flow, at once."""
    assert venue.exchange is not None
    for _ in range(events):
        venue.exchange.next_event()


async def test_silent_means_not_even_heartbeats(virtual_time: VirtualTime):
    """The socket stays open, requests are not answered, nothing comes."""
    settings = settings_of("silent@5", heartbeat_s=1.0, rate=0.0)
    async with Venue(settings, virtual_time) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD")
        await client.of("book", "snapshot")
        flow(venue, 20)
        await virtual_time.passes(10)
        struck, before = dict(venue.fault_counts), len(client.frames)
        flow(venue, 20)
        client.ask(method="ping")
        await virtual_time.passes(30)
        still_open = not client.ended.is_set()

    assert struck == {"silent": 1}
    assert before >= 10
    assert len(client.frames) == before
    assert still_open


async def test_mute_leaves_the_rest(virtual_time: VirtualTime):
    """One symbol's book falls silent while heartbeats and the other symbol go on; a new subscription is heard."""
    settings = settings_of("mute@5@BTC/USD", heartbeat_s=1.0, rate=0.0)
    async with Venue(settings, virtual_time) as venue, connected(venue.public_url) as client:
        client.subscribe("book", "BTC/USD", "ETH/USD")
        await virtual_time.passes(10)
        flow(venue, 20)  # the fault strikes with the pair's next frame
        await virtual_time.passes(1)
        struck, before = dict(venue.fault_counts), len(client.frames)
        flow(venue, 100)
        await virtual_time.passes(10)
        kinds = Counter()
        for text in client.frames[before:]:
            message = json.loads(text)
            kinds[message["channel"], message["data"][0]["symbol"] if "data" in message else ""] += 1
        client.unsubscribe("book", "BTC/USD")
        client.subscribe("book", "BTC/USD")
        await client.next(lambda message: message.get("type") == "snapshot" and message["channel"] == "book")

    assert struck == {"mute": 1}
    assert kinds["book", "BTC/USD"] == 0
    assert kinds["book", "ETH/USD"] > 20
    assert kinds["heartbeat", ""] > 3
