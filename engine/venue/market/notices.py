"""The venue's announcements: planned maintenance, and incidents that are not resolved.

Both lists are in every status frame, and in REST's SystemStatus. Planned maintenance is
listed from 72 hours before its window until the window starts: when it disappears it
begins, it was not canceled. An incident is listed, and changes as more is known of it,
until it is resolved. The state of the matching engine (online, maintenance, …) depends on
neither. Pure: the time is given.

https://docs.kraken.com/api-reference/market-data/get-system-status
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.errors import ConfigError
from engine.units import NS_PER_S, WallNs
from engine.venue.wire.text import utc_us

LISTED_NS: Final = 72 * 3600 * NS_PER_S  # before its window starts
CANCEL_BEFORE_NS: Final = 300 * NS_PER_S  # ahead of the window: by then orders should have been canceled
NOTICES_MAX: Final = 64  # of each kind, as a bound
RESOLVED: Final = "resolved"  # the incident_status of one that is over

# Phase and recommended action by the time that is left, the nearest first. `announced` and
# `approaching_30m` are seen with their actions; the other actions are our reading of their
# names.
_PHASES: Final = (
    (30 * NS_PER_S, "final_warning_30s", "disconnect_and_wait"),
    (300 * NS_PER_S, "imminent_5m", "cancel_open_orders"),
    (1800 * NS_PER_S, "approaching_30m", "reduce_activity"),
    (24 * 3600 * NS_PER_S, "reminder_24h", "continue"),
    (LISTED_NS, "announced", "continue"),
)

TimeText = Callable[[WallNs], str]
"""Writes a time: to the microsecond on the WebSocket, to the second by REST."""


class Maintenance(msgspec.Struct, frozen=True, kw_only=True):
    """A planned window of maintenance."""

    event_id: int
    title: str
    starts_at: WallNs
    ends_at: WallNs
    affected_services: tuple[str, ...] = ("spot_trading", "spot_fix", "spot_ws")
    source_url: str = "https://status.kraken.com"


class NextStep(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue expects to do about an incident."""

    applies_to: tuple[str, ...]
    type: str  # such as expected_restart
    expected_at: WallNs


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that is not resolved; its updates have the same id."""

    event_id: int
    title: str
    incident_status: str  # investigating, identified, monitoring; `resolved` ends it
    impact: str  # none, minor, major, critical
    affected_services: tuple[str, ...]
    started_at: WallNs
    next_steps: tuple[NextStep, ...] = ()
    source_url: str | None = None


class Notices:
    """Both lists and their changes."""

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        """`on_change` is called when the lists change, except by time alone."""
        self._planned: dict[int, Maintenance] = {}
        self._incidents: dict[int, Incident] = {}
        self._on_change = on_change

    # --- changes

    def plan(self, maintenance: Maintenance) -> None:
        """Announce a window, or change its time.

        Raises ConfigError when too many are planned or it ends before it starts.
        """
        if maintenance.ends_at <= maintenance.starts_at:
            raise ConfigError(f"maintenance {maintenance.event_id}: its end must come after its start")
        self._put(self._planned, maintenance.event_id, maintenance)

    def call_off(self, event_id: int) -> None:
        """Cancel a planned window."""
        if self._planned.pop(event_id, None) is not None:
            self._on_change()

    def begin(self, at: WallNs) -> None:
        """Remove the windows that start by then from the list, without calling `on_change`."""
        self._planned = {key: planned for key, planned in self._planned.items() if planned.starts_at > at}

    def report(self, incident: Incident) -> None:
        """Add or update an incident; a resolved one is removed."""
        if incident.incident_status != RESOLVED:
            self._put(self._incidents, incident.event_id, incident)
        elif self._incidents.pop(incident.event_id, None) is not None:
            self._on_change()

    def _put(self, notices: dict[int, Any], event_id: int, notice: Any) -> None:
        if event_id not in notices and len(notices) >= NOTICES_MAX:
            raise ConfigError(f"event {event_id}: at most {NOTICES_MAX} notices of a kind may be open")
        notices[event_id] = notice
        self._on_change()

    # --- reading

    def next_change(self, at: WallNs) -> WallNs | None:
        """When the lists next change by time alone: an entry appears, enters another phase,
        or leaves.
        """
        moments = [
            WallNs(planned.starts_at - before_ns)
            for planned in self._planned.values()
            for before_ns in (0, *(phase[0] for phase in _PHASES))
        ]
        return min((moment for moment in moments if moment > at), default=None)

    def status_fields(self, at: WallNs) -> dict[str, Any]:
        """Both lists as the status channel has them: keys in alphabetical order,
        microseconds.
        """
        fields = self._fields(at, utc_us)
        return {name: [_alphabetical(entry) for entry in entries] for name, entries in fields.items()}

    def rest_fields(self, at: WallNs) -> dict[str, Any]:
        """Both lists as SystemStatus has them: whole seconds."""
        return self._fields(at, _utc_s)

    def schedule(self, at: WallNs) -> list[dict[str, Any]]:
        """Everything that is planned, however far ahead, as MaintenanceSchedule has it."""
        return [_planned_entry(planned, at, _utc_s) for planned in self._upcoming(at, None)]

    def _fields(self, at: WallNs, text: TimeText) -> dict[str, Any]:
        return {
            "upcoming_maintenance": [_planned_entry(planned, at, text) for planned in self._upcoming(at, LISTED_NS)],
            "emergency": [_incident_entry(incident, text) for incident in self._incidents.values()],
        }

    def _upcoming(self, at: WallNs, within_ns: int | None) -> list[Maintenance]:
        """Windows that have not started, the nearest first."""
        upcoming = [
            planned
            for planned in self._planned.values()
            if planned.starts_at > at and (within_ns is None or planned.starts_at - at <= within_ns)
        ]
        return sorted(upcoming, key=lambda planned: planned.starts_at)


def _planned_entry(planned: Maintenance, at: WallNs, text: TimeText) -> dict[str, Any]:
    left_ns = planned.starts_at - at
    phase, action = next((phase[1:] for phase in _PHASES if left_ns <= phase[0]), _PHASES[-1][1:])
    return {
        "event_id": planned.event_id,
        "title": planned.title,
        "expected_start_utc": text(planned.starts_at),
        "expected_end_utc": text(planned.ends_at),
        "time_to_start_s": left_ns // NS_PER_S,
        "phase": phase,
        "affected_services": list(planned.affected_services),
        "order_submission": "allowed",
        "recommended_action": action,
        "cancel_before_utc": text(WallNs(planned.starts_at - CANCEL_BEFORE_NS)),
        "source_url": planned.source_url,
    }


def _incident_entry(incident: Incident, text: TimeText) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "event_id": incident.event_id,
        "title": incident.title,
        "incident_status": incident.incident_status,
        "impact": incident.impact,
        "affected_services": list(incident.affected_services),
        "started_at_utc": text(incident.started_at),
        "next_steps": [
            {"applies_to": list(step.applies_to), "type": step.type, "expected_at_utc": text(step.expected_at)}
            for step in incident.next_steps
        ],
    }
    if incident.source_url is not None:
        entry["source_url"] = incident.source_url
    return entry


def _alphabetical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _alphabetical(value[key]) for key in sorted(value)}
    return [_alphabetical(item) for item in value] if isinstance(value, list) else value


def _utc_s(at: WallNs) -> str:
    """Write `2026-05-08T14:28:00Z`."""
    return f"{utc_us(at)[:19]}Z"
