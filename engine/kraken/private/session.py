"""The account's own streams, executions and balances, without a socket or a clock.

    authorise(token) ──► both channels subscribed, each with its snapshot
    receive(frame)   ──► facts, in Kraken's order: SnapshotBegan, rows, SnapshotEnded, then updates
    poll(now)        ──► what is overdue: acknowledgements, snapshots, a missing sequence number

A channel with a gap in its sequence is unsubscribed and subscribed again, with a snapshot:
Kraken replays nothing. Until the snapshot has come, its facts are still reported (they are
true), after a FeedLost: they may be incomplete.

One session outlives its connections; each connection needs a fresh token.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final, cast

from msgspec import Struct

from engine.kraken.connection import requests
from engine.kraken.connection.error_catalog import meaning
from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged, silence_text
from engine.kraken.connection.liveness import DETAIL_CHARS_MAX, PONG_DEADLINE_NS, Liveness, Oddities
from engine.kraken.connection.messages import decode_envelope
from engine.kraken.connection.salvage import DECODE_ERRORS
from engine.kraken.connection.venue_status import VenueStatus
from engine.kraken.private import requests as private_requests
from engine.kraken.private.events import ChannelRefused, TokenRefused
from engine.kraken.private.messages import (
    BalancesMessage,
    ChannelReply,
    ExecutionsMessage,
    read_balances,
    read_channel_reply,
    read_executions,
)
from engine.kraken.private.requests import Channel
from engine.kraken.private.sequencing import Gap, Sequencer
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import AccountFact, FeedLost, SnapshotBegan, SnapshotEnded
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

HEARTBEAT = b'{"channel":"heartbeat"}'
# How Kraken's messages of the private channels begin: one that begins so is decoded once,
# as what it is. `type` is part of it, for an error may have `channel` and `method`.
EXECUTIONS_HEAD: Final = b'{"channel":"executions","type":"'
BALANCES_HEAD: Final = b'{"channel":"balances","type":"'
POLL_INTERVAL_NS: Final = 50 * NS_PER_MS
RESYNC_INTERVAL_NS: Final = NS_PER_S  # at most one snapshot of a channel in this time; trading waits for it
RETRY_INTERVAL_NS: Final = 5 * NS_PER_S  # after a refusal
RETRY_INTERVAL_NS_MAX: Final = 60 * NS_PER_S  # to which it doubles while Kraken refuses
ATTEMPTS_MAX: Final = 3  # unanswered in a row, after which the connection is cut

PrivateEvent = AccountFact | TokenRefused | ChannelRefused | SystemChanged | FrameNotUnderstood
Message = ExecutionsMessage | BalancesMessage

NO_EVENTS: tuple[PrivateEvent, ...] = ()


class PrivateSettings(Struct, frozen=True, kw_only=True):
    """Deadlines of a private session."""

    heartbeat_silence_ns: int = 3 * NS_PER_S
    ping_interval_ns: int = NS_PER_S
    """An answered ping proves that no execution is on its way: orders in doubt wait for
    one."""
    pong_deadline_ns: int = PONG_DEADLINE_NS
    subscribe_deadline_ns: int = 5 * NS_PER_S
    """For the acknowledgement and the snapshot together."""
    reorder_window_ns: int = 200 * NS_PER_MS
    """How long messages ahead of a missing one are held."""


class Phase(Enum):
    """Where a channel stands on this connection."""

    IDLE = auto()  # no token yet, or refused: asked for again at `retry_at`
    LEAVING = auto()  # unsubscribe sent, to subscribe again for a snapshot; not confirmed yet
    ASKED = auto()  # subscribed; its snapshot has not come
    LIVE = auto()  # its snapshot has come


class Stream:
    """One private channel."""

    def __init__(self, channel: Channel, window_ns: int) -> None:
        self.channel = channel
        self.phase = Phase.IDLE
        self.sequencer: Sequencer[Message] = Sequencer(window_ns)
        # When the answer that is awaited is late, and when the channel is asked for
        # (again); 0 for neither.
        self.deadline = MonoNs(0)
        self.retry_at = MonoNs(0)
        # When it was last asked for; how often in a row without an answer; the pause after
        # the next refusal.
        self.asked_at = MonoNs(0)
        self.attempts = 0
        self.pause_ns = RETRY_INTERVAL_NS
        # The number of the request that awaits its answer; 0 without one.
        self.req_id = 0
        # Since the process started.
        self.snapshots = 0
        self.updates = 0
        self.resyncs = 0


class PrivateSession:
    """One connection's worth of executions and balances."""

    def __init__(self, settings: PrivateSettings) -> None:
        self.settings = settings
        self.liveness = Liveness(settings.heartbeat_silence_ns, settings.pong_deadline_ns, settings.ping_interval_ns)
        self.status = VenueStatus()
        self.oddities = Oddities()
        self.streams: dict[str, Stream] = {
            channel: Stream(channel, settings.reorder_window_ns)
            for channel in cast(tuple[Channel, ...], ("executions", "balances"))
        }
        self._executions = self.streams["executions"]
        # The threshold of the account's rate counters, from the acknowledgement; None
        # before.
        self.max_rate_count: int | None = None
        # What the requests carry; empty while there is none that Kraken takes.
        self._token = ""
        # Numbers grow over reconnects, so a late answer is never taken for another.
        self._req_id = 0
        self._outbox: list[bytes] = []

    # --- the connection's life

    @property
    def poll_interval_ns(self) -> int:
        """A fraction of the window in which messages may change places."""
        return POLL_INTERVAL_NS

    @property
    def reconnect_delay_floor_ns(self) -> int:
        """The least pause before the next connection: Kraken asks for more after
        maintenance."""
        return self.status.reconnect_delay_floor_ns

    @property
    def wants_token(self) -> bool:
        """True while a connection is open that has no token."""
        return self.liveness.is_open and not self._token

    @property
    def is_live(self) -> bool:
        """True if both snapshots have arrived, with no gap since."""
        return self.subscriptions == len(self.streams)

    @property
    def subscriptions(self) -> int:
        """Channels whose snapshot has arrived, with no gap since."""
        return sum(stream.phase is Phase.LIVE for stream in self.streams.values())

    @property
    def duplicates(self) -> int:
        """Messages received twice since the process started."""
        return sum(stream.sequencer.duplicates for stream in self.streams.values())

    @property
    def reordered(self) -> int:
        """Messages received ahead of a missing one."""
        return sum(stream.sequencer.reordered for stream in self.streams.values())

    @property
    def gaps(self) -> int:
        """Gaps in the sequence that no late message filled."""
        return sum(stream.sequencer.gaps for stream in self.streams.values())

    def opened(self, now: MonoNs) -> None:
        """Begin a connection.

        Kraken restores no subscription and wants a fresh token: call `authorise` next.
        """
        self.liveness.opened(now)
        self.status.connection_id = b""
        self._token = ""
        self._outbox.clear()
        for stream in self.streams.values():
            self._reset(stream)
            stream.attempts = 0
            stream.pause_ns = RETRY_INTERVAL_NS

    def authorise(self, token: str, now: MonoNs) -> None:
        """Use this token on the connection, at its beginning or after TokenRefused, and
        subscribe."""
        if not self.liveness.is_open:
            return
        self._token = token
        for stream in self.streams.values():
            if stream.phase is Phase.IDLE:
                self._subscribe(stream, now)

    def closed(self, now: MonoNs, reason: str) -> Sequence[PrivateEvent]:
        """End the connection.

        Returns what was held back, then FeedLost: the next snapshot tells what is missed.
        """
        self.liveness.closed()
        self._token = ""
        self._outbox.clear()
        events: list[PrivateEvent] = []
        for stream in self.streams.values():
            self._report_all(stream, stream.sequencer.reset(), now, events)
            self._reset(stream)
        events.append(FeedLost(f"connection lost: {reason}"))
        return events

    def dead(self, now: MonoNs) -> str | None:
        """Why the connection must be cut (silence, or no snapshot after ATTEMPTS_MAX
        requests); None if not."""
        for stream in self.streams.values():
            if stream.attempts > ATTEMPTS_MAX:
                return f"no snapshot of {stream.channel} after {ATTEMPTS_MAX} requests"
        return self.liveness.dead(now)

    def to_send(self) -> list[bytes]:
        """Take the requests that wait; the caller must send them in this order."""
        if not self._outbox:
            return []
        frames, self._outbox = self._outbox, []
        return frames

    # --- frames

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[PrivateEvent]:
        """Decode one text frame; returns its facts in Kraken's order.

        Never raises for what a frame holds.
        """
        if frame == HEARTBEAT:
            self.liveness.heartbeats += 1
            self.liveness.heard_at = received_at
            return NO_EVENTS
        channel = None
        try:
            # Hot: most frames are executions and balances, and need no look at what they
            # are.
            if frame.startswith(EXECUTIONS_HEAD):
                channel = "executions"
                return self._receive_executions(frame, received_at)
            if frame.startswith(BALANCES_HEAD):
                channel = "balances"
                return self._receive_balances(frame, received_at)
            envelope = decode_envelope(frame)
            if envelope.method == "pong":
                self.liveness.ponged(received_at)
                return NO_EVENTS
            self.liveness.heard_at = received_at
            if envelope.method is not None:
                return self._receive_reply(envelope.method, frame, received_at)
            channel = envelope.channel
            if channel == "executions":
                return self._receive_executions(frame, received_at)
            if channel == "balances":
                return self._receive_balances(frame, received_at)
            if channel == "status":
                return self._receive_status(frame, received_at)
            if channel == "heartbeat":
                self.liveness.heartbeats += 1
                return NO_EVENTS
            return self.oddities.count_unknown(f"channel {channel}", frame, received_at)
        except DECODE_ERRORS as error:
            self.liveness.heard_at = received_at
            return self._malformed(error, channel, frame, received_at)

    def take_next(self, sequence: int, frame: bytes, received_at: MonoNs) -> bool:
        """Count an update of executions whose rows somebody else reads and reports: True.

        False, and nothing has changed, if it is not the next in order, with none held:
        then it must go to `receive`.
        """
        # Hot: instead of `receive` for most frames.
        stream = self._executions
        if not stream.sequencer.take_next(sequence, frame):
            return False
        self.liveness.heard_at = received_at
        stream.updates += 1
        return True

    def _receive_executions(self, frame: bytes, now: MonoNs) -> Sequence[PrivateEvent]:
        self.liveness.heard_at = now
        message, left_out = read_executions(frame)
        events = self._take(message, "executions", frame, now)
        return events if left_out is None else (*events, *self.oddities.count_malformed(left_out, frame, now))

    def _receive_balances(self, frame: bytes, now: MonoNs) -> Sequence[PrivateEvent]:
        self.liveness.heard_at = now
        message, left_out = read_balances(frame)
        events = self._take(message, "balances", frame, now)
        return events if left_out is None else (*events, *self.oddities.count_malformed(left_out, frame, now))

    def _take(self, message: Message, channel: str, frame: bytes, now: MonoNs) -> Sequence[PrivateEvent]:
        stream = self.streams[channel]
        events: list[PrivateEvent] = []
        if message.type == "snapshot":
            if stream.phase is Phase.LEAVING and stream.req_id:
                return events  # it is late: what it begins is given back
            if not stream.sequencer.is_duplicate(message.sequence, frame):
                self._report_all(stream, stream.sequencer.snapshot(message.sequence, frame), now, events)
                self._snapshot(stream, message, now, events)
            return events
        due, gap = stream.sequencer.take(message.sequence, message, frame, now)
        for update in due:
            stream.updates += 1
            _report(update, now, events)
        if gap is not None:
            self._lost(stream, _gap_text(stream, gap), now, events)
        return events

    def _snapshot(self, stream: Stream, message: Message, now: MonoNs, events: list[PrivateEvent]) -> None:
        stream.snapshots += 1
        stream.phase = Phase.LIVE
        stream.deadline = stream.retry_at = MonoNs(0)
        stream.attempts = 0
        stream.pause_ns = RETRY_INTERVAL_NS
        self.liveness.is_subscribed = True
        events.append(SnapshotBegan(stream.channel))
        _report(message, now, events)
        max_rate_count = self.max_rate_count if stream.channel == "executions" else None
        events.append(SnapshotEnded(stream.channel, max_rate_count, stream.asked_at))

    def _report_all(self, stream: Stream, updates: Sequence[Message], now: MonoNs, events: list[PrivateEvent]) -> None:
        for update in updates:
            stream.updates += 1
            _report(update, now, events)

    def _lost(self, stream: Stream, reason: str, now: MonoNs, events: list[PrivateEvent]) -> None:
        """Messages are missing: report those held behind them, then FeedLost, and ask for a
        snapshot."""
        self._report_all(stream, stream.sequencer.reset(), now, events)
        if stream.phase is not Phase.LIVE:
            return  # a snapshot has been asked for already
        events.append(FeedLost(reason, stream.channel))
        stream.resyncs += 1
        if now - stream.asked_at >= RESYNC_INTERVAL_NS:
            self._unsubscribe(stream, now)
        else:
            self._reset(stream)
            stream.phase = Phase.LEAVING
            stream.retry_at = MonoNs(stream.asked_at + RESYNC_INTERVAL_NS)

    def _malformed(self, error: Exception, channel: str | None, frame: bytes, now: MonoNs) -> Sequence[PrivateEvent]:
        """Count a frame that cannot be read; a message of one of our channels is lost with
        it."""
        events: list[PrivateEvent] = [*self.oddities.count_malformed(error, frame, now)]
        head = frame[:80]
        for stream in self.streams.values():
            if stream.channel == channel or (channel is None and b'"%b"' % stream.channel.encode() in head):
                self._lost(stream, f"a message of {stream.channel} cannot be read", now, events)
        return events

    def _receive_status(self, frame: bytes, now: MonoNs) -> Sequence[PrivateEvent]:
        events: list[PrivateEvent] = []
        changes, is_other_connection, unreadable = self.status.receive(frame)
        events += changes
        for error in unreadable:
            events += self.oddities.count_malformed(error, frame, now)
        if is_other_connection:
            for stream in self.streams.values():
                self._lost(stream, "another connection begins", now, events)
        return events

    # --- replies

    def _receive_reply(self, method: str, frame: bytes, now: MonoNs) -> Sequence[PrivateEvent]:
        if method == "ping":  # only a refused ping is answered so
            self.liveness.ponged(now)
        reply = read_channel_reply(frame)
        stream = self._stream_of(reply)
        if stream is None:
            if reply.success:
                return NO_EVENTS  # the answer to a request that timed out
            return self.oddities.report("refused", f"{method}: {reply.error}", frame, now)
        stream.req_id = 0
        if method == "unsubscribe":
            return self._unsubscribed(stream, reply, now)
        if reply.success:
            return self._confirmed(reply)
        return self._refused(stream, (reply.error or "no reason given")[:DETAIL_CHARS_MAX], now)

    def _stream_of(self, reply: ChannelReply) -> Stream | None:
        if reply.method not in ("subscribe", "unsubscribe"):
            return None
        for stream in self.streams.values():
            if reply.req_id is not None and reply.req_id == stream.req_id:
                return stream
        channel = reply.result.channel if reply.result and reply.req_id is None else None
        return self.streams.get(channel or "")

    def _confirmed(self, reply: ChannelReply) -> Sequence[PrivateEvent]:
        # The deadline stays: the channel is live only with its snapshot.
        self.liveness.is_subscribed = True
        if reply.result is not None and reply.result.maxratecount is not None:
            self.max_rate_count = reply.result.maxratecount
        return NO_EVENTS

    def _unsubscribed(self, stream: Stream, reply: ChannelReply, now: MonoNs) -> Sequence[PrivateEvent]:
        if not reply.success:
            known = meaning(reply.error or "")
            if known.kind is ErrorKind.TOKEN:
                return self._token_refused(stream, (reply.error or "")[:DETAIL_CHARS_MAX])
        self._subscribe(stream, now)  # also after an error: not being subscribed is what was wanted
        return NO_EVENTS

    def _refused(self, stream: Stream, error: str, now: MonoNs) -> Sequence[PrivateEvent]:
        known = meaning(error)
        if known.kind is ErrorKind.TOKEN:
            return self._token_refused(stream, error)
        if known.kind is ErrorKind.SUBSCRIBED:
            self._unsubscribe(stream, now)  # without a snapshot: so unsubscribe first
            return NO_EVENTS
        self._reset(stream)
        stream.attempts = 0
        stream.retry_at = MonoNs(now + stream.pause_ns)
        stream.pause_ns = min(2 * stream.pause_ns, RETRY_INTERVAL_NS_MAX)
        return (ChannelRefused(stream.channel, f"Kraken refuses {stream.channel} ({error}): {known.advice}", known),)

    def _token_refused(self, stream: Stream, error: str) -> Sequence[PrivateEvent]:
        self._reset(stream)
        if not self._token:
            return NO_EVENTS  # reported already, for the other channel
        self._token = ""
        return (TokenRefused(error),)

    # --- requests

    def _reset(self, stream: Stream) -> None:
        stream.phase = Phase.IDLE
        stream.sequencer.reset()
        stream.deadline = stream.retry_at = MonoNs(0)
        stream.req_id = 0

    def _subscribe(self, stream: Stream, now: MonoNs) -> None:
        if not self._token:
            self._reset(stream)  # until `authorise`
            return
        stream.phase = Phase.ASKED
        stream.sequencer.reset()
        stream.attempts += 1
        stream.asked_at = now
        build: Callable[[str, int], bytes] = (
            private_requests.subscribe_executions
            if stream.channel == "executions"
            else private_requests.subscribe_balances
        )
        self._send(stream, build, now)

    def _unsubscribe(self, stream: Stream, now: MonoNs) -> None:
        if not self._token:
            self._reset(stream)  # until `authorise`, and Kraken says what it has subscribed
            return
        stream.phase = Phase.LEAVING
        self._send(stream, lambda token, req_id: private_requests.unsubscribe(stream.channel, token, req_id), now)

    def _send(self, stream: Stream, build: Callable[[str, int], bytes], now: MonoNs) -> None:
        self._req_id += 1
        stream.req_id = self._req_id
        stream.deadline = MonoNs(now + self.settings.subscribe_deadline_ns)
        stream.retry_at = MonoNs(0)
        self._outbox.append(build(self._token, self._req_id))

    # --- time

    def poll(self, now: MonoNs) -> Sequence[PrivateEvent]:
        """Do what is due at `now`: a ping, a request again, the snapshot of a channel with
        a gap."""
        if not self.liveness.is_open:
            return NO_EVENTS
        if self.liveness.ping_due(now):
            self._req_id += 1
            self._outbox.append(requests.ping(self._req_id))
        events: list[PrivateEvent] = []
        for stream in self.streams.values():
            gap = stream.sequencer.overdue(now)
            if gap is not None:
                self._lost(stream, _gap_text(stream, gap), now, events)
            if self._token and 0 < stream.retry_at <= now:
                self._retry(stream, now)
            elif self._token and 0 < stream.deadline <= now:
                waited = silence_text(self.settings.subscribe_deadline_ns)
                events += self._timed_out(stream, waited, now)
        return events

    def _retry(self, stream: Stream, now: MonoNs) -> None:
        if stream.phase is Phase.LEAVING:
            self._unsubscribe(stream, now)
        else:
            self._subscribe(stream, now)

    def _timed_out(self, stream: Stream, waited: str, now: MonoNs) -> Sequence[PrivateEvent]:
        """No answer, or an acknowledgement without a snapshot: unsubscribe, and subscribe
        again."""
        self.liveness.doubt_requests()
        if stream.phase is Phase.LEAVING:
            self._subscribe(stream, now)
        else:
            self._unsubscribe(stream, now)
        return self.oddities.report("refused", f"no snapshot of {stream.channel} within {waited}", b"", now)


def _report(message: Message, now: MonoNs, events: list[PrivateEvent]) -> None:
    is_snapshot = message.type == "snapshot"
    if isinstance(message, ExecutionsMessage):
        for row in message.data:
            row.tell(now, is_snapshot=is_snapshot)
        events += message.data
        return
    for leg in message.data:
        fact = leg.fact(is_snapshot=is_snapshot)
        if fact is not None:
            events.append(fact)


def _gap_text(stream: Stream, gap: Gap) -> str:
    return f"{stream.channel} message {gap.expected} is missing, {gap.got} has come"
