"""The order router's counters in shared memory, which outlive its process: `engine status`
shows them.
"""

from engine.clock import Clock
from engine.kraken.private.events import TradingEvent
from engine.net.websocket import WebSocketConnection
from engine.order_router.core.commit import RECOUNTED
from engine.order_router.router import OrderRouter
from engine.telemetry import Counters


class RouterCounters:
    """Updates the counters, continuing from what earlier routers of this run counted."""

    def __init__(
        self,
        counters: Counters,
        router: OrderRouter,
        connection: WebSocketConnection[TradingEvent],
        clock: Clock,
    ) -> None:
        self._counters = counters
        self._router = router
        self._connection = connection
        self._mono_ns = clock.mono_ns
        # Counts that the journal holds are restored from it by each router: a killed one
        # may not have written its last.
        self._inherited = counters.snapshot() | dict.fromkeys(RECOUNTED, 0)

    def count(self) -> None:
        """Write the current counts to shared memory."""
        core, connection = self._router.core, self._connection
        outboxes = core.records.outboxes.values()
        grown = (
            core.records.counts
            | core.new_orders.counts
            | core.replies.counts
            | core.account.counts
            | core.degraded.counts
            | {
                "commands": core.commands_taken + core.plain_orders.taken,
                "cancels": core.cancels.sent,
                "dead_man_refreshes": core.dead_man.refreshes,
                "dead_man_late": core.dead_man.late,
                "open_orders_checks": core.open_orders_check.checks,
                "parked": core.blotter.parked,
                "rescues": self._router.rescues,
                "frames": connection.frames_received,
                "connects": connection.connects,
                "connect_failures": connection.connect_failures,
                "disconnects": connection.disconnects,
                "session_errors": connection.session_errors,
                "fills_repeated": core.blotter.fills_repeated,
                "fills_given_up": core.blotter.fills_given_up,
                "quarantined": core.blotter.quarantined,
                "reports": sum(outbox.sent for outbox in outboxes),
                "reports_held_back": sum(outbox.held_back for outbox in outboxes),
                "resyncs": sum(outbox.resyncs for outbox in outboxes),
                "reports_untold": sum(outbox.untold for outbox in outboxes),
                "rest_calls": core.calls.calls,
                "rest_failures": core.calls.failures,
            }
        )
        for name, value in grown.items():
            self._counters.set(name, self._inherited[name] + value)
        self._counters.set("unknown_open", len(core.blotter.in_doubt()))
        self._counters.set("open", len(core.blotter.open))
        self._counters.set("own_open", len(core.own_to_end))
        self._counters.set("connected", connection.connected)
        self._counters.set("authenticated", core.is_authenticated)
        self._counters.set("heartbeat_ns", self._mono_ns())
