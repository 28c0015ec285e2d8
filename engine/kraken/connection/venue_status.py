"""Kraken's own state: its status frames, on connecting and whenever something changes.

    online ─► maintenance ─► cancel_only ─► post_only ─► online      a maintenance as it was seen in 2026

Any state may be the first. The frames also have two lists of notices:
`upcoming_maintenance`, which an entry leaves when its window begins (so that is no
cancellation), and `emergency`, whose entries change until they are resolved.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from engine.kraken.connection import messages
from engine.kraken.connection.events import SystemChanged
from engine.kraken.connection.liveness import MAINTENANCE_DELAY_NS
from engine.kraken.connection.messages import Notice

NOTICES_MAX: Final = 256  # remembered, so that each is reported once; one of maintenance comes in at most five phases
SYSTEM_CHARS_MAX: Final = 40  # of the state's name and of the version: Kraken's have a dozen

MAINTENANCE: Final = "maintenance"
CLOSED: Final = (MAINTENANCE, "cancel_only")
"""States without matching, in which no order is taken and silent books are normal."""


class VenueStatus:
    """What the status channel has said so far."""

    def __init__(self) -> None:
        # The last state of the matching engine: online, post_only, cancel_only or
        # maintenance.
        self.system = ""
        # Kraken's number of the connection, as its text; empty before its first status.
        self.connection_id = b""
        # The content of each notice in its last version, as a hash.
        self._told: dict[tuple[object, ...], int] = {}

    @property
    def is_closed(self) -> bool:
        """Whether Kraken takes no orders, by its own word."""
        return self.system in CLOSED

    def receive(self, frame: bytes) -> tuple[list[SystemChanged], bool, list[Exception]]:
        """Read a status frame.

        Returns its events, whether it is of another connection than before, and the errors
        of what cannot be read.
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
        """The least pause before the next connection: Kraken asks for more after
        maintenance.
        """
        return MAINTENANCE_DELAY_NS if self.is_closed else 0

    def _fresh(self, kind: str, field: Raw) -> Sequence[Notice]:
        """The notices that are new, or have changed."""
        fresh = []
        for notice in messages.notices(field):
            # An announcement comes in phases that may exist side by side; an emergency is
            # one entry that changes.
            content = hash(msgspec.json.encode(notice))
            name = str(notice.event_id)[:SYSTEM_CHARS_MAX] if notice.event_id else content
            key = (kind, name, notice.phase[:SYSTEM_CHARS_MAX])
            if self._told.pop(key, None) != content:
                fresh.append(notice)
            self._told[key] = content
            if len(self._told) > NOTICES_MAX:
                del self._told[next(iter(self._told))]
        return fresh
