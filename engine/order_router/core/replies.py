"""What Kraken replies to our requests, and what that proves of each order.

reply       effect
accepted    acknowledged; the executions tell what becomes of it
refused     rejected, when the error proves that nothing happened
otherwise   in doubt: never sent again, looked up
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from engine.instant import Instant
from engine.kraken.connection.breaker import Breaker
from engine.kraken.connection.error_catalog import Meaning
from engine.kraken.connection.events import FrameNotUnderstood, SystemChanged
from engine.kraken.connection.kraken_time import KrakenTime
from engine.kraken.private.events import (
    Answer,
    AnswerRow,
    ChannelRefused,
    LinkLost,
    Purpose,
    Timing,
    TokenRefused,
    TradingEvent,
    Unanswered,
)
from engine.order_router.core.cancels import OrderCancels
from engine.order_router.core.commit import OrderRecords
from engine.order_router.core.dead_man import DeadMan
from engine.order_router.core.gate import TradingGate
from engine.orders.client_order_id import is_made_here
from engine.orders.life import OrderState
from engine.orders.rate_counter import RateCounters
from engine.orders.refusal import TROUBLE, ErrorKind, Refusal
from engine.orders.venue_facts import Outcome
from engine.units import NS_PER_S, MonoNs, WallNs

RATE_LIMITED_RETRY_NS: Final = NS_PER_S  # of a cancel
ONLY_CHECKED: Final = Refusal(ErrorKind.CANCELED, "only checked, as was asked for")

log = structlog.get_logger("order_router")


class Resolver(Protocol):
    """Asks Kraken what became of orders; see `resolver`."""

    def look_up(self, key: str, deadline: WallNs) -> None: ...

    def acknowledged(self, key: str) -> None: ...

    def settle(self, key: str, not_before: MonoNs | None = None) -> None: ...

    def reconcile(self, keys: Sequence[str]) -> None: ...


class OrderReplies:
    """Turns replies into journal records."""

    def __init__(
        self,
        records: OrderRecords,
        gate: TradingGate,
        cancels: OrderCancels,
        dead_man: DeadMan,
        rates: RateCounters,
        breaker: Breaker,
        resolver: Resolver,
        now: Instant,
        kraken: KrakenTime,
        *,
        on_acknowledged: Callable[[int], None],
        on_token_refused: Callable[[str], None],
    ) -> None:
        """`on_acknowledged` is called with the nanoseconds that each reply took,
        `on_token_refused` with the reason why Kraken refuses the session's token.
        """
        self._records = records
        self._blotter = records.blotter
        self._gate = gate
        self._cancels = cancels
        self._dead_man = dead_man
        self._rates = rates
        self._breaker = breaker
        self._resolver = resolver
        self._now = now
        self._kraken = kraken
        self._on_acknowledged = on_acknowledged
        self._on_token_refused = on_token_refused
        self.counts = dict.fromkeys(("in_doubt", "rate_limited"), 0)

    def on_events(self, events: Sequence[TradingEvent]) -> None:
        """Take events of the trading session."""
        for event in events:
            match event:
                case Answer():
                    self._on_answer(event)
                case Unanswered(request, _):
                    self._in_doubt(request.purpose, "no answer came in time")
                    self._failed()
                case LinkLost(reason, pending):
                    self._on_link_lost(reason, [request.purpose for request in pending])
                case TokenRefused(reason):
                    log.warning("token refused", reason=reason)
                    self._on_token_refused(reason)
                case ChannelRefused(channel, advice):
                    log.warning("subscription refused", channel=channel, advice=advice)
                case SystemChanged(system):
                    self._gate.enter(system)
                case FrameNotUnderstood(kind, detail, frame):
                    log.warning(f"{kind} frame", detail=detail, frame=frame.decode(errors="replace"))

    def take(self, answer: Answer) -> None:
        """Take the reply to one of our requests, by either route."""
        purpose, meaning, error = answer.purpose, answer.meaning, answer.error or ""
        if purpose is None:
            return
        self._rates.answered(answer.time_in or self._kraken.least())
        if meaning is not None and meaning.kind is ErrorKind.RATE_LIMIT:
            self._note_rate_limit(purpose.keys)
        match purpose.kind:
            case "add":
                self._on_add(purpose.keys[0], answer.order_id, error, meaning)
            case "batch_add":
                self._on_batch(purpose.keys, error, meaning, answer.rows)
            case "amend":
                if self._is_pending(purpose):
                    self._on_amend(purpose.keys[0], answer.success, error, meaning, answer.time_in)
            case "cancel" | "batch_cancel":
                self._on_cancel(purpose.keys, answer.success, error, meaning)
            case "dead_man" | "dead_man_off" as name:
                kind = meaning.kind if meaning is not None else ErrorKind.TRANSPORT
                self._dead_man.answered(answer.success, error, kind, is_off=name == "dead_man_off")

    def doubt(self, key: str, why: str) -> None:
        """Mark a new order as in doubt, for the reason `why`, and have it looked up. No
        effect if it has ended.
        """
        order = self._blotter.get(key)
        if order is None or not order.is_open:
            return
        records = self._blotter.on_doubt(key, why, self._now.wall)
        if records:
            self.counts["in_doubt"] += 1
            log.warning("order in doubt", id=key, reason=why)
            self._records.commit(records)
        if order.state is OrderState.UNKNOWN:
            self._resolver.look_up(key, order.deadline)

    def _on_answer(self, answer: Answer) -> None:
        """Take a reply on the trading connection."""
        if answer.purpose is None or answer.timing in (Timing.AGAIN, Timing.STRANGE):
            return
        if answer.timing is Timing.EXPECTED and answer.took_ns:
            self._on_acknowledged(answer.took_ns)
        self._kraken.told(answer.time_out)
        if answer.meaning is not None and answer.meaning.kind in TROUBLE:
            self._failed()
        elif answer.timing is Timing.EXPECTED:
            self._breaker.succeeded()
        self.take(answer)

    def _on_link_lost(self, reason: str, purposes: Sequence[Purpose]) -> None:
        for purpose in purposes:
            self._in_doubt(purpose, f"the connection was lost: {reason}")
        if purposes:
            self._failed()
        self._dead_man.refresh_soon()

    def _on_add(self, key: str, order_id: str | None, error: str, meaning: Meaning | None) -> None:
        at = self._now.wall
        if meaning is not None and meaning.outcome is not Outcome.NOT_PLACED and not self._is_others(key, meaning):
            self.doubt(key, meaning.sentence(error))
        elif meaning is not None:
            self._records.commit(self._blotter.on_rejected(key, meaning.refusal(error), at))
        elif order_id:
            if records := self._blotter.on_acknowledged(key, order_id, at):
                self._records.commit(records)
                self._resolver.acknowledged(key)
        elif (order := self._blotter.get(key)) is not None and order.intent.validate:
            self._records.commit(self._blotter.on_rejected(key, ONLY_CHECKED, at))
        else:
            self.doubt(key, "the answer does not name the order")

    def _is_others(self, key: str, meaning: Meaning) -> bool:
        """True if an order with this id is open that is not ours: the id is one that the
        user chose, and no order is sent twice.
        """
        order = self._blotter.get(key)
        is_chosen = order is not None and not is_made_here(key, order.sent_in_run)
        return meaning.outcome is Outcome.ALREADY_PLACED and is_chosen

    def _on_batch(self, keys: Sequence[str], error: str, meaning: Meaning | None, rows: Sequence[AnswerRow]) -> None:
        """Take each row as the reply for one order. An order without a row is in doubt,
        unless the whole batch was refused.
        """
        for index, key in enumerate(keys):
            if index < len(rows):
                row = rows[index]
                self._on_add(key, row.order_id, row.error or "", row.meaning)
            elif meaning is not None and not rows:
                self._on_add(key, None, error, meaning)
            else:
                self.doubt(key, "the answer to the batch says nothing of this order")

    def _is_pending(self, amend: Purpose) -> bool:
        """True of the amend that its order waits for. An earlier one was decided without
        its reply, by the executions or a lookup.
        """
        order = self._blotter.open.get(amend.keys[0])
        return order is not None and order.pending == "amend" and order.amend_deadline == amend.deadline

    def _on_amend(self, key: str, success: bool, error: str, meaning: Meaning | None, kraken_time: WallNs) -> None:
        at = self._now.wall
        if success:
            self._records.commit(self._blotter.on_amended(key, at, kraken_time))
        elif meaning is None or meaning.outcome is Outcome.UNKNOWN:
            self._resolver.settle(key)
        else:
            self._records.commit(self._blotter.on_request_refused(key, "amend", meaning.refusal(error), at))
            if meaning.outcome is Outcome.NOT_OPEN:
                self._resolver.settle(key)

    def _on_cancel(self, keys: Sequence[str], success: bool, error: str, meaning: Meaning | None) -> None:
        if success:
            if self._gate.feed_reason:  # no execution will tell of the end
                for key in keys:
                    self._resolver.settle(key)
            return  # the executions tell of the end; if none does, the cancel is repeated
        for key in keys:
            if key not in self._blotter.open:
                continue
            if meaning is not None and meaning.outcome is Outcome.NOT_OPEN:
                self._resolver.settle(key)  # ended already or not open yet: only its state tells which
            elif meaning is not None and meaning.kind is ErrorKind.RATE_LIMIT:
                self._cancels.retry(key, RATE_LIMITED_RETRY_NS)
            else:
                log.warning("cancel refused", id=key, error=error)

    def _in_doubt(self, purpose: Purpose, why: str) -> None:
        """Take the loss of a request's reply."""
        match purpose.kind:
            case "add" | "batch_add":
                for key in purpose.keys:
                    self.doubt(key, why)
            case "amend":
                if self._is_pending(purpose):
                    self._resolver.settle(purpose.keys[0])
            case "cancel" | "batch_cancel":
                for key in purpose.keys:
                    self._cancels.retry(key)  # repeating a cancel is harmless
            case "dead_man" | "dead_man_off":
                self._dead_man.answered(False, why, ErrorKind.TRANSPORT)

    def _note_rate_limit(self, keys: Sequence[str]) -> None:
        self.counts["rate_limited"] += 1
        for key in keys:
            if (order := self._blotter.get(key)) is not None:
                self._rates.of(order.symbol).exceeded(self._now.mono)

    def _failed(self) -> None:
        if self._breaker.failed(self._now.mono):
            log.error("circuit breaker open", openings=self._breaker.openings)
