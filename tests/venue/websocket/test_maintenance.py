"""The venue's maintenance: Kraken's phases in their order, what may be done in each, what becomes of the sockets."""

import asyncio
import json
from collections.abc import Iterable
from itertools import groupby

import pytest

from engine.errors import ConfigError
from engine.venue.core import LADDER
from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings
from engine.venue.websocket.faults import parse_fault
from tests.venue.market.update_law import LawBook, read
from tests.venue.trading_rig import trading
from tests.venue.venue_client import Client, connected
from tests.virtual_time import VirtualTime
from tests.waiting import PATIENCE_S, until

PHASES = ["online", "maintenance", "cancel_only", "post_only", "online"]


def settings(*faults: str, **changes: object) -> VenueSettings:
    common = {"port": 0, "symbols": ("BTC/USD", "ETH/USD"), "rate": 500.0, "snapshot_delay_ms": (1.0, 2.0),
              "engine_latency_ms": (0.0, 0.0), "maintenance_phase_s": 0.2}  # fmt: skip
    return VenueSettings(faults=tuple(parse_fault(fault) for fault in faults), **{**common, **changes})  # type: ignore[arg-type]


def systems(frames: Iterable[str]) -> list[str]:
    """The states that were told, each once until the next."""
    told = [json.loads(text) for text in frames if '"channel":"status"' in text]
    return [system for system, _ in groupby(message["data"][0]["system"] for message in told)]


async def until_online(client: Client) -> None:
    """Until the ladder has been gone through."""
    await client.until(lambda client: systems(client.frames)[-2:] == ["post_only", "online"])


def test_phases_are_as_long_as_krakens_in_proportion():
    """110, 100 and 95 s were measured on 2026-10-01."""
    assert [(system, round(share * 100)) for system, share in LADDER] == [
        ("maintenance", 110), ("cancel_only", 100), ("post_only", 95)
    ]  # fmt: skip


async def test_a_maintenance_goes_through_krakens_phases_on_open_sockets():
    """Both sides are told; books hardly move, but they do move, without a trade; then the venue is as it was."""
    async with (
        Venue(settings("maintenance@0.3")) as venue,
        connected(venue.public_url) as client,
        trading(venue) as trader,
    ):
        client.subscribe("book", "BTC/USD", "ETH/USD", depth=10)
        client.subscribe("trade", "BTC/USD", "ETH/USD", snapshot=False)
        await until_online(client)
        seen = len(client.frames)
        await client.until(lambda client: any('"channel":"trade"' in text for text in client.frames[seen:]))
        frames, private_frames = list(client.frames), list(trader.client.frames)
        is_open = client.close_code is None and not client.ended.is_set() and not trader.client.ended.is_set()
    began = next(index for index, text in enumerate(frames) if '"system":"maintenance"' in text)
    ended = next(index for index, text in enumerate(frames) if index > began and '"system":"online"' in text)
    during = frames[began:ended]
    books = [text for text in during if '"channel":"book"' in text]
    laws = {symbol: LawBook(10) for symbol in ("BTC/USD", "ETH/USD")}
    for message in map(read, frames):
        if message.get("channel") == "book":
            laws[message["data"][0]["symbol"]].take(message)

    assert systems(frames) == systems(private_frames) == PHASES
    assert is_open
    assert 1 <= len(books) < 100
    assert not [text for text in during if '"channel":"trade"' in text]


@pytest.mark.parametrize(
    ("system", "post_only", "plain", "cancel"),
    [
        ("maintenance", "EService:Unavailable", "EService:Unavailable", "EService:Unavailable"),
        ("cancel_only", "EService:Market in cancel_only mode", "EService:Market in cancel_only mode", None),
        ("post_only", None, "EService:Market in post_only mode", None),
    ],
)
async def test_what_may_be_done_in_each_phase(
    system: str, post_only: str | None, plain: str, cancel: str | None, virtual_time: VirtualTime
):
    """Orders of before survive; nothing is canceled in maintenance; post_only takes post-only limits alone."""
    async with Venue(settings(maintenance_phase_s=0.5, rate=0.0), virtual_time) as venue, trading(venue) as trader:
        first = await trader.limit()
        venue.begin_maintenance()
        await trader.client.next(
            lambda message: message.get("channel") == "status" and message["data"][0]["system"] == system
        )
        resting = await trader.limit(post_only=True)
        other = await trader.limit()
        canceled = await trader.ask("cancel_order", order_id=[first["result"]["order_id"]])

    assert [answer.get("error") for answer in (resting, other, canceled)] == [post_only, plain, cancel]


