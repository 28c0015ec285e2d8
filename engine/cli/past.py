"""What an engine did before now: its state directory, its history brought up to date, and
the moments that people write.

All of it works while the engine runs and after it has stopped.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from engine.cli.ask import ask_engine, ask_router, nobody
from engine.errors import ConfigError
from engine.state_directory import HISTORY_FILE, default_state_dir
from engine.supervisor.run_directory import RunDirectory
from engine.units import NS_PER_S, WallNs

ROWS_SHOWN_MAX = 10_000
MOMENT_MAX = 2**63 - 1
PERIODS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

state_dir_option = click.option(
    "--state-dir", type=click.Path(path_type=Path), help="State directory of an engine that does not run."
)


def moment(text: str) -> WallNs:
    """Parse `12h` (ago), or a date and time in UTC. Raises ConfigError."""
    mend = f"--since {text}: write a period such as 90m, 12h or 7d, or a date such as 2026-11-21"
    try:
        if text[:-1].isdigit() and text[-1] in PERIODS:
            at = datetime.now(UTC) - timedelta(**{PERIODS[text[-1]]: int(text[:-1])})
        else:
            at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ConfigError(mend) from None
    ns = int((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * NS_PER_S)
    return WallNs(min(max(ns, 0), MOMENT_MAX))  # nothing is older, and SQLite takes no larger one


def is_running(name: str) -> bool:
    """Whether an engine of this name runs."""
    return RunDirectory(name).holder() is not None


def check_name(name: str, folder: Path) -> None:
    """Raise ConfigError where nothing is kept of an engine of this name, in the folder that
    nobody has chosen, and others run: one of them is meant. OSError for a folder that this
    user may not look into: it would be taken for an empty one.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        os.listdir(folder)
    if folder == default_state_dir(name) and not folder.exists() and RunDirectory(name).others():
        raise ConfigError(nobody(name))


def state_dir_of(name: str) -> Path:
    """The running engine's state directory, or the default one for this name."""
    with suppress(ConfigError):
        return Path(ask_router(name, {"command": "where"})["state_dir"])
    with suppress(ConfigError):  # its router is being started again, say
        if told := ask_engine(name, {"command": "status"}).get("map", {}).get("supervisor", {}).get("state_dir"):
            return Path(told)
    return default_state_dir(name)


def up_to_date_history(name: str, state_dir: Path | None) -> tuple[Path, list[str]]:
    """The path of the history; rows that it lacks are written into it from the journal.

    With it a sentence for each part of the journal that could not be read: then rows may be
    missing, and `tell_missing` says so once what there is has been shown.
    """
    # Imported here: most commands need no database.
    from engine.history import is_incomplete, rebuild
    from engine.orders.journal import SUFFIX, read_journal
    from engine.telemetry.log import configure_log

    configure_log("warning", "console", "history")  # to standard error; the rows are on standard output
    runs = state_dir is None and is_running(name)
    folder = state_dir or state_dir_of(name)
    check_name(name, folder)
    path = folder / HISTORY_FILE
    unread: list[str] = []
    # Where no journal is, nothing could be made from it: any directory may be named, and
    # nothing is written there.
    has_journal = any(folder.glob(f"*{SUFFIX}"))
    if has_journal and is_incomplete(path, is_running=runs):
        rebuild(path, (record for _, record in read_journal(folder, unread)), is_running=runs, lacks=unread)
    return path, unread


def tell_missing(unread: Sequence[str]) -> None:
    """Raise ConfigError when a part of the journal could not be read."""
    if unread:
        raise ConfigError(f"rows may be missing, for the journal could not be read to its end: {'; '.join(unread)}")


def rest_text(path: Path, shown: int, shown_max: int) -> str:
    """Where the older rows are, when only the newest `shown` were: a line."""
    if shown < shown_max:
        return f"the newest {shown}; --limit shows more"
    return f"the newest {shown:,}; {path} has them all, for any SQL tool"
