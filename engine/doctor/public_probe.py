"""Tests the public WebSocket: whether it connects, and how far our clock is from Kraken's.

It uses the feeds' connection, subscribes to nothing, and needs no key.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from engine.clock import Clock
from engine.kraken_rest.clock_ping import ClockPing
from engine.kraken_rest.preflight import Finding, Level, clock_finding
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection
from engine.units import NS_PER_MS, MonoNs


class _PingSession:
    """A session that asks for Kraken's time, and for nothing else."""

    poll_interval_ns = 20 * NS_PER_MS

    def __init__(self, clock: Clock) -> None:
        self.ping = ClockPing(clock)
        self.was_open = False
        self.is_over = asyncio.Event()

    @property
    def reconnect_delay_floor_ns(self) -> int:
        return 0

    def opened(self, now: MonoNs) -> None:
        self.was_open = True
        self.ping.begin()

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[object]:
        self.ping.take(frame)
        if self.ping.offset is not None:
            self.is_over.set()
        return ()

    def poll(self, now: MonoNs) -> Sequence[object]:
        return ()

    def to_send(self) -> Sequence[bytes]:
        return self.ping.to_send()

    def dead(self, now: MonoNs) -> str | None:
        return None

    def closed(self, now: MonoNs, reason: str) -> Sequence[object]:
        self.is_over.set()
        return ()


async def probe_public(
    url: str, clock: Clock, resolver: Resolver, *, ca_file: Path | None, deadline_s: float
) -> list[Finding]:
    """Connect, ping once, and disconnect, within `deadline_s`. One attempt."""
    session = _PingSession(clock)
    connection: WebSocketConnection[object] = WebSocketConnection(
        url,
        session,
        on_events=lambda _: None,
        on_burst_end=lambda: None,
        clock=clock,
        backoff=Backoff(random.Random()),
        budget=ConnectionBudget(attempts_max=1),
        resolver=resolver,
        ca_file=ca_file,
    )
    connecting = asyncio.ensure_future(connection.run())
    over = asyncio.ensure_future(session.is_over.wait())
    try:
        await asyncio.wait({over}, timeout=deadline_s)
    finally:
        over.cancel()
        await connection.stop()
        await connecting
    if session.ping.offset is not None:
        return [Finding("public", Level.OK, f"{url} connects and answers"), clock_finding(session.ping.offset)]
    why = connection.last_error.removeprefix(f"{url}: ") or f"no answer to a ping within {deadline_s:g} s"
    text = f"{url} cannot be used: {why}; check venue.url, and what stands between this computer and Kraken"
    return [Finding("public", Level.FAILURE, text, is_passing=True)]
