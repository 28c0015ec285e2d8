"""A copy of a state, put back where no state is.

What happened since the copy only Kraken knows. Orders of the copy are asked for at the next
start, as after any crash: their fills and ends are found. Orders that were sent later are
unknown here: open ones are adopted as somebody else's, and what they have filled is no
part of any position. So a restored engine is halted: a person looks at orders and
positions, and resumes.

Nonces do not go back: their floor is kept for each key, outside the state, and a new host
begins with the clock, which is ahead of all that were used. Client order ids do not come
again, for the number of a run is the clock's, too.
"""

from pathlib import Path
from typing import Final

from engine.backup.copying import (
    Copied,
    begun,
    fill,
    has_state,
    newest_record,
    place_of,
    put_in_place,
)
from engine.clock import Clock
from engine.errors import ConfigError
from engine.orders.journal import LOCK, SUFFIX, Journal
from engine.orders.journal_records import ModeChanged
from engine.orders.risk import TradingMode

HALT_REASON: Final = "the state was restored from a copy: look at orders and positions, then engine resume"


def restore_state(directory: Path, state_dir: Path, clock: Clock) -> Copied:
    """Put a copy back as the state in `state_dir`, halted; there must be none yet.

    Raises ConfigError where there is one, or where the copy is none; JournalUnusable for
    one that must not be traded on.
    """
    if not directory.is_dir() or not any(directory.glob(f"*{SUFFIX}")):
        raise ConfigError(
            f"{directory} is no copy of an engine's state; name a directory that `engine backup` has made"
        )
    if has_state(state_dir):
        raise ConfigError(_taken(directory, state_dir))
    place = place_of(state_dir)
    try:
        with begun(place) as unfinished:
            copied = fill(directory, unfinished)
            _halt(unfinished, clock)
            put_in_place(unfinished, place)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or state_dir}: {(error.strerror or str(error)).lower()}; choose another place with "
            "--state-dir (trading.state_dir) or XDG_STATE_HOME"
        ) from None
    return copied._replace(directory=state_dir)


def _halt(state_dir: Path, clock: Clock) -> None:
    journal, _, _ = Journal.open(state_dir, durability="power")
    try:
        journal.append(ModeChanged(TradingMode.HALTED.name, HALT_REASON, clock.wall_ns()))
    finally:
        journal.close()
    (state_dir / LOCK).unlink(missing_ok=True)


def _taken(directory: Path, state_dir: Path) -> str:
    copied, there = newest_record(directory), newest_record(state_dir)
    if there > copied:
        which = f"a newer one, with {there - copied:,} records more than the copy"
    else:
        which = "one that is no newer than the copy" if there else "a part of one"
    return f"{state_dir} holds a state already, {which}; move it aside (mv {state_dir} {state_dir}.old) to restore"
