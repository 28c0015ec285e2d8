"""A copy of a state directory, which is a state directory, too.

    STATE                        DIRECTORY.unfinished ─ renamed, when it is whole ─► DIRECTORY
      history.sqlite ─ 1 ─►        history.sqlite       as it is at one moment
      *.journal      ─ 2 ─►        *.journal            up to a complete record; the history may lack some of these
      run            ─ 3 ─►        run

The journal is copied after the history, so that whatever the history lacks can be made
from it again. Nothing of the engine waits: the journal's files only grow, and SQLite copies
beside its writer. API keys and the floors of their nonces are no part of it: what an old
copy would tell of these would be wrong.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import ConfigError
from engine.history import copy_history
from engine.orders.journal import LOCK, SUFFIX, copy_journal, last_sequence
from engine.state_directory import HISTORY_FILE, RUN_FILE

UNFINISHED: Final = ".unfinished"


class Copied(NamedTuple):
    """What a copy holds."""

    directory: Path
    records: int
    """Sequence of the journal's last record."""
    has_history: bool


def copy_state(state_dir: Path, directory: Path) -> Copied:
    """Copy the state in `state_dir` into a new directory, which appears only when it is
    complete.

    Raises JournalUnusable or HistoryError for a state that cannot be read, ConfigError for
    a place that is taken or cannot be written.
    """
    place = place_of(directory)
    _check_readable(state_dir)
    try:
        with begun(place) as unfinished:
            copied = fill(state_dir, unfinished)
            put_in_place(unfinished, place)
    except OSError as error:
        raise _unwritable(directory, error) from None
    return copied._replace(directory=directory)


def place_of(directory: Path) -> Path:
    """Where a copy comes to, links followed; raises ConfigError for a place that is taken,
    or that nothing can be renamed to.
    """
    place = Path(os.path.realpath(directory))
    _check_free(place)
    if place.is_mount():
        raise ConfigError(f"{directory} is a mount point, which a directory cannot be renamed to; name one in it")
    return place


@contextmanager
def begun(place: Path) -> Iterator[Path]:
    """Make the empty directory of a copy, beside its final place. It is removed with its
    content unless it has been moved to its place by the end of this block.

    Raises ConfigError if something other than the rest of an earlier copy is there, or
    another command is making a copy; and OSError.
    """
    unfinished = _unfinished_of(place)
    unfinished.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(unfinished, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _hold(fd, unfinished)
        for rest in unfinished.iterdir():
            rest.unlink()
        try:
            yield unfinished
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    finally:
        os.close(fd)


def _hold(fd: int, unfinished: Path) -> None:
    """Lock the directory. Raises ConfigError if another command is filling it, or has
    renamed it meanwhile: then it must be neither emptied nor removed.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = True
    except OSError as error:  # some file systems of networks lock no directory
        is_ours = not isinstance(error, BlockingIOError)
    with suppress(FileNotFoundError):
        if is_ours and os.path.samestat(os.fstat(fd), unfinished.stat()):
            return
    raise ConfigError(f"another copy is being made in {unfinished}; wait until it is done, or name another place")


def _unfinished_of(place: Path) -> Path:
    unfinished = place.with_name(place.name + UNFINISHED)
    if os.path.lexists(unfinished):
        is_rest = unfinished.is_dir() and not unfinished.is_symlink()
        if not is_rest or not all(_may_be_ours(path) for path in unfinished.iterdir()):
            raise ConfigError(f"{unfinished} is in the way, and no rest of an earlier copy; move it, or name another")
    return unfinished


def _may_be_ours(path: Path) -> bool:
    return path.suffix == SUFFIX or path.name in (RUN_FILE, LOCK) or path.name.startswith(HISTORY_FILE)


def fill(state_dir: Path, unfinished: Path) -> Copied:
    """Copy a state into an empty directory; raises as `copy_state`, and OSError."""
    has_history = copy_history(state_dir / HISTORY_FILE, unfinished / HISTORY_FILE)
    records = copy_journal(state_dir, unfinished)
    if (state_dir / RUN_FILE).exists():
        shutil.copy(state_dir / RUN_FILE, unfinished / RUN_FILE)
    return Copied(unfinished, records, has_history)


def put_in_place(unfinished: Path, directory: Path) -> None:
    """Rename a whole copy to its final name. Raises ConfigError if the name is taken, and
    OSError.
    """
    _check_free(directory)
    _sync(unfinished)
    os.replace(unfinished, directory)
    _sync(directory.parent)


def _check_free(directory: Path) -> None:
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} is there already, and not an empty directory; name another")


def has_state(directory: Path) -> bool:
    """Whether a directory holds a state, or a part of one."""
    return directory.is_dir() and any(
        path.suffix == SUFFIX or path.name in (HISTORY_FILE, RUN_FILE, LOCK) for path in directory.iterdir()
    )


def newest_record(directory: Path) -> int:
    """Sequence of the last record of the journal there; 0 without one."""
    return last_sequence(directory) if directory.is_dir() else 0


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_readable(state_dir: Path) -> None:
    """Raise ConfigError for a directory that this user may not look into: it would be taken
    for an empty one.
    """
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.listdir(state_dir)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"{state_dir} cannot be read: {reason}; ask as the user whose engine it is (`sudo -u USER …`)"
        ) from None


def _unwritable(directory: Path, error: OSError) -> ConfigError:
    reason = (error.strerror or str(error)).lower()
    return ConfigError(f"{error.filename or directory}: {reason}; name a place that can be written and has room")
