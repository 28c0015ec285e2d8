"""`engine keys`: a key is typed unseen, tested, stored, found by the engine, and removed."""

import json
import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from engine.readable import is_readable
from tests.integration.rig import PATIENCE_S, Engines
from tests.integration.venue_rig import TRADING, CheckedVenue


@pytest.fixture
def venue(engines: Engines) -> CheckedVenue:
    """A venue that stands still."""
    return CheckedVenue(engines)


def config_of(venue: CheckedVenue, trading: str = "") -> Path:
    """A configuration that points to the venue, and perhaps to a place of a key."""
    path = venue.engines.folder / "bot.toml"
    path.write_text(
        f'[venue]\nurl = "{venue.ready["public"]}"\nprivate_url = "{venue.ready["private"]}"\n'
        f'rest_url = "{venue.ready["rest"]}"\n[trading]\n{trading}'
    )
    return path


def keys(venue: CheckedVenue, *arguments: object, lines: str = "") -> subprocess.CompletedProcess[str]:
    """`engine keys …` with lines on standard input; the secret is never among what it prints."""
    done = venue.engines.call("keys", *arguments, lines=lines)
    for line in filter(None, lines.splitlines()[1:]):
        assert line not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def lines_of(key: dict[str, str]) -> str:
    return f"{key['api_key']}\n{key['api_secret']}\n"


def test_a_key_is_added_tested_and_removed(venue: CheckedVenue) -> None:
    """Where the configuration says; every box is told; the file is the owner's alone."""
    config = config_of(venue, 'credentials_file = "secret/key.toml"\n')
    file = config.parent / "secret" / "key.toml"
    added = keys(venue, "add", config, lines=lines_of(venue.ready))

    assert added.returncode == 0, added.stdout + added.stderr
    assert added.stdout.count("is ticked") == 6
    assert added.stdout.splitlines()[-1].startswith("stored the key ")
    assert "now write" not in added.stdout
    assert file.stat().st_mode & 0o777 == 0o600

    tested = keys(venue, "test", config, "--json")
    answer = json.loads(tested.stdout)
    assert (tested.returncode, answer["ok"]) == (0, True)
    assert {"credentials", "key", "permission", "private", "tier"} <= {row["name"] for row in answer["checks"]}

    again = keys(venue, "add", config, lines=lines_of(venue.ready))
    assert again.returncode == 2
    assert "is there already; remove it" in again.stderr

    assert "say --yes" in keys(venue, "remove", config).stderr
    removed = keys(venue, "remove", config, "--yes")
    assert removed.returncode == 0
    assert "at Kraken it is still valid" in removed.stdout
    assert not file.exists()
    assert keys(venue, "test", config).returncode == 2


def test_a_program_is_told_of_every_step_in_one_object(venue: CheckedVenue) -> None:
    """Stored, or not and why; removed. No secret in any of it, and nothing else on standard output."""
    config, file = config_of(venue), venue.engines.folder / "kraken-key.toml"
    weak = venue.key(permissions=list(TRADING[1:]))
    refused = keys(venue, "add", config, "--json", lines=lines_of(weak))
    told = json.loads(refused.stdout)
    assert (refused.returncode, told["ok"], told["stored"], file.exists()) == (2, False, False, False)
    assert "failure" in {row["level"] for row in told["checks"]}

    added = keys(venue, "add", config, "--json", lines=lines_of(venue.ready))
    told = json.loads(added.stdout)
    assert (added.returncode, told["ok"], told["stored"], told["place"]) == (0, True, True, str(file))
    assert told["setting"] == f'credentials_file = "{file}"'
    assert len(told["checks"]) > 6
    untested = keys(venue, "add", config_of(venue), "--file", "other.toml", "--no-test", "--json", lines=lines_of(weak))
    assert json.loads(untested.stdout)["checks"] == []

    removed = keys(venue, "remove", "--file", file, "--yes", "--json")
    assert json.loads(removed.stdout) == {
        "fingerprint": told["fingerprint"], "place": str(file), "in_environment": False,
    }  # fmt: skip
    assert not file.exists()
    configured = keys(
        venue, "add", config_of(venue, 'credentials_file = "mine.toml"\n'), "--json", lines=lines_of(venue.ready)
    )
    assert json.loads(configured.stdout)["setting"] is None


