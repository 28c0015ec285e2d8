"""Kraken's word on itself: its status frames, on connecting and whenever something changes."""

from engine.kraken import messages
from engine.kraken.events import SystemChanged
from engine.kraken.liveness import DETAIL_CHARS_MAX, MAINTENANCE_DELAY_NS

NOTICES_MAX = 256  # of maintenance, remembered so that each is reported once; each comes in at most five phases


class VenueStatus:
    """What the status channel has told."""

    def __init__(self) -> None:
        # The venue's last word on its matching engine: online, post_only, cancel_only or maintenance.
        self.system = ""
        # Kraken's number of the connection; None before its first status.
        self.connection_id: int | None = None
        # Notices of maintenance that were reported, by event, phase and title: the last ones.
        self._notices_seen: dict[tuple[object, ...], None] = {}

    def receive(self, frame: bytes) -> tuple[list[SystemChanged], bool]:
        """The events of a status frame, and whether it tells of another connection than before."""
        events = []
        is_other = False
        for status in messages.decode_status(frame).data:
            self.system = status.system
            before, self.connection_id = self.connection_id, status.connection_id or self.connection_id
            is_other |= before is not None and before != self.connection_id
            events.append(SystemChanged(status.system, status.version, tuple(self._fresh_notices(status))))
        return events, is_other

    @property
    def reconnect_delay_floor_ns(self) -> int:
        """The least pause before the next connection: Kraken asks for more after maintenance."""
        return MAINTENANCE_DELAY_NS if self.system in ("maintenance", "cancel_only") else 0

    def _fresh_notices(self, status: messages.StatusData) -> list[messages.Notice]:
        fresh = []
        for notice in messages.notices(status):
            key = (notice.event_id, notice.phase, notice.title[:DETAIL_CHARS_MAX])
            if key not in self._notices_seen:
                fresh.append(notice)
                self._notices_seen[key] = None
                if len(self._notices_seen) > NOTICES_MAX:
                    del self._notices_seen[next(iter(self._notices_seen))]
        return fresh
