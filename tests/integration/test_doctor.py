"""`engine doctor`: one list for people and programs, with a network and a key, and without."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.rig import Engines
from tests.integration.venue_rig import LIMITS, TRADING, CheckedVenue

NOWHERE = '[venue]\nurl = "ws://127.0.0.1:1/v2"\nprivate_url = "ws://127.0.0.1:1/v2"\nrest_url = "http://127.0.0.1:1"\n'


@pytest.fixture
def venue(engines: Engines) -> CheckedVenue:
    """A venue that stands still."""
    return CheckedVenue(engines)


def doctor(engines: Engines, config: Path) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """The exit code, and (level, text) of each line by its name."""
    done = engines.call("doctor", config, "--json")
    assert done.stderr == ""
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["ok"] == (done.returncode == 0)
    found: dict[str, list[tuple[str, str]]] = {}
    for row in answer["checks"]:
        found.setdefault(row["name"], []).append((row["level"], row["text"]))
    return done.returncode, found


def test_a_sound_computer_with_a_sound_key_is_told_line_by_line(venue: CheckedVenue) -> None:
    """Each permission by the box on Kraken's page; the tier; the clock once."""
    code, found = doctor(venue.engines, venue.config())
    for_people = venue.engines.call("doctor", venue.config())

    assert code == 0
    assert {"python", "libraries", "native", "cpus", "memfd", "state", "dns", "tcp", "tls", "public", "clock",
            "credentials", "permission", "key", "private", "tier"} <= found.keys()  # fmt: skip
    assert [level for level, _ in found["permission"]] == ["ok"] * 7
    assert '"Orders and trades: Create & modify orders" is ticked' in found["permission"][3][1]
    assert len(found["clock"]) == 1
    assert "symbols" not in found
    assert for_people.stdout.rstrip().endswith("this computer can run the engine")


def test_a_key_tells_each_box_to_tick_and_to_untick(venue: CheckedVenue) -> None:
    """One line a box."""
    given = [name for name in TRADING if name != "close-trades"] + ["withdraw-funds", "export-data"]
    code, found = doctor(venue.engines, venue.config(venue.key(permissions=given)))
    wrong = [text for level, text in found["permission"] if level == "failure"]

    assert code == 2
    assert [text.partition(" is ")[0] for text in wrong] == [
        '"Orders and trades: Cancel & close orders"',
        '"Funds: Withdraw"',
    ]
    assert any(level == "advice" and "export-data" in text for level, text in found["permission"])


def test_without_a_network_the_machine_is_still_told(engines: Engines, tmp_path: Path) -> None:
    """And what was not asked; the key is not used."""
    config = tmp_path / "nowhere.toml"
    (tmp_path / "key.toml").write_text('api_key = "a-key"\napi_secret = "c2VjcmV0"\n')
    (tmp_path / "key.toml").chmod(0o600)
    config.write_text(f'{NOWHERE}[trading]\ncredentials_file = "key.toml"\n')
    code, found = doctor(engines, config)

    assert code == 2
    assert found["memfd"][0][0] == "ok"
    assert "connection refused" in found["tcp"][0][1]
    assert found["key"] == [("warning", "not asked: http://127.0.0.1:1 cannot be reached")]
    assert found["clock"] == [("warning", "not asked: 127.0.0.1 cannot be reached")]


def test_a_key_is_missed_only_where_it_is_needed(venue: CheckedVenue) -> None:
    """Advice for who looks at books, a failure for who trades."""
    trading = venue.config(more=LIMITS)
    trading.write_text(trading.read_text().replace('credentials_file = "kraken.key"\n', ""))
    code, found = doctor(venue.engines, trading)
    trading.write_text(trading.read_text().replace("enabled = true", "enabled = false"))
    code_of_looking, found_looking = doctor(venue.engines, trading)

    assert (code, found["credentials"][0][0]) == (2, "failure")
    assert (code_of_looking, found_looking["credentials"][0][0]) == (0, "advice")
    assert "engine keys add" in found["credentials"][0][1]


def test_what_keeps_a_run_from_starting_is_told_by_check_too(venue: CheckedVenue) -> None:
    """A state directory that is none stands between a configuration and live trading."""
    config = venue.config()
    state = venue.engines.folder / "a file"
    state.write_text("")
    config.write_text(config.read_text().replace("[trading]\n", f'[trading]\nstate_dir = "{state}"\n'))
    code, found = venue.findings(config)

    assert code == 2
    assert found["state"][0][0] == "failure"
    assert "not a directory" in found["state"][0][1]
