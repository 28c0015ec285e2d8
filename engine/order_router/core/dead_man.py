"""Refreshes Kraken's dead man's switch, which cancels all orders unless it is refreshed in
time.

Kraken has one timer per account: it cancels everybody's orders, and another program that
sets it changes ours.

Source: https://docs.kraken.com/api/docs/websocket-v2/cancel_after
"""

from collections.abc import Callable
from typing import Final

import structlog

from engine.instant import Instant
from engine.kraken.connection.retry import Retry
from engine.kraken.private.events import Purpose
from engine.kraken.trading import order_requests
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.orders.refusal import ErrorKind
from engine.units import NS_PER_S, MonoNs

RETRY_NS: Final = NS_PER_S  # after a first refresh that failed
REST_AFTER_NS: Final = 5 * NS_PER_S  # before it rests: orders that come and go would set it several times a second

log = structlog.get_logger("order_router")


class DeadMan:
    """The switch, armed for as long as the router runs; `timeout_s` 0 means never.

    The pause after a failed refresh grows, according to what the error means, but never
    beyond the usual interval: REST counts refused calls, so it must not be asked every
    second, and a switch that is not refreshed fires. After a refresh without an answer on
    the WebSocket, which may carry no requests, the next one goes by REST; to set the switch
    twice is harmless.
    """

    def __init__(
        self,
        timeout_s: int,
        refresh_ns: int,
        websocket: WebSocketRoute,
        arm_by_rest: Callable[[int], None],
        now: Instant,
        chance: Callable[[], float],
    ) -> None:
        self._timeout_s = timeout_s
        self._refresh_ns = refresh_ns
        self._websocket = websocket
        self._arm_by_rest = arm_by_rest
        self._now = now
        self._refresh_at = MonoNs(0)
        self._retry = Retry(chance, first_ns=RETRY_NS, pause_ns_max=refresh_ns)
        # Whether the last refresh went by REST because the WebSocket was not available;
        # whether it went on the WebSocket; and whether the next one goes by REST all the
        # same, because that one was not answered.
        self._went_by_rest = False
        self._is_on_websocket = False
        self._is_websocket_doubted = False
        # When Kraken last confirmed a refresh; 0 before the first.
        self._heard_at = MonoNs(0)
        # Whether it is to be off for good; whether it is off, as Kraken confirmed last, or
        # because it was never set.
        self._is_over = False
        self._is_off = True
        # Whether it rests: nothing is open that should end with us. When it last was not to
        # rest; None before.
        self._rests = False
        self._busy_at: MonoNs | None = None
        self.refreshes = 0
        self.late = 0

    @property
    def is_armed(self) -> bool:
        """True while the switch would fire if we sent nothing more."""
        return self._heard_at > 0

    @property
    def is_over(self) -> bool:
        """True after `disarm`."""
        return self._is_over

    @property
    def is_off(self) -> bool:
        """True once Kraken has confirmed `disarm`, or if there was nothing to disarm."""
        return self._is_over and self._is_off

    def refresh(self, now: MonoNs, *, rests: bool = False) -> None:
        """Send a refresh if one is due at `now`.

        While `rests` is true the switch is disabled instead, at the same interval, because
        open orders are to outlast the engine. The disabling begins REST_AFTER_NS after
        `rests` was last false, and ends at once. After `disarm` the disabling is repeated
        until Kraken confirms it.
        """
        if not self._timeout_s or self.is_off:
            return
        if not rests:
            self._busy_at = now
        has_settled = self._busy_at is None or now - self._busy_at >= REST_AFTER_NS
        rests = self._is_over or (rests and has_settled)
        if rests is not self._rests:
            self._rests = rests
            self.refresh_soon()
        if self._retry.failures_in_a_row and self._went_by_rest and self._websocket.is_ready:
            self.refresh_anew()  # another way is open, and REST's troubles are not its own
        if now >= self._refresh_at:
            self._refresh_at = MonoNs(now + self._refresh_ns)
            self._set(0 if rests else self._timeout_s)

    def refresh_soon(self) -> None:
        """Make a refresh due at once, because the last one may not have arrived. No effect
        during the pause after a failed refresh.
        """
        self._refresh_at = self._retry.at

    def refresh_anew(self) -> None:
        """End any pause after failures and make a refresh due at once, because the cause of
        the failure may be gone.
        """
        self._retry.anew()
        self._is_websocket_doubted = False
        self._refresh_at = MonoNs(0)

    def disarm(self) -> None:
        """Disable the switch for good. The caller has dealt with the open orders, and goes
        on calling `refresh` until `is_off`.
        """
        if not self._is_over:
            self._is_over = self._rests = True
            self.refresh_anew()
        self.refresh(self._now.mono)

    def answered(
        self, success: bool, error: str, kind: ErrorKind = ErrorKind.TRANSPORT, *, is_off: bool = False
    ) -> None:
        """Process the result of a refresh or, with `is_off`, of disabling the switch. On
        failure `kind` is the kind of the error.
        """
        now = self._now.mono
        if not success:
            log.warning("dead man's switch not set", error=error)
            self._is_websocket_doubted = self._is_on_websocket and kind is ErrorKind.TRANSPORT
            self._retry.failed(kind, now)
            if self._retry.is_over or kind is ErrorKind.LOCKOUT:
                self._refresh_at = self._retry.at
            else:
                self._refresh_at = min(self._retry.at, MonoNs(now + self._refresh_ns))
            return
        self._retry.succeeded()
        self._is_websocket_doubted = False
        self._is_off = is_off
        self.refreshes += 1
        if self._heard_at and now - self._heard_at > self._timeout_s * NS_PER_S // 2 and not self._is_over:
            self.late += 1
        self._heard_at = now

    def _set(self, timeout_s: int) -> None:
        def build(token: str, req_id: int) -> bytes:
            return order_requests.cancel_all_orders_after(timeout_s, token=token, req_id=req_id)

        was_ready = self._websocket.is_ready
        if timeout_s:
            self._is_off = False
        purpose = Purpose("dead_man" if timeout_s else "dead_man_off")
        is_sent = not self._is_websocket_doubted and self._websocket.send("cancel_all_orders_after", purpose, build)
        self._is_on_websocket = is_sent
        self._went_by_rest = not is_sent and not was_ready
        if not is_sent:
            self._arm_by_rest(timeout_s)
