"""The venue of paper trading with its connection to Kraken, until it is told to stop."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from engine.clock import SystemClock
from engine.errors import UserError
from engine.kraken.public.events import Event
from engine.kraken.public.session import PublicSession, PublicSettings
from engine.net.backoff import Backoff
from engine.net.budget import ATTEMPTS_MAX, ConnectionBudget
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection
from engine.paper.follower import Follower, Listing
from engine.units import NS_PER_S
from engine.venue.market.pairs import learn_assets, named
from engine.venue.server import Venue
from engine.venue.setup.settings import VenueSettings

DEPTH: Final = 100  # book levels a side that are mirrored
LISTING_WAIT_S: Final = 30.0  # for the data of every pair
OPENING_WAIT_S: Final = 5.0  # then, for its book, and for the round trip; a book that comes later trades later
LOOK_S: Final = 0.02
PING_INTERVAL_NS: Final = NS_PER_S  # of the pings that measure the round trip
ROUND_TRIP_LOOK_S: Final = 1.0  # how often the newest one is taken over
CONNECTIONS_MAX: Final = ATTEMPTS_MAX // 10  # attempts in ten minutes: this process's share of Kraken's limit


async def serve_paper(
    settings: VenueSettings,
    url: str,
    ca_file: str | None,
    ready: Callable[[dict[str, str]], None],
    stop: asyncio.Event,
) -> None:
    """Serve a venue whose markets follow the public WebSocket at `url`, until `stop` is
    set. `ca_file` has further trusted authorities.

    `ready` is called with the addresses once the data of every pair are there. Raises
    UserError if that takes longer than LISTING_WAIT_S, or Kraken does not offer a pair.
    """
    kraken = _Kraken(settings.symbols, url, ca_file)
    running = asyncio.ensure_future(kraken.connection.run())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        if not await kraken.wait_for_listing(running, stopping):
            return
        learn_assets(kraken.listing.asset_decimals())
        async with Venue(settings, mirrored=kraken.listing.pairs()) as venue:
            kraken.follower = Follower(kraken.session, kraken.listing, venue, DEPTH)
            assert venue.exchange is not None
            ready(venue.addresses())
            while not (running.done() or stopping.done()):
                # An order is on its way to Kraken for one half, the market on its way here
                # for the other.
                venue.exchange.round_trip_ns = kraken.session.ping_rtt_ns
                await asyncio.wait({running, stopping}, timeout=ROUND_TRIP_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            kraken.follower = None
    finally:
        stopping.cancel()
        await kraken.connection.stop()
        with suppress(asyncio.CancelledError):
            await running  # a MisuseError ends the process


class _Kraken:
    """The connection to Kraken; passes its events first to the listing, then to the
    follower.
    """

    def __init__(self, symbols: tuple[str, ...], url: str, ca_file: str | None) -> None:
        self._url = url
        self.session = PublicSession(
            PublicSettings(
                symbols=symbols, depth=DEPTH, tickers=False, candle_interval_min=None, ping_interval_ns=PING_INTERVAL_NS
            )
        )
        self.listing = Listing(self.session, symbols)
        self.follower: Follower | None = None
        clock = SystemClock()
        self.connection: WebSocketConnection[Event] = WebSocketConnection(
            url,
            self.session,
            on_events=self._on_events,
            on_burst_end=self._on_burst_end,
            clock=clock,
            backoff=Backoff(random.Random()),
            budget=ConnectionBudget(attempts_max=CONNECTIONS_MAX),
            resolver=Resolver(),
            ca_file=Path(ca_file) if ca_file else None,
        )

    async def wait_for_listing(self, *ends: "asyncio.Future[Any]") -> bool:
        """Wait for the data of every pair; False if one of `ends` came first."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LISTING_WAIT_S
        while missing := self.listing.missing:
            if self.listing.refusal:
                raise UserError(self.listing.refusal)
            if any(end.done() for end in ends):
                return False
            if loop.time() > until:
                reason = self.connection.last_error or f"nothing was told of {named(missing)}"
                raise UserError(f"{self._url} has not told of every pair within {LISTING_WAIT_S:g} s: {reason}")
            await asyncio.sleep(LOOK_S)
        until = loop.time() + OPENING_WAIT_S
        while not (self.listing.are_live and self.session.pongs) and loop.time() < until:
            if any(end.done() for end in ends):
                return False
            await asyncio.sleep(LOOK_S)
        return True

    def _on_events(self, events: Sequence[Event]) -> None:
        if self.follower is None:
            self.listing.on_events(events)
        else:
            self.follower.on_events(events)

    def _on_burst_end(self) -> None:
        if self.follower is not None:
            self.follower.on_burst_end()
