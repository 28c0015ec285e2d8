"""The WebSocket of a child process, as [connection] configures it."""

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from engine.clock import Clock
from engine.config import ConnectionConfig
from engine.net.backoff import Backoff
from engine.net.budget import ConnectionBudget
from engine.net.frame_log import FrameLog
from engine.net.resolver import CONNECT_DEADLINE_S, Resolver
from engine.net.session import Session
from engine.net.websocket import GaveUp, WebSocketConnection
from engine.processes.launch import ActorLaunch, News, Tell
from engine.units import NS_PER_S, MonoNs

E = TypeVar("E")


def make_resolver(settings: ConnectionConfig) -> Resolver:
    """A resolver with the configured time limit for an address."""
    return Resolver(connect_deadline_s=min(CONNECT_DEADLINE_S, settings.connect_timeout_s))


def make_connection(
    launch: ActorLaunch,
    url: str,
    session: Session[E],
    *,
    on_events: Callable[[Sequence[E]], None],
    on_burst_end: Callable[[], None],
    receive: Callable[[bytes, MonoNs], Sequence[E]] | None = None,
    lane: object | None = None,
    clock: Clock,
    resolver: Resolver,
) -> WebSocketConnection[E]:
    """The connection of a session; see `WebSocketConnection`."""
    settings = launch.connection
    return WebSocketConnection(
        url,
        session,
        on_events=on_events,
        on_burst_end=on_burst_end,
        receive=receive,
        lane=lane,
        clock=clock,
        backoff=Backoff(
            random.Random(),
            first_ceiling_ns=int(settings.backoff_min_s * NS_PER_S),
            ceiling_ns_max=int(settings.backoff_max_s * NS_PER_S),
            factor=settings.backoff_factor,
        ),
        budget=ConnectionBudget(attempts_max=launch.attempts_max),
        resolver=resolver,
        ca_file=Path(launch.ca_file) if launch.ca_file else None,
        failures_max=settings.attempts_max,
        frame_log=FrameLog(url, clock) if launch.log.frames else None,
        handshake_deadline_s=settings.connect_timeout_s,
    )


async def keep_connected(connection: WebSocketConnection[E], tell: Tell, stopped: asyncio.Event) -> None:
    """Run the connection until SIGTERM. If it gives up, report that to the supervisor,
    which stops the engine, and wait for SIGTERM.
    """
    try:
        await connection.run()
    except GaveUp as error:
        tell(News("fatal", str(error)))
        await stopped.wait()
