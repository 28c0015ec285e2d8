"""Trading while a private WebSocket is out: when REST stands in for it, what it is asked
then, and when that ends.

    executions out ─► long enough, on evidence ─► BalanceEx, OpenOrders ─► REST stands in ─► a snapshot ends it
                                                      └─ no answer: closed      │
              QueryOrders of what is open, OpenOrders, BalanceEx in turn ◄──────┘
              none answered for REST_SILENCE_NS ─► closed, and from the beginning

    trading out ────► long enough, on evidence ─► the mode is told ─► a connection with a token ends it

Facts that REST tells take the same way as those of the executions channel, so an order and
a fill are joined by the same ids, and each counts once whoever told it first. Polls leave
room in the key's counter for whatever is more urgent.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog
from msgspec import Struct

from engine.instant import Instant
from engine.kraken.connection.retry import LOCKOUT_PAUSE_NS, Retry
from engine.kraken.rest import order_replies
from engine.kraken.rest import replies as rest_replies
from engine.kraken.rest import requests as rest_requests
from engine.kraken.rest.replies import AssetBalance, RestRefusal
from engine.kraken.trading.session import TradingSession
from engine.kraken_rest.call_counter import Urgency
from engine.kraken_rest.call_queue import CallQueue, Read, RestCall
from engine.kraken_rest.pair_names import PairNames
from engine.kraken_rest.tokens import TokenSource
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.executions import AccountFacts
from engine.order_router.core.gate import TradingGate
from engine.order_router.core.lookup.questions import OrderQuestions
from engine.order_router.core.ports import SocketPort
from engine.orders.risk import Risk, TightLimits
from engine.units import NS_PER_MS, NS_PER_S, MonoNs

UNEXPLAINED_NS: Final = 5 * NS_PER_S  # before REST stands in for a connection of which nobody has said why it is out
POLL_DEADLINE_S: Final = 2.0
RETRY_NS: Final = 500 * NS_PER_MS
RETRY_NS_MAX: Final = 10 * NS_PER_S
OPEN_ORDERS_NS: Final = 10 * NS_PER_S  # between two looks at all open orders: for those that are not ours
AFTER_FILL_NS: Final = NS_PER_S  # from a fill to the balances that it changed
REST_SILENCE_NS: Final = 30 * NS_PER_S  # unanswered for so long, REST does not stand in any more

log = structlog.get_logger("order_router")


class DegradedSettings(Struct, frozen=True, kw_only=True):
    """[trading.degraded]; see `engine.config`. Times are in nanoseconds."""

    is_allowed: bool = True
    """Whether trading goes on by REST at all."""
    after_ns: int = 2 * NS_PER_S
    poll_ns: int = 2 * NS_PER_S
    balances_ns: int = 30 * NS_PER_S
    limits: TightLimits = TightLimits()


class Degraded:
    """Watches both private connections, and asks REST while it stands in."""

    def __init__(
        self,
        settings: DegradedSettings,
        *,
        gate: TradingGate,
        account: AccountFacts,
        records: OrderRecords,
        risk: Risk,
        questions: OrderQuestions,
        names: PairNames,
        calls: CallQueue,
        tokens: TokenSource,
        session: TradingSession,
        socket: SocketPort,
        now: Instant,
        chance: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._account = account
        self._records = records
        self._risk = risk
        self._questions = questions
        self._names = names
        self._calls = calls
        self._tokens = tokens
        self._session = session
        self._socket = socket
        self._now = now
        # The calls here go one after the other, with pauses after failures.
        self._retry = Retry(chance, first_ns=RETRY_NS, pause_ns_max=RETRY_NS_MAX)
        self._is_asking = False
        # Since when the trading connection has been out; None while it stands.
        self._trading_out_since: MonoNs | None = None
        # When REST last answered here, and when each kind of question is due.
        self._heard_at = MonoNs(0)
        self._orders_at = self._open_orders_at = self._balances_at = MonoNs(0)
        # Whether the mode was DEGRADED at the last look.
        self._was_degraded = False
        # Fills at the last look, to ask for the balances that they changed.
        self._fills_seen = 0
        self._counts = dict.fromkeys(("degraded", "polls_open_orders", "polls_balances"), 0)

    @property
    def counts(self) -> dict[str, int]:
        """How often the mode was entered, and the calls that were answered, by kind."""
        return self._counts | {"polls_orders": self._questions.polls}

    def on_time(self, now: MonoNs) -> None:
        """Enter or leave the mode, and ask what is due."""
        if self._settings.is_allowed:
            self._watch_trading(now)
            self._watch_executions(now)
        is_degraded = self._gate.degraded_reason
        self._risk.tighten(self._settings.limits if is_degraded else None)
        if is_degraded and not self._was_degraded:
            self._counts["degraded"] += 1
        self._was_degraded = bool(is_degraded)

    def ask_anew(self) -> None:
        """Repeat the questions that were refused for good, because something has changed."""
        self._retry.anew()

    # --- the trading connection

    def _watch_trading(self, now: MonoNs) -> None:
        session = self._session
        if session.liveness.is_open and not session.wants_token:
            self._trading_out_since, self._gate.trading_reason = None, ""
            return
        if self._trading_out_since is None:
            self._trading_out_since = now
        why = self._trading_trouble()
        if now - self._trading_out_since >= self._patience_ns(is_explained=bool(why)):
            self._gate.trading_reason = why or "trading WebSocket not connected"

    def _trading_trouble(self) -> str:
        if self._session.wants_token:
            why = self._tokens.last_error
            return f"trading WebSocket has no token: {why}" if why else ""
        why = self._socket.last_error
        return f"trading WebSocket unreachable: {why}" if why else ""

    def _patience_ns(self, *, is_explained: bool) -> int:
        """How long a connection must be out before REST stands in; a reconnect alone is no
        reason.
        """
        return self._settings.after_ns if is_explained else max(self._settings.after_ns, UNEXPLAINED_NS)

    # --- the executions

    def _watch_executions(self, now: MonoNs) -> None:
        gate, since = self._gate, self._account.out_since
        if gate.rest_stands_in:
            self._poll(now)
        elif (
            since is not None
            and not gate.shut_reason
            and self._names.pairs is not None
            and now - since >= self._patience_ns(is_explained=bool(self._account.trouble))
        ):
            self._ask_balances(Urgency.TRUTH)

    def _poll(self, now: MonoNs) -> None:
        self._heard_at = max(self._heard_at, self._questions.polled_at)
        if now - self._heard_at > REST_SILENCE_NS:
            log.warning("REST does not answer either, no order is taken", reason=self._gate.feed_reason)
            self._gate.rest_stands_in = False
            return
        if now >= self._orders_at:
            self._orders_at = MonoNs(now + self._settings.poll_ns)
            self._questions.poll([order.key for order in self._records.blotter.open.values() if order.order_id])
        fills = self._records.counts["fills"]
        if fills != self._fills_seen:
            self._fills_seen = fills
            self._balances_at = min(self._balances_at, MonoNs(now + AFTER_FILL_NS))
        if now >= self._open_orders_at:
            self._ask_open_orders(Urgency.LATER)
        elif now >= self._balances_at:
            self._ask_balances(Urgency.LATER)

    # --- what is asked here

    def _ask_balances(self, urgency: Urgency) -> None:
        self._ask(rest_requests.balance_ex(), rest_replies.read_balance_ex, self._take_balances, urgency)

    def _take_balances(self, rows: Sequence[AssetBalance]) -> None:
        now = self._now.mono
        self._counts["polls_balances"] += 1
        self._balances_at = MonoNs(now + self._settings.balances_ns)
        self._account.take_balances(rows)
        if not self._gate.rest_stands_in:
            self._ask_open_orders(Urgency.TRUTH)

    def _ask_open_orders(self, urgency: Urgency) -> None:
        def read(status: int, body: bytes) -> Any:
            assert self._names.pairs is not None
            return order_replies.read_open_order_reports(status, body, self._names.pairs)

        self._ask(rest_requests.open_orders(trades=False), read, self._take_open_orders, urgency)

    def _take_open_orders(self, rows: Sequence[Any]) -> None:
        now = self._now.mono
        self._counts["polls_open_orders"] += 1
        self._open_orders_at = MonoNs(now + OPEN_ORDERS_NS)
        self._account.adopt(rows)
        if not self._gate.rest_stands_in and not self._gate.shut_reason:
            self._orders_at = now
            self._fills_seen = self._records.counts["fills"]
            self._account.stand_in()

    def _ask(
        self, request: rest_requests.RestRequest, read: Read, take: Callable[[Sequence[Any]], None], urgency: Urgency
    ) -> None:
        if self._is_asking or not self._retry.is_due(self._now.mono):
            return
        self._is_asking = True
        self._calls.put(RestCall(
            request, read, partial(self._answered, self._account.out_since, take), deadline_s=POLL_DEADLINE_S,
            urgency=urgency,
        ))  # fmt: skip

    def _answered(self, asked_in: MonoNs | None, take: Callable[[Sequence[Any]], None], answer: Any) -> None:
        """Process an answer, unless the executions were available at any time since the
        question: then they are newer.
        """
        self._is_asking = False
        if isinstance(answer, RestRefusal):
            left_ns = int(self._calls.locked_out_s * NS_PER_S)
            self._retry.failed(answer.meaning.kind, self._now.mono, left_ns or LOCKOUT_PAUSE_NS)
            self._gate.rest_reason = answer.sentence if answer.status else answer.error  # Kraken's word, or ours
            return
        self._retry.succeeded()
        self._gate.rest_reason = ""
        self._heard_at = self._now.mono
        if asked_in == self._account.out_since is not None:
            take(answer)
