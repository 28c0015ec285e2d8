"""Copies of a journal and a history while they are written, without an engine."""

import resource
from pathlib import Path

import pytest

from engine.backup.copying import begun, copy_state, has_state
from engine.backup.restoring import restore_state
from engine.clock import ManualClock
from engine.errors import ConfigError, UserError
from engine.history import HistoryError, rebuild
from engine.orders.blotter import Blotter, fold
from engine.orders.journal import LOCK, SEGMENTS_KEPT, Journal, copy_journal, last_sequence, read_journal
from engine.orders.journal_records import ModeChanged, RunBegan, Snapshot
from engine.units import WallNs
from tests.filled_orders import life


def written(folder: Path, records: int) -> Journal:
    """A journal with so many records, still open."""
    journal, _, _ = Journal.open(folder)
    for number in range(records):
        journal.append(RunBegan(number, "1", "key", WallNs(number)))
    return journal


def snapshot_of(folder: Path) -> Snapshot:
    """What a new segment begins with."""
    blotter: Blotter = fold([record for _, record in read_journal(folder)])
    return blotter.snapshot(WallNs(1))


def test_a_record_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    """The copy ends with the last complete one, whatever byte the writer is at."""
    journal = written(tmp_path / "state", 3)
    whole = journal.path.read_bytes()
    journal.append(RunBegan(9, "1", "key", WallNs(9)))
    longer = journal.path.read_bytes()
    for cut in range(len(whole), len(longer)):
        journal.path.write_bytes(longer[:cut])
        target = tmp_path / f"copy-{cut}"
        target.mkdir()
        assert copy_journal(tmp_path / "state", target) == 3
        assert (target / journal.path.name).read_bytes() == whole
    journal.close()


def test_every_segment_is_copied_and_the_numbers_go_on(tmp_path: Path) -> None:
    """Those that are only kept for people too; the copy is continued as the journal itself would be."""
    journal = written(tmp_path / "state", 5)
    for _ in range(SEGMENTS_KEPT + 1):
        journal.compact(snapshot_of(tmp_path / "state"))
        journal.append(RunBegan(7, "1", "key", WallNs(7)))
    copied = copy_state(tmp_path / "state", tmp_path / "copy")

    assert copied.records == last_sequence(tmp_path / "state") == 5 + 2 * (SEGMENTS_KEPT + 1)
    assert list(read_journal(tmp_path / "copy")) == list(read_journal(tmp_path / "state"))
    assert not copied.has_history
    journal.close()


