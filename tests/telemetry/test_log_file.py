"""A log file that is renamed, removed, or put out of reach while it is written."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.telemetry.log import LineWriter
from engine.telemetry.log_file import FollowedFile, followed


class Log:
    """A file that is followed, and how a line gets into it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("w")
        file = followed(self._stream.fileno())
        assert file is not None
        self.file: FollowedFile = file
        self._writer = LineWriter(self._stream, file)

    def write(self, line: str) -> None:
        self._writer.write(f"{line}\n")
        assert self._writer.drain()

    def close(self) -> None:
        self._stream.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    (tmp_path / "logs").mkdir()
    log = Log(tmp_path / "logs" / "engine.log")
    yield log
    log.close()


def test_lines_go_where_the_name_leads(log: Log) -> None:
    """Renamed, removed, and replaced."""
    log.write("one")
    log.path.rename(log.path.with_suffix(".1"))
    log.write("two")
    assert (log.path.with_suffix(".1").read_text(), log.path.read_text()) == ("one\n", "two\n")
    log.path.unlink()
    log.write("three")
    assert log.path.read_text() == "three\n"
    log.path.rename(log.path.with_suffix(".2"))
    log.path.write_text("made by logrotate\n")
    log.write("four")
    assert log.path.read_text() == "made by logrotate\nfour\n"
    log.write("five")
    assert log.path.read_text().endswith("four\nfive\n")


def test_a_new_file_has_the_permissions_of_the_old_one(tmp_path: Path) -> None:
    """Whoever could not read the log cannot read the next one."""
    path = tmp_path / "engine.log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    file = followed(fd)
    assert file is not None
    path.rename(tmp_path / "engine.log.1")
    file.follow()
    assert path.stat().st_mode & 0o777 == 0o600
    os.close(fd)


def test_what_cannot_be_opened_loses_nothing(log: Log) -> None:
    """The old file goes on, until the new one can be had."""
    log.write("one")
    kept = log.path.parent.parent / "moved"
    log.path.parent.rename(kept)
    log.write("two")
    assert (kept / log.path.name).read_text() == "one\ntwo\n"
    log.path.parent.mkdir()
    log.write("three")
    assert log.path.read_text() == "three\n"


def test_only_a_file_with_a_name_is_followed(tmp_path: Path) -> None:
    """Pipes, terminals and files that are gone are left as they are."""
    reading, writing = os.pipe()
    gone = os.open(tmp_path / "gone", os.O_WRONLY | os.O_CREAT)
    (tmp_path / "gone").unlink()
    null = os.open(os.devnull, os.O_WRONLY)
    assert [followed(fd) for fd in (writing, gone, null, 9999)] == [None] * 4
    for fd in (reading, writing, gone, null):
        os.close(fd)
