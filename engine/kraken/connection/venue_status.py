"""Kraken's status messages, sent on connecting and whenever something changes.

    online ─► maintenance ─► cancel_only ─► post_only ─► online      a maintenance as observed in 2026

Any state may be the first. Each message has two lists of notices: `upcoming_maintenance`,
which an entry leaves when its window begins (which does not mean that it was canceled), and
`emergency`, whose entries change until they are resolved.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from engine.kraken.connection import messages
from engine.kraken.connection.events import SystemChanged
from engine.kraken.connection.liveness import MAINTENANCE_DELAY_NS
from engine.kraken.connection.messages import Notice

# Remembered, to report each once; one of maintenance has at most five phases.
NOTICES_MAX: Final = 256
# Of the state's name and of the version; genuine ones have about twelve.
SYSTEM_CHARS_MAX: Final = 40

MAINTENANCE: Final = "maintenance"
CLOSED: Final = (MAINTENANCE, "cancel_only")
"""States in which nothing is matched, no order is accepted, and books are usually silent.
"""


class VenueStatus:
    """The state of the venue by its status channel."""

    def __init__(self) -> None:
        # State of the matching engine: online, post_only, cancel_only or maintenance; empty
        # before the first status.
        self.system = ""
        # Kraken's number of the connection, as text; empty before its first status.
        self.connection_id = b""
        # A hash of each notice as last reported.
        self._told: dict[tuple[object, ...], int] = {}

    @property
    def is_closed(self) -> bool:
        """Whether Kraken, by its status, accepts no orders."""
        return self.system in CLOSED

    def receive(self, frame: bytes) -> tuple[list[SystemChanged], bool, list[Exception]]:
        """Process a status frame; returns its events, whether the connection's number
        changed, and decoding errors.
        """
        events = []
        is_other = False
        statuses, unreadable = messages.read_statuses(frame)
        for status in statuses:
            self.system = status.system[:SYSTEM_CHARS_MAX]
            named = b"" if bytes(status.connection_id) == b"null" else bytes(status.connection_id)[:SYSTEM_CHARS_MAX]
            before, self.connection_id = self.connection_id, named or self.connection_id
            is_other |= before not in (b"", self.connection_id)
            fresh = (
                *self._fresh("upcoming", status.upcoming_maintenance),
                *self._fresh("emergency", status.emergency),
            )
            events.append(SystemChanged(self.system, status.version[:SYSTEM_CHARS_MAX], fresh))
        return events, is_other, unreadable

    @property
    def reconnect_delay_floor_ns(self) -> int:
        """Shortest pause before the next connection, in ns: 5 s while Kraken accepts no
        orders, as it asks; else 0.
        """
        return MAINTENANCE_DELAY_NS if self.is_closed else 0

    def _fresh(self, kind: str, field: Raw) -> Sequence[Notice]:
        """The notices that are new or have changed."""
        fresh = []
        for notice in messages.notices(field):
            # An announcement has phases that may be listed together; an emergency is one
            # entry that changes.
            content = hash(msgspec.json.encode(notice))
            name = str(notice.event_id)[:SYSTEM_CHARS_MAX] if notice.event_id else content
            key = (kind, name, notice.phase[:SYSTEM_CHARS_MAX])
            if self._told.pop(key, None) != content:
                fresh.append(notice)
            self._told[key] = content
            if len(self._told) > NOTICES_MAX:
                del self._told[next(iter(self._told))]
        return fresh
