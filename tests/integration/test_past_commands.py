"""What commands tell of an engine that does not run, from its journal and its history."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from engine.cli.past import rest_text
from engine.history import rebuild
from engine.orders.blotter import fold
from engine.orders.journal import Journal
from engine.orders.journal_format import HEADER_BYTES, VERSION, pack_header
from engine.units import WallNs
from tests.filled_orders import AT, life
from tests.integration.rig import Engines

ORDERS = 6  # each is filled in two parts


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory whose journal tells of some orders, and which has no history yet."""
    folder = tmp_path / "traded"
    journal, _, _ = Journal.open(folder)
    for number in range(ORDERS):
        journal.append_all(life(number))
    journal.close()
    return folder


def answer(engines: Engines, *arguments: object) -> dict[str, Any]:
    """What a command prints with --json."""
    done = engines.call(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def flip_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


def of_another_version(path: Path) -> None:
    header = bytearray(pack_header(1, 1))
    header[8:12] = (VERSION + 1).to_bytes(4, "little")
    header[-4:] = crc32(header[:-4]).to_bytes(4, "little")
    path.write_bytes(bytes(header) + path.read_bytes()[HEADER_BYTES:])


@pytest.mark.parametrize("harm", [flip_the_middle, of_another_version])
def test_a_journal_that_is_not_whole_is_never_taken_for_less_trading(
    engines: Engines, state: Path, harm: Callable[[Path], None]
) -> None:
    """No position is told; rows are shown as far as they are known, each time with the sentence that some may lack."""
    harm(next(state.glob("*.journal")))
    reason = "is damaged at record" if harm is flip_the_middle else "was written by a newer engine"

    for arguments in (("positions",), ("fills",), ("fills",), ("fills", "--json"), ("orders", "--since", "2026-01-01")):
        done = engines.call(*arguments, "--state-dir", state)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), arguments
        assert reason in done.stderr, arguments
        assert ("rows may be missing" in done.stderr) == (arguments[0] != "positions"), arguments
    for command in ("backup", "restore"):
        target = ("copy", "--state-dir", state) if command == "backup" else (state, "--state-dir", "elsewhere")
        done = engines.call(command, *target)
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
    if harm is flip_the_middle:
        rows = json.loads(engines.call("fills", "--json", "--state-dir", state).stdout)["fills"]
        assert 0 < len(rows) < 2 * ORDERS


def test_damage_in_a_segment_that_was_summed_up_changes_no_position(engines: Engines, state: Path) -> None:
    """A router goes on from the newest segment alone."""
    whole = answer(engines, "positions", "--state-dir", state)
    journal, records, _ = Journal.open(state)
    journal.compact(fold(records).snapshot(WallNs(AT)))
    journal.close()
    flip_the_middle(state / "00000001.journal")

    assert whole["positions"]
    assert answer(engines, "positions", "--state-dir", state) == whole
    fills = engines.call("fills", "--state-dir", state)
    assert fills.returncode == 2
    assert "rows may be missing" in fills.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("orders", "--state-dir", "traded"), "--state-dir belongs to --since"),
        (("positions", "--state-dir", "traded", "--cost", "BTC/USD=1"), "--cost is told to a running engine"),
        (("positions", "--strategy", "quoter"), "--strategy belongs to --cost"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    engines: Engines, state: Path, arguments: tuple[str, ...], says: str
) -> None:
    """The answer would be about another engine than the one that was meant."""
    assert state.is_dir()
    done = engines.call(*arguments)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("command", ["fills", "orders"])
def test_what_is_logged_is_no_part_of_the_json(engines: Engines, state: Path, command: str) -> None:
    """A history that cannot be used is begun anew, with a line on standard error."""
    (state / "history.sqlite").write_bytes(b"no database" * 1000)
    done = engines.call(command, "--since", "2026-01-01", "--state-dir", state, "--json")

    assert len(json.loads(done.stdout)[command]) > 0
    assert (done.returncode, "begun anew" in done.stderr) == (0, True)


@pytest.mark.parametrize("command", [("fills",), ("orders", "--since", "1h")])
def test_a_directory_that_is_no_engines_is_left_as_it_is(
    engines: Engines, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Whatever is named: it is said that there is no history, or that this is none of ours."""
    elsewhere = tmp_path / "photos"
    elsewhere.mkdir()
    done = engines.call(*command, "--state-dir", elsewhere)
    assert (done.returncode, "there is no history at" in done.stderr) == (2, True), done.stderr
    assert list(elsewhere.iterdir()) == []
    foreign = elsewhere / "history.sqlite"
    foreign.write_bytes(b"somebody's own" * 1000)
    done = engines.call(*command, "--state-dir", elsewhere)
    assert (done.returncode, "cannot be read" in done.stderr) == (2, True), done.stderr
    assert [path.name for path in elsewhere.iterdir()] == ["history.sqlite"]
    assert foreign.read_bytes() == b"somebody's own" * 1000


def test_what_is_too_long_to_show_says_so(engines: Engines, tmp_path: Path) -> None:
    """10,000 rows at most, for people and for programs."""
    path = tmp_path / "busy" / "history.sqlite"
    rebuild(path, [record for number in range(10_001) for record in life(number)], is_running=False)
    orders = ("orders", "--since", "2026-01-01", "--state-dir", path.parent)
    fills = ("fills", "--since", "2026-01-01", "--state-dir", path.parent)

    for what, command in (("orders", orders), ("fills", fills)):
        told = answer(engines, *command)
        assert (len(told[what]), told["has_more"]) == (10_000, True)
    few = answer(engines, "fills", "--limit", 5, "--state-dir", path.parent)
    assert (len(few["fills"]), few["has_more"]) == (5, True)
    assert not answer(engines, "orders", "--since", "2030-01-01", "--state-dir", path.parent)["has_more"]
    assert rest_text(path, 50, 10_000) == "the newest 50; --limit shows more"
    assert rest_text(path, 10_000, 10_000) == f"the newest 10,000; {path} has them all, for any SQL tool"


@pytest.mark.parametrize(("since", "rows"), [("0001-01-01", 2 * ORDERS), ("9999-12-31", 0), ("700000d", 2 * ORDERS)])
def test_any_moment_can_be_asked_from(engines: Engines, state: Path, since: str, rows: int) -> None:
    """However far away it is."""
    assert len(answer(engines, "fills", "--since", since, "--state-dir", state)["fills"]) == rows
    assert len(answer(engines, "orders", "--since", since, "--state-dir", state)["orders"]) == rows // 2