def test_a_restored_state_is_halted_and_goes_on(tmp_path: Path) -> None:
    """The next record follows; there is no lock and no rest of an earlier attempt."""
    written(tmp_path / "state", 4).close()
    copy_state(tmp_path / "state", tmp_path / "copy")
    (tmp_path / "new.unfinished").mkdir()
    (tmp_path / "new.unfinished" / "00000001.journal").touch()
    restored = restore_state(tmp_path / "copy", tmp_path / "new", ManualClock())
    journal, records, _ = Journal.open(tmp_path / "new")
    journal.close()

    assert restored.records == 4
    assert isinstance(records[-1], ModeChanged)
    assert records[-1].mode == "HALTED"
    assert len(records) == 5
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["00000001.journal", LOCK]
    assert last_sequence(tmp_path / "copy") == 4  # the copy is as it was


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        (6, "a newer one, with 2 records more than the copy"),
        (4, "one that is no newer than the copy"),
        (None, "a part of one"),
    ],
)
def test_nothing_is_written_over(tmp_path: Path, there: int | None, sentence: str) -> None:
    """Whichever of the two is newer: a person moves the other one aside."""
    written(tmp_path / "state", 4).close()
    copy_state(tmp_path / "state", tmp_path / "copy")
    if there is None:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "history.sqlite").touch()
    else:
        written(tmp_path / "new", there).close()
    before = {path: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    with pytest.raises(ConfigError, match=sentence):
        restore_state(tmp_path / "copy", tmp_path / "new", ManualClock())
    assert {path: path.read_bytes() for path in (tmp_path / "new").iterdir()} == before


def test_an_interrupted_copy_is_none(tmp_path: Path) -> None:
    """What cannot be copied whole leaves nothing of that name, and nothing beside it."""
    journal = written(tmp_path / "state", 4)
    spoilt = bytearray(journal.path.read_bytes())
    spoilt[-1] ^= 1
    journal.path.write_bytes(spoilt)
    journal.close()
    with pytest.raises(UserError, match="is damaged at record 4"):
        copy_state(tmp_path / "state", tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]
    assert has_state(tmp_path / "state")
    assert not has_state(tmp_path / "copy")
    (tmp_path / "a file").touch()
    with pytest.raises(UserError, match="name a place that can be written"):
        copy_state(tmp_path / "state", tmp_path / "a file" / "copy")


def test_a_copy_without_room_blames_the_place_and_not_the_history(tmp_path: Path) -> None:
    """The history is good: nobody is told to remove it."""
    state = tmp_path / "state"
    written(state, 3).close()
    rebuild(state / "history.sqlite", [record for number in range(400) for record in life(number)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, limits[1]))
    try:
        with pytest.raises(ConfigError) as error:
            copy_state(state, tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert str(tmp_path / "copy") in str(error.value)
    assert "name a place that can be written and has room" in str(error.value)
    assert str(state) not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_damaged_history_is_named_as_one(tmp_path: Path) -> None:
    """It is moved aside, never removed: rows that the journal has forgotten may be in it."""
    state = tmp_path / "state"
    written(state, 3).close()
    (state / "history.sqlite").write_bytes(b"no database" * 1000)

    with pytest.raises(HistoryError, match=r"cannot be read .*; move it aside \(mv "):
        copy_state(state, tmp_path / "copy")


def test_what_is_somebody_elses_is_left_as_it_is(tmp_path: Path) -> None:
    """A directory that happens to have the name of an unfinished copy is no rest of one."""
    written(tmp_path / "state", 3).close()
    theirs = tmp_path / "copy.unfinished"
    theirs.mkdir()
    (theirs / "thesis.txt").touch()
    with pytest.raises(ConfigError, match=r"copy.unfinished is in the way, and no rest of an earlier copy"):
        copy_state(tmp_path / "state", tmp_path / "copy")
    with pytest.raises(ConfigError, match="is in the way"):
        restore_state(tmp_path / "state", tmp_path / "copy", ManualClock())

    assert (theirs / "thesis.txt").exists()


def test_an_empty_directory_behind_a_link_takes_the_copy(tmp_path: Path) -> None:
    """The link stays one."""
    written(tmp_path / "state", 3).close()
    (tmp_path / "disk" / "copies").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "copies")
    copy_state(tmp_path / "state", tmp_path / "link")

    assert (tmp_path / "link").is_symlink()
    assert last_sequence(tmp_path / "disk" / "copies") == 3
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["copies"]


@pytest.mark.parametrize("place", [".", "/", "", "state"])
def test_a_place_that_is_taken_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Before anything is copied."""
    written(tmp_path / "state", 3).close()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is there already, and not an empty directory"):
        copy_state(tmp_path / "state", Path(place))
    with pytest.raises(ConfigError, match=r"is there already, and not an empty directory|holds a state already"):
        restore_state(tmp_path / "state", Path(place), ManualClock())
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_of_two_commands_that_copy_to_one_place_the_first_goes_on(tmp_path: Path) -> None:
    """The second neither empties what the first has made so far, nor removes it when it gives up."""
    written(tmp_path / "state", 3).close()
    with begun(tmp_path / "copy") as unfinished:
        (unfinished / "00000001.journal").touch()
        with pytest.raises(ConfigError, match=r"another copy is being made in .*copy\.unfinished; wait until"):
            copy_state(tmp_path / "state", tmp_path / "copy")
        with pytest.raises(ConfigError, match="another copy is being made"):
            restore_state(tmp_path / "state", tmp_path / "copy", ManualClock())
        assert [path.name for path in unfinished.iterdir()] == ["00000001.journal"]

        unfinished.rename(tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == ["copy"]


def test_a_state_that_may_not_be_read_is_no_matter_of_room(tmp_path: Path) -> None:
    """Of another user's, say: the mend is to ask as that user."""
    file = tmp_path / "state"
    file.symlink_to(file)  # root may read every directory, but none of these

    with pytest.raises(ConfigError, match=r"state cannot be read: .*; ask as the user whose engine it is"):
        copy_state(file, tmp_path / "copy")
    assert not (tmp_path / "copy.unfinished").exists()
