"""Kraken's dead man's switch, kept from firing while we live: every refresh puts the end of all orders off.

One timer for the whole account: it ends everybody's orders, and another program that sets it sets ours.

Source: https://docs.kraken.com/api/docs/websocket-v2/cancel_after
"""

from collections.abc import Callable
from typing import Final

import structlog

from engine.instant import Instant
from engine.kraken.connection.error_catalog import ErrorKind
from engine.kraken.connection.retry import Retry
from engine.kraken.private.events import Purpose
from engine.kraken.trading import order_requests
from engine.order_router.core.websocket_route import WebSocketRoute
from engine.units import NS_PER_S, MonoNs

RETRY_NS: Final = NS_PER_S  # after a first refresh that failed

log = structlog.get_logger("order_router")


class DeadMan:
    """The switch, armed for as long as the router runs; `timeout_s` 0 means never.

    A refresh that fails is followed by growing pauses, by what the error means, but never longer ones than usual: REST
    that counts every refused call must not be asked once a second, and a switch that is not refreshed fires.
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
        # The last refresh went by REST, for there was no other way.
        self._went_by_rest = False
        # When Kraken last said that it had heard of us; 0 before.
        self._heard_at = MonoNs(0)
        self._is_over = False
        self.refreshes = 0
        self.late = 0

    @property
    def is_armed(self) -> bool:
        """Would it fire if we fell silent?"""
        return self._heard_at > 0

    def refresh(self, now: MonoNs) -> None:
        """Tell Kraken that we live, when it is time for it."""
        if not self._timeout_s or self._is_over:
            return
        if self._retry.failures_in_a_row and self._went_by_rest and self._websocket.is_ready:
            self.refresh_anew()  # another way is open, and REST's troubles are not its own
        if now >= self._refresh_at:
            self._refresh_at = MonoNs(now + self._refresh_ns)
            self._set(self._timeout_s)

    def refresh_soon(self) -> None:
        """The last refresh may not have arrived: it is time for another, unless Kraken has refused the last ones."""
        self._refresh_at = self._retry.at

    def refresh_anew(self) -> None:
        """Something has changed: what failed before may succeed now."""
        self._retry.anew()
        self._refresh_at = MonoNs(0)

    def disarm(self) -> None:
        """Switch it off for good: the orders are taken care of."""
        self._is_over = True
        if self.is_armed:
            self._set(0)

    def answered(self, success: bool, error: str, kind: ErrorKind = ErrorKind.TRANSPORT) -> None:
        """Kraken has heard of us, or not; `kind` is what its error is about."""
        now = self._now.mono
        if not success:
            log.warning("dead man's switch not set", error=error)
            self._retry.failed(kind, now)
            if self._retry.is_over or kind is ErrorKind.LOCKOUT:
                self._refresh_at = self._retry.at
            else:
                self._refresh_at = min(self._retry.at, MonoNs(now + self._refresh_ns))
            return
        self._retry.succeeded()
        self.refreshes += 1
        if self._heard_at and now - self._heard_at > self._timeout_s * NS_PER_S // 2 and not self._is_over:
            self.late += 1
        self._heard_at = now

    def _set(self, timeout_s: int) -> None:
        def build(token: str, req_id: int) -> bytes:
            return order_requests.cancel_all_orders_after(timeout_s, token=token, req_id=req_id)

        was_ready = self._websocket.is_ready
        is_sent = self._websocket.send("cancel_all_orders_after", Purpose("dead_man"), build)
        self._went_by_rest = not is_sent and not was_ready
        if not is_sent:
            self._arm_by_rest(timeout_s)
