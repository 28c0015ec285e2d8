"""One connection to the private WebSocket: Kraken's protocol, without a socket.

    frames of the client ──► receive() ──► front end ──► refusals, pongs                       at once
                                              └──► engine line ──► Trading ──► answer line ──► link
                                                                      └ rows ──► stream line ──┘

The front end checks a request by itself, in microseconds; accepted requests reach the
engine shortly after, in order. Replies and streams have lines of their own, so a reply may
come before or after the rows of its order. All delays derive from the venue's seed.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple

from engine.clock import Clock
from engine.errors import VenueReject
from engine.units import NS_PER_MS, NS_PER_S, WallNs
from engine.venue.market.exchange import Exchange, unsupported
from engine.venue.setup.keys import ApiKey
from engine.venue.setup.settings import VenueSettings
from engine.venue.trading import executions as rows
from engine.venue.trading.account import Account
from engine.venue.trading.client_order import ClientOrder
from engine.venue.trading.order_checks import DEADLINE_NS_DEFAULT, check_deadline
from engine.venue.trading.trading import Trading
from engine.venue.websocket.conversation import Conversation, Link, VenuePort
from engine.venue.websocket.private_faults import PrivateFaults
from engine.venue.websocket.private_requests import (
    Subscribe,
    TradingRequest,
    Unsubscribe,
    parse_private_request,
)
from engine.venue.websocket.private_text import (
    EXECUTIONS_WARNINGS,
    answer_text,
    orders_cancelled_text,
    rows_text,
    session_refusal_text,
    whole_second,
)
from engine.venue.websocket.requests import ALREADY_SUBSCRIBED, NOT_SUBSCRIBED, Ping, Refusal
from engine.venue.websocket.tokens import Tokens
from engine.venue.wire.delay import DelayLine
from engine.venue.wire.stream import Timer, Timers
from engine.venue.wire.text import ack_text, error_text, pong_text

INVALID_SESSION: Final = "ESession:Invalid session"
UNAVAILABLE: Final = "EService:Unavailable"
WAITING_MAX: Final = 10_000  # requests of one connection on their way to the engine; more get the reply Busy
BUSY: Final = "EService:Busy"

ENGINE_SHARE: Final = 0.5  # of a request's latency that passes before the engine acts, the rest before the answer
# The stream's delay after the engine acted, as shares of a latency: sometimes shorter than
# the reply's, sometimes longer.
STREAM_SHARES: Final = (0.1, 0.9)
OVERTAKEN_NS: Final = (5 * NS_PER_MS, 30 * NS_PER_MS)  # how long a reordered request is held up
OPEN_CLOSE: Final = frozenset({"new", "filled", "canceled", "expired"})  # sent with order_status=false too

_PERMISSIONS: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    # One of each group is required.
    "add_order": (("modify-trades",),),
    "amend_order": (("modify-trades",),),
    "edit_order": (("modify-trades",), ("close-trades",)),
    "batch_add": (("modify-trades",), ("close-trades",)),
    "cancel_order": (("modify-trades", "close-trades"),),
    "cancel_all": (("modify-trades", "close-trades"),),
    "cancel_all_orders_after": (("modify-trades", "close-trades"),),
    "batch_cancel": (("modify-trades", "close-trades"),),
    "executions": (("query-open-trades",),),
    "balances": (("query-funds",),),
}


class TradingSide(NamedTuple):
    """The parts that all private connections, and REST, share."""

    exchange: Exchange
    trading: Trading
    tokens: Tokens
    faults: PrivateFaults


class _Answer(NamedTuple):
    """A reply on its way; its text, with the time of sending, is made when it is sent."""

    method: str
    req_id: int | None
    time_in: WallNs
    result: Any = None
    error: str | None = None
    channel: str | None = None  # of a subscription that is refused


class _Feed:
    """One subscription to an account's executions or balances: its numbered frames."""

    def __init__(self, connection: "PrivateConnection", account: Account, request: Subscribe) -> None:
        self.request = request
        self._connection = connection
        self._account = account
        self._sequence = 0
        self._timer: Timer | None = None

    def start(self, timers: Timers, delay_s: float) -> None:
        """Send the snapshot after `delay_s`, and updates from then on."""
        self._timer = timers.call_later(delay_s, self._begin)

    def stop(self) -> None:
        """Send nothing more."""
        if self._timer is not None:
            self._timer.cancel()
        self._account.listeners.pop(self, None)

    def execution(self, exec_type: str, row: str, symbol: str, at: WallNs) -> None:
        """Send a row of the executions channel."""
        request = self.request
        if request.channel != "executions" or not (request.order_status or exec_type in OPEN_CLOSE):
            return
        if request.ratecounter:
            row = f'{row[:-1]},"ratecount":{self._account.counter(symbol).value(at):.2f}}}'
        self._tell("update", [row])

    def balance(self, row: str) -> None:
        """Send a row of the balances channel."""
        if self.request.channel == "balances":
            self._tell("update", [row])

    def _begin(self) -> None:
        self._timer = None
        self._account.listeners[self] = None
        request = self.request
        if request.users is None and (request.snap_orders or request.snap_trades):
            self._tell("snapshot", self._snapshot())

    def _snapshot(self) -> list[str]:
        account, request = self._account, self.request
        if request.channel == "balances":
            return [rows.balance_row(asset, balance) for asset, balance in sorted(account.balances.items())]
        snapshot = []
        if request.snap_orders:
            snapshot += [rows.snapshot_order_row(order) for order in account.open_orders.values()]
        if request.snap_trades:
            fills = [rows.snapshot_trade_row(fill) for fill in account.last_executions(rows.SNAPSHOT_TRADES)]
            snapshot += fills
            if fills and self._connection.has_fault("snapshot-again", request.channel):
                snapshot += fills
        return snapshot

    def _tell(self, kind: str, told: list[str]) -> None:
        self._sequence += 1
        if kind == "update" and self._connection.has_fault("sequence-gap", self.request.channel):
            return
        self._connection.stream(rows_text(self.request.channel, kind, told, self._sequence))


