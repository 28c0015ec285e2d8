"""The private feed: writes what Kraken tells of orders and money into the account ring, for
the order router.

frames ─► PrivateSession ─► on_events() ─► facts ─► account ring (gated: the router misses none)
   │                        on_burst_end() ──────► its doorbell, which executions ring at once
   └────► lane: plain rows of executions ────────►

Every connection begins with a fresh token from the router. While the router is away the
ring fills up: what does not fit is held back here, and when that is full too, the
connection is cut: the snapshot of the next one tells everything.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Final, Protocol

import structlog

from engine.clock import Clock
from engine.errors import EngineError, MisuseError
from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.connection.retry import Retry
from engine.kraken.private.events import ChannelRefused, TokenRefused
from engine.kraken.private.session import Phase, PrivateEvent, PrivateSession
from engine.net.control_socket import NobodyListens
from engine.net.traffic import TRAFFIC_COUNTERS, Traffic, traffic_counts
from engine.orders.refusal import ErrorKind
from engine.orders.rings.account_ring import ACCOUNT_FACTS
from engine.orders.venue_facts import AccountFact, BalanceFact, ExecutionFact, FeedAlive, FeedLost, SnapshotEnded
from engine.private_feed.lane import lane_of
from engine.ring import Publisher
from engine.telemetry import CounterGroup, Counters, Heartbeat
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

HELD_BACK_MAX: Final = 8192  # facts that wait for room in the account ring
TOKEN_RETRY_NS: Final = 250 * NS_PER_MS  # after a first ask for a token that failed: the router may be starting
TOKEN_RETRY_NS_MAX: Final = 5 * NS_PER_S  # the router has pauses of its own, by what Kraken says
ALIVE_NS: Final = 200 * NS_PER_MS  # between two FeedAlive facts
SIGN_NS: Final = 500 * NS_PER_MS  # the same while Kraken is silent: this process is alive

OWN_COUNTERS: Final = ("executions", "balances", "refused", "held_back", "tokens")
# Counters of the session, each with its attribute there.
SESSION_COUNTERS: Final = {
    "heartbeats": "liveness.heartbeats",
    "pongs": "liveness.pongs",
    "ping_rtt_ns": "liveness.ping_rtt_ns",
    "unknown": "oddities.unknown",
    "malformed": "oddities.malformed",
    "duplicates": "duplicates",
    "reordered": "reordered",
    "gaps": "gaps",
    "subscriptions": "subscriptions",
}
_session_counts = attrgetter(*SESSION_COUNTERS.values())

log = structlog.get_logger("private_feed")


class ConnectionPort(Protocol):
    """What the feed does with its connection."""

    def cut(self, reason: str) -> None: ...

    def send_due(self) -> None: ...

    @property
    def last_error(self) -> str: ...


class PrivateFeed:
    """The private feed's actor: session in, account ring out."""

    def __init__(
        self,
        session: PrivateSession,
        *,
        publisher: Publisher,
        counters: Counters,
        clock: Clock,
        ask_token: Callable[[], Awaitable[str]],
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`ask_token` returns a token that no connection has used yet; it raises
        EngineError when there is none."""
        self._session = session
        self._publisher = publisher
        # The shared counters, grouped by their source; they include what earlier processes
        # counted.
        self._heartbeat = Heartbeat(counters)
        self._own_counters = CounterGroup(counters, OWN_COUNTERS)
        self._session_counters = CounterGroup(
            counters, tuple(SESSION_COUNTERS), levels=("subscriptions", "ping_rtt_ns")
        )
        self._traffic_counters = CounterGroup(counters, tuple(TRAFFIC_COUNTERS), levels=("connected",))
        self._clock = clock
        self._ask_token = ask_token
        self._token_retry = Retry(chance, first_ns=TOKEN_RETRY_NS, pause_ns_max=TOKEN_RETRY_NS_MAX)
        # Tokens that Kraken has refused one after the other.
        self._refusals = Retry(chance, first_ns=TOKEN_RETRY_NS)
        # The numbers of connections, and of failures to connect, that the router knows of.
        self._connects_told = 0
        self._failures_told = 0
        # Set once the connection is there.
        self.connection: ConnectionPort | None = None
        self.traffic: Traffic | None = None
        # Facts that found the ring full, oldest first.
        self._held_back: deque[bytes] = deque()
        # What takes the frames: the lane, past messages and facts where it can, or the
        # session.
        self.lane = lane_of(session, publisher, self._held_back)
        self.receive = session.receive if self.lane is None else self.lane.receive
        self._held_back_count = 0
        self._tokens = 0
        self._asking: asyncio.Task[None] | None = None
        # What the router was last told: when Kraken was heard, and until when its messages
        # are complete; and when that was told.
        self._alive_at = self._sign_at = self._complete_until = MonoNs(0)
        # Kraken's state that was logged last.
        self._system_told = ""
        self._executions = 0
        self._balances = 0
        self._refused = 0
        self._has_refused_token = False

    def on_start(self) -> None:
        """Publish FeedLost: a predecessor may have ended in the middle of a snapshot."""
        self._publish(FeedLost("the private feed starts"))
        self._publisher.flush()

    def on_events(self, events: Sequence[PrivateEvent]) -> None:
        """Publish facts; log everything else."""
        told = self._executions
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
                    # The first may have expired on its way; from the second on each costs
                    # the key a REST call.
                    if self._refusals.failures_in_a_row or self._has_refused_token:
                        self._refusals.failed(ErrorKind.TOKEN, self._clock.mono_ns())
                    self._has_refused_token = True
                    self._tell_trouble(reason, "has no token that Kraken takes")
                case ChannelRefused(channel, advice):
                    log.error("subscription refused", channel=channel, advice=advice)
                    self._refused += 1
                    self._tell_trouble(advice, "is refused")
                case SnapshotEnded():
                    self._has_refused_token = False
                    self._refusals.succeeded()
                    self._publish(event)
                case SystemChanged(system):
                    if system != self._system_told:
                        self._system_told = system
                        log.info("venue status", system=system)
                case FrameNotUnderstood(kind, detail, frame):
                    log.warning(f"{kind} frame", detail=detail, frame=frame.decode(errors="replace"))
                case _:
                    self._publish(event)
        if self._executions > told:
            self._publisher.flush()  # the router takes them while the rest of the burst is read

    def on_burst_end(self) -> None:
        """Ring the router's doorbell."""
        self._publisher.flush()

    def do_work(self) -> None:
        """Called every 50 ms: ask for a token, publish held-back facts and FeedAlive, write
        the counters."""
        now = self._clock.mono_ns()
        self._tell_of_connecting()
        may_ask = self._token_retry.is_due(now) and self._refusals.is_due(now)
        if self._session.wants_token and self._asking is None and may_ask:
            self._asking = asyncio.get_running_loop().create_task(self._authorise())
        if self._held_back:
            self._publish_held_back()
        self._tell_life(now)
        self._count(now)

    def _tell_life(self, now: MonoNs) -> None:
        """Publish FeedAlive when it has something new to tell, and every SIGN_NS anyway."""
        if not self._has_executions or self._session.streams["executions"].sequencer.is_waiting:
            return  # not all that has arrived is told
        liveness = self._session.liveness
        heard_at, complete_until = liveness.heard_at, liveness.answered_at
        is_news = heard_at >= self._alive_at + ALIVE_NS or complete_until > self._complete_until
        if is_news or now >= self._sign_at + SIGN_NS:
            self._alive_at, self._complete_until, self._sign_at = heard_at, complete_until, now
            self._publish(FeedAlive(heard_at, complete_until))
            self._publisher.flush()

    def nudge(self) -> None:
        """Cut the connection, since the router asks for snapshots: a new one begins with
        them."""
        if self.connection is not None:
            self.connection.cut("the order router asks for a snapshot")

    async def _authorise(self) -> None:
        try:
            token = await self._ask_token()
        except EngineError as error:
            # A router that is only starting is not worth a warning.
            is_news = not isinstance(error, NobodyListens)
            (log.warning if is_news else log.debug)("no token", reason=str(error))
            self._token_retry.failed(ErrorKind.TRANSPORT, self._clock.mono_ns())
            if is_news:
                self._tell_trouble(str(error), "has no token")
        else:
            self._tokens += 1
            self._token_retry.succeeded()
            self._session.authorise(token, self._clock.mono_ns())
            if self.connection is not None:
                self.connection.send_due()
        finally:
            self._asking = None

    def _tell_of_connecting(self) -> None:
        """Publish each failure to connect, and the recovery: the router reports why trading
        is closed."""
        if self.connection is None or self.traffic is None:
            return
        if self.traffic.connect_failures > self._failures_told:
            self._failures_told = self.traffic.connect_failures
            self._tell_trouble(self.connection.last_error, "unreachable")
        elif self.traffic.connects > self._connects_told:
            self._connects_told = self.traffic.connects
            self._token_retry.anew()  # it is Kraken's connection that was away, and the router may have one by now
            self._tell_trouble("connected, the snapshot is on its way")

    def _tell_trouble(self, reason: str, trouble: str = "") -> None:
        """Publish why there are no executions; nothing while they are live and complete.

        Balances may arrive regardless; the reason of their loss was published when it
        happened.
        """
        if not self._has_executions:
            self._publish(FeedLost(reason, "executions", trouble))
            self._publisher.flush()

    @property
    def _has_executions(self) -> bool:
        """True if the snapshot of executions has arrived, with no gap since."""
        return self._session.streams["executions"].phase is Phase.LIVE

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
        """Drop the held-back facts, publish FeedLost and cut the connection: snapshots
        replace what is lost."""
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
        self._heartbeat.beat(now)
        executions = self._executions + (0 if self.lane is None else self.lane.rows)
        self._own_counters.write((executions, self._balances, self._refused, self._held_back_count, self._tokens))
        self._session_counters.write(_session_counts(self._session))
        if self.traffic is not None:
            self._traffic_counters.write(traffic_counts(self.traffic))
