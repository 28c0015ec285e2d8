"""The order router's counters in shared memory, which outlive its process: `engine status` shows them."""

from engine.clock import Clock
from engine.kraken.private.events import TradingEvent
from engine.kraken_rest.calls import RestCalls
from engine.net.websocket import WebSocketConnection
from engine.order_router.commit import RECOUNTED
from engine.order_router.router import OrderRouter
from engine.telemetry import Counters


class RouterCounters:
    """Brings them up to date. What earlier lives of the router counted is gone on from."""

    def __init__(
        self,
        counters: Counters,
        router: OrderRouter,
        connection: WebSocketConnection[TradingEvent],
        rest: RestCalls,
        clock: Clock,
    ) -> None:
        self._counters = counters
        self._router = router
        self._connection = connection
        self._rest = rest
        self._mono_ns = clock.mono_ns
        # What the journal tells is counted anew by each life; a killed one had told its last orders to nobody else.
        self._inherited = counters.snapshot() | dict.fromkeys(RECOUNTED, 0)

    def count(self) -> None:
        """Now."""
        router, connection, rest = self._router, self._connection, self._rest
        lines = router.records.lines.values()
        grown = (
            router.records.counts
            | router.entry.counts
            | router.answers.counts
            | router.facts.counts
            | {
                "commands": router.commands_taken,
                "cancels": router.cancels.sent,
                "dead_man_refreshes": router.dead_man.refreshes,
                "dead_man_late": router.dead_man.late,
                "parked": router.blotter.parked,
                "rescues": router.rescues,
                "frames": connection.frames_received,
                "connects": connection.connects,
                "connect_failures": connection.connect_failures,
                "disconnects": connection.disconnects,
                "session_errors": connection.session_errors,
                "fills_repeated": router.blotter.fills_repeated,
                "fills_given_up": router.blotter.fills_given_up,
                "quarantined": router.blotter.quarantined,
                "reports": sum(line.sent for line in lines),
                "reports_held_back": sum(line.held_back for line in lines),
                "resyncs": sum(line.resyncs for line in lines),
                "reports_untold": sum(line.untold for line in lines),
                "rest_calls": rest.calls,
                "rest_failures": rest.failures,
            }
        )
        for name, value in grown.items():
            self._counters.set(name, self._inherited[name] + value)
        self._counters.set("unknown_open", len(router.blotter.in_doubt()))
        self._counters.set("open", len(router.blotter.open))
        self._counters.set("own_open", len(router.own_open))
        self._counters.set("heartbeat_ns", self._mono_ns())