class PrivateConnection(Conversation):
    """One client's requests, and the account's subscriptions."""

    def __init__(
        self,
        number: int,
        connection_id: int,
        *,
        trading_side: TradingSide,
        link: Link,
        venue: VenuePort,
        timers: Timers,
        clock: Clock,
        settings: VenueSettings,
        snapshot_delay_s: Callable[[], float],
    ) -> None:
        super().__init__(connection_id, link=link, venue=venue, timers=timers, clock=clock, settings=settings)
        self._exchange, self._trading, self._tokens, self._private_faults = trading_side
        self._snapshot_delay_s = snapshot_delay_s
        self._rng = Random(f"{settings.seed} latency of private connection {number}")
        low_ms, high_ms = settings.engine_latency_ms
        self._latency_ns = (low_ms * NS_PER_MS, high_ms * NS_PER_MS)
        self._feeds: dict[str, _Feed] = {}  # by channel
        self._delayed_requests: set[Timer] = set()  # requests delayed by faults
        self._engine = DelayLine(timers, clock, self._reach_engine, self.flush)
        self._answers = DelayLine(timers, clock, self._write_answer, self.flush)
        self._stream = DelayLine(timers, clock, self._write_streamed, self.flush)

    # --- life --------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Note that the socket is gone: requests that have arrived are still executed,
        without a reply.
        """
        for feed in self._feeds.values():
            feed.stop()
            self._tokens.unpin(feed.request.token)
        self._feeds.clear()
        self._answers.close()
        self._stream.close()
        super().end()

    @property
    def is_subscribed(self) -> bool:
        return bool(self._feeds)

    # --- the front end -----------------------------------------------------------------------------------------------

    def receive(self, text: bytes) -> None:
        """Answer one request, at once or after the engine has processed it."""
        if not self._open:
            return
        time_in = self._clock.wall_ns()
        self._asked_at = self._clock.mono_ns()
        request = parse_private_request(text)
        if isinstance(request, TradingRequest):
            self._admit(request, time_in)
        elif isinstance(request, Ping):
            self._send(pong_text(request.req_id, time_in, self._clock.wall_ns()))
        elif isinstance(request, Refusal):
            self._send_error(request.error, request.method, request.req_id, request.symbol, time_in)
        else:
            self._answers_later(lambda: self._admit_subscription(request, time_in))
        self.flush()

    def _admit(self, request: TradingRequest, time_in: WallNs) -> None:
        """Make the checks of the front end; an accepted request goes to the engine, unless
        a fault prevents it.
        """
        method, req_id = request.method, request.req_id
        for symbol in request.symbols:
            if symbol not in self._exchange.markets:
                self._send_error(unsupported(symbol), method, req_id, None, time_in)
                return
        try:
            check_deadline(request.deadline, time_in)
        except VenueReject as refusal:
            self._send_error(str(refusal), method, req_id, None, time_in)
            return
        if len(self._engine) >= WAITING_MAX:
            self._send_error(BUSY, method, req_id, None, time_in)
            return
        fault = self._private_faults.request_fault(method, request.symbols)
        if fault is None and not self._private_faults.are_quiet and method in ("amend_order", "cancel_order"):
            fault = "reorder" if self._private_faults.strikes("reorder", method, request.symbols) else None
        self._pass_to_engine(request, time_in, fault)

    def _pass_to_engine(self, request: TradingRequest, time_in: WallNs, fault: str | None) -> None:
        """Pass a request to the engine, with its fault."""
        delay_ns = int(self._latency() * ENGINE_SHARE) + self._exchange.round_trip_ns
        if fault == "lost":
            return
        if fault == "private-cut":
            if self._private_faults.coin():
                self._execute(request, time_in, "drop-answer")
            self.reset()
            return
        if fault == "token-death":
            self._tokens.revoke(request.token)
        if fault == "unavailable":
            self._answer(_Answer(request.method, request.req_id, time_in, error=UNAVAILABLE))
            return
        if fault == "late":
            self._execute_later(request, time_in, self._late_ns(request, time_in))
        elif fault == "reorder":
            fewest, most = OVERTAKEN_NS
            self._execute_later(request, time_in, int(fewest + self._private_faults.share() * (most - fewest)))
        else:
            self._engine.put((request, time_in, fault), delay_ns)

    def _late_ns(self, request: TradingRequest, time_in: WallNs) -> int:
        """Nanoseconds until just before the request's deadline."""
        room_ns = DEADLINE_NS_DEFAULT if request.deadline is None else max(0, request.deadline - time_in)
        return int(room_ns * (0.3 + 0.65 * self._private_faults.share()))

    def _execute_later(self, request: TradingRequest, time_in: WallNs, delay_ns: int) -> None:
        """Execute a request later than those after it, even if the connection has ended by
        then.
        """

        def arrive() -> None:
            self._delayed_requests.discard(timer)
            self._execute(request, time_in, None)
            self.flush()

        timer = self._timers.call_later(delay_ns / NS_PER_S, arrive)
        self._delayed_requests.add(timer)

    def _key(self, token: str) -> ApiKey:
        api_key = self._tokens.check(token, self._clock.mono_ns())
        if api_key is None:
            raise VenueReject(INVALID_SESSION)
        return api_key

    # --- subscriptions -----------------------------------------------------------------------------------------------

    def _answers_later(self, admit: Callable[[], None]) -> None:
        """Pass a subscription through the engine's line too, so that it keeps its order
        among trading requests.
        """
        self._engine.put(admit, int(self._latency() * ENGINE_SHARE) + self._exchange.round_trip_ns)

    def _admit_subscription(self, request: Subscribe | Unsubscribe, time_in: WallNs) -> None:
        if not self._open:
            return
        method = "subscribe" if isinstance(request, Subscribe) else "unsubscribe"
        try:
            api_key = self._key(request.token)
            if isinstance(request, Subscribe):
                result = self._subscribe(request, api_key)
            else:
                result = self._unsubscribe(request)
        except VenueReject as refusal:
            channel = request.channel if isinstance(request, Subscribe) else None
            self._answer(_Answer(method, request.req_id, time_in, error=str(refusal), channel=channel))
        else:
            answer = _Answer(method, request.req_id, time_in, result=result)
            if isinstance(request, Subscribe):
                self._answer(answer)
            else:
                self._stream.put(answer, 0)  # behind the last frame of what is unsubscribed

    def _subscribe(self, request: Subscribe, api_key: ApiKey) -> dict[str, Any]:
        if request.channel in self._feeds:
            raise VenueReject(ALREADY_SUBSCRIBED)
        for group in _PERMISSIONS[request.channel]:
            api_key.require(*group)
        account = self._trading.account(api_key.account_id)
        feed = self._feeds[request.channel] = _Feed(self, account, request)
        self._tokens.pin(request.token)
        # Later than any reply takes, so that the ack comes first.
        feed.start(self._timers, self._snapshot_delay_s() + self._latency_ns[1] / NS_PER_S)
        self._start_heartbeat()
        if request.channel == "balances":
            return {"channel": "balances", "snapshot": request.snap_orders}
        return {
            "channel": "executions",
            "maxratecount": account.limits.threshold,
            "snap_orders": request.snap_orders,
            "snap_trades": request.snap_trades,
            "snapshot": request.snap_orders,
            "warnings": EXECUTIONS_WARNINGS,
        }

    def _unsubscribe(self, request: Unsubscribe) -> dict[str, Any]:
        feed = self._feeds.pop(request.channel, None)
        if feed is None:
            raise VenueReject(NOT_SUBSCRIBED)
        feed.stop()
        self._tokens.unpin(feed.request.token)
        return {"channel": request.channel}

    def stream(self, text: str) -> None:
        """Send a frame of a subscription, on the stream line."""
        if self._open:
            low, high = STREAM_SHARES
            share = low + (high - low) * self._rng.random()
            self._stream.put(text, int(self._latency() * share))

    def _write_streamed(self, entry: "str | _Answer") -> None:
        if isinstance(entry, _Answer):
            self._write_answer(entry)
        else:
            self._send(entry)

    def has_fault(self, kind: str, channel: str) -> bool:
        """True if this fault applies to a frame of the channel."""
        return not self._private_faults.are_quiet and self._private_faults.strikes(kind, channel)

    # --- the engine --------------------------------------------------------------------------------------------------

    def _reach_engine(self, arrived: Any) -> None:
        if callable(arrived):
            arrived()
        else:
            self._execute(*arrived)

    def _execute(self, request: TradingRequest, time_in: WallNs, fault: str | None) -> None:
        """Let the engine process a request; replies follow unless a fault drops them."""
        method, req_id = request.method, request.req_id
        answers: list[_Answer]
        try:
            api_key = self._key(request.token)
            for group in _PERMISSIONS[method]:
                api_key.require(*group)
            answers = self._act(request, api_key.account_id, time_in)
        except VenueReject as refusal:
            answers = [_Answer(method, req_id, time_in, error=str(refusal))]
        if fault == "drop-answer":
            return
        if fault == "unavailable-done":
            answers = [_Answer(method, req_id, time_in, error=UNAVAILABLE)]
        for answer in answers:
            self._answer(answer)

    def _act(self, request: TradingRequest, account_id: int, time_in: WallNs) -> list[_Answer]:
        """Process a request of one trading method; returns the replies."""
        method, req_id, trading = request.method, request.req_id, self._trading
        at = self._exchange.event_time()
        result: Any
        if method == "cancel_order":
            return self._cancel(request, account_id, time_in)
        if method == "add_order":
            spec = request.orders[0]
            if request.validate:
                trading.check(account_id, spec, at)
                result = _named("", spec.cl_ord_id, spec.order_userref)
            else:
                order = trading.add(account_id, spec, at)
                result = _named(order.order_id, order.cl_ord_id, order.order_userref)
        elif method == "amend_order":
            assert request.amend is not None
            version = trading.amend(account_id, request.amend, at)
            result = {"amend_id": version.amend_id}
            if request.amend.order_id is not None:
                result["order_id"] = request.amend.order_id
            else:
                result["cl_ord_id"] = request.amend.cl_ord_id
        elif method == "edit_order":
            assert request.edit is not None
            order = trading.edit(account_id, request.edit, at)
            new_id = "" if request.validate else order.order_id
            result = {"order_id": new_id, "original_order_id": request.edit.order_id}
        elif method == "batch_add":
            result = self._batch_add(request, account_id, at)
        elif method == "batch_cancel":
            result = {"count": self._batch_cancel(request, account_id, at)}
        elif method == "cancel_all":
            result = {"count": trading.cancel_all(account_id, at)}
        else:
            strikes_at = trading.cancel_all_orders_after(account_id, request.timeout_s, at)
            trigger = "0" if strikes_at is None else whole_second(strikes_at)
            result = {"currentTime": whole_second(at), "triggerTime": trigger}
        if request.warnings and isinstance(result, dict):
            result["warnings"] = list(request.warnings)
        return [_Answer(method, req_id, time_in, result=result)]

    def _cancel(self, request: TradingRequest, account_id: int, time_in: WallNs) -> list[_Answer]:
        """Cancel orders; returns one reply per order, each as if requested alone."""
        answers = []

        def attempt(name: str, identifier: Any, **by: Any) -> None:
            try:
                canceled = self._trading.cancel(account_id, self._exchange.event_time(), **by)
            except VenueReject as refusal:
                answers.append(_Answer(request.method, request.req_id, time_in, error=str(refusal)))
                return
            results = [{name: identifier}]
            if name == "order_userref":
                results = [{"order_id": order.order_id} for order in canceled]
            answers.extend(_Answer(request.method, request.req_id, time_in, result=result) for result in results)

        for order_id in request.order_ids:
            attempt("order_id", order_id, order_id=order_id)
        for cl_ord_id in request.cl_ord_ids:
            attempt("cl_ord_id", cl_ord_id, cl_ord_id=cl_ord_id)
        for userref in request.userrefs:
            attempt("order_userref", userref, userref=userref)
        return answers

    def _batch_add(self, request: TradingRequest, account_id: int, at: WallNs) -> list[dict[str, Any]]:
        specs = list(request.orders)
        if request.validate:
            self._trading.check_batch(account_id, specs, at)
            return [_named("", spec.cl_ord_id, spec.order_userref) for spec in specs]
        struck = self.has_fault("batch-refusal", request.method)
        refused = int(self._private_faults.share() * len(specs)) if struck else None
        placed = self._trading.add_batch(account_id, specs, at, refused_row=refused)
        batch = []
        for spec, order in zip(specs, placed, strict=True):
            if isinstance(order, ClientOrder):
                row = _named(order.order_id, order.cl_ord_id, order.order_userref)
            else:
                row = {"error": str(order)} | _named(None, spec.cl_ord_id, spec.order_userref)
            batch.append(row)
        return batch

    def _batch_cancel(self, request: TradingRequest, account_id: int, at: WallNs) -> int:
        order_ids, cl_ord_ids = list(request.order_ids), list(request.cl_ord_ids)
        if self.has_fault("batch-refusal", request.method):
            names = order_ids or cl_ord_ids
            if names:
                del names[int(self._private_faults.share() * len(names))]
        return self._trading.cancel_batch(account_id, at, order_ids, cl_ord_ids)

    # --- answers -----------------------------------------------------------------------------------------------------

    def _latency(self) -> float:
        """One latency, in ns."""
        low, high = self._latency_ns
        return low if low == high else low + (high - low) * self._rng.random()

    def _answer(self, answer: _Answer) -> None:
        if self._open:
            self._answers.put(answer, int(self._latency() * (1 - ENGINE_SHARE)))

    def _write_answer(self, answer: _Answer) -> None:
        method, req_id, time_in, result, error, channel = answer
        now = self._clock.wall_ns()
        if error == INVALID_SESSION and channel is not None:
            text = session_refusal_text(channel, error, req_id, time_in, now)
        elif error is not None:
            text = error_text(error, method, req_id, None, time_in, now)
        elif method == "batch_cancel" and self._settings.batch_cancel_shape == "orders_cancelled":
            text = orders_cancelled_text(req_id, result["count"], time_in, now)
        elif method in ("subscribe", "unsubscribe"):
            text = ack_text(method, req_id, result, time_in, now)
        else:
            text = answer_text(method, req_id, result, time_in, now)
        self._send(text)


def _named(order_id: str | None, cl_ord_id: str | None, order_userref: int | None) -> dict[str, Any]:
    """The ids of an order as a reply has them, keys in alphabetical order."""
    named: dict[str, Any] = {}
    if cl_ord_id is not None:
        named["cl_ord_id"] = cl_ord_id
    if order_id is not None:
        named["order_id"] = order_id
    if order_userref is not None:
        named["order_userref"] = order_userref
    return named
