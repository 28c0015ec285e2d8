"""Tests the private WebSocket with a token: whether it connects, and what both channels
tell.

It uses the private feed's session and connection, and never sends an order.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from engine.clock import Clock
from engine.kraken.private.events import ChannelRefused, TokenRefused
from engine.kraken.private.session import PrivateEvent, PrivateSession, PrivateSettings
from engine.kraken_rest.clock_ping import ClockPing
from engine.kraken_rest.preflight import Finding, Level, clock_finding
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.resolver import Resolver
from engine.net.websocket import WebSocketConnection
from engine.orders.rate_counter import tier_of
from engine.orders.venue_facts import ExecutionFact
from engine.units import NS_PER_MS, MonoNs

DEADLINE_S: Final = 10.0
ATTEMPTS_MAX: Final = 3


class Probe(Struct, frozen=True):
    """The result of the test."""

    findings: list[Finding]
    max_rate_count: int | None = None
    """The threshold of the account's tier; None if Kraken did not tell it."""

    @property
    def open_orders_max(self) -> int:
        """Open orders that the tier allows on a pair."""
        return tier_of(self.max_rate_count).open_orders_max


class _ProbeSession:
    """A private session that is given its token at once, and asks for Kraken's time as
    well.
    """

    poll_interval_ns = 20 * NS_PER_MS

    def __init__(self, token: str, clock: Clock) -> None:
        self.inner = PrivateSession(PrivateSettings())
        self.ping = ClockPing(clock)
        self._token = token
        self.refusal = ""
        self.open_orders = 0
        self.is_over = asyncio.Event()

    @property
    def reconnect_delay_floor_ns(self) -> int:
        return 0

    def opened(self, now: MonoNs) -> None:
        self.inner.opened(now)
        self.inner.authorise(self._token, now)
        self.ping.begin()

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[PrivateEvent]:
        self.ping.take(frame)
        return self.inner.receive(frame, received_at)

    def poll(self, now: MonoNs) -> Sequence[PrivateEvent]:
        return self.inner.poll(now)

    def to_send(self) -> Sequence[bytes]:
        return [*self.inner.to_send(), *self.ping.to_send()]

    def dead(self, now: MonoNs) -> str | None:
        return self.inner.dead(now)

    def closed(self, now: MonoNs, reason: str) -> Sequence[PrivateEvent]:
        return self.inner.closed(now, reason)

    def on_events(self, events: Sequence[PrivateEvent]) -> None:
        """Take the events that decide the result."""
        for event in events:
            match event:
                case ExecutionFact(is_snapshot=True, exec_type=kind) if kind != "trade":
                    self.open_orders += 1
                case TokenRefused(reason):
                    self._refuse(f"Kraken refuses the WebSocket token ({reason}); is the key of another account?")
                case ChannelRefused(_, advice):
                    self._refuse(advice)
                case _:
                    pass
        if self.inner.is_live and self.ping.offset is not None:
            self.is_over.set()

    def _refuse(self, reason: str) -> None:
        self.refusal = self.refusal or reason
        self.is_over.set()


async def probe_private(
    url: str, token: str, clock: Clock, *, ca_file: Path | None = None, deadline_s: float = DEADLINE_S
) -> Probe:
    """Connect, subscribe to executions and balances, and disconnect."""
    session = _ProbeSession(token, clock)
    connection: WebSocketConnection[PrivateEvent] = WebSocketConnection(
        url,
        session,
        on_events=session.on_events,
        on_burst_end=_nothing,
        clock=clock,
        backoff=Backoff(random.Random()),
        budget=ConnectionBudget(attempts_max=ATTEMPTS_MAX),
        resolver=Resolver(),
        ca_file=ca_file,
    )
    connecting = asyncio.ensure_future(connection.run())
    try:
        async with asyncio.timeout(deadline_s):
            await session.is_over.wait()
    except TimeoutError:
        pass
    finally:
        await connection.stop()
        await connecting
    return _judge(session, connection.last_error, url, deadline_s)


def _judge(session: _ProbeSession, last_error: str | None, url: str, deadline_s: float) -> Probe:
    findings = [] if session.ping.offset is None else [clock_finding(session.ping.offset)]
    if session.refusal:
        return Probe([*findings, Finding("private", Level.FAILURE, session.refusal)])
    # The session is closed by our own disconnect, so its counts tell whether everything
    # came.
    missing = [name for name, stream in session.inner.streams.items() if not stream.snapshots]
    if missing:
        why = f" ({last_error})" if last_error else ""
        text = f"{url} gave no {' and no '.join(missing)} within {deadline_s:g} s{why}; check venue.private_url"
        return Probe([*findings, Finding("private", Level.FAILURE, text, is_passing=True)])
    count = session.inner.max_rate_count
    findings += [Finding("private", Level.OK, f"{url} takes the token; executions and balances come"), _tier(count)]
    if session.open_orders:
        text = (
            f"{session.open_orders} orders are open already; the engine will follow those of others and not touch them"
        )
        findings.append(Finding("orders", Level.ADVICE, text))
    return Probe(findings, count)


def _tier(max_rate_count: int | None) -> Finding:
    tier = tier_of(max_rate_count)
    if max_rate_count is None:
        text = f"Kraken does not tell the account's tier; the engine goes by {tier.name}, unless trading.tier is set"
        return Finding("tier", Level.WARNING, text)
    limits = f"rate counter {tier.threshold}, {tier.open_orders_max} open orders a pair"
    return Finding("tier", Level.OK, f"the account's tier is {tier.name}: {limits}")


def _nothing() -> None:
    pass