def test_a_place_that_no_configuration_names_is_told_to_be_written_there(venue: CheckedVenue) -> None:
    """Without a desktop's keyring it is kraken-key.toml beside the configuration."""
    added = keys(venue, "add", config_of(venue), lines=lines_of(venue.ready))
    file = venue.engines.folder / "kraken-key.toml"

    assert added.returncode == 0, added.stdout + added.stderr
    assert added.stdout.splitlines()[-1].endswith(f'credentials_file = "{file}"')
    assert keys(venue, "test", config_of(venue), "--file", file).returncode == 0


@pytest.mark.parametrize(
    ("permissions", "options", "code"),
    [
        ((*TRADING, "withdraw-funds"), (), 2),
        ((*TRADING, "withdraw-funds"), ("--allow-withdraw",), 0),
        (TRADING[1:], (), 2),
        (TRADING[1:], ("--allow-withdraw",), 2),
        (TRADING[1:], ("--no-test",), 0),
    ],
)
def test_a_key_that_may_too_much_or_too_little_is_not_stored(
    venue: CheckedVenue, permissions: tuple[str, ...], options: tuple[str, ...], code: int
) -> None:
    """Unless that is said: withdrawing by one option, anything by the other."""
    key = venue.key(permissions=list(permissions))
    done = keys(venue, "add", config_of(venue), *options, lines=lines_of(key))

    assert done.returncode == code
    assert (venue.engines.folder / "kraken-key.toml").exists() == (code == 0)
    assert ("not stored" in done.stdout) == (code == 2)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("", "two lines"),
        ("only-one\n", "two lines"),
        ("a-key\nnot base64!\n", "not base64"),
        ("a b\nYQ==\n", "copy it"),
    ],
)
def test_what_cannot_be_a_key_is_one_sentence(venue: CheckedVenue, lines: str, sentence: str) -> None:
    """Kraken is not asked, and nothing is stored."""
    done = keys(venue, "add", config_of(venue), lines=lines)

    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (venue.engines.folder / "kraken-key.toml").exists()


def test_kraken_that_cannot_be_asked_stores_nothing(engines: Engines) -> None:
    """A key that was never tested is stored only when that is said."""
    config = engines.folder / "nowhere.toml"
    config.write_text('[venue]\nrest_url = "http://127.0.0.1:1"\n')
    venue = CheckedVenue(engines)
    done = keys(venue, "add", config, lines=lines_of(venue.ready))

    assert done.returncode == 2
    assert "cannot be reached" in done.stdout
    assert not (engines.folder / "kraken-key.toml").exists()


def test_a_terminal_shows_nothing_of_what_is_typed(venue: CheckedVenue) -> None:
    """Both texts are asked for, and neither is echoed."""
    ours, theirs = pty.openpty()
    process = venue.engines.spawn(  # a session of its own: it must not ask on the terminal of the tests
        "keys", "add", config_of(venue), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    deadline = time.monotonic() + PATIENCE_S
    to_type = [(b"API key: ", venue.ready["api_key"]), (b"Private key: ", venue.ready["api_secret"])]
    while process.poll() is None and time.monotonic() < deadline:
        if is_readable(ours, 0.1):
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
        if to_type and shown.endswith(to_type[0][0]):
            os.write(ours, to_type.pop(0)[1].encode() + b"\n")
    code = process.wait(PATIENCE_S)
    os.close(ours)

    assert code == 0, shown
    assert b"stored the key" in shown
    assert venue.ready["api_secret"].encode() not in shown
    assert venue.ready["api_key"].encode() not in shown
