"""The private feed: what Kraken says of our orders and money becomes facts in the account ring, for the router.

frames ─► PrivateSession ─► on_events() ─► facts ─► account ring (gated: the router misses none)
                            on_burst_end() ──────► its doorbell

Every connection begins with a fresh token from the router. A router that is away leaves its ring to fill up: what
does not fit waits here, and when that is full too the connection is given up, for its successor's snapshot says all.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from engine.actors.public_feed import TrafficPort
from engine.clock import Clock
from engine.errors import EngineError, MisuseError
from engine.kraken.events import FrameNotUnderstood, SystemChanged
from engine.kraken.private_events import ChannelRefused, TokenRefused
from engine.kraken.private_session import PrivateEvent, PrivateSession
from engine.net.control_socket import NobodyListens
from engine.orders.account_ring import ACCOUNT_FACTS
from engine.orders.venue_facts import AccountFact, BalanceFact, ExecutionFact, FeedAlive, FeedLost
from engine.ring import Publisher
from engine.telemetry import Counters
from engine.units import NS_PER_MS, MonoNs

HELD_BACK_MAX: Final = 8192  # facts that wait for room in the account ring
TOKEN_RETRY_NS: Final = 250 * NS_PER_MS  # between two asks for a token: the router may be starting
ALIVE_NS: Final = 200 * NS_PER_MS  # between two words on when Kraken was heard

log = structlog.get_logger("private_feed")


class ConnectionPort(Protocol):
    """What the feed can do to its connection."""

    def cut(self, reason: str) -> None: ...

    def send_due(self) -> None: ...


class PrivateFeed:
    """The account's feed, in its own process."""

    def __init__(
        self,
        session: PrivateSession,
        *,
        publisher: Publisher,
        counters: Counters,
        clock: Clock,
        ask_token: Callable[[], Awaitable[str]],
    ) -> None:
        """`ask_token` gives a token that no connection has had yet; EngineError when there is none to be had."""
        self._session = session
        self._publisher = publisher
        self._counters = counters
        self._clock = clock
        self._ask_token = ask_token
        # Set once the connection is there.
        self.connection: ConnectionPort | None = None
        self.traffic: TrafficPort | None = None
        # Facts that found the ring full, oldest first.
        self._held_back: deque[bytes] = deque()
        self._held_back_count = 0
        self._tokens = 0
        self._asking: asyncio.Task[None] | None = None
        self._ask_at = MonoNs(0)
        # What the router was last told of when Kraken was heard.
        self._alive_at = MonoNs(0)
        # Kraken's state that was logged last.
        self._system_told = ""
        self._executions = 0
        self._balances = 0
        self._refused = 0

    def on_start(self) -> None:
        """An earlier life may have ended in the middle of anything."""
        self._publish(FeedLost("the private feed starts"))
        self._publisher.flush()

    def on_events(self, events: Sequence[PrivateEvent]) -> None:
        """Facts to the ring, oddities to the log."""
        for event in events:
            match event:
                case ExecutionFact():
                    self._executions += 1
                    self._publish(event)
                case BalanceFact():
                    self._balances += 1
                    self._publish(event)
                case TokenRefused(reason):
                    log.warning("token refused", reason=reason)
                    self._refused += 1
                case ChannelRefused(channel, advice):
                    log.error("subscription refused", channel=channel, advice=advice)
                    self._refused += 1
                case SystemChanged(system):
                    if system != self._system_told:
                        self._system_told = system
                        log.info("venue status", system=system)
                case FrameNotUnderstood(kind, detail, frame):
                    log.warning("frame not understood", kind=kind, detail=detail, frame=frame)
                case _:
                    self._publish(event)

    def on_burst_end(self) -> None:
        """End of a burst: the router may look."""
        self._publisher.flush()

    def do_work(self) -> None:
        """Ten times a second: a token where one is wanted, what waits for room, the counters."""
        now = self._clock.mono_ns()
        if self._session.wants_token and self._asking is None and now >= self._ask_at:
            self._asking = asyncio.get_running_loop().create_task(self._authorise())
        if self._held_back:
            self._publish_held_back()
        heard_at = self._session.liveness.heard_at
        if self._session.is_live and heard_at >= self._alive_at + ALIVE_NS:
            self._alive_at = heard_at
            self._publish(FeedAlive(heard_at))
            self._publisher.flush()
        self._count(now)

    def nudge(self) -> None:
        """The router asks for everything anew: a new connection begins with snapshots."""
        if self.connection is not None:
            self.connection.cut("the order router asks for a snapshot")

    async def _authorise(self) -> None:
        try:
            token = await self._ask_token()
        except EngineError as error:
            # A router that is only starting is no news.
            tell = log.debug if isinstance(error, NobodyListens) else log.warning
            tell("no token", reason=str(error))
        else:
            self._tokens += 1
            self._session.authorise(token, self._clock.mono_ns())
            if self.connection is not None:
                self.connection.send_due()
        finally:
            self._asking = None
            self._ask_at = MonoNs(self._clock.mono_ns() + TOKEN_RETRY_NS)

    def _publish(self, fact: AccountFact) -> None:
        try:
            record = ACCOUNT_FACTS.pack(fact)
        except MisuseError as error:  # its numbers and texts are bounded one by one, not their sum
            self._give_up(f"a fact of Kraken's does not fit the account ring: {error}")
            return
        if not self._held_back and self._publisher.try_publish(record):
            return
        if len(self._held_back) >= HELD_BACK_MAX:
            self._give_up("the order router does not keep up")
            return
        self._held_back_count += 1
        self._held_back.append(record)

    def _give_up(self, why: str) -> None:
        """Facts are lost: forget what the router did not take, and begin anew with a connection and its snapshots."""
        log.error("facts are lost", reason=why, facts_dropped=len(self._held_back))
        self._held_back.clear()
        self._held_back.append(ACCOUNT_FACTS.pack(FeedLost(why)))
        if self.connection is not None:
            self.connection.cut(why)

    def _publish_held_back(self) -> None:
        while self._held_back and self._publisher.try_publish(self._held_back[0]):
            self._held_back.popleft()
        self._publisher.flush()

    def _count(self, now: MonoNs) -> None:
        counters, session = self._counters, self._session
        counters.set("heartbeat_ns", now)
        counters.set("executions", self._executions)
        counters.set("balances", self._balances)
        counters.set("refused", self._refused)
        counters.set("held_back", self._held_back_count)
        counters.set("tokens", self._tokens)
        counters.set("heartbeats", session.liveness.heartbeats)
        counters.set("pongs", session.liveness.pongs)
        counters.set("ping_rtt_ns", session.liveness.ping_rtt_ns)
        counters.set("unknown", session.oddities.unknown)
        counters.set("malformed", session.oddities.malformed)
        counters.set("duplicates", session.duplicates)
        counters.set("reordered", session.reordered)
        counters.set("gaps", session.gaps)
        if (traffic := self.traffic) is not None:
            counters.set("frames", traffic.frames_received)
            counters.set("bytes", traffic.bytes_received)
            counters.set("binary_frames", traffic.binary_frames)
            counters.set("session_errors", traffic.session_errors)
            counters.set("connects", traffic.connects)
            counters.set("connect_failures", traffic.connect_failures)
            counters.set("disconnects", traffic.disconnects)
