"""The protocol of a trading connection of Kraken's WebSocket v2, without a socket or a
clock.

    authorise(token) ──► balances subscribed, for an authenticated socket without a subscription is closed
    send(build)      ──► the bytes to write at once, numbered, and remembered until they are answered
    receive(frame)   ──► Answer, late or not
    poll(now)        ──► Unanswered, when an answer does not come in time
    closed(reason)   ──► LinkLost, with every request whose outcome is unknown

Only Kraken's replies come here; what becomes of orders is told by the executions channel,
on another connection.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from engine.kraken.connection import requests
from engine.kraken.connection.error_catalog import NO_ANSWER, UNREADABLE, Meaning, meaning
from engine.kraken.connection.liveness import DETAIL_CHARS_MAX, PING_INTERVAL_NS, PONG_DEADLINE_NS, Liveness, Oddities
from engine.kraken.connection.messages import decode_envelope
from engine.kraken.connection.number_text import quoted
from engine.kraken.connection.salvage import DECODE_ERRORS, cut
from engine.kraken.connection.venue_status import MAINTENANCE, VenueStatus
from engine.kraken.private import requests as private_requests
from engine.kraken.private.events import (
    Answer,
    AnswerRow,
    ChannelRefused,
    LinkLost,
    Pending,
    Purpose,
    Timing,
    TokenRefused,
    TradingEvent,
    Unanswered,
)
from engine.kraken.private.messages import (
    BareReply,
    ResultRow,
    TradingReply,
    read_bare_reply,
    read_trading_reply,
)
from engine.orders.refusal import ErrorKind
from engine.orders.venue_facts import Outcome
from engine.timestamps import wall_ns
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

HEARTBEAT = b'{"channel":"heartbeat"}'
WARNINGS_MAX = 16  # of one answer
GIVEN_UP_MAX = 8192  # requests remembered after their time, so that a late answer finds them
POLL_INTERVAL_NS = 100 * NS_PER_MS
RETRY_INTERVAL_NS = 5 * NS_PER_S  # after a first attempt to subscribe that was refused
RETRY_INTERVAL_NS_MAX = 60 * NS_PER_S  # to which it doubles while Kraken refuses
ADDS = ("add_order", "batch_add")
CHANNEL_METHODS = ("subscribe", "unsubscribe")

NO_EVENTS: tuple[TradingEvent, ...] = ()


class TradingSettings(Struct, frozen=True, kw_only=True):
    """The bounds of a trading session."""

    answer_deadline_ns: int = 5 * NS_PER_S
    """Time after which an unanswered request is reported."""
    pending_max: int = 4096
    """Requests that may wait for replies; `send` refuses more."""
    heartbeat_silence_ns: int = 3 * NS_PER_S
    ping_interval_ns: int = PING_INTERVAL_NS
    pong_deadline_ns: int = PONG_DEADLINE_NS
    subscribe_deadline_ns: int = 10 * NS_PER_S


class TradingSession:
    """The trading requests of one connection, and their replies."""

    def __init__(self, settings: TradingSettings) -> None:
        self.settings = settings
        self.liveness = Liveness(settings.heartbeat_silence_ns, settings.pong_deadline_ns, settings.ping_interval_ns)
        self.status = VenueStatus()
        self.oddities = Oddities()
        # Counted since the process started.
        self.openings = 0
        self.sent = 0
        self.answered = 0
        self.refused = 0
        self.late = 0
        self.strange = 0
        self.unanswered = 0
        # The token that every request carries; empty while there is none that Kraken
        # accepts.
        self._token = ""
        # The same as JSON text; empty while there is none.
        self.quoted_token = b""
        # Tokens given to us so far: a request that fails with an old one says nothing of
        # the new one.
        self._grants = 0
        # Request ids grow across reconnects, so a late reply is never taken for another's.
        self._req_id = 0
        # Requests without a reply by number, oldest first.
        self.requests: dict[int, Pending] = {}
        # The latest requests that were answered or given up.
        self._given_up: dict[int, Pending] = {}
        self._answered: dict[int, Pending] = {}
        # When to send the subscription (again), 0 for never; its request id until it is
        # answered.
        self._subscribe_at = MonoNs(0)
        self._subscribe_pause_ns = RETRY_INTERVAL_NS
        self._subscribe_req_id = 0
        self._outbox: list[bytes] = []

    # --- the connection's life

    @property
    def is_in_maintenance(self) -> bool:
        """Whether Kraken has said on this connection that it is in maintenance. What an
        earlier one said may be out of date.
        """
        return self.liveness.is_open and bool(self.status.connection_id) and self.status.system == MAINTENANCE

    @property
    def poll_interval_ns(self) -> int:
        """Its deadlines are seconds; what it has to send is not waited for here."""
        return POLL_INTERVAL_NS

    @property
    def reconnect_delay_floor_ns(self) -> int:
        """The least delay before reconnecting: Kraken asks for more after maintenance."""
        return self.status.reconnect_delay_floor_ns

    @property
    def is_ready(self) -> bool:
        """True if another request may be sent."""
        return bool(self._token) and self.liveness.is_open and len(self.requests) < self.settings.pending_max

    @property
    def wants_token(self) -> bool:
        """True if a connection is open and waits for `authorise`."""
        return self.liveness.is_open and not self._token

    @property
    def is_waiting(self) -> bool:
        """True if a request waits for its reply."""
        return bool(self.requests)

    @property
    def pending(self) -> Sequence[Pending]:
        """The requests that wait for their replies, oldest first."""
        return tuple(self.requests.values())

    def opened(self, now: MonoNs) -> None:
        """Note that a connection is open. Each wants a fresh token, by `authorise`."""
        self.openings += 1
        self.liveness.opened(now)
        self.status.connection_id = b""
        self._hold("")
        self._subscribe_at = MonoNs(0)
        self._subscribe_pause_ns = RETRY_INTERVAL_NS
        self._outbox.clear()

    def authorise(self, token: str, now: MonoNs) -> None:
        """Use this token, at the beginning of a connection or because the last one was
        refused.
        """
        if not self.liveness.is_open:
            return
        self._hold(token)
        self._grants += 1
        self._subscribe(now)

    def _hold(self, token: str) -> None:
        self._token = token
        self.quoted_token = quoted(token).encode() if token else b""

    def closed(self, now: MonoNs, reason: str) -> Sequence[TradingEvent]:
        """Note the connection's end; the result holds the requests whose outcome is unknown
        now.
        """
        self.liveness.closed()
        self._hold("")
        self._outbox.clear()
        lost = tuple(self.requests.values())
        self.requests.clear()
        return (LinkLost(reason, lost),)

    def dead(self, now: MonoNs) -> str | None:
        """Why the connection must be cut, which is silence; None if it must not."""
        return self.liveness.dead(now)

    def to_send(self) -> list[bytes]:
        """The session's own requests to write now: pings and the subscription, but none of
        `send`.
        """
        if not self._outbox:
            return []
        frames, self._outbox = self._outbox, []
        return frames

    # --- requests

    def send(
        self, method: str, purpose: Purpose, build: Callable[[str, int], bytes], now: MonoNs
    ) -> tuple[int, bytes] | None:
        """Number a request and remember it with its purpose, which comes back with the
        reply or its loss.

        `build(token, req_id)` makes its bytes, which must be written at once.

        None if it cannot be sent: no connection, no token, or too many requests waiting.
        Then nothing has happened.
        """
        if not self._token or len(self.requests) >= self.settings.pending_max:
            return None
        req_id = self.next_number()
        frame = build(self._token, req_id)
        self.note_sent(req_id, method, purpose, now)
        return req_id, frame

    def next_number(self) -> int:
        """The number of the next request, for who writes it without `send`: `quoted_token`
        is its token, and `note_sent` follows if it was written.
        """
        self._req_id = req_id = self._req_id + 1
        return req_id

    def give_back(self, req_id: int) -> None:
        """Take back the newest number, under which nothing was sent."""
        if req_id == self._req_id:
            self._req_id -= 1

    def note_sent(self, req_id: int, method: str, purpose: Purpose, now: MonoNs) -> None:
        """Remember a numbered request; call it before the next frame is received."""
        self.requests[req_id] = Pending(req_id, method, now, self._grants, purpose)
        self.sent += 1

    def withdraw(self, req_id: int) -> None:
        """Forget a request of `send` that was not written after all: no reply will come."""
        if self.requests.pop(req_id, None) is not None:
            self.sent -= 1

    # --- frames

    def receive(self, frame: bytes, received_at: MonoNs) -> Sequence[TradingEvent]:
        """Take one text frame; returns its events."""
        if frame == HEARTBEAT:
            self.liveness.heartbeats += 1
            self.liveness.heard_at = received_at
            return NO_EVENTS
        try:
            envelope = decode_envelope(frame)
            if envelope.method == "pong":
                self.liveness.ponged(received_at)
                return NO_EVENTS
            self.liveness.heard_at = received_at
            if envelope.method is not None:
                return self._receive_reply(envelope.method, frame, received_at)
            if envelope.channel == "status":
                changes, _, unreadable = self.status.receive(frame)
                odd = [odd for error in unreadable for odd in self.oddities.count_malformed(error, frame, received_at)]
                return [*changes, *odd]
            if envelope.channel == "heartbeat":
                self.liveness.heartbeats += 1
                return NO_EVENTS
            if envelope.channel == "balances":
                return NO_EVENTS  # subscribed only to keep the connection open: the private feed reads them
            return self.oddities.count_unknown(f"channel {envelope.channel}", frame, received_at)
        except DECODE_ERRORS as error:
            self.liveness.heard_at = received_at
            return self.oddities.count_malformed(error, frame, received_at)

    def _receive_reply(self, method: str, frame: bytes, now: MonoNs) -> Sequence[TradingEvent]:
        if method in CHANNEL_METHODS:
            return self._receive_channel_reply(read_bare_reply(frame), now)
        if method == "ping":  # only a refused ping is answered so
            self.liveness.ponged(now)
            return self.oddities.report("refused", "ping", frame, now)
        try:
            reply, left_out = read_trading_reply(frame)
        except msgspec.ValidationError as error:
            unreadable = self._unreadable(read_bare_reply(frame), now)
            return (unreadable, *self.oddities.count_malformed(error, frame, now))
        odd = () if left_out is None else self.oddities.count_malformed(left_out, frame, now)
        request, timing = self._request_of(reply.req_id)
        answer = self._answer(reply, request, timing, now)
        if answer.meaning is not None and answer.meaning.kind is ErrorKind.TOKEN:
            refused = self._token_refused(answer.error or "", request.grant if request else self._grants)
            return (answer, *refused, *odd)
        return (answer, *odd)

    def _answer(self, reply: TradingReply, request: Pending | None, timing: Timing, now: MonoNs) -> Answer:
        method = request.method if request else reply.method
        success = reply.success is True
        what = None if success else _meaning_for(method, reply.error)
        result = reply.result
        rows: tuple[AnswerRow, ...] = ()
        if isinstance(result, list):
            rows = tuple(_row(row) for row in result)
            result = None
        if result is None:
            result = ResultRow()
        if what is not None:
            self.refused += 1
        return Answer(
            req_id=reply.req_id,
            purpose=request.purpose if request else None,
            method=method,
            success=success,
            timing=timing,
            error=_cut(reply.error) or (None if success else "no reason given"),
            meaning=what,
            order_id=result.order_id,
            original_order_id=result.original_order_id,
            cl_ord_id=result.cl_ord_id,
            order_userref=result.order_userref,
            amend_id=result.amend_id,
            count=_first(result.count, result.orders_cancelled, reply.orders_cancelled),
            rows=rows,
            current_at=wall_ns(result.current_time or ""),
            trigger_at=wall_ns(result.trigger_time or ""),
            warnings=_warnings(result),
            time_in=wall_ns(reply.time_in),
            time_out=wall_ns(reply.time_out),
            took_ns=now - request.sent_at if request else 0,
        )

    def _unreadable(self, reply: BareReply, now: MonoNs) -> Answer:
        """A reply whose result has an unknown shape: what it says of the outcome is not
        trusted.
        """
        request, timing = self._request_of(reply.req_id)
        return Answer(
            req_id=reply.req_id,
            purpose=request.purpose if request else None,
            method=request.method if request else reply.method,
            success=False,
            timing=timing,
            error=_cut(reply.error) or "an answer that cannot be read",
            meaning=UNREADABLE,
            time_in=wall_ns(reply.time_in),
            time_out=wall_ns(reply.time_out),
            took_ns=now - request.sent_at if request else 0,
        )

    def _request_of(self, req_id: int | None) -> tuple[Pending | None, Timing]:
        if req_id is not None:
            if (request := self.requests.pop(req_id, None)) is not None:
                self.answered += 1
                _remember(self._answered, request)
                return request, Timing.EXPECTED
            if (request := self._given_up.pop(req_id, None)) is not None:
                self.late += 1
                _remember(self._answered, request)
                return request, Timing.LATE
            if (request := self._answered.get(req_id)) is not None:
                return request, Timing.AGAIN
        self.strange += 1
        return None, Timing.STRANGE

    # --- the subscription that keeps the connection open

    def _receive_channel_reply(self, reply: BareReply, now: MonoNs) -> Sequence[TradingEvent]:
        if reply.method != "subscribe" or reply.req_id not in (None, self._subscribe_req_id):
            return NO_EVENTS
        what = None if reply.success else meaning(reply.error or "")
        if what is None or what.kind is ErrorKind.SUBSCRIBED:
            self.liveness.is_subscribed = True
            self._subscribe_at = MonoNs(0)
            return NO_EVENTS
        if what.kind is ErrorKind.TOKEN:
            return self._token_refused(_cut(reply.error) or "", self._grants)
        self._subscribe_at = MonoNs(now + self._subscribe_pause_ns)
        self._subscribe_pause_ns = min(2 * self._subscribe_pause_ns, RETRY_INTERVAL_NS_MAX)
        error = _cut(reply.error) or "no reason given"
        return (ChannelRefused("balances", f"Kraken refuses balances ({error}): {what.advice}", what),)

    def _token_refused(self, error: str, grant: int) -> Sequence[TradingEvent]:
        if not self._token or grant != self._grants:
            return NO_EVENTS  # reported already: several requests carried the token
        self._hold("")
        self._subscribe_at = MonoNs(0)
        return (TokenRefused(error),)

    def _subscribe(self, now: MonoNs) -> None:
        self._req_id += 1
        self._subscribe_req_id = self._req_id
        self._subscribe_at = MonoNs(now + self.settings.subscribe_deadline_ns)
        self._outbox.append(private_requests.subscribe_balances(self._token, self._req_id, snapshot=False))

    # --- time

    def poll(self, now: MonoNs) -> Sequence[TradingEvent]:
        """Take the time: returns the requests that are overdue, and lets pings become due."""
        if not self.liveness.is_open:
            return NO_EVENTS
        if self.liveness.ping_due(now):
            self._req_id += 1
            self._outbox.append(requests.ping(self._req_id))
        if 0 < self._subscribe_at <= now and self._token:
            self._subscribe(now)
        if not self.requests:
            return NO_EVENTS
        late: list[TradingEvent] = []
        given_up_before = now - self.settings.answer_deadline_ns
        while self.requests:
            req_id, request = next(iter(self.requests.items()))
            if request.sent_at > given_up_before:
                break
            del self.requests[req_id]
            _remember(self._given_up, request)
            self.unanswered += 1
            late.append(Unanswered(request, now - request.sent_at))
        if late:
            self.liveness.doubt_requests()
        return late


def _remember(requests_known: dict[int, Pending], request: Pending) -> None:
    requests_known[request.req_id] = request
    if len(requests_known) > GIVEN_UP_MAX:
        del requests_known[next(iter(requests_known))]


def _cut(text: str | None) -> str | None:
    """Kraken's text, cut to the length that may be reported."""
    return None if text is None else cut(text, DETAIL_CHARS_MAX)


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _warnings(row: ResultRow) -> tuple[str, ...]:
    return tuple(cut(warning, DETAIL_CHARS_MAX) for warning in (row.warnings or ())[:WARNINGS_MAX])


def _meaning_for(method: str, error: str | None) -> Meaning:
    """The meaning of an error for a request of this kind."""
    what = meaning(error) if error else NO_ANSWER
    if what.outcome is Outcome.NOT_OPEN and method in ADDS:
        # "Unknown order" in reply to a new order says nothing reliable about it.
        return Meaning(Outcome.UNKNOWN, what.kind, what.advice)
    return what


def _row(row: ResultRow) -> AnswerRow:
    refused = row.error is not None or row.success is False or row.order_id is None
    return AnswerRow(
        order_id=row.order_id,
        cl_ord_id=row.cl_ord_id,
        order_userref=row.order_userref,
        error=_cut(row.error),
        meaning=_meaning_for("batch_add", row.error) if refused else None,
        warnings=_warnings(row),
    )
