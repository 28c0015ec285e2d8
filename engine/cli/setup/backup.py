"""`engine backup` and `engine restore`: copies of what must outlive an engine."""

from pathlib import Path

import click

from engine.cli.ask import name_option
from engine.cli.help import command
from engine.cli.past import is_running, state_dir_of
from engine.cli.tables import json_option, tell
from engine.clock import SystemClock
from engine.errors import ConfigError
from engine.state_directory import default_state_dir
from engine.supervisor.run_directory import RunDirectory


@command(
    examples=(
        "engine backup /backups/my-bot-2026-11-29 --name my-bot",
        "engine backup copy --state-dir /data/my-bot  # trading.state_dir of an engine that does not run",
    ),
)
@click.argument("directory", type=click.Path(path_type=Path))
@name_option
@click.option("--state-dir", type=click.Path(path_type=Path), help="State directory of an engine that does not run.")
@json_option
def backup(directory: Path, name: str, state_dir: Path | None, as_json: bool) -> None:
    """Copy the journal and the history of an engine, running or not, into a new directory.

    Nothing of the engine waits for it. The copy is a state directory itself, which
    `engine fills --state-dir DIRECTORY` reads. API keys and their nonces are no part of it.
    """
    from engine.backup.copying import copy_state

    state = state_dir or state_dir_of(name)
    if state == RunDirectory(name).state_path:
        raise ConfigError(
            f"the engine named {name} trades play money on the built-in exchange: its account ends with it, and there "
            "is nothing to restore a copy to"
        )
    copied = copy_state(state, directory)
    told = {"directory": str(directory), "records": copied.records, "history": copied.has_history}
    tell(told, f"copied {state} into {directory}: the journal up to record {copied.records:,}", as_json)


@command(examples=("engine restore /backups/my-bot-2026-11-29 --name my-bot",))
@click.argument("directory", type=click.Path(path_type=Path))
@name_option
@click.option("--state-dir", type=click.Path(path_type=Path), help="Where to, if trading.state_dir says so.")
@json_option
def restore(directory: Path, name: str, state_dir: Path | None, as_json: bool) -> None:
    """Put a copy that `engine backup` made in the place of an engine's state. There must be
    none, and no engine of that name may run.

    The engine starts halted: of orders that were sent after the copy the journal knows
    nothing. Look at `engine orders` and `engine positions`, then `engine resume`.
    """
    from engine.backup.restoring import restore_state

    if is_running(name):
        raise ConfigError(f"the engine named {name} is running; stop it with `engine stop`, then restore")
    copied = restore_state(directory, state_dir or default_state_dir(name), SystemClock())
    told = {"state_dir": str(copied.directory), "records": copied.records, "history": copied.has_history}
    sentence = f"restored {copied.directory}: the journal up to record {copied.records:,}; it starts halted"
    tell(told, sentence, as_json)
