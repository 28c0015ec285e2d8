"""What the venue announces: the entries of the genuine frames, when they come, change and
go, and who is told.
"""

import json
from typing import Any

import pytest

from engine.errors import ConfigError
from engine.units import NS_PER_S, WallNs
from engine.venue.market.notices import Incident, Maintenance, NextStep, Notices
from engine.venue.wire.text import status_text
from tests.venue.rest_client import standing_venue
from tests.venue.venue_client import connected

HOUR, DAY = 3600, 86_400
START = WallNs(1_791_190_800 * NS_PER_S)  # 2026-10-05T09:00:00Z

# A status frame of 2026-10-03.
GENUINE = (
    '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    '"connection_id":3364750901719990046,"upcoming_maintenance":[{"affected_services":["spot_trading","spot_fix",'
    '"spot_ws"],"cancel_before_utc":"2026-10-05T08:55:00.000000Z","event_id":33,"expected_end_utc":'
    '"2026-10-05T10:00:00.000000Z","expected_start_utc":"2026-10-05T09:00:00.000000Z","order_submission":"allowed",'
    '"phase":"announced","recommended_action":"continue","source_url":"https://stspg.io/1w11k0cnnv3j",'
    '"time_to_start_s":129689,"title":"Order Entry System Maintenance"}],"emergency":[]}]}'
)
# SystemStatus as Kraken's page shows it with an incident, and its MaintenanceSchedule.
INCIDENT = (
    '{"event_id":4821,"title":"Elevated API error rates","incident_status":"identified","impact":"critical",'
    '"affected_services":["spot_ws","spot_rest","spot_fix"],"started_at_utc":"2026-05-08T14:23:11Z","next_steps":'
    '[{"applies_to":["spot_trading"],"type":"expected_restart","expected_at_utc":"2026-05-08T14:30:00Z"}],'
    '"source_url":"https://stspg.io/c378t4f7rh0n"}'
)
SCHEDULED = (
    '{"event_id":21,"title":"Scheduled Maintenance - Website","expected_start_utc":"2026-05-11T09:00:00Z",'
    '"expected_end_utc":"2026-05-11T10:00:00Z","time_to_start_s":1740,"phase":"approaching_30m","affected_services":'
    '["spot_trading"],"order_submission":"allowed","recommended_action":"reduce_activity","cancel_before_utc":'
    '"2026-05-11T08:55:00Z","source_url":"https://status.kraken.com/incidents/b7k2r9wqmn41"}'
)


def before(seconds: float, start: WallNs = START) -> WallNs:
    return WallNs(start - int(seconds * NS_PER_S))


def planned(event_id: int = 33, **changes: Any) -> Maintenance:
    return Maintenance(
        **{
            "event_id": event_id,
            "title": "Order Entry System Maintenance",
            "starts_at": START,
            "ends_at": WallNs(START + HOUR * NS_PER_S),
            "source_url": "https://stspg.io/1w11k0cnnv3j",
        }
        | changes
    )


def trouble(status: str = "investigating", **changes: Any) -> Incident:
    return Incident(
        **{
            "event_id": 4821,
            "title": "Elevated API error rates",
            "incident_status": status,
            "impact": "major",
            "affected_services": ("spot_ws", "spot_rest", "spot_fix"),
            "started_at": START,
        }
        | changes
    )


def phases(notices: Notices, at: WallNs) -> list[str]:
    return [entry["phase"] for entry in notices.status_fields(at)["upcoming_maintenance"]]


# --- entries


def test_a_status_frame_is_the_genuine_one_letter_by_letter():
    """With the entry of a planned maintenance in it."""
    notices = Notices()
    notices.plan(planned())

    assert status_text("online", 3364750901719990046, notices.status_fields(before(129_689))) == GENUINE


def test_entries_of_rest_are_the_documented_ones():
    """Other times, other order of keys: as the pages of SystemStatus and
    MaintenanceSchedule have them.
    """
    notices = Notices()
    began = WallNs(1_778_250_191 * NS_PER_S)
    step = NextStep(applies_to=("spot_trading",), type="expected_restart", expected_at=WallNs(began + 409 * NS_PER_S))
    notices.report(
        trouble("identified", impact="critical", started_at=began, next_steps=(step,),
                source_url="https://stspg.io/c378t4f7rh0n")
    )  # fmt: skip
    start = WallNs(1_778_490_000 * NS_PER_S)
    notices.plan(
        planned(21, title="Scheduled Maintenance - Website", starts_at=start, ends_at=WallNs(start + HOUR * NS_PER_S),
                affected_services=("spot_trading",), source_url="https://status.kraken.com/incidents/b7k2r9wqmn41")
    )  # fmt: skip

    at = before(1740, start)
    assert json.dumps(notices.rest_fields(at)["emergency"][0], separators=(",", ":")) == INCIDENT
    assert json.dumps(notices.schedule(at)[0], separators=(",", ":")) == SCHEDULED


# --- when they come, change and go


def test_maintenance_is_listed_from_72_hours_before_it_until_it_starts():
    """Not before, and not once its window has started."""
    notices = Notices()
    notices.plan(planned())

    assert phases(notices, before(72 * HOUR + 1)) == []
    assert phases(notices, before(72 * HOUR)) == ["announced"]
    assert phases(notices, before(0.001)) == ["final_warning_30s"]
    assert phases(notices, START) == []
    assert notices.schedule(before(300 * HOUR))[0]["event_id"] == 33
    assert notices.schedule(START) == []


@pytest.mark.parametrize(
    ("left_s", "phase"),
    [
        (24 * HOUR + 1, "announced"),
        (24 * HOUR, "reminder_24h"),
        (1801, "reminder_24h"),
        (1800, "approaching_30m"),
        (301, "approaching_30m"),
        (300, "imminent_5m"),
        (31, "imminent_5m"),
        (30, "final_warning_30s"),
    ],
)
def test_the_phase_tells_how_near_it_is(left_s: int, phase: str):
    """Each begins when so much time is left as its name says."""
    notices = Notices()
    notices.plan(planned())

    assert phases(notices, before(left_s)) == [phase]


def test_the_moments_at_which_the_lists_change_by_themselves():
    """It comes, enters each phase, and leaves; the nearest of all windows counts."""
    notices = Notices()
    notices.plan(planned())
    notices.plan(planned(34, starts_at=WallNs(START + 10 * NS_PER_S), ends_at=WallNs(START + HOUR * NS_PER_S)))
    moments, at = [], before(80 * HOUR)
    while (due := notices.next_change(at)) is not None:
        moments.append((START - due) // NS_PER_S)
        at = due

    own = [72 * HOUR, 24 * HOUR, 1800, 300, 30, 0]
    assert moments == sorted([*own, *(left - 10 for left in own)], reverse=True)
    assert Notices().next_change(START) is None


def test_an_incident_changes_until_it_is_resolved():
    """The newest word on each is listed; a resolved one is not, nor one that was resolved
    before it was heard of.
    """
    notices = Notices()
    notices.report(trouble())
    notices.report(trouble(event_id=5000))
    notices.report(trouble("identified", impact="critical"))
    listed = notices.status_fields(START)["emergency"]
    notices.report(trouble("resolved"))
    notices.report(trouble("resolved", event_id=1))

    assert [(entry["event_id"], entry["incident_status"], entry["impact"]) for entry in listed] == [
        (4821, "identified", "critical"),
        (5000, "investigating", "major"),
    ]
    assert "source_url" not in listed[0]
    assert [entry["event_id"] for entry in notices.rest_fields(START)["emergency"]] == [5000]


def test_what_cannot_be_planned_is_one_sentence():
    """An end before its start; more than anybody could read."""
    notices = Notices()
    for event_id in range(64):
        notices.plan(planned(event_id))

    with pytest.raises(ConfigError, match="its end must come after its start"):
        notices.plan(planned(ends_at=START))
    with pytest.raises(ConfigError, match="at most 64 notices"):
        notices.plan(planned(64))
    notices.plan(planned(63))


# --- who is told


async def test_every_connection_is_told_of_every_change_once():
    """Public and private: a window planned, called off; an incident, more of it, its end.

    REST tells the same.
    """
    word = {"event_id": 1, "incident_status": "identified", "impact": "critical", "restart_in_s": 60}
    async with (
        standing_venue() as (venue, client),
        connected(venue.public_url) as public,
        connected(venue.private_url) as private,
    ):
        for stranger in (public, private):
            await stranger.of("status")
        schedule = await client.own("POST", "maintenance", {"event_id": 7, "starts_in_s": 100 * HOUR})
        await client.own("POST", "maintenance", {"event_id": 7, "starts_in_s": 2 * DAY, "lasts_s": 600})
        status = (await client.public("SystemStatus"))["result"]
        planned_ahead = (await client.public("MaintenanceSchedule"))["result"]["events"]
        await client.own("POST", "maintenance", {"event_id": 7})
        await client.own("POST", "emergency", {"event_id": 1, "impact": "minor"})
        await client.own("POST", "emergency", word)
        await client.own("POST", "emergency", {"event_id": 1, "incident_status": "resolved"})
        told = [[(await stranger.of("status"))["data"][0] for _ in range(6)] for stranger in (public, private)]
    seen = [
        [([entry["phase"] for entry in frame["upcoming_maintenance"]],
          [(entry["incident_status"], len(entry["next_steps"])) for entry in frame["emergency"]])
         for frame in frames]
        for frames in told
    ]  # fmt: skip

    assert schedule == {"upcoming_maintenance": [], "emergency": []}
    assert seen[0] == seen[1] == [
        ([], []), (["announced"], []), ([], []), ([], [("investigating", 0)]), ([], [("identified", 1)]), ([], [])
    ]  # fmt: skip
    assert status["upcoming_maintenance"] == planned_ahead
    assert len(planned_ahead) == 1


async def test_a_phase_is_told_when_it_begins():
    """Nobody has to ask: the list becomes another by time alone."""
    async with standing_venue() as (venue, client), connected(venue.public_url) as public:
        await public.of("status")
        await client.own("POST", "maintenance", {"event_id": 7, "starts_in_s": 30.3})
        frames = [(await public.of("status"))["data"][0]["upcoming_maintenance"] for _ in range(2)]
        await client.own("POST", "maintenance", {"event_id": 7, "starts_in_s": 0.2})
        frames += [(await public.of("status"))["data"][0]["upcoming_maintenance"] for _ in range(2)]

    assert [[entry["phase"] for entry in frame] for frame in frames] == [
        ["imminent_5m"], ["final_warning_30s"], ["final_warning_30s"], []
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("maintenance", {}),
        ("maintenance", {"event_id": "x"}),
        ("maintenance", {"event_id": 1, "starts_in_s": 60, "lasts_s": 0}),
        ("maintenance", {"event_id": 1, "starts_in_s": 1e300}),
        ("emergency", {"event_id": 1, "weather": "rain"}),
        ("emergency", {"event_id": 1, "restart_in_s": -1e300}),
    ],
)
async def test_a_notice_that_cannot_be_is_one_sentence(path: str, body: dict[str, Any]):
    """Whoever scripts the venue is told what is wrong, and nothing is announced."""
    async with standing_venue() as (_, client):
        answer = await client.own("POST", path, body)
        status = (await client.public("SystemStatus"))["result"]

    assert list(answer) == ["error"]
    assert status["upcoming_maintenance"] == status["emergency"] == []