async def test_a_dead_mans_switch_strikes_when_the_engine_returns(virtual_time: VirtualTime):
    """Left armed over a maintenance it cancels everything, but not before orders can be canceled again."""
    async with Venue(settings(maintenance_phase_s=1.5, rate=0.0), virtual_time) as venue, trading(venue) as trader:
        await trader.ask("subscribe", channel="executions")
        await trader.limit()
        await trader.ask("cancel_all_orders_after", timeout=1)
        venue.begin_maintenance()
        await trader.rows(lambda row: row["exec_type"] == "canceled")
        frames = trader.client.frames
        canceled = next(index for index, text in enumerate(frames) if '"exec_type":"canceled"' in text)

    assert systems(frames[:canceled])[-2:] == ["maintenance", "cancel_only"]


async def test_a_crossing_post_only_order_never_takes_in_post_only(virtual_time: VirtualTime):
    """It is accepted and canceled with its reason, as when the venue is online."""
    async with Venue(settings(maintenance_phase_s=0.5, rate=0.0), virtual_time) as venue, trading(venue) as trader:
        await trader.ask("subscribe", channel="executions")
        venue.begin_maintenance()
        await trader.client.next(
            lambda message: message.get("channel") == "status" and message["data"][0]["system"] == "post_only"
        )
        answer = await trader.limit(price=90_000.0, post_only=True)
        (ended,) = await trader.rows(lambda row: row["exec_type"] == "canceled")

    assert answer["success"] is True
    assert (ended["reason"], ended["cum_qty"]) == ("Post only order", 0)


async def test_a_private_socket_may_be_lost_in_post_only():
    """Closed with 1012, as on 2026-10-01; the public one stays, and a new private one is taken at once."""
    lossy = settings("maintenance@0.1", maintenance_loss="private")
    async with Venue(lossy) as venue, connected(venue.public_url) as public:
        async with trading(venue) as trader:
            await asyncio.wait_for(trader.client.ended.wait(), PATIENCE_S)
        at_the_end = venue.system
        async with connected(venue.private_url) as again:
            first_word = (await again.of("status"))["data"][0]["system"]
        await until_online(public)

    assert systems(trader.client.frames) == PHASES[:-1]
    assert trader.client.close_code == 1012
    assert at_the_end == "post_only"
    assert first_word == "post_only"
    assert systems(public.frames) == PHASES


async def test_all_sockets_may_be_lost_as_it_begins():
    """Everybody out with 1012 and nobody in, until cancel_only."""
    async with Venue(settings("maintenance@0.1", maintenance_loss="all")) as venue:
        async with connected(venue.public_url) as public, connected(venue.private_url) as private:
            for client in (public, private):
                await asyncio.wait_for(client.ended.wait(), PATIENCE_S)
        with pytest.raises(Exception, match="503"):
            async with connected(venue.public_url):
                pass
        await until(lambda: venue.system != "maintenance")
        async with connected(venue.public_url) as again:
            await until_online(again)

    assert systems(public.frames) == systems(private.frames) == PHASES[:2]
    assert public.close_code == private.close_code == 1012
    assert systems(again.frames) == PHASES[2:]


async def test_a_maintenance_to_come_is_announced():
    """Listed from the first status on, gone from the list with the frame that tells its beginning."""
    async with Venue(settings("maintenance@0.2")) as venue, connected(venue.public_url) as client:
        await until_online(client)
    told = [json.loads(text)["data"][0] for text in client.frames if '"channel":"status"' in text]
    first = told[0]["upcoming_maintenance"][0]
    begun = next(status for status in told if status["system"] == "maintenance")

    assert (first["phase"], first["time_to_start_s"]) == ("final_warning_30s", 0)
    assert begun["upcoming_maintenance"] == []


@pytest.mark.parametrize("phase_s", [0.0, -1.0])
def test_a_phase_that_cannot_be_is_one_sentence(phase_s: float):
    """The option is named."""
    with pytest.raises(ConfigError, match=r"^--maintenance-phase-s .* must be more than 0"):
        settings(maintenance_phase_s=phase_s)
